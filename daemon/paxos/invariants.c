/* What holds after every call; numbers as in paxos.h. */
#include "paxos_internal.h"

static const char *invariant_promise(const struct paxos *p)
{
	for (uint32_t i = 0; i < TAIL_WINDOW; i++) {
		const struct tail_entry *e = &p->tail[i];
		if (!e->present)
			continue;
		if (e->slot.n % TAIL_WINDOW != i || e->value == NULL)
			return "tail: an entry stands in the wrong place";
		if (e->slot.n <= p->durable.chosen.n ||
		    e->slot.n > p->durable.chosen.n + TAIL_WINDOW)
			return "tail: an entry lies outside the window";
		if (ballot_less(p->durable.promised, e->ballot))
			return "I1: accepted above the promise";
	}
	if (p->grant_until_ns > p->now_ns &&
	    !ballot_same_owner(p->grant_ballot, p->durable.promised))
		return "I1: promised one owner while the lease of another runs";
	return NULL;
}

static const char *invariant_durable(const struct paxos *p)
{
	if (p->persisted > p->sealed)
		return "I2: durable beyond what was written";
	for (uint32_t i = 0; i < p->held_count; i++) {
		uint64_t newest = p->sealed + (p->gathers[p->filling].write_open ? 1 : 0);
		if (p->held[i].number <= p->persisted || p->held[i].number > newest)
			return "I2: a held answer waits for a write that is not to come";
	}
	if (p->role != PAXOS_MASTER)
		return NULL;
	for (uint64_t n = p->durable.chosen.n + 1; n < p->master.next.n; n++) {
		const struct tail_entry *e = tail_peek(p, (struct slot){n});
		if (e != NULL && (e->acks & member_bit(p->self)) != 0 &&
		    e->own_write > p->persisted)
			return "I2: own acceptance counted before it was durable";
	}
	return NULL;
}

static const char *invariant_chosen(const struct paxos *p)
{
	const struct gather *g = &p->gathers[p->filling];

	for (uint32_t i = 0; i < g->chosen_count; i++) {
		if (i > 0 && g->chosen[i].slot.n <= g->chosen[i - 1].slot.n)
			return "I3: chosen slots out of order";
		if (g->chosen[i].slot.n > p->durable.chosen.n)
			return "I3: handed to apply beyond the watermark";
	}
	if (p->persisted_chosen.n > p->durable.chosen.n)
		return "I3: the durable watermark is ahead";
	return NULL;
}

static const char *invariant_master(const struct paxos *p)
{
	const struct master *m = &p->master;

	if (p->role != PAXOS_MASTER)
		return m->queue_head != NULL ? "I4: commands wait without a master" : NULL;
	if (!ballot_equal(m->ballot, p->durable.promised))
		return "I4: a master whose own promise is another ballot";
	if (m->next.n <= p->durable.chosen.n || m->next.n > p->durable.chosen.n + PAXOS_ALPHA + 1)
		return "I4: proposed above the watermark plus alpha";
	if (m->next.n <= m->told.n)
		return "I4: proposes at or below a watermark that it was told";
	for (uint64_t n = p->durable.chosen.n + 1; n < m->next.n; n++) {
		const struct tail_entry *e = tail_peek(p, (struct slot){n});
		if (e == NULL || !ballot_equal(e->ballot, m->ballot))
			return "I4: an open slot is not this ballot's";
	}
	if (m->queue_bytes > PAXOS_QUEUE_MAX_BYTES)
		return "I4: more commands wait than may";
	return NULL;
}

static const char *invariant_lease(const struct paxos *p)
{
	if (p->role != PAXOS_MASTER)
		return NULL;
	if (p->master.lease_until_ns == LEASE_NONE)
		return NULL;
	if (p->master.leaving)
		return "I5: a leaving master believes in its lease";
	if (p->master.lease_until_ns > lease_computed(p))
		return "I5: the lease is longer than a majority granted";
	if (p->master.lease_until_ns > p->grant_until_ns)
		return "I5: the lease outlasts the master's own promise";
	return NULL;
}

static const char *invariant_vetted(const struct paxos *p)
{
	if (p->role != PAXOS_UNVETTED && p->role != PAXOS_LOST)
		return NULL;
	if (p->held_count > 0)
		return "I6: an answer waits for the disk of a replica that takes no part";
	if (p->reports.count > 0)
		return "I6: phase 1 runs at a replica that takes no part";
	if (p->grant_until_ns > p->now_ns)
		return "I6: a lease is granted by a replica that takes no part";
	return NULL;
}

const char *paxos_invariants(const struct paxos *p)
{
	static const char *(*const checks[])(const struct paxos *) = {
		invariant_promise, invariant_durable, invariant_chosen,
		invariant_master,  invariant_lease,   invariant_vetted,
	};

	for (uint32_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		const char *broken = checks[i](p);
		if (broken != NULL)
			return broken;
	}
	return NULL;
}
