/*
 * The mechanics of a lock: its holders, its queue, its lock-delay.
 *
 *                        grant
 *            FREE ─────────────────────▶ SHARED or EXCLUSIVE ⟲ shared grants while no writer waits
 *             ▲                                   │
 *             └───── last holder leaves ──────────┘
 *
 * A lock-delay runs beside these states: after a failed exclusive hold it bars everybody, so the
 * lock is free; after a failed shared hold it bars exclusive requests, while others may go on
 * holding. A waiter is let in only from the head of the queue, and consecutive shared waiters
 * together: thus nobody overtakes, and a waiting writer is not starved.
 *
 * Every change ends with lock_settle(), after which nobody waits who could be let in (C3).
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* Small arrays are kept when they empty: a lock in use goes back and forth between none and one. */
#define KEPT_CAPACITY 8

static bool grant_less(struct grant a, struct grant b)
{
	return a.revision.n != b.revision.n ? a.revision.n < b.revision.n : a.index < b.index;
}

uint32_t lock_holder_position(const struct lock *l, struct grant grant)
{
	uint32_t low = 0, high = l->holder_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (grant_less(l->holders[middle].grant, grant))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == l->holder_count || grant_less(grant, l->holders[low].grant))
		return UINT32_MAX;
	return low;
}

uint32_t lock_waiter_position(const struct lock *l, struct revision ticket)
{
	uint32_t low = 0, high = l->waiter_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (l->waiters[middle].ticket.n < ticket.n)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == l->waiter_count || l->waiters[low].ticket.n != ticket.n)
		return UINT32_MAX;
	return low;
}

/* ---- arrays -------------------------------------------------------------------------------- */

void lock_put_holder(struct lock_entry *l, uint32_t position, const struct lock_holder *h)
{
	struct lock *lock = &l->lock;

	CHECK(position <= lock->holder_count);
	if (lock->holder_count == l->holder_capacity) {
		l->holder_capacity = grown_capacity(l->holder_capacity, lock->holder_count + 1);
		lock->holders = mem_realloc_array(lock->holders, l->holder_capacity,
						  sizeof(lock->holders[0]));
	}
	memmove(lock->holders + position + 1, lock->holders + position,
		(lock->holder_count - position) * sizeof(lock->holders[0]));
	lock->holders[position] = *h;
	lock->holder_count++;
}

static void take_holder(struct lock_entry *l, uint32_t position)
{
	struct lock *lock = &l->lock;

	CHECK(position < lock->holder_count);
	lock->holder_count--;
	memmove(lock->holders + position, lock->holders + position + 1,
		(lock->holder_count - position) * sizeof(lock->holders[0]));
	if (lock->holder_count == 0 && l->holder_capacity > KEPT_CAPACITY) {
		free(lock->holders);
		lock->holders = NULL;
		l->holder_capacity = 0;
	}
}

/* The queue moves forward in its memory as its head is served; here it gets room at its end. */
static void make_room_for_waiter(struct lock_entry *l)
{
	struct lock *lock = &l->lock;
	uint32_t head = l->waiter_base == NULL ? 0 : (uint32_t)(lock->waiters - l->waiter_base);

	if (head + lock->waiter_count < l->waiter_capacity)
		return;
	if (head >= l->waiter_capacity / 2 && head > 0) {
		memmove(l->waiter_base, lock->waiters,
			lock->waiter_count * sizeof(lock->waiters[0]));
		lock->waiters = l->waiter_base;
		return;
	}
	l->waiter_capacity = grown_capacity(l->waiter_capacity, head + lock->waiter_count + 1);
	l->waiter_base = mem_realloc_array(l->waiter_base, l->waiter_capacity,
					   sizeof(lock->waiters[0]));
	lock->waiters = l->waiter_base + head;
}

void lock_append_waiter(struct lock_entry *l, const struct lock_waiter *w)
{
	make_room_for_waiter(l);
	l->lock.waiters[l->lock.waiter_count++] = *w;
}

/* Whichever side of the queue is shorter moves. */
static void take_waiter(struct lock_entry *l, uint32_t position)
{
	struct lock *lock = &l->lock;

	CHECK(position < lock->waiter_count);
	lock->waiter_count--;
	if (position < lock->waiter_count / 2) {
		memmove(lock->waiters + 1, lock->waiters, position * sizeof(lock->waiters[0]));
		lock->waiters++;
	} else {
		memmove(lock->waiters + position, lock->waiters + position + 1,
			(lock->waiter_count - position) * sizeof(lock->waiters[0]));
	}
	if (lock->waiter_count > 0)
		return;
	if (l->waiter_capacity > KEPT_CAPACITY) {
		free(l->waiter_base);
		l->waiter_base = NULL;
		l->waiter_capacity = 0;
	}
	lock->waiters = l->waiter_base;
}

/* ---- a lock's beginning and end ------------------------------------------------------------ */

struct lock_entry *lock_ensure(struct cell *c, struct node_entry *n)
{
	struct lock_entry *l = lock_of(n);

	if (l != NULL)
		return l;
	l = mem_zalloc(sizeof(*l));
	l->lock.instance = n->node.instance;
	CHECK(RB_INSERT(lock_tree, &c->index->locks, l) == NULL);
	n->node.lock = &l->lock;
	return l;
}

void lock_entry_free(struct lock_entry *l)
{
	free(l->lock.holders);
	free(l->waiter_base);
	free(l);
}

void lock_destroy(struct cell *c, struct node_entry *n)
{
	struct lock_entry *l = lock_of(n);

	CHECK(l->lock.holder_count == 0 && l->lock.waiter_count == 0);
	row_forget(c, ROW_LOCK, l->lock.instance, &l->row);
	RB_REMOVE(lock_tree, &c->index->locks, l);
	n->node.lock = NULL;
	lock_entry_free(l);
}

/* ---- in ------------------------------------------------------------------------------------ */

bool lock_admits(const struct lock *l, enum lock_mode mode)
{
	CHECK(mode == LOCK_SHARED || mode == LOCK_EXCLUSIVE);
	if (lock_delayed(l) && (l->delay_after == LOCK_EXCLUSIVE || mode == LOCK_EXCLUSIVE))
		return false;
	return l->mode == LOCK_FREE || (l->mode == LOCK_SHARED && mode == LOCK_SHARED &&
					l->holder_count < CELL_HOLDERS_MAX);
}

/* Gives the claim, new or waiting until now, a hold. */
static const struct lock_holder *hold(struct cell *c, struct node_entry *n, struct claim *claim,
				      enum lock_mode mode, int64_t lock_delay_ns)
{
	struct lock_entry *l = lock_of(n);
	struct lock *lock = &l->lock;
	struct lock_holder h = {.session = claim->session, .handle = claim->handle};

	CHECK(lock_admits(lock, mode));
	if (lock->mode == LOCK_FREE) {
		/* No two hold periods of a lock share a token, not even within one multi. */
		if (lock->period.n == c->meta.revision.n)
			revision_advance(c);
		lock->generation++;
		lock->period = c->meta.revision;
		lock->mode = mode;
	}
	h.grant = (struct grant){.revision = c->meta.revision, .index = c->grants_made++};
	h.lock_delay_ns = lock_delay_ns;
	h.since_unix_ms = c->meta.wall_unix_ms;
	lock_put_holder(l, lock->holder_count, &h);
	digest_add(&c->digest, digest_of_holder(lock->instance, &h));
	claim->holds = true;
	claim->grant = h.grant;
	claim->ticket = (struct revision){0};
	return &lock->holders[lock->holder_count - 1];
}

const struct lock_holder *lock_grant(struct cell *c, struct node_entry *n,
				     const struct lock_wish *wish)
{
	struct claim *claim = claim_add(c, wish->session, n->node.instance, wish->handle);

	return hold(c, n, claim, wish->mode, wish->lock_delay_ns);
}

void lock_enqueue(struct cell *c, struct node_entry *n, const struct lock_wish *wish)
{
	struct lock_entry *l = lock_of(n);
	struct lock_waiter w = {
		.session = wish->session->session.id,
		.handle = wish->handle,
		.ticket = c->meta.revision,
		.mode = wish->mode,
		.lock_delay_ns = wish->lock_delay_ns,
		.wait_ns = wish->wait_ns,
		.since_unix_ms = c->meta.wall_unix_ms,
	};
	struct claim *claim = claim_add(c, wish->session, n->node.instance, wish->handle);

	CHECK(l->lock.waiter_count < CELL_WAITERS_MAX);
	claim->ticket = w.ticket;
	lock_append_waiter(l, &w);
	digest_add(&c->digest, digest_of_waiter(l->lock.instance, &w));
}

/* ---- out ----------------------------------------------------------------------------------- */

/*
 * A second failed shared hold finds the delay of a first one running. How long that has left is
 * not known here, where no time passes; the longer of both, begun anew, covers both.
 */
static void begin_delay(struct cell *c, struct lock *lock, int64_t delay_ns)
{
	struct effect *f;

	CHECK(!lock_delayed(lock) ||
	      (lock->delay_after == LOCK_SHARED && lock->mode == LOCK_SHARED));
	lock->delay_ns = delay_ns > lock->delay_ns ? delay_ns : lock->delay_ns;
	lock->delay_began = c->meta.revision;
	lock->delay_after = lock->mode;
	f = effect_add(c, EFFECT_LOCK_DELAY_BEGAN);
	f->instance = lock->instance;
	f->delay_ns = lock->delay_ns;
	f->revision = lock->delay_began;
	f->mode = lock->delay_after;
}

void lock_drop_holder(struct cell *c, struct node_entry *n, uint32_t position, bool failed,
		      enum error why)
{
	struct lock_entry *l = lock_of(n);
	struct lock_holder h;
	struct effect *f;

	CHECK(position < l->lock.holder_count);
	h = l->lock.holders[position];
	f = effect_add(c, EFFECT_HOLD_ENDED);
	f->session = h.session;
	f->handle = h.handle;
	f->instance = l->lock.instance;
	f->grant = h.grant;
	f->token = l->lock.period;
	f->lock_generation = l->lock.generation;
	f->mode = l->lock.mode;
	f->error = why;

	take_holder(l, position);
	digest_subtract(&c->digest, digest_of_holder(l->lock.instance, &h));
	claim_remove(c, claim_find(c, h.session, l->lock.instance, h.handle));
	if (failed && h.lock_delay_ns > 0)
		begin_delay(c, &l->lock, h.lock_delay_ns);
	if (l->lock.holder_count == 0)
		l->lock.mode = LOCK_FREE;
}

void lock_drop_waiter(struct cell *c, struct node_entry *n, uint32_t position, enum error why)
{
	struct lock_entry *l = lock_of(n);
	struct lock_waiter w;
	struct effect *f;

	CHECK(position < l->lock.waiter_count);
	w = l->lock.waiters[position];
	f = effect_add(c, EFFECT_WAIT_ENDED);
	f->session = w.session;
	f->handle = w.handle;
	f->instance = l->lock.instance;
	f->ticket = w.ticket;
	f->mode = w.mode;
	f->error = why;

	take_waiter(l, position);
	digest_subtract(&c->digest, digest_of_waiter(l->lock.instance, &w));
	claim_remove(c, claim_find(c, w.session, l->lock.instance, w.handle));
}

void lock_drop_all(struct cell *c, struct node_entry *n, enum error why)
{
	struct lock *lock = n->node.lock;

	while (lock->holder_count > 0)
		lock_drop_holder(c, n, lock->holder_count - 1, false, why);
	while (lock->waiter_count > 0)
		lock_drop_waiter(c, n, 0, why);
}

void lock_end_delay(struct cell *c, struct node_entry *n)
{
	struct lock *lock = n->node.lock;

	CHECK(lock_delayed(lock));
	lock->delay_ns = 0;
	lock->delay_began = (struct revision){0};
	lock->delay_after = LOCK_FREE;
	effect_add(c, EFFECT_LOCK_DELAY_ENDED)->instance = lock->instance;
}

/* ---- the queue moves ----------------------------------------------------------------------- */

static void grant_head(struct cell *c, struct node_entry *n)
{
	struct lock_entry *l = lock_of(n);
	struct lock_waiter w = l->lock.waiters[0];
	struct claim *claim = claim_find(c, w.session, l->lock.instance, w.handle);
	const struct lock_holder *h;
	struct effect *f;

	CHECK(claim != NULL && !claim->holds);
	take_waiter(l, 0);
	digest_subtract(&c->digest, digest_of_waiter(l->lock.instance, &w));
	h = hold(c, n, claim, w.mode, w.lock_delay_ns);

	f = effect_add(c, EFFECT_GRANTED);
	f->session = w.session;
	f->handle = w.handle;
	f->instance = l->lock.instance;
	f->ticket = w.ticket;
	f->grant = h->grant;
	f->token = l->lock.period;
	f->lock_generation = l->lock.generation;
	f->mode = w.mode;
}

void lock_settle(struct cell *c, struct node_entry *n)
{
	struct lock_entry *l = lock_of(n);

	while (l->lock.waiter_count > 0 && lock_admits(&l->lock, l->lock.waiters[0].mode))
		grant_head(c, n);
	lock_touch(c, l);
	node_judge_reapable(c, n);
}
