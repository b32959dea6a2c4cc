/*
 * Reads many files at once: all are asked for, then all answers are taken. A lock is asked for
 * meanwhile, and given up if it does not come within a second.
 *
 *   call /ls/local/job FILE...
 */
#include <chubby.h>
#include <inttypes.h>
#include <stdio.h>

#define FILES_MAX 32

/* On the library's callback thread, when finishing the call will not wait any more. */
static void on_acquired(void *context, struct chubby_call *call)
{
	(void)call;
	fprintf(stderr, "%s: the lock's call is done\n", (const char *)context);
}

static void read_all(struct chubby *cell, char **paths, int count)
{
	struct chubby_handle *handles[FILES_MAX] = {NULL};
	struct chubby_call *calls[FILES_MAX] = {NULL};
	struct chubby_contents contents;
	struct chubby_error error;

	for (int i = 0; i < count; i++)
		if (chubby_open(cell, paths[i], CHUBBY_READ, NULL, 0, &handles[i], NULL, &error) !=
			    CHUBBY_OK ||
		    chubby_get_start(handles[i], NULL, NULL, &calls[i], &error) != CHUBBY_OK)
			fprintf(stderr, "call: %s\n", error.message);
	for (int i = 0; i < count; i++) {
		if (calls[i] == NULL)
			continue;
		if (chubby_get_finish(calls[i], &contents, NULL, &error) == CHUBBY_OK) {
			printf("%s: %s\n", paths[i], (char *)contents.data);
			chubby_contents_free(&contents);
		} else {
			fprintf(stderr, "call: %s\n", error.message);
		}
	}
	for (int i = 0; i < count; i++)
		chubby_close(handles[i]);
}

int main(int argc, char **argv)
{
	struct chubby_call *acquiring;
	struct chubby_error error;
	struct chubby_handle *h;
	struct chubby *cell;
	int status = 1;

	if (argc < 2 || argc > 2 + FILES_MAX) {
		fprintf(stderr, "usage: call LOCK FILE...\n");
		return 64;
	}
	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "call: %s\n", error.message);
		return 1;
	}
	if (chubby_open(cell, argv[1], CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0, &h, NULL, &error) !=
		    CHUBBY_OK ||
	    chubby_acquire_start(h, NULL, on_acquired, argv[0], &acquiring, &error) != CHUBBY_OK) {
		fprintf(stderr, "call: %s\n", error.message);
		goto out;
	}
	read_all(cell, argv + 2, argc - 2);
	if (!chubby_call_wait(acquiring, 1000))
		chubby_call_cancel(acquiring);
	/* Cancelled or not, it is finished; the lock may have come just before. */
	if (chubby_acquire_finish(acquiring, &error) == CHUBBY_OK) {
		printf("holding %s with token %" PRIu64 "\n", argv[1], chubby_token(h));
		status = 0;
	} else {
		fprintf(stderr, "call: %s\n", error.message);
	}
out:
	chubby_disconnect(cell); /* releases, closes and frees what is left */
	return status;
}
