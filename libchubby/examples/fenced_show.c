/* Prints what a fenced table holds under a name: fenced_show FILE NAME */
#include <sqlite3.h>
#include <stdio.h>

#include "fenced_table.h"

int main(int argc, char **argv)
{
	struct sqlite3 *db = argc == 3 ? fenced_open(argv[1]) : NULL;
	char value[4096];
	uint64_t token;

	if (db == NULL) {
		fprintf(stderr, "usage: fenced_show FILE NAME\n");
		return 64;
	}
	if (!fenced_read(db, argv[2], value, sizeof(value), &token)) {
		fprintf(stderr, "fenced_show: %s\n", sqlite3_errmsg(db));
		sqlite3_close(db);
		return 1;
	}
	puts(value);
	sqlite3_close(db);
	return 0;
}
