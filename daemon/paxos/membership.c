/*
 * Majorities.
 *
 * Each slot is governed by one configuration, and whoever counts asks by slot. The cell has a
 * single configuration so far, which governs all of them.
 */
#include "paxos_internal.h"

const struct paxos_membership *membership_at(const struct paxos *p, struct slot slot)
{
	(void)slot;
	return &p->config.membership;
}

uint32_t membership_find(const struct paxos_membership *m, struct replica_id replica)
{
	for (uint32_t i = 0; i < m->count; i++) {
		if (replica_equal(m->members[i].replica, replica))
			return i;
	}
	return MEMBER_NONE;
}

uint32_t membership_voters(const struct paxos_membership *m)
{
	uint32_t voters = 0;

	for (uint32_t i = 0; i < m->count; i++)
		voters += m->members[i].voting ? 1 : 0;
	return voters;
}

uint32_t membership_majority(const struct paxos_membership *m)
{
	return membership_voters(m) / 2 + 1;
}

bool membership_votes(const struct paxos *p, uint32_t member)
{
	CHECK(member < p->config.membership.count);
	return p->config.membership.members[member].voting;
}

bool membership_quorum(const struct paxos *p, struct slot slot, uint32_t mask)
{
	const struct paxos_membership *m = membership_at(p, slot);
	uint32_t votes = 0;

	CHECK(mask >> m->count == 0);
	for (uint32_t i = 0; i < m->count; i++) {
		if (m->members[i].voting && (mask & member_bit(i)) != 0)
			votes++;
	}
	return votes >= membership_majority(m);
}

struct replica_id member_id(const struct paxos *p, uint32_t member)
{
	CHECK(member < p->config.membership.count);
	return p->config.membership.members[member].replica;
}
