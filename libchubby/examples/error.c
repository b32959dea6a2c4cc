/*
 * Runs a job under a lock, if nobody else does. Each way in which that fails has an answer of its
 * own: the code decides, and the sentence is for a person.
 *
 *   error /ls/local/job
 */
#include <chubby.h>
#include <inttypes.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct chubby_acquire_options options = chubby_acquire_options_default();
	const char *path = argc > 1 ? argv[1] : "/ls/local/job";
	struct chubby_error error;
	struct chubby_lock *lock;
	struct chubby *cell;
	enum chubby_code code;

	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "error: %s\n", error.message);
		return 69;
	}
	options.wait_ms = -1;
	code = chubby_lock(cell, path, &options, &lock, &error);
	switch (code) {
	case CHUBBY_OK:
		printf("doing the job with token %" PRIu64 "\n", chubby_lock_token(lock));
		chubby_unlock(lock);
		break;
	case CHUBBY_BUSY:
		printf("somebody else does the job\n");
		break;
	default:
		fprintf(stderr, "error: %s (%s)\n", error.message, chubby_code_name(code));
		break;
	}
	chubby_disconnect(cell);
	return code != CHUBBY_OK && code != CHUBBY_BUSY;
}
