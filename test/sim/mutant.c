/*
 * Bugs planted in the messages of a host, as if its paxos decided wrongly. They stand in for
 * mutations of the protocol's own code, which knows nothing of them.
 */
#include "sim.h"

#include <string.h>

void sim_mutate_sent(struct host *h, struct paxos_message *m)
{
	if (m->kind == PAXOS_PROMISE && h->world->options->mutant == MUTANT_EMPTY_PROMISE) {
		/* Borrowed from paxos, which keeps and frees them. */
		m->accepted_count = 0;
		m->accepted = NULL;
	}
	if (m->kind == PAXOS_HEARTBEAT || m->kind == PAXOS_ACCEPT)
		h->newest_sequence = m->sequence;
}

/* An acceptor that says "accepted", though it promised a higher ballot. */
static void accept_old(struct host *h, uint32_t source, const struct paxos_message *m)
{
	struct paxos_message reply;

	if (!ballot_less(m->ballot, paxos_durable(h->paxos)->promised))
		return;
	memset(&reply, 0, sizeof(reply));
	reply.kind = PAXOS_ACCEPTED;
	reply.ballot = m->ballot;
	reply.incarnation = h->incarnation;
	reply.slot = m->slot;
	reply.chosen = paxos_chosen(h->paxos);
	reply.sequence = m->sequence;
	sim_net_send(h, h->world->hosts[source].id, &reply);
}

/* The same acceptance once more, as if the acceptor's neighbour had sent it. */
static void count_twice(struct host *h, uint32_t source, const struct paxos_message *m)
{
	struct world *w = h->world;
	const struct host *other = &w->hosts[(source + 1) % w->options->replicas];
	struct paxos_message copy = *m;

	if (other == h)
		return;
	copy.incarnation = other->incarnation;
	copy.chosen.n = 0;
	paxos_step(h->paxos, sim_host_now(h), other->id, &copy);
	sim_host_drain(h);
}

void sim_mutate_received(struct host *h, uint32_t source, struct paxos_message *m)
{
	enum sim_mutant mutant = h->world->options->mutant;

	if (m->kind == PAXOS_VERDICT &&
	    (mutant == MUTANT_PROMISE_FORGOTTEN || mutant == MUTANT_ACCEPTS_LOST))
		m->granted = true;
	if (m->kind == PAXOS_ACCEPT && mutant == MUTANT_ACCEPTS_OLD)
		accept_old(h, source, m);
	if (m->kind == PAXOS_ACCEPTED && mutant == MUTANT_COUNTS_TWICE)
		count_twice(h, source, m);
	if ((m->kind == PAXOS_HEARTBEAT_ACK || m->kind == PAXOS_ACCEPTED) &&
	    mutant == MUTANT_LEASE_FROM_RECEIPT)
		m->sequence = h->newest_sequence;
}
