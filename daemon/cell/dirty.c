/*
 * Which rows changed since they were last taken: each once, however often it changed.
 *
 * An object knows by its `dirty_bytes` that its key is in the set already. An object that is gone
 * left its key there, so that its row is deleted from where it may be stored. No key is used for
 * two objects: instances and session ids are never given twice.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>

#define DELETED_ROW_BYTES 16
#define KEPT_KEYS 4096 /* a larger array is given back when the set is empty */

static void add_key(struct dirty_set *d, enum row_kind kind, uint64_t key)
{
	if (d->count == d->capacity) {
		d->capacity = grown_capacity(d->capacity, d->count + 1);
		d->keys = mem_realloc_array(d->keys, d->capacity, sizeof(d->keys[0]));
	}
	d->keys[d->count++] = (struct dirty_key){.kind = kind, .key = key};
	d->sorted = false;
}

void dirty_mark(struct cell *c, enum row_kind kind, uint64_t key, struct tracked *row,
		size_t row_bytes)
{
	CHECK(row_bytes > 0 && row_bytes <= UINT32_MAX);
	if (row->dirty_bytes == 0)
		add_key(&c->dirty, kind, key);
	c->dirty.bytes += row_bytes - row->dirty_bytes;
	row->dirty_bytes = (uint32_t)row_bytes;
}

void dirty_mark_deleted(struct cell *c, enum row_kind kind, uint64_t key, struct tracked *row)
{
	dirty_mark(c, kind, key, row, DELETED_ROW_BYTES);
}

struct dirty_mark_point dirty_point(const struct cell *c)
{
	return (struct dirty_mark_point){.count = c->dirty.count, .bytes = c->dirty.bytes};
}

void dirty_return_to(struct cell *c, struct dirty_mark_point point)
{
	CHECK(point.count <= c->dirty.count);
	c->dirty.count = point.count;
	c->dirty.bytes = point.bytes;
}

static int compare_keys(const void *left, const void *right)
{
	const struct dirty_key *a = left, *b = right;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->key < b->key ? -1 : a->key > b->key;
}

static struct tracked *find_row(struct cell *c, struct row *row)
{
	struct node_entry *n;
	struct lock_entry *l;
	struct session_entry *s;

	switch (row->kind) {
	case ROW_META:
		row->meta = &c->meta;
		return &c->meta_row;
	case ROW_NODE:
		n = node_find(c, row->key);
		row->node = n == NULL ? NULL : &n->node;
		return n == NULL ? NULL : &n->row;
	case ROW_LOCK:
		l = lock_find(c, row->key);
		row->lock = l == NULL ? NULL : &l->lock;
		return l == NULL ? NULL : &l->row;
	case ROW_SESSION:
		s = session_find(c, (struct session_id){row->key});
		row->session = s == NULL ? NULL : &s->session;
		return s == NULL ? NULL : &s->row;
	}
	CHECK_UNREACHABLE("a dirty row of no kind");
}

static void empty(struct dirty_set *d)
{
	CHECK(d->bytes == 0);
	d->taken = d->count = 0;
	if (d->capacity <= KEPT_KEYS)
		return;
	free(d->keys);
	d->keys = NULL;
	d->capacity = 0;
}

bool cell_dirty_next(struct cell *c, struct row *ret_row)
{
	struct dirty_set *d = &c->dirty;
	struct tracked *tracked;
	struct row row = {0};
	size_t bytes;

	if (d->taken == d->count) {
		empty(d);
		return false;
	}
	if (!d->sorted) {
		qsort(d->keys + d->taken, d->count - d->taken, sizeof(d->keys[0]), compare_keys);
		d->sorted = true;
	}
	row.kind = d->keys[d->taken].kind;
	row.key = d->keys[d->taken].key;
	d->taken++;
	tracked = find_row(c, &row);
	row.deleted = tracked == NULL;
	bytes = row.deleted ? DELETED_ROW_BYTES : tracked->dirty_bytes;
	if (!row.deleted)
		tracked->dirty_bytes = 0;
	CHECK(bytes > 0 && d->bytes >= bytes);
	d->bytes -= bytes;
	*ret_row = row;
	return true;
}

size_t cell_dirty_bytes(const struct cell *c)
{
	return c->dirty.bytes;
}
