/*
 * The tail: what this replica accepted above its watermark.
 *
 * A ring of TAIL_WINDOW slots. Whatever lies at or below the watermark was handed to apply and is
 * read from the disk by whoever needs it, so memory is bounded however long the log is.
 */
#include "paxos_internal.h"

static bool tail_in_window(const struct paxos *p, struct slot slot)
{
	return slot.n > p->durable.chosen.n && slot.n - p->durable.chosen.n <= TAIL_WINDOW;
}

const struct tail_entry *tail_peek(const struct paxos *p, struct slot slot)
{
	if (!tail_in_window(p, slot))
		return NULL;

	const struct tail_entry *e = &p->tail[slot.n % TAIL_WINDOW];
	if (!e->present)
		return NULL;
	CHECK(e->slot.n == slot.n);
	return e;
}

struct tail_entry *tail_get(struct paxos *p, struct slot slot)
{
	if (tail_peek(p, slot) == NULL)
		return NULL;
	return &p->tail[slot.n % TAIL_WINDOW];
}

struct tail_entry *tail_put(struct paxos *p, struct slot slot, struct ballot ballot,
			    struct value *value)
{
	CHECK(tail_in_window(p, slot));
	CHECK(!ballot_less(p->durable.promised, ballot));

	struct tail_entry *e = &p->tail[slot.n % TAIL_WINDOW];
	CHECK(!e->present || (e->slot.n == slot.n && !ballot_less(ballot, e->ballot)));
	struct value *kept = value_ref(value);
	tail_clear(e);
	e->present = true;
	e->slot = slot;
	e->ballot = ballot;
	e->value = kept;
	return e;
}

void tail_clear(struct tail_entry *e)
{
	value_unref(e->value);
	*e = (struct tail_entry){0};
}

void tail_release(struct paxos *p)
{
	for (uint32_t i = 0; i < TAIL_WINDOW; i++)
		tail_clear(&p->tail[i]);
}

const char *tail_load(struct paxos *p, struct paxos_recovered *recovered)
{
	const char *trouble = NULL;
	struct slot last = {0};

	for (uint32_t i = 0; i < recovered->tail_count; i++) {
		struct paxos_accepted *row = &recovered->tail[i];

		if (row->slot.n <= last.n)
			trouble = "the log's newest slots are out of order";
		else if (row->value == NULL)
			trouble = "a slot of the log has no value";
		else if (ballot_less(p->durable.promised, row->ballot))
			trouble = "the log holds an acceptance above the promise";
		else if (row->slot.n > p->durable.chosen.n && !tail_in_window(p, row->slot))
			trouble = "the log reaches too far above its watermark";
		else if (row->slot.n > p->durable.chosen.n)
			(void)tail_put(p, row->slot, row->ballot, row->value);
		last = row->slot;
		value_unref(row->value);
		row->value = NULL;
	}
	return trouble;
}
