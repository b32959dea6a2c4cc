/*
 * A cell from stored rows. They come from a disk or a peer and are believed nothing: each row is
 * checked by itself as it comes, in any order; that they fit together is checked at the end, and
 * after that every invariant.
 *
 * What is derived (children, claims, keeps, reapable nodes, hashes) is made anew.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cell *cell_load_begin(void)
{
	return cell_alloc();
}

/* ---- one row ------------------------------------------------------------------------------- */

static enum error load_meta(struct cell *c, const struct cell_meta *m)
{
	if (m == NULL || c->meta.revision.n != 0 || m->revision.n == 0 ||
	    m->revision.n > REVISION_MAX)
		return ERROR_STORAGE_CORRUPT;
	c->meta = *m;
	c->meta.name = owned_copy(m->name);
	return ERROR_OK;
}

static bool node_is_sound(const struct node *n)
{
	if (n->instance == 0 || path_check(n->path) != ERROR_OK || acl_check(n->acl) != ERROR_OK)
		return false;
	if (n->kind != NODE_FILE && n->kind != NODE_DIRECTORY)
		return false;
	if (n->kind == NODE_DIRECTORY ? n->contents.size > 0
				      : n->contents.size > CELL_CONTENTS_MAX_BYTES)
		return false;
	if (n->kind == NODE_FILE && n->checksum != bytes_hash(n->contents))
		return false;
	if ((n->path.size == 1) != (n->parent == 0) || (n->keeper_count > 0 && !n->ephemeral))
		return false;
	for (uint32_t i = 1; i < n->keeper_count; i++)
		if (!keeper_before(n->keepers[i - 1], n->keepers[i]))
			return false;
	return true;
}

static enum error load_node(struct cell *c, const struct node *stored)
{
	struct node_entry *n;

	if (stored == NULL || !node_is_sound(stored) || node_find(c, stored->instance) != NULL)
		return ERROR_STORAGE_CORRUPT;
	n = node_entry_new(stored->instance, stored->path);
	n->node.parent = stored->parent;
	n->node.kind = stored->kind;
	n->node.ephemeral = stored->ephemeral;
	n->node.contents = owned_copy(stored->contents);
	n->node.contents_generation = stored->contents_generation;
	n->node.acl_generation = stored->acl_generation;
	n->node.checksum = stored->checksum;
	acl_set(c, &n->node, stored->acl);
	n->node.keeper_count = stored->keeper_count;
	if (stored->keeper_count > 0)
		n->node.keepers = mem_dup(stored->keepers,
					  stored->keeper_count * sizeof(stored->keepers[0]));
	n->node.created_unix_ms = stored->created_unix_ms;
	n->node.modified_unix_ms = stored->modified_unix_ms;
	CHECK(RB_INSERT(node_tree, &c->index->nodes, n) == NULL);
	c->node_count++;
	return ERROR_OK;
}

static bool lock_is_sound(const struct lock *l)
{
	if (l->instance == 0 || (unsigned)l->mode > LOCK_EXCLUSIVE ||
	    (unsigned)l->delay_after > LOCK_EXCLUSIVE || l->waiter_count > CELL_WAITERS_MAX)
		return false;
	for (uint32_t i = 0; i < l->waiter_count; i++) {
		const struct lock_waiter *w = &l->waiters[i];

		if (w->mode != LOCK_SHARED && w->mode != LOCK_EXCLUSIVE)
			return false;
		if (i > 0 && l->waiters[i - 1].ticket.n >= w->ticket.n)
			return false;
	}
	for (uint32_t i = 1; i < l->holder_count; i++) {
		struct grant a = l->holders[i - 1].grant, b = l->holders[i].grant;

		if (a.revision.n > b.revision.n ||
		    (a.revision.n == b.revision.n && a.index >= b.index))
			return false;
	}
	return true;
}

static enum error load_lock(struct cell *c, const struct lock *stored)
{
	struct lock_entry *l;

	if (stored == NULL || !lock_is_sound(stored) || lock_find(c, stored->instance) != NULL)
		return ERROR_STORAGE_CORRUPT;
	l = mem_zalloc(sizeof(*l));
	l->lock.instance = stored->instance;
	l->lock.mode = stored->mode;
	l->lock.generation = stored->generation;
	l->lock.period = stored->period;
	l->lock.delay_ns = stored->delay_ns;
	l->lock.delay_began = stored->delay_began;
	l->lock.delay_after = stored->delay_after;
	for (uint32_t i = 0; i < stored->holder_count; i++)
		lock_put_holder(l, i, &stored->holders[i]);
	for (uint32_t i = 0; i < stored->waiter_count; i++)
		lock_append_waiter(l, &stored->waiters[i]);
	CHECK(RB_INSERT(lock_tree, &c->index->locks, l) == NULL);
	return ERROR_OK;
}

static bool session_is_sound(const struct session *s)
{
	if (s->id.n == 0 || s->ended || s->result_count > CELL_RESULTS_MAX ||
	    s->principal.size > CELL_TEXT_MAX_BYTES || s->host.size > CELL_TEXT_MAX_BYTES ||
	    s->command.size > CELL_TEXT_MAX_BYTES)
		return false;
	for (uint32_t i = 0; i < s->result_count; i++)
		if (s->results[i].number < s->lowest_unanswered ||
		    s->results[i].number - s->lowest_unanswered >= CELL_RESULTS_MAX ||
		    (i > 0 && s->results[i - 1].number >= s->results[i].number))
			return false;
	return true;
}

static enum error load_session(struct cell *c, const struct session *stored)
{
	struct session_entry *s;

	if (stored == NULL || !session_is_sound(stored) || session_find(c, stored->id) != NULL)
		return ERROR_STORAGE_CORRUPT;
	s = mem_zalloc(sizeof(*s));
	s->session.id = stored->id;
	s->session.principal = owned_copy(stored->principal);
	s->session.host = owned_copy(stored->host);
	s->session.command = owned_copy(stored->command);
	s->session.pid = stored->pid;
	s->session.lease_ns = stored->lease_ns;
	s->session.caches = stored->caches;
	s->session.created_unix_ms = stored->created_unix_ms;
	s->session.mark_left_ns = stored->mark_left_ns;
	s->session.mark_epoch = stored->mark_epoch;
	s->session.lowest_unanswered = stored->lowest_unanswered;
	for (uint32_t i = 0; i < stored->result_count; i++)
		result_append(s, &stored->results[i]);
	CHECK(RB_INSERT(session_tree, &c->index->sessions, s) == NULL);
	c->session_count++;
	return ERROR_OK;
}

enum error cell_load_row(struct cell *c, const struct row *row)
{
	switch (row->kind) {
	case ROW_META:
		return load_meta(c, row->meta);
	case ROW_NODE:
		return load_node(c, row->node);
	case ROW_LOCK:
		return load_lock(c, row->lock);
	case ROW_SESSION:
		return load_session(c, row->session);
	}
	return ERROR_STORAGE_CORRUPT;
}

/* ---- together ------------------------------------------------------------------------------ */

static const char *link_node(struct cell *c, struct node_entry *n)
{
	struct bytes name = node_entry_name(n);
	struct node_entry *parent;
	size_t parent_size;

	if (n->node.parent == 0) {
		if (c->index->root != NULL)
			return "is a second root";
		if (n->node.kind != NODE_DIRECTORY || n->node.ephemeral)
			return "is a root that is no permanent directory";
		c->index->root = n;
		return NULL;
	}
	parent = node_find(c, n->node.parent);
	if (parent == NULL || parent->node.kind != NODE_DIRECTORY)
		return "has no parent directory";
	parent_size = parent->node.path.size > 1 ? parent->node.path.size : 0;
	if (n->name_offset != parent_size + 1 ||
	    memcmp(n->node.path.data, parent->node.path.data, parent_size) != 0)
		return "has a path that is not its parent's";
	if (node_child(parent, name) != NULL)
		return "has the name of another node";
	node_link(parent, n);
	return NULL;
}

static const char *link_keepers(struct cell *c, struct node_entry *n)
{
	for (uint32_t i = 0; i < n->node.keeper_count; i++) {
		const struct keeper *keeper = &n->node.keepers[i];
		struct keep *k;

		if (session_find(c, keeper->session) == NULL)
			return "is kept by a session that does not exist";
		k = mem_zalloc(sizeof(*k));
		*k = (struct keep){
			.session = keeper->session,
			.instance = n->node.instance,
			.handle = keeper->handle,
		};
		CHECK(RB_INSERT(keep_tree, &c->index->keeps, k) == NULL);
	}
	return NULL;
}

static struct claim *link_claim(struct cell *c, struct session_id session, uint64_t instance,
				struct handle_id handle)
{
	struct session_entry *s = session_find(c, session);

	if (s == NULL || claim_find(c, session, instance, handle) != NULL)
		return NULL;
	return claim_add(c, s, instance, handle);
}

static const char *link_lock(struct cell *c, struct lock_entry *l)
{
	struct lock *lock = &l->lock;
	struct node_entry *n = node_find(c, lock->instance);

	if (n == NULL)
		return "belongs to no node";
	n->node.lock = lock;
	for (uint32_t i = 0; i < lock->holder_count; i++) {
		struct claim *claim = link_claim(c, lock->holders[i].session, lock->instance,
						 lock->holders[i].handle);

		if (claim == NULL)
			return "is held by no session, or twice by one handle";
		claim->holds = true;
		claim->grant = lock->holders[i].grant;
	}
	for (uint32_t i = 0; i < lock->waiter_count; i++) {
		struct claim *claim = link_claim(c, lock->waiters[i].session, lock->instance,
						 lock->waiters[i].handle);

		if (claim == NULL)
			return "is awaited by no session, or twice by one handle";
		claim->ticket = lock->waiters[i].ticket;
	}
	return NULL;
}

static char *sentence(const char *what, uint64_t key, const char *trouble)
{
	char text[256];

	snprintf(text, sizeof(text), "%s %" PRIu64 " %s", what, key, trouble);
	return mem_strdup(text);
}

static char *link_all(struct cell *c)
{
	struct node_entry *n;
	struct lock_entry *l;
	const char *trouble;

	RB_FOREACH(n, node_tree, &c->index->nodes) {
		trouble = link_node(c, n);
		if (trouble == NULL)
			trouble = link_keepers(c, n);
		if (trouble != NULL)
			return sentence("node", n->node.instance, trouble);
	}
	RB_FOREACH(l, lock_tree, &c->index->locks) {
		trouble = link_lock(c, l);
		if (trouble != NULL)
			return sentence("the lock of node", l->lock.instance, trouble);
	}
	if (c->meta.revision.n == 0)
		return mem_strdup("the row of the cell itself is missing");
	if (c->index->root == NULL)
		return mem_strdup("the root directory is missing");
	return NULL;
}

static void hash_all(struct cell *c)
{
	struct node_entry *n;
	struct lock_entry *l;
	struct session_entry *s;

	c->meta_row.hash = digest_of_meta(&c->meta);
	RB_FOREACH(n, node_tree, &c->index->nodes) {
		n->row.hash = digest_of_node(&n->node);
		node_judge_reapable(c, n);
	}
	RB_FOREACH(l, lock_tree, &c->index->locks)
		l->row.hash = digest_of_lock(&l->lock);
	RB_FOREACH(s, session_tree, &c->index->sessions)
		s->row.hash = digest_of_session(&s->session);
	c->effect_count = 0; /* nobody is told what was so before */
	c->digest = digest_recompute(c);
	digest_remember(c);
}

enum error cell_load_end(struct cell *c, char **ret_trouble)
{
	char *trouble = link_all(c);
	const char *broken;

	if (trouble == NULL) {
		hash_all(c);
		broken = cell_invariants(c);
		if (broken != NULL)
			trouble = mem_strdup(broken);
	}
	if (trouble == NULL)
		return ERROR_OK;
	*ret_trouble = trouble;
	return ERROR_STORAGE_CORRUPT;
}
