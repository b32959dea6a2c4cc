/*
 * paxos: elections. There is always soon one master while a majority talks, never two with a
 * lease, and disturbances that leave a majority to the master do not depose it.
 */
#include "paxos_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct net *started(uint32_t count, uint64_t seed)
{
	struct net *n = net_new(count, seed);

	n->quiet = true;
	net_start_all(n);
	return n;
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
		net_free(n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_size_elects_and_chooses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
