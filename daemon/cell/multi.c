/*
 * Several operations at one revision, all or none (design section 4; Paxos Made Live, 5.6).
 *
 * Guards are judged first. Then the operations run one after the other, each on what the former
 * ones left, and each notes how it is undone. The first that is refused undoes them all. What
 * cannot be undone, or would be seen outside, waits for the end: waiters are let in, deleted nodes
 * are destroyed and effects are told only when every operation succeeded.
 *
 * An operation that needs a revision of its own (the second node created; a lock taken anew)
 * advances the revision inside the entry.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct step {
	enum multi_kind kind;
	struct node_entry *node;
	struct node_entry *parent; /* CREATE, DELETE */
	/* WRITE: what was there. */
	struct bytes contents; /* owned */
	uint64_t contents_generation;
	uint64_t checksum;
	int64_t modified_unix_ms;
	/* ACQUIRE, RELEASE: the lock's own fields as they were, and the hold that came or went. */
	struct lock lock;
	bool lock_made;
	uint32_t position;
	struct lock_holder holder;
};

struct multi {
	struct cell *c;
	const struct entry *e;
	struct step *steps; /* owned, one for each operation that ran */
	uint32_t step_count;
	/* As they were at the beginning. */
	struct revision revision;
	struct digest digest;
	struct dirty_mark_point dirty;
	uint32_t effect_count;
	uint32_t grants_made;
};

/* ---- guards -------------------------------------------------------------------------------- */

static bool is_guard(enum multi_kind kind)
{
	return kind >= MULTI_GUARD_EXISTS && kind <= MULTI_GUARD_TOKEN;
}

static bool is_held_by(const struct cell *c, const struct lock *l, const struct multi_op *op)
{
	if (op->handle.n != 0)
		return cell_holder(c, l->instance, (struct session_id){op->number}, op->handle) !=
		       NULL;
	for (uint32_t i = 0; i < l->holder_count; i++)
		if (l->holders[i].session.n == op->number)
			return true;
	return false;
}

static bool guard_holds(const struct cell *c, const struct multi_op *op)
{
	const struct node *n = cell_node_at(c, op->path);

	if (op->kind == MULTI_GUARD_ABSENT)
		return n == NULL;
	if (n == NULL || (op->instance != 0 && op->instance != n->instance))
		return false;
	switch (op->kind) {
	case MULTI_GUARD_EXISTS:
		return true;
	case MULTI_GUARD_GENERATION:
		return n->contents_generation == op->number;
	case MULTI_GUARD_HOLDER:
		return n->lock != NULL && is_held_by(c, n->lock, op);
	case MULTI_GUARD_TOKEN:
		return n->lock != NULL && n->lock->mode != LOCK_FREE &&
		       n->lock->period.n == op->number;
	default:
		CHECK_UNREACHABLE("no guard");
	}
}

/* ---- operations ---------------------------------------------------------------------------- */

static enum error do_create(struct multi *m, const struct multi_op *op, struct step *step,
			    struct result *r)
{
	struct node_plan plan = {.path = op->path, .kind = op->node_kind, .contents = op->contents};
	enum error error = node_plan_check(&plan);

	(void)r;
	if (error != ERROR_OK)
		return error;
	if (node_at(m->c, op->path) != NULL)
		return ERROR_EXISTS;
	error = node_parent_of(m->c, op->path, &step->parent);
	if (error != ERROR_OK)
		return error;
	if (step->parent->node.kind != NODE_DIRECTORY)
		return ERROR_NOT_DIRECTORY;
	step->node = node_make(m->c, step->parent, &plan);
	return ERROR_OK;
}

/* The node that an operation other than CREATE means. */
static enum error find_node(const struct multi *m, const struct multi_op *op,
			    struct node_entry **ret_node)
{
	struct node_entry *n = node_at(m->c, op->path);

	if (n == NULL)
		return ERROR_NOT_FOUND;
	if (op->instance != 0 && op->instance != n->node.instance)
		return ERROR_HANDLE_STALE;
	*ret_node = n;
	return ERROR_OK;
}

static enum error do_write(struct multi *m, const struct multi_op *op, struct step *step,
			   struct result *r)
{
	struct node *node = &step->node->node;
	enum error error = node_writable(step->node, op->number, op->contents, r);

	if (error != ERROR_OK)
		return error;
	step->contents = node->contents;
	step->contents_generation = node->contents_generation;
	step->checksum = node->checksum;
	step->modified_unix_ms = node->modified_unix_ms;
	node->contents = BYTES_NONE;
	node_set_contents(m->c, step->node, op->contents);
	node->modified_unix_ms = m->c->meta.wall_unix_ms;
	return ERROR_OK;
}

/* The node leaves the tree now, so that its name is free, and memory at the end. */
static enum error do_delete(struct multi *m, const struct multi_op *op, struct step *step,
			    struct result *r)
{
	enum error error = node_deletable(m->c, step->node, m->e->session, op->number, r);

	if (error != ERROR_OK)
		return error;
	step->parent = node_parent(m->c, step->node);
	node_unlink(step->parent, step->node);
	return ERROR_OK;
}

static enum error do_acquire(struct multi *m, const struct multi_op *op, struct step *step,
			     struct result *r)
{
	struct node_entry *n = step->node;
	struct lock_wish wish = {
		.session = session_find(m->c, m->e->session),
		.handle = op->handle,
		.mode = op->mode,
		.lock_delay_ns = CELL_LOCK_DELAY_DEFAULT_NS,
	};
	const struct lock_holder *h;
	struct lock_entry *l;

	if (op->mode != LOCK_SHARED && op->mode != LOCK_EXCLUSIVE)
		return ERROR_MALFORMED;
	if (claim_find(m->c, m->e->session, n->node.instance, op->handle) != NULL)
		return ERROR_ALREADY_HELD;
	if (n->node.lock != NULL &&
	    (n->node.lock->waiter_count > 0 || !lock_admits(n->node.lock, op->mode)))
		return ERROR_BUSY;
	step->lock_made = n->node.lock == NULL;
	l = lock_ensure(m->c, n);
	step->lock = l->lock;
	h = lock_grant(m->c, n, &wish);
	step->position = l->lock.holder_count - 1;
	step->holder = *h;
	if (r->grant.revision.n == 0)
		result_tell_grant(r, &l->lock, h);
	return ERROR_OK;
}

static enum error do_release(struct multi *m, const struct multi_op *op, struct step *step,
			     struct result *r)
{
	struct node_entry *n = step->node;
	const struct claim *claim = claim_find(m->c, m->e->session, n->node.instance, op->handle);
	struct lock *lock = n->node.lock;

	(void)r;
	if (claim == NULL || !claim->holds)
		return ERROR_NOT_HELD;
	step->lock = *lock;
	step->position = lock_holder_position(lock, claim->grant);
	step->holder = lock->holders[step->position];
	lock_drop_holder(m->c, n, step->position, false, ERROR_OK);
	return ERROR_OK;
}

static enum error do_step(struct multi *m, const struct multi_op *op, struct step *step,
			  struct result *r)
{
	enum error error;

	step->kind = op->kind;
	if (op->kind == MULTI_CREATE)
		return do_create(m, op, step, r);
	error = find_node(m, op, &step->node);
	if (error != ERROR_OK)
		return error;
	switch (op->kind) {
	case MULTI_WRITE:
		return do_write(m, op, step, r);
	case MULTI_DELETE:
		return do_delete(m, op, step, r);
	case MULTI_ACQUIRE:
		return do_acquire(m, op, step, r);
	case MULTI_RELEASE:
		return do_release(m, op, step, r);
	default:
		CHECK_UNREACHABLE("no operation");
	}
}

/* ---- undoing ------------------------------------------------------------------------------- */

static void restore_lock_fields(struct lock *lock, const struct lock *before)
{
	lock->mode = before->mode;
	lock->generation = before->generation;
	lock->period = before->period;
}

static void undo_acquire(struct cell *c, const struct step *step)
{
	lock_drop_holder(c, step->node, step->position, false, ERROR_OK);
	restore_lock_fields(step->node->node.lock, &step->lock);
	if (step->lock_made)
		lock_destroy(c, step->node);
}

static void undo_release(struct cell *c, const struct step *step)
{
	struct lock_entry *l = lock_of(step->node);
	struct claim *claim = claim_add(c, session_find(c, step->holder.session), l->lock.instance,
					step->holder.handle);

	claim->holds = true;
	claim->grant = step->holder.grant;
	lock_put_holder(l, step->position, &step->holder);
	digest_add(&c->digest, digest_of_holder(l->lock.instance, &step->holder));
	restore_lock_fields(&l->lock, &step->lock);
}

static void undo_write(const struct step *step)
{
	struct node *node = &step->node->node;

	owned_free(&node->contents);
	node->contents = step->contents;
	node->contents_generation = step->contents_generation;
	node->checksum = step->checksum;
	node->modified_unix_ms = step->modified_unix_ms;
}

static void undo_step(struct cell *c, const struct step *step)
{
	switch (step->kind) {
	case MULTI_CREATE:
		node_unlink(step->parent, step->node);
		node_destroy(c, step->node);
		node_judge_reapable(c, step->parent);
		break;
	case MULTI_WRITE:
		undo_write(step);
		break;
	case MULTI_DELETE:
		node_link(step->parent, step->node);
		break;
	case MULTI_ACQUIRE:
		undo_acquire(c, step);
		break;
	case MULTI_RELEASE:
		undo_release(c, step);
		break;
	default:
		CHECK_UNREACHABLE("no operation");
	}
}

static void undo_all(struct multi *m)
{
	while (m->step_count > 0)
		undo_step(m->c, &m->steps[--m->step_count]);
	/* The revisions that it took are given again, so no row may be left that names them. */
	dirty_return_to(m->c, m->dirty);
	m->c->meta.revision = m->revision;
	m->c->effect_count = m->effect_count;
	m->c->grants_made = m->grants_made;
	CHECK(digest_equal(m->c->digest, m->digest));
}

/* ---- the end that is seen outside ---------------------------------------------------------- */

/* In the order of the operations; after a node's DELETE no step names it. */
static void finish_step(struct cell *c, struct step *step)
{
	switch (step->kind) {
	case MULTI_CREATE:
		node_effect(c, EFFECT_NODE_CREATED, step->node);
		break;
	case MULTI_WRITE:
		owned_free(&step->contents);
		node_touch(c, step->node);
		node_effect(c, EFFECT_NODE_CHANGED, step->node);
		break;
	case MULTI_DELETE:
		node_finish_delete(c, step->node);
		break;
	case MULTI_ACQUIRE:
	case MULTI_RELEASE:
		lock_settle(c, step->node);
		break;
	default:
		CHECK_UNREACHABLE("no operation");
	}
}

static bool is_sound(const struct entry *e)
{
	bool operations = false;

	if (e->multi.count == 0 || e->multi.count > MULTI_OPS_MAX || e->multi.ops == NULL)
		return false;
	for (uint32_t i = 0; i < e->multi.count; i++) {
		enum multi_kind kind = e->multi.ops[i].kind;

		if (kind < MULTI_GUARD_EXISTS || kind > MULTI_RELEASE)
			return false;
		if (is_guard(kind) && operations)
			return false;
		if ((kind == MULTI_ACQUIRE || kind == MULTI_RELEASE) && e->session.n == 0)
			return false;
		operations = operations || !is_guard(kind);
	}
	return true;
}

/* Runs guards and operations; *ret_at is how far it came. */
static enum error run(struct multi *m, struct result *r, uint32_t *ret_at)
{
	enum error error = ERROR_OK;
	uint32_t i;

	for (i = 0; i < m->e->multi.count && error == ERROR_OK; i++) {
		const struct multi_op *op = &m->e->multi.ops[i];

		*ret_at = i;
		if (is_guard(op->kind)) {
			error = guard_holds(m->c, op) ? ERROR_OK : ERROR_GUARD_FAILED;
			continue;
		}
		error = do_step(m, op, &m->steps[m->step_count], r);
		if (error == ERROR_OK)
			m->step_count++;
	}
	return error;
}

enum error apply_multi(struct cell *c, const struct entry *e, struct result *r)
{
	struct multi m = {
		.c = c,
		.e = e,
		.revision = c->meta.revision,
		.digest = c->digest,
		.dirty = dirty_point(c),
		.effect_count = c->effect_count,
		.grants_made = c->grants_made,
	};
	uint32_t at = 0;
	enum error error;

	if (!is_sound(e))
		return ERROR_MALFORMED;
	m.steps = mem_zalloc(e->multi.count * sizeof(m.steps[0]));
	error = run(&m, r, &at);
	if (error == ERROR_OK) {
		for (uint32_t i = 0; i < m.step_count; i++)
			finish_step(c, &m.steps[i]);
	} else {
		undo_all(&m);
		*r = (struct result){.generation = at};
	}
	free(m.steps);
	return error;
}
