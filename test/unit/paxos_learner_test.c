/*
 * paxos: learning. Whoever was away catches up from a peer's log, by snapshot where that log is
 * trimmed; nothing becomes chosen without proof; no value comes back from the dead.
 */
#include "paxos_net.h"
#include "paxos_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct net *working(uint32_t count, uint64_t seed, uint32_t *ret_master)
{
	struct net *n = net_new(count, seed);

	n->quiet = getenv("PAXOS_NOTES") == NULL;
	net_start_all(n);
	*ret_master = net_wait_master(n, 2 * NS_PER_S);
	assert_true(*ret_master != 0);
	return n;
}

static void take(struct one *o)
{
	o->out = paxos_output(o->p);
	if (o->out->write_count > 0)
		o->written = o->out->writes[0].number;
	assert_null(paxos_invariants(o->p));
}

static void learned(struct one *o, uint32_t from, uint64_t slot, struct ballot ballot,
		    const char *command)
{
	struct paxos_accepted row = {{slot}, ballot, one_value(command)};

	paxos_learned(o->p, o->now_ns, (struct replica_id){from}, &row, 1, row.slot,
		      (struct slot){0});
	value_unref(row.value);
	take(o);
}

/* A replica that was away for thousands of slots catches up while the others go on. */
static void test_catches_up_from_the_log(void **state)
{
	uint32_t master;
	struct net *n = working(5, 1, &master);
	uint32_t away = master == 1 ? 2 : 1;

	net_crash(n, away);
	for (int i = 0; i < 4000; i++) {
		assert_int_equal(net_propose(n, master), ERROR_OK);
		net_run(n, NS_PER_MS);
	}
	assert_true(n->history_newest > 500);
	net_start(n, away, PAXOS_MEMORY_WHOLE);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(net_propose(n, master), ERROR_OK);
		net_run(n, NS_PER_MS);
	}
	assert_true(net_wait_equal(n, 500, 2 * NS_PER_S));
	assert_int_equal(net_master(n), master);
	/* And it is an acceptor again: with two others gone it makes the majority. */
	uint32_t crashed = 0;
	for (uint32_t id = 1; id <= 5 && crashed < 2; id++) {
		if (id != master && id != away) {
			net_crash(n, id);
			crashed++;
		}
	}
	net_run(n, 300 * NS_PER_MS);
	uint64_t before = n->history_newest;
	assert_int_equal(net_propose(n, master), ERROR_OK);
	net_run(n, 300 * NS_PER_MS);
	assert_int_equal(n->history_newest, before + 1);
	net_free(n);
}

/* snapshot: where every log is trimmed above what is needed, only the state itself helps. */
static void test_trimmed_log_needs_a_snapshot(void **state)
{
	uint32_t master;
	struct net *n = working(3, 2, &master);
	uint32_t away = master == 1 ? 2 : 1;

	net_crash(n, away);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(net_propose(n, master), ERROR_OK);
		net_run(n, 5 * NS_PER_MS);
	}
	net_run(n, 3 * NS_PER_S);
	for (uint32_t id = 1; id <= 3; id++) {
		if (id != away)
			net_trim(n, id, n->nodes[id].disk.durable.chosen.n - 10);
	}
	net_start(n, away, PAXOS_MEMORY_WHOLE);
	assert_true(net_wait_equal(n, 100, 3 * NS_PER_S));
	assert_true(n->nodes[away].disk.durable.trimmed.n > 50);
	net_free(n);
}

/* ghost_entry: masters die in the middle of accepts, in every order; no slot ever has two values
 * (the paper network compares all that is applied with one history). */
static void test_ghost_entry(void **state)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		uint32_t master;
		struct net *n = working(5, seed, &master);

		for (int round = 0; round < 12; round++) {
			uint32_t dead = master;
			for (int i = 0; i < 3; i++) {
				assert_int_equal(net_propose(n, master), ERROR_OK);
				net_run(n, rng_between(&n->rng, 0, 2000) * NS_PER_US);
			}
			net_crash(n, dead);
			master = net_wait_master(n, 5 * NS_PER_S);
			assert_true(master != 0);
			net_run(n, rng_between(&n->rng, 0, 20) * NS_PER_MS);
			net_start(n, dead, PAXOS_MEMORY_WHOLE);
			master = net_wait_master(n, 5 * NS_PER_S);
			assert_true(master != 0);
		}
		assert_true(net_wait_equal(n, 12, 3 * NS_PER_S));
		net_free(n);
	}
}

/* stale_learn: a master that learns that its own proposal lost to a newer ballot ends its
 * mastership before it could bless, by its watermark, what its followers accepted from it. */
static void test_losing_master_steps_down(void **state)
{
	struct one *o = one_simple(3);

	one_elect(o);
	assert_int_equal(paxos_propose(o->p, o->now_ns, bytes_of_text("mine")), ERROR_OK);
	take(o);
	assert_non_null(one_sent(o, PAXOS_ACCEPT, 2));
	learned(o, 3, 1, one_ballot(1000, 3), "theirs");
	assert_true(o->out->deposed);
	assert_int_equal(o->out->chosen_count, 1);
	struct value *theirs = one_value("theirs");
	assert_true(value_equal(o->out->chosen[0].value, theirs));
	value_unref(theirs);
	assert_null(one_sent(o, PAXOS_HEARTBEAT, 2));
	one_free(o);

	/* The same value is no contradiction: somebody heard of the choice first. */
	o = one_simple(3);
	one_elect(o);
	assert_int_equal(paxos_propose(o->p, o->now_ns, bytes_of_text("mine")), ERROR_OK);
	take(o);
	learned(o, 3, 1, paxos_ballot(o->p), "mine");
	assert_int_equal(paxos_role(o->p), PAXOS_MASTER);
	assert_int_equal(o->out->chosen_count, 1);
	one_free(o);
}

/* What is learnt is written with its ballot and the watermark in one write, and handed on once. */
static void test_learned_is_written(void **state)
{
	struct one *o = one_simple(3);

	learned(o, 2, 2, one_ballot(1, 2), "beyond a gap");
	assert_int_equal(o->out->chosen_count, 0);
	assert_int_equal(o->out->write_count, 0);
	learned(o, 2, 1, one_ballot(1, 2), "a");
	assert_int_equal(o->out->chosen_count, 1);
	assert_int_equal(o->out->writes[0].accepted_count, 1);
	assert_int_equal(o->out->writes[0].durable.chosen.n, 1);
	assert_int_equal(o->out->writes[0].accepted[0].ballot.round, 1);
	learned(o, 2, 1, one_ballot(1, 2), "a");
	assert_int_equal(o->out->chosen_count, 0);
	/* A value accepted here, the same, needs no second row. */
	struct paxos_message m = one_accept(one_ballot(3, 2), 2, "b");
	one_step(o, 2, &m);
	learned(o, 3, 2, one_ballot(2, 2), "b");
	assert_int_equal(o->out->chosen_count, 1);
	assert_int_equal(o->out->write_count, 0);
	one_free(o);
}

/* Two values in one ballot: one memory is wrong, and this replica cannot tell whose. It stops. */
static void test_contradiction_stops(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_accept(one_ballot(3, 2), 1, "a");

	one_step(o, 2, &m);
	learned(o, 3, 1, one_ballot(3, 2), "b");
	assert_int_equal(paxos_role(o->p), PAXOS_LOST);
	assert_int_equal(o->out->chosen_count, 0);
	assert_non_null(paxos_trouble(o->p));
	one_free(o);
}

/* The log is served from what is durable as chosen; for the rest a write is made first. */
static void test_serves_only_what_is_durable(void **state)
{
	struct one *o = one_simple(3);

	learned(o, 2, 1, one_ballot(1, 2), "a");
	struct paxos_message m = one_message(PAXOS_LEARN, 3);
	m.slot = (struct slot){1};
	one_step(o, 3, &m);
	assert_int_equal(o->out->serve_count, 0);
	one_persist(o);
	assert_int_equal(o->out->serve_count, 1);
	assert_int_equal(o->out->serve_log[0].to.n, 3);
	assert_int_equal(o->out->serve_log[0].from.n, 1);
	assert_int_equal(o->out->serve_log[0].through.n, 1);
	/* A newer slot, chosen but not durable, is not promised along. */
	learned(o, 2, 2, one_ballot(1, 2), "b");
	m = one_message(PAXOS_LEARN, 3);
	m.slot = (struct slot){1};
	one_step(o, 3, &m);
	assert_int_equal(o->out->serve_count, 1);
	assert_int_equal(o->out->serve_log[0].through.n, 1);
	m = one_message(PAXOS_LEARN, 3);
	m.slot = (struct slot){3};
	one_step(o, 3, &m);
	assert_int_equal(o->out->serve_count, 0);
	assert_int_equal(o->out->write_count, 0);
	one_free(o);
}

/* A peer that does not answer is not asked for ever: the next one is. */
static void test_asks_another_peer(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_message(PAXOS_HEARTBEAT, 2);

	m.ballot = one_ballot(3, 2);
	m.lease_ns = 400 * NS_PER_MS;
	m.chosen = (struct slot){7};
	one_step(o, 2, &m);
	assert_non_null(one_sent(o, PAXOS_LEARN, 2));
	m = one_message(PAXOS_PROBE, 3);
	m.chosen = (struct slot){7};
	one_step(o, 3, &m);
	bool asked = false;
	for (int i = 0; i < 20 && !asked; i++) {
		one_tick(o, 50 * NS_PER_MS);
		asked = one_sent(o, PAXOS_LEARN, 3) != NULL;
		assert_null(one_sent(o, PAXOS_LEARN, 2));
	}
	assert_true(asked);
	one_free(o);
}

static void trimmed_answer(struct one *o, uint32_t from)
{
	paxos_learned(o->p, o->now_ns, (struct replica_id){from}, NULL, 0, (struct slot){7},
		      (struct slot){6});
	take(o);
}

/* Where one peer's log is trimmed another's may not be; the state itself is the last resort. */
static void test_snapshot_is_the_last_resort(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_message(PAXOS_PROBE, 3);

	m.chosen = (struct slot){7};
	one_step(o, 3, &m);
	m = one_message(PAXOS_HEARTBEAT, 2);
	m.ballot = one_ballot(3, 2);
	m.lease_ns = 400 * NS_PER_MS;
	m.chosen = (struct slot){7};
	one_step(o, 2, &m);
	assert_non_null(one_sent(o, PAXOS_LEARN, 2));
	trimmed_answer(o, 2);
	assert_int_equal(o->out->snapshot_from.n, 0);
	assert_non_null(one_sent(o, PAXOS_LEARN, 3));
	trimmed_answer(o, 3);
	assert_int_not_equal(o->out->snapshot_from.n, 0);
	paxos_snapshot_installed(o->p, o->now_ns, (struct slot){7});
	take(o);
	assert_int_equal(paxos_chosen(o->p).n, 7);
	assert_int_equal(o->out->writes[0].durable.trimmed.n, 7);
	assert_int_equal(o->out->chosen_count, 0);
	one_free(o);
}

static bool asked_for_snapshot(struct one *o, uint32_t from, int64_t within_ns)
{
	for (int64_t step = 50 * NS_PER_MS; within_ns > 0; within_ns -= step) {
		one_tick(o, step);
		if (o->out->snapshot_from.n == from)
			return true;
	}
	return false;
}

/* A peer whose log would do, but that never answers, does not keep this replica from the state of
 * one that does; after a while it is asked again, and believed again once it answers. */
static void test_silent_peer_is_passed_over(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_message(PAXOS_PROBE, 3);
	struct paxos_accepted row = {{1}, one_ballot(1, 2), NULL};
	bool asked = false;

	m.chosen = (struct slot){7};
	one_step(o, 3, &m);
	m = one_message(PAXOS_HEARTBEAT, 2);
	m.ballot = one_ballot(3, 2);
	m.lease_ns = 400 * NS_PER_MS;
	m.chosen = (struct slot){7};
	one_step(o, 2, &m);
	trimmed_answer(o, 2);
	assert_non_null(one_sent(o, PAXOS_LEARN, 3));
	assert_true(asked_for_snapshot(o, 2, NS_PER_S));
	/* That fails too: it is asked for again, and the silent one not before its time. */
	for (int64_t waited_ns = 0; waited_ns < 6 * NS_PER_S; waited_ns += 50 * NS_PER_MS) {
		one_tick(o, 50 * NS_PER_MS);
		assert_null(one_sent(o, PAXOS_LEARN, 3));
	}
	for (int64_t waited_ns = 0; waited_ns < 10 * NS_PER_S && !asked;
	     waited_ns += 50 * NS_PER_MS) {
		one_tick(o, 50 * NS_PER_MS);
		asked = one_sent(o, PAXOS_LEARN, 3) != NULL;
	}
	assert_true(asked);
	row.value = one_value("a");
	paxos_learned(o->p, o->now_ns, (struct replica_id){3}, &row, 1, (struct slot){7},
		      (struct slot){0});
	value_unref(row.value);
	take(o);
	assert_int_equal(paxos_chosen(o->p).n, 1);
	assert_non_null(one_sent(o, PAXOS_LEARN, 3));
	one_free(o);
}

/* The tail in memory is bounded: far ahead of its watermark a replica accepts nothing. */
static void test_tail_is_bounded(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_accept(one_ballot(3, 2), 1024, "edge");

	one_step(o, 2, &m);
	one_persist(o);
	assert_non_null(one_sent(o, PAXOS_ACCEPTED, 2));
	m = one_accept(one_ballot(3, 2), 1025, "beyond");
	one_step(o, 2, &m);
	assert_null(one_sent(o, PAXOS_ACCEPTED, 2));
	assert_non_null(one_sent(o, PAXOS_HEARTBEAT_ACK, 2));
	assert_int_equal(o->out->write_count, 0);
	one_free(o);
}

/* A log that contradicts itself is no memory. */
static void test_impossible_log_is_lost(void **state)
{
	for (int which = 0; which < 3; which++) {
		struct paxos_accepted tail[2] = {
			{{5}, one_ballot(2, 2), one_value("a")},
			{{6}, one_ballot(2, 2), one_value("b")},
		};
		struct one_start start = {.count = 3, .tail = tail, .tail_count = 2};
		start.durable.promised = one_ballot(2, 2);
		if (which == 0)
			tail[1].slot.n = 5;
		if (which == 1)
			tail[1].ballot.round = 3;
		if (which == 2)
			tail[1].slot.n = 5000;
		struct one *o = one_new(&start);
		assert_int_equal(paxos_role(o->p), PAXOS_LOST);
		one_free(o);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_catches_up_from_the_log),
		cmocka_unit_test(test_trimmed_log_needs_a_snapshot),
		cmocka_unit_test(test_ghost_entry),
		cmocka_unit_test(test_losing_master_steps_down),
		cmocka_unit_test(test_learned_is_written),
		cmocka_unit_test(test_contradiction_stops),
		cmocka_unit_test(test_serves_only_what_is_durable),
		cmocka_unit_test(test_asks_another_peer),
		cmocka_unit_test(test_snapshot_is_the_last_resort),
		cmocka_unit_test(test_silent_peer_is_passed_over),
		cmocka_unit_test(test_tail_is_bounded),
		cmocka_unit_test(test_impossible_log_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
