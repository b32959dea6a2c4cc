/* Reading back: the cell from state.db, slots from log.db. */
#include "store_internal.h"

#include "codec/codec.h"

#include <string.h>

/* A decoded row is at most a node with its contents, or a lock with all its waiters. */
#define ROW_ARENA_BYTES ((size_t)256 << 20)

struct loading {
	sqlite3 *db;
	const char *file; /* for sentences */
	const struct store_identity *identity;
};

static enum error load_row(const struct loading *l, struct cell *c, sqlite3_stmt *st,
			   struct arena *arena, char **ret_trouble)
{
	int64_t kind = sqlite3_column_int64(st, 0);
	uint64_t key = (uint64_t)sqlite3_column_int64(st, 1);
	struct bytes data = {sqlite3_column_blob(st, 2), (size_t)sqlite3_column_bytes(st, 2)};
	uint64_t checksum = (uint64_t)sqlite3_column_int64(st, 3);
	const char *wrong = NULL;
	struct row row;

	if (kind < ROW_META || kind > ROW_SESSION)
		wrong = "is of an unknown kind";
	else if (checksum != record_state_checksum(l->identity, (uint32_t)kind, key, data))
		wrong = "has a wrong checksum";
	else if (codec_decode_row((enum row_kind)kind, key, data, arena, &row) != ERROR_OK)
		wrong = "cannot be decoded";
	else if (cell_load_row(c, &row) != ERROR_OK)
		wrong = "does not fit the cell";
	if (wrong == NULL)
		return ERROR_OK;
	*ret_trouble = sentence("%s: the row of kind %lld with key %llu %s", l->file,
				(long long)kind, (unsigned long long)key, wrong);
	return ERROR_STORAGE_CORRUPT;
}

static enum error load_rows(const struct loading *l, struct cell *c, char **ret_trouble)
{
	sqlite3_stmt *rows = NULL;
	enum error e = ERROR_OK;
	struct arena arena;
	int rc = db_prepare(l->db, "SELECT kind, key, data, checksum FROM rows", &rows);

	arena_init(&arena, ROW_ARENA_BYTES);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(rows);
	while (rc == SQLITE_ROW && e == ERROR_OK) {
		e = load_row(l, c, rows, &arena, ret_trouble);
		arena_release(&arena);
		if (e == ERROR_OK)
			rc = sqlite3_step(rows);
	}
	if (e == ERROR_OK && rc != SQLITE_DONE)
		e = db_error(rc, l->file, ret_trouble);
	sqlite3_finalize(rows);
	return e;
}

static enum error check_cell(const struct loading *l, const struct state_mark *mark,
			     const struct cell *c, char **ret_trouble)
{
	const struct cell_meta *meta = cell_meta(c);
	struct digest digest = cell_digest(c);

	if (meta->revision.n == mark->revision.n && digest.high == mark->digest.high &&
	    digest.low == mark->digest.low && meta->cell_id_high == l->identity->cell_id_high &&
	    meta->cell_id_low == l->identity->cell_id_low)
		return ERROR_OK;
	*ret_trouble = sentence("%s: its rows are not those of revision %llu: the digest differs",
				l->file, (unsigned long long)mark->revision.n);
	return ERROR_STORAGE_CORRUPT;
}

enum error state_load(sqlite3 *db, const char *file, const struct store_identity *identity,
		      const struct state_mark *mark, struct cell **ret_cell, char **ret_trouble)
{
	struct loading l = {db, file, identity};
	struct cell *c = cell_load_begin();
	enum error e = load_rows(&l, c, ret_trouble);

	if (e == ERROR_OK)
		e = cell_load_end(c, ret_trouble);
	if (e == ERROR_OK)
		e = check_cell(&l, mark, c, ret_trouble);
	if (e == ERROR_OK)
		*ret_cell = c;
	else
		cell_free(c);
	return e;
}

enum error store_load(struct store *s, struct cell **ret_cell, struct slot *ret_applied,
		      char **ret_trouble)
{
	struct cell *c;
	enum error e;

	CHECK(!s->started);
	if (s->state_trouble != NULL) {
		*ret_trouble = mem_strdup(s->state_trouble);
		return ERROR_STORAGE_CORRUPT;
	}
	e = state_load(s->state.db, STORE_FILE_STATE, &s->identity, &s->state.mark, &c,
		       ret_trouble);
	if (e != ERROR_OK)
		return e;
	*ret_cell = c;
	*ret_applied = s->state.mark.slot;
	return ERROR_OK;
}

/* ---- slots ---------------------------------------------------------------------------------- */

static enum error reader_open(struct store *s, char **ret_trouble)
{
	enum error e;
	int rc;

	if (s->reader.range != NULL)
		return ERROR_OK;
	e = db_open(s->directory, STORE_FILE_LOG, false, &s->reader.db, ret_trouble);
	if (e != ERROR_OK)
		return e;
	rc = db_exec(s->reader.db, "PRAGMA query_only=ON");
	if (rc == SQLITE_OK)
		rc = db_prepare(s->reader.db,
				"SELECT " LOG_ROW_COLUMNS " FROM log"
				" WHERE slot >= ?1 AND slot <= ?2 ORDER BY slot",
				&s->reader.range);
	if (rc != SQLITE_OK) {
		e = db_error(rc, STORE_FILE_LOG, ret_trouble);
		db_close(s->reader.db, false);
		s->reader.db = NULL;
	}
	return e;
}

static void slots_add(struct store_slots *slots, uint32_t *capacity, struct paxos_accepted a)
{
	if (slots->count == *capacity) {
		*capacity = *capacity == 0 ? 16 : 2 * *capacity;
		slots->entries = mem_realloc_array(slots->entries, *capacity,
						   sizeof(slots->entries[0]));
	}
	slots->entries[slots->count++] = a;
}

static enum error read_range(struct store *s, struct slot from, struct slot through,
			     size_t max_bytes, struct store_slots *slots, char **ret_trouble)
{
	sqlite3_stmt *range = s->reader.range;
	const uint64_t last = INT64_MAX;
	enum error e = ERROR_OK;
	uint32_t capacity = 0;
	size_t size = 0;
	int rc = sqlite3_bind_int64(range, 1, (int64_t)(from.n < last ? from.n : last));

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(range, 2, (int64_t)(through.n < last ? through.n : last));
	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_LOG, ret_trouble);
	while ((rc = sqlite3_step(range)) == SQLITE_ROW) {
		size_t more = (size_t)sqlite3_column_bytes(range, 7);
		struct paxos_accepted a;
		uint64_t checksum;

		if (slots->count > 0 && (more > max_bytes || size > max_bytes - more))
			break;
		e = log_read_row(&s->identity, range, &a, &checksum, ret_trouble);
		if (e != ERROR_OK)
			break;
		size += more;
		slots_add(slots, &capacity, a);
	}
	if (rc != SQLITE_ROW && rc != SQLITE_DONE)
		e = db_error(rc, STORE_FILE_LOG, ret_trouble);
	sqlite3_reset(range);
	return e;
}

enum error store_read_log(struct store *s, struct slot from, struct slot through, size_t max_bytes,
			  struct store_slots *ret_slots)
{
	struct store_slots slots = {0};
	char *trouble = NULL;
	enum error e;

	/* SQLite must not be let near a log that is lost: it would repair it in its own way. */
	if (s->memory == PAXOS_MEMORY_LOST)
		return ERROR_STORAGE_CORRUPT;
	pthread_mutex_lock(&s->reader.mutex);
	e = reader_open(s, &trouble);
	if (e == ERROR_OK)
		e = read_range(s, from, through, max_bytes, &slots, &trouble);
	pthread_mutex_unlock(&s->reader.mutex);
	free(trouble);
	if (e != ERROR_OK) {
		store_slots_release(&slots);
		return e;
	}
	*ret_slots = slots;
	return ERROR_OK;
}

void store_slots_release(struct store_slots *slots)
{
	for (uint32_t i = 0; i < slots->count; i++)
		value_unref(slots->entries[i].value);
	free(slots->entries);
	*slots = (struct store_slots){0};
}
