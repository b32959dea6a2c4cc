/*
 * net, Session streams: envelopes and answers keep their order, a stream's end is told once and
 * takes its calls along, and nothing that a client does makes net grow without bound.
 */
#include "net_fixture.h"

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

	raw_begin(&f->client, k, SESSION);
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
	raw_begin(&f->client, k, SESSION);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_NET(test_stream_in_order),
		WITH_NET(test_stream_closed_on_client_death),
		WITH_NET(test_stream_half_closed),
		WITH_NET(test_stream_close_with_reason),
		WITH_NET(test_stream_malformed),
		WITH_NET(test_stream_call_limit),
		WITH_NET(test_stream_that_does_not_read),
		WITH_NET(test_budget_bounds_a_turn),
	};
	int failed;

	grpc_init();
	failed = cmocka_run_group_tests_name("net_stream", tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
