/*
 * paxos under random crashes, cuts, loss, duplication, slow disks and drifting clocks: one
 * history, one leased master, no broken invariant; and once the disturbances stop, progress.
 */
#include "paxos_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEEDS 40

/* Things get better more often than worse, so that most of the time there is a master to lose. */
static void recover_some(struct net *n)
{
	for (uint32_t id = 1; id <= n->count; id++) {
		struct net_node *node = &n->nodes[id];

		if (node->p == NULL && rng_below(&n->rng, 6) == 0)
			net_start(n, id,
				  rng_below(&n->rng, 4) == 0 ? PAXOS_MEMORY_DOUBTFUL
							     : PAXOS_MEMORY_WHOLE);
		if (rng_below(&n->rng, 12) == 0)
			node->disk_hangs = false;
		if (rng_below(&n->rng, 12) == 0)
			node->loop_stopped = false;
	}
	if (rng_below(&n->rng, 15) == 0)
		memset(n->cut, 0, sizeof(n->cut));
}

static void disturb(struct net *n)
{
	uint32_t id = (uint32_t)rng_between(&n->rng, 1, n->count);
	uint32_t other = (uint32_t)rng_between(&n->rng, 1, n->count);
	struct net_node *node = &n->nodes[id];

	switch (rng_below(&n->rng, 9)) {
	case 0:
	case 1:
		net_crash(n, id);
		break;
	case 2:
	case 3:
		n->cut[id][other] = true;
		break;
	case 4:
		net_isolate(n, id, true);
		break;
	case 5:
		node->disk_hangs = true;
		break;
	case 6:
		node->loop_stopped = true;
		break;
	case 7:
		if (node->p != NULL && rng_below(&n->rng, 2) == 0) {
			paxos_resign(node->p, net_local_ns(n, id));
			net_collect(n, id);
		} else if (node->p != NULL && node->disk.durable.chosen.n > 3) {
			net_trim(n, id, node->disk.durable.chosen.n - 3);
		}
		break;
	default:
		n->loss_ppm = (uint32_t)rng_below(&n->rng, 4) * 30000;
		n->duplicate_ppm = (uint32_t)rng_below(&n->rng, 2) * 100000;
		n->latency_high_ns = rng_between(&n->rng, 1, 30) * NS_PER_MS;
		n->disk_high_ns = rng_between(&n->rng, 1, 20) * NS_PER_MS;
		break;
	}
}

static void heal(struct net *n)
{
	memset(n->cut, 0, sizeof(n->cut));
	n->loss_ppm = 0;
	n->duplicate_ppm = 0;
	n->latency_high_ns = 2 * NS_PER_MS;
	n->disk_high_ns = 3 * NS_PER_MS;
	for (uint32_t id = 1; id <= n->count; id++) {
		n->nodes[id].disk_hangs = false;
		n->nodes[id].loop_stopped = false;
		/* A replica that resigned never stands again: it comes back as a new process. */
		net_crash(n, id);
		net_start(n, id, PAXOS_MEMORY_WHOLE);
	}
}

static void run_seed(uint64_t seed)
{
	struct net *n = net_new(3 + 2 * (uint32_t)(seed % 2), seed);

	n->quiet = getenv("PAXOS_NOTES") == NULL;
	for (uint32_t id = 1; id <= n->count; id++) {
		n->nodes[id].rate_ppm = (int32_t)rng_between(&n->rng, -9000, 9000);
		n->nodes[id].offset_ns = rng_between(&n->rng, 0, 100) * NS_PER_S;
	}
	net_start_all(n);
	for (int step = 0; step < 800; step++) {
		net_run(n, rng_between(&n->rng, 1, 60) * NS_PER_MS);
		for (uint32_t id = 1; id <= n->count; id++) {
			if (n->nodes[id].p != NULL && !n->nodes[id].loop_stopped &&
			    paxos_role(n->nodes[id].p) == PAXOS_MASTER) {
				(void)net_propose(n, id);
				(void)net_propose(n, id);
				(void)net_propose(n, id);
			}
		}
		recover_some(n);
		if (rng_below(&n->rng, 8) == 0)
			disturb(n);
	}
	heal(n);
	uint32_t master = net_wait_master(n, 20 * NS_PER_S);
	if (master == 0)
		fail_msg("seed %llu: no master", (unsigned long long)seed);
	uint64_t before = n->history_newest;
	assert_int_equal(net_propose(n, master), ERROR_OK);
	if (!net_wait_equal(n, before + 1, 20 * NS_PER_S))
		fail_msg("seed %llu: replicas differ", (unsigned long long)seed);
	for (uint32_t id = 1; id <= n->count; id++)
		assert_int_not_equal(paxos_role(n->nodes[id].p), PAXOS_LOST);
	if (!n->quiet || getenv("PAXOS_SEEDS") != NULL)
		fprintf(stderr, "seed %llu: %llu slots, %llu proposals\n", (unsigned long long)seed,
			(unsigned long long)n->history_newest, (unsigned long long)n->proposed);
	net_free(n);
}

static void test_random_disturbances(void **state)
{
	const char *one = getenv("PAXOS_SEED");
	const char *many = getenv("PAXOS_SEEDS");
	uint64_t seeds = many != NULL ? strtoull(many, NULL, 10) : SEEDS;

	if (one != NULL) {
		run_seed(strtoull(one, NULL, 10));
		return;
	}
	for (uint64_t seed = 1; seed <= seeds; seed++) {
		run_seed(seed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_disturbances),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
