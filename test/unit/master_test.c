/*
 * The master's volatile side: leases, handles, waits, and what a failover does to them.
 */
#include "master_fixture.h"

/* Property: a KeepAlive is held until 5/12 of the lease are left, then it extends the lease. */
static void keepalive_is_held(void **state)
{
	struct world w;
	struct session_id s;
	struct request ka = {.kind = MESSAGE_KEEP_ALIVE};
	struct call_id call;
	struct answer *a;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 9);
	ka.session = s;
	call = world_send(&w, 9, &ka);
	world_pass(&w, 6900 * NS_PER_MS);
	assert_null(world_answer(&w, call));
	world_pass(&w, 200 * NS_PER_MS);
	a = world_answer(&w, call);
	assert_non_null(a);
	assert_int_equal(a->reply.keep_alive.left_ns, 12 * NS_PER_S);
	assert_int_equal(a->reply.keep_alive.held_ns, 7100 * NS_PER_MS);
	assert_false(a->reply.keep_alive.failed_over);
	world_free(&w);
}

/* Property: a silent session ends when its lease has run out, not before, and its lock with it. */
static void silent_session_ends(void **state)
{
	struct world w;
	struct session_id s;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 9);
	world_pass(&w, 11900 * NS_PER_MS);
	assert_non_null(cell_session(w.cell, s));
	world_pass(&w, 200 * NS_PER_MS);
	assert_null(cell_session(w.cell, s));
	assert_non_null(world_push(&w, 9, MESSAGE_SESSION_ENDED));
	world_free(&w);
}

/* Property (old_master_expires_sessions): time without the master lease does not count. */
static void session_clock_stands_still(void **state)
{
	struct world w;
	struct session_id s;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 9);
	w.at.lease_until_ns = w.at.now_ns + 400 * NS_PER_MS;
	world_pass(&w, 30 * NS_PER_S); /* stopped for 30 s */
	assert_non_null(cell_session(w.cell, s));
	w.at.lease_until_ns = INT64_MAX; /* the lease is back */
	world_pass(&w, 11500 * NS_PER_MS);
	assert_non_null(cell_session(w.cell, s));
	world_pass(&w, 200 * NS_PER_MS);
	assert_null(cell_session(w.cell, s));
	world_free(&w);
}

/* Property: a new master gives each session its whole lease, and tells it of the failover once. */
static void failover_keeps_sessions(void **state)
{
	struct world w;
	struct session_id s;
	struct request ka = {.kind = MESSAGE_KEEP_ALIVE};
	struct call_id held, first, second;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 9);
	ka.session = s;
	held = world_send(&w, 9, &ka);
	master_end(w.master, &w.at);
	world_take(&w);
	assert_int_equal(world_answer(&w, held)->reply.error, ERROR_NOT_MASTER);
	world_pass(&w, 40 * NS_PER_S);
	world_begin(&w);
	world_pass(&w, 11 * NS_PER_S);
	first = world_send(&w, 10, &ka);
	assert_non_null(world_answer(&w, first));
	assert_true(world_answer(&w, first)->reply.keep_alive.failed_over);
	second = world_send(&w, 10, &ka);
	assert_null(world_answer(&w, second));
	world_free(&w);
}

/* Property: a waiter gets the lock by a push and by its held Wait, with a larger token. */
static void grant_is_pushed(void **state)
{
	struct world w;
	struct session_id a, b;
	struct bytes ha, hb;
	struct reply *r;
	struct request wait = {.kind = MESSAGE_WAIT}, release = {.kind = MESSAGE_RELEASE};
	struct call_id waiting;
	uint64_t token;

	(void)state;
	world_new(&w);
	world_begin(&w);
	a = world_session(&w, 1);
	b = world_session(&w, 2);
	ha = world_open(&w, a, "/ls/local/x", 1);
	hb = world_open(&w, b, "/ls/local/x", 1);
	r = &world_answer(&w, world_acquire(&w, 1, a, ha, 1))->reply;
	assert_true(r->acquire.grant.present);
	token = r->acquire.grant.fencing_token;
	r = &world_answer(&w, world_acquire(&w, 2, b, hb, 1))->reply;
	assert_false(r->acquire.grant.present);
	wait.session = b;
	wait.handle = hb;
	wait.wait.ticket = r->acquire.ticket;
	assert_true(r->acquire.ticket != 0);
	waiting = world_send(&w, 2, &wait);
	assert_null(world_answer(&w, waiting));
	release.session = a;
	release.handle = ha;
	assert_int_equal(world_call(&w, 1, &release)->error, ERROR_OK);
	assert_true(world_answer(&w, waiting)->reply.wait.grant.fencing_token > token);
	r = &world_push(&w, 2, MESSAGE_WAIT_ENDED)->reply;
	assert_int_equal(r->error, ERROR_OK);
	assert_true(r->wait_ended.grant.fencing_token > token);
	world_free(&w);
}

/* Property: a wait with a deadline ends with DEADLINE_EXCEEDED, by an entry. */
static void wait_has_a_deadline(void **state)
{
	struct world w;
	struct session_id a, b;
	struct bytes ha, hb;
	struct reply *r;
	struct call_id held, ended;
	struct request wait = {.kind = MESSAGE_WAIT};
	struct request acquire = {
		.kind = MESSAGE_ACQUIRE,
		.acquire = {.mode = WIRE_LOCK_EXCLUSIVE,
			    .wait_ns = 2 * NS_PER_S,
			    .lock_delay_ns = -1},
	};

	(void)state;
	world_new(&w);
	world_begin(&w);
	a = world_session(&w, 1);
	b = world_session(&w, 2);
	ha = world_open(&w, a, "/ls/local/x", 1);
	hb = world_open(&w, b, "/ls/local/x", 1);
	world_acquire(&w, 1, a, ha, 1);
	acquire.session = b;
	acquire.handle = hb;
	wait.wait.ticket = world_call(&w, 2, &acquire)->acquire.ticket;
	assert_true(wait.wait.ticket != 0);
	wait.session = b;
	wait.handle = hb;
	wait.wait.wait_ns = NS_PER_S;
	held = world_send(&w, 2, &wait);
	wait.wait.wait_ns = 10 * NS_PER_S;
	ended = world_send(&w, 2, &wait);
	world_pass(&w, 1900 * NS_PER_MS);
	r = &world_answer(&w, held)->reply;
	assert_int_equal(r->error, ERROR_DEADLINE_EXCEEDED);
	assert_non_null(memmem(r->message.data, r->message.size, "is kept", 7));
	assert_null(world_push(&w, 2, MESSAGE_WAIT_ENDED));
	world_pass(&w, 200 * NS_PER_MS);
	assert_int_equal(world_push(&w, 2, MESSAGE_WAIT_ENDED)->reply.error,
			 ERROR_DEADLINE_EXCEEDED);
	/* The same code as that of a wait that was held for long enough; the words differ. */
	r = &world_answer(&w, ended)->reply;
	assert_int_equal(r->error, ERROR_DEADLINE_EXCEEDED);
	assert_non_null(memmem(r->message.data, r->message.size, "no more", 7));
	wait.wait.wait_ns = 0;
	assert_int_equal(world_call(&w, 2, &wait)->error, ERROR_NOT_HELD);
	world_free(&w);
}

/* Property (dup_after_failover): a repeated acquire gets the same token from a new master. */
static void repeat_after_failover(void **state)
{
	struct world w;
	struct session_id s;
	struct bytes h;
	struct reply *r;
	uint64_t token;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	h = world_open(&w, s, "/ls/local/x", 1);
	token = world_answer(&w, world_acquire(&w, 1, s, h, 1))->reply.acquire.grant.fencing_token;
	master_end(w.master, &w.at);
	world_take(&w);
	world_begin(&w);
	r = &world_answer(&w, world_acquire(&w, 2, s, h, 1))->reply;
	assert_int_equal(r->error, ERROR_OK);
	assert_true(r->acquire.grant.present);
	assert_int_equal(r->acquire.grant.fencing_token, token);
	world_free(&w);
}

/* Property: a closed handle is refused, in its epoch; one of an older epoch is rebuilt once. */
static void handles_close(void **state)
{
	struct world w;
	struct session_id s;
	struct bytes h1, h2;
	struct request get = {.kind = MESSAGE_GET_STAT}, close = {.kind = MESSAGE_CLOSE};
	uint8_t forged[WIRE_HANDLE_MAX_BYTES];

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	h1 = world_open(&w, s, "/ls/local/x", 1);
	h2 = world_open(&w, s, "/ls/local/x", 2);
	get.session = close.session = s;
	close.handle = h1;
	assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	get.handle = h1;
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_HANDLE_CLOSED);
	master_end(w.master, &w.at);
	world_take(&w);
	world_begin(&w);
	get.handle = h2;
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_OK);
	close.handle = h2;
	assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_HANDLE_CLOSED);
	memcpy(forged, h2.data, h2.size);
	forged[3] ^= 1;
	get.handle = (struct bytes){forged, h2.size};
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_HANDLE_INVALID);
	world_free(&w);
}

/* Property: closing the handle that holds the lock releases it. */
static void close_releases(void **state)
{
	struct world w;
	struct session_id a, b;
	struct bytes ha, hb;
	struct request close = {.kind = MESSAGE_CLOSE};

	(void)state;
	world_new(&w);
	world_begin(&w);
	a = world_session(&w, 1);
	b = world_session(&w, 2);
	ha = world_open(&w, a, "/ls/local/x", 1);
	hb = world_open(&w, b, "/ls/local/x", 1);
	world_acquire(&w, 1, a, ha, 1);
	world_acquire(&w, 2, b, hb, 1);
	close.session = a;
	close.handle = ha;
	assert_int_equal(world_call(&w, 1, &close)->error, ERROR_OK);
	assert_true(world_push(&w, 2, MESSAGE_WAIT_ENDED)->reply.wait_ended.grant.present);
	world_free(&w);
}

/* Property: after a delete the old handle is stale, also when the name exists again. */
static void handle_is_bound_to_its_instance(void **state)
{
	struct world w;
	struct session_id s;
	struct bytes h;
	struct request get = {.kind = MESSAGE_GET_STAT}, del = {.kind = MESSAGE_DELETE};

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	h = world_open(&w, s, "/ls/local/x", 1);
	get.session = del.session = s;
	get.handle = del.handle = h;
	assert_int_equal(world_call(&w, 1, &del)->error, ERROR_OK);
	world_open(&w, s, "/ls/local/x", 2);
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_HANDLE_STALE);
	world_free(&w);
}

/* Property: a mastership that ends answers every pending call, and each once. */
static void pending_calls_are_answered(void **state)
{
	struct world w;
	struct session_id s;
	struct bytes h;
	struct call_id call;
	struct request set = {.kind = MESSAGE_SET_CONTENTS};

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	h = world_open(&w, s, "/ls/local/x", 1);
	w.hold = true;
	set.session = s;
	set.handle = h;
	call = world_send(&w, 1, &set);
	assert_null(world_answer(&w, call));
	master_end(w.master, &w.at);
	world_take(&w);
	assert_int_equal(world_answer(&w, call)->reply.error, ERROR_NOT_MASTER);
	w.hold = false;
	world_begin(&w); /* it comes to pass after all: nobody is answered twice */
	assert_non_null(world_answer(&w, call));
	world_free(&w);
}

/* Property: who is master is held while there is none, and then answered by any replica. */
static void find_master_is_held(void **state)
{
	struct world w;
	struct request find = {.kind = MESSAGE_FIND_MASTER,
			       .find_master = {.wait_ns = 5 * NS_PER_S}};
	struct call_id first, second;

	(void)state;
	world_new(&w);
	first = world_send(&w, 0, &find);
	assert_null(world_answer(&w, first));
	master_leader(w.master, &w.at, (struct replica_id){2});
	world_take(&w);
	assert_int_equal(world_answer(&w, first)->reply.find_master.replica.n, 2);
	master_leader(w.master, &w.at, (struct replica_id){0});
	second = world_send(&w, 0, &find);
	world_pass(&w, 6 * NS_PER_S);
	assert_int_equal(world_answer(&w, second)->reply.error, ERROR_UNAVAILABLE);
	world_free(&w);
}

/* Property: calls of an older epoch are refused and told the new one; KeepAlive is not. */
static void old_epoch_is_told(void **state)
{
	struct world w;
	struct session_id s;
	struct bytes h;
	struct request get = {.kind = MESSAGE_GET_STAT};
	struct reply *r;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	h = world_open(&w, s, "/ls/local/x", 1);
	master_end(w.master, &w.at);
	world_take(&w);
	world_begin(&w);
	get.session = s;
	get.handle = h;
	get.epoch.n = 1;
	r = world_call(&w, 1, &get);
	assert_int_equal(r->error, ERROR_EPOCH_CHANGED);
	assert_int_equal(r->epoch.n, 2);
	get.epoch.n = 2;
	assert_int_equal(world_call(&w, 1, &get)->error, ERROR_OK);
	world_free(&w);
}

static int64_t delay_left_ns(struct world *w)
{
	struct request list = {.kind = MESSAGE_LIST_LOCKS};
	const struct reply *r = world_call(w, 2, &list);

	assert_int_equal(r->error, ERROR_OK);
	assert_int_equal(r->list_locks.count, 1);
	assert_int_equal(r->list_locks.locks[0].lock_delay_ns, 15 * NS_PER_S);
	return r->list_locks.locks[0].lock_delay_left_ns;
}

/* Property: the lock of a session that expired waits out its lock-delay, also over a failover; the
 * rest that is told shrinks with time, and is the whole again under a new master. */
static void lock_delay_outlives_failover(void **state)
{
	struct world w;
	struct session_id a, b;
	struct bytes ha, hb;
	struct request ka = {.kind = MESSAGE_KEEP_ALIVE, .keep_alive = {.immediate = true}};
	int64_t left_ns;

	(void)state;
	world_new(&w);
	world_begin(&w);
	a = world_session(&w, 1);
	ha = world_open(&w, a, "/ls/local/x", 1);
	world_acquire(&w, 1, a, ha, 1);
	world_pass(&w, 10 * NS_PER_S);
	b = world_session(&w, 2);
	hb = world_open(&w, b, "/ls/local/x", 1);
	world_acquire(&w, 2, b, hb, 1);
	world_pass(&w, 3 * NS_PER_S); /* a expired; the lock-delay of 15 s runs */
	assert_null(cell_session(w.cell, a));
	assert_null(world_push(&w, 2, MESSAGE_WAIT_ENDED));
	left_ns = delay_left_ns(&w);
	assert_true(left_ns > 0 && left_ns <= 15 * NS_PER_S);
	world_pass(&w, 1 * NS_PER_S);
	assert_true(delay_left_ns(&w) < left_ns);
	master_end(w.master, &w.at);
	world_take(&w);
	world_begin(&w);
	assert_int_equal(delay_left_ns(&w), 15 * NS_PER_S);
	ka.session = b;
	world_call(&w, 2, &ka);
	world_pass(&w, 8 * NS_PER_S);
	world_call(&w, 2, &ka);
	assert_null(world_push(&w, 2, MESSAGE_WAIT_ENDED));
	world_pass(&w, 8 * NS_PER_S);
	assert_non_null(world_push(&w, 2, MESSAGE_WAIT_ENDED));
	world_free(&w);
}

/* Property: the window goes by the line that the request brings, not by the last applied one. */
static void window_goes_by_the_requests_line(void **state)
{
	struct world w;
	struct session_id s;
	struct request set = {.kind = MESSAGE_SET_CONTENTS};

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	set.session = s;
	set.handle = world_open(&w, s, "/ls/local/x", 1);
	set.number = 65;
	set.lowest_unanswered = 1;
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_REQUEST_OUT_OF_WINDOW);
	set.lowest_unanswered = 2;
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_OK);
	set.number = 1;
	assert_int_equal(world_call(&w, 1, &set)->error, ERROR_REQUEST_OUT_OF_WINDOW);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keepalive_is_held),
		cmocka_unit_test(silent_session_ends),
		cmocka_unit_test(session_clock_stands_still),
		cmocka_unit_test(failover_keeps_sessions),
		cmocka_unit_test(grant_is_pushed),
		cmocka_unit_test(wait_has_a_deadline),
		cmocka_unit_test(repeat_after_failover),
		cmocka_unit_test(handles_close),
		cmocka_unit_test(close_releases),
		cmocka_unit_test(handle_is_bound_to_its_instance),
		cmocka_unit_test(pending_calls_are_answered),
		cmocka_unit_test(find_master_is_held),
		cmocka_unit_test(old_epoch_is_told),
		cmocka_unit_test(lock_delay_outlives_failover),
		cmocka_unit_test(window_goes_by_the_requests_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
