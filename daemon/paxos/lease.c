/*
 * Both sides of the lease (design section 3, "Master lease").
 *
 * As an acceptor: an answered accept or heartbeat binds this replica to the ballot's owner for L
 * from receipt, on its own clock, the whole of it. After a restart it does not know whom it bound
 * itself to, but only for how long at most; a live grant always belongs to the owner of the
 * highest promise, since promising another owner needs the grant to be over.
 *
 * As a master: the lease runs from when the oldest message of the majority was *sent*, shortened
 * by the drift factor. The sequence of a message is its sending time, so an answer brings its own
 * proof along.
 */
#include "paxos_internal.h"

bool ballot_same_owner(struct ballot a, struct ballot b)
{
	return replica_equal(a.replica, b.replica) &&
	       incarnation_equal(a.incarnation, b.incarnation);
}

/*
 * How long this acceptor is still barred from promising or accepting `ballot`; 0: it is free.
 * The owner of the grant may always raise its own ballot: one that does has given up the old one,
 * or has died, and in both cases nobody reads under the old lease.
 */
int64_t lease_bar_ns(const struct paxos *p, struct ballot ballot)
{
	int64_t bar_ns = 0;

	if (p->grant_until_ns > p->now_ns && !ballot_same_owner(p->grant_ballot, ballot))
		bar_ns = p->grant_until_ns - p->now_ns;
	if (p->restart_until_ns > p->now_ns && !ballot_same_owner(p->durable.promised, ballot) &&
	    p->restart_until_ns - p->now_ns > bar_ns)
		bar_ns = p->restart_until_ns - p->now_ns;
	CHECK(bar_ns >= 0);
	return bar_ns;
}

/* Before the first answer under a longer lease, that length is durable: the restart wait. */
void lease_note_longest(struct paxos *p, int64_t lease_ns)
{
	CHECK(lease_ns > 0 && lease_ns <= LEASE_MAX_NS);
	if (lease_ns <= p->durable.longest_lease_ns)
		return;
	p->durable.longest_lease_ns = lease_ns;
	(void)write_promise(p);
}

void lease_grant(struct paxos *p, struct ballot ballot, int64_t lease_ns)
{
	CHECK(ballot_equal(ballot, p->durable.promised));
	CHECK(p->role != PAXOS_UNVETTED && p->role != PAXOS_LOST);

	lease_note_longest(p, lease_ns);
	int64_t until_ns = p->now_ns + lease_ns;
	if (ballot_same_owner(p->grant_ballot, ballot) && p->grant_until_ns > until_ns)
		until_ns = p->grant_until_ns;
	p->grant_ballot = ballot;
	p->grant_until_ns = until_ns;
}

/* What the acknowledgements prove; LEASE_NONE without a majority. */
int64_t lease_computed(const struct paxos *p)
{
	const struct paxos_membership *m = membership_at(p, slot_next(p->durable.chosen));
	int64_t sent_ns[MEMBERS_MAX];
	uint32_t count = 0;

	for (uint32_t i = 0; i < m->count; i++) {
		if (!m->members[i].voting)
			continue;
		int64_t value = i == p->self ? p->master.sent_ns : p->peers[i].acked_sent_ns;
		uint32_t at = count++;
		while (at > 0 && sent_ns[at - 1] < value) {
			sent_ns[at] = sent_ns[at - 1];
			at--;
		}
		sent_ns[at] = value;
	}
	CHECK(count >= membership_majority(m));
	int64_t oldest_ns = sent_ns[membership_majority(m) - 1];
	if (oldest_ns == LEASE_NONE)
		return LEASE_NONE;
	return lease_end(oldest_ns, p->config.lease_ns, p->config.drift_ppm);
}

void lease_refresh(struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	if (p->master.leaving)
		return;
	p->master.lease_until_ns = lease_computed(p);
	/* Our own acceptor is one of the majority and never bound for less than we believe. */
	CHECK(p->master.lease_until_ns <= p->grant_until_ns);
}

void lease_acknowledged(struct paxos *p, uint32_t from, uint64_t sequence)
{
	CHECK(p->role == PAXOS_MASTER);
	if (sequence > (uint64_t)INT64_MAX)
		return;
	int64_t sent_ns = (int64_t)sequence;
	if (sent_ns < p->master.elected_ns || sent_ns > p->master.sent_ns) {
		output_note_minor(p,
				  "replica %u acknowledges a message that was never sent; ignored",
				  (unsigned)member_id(p, from).n);
		return;
	}
	if (p->peers[from].acked_sent_ns < sent_ns) {
		p->peers[from].acked_sent_ns = sent_ns;
		lease_refresh(p);
	}
}
