/*
 * The link to the master: attaching, KeepAlives, and the lease that their answers tell of.
 */
#include "session_internal.h"

/* ---- link ----------------------------------------------------------------------------------- */

void session_header(const struct session *s, struct request *r)
{
	r->session = s->id;
	r->epoch = s->epoch;
	r->cell = s->config.cell;
}

void link_send(struct session *s, uint64_t call_id, const struct request *r)
{
	struct session_action *a = action_add(s, SESSION_SEND);

	CHECK(s->link_state != LINK_NONE);
	a->link = s->link;
	a->call_id = call_id;
	a->request = *r;
}

void keepalive_send(struct session *s, bool immediate)
{
	struct request r = {.kind = MESSAGE_KEEP_ALIVE};

	session_header(s, &r);
	r.keep_alive.immediate = immediate;
	s->keepalive_id = ++s->last_id;
	s->keepalive_sent_ns = s->now_ns;
	s->keepalive_immediate = immediate;
	link_send(s, s->keepalive_id, &r);
}

static void attach(struct session *s)
{
	struct request r = {.kind = MESSAGE_CREATE_SESSION, .cell = s->config.cell};

	if (s->id.n != 0) {
		keepalive_send(s, true);
		s->attach_id = s->keepalive_id;
		return;
	}
	r.create_session.lease_ns = s->config.lease_ns;
	r.create_session.host = s->config.host;
	r.create_session.command = s->config.command;
	r.create_session.pid = s->config.pid;
	s->attach_id = ++s->last_id;
	link_send(s, s->attach_id, &r);
}

void link_open(struct session *s, uint32_t server)
{
	struct session_action *a;

	CHECK(server < s->server_count);
	link_drop(s);
	find_end(s);
	s->link = ++s->last_id;
	s->link_server = server;
	s->link_state = LINK_ATTACHING;
	s->link_began_ns = s->now_ns;
	a = action_add(s, SESSION_CONNECT);
	a->server = server;
	a->link = s->link;
	attach(s);
}

void link_drop(struct session *s)
{
	struct session_action *a;

	if (s->link_state == LINK_NONE)
		return;
	a = action_add(s, SESSION_DISCONNECT);
	a->link = s->link;
	s->link_state = LINK_NONE;
	s->link = 0;
	s->attach_id = 0;
	s->keepalive_id = 0;
	calls_requeue(s);
}

/* The master of this link is none, or cannot be reached: look again. */
void link_failed(struct session *s)
{
	s->servers[s->link_server].avoid_until_ns = s->now_ns + rng_between(&s->rng, 50 * NS_PER_MS,
									    100 * NS_PER_MS);
	link_drop(s);
	if (s->closing)
		session_close_finish(s);
	else
		find_begin(s);
}

/* ---- lease ---------------------------------------------------------------------------------- */

static void lease_told(struct session *s, int64_t sent_ns, int64_t held_ns, int64_t left_ns)
{
	int64_t end_ns;

	if (held_ns < 0 || left_ns <= 0 || held_ns > 3600 * NS_PER_S || left_ns > 3600 * NS_PER_S)
		return;
	end_ns = lease_end(sent_ns, held_ns + left_ns, s->config.drift_ppm);
	s->lease_told_ns = left_ns;
	if (end_ns > s->lease_end_ns)
		s->lease_end_ns = end_ns;
	if (s->lease_end_ns > s->now_ns && s->state != SESSION_SAFE) {
		bool was_jeopardy = s->state == SESSION_JEOPARDY;

		s->grace_until_ns = TIME_NEVER;
		session_move(s, SESSION_SAFE, ERROR_OK);
		if (was_jeopardy && s->link_state == LINK_LIVE)
			waits_ask(s);
	}
}

void lease_tick(struct session *s)
{
	if (s->state == SESSION_SAFE && s->now_ns >= s->lease_end_ns) {
		/* From when it is noticed: after a stop of this process the cell is asked before
		 * the session is given up. */
		s->grace_until_ns = s->now_ns + s->config.grace_ns;
		session_move(s, SESSION_JEOPARDY, ERROR_OK);
		if (s->link_state == LINK_LIVE && !s->closing) {
			link_drop(s);
			find_begin(s);
		}
	}
	if (s->state == SESSION_JEOPARDY && s->now_ns >= s->grace_until_ns)
		session_expire(s, ERROR_UNAVAILABLE,
			       bytes_of_text("no master answered within the grace period"));
}

/* ---- answers -------------------------------------------------------------------------------- */

static void link_live(struct session *s)
{
	s->link_state = LINK_LIVE;
	s->attach_id = 0;
	find_end(s);
	keepalive_send(s, false);
	waits_ask(s);
	calls_pump(s);
}

static void created(struct session *s, const struct reply *r)
{
	if (r->create_session.session.n == 0) {
		link_failed(s);
		return;
	}
	s->id = r->create_session.session;
	s->epoch = r->epoch;
	lease_told(s, s->link_began_ns, 0, r->create_session.lease_ns);
	link_live(s);
}

static void kept_alive(struct session *s, const struct reply *r)
{
	int64_t sent_ns = s->keepalive_sent_ns;
	bool attaching = s->link_state == LINK_ATTACHING;

	if (r->epoch.n > s->epoch.n)
		s->epoch = r->epoch;
	s->keepalive_id = 0;
	if (attaching)
		link_live(s);
	else
		keepalive_send(s, false);
	lease_told(s, sent_ns, r->keep_alive.held_ns, r->keep_alive.left_ns);
	calls_pump(s);
}

/* A refusal of the attach or of a KeepAlive. */
static void link_refused(struct session *s, const struct reply *r)
{
	if (r->error == ERROR_SESSION_EXPIRED && s->state != SESSION_CONNECTING) {
		session_expire(s, ERROR_SESSION_EXPIRED, r->message);
		return;
	}
	if (r->error == ERROR_NOT_MASTER) {
		link_failed(s);
		find_hint(s, r->master_address);
		return;
	}
	if (s->state == SESSION_CONNECTING && r->error != ERROR_UNAVAILABLE &&
	    r->error != ERROR_RESOURCE_EXHAUSTED && r->error != ERROR_EPOCH_CHANGED &&
	    r->error != ERROR_CANCELLED) {
		session_refuse(s, r);
		return;
	}
	link_failed(s);
}

void session_link_lost(struct session *s, int64_t now_ns, uint64_t link, const struct reply *why)
{
	session_tick(s, now_ns);
	if (s->link_state == LINK_NONE || s->link != link)
		return;
	if (why != NULL && why->error != ERROR_OK && !s->closing)
		link_refused(s, why);
	else
		link_failed(s);
}

void link_pushed(struct session *s, const struct reply *r)
{
	if (r->kind == MESSAGE_WAIT_ENDED)
		wait_ended(s, r);
	else if (r->kind == MESSAGE_SESSION_ENDED)
		session_expire(s, ERROR_SESSION_EXPIRED, r->message);
}

void link_answered(struct session *s, const struct reply *r)
{
	if (r->error != ERROR_OK)
		link_refused(s, r);
	else if (r->kind == MESSAGE_CREATE_SESSION)
		created(s, r);
	else
		kept_alive(s, r);
}
