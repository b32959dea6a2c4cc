/*
 * The client that every lock service fears: it takes a lock, makes sure that it holds it, is
 * stopped for longer than its lease, and then writes, not knowing that it slept.
 *
 *   paused_writer FILE NAME VALUE [--no-token] [--pause]
 *
 * With --pause it stops itself (SIGSTOP) between the check and the write, as a long garbage
 * collection or a suspended machine would; continue it with SIGCONT. With --no-token it writes as
 * one does without fencing. Ends with 0 if written, 3 if the storage refused it.
 */
#include <chubby.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "fenced_table.h"

#define LEASE_MS 2000
#define LOCK_DELAY_MS 500

static int write_result(char **argv, bool use_token, uint64_t token)
{
	struct sqlite3 *db = fenced_open(argv[1]);
	enum fenced_result result;

	if (db == NULL)
		return 1;
	result = fenced_write(db, argv[2], argv[3], use_token ? token : 0);
	printf("%s: %s with token %llu\n", argv[3],
	       result == FENCED_WRITTEN   ? "written"
	       : result == FENCED_REFUSED ? "REFUSED by the storage"
					  : sqlite3_errmsg(db),
	       (unsigned long long)token);
	sqlite3_close(db);
	return (int)result;
}

int main(int argc, char **argv)
{
	struct chubby_options options = chubby_options_default();
	struct chubby_acquire_options acquire = chubby_acquire_options_default();
	struct chubby_error error;
	struct chubby_lock *lock;
	struct chubby *cell;
	bool use_token = true, pause_here = false;
	int status;

	for (int i = 4; i < argc; i++) {
		use_token = use_token && strcmp(argv[i], "--no-token") != 0;
		pause_here = pause_here || strcmp(argv[i], "--pause") == 0;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: paused_writer FILE NAME VALUE [--no-token] [--pause]\n");
		return 64;
	}
	options.lease_ms = LEASE_MS;
	acquire.lock_delay_ms = LOCK_DELAY_MS;
	if (chubby_connect(&options, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "paused_writer: %s\n", error.message);
		return 1;
	}
	if (chubby_lock(cell, "/ls/local/fencing-demo", &acquire, &lock, &error) != CHUBBY_OK) {
		fprintf(stderr, "paused_writer: %s\n", error.message);
		chubby_disconnect(cell);
		return 1;
	}
	printf("%s: holds the lock, token %llu\n", argv[3],
	       (unsigned long long)chubby_lock_token(lock));
	fflush(stdout);
	/* "I hold it" is true here, and says nothing about the moment of the write below. */
	if (chubby_lock_is_held(lock) && pause_here)
		raise(SIGSTOP);
	status = write_result(argv, use_token, chubby_lock_token(lock));
	chubby_unlock(lock);
	chubby_disconnect(cell);
	return status;
}
