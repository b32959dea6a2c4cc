#include "bytes.h"

#include "check.h"

#include <string.h>

/* Inlined, so that libchubby.so depends on no further library and short keys hash fast. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#define BUFFER_MIN_CAPACITY ((size_t)64)

struct bytes bytes_of_text(const char *text)
{
	return (struct bytes){(const uint8_t *)text, strlen(text)};
}

bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

int bytes_compare(struct bytes a, struct bytes b)
{
	size_t common = a.size < b.size ? a.size : b.size;
	int order = common > 0 ? memcmp(a.data, b.data, common) : 0;

	if (order != 0)
		return order;
	if (a.size == b.size)
		return 0;
	return a.size < b.size ? -1 : 1;
}

uint64_t bytes_hash(struct bytes b)
{
	/* XXH3 wants a pointer even to nothing. */
	return XXH3_64bits(b.size > 0 ? (const void *)b.data : "", b.size);
}

char *bytes_to_text(struct bytes b)
{
	char *text = mem_alloc(b.size + 1);

	if (b.size > 0)
		memcpy(text, b.data, b.size);
	text[b.size] = '\0';
	return text;
}

void buffer_init(struct buffer *b, size_t max_size)
{
	*b = (struct buffer){.max_size = max_size};
}

void buffer_release(struct buffer *b)
{
	free(b->data);
	buffer_init(b, b->max_size);
}

void buffer_clear(struct buffer *b)
{
	b->size = 0;
}

/* Doubles, so that many small appends cost linear time. The capacity may pass the maximum by less
 * than the smallest capacity; the size never does. */
static void buffer_reserve(struct buffer *b, size_t needed)
{
	size_t capacity = b->capacity;

	if (needed <= capacity && b->data != NULL)
		return;
	capacity = capacity > b->max_size / 2 ? b->max_size : capacity * 2;
	if (capacity < needed)
		capacity = needed;
	if (capacity < BUFFER_MIN_CAPACITY)
		capacity = BUFFER_MIN_CAPACITY;
	b->data = mem_realloc(b->data, capacity);
	b->capacity = capacity;
}

uint8_t *buffer_extend(struct buffer *b, size_t size)
{
	uint8_t *room;

	CHECK(b->size <= b->max_size);
	if (size > b->max_size - b->size)
		return NULL;
	buffer_reserve(b, b->size + size);
	room = b->data + b->size;
	b->size += size;
	return room;
}

bool buffer_append(struct buffer *b, struct bytes tail)
{
	uint8_t *room = buffer_extend(b, tail.size);

	if (room == NULL)
		return false;
	if (tail.size > 0)
		memcpy(room, tail.data, tail.size);
	return true;
}

struct bytes buffer_view(const struct buffer *b)
{
	return (struct bytes){b->data, b->size};
}
