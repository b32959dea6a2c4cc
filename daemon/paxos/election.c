/*
 * Elections: a probe that raises nothing, then phase 1, then catching up, then mastership.
 *
 *   PROBING --majority would promise--> PREPARING --majority promised--> (told more than known?)
 *      ^                                    |                         CATCHING_UP --> MASTER
 *      '----refused, or no majority in time-'
 *
 * The probe keeps flapping and half-deaf replicas from deposing a master that works: they never
 * get a yes while a lease runs, and without a majority of yes no ballot is raised.
 */
#include "paxos_internal.h"

struct ballot election_next_ballot(const struct paxos *p)
{
	uint64_t round = p->highest_round;

	if (round < p->durable.promised.round)
		round = p->durable.promised.round;
	return (struct ballot){round + 1, p->config.self, p->config.incarnation};
}

/* Not before `due_ns`, and spread so that those who wait for the same lease do not collide. */
void election_schedule(struct paxos *p, int64_t due_ns)
{
	CHECK(due_ns < TIME_NEVER - STAGGER_NS);
	p->election_due_ns = due_ns + paxos_jitter(p, STAGGER_NS);
}

static bool election_may_stand(const struct paxos *p)
{
	return !p->resigned && membership_votes(p, p->self) && write_room(p) &&
	       p->stand_back_until_ns <= p->now_ns && !storage_stalled(p) &&
	       lease_bar_ns(p, election_next_ballot(p)) == 0;
}

void election_step_back(struct paxos *p, int64_t due_ns)
{
	CHECK(p->role == PAXOS_CANDIDATE);
	paxos_move(p, PAXOS_FOLLOWER);
	election_schedule(p, due_ns);
}

/* Phase 1 came to nothing: probe again after a random pause that grows with each failure. */
static void election_give_up(struct paxos *p, const char *why)
{
	CHECK(p->role == PAXOS_CANDIDATE);
	uint32_t shift = p->candidate.failures < 3 ? p->candidate.failures : 3;
	int64_t pause_ns = p->config.heartbeat_ns << shift;

	p->candidate.failures++;
	election_step_back(p, p->now_ns + paxos_jitter(p, pause_ns));
	output_note(p, "candidacy in round %llu given up: %s",
		    (unsigned long long)p->candidate.ballot.round, why);
}

void election_probe(struct paxos *p)
{
	struct candidate *c = &p->candidate;

	CHECK(p->role == PAXOS_CANDIDATE);
	c->phase = CANDIDATE_PROBING;
	c->attempt++;
	c->yes = member_bit(p->self);
	c->due_ns = p->now_ns + p->config.heartbeat_ns + paxos_jitter(p, STAGGER_NS);
	for (uint32_t i = 0; i < p->config.membership.count; i++)
		election_resend(p, i);
	if (membership_quorum(p, slot_next(p->durable.chosen), c->yes))
		election_prepare(p);
}

void election_resend(struct paxos *p, uint32_t member)
{
	struct candidate *c = &p->candidate;
	uint32_t bit = member_bit(member);

	CHECK(p->role == PAXOS_CANDIDATE);
	if (member == p->self || !membership_votes(p, member))
		return;
	if (c->phase == CANDIDATE_PROBING) {
		if ((c->yes & bit) != 0)
			return;
		struct paxos_message *m = send_now(p, member, PAXOS_PROBE);
		m->sequence = c->attempt;
		return;
	}
	/* While catching up the promise is asked for again, so that its holder waits for us. */
	if (c->phase == CANDIDATE_PREPARING && (c->promised & bit) != 0)
		return;
	struct paxos_message *m = send_after(p, c->own_write, member, PAXOS_PREPARE);
	m->ballot = c->ballot;
	m->slot = c->from;
	m->sequence = c->attempt;
}

void election_prepare(struct paxos *p)
{
	struct candidate *c = &p->candidate;
	struct ballot ballot = election_next_ballot(p);
	int64_t bar_ns = lease_bar_ns(p, ballot);

	CHECK(p->role == PAXOS_CANDIDATE);
	if (bar_ns > 0 || !write_room(p)) {
		election_step_back(p, p->now_ns + bar_ns);
		return;
	}
	acceptor_promise(p, ballot);
	lease_note_longest(p, p->config.lease_ns);
	c->phase = CANDIDATE_PREPARING;
	c->ballot = ballot;
	c->own_write = p->promise_write;
	c->from = slot_next(p->durable.chosen);
	c->promised = 0;
	c->refused = 0;
	c->told = p->durable.chosen;
	c->due_ns = p->now_ns + p->config.heartbeat_ns;
	c->deadline_ns = p->now_ns + 10 * p->config.heartbeat_ns;
	reports_reset(&p->reports, c->from);
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		p->peers[i].covered = p->durable.chosen;
		election_resend(p, i);
	}
	CHECK(ballot_equal(p->durable.promised, ballot));
}

void election_tick(struct paxos *p)
{
	struct candidate *c = &p->candidate;

	if (p->role == PAXOS_FOLLOWER && p->now_ns >= p->election_due_ns) {
		if (!election_may_stand(p)) {
			int64_t bar_ns = lease_bar_ns(p, election_next_ballot(p));
			if (bar_ns < p->config.heartbeat_ns)
				bar_ns = p->config.heartbeat_ns;
			election_schedule(p, p->now_ns + bar_ns);
			return;
		}
		paxos_move(p, PAXOS_CANDIDATE);
		election_probe(p);
		return;
	}
	if (p->role != PAXOS_CANDIDATE)
		return;
	if (!election_may_stand(p)) {
		election_step_back(p, p->now_ns + p->config.heartbeat_ns);
	} else if (c->phase != CANDIDATE_PROBING && p->now_ns >= c->deadline_ns) {
		election_give_up(p, "no majority answered in time");
	} else if (p->now_ns >= c->due_ns) {
		if (c->phase == CANDIDATE_PROBING) {
			election_probe(p);
			return;
		}
		c->due_ns = p->now_ns + p->config.heartbeat_ns;
		if (p->persisted < c->own_write)
			return;
		for (uint32_t i = 0; i < p->config.membership.count; i++)
			election_resend(p, i);
	}
}

int64_t election_next_tick(const struct paxos *p)
{
	if (p->role == PAXOS_FOLLOWER)
		return p->election_due_ns;
	CHECK(p->role == PAXOS_CANDIDATE);
	if (p->candidate.phase == CANDIDATE_PROBING)
		return p->candidate.due_ns;
	return time_earlier(p->candidate.due_ns, p->candidate.deadline_ns);
}

void election_on_probe_reply(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	struct candidate *c = &p->candidate;

	if (p->role != PAXOS_CANDIDATE || c->phase != CANDIDATE_PROBING ||
	    m->sequence != c->attempt)
		return;
	if (m->granted) {
		c->yes |= member_bit(from);
		if (membership_quorum(p, slot_next(p->durable.chosen), c->yes))
			election_prepare(p);
		return;
	}
	int64_t wait_ns = p->config.heartbeat_ns;
	if (m->lease_ns > 0 && m->lease_ns <= LEASE_MAX_NS)
		wait_ns = m->lease_ns + NS_PER_MS;
	wait_ns += paxos_jitter(p, STAGGER_NS);
	if (p->now_ns < c->handover_until_ns)
		wait_ns = HANDOVER_RETRY_NS;
	c->due_ns = time_earlier(c->due_ns, p->now_ns + wait_ns);
}

void election_on_refusal(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	struct candidate *c = &p->candidate;

	CHECK(p->role == PAXOS_CANDIDATE);
	if (c->phase == CANDIDATE_PROBING || !ballot_equal(m->ballot, c->ballot))
		return;
	if (!ballot_less(c->ballot, m->promised)) {
		/* A lease that runs out: ask again then. */
		if (m->lease_ns > 0 && m->lease_ns <= LEASE_MAX_NS)
			c->due_ns = time_earlier(c->due_ns, p->now_ns + m->lease_ns + NS_PER_MS);
		return;
	}
	c->refused |= member_bit(from);
	uint32_t everybody = member_bit(p->config.membership.count) - 1;
	if (!membership_quorum(p, c->from, everybody & ~c->refused))
		election_give_up(p, "a majority promised higher ballots");
}

static bool promise_is_sound(const struct paxos *p, const struct paxos_message *m)
{
	struct slot last = {0};

	for (uint32_t i = 0; i < m->accepted_count; i++) {
		const struct paxos_accepted *row = &m->accepted[i];
		if (row->value == NULL || row->slot.n < m->slot.n || row->slot.n <= last.n ||
		    row->slot.n == UINT64_MAX || ballot_is_none(row->ballot) ||
		    !ballot_less(row->ballot, p->candidate.ballot))
			return false;
		last = row->slot;
	}
	return m->last || m->accepted_count > 0;
}

static bool promise_collect(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	struct candidate *c = &p->candidate;
	struct peer *peer = &p->peers[from];

	for (uint32_t i = 0; i < m->accepted_count; i++) {
		const struct paxos_accepted *row = &m->accepted[i];
		/* Below a watermark the chosen value is learnt; here any might stand. */
		if (row->slot.n <= c->told.n)
			continue;
		if (!reports_add(&p->reports, row->slot, row->ballot, row->value))
			return false;
	}
	if (m->last) {
		c->promised |= member_bit(from);
	} else {
		struct slot through = m->accepted[m->accepted_count - 1].slot;
		if (peer->covered.n < through.n)
			peer->covered = through;
	}
	return true;
}

void election_on_promise(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	struct candidate *c = &p->candidate;

	if (p->role != PAXOS_CANDIDATE || c->phase == CANDIDATE_PROBING ||
	    !ballot_equal(m->ballot, c->ballot))
		return;
	seen_promised(p, from, m->ballot);
	if (c->told.n < m->chosen.n)
		c->told = m->chosen;
	if (m->slot.n > p->peers[from].covered.n + 1)
		return; /* a part before it is missing; the next request brings all of them */
	if (!promise_is_sound(p, m)) {
		output_note(p, "replica %u sent a promise that makes no sense; ignored",
			    (unsigned)member_id(p, from).n);
		return;
	}
	if (!promise_collect(p, from, m) || c->told.n > p->durable.chosen.n + REPORTS_MAX / 2) {
		election_give_up(p, "too far behind; catching up first");
		learner_want(p, true);
		return;
	}
	election_check(p);
}

static void election_win(struct paxos *p)
{
	struct candidate *c = &p->candidate;
	uint64_t first = p->durable.chosen.n + 1;

	CHECK(p->durable.chosen.n >= c->told.n);
	CHECK(p->persisted >= c->own_write);
	for (uint64_t n = first; n < first + TAIL_WINDOW; n++) {
		const struct tail_entry *e = tail_peek(p, (struct slot){n});
		if (e == NULL)
			continue;
		bool kept = reports_add(&p->reports, e->slot, e->ballot, e->value);
		CHECK(kept);
	}
	c->failures = 0;
	c->handover_until_ns = 0;
	seen_promised(p, p->self, c->ballot);
	lead_start(p, c->ballot, c->told);
}

void election_check(struct paxos *p)
{
	struct candidate *c = &p->candidate;

	if (p->role != PAXOS_CANDIDATE || c->phase == CANDIDATE_PROBING)
		return;
	/* Our own promise counts like any other: once it is durable. And whoever could not make
	 * it durable must not lead, or the ballot might be used again after a crash. */
	if (p->persisted < c->own_write ||
	    !membership_quorum(p, c->from, c->promised | member_bit(p->self)))
		return;
	if (p->durable.chosen.n >= c->told.n) {
		election_win(p);
		return;
	}
	if (c->phase == CANDIDATE_PREPARING) {
		c->phase = CANDIDATE_CATCHING_UP;
		c->deadline_ns = p->now_ns + CATCH_UP_NS;
	}
	learner_want(p, true);
}
