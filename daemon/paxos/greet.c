/*
 * "You forgot" (design section 3): vetting after a start.
 *
 *   restarted                          peer
 *     GREET(life)             -->      keeps what it has seen of that replica until now
 *     its state (life, nonce) <--      CHALLENGE(life, nonce)
 *     GREET_STATE             -->      compares with what it kept
 *     counts                  <--      VERDICT(life, nonce, granted)
 *
 * The life is a random number of the greeter's start, carried in `slot`: an answer to an earlier
 * life proves nothing about this one. The nonce is the peer's: a state made before the question
 * proves nothing either. What the peer keeps is taken once for a life, so that what the greeter
 * acknowledges later, once others have vetted it, is never held against an older state.
 */
#include "paxos_internal.h"

#include <stdio.h>

/* How many others must confirm. A doubtful memory's own word does not count. */
static uint32_t greet_needed(const struct paxos *p)
{
	const struct paxos_membership *m = membership_at(p, slot_next(p->durable.chosen));
	uint32_t majority = membership_majority(m);
	uint32_t others = membership_voters(m);

	if (membership_votes(p, p->self))
		others--;
	uint32_t needed = p->memory == PAXOS_MEMORY_WHOLE ? majority - 1 : majority;
	return needed < others ? needed : others;
}

/* Enough verdicts? Then this replica takes part again. */
void greet_check(struct paxos *p)
{
	uint32_t whole = 0;

	CHECK(p->role == PAXOS_UNVETTED && !p->storage_failed);
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		if (i != p->self && membership_votes(p, i) && p->peers[i].verdict == VERDICT_WHOLE)
			whole++;
	}
	if (whole < greet_needed(p))
		return;
	paxos_move(p, PAXOS_FOLLOWER);
	int64_t due_ns = p->now_ns + lease_bar_ns(p, election_next_ballot(p));
	election_schedule(p, due_ns);
	output_note_minor(p, "memory confirmed by %u others; taking part from slot %llu on",
			  (unsigned)whole, (unsigned long long)p->durable.chosen.n + 1);
}

void greet_peer(struct paxos *p, uint32_t member)
{
	if (p->role != PAXOS_UNVETTED || p->storage_failed || member == p->self ||
	    p->peers[member].verdict != VERDICT_NONE)
		return;
	struct paxos_message *m = send_now(p, member, PAXOS_GREET);
	m->slot = (struct slot){p->life};
}

void greet_start(struct paxos *p)
{
	CHECK(p->role == PAXOS_UNVETTED);
	p->greet_due_ns = p->now_ns;
	greet_check(p);
	if (p->role == PAXOS_UNVETTED)
		greet_tick(p);
}

void greet_tick(struct paxos *p)
{
	if (p->now_ns < p->greet_due_ns)
		return;
	for (uint32_t i = 0; i < p->config.membership.count; i++)
		greet_peer(p, i);
	p->greet_due_ns = p->now_ns + GREET_RETRY_NS;
}

void greet_on_greet(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	struct peer *peer = &p->peers[from];

	if (m->slot.n == 0)
		return;
	if (peer->question_life != m->slot.n) {
		peer->question_life = m->slot.n;
		peer->question_nonce = rng_next(&p->rng);
		peer->question_seen = seen_of(p, from);
	}
	struct paxos_message *reply = send_now(p, from, PAXOS_CHALLENGE);
	reply->slot = m->slot;
	reply->sequence = peer->question_nonce;
}

void greet_on_challenge(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	uint32_t capacity = 0;

	if (p->role != PAXOS_UNVETTED || p->storage_failed || m->slot.n != p->life)
		return;
	struct paxos_message *reply = send_now(p, from, PAXOS_GREET_STATE);
	reply->slot = m->slot;
	reply->sequence = m->sequence;
	reply->promised = p->durable.promised;
	reply->trimmed = p->durable.trimmed;
	for (uint64_t n = p->durable.chosen.n + 1; n <= p->durable.chosen.n + TAIL_WINDOW; n++) {
		const struct tail_entry *e = tail_peek(p, (struct slot){n});
		if (e == NULL)
			continue;
		struct paxos_accepted *row = message_add_accepted(reply, &capacity);
		*row = (struct paxos_accepted){.slot = e->slot, .ballot = e->ballot};
	}
}

void greet_on_state(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	const struct peer *peer = &p->peers[from];

	if (peer->question_life == 0 || peer->question_life != m->slot.n ||
	    peer->question_nonce != m->sequence)
		return;
	bool whole = seen_holds(&peer->question_seen, m);
	struct paxos_message *reply = send_now(p, from, PAXOS_VERDICT);
	reply->slot = m->slot;
	reply->sequence = m->sequence;
	reply->granted = whole;
	if (whole)
		return;
	/* What it forgot, for the sentence that its operator reads. */
	reply->promised = peer->question_seen.promised;
	reply->ballot = peer->question_seen.accepted;
	output_note(p,
		    "replica %u forgot what it acknowledged: promise of round %llu, slots to %llu",
		    (unsigned)member_id(p, from).n,
		    (unsigned long long)peer->question_seen.promised.round,
		    (unsigned long long)peer->question_seen.through.n);
}

void greet_on_verdict(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	/* A bad verdict on this life counts even after others confirmed us. */
	if (m->slot.n != p->life || p->storage_failed)
		return;
	if (!m->granted) {
		char why[120];
		(void)snprintf(why, sizeof(why),
			       "replica %u saw it acknowledge round %llu, which its "
			       "disk no longer holds",
			       (unsigned)member_id(p, from).n,
			       (unsigned long long)m->promised.round);
		paxos_lose(p, why);
		return;
	}
	p->peers[from].verdict = VERDICT_WHOLE;
	if (p->role == PAXOS_UNVETTED)
		greet_check(p);
}
