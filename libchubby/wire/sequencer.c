#include "wire/sequencer.h"

#include "wire/path.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* "1:x:" and five numbers of at most 20 digits with their separators. */
#define PREFIX_MAX_BYTES 128

static bool within_limits(const struct sequencer *s)
{
	return (s->mode == WIRE_LOCK_EXCLUSIVE || s->mode == WIRE_LOCK_SHARED) &&
	       s->instance <= REVISION_MAX && s->revision <= REVISION_MAX &&
	       s->fencing_token <= REVISION_MAX && s->lock_generation <= REVISION_MAX;
}

enum error sequencer_format(const struct sequencer *s, struct buffer *ret_text)
{
	char prefix[PREFIX_MAX_BYTES];
	struct bytes cell, inner;
	size_t start = ret_text->size;
	const char *trouble;
	int size;

	if (!within_limits(s) || path_parse(s->path, &cell, &inner, &trouble) != ERROR_OK)
		return ERROR_INVALID_ARGUMENT;
	size = snprintf(prefix, sizeof(prefix),
			"1:%c:%" PRIu64 ":%" PRIu64 ".%" PRIu32 ":%" PRIu64 ":%" PRIu64 ":",
			s->mode == WIRE_LOCK_EXCLUSIVE ? 'x' : 's', s->instance, s->revision,
			s->index, s->fencing_token, s->lock_generation);
	if (buffer_append(ret_text, (struct bytes){(const uint8_t *)prefix, (size_t)size}) &&
	    buffer_append(ret_text, s->path) && ret_text->size - start <= WIRE_SEQUENCER_MAX_BYTES)
		return ERROR_OK;
	ret_text->size = start;
	return ERROR_TOO_LARGE;
}

static bool take_text(struct bytes *rest, const char *text)
{
	struct bytes wanted = bytes_of_text(text);

	if (rest->size < wanted.size || memcmp(rest->data, wanted.data, wanted.size) != 0)
		return false;
	rest->data += wanted.size;
	rest->size -= wanted.size;
	return true;
}

/* A decimal number as printf writes it, up to `max`, and the character behind it. */
static bool take_number(struct bytes *rest, uint64_t max, const char *end, uint64_t *ret_number)
{
	uint64_t n = 0;
	size_t digits = 0;

	while (digits < rest->size && rest->data[digits] >= '0' && rest->data[digits] <= '9') {
		/* Since max stays below 2^53, ten times n cannot overflow. */
		n = n * 10 + (uint64_t)(rest->data[digits] - '0');
		if (n > max)
			return false;
		digits++;
	}
	if (digits == 0 || (digits > 1 && rest->data[0] == '0'))
		return false;
	rest->data += digits;
	rest->size -= digits;
	*ret_number = n;
	return take_text(rest, end);
}

enum error sequencer_parse(struct bytes text, struct sequencer *ret_sequencer)
{
	struct bytes rest = text, cell, inner;
	struct sequencer s = {.mode = WIRE_LOCK_EXCLUSIVE};
	const char *trouble;
	uint64_t index;

	if (text.size > WIRE_SEQUENCER_MAX_BYTES)
		return ERROR_SEQUENCER_INVALID;
	if (!take_text(&rest, "1:x:")) {
		if (!take_text(&rest, "1:s:"))
			return ERROR_SEQUENCER_INVALID;
		s.mode = WIRE_LOCK_SHARED;
	}
	if (!take_number(&rest, REVISION_MAX, ":", &s.instance) ||
	    !take_number(&rest, REVISION_MAX, ".", &s.revision) ||
	    !take_number(&rest, UINT32_MAX, ":", &index) ||
	    !take_number(&rest, REVISION_MAX, ":", &s.fencing_token) ||
	    !take_number(&rest, REVISION_MAX, ":", &s.lock_generation) ||
	    path_parse(rest, &cell, &inner, &trouble) != ERROR_OK)
		return ERROR_SEQUENCER_INVALID;
	s.index = (uint32_t)index;
	s.path = rest;
	*ret_sequencer = s;
	return ERROR_OK;
}
