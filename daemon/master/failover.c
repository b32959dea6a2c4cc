/*
 * The beginning and the end of a mastership, and what each applied entry means to the volatile
 * side (Chubby section 2.9; design section 5).
 */
#include "master/master_internal.h"

static void node_unkept(struct master *m, const struct moment *at, uint64_t instance)
{
	struct entry e = {.kind = ENTRY_NODE_REAP, .keep = {.instance = instance}};

	propose(m, at, &e);
}

void master_begin(struct master *m, const struct moment *at)
{
	const struct session *s = NULL;
	const struct node *n = NULL;

	CHECK(!m->serving && m->leases == NULL && m->pending == NULL);
	m->serving = true;
	m->epoch = cell_meta(m->cell)->epoch;
	m->leader = m->config.self;
	m->next_origin = 1;
	m->last_now_ns = at->now_ns;
	m->raise_proposed = false;
	timers_set(&m->timers, &m->mark, m->session_now_ns + MASTER_MARK_EVERY_NS);
	while ((s = cell_session_after(m->cell, s == NULL ? (struct session_id){0} : s->id)) !=
	       NULL) {
		if (!s->ended)
			lease_add(m, at, s, false);
	}
	while ((n = cell_locked_after(m->cell, n == NULL ? 0 : n->instance)) != NULL) {
		if (n->lock->delay_ns > 0)
			lock_delay_watch(m, n->instance, n->lock->delay_ns, n->lock->delay_began);
		for (uint32_t i = 0; i < n->lock->waiter_count; i++)
			lock_wait_watch(m, n->instance, &n->lock->waiters[i]);
	}
	/* Ephemeral nodes that the former master did not get to. */
	for (n = cell_reapable_after(m->cell, 0); n != NULL;
	     n = cell_reapable_after(m->cell, n->instance))
		node_unkept(m, at, n->instance);
	find_master_news(m);
}

void master_end(struct master *m, const struct moment *at)
{
	struct lease *l, *next;

	(void)at;
	if (!m->serving)
		return;
	m->serving = false;
	m->leader = (struct replica_id){0};
	HASH_ITER(hh, m->leases, l, next) {
		l->keepalive = NULL;
		l->waits = NULL;
	}
	calls_refuse_all(m);
	HASH_ITER(hh, m->leases, l, next)
		lease_remove(m, l);
	timers_cancel(&m->timers, &m->mark);
	lock_timers_clear(m);
	retries_clear(m);
}

/* Empty: the error's own text says it. */
static const char *end_text(enum session_end_reason reason)
{
	switch (reason) {
	case SESSION_END_REVOKED:
		return "the session was ended by an operator";
	case SESSION_END_IDLE:
		return "the session was idle for a minute: no open handle, no call; make a new one";
	case SESSION_END_CLOSED:
	case SESSION_END_EXPIRED:
		break;
	}
	return "";
}

/* What is held for a session that ended gets the reason. */
static void session_ended(struct master *m, const struct effect *e)
{
	struct lease *l = lease_find(m, e->session);
	enum error why = e->reason == SESSION_END_CLOSED ? ERROR_CANCELLED : ERROR_SESSION_EXPIRED;
	struct reply push = {.kind = MESSAGE_SESSION_ENDED, .error = ERROR_SESSION_EXPIRED};

	if (l == NULL)
		return;
	while (l->waits != NULL || l->keepalive != NULL) {
		struct open_call *c = l->waits != NULL ? l->waits : l->keepalive;

		reply_error(m, c->call, c->kind, why, end_text(e->reason));
		lease_drop_held(m, l, c);
		call_done(m, c);
	}
	if (e->reason != SESSION_END_CLOSED) {
		push.message = bytes_of_text(end_text(e->reason));
		push_to(m, l->stream, &push);
	}
	lease_remove(m, l);
}

static void effect_seen(struct master *m, const struct moment *at, const struct effect *e)
{
	switch (e->kind) {
	case EFFECT_GRANTED:
		lock_wait_unwatch(m, e);
		lock_granted(m, e);
		break;
	case EFFECT_WAIT_ENDED:
		lock_wait_unwatch(m, e);
		lock_wait_ended(m, e);
		break;
	case EFFECT_SESSION_CREATED:
		lease_add(m, at, cell_session(m->cell, e->session), true);
		break;
	case EFFECT_SESSION_ENDED:
		session_ended(m, e);
		break;
	case EFFECT_LOCK_DELAY_BEGAN:
		lock_delay_watch(m, e->instance, e->delay_ns, e->revision);
		break;
	case EFFECT_UNKEPT:
		node_unkept(m, at, e->instance);
		break;
	case EFFECT_NODE_DELETED: /* handles on it find no node; their table entries stay small */
	case EFFECT_LOCK_DELAY_ENDED: /* a timer that is left over finds nothing to end */
	case EFFECT_HOLD_ENDED:
	case EFFECT_NODE_CREATED:
	case EFFECT_NODE_CHANGED:
	case EFFECT_EPOCH:
	case EFFECT_DIGEST_DIFFERS:
		break;
	}
}

/* A queued acquire's deadline runs from its entry. */
static void acquire_watch(struct master *m, const struct entry *e, const struct result *r)
{
	const struct lock_waiter *w;

	if (r->error != ERROR_OK || r->ticket.n == 0)
		return;
	w = cell_waiter(m->cell, e->acquire.instance, e->session, e->acquire.handle);
	if (w != NULL)
		lock_wait_watch(m, e->acquire.instance, w);
}

static void digest_due(struct master *m, const struct moment *at)
{
	const struct cell_meta *meta = cell_meta(m->cell);
	struct entry e = {
		.kind = ENTRY_DIGEST,
		.digest = {.revision = meta->revision, .digest = cell_digest(m->cell)},
	};

	if (meta->revision.n % MASTER_DIGEST_EVERY == 0)
		propose(m, at, &e);
}

void master_applied(struct master *m, const struct moment *at, const struct entry *e,
		    const struct outcome *outcome)
{
	struct open_call *c;

	if (!m->serving)
		return;
	session_clock_advance(m, at);
	/* The session must be known before its creation is answered, and gone calls before the
	 * rest: effects first, except that an answer to the caller precedes pushes about it. */
	c = e->origin_epoch.n == m->epoch.n ? call_pending(m, e->origin_number) : NULL;
	if (c != NULL && e->kind != ENTRY_SESSION_CREATE) {
		reply_to_result(m, at, c, &outcome->result);
		call_done(m, c);
		c = NULL;
	}
	for (uint32_t i = 0; i < outcome->effect_count; i++)
		effect_seen(m, at, &outcome->effects[i]);
	if (c != NULL) {
		reply_to_result(m, at, c, &outcome->result);
		call_done(m, c);
	}
	if (e->kind == ENTRY_SESSION_UNMARK)
		unmark_applied(m, at, e, &outcome->result);
	if (e->kind == ENTRY_ACQUIRE && !outcome->repeated)
		acquire_watch(m, e, &outcome->result);
	digest_due(m, at);
}
