/*
 * Waits five seconds for a lock; shows that its sequencer stands while it is held, and no longer.
 *
 *   acquire /ls/local/job
 */
#include <chubby.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int work(struct chubby *cell, struct chubby_handle *h)
{
	struct chubby_acquire_options options = chubby_acquire_options_default();
	struct chubby_error error;
	char sequencer[CHUBBY_SEQUENCER_MAX_BYTES + 1];
	uint64_t token;

	options.wait_ms = 5000;
	options.lock_delay_ms = 1000; /* should this process die, the next one waits that long */
	if (chubby_acquire(h, &options, &error) != CHUBBY_OK) {
		fprintf(stderr, "acquire: %s\n", error.message);
		return error.code == CHUBBY_DEADLINE_EXCEEDED ? 75 : 1;
	}
	printf("holding %s with token %" PRIu64 "\n", chubby_path(h), chubby_token(h));
	/* A copy: once the lock is released, the handle names none. */
	snprintf(sequencer, sizeof(sequencer), "%s", chubby_sequencer(h));
	/* What another process does that was given the sequencer: */
	if (chubby_check_sequencer(cell, sequencer, &token, &error) == CHUBBY_OK)
		printf("the sequencer stands, with token %" PRIu64 "\n", token);
	if (chubby_release(h, &error) != CHUBBY_OK) {
		fprintf(stderr, "acquire: %s\n", error.message);
		return 1;
	}
	if (chubby_check_sequencer(cell, sequencer, NULL, &error) == CHUBBY_SEQUENCER_INVALID)
		printf("released: the sequencer stands no more\n");
	return 0;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/ls/local/job";
	struct chubby_error error;
	struct chubby_handle *h;
	struct chubby *cell;
	int status = 1;

	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "acquire: %s\n", error.message);
		return 1;
	}
	if (chubby_open(cell, path, CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0, &h, NULL, &error) ==
	    CHUBBY_OK) {
		status = work(cell, h);
		chubby_close(h);
	} else {
		fprintf(stderr, "acquire: %s\n", error.message);
	}
	chubby_disconnect(cell);
	return status;
}
