/*
 * What entries do to nodes. A check comes before the first change, so that a refusal changes
 * nothing; multi.c uses the same checks and the same steps.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <string.h>

void node_effect(struct cell *c, enum effect_kind kind, const struct node_entry *n)
{
	struct effect *f = effect_add(c, kind);

	f->instance = n->node.instance;
	f->parent = n->node.parent;
}

/* ---- creating ------------------------------------------------------------------------------ */

enum error node_plan_check(const struct node_plan *plan)
{
	if (plan->kind != NODE_FILE && plan->kind != NODE_DIRECTORY)
		return ERROR_MALFORMED;
	if (plan->contents.size > CELL_CONTENTS_MAX_BYTES)
		return ERROR_TOO_LARGE;
	if (plan->kind == NODE_DIRECTORY && plan->contents.size > 0)
		return ERROR_IS_DIRECTORY;
	if (plan->acl != NULL && acl_check(plan->acl) != ERROR_OK)
		return ERROR_TOO_LARGE;
	return path_check(plan->path);
}

struct node_entry *node_make(struct cell *c, struct node_entry *parent,
			     const struct node_plan *plan)
{
	struct bytes acl[CELL_ACL_NAMES];
	struct node_entry *n;

	/* An instance is a revision; the second node that one multi makes needs one of its own. */
	if (node_find(c, c->meta.revision.n) != NULL)
		revision_advance(c);
	n = node_entry_new(c->meta.revision.n, plan->path);
	n->node.parent = parent->node.instance;
	n->node.kind = plan->kind;
	n->node.ephemeral = plan->ephemeral;
	n->node.acl_generation = c->meta.revision.n;
	n->node.created_unix_ms = c->meta.wall_unix_ms;
	n->node.modified_unix_ms = c->meta.wall_unix_ms;
	for (int i = 0; i < CELL_ACL_NAMES; i++)
		acl[i] = plan->acl != NULL && plan->acl[i].size > 0 ? plan->acl[i]
								    : parent->node.acl[i];
	acl_set(c, &n->node, acl);
	if (plan->kind == NODE_FILE)
		node_set_contents(c, n, plan->contents);

	node_link(parent, n);
	CHECK(RB_INSERT(node_tree, &c->index->nodes, n) == NULL);
	c->node_count++;
	node_touch(c, n);
	node_judge_reapable(c, parent);
	return n;
}

static void tell_node(struct result *r, const struct node_entry *n)
{
	r->instance = n->node.instance;
	r->kind = n->node.kind;
	r->generation = n->node.contents_generation;
}

/* An open: the handle becomes a keeper of what is ephemeral. Handles are kept one by one, and not
 * counted by session, so that a master that never saw them knows which are open still. */
static enum error keep_opened(struct cell *c, struct node_entry *n, struct keeper keeper)
{
	if (!n->node.ephemeral || keeper.session.n == 0 || node_has_keeper(n, keeper))
		return ERROR_OK;
	if (n->node.keeper_count >= CELL_HOLDERS_MAX)
		return ERROR_RESOURCE_EXHAUSTED;
	node_add_keeper(c, n, keeper);
	node_touch(c, n);
	node_judge_reapable(c, n);
	return ERROR_OK;
}

enum error apply_node_create(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_plan plan = {
		.path = e->node_create.path,
		.kind = e->node_create.kind,
		.contents = e->node_create.contents,
		.ephemeral = e->node_create.ephemeral,
		.acl = e->node_create.acl,
	};
	struct keeper keeper = {e->session, e->node_create.handle};
	struct node_entry *parent, *n;
	enum error error = node_plan_check(&plan);

	if (error != ERROR_OK)
		return error;
	if (plan.ephemeral && e->session.n == 0)
		return ERROR_MALFORMED;
	n = node_at(c, plan.path);
	if (n != NULL) {
		tell_node(r, n);
		if (e->node_create.exclusive)
			return ERROR_EXISTS;
		return keep_opened(c, n, keeper);
	}
	error = node_parent_of(c, plan.path, &parent);
	if (error != ERROR_OK)
		return error;
	if (parent->node.kind != NODE_DIRECTORY)
		return ERROR_NOT_DIRECTORY;

	n = node_make(c, parent, &plan);
	CHECK(keep_opened(c, n, keeper) == ERROR_OK); /* the first */
	node_effect(c, EFFECT_NODE_CREATED, n);
	tell_node(r, n);
	r->created = true;
	return ERROR_OK;
}

/* ---- deleting ------------------------------------------------------------------------------ */

static bool held_by_another(const struct lock *l, struct session_id session)
{
	for (uint32_t i = 0; i < l->holder_count; i++)
		if (session.n == 0 || l->holders[i].session.n != session.n)
			return true;
	return false;
}

enum error node_deletable(const struct cell *c, const struct node_entry *n,
			  struct session_id session, uint64_t expected_generation, struct result *r)
{
	const struct lock *l = n->node.lock;

	if (n == c->index->root)
		return ERROR_INVALID_ARGUMENT;
	if (expected_generation != 0 && expected_generation != n->node.contents_generation) {
		r->generation = n->node.contents_generation;
		return ERROR_GENERATION_MISMATCH;
	}
	if (n->node.child_count > 0)
		return ERROR_NOT_EMPTY;
	if (l != NULL && (lock_delayed(l) || held_by_another(l, session)))
		return ERROR_LOCK_HELD;
	return ERROR_OK;
}

void node_finish_delete(struct cell *c, struct node_entry *n)
{
	struct node_entry *parent = node_parent(c, n);

	CHECK(parent != NULL);
	if (n->node.lock != NULL) {
		lock_drop_all(c, n, ERROR_HANDLE_STALE);
		lock_destroy(c, n);
	}
	node_effect(c, EFFECT_NODE_DELETED, n);
	node_destroy(c, n);
	/* An ephemeral directory may have waited for its last child to go. */
	node_judge_reapable(c, parent);
}

enum error apply_node_delete(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->node_delete.instance);
	enum error error;

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	error = node_deletable(c, n, e->session, e->node_delete.expected_generation, r);
	if (error != ERROR_OK)
		return error;
	node_unlink(node_parent(c, n), n);
	node_finish_delete(c, n);
	return ERROR_OK;
}

/* ---- changing ------------------------------------------------------------------------------ */

enum error node_writable(const struct node_entry *n, uint64_t expected_generation,
			 struct bytes contents, struct result *r)
{
	if (n->node.kind != NODE_FILE)
		return ERROR_IS_DIRECTORY;
	if (contents.size > CELL_CONTENTS_MAX_BYTES)
		return ERROR_TOO_LARGE;
	if (expected_generation != 0 && expected_generation != n->node.contents_generation) {
		r->generation = n->node.contents_generation;
		return ERROR_GENERATION_MISMATCH;
	}
	return ERROR_OK;
}

enum error apply_node_write(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->node_write.instance);
	enum error error;

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	error = node_writable(n, e->node_write.expected_generation, e->node_write.contents, r);
	if (error != ERROR_OK)
		return error;
	node_set_contents(c, n, e->node_write.contents);
	n->node.modified_unix_ms = c->meta.wall_unix_ms;
	node_touch(c, n);
	node_effect(c, EFFECT_NODE_CHANGED, n);
	r->generation = n->node.contents_generation;
	return ERROR_OK;
}

enum error apply_node_set_acl(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->node_set_acl.instance);
	uint64_t expected = e->node_set_acl.expected_generation;

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	if (acl_check(e->node_set_acl.acl) != ERROR_OK)
		return ERROR_TOO_LARGE;
	if (expected != 0 && expected != n->node.acl_generation) {
		r->generation = n->node.acl_generation;
		return ERROR_GENERATION_MISMATCH;
	}
	acl_set(c, &n->node, e->node_set_acl.acl);
	n->node.acl_generation = c->meta.revision.n;
	node_touch(c, n);
	node_effect(c, EFFECT_NODE_CHANGED, n);
	r->generation = n->node.acl_generation;
	return ERROR_OK;
}

/* ---- ephemerals ---------------------------------------------------------------------------- */

enum error apply_keep(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->keep.instance);

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	if (!n->node.ephemeral)
		return ERROR_WRONG_KIND;
	return keep_opened(c, n, (struct keeper){e->session, e->keep.handle});
}

/* All at once, so that nothing is left when the master that proposed it dies. A handle that has
 * nothing is as it should be. */
enum error apply_close(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->keep.instance);
	struct keeper keeper = {e->session, e->keep.handle};

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	lock_give_up(c, n, e->session, e->keep.handle);
	if (!node_has_keeper(n, keeper))
		return ERROR_OK;
	node_remove_keeper(c, n, keeper);
	node_touch(c, n);
	node_judge_reapable(c, n);
	return ERROR_OK;
}

enum error apply_node_reap(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->keep.instance);

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	if (!n->node.ephemeral)
		return ERROR_WRONG_KIND;
	if (n->node.keeper_count > 0)
		return ERROR_GUARD_FAILED;
	if (n->node.child_count > 0)
		return ERROR_NOT_EMPTY;
	if (!n->reapable)
		return ERROR_LOCK_HELD;
	node_unlink(node_parent(c, n), n);
	node_finish_delete(c, n);
	return ERROR_OK;
}
