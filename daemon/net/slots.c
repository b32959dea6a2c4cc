#include "net/slots.h"

#include "base/check.h"

#include <stddef.h>

#define SLOTS_GENERATION_MAX ((UINT64_C(1) << (64 - SLOTS_INDEX_BITS)) - 1)

struct slots_entry {
	void *object; /* NULL: free or retired */
	uint64_t generation;
	uint32_t next_free;
};

void slots_release(struct slots *s)
{
	free(s->entries);
	*s = (struct slots){0};
}

/* Takes a free entry, or makes a further one; its index, or SLOTS_MAX when all are taken. */
static uint32_t slots_take(struct slots *s)
{
	uint32_t index;

	if (s->free_head != 0) {
		index = s->free_head - 1;
		s->free_head = s->entries[index].next_free;
		return index;
	}
	if (s->count == SLOTS_MAX)
		return SLOTS_MAX;
	if (s->count == s->capacity) {
		s->capacity = s->capacity == 0 ? 64 : s->capacity * 2;
		s->entries = mem_realloc_array(s->entries, s->capacity, sizeof(*s->entries));
	}
	index = s->count++;
	s->entries[index] = (struct slots_entry){0};
	return index;
}

uint64_t slots_add(struct slots *s, void *object)
{
	uint32_t index = slots_take(s);
	struct slots_entry *e;

	CHECK(object != NULL);
	if (index == SLOTS_MAX)
		return 0;
	e = &s->entries[index];
	e->object = object;
	e->generation++;
	s->used++;
	return e->generation << SLOTS_INDEX_BITS | index;
}

static struct slots_entry *slots_entry(const struct slots *s, uint64_t id)
{
	uint32_t index = (uint32_t)(id & (SLOTS_MAX - 1));
	struct slots_entry *e;

	if (index >= s->count)
		return NULL;
	e = &s->entries[index];
	return e->object != NULL && e->generation == id >> SLOTS_INDEX_BITS ? e : NULL;
}

void *slots_find(const struct slots *s, uint64_t id)
{
	const struct slots_entry *e = slots_entry(s, id);

	return e != NULL ? e->object : NULL;
}

void slots_remove(struct slots *s, uint64_t id)
{
	struct slots_entry *e = slots_entry(s, id);

	CHECK(e != NULL);
	e->object = NULL;
	s->used--;
	if (e->generation == SLOTS_GENERATION_MAX)
		return;
	e->next_free = s->free_head;
	s->free_head = (uint32_t)(e - s->entries) + 1;
}
