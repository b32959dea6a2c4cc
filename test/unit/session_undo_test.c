/*
 * Calls that the application ends, and sessions that rest: nothing stays behind in the cell that
 * nobody knows of, and nothing that was lost comes back.
 */
#include "session_fixture.h"

/* ---- cancel --------------------------------------------------------------------------------- */

static uint64_t begun(struct client *c, enum message_kind kind, void *context)
{
	static const uint8_t token[4] = {1, 2, 3, 4};
	struct request r = {.kind = kind, .handle = {token, sizeof(token)}};
	struct session_request q = {
		.request = &r,
		.deadline_ns = TIME_NEVER,
		.handle_number = 9,
		.context = context,
	};
	uint64_t id = session_call(c->s, c->now, &q);

	look(c);
	return id;
}

static void cancel(struct client *c, uint64_t call)
{
	session_cancel(c->s, c->now, call);
	look(c);
}

/* Only the call that is named ends, with CANCELLED, and once; its late answer is ignored. */
static void cancel_ends_one(void **state)
{
	struct client c;
	struct connected l;
	uint64_t a_id, b_id, a_sent;
	int a, b;

	begin(&c);
	l = connect(&c);
	a_id = begun(&c, MESSAGE_SET_CONTENTS, &a);
	a_sent = sent(&c, MESSAGE_SET_CONTENTS)->call_id;
	b_id = begun(&c, MESSAGE_GET_STAT, &b);
	cancel(&c, a_id);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_CANCELLED);
	assert_null(done(&c, &b));
	cancel(&c, a_id);
	assert_int_equal(c.count, 0);
	refuse(&c, l.link, a_sent, MESSAGE_SET_CONTENTS, ERROR_OK);
	assert_null(done(&c, &a));
	cancel(&c, b_id);
	assert_int_equal(done(&c, &b)->reply.error, ERROR_CANCELLED);
	cancel(&c, 12345);
	assert_int_equal(c.count, 0);
	end(&c);
}

/* A call that was not sent is forgotten: nothing goes to the cell. */
static void cancel_before_sending(void **state)
{
	struct client c;
	struct connected l;
	uint64_t id, question;
	int a;

	begin(&c);
	connect(&c);
	at(&c, LEASE);
	question = find(&c, SESSION_ASK)->question;
	id = call_open(&c, WIRE_CREATE_MAY, TIME_NEVER, &a);
	cancel(&c, id);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_CANCELLED);
	answer_question(&c, question, "d:4", 4);
	l.link = find(&c, SESSION_CONNECT)->link;
	l.keepalive = sent(&c, MESSAGE_KEEP_ALIVE)->call_id;
	kept_alive(&c, &l, 0, LEASE, 4);
	assert_int_equal(session_state(c.s), SESSION_SAFE);
	assert_null(sent(&c, MESSAGE_OPEN));
	end(&c);
}

/* An acquire that was cancelled before its answer: a grant is released, and until that is answered
 * the next acquire of the handle is not sent. */
static void cancelled_acquire_goes_first(void **state)
{
	struct reply granted = {.kind = MESSAGE_ACQUIRE};
	struct client c;
	struct connected l;
	uint64_t id, first;
	int a, b;

	granted.acquire.grant.present = true;
	begin(&c);
	l = connect(&c);
	id = begun(&c, MESSAGE_ACQUIRE, &a);
	first = sent(&c, MESSAGE_ACQUIRE)->call_id;
	cancel(&c, id);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_CANCELLED);
	begun(&c, MESSAGE_ACQUIRE, &b);
	assert_null(sent(&c, MESSAGE_ACQUIRE));
	message(&c, l.link, first, &granted);
	assert_non_null(sent(&c, MESSAGE_RELEASE));
	assert_null(sent(&c, MESSAGE_ACQUIRE));
	refuse(&c, l.link, sent(&c, MESSAGE_RELEASE)->call_id, MESSAGE_RELEASE, ERROR_OK);
	assert_non_null(sent(&c, MESSAGE_ACQUIRE));
	message(&c, l.link, sent(&c, MESSAGE_ACQUIRE)->call_id, &granted);
	assert_int_equal(done(&c, &b)->reply.error, ERROR_OK);
	end(&c);
}

/* A handle whose open was cancelled, or late, is closed when its answer comes; with the link the
 * chance is gone, and the open is not sent again. */
static void handle_without_owner_is_closed(void **state)
{
	for (int row = 0; row < 4; row++) {
		bool by_deadline = row % 2 != 0, link_lost = row / 2 != 0;
		struct client c;
		struct connected l;
		uint64_t id, open_id;
		int a;

		begin(&c);
		l = connect(&c);
		id = call_open(&c, WIRE_CREATE_MAY, START + 100 * MS, &a);
		open_id = sent(&c, MESSAGE_OPEN)->call_id;
		if (by_deadline)
			at(&c, 100 * MS);
		else
			cancel(&c, id);
		assert_int_equal(done(&c, &a)->reply.error,
				 by_deadline ? ERROR_OUTCOME_UNKNOWN : ERROR_CANCELLED);
		if (link_lost) {
			l = fail_over(&c, l, "e:5", 4);
			kept_alive(&c, &l, 0, LEASE, 4);
			assert_null(sent(&c, MESSAGE_OPEN));
		}
		answer_open(&c, l.link, open_id);
		assert_null(done(&c, &a));
		assert_true((sent(&c, MESSAGE_CLOSE) != NULL) == !link_lost);
		end(&c);
	}
}

/* Several at once: the locks of a cancelled one are released, and only if it got them. */
static void cancelled_multi_releases(void **state)
{
	static const uint8_t one[4] = {1}, two[4] = {2};

	for (int refused = 0; refused <= 1; refused++) {
		struct wire_multi_op ops[] = {
			{.kind = WIRE_MULTI_ACQUIRE, .handle = {one, 4}},
			{.kind = WIRE_MULTI_ACQUIRE - 1},
			{.kind = WIRE_MULTI_ACQUIRE, .handle = {two, 4}},
		};
		struct request r = {.kind = MESSAGE_MULTI};
		struct client c;
		int a;
		struct session_request q = {.request = &r,
					    .deadline_ns = TIME_NEVER,
					    .context = &a};
		struct connected l;
		uint64_t id, multi_id;

		r.multi.ops = ops;
		r.multi.count = 3;
		begin(&c);
		l = connect(&c);
		id = session_call(c.s, c.now, &q);
		look(&c);
		multi_id = sent(&c, MESSAGE_MULTI)->call_id;
		cancel(&c, id);
		assert_int_equal(done(&c, &a)->reply.error, ERROR_CANCELLED);
		memset(ops, 0xEE, sizeof(ops)); /* they were the caller's */
		refuse(&c, l.link, multi_id, MESSAGE_MULTI, refused ? ERROR_LOCK_HELD : ERROR_OK);
		assert_int_equal(count_of(&c, SESSION_SEND), refused ? 0 : 2);
		assert_true((sent(&c, MESSAGE_RELEASE) == NULL) == (refused != 0));
		end(&c);
	}
}

/* Until it is known what a cancelled multi got, and that is given back, nothing else is asked about
 * those locks: a release on its way would take what was acquired anew. */
static void cancelled_multi_goes_first(void **state)
{
	static const uint8_t one[4] = {1, 2, 3, 4}, two[4] = {5};

	for (int refused = 0; refused <= 1; refused++) {
		struct wire_multi_op ops[] = {
			{.kind = WIRE_MULTI_ACQUIRE, .handle = {two, 4}},
			{.kind = WIRE_MULTI_ACQUIRE, .handle = {one, 4}},
		};
		struct request r = {.kind = MESSAGE_MULTI};
		struct client c;
		int a, b, d;
		struct session_request q = {.request = &r,
					    .deadline_ns = TIME_NEVER,
					    .context = &a};
		struct connected l;
		uint64_t id, multi_id, first, second;

		r.multi.ops = ops;
		r.multi.count = 2;
		begin(&c);
		l = connect(&c);
		id = session_call(c.s, c.now, &q);
		look(&c);
		multi_id = sent(&c, MESSAGE_MULTI)->call_id;
		cancel(&c, id);
		begun(&c, MESSAGE_RELEASE, &b);
		assert_null(sent(&c, MESSAGE_RELEASE));
		begun(&c, MESSAGE_ACQUIRE, &d);
		assert_null(sent(&c, MESSAGE_ACQUIRE));
		refuse(&c, l.link, multi_id, MESSAGE_MULTI, refused ? ERROR_BUSY : ERROR_OK);
		if (!refused) {
			assert_int_equal(count_of(&c, SESSION_SEND), 2);
			assert_null(sent(&c, MESSAGE_ACQUIRE));
			first = sent(&c, MESSAGE_RELEASE)->call_id;
			second = first + 1;
			refuse(&c, l.link, first, MESSAGE_RELEASE, ERROR_OK);
			assert_null(sent(&c, MESSAGE_ACQUIRE));
			refuse(&c, l.link, second, MESSAGE_RELEASE, ERROR_OK);
		}
		assert_non_null(sent(&c, MESSAGE_RELEASE));
		assert_non_null(sent(&c, MESSAGE_ACQUIRE));
		end(&c);
	}
}

/* ---- rest ----------------------------------------------------------------------------------- */

static void told_idle(struct client *c, uint64_t link)
{
	refuse(c, link, 0, MESSAGE_SESSION_ENDED, ERROR_SESSION_EXPIRED);
}

/* A session that has nothing is ended by the cell: it rests, asks for nothing, and the next call
 * opens another one, under new numbers. */
static void rests_and_wakes(void **state)
{
	struct reply created = {.kind = MESSAGE_CREATE_SESSION, .epoch = {4}};
	struct client c;
	struct connected l;
	uint64_t link;
	int a, b;

	begin(&c);
	l = connect(&c);
	call_open(&c, WIRE_CREATE_MAY, TIME_NEVER, &b);
	assert_int_equal(sent(&c, MESSAGE_OPEN)->request.number, 1);
	answer_open(&c, l.link, sent(&c, MESSAGE_OPEN)->call_id);
	call(&c, MESSAGE_CLOSE, TIME_NEVER, &b);
	refuse(&c, l.link, sent(&c, MESSAGE_CLOSE)->call_id, MESSAGE_CLOSE, ERROR_OK);
	told_idle(&c, l.link);
	assert_int_equal(session_state(c.s), SESSION_RESTING);
	assert_int_equal(session_next_tick(c.s), TIME_NEVER);
	at(&c, 3600 * NS_PER_S);
	assert_int_equal(c.count, 0);
	call_open(&c, WIRE_CREATE_MAY, TIME_NEVER, &a);
	assert_int_equal(session_state(c.s), SESSION_CONNECTING);
	answer_question(&c, find(&c, SESSION_ASK)->question, "d:4", 4);
	link = find(&c, SESSION_CONNECT)->link;
	created.create_session.session.n = 78;
	created.create_session.lease_ns = LEASE;
	message(&c, link, sent(&c, MESSAGE_CREATE_SESSION)->call_id, &created);
	assert_int_equal(session_state(c.s), SESSION_SAFE);
	assert_int_equal(sent(&c, MESSAGE_OPEN)->request.session.n, 78);
	assert_int_equal(sent(&c, MESSAGE_OPEN)->request.number, 1);
	answer_open(&c, link, sent(&c, MESSAGE_OPEN)->call_id);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_OK);
	/* Now it has something. */
	told_idle(&c, link);
	assert_int_equal(session_state(c.s), SESSION_EXPIRED);
	end(&c);
}

/* The call that met the end of its idle session: refused, it goes to the next one; sent and not
 * answered, nobody knows, and it is not done twice. */
static void call_meets_the_end(void **state)
{
	for (int refused = 0; refused <= 1; refused++) {
		struct client c;
		struct connected l;
		int a;

		begin(&c);
		l = connect(&c);
		call_open(&c, WIRE_CREATE_MUST, TIME_NEVER, &a);
		if (refused)
			refuse(&c, l.link, sent(&c, MESSAGE_OPEN)->call_id, MESSAGE_OPEN,
			       ERROR_SESSION_EXPIRED);
		else
			told_idle(&c, l.link);
		if (refused) {
			assert_null(done(&c, &a));
			assert_int_equal(session_state(c.s), SESSION_CONNECTING);
			assert_non_null(find(&c, SESSION_ASK));
		} else {
			assert_int_equal(done(&c, &a)->reply.error, ERROR_OUTCOME_UNKNOWN);
			assert_int_equal(session_state(c.s), SESSION_RESTING);
		}
		end(&c);
	}
}

/* Nobody is there when it wakes: the call waits as in jeopardy, and fails; the next tries again. */
static void wakes_without_a_master(void **state)
{
	struct client c;
	struct connected l;
	int a, b;

	begin(&c);
	l = connect(&c);
	told_idle(&c, l.link);
	call_open(&c, WIRE_CREATE_NEVER, TIME_NEVER, &a);
	at(&c, 45 * NS_PER_S - 1);
	assert_null(done(&c, &a));
	at(&c, 1);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_UNAVAILABLE);
	assert_int_equal(session_state(c.s), SESSION_RESTING);
	call_open(&c, WIRE_CREATE_NEVER, TIME_NEVER, &b);
	assert_int_equal(session_state(c.s), SESSION_CONNECTING);
	assert_non_null(find(&c, SESSION_ASK));
	session_close(c.s, c.now, c.now + NS_PER_S);
	look(&c);
	assert_int_equal(done(&c, &b)->reply.error, ERROR_CANCELLED);
	assert_int_equal(session_state(c.s), SESSION_CLOSED);
	end(&c);
}

/* Whoever had a handle when the grace ran out, or was told so in jeopardy, has lost it for good. */
static void what_had_a_handle_stays_expired(void **state)
{
	struct client c;
	struct connected l;
	int a;

	begin(&c);
	l = connect(&c);
	opened(&c, l.link);
	l = fail_over(&c, l, "e:5", 4);
	refuse(&c, l.link, l.keepalive, MESSAGE_KEEP_ALIVE, ERROR_SESSION_EXPIRED);
	assert_int_equal(session_state(c.s), SESSION_EXPIRED);
	call(&c, MESSAGE_CLOSE, TIME_NEVER, &a);
	call_open(&c, WIRE_CREATE_MAY, TIME_NEVER, &a);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_SESSION_EXPIRED);
	assert_int_equal(session_state(c.s), SESSION_EXPIRED);
	assert_null(find(&c, SESSION_ASK));
	end(&c);
}

/* A connection that could not be opened the first time ends with the reason, for its calls too. */
static void first_refusal_is_final(void **state)
{
	struct client c;
	int a;

	begin(&c);
	call_open(&c, WIRE_CREATE_NEVER, TIME_NEVER, &a);
	at(&c, 10 * NS_PER_S);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_UNAVAILABLE);
	assert_int_equal(session_state(c.s), SESSION_CLOSED);
	assert_int_equal(find(&c, SESSION_NEWS)->reason, ERROR_UNAVAILABLE);
	end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cancel_ends_one),
		cmocka_unit_test(cancel_before_sending),
		cmocka_unit_test(cancelled_acquire_goes_first),
		cmocka_unit_test(handle_without_owner_is_closed),
		cmocka_unit_test(cancelled_multi_releases),
		cmocka_unit_test(cancelled_multi_goes_first),
		cmocka_unit_test(rests_and_wakes),
		cmocka_unit_test(call_meets_the_end),
		cmocka_unit_test(wakes_without_a_master),
		cmocka_unit_test(what_had_a_handle_stays_expired),
		cmocka_unit_test(first_refusal_is_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
