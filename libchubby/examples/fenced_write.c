/*
 * Writes a result into a fenced table, for shell scripts under `chubby lock`:
 *
 *   chubby lock /ls/local/nightly -- fenced_write results.db nightly "it is done"
 *
 * The token comes from CHUBBY_FENCING_TOKEN. Ends with 0 if written, 3 if refused: the lock was
 * lost meanwhile, and somebody with a larger token has written.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "fenced_table.h"

int main(int argc, char **argv)
{
	const char *text = getenv("CHUBBY_FENCING_TOKEN");
	unsigned long long token = text != NULL ? strtoull(text, NULL, 10) : 0;
	enum fenced_result result;
	struct sqlite3 *db;

	if (argc != 4 || token == 0) {
		fprintf(stderr, "usage: chubby lock PATH -- fenced_write FILE NAME VALUE\n");
		return 64;
	}
	db = fenced_open(argv[1]);
	if (db == NULL)
		return 1;
	result = fenced_write(db, argv[2], argv[3], token);
	if (result == FENCED_REFUSED)
		fprintf(stderr,
			"fenced_write: refused: token %llu is older than the last writer's\n",
			token);
	if (result == FENCED_FAILED)
		fprintf(stderr, "fenced_write: %s\n", sqlite3_errmsg(db));
	sqlite3_close(db);
	return (int)result;
}
