/*
 * Ephemeral nodes through the master (Chubby 2.3; design section 4): they live as long as one
 * handle is open, whoever is master, and no longer.
 */
#include "master_fixture.h"

#define PATH "/ls/local/e"

static bool is_there(const struct world *w)
{
	return cell_node_at(w->cell, bytes_of_text("/e")) != NULL;
}

static struct request open_of(struct session_id s, uint64_t number, enum wire_create create)
{
	return (struct request){
		.kind = MESSAGE_OPEN,
		.session = s,
		.open =
			{
				.path = bytes_of_text(PATH),
				.handle_number = {number},
				.read = true,
				.write = true,
				.create = create,
				.ephemeral = true,
			},
	};
}

static struct bytes opened(struct world *w, struct session_id s, uint64_t number)
{
	struct request r = open_of(s, number, WIRE_CREATE_MAY);
	struct reply *a = world_call(w, 0, &r);

	assert_int_equal(a->error, ERROR_OK);
	return a->open.handle;
}

static struct call_id close_send(struct world *w, struct session_id s, struct bytes handle)
{
	struct request r = {.kind = MESSAGE_CLOSE, .session = s, .handle = handle};

	return world_send(w, 0, &r);
}

static enum error closed(struct world *w, struct session_id s, struct bytes handle)
{
	return world_answer(w, close_send(w, s, handle))->reply.error;
}

/* Property: a handle that is never used again keeps its node through any number of masters. */
static void unused_handles_keep(void **state)
{
	struct world_client a = {.stream = 1}, b = {.stream = 2};
	struct bytes ha, hb;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	a.session = world_session(&w, 1);
	b.session = world_session(&w, 2);
	ha = opened(&w, a.session, 1);
	hb = opened(&w, b.session, 1);
	for (int i = 0; i < 10; i++) {
		world_fail_over(&w);
		a.held = b.held = (struct call_id){0};
		world_client_act(&w, &b);
		world_pass_with(&w, &a, 3 * NS_PER_S);
		world_client_act(&w, &b);
		assert_true(is_there(&w));
	}
	assert_int_equal(closed(&w, a.session, ha), ERROR_OK);
	assert_true(is_there(&w));
	world_fail_over(&w);
	assert_true(is_there(&w));
	assert_int_equal(closed(&w, b.session, hb), ERROR_OK);
	assert_false(is_there(&w));
	world_free(&w);
}

/* Property: of two handles of one session each keeps, also when the master never saw one. */
static void each_handle_counts(void **state)
{
	struct session_id s;
	struct bytes one, two;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	one = opened(&w, s, 1);
	two = opened(&w, s, 2);
	world_fail_over(&w);
	assert_int_equal(closed(&w, s, one), ERROR_OK);
	assert_true(is_there(&w));
	world_fail_over(&w);
	assert_int_equal(closed(&w, s, one), ERROR_OK); /* a token of a former master's once more */
	assert_true(is_there(&w));
	assert_int_equal(closed(&w, s, two), ERROR_OK);
	assert_false(is_there(&w));
	world_free(&w);
}

/* Property: the node goes with its last session, by whatever end. */
static void sessions_take_their_nodes_along(void **state)
{
	struct request end = {.kind = MESSAGE_END_SESSION};
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	end.session = world_session(&w, 1);
	opened(&w, end.session, 1);
	opened(&w, end.session, 2);
	opened(&w, world_session(&w, 2), 1);
	world_fail_over(&w);
	assert_int_equal(world_call(&w, 1, &end)->error, ERROR_OK);
	assert_true(is_there(&w));
	world_pass(&w, 61 * NS_PER_S); /* the other's client is dead */
	world_pass(&w, 61 * NS_PER_S);
	assert_false(is_there(&w));
	world_free(&w);
}

/* Property: a close that was not answered is asked again at the next master, and leaves nothing;
 * nor is a repeat on the same master answered before the first has come to pass. */
static void closes_are_not_lost(void **state)
{
	struct call_id first, again;
	struct bytes handle;
	struct session_id s;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	handle = opened(&w, s, 1);
	world_acquire(&w, 1, s, handle, 1);
	w.hold = true;
	first = close_send(&w, s, handle);
	again = close_send(&w, s, handle);
	assert_null(world_answer(&w, first));
	assert_null(world_answer(&w, again));
	world_lose_log(&w);
	master_end(w.master, &w.at);
	world_collect(&w);
	assert_int_equal(world_answer(&w, first)->reply.error, ERROR_NOT_MASTER);
	w.hold = false;
	world_begin(&w);
	assert_true(is_there(&w));
	assert_int_equal(closed(&w, s, handle), ERROR_OK);
	assert_false(is_there(&w));
	assert_int_equal(closed(&w, s, handle), ERROR_HANDLE_CLOSED);
	world_free(&w);
}

/* Property: who opens while the last other handle closes has a node that stays. */
static void open_during_the_last_close(void **state)
{
	for (enum wire_create create = WIRE_CREATE_NEVER; create <= WIRE_CREATE_MAY; create++) {
		struct request r, get = {.kind = MESSAGE_GET_STAT};
		struct bytes old;
		struct answer *a;
		struct call_id call;
		struct world w;

		world_new(&w);
		world_begin(&w);
		r = open_of(world_session(&w, 1), 2, create);
		get.session = r.session;
		old = opened(&w, r.session, 1);
		w.hold = true;
		close_send(&w, r.session, old);
		call = world_send(&w, 0, &r);
		w.hold = false;
		world_take(&w);
		a = world_answer(&w, call);
		assert_int_equal(a->reply.error, ERROR_OK);
		get.handle = a->reply.open.handle;
		assert_int_equal(world_call(&w, 0, &get)->error, ERROR_OK);
		assert_int_equal(closed(&w, r.session, get.handle), ERROR_OK);
		assert_false(is_there(&w));
		world_free(&w);
	}
}

/* Property: an open whose node goes before its turn in the log makes it anew, or finds none. */
static void open_behind_the_reaping(void **state)
{
	for (enum wire_create create = WIRE_CREATE_NEVER; create <= WIRE_CREATE_MAY; create++) {
		struct request r;
		struct answer *a;
		struct bytes old;
		struct call_id call;
		struct world w;

		world_new(&w);
		world_begin(&w);
		r = open_of(world_session(&w, 1), 2, create);
		old = opened(&w, r.session, 1);
		w.hold = true;
		close_send(&w, r.session, old);
		world_apply_next(&w);
		assert_int_equal(w.log_count, 1); /* the reaping */
		call = world_send(&w, 0, &r);
		w.hold = false;
		world_take(&w);
		a = world_answer(&w, call);
		assert_int_equal(a->reply.error,
				 create == WIRE_CREATE_MAY ? ERROR_OK : ERROR_NOT_FOUND);
		assert_int_equal(is_there(&w), create == WIRE_CREATE_MAY);
		assert_int_equal(a->reply.open.created, create == WIRE_CREATE_MAY);
		world_free(&w);
	}
}

/* Property: an open that gets no handle keeps nothing: one that comes late, after its handle was
 * closed, and one under a number that names another node. */
static void refused_opens_keep_nothing(void **state)
{
	struct session_id s, t;
	struct request r;
	struct world w;

	(void)state;
	world_new(&w);
	world_begin(&w);
	s = world_session(&w, 1);
	t = world_session(&w, 2);
	opened(&w, t, 1);
	assert_int_equal(closed(&w, s, opened(&w, s, 1)), ERROR_OK);
	r = open_of(s, 1, WIRE_CREATE_NEVER);
	assert_int_equal(world_call(&w, 0, &r)->error, ERROR_INVALID_ARGUMENT);
	world_open(&w, s, "/ls/local/other", 2);
	r = open_of(s, 2, WIRE_CREATE_MAY);
	assert_int_equal(world_call(&w, 0, &r)->error, ERROR_INVALID_ARGUMENT);
	assert_int_equal(cell_node_at(w.cell, bytes_of_text("/e"))->keeper_count, 1);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unused_handles_keep),
		cmocka_unit_test(each_handle_counts),
		cmocka_unit_test(sessions_take_their_nodes_along),
		cmocka_unit_test(closes_are_not_lost),
		cmocka_unit_test(open_during_the_last_close),
		cmocka_unit_test(open_behind_the_reaping),
		cmocka_unit_test(refused_opens_keep_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
