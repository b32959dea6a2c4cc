#include "arena.h"

#include "check.h"

#include <stdalign.h>
#include <string.h>

/* A request fits into one block as a rule; larger allocations get a block of their own. */
#define ARENA_BLOCK_BYTES ((size_t)4096)

struct arena_block {
	struct arena_block *next;
	size_t used;
	size_t size;
	alignas(max_align_t) uint8_t data[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
	*a = (struct arena){.max_bytes = max_bytes};
}

void arena_release(struct arena *a)
{
	while (a->blocks != NULL) {
		struct arena_block *block = a->blocks;

		a->blocks = block->next;
		free(block);
	}
	arena_init(a, a->max_bytes);
}

/* A new block at the head; behind it when it is filled at once, so that the head keeps its room. */
static struct arena_block *arena_grow(struct arena *a, size_t size)
{
	bool whole = size >= ARENA_BLOCK_BYTES;
	size_t capacity = whole ? size : ARENA_BLOCK_BYTES;
	struct arena_block *block = mem_alloc(sizeof(*block) + capacity);
	struct arena_block **place = whole && a->blocks != NULL ? &a->blocks->next : &a->blocks;

	block->used = 0;
	block->size = capacity;
	block->next = *place;
	*place = block;
	return block;
}

void *arena_alloc(struct arena *a, size_t size_bytes)
{
	const size_t align = alignof(max_align_t);
	struct arena_block *block = a->blocks;
	size_t left, rounded;
	void *memory;

	CHECK(a->used_bytes <= a->max_bytes);
	left = a->max_bytes - a->used_bytes;
	if (size_bytes > left)
		return NULL;
	rounded = size_bytes > 0 ? (size_bytes + align - 1) / align * align : align;
	/* The last odd bytes below the maximum are given out, whatever they round up to. */
	a->used_bytes += rounded < left ? rounded : left;
	if (block == NULL || block->size - block->used < rounded)
		block = arena_grow(a, rounded);
	memory = block->data + block->used;
	block->used += rounded;
	return memset(memory, 0, rounded);
}

bool arena_copy(struct arena *a, struct bytes source, struct bytes *ret_copy)
{
	uint8_t *memory = arena_alloc(a, source.size);

	if (memory == NULL)
		return false;
	if (source.size > 0)
		memcpy(memory, source.data, source.size);
	*ret_copy = (struct bytes){memory, source.size};
	return true;
}
