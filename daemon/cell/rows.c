/*
 * Every row in order of (kind, key), for a snapshot or a check. Rows that changed: dirty.c.
 */
#include "cell/cell_internal.h"

static bool first_node(const struct cell *c, uint64_t from, struct row *ret_row)
{
	const struct node_entry *n = node_from(c, from);

	if (n != NULL)
		*ret_row = (struct row){.kind = ROW_NODE,
					.key = n->node.instance,
					.node = &n->node};
	return n != NULL;
}

static bool first_lock(const struct cell *c, uint64_t from, struct row *ret_row)
{
	const struct lock_entry *l = lock_from(c, from);

	if (l != NULL)
		*ret_row = (struct row){.kind = ROW_LOCK,
					.key = l->lock.instance,
					.lock = &l->lock};
	return l != NULL;
}

static bool first_session(const struct cell *c, uint64_t from, struct row *ret_row)
{
	const struct session_entry *s = session_from(c, (struct session_id){from});

	if (s != NULL)
		*ret_row = (struct row){.kind = ROW_SESSION,
					.key = s->session.id.n,
					.session = &s->session};
	return s != NULL;
}

bool cell_row_after(const struct cell *c, const struct row *after, struct row *ret_row)
{
	unsigned kind = after->kind;
	uint64_t from = after->key + 1;

	if (kind == 0) {
		*ret_row = (struct row){.kind = ROW_META, .meta = &c->meta};
		return true;
	}
	/* A kind that is exhausted is followed by the next one from its start. */
	if (kind == ROW_NODE && first_node(c, from, ret_row))
		return true;
	if (kind < ROW_NODE && first_node(c, 0, ret_row))
		return true;
	if (kind == ROW_LOCK && first_lock(c, from, ret_row))
		return true;
	if (kind < ROW_LOCK && first_lock(c, 0, ret_row))
		return true;
	return first_session(c, kind == ROW_SESSION ? from : 0, ret_row);
}
