/*
 * Leases over failovers: marks, leases under load, idle sessions.
 */
#include "master_fixture.h"

/* What the header promises for a session of this lease, of time with a master. */
static int64_t bound_ns(int64_t lease_ns, int failovers)
{
	return lease_ns + failovers * (MASTER_SILENT_NS + MASTER_MARK_EVERY_NS);
}

/*
 * Property (lease_reset_by_failover): ten failovers in a row, each before a whole lease ran out,
 * and however short the masterships: the dead session ends within the bound, and not before its
 * lease did; the live one outlives them all.
 */
static void dead_end_and_live_stay(void **state)
{
	static const int64_t tenures_ns[] = {
		700 * NS_PER_MS, 2 * NS_PER_S, 4 * NS_PER_S, 6 * NS_PER_S, 11 * NS_PER_S,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(tenures_ns) / sizeof(tenures_ns[0]); i++) {
		struct world_client live = {.stream = 1};
		struct session_id dead;
		struct world w;
		int64_t served_ns = 0, failovers = 0;

		world_new(&w);
		world_begin(&w);
		live.session = world_session(&w, 1);
		dead = world_session(&w, 2);
		world_client_act(&w, &live);
		while (cell_session(w.cell, dead) != NULL) {
			assert_true(served_ns <= bound_ns(12 * NS_PER_S, (int)failovers));
			world_pass_with(&w, &live, 100 * NS_PER_MS);
			served_ns += 100 * NS_PER_MS;
			if (served_ns % tenures_ns[i] == 0 && failovers < 10) {
				failovers++;
				world_fail_over(&w);
				world_client_act(&w, &live);
			}
		}
		assert_true(served_ns >= 12 * NS_PER_S);
		if (tenures_ns[i] > MASTER_SILENT_NS + MASTER_MARK_EVERY_NS)
			assert_true(failovers < 10); /* it ended although masters came and went */
		for (; failovers < 20; failovers++) {
			world_pass_with(&w, &live, tenures_ns[i]);
			world_fail_over(&w);
			world_client_act(&w, &live);
		}
		assert_non_null(cell_session(w.cell, live.session));
		assert_true(live.answers >= 20);
		world_free(&w);
	}
}

/* Property: the next tick comes nearer as time passes, also when nothing else comes in and the host
 * asks again and again; it does not while the session clock stands. */
static void tick_comes_without_calls(void **state)
{
	struct session_id s;
	struct world w;
	int64_t due;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	due = master_next_tick(w.master, &w.at);
	assert_int_equal(due, w.at.now_ns + MASTER_MARK_EVERY_NS);
	for (int i = 0; i < 30; i++) {
		assert_int_equal(master_next_tick(w.master, &w.at), due);
		w.at.now_ns += 100 * NS_PER_MS;
	}
	w.at.lease_until_ns = w.at.now_ns - NS_PER_S;
	assert_int_equal(master_next_tick(w.master, &w.at), w.at.now_ns + NS_PER_S);
	/* As a host does it, and nobody calls: the session ends in time. */
	w.at.lease_until_ns = INT64_MAX;
	for (int i = 0; i < 92; i++) {
		w.at.now_ns += 100 * NS_PER_MS;
		if (w.at.now_ns >= master_next_tick(w.master, &w.at)) {
			master_tick(w.master, &w.at);
			world_take(&w);
		}
	}
	assert_null(cell_session(w.cell, s));
	world_free(&w);
}

/* Property: a cell whose clients are well writes no marks. */
static void healthy_cell_logs_nothing(void **state)
{
	struct world_client live = {.stream = 1};
	struct revision before;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	live.session = world_session(&w, 1);
	world_open(&w, live.session, "/ls/local/x", 1);
	world_client_act(&w, &live);
	before = cell_meta(w.cell)->revision;
	world_pass_with(&w, &live, 50 * NS_PER_S);
	assert_int_equal(cell_meta(w.cell)->revision.n, before.n);
	world_fail_over(&w);
	world_client_act(&w, &live);
	world_pass_with(&w, &live, 50 * NS_PER_S);
	assert_int_equal(cell_meta(w.cell)->revision.n, before.n + 1); /* the epoch */
	world_free(&w);
}

/*
 * Property: from the proposal of a mark on, its session is extended only behind the entry that
 * removes it. Meanwhile its KeepAlive is held, and it does not expire.
 */
static void marked_waits_for_unmark(void **state)
{
	struct session_id s;
	struct call_id ka;
	struct answer *a;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	w.hold = true;
	world_pass(&w, MASTER_MARK_EVERY_NS);
	assert_int_equal(w.log_count, 1); /* the mark is on its way, and not applied */
	ka = world_keep_alive(&w, 1, s);
	assert_int_equal(w.log_count, 2);
	assert_null(world_answer(&w, ka));
	world_pass(&w, 10 * NS_PER_S); /* its lease would be over */
	assert_int_equal(w.log_count, 2);
	world_apply_next(&w);
	assert_int_equal(cell_session(w.cell, s)->mark_left_ns, 9 * NS_PER_S);
	assert_null(world_answer(&w, ka));
	world_apply_next(&w);
	assert_int_equal(cell_session(w.cell, s)->mark_left_ns, -1);
	a = world_answer(&w, ka);
	assert_non_null(a);
	assert_int_equal(a->reply.error, ERROR_OK);
	assert_int_equal(a->reply.keep_alive.left_ns, 12 * NS_PER_S);
	world_free(&w);
}

/* Property: the mark that a new master finds counts, also when the session had come back but the
 * entry that removes the mark was lost with the mastership. */
static void lost_unmark_leaves_the_mark(void **state)
{
	struct session_id s;
	struct call_id ka;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	world_pass(&w, MASTER_MARK_EVERY_NS);
	assert_int_equal(cell_session(w.cell, s)->mark_left_ns, 9 * NS_PER_S);
	w.hold = true;
	ka = world_keep_alive(&w, 1, s);
	world_lose_log(&w);
	w.hold = false;
	world_fail_over(&w);
	assert_int_equal(world_answer(&w, ka)->reply.error, ERROR_NOT_MASTER);
	world_pass(&w, 8900 * NS_PER_MS);
	assert_non_null(cell_session(w.cell, s));
	world_pass(&w, 200 * NS_PER_MS);
	assert_null(cell_session(w.cell, s));
	world_free(&w);
}

/* Property: an unmark that the log refuses comes again; the session does not end for it. */
static void refused_unmark_comes_again(void **state)
{
	struct session_id s;
	struct call_id ka;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	world_pass(&w, MASTER_MARK_EVERY_NS);
	w.hold = true;
	ka = world_keep_alive(&w, 1, s);
	world_refuse_next(&w, ERROR_RESOURCE_EXHAUSTED);
	w.hold = false;
	world_pass(&w, 200 * NS_PER_MS);
	assert_int_equal(world_answer(&w, ka)->reply.error, ERROR_OK);
	world_free(&w);
}

/* Property: no lease beyond the cell's longest is granted before the entry that raises it is
 * applied; afterwards leases grow with the number of sessions, and a new master counts on them. */
static void leases_stretch_under_load(void **state)
{
	struct request brief = {.kind = MESSAGE_CREATE_SESSION,
				.create_session = {.lease_ns = 2 * NS_PER_S}};
	struct request longest = {.kind = MESSAGE_CREATE_SESSION,
				  .create_session = {.lease_ns = 60 * NS_PER_S}};
	struct request third = {.kind = MESSAGE_CREATE_SESSION};
	struct session_id s[2], quick;
	struct call_id call;
	struct world w;
	struct answer *a;

	(void)state;
	world_new_stretching(&w, 2);
	world_begin(&w);
	assert_int_equal(world_call(&w, 9, &longest)->create_session.lease_ns,
			 MASTER_LEASE_ASKED_MAX_NS);
	s[0] = world_session(&w, 1);
	w.hold = true;
	call = world_send(&w, 2, &third);
	world_apply_next(&w);
	a = world_answer(&w, call);
	assert_int_equal(a->reply.create_session.lease_ns, 12 * NS_PER_S);
	assert_int_equal(w.log_count, 1); /* the raise is asked for, and nothing granted by it */
	world_keep_alive(&w, 2, a->reply.create_session.session);
	call = world_send(&w, 4, &third);
	assert_int_equal(w.log_count, 2);
	assert_true(cell_meta(w.cell)->longest_lease_ns < CELL_SESSION_LEASE_MAX_NS);
	world_apply_next(&w);
	assert_int_equal(cell_meta(w.cell)->longest_lease_ns, CELL_SESSION_LEASE_MAX_NS);
	world_apply_next(&w);
	a = world_answer(&w, call);
	assert_int_equal(a->reply.create_session.lease_ns, 24 * NS_PER_S); /* four for two */
	s[1] = a->reply.create_session.session;
	w.hold = false;
	quick = world_call(&w, 5, &brief)->create_session.session;
	world_pass(&w, 100 * NS_PER_MS);
	world_fail_over(&w);
	world_pass(&w, 3 * NS_PER_S);
	assert_null(cell_session(w.cell, quick)); /* asked for two seconds, and got them */
	world_pass(&w, 55 * NS_PER_S);
	assert_non_null(cell_session(w.cell, s[0]));
	assert_non_null(cell_session(w.cell, s[1]));
	world_pass(&w, 3 * NS_PER_S);
	assert_null(cell_session(w.cell, s[0]));
	assert_null(cell_session(w.cell, s[1]));
	world_free(&w);
}

/* Property: a session without handles and calls ends after a minute, and hears why; one with a
 * handle does not, nor one that is older than the mastership. */
static void idle_session_ends(void **state)
{
	struct request r = {.kind = MESSAGE_CREATE_SESSION}, close = {.kind = MESSAGE_CLOSE};
	struct world_client idle = {.stream = 1}, busy = {.stream = 2}, old = {.stream = 3};
	struct answer *a;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	old.session = world_call(&w, 3, &r)->create_session.session;
	world_fail_over(&w);
	idle.session = world_session(&w, 1);
	busy.session = world_session(&w, 2);
	close.session = idle.session;
	close.handle = world_open(&w, idle.session, "/ls/local/x", 1);
	world_open(&w, busy.session, "/ls/local/x", 1);
	assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	for (int i = 0; i < 100; i++) {
		world_pass(&w, NS_PER_S);
		world_client_act(&w, &busy);
		world_client_act(&w, &old);
		if (i < 59)
			assert_non_null(cell_session(w.cell, idle.session));
		if (cell_session(w.cell, idle.session) != NULL)
			world_client_act(&w, &idle);
		else if (i < 70)
			break;
	}
	assert_null(cell_session(w.cell, idle.session));
	a = world_answer(&w, idle.held);
	assert_int_equal(a->reply.error, ERROR_SESSION_EXPIRED);
	assert_non_null(strstr(a->message, "idle"));
	assert_non_null(strstr(world_push(&w, 1, MESSAGE_SESSION_ENDED)->message, "idle"));
	for (int i = 0; i < 100; i++) {
		world_pass(&w, NS_PER_S);
		world_client_act(&w, &busy);
		world_client_act(&w, &old);
	}
	assert_non_null(cell_session(w.cell, busy.session));
	assert_non_null(cell_session(w.cell, old.session));
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dead_end_and_live_stay),
		cmocka_unit_test(tick_comes_without_calls),
		cmocka_unit_test(healthy_cell_logs_nothing),
		cmocka_unit_test(marked_waits_for_unmark),
		cmocka_unit_test(lost_unmark_leaves_the_mark),
		cmocka_unit_test(refused_unmark_comes_again),
		cmocka_unit_test(leases_stretch_under_load),
		cmocka_unit_test(idle_session_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
