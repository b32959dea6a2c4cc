/*
 * A session core in the test's hands: one input at a time, and a look at what it led to.
 */
#ifndef CHUBBY_TEST_SESSION_FIXTURE_H
#define CHUBBY_TEST_SESSION_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "session.h"

#define START (1000 * NS_PER_S)
#define MS NS_PER_MS
#define LEASE (12 * NS_PER_S)
#define ACTIONS 256

struct client {
	struct session *s;
	int64_t now;
	struct session_action got[ACTIONS]; /* since the last look */
	uint32_t count;
};

/* Takes over what the last input led to; borrowed bytes in it are not to be read later. */
static inline void look(struct client *c)
{
	uint32_t count;
	const struct session_action *a = session_actions(c->s, &count);

	assert_true(count <= ACTIONS);
	memcpy(c->got, a, count * sizeof(*a));
	c->count = count;
	session_actions_done(c->s);
	assert_null(session_invariants(c->s));
}

static inline const struct session_action *find(const struct client *c,
						enum session_action_kind kind)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->got[i].kind == kind)
			return &c->got[i];
	}
	return NULL;
}

static inline uint32_t count_of(const struct client *c, enum session_action_kind kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->count; i++)
		n += c->got[i].kind == kind ? 1 : 0;
	return n;
}

static inline const struct session_action *sent(const struct client *c, enum message_kind kind)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->got[i].kind == SESSION_SEND && c->got[i].request.kind == kind)
			return &c->got[i];
	}
	return NULL;
}

static inline const struct session_action *done(const struct client *c, const void *context)
{
	for (uint32_t i = 0; i < c->count; i++) {
		if (c->got[i].kind == SESSION_DONE && c->got[i].context == context)
			return &c->got[i];
	}
	return NULL;
}

static inline void at(struct client *c, int64_t after_ns)
{
	c->now += after_ns;
	session_tick(c->s, c->now);
	look(c);
}

static inline void begin(struct client *c)
{
	static const char *const servers[] = {"a:1", "b:2", "c:3", "d:4", "e:5"};
	struct session_config config = {
		.grace_ns = 45 * NS_PER_S,
		.connect_ns = 10 * NS_PER_S,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.seed = 7,
		.server_count = 5,
		.servers = servers,
	};

	memset(c, 0, sizeof(*c));
	c->now = START;
	c->s = session_new(&config, c->now);
	look(c);
}

static inline void end(struct client *c)
{
	session_free(c->s);
}

/* The question `q` is answered: `address` is master. */
static inline void answer_question(struct client *c, uint64_t q, const char *address,
				   uint64_t epoch)
{
	struct reply r = {.kind = MESSAGE_FIND_MASTER, .epoch = {epoch}};

	r.find_master.address = bytes_of_text(address);
	session_answer(c->s, c->now, q, true, &r);
	look(c);
}

static inline void answer_unavailable(struct client *c, uint64_t q)
{
	struct reply r = {.kind = MESSAGE_FIND_MASTER, .error = ERROR_UNAVAILABLE};

	session_answer(c->s, c->now, q, false, &r);
	look(c);
}

static inline void message(struct client *c, uint64_t link, uint64_t call_id, const struct reply *r)
{
	session_message(c->s, c->now, link, call_id, r);
	look(c);
}

static inline void refuse(struct client *c, uint64_t link, uint64_t call_id, enum message_kind kind,
			  enum error e)
{
	struct reply r = {.kind = kind, .error = e};

	message(c, link, call_id, &r);
}

struct connected {
	uint64_t link, keepalive;
};

/* From a new session to SAFE, with nothing but the held KeepAlive under way. */
static inline struct connected connect(struct client *c)
{
	struct reply created = {.kind = MESSAGE_CREATE_SESSION, .epoch = {3}};
	struct connected to;
	uint64_t attach;

	answer_question(c, find(c, SESSION_ASK)->question, "c:3", 3);
	to.link = find(c, SESSION_CONNECT)->link;
	assert_string_equal(session_server(c->s, find(c, SESSION_CONNECT)->server), "c:3");
	attach = sent(c, MESSAGE_CREATE_SESSION)->call_id;
	created.create_session.session.n = 77;
	created.create_session.lease_ns = LEASE;
	message(c, to.link, attach, &created);
	assert_int_equal(session_state(c->s), SESSION_SAFE);
	to.keepalive = sent(c, MESSAGE_KEEP_ALIVE)->call_id;
	assert_false(sent(c, MESSAGE_KEEP_ALIVE)->request.keep_alive.immediate);
	return to;
}

static inline void kept_alive(struct client *c, struct connected *at_link, int64_t held,
			      int64_t left, uint64_t epoch)
{
	struct reply r = {.kind = MESSAGE_KEEP_ALIVE, .epoch = {epoch}};

	r.keep_alive.held_ns = held;
	r.keep_alive.left_ns = left;
	message(c, at_link->link, at_link->keepalive, &r);
	at_link->keepalive = sent(c, MESSAGE_KEEP_ALIVE)->call_id;
}

/* Loses the link, finds `address` of `epoch`, and attaches there. */
static inline struct connected fail_over(struct client *c, struct connected from,
					 const char *address, uint64_t epoch)
{
	struct connected to;

	session_link_lost(c->s, c->now, from.link, NULL);
	look(c);
	answer_question(c, find(c, SESSION_ASK)->question, address, epoch);
	to.link = find(c, SESSION_CONNECT)->link;
	assert_true(sent(c, MESSAGE_KEEP_ALIVE)->request.keep_alive.immediate);
	assert_int_equal(sent(c, MESSAGE_KEEP_ALIVE)->request.session.n, 77);
	to.keepalive = sent(c, MESSAGE_KEEP_ALIVE)->call_id;
	return to;
}

static inline void call(struct client *c, enum message_kind kind, int64_t deadline_ns,
			void *context)
{
	static const uint8_t token[4] = {1, 2, 3, 4};
	struct request r = {.kind = kind, .handle = {token, sizeof(token)}};
	struct session_request q = {
		.request = &r,
		.deadline_ns = deadline_ns,
		.handle_number = 9,
		.context = context,
	};

	session_call(c->s, c->now, &q);
	look(c);
}

static inline uint64_t call_open(struct client *c, enum wire_create create, int64_t deadline_ns,
				 void *context)
{
	struct request r = {.kind = MESSAGE_OPEN};
	struct session_request q = {
		.request = &r,
		.deadline_ns = deadline_ns,
		.context = context,
	};
	uint64_t id;

	r.open.path = bytes_of_text("/ls/local/a");
	r.open.create = create;
	id = session_call(c->s, c->now, &q);
	look(c);
	return id;
}

static inline void answer_open(struct client *c, uint64_t link, uint64_t call_id)
{
	static const uint8_t token[4] = {1, 2, 3, 4};
	struct reply r = {.kind = MESSAGE_OPEN};

	r.open.handle = (struct bytes){token, sizeof(token)};
	message(c, link, call_id, &r);
}

/* The application has a handle open. */
static inline void opened(struct client *c, uint64_t link)
{
	int context;

	call_open(c, WIRE_CREATE_NEVER, TIME_NEVER, &context);
	answer_open(c, link, sent(c, MESSAGE_OPEN)->call_id);
	assert_int_equal(done(c, &context)->reply.error, ERROR_OK);
}

#endif
