#include "fenced_table.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS result("
	"  name TEXT PRIMARY KEY, value TEXT NOT NULL, token INTEGER NOT NULL) STRICT;"
	/* Each write that was taken, in order, so that a test can look for stale ones. */
	"CREATE TABLE IF NOT EXISTS history("
	"  number INTEGER PRIMARY KEY, name TEXT, value TEXT, token INTEGER) STRICT;"
	"CREATE TRIGGER IF NOT EXISTS fence BEFORE UPDATE ON result "
	"WHEN NEW.token < OLD.token "
	"BEGIN SELECT RAISE(ABORT, 'stale fencing token'); END;"
	"CREATE TRIGGER IF NOT EXISTS remember_insert AFTER INSERT ON result "
	"BEGIN INSERT INTO history(name, value, token) VALUES(NEW.name, NEW.value, NEW.token); END;"
	"CREATE TRIGGER IF NOT EXISTS remember_update AFTER UPDATE ON result "
	"BEGIN INSERT INTO history(name, value, token) "
	"VALUES(NEW.name, NEW.value, NEW.token); END;";

/* Without a token the old one stays: the trigger finds nothing to refuse. */
static const char write_sql[] =
	"INSERT INTO result(name, value, token) VALUES(?1, ?2, ?3) "
	"ON CONFLICT(name) DO UPDATE SET value = ?2, token = iif(?3 = 0, token, ?3)";

struct sqlite3 *fenced_open(const char *file)
{
	sqlite3 *db = NULL;

	if (sqlite3_open(file, &db) != SQLITE_OK || sqlite3_busy_timeout(db, 5000) != SQLITE_OK ||
	    sqlite3_exec(db, schema, NULL, NULL, NULL) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", file, sqlite3_errmsg(db));
		sqlite3_close(db);
		return NULL;
	}
	return db;
}

enum fenced_result fenced_write(struct sqlite3 *db, const char *name, const char *value,
				uint64_t token)
{
	sqlite3_stmt *s;
	int code;

	if (sqlite3_prepare_v2(db, write_sql, -1, &s, NULL) != SQLITE_OK)
		return FENCED_FAILED;
	sqlite3_bind_text(s, 1, name, -1, SQLITE_TRANSIENT);
	sqlite3_bind_text(s, 2, value, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(s, 3, (sqlite3_int64)token);
	sqlite3_step(s);
	code = sqlite3_finalize(s);
	if (code == SQLITE_OK)
		return FENCED_WRITTEN;
	return code == SQLITE_CONSTRAINT ? FENCED_REFUSED : FENCED_FAILED;
}

bool fenced_read(struct sqlite3 *db, const char *name, char *ret_value, int size_bytes,
		 uint64_t *ret_token)
{
	sqlite3_stmt *s;
	const char *text = "";
	uint64_t token = 0;

	if (sqlite3_prepare_v2(db, "SELECT value, token FROM result WHERE name = ?1", -1, &s,
			       NULL) != SQLITE_OK)
		return false;
	sqlite3_bind_text(s, 1, name, -1, SQLITE_TRANSIENT);
	if (sqlite3_step(s) == SQLITE_ROW) {
		text = (const char *)sqlite3_column_text(s, 0);
		token = (uint64_t)sqlite3_column_int64(s, 1);
	}
	snprintf(ret_value, (size_t)size_bytes, "%s", text);
	*ret_token = token;
	return sqlite3_finalize(s) == SQLITE_OK;
}
