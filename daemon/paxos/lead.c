/* Mastership: heartbeats, retransmission, stepping down, handing over. */
#include "paxos_internal.h"

void lead_start(struct paxos *p, struct ballot ballot, struct slot told)
{
	CHECK(p->role == PAXOS_CANDIDATE);
	CHECK(p->durable.chosen.n >= told.n);
	CHECK(p->master.queue_head == NULL);

	paxos_move(p, PAXOS_MASTER);
	p->master = (struct master){
		.ballot = ballot,
		.next = slot_next(p->durable.chosen),
		.told = told,
		.elected_ns = p->now_ns,
		.sent_ns = LEASE_NONE,
		.lease_until_ns = LEASE_NONE,
	};
	p->master.queue_end = &p->master.queue_head;
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		p->peers[i].acked_sent_ns = LEASE_NONE;
		p->peers[i].refused_since_ns = TIME_NEVER;
	}
	p->following = ballot;
	output_note(p, "elected in round %llu; slots from %llu on are proposed",
		    (unsigned long long)ballot.round, (unsigned long long)p->master.next.n);
	lead_heartbeat(p);
}

void lead_mark_sent(struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER && !p->master.leaving);
	lease_grant(p, p->master.ballot, p->config.lease_ns);
	p->master.sent_ns = p->now_ns;
}

void lead_heartbeat_one(struct paxos *p, uint32_t member)
{
	CHECK(p->master.sent_ns == p->now_ns);

	struct paxos_message *m = send_now(p, member, PAXOS_HEARTBEAT);
	m->ballot = p->master.ballot;
	m->lease_ns = p->config.lease_ns;
	m->sequence = (uint64_t)p->master.sent_ns;
	seen_attach(p, m);
}

void lead_heartbeat(struct paxos *p)
{
	lead_mark_sent(p);
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		if (i != p->self)
			lead_heartbeat_one(p, i);
	}
	p->master.heartbeat_due_ns = p->now_ns + p->config.heartbeat_ns;
	lease_refresh(p);
}

/* Sends again what a peer has not acknowledged; `all`: whatever its age. A peer that has been
 * silent gets nothing: its connection would only pile it up. */
void lead_retransmit(struct paxos *p, uint32_t member, bool all)
{
	size_t size_bytes = 0;
	int64_t old_ns = 2 * p->config.heartbeat_ns;

	CHECK(p->role == PAXOS_MASTER && member != p->self);
	if (!all && p->peers[member].heard_ns < p->now_ns - 2 * old_ns)
		return;
	for (uint64_t n = p->durable.chosen.n + 1; n < p->master.next.n; n++) {
		const struct tail_entry *e = tail_peek(p, (struct slot){n});

		CHECK(e != NULL);
		if ((e->acks & member_bit(member)) != 0 ||
		    (!all && p->now_ns - e->sent_ns < old_ns))
			continue;
		size_bytes += value_bytes(e->value).size;
		proposer_send_accept(p, e, member);
		if (size_bytes > 2 * VALUE_MAX_BYTES)
			break;
	}
}

static void lead_retransmit_all(struct paxos *p)
{
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		if (i != p->self)
			lead_retransmit(p, i, false);
	}
	for (uint64_t n = p->durable.chosen.n + 1; n < p->master.next.n; n++) {
		struct tail_entry *e = tail_get(p, (struct slot){n});
		if (p->now_ns - e->sent_ns >= 2 * p->config.heartbeat_ns)
			e->sent_ns = p->now_ns;
	}
}

void lead_step_down(struct paxos *p, const char *why)
{
	CHECK(p->role == PAXOS_MASTER);
	paxos_move(p, PAXOS_FOLLOWER);
	CHECK(paxos_lease_until(p) < p->now_ns);
	election_schedule(p, p->now_ns + p->config.heartbeat_ns);
	output_note(p, "mastership ended: %s", why);
}

/* The most up-to-date voter that answers; MEMBER_NONE if all are silent. */
static uint32_t lead_successor(const struct paxos *p)
{
	uint32_t best = MEMBER_NONE;
	struct slot best_through = {0};

	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		const struct peer *peer = &p->peers[i];
		struct paxos_seen seen = seen_of(p, i);
		struct slot through = peer->chosen;

		if (i == p->self || !membership_votes(p, i) || peer->acked_sent_ns == LEASE_NONE ||
		    peer->heard_ns < p->now_ns - 3 * p->config.heartbeat_ns)
			continue;
		if (ballot_equal(seen.accepted, p->master.ballot) && through.n < seen.through.n)
			through = seen.through;
		if (best == MEMBER_NONE || best_through.n < through.n) {
			best = i;
			best_through = through;
		}
	}
	return best;
}

static void lead_send_release(struct paxos *p, uint32_t member, struct ballot ballot,
			      struct replica_id successor)
{
	struct paxos_message *m = send_now(p, member, PAXOS_RELEASE);

	CHECK(p->role != PAXOS_MASTER);
	m->ballot = ballot;
	m->successor = successor;
}

void lead_release(struct paxos *p, const char *why)
{
	uint32_t successor = lead_successor(p);
	struct ballot ballot = p->master.ballot;
	struct replica_id name = {0};

	if (successor != MEMBER_NONE)
		name = member_id(p, successor);
	/* The lease is gone before anybody is released; the successor hears it last, so that the
	 * others are free when it asks them. */
	lead_step_down(p, why);
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		if (i != p->self && i != successor)
			lead_send_release(p, i, ballot, name);
	}
	if (successor != MEMBER_NONE)
		lead_send_release(p, successor, ballot, name);
}

void lead_resign(struct paxos *p)
{
	CHECK(p->resigned);
	if (p->role != PAXOS_MASTER || p->master.leaving)
		return;
	p->master.leaving = true;
	p->master.lease_until_ns = LEASE_NONE;
	p->master.leave_by_ns = p->now_ns + RESIGN_WAIT_NS;
	proposer_drop_queue(p);
	lead_progress(p);
}

/* A leaving master goes once nothing is under way. */
void lead_progress(struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	if (p->master.leaving && proposer_in_flight(p) == 0)
		lead_release(p, "handed over");
}

bool storage_stalled(const struct paxos *p)
{
	int64_t oldest_ns = write_oldest_ns(p);

	return oldest_ns != TIME_NEVER && p->now_ns - oldest_ns > p->config.stall_ns;
}

static int64_t lead_lapse_ns(const struct paxos *p)
{
	int64_t until_ns = p->master.elected_ns + p->config.lease_ns;

	if (until_ns < p->master.lease_until_ns)
		until_ns = p->master.lease_until_ns;
	return until_ns + p->config.heartbeat_ns;
}

/*
 * A peer that keeps refusing has promised a higher ballot, from an election that came to nothing
 * (Paxos Made Live, 4.1: such a replica cannot take part until a higher round). While the others
 * make a majority this is no hurry; rarely enough, a new ballot of our own wins it back.
 */
static bool lead_restand_due(const struct paxos *p)
{
	if (p->now_ns < p->restand_due_ns)
		return false;
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		const struct peer *peer = &p->peers[i];
		if (peer->refused_since_ns != TIME_NEVER &&
		    p->now_ns - peer->refused_since_ns >= REFUSER_PATIENCE_NS &&
		    p->now_ns - peer->refused_last_ns <= 3 * p->config.heartbeat_ns)
			return true;
	}
	return false;
}

static void lead_restand(struct paxos *p)
{
	p->restand_due_ns = p->now_ns + REFUSER_PAUSE_NS;
	paxos_move(p, PAXOS_CANDIDATE);
	output_note(p, "a replica promised a higher ballot; standing again above it");
	election_prepare(p);
}

static bool lead_timeouts(struct paxos *p)
{
	if (paxos_late(p))
		return false;
	if (storage_stalled(p)) {
		p->stand_back_until_ns = p->now_ns + STAND_BACK_NS;
		lead_release(p, "the disk has not finished a write in time; standing back");
		return true;
	}
	if (p->now_ns >= lead_lapse_ns(p)) {
		lead_step_down(p, "no majority answers; the lease has lapsed");
		return true;
	}
	if (lead_restand_due(p)) {
		lead_restand(p);
		return true;
	}
	return false;
}

void lead_tick(struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	if (p->master.leaving) {
		if (p->now_ns >= p->master.leave_by_ns)
			lead_release(p, "handed over with values under way");
		return;
	}
	if (lead_timeouts(p) || p->now_ns < p->master.heartbeat_due_ns)
		return;
	lead_heartbeat(p);
	lead_retransmit_all(p);
	/* Heartbeats would hide a hung disk: an idle master writes now and then. */
	if (p->now_ns - p->written_ns >= PROBE_WRITE_NS && write_room(p))
		(void)write_touch(p);
}

int64_t lead_next_tick(const struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	if (p->master.leaving)
		return p->master.leave_by_ns;
	return p->master.heartbeat_due_ns;
}

void lead_on_heartbeat_ack(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (p->role != PAXOS_MASTER || !ballot_equal(m->ballot, p->master.ballot))
		return;
	p->peers[from].refused_since_ns = TIME_NEVER;
	seen_promised(p, from, m->ballot);
	lease_acknowledged(p, from, m->sequence);
}

static bool lead_can_have_majority(const struct paxos *p)
{
	uint32_t mask = member_bit(p->config.membership.count) - 1;

	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		if (p->peers[i].refused_since_ns != TIME_NEVER)
			mask &= ~member_bit(i);
	}
	return membership_quorum(p, slot_next(p->durable.chosen), mask);
}

/* One refusal deposes nobody: the lease decides. Only a master without a lease, which so many
 * refuse that it will get none, need not wait. */
void lead_on_refusal(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	struct peer *peer = &p->peers[from];

	CHECK(p->role == PAXOS_MASTER);
	if (!ballot_equal(m->ballot, p->master.ballot) ||
	    !ballot_less(p->master.ballot, m->promised))
		return;
	peer->refused_last_ns = p->now_ns;
	if (peer->refused_since_ns == TIME_NEVER)
		peer->refused_since_ns = p->now_ns;
	if (p->master.lease_until_ns <= p->now_ns && !p->master.leaving &&
	    !lead_can_have_majority(p))
		lead_step_down(p, "a majority promised higher ballots");
}
