/*
 * Life of a session: its states, its lease, its link to the master.
 */
#include "session_internal.h"

#include <stdio.h>
#include <string.h>

#define ACTIONS_MAX 1000000u

/* From each state (row) to each state (column). */
static const bool moves_allowed[SESSION_STATE_END][SESSION_STATE_END] = {
	[SESSION_CONNECTING] =
		{[SESSION_SAFE] = true, [SESSION_RESTING] = true, [SESSION_CLOSED] = true},
	[SESSION_SAFE] = {[SESSION_JEOPARDY] = true,
			  [SESSION_RESTING] = true,
			  [SESSION_EXPIRED] = true,
			  [SESSION_CLOSED] = true},
	[SESSION_JEOPARDY] = {[SESSION_SAFE] = true,
			      [SESSION_RESTING] = true,
			      [SESSION_EXPIRED] = true,
			      [SESSION_CLOSED] = true},
	[SESSION_RESTING] = {[SESSION_CONNECTING] = true, [SESSION_CLOSED] = true},
	[SESSION_EXPIRED] = {[SESSION_CLOSED] = true},
};

void session_move(struct session *s, enum session_state to, enum error reason)
{
	struct session_action *a;

	CHECK(moves_allowed[s->state][to]);
	s->state = to;
	s->connected = s->connected || to == SESSION_SAFE;
	if (to == SESSION_EXPIRED || (to == SESSION_CLOSED && s->reason == ERROR_OK))
		s->reason = reason;
	a = action_add(s, SESSION_NEWS);
	a->state = to;
	a->reason = reason;
	a->reply.message = bytes_of_text(s->reason_text);
}

/* ---- actions -------------------------------------------------------------------------------- */

struct session_action *action_add(struct session *s, enum session_action_kind kind)
{
	struct session_action *a;

	if (s->action_count == s->action_capacity) {
		s->action_capacity = s->action_capacity == 0 ? 16 : s->action_capacity * 2;
		CHECK(s->action_capacity <= ACTIONS_MAX);
		s->actions = mem_realloc_array(s->actions, s->action_capacity, sizeof(*s->actions));
	}
	a = &s->actions[s->action_count++];
	memset(a, 0, sizeof(*a));
	a->kind = kind;
	return a;
}

const struct session_action *session_actions(const struct session *s, uint32_t *ret_count)
{
	*ret_count = s->action_count;
	return s->actions;
}

void session_actions_done(struct session *s)
{
	s->action_count = 0;
	for (uint32_t i = 0; i < s->gone_count; i++)
		free(s->gone[i]);
	s->gone_count = 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct session *session_new(const struct session_config *config, int64_t now_ns)
{
	struct session *s = mem_zalloc(sizeof(*s));

	CHECK(config->server_count >= 1 && config->server_count <= SESSION_SERVERS_MAX);
	s->config = *config;
	s->config.servers = NULL;
	s->state = SESSION_CONNECTING;
	s->now_ns = now_ns;
	s->connect_until_ns = now_ns + config->connect_ns;
	s->grace_until_ns = TIME_NEVER;
	s->close_at_ns = TIME_NEVER;
	s->next_number = 1;
	rng_init(&s->rng, config->seed);
	for (uint32_t i = 0; i < config->server_count; i++) {
		uint32_t index;

		(void)server_learn(s, bytes_of_text(config->servers[i]), &index);
	}
	CHECK(s->server_count >= 1);
	find_begin(s);
	return s;
}

void session_free(struct session *s)
{
	struct call *c, *next;

	if (s == NULL)
		return;
	session_actions_done(s);
	HASH_ITER(hh, s->calls, c, next) {
		HASH_DEL(s->calls, c);
		multi_forget(c);
		free(c);
	}
	free(s->gone);
	free(s->actions);
	free(s);
}

static void remember_reason(struct session *s, struct bytes text)
{
	size_t size = text.size < sizeof(s->reason_text) - 1 ? text.size
							     : sizeof(s->reason_text) - 1;

	if (size > 0)
		memcpy(s->reason_text, text.data, size);
	s->reason_text[size] = '\0';
}

void session_expire(struct session *s, enum error reason, struct bytes text)
{
	if (s->state == SESSION_CONNECTING || s->state == SESSION_EXPIRED ||
	    s->state == SESSION_CLOSED || s->state == SESSION_RESTING)
		return;
	if (reason == ERROR_SESSION_EXPIRED && session_has_nothing(s)) {
		rest_begin(s);
		return;
	}
	remember_reason(s, text);
	s->reason = reason;
	link_drop(s);
	find_end(s);
	/* The news first: who is woken by a failed call should find the session expired. */
	session_move(s, SESSION_EXPIRED, reason);
	calls_fail_all(s, false);
}

/* CreateSession was refused for good, or nobody was found in time. */
void session_refuse(struct session *s, const struct reply *r)
{
	CHECK(s->state == SESSION_CONNECTING);
	link_drop(s);
	find_end(s);
	remember_reason(s, r->message);
	s->reason = r->error;
	session_move(s, s->connected ? SESSION_RESTING : SESSION_CLOSED, r->error);
	calls_fail_all(s, false);
	if (s->connected)
		s->reason = ERROR_OK; /* the next call tries again */
}

void session_close_finish(struct session *s)
{
	link_drop(s);
	find_end(s);
	s->close_at_ns = TIME_NEVER;
	if (s->state != SESSION_CLOSED)
		session_move(s, SESSION_CLOSED, ERROR_CANCELLED);
}

void session_close(struct session *s, int64_t now_ns, int64_t deadline_ns)
{
	struct request end = {.kind = MESSAGE_END_SESSION};

	if (s->closing || s->state == SESSION_CLOSED)
		return;
	/* Closing first: a lease that ran out meanwhile must not cost the link for the goodbye. */
	s->closing = true;
	session_tick(s, now_ns);
	if (s->state == SESSION_CLOSED)
		return;
	calls_fail_all(s, true);
	if (s->link_state != LINK_LIVE || s->state == SESSION_EXPIRED) {
		session_close_finish(s);
		return;
	}
	s->close_at_ns = deadline_ns;
	s->end_call_id = ++s->last_id;
	session_header(s, &end);
	link_send(s, s->end_call_id, &end);
}

/* ---- messages ---------------------------------------------------------------------------- */

void session_message(struct session *s, int64_t now_ns, uint64_t link, uint64_t call_id,
		     const struct reply *r)
{
	struct call *c;

	session_tick(s, now_ns);
	if (s->link_state == LINK_NONE || s->link != link)
		return;
	if (call_id == 0) {
		link_pushed(s, r);
	} else if (s->closing) {
		if (call_id == s->end_call_id)
			session_close_finish(s);
	} else if (call_id == s->attach_id || call_id == s->keepalive_id) {
		link_answered(s, r);
	} else if ((c = call_find(s, call_id)) != NULL) {
		if (c->state == CALL_SENT)
			call_answered(s, c, r);
	} else {
		for (c = s->waiting.head; c != NULL; c = c->next) {
			if (c->wait_id == call_id) {
				wait_answered(s, c, r);
				break;
			}
		}
	}
	calls_pump(s);
}

/* ---- time ----------------------------------------------------------------------------------- */

static int64_t keepalive_overdue_ns(const struct session *s)
{
	if (s->keepalive_id == 0)
		return TIME_NEVER;
	/* A held one is answered with 5 of 12 of the lease left; with a quarter it is late. */
	return s->keepalive_sent_ns +
	       (s->keepalive_immediate ? SESSION_SUSPECT_NS : s->lease_told_ns / 4 * 3);
}

/* When silence becomes suspicious, and others are asked who is master. */
static int64_t suspect_at_ns(const struct session *s)
{
	int64_t at_ns = TIME_NEVER;

	if (s->seeking || s->link_state == LINK_NONE)
		return TIME_NEVER;
	if (s->link_state == LINK_ATTACHING)
		return s->link_began_ns + SESSION_SUSPECT_NS;
	if (s->sent.head != NULL)
		at_ns = s->sent.head->sent_ns + SESSION_SUSPECT_NS;
	return time_earlier(at_ns, keepalive_overdue_ns(s));
}

/* Suspicion that was answered is over. */
static void suspect_tick(struct session *s)
{
	if (s->link_state == LINK_ATTACHING &&
	    s->now_ns >= s->link_began_ns + SESSION_ATTACH_PATIENCE_NS) {
		link_failed(s);
		return;
	}
	if (s->link_state == LINK_LIVE && s->seeking &&
	    (s->sent.head == NULL || s->now_ns < s->sent.head->sent_ns + SESSION_SUSPECT_NS) &&
	    s->now_ns < keepalive_overdue_ns(s))
		find_end(s);
	/* A held KeepAlive that is late costs a question on the link before it costs others one. */
	if (s->link_state == LINK_LIVE && !s->keepalive_immediate &&
	    s->now_ns >= keepalive_overdue_ns(s))
		keepalive_send(s, true);
	if (s->now_ns >= suspect_at_ns(s))
		find_begin(s);
}

void session_tick(struct session *s, int64_t now_ns)
{
	s->now_ns = now_ns;
	if (s->state == SESSION_CONNECTING && now_ns >= s->connect_until_ns) {
		struct reply late = {.error = ERROR_UNAVAILABLE};
		char text[sizeof(s->reason_text)];

		session_trouble(s, text, sizeof(text));
		late.message = bytes_of_text(text);
		session_refuse(s, &late);
	}
	if (s->closing && now_ns >= s->close_at_ns)
		session_close_finish(s);
	lease_tick(s);
	calls_tick(s);
	if (s->state == SESSION_EXPIRED || s->state == SESSION_CLOSED || s->closing)
		return;
	suspect_tick(s);
	find_tick(s);
	calls_pump(s);
}

int64_t session_next_tick(const struct session *s)
{
	int64_t at_ns = time_earlier(calls_next_tick(s), s->close_at_ns);

	if (s->state == SESSION_CONNECTING)
		at_ns = time_earlier(at_ns, s->connect_until_ns);
	if (s->state == SESSION_SAFE)
		at_ns = time_earlier(at_ns, s->lease_end_ns);
	if (s->state == SESSION_JEOPARDY)
		at_ns = time_earlier(at_ns, s->grace_until_ns);
	if (s->state == SESSION_EXPIRED || s->state == SESSION_CLOSED || s->closing)
		return at_ns;
	if (s->link_state == LINK_ATTACHING)
		at_ns = time_earlier(at_ns, s->link_began_ns + SESSION_ATTACH_PATIENCE_NS);
	return time_earlier(at_ns, time_earlier(suspect_at_ns(s), find_next_tick(s)));
}

/* ---- for those who look --------------------------------------------------------------------- */

enum session_state session_state(const struct session *s)
{
	return s->state;
}

struct session_id session_identity(const struct session *s)
{
	return s->id;
}

struct epoch session_epoch(const struct session *s)
{
	return s->epoch;
}

int64_t session_lease_end(const struct session *s)
{
	return s->lease_end_ns;
}

const char *session_invariants(const struct session *s)
{
	uint64_t lowest = UINT64_MAX, highest = 0;

	if ((s->state == SESSION_EXPIRED || s->state == SESSION_CLOSED) && s->calls != NULL)
		return "S1: a call outlives the session";
	if (s->state == SESSION_RESTING &&
	    (s->calls != NULL || s->handles > 0 || s->id.n != 0 || s->link_state != LINK_NONE))
		return "S5: a session rests that has something";
	for (const struct call *c = s->calls; c != NULL; c = c->hh.next) {
		if (c->request.number == 0 || c->state > CALL_SENT)
			continue;
		lowest = c->request.number < lowest ? c->request.number : lowest;
		highest = c->request.number > highest ? c->request.number : highest;
	}
	if (highest != 0 && highest - lowest >= SESSION_WINDOW)
		return "S2: numbers in flight exceed the window";
	if (s->state == SESSION_SAFE && s->lease_end_ns <= s->now_ns && s->action_count == 0)
		return "S4: safe without a lease";
	return NULL;
}
