/*
 * cell: sessions, epochs, exactly-once.
 */
#include "cell_fixture.h"

#define NOBODY ((struct session_id){0})

static void new_epoch(struct fixture *f, uint32_t master)
{
	struct entry e = {.kind = ENTRY_EPOCH,
			  .epoch = {.master = {master},
				    .ballot = {.round = 5, .replica = {master}}}};

	apply(f, &e);
}

static void creation_records_and_limits(void **state)
{
	struct fixture *f = *state;
	char text[400];
	struct entry e = {.kind = ENTRY_SESSION_CREATE,
			  .wall_unix_ms = 5000,
			  .session_create = {.host = bytes_of_text("host"),
					     .pid = 42,
					     .caches = true}};
	static const struct {
		int64_t asked, given, longest;
	} leases[] = {{-5, CELL_SESSION_LEASE_MIN_NS, CELL_SESSION_LEASE_MIN_NS},
		      {20 * NS_PER_S, 20 * NS_PER_S, 20 * NS_PER_S},
		      {5 * NS_PER_S, 5 * NS_PER_S, 20 * NS_PER_S},
		      {INT64_MAX, CELL_SESSION_LEASE_MAX_NS, CELL_SESSION_LEASE_MAX_NS}};

	memset(text, 'p', sizeof(text));
	e.session_create.principal = (struct bytes){(uint8_t *)text, sizeof(text)};
	for (size_t i = 0; i < 4; i++) {
		const struct session *s;

		e.session_create.lease_ns = leases[i].asked;
		s = cell_session(f->cell, apply(f, &e).session);
		assert_int_equal(count_effects(f, EFFECT_SESSION_CREATED), 1);
		assert_int_equal(s->lease_ns, leases[i].given);
		assert_int_equal(cell_meta(f->cell)->longest_lease_ns, leases[i].longest);
		assert_int_equal(s->principal.size, CELL_TEXT_MAX_BYTES);
		assert_true(bytes_equal(s->host, bytes_of_text("host")));
		assert_true(s->pid == 42 && s->caches && s->mark_left_ns == -1);
		assert_int_equal(s->created_unix_ms, 5000);
	}
	assert_int_equal(cell_session_count(f->cell), 4);
}

static void sessions_come_in_order(void **state)
{
	struct fixture *f = *state;
	struct session_id id[5], at = {0};

	for (int i = 0; i < 5; i++)
		id[i] = make_session(f);
	end_session(f, id[2], SESSION_END_CLOSED);
	for (int i = 0; i < 5; i++) {
		if (i == 2)
			continue;
		at = cell_session_after(f->cell, at)->id;
		assert_int_equal(at.n, id[i].n);
	}
	assert_null(cell_session_after(f->cell, at));
}

static void display_time_never_goes_back(void **state)
{
	struct fixture *f = *state;
	struct entry e = {.kind = ENTRY_LEASE_RAISE,
			  .wall_unix_ms = 9000,
			  .lease_raise = {.lease_ns = NS_PER_S}};

	apply(f, &e);
	e.wall_unix_ms = 8000;
	apply(f, &e);
	assert_int_equal(cell_meta(f->cell)->wall_unix_ms, 9000);
	/* Nonsense changes nothing but the revision. */
	e.wall_unix_ms = 10000;
	e.lease_raise.lease_ns = 0;
	assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);
	assert_int_equal(cell_meta(f->cell)->wall_unix_ms, 9000);
}

static void nonsense_is_malformed(void **state)
{
	struct fixture *f = *state;
	static const int kinds[] = {0, -1, ENTRY_KIND_END, 1000};
	struct session_id s = make_session(f);
	struct entry e;
	uint64_t revision;

	for (size_t i = 0; i < 4; i++) {
		e = (struct entry){.kind = (enum entry_kind)kinds[i], .session = s, .number = 1};
		revision = cell_meta(f->cell)->revision.n;
		assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);
		assert_int_equal(f->outcome.result.revision.n, revision + 1);
		assert_int_equal(f->outcome.effect_count, 0);
	}
	/* Nor is it an answer to keep, when only the operation sees that it is nonsense. */
	e = acquire_entry(s, make_file(f, "/f"), 1, LOCK_FREE);
	e.number = 1;
	assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);
	assert_int_equal(cell_session(f->cell, s)->result_count, 0);
	assert_int_equal(end_session(f, s, (enum session_end_reason)9).error, ERROR_MALFORMED);
	assert_int_equal(end_session(f, s, (enum session_end_reason)0).error, ERROR_MALFORMED);
}

/* ---- end ----------------------------------------------------------------------------------- */

static void the_end_frees_everything(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	uint64_t first = make_file(f, "/1"), second = make_file(f, "/2");
	uint64_t node = create(f, a, "/e", (struct node_options){.ephemeral = true}).instance;

	acquire(f, a, first, 1, LOCK_EXCLUSIVE);
	acquire(f, a, first, 2, LOCK_EXCLUSIVE); /* waits for itself */
	acquire(f, b, first, 1, LOCK_SHARED);
	acquire(f, b, second, 1, LOCK_SHARED);
	acquire(f, a, second, 1, LOCK_EXCLUSIVE);
	acquire(f, b, second, 2, LOCK_SHARED);

	assert_int_equal(end_session(f, a, SESSION_END_CLOSED).error, ERROR_OK);
	assert_int_equal(count_effects(f, EFFECT_WAIT_ENDED), 2);
	assert_int_equal(effect_at(f, EFFECT_WAIT_ENDED, 0)->error, ERROR_SESSION_EXPIRED);
	assert_int_equal(count_effects(f, EFFECT_HOLD_ENDED), 1);
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 2);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(effect_at(f, EFFECT_GRANTED, i)->session.n, b.n);
	assert_int_equal(effect_at(f, EFFECT_UNKEPT, 0)->instance, node);
	assert_int_equal(effect_at(f, EFFECT_SESSION_ENDED, 0)->reason, SESSION_END_CLOSED);
	assert_null(cell_session(f->cell, a));
	assert_int_equal(end_session(f, a, SESSION_END_CLOSED).error, ERROR_SESSION_EXPIRED);
}

/* A stalled former master ends nothing. */
static void expiry_is_bound_to_the_epoch(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct epoch old = now_epoch(f);
	static const enum session_end_reason timers[] = {SESSION_END_EXPIRED, SESSION_END_IDLE};

	acquire(f, s, node, 1, LOCK_EXCLUSIVE);
	new_epoch(f, 2);
	assert_int_equal(count_effects(f, EFFECT_EPOCH), 1);
	assert_int_equal(now_epoch(f).n, old.n + 1);
	assert_int_equal(cell_meta(f->cell)->master.n, 2);
	assert_int_equal(cell_meta(f->cell)->master_ballot.round, 5);
	for (int i = 0; i < 2; i++) {
		struct entry e = {.kind = ENTRY_SESSION_END,
				  .session = s,
				  .guard_epoch = old,
				  .session_end = {.reason = timers[i]}};

		assert_int_equal(apply(f, &e).error, ERROR_EPOCH_CHANGED);
		e.guard_epoch.n = 0;
		assert_int_equal(apply(f, &e).error, ERROR_EPOCH_CHANGED);
		assert_int_equal(f->outcome.effect_count, 0);
	}
	assert_true(holds(f, node, s, 1));
	assert_int_equal(end_session(f, s, SESSION_END_EXPIRED).error, ERROR_OK);
}

/* A grant in the log after its session's expiry in the log: impossible. */
static void nothing_follows_the_end(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f), holder = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct entry e = acquire_entry(s, node, 1, LOCK_EXCLUSIVE);

	acquire(f, holder, node, 1, LOCK_EXCLUSIVE);
	acquire(f, s, node, 1, LOCK_EXCLUSIVE);
	end_session(f, s, SESSION_END_EXPIRED);
	release(f, holder, node, 1);
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 0);
	e.number = 1;
	assert_int_equal(apply(f, &e).error, ERROR_SESSION_EXPIRED);
	assert_int_equal(create(f, s, "/e", (struct node_options){.ephemeral = true}).error,
			 ERROR_SESSION_EXPIRED);
	assert_int_equal(cell_node(f->cell, node)->lock->mode, LOCK_FREE);
}

/* ---- marks, traits ------------------------------------------------------------------------- */

static void marks_are_kept_until_removed(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	struct session_mark marks[] = {{a, 3 * NS_PER_S}, {{999}, 5}, {b, 0}};
	struct entry e = {.kind = ENTRY_SESSION_MARK,
			  .guard_epoch = {99},
			  .session_mark = {.count = 3, .marks = marks}};

	assert_int_equal(apply(f, &e).error, ERROR_EPOCH_CHANGED);
	assert_int_equal(cell_session(f->cell, a)->mark_left_ns, -1);
	e.guard_epoch = now_epoch(f);
	assert_int_equal(apply(f, &e).error, ERROR_OK);
	assert_int_equal(cell_session(f->cell, a)->mark_left_ns, 3 * NS_PER_S);
	assert_int_equal(cell_session(f->cell, a)->mark_epoch.n, now_epoch(f).n);
	assert_int_equal(cell_session(f->cell, b)->mark_left_ns, 0);
	new_epoch(f, 3);
	assert_int_equal(cell_session(f->cell, a)->mark_left_ns, 3 * NS_PER_S);

	e = (struct entry){.kind = ENTRY_SESSION_UNMARK, .session = a};
	assert_int_equal(apply(f, &e).error, ERROR_OK);
	assert_int_equal(cell_session(f->cell, a)->mark_left_ns, -1);
	assert_int_equal(cell_session(f->cell, b)->mark_left_ns, 0);
	e.session.n = 0;
	assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);

	e = (struct entry){.kind = ENTRY_SESSION_MARK,
			   .guard_epoch = now_epoch(f),
			   .session_mark = {.count = 3, .marks = marks}};
	marks[2].left_ns = -1;
	assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);
	assert_int_equal(cell_session(f->cell, a)->mark_left_ns, -1); /* not half of them */
	e.session_mark.marks = NULL;
	assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);
}

static void traits_are_recorded(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	struct entry caches = {.kind = ENTRY_SESSION_CACHES, .session = s};
	struct entry raise = {.kind = ENTRY_LEASE_RAISE,
			      .lease_raise = {.lease_ns = 30 * NS_PER_S}};

	assert_false(cell_session(f->cell, s)->caches);
	apply(f, &caches);
	assert_true(cell_session(f->cell, s)->caches);
	apply(f, &raise);
	assert_int_equal(cell_meta(f->cell)->longest_lease_ns, 30 * NS_PER_S);
	raise.lease_raise.lease_ns = 20 * NS_PER_S;
	apply(f, &raise);
	assert_int_equal(cell_meta(f->cell)->longest_lease_ns, 30 * NS_PER_S);
	raise.lease_raise.lease_ns = INT64_MAX;
	apply(f, &raise);
	assert_int_equal(cell_meta(f->cell)->longest_lease_ns, CELL_SESSION_LEASE_MAX_NS);
}

/* ---- exactly-once -------------------------------------------------------------------------- */

static struct result numbered_write(struct fixture *f, struct session_id s, uint64_t node,
				    uint64_t number, uint64_t line)
{
	struct entry e = {.kind = ENTRY_NODE_WRITE,
			  .session = s,
			  .number = number,
			  .lowest_unanswered = line,
			  .node_write = {.instance = node, .contents = bytes_of_text("x")}};

	return apply(f, &e);
}

static struct result numbered_delete(struct fixture *f, struct session_id s, uint64_t node,
				     uint64_t number, uint64_t line)
{
	struct entry e = {.kind = ENTRY_NODE_DELETE,
			  .session = s,
			  .number = number,
			  .lowest_unanswered = line,
			  .node_delete = {.instance = node}};

	return apply(f, &e);
}

static void a_repeat_is_answered_and_not_applied(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/f");
	struct result first = numbered_write(f, s, node, 1, 1), again, stored;

	assert_false(f->outcome.repeated);
	make_file(f, "/between");
	again = numbered_write(f, s, node, 1, 1);
	assert_true(f->outcome.repeated);
	assert_int_equal(f->outcome.effect_count, 0);
	assert_true(results_equal(&first, &again));
	assert_int_equal(cell_node(f->cell, node)->contents_generation, first.generation);
	assert_int_equal(cell_stored_result(f->cell, s, 1, 0, ENTRY_NODE_WRITE, &stored), ERROR_OK);
	assert_true(results_equal(&first, &stored));
	assert_int_equal(cell_stored_result(f->cell, s, 2, 0, ENTRY_NODE_WRITE, &stored),
			 ERROR_NOT_FOUND);
	assert_int_equal(cell_stored_result(f->cell, NOBODY, 1, 0, ENTRY_NODE_WRITE, &stored),
			 ERROR_SESSION_EXPIRED);

	/* Nor is it answered, or applied, as a request of another kind. */
	assert_int_equal(cell_stored_result(f->cell, s, 1, 0, ENTRY_ACQUIRE, &stored),
			 ERROR_INVALID_ARGUMENT);
	assert_int_equal(numbered_delete(f, s, node, 1, 1).error, ERROR_INVALID_ARGUMENT);
	assert_false(f->outcome.repeated);
	assert_non_null(cell_node(f->cell, node));
	again = numbered_write(f, s, node, 1, 1);
	assert_true(results_equal(&first, &again));

	/* A refusal is a result as well: it stays what it was. */
	delete_node(f, NOBODY, node);
	assert_int_equal(numbered_write(f, s, node, 2, 2).error, ERROR_HANDLE_STALE);
	numbered_write(f, s, node, 2, 2);
	assert_true(f->outcome.repeated);
}

static void the_window_of_numbers(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/f");
	static const struct {
		uint64_t number, line;
		enum error error;
		bool repeated;
		uint64_t line_after, kept_after;
	} rows[] = {
		{64, 1, ERROR_OK, false, 1, 1},                    /* the last one inside */
		{65, 1, ERROR_REQUEST_OUT_OF_WINDOW, false, 1, 1}, /* beyond */
		{1, 0, ERROR_OK, false, 1, 2},                     /* no line told: the old one */
		{64, 1, ERROR_OK, true, 1, 2},                     /* a repeat */
		{2, 2, ERROR_OK, false, 2, 2},                     /* 1 is answered */
		{1, 2, ERROR_REQUEST_OUT_OF_WINDOW, false, 2, 2},  /* so it is too late */
		{1, 1, ERROR_REQUEST_OUT_OF_WINDOW, false, 2, 2},
		{3, 4, ERROR_REQUEST_OUT_OF_WINDOW, false, 2, 2}, /* below its own line */
		{2, 4, ERROR_OK, true, 2, 2},                     /* an answer moves no line */
		{65, 65, ERROR_OK, false, 65, 1},                 /* 2 and 64 are answered */
		{128, 65, ERROR_OK, false, 65, 2},
		{129, 65, ERROR_REQUEST_OUT_OF_WINDOW, false, 65, 2},
		{129, 66, ERROR_OK, false, 66, 2},
		{UINT64_MAX, 66, ERROR_REQUEST_OUT_OF_WINDOW, false, 66, 2},
		{UINT64_MAX, UINT64_MAX, ERROR_OK, false, UINT64_MAX, 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct session *session = cell_session(f->cell, s);

		if (numbered_write(f, s, node, rows[i].number, rows[i].line).error !=
			    rows[i].error ||
		    f->outcome.repeated != rows[i].repeated ||
		    session->lowest_unanswered != rows[i].line_after ||
		    session->result_count != rows[i].kept_after)
			fail_msg("row %zu: error %d, line %llu, kept %u", i,
				 (int)f->outcome.result.error,
				 (unsigned long long)session->lowest_unanswered,
				 session->result_count);
	}
}

static void a_full_window_fits(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/f");

	for (uint64_t i = CELL_RESULTS_MAX; i > 0; i--) /* any order */
		assert_int_equal(numbered_write(f, s, node, i, 1).error, ERROR_OK);
	assert_int_equal(cell_session(f->cell, s)->result_count, CELL_RESULTS_MAX);
	for (uint64_t i = 1; i <= CELL_RESULTS_MAX; i++) {
		numbered_write(f, s, node, i, 1);
		assert_true(f->outcome.repeated);
	}
	numbered_write(f, s, node, 200, 200);
	assert_int_equal(cell_session(f->cell, s)->result_count, 1);
}

/* The repeat of an Acquire that queued returns the ticket, though it may hold the lock by now. */
static void a_repeated_acquire_returns_its_ticket(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct entry e = acquire_entry(b, node, 1, LOCK_EXCLUSIVE);
	struct revision ticket;

	acquire(f, a, node, 1, LOCK_EXCLUSIVE);
	e.number = 1;
	ticket = apply(f, &e).ticket;
	release(f, a, node, 1);
	assert_int_equal(apply(f, &e).ticket.n, ticket.n);
	assert_true(f->outcome.repeated);
	assert_true(holds(f, node, b, 1));
	assert_int_equal(cell_node(f->cell, node)->lock->holder_count, 1);
}

/* What is void leaves no result: the request may come again under the new epoch. */
static void a_void_entry_is_not_an_answer(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct entry e = acquire_entry(s, node, 1, LOCK_EXCLUSIVE);

	e.number = 1;
	e.guard_epoch = now_epoch(f);
	new_epoch(f, 2);
	assert_int_equal(apply(f, &e).error, ERROR_EPOCH_CHANGED);
	assert_false(holds(f, node, s, 1));
	e.guard_epoch = now_epoch(f);
	assert_int_equal(apply(f, &e).error, ERROR_OK);
	assert_false(f->outcome.repeated);
	assert_true(holds(f, node, s, 1));
}

static void a_session_may_end_itself_by_number(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	struct entry e = {.kind = ENTRY_SESSION_END,
			  .session = s,
			  .number = 1,
			  .session_end = {.reason = SESSION_END_CLOSED}};

	assert_int_equal(apply(f, &e).error, ERROR_OK);
	assert_int_equal(apply(f, &e).error, ERROR_SESSION_EXPIRED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(creation_records_and_limits),
		TEST(sessions_come_in_order),
		TEST(display_time_never_goes_back),
		TEST(nonsense_is_malformed),
		TEST(the_end_frees_everything),
		TEST(expiry_is_bound_to_the_epoch),
		TEST(nothing_follows_the_end),
		TEST(marks_are_kept_until_removed),
		TEST(traits_are_recorded),
		TEST(a_repeat_is_answered_and_not_applied),
		TEST(the_window_of_numbers),
		TEST(a_full_window_fits),
		TEST(a_repeated_acquire_returns_its_ticket),
		TEST(a_void_entry_is_not_an_answer),
		TEST(a_session_may_end_itself_by_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
