/* The steps of a snapshot's install; store_internal.h tells their order, open.c takes them. */
#include "store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INSTALL_KEY "install"

enum error install_pending(struct store *s, char **ret_trouble)
{
	char *absent = NULL;
	struct buffer record;
	enum error e;

	buffer_init(&record, RECORD_MAX_BYTES);
	e = meta_get(s->log.db, STORE_FILE_LOG, &s->identity, INSTALL_KEY, &record, &absent);
	if (e == ERROR_OK && !record_get_mark(buffer_view(&record), &s->install)) {
		absent = sentence("log.db: the record of a snapshot's install cannot be decoded");
		e = ERROR_STORAGE_CORRUPT;
	}
	buffer_release(&record);
	s->installing = s->install_recorded = e == ERROR_OK;
	if (e == ERROR_OK || e == ERROR_NOT_FOUND) {
		free(absent);
		return ERROR_OK;
	}
	*ret_trouble = absent;
	return e;
}

/* Newer than everything that this replica has applied or knows as chosen. */
static bool of_use(const struct store *s, const struct state_mark *mark)
{
	return mark->slot.n > s->state.mark.slot.n && mark->slot.n > s->log.durable.chosen.n;
}

enum error install_find(struct store *s, char **ret_trouble)
{
	struct store_identity inside;
	struct state_mark mark;
	char *unfit = NULL;
	enum error e;

	if (!store_exists(s->directory, STORE_FILE_READY))
		return ERROR_OK;
	/* It was verified before it got its name, but nothing replaces a state that works on the
	 * word of an earlier life. */
	e = snapshot_verify(s->directory, STORE_FILE_READY, &s->identity, &inside, &mark, &unfit);
	if (e == ERROR_OK && identity_equal(&inside, &s->identity) && of_use(s, &mark)) {
		s->install = mark;
		s->installing = true;
		return ERROR_OK;
	}
	if (e == ERROR_STORAGE_IO || e == ERROR_STORAGE_FULL) {
		*ret_trouble = unfit;
		return e;
	}
	free(unfit);
	store_unlink(s->directory, STORE_FILE_READY);
	return ERROR_OK;
}

enum error install_record(struct store *s, char **ret_trouble)
{
	struct buffer record;
	int rc;

	buffer_init(&record, RECORD_MAX_BYTES);
	record_put_mark(&record, &s->install);
	rc = meta_put(s->log.put_meta, &s->identity, INSTALL_KEY, buffer_view(&record));
	buffer_release(&record);
	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_LOG, ret_trouble);
	s->install_recorded = true;
	return ERROR_OK;
}

/* Is what waits there the snapshot that was recorded? */
static enum error check_ready(struct store *s, char **ret_trouble)
{
	struct state_mark mark;
	sqlite3 *db = NULL;
	enum error e = db_open(s->directory, STORE_FILE_READY, true, &db, ret_trouble);

	if (e == ERROR_OK)
		e = state_read_mark(db, STORE_FILE_READY, &s->identity, &mark, ret_trouble);
	db_close(db, false);
	if (e == ERROR_OK && mark.slot.n != s->install.slot.n) {
		*ret_trouble = sentence("log.db recorded the install of a snapshot of slot %llu, "
					"but " STORE_FILE_READY " is of slot %llu",
					(unsigned long long)s->install.slot.n,
					(unsigned long long)mark.slot.n);
		e = ERROR_STORAGE_CORRUPT;
	}
	return e;
}

enum error install_swap(struct store *s, char **ret_trouble)
{
	static const char *const beside[] = {STORE_FILE_STATE "-wal", STORE_FILE_STATE "-shm"};
	char *from, *to;
	enum error e;

	CHECK(s->install_recorded && s->state.db == NULL);
	/* Then an earlier start came this far. */
	if (!store_exists(s->directory, STORE_FILE_READY))
		return ERROR_OK;
	e = check_ready(s, ret_trouble);
	if (e != ERROR_OK)
		return e;
	/* SQLite would play the old state's log into the new one: it is gone for good, first. */
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]) && e == ERROR_OK; i++) {
		char *path = store_path(s->directory, beside[i]);

		if (unlink(path) != 0 && errno != ENOENT) {
			*ret_trouble = sentence("cannot remove %s: %s", path, strerror(errno));
			e = ERROR_STORAGE_IO;
		}
		free(path);
	}
	if (e == ERROR_OK)
		e = store_sync(s->directory, NULL, ret_trouble);
	if (e != ERROR_OK)
		return e;
	from = store_path(s->directory, STORE_FILE_READY);
	to = store_path(s->directory, STORE_FILE_STATE);
	if (rename(from, to) != 0) {
		*ret_trouble = sentence("cannot rename %s: %s", from, strerror(errno));
		e = ERROR_STORAGE_IO;
	}
	free(from);
	free(to);
	return e == ERROR_OK ? store_sync(s->directory, NULL, ret_trouble) : e;
}

/* What the rows up to the snapshot's slot weigh in the tail. */
static int scan_trimmed(struct store *s, struct log_tail *tail)
{
	sqlite3_stmt *rows = s->log.trim_scan;
	int rc = sqlite3_bind_int64(rows, 1, (int64_t)tail->trimmed.n);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(rows, 2, (int64_t)s->install.slot.n);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(rows, 3, -1);
	if (rc != SQLITE_OK)
		return rc;
	while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
		tail->sum -= (uint64_t)sqlite3_column_int64(rows, 1);
		tail->value_bytes -= (uint64_t)sqlite3_column_int64(rows, 2);
		tail->count--;
	}
	sqlite3_reset(rows);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* What these slots held was perhaps never chosen: all of it goes. */
static int trim_log(struct store *s, struct log_tail *tail)
{
	sqlite3_stmt *trim = s->log.trim;
	int rc;

	if (tail->trimmed.n >= s->install.slot.n)
		return SQLITE_OK;
	rc = scan_trimmed(s, tail);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(trim, 1, (int64_t)tail->trimmed.n);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(trim, 2, (int64_t)s->install.slot.n);
	if (rc == SQLITE_OK)
		rc = db_run(trim);
	tail->trimmed = s->install.slot;
	if (tail->newest.n < tail->trimmed.n)
		tail->newest = tail->trimmed;
	return rc;
}

enum error install_finish(struct store *s, char **ret_trouble)
{
	struct paxos_durable durable = s->log.durable;
	struct log_tail tail = s->log.tail;
	int rc;

	/* A later state does as well: then it is the end of the install that log.db forgot. */
	if (s->state.mark.slot.n < s->install.slot.n) {
		*ret_trouble = sentence("log.db recorded the install of a snapshot of slot %llu, "
					"but state.db holds slot %llu",
					(unsigned long long)s->install.slot.n,
					(unsigned long long)s->state.mark.slot.n);
		return ERROR_STORAGE_CORRUPT;
	}
	if (durable.chosen.n < s->install.slot.n)
		durable.chosen = s->install.slot;
	if (durable.trimmed.n < s->install.slot.n)
		durable.trimmed = s->install.slot;
	rc = db_run(s->log.begin);
	if (rc == SQLITE_OK)
		rc = trim_log(s, &tail);
	if (rc == SQLITE_OK)
		rc = log_put_meta(s, &durable, &tail);
	if (rc == SQLITE_OK)
		rc = db_exec(s->log.db, "DELETE FROM meta WHERE key = '" INSTALL_KEY "'");
	if (rc == SQLITE_OK)
		rc = db_run(s->log.commit);
	if (rc != SQLITE_OK) {
		(void)!db_exec(s->log.db, "ROLLBACK"); /* the open may go on without the state */
		return db_error(rc, STORE_FILE_LOG, ret_trouble);
	}
	s->log.durable = durable;
	s->log.tail = tail;
	s->installing = s->install_recorded = false;
	return ERROR_OK;
}
