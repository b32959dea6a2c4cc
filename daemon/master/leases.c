/*
 * Session leases (Chubby section 2.8) and the clock that they are counted on.
 *
 * The session clock advances only by such spans of the host's clock as the master lease covered.
 * A master that was stopped, or cut off from its majority, finds its sessions as it left them.
 */
#include "master/master_internal.h"

int64_t session_clock_at(const struct master *m, const struct moment *at)
{
	int64_t until = time_earlier(at->now_ns, at->lease_until_ns);

	if (!m->serving || until <= m->last_now_ns)
		return m->session_now_ns;
	return m->session_now_ns + (until - m->last_now_ns);
}

void session_clock_advance(struct master *m, const struct moment *at)
{
	m->session_now_ns = session_clock_at(m, at);
	if (at->now_ns > m->last_now_ns)
		m->last_now_ns = at->now_ns;
}

struct lease *lease_find(struct master *m, struct session_id id)
{
	struct lease *l;

	HASH_FIND(hh, m->leases, &id.n, sizeof(id.n), l);
	return l;
}

/* ---- how long ------------------------------------------------------------------------------ */

/* The longest lease that a former master may have given. Only where leases were once stretched is
 * the cell's longest the longest of all (master.h). */
static int64_t lease_given(const struct master *m, const struct session *s)
{
	if (s->lease_ns < MASTER_LEASE_DEFAULT_NS ||
	    cell_meta(m->cell)->longest_lease_ns < CELL_SESSION_LEASE_MAX_NS)
		return s->lease_ns;
	return CELL_SESSION_LEASE_MAX_NS;
}

/* What the number of sessions makes of a lease. */
static int64_t lease_stretched(const struct master *m, int64_t lease_ns)
{
	uint32_t count = HASH_COUNT(m->leases), enough = m->config.stretch_sessions;

	if (lease_ns < MASTER_LEASE_DEFAULT_NS || count <= enough)
		return lease_ns;
	lease_ns = lease_ns / NS_PER_MS * count / enough * NS_PER_MS;
	return time_earlier(lease_ns, CELL_SESSION_LEASE_MAX_NS);
}

static int64_t lease_grantable(struct master *m, const struct moment *at, const struct lease *l)
{
	int64_t lease_ns = lease_stretched(m, l->lease_ns);
	struct entry e = {
		.kind = ENTRY_LEASE_RAISE,
		.lease_raise = {.lease_ns = CELL_SESSION_LEASE_MAX_NS},
	};

	if (lease_ns <= l->lease_ns ||
	    cell_meta(m->cell)->longest_lease_ns >= CELL_SESSION_LEASE_MAX_NS)
		return lease_ns;
	/* A new master would not know of it before that entry is applied. */
	if (!m->raise_proposed) {
		m->raise_proposed = true;
		propose(m, at, &e);
	}
	return l->lease_ns;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void lease_set(struct master *m, struct lease *l, int64_t left_ns)
{
	int64_t until_ns = m->session_now_ns + left_ns;

	/* It never moves back, also when leases get shorter again. */
	if (until_ns > l->deadline_ns)
		l->deadline_ns = until_ns;
	l->granted_ns = l->deadline_ns - m->session_now_ns;
	timers_set(&m->timers, &l->expiry, l->deadline_ns);
}

/* A new master gives what the former one may have given, or what is left by the mark. */
struct lease *lease_add(struct master *m, const struct moment *at, const struct session *s,
			bool newborn)
{
	struct lease *l = mem_zalloc(sizeof(*l));

	CHECK(lease_find(m, s->id) == NULL);
	l->session = s->id.n;
	l->lease_ns = s->lease_ns;
	l->heard_ns = l->called_ns = l->deadline_ns = m->session_now_ns;
	l->newborn = newborn;
	l->expiry.owner = l;
	l->expiry.kind = TIMER_SESSION_EXPIRY;
	l->answer.owner = l;
	l->answer.kind = TIMER_KEEPALIVE_ANSWER;
	HASH_ADD(hh, m->leases, session, sizeof(l->session), l);
	quiet_enter(m, l);
	l->marked = s->mark_left_ns >= 0;
	if (newborn)
		lease_extend(m, at, l);
	else
		lease_set(m, l, l->marked ? s->mark_left_ns : lease_given(m, s));
	return l;
}

/* Takes a held call out of the session's places for such; the call itself stays. */
void lease_drop_held(struct master *m, struct lease *l, struct open_call *c)
{
	if (l->keepalive == c) {
		l->keepalive = NULL;
		l->heard_ns = m->session_now_ns;
		timers_cancel(&m->timers, &l->answer);
		quiet_enter(m, l);
		return;
	}
	for (struct open_call **at = &l->waits; *at != NULL; at = &(*at)->next_held) {
		if (*at == c) {
			*at = c->next_held;
			return;
		}
	}
	CHECK_UNREACHABLE("a held call is in none of its session's places");
}

void lease_remove(struct master *m, struct lease *l)
{
	CHECK(l->keepalive == NULL && l->waits == NULL);
	lease_bind_stream(m, l, (struct stream_id){0});
	quiet_leave(m, l);
	timers_cancel(&m->timers, &l->expiry);
	timers_cancel(&m->timers, &l->answer);
	handles_clear(l);
	HASH_DELETE(hh, m->leases, l);
	free(l);
}

void lease_extend(struct master *m, const struct moment *at, struct lease *l)
{
	CHECK(!l->expiry_proposed && !l->marked);
	lease_set(m, l, lease_grantable(m, at, l));
}

/* ---- end ----------------------------------------------------------------------------------- */

/* Proposes the end; from here on the session is never extended. */
void lease_expire(struct master *m, const struct moment *at, struct lease *l)
{
	struct entry e = {
		.kind = ENTRY_SESSION_END,
		.session = {l->session},
		.guard_epoch = m->epoch,
		.session_end = {.reason = SESSION_END_EXPIRED},
	};

	CHECK(!l->expiry_proposed && l->deadline_ns <= m->session_now_ns);
	/* Its client came in time; it is extended as soon as its mark is gone. */
	if (l->unmark_proposed)
		return;
	l->expiry_proposed = true;
	propose(m, at, &e);
}

bool lease_is_idle(const struct master *m, const struct lease *l)
{
	const struct session *s = cell_session(m->cell, (struct session_id){l->session});

	CHECK(s != NULL);
	return l->newborn && l->open_handles == 0 && s->lock_count == 0 && !s->caches &&
	       m->session_now_ns - l->called_ns >= MASTER_IDLE_NS;
}

/* Not extended from here on, as little as one that expires. */
void lease_end_idle(struct master *m, const struct moment *at, struct lease *l)
{
	struct entry e = {
		.kind = ENTRY_SESSION_END,
		.session = {l->session},
		.guard_epoch = m->epoch,
		.session_end = {.reason = SESSION_END_IDLE},
	};

	CHECK(!l->expiry_proposed);
	l->expiry_proposed = true;
	timers_cancel(&m->timers, &l->expiry);
	timers_cancel(&m->timers, &l->answer);
	propose(m, at, &e);
}
