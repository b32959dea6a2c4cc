/* What tests ask of a cell of paper, and do to it; see paxos_net.h. */
#include "paxos_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/check.h"

uint32_t net_master(struct net *n)
{
	for (uint32_t id = 1; id <= n->count; id++) {
		struct paxos *p = n->nodes[id].p;
		if (p != NULL && paxos_lease_until(p) > net_local_ns(n, id))
			return id;
	}
	return 0;
}

uint32_t net_wait_master(struct net *n, int64_t limit_ns)
{
	int64_t until_ns = n->now_ns + limit_ns;

	while (net_master(n) == 0 && n->now_ns < until_ns)
		net_run(n, NS_PER_MS);
	return net_master(n);
}

bool net_wait_equal(struct net *n, uint64_t least, int64_t limit_ns)
{
	int64_t until_ns = n->now_ns + limit_ns;

	for (;;) {
		bool equal = n->history_newest >= least;
		for (uint32_t id = 1; id <= n->count; id++) {
			if (n->nodes[id].p != NULL && n->nodes[id].applied != n->history_newest)
				equal = false;
		}
		if (equal || n->now_ns >= until_ns)
			return equal;
		net_run(n, 10 * NS_PER_MS);
	}
}

enum error net_propose(struct net *n, uint32_t id)
{
	char text[32];
	struct net_node *node = &n->nodes[id];

	(void)snprintf(text, sizeof(text), "command %llu", (unsigned long long)++n->proposed);
	enum error e = paxos_propose(node->p, net_local_ns(n, id), bytes_of_text(text));
	net_collect(n, id);
	return e;
}

void net_isolate(struct net *n, uint32_t id, bool cut)
{
	for (uint32_t other = 1; other <= n->count; other++) {
		if (other == id)
			continue;
		n->cut[id][other] = cut;
		n->cut[other][id] = cut;
	}
}

void net_trim(struct net *n, uint32_t id, uint64_t slot)
{
	struct net_node *node = &n->nodes[id];

	assert_true(slot <= node->disk.durable.chosen.n);
	for (uint64_t s = 1; s <= slot; s++)
		net_rows_release(&node->disk.rows[s], 1);
	node->disk.durable.trimmed = (struct slot){slot};
	if (node->p != NULL) {
		paxos_trimmed(node->p, (struct slot){slot});
		net_collect(n, id);
	}
}

struct net_disk *net_disk_copy(const struct net *n, uint32_t id)
{
	struct net_disk *copy = mem_dup(&n->nodes[id].disk, sizeof(*copy));

	for (uint32_t i = 0; i < NET_SLOTS_MAX; i++) {
		if (copy->rows[i].value != NULL)
			(void)value_ref(copy->rows[i].value);
	}
	return copy;
}

void net_disk_free(struct net_disk *copy)
{
	net_rows_release(copy->rows, NET_SLOTS_MAX);
	free(copy);
}

void net_disk_restore(struct net *n, uint32_t id, const struct net_disk *copy)
{
	struct net_disk *disk = &n->nodes[id].disk;

	net_rows_release(disk->rows, NET_SLOTS_MAX);
	*disk = *copy;
	for (uint32_t i = 0; i < NET_SLOTS_MAX; i++) {
		if (disk->rows[i].value != NULL)
			(void)value_ref(disk->rows[i].value);
	}
}
