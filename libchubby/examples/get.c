/*
 * Counts in a file that many processes change at once, without a lock: a change is made only if the
 * contents are still those that were read.
 *
 *   get /ls/local/counter
 */
#include <chubby.h>
#include <stdio.h>
#include <stdlib.h>

static enum chubby_code count_up(struct chubby_handle *h, long *ret_count,
				 struct chubby_error *error)
{
	enum chubby_code code;

	do {
		struct chubby_contents contents;
		struct chubby_stat stat;
		char text[32];
		int size;

		code = chubby_get(h, &contents, &stat, error);
		if (code != CHUBBY_OK)
			return code;
		*ret_count = strtol(contents.data, NULL, 10) + 1;
		chubby_contents_free(&contents);
		size = snprintf(text, sizeof(text), "%ld", *ret_count);
		code = chubby_set(h, text, (size_t)size, stat.contents_generation, NULL, error);
	} while (code == CHUBBY_GENERATION_MISMATCH);
	return code;
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/ls/local/counter";
	struct chubby_error error;
	struct chubby_handle *h;
	struct chubby *cell;
	int status = 1;
	long count;

	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "get: %s\n", error.message);
		return 1;
	}
	if (chubby_open(cell, path, CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE, "0", 1, &h, NULL,
			&error) == CHUBBY_OK) {
		if (count_up(h, &count, &error) == CHUBBY_OK) {
			printf("%ld\n", count);
			status = 0;
		}
		chubby_close(h);
	}
	if (status != 0)
		fprintf(stderr, "get: %s\n", error.message);
	chubby_disconnect(cell);
	return status;
}
