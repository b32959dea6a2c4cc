/*
 * net, unary calls and its own life: what arrives is delivered once, what cannot be understood
 * never reaches the replica, each call is answered or gone exactly once, posts keep their order,
 * and the end is orderly.
 */
#include "net_fixture.h"

#include "net/slots.h"

#include <pthread.h>

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

/* So does a deadline that passes. */
static void test_call_gone_on_deadline(void **state)
{
	struct fixture *f = *state;
	struct raw_call *k = &f->calls[0];
	struct net_call held;

	f->client.timeout_ns = 200 * NS_PER_MS;
	raw_unary(&f->client, k, FIND_MASTER, find_master(f, 60000));
	held = raw_expect(&f->client, f->net, NET_REQUEST).call;
	assert_int_equal(raw_expect(&f->client, f->net, NET_CALL_GONE).call.n, held.n);
	finish_refused(f, k, GRPC_STATUS_DEADLINE_EXCEEDED);
	raw_end(k);
}

/* Contents as large as a file may be pass both ways unchanged. */
static void test_large_contents(void **state)
{
	struct fixture *f = *state;
	struct raw_call *k = &f->calls[0];
	const size_t size = (size_t)256 << 10;
	uint8_t *contents = mem_alloc(size);
	struct request request = {.kind = MESSAGE_SET_CONTENTS,
				  .set_contents.contents = {contents, size}};
	struct reply reply = {.kind = MESSAGE_SET_CONTENTS, .generation = 3};
	struct net_event event;
	const char *trouble;

	for (size_t i = 0; i < size; i++)
		contents[i] = (uint8_t)(i * 31 >> 3);
	buffer_clear(&f->out);
	assert_int_equal(wire_encode_request(&request, &f->out), ERROR_OK);
	raw_unary(&f->client, k, "/chubby.v1.Chubby/SetContents", buffer_view(&f->out));
	event = raw_expect(&f->client, f->net, NET_REQUEST);
	assert_int_equal(event.request->set_contents.contents.size, size);
	assert_memory_equal(event.request->set_contents.contents.data, contents, size);
	net_reply(f->net, event.call, &reply);
	raw_until(&f->client, f->net, &k->ended, true);
	raw_end(k);

	request = (struct request){.kind = MESSAGE_GET_CONTENTS_AND_STAT};
	reply = (struct reply){.kind = MESSAGE_GET_CONTENTS_AND_STAT,
			       .get_contents_and_stat.contents = {contents, size}};
	buffer_clear(&f->out);
	assert_int_equal(wire_encode_request(&request, &f->out), ERROR_OK);
	raw_unary(&f->client, k, "/chubby.v1.Chubby/GetContentsAndStat", buffer_view(&f->out));
	net_reply(f->net, raw_expect(&f->client, f->net, NET_REQUEST).call, &reply);
	raw_until(&f->client, f->net, &k->reading, false);
	assert_true(raw_take(k, &f->in));
	assert_int_equal(wire_decode_reply(MESSAGE_GET_CONTENTS_AND_STAT, buffer_view(&f->in),
					   &f->arena, &reply, &trouble),
			 ERROR_OK);
	assert_int_equal(reply.get_contents_and_stat.contents.size, size);
	assert_memory_equal(reply.get_contents_and_stat.contents.data, contents, size);
	raw_until(&f->client, f->net, &k->ended, true);
	raw_end(k);
	free(contents);
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

#define FLOOD (3 * NET_TURN_BUDGET)

/* Between two turns a flood of calls brings no more events than the budget and what is armed. */
static void test_budget_bounds_a_turn(void **state)
{
	struct fixture *f = *state;
	const struct reply answer = master_is("a:1", 1);
	struct raw_call *calls = mem_zalloc(FLOOD * sizeof(*calls));
	const uint64_t armed = 64; /* at gRPC for one method: no more than this */
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;
	uint64_t heard = 0, quiet = 0;
	struct net_event event;

	net_turn(f->net);
	for (int i = 0; i < FLOOD; i++)
		raw_unary(&f->client, &calls[i], FIND_MASTER, find_master(f, 0));
	while (quiet < 100) {
		while (raw_poll(&f->client))
			;
		net_next(f->net, clock_now_ns() + NS_PER_MS, &event);
		quiet = event.kind == NET_TIMEOUT ? quiet + 1 : 0;
		heard += event.kind == NET_REQUEST;
		net_reply(f->net, event.call, &answer);
		assert_true(heard <= NET_TURN_BUDGET + armed);
	}
	assert_true(heard >= NET_TURN_BUDGET);
	while (heard < FLOOD) {
		event = raw_pump(&f->client, f->net);
		heard += event.kind == NET_REQUEST;
		net_reply(f->net, event.call, &answer);
		assert_true(clock_now_ns() < end_ns);
	}
	for (int i = 0; i < FLOOD; i++)
		finish(f, &calls[i]);
	free(calls);
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
	const struct CMUnitTest tests[] = {
		WITH_NET(test_unary_round_trip),
		WITH_NET(test_refusal_details),
		WITH_NET(test_bad_requests_stay_outside),
		WITH_NET(test_call_gone_on_cancel),
		WITH_NET(test_call_gone_on_deadline),
		WITH_NET(test_large_contents),
		WITH_NET(test_held_call_answered),
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
