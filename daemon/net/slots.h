/*
 * Ids for objects that come and go: an id is found again in constant time, and never used twice.
 *
 * An id is (generation, index). A slot's generation grows with each use; a slot that has used up
 * its generations is retired, so that an id kept for years still names nothing else.
 */
#ifndef CHUBBY_NET_SLOTS_H
#define CHUBBY_NET_SLOTS_H

#include <stdint.h>

#define SLOTS_INDEX_BITS 20
#define SLOTS_MAX (UINT32_C(1) << SLOTS_INDEX_BITS)

struct slots_entry;

struct slots {
	struct slots_entry *entries; /* owned */
	uint32_t count;              /* of entries ever used */
	uint32_t capacity;
	uint32_t used;
	uint32_t free_head; /* index + 1; 0: none */
};

void slots_release(struct slots *s);
/* 0 when SLOTS_MAX objects are in. The object stays the caller's. */
uint64_t slots_add(struct slots *s, void *object);
/* NULL for an id that is not, or no longer, in. */
void *slots_find(const struct slots *s, uint64_t id);
/* The id must be in. */
void slots_remove(struct slots *s, uint64_t id);

#endif
