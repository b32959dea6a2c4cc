/*
 * cell: locks. Who is let in, in which order, with which token; how holds and waits end.
 */
#include "cell_fixture.h"

#define NOBODY ((struct session_id){0})
#define SHARED LOCK_SHARED
#define EXCLUSIVE LOCK_EXCLUSIVE

static void grant_is_revision_and_index(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct result r = acquire(f, s, node, 1, EXCLUSIVE);

	assert_int_equal(r.error, ERROR_OK);
	assert_int_equal(r.grant.revision.n, r.revision.n);
	assert_int_equal(r.grant.index, 0);
	assert_int_equal(r.token.n, r.revision.n);
	assert_int_equal(r.lock_generation, 1);
	assert_int_equal(r.ticket.n, 0);
	assert_int_equal(f->outcome.effect_count, 0); /* nobody was waiting for it */
	assert_int_equal(cell_session(f->cell, s)->lock_count, 1);
	assert_int_equal(cell_session(f->cell, s)->locks[0], node);
	assert_int_equal(cell_check_grant(f->cell, node, EXCLUSIVE, r.grant, r.token), ERROR_OK);
	assert_int_equal(cell_locked_after(f->cell, 0)->instance, node);
	assert_null(cell_locked_after(f->cell, node));
}

static void acquire_is_refused(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f), other = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct result held, waiting, r;
	struct entry e;

	assert_int_equal(acquire(f, (struct session_id){999}, node, 1, SHARED).error,
			 ERROR_SESSION_EXPIRED);
	assert_int_equal(acquire(f, NOBODY, node, 1, SHARED).error, ERROR_MALFORMED);
	assert_int_equal(acquire(f, s, node, 1, LOCK_FREE).error, ERROR_MALFORMED);
	assert_int_equal(acquire(f, s, node, 1, (enum lock_mode)7).error, ERROR_MALFORMED);
	e = acquire_entry(s, node, 1, SHARED);
	e.acquire.lock_delay_ns = -1;
	assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);
	e = acquire_entry(s, node, 1, SHARED);
	e.acquire.wait_ns = -1;
	assert_int_equal(apply(f, &e).error, ERROR_MALFORMED);
	assert_null(cell_node(f->cell, node)->lock);

	/* What the handle has already is told, and stays as it is. */
	held = acquire(f, s, node, 1, EXCLUSIVE);
	r = acquire(f, s, node, 1, EXCLUSIVE);
	assert_int_equal(r.error, ERROR_ALREADY_HELD);
	assert_int_equal(r.grant.revision.n, held.grant.revision.n);
	waiting = acquire(f, other, node, 1, SHARED);
	r = acquire(f, other, node, 1, SHARED);
	assert_int_equal(r.error, ERROR_ALREADY_HELD);
	assert_int_equal(r.ticket.n, waiting.ticket.n);
	/* Another handle of the holder's session waits like anybody; there is no upgrade. */
	assert_int_equal(try_acquire(f, s, node, 2, SHARED).error, ERROR_BUSY);
	assert_true(acquire(f, s, node, 2, EXCLUSIVE).ticket.n > 0);
	assert_int_equal(cell_node(f->cell, node)->lock->waiter_count, 2);
}

static void release_by_another_is_refused(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f), other = make_session(f);
	uint64_t node = make_file(f, "/l");

	assert_int_equal(release(f, s, node, 1).error, ERROR_NOT_HELD);
	acquire(f, s, node, 1, EXCLUSIVE);
	assert_int_equal(release(f, s, node, 2).error, ERROR_NOT_HELD);
	assert_int_equal(release(f, other, node, 1).error, ERROR_NOT_HELD);
	acquire(f, other, node, 1, EXCLUSIVE);
	assert_int_equal(release(f, other, node, 1).error, ERROR_NOT_HELD); /* waits only */
	assert_int_equal(release(f, s, node, 1).error, ERROR_OK);
	assert_int_equal(release(f, s, node, 1).error, ERROR_NOT_HELD);
	assert_int_equal(release(f, s, 4711, 1).error, ERROR_HANDLE_STALE);
}

/* A handoff is one entry; tokens and generations grow with each exclusive hold. */
static void release_hands_over_in_order(void **state)
{
	struct fixture *f = *state;
	struct session_id s[4];
	uint64_t node = make_file(f, "/l"), ticket[4], token = 0;

	for (int i = 0; i < 4; i++) {
		s[i] = make_session(f);
		ticket[i] = acquire(f, s[i], node, 1, EXCLUSIVE).ticket.n;
		assert_int_equal(ticket[i] == 0, i == 0);
	}
	for (int i = 1; i < 4; i++) {
		const struct effect *ended, *granted;
		struct result r = release(f, s[i - 1], node, 1);

		assert_int_equal(f->outcome.effect_count, 2);
		ended = effect_at(f, EFFECT_HOLD_ENDED, 0);
		granted = effect_at(f, EFFECT_GRANTED, 0);
		assert_int_equal(ended->session.n, s[i - 1].n);
		assert_int_equal(ended->error, ERROR_OK);
		assert_int_equal(granted->session.n, s[i].n);
		assert_int_equal(granted->handle.n, 1);
		assert_int_equal(granted->ticket.n, ticket[i]);
		assert_int_equal(granted->grant.revision.n, r.revision.n);
		assert_int_equal(granted->lock_generation, i + 1);
		assert_true(granted->token.n > token);
		token = granted->token.n;
		assert_true(holds(f, node, s[i], 1) && !waits(f, node, s[i], 1));
		assert_false(holds(f, node, s[i - 1], 1));
	}
}

/* Readers that stand together are let in together; none overtakes a writer that waits. */
static void readers_go_in_groups(void **state)
{
	struct fixture *f = *state;
	static const enum lock_mode modes[] = {SHARED, SHARED,    EXCLUSIVE, SHARED,
					       SHARED, EXCLUSIVE, SHARED};
	struct session_id s[7];
	uint64_t node = make_file(f, "/l"), token;

	for (int i = 0; i < 7; i++) {
		s[i] = make_session(f);
		acquire(f, s[i], node, 1, modes[i]);
	}
	assert_int_equal(cell_node(f->cell, node)->lock->holder_count, 2);
	assert_int_equal(try_acquire(f, s[6], node, 9, SHARED).error, ERROR_BUSY);
	release(f, s[0], node, 1);
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 0);
	release(f, s[1], node, 1);
	assert_true(holds(f, node, s[2], 1));
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 1);

	release(f, s[2], node, 1);
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 2);
	assert_int_equal(effect_at(f, EFFECT_GRANTED, 0)->grant.index, 0);
	assert_int_equal(effect_at(f, EFFECT_GRANTED, 1)->grant.index, 1);
	token = effect_at(f, EFFECT_GRANTED, 0)->token.n;
	assert_int_equal(effect_at(f, EFFECT_GRANTED, 1)->token.n, token);
	assert_true(holds(f, node, s[3], 1) && holds(f, node, s[4], 1));
	assert_true(waits(f, node, s[6], 1));
}

/* Two shared holders, one leaves: the other's sequencer stays valid, the leaver's does not. */
static void shared_grants_end_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f), w = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct result ra = acquire(f, a, node, 1, SHARED), rb = acquire(f, b, node, 1, SHARED), rw;

	assert_int_equal(ra.token.n, rb.token.n);
	assert_int_equal(ra.lock_generation, rb.lock_generation);
	release(f, a, node, 1);
	assert_int_equal(cell_check_grant(f->cell, node, SHARED, ra.grant, ra.token),
			 ERROR_SEQUENCER_INVALID);
	assert_int_equal(cell_check_grant(f->cell, node, SHARED, rb.grant, rb.token), ERROR_OK);
	assert_int_equal(cell_check_grant(f->cell, node, EXCLUSIVE, rb.grant, rb.token),
			 ERROR_SEQUENCER_INVALID);
	assert_int_equal(cell_check_grant(f->cell, node + 1, SHARED, rb.grant, rb.token),
			 ERROR_SEQUENCER_INVALID);
	/* A token of another period. */
	assert_int_equal(cell_check_grant(f->cell, node, SHARED, rb.grant,
					  (struct revision){rb.token.n + 1}),
			 ERROR_SEQUENCER_INVALID);
	/* As long as holds overlap, they share the token; the writer after them does not. */
	ra = acquire(f, a, node, 1, SHARED);
	assert_int_equal(ra.token.n, rb.token.n);
	release(f, b, node, 1);
	release(f, a, node, 1);
	rw = acquire(f, w, node, 1, EXCLUSIVE);
	assert_true(rw.token.n > ra.token.n);
	assert_int_equal(rw.lock_generation, ra.lock_generation + 1);
}

static void tokens_grow_across_recreation(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t token = 0;

	for (int i = 0; i < 3; i++) {
		uint64_t node = make_file(f, "/l");
		struct result r = acquire(f, s, node, 1, EXCLUSIVE);

		assert_true(r.token.n > token && r.token.n > node);
		token = r.token.n;
		assert_int_equal(delete_node(f, s, node).error, ERROR_OK);
	}
}

/* ---- how a wait ends ----------------------------------------------------------------------- */

static struct result cancel(struct fixture *f, struct session_id s, uint64_t node, uint64_t ticket,
			    bool expired, struct epoch epoch)
{
	struct entry e = {.kind = ENTRY_CANCEL,
			  .session = s,
			  .guard_epoch = epoch,
			  .cancel = {.instance = node,
				     .handle = {1},
				     .ticket = {ticket},
				     .expired = expired}};

	return apply(f, &e);
}

static void cancel_takes_the_waiter_out(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), w = make_session(f), r = make_session(f);
	uint64_t node = make_file(f, "/l"), ticket;
	struct epoch none = {0};

	acquire(f, a, node, 1, SHARED);
	ticket = acquire(f, w, node, 1, EXCLUSIVE).ticket.n;
	acquire(f, r, node, 1, SHARED);
	assert_int_equal(cancel(f, w, node, ticket + 1, false, none).error, ERROR_NOT_FOUND);
	assert_int_equal(cancel(f, w, node, ticket, true, none).error, ERROR_EPOCH_CHANGED);
	assert_int_equal(cancel(f, w, node, ticket, true, (struct epoch){9}).error,
			 ERROR_EPOCH_CHANGED);
	assert_true(waits(f, node, w, 1));

	/* The readers behind it need not wait any longer. */
	assert_int_equal(cancel(f, w, node, ticket, true, now_epoch(f)).error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_WAIT_ENDED, 0)->error, ERROR_DEADLINE_EXCEEDED);
	assert_int_equal(effect_at(f, EFFECT_WAIT_ENDED, 0)->ticket.n, ticket);
	assert_int_equal(effect_at(f, EFFECT_GRANTED, 0)->session.n, r.n);
	assert_int_equal(cancel(f, w, node, 0, false, none).error, ERROR_NOT_FOUND);

	ticket = acquire(f, w, node, 1, EXCLUSIVE).ticket.n;
	assert_int_equal(cancel(f, w, node, 0, false, none).error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_WAIT_ENDED, 0)->error, ERROR_CANCELLED);
	/* Too late: it is told what it has. */
	assert_int_equal(cancel(f, r, node, 0, false, none).error, ERROR_ALREADY_HELD);
	assert_true(f->outcome.result.grant.revision.n > 0);
	assert_true(holds(f, node, r, 1));
}

static void delete_ends_waits_and_own_holds(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	uint64_t node = make_file(f, "/l");

	acquire(f, a, node, 1, EXCLUSIVE);
	acquire(f, b, node, 1, EXCLUSIVE);
	acquire(f, a, node, 2, SHARED);
	assert_int_equal(delete_node(f, b, node).error, ERROR_LOCK_HELD);
	assert_int_equal(delete_node(f, NOBODY, node).error, ERROR_LOCK_HELD);
	assert_int_equal(delete_node(f, a, node).error, ERROR_OK);
	assert_int_equal(count_effects(f, EFFECT_HOLD_ENDED), 1);
	assert_int_equal(effect_at(f, EFFECT_HOLD_ENDED, 0)->error, ERROR_HANDLE_STALE);
	assert_int_equal(count_effects(f, EFFECT_WAIT_ENDED), 2);
	assert_int_equal(effect_at(f, EFFECT_WAIT_ENDED, 0)->error, ERROR_HANDLE_STALE);
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 0);
	assert_int_equal(cell_session(f->cell, a)->lock_count, 0);
	assert_null(cell_locked_after(f->cell, 0));
}

static void the_queue_has_a_maximum(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct entry e = acquire_entry(s, node, 0, EXCLUSIVE);

	for (uint64_t i = 0; i <= CELL_WAITERS_MAX; i++) {
		e.acquire.handle.n = i;
		cell_apply(f->cell, &e, &f->outcome);
		assert_int_equal(f->outcome.result.error, ERROR_OK);
	}
	e.acquire.handle.n++;
	assert_int_equal(apply(f, &e).error, ERROR_RESOURCE_EXHAUSTED);
	assert_int_equal(cell_node(f->cell, node)->lock->waiter_count, CELL_WAITERS_MAX);
	/* The queue is worked off from its head without moving in memory each time. */
	for (uint64_t i = 0; i < CELL_WAITERS_MAX; i++) {
		struct entry r = {.kind = ENTRY_RELEASE,
				  .session = s,
				  .release = {.instance = node, .handle = {i}}};

		cell_apply(f->cell, &r, &f->outcome);
		assert_int_equal(f->outcome.effects[1].handle.n, i + 1);
	}
	assert_sound(f->cell);
}

/* One row holds them all: beyond the maximum who wants to share waits. */
static void holders_have_a_maximum(void **state)
{
	struct fixture *f = *state;
	uint64_t node = make_file(f, "/l");
	struct entry e = acquire_entry(make_session(f), node, 0, SHARED);

	for (; e.acquire.handle.n < CELL_HOLDERS_MAX; e.acquire.handle.n++)
		cell_apply(f->cell, &e, &f->outcome);
	assert_int_equal(cell_node(f->cell, node)->lock->holder_count, CELL_HOLDERS_MAX);
	assert_int_not_equal(apply(f, &e).ticket.n, 0);
	e.kind = ENTRY_CLOSE;
	e.keep.handle.n = 0;
	e.keep.instance = node;
	assert_int_equal(apply(f, &e).error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_GRANTED, 0)->handle.n, CELL_HOLDERS_MAX);
}

/* ---- lock-delay ---------------------------------------------------------------------------- */

enum ending { RELEASE, CLOSE, EXPIRE, REVOKE_SESSION, REVOKE_GRANT };

/* After each way to end a hold: who is let in at once. */
static void lock_delay_bars_whom_it_must(void **state)
{
	static const struct {
		enum lock_mode mode;
		enum ending ending;
		bool shared_at_once;
		bool exclusive_at_once;
	} rows[] = {
		{EXCLUSIVE, RELEASE, true, true},
		{SHARED, RELEASE, true, true},
		{EXCLUSIVE, CLOSE, true, true},
		{SHARED, CLOSE, true, true},
		{EXCLUSIVE, EXPIRE, false, false},
		{SHARED, EXPIRE, true, false},
		{EXCLUSIVE, REVOKE_SESSION, false, false},
		{SHARED, REVOKE_SESSION, true, false},
		{EXCLUSIVE, REVOKE_GRANT, false, false},
		{SHARED, REVOKE_GRANT, true, false},
	};
	struct fixture *f = *state;
	struct session_id probe = make_session(f);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[] = {'/', (char)('a' + i), 0};
		struct session_id s = make_session(f);
		uint64_t node = make_file(f, path);
		struct result r = acquire(f, s, node, 1, rows[i].mode);
		struct entry revoke = {.kind = ENTRY_REVOKE,
				       .revoke = {.instance = node, .grant = r.grant}};
		bool delayed = !rows[i].exclusive_at_once;

		if (rows[i].ending == RELEASE)
			release(f, s, node, 1);
		if (rows[i].ending == CLOSE)
			end_session(f, s, SESSION_END_CLOSED);
		if (rows[i].ending == EXPIRE)
			end_session(f, s, SESSION_END_EXPIRED);
		if (rows[i].ending == REVOKE_SESSION)
			end_session(f, s, SESSION_END_REVOKED);
		if (rows[i].ending == REVOKE_GRANT)
			assert_int_equal(apply(f, &revoke).error, ERROR_OK);
		assert_int_equal(count_effects(f, EFFECT_HOLD_ENDED), 1);
		assert_int_equal(count_effects(f, EFFECT_LOCK_DELAY_BEGAN), delayed);
		assert_int_equal(cell_node(f->cell, node)->lock->delay_ns,
				 delayed ? CELL_LOCK_DELAY_DEFAULT_NS : 0);
		if (delayed)
			assert_int_equal(delete_node(f, s, node).error,
					 rows[i].ending == REVOKE_GRANT ? ERROR_LOCK_HELD
									: ERROR_SESSION_EXPIRED);
		assert_int_equal(try_acquire(f, probe, node, 1, EXCLUSIVE).error,
				 rows[i].exclusive_at_once ? ERROR_OK : ERROR_BUSY);
		release(f, probe, node, 1);
		assert_int_equal(try_acquire(f, probe, node, 1, SHARED).error,
				 rows[i].shared_at_once ? ERROR_OK : ERROR_BUSY);
	}
}

static void the_end_of_the_delay_lets_waiters_in(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f), c = make_session(f);
	uint64_t node = make_file(f, "/l"), token;
	struct revision began;
	struct entry stale;

	token = acquire(f, a, node, 1, EXCLUSIVE).token.n;
	acquire(f, b, node, 1, SHARED);
	acquire(f, c, node, 1, SHARED);
	end_session(f, a, SESSION_END_EXPIRED);
	began = effect_at(f, EFFECT_LOCK_DELAY_BEGAN, 0)->revision;
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 0);
	assert_int_equal(delete_node(f, b, node).error, ERROR_LOCK_HELD);

	/* Another delay, another master: void. */
	assert_int_equal(end_delay(f, node, (struct revision){began.n - 1}).error, ERROR_NOT_FOUND);
	stale = (struct entry){.kind = ENTRY_LOCK_DELAY_END,
			       .guard_epoch = {now_epoch(f).n - 1},
			       .lock_delay_end = {.instance = node, .began = began}};
	assert_int_equal(apply(f, &stale).error, ERROR_EPOCH_CHANGED);
	stale.guard_epoch.n = 0;
	assert_int_equal(apply(f, &stale).error, ERROR_EPOCH_CHANGED);

	assert_int_equal(end_delay(f, node, began).error, ERROR_OK);
	assert_int_equal(count_effects(f, EFFECT_LOCK_DELAY_ENDED), 1);
	assert_int_equal(count_effects(f, EFFECT_GRANTED), 2);
	assert_true(effect_at(f, EFFECT_GRANTED, 0)->token.n > token);
	assert_int_equal(end_delay(f, node, began).error, ERROR_NOT_FOUND);
}

static void a_second_failed_reader_extends_the_delay(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f), c = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct entry e = acquire_entry(a, node, 1, SHARED);
	struct revision first, second;

	e.acquire.lock_delay_ns = 40 * NS_PER_S;
	apply(f, &e);
	acquire(f, b, node, 1, SHARED);
	acquire(f, c, node, 1, SHARED);
	end_session(f, a, SESSION_END_EXPIRED);
	first = effect_at(f, EFFECT_LOCK_DELAY_BEGAN, 0)->revision;
	end_session(f, b, SESSION_END_EXPIRED);
	second = effect_at(f, EFFECT_LOCK_DELAY_BEGAN, 0)->revision;
	assert_int_equal(effect_at(f, EFFECT_LOCK_DELAY_BEGAN, 0)->delay_ns, 40 * NS_PER_S);
	assert_int_equal(end_delay(f, node, first).error, ERROR_NOT_FOUND);
	/* A reader holds on beside the delay; the writer waits for both. */
	release(f, c, node, 1);
	acquire(f, c, node, 2, EXCLUSIVE);
	assert_true(waits(f, node, c, 2));
	end_delay(f, node, second);
	assert_true(holds(f, node, c, 2));
}

static void the_holder_chooses_its_delay(void **state)
{
	struct fixture *f = *state;
	static const struct {
		int64_t asked, given;
	} rows[] = {{0, 0},
		    {1, 1},
		    {NS_PER_S, NS_PER_S},
		    {CELL_LOCK_DELAY_MAX_NS + 1, CELL_LOCK_DELAY_MAX_NS}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char path[] = {'/', (char)('a' + i), 0};
		struct session_id s = make_session(f);
		struct entry e = acquire_entry(s, make_file(f, path), 1, EXCLUSIVE);

		e.acquire.lock_delay_ns = rows[i].asked;
		apply(f, &e);
		end_session(f, s, SESSION_END_EXPIRED);
		assert_int_equal(count_effects(f, EFFECT_LOCK_DELAY_BEGAN), rows[i].given > 0);
		assert_int_equal(cell_node(f->cell, e.acquire.instance)->lock->delay_ns,
				 rows[i].given);
	}
}

static void revoke_names_one_grant(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	uint64_t node = make_file(f, "/l");
	struct entry e = {.kind = ENTRY_REVOKE, .revoke = {.instance = node}};

	assert_int_equal(apply(f, &e).error, ERROR_NOT_FOUND);
	e.revoke.grant = acquire(f, a, node, 1, SHARED).grant;
	acquire(f, b, node, 1, SHARED);
	assert_int_equal(apply(f, &e).error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_HOLD_ENDED, 0)->session.n, a.n);
	assert_int_equal(effect_at(f, EFFECT_HOLD_ENDED, 0)->error, ERROR_LOCK_LOST);
	assert_true(holds(f, node, b, 1));
	assert_int_equal(apply(f, &e).error, ERROR_NOT_FOUND);
	assert_int_equal(release(f, a, node, 1).error, ERROR_NOT_HELD);
	assert_non_null(cell_session(f->cell, a)); /* the session itself goes on */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(grant_is_revision_and_index),
		TEST(acquire_is_refused),
		TEST(release_by_another_is_refused),
		TEST(release_hands_over_in_order),
		TEST(readers_go_in_groups),
		TEST(shared_grants_end_one_by_one),
		TEST(tokens_grow_across_recreation),
		TEST(cancel_takes_the_waiter_out),
		TEST(delete_ends_waits_and_own_holds),
		TEST(the_queue_has_a_maximum),
		TEST(holders_have_a_maximum),
		TEST(lock_delay_bars_whom_it_must),
		TEST(the_end_of_the_delay_lets_waiters_in),
		TEST(a_second_failed_reader_extends_the_delay),
		TEST(the_holder_chooses_its_delay),
		TEST(revoke_names_one_grant),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
