/*
 * What entries do to locks (design section 4). Each is one entry: what a request finds, what it
 * changes and whom it lets in happen at one revision.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

void result_tell_grant(struct result *r, const struct lock *l, const struct lock_holder *h)
{
	r->grant = h->grant;
	r->token = l->period;
	r->lock_generation = l->generation;
}

/* What a handle that has a claim already has: its grant, or its ticket. */
static void tell_claim(struct result *r, const struct lock *l, const struct claim *claim)
{
	uint32_t at;

	if (!claim->holds) {
		r->ticket = claim->ticket;
		return;
	}
	at = lock_holder_position(l, claim->grant);
	CHECK(at < l->holder_count);
	result_tell_grant(r, l, &l->holders[at]);
}

static int64_t clamp_delay(int64_t delay_ns)
{
	return delay_ns < CELL_LOCK_DELAY_MAX_NS ? delay_ns : CELL_LOCK_DELAY_MAX_NS;
}

enum error apply_acquire(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->acquire.instance);
	enum lock_mode mode = e->acquire.mode;
	struct lock_wish wish = {
		.session = session_find(c, e->session),
		.handle = e->acquire.handle,
		.mode = mode,
		.lock_delay_ns = clamp_delay(e->acquire.lock_delay_ns),
		.wait_ns = e->acquire.wait_ns,
	};
	const struct claim *claim;
	struct lock_entry *l;

	if ((mode != LOCK_SHARED && mode != LOCK_EXCLUSIVE) || e->acquire.lock_delay_ns < 0 ||
	    e->acquire.wait_ns < 0)
		return ERROR_MALFORMED;
	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	claim = claim_find(c, e->session, n->node.instance, wish.handle);
	if (claim != NULL) {
		tell_claim(r, n->node.lock, claim);
		return ERROR_ALREADY_HELD;
	}
	l = lock_ensure(c, n);
	if (l->lock.waiter_count == 0 && lock_admits(&l->lock, mode)) {
		result_tell_grant(r, &l->lock, lock_grant(c, n, &wish));
	} else if (e->acquire.try_only) {
		return ERROR_BUSY;
	} else if (l->lock.waiter_count >= CELL_WAITERS_MAX) {
		return ERROR_RESOURCE_EXHAUSTED;
	} else {
		lock_enqueue(c, n, &wish);
		r->ticket = c->meta.revision;
	}
	lock_settle(c, n);
	return ERROR_OK;
}

enum error apply_release(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->release.instance);
	const struct claim *claim;

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	claim = claim_find(c, e->session, n->node.instance, e->release.handle);
	if (claim == NULL || !claim->holds)
		return ERROR_NOT_HELD;
	tell_claim(r, n->node.lock, claim);
	lock_drop_holder(c, n, lock_holder_position(n->node.lock, claim->grant), false, ERROR_OK);
	lock_settle(c, n);
	return ERROR_OK;
}

/*
 * A waiter leaves. One that was let in just before is told so: to cancel is not to release, and
 * who does not want the lock any more says so with a release.
 */
enum error apply_cancel(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->cancel.instance);
	struct revision ticket = e->cancel.ticket;
	const struct claim *claim;
	enum error why = e->cancel.expired ? ERROR_DEADLINE_EXCEEDED : ERROR_CANCELLED;

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	claim = claim_find(c, e->session, n->node.instance, e->cancel.handle);
	if (claim == NULL)
		return ERROR_NOT_FOUND;
	if (claim->holds) {
		tell_claim(r, n->node.lock, claim);
		return ERROR_ALREADY_HELD;
	}
	if (ticket.n != 0 && ticket.n != claim->ticket.n)
		return ERROR_NOT_FOUND;
	r->ticket = claim->ticket;
	lock_drop_waiter(c, n, lock_waiter_position(n->node.lock, claim->ticket), why);
	lock_settle(c, n);
	return ERROR_OK;
}

void lock_give_up(struct cell *c, struct node_entry *n, struct session_id session,
		  struct handle_id handle)
{
	const struct claim *claim = claim_find(c, session, n->node.instance, handle);
	const struct lock *l = n->node.lock;

	if (claim == NULL)
		return;
	if (claim->holds)
		lock_drop_holder(c, n, lock_holder_position(l, claim->grant), false, ERROR_OK);
	else
		lock_drop_waiter(c, n, lock_waiter_position(l, claim->ticket), ERROR_CANCELLED);
	lock_settle(c, n);
}

enum error apply_lock_delay_end(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->lock_delay_end.instance);
	const struct lock *l;

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	l = n->node.lock;
	if (l == NULL || !lock_delayed(l) || l->delay_began.n != e->lock_delay_end.began.n)
		return ERROR_NOT_FOUND;
	lock_end_delay(c, n);
	lock_settle(c, n);
	return ERROR_OK;
}

enum error apply_revoke(struct cell *c, const struct entry *e, struct result *r)
{
	struct node_entry *n = node_find(c, e->revoke.instance);
	const struct lock *l;
	uint32_t at;

	if (n == NULL)
		return ERROR_HANDLE_STALE;
	r->instance = n->node.instance;
	l = n->node.lock;
	at = l == NULL ? UINT32_MAX : lock_holder_position(l, e->revoke.grant);
	if (at == UINT32_MAX)
		return ERROR_NOT_FOUND;
	lock_drop_holder(c, n, at, true, ERROR_LOCK_LOST);
	lock_settle(c, n);
	return ERROR_OK;
}

enum error cell_check_grant(const struct cell *c, uint64_t instance, enum lock_mode mode,
			    struct grant grant, struct revision token)
{
	struct lock_entry *l = lock_find(c, instance);

	if (l == NULL || l->lock.mode != mode || l->lock.period.n != token.n ||
	    lock_holder_position(&l->lock, grant) == UINT32_MAX)
		return ERROR_SEQUENCER_INVALID;
	return ERROR_OK;
}
