/*
 * net, the clients' side: what arrives is delivered once and in order, what cannot be understood
 * never reaches the replica, each call is answered or gone exactly once, and nothing that a client
 * does makes net grow without bound.
 */
#include "net_raw.h"

#include "net/slots.h"

#include <pthread.h>

#define FIND_MASTER "/chubby.v1.Chubby/FindMaster"
#define SESSION "/chubby.v1.Chubby/Session"

struct fixture {
	struct net *net;
	struct raw_client client;
	struct raw_call calls[3]; /* here, so that they outlive a test that fails */
	struct buffer out, in;
	struct arena arena;
};

static struct net_config config_alone(void)
{
	return (struct net_config){
		.self = {.protocol = CODEC_PROTOCOL, .cell_id_low = 7, .replica = {1}},
		.listen_client = "127.0.0.1:0",
		.listen_peer = "127.0.0.1:0",
	};
}

static struct net *open_net(const struct net_config *config)
{
	char *trouble = NULL;
	struct net *n = NULL;

	if (net_open(config, &n, &trouble) != ERROR_OK)
		fail_msg("net_open: %s", trouble);
	return n;
}

static int setup(void **state)
{
	const struct net_config config = config_alone();
	struct fixture *f = mem_zalloc(sizeof(*f));

	f->net = open_net(&config);
	raw_open(&f->client, net_client_port(f->net));
	buffer_init(&f->out, (size_t)4 << 20);
	buffer_init(&f->in, (size_t)4 << 20);
	arena_init(&f->arena, (size_t)4 << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++)
		raw_abandon(&f->calls[i]);
	raw_close(&f->client);
	if (f->net != NULL)
		net_close(f->net);
	buffer_release(&f->out);
	buffer_release(&f->in);
	arena_release(&f->arena);
	free(f);
	return 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

static struct bytes find_master(struct fixture *f, int64_t wait_ms)
{
	const struct request r = {.kind = MESSAGE_FIND_MASTER,
				  .find_master.wait_ns = wait_ms * NS_PER_MS};

	buffer_clear(&f->out);
	assert_int_equal(wire_encode_request(&r, &f->out), ERROR_OK);
	return buffer_view(&f->out);
}

static struct bytes envelope(struct fixture *f, uint64_t call_id, int64_t wait_ms)
{
	const struct request r = {.kind = MESSAGE_FIND_MASTER,
				  .find_master.wait_ns = wait_ms * NS_PER_MS};

	buffer_clear(&f->out);
	assert_int_equal(wire_encode_client_envelope(call_id, &r, &f->out), ERROR_OK);
	return buffer_view(&f->out);
}

static struct reply master_is(const char *address, uint64_t epoch)
{
	return (struct reply){.kind = MESSAGE_FIND_MASTER,
			      .epoch = {epoch},
			      .find_master = {.address = bytes_of_text(address), .replica = {3}}};
}

/* The answer of a unary call; its status must be OK. */
static struct reply finish(struct fixture *f, struct raw_call *k)
{
	const char *trouble = NULL;
	struct reply r = {0};

	raw_until(&f->client, f->net, &k->ended, true);
	assert_int_equal(k->status, GRPC_STATUS_OK);
	raw_until(&f->client, f->net, &k->reading, false);
	assert_true(raw_take(k, &f->in));
	assert_int_equal(wire_decode_reply(MESSAGE_FIND_MASTER, buffer_view(&f->in), &f->arena, &r,
					   &trouble),
			 ERROR_OK);
	raw_end(k);
	return r;
}

/* A unary call that net or the replica refuses. */
static void finish_refused(struct fixture *f, struct raw_call *k, grpc_status_code code)
{
	raw_until(&f->client, f->net, &k->ended, true);
	raw_until(&f->client, f->net, &k->reading, false);
	assert_int_equal(k->status, code);
}

static void expect_text(struct bytes b, const char *text)
{
	assert_int_equal(b.size, strlen(text));
	assert_memory_equal(b.data, text, b.size);
}

/* The next envelope of a stream. The replica may hear requests meanwhile only if it is told. */
static struct reply next_envelope(struct fixture *f, struct raw_call *k, uint64_t *ret_call_id)
{
	const char *trouble = NULL;
	struct reply r = {0};

	raw_until(&f->client, f->net, &k->reading, false);
	assert_true(raw_take(k, &f->in));
	arena_release(&f->arena);
	assert_int_equal(wire_decode_server_envelope(buffer_view(&f->in), &f->arena, ret_call_id,
						     &r, &trouble),
			 ERROR_OK);
	return r;
}

static void open_stream(struct fixture *f, struct raw_call *k, uint64_t call_id)
{
	raw_begin(&f->client, k, SESSION, TIME_NEVER);
	raw_send(k, envelope(f, call_id, 0), true);
	raw_read(k, true);
}

/* ---- unary calls ---------------------------------------------------------------------------- */

/* A request arrives as it was sent, its answer likewise, and a second answer changes nothing. */
static void test_unary_round_trip(void **state)
{
	struct fixture *f = *state;
	const struct reply answer = master_is("127.0.0.1:4001", 9);
	struct net_counters counters;
	struct net_event event;
	struct raw_call *k = &f->calls[0];
	struct reply r;

	for (int i = 0; i < 100; i++) {
		raw_unary(&f->client, k, FIND_MASTER, find_master(f, 100 + i));
		event = raw_expect(&f->client, f->net, NET_REQUEST);
		assert_int_equal(event.request->kind, MESSAGE_FIND_MASTER);
		assert_int_equal(event.request->find_master.wait_ns, (100 + i) * NS_PER_MS);
		assert_int_equal(event.stream.n, 0);
		assert_true(event.peer_address.size > 0);
		net_reply(f->net, event.call, &answer);
		net_reply(f->net, event.call, &answer);
		r = finish(f, k);
		expect_text(r.find_master.address, "127.0.0.1:4001");
		assert_int_equal(r.find_master.replica.n, 3);
		assert_int_equal(r.epoch.n, 9);
	}
	net_counters(f->net, &counters);
	assert_int_equal(counters.requests, 100);
	assert_int_equal(counters.replies, 100);
	assert_int_equal(counters.calls_open, 0);
}

/* A refusal carries the gRPC status, a sentence, and the machine-readable details. */
static void test_refusal_details(void **state)
{
	struct fixture *f = *state;
	const struct reply refusal = {.error = ERROR_NOT_MASTER,
				      .message = bytes_of_text("replica 3 is the master"),
				      .master_address = bytes_of_text("127.0.0.1:4003")};
	struct net_event event;
	struct reply r = {0};
	struct raw_call *k = &f->calls[0];

	raw_unary(&f->client, k, FIND_MASTER, find_master(f, 0));
	event = raw_expect(&f->client, f->net, NET_REQUEST);
	net_reply(f->net, event.call, &refusal);
	finish_refused(f, k, GRPC_STATUS_UNAVAILABLE);
	expect_text(raw_text(k), "replica 3 is the master");
	assert_int_equal(wire_decode_status(raw_trailer(k, "grpc-status-details-bin"), &f->arena,
					    &r),
			 ERROR_OK);
	assert_int_equal(r.error, ERROR_NOT_MASTER);
	expect_text(r.message, "replica 3 is the master");
	expect_text(r.master_address, "127.0.0.1:4003");
	raw_end(k);
}

/* Unknown methods, damaged bytes and oversized messages are answered without the replica, and
 * the next good call is served. */
static void test_bad_requests_stay_outside(void **state)
{
	struct fixture *f = *state;
	const struct {
		const char *path;
		size_t size;
		grpc_status_code code;
	} rows[] = {
		{"/chubby.v1.Chubby/NoSuchMethod", 0, GRPC_STATUS_UNIMPLEMENTED},
		{"/chubby.v1.Admin/History", 0, GRPC_STATUS_UNIMPLEMENTED},
		{"/nonsense", 5, GRPC_STATUS_UNIMPLEMENTED},
		{FIND_MASTER, 5, GRPC_STATUS_INVALID_ARGUMENT},
		{FIND_MASTER, WIRE_MESSAGE_MAX_BYTES + 1, GRPC_STATUS_RESOURCE_EXHAUSTED},
	};
	uint8_t *junk = mem_alloc(WIRE_MESSAGE_MAX_BYTES + 1);
	const struct reply answer = master_is("a:1", 1);
	struct raw_call *k = &f->calls[0];

	memset(junk, 0xff, WIRE_MESSAGE_MAX_BYTES + 1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		raw_unary(&f->client, k, rows[i].path, (struct bytes){junk, rows[i].size});
		finish_refused(f, k, rows[i].code);
		raw_end(k);
	}
	free(junk);
	raw_unary(&f->client, k, FIND_MASTER, find_master(f, 0));
	net_reply(f->net, raw_expect(&f->client, f->net, NET_REQUEST).call, &answer);
	finish(f, k);
}

/* A client that gives up makes its call gone, once; answering then does nothing. */
static void test_call_gone_on_cancel(void **state)
{
	struct fixture *f = *state;
	const struct reply answer = master_is("a:1", 1);
	struct net_counters counters;
	struct net_event event;
	struct net_call held;
	struct raw_call *k = &f->calls[0];

	raw_unary(&f->client, k, FIND_MASTER, find_master(f, 60000));
	held = raw_expect(&f->client, f->net, NET_REQUEST).call;
	assert_int_equal(grpc_call_cancel(k->call, NULL), GRPC_CALL_OK);
	event = raw_expect(&f->client, f->net, NET_CALL_GONE);
	assert_int_equal(event.call.n, held.n);
	net_reply(f->net, held, &answer);
	finish_refused(f, k, GRPC_STATUS_CANCELLED);
	raw_end(k);
	net_counters(f->net, &counters);
	assert_int_equal(counters.calls_open, 0);
	assert_int_equal(counters.replies, 0);
}

/* A held call is answered after its client was watched as well. */
static void test_held_call_answered(void **state)
{
	struct fixture *f = *state;
	const struct reply answer = master_is("a:1", 4);
	int64_t until_ns = clock_now_ns() + 100 * NS_PER_MS;
	struct net_call held;
	struct raw_call *k = &f->calls[0];

	raw_unary(&f->client, k, FIND_MASTER, find_master(f, 60000));
	held = raw_expect(&f->client, f->net, NET_REQUEST).call;
	while (clock_now_ns() < until_ns)
		assert_int_equal(raw_pump(&f->client, f->net).kind, NET_TIMEOUT);
	net_reply(f->net, held, &answer);
	assert_int_equal(finish(f, k).epoch.n, 4);
}

/* ---- streams -------------------------------------------------------------------------------- */

/* A thousand envelopes arrive in order, and answers and pushes come back in order. */
static void test_stream_in_order(void **state)
{
	struct fixture *f = *state;
	struct net_counters counters;
	uint64_t call_id, received = 0, pushed = 0, sent = 1;
	struct net_stream stream = {0};
	struct raw_call *k = &f->calls[0];
	uint64_t heard = 0;

	open_stream(f, k, 1);
	while (received < 1000 || pushed < 1000) {
		struct net_event event = raw_pump(&f->client, f->net);

		if (event.kind == NET_REQUEST) {
			const struct reply answer = master_is("a:1", ++heard);
			const struct reply push = {.kind = MESSAGE_WAIT_ENDED,
						   .error = ERROR_OK,
						   .wait_ended = {.ticket = heard,
								  .grant = {.present = true}}};

			assert_true(stream.n == 0 || stream.n == event.stream.n);
			stream = event.stream;
			assert_int_equal(event.request->find_master.wait_ns,
					 (int64_t)(heard - 1) * NS_PER_MS);
			net_push(f->net, event.stream, &push);
			net_reply(f->net, event.call, &answer);
		} else {
			assert_int_equal(event.kind, NET_TIMEOUT);
		}
		if (!k->sending && sent < 1000) {
			raw_send(k, envelope(f, sent + 1, (int64_t)sent), false);
			sent++;
		}
		if (!k->reading) {
			struct reply r = next_envelope(f, k, &call_id);

			if (call_id == 0)
				assert_int_equal(r.wait_ended.ticket, ++pushed);
			else
				assert_int_equal(call_id, ++received);
			raw_read(k, false);
		}
	}
	net_counters(f->net, &counters);
	assert_int_equal(counters.streams_open, 1);
	assert_int_equal(counters.calls_open, 0);
	grpc_call_cancel(k->call, NULL);
	assert_int_equal(raw_expect(&f->client, f->net, NET_STREAM_CLOSED).stream.n, stream.n);
	raw_until(&f->client, f->net, &k->ended, true);
	raw_until(&f->client, f->net, &k->reading, false);
	raw_end(k);
}

/* A stream whose client dies is closed with all its calls; answers and pushes are then dropped. */
static void test_stream_closed_on_client_death(void **state)
{
	struct fixture *f = *state;
	const struct reply answer = master_is("a:1", 1);
	struct net_counters counters;
	struct net_event first, second;
	struct raw_call *k = &f->calls[0];

	open_stream(f, k, 1);
	first = raw_expect(&f->client, f->net, NET_REQUEST);
	raw_until(&f->client, f->net, &k->sending, false);
	raw_send(k, envelope(f, 2, 0), false);
	second = raw_expect(&f->client, f->net, NET_REQUEST);
	assert_int_not_equal(first.call.n, second.call.n);
	grpc_call_cancel(k->call, NULL);
	assert_int_equal(raw_expect(&f->client, f->net, NET_STREAM_CLOSED).stream.n,
			 first.stream.n);
	net_reply(f->net, first.call, &answer);
	net_reply(f->net, second.call, &answer);
	net_push(f->net, first.stream, &answer);
	net_stream_close(f->net, first.stream, &answer);
	net_counters(f->net, &counters);
	assert_int_equal(counters.calls_open, 0);
	assert_int_equal(counters.streams_open, 0);
	assert_int_equal(counters.replies, 0);
	raw_until(&f->client, f->net, &k->ended, true);
	raw_until(&f->client, f->net, &k->reading, false);
	raw_end(k);
}

/* A client that has sent its last envelope still gets its answers, then a clean end. */
static void test_stream_half_closed(void **state)
{
	struct fixture *f = *state;
	const struct reply answer = master_is("a:1", 5);
	struct net_event event;
	struct raw_call *k = &f->calls[0];
	uint64_t call_id;

	open_stream(f, k, 77);
	event = raw_expect(&f->client, f->net, NET_REQUEST);
	raw_until(&f->client, f->net, &k->sending, false);
	raw_half_close(k);
	raw_until(&f->client, f->net, &k->sending, false);
	for (int i = 0; i < 20; i++)
		assert_int_equal(raw_pump(&f->client, f->net).kind, NET_TIMEOUT);
	net_reply(f->net, event.call, &answer);
	assert_int_equal(next_envelope(f, k, &call_id).epoch.n, 5);
	assert_int_equal(call_id, 77);
	assert_int_equal(raw_expect(&f->client, f->net, NET_STREAM_CLOSED).stream.n,
			 event.stream.n);
	raw_until(&f->client, f->net, &k->ended, true);
	assert_int_equal(k->status, GRPC_STATUS_OK);
	raw_end(k);
}

/* The replica ends a stream after what is queued, with the reason; its calls are gone. */
static void test_stream_close_with_reason(void **state)
{
	struct fixture *f = *state;
	const struct reply refusal = {.error = ERROR_SESSION_EXPIRED,
				      .message = bytes_of_text("the session expired")};
	const struct reply push = {.kind = MESSAGE_SESSION_ENDED, .error = ERROR_SESSION_EXPIRED};
	struct net_event event;
	struct reply r = {0};
	struct raw_call *k = &f->calls[0];
	uint64_t call_id = 1;

	open_stream(f, k, 1);
	event = raw_expect(&f->client, f->net, NET_REQUEST);
	net_push(f->net, event.stream, &push);
	net_stream_close(f->net, event.stream, &refusal);
	net_push(f->net, event.stream, &push);
	r = next_envelope(f, k, &call_id);
	assert_int_equal(call_id, 0);
	assert_int_equal(r.error, ERROR_SESSION_EXPIRED);
	raw_read(k, false);
	assert_int_equal(raw_expect(&f->client, f->net, NET_STREAM_CLOSED).stream.n,
			 event.stream.n);
	raw_until(&f->client, f->net, &k->ended, true);
	raw_until(&f->client, f->net, &k->reading, false);
	assert_null(k->incoming);
	assert_int_equal(k->status, GRPC_STATUS_FAILED_PRECONDITION);
	assert_int_equal(wire_decode_status(raw_trailer(k, "grpc-status-details-bin"), &f->arena,
					    &r),
			 ERROR_OK);
	assert_int_equal(r.error, ERROR_SESSION_EXPIRED);
	raw_end(k);
}

/* Damaged envelopes end the stream; the replica hears nothing of it. */
static void test_stream_malformed(void **state)
{
	struct fixture *f = *state;
	static const uint8_t junk[] = {0xff, 0xff, 0xff};
	struct raw_call *k = &f->calls[0];

	raw_begin(&f->client, k, SESSION, TIME_NEVER);
	raw_send(k, (struct bytes){junk, sizeof(junk)}, true);
	raw_read(k, true);
	finish_refused(f, k, GRPC_STATUS_INVALID_ARGUMENT);
	raw_end(k);
}

/* A stream with too many calls open has the next one refused, and only that. */
static void test_stream_call_limit(void **state)
{
	struct fixture *f = *state;
	struct raw_call *k = &f->calls[0];
	uint64_t call_id, opened = 0;
	struct reply r;

	open_stream(f, k, 1);
	for (uint64_t i = 1; i <= NET_CALLS_PER_STREAM_MAX; i++) {
		raw_expect(&f->client, f->net, NET_REQUEST);
		opened++;
		raw_until(&f->client, f->net, &k->sending, false);
		raw_send(k, envelope(f, i + 1, 0), false);
	}
	r = next_envelope(f, k, &call_id);
	assert_int_equal(opened, NET_CALLS_PER_STREAM_MAX);
	assert_int_equal(call_id, NET_CALLS_PER_STREAM_MAX + 1);
	assert_int_equal(r.error, ERROR_RESOURCE_EXHAUSTED);
	grpc_call_cancel(k->call, NULL);
	raw_expect(&f->client, f->net, NET_STREAM_CLOSED);
	raw_until(&f->client, f->net, &k->ended, true);
	raw_until(&f->client, f->net, &k->sending, false);
	raw_end(k);
}

/* A client that does not read is cut off instead of filling our memory. */
static void test_stream_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	static char text[200];
	struct wire_event events[WIRE_EVENTS_MAX];
	struct reply push = {.kind = MESSAGE_KEEP_ALIVE};
	struct net_event event = {0};
	struct net_stream stream;
	struct raw_call *k = &f->calls[0];
	int pushes = 0;

	memset(text, 'x', sizeof(text));
	for (int i = 0; i < WIRE_EVENTS_MAX; i++)
		events[i] = (struct wire_event){.number = 1,
						.kind = 2,
						.name = {(const uint8_t *)text, sizeof(text)}};
	push.keep_alive.event_count = WIRE_EVENTS_MAX;
	push.keep_alive.events = events;
	raw_begin(&f->client, k, SESSION, TIME_NEVER);
	raw_send(k, envelope(f, 1, 0), true);
	stream = raw_expect(&f->client, f->net, NET_REQUEST).stream;
	while (event.kind != NET_STREAM_CLOSED) {
		assert_true(pushes++ < 10000);
		net_push(f->net, stream, &push);
		event = raw_pump(&f->client, f->net);
	}
	assert_int_equal(event.stream.n, stream.n);
	/* Now it reads, and finds the end soon. */
	for (raw_read(k, true); !k->ended; raw_read(k, false)) {
		raw_until(&f->client, f->net, &k->reading, false);
		(void)raw_take(k, &f->in);
	}
	raw_until(&f->client, f->net, &k->reading, false);
	assert_int_not_equal(k->status, GRPC_STATUS_OK);
	raw_end(k);
}

/* Between two turns a flood of envelopes brings no more events than the budget allows. */
static void test_budget_bounds_a_turn(void **state)
{
	struct fixture *f = *state;
	const struct reply answer = master_is("a:1", 1);
	uint64_t sent = 1, heard = 0, quiet = 0;
	struct net_event event;
	struct raw_call *k = &f->calls[0];

	net_turn(f->net);
	open_stream(f, k, 1);
	while (quiet < 100) {
		while (raw_poll(&f->client))
			;
		if (!k->sending && sent < 2 * NET_TURN_BUDGET) {
			sent++;
			raw_send(k, envelope(f, sent, 0), false);
		}
		net_next(f->net, clock_now_ns() + NS_PER_MS, &event);
		quiet = event.kind == NET_TIMEOUT ? quiet + 1 : 0;
		heard += event.kind == NET_REQUEST;
		net_reply(f->net, event.call, &answer);
		assert_true(heard <= NET_TURN_BUDGET);
	}
	assert_true(heard > NET_TURN_BUDGET / 2);
	raw_expect(&f->client, f->net, NET_REQUEST);
	grpc_call_cancel(k->call, NULL);
	do {
		event = raw_pump(&f->client, f->net);
	} while (event.kind != NET_STREAM_CLOSED);
	raw_until(&f->client, f->net, &k->ended, true);
	raw_until(&f->client, f->net, &k->reading, false);
	raw_until(&f->client, f->net, &k->sending, false);
	raw_end(k);
}

/* ---- posts ---------------------------------------------------------------------------------- */

#define POST_THREADS 4
#define POSTS_EACH 5000

struct poster {
	struct net *net;
	pthread_t thread;
	uint64_t next;
	struct post {
		struct poster *from;
		uint64_t number;
	} posts[POSTS_EACH];
};

static void *post_all(void *argument)
{
	struct poster *p = argument;

	for (uint64_t i = 0; i < POSTS_EACH; i++) {
		p->posts[i] = (struct post){p, i};
		net_post(p->net, &p->posts[i]);
	}
	return NULL;
}

/* What several threads post arrives once, each thread's in its order. */
static void test_posts_in_order(void **state)
{
	struct fixture *f = *state;
	struct poster *posters = mem_zalloc(POST_THREADS * sizeof(*posters));

	for (int t = 0; t < POST_THREADS; t++) {
		posters[t].net = f->net;
		assert_int_equal(pthread_create(&posters[t].thread, NULL, post_all, &posters[t]),
				 0);
	}
	for (int i = 0; i < POST_THREADS * POSTS_EACH; i++) {
		struct post *p = raw_expect(&f->client, f->net, NET_POSTED).item;

		assert_int_equal(p->number, p->from->next++);
	}
	assert_int_equal(raw_pump(&f->client, f->net).kind, NET_TIMEOUT);
	for (int t = 0; t < POST_THREADS; t++)
		pthread_join(posters[t].thread, NULL);
	free(posters);
}

/* ---- opening and ending --------------------------------------------------------------------- */

/* A port that another replica holds is refused with a sentence that names it. */
static void test_busy_port(void **state)
{
	struct fixture *f = *state;
	struct net_config config = config_alone();
	char address[64], *trouble = NULL;
	struct net *second = NULL;

	snprintf(address, sizeof(address), "127.0.0.1:%d", net_client_port(f->net));
	config.listen_client = address;
	assert_int_equal(net_open(&config, &second, &trouble), ERROR_UNAVAILABLE);
	assert_null(second);
	assert_non_null(strstr(trouble, address));
	assert_non_null(strstr(trouble, "in use"));
	free(trouble);
	config.listen_client = "127.0.0.1:0";
	config.listen_peer = address;
	trouble = NULL;
	assert_int_equal(net_open(&config, &second, &trouble), ERROR_UNAVAILABLE);
	assert_non_null(strstr(trouble, "peers"));
	free(trouble);
}

/* Plaintext stays on loopback unless the operator insists; nonsense is named. */
static void test_addresses(void **state)
{
	static const char *const refused[] = {"0.0.0.0:0",  "[::]:0",    "10.1.2.3:4001",
					      "example:1",  "127.0.0.1", "127.0.0.1:70000",
					      "127.0.0.1:", "",          "128.0.0.1:1",
					      "127.0.0.1:x"};
	struct net *n = NULL;
	char *trouble;

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct net_config config = config_alone();

		trouble = NULL;
		config.listen_client = refused[i];
		assert_int_equal(net_open(&config, &n, &trouble), ERROR_INVALID_ARGUMENT);
		assert_non_null(trouble);
		free(trouble);
		trouble = NULL;
		config = config_alone();
		config.peer_count = 1;
		config.peers[0] = (struct net_peer_config){{2}, refused[i]};
		assert_int_equal(net_open(&config, &n, &trouble), ERROR_INVALID_ARGUMENT);
		free(trouble);
	}
	assert_null(n);
	for (int i = 0; i < 2; i++) {
		struct net_config config = config_alone();

		config.listen_client = i == 0 ? "0.0.0.0:0" : "localhost:0";
		config.insecure_plaintext_beyond_loopback = i == 0;
		n = open_net(&config);
		assert_true(net_client_port(n) > 0);
		net_close(n);
	}
}

/* Held calls are answered during the drain, streams are told, and then all is quiet. */
static void test_shutdown_drains(void **state)
{
	struct fixture *f = *state;
	const struct reply refusal = {.error = ERROR_NOT_MASTER};
	struct net_event event = {0};
	struct net_call held, on_stream;
	struct raw_call *unary = &f->calls[0], *stream = &f->calls[1];
	int64_t begun_ns;
	bool closed = false;

	raw_unary(&f->client, unary, FIND_MASTER, find_master(f, 60000));
	held = raw_expect(&f->client, f->net, NET_REQUEST).call;
	open_stream(f, stream, 1);
	on_stream = raw_expect(&f->client, f->net, NET_REQUEST).call;
	begun_ns = clock_now_ns();
	net_shutdown_begin(f->net, 20 * NS_PER_S);
	for (int i = 0; i < 20; i++)
		assert_int_equal(raw_pump(&f->client, f->net).kind, NET_TIMEOUT);
	net_reply(f->net, held, &refusal);
	net_reply(f->net, on_stream, &refusal);
	while (event.kind != NET_DRAINED) {
		event = raw_pump(&f->client, f->net);
		closed |= event.kind == NET_STREAM_CLOSED;
		assert_true(clock_now_ns() - begun_ns < RAW_PATIENCE_NS);
	}
	assert_true(closed);
	raw_until(&f->client, f->net, &unary->ended, true);
	assert_int_equal(unary->status, GRPC_STATUS_UNAVAILABLE);
	raw_until(&f->client, f->net, &stream->ended, true);
	assert_int_equal(stream->status, GRPC_STATUS_UNAVAILABLE);
	raw_end(unary);
	raw_end(stream);
}

/* A call that nobody answers delays the end by the grace and no longer; closing cuts it off. */
static void test_shutdown_after_grace(void **state)
{
	struct fixture *f = *state;
	struct raw_call *watched = &f->calls[0], *fresh = &f->calls[1], *stream = &f->calls[2];

	raw_unary(&f->client, watched, FIND_MASTER, find_master(f, 60000));
	raw_expect(&f->client, f->net, NET_REQUEST);
	open_stream(f, stream, 1);
	raw_expect(&f->client, f->net, NET_REQUEST);
	net_shutdown_begin(f->net, 50 * NS_PER_MS);
	raw_expect(&f->client, f->net, NET_DRAINED);
	net_close(f->net);

	/* And at once, with a call that is not even watched-> */
	f->net = open_net(&(struct net_config){.self = {.replica = {1}},
					       .listen_client = "127.0.0.1:0",
					       .listen_peer = "127.0.0.1:0"});
	{
		struct raw_client other;

		raw_open(&other, net_client_port(f->net));
		raw_unary(&other, fresh, FIND_MASTER, find_master(f, 60000));
		raw_expect(&other, f->net, NET_REQUEST);
		net_close(f->net);
		f->net = NULL;
		raw_close(&other);
	}
	while (!watched->ended || !stream->ended)
		raw_poll(&f->client);
	assert_int_not_equal(fresh->status, GRPC_STATUS_OK);
	assert_int_not_equal(watched->status, GRPC_STATUS_OK);
	raw_end(fresh);
	raw_end(watched);
	while (stream->reading)
		raw_poll(&f->client);
	raw_end(stream);
}

/* A deadline in the past polls; one ahead is kept. */
static void test_deadlines(void **state)
{
	struct fixture *f = *state;
	struct net_event event;
	int64_t begun_ns = clock_now_ns();

	net_next(f->net, 0, &event);
	assert_int_equal(event.kind, NET_TIMEOUT);
	net_next(f->net, begun_ns + 30 * NS_PER_MS, &event);
	assert_int_equal(event.kind, NET_TIMEOUT);
	assert_true(clock_now_ns() >= begun_ns + 30 * NS_PER_MS);
	assert_true(clock_now_ns() < begun_ns + RAW_PATIENCE_NS);
}

/* An id finds its object until it is removed, and is never given out again. */
static void test_ids_are_never_reused(void **state)
{
	struct slots s = {0};
	uint64_t ids[300], last = 0;
	int object;

	for (int i = 0; i < 300; i++) {
		ids[i] = slots_add(&s, &ids[i]);
		assert_int_not_equal(ids[i], 0);
		assert_ptr_equal(slots_find(&s, ids[i]), &ids[i]);
	}
	for (int i = 0; i < 300; i++)
		slots_remove(&s, ids[i]);
	for (int round = 0; round < 1000; round++) {
		uint64_t id = slots_add(&s, &object);

		for (int i = 0; i < 300; i++)
			assert_int_not_equal(id, ids[i]);
		assert_int_not_equal(id, last);
		assert_null(slots_find(&s, last));
		slots_remove(&s, id);
		last = id;
	}
	assert_null(slots_find(&s, 0));
	assert_null(slots_find(&s, UINT64_MAX));
	slots_release(&s);
}

int main(void)
{
#define WITH_NET(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_NET(test_unary_round_trip),
		WITH_NET(test_refusal_details),
		WITH_NET(test_bad_requests_stay_outside),
		WITH_NET(test_call_gone_on_cancel),
		WITH_NET(test_held_call_answered),
		WITH_NET(test_stream_in_order),
		WITH_NET(test_stream_closed_on_client_death),
		WITH_NET(test_stream_half_closed),
		WITH_NET(test_stream_close_with_reason),
		WITH_NET(test_stream_malformed),
		WITH_NET(test_stream_call_limit),
		WITH_NET(test_stream_that_does_not_read),
		WITH_NET(test_budget_bounds_a_turn),
		WITH_NET(test_posts_in_order),
		WITH_NET(test_busy_port),
		cmocka_unit_test(test_addresses),
		WITH_NET(test_shutdown_drains),
		WITH_NET(test_shutdown_after_grace),
		WITH_NET(test_deadlines),
		cmocka_unit_test(test_ids_are_never_reused),
	};
	int failed;

	grpc_init();
	failed = cmocka_run_group_tests_name("net", tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
