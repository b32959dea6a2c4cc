/*
 * C1 to C7 of cell.h, and that every index says what the objects say.
 */
#include "cell/cell_internal.h"

#include <string.h>

struct totals {
	uint64_t nodes, sessions, children, keepers, claims, session_locks, reapables;
};

static const char *check_holders(const struct cell *c, const struct lock *l)
{
	for (uint32_t i = 0; i < l->holder_count; i++) {
		const struct lock_holder *h = &l->holders[i];
		const struct claim *claim = claim_find(c, h->session, l->instance, h->handle);

		if (session_find(c, h->session) == NULL)
			return "C2: a holder's session does not live";
		if (claim == NULL || !claim->holds || lock_holder_position(l, claim->grant) != i)
			return "a holder has no claim, or another one's";
		if (h->grant.revision.n < l->period.n || h->grant.revision.n > c->meta.revision.n)
			return "C5: a grant is older than its hold period, or of the future";
		if (h->lock_delay_ns < 0 || h->lock_delay_ns > CELL_LOCK_DELAY_MAX_NS)
			return "a holder's lock-delay is out of range";
	}
	if (l->holder_count > 0 && (l->period.n < l->instance || l->period.n > c->meta.revision.n))
		return "C5: a token is older than the node, or of the future";
	return NULL;
}

static const char *check_waiters(const struct cell *c, const struct lock *l)
{
	for (uint32_t i = 0; i < l->waiter_count; i++) {
		const struct lock_waiter *w = &l->waiters[i];
		const struct claim *claim = claim_find(c, w->session, l->instance, w->handle);

		if (session_find(c, w->session) == NULL)
			return "C2: a waiter's session does not live";
		if (claim == NULL || claim->holds || claim->ticket.n != w->ticket.n)
			return "a waiter has no claim, or another one's";
		if (i > 0 && l->waiters[i - 1].ticket.n >= w->ticket.n)
			return "C3: waiters do not stand in order of their tickets";
		if (w->ticket.n > c->meta.revision.n)
			return "C3: a ticket of the future";
	}
	if (l->waiter_count > 0 && lock_admits(l, l->waiters[0].mode))
		return "C3: somebody waits for a lock that it could have";
	return NULL;
}

static const char *check_lock(const struct cell *c, const struct lock *l)
{
	const char *broken;

	if ((l->mode == LOCK_FREE) != (l->holder_count == 0))
		return "C1: a lock is held by nobody, or free and held";
	if (l->mode == LOCK_EXCLUSIVE && l->holder_count != 1)
		return "C1: an exclusive lock has several holders";
	if (l->waiter_count > CELL_WAITERS_MAX)
		return "a queue is longer than its maximum";
	if (l->delay_ns < 0 || l->delay_ns > CELL_LOCK_DELAY_MAX_NS ||
	    (l->delay_ns > 0) != (l->delay_began.n > 0) ||
	    (l->delay_ns > 0) != (l->delay_after != LOCK_FREE))
		return "a lock-delay contradicts itself";
	if (l->delay_ns > 0 && (l->mode == LOCK_EXCLUSIVE ||
				(l->delay_after == LOCK_EXCLUSIVE && l->holder_count > 0)))
		return "a lock is held by somebody whom its lock-delay bars";
	broken = check_holders(c, l);
	return broken != NULL ? broken : check_waiters(c, l);
}

static const char *check_keepers(const struct cell *c, const struct node_entry *n)
{
	for (uint32_t i = 0; i < n->node.keeper_count; i++) {
		const struct keeper *keeper = &n->node.keepers[i];

		if (session_find(c, keeper->session) == NULL)
			return "C2: a keeper's session does not live";
		if (keep_find(c, n->node.instance, *keeper) == NULL)
			return "a keeper is not in the index";
		if (i > 0 && !keeper_before(keeper[-1], *keeper))
			return "keepers do not stand in order";
	}
	if (n->node.keeper_count > 0 && !n->node.ephemeral)
		return "a permanent node has keepers";
	return NULL;
}

static const char *check_children(struct node_entry *n)
{
	const struct node_entry *before = NULL;
	struct node_entry *child;
	uint32_t count = 0;

	RB_FOREACH(child, name_tree, &n->children) {
		if (child->node.parent != n->node.instance)
			return "C4: a child has another parent";
		if (before != NULL &&
		    bytes_compare(node_entry_name(before), node_entry_name(child)) >= 0)
			return "children do not stand in order of their names";
		before = child;
		count++;
	}
	if (count != n->node.child_count)
		return "a directory miscounts its children";
	if (count > 0 && n->node.kind != NODE_DIRECTORY)
		return "C4: a file has children";
	return NULL;
}

static bool looks_reapable(const struct node *n)
{
	return n->ephemeral && n->keeper_count == 0 && n->child_count == 0 &&
	       (n->lock == NULL || (n->lock->mode == LOCK_FREE && n->lock->delay_ns == 0));
}

static const char *check_node(const struct cell *c, struct node_entry *n)
{
	const struct node_entry *parent = node_parent(c, n);
	const struct lock_entry *l = lock_find(c, n->node.instance);
	const char *broken;

	if ((parent == NULL) != (n == c->index->root))
		return "C4: a node but the root has no parent";
	if (parent != NULL && parent->node.kind != NODE_DIRECTORY)
		return "C4: a parent is no directory";
	if (node_at(c, n->node.path) != n)
		return "C4: a node is not found by its path";
	if (n->node.instance > c->meta.revision.n ||
	    n->node.contents_generation > c->meta.revision.n ||
	    n->node.acl_generation > c->meta.revision.n)
		return "a node is of the future";
	if (n->node.lock != (l == NULL ? NULL : &l->lock))
		return "a node and its lock disagree";
	if (n->reapable != looks_reapable(&n->node))
		return "an ephemeral node is wrongly listed, or not, as to be reaped";
	broken = check_children(n);
	return broken != NULL ? broken : check_keepers(c, n);
}

static const char *check_session(const struct cell *c, const struct session *s)
{
	if (s->result_count > CELL_RESULTS_MAX)
		return "C7: a session keeps too many results";
	for (uint32_t i = 0; i < s->result_count; i++) {
		if (s->results[i].number < s->lowest_unanswered)
			return "C7: a session keeps a result below its line";
		if (i > 0 && s->results[i - 1].number >= s->results[i].number)
			return "C7: results do not stand in order";
	}
	if (s->id.n > c->meta.revision.n || s->ended)
		return "a session is of the future, or ended";
	if (s->lease_ns > c->meta.longest_lease_ns)
		return "a session's lease is longer than the cell's longest";
	return NULL;
}

static const char *check_session_locks(const struct cell *c, const struct session *s)
{
	struct claim *claim = claim_from(c, s->id, 0, (struct handle_id){0});

	for (uint32_t i = 0; i < s->lock_count; i++) {
		if (claim == NULL || claim->session.n != s->id.n || claim->instance != s->locks[i])
			return "a session's locks are not its claims";
		claim = RB_NEXT(claim_tree, &c->index->claims, claim);
	}
	return NULL;
}

static const char *check_objects(const struct cell *c, struct totals *t)
{
	const char *broken = NULL;
	struct node_entry *n;
	struct lock_entry *l;
	struct session_entry *s;

	RB_FOREACH(n, node_tree, &c->index->nodes) {
		t->nodes++;
		t->children += n->node.child_count;
		t->keepers += n->node.keeper_count;
		t->reapables += n->reapable;
		broken = broken != NULL ? broken : check_node(c, n);
	}
	RB_FOREACH(l, lock_tree, &c->index->locks) {
		t->claims += l->lock.holder_count + l->lock.waiter_count;
		if (broken == NULL && node_find(c, l->lock.instance) == NULL)
			broken = "a lock belongs to no node";
		broken = broken != NULL ? broken : check_lock(c, &l->lock);
	}
	RB_FOREACH(s, session_tree, &c->index->sessions) {
		t->sessions++;
		t->session_locks += s->session.lock_count;
		broken = broken != NULL ? broken : check_session(c, &s->session);
		broken = broken != NULL ? broken : check_session_locks(c, &s->session);
	}
	return broken;
}

/* Each object was found in the index; equal counts say that the index has nothing else. */
static const char *check_counts(const struct cell *c, const struct totals *t)
{
	uint64_t claims = 0, keeps = 0, reapables = 0;
	struct claim *claim;
	struct keep *k;
	struct reapable *r;

	RB_FOREACH(claim, claim_tree, &c->index->claims)
		claims++;
	RB_FOREACH(k, keep_tree, &c->index->keeps)
		keeps++;
	RB_FOREACH(r, reapable_tree, &c->index->reapables)
		reapables++;
	if (t->nodes != c->node_count || t->sessions != c->session_count)
		return "the cell miscounts its nodes or sessions";
	if (t->children + 1 != t->nodes)
		return "C4: a node is nobody's child";
	if (claims != t->claims || claims != t->session_locks)
		return "the index of claims does not match the locks";
	if (keeps != t->keepers)
		return "the index of keeps does not match the keepers";
	if (reapables != t->reapables)
		return "the list of reapable nodes does not match the nodes";
	return NULL;
}

const char *cell_invariants(const struct cell *c)
{
	struct totals totals = {0};
	const char *broken = check_objects(c, &totals);

	if (broken != NULL)
		return broken;
	broken = check_counts(c, &totals);
	if (broken != NULL)
		return broken;
	if (!digest_equal(digest_recompute(c), c->digest))
		return "C6: the digest is not that of the rows";
	return NULL;
}
