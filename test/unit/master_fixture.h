/*
 * A master over a real cell. What it proposes goes into a log of one place, in the bytes that a
 * replica would write, and is applied at once, or when the test says so. Answers are copied into a
 * list by call.
 */
#ifndef CHUBBY_TEST_MASTER_FIXTURE_H
#define CHUBBY_TEST_MASTER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "codec/codec.h"
#include "master/master.h"

#define ANSWERS_MAX 256
#define LOG_MAX 256
#define GRANTS_KEPT 4

struct answer {
	struct call_id call;
	struct stream_id stream; /* of a push */
	struct reply reply;
	uint8_t handle[WIRE_HANDLE_MAX_BYTES];
	char sequencer[256];
	struct wire_grant grants[GRANTS_KEPT]; /* of a MULTI; their sequencers are gone */
	struct wire_lock_status lock;          /* the first of LIST_LOCKS; its arrays are gone */
	char message[256];
};

struct world {
	struct cell *cell;
	struct master *master;
	struct moment at;
	bool hold; /* proposals wait in `log` */
	uint32_t log_first, log_count;
	struct buffer log[LOG_MAX]; /* a ring: what is proposed and not applied */
	uint32_t answer_count;
	struct answer answers[ANSWERS_MAX];
	uint64_t next_call;
	uint64_t epoch_round;
};

static inline void keep_answer(struct world *w, struct call_id call, struct stream_id stream,
			       const struct reply *r)
{
	struct answer *a = &w->answers[w->answer_count++];

	assert_true(w->answer_count < ANSWERS_MAX);
	*a = (struct answer){.call = call, .stream = stream, .reply = *r};
	if (r->kind == MESSAGE_OPEN && r->error == ERROR_OK) {
		memcpy(a->handle, r->open.handle.data, r->open.handle.size);
		a->reply.open.handle.data = a->handle;
	}
	if (r->kind == MESSAGE_ACQUIRE && r->error == ERROR_OK && r->acquire.grant.present)
		memcpy(a->sequencer, r->acquire.grant.sequencer.data,
		       r->acquire.grant.sequencer.size);
	if (r->kind == MESSAGE_MULTI && r->error == ERROR_OK) {
		for (uint32_t i = 0; i < r->multi.grant_count && i < GRANTS_KEPT; i++)
			a->grants[i] = r->multi.grants[i];
	}
	if (r->kind == MESSAGE_LIST_LOCKS && r->error == ERROR_OK && r->list_locks.count > 0) {
		a->lock = r->list_locks.locks[0];
		a->reply.list_locks.locks = &a->lock;
	}
	if (r->message.size > 0 && r->message.size < sizeof(a->message))
		memcpy(a->message, r->message.data, r->message.size);
}

/* Takes the master's output: answers to the list, proposals to the log. */
static inline void world_collect(struct world *w)
{
	const struct master_output *out = master_output(w->master);

	for (uint32_t i = 0; i < out->reply_count; i++)
		keep_answer(w, out->replies[i].call, (struct stream_id){0}, &out->replies[i].reply);
	for (uint32_t i = 0; i < out->push_count; i++)
		keep_answer(w, (struct call_id){0}, out->pushes[i].stream, &out->pushes[i].reply);
	for (uint32_t i = 0; i < out->proposal_count; i++) {
		struct buffer *b = &w->log[(w->log_first + w->log_count) % LOG_MAX];

		assert_true(w->log_count < LOG_MAX);
		w->log_count++;
		buffer_init(b, VALUE_MAX_BYTES);
		assert_int_equal(codec_encode_entry(&out->proposals[i], b), ERROR_OK);
	}
	master_output_done(w->master);
	assert_null(master_invariants(w->master));
}

/* Applies the oldest entry of the log. */
static inline struct result world_apply_next(struct world *w)
{
	struct buffer *b = &w->log[w->log_first];
	struct arena arena;
	struct outcome o;
	struct entry e;

	assert_true(w->log_count > 0);
	w->log_first = (w->log_first + 1) % LOG_MAX;
	w->log_count--;
	arena_init(&arena, (size_t)16 << 20);
	assert_int_equal(codec_decode_entry(buffer_view(b), &arena, &e), ERROR_OK);
	cell_apply(w->cell, &e, &o);
	master_applied(w->master, &w->at, &e, &o);
	arena_release(&arena);
	buffer_release(b);
	world_collect(w);
	return o.result;
}

/* Refuses the oldest entry of the log instead of applying it. */
static inline void world_refuse_next(struct world *w, enum error error)
{
	struct buffer *b = &w->log[w->log_first];
	struct arena arena;
	struct entry e;

	assert_true(w->log_count > 0);
	w->log_first = (w->log_first + 1) % LOG_MAX;
	w->log_count--;
	arena_init(&arena, (size_t)16 << 20);
	assert_int_equal(codec_decode_entry(buffer_view(b), &arena, &e), ERROR_OK);
	master_proposal_refused(w->master, &w->at, &e, error);
	arena_release(&arena);
	buffer_release(b);
	world_collect(w);
}

/* Loses the log, as a mastership does that ends before a majority has it. */
static inline void world_lose_log(struct world *w)
{
	for (; w->log_count > 0; w->log_count--) {
		buffer_release(&w->log[w->log_first]);
		w->log_first = (w->log_first + 1) % LOG_MAX;
	}
}

static inline void world_take(struct world *w)
{
	world_collect(w);
	while (!w->hold && w->log_count > 0)
		world_apply_next(w);
}

static inline void world_begin(struct world *w)
{
	struct entry e = {.kind = ENTRY_EPOCH};
	struct outcome o;

	e.epoch.master.n = 1;
	e.epoch.ballot.round = ++w->epoch_round;
	e.epoch.ballot.replica.n = 1;
	while (w->log_count > 0)
		world_apply_next(w);
	cell_apply(w->cell, &e, &o);
	w->at.lease_until_ns = INT64_MAX;
	master_begin(w->master, &w->at);
	world_take(w);
}

/* With a master that stretches leases beyond so many sessions; 0: beyond the usual number. */
static inline void world_new_stretching(struct world *w, uint32_t stretch_sessions)
{
	static const uint8_t name[] = "local";
	struct cell_genesis g = {.cell_id_high = 1, .cell_id_low = 2, .name = {name, 5}};
	struct master_config c = {
		.self = {1},
		.stretch_sessions = stretch_sessions,
		.server_count = 2,
	};

	memset(w, 0, sizeof(*w));
	c.servers[0] = (struct master_server){{1}, bytes_of_text("127.0.0.1:7401")};
	c.servers[1] = (struct master_server){{2}, bytes_of_text("127.0.0.1:7402")};
	memset(g.handle_key, 7, sizeof(g.handle_key));
	w->cell = cell_new(&g);
	w->master = master_new(&c, w->cell);
	w->at.now_ns = 1000 * NS_PER_S;
	w->next_call = 1;
}

static inline void world_new(struct world *w)
{
	world_new_stretching(w, 0);
}

static inline void world_free(struct world *w)
{
	world_lose_log(w);
	master_free(w->master);
	cell_free(w->cell);
}

/* Moves time and fires what is due. */
static inline void world_pass(struct world *w, int64_t ns)
{
	w->at.now_ns += ns;
	master_tick(w->master, &w->at);
	world_take(w);
}

static inline struct call_id world_send(struct world *w, uint64_t stream, struct request *r)
{
	struct call_id call = {w->next_call++};

	master_request(w->master, &w->at, call, (struct stream_id){stream}, r);
	world_take(w);
	return call;
}

/* The answer to a call, NULL while there is none; fails if there are two. */
static inline struct answer *world_answer(struct world *w, struct call_id call)
{
	struct answer *found = NULL;

	for (uint32_t i = 0; i < w->answer_count; i++) {
		if (w->answers[i].call.n != call.n || call.n == 0)
			continue;
		assert_null(found);
		found = &w->answers[i];
	}
	return found;
}

/* The newest push of a kind on a stream, or NULL. */
static inline struct answer *world_push(struct world *w, uint64_t stream, enum message_kind kind)
{
	for (uint32_t i = w->answer_count; i > 0; i--) {
		struct answer *a = &w->answers[i - 1];

		if (a->call.n == 0 && a->stream.n == stream && a->reply.kind == kind)
			return a;
	}
	return NULL;
}

static inline struct reply *world_call(struct world *w, uint64_t stream, struct request *r)
{
	struct answer *a = world_answer(w, world_send(w, stream, r));

	assert_non_null(a);
	return &a->reply;
}

static inline struct session_id world_session(struct world *w, uint64_t stream)
{
	struct request r = {.kind = MESSAGE_CREATE_SESSION};
	struct reply *a = world_call(w, stream, &r);

	assert_int_equal(a->error, ERROR_OK);
	return a->create_session.session;
}

/* Opens (making it) and returns the handle's token. */
static inline struct bytes world_open(struct world *w, struct session_id s, const char *path,
				      uint64_t number)
{
	struct request r = {
		.kind = MESSAGE_OPEN,
		.session = s,
		.open =
			{
				.path = bytes_of_text(path),
				.handle_number = {number},
				.read = true,
				.write = true,
				.create = WIRE_CREATE_MAY,
			},
	};
	struct reply *a = world_call(w, 0, &r);

	assert_int_equal(a->error, ERROR_OK);
	return a->open.handle;
}

static inline struct call_id world_acquire(struct world *w, uint64_t stream, struct session_id s,
					   struct bytes handle, uint64_t number)
{
	struct request r = {
		.kind = MESSAGE_ACQUIRE,
		.session = s,
		.handle = handle,
		.number = number,
		.lowest_unanswered = number,
		.acquire = {.mode = WIRE_LOCK_EXCLUSIVE, .lock_delay_ns = -1},
	};

	return world_send(w, stream, &r);
}

static inline void world_fail_over(struct world *w)
{
	master_end(w->master, &w->at);
	world_take(w);
	world_begin(w);
}

static inline struct call_id world_keep_alive(struct world *w, uint64_t stream, struct session_id s)
{
	struct request r = {.kind = MESSAGE_KEEP_ALIVE, .session = s};

	return world_send(w, stream, &r);
}

/* A client that is well: whenever its KeepAlive is answered it sends the next. */
struct world_client {
	struct session_id session;
	uint64_t stream;
	struct call_id held;
	uint32_t answers;
};

static inline void world_client_act(struct world *w, struct world_client *c)
{
	struct answer *a;

	while ((a = world_answer(w, c->held)) != NULL || c->held.n == 0) {
		assert_true(a == NULL || a->reply.error == ERROR_OK ||
			    a->reply.error == ERROR_NOT_MASTER);
		c->answers += a != NULL && a->reply.error == ERROR_OK ? 1 : 0;
		if (w->answer_count > ANSWERS_MAX / 2)
			w->answer_count = 0;
		c->held = world_keep_alive(w, c->stream, c->session);
	}
}

static inline void world_pass_with(struct world *w, struct world_client *c, int64_t ns)
{
	for (int64_t step = 100 * NS_PER_MS; ns > 0; ns -= step) {
		world_pass(w, step);
		world_client_act(w, c);
	}
}

#endif
