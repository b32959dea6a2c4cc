/*
 * What acceptors were seen to acknowledge ("you forgot", design section 3).
 *
 * One row a member: the highest promise, and the newest run of slots that it accepted in one
 * ballot. A disk that went back lost a suffix of its writes, so the newest acknowledgements are
 * the ones that betray it; older ones need not be kept. The master ships its rows with accepts
 * and heartbeats; everybody stores them with whatever is written next.
 */
#include "paxos_internal.h"

static struct paxos_seen *seen_row(struct paxos *p, uint32_t member)
{
	struct replica_id replica = member_id(p, member);
	struct incarnation incarnation = p->config.membership.members[member].incarnation;

	for (uint32_t i = 0; i < p->durable.seen_count; i++) {
		struct paxos_seen *row = &p->durable.seen[i];
		if (!replica_equal(row->replica, replica))
			continue;
		if (!incarnation_equal(row->incarnation, incarnation)) {
			/* Another incarnation's memory says nothing about this one's. */
			*row = (struct paxos_seen){.replica = replica, .incarnation = incarnation};
		}
		return row;
	}
	CHECK(p->durable.seen_count < MEMBERS_MAX);
	struct paxos_seen *row = &p->durable.seen[p->durable.seen_count++];
	*row = (struct paxos_seen){.replica = replica, .incarnation = incarnation};
	return row;
}

static void seen_merge_run(struct paxos_seen *row, const struct paxos_seen *news)
{
	int order = ballot_compare(news->accepted, row->accepted);

	if (news->from.n == 0 || order < 0 || (order == 0 && news->through.n <= row->through.n))
		return;
	bool joins = order == 0 && news->from.n <= row->through.n + 1;
	row->from = joins && row->from.n < news->from.n ? row->from : news->from;
	row->through = news->through;
	row->accepted = news->accepted;
}

void seen_note(struct paxos *p, const struct paxos_seen *news)
{
	uint32_t member = membership_find(&p->config.membership, news->replica);

	if (member == MEMBER_NONE || news->from.n > news->through.n || news->through.n > SLOT_MAX ||
	    news->promised.round > ROUND_MAX ||
	    !incarnation_equal(news->incarnation, p->config.membership.members[member].incarnation))
		return;

	struct paxos_seen *row = seen_row(p, member);
	if (ballot_less(row->promised, news->promised))
		row->promised = news->promised;
	seen_merge_run(row, news);
	CHECK(row->from.n <= row->through.n);
}

void seen_promised(struct paxos *p, uint32_t member, struct ballot ballot)
{
	struct paxos_seen news = {
		.replica = member_id(p, member),
		.incarnation = p->config.membership.members[member].incarnation,
		.promised = ballot,
	};
	seen_note(p, &news);
}

void seen_accepted(struct paxos *p, uint32_t member, struct ballot ballot, struct slot slot)
{
	CHECK(slot.n > 0);
	struct paxos_seen news = {
		.replica = member_id(p, member),
		.incarnation = p->config.membership.members[member].incarnation,
		.promised = ballot,
		.accepted = ballot,
		.from = slot,
		.through = slot,
	};
	seen_note(p, &news);
}

void seen_attach(const struct paxos *p, struct paxos_message *m)
{
	CHECK(p->durable.seen_count <= MEMBERS_MAX);
	m->seen_count = p->durable.seen_count;
	for (uint32_t i = 0; i < m->seen_count; i++)
		m->seen[i] = p->durable.seen[i];
}

void seen_merge(struct paxos *p, const struct paxos_message *m)
{
	uint32_t count = m->seen_count < MEMBERS_MAX ? m->seen_count : MEMBERS_MAX;

	for (uint32_t i = 0; i < count; i++)
		seen_note(p, &m->seen[i]);
}

struct paxos_seen seen_of(const struct paxos *p, uint32_t member)
{
	struct replica_id replica = member_id(p, member);
	struct incarnation incarnation = p->config.membership.members[member].incarnation;

	for (uint32_t i = 0; i < p->durable.seen_count; i++) {
		const struct paxos_seen *row = &p->durable.seen[i];
		if (replica_equal(row->replica, replica) &&
		    incarnation_equal(row->incarnation, incarnation))
			return *row;
	}
	return (struct paxos_seen){.replica = replica, .incarnation = incarnation};
}

static const struct paxos_accepted *state_row(const struct paxos_message *state, uint64_t slot)
{
	for (uint32_t i = 0; i < state->accepted_count; i++) {
		if (state->accepted[i].slot.n == slot)
			return &state->accepted[i];
	}
	return NULL;
}

bool seen_holds(const struct paxos_seen *seen, const struct paxos_message *state)
{
	if (ballot_less(state->promised, seen->promised))
		return false;
	if (seen->from.n == 0 || seen->through.n <= state->chosen.n)
		return true;

	uint64_t first = seen->from.n > state->chosen.n ? seen->from.n : state->chosen.n + 1;
	/* Also bounds the loop by what the peer sent, not by the numbers that it claims. */
	if (seen->through.n - first >= state->accepted_count)
		return false;
	for (uint64_t slot = first; slot <= seen->through.n; slot++) {
		const struct paxos_accepted *row = state_row(state, slot);
		if (row == NULL || ballot_less(row->ballot, seen->accepted))
			return false;
	}
	return true;
}
