/*
 * Holds the locks of two accounts at once. However many run, and in whatever order the accounts are
 * named, none waits for another in a circle.
 *
 *   lock_all /ls/local/account-a /ls/local/account-b
 */
#include <chubby.h>
#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct chubby_acquire_options options = chubby_acquire_options_default();
	const char *paths[] = {"/ls/local/account-a", "/ls/local/account-b"};
	struct chubby_lock *locks[2];
	struct chubby_error error;
	struct chubby *cell;
	int status = 1;

	if (argc == 3) {
		paths[0] = argv[1];
		paths[1] = argv[2];
	}
	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "lock_all: %s\n", error.message);
		return 1;
	}
	options.wait_ms = 10000; /* for both together */
	if (chubby_lock_all(cell, paths, 2, &options, locks, &error) == CHUBBY_OK) {
		for (int i = 0; i < 2; i++)
			printf("holding %s with token %" PRIu64 "\n", paths[i],
			       chubby_lock_token(locks[i]));
		/* Here the transfer is made, and each account is given its own token. */
		for (int i = 0; i < 2; i++)
			chubby_unlock(locks[i]);
		status = 0;
	} else {
		fprintf(stderr, "lock_all: %s\n", error.message);
	}
	chubby_disconnect(cell);
	return status;
}
