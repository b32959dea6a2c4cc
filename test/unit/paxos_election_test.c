/*
 * paxos: elections. There is always soon one master while a majority talks, never two with a
 * lease, and disturbances that leave a majority to the master do not depose it.
 */
#include "paxos_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct net *started(uint32_t count, uint64_t seed)
{
	struct net *n = net_new(count, seed);

	n->quiet = getenv("PAXOS_NOTES") == NULL;
	net_start_all(n);
	return n;
}

static uint32_t elections(const struct net *n)
{
	uint32_t sum = 0;

	for (uint32_t id = 1; id <= n->count; id++)
		sum += n->nodes[id].elections;
	return sum;
}

static uint32_t prepares;

static void count_prepares(struct net *n, uint32_t from, uint32_t to, const struct paxos_message *m)
{
	/* One a candidacy: to the lowest other replica. */
	if (m->kind == PAXOS_PREPARE && to == (from == 1 ? 2 : 1))
		prepares++;
}

/* A cell of any size elects, chooses, and applies the same everywhere. */
static void test_every_size_elects_and_chooses(void **state)
{
	for (uint32_t count = 1; count <= MEMBERS_MAX; count++) {
		struct net *n = started(count, 100 + count);
		uint32_t master = net_wait_master(n, 2 * NS_PER_S);

		assert_true(master != 0);
		for (int i = 0; i < 200; i++) {
			assert_int_equal(net_propose(n, master), ERROR_OK);
			net_run(n, NS_PER_MS / 4);
		}
		net_run(n, 200 * NS_PER_MS);
		assert_true(net_wait_equal(n, 1, NS_PER_S));
		for (uint32_t id = 1; id <= count; id++)
			assert_int_equal(n->nodes[id].commands_applied, 200);
		/* Nine that start at one instant may collide once. */
		assert_in_range(elections(n), 1, 2);
		net_free(n);
	}
}

static int compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* After a crash of the master the next one is leased little more than a lease later. */
static void test_failover_takes_little_more_than_a_lease(void **state)
{
	int64_t took_ns[40];

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct net *n = started(5, seed);
		uint32_t old = net_wait_master(n, 2 * NS_PER_S);
		net_run(n, NS_PER_S + (int64_t)seed * 7 * NS_PER_MS);
		net_crash(n, old);
		int64_t from_ns = n->now_ns;
		uint32_t next = net_wait_master(n, 3 * NS_PER_S);
		assert_true(next != 0 && next != old);
		took_ns[seed] = n->now_ns - from_ns;
		assert_true(took_ns[seed] < 2 * NS_PER_S);
		net_free(n);
	}
	qsort(took_ns, 40, sizeof(took_ns[0]), compare_times);
	assert_true(took_ns[20] < 520 * NS_PER_MS);
}

/* handover: a master that resigns is followed at once by an up-to-date replica. */
static void test_handover_is_immediate(void **state)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct net *n = started(5, seed);
		uint32_t old = net_wait_master(n, 2 * NS_PER_S);
		for (int i = 0; i < 5; i++)
			assert_int_equal(net_propose(n, old), ERROR_OK);
		paxos_resign(n->nodes[old].p, net_local_ns(n, old));
		net_collect(n, old);
		assert_true(net_master(n) == 0);
		assert_int_equal(net_propose(n, old), ERROR_NOT_MASTER);
		int64_t from_ns = n->now_ns;
		uint32_t next = net_wait_master(n, 2 * NS_PER_S);
		assert_true(next != 0 && next != old);
		assert_true(n->now_ns - from_ns < 100 * NS_PER_MS);
		assert_int_equal(n->nodes[old].depositions, 1);
		/* What was under way was chosen before it left. */
		assert_true(n->history_newest >= 1);
		net_run(n, 3 * NS_PER_S);
		assert_int_equal(net_master(n), next);
		net_free(n);
	}
}

/* duelling_proposers: all start at the same instant, over and over; one wins within ten rounds. */
static void test_duelling_proposers(void **state)
{
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct net *n = net_new(5, seed);
		n->quiet = true;
		n->watch = count_prepares;
		prepares = 0;
		n->latency_low_ns = n->latency_high_ns = 10 * NS_PER_MS;
		net_start_all(n);
		assert_true(net_wait_master(n, 3 * NS_PER_S) != 0);
		assert_in_range(prepares, 1, 10);
		net_free(n);
	}
}

/* One direction of one link cut: all twenty. The master stays, or there is a new one and then no
 * further change. */
static void test_one_way_cuts(void **state)
{
	for (uint32_t from = 1; from <= 5; from++) {
		for (uint32_t to = 1; to <= 5; to++) {
			if (from == to)
				continue;
			struct net *n = started(5, from * 10 + to);
			uint32_t master = net_wait_master(n, 2 * NS_PER_S);
			uint32_t before = elections(n);
			n->cut[from][to] = true;
			net_run(n, 10 * NS_PER_S);
			assert_int_equal(elections(n), before);
			assert_int_equal(net_master(n), master);
			assert_int_equal(net_propose(n, master), ERROR_OK);
			net_run(n, 2 * NS_PER_S);
			/* Also who does not hear the master gets to know what is chosen. */
			assert_true(net_wait_equal(n, 1, 3 * NS_PER_S));
			net_free(n);
		}
	}
}

static void cut_link(struct net *n, uint32_t a, uint32_t b)
{
	n->cut[a][b] = true;
	n->cut[b][a] = true;
}

/* partial_partition: ring, bridge and star settle with at most two elections. */
static void test_partial_partition(void **state)
{
	for (uint32_t shape = 0; shape < 3; shape++) {
		for (uint64_t seed = 0; seed < 10; seed++) {
			struct net *n = started(5, seed);
			assert_true(net_wait_master(n, 2 * NS_PER_S) != 0);
			uint32_t before = elections(n);
			for (uint32_t a = 1; a <= 5; a++) {
				for (uint32_t b = a + 1; b <= 5; b++) {
					bool ring = b == a + 1 || (a == 1 && b == 5);
					bool bridge = a == 3 || b == 3 || (a < 3) == (b < 3);
					bool star = a == 2 || b == 2;
					if (!(shape == 0 ? ring : shape == 1 ? bridge : star))
						cut_link(n, a, b);
				}
			}
			net_run(n, 15 * NS_PER_S);
			assert_true(net_master(n) != 0);
			assert_true(elections(n) - before <= 2);
			net_free(n);
		}
	}
}

/* A replica that flaps, away and back, deposes nobody. */
static void test_flapping_replica(void **state)
{
	struct net *n = started(5, 8);
	uint32_t master = net_wait_master(n, 2 * NS_PER_S);
	uint32_t flapping = master == 1 ? 2 : 1;

	for (int i = 0; i < 20; i++) {
		net_isolate(n, flapping, i % 2 == 0);
		net_run(n, 700 * NS_PER_MS);
	}
	assert_int_equal(net_master(n), master);
	assert_int_equal(elections(n), 1);
	net_free(n);
}

/* slow_disk_master: a master whose disk hangs hands over in under three seconds, and does not
 * come back at once. */
static void test_slow_disk_master(void **state)
{
	struct net *n = started(5, 9);
	uint32_t old = net_wait_master(n, 2 * NS_PER_S);

	n->nodes[old].disk_hangs = true;
	net_run(n, 2900 * NS_PER_MS);
	uint32_t next = net_master(n);
	assert_true(next != 0 && next != old);
	n->nodes[old].disk_hangs = false;
	net_run(n, NS_PER_S);
	net_crash(n, next);
	net_run(n, 2 * NS_PER_S);
	assert_true(net_master(n) != 0 && net_master(n) != old);
	net_free(n);
}

/* A loop that was stopped reads what peers sent before it takes anybody for silent; the others
 * have moved on meanwhile, and it follows without an election of its own. */
static void test_stopped_loop(void **state)
{
	struct net *n = started(5, 10);
	uint32_t old = net_wait_master(n, 2 * NS_PER_S);

	n->nodes[old].loop_stopped = true;
	net_run(n, 20 * NS_PER_S);
	uint32_t next = net_master(n);
	assert_true(next != 0 && next != old);
	n->nodes[old].loop_stopped = false;
	net_run(n, 3 * NS_PER_S);
	assert_int_equal(net_master(n), next);
	assert_int_equal(elections(n), 2);
	assert_int_equal(n->nodes[old].depositions, 1);

	/* A follower that sleeps disturbs nobody when it wakes. */
	uint32_t sleeper = next == 1 ? 2 : 1;
	n->nodes[sleeper].loop_stopped = true;
	net_run(n, 5 * NS_PER_S);
	n->nodes[sleeper].loop_stopped = false;
	net_run(n, 3 * NS_PER_S);
	assert_int_equal(net_master(n), next);
	assert_int_equal(elections(n), 2);
	net_free(n);
}

/* Without a majority nothing is chosen and nobody is leased; with one again, service resumes. */
static void test_three_of_five_down(void **state)
{
	struct net *n = started(5, 11);
	uint32_t master = net_wait_master(n, 2 * NS_PER_S);
	uint32_t down = 0;

	for (uint32_t id = 1; id <= 5 && down < 3; id++) {
		if (id != master) {
			net_crash(n, id);
			down++;
		}
	}
	(void)net_propose(n, master);
	uint64_t before = n->history_newest;
	net_run(n, 5 * NS_PER_S);
	assert_int_equal(n->history_newest, before);
	assert_int_equal(net_master(n), 0);
	for (uint32_t id = 1; id <= 5; id++) {
		if (n->nodes[id].p == NULL)
			net_start(n, id, PAXOS_MEMORY_WHOLE);
	}
	assert_true(net_wait_master(n, 3 * NS_PER_S) != 0);
	net_free(n);
}

static uint32_t deaf;

static bool lose_prepares(struct net *n, uint32_t from, uint32_t to, const struct paxos_message *m)
{
	return m->kind == PAXOS_PREPARE && to != deaf;
}

/* A candidacy that came to nothing leaves one replica with a higher promise. The master goes on,
 * and later wins that replica back with a ballot above it. */
static void test_refuser_is_won_back(void **state)
{
	struct net *n = started(5, 12);
	uint32_t first = net_wait_master(n, 2 * NS_PER_S);

	/* The next candidate reaches one replica only, then dies. */
	net_run(n, NS_PER_S);
	n->lose = lose_prepares;
	deaf = first == 1 ? 2 : 1;
	net_crash(n, first);
	net_run(n, 900 * NS_PER_MS);
	assert_int_equal(net_master(n), 0);
	n->lose = NULL;
	net_isolate(n, deaf, true);
	uint32_t master = net_wait_master(n, 4 * NS_PER_S);
	assert_true(master != 0);
	net_run(n, NS_PER_S);
	net_start(n, first, PAXOS_MEMORY_WHOLE);
	net_isolate(n, deaf, false);
	net_run(n, 10 * NS_PER_S);
	assert_true(net_master(n) != 0);
	uint64_t newest = n->history_newest;
	assert_int_equal(net_propose(n, net_master(n)), ERROR_OK);
	assert_true(net_wait_equal(n, newest + 1, 2 * NS_PER_S));
	/* All five take part in the one ballot. */
	struct ballot ballot = paxos_ballot(n->nodes[net_master(n)].p);
	for (uint32_t id = 1; id <= 5; id++)
		assert_true(ballot_equal(paxos_durable(n->nodes[id].p)->promised, ballot));
	net_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_size_elects_and_chooses),
		cmocka_unit_test(test_failover_takes_little_more_than_a_lease),
		cmocka_unit_test(test_handover_is_immediate),
		cmocka_unit_test(test_duelling_proposers),
		cmocka_unit_test(test_one_way_cuts),
		cmocka_unit_test(test_partial_partition),
		cmocka_unit_test(test_flapping_replica),
		cmocka_unit_test(test_slow_disk_master),
		cmocka_unit_test(test_stopped_loop),
		cmocka_unit_test(test_three_of_five_down),
		cmocka_unit_test(test_refuser_is_won_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
