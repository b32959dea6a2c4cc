/*
 * paxos: the master lease. It is counted from sending, shortened by the drift factor, never
 * longer than what a majority granted, and never two masters' at once, with clocks at the bound
 * of their rate error.
 */
#include "paxos_net.h"
#include "paxos_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define L (400 * NS_PER_MS)

static void acknowledge(struct one *o, uint32_t from, int64_t sent_ns)
{
	struct paxos_message m = one_message(PAXOS_HEARTBEAT_ACK, from);

	m.ballot = paxos_ballot(o->p);
	m.sequence = (uint64_t)sent_ns;
	one_step(o, from, &m);
}

/* The lease runs from when the oldest message of the majority was sent, however late its answer
 * comes, and its end is the one function's. */
static void test_counted_from_sending(void **state)
{
	struct one *o = one_simple(5);

	one_elect(o);
	int64_t first_ns = o->now_ns;
	const struct paxos_message *m = one_sent(o, PAXOS_HEARTBEAT, 2);
	assert_non_null(m);
	assert_int_equal(m->sequence, first_ns);
	assert_true(paxos_lease_until(o->p) <= o->now_ns);
	o->now_ns += 30 * NS_PER_MS;
	acknowledge(o, 2, first_ns);
	assert_true(paxos_lease_until(o->p) <= o->now_ns);
	acknowledge(o, 2, first_ns);
	assert_true(paxos_lease_until(o->p) <= o->now_ns);
	acknowledge(o, 3, first_ns);
	assert_int_equal(paxos_lease_until(o->p), lease_end(first_ns, L, DRIFT_PPM_DEFAULT));

	one_tick(o, 70 * NS_PER_MS);
	int64_t second_ns = o->now_ns;
	assert_non_null(one_sent(o, PAXOS_HEARTBEAT, 4));
	acknowledge(o, 4, second_ns);
	/* One of the two that count is still the old one. */
	assert_int_equal(paxos_lease_until(o->p), lease_end(first_ns, L, DRIFT_PPM_DEFAULT));
	acknowledge(o, 2, second_ns);
	assert_int_equal(paxos_lease_until(o->p), lease_end(second_ns, L, DRIFT_PPM_DEFAULT));
	/* An old answer shortens nothing; one to what was never sent lengthens nothing. */
	acknowledge(o, 2, first_ns);
	acknowledge(o, 3, second_ns + 1);
	acknowledge(o, 4, second_ns + NS_PER_S);
	acknowledge(o, 2, INT64_MAX);
	assert_int_equal(paxos_lease_until(o->p), lease_end(second_ns, L, DRIFT_PPM_DEFAULT));
	one_free(o);
}

/* A master without answers loses its lease by itself and steps down soon after. */
static void test_lapses_without_answers(void **state)
{
	struct one *o = one_simple(3);

	one_elect(o);
	acknowledge(o, 2, o->now_ns);
	int64_t until_ns = paxos_lease_until(o->p);
	bool deposed = false;
	while (o->now_ns < until_ns + 250 * NS_PER_MS && !deposed) {
		int64_t due_ns = paxos_next_tick(o->p);
		one_tick(o, due_ns - o->now_ns);
		one_persist(o);
		deposed = o->out->deposed || paxos_role(o->p) != PAXOS_MASTER;
		assert_true(!deposed || o->now_ns >= until_ns);
	}
	assert_true(deposed);
	assert_true(paxos_lease_until(o->p) < o->now_ns);
	one_free(o);
}

/* While it believes in its lease its own acceptor hears no other ballot. */
static void test_own_acceptor_is_bound(void **state)
{
	struct one *o = one_simple(3);

	one_elect(o);
	acknowledge(o, 2, o->now_ns);
	o->now_ns = paxos_lease_until(o->p) - 1;
	struct paxos_message m = one_message(PAXOS_PREPARE, 3);
	m.ballot = one_ballot(1000, 3);
	m.slot = (struct slot){1};
	one_step(o, 3, &m);
	assert_non_null(one_sent(o, PAXOS_REFUSAL, 3));
	assert_int_equal(paxos_role(o->p), PAXOS_MASTER);
	/* After the whole L from the last sending, it is heard, and mastership ends. */
	o->now_ns += L;
	m = one_message(PAXOS_PREPARE, 3);
	m.ballot = one_ballot(1000, 3);
	m.slot = (struct slot){1};
	one_step(o, 3, &m);
	assert_true(o->out->deposed);
	assert_true(o->promise_written);
	one_free(o);
}

/* Resigning drops the lease before anybody is released, and tells the successor last. */
static void test_release_after_the_lease(void **state)
{
	struct one *o = one_simple(5);

	one_elect(o);
	for (uint32_t id = 2; id <= 4; id++)
		acknowledge(o, id, o->now_ns);
	struct paxos_message m = one_message(PAXOS_HEARTBEAT_ACK, 4);
	m.ballot = paxos_ballot(o->p);
	m.sequence = (uint64_t)o->now_ns;
	m.chosen = (struct slot){0};
	one_step(o, 4, &m);
	assert_true(paxos_lease_until(o->p) > o->now_ns);
	paxos_resign(o->p, o->now_ns);
	assert_true(paxos_lease_until(o->p) < o->now_ns);
	o->out = paxos_output(o->p);
	assert_true(o->out->deposed);
	assert_int_equal(o->out->message_count, 4);
	for (uint32_t i = 0; i < 4; i++) {
		const struct paxos_envelope *e = &o->out->messages[i];
		assert_int_equal(e->message.kind, PAXOS_RELEASE);
		/* 5 has never answered: it is no successor. */
		assert_int_not_equal(e->message.successor.n, 5);
		assert_int_equal(i == 3, e->to.n == e->message.successor.n);
	}
	/* It never stands again. */
	for (int i = 0; i < 100; i++) {
		one_tick(o, 50 * NS_PER_MS);
		assert_int_equal(o->out->message_count, 0);
	}
	one_free(o);
}

static bool probes(const struct one *o)
{
	return one_sent(o, PAXOS_PROBE, 2) != NULL || one_sent(o, PAXOS_PROBE, 3) != NULL;
}

/* A loop that was late does not take the silence that it slept through for its leader's: what was
 * sent meanwhile is read first. But one that is always late stands in the end. */
static void test_late_loop(void **state)
{
	for (int leader_lives = 0; leader_lives < 2; leader_lives++) {
		struct one *o = one_simple(3);
		struct paxos_message m = one_message(PAXOS_HEARTBEAT, 2);
		m.ballot = one_ballot(3, 2);
		m.lease_ns = L;
		one_step(o, 2, &m);
		one_persist(o);
		one_tick(o, 10 * NS_PER_S);
		assert_false(probes(o));
		assert_true(paxos_next_tick(o->p) > o->now_ns);
		bool stood = false;
		for (int i = 0; i < 20 && !stood; i++) {
			if (leader_lives) {
				m = one_message(PAXOS_HEARTBEAT, 2);
				m.ballot = one_ballot(3, 2);
				m.lease_ns = L;
				one_step(o, 2, &m);
			}
			one_tick(o, 150 * NS_PER_MS);
			stood = probes(o);
		}
		assert_int_equal(stood, !leader_lives);
		one_free(o);
	}
}

/* Leases never overlap, with the clocks as wrong as the bound allows (checked after each event by
 * the paper network), while the master is cut off, stopped, and comes back. */
static void test_never_overlap_within_drift(void **state)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct net *n = net_new(3, seed);
		n->quiet = true;
		for (uint32_t id = 1; id <= 3; id++) {
			n->nodes[id].rate_ppm = id == 1 + seed % 3 ? -9900 : 9900;
			n->nodes[id].offset_ns = rng_between(&n->rng, 0, 1000) * NS_PER_S;
		}
		net_start_all(n);
		for (int i = 0; i < 15; i++) {
			uint32_t master = net_wait_master(n, 5 * NS_PER_S);
			assert_true(master != 0);
			net_run(n, rng_between(&n->rng, 1, 300) * NS_PER_MS);
			if (i % 2 == 0)
				net_isolate(n, master, true);
			else
				n->nodes[master].loop_stopped = true;
			net_run(n, rng_between(&n->rng, 300, 900) * NS_PER_MS);
			net_isolate(n, master, false);
			n->nodes[master].loop_stopped = false;
		}
		net_free(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counted_from_sending),
		cmocka_unit_test(test_lapses_without_answers),
		cmocka_unit_test(test_own_acceptor_is_bound),
		cmocka_unit_test(test_release_after_the_lease),
		cmocka_unit_test(test_late_loop),
		cmocka_unit_test(test_never_overlap_within_drift),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
