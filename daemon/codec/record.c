#include "codec/codec.h"

#include "base/check.h"
#include "codec/tables.h"

#include <string.h>

/* ---- commands ---- */

enum error codec_encode_entry(const struct entry *e, struct buffer *ret_bytes)
{
	CHECK(e->kind >= ENTRY_EPOCH && e->kind < ENTRY_KIND_END);
	return fields_encode(&codec_entry, e, ret_bytes);
}

enum error codec_decode_entry(struct bytes b, struct arena *arena, struct entry *ret_entry)
{
	struct entry e = {.wall_unix_ms = 0};
	const char *trouble;

	if (fields_decode(&codec_entry, b, arena, FIELDS_STRICT, &e, &trouble) != ERROR_OK ||
	    (int)e.kind == 0)
		return ERROR_MALFORMED;
	*ret_entry = e;
	return ERROR_OK;
}

/* ---- rows ---- */

static enum error encode_meta(const struct cell_meta *meta, struct buffer *ret_bytes)
{
	struct meta_wire wire = {.meta = *meta};

	wire.handle_key = (struct bytes){meta->handle_key, sizeof(meta->handle_key)};
	return fields_encode(&codec_rows[ROW_META], &wire, ret_bytes);
}

/* A mark of zero is a mark: the time left cannot tell by itself whether there is one. */
static enum error encode_session(const struct session *session, struct buffer *ret_bytes)
{
	struct session_wire wire = {.session = *session, .marked = session->mark_left_ns >= 0};

	if (!wire.marked)
		wire.session.mark_left_ns = 0;
	return fields_encode(&codec_rows[ROW_SESSION], &wire, ret_bytes);
}

enum error codec_encode_row(const struct row *row, struct buffer *ret_bytes)
{
	CHECK(!row->deleted);
	switch (row->kind) {
	case ROW_META:
		return encode_meta(row->meta, ret_bytes);
	case ROW_NODE:
		return fields_encode(&codec_rows[ROW_NODE], row->node, ret_bytes);
	case ROW_LOCK:
		return fields_encode(&codec_rows[ROW_LOCK], row->lock, ret_bytes);
	case ROW_SESSION:
		return encode_session(row->session, ret_bytes);
	}
	CHECK_UNREACHABLE("a row of no kind");
}

static bool decode(enum row_kind kind, struct bytes b, struct arena *arena, void *target)
{
	const char *trouble;

	return fields_decode(&codec_rows[kind], b, arena, FIELDS_STRICT, target, &trouble) ==
	       ERROR_OK;
}

static bool decode_meta(struct bytes b, struct arena *arena, uint64_t key, struct row *row)
{
	struct meta_wire *wire = arena_alloc(arena, sizeof(*wire));

	if (wire == NULL || key != 0 || !decode(ROW_META, b, arena, wire) ||
	    wire->handle_key.size != sizeof(wire->meta.handle_key))
		return false;
	memcpy(wire->meta.handle_key, wire->handle_key.data, wire->handle_key.size);
	row->meta = &wire->meta;
	return true;
}

static bool decode_node(struct bytes b, struct arena *arena, uint64_t key, struct row *row)
{
	struct node *node = arena_alloc(arena, sizeof(*node));

	if (node == NULL || !decode(ROW_NODE, b, arena, node) || node->instance != key)
		return false;
	node->checksum = node->kind == NODE_FILE ? bytes_hash(node->contents) : 0;
	row->node = node;
	return true;
}

static bool decode_lock(struct bytes b, struct arena *arena, uint64_t key, struct row *row)
{
	struct lock *lock = arena_alloc(arena, sizeof(*lock));

	if (lock == NULL || !decode(ROW_LOCK, b, arena, lock) || lock->instance != key)
		return false;
	row->lock = lock;
	return true;
}

static bool decode_session(struct bytes b, struct arena *arena, uint64_t key, struct row *row)
{
	struct session_wire *wire = arena_alloc(arena, sizeof(*wire));

	if (wire == NULL || !decode(ROW_SESSION, b, arena, wire) || wire->session.id.n != key)
		return false;
	if (wire->marked ? wire->session.mark_left_ns < 0 : wire->session.mark_left_ns != 0)
		return false;
	if (!wire->marked)
		wire->session.mark_left_ns = -1;
	row->session = &wire->session;
	return true;
}

enum error codec_decode_row(enum row_kind kind, uint64_t key, struct bytes b, struct arena *arena,
			    struct row *ret_row)
{
	struct row row = {.kind = kind, .key = key};
	bool whole = false;

	switch (kind) {
	case ROW_META:
		whole = decode_meta(b, arena, key, &row);
		break;
	case ROW_NODE:
		whole = decode_node(b, arena, key, &row);
		break;
	case ROW_LOCK:
		whole = decode_lock(b, arena, key, &row);
		break;
	case ROW_SESSION:
		whole = decode_session(b, arena, key, &row);
		break;
	}
	if (!whole)
		return ERROR_MALFORMED;
	*ret_row = row;
	return ERROR_OK;
}
