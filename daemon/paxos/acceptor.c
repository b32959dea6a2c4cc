/*
 * The acceptor: promises ballots, accepts values, and is bound by leases while it follows.
 *
 * Whatever is answered here goes out through send_after(): it waits for the write that makes it
 * true. A refusal promises nothing and never costs a write.
 */
#include "paxos_internal.h"

static void acceptor_refuse(struct paxos *p, uint32_t from, const struct paxos_message *m,
			    int64_t bar_ns)
{
	struct paxos_message *reply = send_now(p, from, PAXOS_REFUSAL);

	CHECK(bar_ns >= 0);
	reply->ballot = m->ballot;
	reply->promised = p->durable.promised;
	reply->lease_ns = bar_ns;
	reply->sequence = m->sequence;
}

/* Raises the promise; whoever leads or stands with a lower ballot stops here. */
void acceptor_promise(struct paxos *p, struct ballot ballot)
{
	CHECK(ballot_less(p->durable.promised, ballot));
	CHECK(lease_bar_ns(p, ballot) == 0);
	CHECK(p->role != PAXOS_UNVETTED && p->role != PAXOS_LOST);

	bool own = replica_equal(ballot.replica, p->config.self);
	if (!own && p->role == PAXOS_MASTER)
		lead_step_down(p, "another replica leads with a higher ballot");
	if (!own && p->role == PAXOS_CANDIDATE)
		election_step_back(p, p->now_ns);

	p->durable.promised = ballot;
	(void)write_promise(p);
	/* Whoever was just promised gets time to finish phase 1 before others are encouraged. */
	p->hold_ballot = ballot;
	p->hold_until_ns = p->now_ns + p->config.heartbeat_ns;
	if (!own && p->election_due_ns < p->hold_until_ns)
		election_schedule(p, p->hold_until_ns);
}

void acceptor_on_probe(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	/* The ballot that would come: only its owner matters to the bars. */
	struct ballot owner = {.replica = member_id(p, from), .incarnation = m->incarnation};
	int64_t bar_ns = lease_bar_ns(p, owner);

	if (p->hold_until_ns > p->now_ns && !ballot_same_owner(p->hold_ballot, owner) &&
	    p->hold_until_ns - p->now_ns > bar_ns)
		bar_ns = p->hold_until_ns - p->now_ns;
	bool behind = m->chosen.n < p->durable.trimmed.n ||
		      m->chosen.n + PROBE_LAG_MAX < p->durable.chosen.n;
	bool leads = p->role == PAXOS_MASTER && p->master.lease_until_ns > p->now_ns;
	CHECK(!leads || bar_ns > 0);

	struct paxos_message *reply = send_now(p, from, PAXOS_PROBE_REPLY);
	reply->sequence = m->sequence;
	reply->promised = p->durable.promised;
	reply->trimmed = p->durable.trimmed;
	reply->lease_ns = bar_ns;
	reply->granted = bar_ns == 0 && !behind && write_room(p);
}

/* Parts are contiguous: each covers every slot from its `slot` to its last entry, the last part
 * all that follow. Parts of different sendings may therefore be combined. */
static struct paxos_message *promise_part(struct paxos *p, uint32_t from,
					  const struct paxos_message *m, struct slot first,
					  uint32_t part)
{
	struct paxos_message *reply = send_after(p, p->promise_write, from, PAXOS_PROMISE);

	CHECK(ballot_equal(m->ballot, p->durable.promised));
	reply->ballot = m->ballot;
	reply->promised = p->durable.promised;
	reply->sequence = m->sequence;
	reply->trimmed = p->durable.trimmed;
	reply->slot = first;
	reply->part = part;
	return reply;
}

static void acceptor_send_promise(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	struct paxos_message *reply = promise_part(p, from, m, m->slot, 0);
	uint32_t capacity = 0;
	uint32_t part = 0;
	size_t size_bytes = 0;

	for (uint64_t n = p->durable.chosen.n + 1; n <= p->durable.chosen.n + TAIL_WINDOW; n++) {
		const struct tail_entry *e = tail_peek(p, (struct slot){n});
		if (e == NULL || n < m->slot.n)
			continue;
		size_t more_bytes = value_bytes(e->value).size;
		if (reply->accepted_count > 0 && size_bytes + more_bytes > PROMISE_PART_BYTES) {
			struct slot last = reply->accepted[reply->accepted_count - 1].slot;
			reply = promise_part(p, from, m, slot_next(last), ++part);
			capacity = 0;
			size_bytes = 0;
		}
		struct paxos_accepted *row = message_add_accepted(reply, &capacity);
		*row = (struct paxos_accepted){e->slot, e->ballot, value_ref(e->value)};
		size_bytes += more_bytes;
	}
	reply->last = true;
}

void acceptor_on_prepare(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (m->slot.n == 0) {
		output_note_minor(p, "replica %u prepares from slot 0; ignored",
				  (unsigned)member_id(p, from).n);
		return;
	}
	if (ballot_less(m->ballot, p->durable.promised)) {
		acceptor_refuse(p, from, m, 0);
		return;
	}
	if (ballot_less(p->durable.promised, m->ballot)) {
		int64_t bar_ns = lease_bar_ns(p, m->ballot);
		if (bar_ns > 0) {
			acceptor_refuse(p, from, m, bar_ns);
			return;
		}
		if (!write_room(p))
			return;
		acceptor_promise(p, m->ballot);
	} else {
		p->hold_ballot = m->ballot;
		p->hold_until_ns = p->now_ns + p->config.heartbeat_ns;
	}
	acceptor_send_promise(p, from, m);
}

/* May this replica follow the sender of an accept or heartbeat? Binds it to the ballot if so. */
static bool acceptor_follow(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (m->lease_ns <= 0 || m->lease_ns > LEASE_MAX_NS) {
		output_note_minor(p, "replica %u asks for a lease out of bounds; ignored",
				  (unsigned)member_id(p, from).n);
		return false;
	}
	if (ballot_less(m->ballot, p->durable.promised)) {
		acceptor_refuse(p, from, m, 0);
		return false;
	}
	if (!write_room(p))
		return false;
	if (ballot_less(p->durable.promised, m->ballot)) {
		int64_t bar_ns = lease_bar_ns(p, m->ballot);
		if (bar_ns > 0) {
			acceptor_refuse(p, from, m, bar_ns);
			return false;
		}
		acceptor_promise(p, m->ballot);
	}
	if (p->role == PAXOS_CANDIDATE)
		election_step_back(p, p->now_ns);
	CHECK(p->role == PAXOS_FOLLOWER);

	lease_grant(p, m->ballot, m->lease_ns);
	p->candidate.failures = 0;
	p->candidate.handover_until_ns = 0;
	election_schedule(p, p->grant_until_ns);
	return true;
}

static void acceptor_answer(struct paxos *p, uint64_t number, uint32_t from,
			    const struct paxos_message *m, enum paxos_kind kind)
{
	uint64_t after = number > p->promise_write ? number : p->promise_write;
	struct paxos_message *reply = send_after(p, after, from, kind);

	reply->ballot = m->ballot;
	reply->sequence = m->sequence;
	if (kind == PAXOS_ACCEPTED)
		reply->slot = m->slot;
}

void acceptor_on_heartbeat(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (!acceptor_follow(p, from, m))
		return;
	acceptor_answer(p, 0, from, m, PAXOS_HEARTBEAT_ACK);
}

void acceptor_on_accept(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (m->value == NULL || m->slot.n == 0) {
		output_note_minor(p, "replica %u sends an accept without slot or value; ignored",
				  (unsigned)member_id(p, from).n);
		return;
	}
	if (!acceptor_follow(p, from, m))
		return;

	if (m->slot.n <= p->durable.chosen.n) {
		/* Known as chosen, hence with this very value; claim it when that is durable. */
		uint64_t number = m->slot.n <= p->persisted_chosen.n ? 0 : write_touch(p);
		acceptor_answer(p, number, from, m, PAXOS_ACCEPTED);
		return;
	}
	if (m->slot.n - p->durable.chosen.n > TAIL_WINDOW) {
		/* Too far behind to hold it: the lease counts, the value comes by catch-up. */
		acceptor_answer(p, 0, from, m, PAXOS_HEARTBEAT_ACK);
		return;
	}
	struct tail_entry *e = tail_get(p, m->slot);
	if (e != NULL && ballot_equal(e->ballot, m->ballot)) {
		if (value_equal(e->value, m->value))
			acceptor_answer(p, e->own_write, from, m, PAXOS_ACCEPTED);
		else
			output_note(p,
				    "replica %u sent two values for slot %llu in one ballot; "
				    "the second is ignored",
				    (unsigned)member_id(p, from).n, (unsigned long long)m->slot.n);
		return;
	}
	e = tail_put(p, m->slot, m->ballot, m->value);
	e->own_write = write_row(p, m->slot, m->ballot, m->value);
	acceptor_answer(p, e->own_write, from, m, PAXOS_ACCEPTED);
}

/* The master of `ballot` has dropped its lease for good before it sent this. */
void acceptor_on_release(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (ballot_equal(p->grant_ballot, m->ballot))
		p->grant_until_ns = LEASE_NONE;
	if (ballot_equal(p->hold_ballot, m->ballot))
		p->hold_until_ns = LEASE_NONE;
	if (ballot_equal(p->following, m->ballot))
		p->contact_ns = 0;
	if (p->role == PAXOS_MASTER || !ballot_equal(p->durable.promised, m->ballot))
		return;

	output_note_minor(p, "replica %u leaves mastership", (unsigned)member_id(p, from).n);
	if (!replica_equal(m->successor, p->config.self)) {
		if (p->role == PAXOS_FOLLOWER)
			election_schedule(p, p->now_ns + p->config.lease_ns / 2);
		return;
	}
	p->candidate.handover_until_ns = p->now_ns + p->config.lease_ns / 2;
	p->candidate.due_ns = p->now_ns;
	p->election_due_ns = p->now_ns;
	election_tick(p);
}
