#include "wire/fields.h"

#include "base/check.h"

#include <pb.h>
#include <string.h>

#define VARINT_MAX_BYTES 10

static size_t varint_size(uint64_t v)
{
	size_t bits = 64 - (size_t)__builtin_clzll(v | 1);

	return (bits + 6) / 7;
}

static uint8_t *varint_write(uint8_t *to, uint64_t v)
{
	while (v >= 0x80) {
		*to++ = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	*to++ = (uint8_t)v;
	return to;
}

static uint8_t *tag_write(uint8_t *to, uint32_t number, pb_wire_type_t type)
{
	return varint_write(to, (uint64_t)number << 3 | (uint64_t)type);
}

static bool put_varint(struct buffer *b, uint32_t number, uint64_t v)
{
	uint8_t text[2 * VARINT_MAX_BYTES];
	uint8_t *end = varint_write(tag_write(text, number, PB_WT_VARINT), v);

	return buffer_append(b, (struct bytes){text, (size_t)(end - text)});
}

static bool put_fixed64(struct buffer *b, uint32_t number, uint64_t v)
{
	uint8_t text[VARINT_MAX_BYTES + 8];
	uint8_t *end = tag_write(text, number, PB_WT_64BIT);

	for (unsigned i = 0; i < 8; i++)
		*end++ = (uint8_t)(v >> (8 * i));
	return buffer_append(b, (struct bytes){text, (size_t)(end - text)});
}

static bool put_bytes(struct buffer *b, uint32_t number, struct bytes content)
{
	uint8_t text[2 * VARINT_MAX_BYTES];
	uint8_t *end = varint_write(tag_write(text, number, PB_WT_STRING), content.size);

	return buffer_append(b, (struct bytes){text, (size_t)(end - text)}) &&
	       buffer_append(b, content);
}

static enum error full_unless(bool fits)
{
	return fits ? ERROR_OK : ERROR_TOO_LARGE;
}

/* ---- messages within messages ---- */

bool fields_begin(struct buffer *b, uint32_t number, size_t expected_bytes,
		  struct fields_mark *ret_mark)
{
	uint8_t text[VARINT_MAX_BYTES];
	uint8_t *end = tag_write(text, number, PB_WT_STRING);
	size_t room = varint_size(expected_bytes);

	if (!buffer_append(b, (struct bytes){text, (size_t)(end - text)}) ||
	    buffer_extend(b, room) == NULL)
		return false;
	*ret_mark = (struct fields_mark){.body = b->size, .room = room};
	return true;
}

bool fields_end(struct buffer *b, const struct fields_mark *mark)
{
	size_t size = b->size - mark->body;
	size_t needed = varint_size(size);

	CHECK(b->size >= mark->body);
	if (needed > mark->room && buffer_extend(b, needed - mark->room) == NULL)
		return false;
	if (needed < mark->room)
		b->size -= mark->room - needed;
	if (needed != mark->room)
		memmove(b->data + mark->body - mark->room + needed, b->data + mark->body, size);
	varint_write(b->data + mark->body - mark->room, size);
	return true;
}

static enum error encode_rows(const struct fields *table, const uint8_t *source, struct buffer *b);

static enum error put_message(const struct field *f, const uint8_t *source, bool even_if_empty,
			      struct buffer *b)
{
	size_t start = b->size, expected = 0;
	struct fields_mark mark;
	struct bytes bulk;
	enum error e;

	if (f->message->bulk > 0) {
		memcpy(&bulk, source + f->message->bulk - 1, sizeof(bulk));
		expected = bulk.size;
	}
	if (!fields_begin(b, f->number, expected, &mark))
		return ERROR_TOO_LARGE;
	e = encode_rows(f->message, source, b);
	if (e != ERROR_OK)
		return e;
	if (b->size == mark.body && !even_if_empty) {
		b->size = start;
		return ERROR_OK;
	}
	return full_unless(fields_end(b, &mark));
}

static enum error put_single_message(const struct field *f, const uint8_t *source, struct buffer *b)
{
	uint32_t number;
	bool flag;

	if (f->flags & FIELD_IF_FLAG) {
		memcpy(&flag, source + f->aux, sizeof(flag));
		if (!flag)
			return ERROR_OK;
		return put_message(f, source + f->offset, true, b);
	}
	if (f->flags & (FIELD_IF_CASE | FIELD_IF_ERROR)) {
		memcpy(&number, source + f->aux, sizeof(number));
		if (f->flags & FIELD_IF_CASE ? number != f->max : number == 0)
			return ERROR_OK;
		return put_message(f, source + f->offset, true, b);
	}
	return put_message(f, source + f->offset, false, b);
}

/* ---- arrays ---- */

static uint32_t load_u32(const uint8_t *at)
{
	uint32_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

static uint64_t load_u64(const uint8_t *at)
{
	uint64_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

static struct bytes load_bytes(const uint8_t *at)
{
	struct bytes b;

	memcpy(&b, at, sizeof(b));
	return b;
}

static const uint8_t *load_pointer(const uint8_t *at)
{
	const uint8_t *pointer;

	memcpy(&pointer, at, sizeof(pointer));
	return pointer;
}

/* Names keep their places: an empty one is written when one follows. */
static enum error put_names(const struct field *f, const uint8_t *member, struct buffer *b)
{
	struct bytes names[FIELD_NAMES_COUNT];
	size_t count = FIELD_NAMES_COUNT;

	memcpy(names, member, sizeof(names));
	while (count > 0 && names[count - 1].size == 0)
		count--;
	for (size_t i = 0; i < count; i++) {
		if (names[i].size > f->max || !put_bytes(b, f->number, names[i]))
			return ERROR_TOO_LARGE;
	}
	return ERROR_OK;
}

static enum error put_mask(const struct field *f, uint32_t mask, struct buffer *b)
{
	struct fields_mark mark;

	if (mask == 0)
		return ERROR_OK;
	if (mask & 1 || (f->max < 31 && mask >> (f->max + 1) != 0))
		return ERROR_INVALID_ARGUMENT;
	if (!fields_begin(b, f->number, 0, &mark))
		return ERROR_TOO_LARGE;
	for (uint8_t n = 1; n <= f->max; n++) {
		if (mask & UINT32_C(1) << n && !buffer_append(b, (struct bytes){&n, 1}))
			return ERROR_TOO_LARGE;
	}
	return full_unless(fields_end(b, &mark));
}

static enum error put_u64s(const struct field *f, const uint8_t *elements, uint32_t count,
			   struct buffer *b)
{
	struct fields_mark mark;

	if (!fields_begin(b, f->number, count, &mark))
		return ERROR_TOO_LARGE;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t text[VARINT_MAX_BYTES];
		uint8_t *end = varint_write(text, load_u64(elements + (size_t)i * 8));

		if (!buffer_append(b, (struct bytes){text, (size_t)(end - text)}))
			return ERROR_TOO_LARGE;
	}
	return full_unless(fields_end(b, &mark));
}

static enum error put_array(const struct field *f, const uint8_t *source, struct buffer *b)
{
	const uint8_t *member = source + f->offset;
	const uint8_t *elements = f->flags & FIELD_INLINE ? member : load_pointer(member);
	uint32_t count = load_u32(source + f->aux);

	if (count == 0)
		return ERROR_OK;
	if (count > f->max)
		return ERROR_TOO_LARGE;
	if (f->type == FIELD_U64S)
		return put_u64s(f, elements, count, b);
	for (uint32_t i = 0; i < count; i++, elements += f->element_bytes) {
		enum error e;

		if (f->type == FIELD_MESSAGES) {
			e = put_message(f, elements, true, b);
		} else {
			struct bytes text = load_bytes(elements);

			e = full_unless(text.size <= FIELD_TEXTS_MAX_BYTES &&
					put_bytes(b, f->number, text));
		}
		if (e != ERROR_OK)
			return e;
	}
	return ERROR_OK;
}

/* ---- numbers ---- */

/* Beyond what the field can say, the longest that it can: 49 days. */
static uint64_t milliseconds(const struct field *f, int64_t ns)
{
	uint64_t ms;

	if (ns <= 0)
		return 0;
	ms = (uint64_t)(ns / NS_PER_MS);
	if (f->flags & FIELD_ROUND_UP && ns % NS_PER_MS != 0)
		ms++;
	return f->type == FIELD_MS && ms > UINT32_MAX ? UINT32_MAX : ms;
}

static enum error put_number(const struct field *f, const uint8_t *member, struct buffer *b)
{
	uint64_t v;

	switch (f->type) {
	case FIELD_BOOL:
		v = *member;
		break;
	case FIELD_ERROR:
		v = load_u32(member);
		break;
	case FIELD_ENUM:
		v = load_u32(member);
		if (v < f->min || v > f->max)
			return ERROR_INVALID_ARGUMENT;
		break;
	case FIELD_MS:
	case FIELD_MS64:
		v = milliseconds(f, (int64_t)load_u64(member));
		if (f->flags & FIELD_OPTIONAL)
			return (int64_t)load_u64(member) < 0
				       ? ERROR_OK
				       : full_unless(put_varint(b, f->number, v));
		break;
	default:
		v = load_u64(member);
		break;
	}
	if (v == 0)
		return ERROR_OK;
	return full_unless(f->type == FIELD_FIXED64 ? put_fixed64(b, f->number, v)
						    : put_varint(b, f->number, v));
}

static enum error put_u32(const struct field *f, const uint8_t *source, struct buffer *b)
{
	uint32_t v = load_u32(source + f->offset);
	bool present = v != 0;

	if (f->flags & FIELD_IF_FLAG)
		memcpy(&present, source + f->aux, sizeof(present));
	return present ? full_unless(put_varint(b, f->number, v)) : ERROR_OK;
}

static enum error encode_rows(const struct fields *table, const uint8_t *source, struct buffer *b)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct field *f = &table->rows[i];
		enum error e;

		switch (f->type) {
		case FIELD_BYTES:
		case FIELD_TEXT: {
			struct bytes content = load_bytes(source + f->offset);

			if (content.size == 0)
				continue;
			e = full_unless(content.size <= f->max && put_bytes(b, f->number, content));
			break;
		}
		case FIELD_U32:
			e = put_u32(f, source, b);
			break;
		case FIELD_MESSAGE:
			e = put_single_message(f, source, b);
			break;
		case FIELD_NAMES:
			e = put_names(f, source + f->offset, b);
			break;
		case FIELD_MASK:
			e = put_mask(f, load_u32(source + f->offset), b);
			break;
		case FIELD_TEXTS:
		case FIELD_U64S:
		case FIELD_MESSAGES:
			e = put_array(f, source, b);
			break;
		default:
			e = put_number(f, source + f->offset, b);
			break;
		}
		if (e != ERROR_OK)
			return e;
	}
	return ERROR_OK;
}

enum error fields_encode(const struct fields *table, const void *source, struct buffer *ret_bytes)
{
	size_t start = ret_bytes->size;
	enum error e = encode_rows(table, source, ret_bytes);

	if (e != ERROR_OK)
		ret_bytes->size = start;
	return e;
}
