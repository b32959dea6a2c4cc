/*
 * A client of raw gRPC for the tests of net: what any other program on the network could send.
 *
 * Everything runs on the test's one thread: raw_pump() lets the client's queue and the tested
 * net's take turns, so no test waits for more than the event that it is after.
 */
#ifndef CHUBBY_TEST_UNIT_NET_RAW_H
#define CHUBBY_TEST_UNIT_NET_RAW_H

#include "base/check.h"
#include "base/clock.h"
#include "base/time.h"
#include "net/net.h"

#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* How long a test waits for what must come. */
#define RAW_PATIENCE_NS (10 * NS_PER_S)

struct raw_client {
	grpc_completion_queue *queue;
	grpc_channel *channel;
	uint32_t open;            /* batches under way */
	struct net_stream closed; /* heard of by raw_until() */
	int64_t timeout_ns;       /* of the calls that follow; 0: none */
};

/* One call; a unary one uses all at once, a stream part after part. */
struct raw_call {
	struct raw_client *client;
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *incoming;
	grpc_status_code status;
	grpc_slice text;
	uint32_t open; /* batches under way */
	bool ended, sending, reading;
};

struct raw_tag {
	struct raw_call *call;
	enum raw_what { RAW_ENDED = 1, RAW_SENT, RAW_READ } what;
};

static inline void raw_open(struct raw_client *c, int port)
{
	grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
	/* Each client has a connection of its own, and no limit that hides the server's. */
	grpc_arg args[] = {
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)(uintptr_t)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
		 .value.integer = 1},
		{.type = GRPC_ARG_INTEGER,
		 .key = (char *)(uintptr_t)GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
		 .value.integer = -1},
	};
	const grpc_channel_args list = {.num_args = 2, .args = args};
	char target[64];

	snprintf(target, sizeof(target), "ipv4:127.0.0.1:%d", port);
	*c = (struct raw_client){.queue = grpc_completion_queue_create_for_next(NULL)};
	c->channel = grpc_channel_create(target, credentials, &list);
	grpc_channel_credentials_release(credentials);
}

/* Takes one completion of the client, if there is one. */
static inline bool raw_poll(struct raw_client *c)
{
	grpc_event e = grpc_completion_queue_next(c->queue, gpr_time_0(GPR_CLOCK_MONOTONIC), NULL);
	struct raw_tag *tag;

	if (e.type != GRPC_OP_COMPLETE)
		return false;
	tag = e.tag;
	c->open--;
	tag->call->open--;
	if (tag->what == RAW_ENDED)
		tag->call->ended = true;
	else if (tag->what == RAW_SENT)
		tag->call->sending = false;
	else
		tag->call->reading = false;
	free(tag);
	return true;
}

/* Lets the client do what it can; the next event of `n`, or NET_TIMEOUT within a millisecond. */
static inline struct net_event raw_pump(struct raw_client *c, struct net *n)
{
	struct net_event event;

	while (raw_poll(c))
		;
	net_turn(n);
	net_next(n, clock_now_ns() + NS_PER_MS, &event);
	return event;
}

/* The next event of that kind; any other event fails the test. */
static inline struct net_event raw_expect(struct raw_client *c, struct net *n,
					  enum net_event_kind kind)
{
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;

	if (kind == NET_STREAM_CLOSED && c->closed.n != 0) {
		struct net_event event = {.kind = kind, .stream = c->closed};

		c->closed.n = 0;
		return event;
	}
	for (;;) {
		struct net_event event = raw_pump(c, n);

		if (event.kind == kind)
			return event;
		assert_int_equal(event.kind, NET_TIMEOUT);
		assert_true(clock_now_ns() < end_ns);
	}
}

/* Pumps until *flag has the value; meanwhile the replica may hear at most that a stream closed,
 * which is kept for raw_expect(). */
static inline void raw_until(struct raw_client *c, struct net *n, const bool *flag, bool value)
{
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;

	while (*flag != value) {
		struct net_event event = raw_pump(c, n);

		if (event.kind == NET_STREAM_CLOSED)
			c->closed = event.stream;
		else
			assert_int_equal(event.kind, NET_TIMEOUT);
		assert_true(clock_now_ns() < end_ns);
	}
}

static inline void raw_batch(struct raw_call *k, const grpc_op *ops, size_t count,
			     enum raw_what what)
{
	struct raw_tag *tag = mem_alloc(sizeof(*tag));

	*tag = (struct raw_tag){k, what};
	k->client->open++;
	k->open++;
	assert_int_equal(grpc_call_start_batch(k->call, ops, count, tag, NULL), GRPC_CALL_OK);
}

static inline grpc_byte_buffer *raw_message(struct bytes b)
{
	grpc_slice slice = grpc_slice_from_copied_buffer((const char *)b.data, b.size);
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return message;
}

static inline void raw_begin(struct raw_client *c, struct raw_call *k, const char *path)
{
	gpr_timespec end = c->timeout_ns == 0
				   ? gpr_inf_future(GPR_CLOCK_MONOTONIC)
				   : gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
						  gpr_time_from_nanos(c->timeout_ns, GPR_TIMESPAN));
	grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};

	*k = (struct raw_call){.client = c, .text = grpc_empty_slice()};
	grpc_metadata_array_init(&k->initial);
	grpc_metadata_array_init(&k->trailing);
	k->call = grpc_channel_create_call(c->channel, NULL, GRPC_PROPAGATE_DEFAULTS, c->queue,
					   grpc_slice_from_static_string(path), NULL, end, NULL);
	op.data.recv_status_on_client.trailing_metadata = &k->trailing;
	op.data.recv_status_on_client.status = &k->status;
	op.data.recv_status_on_client.status_details = &k->text;
	raw_batch(k, &op, 1, RAW_ENDED);
}

/* A whole unary call: its answer is in when `ended` and not `reading`. */
static inline void raw_unary(struct raw_client *c, struct raw_call *k, const char *path,
			     struct bytes request)
{
	grpc_byte_buffer *message = raw_message(request);
	grpc_op ops[5] = {0};

	raw_begin(c, k, path);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = message;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	k->sending = true;
	raw_batch(k, ops, 3, RAW_SENT);
	grpc_byte_buffer_destroy(message);
	ops[0].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[0].data.recv_initial_metadata.recv_initial_metadata = &k->initial;
	ops[1] = (grpc_op){.op = GRPC_OP_RECV_MESSAGE};
	ops[1].data.recv_message.recv_message = &k->incoming;
	k->reading = true;
	raw_batch(k, ops, 2, RAW_READ);
}

/* Sends one message of a stream; the first one opens it. */
static inline void raw_send(struct raw_call *k, struct bytes b, bool first)
{
	grpc_byte_buffer *message = raw_message(b);
	grpc_op ops[2] = {0};
	size_t count = 0;

	if (first)
		ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[count].op = GRPC_OP_SEND_MESSAGE;
	ops[count++].data.send_message.send_message = message;
	k->sending = true;
	raw_batch(k, ops, count, RAW_SENT);
	grpc_byte_buffer_destroy(message);
}

static inline void raw_half_close(struct raw_call *k)
{
	const grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};

	k->sending = true;
	raw_batch(k, &op, 1, RAW_SENT);
}

/* Arms one read of a stream; the answer is in `incoming` when no longer `reading`. */
static inline void raw_read(struct raw_call *k, bool first)
{
	grpc_op ops[2] = {0};
	size_t count = 0;

	if (first) {
		ops[count].op = GRPC_OP_RECV_INITIAL_METADATA;
		ops[count++].data.recv_initial_metadata.recv_initial_metadata = &k->initial;
	}
	ops[count].op = GRPC_OP_RECV_MESSAGE;
	ops[count++].data.recv_message.recv_message = &k->incoming;
	k->reading = true;
	raw_batch(k, ops, count, RAW_READ);
}

/* Moves what was received into `ret_bytes`; false if nothing was. */
static inline bool raw_take(struct raw_call *k, struct buffer *ret_bytes)
{
	grpc_byte_buffer_reader reader;
	grpc_slice slice;

	if (k->incoming == NULL)
		return false;
	assert_true(grpc_byte_buffer_reader_init(&reader, k->incoming));
	slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	grpc_byte_buffer_destroy(k->incoming);
	k->incoming = NULL;
	buffer_clear(ret_bytes);
	assert_true(buffer_append(ret_bytes, (struct bytes){GRPC_SLICE_START_PTR(slice),
							    GRPC_SLICE_LENGTH(slice)}));
	grpc_slice_unref(slice);
	return true;
}

/* The status's text; valid until raw_end(). */
static inline struct bytes raw_text(const struct raw_call *k)
{
	return (struct bytes){GRPC_SLICE_START_PTR(k->text), GRPC_SLICE_LENGTH(k->text)};
}

/* A trailer's value, or nothing; valid until raw_end(). */
static inline struct bytes raw_trailer(const struct raw_call *k, const char *name)
{
	for (size_t i = 0; i < k->trailing.count; i++) {
		const grpc_metadata *m = &k->trailing.metadata[i];

		if (grpc_slice_str_cmp(m->key, name) == 0)
			return (struct bytes){GRPC_SLICE_START_PTR(m->value),
					      GRPC_SLICE_LENGTH(m->value)};
	}
	return BYTES_NONE;
}

/* Frees a call that has ended, once its last batches are back. */
static inline void raw_end(struct raw_call *k)
{
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;

	while (k->open > 0) {
		raw_poll(k->client);
		assert_true(clock_now_ns() < end_ns);
	}
	if (k->incoming != NULL)
		grpc_byte_buffer_destroy(k->incoming);
	grpc_slice_unref(k->text);
	grpc_metadata_array_destroy(&k->initial);
	grpc_metadata_array_destroy(&k->trailing);
	grpc_call_unref(k->call);
	*k = (struct raw_call){0};
}

/* For the end of a test that failed in the middle of a call. */
static inline void raw_abandon(struct raw_call *k)
{
	if (k->call == NULL)
		return;
	(void)grpc_call_cancel(k->call, NULL);
	raw_end(k);
}

/* Every call must have ended. */
static inline void raw_close(struct raw_client *c)
{
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;

	while (c->open > 0) {
		raw_poll(c);
		assert_true(clock_now_ns() < end_ns);
	}
	grpc_channel_destroy(c->channel);
	grpc_completion_queue_shutdown(c->queue);
	while (grpc_completion_queue_next(c->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
		       .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(c->queue);
}

#endif
