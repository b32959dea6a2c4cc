/*
 * Session leases (Chubby section 2.8) and the clock that they are counted on.
 *
 * The session clock advances only by such spans of the host's clock as the master lease covered.
 * A master that was stopped, or cut off from its majority, finds its sessions as it left them.
 */
#include "master/master_internal.h"

void session_clock_advance(struct master *m, const struct moment *at)
{
	int64_t until = time_earlier(at->now_ns, at->lease_until_ns);

	if (m->serving && until > m->last_now_ns)
		m->session_now_ns += until - m->last_now_ns;
	if (at->now_ns > m->last_now_ns)
		m->last_now_ns = at->now_ns;
}

struct lease *lease_find(struct master *m, struct session_id id)
{
	struct lease *l;

	HASH_FIND(hh, m->leases, &id.n, sizeof(id.n), l);
	return l;
}

/* A new master gives what the former one may have given; a new session gets its lease. */
struct lease *lease_add(struct master *m, const struct session *s)
{
	struct lease *l = mem_zalloc(sizeof(*l));

	CHECK(lease_find(m, s->id) == NULL);
	l->session = s->id.n;
	l->lease_ns = s->lease_ns;
	l->expiry.owner = l;
	l->expiry.kind = TIMER_SESSION_EXPIRY;
	l->answer.owner = l;
	l->answer.kind = TIMER_KEEPALIVE_ANSWER;
	HASH_ADD(hh, m->leases, session, sizeof(l->session), l);
	lease_extend(m, l);
	return l;
}

/* Takes a held call out of the session's places for such; the call itself stays. */
void lease_drop_held(struct master *m, struct lease *l, struct open_call *c)
{
	if (l->keepalive == c) {
		l->keepalive = NULL;
		timers_cancel(&m->timers, &l->answer);
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
	timers_cancel(&m->timers, &l->expiry);
	timers_cancel(&m->timers, &l->answer);
	handles_clear(l);
	HASH_DELETE(hh, m->leases, l);
	free(l);
}

void lease_extend(struct master *m, struct lease *l)
{
	CHECK(!l->expiry_proposed);
	l->deadline_ns = m->session_now_ns + l->lease_ns;
	timers_set(&m->timers, &l->expiry, l->deadline_ns);
}

/* Pushes for the session go to its newest stream. */
void lease_bind_stream(struct master *m, struct lease *l, struct stream_id stream)
{
	struct lease *other;

	if (l->stream.n == stream.n)
		return;
	if (l->stream.n != 0)
		HASH_DELETE(by_stream, m->streams, l);
	l->stream = stream;
	if (stream.n == 0)
		return;
	HASH_FIND(by_stream, m->streams, &stream, sizeof(stream), other);
	if (other != NULL) {
		/* A client that runs two sessions over one stream: the older one loses pushes. */
		HASH_DELETE(by_stream, m->streams, other);
		other->stream.n = 0;
	}
	HASH_ADD(by_stream, m->streams, stream, sizeof(l->stream), l);
}

void master_stream_closed(struct master *m, struct stream_id stream)
{
	struct lease *l;

	HASH_FIND(by_stream, m->streams, &stream, sizeof(stream), l);
	if (l == NULL)
		return;
	if (l->keepalive != NULL && l->keepalive->stream.n == stream.n)
		master_call_gone(m, l->keepalive->call);
	for (struct open_call *c = l->waits, *next; c != NULL; c = next) {
		next = c->next_held;
		if (c->stream.n == stream.n)
			master_call_gone(m, c->call);
	}
	lease_bind_stream(m, l, (struct stream_id){0});
}

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
	l->expiry_proposed = true;
	propose(m, at, &e);
}
