/*
 * The learner: the watermark, and fetching what was missed.
 *
 * A watermark told under ballot b makes chosen what this replica accepted in b, and nothing else:
 * a value of an older ballot may have lost. That holds because a master's watermark never covers
 * a slot in which its own proposal lost: it steps down when it learns of one. The rest is asked
 * for from a peer that knows it as chosen; one request at a time, and another peer when that one
 * does not answer.
 */
#include "paxos_internal.h"

void learner_choose_next(struct paxos *p)
{
	struct tail_entry *e = tail_get(p, slot_next(p->durable.chosen));

	CHECK(e != NULL);
	struct slot slot = e->slot;
	struct ballot ballot = e->ballot;
	struct value *value = e->value;
	e->value = NULL;
	tail_clear(e);
	output_choose(p, slot, ballot, value);
}

void learner_told(struct paxos *p, uint32_t from, struct ballot ballot, struct slot watermark)
{
	struct slot before = p->durable.chosen;

	CHECK(from != p->self);
	/* A master counts for itself; what an older one says adds nothing to it. */
	while (p->role != PAXOS_MASTER && p->durable.chosen.n < watermark.n) {
		const struct tail_entry *e = tail_peek(p, slot_next(p->durable.chosen));
		if (e == NULL || !ballot_equal(e->ballot, ballot))
			break;
		learner_choose_next(p);
	}
	if (p->durable.chosen.n < watermark.n)
		learner_want(p, true);
	if (p->durable.chosen.n > before.n)
		election_check(p);
}

/* Does the peer's log begin above what is needed here? */
static bool learner_trimmed_at(const struct paxos *p, uint32_t member)
{
	return p->peers[member].trimmed.n > p->durable.chosen.n;
}

/*
 * How well a peer is placed to be asked: it answers, it has the log, it answered last time, it
 * leads. Whoever leaves a question without an answer is passed over for a while: that its log is
 * whole is of no use then, and another's state is better than to ask it for ever.
 */
static uint32_t learner_score(const struct paxos *p, uint32_t member)
{
	struct replica_id leader = paxos_leader(p, p->now_ns);
	uint32_t score = 0;

	if (p->peers[member].silent_until_ns <= p->now_ns)
		score += 8;
	if (!learner_trimmed_at(p, member))
		score += 4;
	if (member != p->learner.avoid_member)
		score += 2;
	if (replica_equal(member_id(p, member), leader))
		score += 1;
	return score;
}

/* The best peer to ask; MEMBER_NONE if nobody is known to be ahead. */
static uint32_t learner_pick(const struct paxos *p)
{
	uint32_t best = MEMBER_NONE;

	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		const struct peer *peer = &p->peers[i];

		if (i == p->self || peer->chosen.n <= p->durable.chosen.n)
			continue;
		uint32_t score = learner_score(p, i);
		uint32_t best_score = best == MEMBER_NONE ? 0 : learner_score(p, best);
		if (best == MEMBER_NONE || score > best_score ||
		    (score == best_score && peer->chosen.n > p->peers[best].chosen.n))
			best = i;
	}
	return best;
}

void learner_want(struct paxos *p, bool urgent)
{
	struct learner *l = &p->learner;

	if (l->asked || p->storage_failed || p->role == PAXOS_LOST)
		return;
	if (urgent && l->asked_ns != 0 && p->now_ns < l->asked_ns + LEARN_PAUSE_NS) {
		l->check_due_ns = time_earlier(l->check_due_ns, l->asked_ns + LEARN_PAUSE_NS);
		l->check_chosen = p->durable.chosen;
		return;
	}
	uint32_t member = learner_pick(p);
	if (member == MEMBER_NONE)
		return;
	CHECK(p->peers[member].chosen.n > p->durable.chosen.n);
	l->asked = true;
	l->asked_member = member;
	l->asked_ns = p->now_ns;
	l->asked_log = !learner_trimmed_at(p, member);
	if (!l->asked_log) {
		/* Nobody who is known to be ahead still has that part of the log. */
		gather_current(p)->view.snapshot_from = member_id(p, member);
		l->deadline_ns = p->now_ns + SNAPSHOT_TIMEOUT_NS;
		return;
	}
	struct paxos_message *m = send_now(p, member, PAXOS_LEARN);
	m->slot = slot_next(p->durable.chosen);
	l->deadline_ns = p->now_ns + LEARN_TIMEOUT_NS;
}

void learner_notice_lag(struct paxos *p)
{
	struct learner *l = &p->learner;

	if (l->asked || l->check_due_ns != TIME_NEVER || learner_pick(p) == MEMBER_NONE)
		return;
	l->check_due_ns = p->now_ns + p->config.heartbeat_ns;
	l->check_chosen = p->durable.chosen;
}

void learner_tick(struct paxos *p)
{
	struct learner *l = &p->learner;

	if (l->asked && p->now_ns >= l->deadline_ns) {
		l->asked = false;
		l->avoid_member = l->asked_member;
		if (l->asked_log)
			p->peers[l->asked_member].silent_until_ns = p->now_ns + LEARN_SILENT_NS;
		learner_want(p, false);
	}
	if (!l->asked && p->now_ns >= l->check_due_ns) {
		l->check_due_ns = TIME_NEVER;
		if (l->check_chosen.n == p->durable.chosen.n)
			learner_want(p, false);
		else
			learner_notice_lag(p);
	}
	CHECK(!l->asked || l->deadline_ns > p->now_ns);
}

int64_t learner_next_tick(const struct paxos *p)
{
	if (p->learner.asked)
		return p->learner.deadline_ns;
	return p->learner.check_due_ns;
}

/*
 * The host answers from its disk. There a slot may still hold a value that lost, while the one
 * that was chosen is on its way: nothing is served that is not durable as chosen. When the log is
 * at rest its last slots are not, so a write is made for whoever asks.
 */
void learner_on_learn(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	CHECK(p->role != PAXOS_LOST);
	if (m->slot.n == 0 || m->slot.n > p->durable.chosen.n)
		return;
	if (m->slot.n <= p->persisted_chosen.n) {
		output_serve(p, from, m->slot);
	} else if (write_room(p)) {
		p->peers[from].wants = m->slot;
		(void)write_touch(p);
	}
}

void learner_serve_durable(struct paxos *p)
{
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		struct slot wants = p->peers[i].wants;
		if (wants.n == 0 || wants.n > p->persisted_chosen.n)
			continue;
		output_serve(p, i, wants);
		p->peers[i].wants = (struct slot){0};
	}
}

/* Takes one chosen value, the next; false if it contradicts what this replica knows. */
static bool learner_take(struct paxos *p, const struct paxos_accepted *entry)
{
	struct tail_entry *e = tail_get(p, entry->slot);

	CHECK(entry->slot.n == p->durable.chosen.n + 1);
	if (e != NULL && value_equal(e->value, entry->value)) {
		learner_choose_next(p);
		return true;
	}
	if (e != NULL && ballot_equal(e->ballot, entry->ballot)) {
		/* One ballot never proposes two values: somebody's memory is wrong. */
		paxos_lose(p, "a chosen value contradicts the one accepted here in its ballot");
		return false;
	}
	/* What this master proposed here has lost: a newer ballot decides. It must not tell its own
	 * followers this watermark, since it would bless the losing value that they accepted. */
	if (p->role == PAXOS_MASTER && entry->slot.n < p->master.next.n)
		lead_step_down(p, "a newer master had another value chosen");
	/* An accepted value of another ballot lost against this one. */
	(void)write_row(p, entry->slot, entry->ballot, entry->value);
	if (e != NULL)
		tail_clear(e);
	output_choose(p, entry->slot, entry->ballot, value_ref(entry->value));
	return true;
}

static uint32_t learner_take_all(struct paxos *p, const struct paxos_accepted *entries,
				 uint32_t count, struct slot peer_chosen)
{
	uint32_t taken = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (entries[i].slot.n <= p->durable.chosen.n)
			continue;
		if (entries[i].slot.n != p->durable.chosen.n + 1 || entries[i].value == NULL ||
		    entries[i].slot.n > peer_chosen.n)
			break;
		if (!learner_take(p, &entries[i]))
			break;
		taken++;
	}
	return taken;
}

void paxos_learned(struct paxos *p, int64_t now_ns, struct replica_id from,
		   const struct paxos_accepted *entries, uint32_t count, struct slot peer_chosen,
		   struct slot peer_trimmed)
{
	struct learner *l = &p->learner;
	uint32_t member = membership_find(&p->config.membership, from);

	paxos_arrive(p, now_ns);
	if (member == MEMBER_NONE || member == p->self || p->role == PAXOS_LOST ||
	    p->storage_failed || !write_room(p))
		return;
	p->peers[member].chosen = peer_chosen;
	p->peers[member].trimmed = peer_trimmed;
	p->peers[member].silent_until_ns = 0;
	if (l->asked && l->asked_member == member)
		l->asked = false;

	uint32_t taken = learner_take_all(p, entries, count, peer_chosen);
	if (p->role == PAXOS_LOST)
		return;
	if (p->role == PAXOS_MASTER)
		proposer_learned(p);

	if (taken > 0) {
		l->avoid_member = MEMBERS_MAX;
		l->asked_ns = 0;
	} else {
		l->avoid_member = member;
		/* Whoever has the log is asked at once, or the state itself. */
		if (learner_trimmed_at(p, member))
			l->asked_ns = 0;
	}
	learner_want(p, true);
	election_check(p);
}

void paxos_snapshot_installed(struct paxos *p, int64_t now_ns, struct slot slot)
{
	p->now_ns = now_ns;
	if (p->role == PAXOS_LOST || p->storage_failed || slot.n <= p->durable.chosen.n)
		return;
	if (p->role == PAXOS_MASTER)
		lead_step_down(p, "a snapshot was installed");
	if (p->role == PAXOS_CANDIDATE)
		election_step_back(p, p->now_ns);

	for (uint32_t i = 0; i < TAIL_WINDOW; i++) {
		if (p->tail[i].present && p->tail[i].slot.n <= slot.n)
			tail_clear(&p->tail[i]);
	}
	p->durable.chosen = slot;
	p->durable.trimmed = slot;
	if (write_room(p))
		(void)write_touch(p);
	p->learner.asked = false;
	p->learner.asked_ns = 0;
	learner_want(p, false);
}
