/*
 * Memory that dies with its request: allocate often, release once.
 *
 * An arena belongs to one thread. Allocations are aligned for any object and never fail; the
 * maximum bounds what outside input can make it hold.
 */
#ifndef CHUBBY_BASE_ARENA_H
#define CHUBBY_BASE_ARENA_H

#include "bytes.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* owned, newest first */
	size_t used_bytes;
	size_t max_bytes;
};

void arena_init(struct arena *a, size_t max_bytes);
/* Frees everything; the arena may be used again with the same maximum. */
void arena_release(struct arena *a);
/* Zeroed memory, valid until arena_release(); NULL once the maximum would be exceeded. */
__attribute__((warn_unused_result)) void *arena_alloc(struct arena *a, size_t size_bytes);
/* A copy of the bytes in the arena; false beyond the maximum. */
__attribute__((warn_unused_result)) bool arena_copy(struct arena *a, struct bytes source,
						    struct bytes *ret_copy);

#endif
