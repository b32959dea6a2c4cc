/*
 * Structs filled at random, and compared, as a table of wire/fields.h describes them: every field
 * of every message gets every kind of value that it may hold, without a line for each.
 */
#ifndef CHUBBY_TEST_FIELDS_RANDOM_H
#define CHUBBY_TEST_FIELDS_RANDOM_H

#include "base/arena.h"
#include "base/check.h"
#include "base/rng.h"
#include "wire/fields.h"

#include <string.h>

/* What a test of messages works with. */
struct setting {
	struct rng rng;
	struct arena arena;
	struct buffer out;
};

static inline void setting_init(struct setting *s, uint64_t seed)
{
	rng_init(&s->rng, seed);
	arena_init(&s->arena, (size_t)16 << 20);
	buffer_init(&s->out, (size_t)4 << 20);
}

/* Empties both, for the next round. */
static inline void setting_next(struct setting *s)
{
	arena_release(&s->arena);
	buffer_clear(&s->out);
}

static inline void setting_release(struct setting *s)
{
	arena_release(&s->arena);
	buffer_release(&s->out);
}

static inline struct bytes literal(const char *text, size_t size)
{
	return (struct bytes){(const uint8_t *)text, size};
}
#define LITERAL(text) literal(text, sizeof(text) - 1)

static inline uint64_t random_u64(struct rng *r)
{
	switch (rng_below(r, 5)) {
	case 0:
		return 0;
	case 1:
		return rng_below(r, 128);
	case 2:
		return UINT64_MAX - rng_below(r, 2);
	default:
		return rng_next(r) >> rng_below(r, 64);
	}
}

/* UTF-8 of one to four bytes a character, without NUL, at most `max` bytes. */
static inline struct bytes random_text(struct rng *r, struct arena *arena, size_t max, bool utf8)
{
	static const char *const characters[] = {"a",
						 "/",
						 "\x7f",
						 "\xc2\x80",
						 "\xc3\xa9",
						 "\xe2\x82\xac",
						 "\xef\xbf\xbf",
						 "\xf0\x9f\x94\x92"};
	size_t size = rng_below(r, 3) == 0 ? 0 : rng_below(r, (max < 40 ? max : 40) + 1);
	uint8_t *text;
	size_t used = 0;

	if (rng_below(r, 50) == 0)
		size = max;
	text = arena_alloc(arena, size + 1);
	CHECK(text != NULL);
	/* Of a long one the end is enough. */
	if (size > 4096) {
		memset(text, 'x', size);
		used = size - 100;
	}
	while (used < size) {
		const char *c = characters[rng_below(r, 8)];

		if (!utf8)
			text[used++] = (uint8_t)rng_next(r);
		else if (used + strlen(c) <= size)
			for (; *c != '\0'; c++)
				text[used++] = (uint8_t)*c;
		else
			text[used++] = 'z';
	}
	return (struct bytes){text, size};
}

static inline void fill(struct rng *r, struct arena *arena, const struct fields *t, uint8_t *base);

static inline void fill_array(struct rng *r, struct arena *arena, const struct field *f,
			      uint8_t *base)
{
	uint32_t count = (uint32_t)rng_below(r, (f->max < 5 ? f->max : 5) + 1);
	uint8_t *elements = base + f->offset;

	if (!(f->flags & FIELD_INLINE)) {
		elements = arena_alloc(arena, (size_t)count * f->element_bytes + 1);
		memcpy(base + f->offset, &elements, sizeof(elements));
	}
	memcpy(base + f->aux, &count, sizeof(count));
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *at = elements + (size_t)i * f->element_bytes;
		uint64_t n = random_u64(r);
		struct bytes text;

		if (f->type == FIELD_U64S) {
			memcpy(at, &n, sizeof(n));
		} else if (f->type == FIELD_TEXTS) {
			text = random_text(r, arena, FIELD_TEXTS_MAX_BYTES, true);
			memcpy(at, &text, sizeof(text));
		} else {
			fill(r, arena, f->message, at);
		}
	}
}

static inline void fill_message(struct rng *r, struct arena *arena, const struct field *f,
				uint8_t *base)
{
	bool there = true;
	uint32_t tells;

	memcpy(&tells, base + f->aux, sizeof(tells));
	if (f->flags & FIELD_IF_FLAG) {
		there = rng_below(r, 2) == 0;
		memcpy(base + f->aux, &there, sizeof(there));
	}
	if (f->flags & FIELD_IF_CASE)
		there = tells == f->max;
	if (f->flags & FIELD_IF_ERROR)
		there = tells != 0;
	if (there)
		fill(r, arena, f->message, base + f->offset);
}

static inline void fill_number(struct rng *r, const struct field *f, uint8_t *at)
{
	uint64_t n = random_u64(r);
	uint32_t small = (uint32_t)n;
	int64_t ns = (int64_t)(n % UINT32_MAX) * NS_PER_MS;
	bool flag = n & 1;

	switch (f->type) {
	case FIELD_BOOL:
		memcpy(at, &flag, sizeof(flag));
		break;
	case FIELD_ERROR:
		small = 1 + small % ERROR_WRONG_KIND;
		memcpy(at, &small, sizeof(small));
		break;
	case FIELD_ENUM:
		small = f->min + small % (f->max - f->min + 1);
		memcpy(at, &small, sizeof(small));
		break;
	case FIELD_MASK:
		small &= ((UINT32_C(1) << f->max) - 1) << 1;
		memcpy(at, &small, sizeof(small));
		break;
	case FIELD_MS:
	case FIELD_MS64:
		if (f->flags & FIELD_OPTIONAL && rng_below(r, 2) == 0)
			ns = -1;
		memcpy(at, &ns, sizeof(ns));
		break;
	default:
		memcpy(at, &n, sizeof(n));
		break;
	}
}

static inline void fill_u32(struct rng *r, const struct field *f, uint8_t *base)
{
	bool there = rng_below(r, 2) == 0;
	uint32_t n = (uint32_t)random_u64(r);

	if (f->flags & FIELD_IF_FLAG) {
		memcpy(base + f->aux, &there, sizeof(there));
		n = there ? n : 0;
	}
	memcpy(base + f->offset, &n, sizeof(n));
}

/* Kinds of oneofs, and errors that make a part appear, are set before. */
static inline void fill(struct rng *r, struct arena *arena, const struct fields *t, uint8_t *base)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct field *f = &t->rows[i];
		struct bytes texts[FIELD_NAMES_COUNT];

		switch (f->type) {
		case FIELD_MESSAGE:
			fill_message(r, arena, f, base);
			break;
		case FIELD_MESSAGES:
		case FIELD_TEXTS:
		case FIELD_U64S:
			fill_array(r, arena, f, base);
			break;
		case FIELD_BYTES:
		case FIELD_TEXT:
			texts[0] = random_text(r, arena, f->max, f->type == FIELD_TEXT);
			memcpy(base + f->offset, texts, sizeof(texts[0]));
			break;
		case FIELD_NAMES:
			for (size_t n = 0; n < FIELD_NAMES_COUNT; n++)
				texts[n] = random_text(r, arena, f->max, f->flags & FIELD_UTF8);
			memcpy(base + f->offset, texts, sizeof(texts));
			break;
		case FIELD_U32:
			fill_u32(r, f, base);
			break;
		default:
			fill_number(r, f, base + f->offset);
			break;
		}
	}
}

/* NULL, or the trouble text of the first field that differs. */
static inline const char *difference(const struct fields *t, const uint8_t *a, const uint8_t *b);

static inline bool texts_equal(const uint8_t *a, const uint8_t *b, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct bytes x, y;

		memcpy(&x, a + i * sizeof(x), sizeof(x));
		memcpy(&y, b + i * sizeof(y), sizeof(y));
		if (!bytes_equal(x, y))
			return false;
	}
	return true;
}

static inline const char *array_difference(const struct field *f, const uint8_t *a,
					   const uint8_t *b)
{
	const uint8_t *x = a + f->offset, *y = b + f->offset;
	uint32_t count, other;

	memcpy(&count, a + f->aux, sizeof(count));
	memcpy(&other, b + f->aux, sizeof(other));
	if (count != other)
		return f->trouble;
	if (!(f->flags & FIELD_INLINE)) {
		memcpy(&x, a + f->offset, sizeof(x));
		memcpy(&y, b + f->offset, sizeof(y));
	}
	if (f->type == FIELD_U64S)
		return count == 0 || memcmp(x, y, (size_t)count * 8) == 0 ? NULL : f->trouble;
	if (f->type == FIELD_TEXTS)
		return texts_equal(x, y, count) ? NULL : f->trouble;
	for (uint32_t i = 0; i < count; i++) {
		const char *d = difference(f->message, x + (size_t)i * f->element_bytes,
					   y + (size_t)i * f->element_bytes);

		if (d != NULL)
			return d;
	}
	return NULL;
}

static inline const char *message_difference(const struct field *f, const uint8_t *a,
					     const uint8_t *b)
{
	uint32_t tells, other;

	if (f->flags & FIELD_IF_FLAG) {
		if (a[f->aux] != b[f->aux])
			return f->trouble;
		if (!a[f->aux])
			return NULL;
	}
	if (f->flags & (FIELD_IF_CASE | FIELD_IF_ERROR)) {
		memcpy(&tells, a + f->aux, sizeof(tells));
		memcpy(&other, b + f->aux, sizeof(other));
		if (tells != other)
			return f->trouble;
		if (f->flags & FIELD_IF_CASE ? tells != f->max : tells == 0)
			return NULL;
	}
	return difference(f->message, a + f->offset, b + f->offset);
}

static inline const char *difference(const struct fields *t, const uint8_t *a, const uint8_t *b)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct field *f = &t->rows[i];
		const uint8_t *x = a + f->offset, *y = b + f->offset;
		const char *d = NULL;
		bool same = true;

		switch (f->type) {
		case FIELD_MESSAGE:
			d = message_difference(f, a, b);
			break;
		case FIELD_MESSAGES:
		case FIELD_TEXTS:
		case FIELD_U64S:
			d = array_difference(f, a, b);
			break;
		case FIELD_BYTES:
		case FIELD_TEXT:
			same = texts_equal(x, y, 1);
			break;
		case FIELD_NAMES:
			same = texts_equal(x, y, FIELD_NAMES_COUNT);
			break;
		case FIELD_BOOL:
			same = *x == *y;
			break;
		case FIELD_U32:
			same = memcmp(x, y, 4) == 0 &&
			       (!(f->flags & FIELD_IF_FLAG) || a[f->aux] == b[f->aux]);
			break;
		case FIELD_ENUM:
		case FIELD_ERROR:
		case FIELD_MASK:
			same = memcmp(x, y, 4) == 0;
			break;
		default:
			same = memcmp(x, y, 8) == 0;
			break;
		}
		if (d != NULL || !same)
			return d != NULL ? d : f->trouble;
	}
	return NULL;
}

/* A copy with some bytes changed, dropped or added, as damage or malice would. */
static inline struct bytes damaged(struct rng *r, struct arena *arena, struct bytes b)
{
	uint8_t *copy = arena_alloc(arena, b.size + 16);
	size_t size = b.size;

	CHECK(copy != NULL);
	if (size > 0)
		memcpy(copy, b.data, size);
	for (uint64_t n = 1 + rng_below(r, 4); n > 0; n--) {
		size_t at = rng_below(r, size + 1);

		switch (rng_below(r, 4)) {
		case 0:
			if (at < size)
				copy[at] ^= (uint8_t)(1u << rng_below(r, 8));
			break;
		case 1:
			if (at < size)
				copy[at] = (uint8_t)rng_next(r);
			break;
		case 2:
			if (at < size) {
				memmove(copy + at, copy + at + 1, size - at - 1);
				size--;
			}
			break;
		default:
			memmove(copy + at + 1, copy + at, size - at);
			copy[at] = (uint8_t)rng_next(r);
			size++;
			break;
		}
	}
	return (struct bytes){copy, size};
}

#endif
