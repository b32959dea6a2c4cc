/* Values reported in phase 1: for each slot, the one of the highest ballot. */
#include "paxos_internal.h"

void reports_reset(struct reports *r, struct slot base)
{
	reports_release(r);
	CHECK(base.n > 0);
	r->base = base;
}

bool reports_add(struct reports *r, struct slot slot, struct ballot ballot, struct value *value)
{
	if (slot.n < r->base.n)
		return true;
	uint64_t index = slot.n - r->base.n;
	if (index >= REPORTS_MAX)
		return false;

	if (index >= r->capacity) {
		uint32_t grown = r->capacity == 0 ? 64 : r->capacity;
		while (grown <= index)
			grown *= 2;
		r->rows = mem_realloc_array(r->rows, grown, sizeof(r->rows[0]));
		r->capacity = grown;
	}
	while (r->count <= index)
		r->rows[r->count++] = (struct report){0};

	struct report *row = &r->rows[index];
	if (row->slot.n != 0 && !ballot_less(row->ballot, ballot))
		return true;
	struct value *old = row->value;
	*row = (struct report){.slot = slot, .ballot = ballot, .value = value_ref(value)};
	value_unref(old);
	if (r->highest.n < slot.n)
		r->highest = slot;
	return true;
}

const struct report *reports_get(const struct reports *r, struct slot slot)
{
	if (slot.n < r->base.n || slot.n - r->base.n >= r->count)
		return NULL;
	const struct report *row = &r->rows[slot.n - r->base.n];
	return row->slot.n == 0 ? NULL : row;
}

void reports_release(struct reports *r)
{
	for (uint32_t i = 0; i < r->count; i++)
		value_unref(r->rows[i].value);
	free(r->rows);
	*r = (struct reports){0};
}
