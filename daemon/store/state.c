/*
 * state.db: the cell's rows at one slot.
 *
 * Rows travel to the state thread encoded one after the other: kind, key, whether it is gone,
 * size (four 64-bit words as this machine has them), and the stored form.
 */
#include "store_internal.h"

#include "codec/codec.h"

#include <string.h>

struct row_head {
	uint64_t kind;
	uint64_t key;
	uint64_t deleted;
	uint64_t size;
};

int state_prepare(struct state_db *state)
{
	int rc = db_prepare(state->db, "BEGIN IMMEDIATE", &state->begin);

	if (rc == SQLITE_OK)
		rc = db_prepare(state->db, "COMMIT", &state->commit);
	if (rc == SQLITE_OK)
		rc = db_prepare(state->db,
				"INSERT INTO rows(kind, key, data, checksum) VALUES(?1, ?2, ?3, ?4)"
				" ON CONFLICT(kind, key) DO UPDATE SET data = ?3, checksum = ?4",
				&state->put);
	if (rc == SQLITE_OK)
		rc = db_prepare(state->db, "DELETE FROM rows WHERE kind = ?1 AND key = ?2",
				&state->delete);
	if (rc == SQLITE_OK)
		rc = db_prepare(state->db, meta_put_sql, &state->put_meta);
	return rc;
}

void state_finalize(struct state_db *state)
{
	sqlite3_finalize(state->begin);
	sqlite3_finalize(state->commit);
	sqlite3_finalize(state->put);
	sqlite3_finalize(state->delete);
	sqlite3_finalize(state->put_meta);
	state->begin = state->commit = state->put = state->delete = state->put_meta = NULL;
}

void state_encode_row(struct buffer *rows, const struct row *row)
{
	struct row_head head = {row->kind, row->key, row->deleted, 0};
	size_t at = rows->size;
	enum error e = ERROR_OK;
	bool fits = buffer_append(rows, (struct bytes){(const uint8_t *)&head, sizeof(head)});

	CHECK(fits);
	if (!row->deleted)
		e = codec_encode_row(row, rows);
	CHECK(e == ERROR_OK); /* the cell's own limits keep every row encodable */
	head.size = rows->size - at - sizeof(head);
	memcpy(rows->data + at, &head, sizeof(head));
}

static int put_row(struct state_db *state, const struct store_identity *identity,
		   const struct row_head *head, struct bytes data)
{
	sqlite3_stmt *st = head->deleted ? state->delete : state->put;
	uint64_t checksum;
	int rc = sqlite3_bind_int64(st, 1, (int64_t)head->kind);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(st, 2, (int64_t)head->key);
	if (rc == SQLITE_OK && !head->deleted) {
		checksum = record_state_checksum(identity, (uint32_t)head->kind, head->key, data);
		rc = data.size == 0
			     ? sqlite3_bind_zeroblob(st, 3, 0)
			     : sqlite3_bind_blob64(st, 3, data.data, data.size, SQLITE_STATIC);
		if (rc == SQLITE_OK)
			rc = sqlite3_bind_int64(st, 4, (int64_t)checksum);
	}
	return rc == SQLITE_OK ? db_run(st) : rc;
}

static int put_rows(struct state_db *state, const struct store_identity *identity,
		    const struct state_save *save)
{
	struct bytes left = buffer_view(&save->rows);
	int rc = SQLITE_OK;

	while (left.size > 0 && rc == SQLITE_OK) {
		struct row_head head;

		CHECK(left.size >= sizeof(head));
		memcpy(&head, left.data, sizeof(head));
		left.data += sizeof(head);
		left.size -= sizeof(head);
		CHECK(head.size <= left.size);
		rc = put_row(state, identity, &head, (struct bytes){left.data, head.size});
		left.data += head.size;
		left.size -= head.size;
	}
	return rc;
}

int state_put_mark(sqlite3_stmt *put, const struct store_identity *identity,
		   const struct state_mark *mark)
{
	struct buffer record;
	int rc;

	buffer_init(&record, RECORD_MAX_BYTES);
	record_put_mark(&record, mark);
	rc = meta_put(put, identity, "state", buffer_view(&record));
	buffer_release(&record);
	return rc;
}

enum error state_read_mark(sqlite3 *db, const char *file, const struct store_identity *identity,
			   struct state_mark *ret_mark, char **ret_trouble)
{
	struct buffer record;
	enum error e;

	buffer_init(&record, RECORD_MAX_BYTES);
	e = meta_get(db, file, identity, "state", &record, ret_trouble);
	if (e == ERROR_OK && !record_get_mark(buffer_view(&record), ret_mark)) {
		*ret_trouble = sentence("%s: its slot and digest cannot be decoded", file);
		e = ERROR_STORAGE_CORRUPT;
	}
	buffer_release(&record);
	return e == ERROR_NOT_FOUND ? ERROR_STORAGE_CORRUPT : e;
}

int state_write(struct state_db *state, const struct store_identity *identity,
		const struct state_save *save)
{
	int rc = db_run(state->begin);

	if (rc == SQLITE_OK)
		rc = put_rows(state, identity, save);
	if (rc == SQLITE_OK)
		rc = state_put_mark(state->put_meta, identity, &save->mark);
	if (rc == SQLITE_OK)
		rc = db_run(state->commit);
	if (rc == SQLITE_OK)
		state->mark = save->mark;
	return rc;
}
