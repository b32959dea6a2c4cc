#include "wire/fields.h"

#include "base/check.h"
#include "wire/path.h"

#include <pb_decode.h>
#include <string.h>

/* One reading: what every level of it shares. */
struct decoding {
	struct arena *arena; /* borrowed */
	enum fields_mode mode;
	const char *trouble; /* constant; NULL: the bytes are no such message */
};

/* One message within it. */
struct level {
	struct decoding *d;
	const struct fields *table;
	pb_istream_t stream;
	const uint8_t *end; /* of the message: the input stands at end - stream.bytes_left */
	uint8_t *target;
	uint64_t seen;  /* bit n: row n stood in the message */
	size_t row;     /* of the latest field: where the search for the next begins */
	uint32_t names; /* read so far; no message has two fields of names */
};

static enum error decode_level(struct decoding *d, const struct fields *table, struct bytes b,
			       uint8_t *target);

static enum error refuse(struct decoding *d, const struct field *f, enum error e)
{
	d->trouble = f->trouble;
	return e;
}

static uint32_t load_u32(const uint8_t *at)
{
	uint32_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

static void store_u32(uint8_t *at, uint32_t n)
{
	memcpy(at, &n, sizeof(n));
}

static void store_u64(uint8_t *at, uint64_t n)
{
	memcpy(at, &n, sizeof(n));
}

/* A length and the bytes that follow it, borrowed from the input. */
static bool read_bytes(pb_istream_t *stream, const uint8_t *end, struct bytes *ret_bytes)
{
	uint32_t size;

	if (!pb_decode_varint32(stream, &size) || size > stream->bytes_left)
		return false;
	*ret_bytes = (struct bytes){end - stream->bytes_left, size};
	return pb_read(stream, NULL, size);
}

/* ---- numbers ---- */

static bool store_milliseconds(const struct field *f, uint8_t *member, uint64_t v)
{
	uint64_t most = f->type == FIELD_MS ? UINT32_MAX : (uint64_t)(INT64_MAX / NS_PER_MS);

	if (v > most)
		return false;
	store_u64(member, v * (uint64_t)NS_PER_MS);
	return true;
}

/* False for a number that the field cannot hold. */
static bool store_number(const struct field *f, uint8_t *member, uint64_t v)
{
	bool flag = v == 1;

	switch (f->type) {
	case FIELD_BOOL:
		if (v > 1)
			return false;
		memcpy(member, &flag, sizeof(flag));
		return true;
	case FIELD_U32:
		if (v > UINT32_MAX)
			return false;
		store_u32(member, (uint32_t)v);
		return true;
	case FIELD_ENUM:
		if (v < f->min || v > f->max)
			return false;
		store_u32(member, (uint32_t)v);
		return true;
	case FIELD_ERROR:
		store_u32(member, error_from_number(v > UINT32_MAX ? UINT32_MAX : (unsigned)v));
		return true;
	case FIELD_MASK:
		if (v == 0 || v > f->max)
			return false;
		store_u32(member, load_u32(member) | UINT32_C(1) << v);
		return true;
	case FIELD_MS:
	case FIELD_MS64:
		return store_milliseconds(f, member, v);
	default:
		store_u64(member, v);
		return true;
	}
}

static enum error read_number(struct level *l, const struct field *f, pb_wire_type_t type)
{
	const bool present = true;
	uint64_t v = 0;

	if (f->type == FIELD_FIXED64) {
		if (type != PB_WT_64BIT || !pb_decode_fixed64(&l->stream, &v))
			return ERROR_MALFORMED;
	} else if (type != PB_WT_VARINT || !pb_decode_varint(&l->stream, &v)) {
		return ERROR_MALFORMED;
	}
	if (!store_number(f, l->target + f->offset, v))
		return refuse(l->d, f, ERROR_INVALID_ARGUMENT);
	if (f->flags & FIELD_IF_FLAG)
		memcpy(l->target + f->aux, &present, sizeof(present));
	return ERROR_OK;
}

/* ---- texts ---- */

static enum error read_text(struct level *l, const struct field *f, pb_wire_type_t type,
			    size_t max_bytes, bool utf8, struct bytes *ret_text)
{
	struct bytes text;

	if (type != PB_WT_STRING || !read_bytes(&l->stream, l->end, &text))
		return ERROR_MALFORMED;
	if (text.size > max_bytes)
		return refuse(l->d, f, ERROR_TOO_LARGE);
	if (utf8 && !text_valid(text))
		return refuse(l->d, f, ERROR_INVALID_ARGUMENT);
	*ret_text = text;
	return ERROR_OK;
}

static enum error read_name(struct level *l, const struct field *f, pb_wire_type_t type)
{
	struct bytes name;
	enum error e = read_text(l, f, type, f->max, f->flags & FIELD_UTF8, &name);

	if (e != ERROR_OK)
		return e;
	if (l->names == FIELD_NAMES_COUNT)
		return refuse(l->d, f, ERROR_TOO_LARGE);
	memcpy(l->target + f->offset + l->names * sizeof(name), &name, sizeof(name));
	l->names++;
	return ERROR_OK;
}

/* ---- arrays ---- */

/* Numbers in a packed run: each has one byte without the continuation bit. */
static size_t packed_count(struct bytes run)
{
	size_t count = 0;

	for (size_t i = 0; i < run.size; i++)
		count += run.data[i] < 0x80;
	return count;
}

/* Elements of this field from here to the end of the message; false where it is damaged. */
static bool count_elements(struct level *l, const struct field *f, pb_wire_type_t type,
			   size_t *ret_count)
{
	pb_istream_t rest = l->stream;
	size_t count = 0;
	uint32_t number = f->number;
	struct bytes run;
	bool eof;

	for (;;) {
		if (number != f->number || type != PB_WT_STRING) {
			if (!pb_skip_field(&rest, type))
				return false;
			count += number == f->number;
		} else {
			if (!read_bytes(&rest, l->end, &run))
				return false;
			count += f->type == FIELD_U64S ? packed_count(run) : 1;
		}
		if (rest.bytes_left == 0)
			break;
		if (!pb_decode_tag(&rest, &type, &number, &eof))
			return false;
	}
	*ret_count = count;
	return true;
}

/* Room for the whole array, at its first element. */
static enum error take_array(struct level *l, const struct field *f, pb_wire_type_t type)
{
	size_t count;
	void *array;

	if (!count_elements(l, f, type, &count))
		return ERROR_MALFORMED;
	if (count > f->max)
		return refuse(l->d, f, ERROR_TOO_LARGE);
	if (f->flags & FIELD_INLINE)
		return ERROR_OK;
	array = arena_alloc(l->d->arena, count * f->element_bytes);
	if (array == NULL)
		return refuse(l->d, f, ERROR_TOO_LARGE);
	memcpy(l->target + f->offset, &array, sizeof(array));
	return ERROR_OK;
}

static enum error read_u64s(struct level *l, const struct field *f, pb_wire_type_t type,
			    uint8_t *elements, uint32_t *count)
{
	pb_istream_t run_stream;
	struct bytes run;
	uint64_t v;

	if (type == PB_WT_VARINT) {
		if (!pb_decode_varint(&l->stream, &v))
			return ERROR_MALFORMED;
		store_u64(elements + (size_t)(*count)++ * 8, v);
		return ERROR_OK;
	}
	if (type != PB_WT_STRING || !read_bytes(&l->stream, l->end, &run))
		return ERROR_MALFORMED;
	run_stream = pb_istream_from_buffer(run.data, run.size);
	while (run_stream.bytes_left > 0) {
		if (!pb_decode_varint(&run_stream, &v))
			return ERROR_MALFORMED;
		store_u64(elements + (size_t)(*count)++ * 8, v);
	}
	return ERROR_OK;
}

static enum error read_element(struct level *l, const struct field *f, pb_wire_type_t type,
			       bool first)
{
	uint32_t count = load_u32(l->target + f->aux);
	uint8_t *elements = l->target + f->offset;
	struct bytes content = BYTES_NONE;
	enum error e = first ? take_array(l, f, type) : ERROR_OK;

	if (e != ERROR_OK)
		return e;
	if (!(f->flags & FIELD_INLINE))
		memcpy(&elements, l->target + f->offset, sizeof(elements));
	if (f->type == FIELD_U64S) {
		e = read_u64s(l, f, type, elements, &count);
	} else if (f->type == FIELD_TEXTS) {
		e = read_text(l, f, type, FIELD_TEXTS_MAX_BYTES, true, &content);
		if (e == ERROR_OK)
			memcpy(elements + (size_t)count++ * sizeof(content), &content,
			       sizeof(content));
	} else if (type != PB_WT_STRING || !read_bytes(&l->stream, l->end, &content)) {
		e = ERROR_MALFORMED;
	} else {
		e = decode_level(l->d, f->message, content,
				 elements + (size_t)count++ * f->element_bytes);
	}
	if (e == ERROR_OK)
		store_u32(l->target + f->aux, count);
	return e;
}

/* Packed, as proto3 writes it, or one by one, as it must be understood too. */
static enum error read_mask(struct level *l, const struct field *f, pb_wire_type_t type)
{
	pb_istream_t run_stream;
	struct bytes run;
	uint64_t v;

	if (type == PB_WT_VARINT)
		return read_number(l, f, type);
	if (type != PB_WT_STRING || !read_bytes(&l->stream, l->end, &run))
		return ERROR_MALFORMED;
	run_stream = pb_istream_from_buffer(run.data, run.size);
	while (run_stream.bytes_left > 0) {
		if (!pb_decode_varint(&run_stream, &v))
			return ERROR_MALFORMED;
		if (!store_number(f, l->target + f->offset, v))
			return refuse(l->d, f, ERROR_INVALID_ARGUMENT);
	}
	return ERROR_OK;
}

/* ---- messages ---- */

static enum error read_message(struct level *l, const struct field *f, pb_wire_type_t type,
			       bool first)
{
	const bool present = true;
	struct bytes body;

	if (!first)
		return refuse(l->d, f, ERROR_MALFORMED);
	if (type != PB_WT_STRING || !read_bytes(&l->stream, l->end, &body))
		return ERROR_MALFORMED;
	if (f->flags & FIELD_IF_FLAG)
		memcpy(l->target + f->aux, &present, sizeof(present));
	if (f->flags & FIELD_IF_CASE) {
		if (load_u32(l->target + f->aux) != 0)
			return refuse(l->d, f, ERROR_MALFORMED);
		store_u32(l->target + f->aux, f->max);
	}
	return decode_level(l->d, f->message, body, l->target + f->offset);
}

static bool is_repeated(const struct field *f)
{
	return f->type == FIELD_MESSAGES || f->type == FIELD_TEXTS || f->type == FIELD_U64S ||
	       f->type == FIELD_NAMES || f->type == FIELD_MASK;
}

/* The row of a number, searched from the latest one on, since fields come in order as a rule. */
static const struct field *find_row(struct level *l, uint32_t number)
{
	const struct fields *t = l->table;

	for (size_t i = 0; i < t->count; i++) {
		size_t row = l->row + i < t->count ? l->row + i : l->row + i - t->count;

		if (t->rows[row].number == number) {
			l->row = row;
			return &t->rows[row];
		}
	}
	return NULL;
}

static enum error read_field(struct level *l, uint32_t number, pb_wire_type_t type)
{
	size_t latest = l->row;
	const struct field *f = find_row(l, number);
	bool first;

	if (f == NULL) {
		if (l->d->mode == FIELDS_STRICT || !pb_skip_field(&l->stream, type))
			return ERROR_MALFORMED;
		return ERROR_OK;
	}
	first = (l->seen >> l->row & 1) == 0;
	if (l->d->mode == FIELDS_STRICT && (l->row < latest || (!first && !is_repeated(f))))
		return refuse(l->d, f, ERROR_MALFORMED);
	l->seen |= UINT64_C(1) << l->row;
	switch (f->type) {
	case FIELD_BYTES:
	case FIELD_TEXT: {
		struct bytes text;
		enum error e = read_text(l, f, type, f->max, f->type == FIELD_TEXT, &text);

		if (e == ERROR_OK)
			memcpy(l->target + f->offset, &text, sizeof(text));
		return e;
	}
	case FIELD_NAMES:
		return read_name(l, f, type);
	case FIELD_MASK:
		return read_mask(l, f, type);
	case FIELD_MESSAGE:
		return read_message(l, f, type, first);
	case FIELD_MESSAGES:
	case FIELD_TEXTS:
	case FIELD_U64S:
		return read_element(l, f, type, first);
	default:
		return read_number(l, f, type);
	}
}

/* What absence means, where it is not the zero that the target holds already. */
static enum error settle_absent(struct level *l)
{
	for (size_t i = 0; i < l->table->count; i++) {
		const struct field *f = &l->table->rows[i];

		if (!(f->flags & (FIELD_OPTIONAL | FIELD_REQUIRED)) || l->seen >> i & 1)
			continue;
		if (f->flags & FIELD_REQUIRED)
			return refuse(l->d, f, ERROR_MALFORMED);
		store_u64(l->target + f->offset, UINT64_MAX);
	}
	return ERROR_OK;
}

static enum error decode_level(struct decoding *d, const struct fields *table, struct bytes b,
			       uint8_t *target)
{
	struct level l = {.d = d, .table = table, .end = b.data + b.size, .target = target};
	pb_wire_type_t type;
	uint32_t number;
	bool eof;

	CHECK(table->count <= 64);
	l.stream = pb_istream_from_buffer(b.data, b.size);
	while (l.stream.bytes_left > 0) {
		enum error e;

		if (!pb_decode_tag(&l.stream, &type, &number, &eof) || number == 0)
			return ERROR_MALFORMED;
		e = read_field(&l, number, type);
		if (e != ERROR_OK)
			return e;
	}
	return settle_absent(&l);
}

enum error fields_decode(const struct fields *table, struct bytes b, struct arena *arena,
			 enum fields_mode mode, void *target, const char **ret_trouble)
{
	struct decoding d = {.arena = arena, .mode = mode};
	/* Pointer arithmetic on NULL is undefined, even by zero. */
	struct bytes input = b.size > 0 ? b : bytes_of_text("");
	enum error e = decode_level(&d, table, input, target);

	if (e != ERROR_OK)
		*ret_trouble = d.trouble != NULL ? d.trouble : "the bytes are no such message";
	return e;
}
