/* Life, roles and their moves; ticks and news from the disk. */
#include "paxos_internal.h"

#include <stdio.h>

static bool move_allowed(enum paxos_role from, enum paxos_role to)
{
	static const bool allowed[PAXOS_MASTER + 1][PAXOS_MASTER + 1] = {
		[PAXOS_UNVETTED] =
			{[PAXOS_LOST] = true, [PAXOS_UNVETTED] = true, [PAXOS_FOLLOWER] = true},
		[PAXOS_FOLLOWER] =
			{[PAXOS_LOST] = true, [PAXOS_UNVETTED] = true, [PAXOS_CANDIDATE] = true},
		[PAXOS_CANDIDATE] = {[PAXOS_LOST] = true,
				     [PAXOS_UNVETTED] = true,
				     [PAXOS_FOLLOWER] = true,
				     [PAXOS_MASTER] = true},
		/* To candidate: standing again above a ballot that some peer promised. */
		[PAXOS_MASTER] = {[PAXOS_LOST] = true,
				  [PAXOS_UNVETTED] = true,
				  [PAXOS_FOLLOWER] = true,
				  [PAXOS_CANDIDATE] = true},
	};

	return allowed[from][to];
}

static void leave_mastership(struct paxos *p)
{
	struct paxos_output *view = &gather_current(p)->view;

	/* A mastership that the host has not heard of needs no end. */
	if (view->elected)
		view->elected = false;
	else
		view->deposed = true;
	proposer_drop_queue(p);
	reports_release(&p->reports);
	p->master.leaving = false;
	p->master.lease_until_ns = LEASE_NONE;
	/* Our own acceptor was bound to ourselves only. */
	if (ballot_equal(p->hold_ballot, p->master.ballot))
		p->hold_until_ns = LEASE_NONE;
	if (ballot_equal(p->grant_ballot, p->master.ballot))
		p->grant_until_ns = LEASE_NONE;
}

/* The one place where the role changes. */
void paxos_move(struct paxos *p, enum paxos_role to)
{
	CHECK(move_allowed(p->role, to));
	if (p->role == PAXOS_MASTER)
		leave_mastership(p);
	if (p->role == PAXOS_CANDIDATE && to != PAXOS_MASTER)
		reports_release(&p->reports);
	if (to == PAXOS_MASTER)
		gather_current(p)->view.elected = true;
	if (to == PAXOS_LOST || to == PAXOS_UNVETTED) {
		output_drop_unwritten(p);
		p->grant_until_ns = LEASE_NONE;
	}
	p->role = to;
	CHECK(to == PAXOS_MASTER || paxos_lease_until(p) == LEASE_NONE);
}

/* Memory is lost: nothing is said in this incarnation any more. */
void paxos_lose(struct paxos *p, const char *why)
{
	if (p->role == PAXOS_LOST)
		return;
	(void)snprintf(p->trouble, sizeof(p->trouble),
		       "memory lost (%s); this replica takes no part until it is readmitted", why);
	paxos_move(p, PAXOS_LOST);
	output_note(p, "%s", p->trouble);
}

bool paxos_takes_part(const struct paxos *p)
{
	return p->role != PAXOS_LOST && p->role != PAXOS_UNVETTED;
}

bool paxos_late(const struct paxos *p)
{
	return p->now_ns < p->late_until_ns;
}

int64_t paxos_jitter(struct paxos *p, int64_t bound_ns)
{
	CHECK(bound_ns > 0);
	return rng_between(&p->rng, 0, bound_ns);
}

/*
 * Every call begins here. A loop that was late (a stopped process, a busy machine) gives what
 * peers and disk sent meanwhile a heartbeat's time to be read before any timeout fires; but not
 * again and again, or a loop that is always late would never notice anything.
 */
void paxos_arrive(struct paxos *p, int64_t now_ns)
{
	int64_t due_ns = paxos_next_tick(p);

	p->now_ns = now_ns;
	if (due_ns != TIME_NEVER && now_ns - due_ns > p->config.heartbeat_ns &&
	    (p->late_until_ns == LEASE_NONE || now_ns - p->late_until_ns > p->config.lease_ns))
		p->late_until_ns = now_ns + p->config.heartbeat_ns;
}

void paxos_note_round(struct paxos *p, struct ballot ballot)
{
	if (ballot.round <= ROUND_MAX && p->highest_round < ballot.round)
		p->highest_round = ballot.round;
}

static const char *config_trouble(const struct paxos_config *config)
{
	uint32_t self = membership_find(&config->membership, config->self);

	if (self == MEMBER_NONE)
		return "the cell's members do not include this replica";
	if (!incarnation_equal(config->membership.members[self].incarnation, config->incarnation))
		return "the cell knows this replica by another incarnation";
	return NULL;
}

static void paxos_init_timers(struct paxos *p)
{
	p->grant_until_ns = LEASE_NONE;
	p->hold_until_ns = LEASE_NONE;
	p->master.lease_until_ns = LEASE_NONE;
	p->master.queue_end = &p->master.queue_head;
	p->learner.check_due_ns = TIME_NEVER;
	p->learner.avoid_member = MEMBERS_MAX;
	p->restart_until_ns = p->now_ns + p->durable.longest_lease_ns;
	p->stand_back_until_ns = p->now_ns + p->config.stand_back_ns;
	p->election_due_ns = TIME_NEVER;
	p->greet_due_ns = TIME_NEVER;
	p->late_until_ns = LEASE_NONE;
	p->restand_due_ns = p->now_ns;
	p->written_ns = p->now_ns;
}

struct paxos *paxos_new(const struct paxos_config *config, struct paxos_recovered *recovered,
			uint64_t seed, int64_t now_ns)
{
	struct paxos *p = mem_zalloc(sizeof(*p));

	CHECK(config->lease_ns > 0 && config->lease_ns <= LEASE_MAX_NS);
	CHECK(config->heartbeat_ns > 0 && config->heartbeat_ns <= config->lease_ns / 3);
	CHECK(config->membership.count >= 1 && config->membership.count <= MEMBERS_MAX);
	p->config = *config;
	p->now_ns = now_ns;
	rng_init(&p->rng, seed);
	/* Fits a slot on the wire, and is never 0. */
	p->life = (rng_next(&p->rng) >> 12) | 1;
	p->role = PAXOS_UNVETTED;
	p->memory = recovered->memory;
	p->durable = recovered->durable;
	/* State never holds more than what was chosen. */
	if (p->durable.chosen.n < recovered->applied.n)
		p->durable.chosen = recovered->applied;
	p->persisted_chosen = recovered->durable.chosen;
	paxos_init_timers(p);
	paxos_note_round(p, p->durable.promised);

	const char *trouble = tail_load(p, recovered);
	if (trouble == NULL)
		trouble = config_trouble(config);
	if (trouble == NULL && recovered->memory == PAXOS_MEMORY_LOST)
		trouble = "blank, rolled back or damaged";
	if (p->durable.longest_lease_ns < 0 || p->durable.longest_lease_ns > LEASE_MAX_NS ||
	    p->durable.seen_count > MEMBERS_MAX)
		trouble = "the stored state is out of bounds";
	p->self = membership_find(&config->membership, config->self);
	if (trouble != NULL) {
		paxos_lose(p, trouble);
		return p;
	}
	greet_start(p);
	return p;
}

void paxos_free(struct paxos *p)
{
	if (p == NULL)
		return;
	proposer_drop_queue(p);
	reports_release(&p->reports);
	tail_release(p);
	for (uint32_t i = 0; i < p->held_count; i++)
		paxos_message_release(&p->held[i].envelope.message);
	free(p->held);
	gather_release(&p->gathers[0]);
	gather_release(&p->gathers[1]);
	free(p);
}

void paxos_tick(struct paxos *p, int64_t now_ns)
{
	paxos_arrive(p, now_ns);
	if (p->role == PAXOS_LOST || p->storage_failed)
		return;
	if (!paxos_late(p) && storage_stalled(p))
		p->stand_back_until_ns = now_ns + STAND_BACK_NS;

	learner_tick(p);
	if (p->role == PAXOS_UNVETTED)
		greet_tick(p);
	else if (p->role == PAXOS_MASTER)
		lead_tick(p);
	else if (!paxos_late(p))
		election_tick(p);
}

int64_t paxos_next_tick(const struct paxos *p)
{
	if (p->role == PAXOS_LOST || p->storage_failed)
		return TIME_NEVER;

	int64_t due_ns = TIME_NEVER;
	if (p->role == PAXOS_UNVETTED)
		due_ns = p->greet_due_ns;
	else if (p->role == PAXOS_MASTER)
		due_ns = lead_next_tick(p);
	else
		due_ns = election_next_tick(p);
	if ((p->role == PAXOS_FOLLOWER || p->role == PAXOS_CANDIDATE) && due_ns < p->late_until_ns)
		due_ns = p->late_until_ns;
	return time_earlier(due_ns, learner_next_tick(p));
}

void paxos_persisted(struct paxos *p, int64_t now_ns, uint64_t number)
{
	CHECK(number <= p->sealed);
	paxos_arrive(p, now_ns);
	if (number <= p->persisted || p->storage_failed)
		return;
	/* A disk that took so long is not one to lead with, though it has finished now. */
	if (!paxos_late(p) && storage_stalled(p))
		p->stand_back_until_ns = now_ns + STAND_BACK_NS;
	p->persisted = number;
	struct slot chosen = p->issued[number % WRITES_MAX].chosen;
	if (p->persisted_chosen.n < chosen.n)
		p->persisted_chosen = chosen;
	if (p->role != PAXOS_LOST)
		learner_serve_durable(p);
	if (!paxos_takes_part(p))
		return;
	output_release_held(p);
	if (p->role == PAXOS_MASTER)
		proposer_own_durable(p);
	election_check(p);
}

void paxos_storage_failed(struct paxos *p, int64_t now_ns)
{
	p->now_ns = now_ns;
	if (p->role == PAXOS_LOST || p->storage_failed)
		return;
	paxos_move(p, PAXOS_UNVETTED);
	p->storage_failed = true;
	(void)snprintf(p->trouble, sizeof(p->trouble),
		       "the store failed; this replica takes no part until it is read again");
	output_note(p, "%s", p->trouble);
}

void paxos_trimmed(struct paxos *p, struct slot slot)
{
	/* The host trims what it has applied; it becomes durable with the next write. */
	CHECK(slot.n <= p->durable.chosen.n);
	if (p->durable.trimmed.n < slot.n)
		p->durable.trimmed = slot;
}

void paxos_resign(struct paxos *p, int64_t now_ns)
{
	p->now_ns = now_ns;
	p->resigned = true;
	if (p->storage_failed)
		return;
	if (p->role == PAXOS_CANDIDATE)
		election_step_back(p, now_ns + p->config.heartbeat_ns);
	lead_resign(p);
}

void paxos_peer_connected(struct paxos *p, int64_t now_ns, struct replica_id peer)
{
	uint32_t member = membership_find(&p->config.membership, peer);

	p->now_ns = now_ns;
	if (member == MEMBER_NONE || member == p->self || p->storage_failed)
		return;
	greet_peer(p, member);
	if (p->role == PAXOS_CANDIDATE)
		election_resend(p, member);
	if (p->role == PAXOS_MASTER && !p->master.leaving) {
		lead_mark_sent(p);
		lead_heartbeat_one(p, member);
		lead_retransmit(p, member, true);
		lease_refresh(p);
	}
}

enum paxos_role paxos_role(const struct paxos *p)
{
	return p->role;
}

struct ballot paxos_ballot(const struct paxos *p)
{
	return p->role == PAXOS_MASTER ? p->master.ballot : p->following;
}

struct replica_id paxos_leader(const struct paxos *p, int64_t now_ns)
{
	if (p->role == PAXOS_MASTER)
		return p->config.self;
	if (p->contact_ns == 0 || now_ns - p->contact_ns > 2 * p->config.lease_ns ||
	    replica_equal(p->following.replica, p->config.self))
		return (struct replica_id){0};
	return p->following.replica;
}

int64_t paxos_lease_until(const struct paxos *p)
{
	return p->role == PAXOS_MASTER ? p->master.lease_until_ns : LEASE_NONE;
}

struct slot paxos_chosen(const struct paxos *p)
{
	return p->durable.chosen;
}

struct slot paxos_peer_chosen(const struct paxos *p, struct replica_id replica)
{
	uint32_t member = membership_find(&p->config.membership, replica);

	return member == MEMBER_NONE ? (struct slot){0} : p->peers[member].chosen;
}

int64_t paxos_peer_heard_ns(const struct paxos *p, struct replica_id replica)
{
	uint32_t member = membership_find(&p->config.membership, replica);

	return member == MEMBER_NONE ? 0 : p->peers[member].heard_ns;
}

const struct paxos_durable *paxos_durable(const struct paxos *p)
{
	return &p->durable;
}

const char *paxos_trouble(const struct paxos *p)
{
	if (p->trouble[0] != '\0')
		return p->trouble;
	if (p->role == PAXOS_UNVETTED)
		return "waits for a majority to confirm that its memory is whole";
	return NULL;
}
