/* log.db: its statements, its rows, and the check of all of them at open. */
#include "store_internal.h"

#include <string.h>

int log_prepare(struct log_db *log)
{
	const struct {
		const char *sql;
		sqlite3_stmt **statement;
	} statements[] = {
		{"BEGIN IMMEDIATE", &log->begin},
		{"COMMIT", &log->commit},
		{"SELECT row_checksum, length(value) FROM log WHERE slot = ?1", &log->checksum_of},
		{"INSERT OR REPLACE INTO log(" LOG_ROW_COLUMNS
		 ") VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7,"
		 " ?8)",
		 &log->put},
		{meta_put_sql, &log->put_meta},
		{"SELECT slot, row_checksum, length(value) FROM log WHERE slot > ?1 AND slot <= ?2"
		 " ORDER BY slot LIMIT ?3",
		 &log->trim_scan},
		{"DELETE FROM log WHERE slot > ?1 AND slot <= ?2", &log->trim},
	};
	int rc = SQLITE_OK;

	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]) && rc == SQLITE_OK; i++)
		rc = db_prepare(log->db, statements[i].sql, statements[i].statement);
	return rc;
}

void log_finalize(struct log_db *log)
{
	sqlite3_stmt **statements[] = {&log->begin, &log->commit,   &log->checksum_of,
				       &log->put,   &log->put_meta, &log->trim_scan,
				       &log->trim};

	for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		sqlite3_finalize(*statements[i]);
		*statements[i] = NULL;
	}
}

/* Takes the row that a new one replaces out of the tail. Above the newest slot there is none. */
static int forget_row(struct log_db *log, struct slot slot, struct log_tail *tail)
{
	int rc;

	if (slot.n > tail->newest.n)
		return SQLITE_OK;
	rc = sqlite3_bind_int64(log->checksum_of, 1, (int64_t)slot.n);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(log->checksum_of);
	if (rc == SQLITE_ROW) {
		tail->sum -= (uint64_t)sqlite3_column_int64(log->checksum_of, 0);
		tail->value_bytes -= (uint64_t)sqlite3_column_int64(log->checksum_of, 1);
		tail->count--;
		rc = SQLITE_DONE;
	}
	sqlite3_reset(log->checksum_of);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int bind_row(sqlite3_stmt *put, const struct paxos_accepted *a, uint64_t checksum)
{
	struct bytes value = value_bytes(a->value);
	const uint64_t numbers[] = {
		a->slot.n,
		a->ballot.round,
		a->ballot.replica.n,
		a->ballot.incarnation.high,
		a->ballot.incarnation.low,
		value_checksum(a->value),
		checksum,
	};
	int rc = SQLITE_OK;

	for (int i = 0; i < 7 && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_int64(put, i + 1, (int64_t)numbers[i]);
	if (rc != SQLITE_OK)
		return rc;
	if (value.size == 0) /* a NULL pointer would bind NULL */
		return sqlite3_bind_zeroblob(put, 8, 0);
	return sqlite3_bind_blob64(put, 8, value.data, value.size, SQLITE_STATIC);
}

int log_put_row(struct store *s, const struct paxos_accepted *a, struct log_tail *tail)
{
	uint64_t checksum = record_log_checksum(&s->identity, a->slot, a->ballot,
						value_checksum(a->value));
	int rc;

	CHECK(a->slot.n >= 1 && a->slot.n <= INT64_MAX);
	/* Trimmed slots are below the state: what is learnt again about them is not kept. */
	if (a->slot.n <= tail->trimmed.n)
		return SQLITE_OK;
	rc = forget_row(&s->log, a->slot, tail);
	if (rc == SQLITE_OK)
		rc = bind_row(s->log.put, a, checksum);
	if (rc == SQLITE_OK)
		rc = db_run(s->log.put);
	tail->sum += checksum;
	tail->value_bytes += value_bytes(a->value).size;
	tail->count++;
	if (a->slot.n > tail->newest.n)
		tail->newest = a->slot;
	return rc;
}

int log_put_meta(struct store *s, const struct paxos_durable *durable, const struct log_tail *tail)
{
	struct buffer record;
	int rc;

	buffer_init(&record, RECORD_MAX_BYTES);
	record_put_durable(&record, durable);
	rc = meta_put(s->log.put_meta, &s->identity, "durable", buffer_view(&record));
	buffer_clear(&record);
	record_put_tail(&record, tail);
	if (rc == SQLITE_OK)
		rc = meta_put(s->log.put_meta, &s->identity, "tail", buffer_view(&record));
	buffer_release(&record);
	return rc;
}

enum error log_read_row(const struct store_identity *identity, sqlite3_stmt *row,
			struct paxos_accepted *ret_accepted, uint64_t *ret_checksum,
			char **ret_trouble)
{
	struct paxos_accepted a = {0};
	uint64_t value_sum = (uint64_t)sqlite3_column_int64(row, 5);
	uint64_t checksum = (uint64_t)sqlite3_column_int64(row, 6);
	struct bytes value = {sqlite3_column_blob(row, 7), (size_t)sqlite3_column_bytes(row, 7)};

	a.slot.n = (uint64_t)sqlite3_column_int64(row, 0);
	a.ballot.round = (uint64_t)sqlite3_column_int64(row, 1);
	a.ballot.replica.n = (uint32_t)sqlite3_column_int64(row, 2);
	a.ballot.incarnation.high = (uint64_t)sqlite3_column_int64(row, 3);
	a.ballot.incarnation.low = (uint64_t)sqlite3_column_int64(row, 4);
	if (checksum != record_log_checksum(identity, a.slot, a.ballot, value_sum)) {
		*ret_trouble = sentence("log.db: the checksum of slot %llu is wrong",
					(unsigned long long)a.slot.n);
		return ERROR_STORAGE_CORRUPT;
	}
	a.value = value_parse_checked(value, value_sum);
	if (a.value == NULL) {
		*ret_trouble = sentence("log.db: the value of slot %llu is damaged",
					(unsigned long long)a.slot.n);
		return ERROR_STORAGE_CORRUPT;
	}
	*ret_accepted = a;
	*ret_checksum = checksum;
	return ERROR_OK;
}

/* Each row against its checksum; *ret_tail is what the tail must say about them. */
static enum error scan_rows(struct store *s, struct log_tail *ret_tail, char **ret_trouble)
{
	sqlite3_stmt *scan = NULL;
	struct log_tail tail = {0};
	enum error e = ERROR_OK;
	int rc = db_prepare(s->log.db, "SELECT " LOG_ROW_COLUMNS " FROM log ORDER BY slot", &scan);

	while (rc == SQLITE_OK && e == ERROR_OK) {
		struct paxos_accepted a;
		uint64_t checksum;
		int step = sqlite3_step(scan);

		if (step == SQLITE_DONE)
			break;
		if (step != SQLITE_ROW) {
			rc = step;
			break;
		}
		e = log_read_row(&s->identity, scan, &a, &checksum, ret_trouble);
		if (e != ERROR_OK)
			break;
		tail.newest = a.slot;
		tail.sum += checksum;
		tail.value_bytes += value_bytes(a.value).size;
		tail.count++;
		value_unref(a.value);
	}
	if (e == ERROR_OK && rc != SQLITE_OK)
		e = db_error(rc, STORE_FILE_LOG, ret_trouble);
	sqlite3_finalize(scan);
	if (e == ERROR_OK)
		*ret_tail = tail;
	return e;
}

static enum error check_tail(const struct log_tail *stored, const struct log_tail *found,
			     char **ret_trouble)
{
	/* A log that was trimmed to nothing keeps the number of its newest slot. */
	bool newest_fits = found->count == 0 ? stored->newest.n <= stored->trimmed.n
					     : stored->newest.n == found->newest.n;

	if (newest_fits && stored->count == found->count && stored->sum == found->sum &&
	    stored->value_bytes == found->value_bytes)
		return ERROR_OK;
	*ret_trouble = sentence("log.db: its rows (%llu, newest slot %llu) are not those that were "
				"written (%llu, newest slot %llu)",
				(unsigned long long)found->count,
				(unsigned long long)found->newest.n,
				(unsigned long long)stored->count,
				(unsigned long long)stored->newest.n);
	return ERROR_STORAGE_CORRUPT;
}

static enum error read_small_state(struct store *s, char **ret_trouble)
{
	struct log_db *log = &s->log;
	struct buffer record;
	enum error e;

	buffer_init(&record, RECORD_MAX_BYTES);
	e = meta_get(log->db, STORE_FILE_LOG, &s->identity, "durable", &record, ret_trouble);
	if (e == ERROR_OK && !record_get_durable(buffer_view(&record), &log->durable)) {
		*ret_trouble = sentence("log.db: the promise cannot be decoded");
		e = ERROR_STORAGE_CORRUPT;
	}
	buffer_clear(&record);
	if (e == ERROR_OK)
		e = meta_get(log->db, STORE_FILE_LOG, &s->identity, "tail", &record, ret_trouble);
	if (e == ERROR_OK && !record_get_tail(buffer_view(&record), &log->tail)) {
		*ret_trouble = sentence("log.db: the tail cannot be decoded");
		e = ERROR_STORAGE_CORRUPT;
	}
	buffer_release(&record);
	return e == ERROR_NOT_FOUND ? ERROR_STORAGE_CORRUPT : e;
}

/* Whether an earlier start found the write-ahead log doubtful and nobody has vetted since. */
static enum error read_doubt(struct store *s, char **ret_trouble)
{
	struct buffer record;
	char *absent = NULL;
	enum error e;

	buffer_init(&record, RECORD_MAX_BYTES);
	e = meta_get(s->log.db, STORE_FILE_LOG, &s->identity, "doubt", &record, &absent);
	buffer_release(&record);
	s->log.doubt = e == ERROR_OK;
	if (e == ERROR_OK)
		return ERROR_OK;
	if (e == ERROR_NOT_FOUND) {
		free(absent);
		return ERROR_OK;
	}
	*ret_trouble = absent;
	return e;
}

enum error log_verify(struct store *s, char **ret_trouble)
{
	struct log_tail found;
	enum error e = read_small_state(s, ret_trouble);

	if (e == ERROR_OK)
		e = read_doubt(s, ret_trouble);
	if (e == ERROR_OK)
		e = scan_rows(s, &found, ret_trouble);
	if (e == ERROR_OK)
		e = check_tail(&s->log.tail, &found, ret_trouble);
	return e;
}
