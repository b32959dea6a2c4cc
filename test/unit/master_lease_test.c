/*
 * Leases over failovers: marks, leases under load, idle sessions.
 */
#include "master_fixture.h"

static void fail_over(struct world *w)
{
	master_end(w->master, &w->at);
	world_take(w);
	world_begin(w);
}

static struct call_id keep_alive(struct world *w, uint64_t stream, struct session_id s)
{
	struct request r = {.kind = MESSAGE_KEEP_ALIVE, .session = s};

	return world_send(w, stream, &r);
}

/* A client that is well: whenever its KeepAlive is answered it sends the next. */
struct client {
	struct session_id session;
	uint64_t stream;
	struct call_id held;
	uint32_t answers;
};

static void client_act(struct world *w, struct client *c)
{
	struct answer *a;

	while ((a = world_answer(w, c->held)) != NULL || c->held.n == 0) {
		assert_true(a == NULL || a->reply.error == ERROR_OK ||
			    a->reply.error == ERROR_NOT_MASTER);
		c->answers += a != NULL && a->reply.error == ERROR_OK ? 1 : 0;
		if (w->answer_count > ANSWERS_MAX / 2)
			w->answer_count = 0;
		c->held = keep_alive(w, c->stream, c->session);
	}
}

static void pass(struct world *w, struct client *c, int64_t ns)
{
	for (int64_t step = 100 * NS_PER_MS; ns > 0; ns -= step) {
		world_pass(w, step);
		client_act(w, c);
	}
}

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
		struct client live = {.stream = 1};
		struct session_id dead;
		struct world w;
		int64_t served_ns = 0, failovers = 0;

		world_new(&w);
		world_begin(&w);
		live.session = world_session(&w, 1);
		dead = world_session(&w, 2);
		client_act(&w, &live);
		while (cell_session(w.cell, dead) != NULL) {
			assert_true(served_ns <= bound_ns(12 * NS_PER_S, (int)failovers));
			pass(&w, &live, 100 * NS_PER_MS);
			served_ns += 100 * NS_PER_MS;
			if (served_ns % tenures_ns[i] == 0 && failovers < 10) {
				failovers++;
				fail_over(&w);
				client_act(&w, &live);
			}
		}
		assert_true(served_ns >= 12 * NS_PER_S);
		if (tenures_ns[i] > MASTER_SILENT_NS + MASTER_MARK_EVERY_NS)
			assert_true(failovers < 10); /* it ended although masters came and went */
		for (; failovers < 20; failovers++) {
			pass(&w, &live, tenures_ns[i]);
			fail_over(&w);
			client_act(&w, &live);
		}
		assert_non_null(cell_session(w.cell, live.session));
		assert_true(live.answers >= 20);
		world_free(&w);
	}
}

/* Property: a cell whose clients are well writes no marks. */
static void healthy_cell_logs_nothing(void **state)
{
	struct client live = {.stream = 1};
	struct revision before;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	live.session = world_session(&w, 1);
	world_open(&w, live.session, "/ls/local/x", 1);
	client_act(&w, &live);
	before = cell_meta(w.cell)->revision;
	pass(&w, &live, 50 * NS_PER_S);
	assert_int_equal(cell_meta(w.cell)->revision.n, before.n);
	fail_over(&w);
	client_act(&w, &live);
	pass(&w, &live, 50 * NS_PER_S);
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
	ka = keep_alive(&w, 1, s);
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
	ka = keep_alive(&w, 1, s);
	world_lose_log(&w);
	w.hold = false;
	fail_over(&w);
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
	ka = keep_alive(&w, 1, s);
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
	keep_alive(&w, 2, a->reply.create_session.session);
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
	fail_over(&w);
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
	struct client idle = {.stream = 1}, busy = {.stream = 2}, old = {.stream = 3};
	struct answer *a;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	old.session = world_call(&w, 3, &r)->create_session.session;
	fail_over(&w);
	idle.session = world_session(&w, 1);
	busy.session = world_session(&w, 2);
	close.session = idle.session;
	close.handle = world_open(&w, idle.session, "/ls/local/x", 1);
	world_open(&w, busy.session, "/ls/local/x", 1);
	assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	for (int i = 0; i < 100; i++) {
		world_pass(&w, NS_PER_S);
		client_act(&w, &busy);
		client_act(&w, &old);
		if (i < 59)
			assert_non_null(cell_session(w.cell, idle.session));
		if (cell_session(w.cell, idle.session) != NULL)
			client_act(&w, &idle);
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
		client_act(&w, &busy);
		client_act(&w, &old);
	}
	assert_non_null(cell_session(w.cell, busy.session));
	assert_non_null(cell_session(w.cell, old.session));
	world_free(&w);
}

/* Property: what the log has no room for is tried again, and the lock of a closed handle is freed
 * in the end; Close says so then. */
static void refused_close_comes_again(void **state)
{
	struct request close = {.kind = MESSAGE_CLOSE};
	struct session_id s, t;
	struct call_id call;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	t = world_session(&w, 2);
	close.session = s;
	close.handle = world_open(&w, s, "/ls/local/x", 1);
	world_acquire(&w, 1, s, close.handle, 1);
	world_acquire(&w, 2, t, world_open(&w, t, "/ls/local/x", 1), 1);
	w.hold = true;
	call = world_send(&w, 1, &close);
	world_refuse_next(&w, ERROR_RESOURCE_EXHAUSTED);
	assert_null(world_answer(&w, call));
	w.hold = false;
	world_pass(&w, 200 * NS_PER_MS);
	assert_int_equal(world_answer(&w, call)->reply.error, ERROR_OK);
	assert_true(world_push(&w, 2, MESSAGE_WAIT_ENDED)->reply.wait_ended.grant.present);
	world_free(&w);
}

/* Property: an operator's revoke takes all holds, also those whose entry was refused at first. */
static void refused_revoke_comes_again(void **state)
{
	struct request revoke = {.kind = MESSAGE_REVOKE_LOCK,
				 .revoke_lock = {.path = bytes_of_text("/ls/local/x")}};
	struct request acquire = {.kind = MESSAGE_ACQUIRE, .acquire = {.mode = WIRE_LOCK_SHARED}};
	const struct node *n;
	struct call_id call;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	for (uint64_t i = 1; i <= 3; i++) {
		acquire.session = world_session(&w, i);
		acquire.handle = world_open(&w, acquire.session, "/ls/local/x", 1);
		assert_true(world_call(&w, i, &acquire)->acquire.grant.present);
	}
	n = cell_node_at(w.cell, bytes_of_text("/x"));
	assert_int_equal(n->lock->holder_count, 3);
	w.hold = true;
	call = world_send(&w, 9, &revoke);
	assert_int_equal(w.log_count, 3);
	world_refuse_next(&w, ERROR_RESOURCE_EXHAUSTED);
	w.hold = false;
	world_take(&w);
	assert_int_equal(world_answer(&w, call)->reply.revoke_lock.revoked, 3);
	world_pass(&w, 200 * NS_PER_MS);
	assert_int_equal(n->lock->holder_count, 0);
	world_free(&w);
}

/* Property: a refusal that belongs to a former mastership answers nobody. */
static void late_refusal_is_void(void **state)
{
	struct request set = {.kind = MESSAGE_SET_CONTENTS};
	struct entry old = {.kind = ENTRY_NODE_WRITE, .origin_number = 1};
	struct session_id s;
	struct call_id call;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	set.session = s;
	set.handle = world_open(&w, s, "/ls/local/x", 1);
	old.origin_epoch = cell_meta(w.cell)->epoch;
	fail_over(&w);
	w.hold = true;
	call = world_send(&w, 1, &set); /* the first proposal of this epoch */
	master_proposal_refused(w.master, &w.at, &old, ERROR_RESOURCE_EXHAUSTED);
	world_take(&w);
	assert_null(world_answer(&w, call));
	world_apply_next(&w);
	assert_int_equal(world_answer(&w, call)->reply.error, ERROR_OK);
	world_free(&w);
}

/* Property: a deadline that is not needed any more costs no entry. */
static void granted_wait_drops_its_deadline(void **state)
{
	struct request acquire = {
		.kind = MESSAGE_ACQUIRE,
		.acquire = {.mode = WIRE_LOCK_EXCLUSIVE, .wait_ns = 2 * NS_PER_S},
	};
	struct request release = {.kind = MESSAGE_RELEASE};
	struct client a = {.stream = 1}, b = {.stream = 2};
	struct revision before;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	a.session = world_session(&w, 1);
	b.session = world_session(&w, 2);
	release.session = a.session;
	release.handle = world_open(&w, a.session, "/ls/local/x", 1);
	world_acquire(&w, 1, a.session, release.handle, 1);
	acquire.session = b.session;
	acquire.handle = world_open(&w, b.session, "/ls/local/x", 1);
	assert_true(world_call(&w, 2, &acquire)->acquire.ticket != 0);
	assert_int_equal(world_call(&w, 1, &release)->error, ERROR_OK);
	assert_non_null(world_push(&w, 2, MESSAGE_WAIT_ENDED));
	client_act(&w, &a);
	client_act(&w, &b);
	before = cell_meta(w.cell)->revision;
	pass(&w, &a, 5 * NS_PER_S);
	assert_int_equal(cell_meta(w.cell)->revision.n, before.n);
	world_free(&w);
}

/* Property: a stream that closes takes all its calls along, of whichever session and kind. */
static void calls_go_with_their_stream(void **state)
{
	struct master_counters before, after;
	struct session_id s, t;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	t = world_session(&w, 1); /* two sessions over one stream */
	master_counters(w.master, &before);
	keep_alive(&w, 1, s);
	keep_alive(&w, 1, t);
	keep_alive(&w, 2, s); /* elsewhere since; the older one is answered */
	master_counters(w.master, &after);
	assert_int_equal(after.held, before.held + 2);
	master_stream_closed(w.master, (struct stream_id){1});
	world_take(&w);
	master_counters(w.master, &after);
	assert_int_equal(after.held, before.held + 1);
	world_pass(&w, 13 * NS_PER_S);
	assert_null(cell_session(w.cell, t));
	assert_non_null(cell_session(w.cell, s));
	world_free(&w);
}

/* Property: a session may open and close as often as it likes, also under one master; what was
 * closed stays closed. */
static void handles_are_forgotten(void **state)
{
	struct request get = {.kind = MESSAGE_GET_STAT}, close = {.kind = MESSAGE_CLOSE};
	uint8_t first[WIRE_HANDLE_MAX_BYTES];
	struct session_id s;
	struct bytes h;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	get.session = close.session = s;
	for (uint64_t n = 1; n <= MASTER_HANDLES_PER_SESSION_MAX + 10; n++) {
		w.answer_count = 0;
		h = world_open(&w, s, "/ls/local/x", n);
		if (n == 1)
			memcpy(first, h.data, h.size);
		close.handle = h;
		assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	}
	get.handle = (struct bytes){first, h.size};
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_HANDLE_CLOSED);
	/* One that a new master rebuilt is not rebuilt twice, whatever came in between. */
	h = world_open(&w, s, "/ls/local/x", MASTER_HANDLES_PER_SESSION_MAX + 11);
	memcpy(first, h.data, h.size);
	fail_over(&w);
	close.handle = get.handle;
	assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	for (uint64_t n = 1; n <= MASTER_CLOSED_REMEMBERED_MAX + 10; n++) {
		w.answer_count = 0;
		close.handle = world_open(&w, s, "/ls/local/x", n);
		assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	}
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_HANDLE_CLOSED);
	world_free(&w);
}

/* Property: a call that brings a sequencer is refused once the grant is gone; one that was done
 * before is answered all the same. */
static void sequencer_guards_calls(void **state)
{
	struct request set = {.kind = MESSAGE_SET_CONTENTS, .number = 2, .lowest_unanswered = 2};
	struct request release = {.kind = MESSAGE_RELEASE};
	struct session_id s;
	struct answer *a;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	set.session = release.session = s;
	set.handle = release.handle = world_open(&w, s, "/ls/local/x", 1);
	a = world_answer(&w, world_acquire(&w, 1, s, set.handle, 1));
	set.guard_sequencer = bytes_of_text(a->sequencer);
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_OK);
	assert_int_equal(world_call(&w, 1, &release)->error, ERROR_OK);
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_OK); /* the repeat */
	set.number = 3;
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_SEQUENCER_INVALID);
	set.guard_sequencer = bytes_of_text("nonsense");
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_SEQUENCER_INVALID);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dead_end_and_live_stay),
		cmocka_unit_test(healthy_cell_logs_nothing),
		cmocka_unit_test(marked_waits_for_unmark),
		cmocka_unit_test(lost_unmark_leaves_the_mark),
		cmocka_unit_test(refused_unmark_comes_again),
		cmocka_unit_test(leases_stretch_under_load),
		cmocka_unit_test(idle_session_ends),
		cmocka_unit_test(refused_close_comes_again),
		cmocka_unit_test(refused_revoke_comes_again),
		cmocka_unit_test(late_refusal_is_void),
		cmocka_unit_test(granted_wait_drops_its_deadline),
		cmocka_unit_test(calls_go_with_their_stream),
		cmocka_unit_test(handles_are_forgotten),
		cmocka_unit_test(sequencer_guards_calls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
