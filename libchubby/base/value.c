#include "value.h"

#include "check.h"

#include <string.h>

struct value {
	uint32_t references;
	uint32_t commands;
	uint64_t checksum;
	size_t size;
	uint8_t framed[];
};

static void frame_write(uint8_t *ret_frame, uint32_t size)
{
	for (unsigned i = 0; i < VALUE_FRAME_BYTES; i++)
		ret_frame[i] = (uint8_t)(size >> (8 * i));
}

static uint32_t frame_read(const uint8_t *frame)
{
	uint32_t size = 0;

	for (unsigned i = 0; i < VALUE_FRAME_BYTES; i++)
		size |= (uint32_t)frame[i] << (8 * i);
	return size;
}

/* The command at the cursor, which moves on; false if no whole frame stands there. */
static bool frame_next(struct bytes framed, size_t *cursor, struct bytes *ret_command)
{
	size_t left = framed.size - *cursor;
	uint32_t size;

	if (left < VALUE_FRAME_BYTES)
		return false;
	size = frame_read(framed.data + *cursor);
	if (size > left - VALUE_FRAME_BYTES)
		return false;
	*ret_command = (struct bytes){framed.data + *cursor + VALUE_FRAME_BYTES, size};
	*cursor += VALUE_FRAME_BYTES + size;
	return true;
}

/* `framed` is copied; its frames are known to be whole. */
static struct value *value_make(struct bytes framed, uint32_t commands, uint64_t checksum)
{
	struct value *v = mem_alloc(sizeof(*v) + framed.size);

	CHECK(framed.size <= VALUE_MAX_BYTES);
	v->references = 1;
	v->commands = commands;
	v->checksum = checksum;
	v->size = framed.size;
	if (framed.size > 0)
		memcpy(v->framed, framed.data, framed.size);
	return v;
}

static struct value *parse(struct bytes framed, uint64_t checksum)
{
	uint32_t commands = 0;
	struct bytes command;
	size_t cursor = 0;

	if (framed.size > VALUE_MAX_BYTES)
		return NULL;
	while (frame_next(framed, &cursor, &command))
		commands++;
	if (cursor != framed.size)
		return NULL;
	return value_make(framed, commands, checksum);
}

struct value *value_parse(struct bytes framed)
{
	/* Refused before it is hashed: outside input sets the cost. */
	if (framed.size > VALUE_MAX_BYTES)
		return NULL;
	return parse(framed, bytes_hash(framed));
}

struct value *value_parse_checked(struct bytes framed, uint64_t checksum)
{
	if (framed.size > VALUE_MAX_BYTES || bytes_hash(framed) != checksum)
		return NULL;
	return parse(framed, checksum);
}

struct value *value_noop(void)
{
	return value_make(BYTES_NONE, 0, bytes_hash(BYTES_NONE));
}

struct value *value_ref(struct value *v)
{
	CHECK(v->references > 0 && v->references < UINT32_MAX);
	v->references++;
	return v;
}

void value_unref(struct value *v)
{
	if (v == NULL)
		return;
	CHECK(v->references > 0);
	if (--v->references == 0)
		free(v);
}

struct bytes value_bytes(const struct value *v)
{
	return (struct bytes){v->framed, v->size};
}

uint64_t value_checksum(const struct value *v)
{
	return v->checksum;
}

uint32_t value_command_count(const struct value *v)
{
	return v->commands;
}

bool value_equal(const struct value *a, const struct value *b)
{
	return a == b ||
	       (a->checksum == b->checksum && bytes_equal(value_bytes(a), value_bytes(b)));
}

bool value_next(const struct value *v, size_t *cursor, struct bytes *ret_command)
{
	CHECK(*cursor <= v->size);
	return frame_next(value_bytes(v), cursor, ret_command);
}

void value_builder_init(struct value_builder *b)
{
	buffer_init(&b->framed, VALUE_MAX_BYTES);
	b->commands = 0;
}

void value_builder_release(struct value_builder *b)
{
	buffer_release(&b->framed);
	b->commands = 0;
}

bool value_builder_add(struct value_builder *b, struct bytes command)
{
	uint8_t *room;

	if (command.size > VALUE_MAX_BYTES - VALUE_FRAME_BYTES)
		return false;
	room = buffer_extend(&b->framed, VALUE_FRAME_BYTES + command.size);
	if (room == NULL)
		return false;
	frame_write(room, (uint32_t)command.size);
	if (command.size > 0)
		memcpy(room + VALUE_FRAME_BYTES, command.data, command.size);
	b->commands++;
	return true;
}

struct value *value_builder_finish(struct value_builder *b)
{
	struct bytes framed = buffer_view(&b->framed);
	struct value *v = value_make(framed, b->commands, bytes_hash(framed));

	/* The storage stays for the next value. */
	buffer_clear(&b->framed);
	b->commands = 0;
	return v;
}
