/*
 * Locks (Chubby section 2.4). The queue, the grants and the tokens are the cell's; here are the
 * calls that wait for them, and the clocks of waits and lock-delays.
 */
#include "master/master_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "wire/handle.h"
#include "wire/path.h"
#include "wire/sequencer.h"

/* ---- acquire and wait ---------------------------------------------------------------------- */

void acquire_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	int64_t delay = r->acquire.lock_delay_ns;
	struct entry e = {
		.kind = ENTRY_ACQUIRE,
		.session = r->session,
		.number = r->number,
		.lowest_unanswered = r->lowest_unanswered,
		.acquire =
			{
				.mode = r->acquire.mode == WIRE_LOCK_SHARED ? LOCK_SHARED
									    : LOCK_EXCLUSIVE,
				.try_only = r->acquire.try_only,
				.lock_delay_ns = delay < 0 ? CELL_LOCK_DELAY_DEFAULT_NS : delay,
				.wait_ns = r->acquire.wait_ns,
			},
	};

	if (r->acquire.mode == WIRE_LOCK_FREE) {
		reply_error(m, in->call, r->kind, ERROR_INVALID_ARGUMENT,
			    "say whether the lock is to be shared or exclusive");
		return;
	}
	if (delay > CELL_LOCK_DELAY_MAX_NS) {
		reply_error(m, in->call, r->kind, ERROR_INVALID_ARGUMENT,
			    "the lock-delay is at most 60 s");
		return;
	}
	if (request_repeated(m, in) || !handle_resolve(m, in, HANDLE_WRITE))
		return;
	e.acquire.instance = in->node->instance;
	e.acquire.handle.n = in->handle->number;
	propose_for(m, in, &e);
}

struct wire_grant holder_grant(struct master *m, uint64_t instance, const struct lock_holder *h)
{
	const struct lock *lock = cell_node(m->cell, instance)->lock;

	return grant_of(m, instance, lock->mode, h->grant, lock->period, lock->generation);
}

/* Nobody holds it, and yet it cannot be had: that wants to be said. NULL: somebody does. */
static const char *busy_words(struct master *m, const struct node *n)
{
	const size_t size = 128;
	char *text;

	if (n == NULL || n->lock == NULL || n->lock->holder_count > 0 || n->lock->delay_ns <= 0)
		return NULL;
	text = output_alloc(m, size);
	snprintf(text, size,
		 "its last holder failed, and its lock-delay ends in %" PRId64 ".%" PRId64 " s",
		 lock_delay_left_ns(m, n) / NS_PER_S,
		 lock_delay_left_ns(m, n) % NS_PER_S / (NS_PER_S / 10));
	return text;
}

void acquire_applied(struct master *m, const struct open_call *c, const struct result *r)
{
	struct reply out = {.kind = MESSAGE_ACQUIRE, .revision = r->revision.n};
	const struct lock_holder *h;

	if (r->error != ERROR_OK) {
		reply_error(m, c->call, MESSAGE_ACQUIRE, r->error,
			    r->error == ERROR_BUSY ? busy_words(m, cell_node(m->cell, c->instance))
						   : NULL);
		return;
	}
	if (r->ticket.n != 0) {
		out.acquire.ticket = r->ticket.n;
		reply_with(m, c->call, false, &out);
		return;
	}
	h = cell_holder(m->cell, r->instance, c->session, c->handle);
	out.acquire.grant = h != NULL && h->grant.revision.n == r->grant.revision.n
				    ? holder_grant(m, r->instance, h)
				    : grant_of(m, r->instance, LOCK_EXCLUSIVE, r->grant, r->token,
					       r->lock_generation);
	reply_with(m, c->call, false, &out);
}

void wait_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	int64_t wait_ns = r->wait.wait_ns;
	const struct lock_holder *h;
	const struct lock_waiter *w;
	struct open_call *c;

	if (!handle_resolve(m, in, HANDLE_WRITE))
		return;
	h = cell_holder(m->cell, in->node->instance, r->session,
			(struct handle_id){in->handle->number});
	if (h != NULL) {
		struct reply out = {.kind = MESSAGE_WAIT};

		out.wait.grant = holder_grant(m, in->node->instance, h);
		reply_with(m, in->call, true, &out);
		return;
	}
	w = cell_waiter(m->cell, in->node->instance, r->session,
			(struct handle_id){in->handle->number});
	if (w == NULL || (r->wait.ticket != 0 && w->ticket.n != r->wait.ticket)) {
		reply_error(m, in->call, MESSAGE_WAIT, ERROR_NOT_HELD,
			    "this handle is not in the lock's queue");
		return;
	}
	if (m->call_count >= MASTER_HELD_MAX) {
		reply_error(m, in->call, MESSAGE_WAIT, ERROR_RESOURCE_EXHAUSTED, NULL);
		return;
	}
	if (in->stream.n != 0)
		lease_bind_stream(m, in->lease, in->stream);
	c = call_hold(m, in);
	c->ticket = w->ticket.n;
	c->next_held = in->lease->waits;
	in->lease->waits = c;
	if (wait_ns <= 0 || wait_ns > MASTER_WAIT_HOLD_MAX_NS)
		wait_ns = MASTER_WAIT_HOLD_MAX_NS;
	c->timer.kind = TIMER_HELD;
	timers_set(&m->timers, &c->timer, m->session_now_ns + wait_ns);
}

/* The place in the queue is kept: the client asks again, or cancels. */
void wait_timeout(struct master *m, struct open_call *c)
{
	struct lease *l = lease_find(m, c->session);

	CHECK(l != NULL);
	reply_error(m, c->call, MESSAGE_WAIT, ERROR_DEADLINE_EXCEEDED,
		    "the place in the queue is kept: wait again, or cancel");
	lease_drop_held(m, l, c);
	call_done(m, c);
}

/* Unlike a Wait that was held for long enough, this ends the ticket. */
static const char queue_left[] =
	"the wait_ms of the acquire ran out: it is in the queue no more; acquire again";

/* Answers the held Wait calls on a ticket. */
static void waits_answer(struct master *m, const struct effect *e, const struct wire_grant *grant,
			 enum error error)
{
	struct lease *l = lease_find(m, e->session);

	if (l == NULL)
		return;
	for (struct open_call *c = l->waits, *next; c != NULL; c = next) {
		struct reply out = {.kind = MESSAGE_WAIT, .error = error};

		next = c->next_held;
		if (c->ticket != e->ticket.n)
			continue;
		if (error == ERROR_RESOURCE_EXHAUSTED)
			out.retry_after_ns = RETRY_AFTER_NS;
		if (error == ERROR_DEADLINE_EXCEEDED)
			out.message = bytes_of_text(queue_left);
		if (grant != NULL)
			out.wait.grant = *grant;
		reply_with(m, c->call, false, &out);
		lease_drop_held(m, l, c);
		call_done(m, c);
	}
}

/* The same, and it is pushed on the session's stream. */
static void ticket_news(struct master *m, const struct effect *e, const struct wire_grant *grant,
			enum error error)
{
	struct lease *l = lease_find(m, e->session);
	struct reply push = {.kind = MESSAGE_WAIT_ENDED, .error = error};

	if (error == ERROR_DEADLINE_EXCEEDED)
		push.message = bytes_of_text(queue_left);
	waits_answer(m, e, grant, error);
	if (l == NULL)
		return;
	push.wait_ended.ticket = e->ticket.n;
	push.wait_ended.handle_number = e->handle;
	if (grant != NULL)
		push.wait_ended.grant = *grant;
	push_to(m, l->stream, &push);
}

/*
 * One entry may let in a hundred thousand shared waiters, each with a sequencer as long as its
 * path. Beyond what the output holds nothing is pushed, and held calls are told to ask again: the
 * grant stands in the cell, and the next Wait is answered with it.
 */
void lock_granted(struct master *m, const struct effect *e)
{
	struct wire_grant g;

	if (output_is_full(m)) {
		waits_answer(m, e, NULL, ERROR_RESOURCE_EXHAUSTED);
		return;
	}
	g = grant_of(m, e->instance, e->mode, e->grant, e->token, e->lock_generation);

	ticket_news(m, e, &g, ERROR_OK);
}

void lock_wait_ended(struct master *m, const struct effect *e)
{
	ticket_news(m, e, NULL, e->error == ERROR_OK ? ERROR_CANCELLED : e->error);
}

/* ---- cancel and release -------------------------------------------------------------------- */

void cancel_request(struct master *m, struct inbound *in)
{
	struct entry e = {
		.kind = ENTRY_CANCEL,
		.session = in->r->session,
		.number = in->r->number,
		.lowest_unanswered = in->r->lowest_unanswered,
		.cancel = {.ticket = {in->r->cancel.ticket}},
	};

	if (request_repeated(m, in) || !handle_resolve(m, in, HANDLE_WRITE))
		return;
	e.cancel.instance = in->node->instance;
	e.cancel.handle.n = in->handle->number;
	propose_for(m, in, &e);
}

/* The grant may have been faster: then the lock is held, and the client is told so. A waiter that
 * is gone is gone, whoever took it away. */
void cancel_applied(struct master *m, const struct open_call *c, const struct result *r)
{
	struct reply out = {.kind = MESSAGE_CANCEL};
	const struct lock_holder *h = cell_holder(m->cell, c->instance, c->session, c->handle);

	if (r->error == ERROR_SEQUENCER_INVALID) {
		reply_error(m, c->call, MESSAGE_CANCEL, r->error, NULL);
	} else if (h != NULL) {
		out.wait.grant = holder_grant(m, c->instance, h);
		reply_with(m, c->call, false, &out);
	} else if (r->error != ERROR_OK && r->error != ERROR_NOT_FOUND) {
		reply_error(m, c->call, MESSAGE_CANCEL, r->error, NULL);
	} else {
		reply_with(m, c->call, false, &out);
	}
}

void release_request(struct master *m, struct inbound *in)
{
	struct entry e = {
		.kind = ENTRY_RELEASE,
		.session = in->r->session,
		.number = in->r->number,
		.lowest_unanswered = in->r->lowest_unanswered,
	};

	if (request_repeated(m, in) || !handle_resolve(m, in, HANDLE_WRITE))
		return;
	e.release.instance = in->node->instance;
	e.release.handle.n = in->handle->number;
	propose_for(m, in, &e);
}

/* ---- sequencers ---------------------------------------------------------------------------- */

static struct grant_guard grant_guard_of(const struct sequencer *s)
{
	return (struct grant_guard){
		.instance = s->instance,
		.mode = s->mode == WIRE_LOCK_SHARED ? LOCK_SHARED : LOCK_EXCLUSIVE,
		.grant = {{s->revision}, s->index},
		.token = {s->fencing_token},
	};
}

/* INVALID_ARGUMENT for what is none; SEQUENCER_INVALID when its grant stands no more. */
static enum error sequencer_judge(const struct master *m, struct bytes text, struct sequencer *s)
{
	const struct node *n;
	const char *why = NULL;
	struct bytes cell, inner;

	struct grant_guard g;

	if (sequencer_parse(text, s) != ERROR_OK ||
	    path_parse(s->path, &cell, &inner, &why) != ERROR_OK)
		return ERROR_INVALID_ARGUMENT;
	if (!bytes_equal(cell, cell_meta(m->cell)->name))
		return ERROR_SEQUENCER_INVALID;
	g = grant_guard_of(s);
	if (cell_check_grant(m->cell, g.instance, g.mode, g.grant, g.token) != ERROR_OK)
		return ERROR_SEQUENCER_INVALID;
	/* Whoever asks believes the path: the holder of one lock must not pass for another's. */
	n = cell_node(m->cell, s->instance);
	return bytes_equal(inner, n->path) && n->lock->generation == s->lock_generation
		       ? ERROR_OK
		       : ERROR_SEQUENCER_INVALID;
}

void check_sequencer_request(struct master *m, struct inbound *in)
{
	struct reply r = {.kind = MESSAGE_CHECK_SEQUENCER};
	struct sequencer s;
	enum error e = sequencer_judge(m, in->r->check_sequencer.sequencer, &s);

	if (e == ERROR_INVALID_ARGUMENT) {
		reply_error(m, in->call, r.kind, e, "this is not a sequencer");
		return;
	}
	r.check_sequencer.path = output_copy(m, s.path);
	r.check_sequencer.mode = s.mode;
	r.check_sequencer.fencing_token = s.fencing_token;
	r.check_sequencer.valid = e == ERROR_OK;
	reply_with(m, in->call, true, &r);
}

/*
 * SetSequencer: a call that brings a sequencer fails unless its grant stands (Chubby 2.4). Reads
 * are judged here, at the moment of their answer; changes here, so that the hopeless ones cost no
 * log write, and again when they are applied, since the grant may go in the moment that the log
 * takes. What was done already is not judged again. A wait in a lock's queue has begun: the queue
 * does not look at sequencers.
 */
bool sequencer_guards(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	struct sequencer s;
	struct result done;
	enum error e;

	if (r->guard_sequencer.size == 0 || r->kind == MESSAGE_KEEP_ALIVE ||
	    r->kind == MESSAGE_END_SESSION || r->kind == MESSAGE_CLOSE)
		return true;
	if (r->number != 0 &&
	    cell_stored_result(m->cell, r->session, r->number, r->lowest_unanswered,
			       numbered_entry(r->kind), &done) == ERROR_OK)
		return true;
	e = sequencer_judge(m, r->guard_sequencer, &s);
	if (e == ERROR_OK) {
		in->guard = grant_guard_of(&s);
		return true;
	}
	reply_error(m, in->call, r->kind, ERROR_SEQUENCER_INVALID,
		    e == ERROR_INVALID_ARGUMENT ? "this is not a sequencer" : NULL);
	return false;
}

/* ---- clocks of waits and lock-delays ------------------------------------------------------- */

static struct lock_timer *lock_timer_find(struct lock_timer *table, uint64_t instance,
					  uint64_t revision)
{
	struct lock_timer *t, key = {.key = {instance, revision}};

	HASH_FIND(hh, table, &key.key, sizeof(key.key), t);
	return t;
}

static struct lock_timer *lock_timer_add(struct master *m, struct lock_timer **table,
					 enum timer_kind kind, uint64_t instance, uint64_t revision,
					 int64_t after_ns)
{
	struct lock_timer *t = lock_timer_find(*table, instance, revision);

	if (t != NULL)
		return t;
	t = mem_zalloc(sizeof(*t));
	t->instance = instance;
	t->revision = revision;
	t->key.instance = instance;
	t->key.revision = revision;
	t->timer.owner = t;
	t->timer.kind = kind;
	HASH_ADD(hh, *table, key, sizeof(t->key), t);
	timers_set(&m->timers, &t->timer, m->session_now_ns + after_ns);
	return t;
}

static void lock_timer_drop(struct master *m, struct lock_timer **table, struct lock_timer *t)
{
	timers_cancel(&m->timers, &t->timer);
	HASH_DEL(*table, t);
	free(t);
}

void lock_wait_watch(struct master *m, uint64_t instance, const struct lock_waiter *w)
{
	struct lock_timer *t;

	if (w->wait_ns <= 0)
		return;
	t = lock_timer_add(m, &m->waits, TIMER_LOCK_WAIT, instance, w->ticket.n, w->wait_ns);
	t->session = w->session;
	t->handle = w->handle;
}

void lock_delay_watch(struct master *m, uint64_t instance, int64_t delay_ns, struct revision began)
{
	lock_timer_add(m, &m->delays, TIMER_LOCK_DELAY, instance, began.n, delay_ns);
}

void lock_wait_unwatch(struct master *m, const struct effect *e)
{
	struct lock_timer *t = lock_timer_find(m->waits, e->instance, e->ticket.n);

	if (t != NULL)
		lock_timer_drop(m, &m->waits, t);
}

int64_t lock_delay_left_ns(const struct master *m, const struct node *n)
{
	const struct lock_timer *t;
	int64_t left_ns;

	if (n->lock == NULL || n->lock->delay_ns <= 0)
		return 0;
	t = lock_timer_find(m->delays, n->instance, n->lock->delay_began.n);
	/* Without a timer its end is in the log's hands already. */
	left_ns = t == NULL ? 0 : t->timer.at_ns - m->session_now_ns;
	return left_ns < 0 ? 0 : left_ns;
}

/* A node that went took its delay along, and a second failed shared hold begins it anew. */
static bool delay_runs(const struct master *m, const struct lock_timer *t)
{
	const struct node *n = cell_node(m->cell, t->instance);

	return n != NULL && n->lock != NULL && n->lock->delay_ns > 0 &&
	       n->lock->delay_began.n == t->revision;
}

/*
 * The proposal names the epoch and the very ticket or delay, so that it is void if a new master
 * decides otherwise, or if the wait ended by itself. The entry settles it; the timer is gone.
 */
void lock_timer_fired(struct master *m, const struct moment *at, struct timer *timer)
{
	struct lock_timer *t = timer->owner;
	struct entry e = {.guard_epoch = m->epoch};
	bool needed = true;

	if (timer->kind == TIMER_LOCK_WAIT) {
		e.kind = ENTRY_CANCEL;
		e.session = t->session;
		e.cancel.instance = t->instance;
		e.cancel.handle = t->handle;
		e.cancel.ticket.n = t->revision;
		e.cancel.expired = true;
		lock_timer_drop(m, &m->waits, t);
	} else {
		e.kind = ENTRY_LOCK_DELAY_END;
		e.lock_delay_end.instance = t->instance;
		e.lock_delay_end.began.n = t->revision;
		needed = delay_runs(m, t);
		lock_timer_drop(m, &m->delays, t);
	}
	if (needed)
		propose(m, at, &e);
}

void lock_timers_clear(struct master *m)
{
	struct lock_timer *t, *next;

	HASH_ITER(hh, m->waits, t, next)
		lock_timer_drop(m, &m->waits, t);
	HASH_ITER(hh, m->delays, t, next)
		lock_timer_drop(m, &m->delays, t);
}
