/*
 * The client's session core: whom it asks, when it believes in its lease, what it sends again, and
 * that every call ends exactly once.
 */
#include "session_fixture.h"

/* ---- finding the master --------------------------------------------------------------------- */

/* Two servers are asked at once, the others after 200 ms each; one that is silent costs no more. */
static void asks_two_then_more(void **state)
{
	struct client c;

	begin(&c);
	assert_int_equal(count_of(&c, SESSION_ASK), 2);
	at(&c, 100 * MS);
	assert_int_equal(count_of(&c, SESSION_ASK), 0);
	at(&c, 100 * MS);
	assert_int_equal(count_of(&c, SESSION_ASK), 1);
	end(&c);
}

/* A server that cannot be reached passes its turn on at once. */
static void unreachable_passes_its_turn(void **state)
{
	struct client c;

	begin(&c);
	answer_unavailable(&c, find(&c, SESSION_ASK)->question);
	assert_int_equal(count_of(&c, SESSION_ASK), 1);
	end(&c);
}

/* Without a master, connecting ends at its deadline with UNAVAILABLE, and says who answers. */
static void connect_ends_in_time(void **state)
{
	struct client c;

	begin(&c);
	at(&c, 10 * NS_PER_S - 1);
	assert_int_equal(session_state(c.s), SESSION_CONNECTING);
	c.now += 1;
	session_tick(c.s, c.now);
	assert_int_equal(session_state(c.s), SESSION_CLOSED);
	look(&c);
	assert_int_equal(find(&c, SESSION_NEWS)->reason, ERROR_UNAVAILABLE);
	end(&c);
}

/* What is said to be master, and refuses, is not tried again at once; its hint is followed. */
static void hint_is_followed(void **state)
{
	struct reply r = {.kind = MESSAGE_CREATE_SESSION, .error = ERROR_NOT_MASTER};
	struct client c;
	uint64_t link;

	begin(&c);
	answer_question(&c, find(&c, SESSION_ASK)->question, "c:3", 3);
	link = find(&c, SESSION_CONNECT)->link;
	r.master_address = bytes_of_text("d:4");
	message(&c, link, sent(&c, MESSAGE_CREATE_SESSION)->call_id, &r);
	assert_string_equal(session_server(c.s, find(&c, SESSION_CONNECT)->server), "d:4");
	end(&c);
}

/* An answer of an older epoch than the known one is behind, and not believed. */
static void older_epoch_is_not_believed(void **state)
{
	struct client c;
	struct connected l;

	begin(&c);
	l = connect(&c);
	session_link_lost(c.s, c.now, l.link, NULL);
	look(&c);
	answer_question(&c, find(&c, SESSION_ASK)->question, "a:1", 2);
	assert_null(find(&c, SESSION_CONNECT));
	end(&c);
}

/* A call without an answer for 200 ms: others are asked; the silent one, named again, is kept; a
 * new master of a newer epoch is gone to, and the call goes there under its number. */
static void silence_is_suspicious(void **state)
{
	struct client c;
	struct connected l;
	uint64_t number, link;
	int context;

	begin(&c);
	l = connect(&c);
	call(&c, MESSAGE_SET_CONTENTS, TIME_NEVER, &context);
	number = sent(&c, MESSAGE_SET_CONTENTS)->request.number;
	assert_int_equal(number, 1);
	at(&c, 199 * MS);
	assert_null(find(&c, SESSION_ASK));
	at(&c, 1 * MS);
	assert_non_null(find(&c, SESSION_ASK));
	for (uint32_t i = 0; i < c.count; i++)
		assert_string_not_equal(session_server(c.s, c.got[i].server), "c:3");
	answer_question(&c, find(&c, SESSION_ASK)->question, "c:3", 3);
	assert_null(find(&c, SESSION_CONNECT));
	at(&c, 200 * MS);
	answer_question(&c, find(&c, SESSION_ASK)->question, "e:5", 4);
	assert_int_equal(find(&c, SESSION_DISCONNECT)->link, l.link);
	link = find(&c, SESSION_CONNECT)->link;
	l = (struct connected){link, sent(&c, MESSAGE_KEEP_ALIVE)->call_id};
	kept_alive(&c, &l, 0, LEASE, 4);
	assert_int_equal(sent(&c, MESSAGE_SET_CONTENTS)->request.number, number);
	end(&c);
}

/* ---- lease ---------------------------------------------------------------------------------- */

/* The lease ends at the send time of the question plus what the answer told, shortened. */
static void lease_counts_from_sending(void **state)
{
	struct client c;
	struct connected l;
	int64_t asked;

	begin(&c);
	l = connect(&c);
	assert_int_equal(session_lease_end(c.s), lease_end(START, LEASE, DRIFT_PPM_DEFAULT));
	asked = c.now;
	at(&c, 7 * NS_PER_S);
	kept_alive(&c, &l, 7 * NS_PER_S, LEASE, 3);
	assert_int_equal(session_lease_end(c.s),
			 lease_end(asked, 7 * NS_PER_S + LEASE, DRIFT_PPM_DEFAULT));
	end(&c);
}

/* An answer that promises less than what was promised before does not move the lease back. */
static void lease_never_moves_back(void **state)
{
	struct client c;
	struct connected l;
	int64_t before;

	begin(&c);
	l = connect(&c);
	before = session_lease_end(c.s);
	kept_alive(&c, &l, 0, 2 * NS_PER_S, 3);
	assert_int_equal(session_lease_end(c.s), before);
	end(&c);
}

/* Nonsense in an answer (negative, or years) leaves the lease as it was. */
static void lease_refuses_nonsense(void **state)
{
	struct client c;
	struct connected l;
	int64_t before;

	begin(&c);
	l = connect(&c);
	before = session_lease_end(c.s);
	kept_alive(&c, &l, -1, LEASE, 3);
	kept_alive(&c, &l, 0, INT64_MAX, 3);
	assert_int_equal(session_lease_end(c.s), before);
	end(&c);
}

/* A held KeepAlive that is late is asked anew on the same link, for an answer at once; an answer
 * to the older one is void. Only silence after that makes others be asked. */
static void late_keepalive_is_asked_anew(void **state)
{
	struct client c;
	struct connected l;
	uint64_t old, lease;

	begin(&c);
	l = connect(&c);
	old = l.keepalive;
	at(&c, LEASE / 4 * 3 - 1);
	assert_int_equal(c.count, 0);
	at(&c, 1);
	assert_true(sent(&c, MESSAGE_KEEP_ALIVE)->request.keep_alive.immediate);
	assert_int_equal(sent(&c, MESSAGE_KEEP_ALIVE)->link, l.link);
	l.keepalive = sent(&c, MESSAGE_KEEP_ALIVE)->call_id;
	assert_null(find(&c, SESSION_ASK));
	refuse(&c, l.link, old, MESSAGE_KEEP_ALIVE, ERROR_CANCELLED);
	assert_int_equal(session_state(c.s), SESSION_SAFE);
	assert_null(find(&c, SESSION_DISCONNECT));
	at(&c, SESSION_SUSPECT_NS);
	assert_non_null(find(&c, SESSION_ASK));
	lease = (uint64_t)session_lease_end(c.s);
	kept_alive(&c, &l, 0, LEASE, 3);
	assert_true((uint64_t)session_lease_end(c.s) > lease);
	assert_int_equal(session_state(c.s), SESSION_SAFE);
	end(&c);
}

/* ---- jeopardy, grace ------------------------------------------------------------------------ */

struct timing_row {
	const char *what;
	int64_t silent_ns; /* since the lease's end */
	enum session_state want;
};

/* SAFE until the lease's end, JEOPARDY for the grace period, then EXPIRED. */
static void states_by_time(void **state)
{
	static const struct timing_row rows[] = {
		{"a nanosecond before the end", -1, SESSION_SAFE},
		{"at the end", 0, SESSION_JEOPARDY},
		{"in the grace period", 44 * NS_PER_S, SESSION_JEOPARDY},
		{"when grace is over", 45 * NS_PER_S, SESSION_EXPIRED},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct client c;
		int64_t lease;

		begin(&c);
		connect(&c);
		lease = session_lease_end(c.s);
		while (session_next_tick(c.s) <= lease + rows[i].silent_ns)
			at(&c, session_next_tick(c.s) > c.now ? session_next_tick(c.s) - c.now : 1);
		at(&c, lease + rows[i].silent_ns - c.now);
		if (session_state(c.s) != rows[i].want)
			fail_msg("%s: state %d", rows[i].what, session_state(c.s));
		end(&c);
	}
}

/* In jeopardy calls wait; when the cell answers the session is safe, and they go on. */
static void jeopardy_then_safe(void **state)
{
	struct client c;
	struct connected l;
	int context;

	begin(&c);
	l = connect(&c);
	at(&c, LEASE);
	assert_int_equal(session_state(c.s), SESSION_JEOPARDY);
	assert_int_equal(find(&c, SESSION_DISCONNECT)->link, l.link);
	call(&c, MESSAGE_GET_STAT, TIME_NEVER, &context);
	assert_null(sent(&c, MESSAGE_GET_STAT));
	at(&c, 30 * NS_PER_S);
	assert_null(done(&c, &context));
	answer_question(&c, find(&c, SESSION_ASK)->question, "d:4", 4);
	l.link = find(&c, SESSION_CONNECT)->link;
	l.keepalive = sent(&c, MESSAGE_KEEP_ALIVE)->call_id;
	kept_alive(&c, &l, 0, LEASE, 4);
	assert_int_equal(session_state(c.s), SESSION_SAFE);
	assert_non_null(sent(&c, MESSAGE_GET_STAT));
	assert_int_equal(sent(&c, MESSAGE_GET_STAT)->request.epoch.n, 4);
	end(&c);
}

/* When grace ends: OUTCOME_UNKNOWN for a mutation that was sent, UNAVAILABLE for a read,
 * also for an acquire, and for whatever is begun later; OK for Close. */
static void fates_when_grace_ends(void **state)
{
	struct client c;
	int write, read, lock, later, closing;

	begin(&c);
	connect(&c);
	call(&c, MESSAGE_SET_CONTENTS, TIME_NEVER, &write);
	call(&c, MESSAGE_GET_STAT, TIME_NEVER, &read);
	call(&c, MESSAGE_ACQUIRE, TIME_NEVER, &lock);
	at(&c, LEASE);
	at(&c, 45 * NS_PER_S);
	assert_int_equal(session_state(c.s), SESSION_EXPIRED);
	assert_int_equal(find(&c, SESSION_NEWS)->reason, ERROR_UNAVAILABLE);
	assert_int_equal(done(&c, &write)->reply.error, ERROR_OUTCOME_UNKNOWN);
	assert_int_equal(done(&c, &read)->reply.error, ERROR_UNAVAILABLE);
	assert_int_equal(done(&c, &lock)->reply.error, ERROR_UNAVAILABLE);
	call(&c, MESSAGE_GET_STAT, TIME_NEVER, &later);
	assert_int_equal(done(&c, &later)->reply.error, ERROR_UNAVAILABLE);
	call(&c, MESSAGE_CLOSE, TIME_NEVER, &closing);
	assert_int_equal(done(&c, &closing)->reply.error, ERROR_OK);
	end(&c);
}

/* The cell says that the session is over: expired at once, the reason is the cell's, also for
 * calls that are begun later. */
static void told_that_it_expired(void **state)
{
	struct client c;
	struct connected l;
	int later;

	begin(&c);
	l = connect(&c);
	opened(&c, l.link);
	refuse(&c, l.link, l.keepalive, MESSAGE_KEEP_ALIVE, ERROR_SESSION_EXPIRED);
	assert_int_equal(session_state(c.s), SESSION_EXPIRED);
	assert_int_equal(find(&c, SESSION_NEWS)->reason, ERROR_SESSION_EXPIRED);
	call(&c, MESSAGE_GET_STAT, TIME_NEVER, &later);
	assert_int_equal(done(&c, &later)->reply.error, ERROR_SESSION_EXPIRED);
	end(&c);
}

/* ---- numbers and replay --------------------------------------------------------------------- */

/* At most 64 numbers from the lowest that is unanswered; further mutations wait, reads do not. */
static void window_holds(void **state)
{
	struct client c;
	struct connected l;
	uint64_t first, links[SESSION_WINDOW];
	int contexts[SESSION_WINDOW + 1], read;

	begin(&c);
	l = connect(&c);
	for (uint32_t i = 0; i < SESSION_WINDOW; i++) {
		call(&c, MESSAGE_SET_CONTENTS, TIME_NEVER, &contexts[i]);
		assert_int_equal(sent(&c, MESSAGE_SET_CONTENTS)->request.number, i + 1);
		assert_int_equal(sent(&c, MESSAGE_SET_CONTENTS)->request.lowest_unanswered, 1);
		links[i] = sent(&c, MESSAGE_SET_CONTENTS)->call_id;
	}
	first = links[0];
	call(&c, MESSAGE_SET_CONTENTS, TIME_NEVER, &contexts[SESSION_WINDOW]);
	assert_null(sent(&c, MESSAGE_SET_CONTENTS));
	call(&c, MESSAGE_GET_STAT, TIME_NEVER, &read);
	assert_non_null(sent(&c, MESSAGE_GET_STAT));
	/* An answer in the middle opens nothing; the lowest one does. */
	refuse(&c, l.link, links[5], MESSAGE_SET_CONTENTS, ERROR_OK);
	assert_null(sent(&c, MESSAGE_SET_CONTENTS));
	refuse(&c, l.link, first, MESSAGE_SET_CONTENTS, ERROR_OK);
	assert_int_equal(sent(&c, MESSAGE_SET_CONTENTS)->request.number, SESSION_WINDOW + 1);
	assert_int_equal(sent(&c, MESSAGE_SET_CONTENTS)->request.lowest_unanswered, 2);
	end(&c);
}

/* After a failover what is unanswered goes again in the old order under the old numbers, only once
 * the new master has answered the KeepAlive; late answers on the old link are ignored. */
static void replay_after_failover(void **state)
{
	struct client c;
	struct connected old, l;
	uint64_t first_id;
	int a, b;

	begin(&c);
	old = connect(&c);
	call(&c, MESSAGE_SET_CONTENTS, TIME_NEVER, &a);
	first_id = sent(&c, MESSAGE_SET_CONTENTS)->call_id;
	call(&c, MESSAGE_DELETE, TIME_NEVER, &b);
	l = fail_over(&c, old, "e:5", 4);
	assert_null(sent(&c, MESSAGE_SET_CONTENTS));
	refuse(&c, old.link, first_id, MESSAGE_SET_CONTENTS, ERROR_OK);
	assert_null(done(&c, &a));
	kept_alive(&c, &l, 0, LEASE, 4);
	assert_int_equal(sent(&c, MESSAGE_SET_CONTENTS)->request.number, 1);
	assert_int_equal(sent(&c, MESSAGE_DELETE)->request.number, 2);
	assert_true(sent(&c, MESSAGE_SET_CONTENTS) < sent(&c, MESSAGE_DELETE));
	refuse(&c, l.link, sent(&c, MESSAGE_SET_CONTENTS)->call_id, MESSAGE_SET_CONTENTS, ERROR_OK);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_OK);
	end(&c);
}

/* EPOCH_CHANGED: the same number goes again with the epoch that was told. */
static void epoch_change(void **state)
{
	struct reply r = {.kind = MESSAGE_DELETE, .error = ERROR_EPOCH_CHANGED, .epoch = {9}};
	struct client c;
	struct connected l;
	int a;

	begin(&c);
	l = connect(&c);
	call(&c, MESSAGE_DELETE, TIME_NEVER, &a);
	assert_int_equal(sent(&c, MESSAGE_DELETE)->request.epoch.n, 3);
	message(&c, l.link, sent(&c, MESSAGE_DELETE)->call_id, &r);
	assert_int_equal(sent(&c, MESSAGE_DELETE)->request.epoch.n, 9);
	assert_int_equal(sent(&c, MESSAGE_DELETE)->request.number, 1);
	assert_null(done(&c, &a));
	end(&c);
}

/* A call's own deadline: a mutation that was sent is OUTCOME_UNKNOWN; late answers are ignored. */
static void deadline_of_a_call(void **state)
{
	struct client c;
	struct connected l;
	uint64_t id;
	int a;

	begin(&c);
	l = connect(&c);
	call(&c, MESSAGE_DELETE, c.now + 100 * MS, &a);
	id = sent(&c, MESSAGE_DELETE)->call_id;
	at(&c, 100 * MS);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_OUTCOME_UNKNOWN);
	refuse(&c, l.link, id, MESSAGE_DELETE, ERROR_OK);
	assert_null(done(&c, &a));
	end(&c);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Closing completes all calls with CANCELLED, tells the cell, and waits for its word. */
static void close_cancels(void **state)
{
	struct client c;
	struct connected l;
	int a;

	begin(&c);
	l = connect(&c);
	call(&c, MESSAGE_GET_STAT, TIME_NEVER, &a);
	session_close(c.s, c.now, c.now + NS_PER_S);
	look(&c);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_CANCELLED);
	assert_int_equal(session_state(c.s), SESSION_SAFE);
	refuse(&c, l.link, sent(&c, MESSAGE_END_SESSION)->call_id, MESSAGE_END_SESSION, ERROR_OK);
	assert_int_equal(session_state(c.s), SESSION_CLOSED);
	end(&c);
}

/* A cell that does not answer delays the close no longer than asked for. */
/* A process that was stopped past its lease, and closes as the first thing that it does: it does
 * not call itself safe, and the cell is told all the same. */
static void close_after_a_stop_is_told(void **state)
{
	struct client c;

	(void)state;
	begin(&c);
	connect(&c);
	c.now += 2 * LEASE;
	session_close(c.s, c.now, c.now + NS_PER_S);
	look(&c);
	assert_int_not_equal(session_state(c.s), SESSION_SAFE);
	assert_non_null(sent(&c, MESSAGE_END_SESSION));
	end(&c);
}

static void close_ends_in_time(void **state)
{
	struct client c;

	begin(&c);
	connect(&c);
	session_close(c.s, c.now, c.now + NS_PER_S);
	look(&c);
	at(&c, NS_PER_S);
	assert_int_equal(session_state(c.s), SESSION_CLOSED);
	end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(asks_two_then_more),
		cmocka_unit_test(unreachable_passes_its_turn),
		cmocka_unit_test(connect_ends_in_time),
		cmocka_unit_test(hint_is_followed),
		cmocka_unit_test(older_epoch_is_not_believed),
		cmocka_unit_test(silence_is_suspicious),
		cmocka_unit_test(lease_counts_from_sending),
		cmocka_unit_test(lease_never_moves_back),
		cmocka_unit_test(lease_refuses_nonsense),
		cmocka_unit_test(late_keepalive_is_asked_anew),
		cmocka_unit_test(states_by_time),
		cmocka_unit_test(jeopardy_then_safe),
		cmocka_unit_test(fates_when_grace_ends),
		cmocka_unit_test(told_that_it_expired),
		cmocka_unit_test(window_holds),
		cmocka_unit_test(replay_after_failover),
		cmocka_unit_test(epoch_change),
		cmocka_unit_test(deadline_of_a_call),
		cmocka_unit_test(close_cancels),
		cmocka_unit_test(close_after_a_stop_is_told),
		cmocka_unit_test(close_ends_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
