/*
 * Calls of the master that outlive what they came with: a log without room, a stream that closes,
 * handles and sequencers that are none any more.
 */
#include "master_fixture.h"

#include <stdio.h>

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

/* What a closed handle must leave: nothing, whatever was under way for it. */
static void assert_close_leaves_nothing(struct world *w, struct call_id close)
{
	const struct lock *lock;

	assert_null(world_answer(w, close));
	w->hold = false;
	world_take(w);
	lock = cell_node_at(w->cell, bytes_of_text("/x"))->lock;
	assert_int_equal(world_answer(w, close)->reply.error, ERROR_OK);
	assert_int_equal(lock->holder_count, 0);
	assert_int_equal(lock->waiter_count, 0);
}

/* Property: a handle that is closed while its acquire is on its way through the log gets nothing,
 * whether the lock was free, or freed just then. */
static void close_overtakes_no_acquire(void **state)
{
	struct request close = {.kind = MESSAGE_CLOSE}, release = {.kind = MESSAGE_RELEASE};
	struct session_id s, t;
	struct call_id call;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	close.session = s = world_session(&w, 1);
	release.session = t = world_session(&w, 2);
	release.handle = world_open(&w, t, "/ls/local/x", 1);
	close.handle = world_open(&w, s, "/ls/local/x", 1);
	w.hold = true;
	world_acquire(&w, 1, s, close.handle, 1);
	call = world_send(&w, 1, &close);
	assert_close_leaves_nothing(&w, call);

	close.handle = world_open(&w, s, "/ls/local/x", 2);
	world_acquire(&w, 2, t, release.handle, 1);
	w.hold = true;
	world_acquire(&w, 1, s, close.handle, 2);
	world_send(&w, 2, &release);
	call = world_send(&w, 1, &close);
	assert_close_leaves_nothing(&w, call);
	world_free(&w);
}

/* Property: a waiter whose handle is closed while the log lets it in does not stay the holder. */
static void close_overtakes_no_grant(void **state)
{
	struct request close = {.kind = MESSAGE_CLOSE}, release = {.kind = MESSAGE_RELEASE};
	struct session_id s, t;
	struct call_id call;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	close.session = s = world_session(&w, 1);
	release.session = t = world_session(&w, 2);
	close.handle = world_open(&w, s, "/ls/local/x", 1);
	release.handle = world_open(&w, t, "/ls/local/x", 1);
	world_acquire(&w, 2, t, release.handle, 1);
	call = world_acquire(&w, 1, s, close.handle, 1);
	assert_true(world_answer(&w, call)->reply.acquire.ticket != 0);
	w.hold = true;
	world_send(&w, 2, &release);
	call = world_send(&w, 1, &close);
	assert_close_leaves_nothing(&w, call);
	world_free(&w);
}

/* Property: the same for what a multi acquires. */
static void close_overtakes_no_multi(void **state)
{
	struct request close = {.kind = MESSAGE_CLOSE}, multi = {.kind = MESSAGE_MULTI};
	struct wire_multi_op op = {.kind = MULTI_ACQUIRE, .mode = WIRE_LOCK_EXCLUSIVE};
	struct call_id call;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	multi.session = close.session = world_session(&w, 1);
	op.handle = close.handle = world_open(&w, close.session, "/ls/local/x", 1);
	multi.multi.count = 1;
	multi.multi.ops = &op;
	w.hold = true;
	world_send(&w, 1, &multi);
	call = world_send(&w, 1, &close);
	assert_close_leaves_nothing(&w, call);
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
	world_fail_over(&w);
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
	struct world_client a = {.stream = 1}, b = {.stream = 2};
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
	world_client_act(&w, &a);
	world_client_act(&w, &b);
	before = cell_meta(w.cell)->revision;
	world_pass_with(&w, &a, 5 * NS_PER_S);
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
	world_keep_alive(&w, 1, s);
	world_keep_alive(&w, 1, t);
	world_keep_alive(&w, 2, s); /* elsewhere since; the older one is answered */
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
	world_fail_over(&w);
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
	char forged[WIRE_SEQUENCER_MAX_BYTES];
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
	/* A standing grant under another lock's name is no sequencer of that lock. */
	world_open(&w, s, "/ls/local/xy", 2);
	snprintf(forged, sizeof(forged), "%sy", a->sequencer);
	set.guard_sequencer = bytes_of_text(forged);
	set.number = 3;
	set.lowest_unanswered = 2;
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_SEQUENCER_INVALID);
	set.guard_sequencer = bytes_of_text(a->sequencer);
	set.number = 2;
	assert_int_equal(world_call(&w, 1, &release)->error, ERROR_OK);
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_OK); /* the repeat */
	set.number = 3;
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_SEQUENCER_INVALID);
	set.guard_sequencer = bytes_of_text("nonsense");
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_SEQUENCER_INVALID);
	world_free(&w);
}

/* Property: a number names one request; under it no other kind is answered or done. And a lock is
 * not taken in no mode. */
static void nonsense_is_refused(void **state)
{
	struct request set = {.kind = MESSAGE_SET_CONTENTS, .number = 2, .lowest_unanswered = 2};
	struct request acquire = {.kind = MESSAGE_ACQUIRE, .number = 2, .lowest_unanswered = 2};
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	set.session = acquire.session = world_session(&w, 1);
	set.handle = acquire.handle = world_open(&w, set.session, "/ls/local/x", 1);
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_OK);
	acquire.acquire.mode = WIRE_LOCK_EXCLUSIVE;
	assert_int_equal(world_call(&w, 1, &acquire)->error, ERROR_INVALID_ARGUMENT);
	acquire.number = 3;
	acquire.acquire.mode = WIRE_LOCK_FREE;
	assert_int_equal(world_call(&w, 1, &acquire)->error, ERROR_INVALID_ARGUMENT);
	acquire.acquire.mode = WIRE_LOCK_EXCLUSIVE;
	assert_int_equal(world_call(&w, 1, &acquire)->error, ERROR_OK);
	set.number = 3;
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_INVALID_ARGUMENT);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused_close_comes_again),
		cmocka_unit_test(close_overtakes_no_acquire),
		cmocka_unit_test(close_overtakes_no_grant),
		cmocka_unit_test(close_overtakes_no_multi),
		cmocka_unit_test(refused_revoke_comes_again),
		cmocka_unit_test(late_refusal_is_void),
		cmocka_unit_test(granted_wait_drops_its_deadline),
		cmocka_unit_test(calls_go_with_their_stream),
		cmocka_unit_test(handles_are_forgotten),
		cmocka_unit_test(sequencer_guards_calls),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
