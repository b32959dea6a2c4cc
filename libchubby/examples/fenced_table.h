/*
 * An SQLite table that refuses writers with old tokens: the storage's half of fencing.
 *
 * The rule is one sentence: remember the largest token that was seen, refuse every smaller one. It
 * stands in the database itself, as a trigger, so that no writer can forget it.
 */
#ifndef FENCED_TABLE_H
#define FENCED_TABLE_H

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

enum fenced_result {
	FENCED_WRITTEN = 0,
	FENCED_REFUSED = 3, /* a larger token was here already: the writer lost its lock */
	FENCED_FAILED = 1,  /* the database's own error, in sqlite3_errmsg() */
};

/* Opens the file, making the table with its trigger if need be; NULL on failure. The caller closes
 * it with sqlite3_close(). */
struct sqlite3 *fenced_open(const char *file);

/* Writes `value` under `name`. With `token` 0 the rule is not applied: what storage without
 * fencing does, for the demonstration. */
enum fenced_result fenced_write(struct sqlite3 *db, const char *name, const char *value,
				uint64_t token);

/* Copies the value, "" if there is none; false on failure. */
bool fenced_read(struct sqlite3 *db, const char *name, char *ret_value, int size_bytes,
		 uint64_t *ret_token);

#endif
