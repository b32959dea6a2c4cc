/*
 * The proposer: commands into values, values into slots, acknowledgements into choices.
 *
 * A new mastership first proposes again what phase 1 reported, with no-ops in the holes; commands
 * follow. Accepts leave at once, beside our own write: any durable majority chooses, with or
 * without this replica's disk.
 */
#include "paxos_internal.h"

#include <string.h>

uint64_t proposer_in_flight(const struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	CHECK(p->master.next.n > p->durable.chosen.n);
	return p->master.next.n - 1 - p->durable.chosen.n;
}

void proposer_drop_queue(struct paxos *p)
{
	while (p->master.queue_head != NULL) {
		struct command *gone = p->master.queue_head;
		p->master.queue_head = gone->next;
		free(gone);
	}
	p->master.queue_end = &p->master.queue_head;
	p->master.queue_bytes = 0;
}

enum error paxos_propose(struct paxos *p, int64_t now_ns, struct bytes command)
{
	p->now_ns = now_ns;
	if (p->role != PAXOS_MASTER || p->master.leaving)
		return ERROR_NOT_MASTER;
	if (command.size > VALUE_MAX_BYTES - VALUE_FRAME_BYTES)
		return ERROR_TOO_LARGE;
	size_t cost_bytes = command.size + sizeof(struct command);
	if (cost_bytes > PAXOS_QUEUE_MAX_BYTES - p->master.queue_bytes)
		return ERROR_RESOURCE_EXHAUSTED;

	struct command *c = mem_alloc(sizeof(*c) + command.size);
	c->next = NULL;
	c->size_bytes = (uint32_t)command.size;
	if (command.size > 0)
		memcpy(c->data, command.data, command.size);
	*p->master.queue_end = c;
	p->master.queue_end = &c->next;
	p->master.queue_bytes += cost_bytes;
	CHECK(p->master.queue_bytes <= PAXOS_QUEUE_MAX_BYTES);
	return ERROR_OK;
}

void proposer_send_accept(struct paxos *p, const struct tail_entry *e, uint32_t member)
{
	CHECK(ballot_equal(e->ballot, p->master.ballot));
	CHECK(p->master.sent_ns == p->now_ns);

	struct paxos_message *m = send_now(p, member, PAXOS_ACCEPT);
	m->ballot = p->master.ballot;
	m->slot = e->slot;
	m->lease_ns = p->config.lease_ns;
	m->sequence = (uint64_t)p->master.sent_ns;
	m->value = value_ref(e->value);
	seen_attach(p, m);
}

static void proposer_propose(struct paxos *p, struct slot slot, struct value *value)
{
	CHECK(slot.n == p->master.next.n);
	CHECK(slot.n > p->master.told.n && slot.n > p->durable.chosen.n);
	CHECK(slot.n <= p->durable.chosen.n + PAXOS_ALPHA);
	CHECK(ballot_equal(p->durable.promised, p->master.ballot));

	struct tail_entry *e = tail_put(p, slot, p->master.ballot, value);
	e->own_write = write_row(p, slot, e->ballot, e->value);
	e->sent_ns = p->now_ns;
	p->master.next = slot_next(slot);
	lead_mark_sent(p);
	for (uint32_t i = 0; i < p->config.membership.count; i++) {
		if (i != p->self)
			proposer_send_accept(p, e, i);
	}
}

/* As many waiting commands as fit a batch; the first one always does. */
static struct value *proposer_next_value(struct paxos *p)
{
	struct value_builder builder;
	size_t taken_bytes = 0;

	CHECK(p->master.queue_head != NULL);
	value_builder_init(&builder);
	while (p->master.queue_head != NULL) {
		struct command *c = p->master.queue_head;
		size_t more_bytes = c->size_bytes + VALUE_FRAME_BYTES;

		if (taken_bytes > 0 && taken_bytes + more_bytes > BATCH_BYTES)
			break;
		bool fits = value_builder_add(&builder, (struct bytes){c->data, c->size_bytes});
		CHECK(fits);
		taken_bytes += more_bytes;
		p->master.queue_head = c->next;
		p->master.queue_bytes -= c->size_bytes + sizeof(*c);
		free(c);
	}
	if (p->master.queue_head == NULL)
		p->master.queue_end = &p->master.queue_head;
	struct value *value = value_builder_finish(&builder);
	value_builder_release(&builder);
	return value;
}

/* Phase 1's values first, in the order of their slots. True if one was proposed. */
static bool proposer_recover_one(struct paxos *p)
{
	struct slot slot = p->master.next;

	if (slot.n > p->reports.highest.n) {
		reports_release(&p->reports);
		return false;
	}
	const struct report *report = reports_get(&p->reports, slot);
	struct value *value = report != NULL ? value_ref(report->value) : value_noop();
	proposer_propose(p, slot, value);
	value_unref(value);
	return true;
}

void proposer_pump(struct paxos *p)
{
	while (p->role == PAXOS_MASTER && !p->master.leaving && write_room(p)) {
		uint64_t in_flight = proposer_in_flight(p);

		if (in_flight >= PAXOS_ALPHA)
			break;
		if (p->reports.highest.n != 0) {
			(void)proposer_recover_one(p);
			continue;
		}
		if (p->master.queue_head == NULL ||
		    (in_flight >= PAXOS_WINDOW && p->master.queue_bytes < BATCH_BYTES))
			break;
		struct value *value = proposer_next_value(p);
		proposer_propose(p, p->master.next, value);
		value_unref(value);
	}
}

void proposer_advance(struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	for (;;) {
		struct slot slot = slot_next(p->durable.chosen);
		const struct tail_entry *e = tail_peek(p, slot);

		if (slot.n >= p->master.next.n || e == NULL)
			break;
		CHECK(ballot_equal(e->ballot, p->master.ballot));
		if (!membership_quorum(p, slot, e->acks))
			break;
		learner_choose_next(p);
	}
	lead_progress(p);
}

static void proposer_acknowledge(struct paxos *p, struct slot slot, uint32_t member)
{
	if (slot.n >= p->master.next.n)
		return;
	struct tail_entry *e = tail_get(p, slot);
	if (e == NULL)
		return;
	CHECK(ballot_equal(e->ballot, p->master.ballot));
	e->acks |= member_bit(member);
}

void proposer_on_accepted(struct paxos *p, uint32_t from, const struct paxos_message *m)
{
	if (p->role != PAXOS_MASTER || !ballot_equal(m->ballot, p->master.ballot))
		return;
	if (m->slot.n == 0 || m->slot.n >= p->master.next.n) {
		output_note_minor(p,
				  "replica %u accepts slot %llu, which was never proposed; ignored",
				  (unsigned)member_id(p, from).n, (unsigned long long)m->slot.n);
		return;
	}
	p->peers[from].refused_since_ns = TIME_NEVER;
	lease_acknowledged(p, from, m->sequence);
	seen_accepted(p, from, m->ballot, m->slot);
	proposer_acknowledge(p, m->slot, from);
	proposer_advance(p);
}

/* Our own disk is one acceptor like the others: it counts when it has written. */
void proposer_own_durable(struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	for (uint64_t n = p->durable.chosen.n + 1; n < p->master.next.n; n++) {
		struct tail_entry *e = tail_get(p, (struct slot){n});

		CHECK(e != NULL);
		if (e->own_write > p->persisted)
			continue;
		if ((e->acks & member_bit(p->self)) == 0)
			seen_accepted(p, p->self, e->ballot, e->slot);
		e->acks |= member_bit(p->self);
	}
	proposer_advance(p);
}

void proposer_learned(struct paxos *p)
{
	CHECK(p->role == PAXOS_MASTER);
	if (p->durable.chosen.n >= p->master.next.n) {
		/* Chosen in an older ballot, it was reported in phase 1; else in a newer one. */
		if (p->durable.chosen.n > p->reports.highest.n) {
			lead_step_down(p, "a peer knows slots as chosen that were never "
					  "proposed here; a newer master exists");
			return;
		}
		p->master.next = slot_next(p->durable.chosen);
	}
	proposer_advance(p);
}
