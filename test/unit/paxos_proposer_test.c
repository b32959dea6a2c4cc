/*
 * paxos: the proposer and phase 1. A new master proposes what a majority may have chosen and
 * nothing else in those slots; commands are batched while values are under way; a slot is handed
 * to apply when it and all before it are chosen.
 */
#include "paxos_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

static enum error propose(struct one *o, const char *command)
{
	return paxos_propose(o->p, o->now_ns, bytes_of_text(command));
}

static void flush(struct one *o)
{
	o->out = paxos_output(o->p);
	if (o->out->write_count > 0)
		o->written = o->out->writes[0].number;
	assert_null(paxos_invariants(o->p));
}

static void accepted(struct one *o, uint32_t from, uint64_t slot)
{
	struct paxos_message m = one_message(PAXOS_ACCEPTED, from);

	m.ballot = paxos_ballot(o->p);
	m.slot = (struct slot){slot};
	m.sequence = (uint64_t)o->now_ns;
	one_step(o, from, &m);
}

static bool holds(struct value *v, const char *command)
{
	struct value *expected = one_value(command);
	bool equal = value_equal(v, expected);

	value_unref(expected);
	return equal;
}

/* What one acceptor of the enumeration has accepted in slot 1. */
enum memory { NOTHING, OLD, NEW };

static struct paxos_message promise_of(struct ballot ballot, uint32_t from, enum memory memory)
{
	struct paxos_message m = one_message(PAXOS_PROMISE, from);

	m.ballot = ballot;
	m.slot = (struct slot){1};
	m.last = true;
	if (memory == NOTHING)
		return m;
	m.accepted_count = 1;
	m.accepted = mem_zalloc(sizeof(*m.accepted));
	m.accepted[0].slot = (struct slot){1};
	m.accepted[0].ballot = memory == OLD ? one_ballot(1, 4) : one_ballot(2, 3);
	m.accepted[0].value = one_value(memory == OLD ? "old" : "new");
	return m;
}

static void adopt(enum memory own, uint32_t second, enum memory has_second, uint32_t third,
		  enum memory has_third)
{
	struct paxos_accepted tail = {.slot = {1}};
	struct one_start start = {.count = 5, .tail = &tail, .tail_count = own != NOTHING};

	start.durable.promised = one_ballot(2, 3);
	if (own != NOTHING) {
		tail.ballot = own == OLD ? one_ballot(1, 4) : one_ballot(2, 3);
		tail.value = one_value(own == OLD ? "old" : "new");
	}
	struct one *o = one_vetted(&start);
	one_prepare(o);
	struct ballot ballot = one_sent(o, PAXOS_PREPARE, 2)->ballot;
	assert_true(ballot.round > 2);
	struct paxos_message m = promise_of(ballot, second, has_second);
	one_step(o, second, &m);
	assert_int_equal(paxos_role(o->p), PAXOS_CANDIDATE);
	m = promise_of(ballot, third, has_third);
	one_step(o, third, &m);
	assert_int_equal(paxos_role(o->p), PAXOS_MASTER);

	enum memory best = own > has_second ? own : has_second;
	best = best > has_third ? best : has_third;
	const struct paxos_message *accept = one_sent(o, PAXOS_ACCEPT, 5);
	if (best == NOTHING) {
		assert_null(accept);
	} else {
		assert_non_null(accept);
		assert_int_equal(accept->slot.n, 1);
		assert_true(ballot_equal(accept->ballot, ballot));
		assert_true(holds(accept->value, best == OLD ? "old" : "new"));
		assert_int_equal(o->out->writes[0].accepted_count, 1);
	}
	/* The first command comes after what was adopted. */
	assert_int_equal(propose(o, "mine"), ERROR_OK);
	flush(o);
	accept = one_sent(o, PAXOS_ACCEPT, 2);
	assert_non_null(accept);
	assert_int_equal(accept->slot.n, best == NOTHING ? 1 : 2);
	assert_true(holds(accept->value, "mine"));
	one_free(o);
}

/* new_master_adopts_highest: all memories of three of five acceptors. */
static void test_new_master_adopts_highest(void **state)
{
	for (uint32_t second = 2; second <= 5; second++) {
		for (uint32_t third = 2; third <= 5; third++) {
			for (int i = 0; second != third && i < 27; i++)
				adopt((enum memory)(i % 3), second, (enum memory)(i / 3 % 3), third,
				      (enum memory)(i / 9));
		}
	}
}

/* Holes below the highest reported slot are filled with no-ops, never with commands. */
static void test_holes_become_noops(void **state)
{
	struct one_start start = {.count = 3};
	start.durable.promised = one_ballot(2, 3);
	struct one *o = one_vetted(&start);
	one_prepare(o);
	struct paxos_message m = promise_of(one_sent(o, PAXOS_PREPARE, 2)->ballot, 2, NEW);
	m.accepted[0].slot = (struct slot){3};
	one_step(o, 2, &m);
	assert_int_equal(paxos_role(o->p), PAXOS_MASTER);
	assert_int_equal(o->out->writes[0].accepted_count, 3);
	for (uint32_t i = 0; i < 3; i++) {
		const struct paxos_accepted *row = &o->out->writes[0].accepted[i];
		assert_int_equal(row->slot.n, i + 1);
		assert_int_equal(value_command_count(row->value), i == 2 ? 1 : 0);
	}
	one_free(o);
}

/* A promise that reports acceptances in impossible ballots is not counted. */
static void test_impossible_promise(void **state)
{
	struct one *o = one_simple(3);

	one_prepare(o);
	struct ballot ballot = one_sent(o, PAXOS_PREPARE, 2)->ballot;
	struct ballot impossible[] = {one_ballot(1000, 3), one_ballot(0, 3), ballot};
	for (uint32_t i = 0; i < 3; i++) {
		struct paxos_message m = promise_of(ballot, 2, NEW);
		m.accepted[0].ballot = impossible[i];
		one_step(o, 2, &m);
		assert_int_equal(paxos_role(o->p), PAXOS_CANDIDATE);
		assert_non_null(o->out->note);
	}
	one_free(o);
}

/* A watermark in a promise: nothing is proposed at or below it before it is learnt. */
static void test_catches_up_before_it_proposes(void **state)
{
	struct one *o = one_simple(3);

	one_prepare(o);
	struct ballot ballot = one_sent(o, PAXOS_PREPARE, 2)->ballot;
	struct paxos_message m = promise_of(ballot, 2, NOTHING);
	m.chosen = (struct slot){2};
	m.trimmed = (struct slot){1};
	one_step(o, 2, &m);
	assert_int_equal(paxos_role(o->p), PAXOS_CANDIDATE);
	const struct paxos_message *learn = one_sent(o, PAXOS_LEARN, 2);
	assert_non_null(learn);
	assert_int_equal(learn->slot.n, 1);

	struct paxos_accepted rows[2] = {
		{.slot = {1}, .ballot = one_ballot(1, 2), .value = one_value("a")},
		{.slot = {2}, .ballot = one_ballot(1, 2), .value = one_value("b")},
	};
	paxos_learned(o->p, o->now_ns, (struct replica_id){2}, rows, 2, (struct slot){2},
		      (struct slot){0});
	flush(o);
	assert_int_equal(o->out->chosen_count, 2);
	assert_true(o->out->elected);
	assert_int_equal(o->out->writes[0].accepted_count, 2);
	assert_int_equal(o->out->writes[0].durable.chosen.n, 2);
	assert_int_equal(propose(o, "mine"), ERROR_OK);
	flush(o);
	assert_int_equal(one_sent(o, PAXOS_ACCEPT, 3)->slot.n, 3);
	value_unref(rows[0].value);
	value_unref(rows[1].value);
	one_free(o);
}

/* A promise in parts counts when all parts are in, in whatever order they were sent again. */
static void test_promise_needs_all_parts(void **state)
{
	struct one_start start = {.count = 3};
	start.durable.promised = one_ballot(2, 3);
	struct one *o = one_vetted(&start);

	one_prepare(o);
	struct ballot ballot = one_sent(o, PAXOS_PREPARE, 2)->ballot;
	struct paxos_message last = promise_of(ballot, 2, NOTHING);
	last.slot = (struct slot){2};
	last.part = 1;
	one_step(o, 2, &last);
	assert_int_equal(paxos_role(o->p), PAXOS_CANDIDATE);
	struct paxos_message first = promise_of(ballot, 2, NEW);
	first.last = false;
	one_step(o, 2, &first);
	assert_int_equal(paxos_role(o->p), PAXOS_CANDIDATE);
	last = promise_of(ballot, 2, NOTHING);
	last.slot = (struct slot){2};
	one_step(o, 2, &last);
	assert_int_equal(paxos_role(o->p), PAXOS_MASTER);
	assert_true(holds(one_sent(o, PAXOS_ACCEPT, 3)->value, "new"));
	one_free(o);
}

/* Any durable majority chooses: with our disk, or without it. */
static void test_majority_chooses(void **state)
{
	struct one *o = one_simple(5);

	one_elect(o);
	assert_int_equal(propose(o, "x"), ERROR_OK);
	flush(o);
	accepted(o, 2, 1);
	accepted(o, 2, 1);
	assert_int_equal(o->out->chosen_count, 0);
	one_persist(o);
	assert_int_equal(o->out->chosen_count, 0);
	accepted(o, 5, 1);
	assert_int_equal(o->out->chosen_count, 1);
	assert_true(holds(o->out->chosen[0].value, "x"));

	assert_int_equal(propose(o, "y"), ERROR_OK);
	flush(o);
	accepted(o, 2, 2);
	accepted(o, 3, 2);
	assert_int_equal(o->out->chosen_count, 0);
	accepted(o, 4, 2);
	assert_int_equal(o->out->chosen_count, 1);
	assert_int_equal(paxos_chosen(o->p).n, 2);
	one_free(o);
}

/* Answers of another ballot, or to what was never proposed, count for nothing. */
static void test_foreign_acknowledgements(void **state)
{
	struct one *o = one_simple(3);

	one_elect(o);
	assert_int_equal(propose(o, "x"), ERROR_OK);
	flush(o);
	struct paxos_message m = one_message(PAXOS_ACCEPTED, 2);
	m.ballot = one_ballot(1, 2);
	m.slot = (struct slot){1};
	one_step(o, 2, &m);
	m = one_message(PAXOS_ACCEPTED, 2);
	m.ballot = paxos_ballot(o->p);
	m.slot = (struct slot){2};
	one_step(o, 2, &m);
	m = one_message(PAXOS_ACCEPTED, 2);
	m.ballot = paxos_ballot(o->p);
	m.slot = (struct slot){1};
	m.incarnation = one_incarnation(99);
	one_step(o, 2, &m);
	one_persist(o);
	assert_int_equal(paxos_chosen(o->p).n, 0);
	accepted(o, 2, 1);
	assert_int_equal(paxos_chosen(o->p).n, 1);
	one_free(o);
}

/* gap_apply: slot n + 1, chosen before slot n, waits for it. */
static void test_gap_apply(void **state)
{
	struct one *o = one_simple(5);

	one_elect(o);
	assert_int_equal(propose(o, "a"), ERROR_OK);
	flush(o);
	assert_int_equal(propose(o, "b"), ERROR_OK);
	flush(o);
	accepted(o, 2, 2);
	accepted(o, 3, 2);
	accepted(o, 4, 2);
	assert_int_equal(o->out->chosen_count, 0);
	accepted(o, 3, 1);
	accepted(o, 4, 1);
	accepted(o, 5, 1);
	assert_int_equal(o->out->chosen_count, 2);
	assert_int_equal(o->out->chosen[0].slot.n, 1);
	assert_int_equal(o->out->chosen[1].slot.n, 2);
	one_free(o);
}

/* Commands of one turn go together; two values may be under way before others wait; full batches
 * go out up to alpha. */
static void test_batches_and_window(void **state)
{
	static char big[600 * 1024];
	struct one *o = one_simple(3);

	one_elect(o);
	for (int i = 0; i < 10; i++)
		assert_int_equal(propose(o, "c"), ERROR_OK);
	flush(o);
	assert_int_equal(o->out->writes[0].accepted_count, 1);
	assert_int_equal(value_command_count(o->out->writes[0].accepted[0].value), 10);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(propose(o, "d"), ERROR_OK);
		flush(o);
		assert_int_equal(o->out->write_count, i == 0 ? 1 : 0);
	}
	one_persist(o);
	accepted(o, 2, 1);
	assert_int_equal(o->out->writes[0].accepted_count, 1);
	assert_int_equal(value_command_count(o->out->writes[0].accepted[0].value), 3);

	memset(big, 'x', sizeof(big) - 1);
	uint32_t taken = 0;
	while (propose(o, big) == ERROR_OK) {
		flush(o);
		taken++;
		assert_true(taken < 200);
	}
	assert_int_equal(propose(o, big), ERROR_RESOURCE_EXHAUSTED);
	assert_true(taken > PAXOS_ALPHA - 2);
	assert_int_equal(paxos_chosen(o->p).n, 1);
	uint64_t highest = 0;
	o->now_ns += 500 * NS_PER_MS;
	paxos_peer_connected(o->p, o->now_ns, (struct replica_id){2});
	flush(o);
	accepted(o, 2, 2);
	one_persist(o);
	for (uint32_t i = 0; i < o->out->message_count; i++) {
		if (o->out->messages[i].message.slot.n > highest)
			highest = o->out->messages[i].message.slot.n;
	}
	assert_true(highest <= paxos_chosen(o->p).n + PAXOS_ALPHA);
	one_free(o);
}

static void test_propose_refusals(void **state)
{
	static char huge[VALUE_MAX_BYTES];
	struct one *o = one_simple(3);

	assert_int_equal(propose(o, "x"), ERROR_NOT_MASTER);
	one_elect(o);
	assert_int_equal(paxos_propose(o->p, o->now_ns,
				       (struct bytes){(const uint8_t *)huge, sizeof(huge)}),
			 ERROR_TOO_LARGE);
	assert_int_equal(paxos_propose(o->p, o->now_ns,
				       (struct bytes){(const uint8_t *)huge,
						      sizeof(huge) - VALUE_FRAME_BYTES}),
			 ERROR_OK);
	flush(o);
	assert_int_equal(one_sent(o, PAXOS_ACCEPT, 2)->slot.n, 1);
	one_free(o);
}

/* ballot_reused: each candidacy has a higher round than anything it promised or heard of, and its
 * own promise is durable before the first prepare leaves (see one_prepare()). */
static void test_ballot_reused(void **state)
{
	struct one_start start = {.count = 3};
	start.durable.promised = one_ballot(7, 1);
	struct one *o = one_vetted(&start);

	one_prepare(o);
	assert_int_equal(one_sent(o, PAXOS_PREPARE, 2)->ballot.round, 8);
	/* A refusal names a higher one; the next candidacy goes above it. */
	for (uint32_t id = 2; id <= 3; id++) {
		struct paxos_message m = one_message(PAXOS_REFUSAL, id);
		m.ballot = paxos_durable(o->p)->promised;
		m.promised = one_ballot(20, 3);
		one_step(o, id, &m);
	}
	assert_int_equal(paxos_role(o->p), PAXOS_FOLLOWER);
	one_prepare(o);
	assert_int_equal(one_sent(o, PAXOS_PREPARE, 2)->ballot.round, 21);
	one_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new_master_adopts_highest),
		cmocka_unit_test(test_holes_become_noops),
		cmocka_unit_test(test_impossible_promise),
		cmocka_unit_test(test_catches_up_before_it_proposes),
		cmocka_unit_test(test_promise_needs_all_parts),
		cmocka_unit_test(test_majority_chooses),
		cmocka_unit_test(test_foreign_acknowledgements),
		cmocka_unit_test(test_gap_apply),
		cmocka_unit_test(test_batches_and_window),
		cmocka_unit_test(test_propose_refusals),
		cmocka_unit_test(test_ballot_reused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
