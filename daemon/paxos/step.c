/* The dispatch of messages: who may say what, and who hears it. */
#include "paxos_internal.h"

/* From a configured acceptor, about a ballot that is the sender's to speak of? */
static bool message_is_sound(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (!incarnation_equal(m->incarnation, p->config.membership.members[from].incarnation)) {
		output_note_minor(p, "replica %u speaks for another incarnation; ignored",
				  (unsigned)member_id(p, from).n);
		return false;
	}
	if (m->ballot.round > ROUND_MAX || m->promised.round > ROUND_MAX || m->slot.n > SLOT_MAX ||
	    m->chosen.n > SLOT_MAX || m->trimmed.n > SLOT_MAX) {
		output_note_minor(p, "replica %u names an impossible round or slot; ignored",
				  (unsigned)member_id(p, from).n);
		return false;
	}
	if (m->kind != PAXOS_PREPARE && m->kind != PAXOS_ACCEPT && m->kind != PAXOS_HEARTBEAT &&
	    m->kind != PAXOS_RELEASE)
		return true;
	struct ballot sender = {1, member_id(p, from), m->incarnation};
	if (ballot_is_none(m->ballot) || !ballot_same_owner(m->ballot, sender)) {
		output_note_minor(p,
				  "replica %u sends %s for a ballot that is not its own; ignored",
				  (unsigned)member_id(p, from).n, paxos_kind_name(m->kind));
		return false;
	}
	return true;
}

/* What only a vetted replica takes part in. */
static void step_vetted(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	switch (m->kind) {
	case PAXOS_PROBE:
		acceptor_on_probe(p, from, m);
		break;
	case PAXOS_PROBE_REPLY:
		election_on_probe_reply(p, from, m);
		break;
	case PAXOS_PREPARE:
		acceptor_on_prepare(p, from, m);
		break;
	case PAXOS_PROMISE:
		election_on_promise(p, from, m);
		break;
	case PAXOS_REFUSAL:
		if (p->role == PAXOS_MASTER)
			lead_on_refusal(p, from, m);
		else if (p->role == PAXOS_CANDIDATE)
			election_on_refusal(p, from, m);
		break;
	case PAXOS_ACCEPT:
		acceptor_on_accept(p, from, m);
		break;
	case PAXOS_ACCEPTED:
		proposer_on_accepted(p, from, m);
		break;
	case PAXOS_HEARTBEAT:
		acceptor_on_heartbeat(p, from, m);
		break;
	case PAXOS_HEARTBEAT_ACK:
		lead_on_heartbeat_ack(p, from, m);
		break;
	case PAXOS_RELEASE:
		acceptor_on_release(p, from, m);
		break;
	default:
		break;
	}
}

/* What every replica takes part in whose memory is not lost. */
static bool step_any(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	switch (m->kind) {
	case PAXOS_LEARN:
		learner_on_learn(p, from, m);
		return true;
	case PAXOS_GREET:
		greet_on_greet(p, from, m);
		return true;
	case PAXOS_CHALLENGE:
		greet_on_challenge(p, from, m);
		return true;
	case PAXOS_GREET_STATE:
		greet_on_state(p, from, m);
		return true;
	case PAXOS_VERDICT:
		greet_on_verdict(p, from, m);
		return true;
	default:
		return false;
	}
}

static void step_from_leader(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (!ballot_less(m->ballot, p->following)) {
		p->following = m->ballot;
		p->contact_ns = p->now_ns;
	}
	seen_merge(p, m);
	learner_told(p, from, m->ballot, m->chosen);
}

void paxos_step(struct paxos *p, int64_t now_ns, struct replica_id from,
		const struct paxos_message *m)
{
	uint32_t member = membership_find(&p->config.membership, from);

	paxos_arrive(p, now_ns);
	if (p->role == PAXOS_LOST || p->storage_failed)
		return;
	if (member == MEMBER_NONE || member == p->self) {
		output_note_minor(p, "a message from replica %u, which is no peer; ignored",
				  (unsigned)from.n);
		return;
	}
	if (!message_is_sound(p, member, m))
		return;
	p->peers[member].heard_ns = now_ns;
	p->peers[member].chosen = m->chosen;
	paxos_note_round(p, m->ballot);
	paxos_note_round(p, m->promised);

	if (!step_any(p, member, m) && paxos_takes_part(p))
		step_vetted(p, member, m);
	if (p->role != PAXOS_LOST && (m->kind == PAXOS_ACCEPT || m->kind == PAXOS_HEARTBEAT))
		step_from_leader(p, member, m);
	if (p->role != PAXOS_LOST)
		learner_notice_lag(p);
}
