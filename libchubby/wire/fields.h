/*
 * Protobuf messages to and from plain structs, by tables. For codec files only.
 *
 * A table (struct fields) lists the fields of one protobuf message: number, type, and the member
 * of the plain struct that holds it. One table serves both directions, and a bound or enum that
 * is checked on reading is checked on writing too. The numbers come from the headers that are
 * generated from the .proto files; test/unit/wire_test.c compares numbers and types of every
 * table with them.
 *
 * Why not nanopb's own structs: its strings end at a NUL, its sizes end at 64 KiB, and each
 * message would be copied field by field between its struct and ours. Its stream primitives read
 * the input.
 *
 * Rules
 *   - Numbers ascend within a table; a table has at most 64 rows.
 *   - A default (zero, empty) is not written, a message without content neither, except in
 *     arrays, cases, and where a presence member says so.
 *   - Memory for an array is taken once, after its elements have been counted and the count has
 *     been held against the row's maximum.
 *   - A message that may stand once and stands twice is MALFORMED. Protobuf would merge the two;
 *     no encoder makes that.
 */
#ifndef CHUBBY_WIRE_FIELDS_H
#define CHUBBY_WIRE_FIELDS_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/time.h"

#include <stddef.h>

/*      type           member             on the wire */
enum field_type {
	FIELD_BOOL,     /* bool             bool */
	FIELD_U32,      /* uint32_t         uint32 */
	FIELD_U64,      /* uint64_t         uint64 */
	FIELD_I64,      /* int64_t          int64 (or uint64, where it is never negative) */
	FIELD_FIXED64,  /* uint64_t         fixed64 */
	FIELD_ENUM,     /* enum, uint32_t   enum or uint32 in min..max */
	FIELD_ERROR,    /* enum error       enum; numbers that we do not know become INTERNAL */
	FIELD_MS,       /* int64_t, ns      uint32 milliseconds */
	FIELD_MS64,     /* int64_t, ns      uint64 milliseconds */
	FIELD_MASK,     /* uint32_t         repeated enum: bit n for number n, 1..max */
	FIELD_BYTES,    /* struct bytes     bytes, at most `max` */
	FIELD_TEXT,     /* struct bytes     string: valid UTF-8 without NUL, at most `max` bytes */
	FIELD_NAMES,    /* struct bytes[3]  repeated bytes or string: three, each at most `max` */
	FIELD_TEXTS,    /* pointer, count   repeated string, each at most FIELD_TEXTS_MAX_BYTES */
	FIELD_U64S,     /* pointer, count   repeated uint64 */
	FIELD_MESSAGE,  /* a struct         one message */
	FIELD_MESSAGES, /* pointer, count   repeated message; FIELD_INLINE: array, count */
};

enum field_flag {
	FIELD_ROUND_UP = 1, /* MS: a fraction counts as a whole; else it is dropped */
	FIELD_OPTIONAL = 2, /* MS: negative means absent, and absent is read as -1 */
	FIELD_REQUIRED = 4, /* absent is MALFORMED */
	FIELD_INLINE = 8,   /* MESSAGES: the array itself is the member, `max` long */
	FIELD_UTF8 = 16,    /* NAMES: strings */
	/* MESSAGE: when it is there. `aux` is the offset of the member that tells. */
	FIELD_IF_FLAG = 32,   /* a bool; U32 too */
	FIELD_IF_CASE = 64,   /* an enum that equals `max`: one case of a oneof */
	FIELD_IF_ERROR = 128, /* an enum error that is not OK */
};

#define FIELD_NAMES_COUNT 3
#define FIELD_TEXTS_MAX_BYTES 256

struct fields;

struct field {
	uint16_t number;
	uint8_t type;    /* enum field_type */
	uint8_t flags;   /* enum field_flag */
	uint16_t offset; /* of the member */
	uint16_t aux;    /* offset of the count, or of what tells the presence */
	uint32_t min;
	uint32_t max;
	uint32_t element_bytes;
	const struct fields *message;
	const char *trouble; /* a sentence that names the field */
};

struct fields {
	const struct field *rows;
	size_t count;
	/* Offset of a struct bytes that may be large, plus one; 0: none. A hint for the encoder. */
	size_t bulk;
};

/* Appends the message. TOO_LARGE or INVALID_ARGUMENT (an enum) leave `ret_bytes` as it was. */
MUST_USE enum error fields_encode(const struct fields *table, const void *source,
				  struct buffer *ret_bytes);

/* How to read. */
enum fields_mode {
	/* Unknown fields are skipped; fields may stand in any order. */
	FIELDS_LENIENT,
	/* What our encoder made, exactly: nothing unknown, numbers ascending. */
	FIELDS_STRICT,
};

/*
 * Reads a message into `target`, which the caller has zeroed. Bytes are borrowed from `b`; arrays
 * are in the arena. MALFORMED, TOO_LARGE, INVALID_ARGUMENT with a constant sentence; `target` is
 * then half filled and worthless.
 */
MUST_USE enum error fields_decode(const struct fields *table, struct bytes b, struct arena *arena,
				  enum fields_mode mode, void *target, const char **ret_trouble);

/*
 * A message around what is appended between the two calls. `expected_bytes` is a guess of its
 * size: a good one saves moving the contents. False when the buffer is full; the caller cuts it
 * back to where it was.
 */
struct fields_mark {
	size_t body;
	size_t room;
};
MUST_USE bool fields_begin(struct buffer *b, uint32_t number, size_t expected_bytes,
			   struct fields_mark *ret_mark);
MUST_USE bool fields_end(struct buffer *b, const struct fields_mark *mark);

/* ---- rows ------------------------------------------------------------------------------------
 * FIELD_PACKAGE is the generated prefix, such as chubby_v1; `m` the protobuf message, `f` its
 * field, `s` the plain struct, `at` the member. A member of the wrong size does not compile.
 */

#define FIELD_TAG(m, f) FIELD_TAG_OF(FIELD_PACKAGE, m, f)
#define FIELD_TAG_OF(p, m, f) FIELD_TAG_PASTE(p, m, f)
#define FIELD_TAG_PASTE(p, m, f) p##_##m##_##f##_tag

#define FIELD_SIZE(s, at) sizeof(((struct s *)NULL)->at)
#define FIELD_AT(s, at, size)                                                                      \
	(offsetof(struct s, at) + 0 * sizeof(char[FIELD_SIZE(s, at) == (size) ? 1 : -1]))

#define FIELD_ROW(m, f, t, s, at, size, why)                                                       \
	.number = FIELD_TAG(m, f), .type = (t), .offset = FIELD_AT(s, at, size),                   \
	.trouble = #m "." #f " " why
#define FIELD_RANGE "is out of range"

/* Formatted, each brace would have a line. */
/* clang-format off */

#define BOOL(m, f, s, at) {FIELD_ROW(m, f, FIELD_BOOL, s, at, sizeof(bool), FIELD_RANGE)}
#define U32(m, f, s, at) {FIELD_ROW(m, f, FIELD_U32, s, at, 4, FIELD_RANGE)}
/* One whose zero means something: `flag` tells whether it is there. */
#define U32_IF(m, f, s, at, flag)                                                                  \
	{FIELD_ROW(m, f, FIELD_U32, s, at, 4, FIELD_RANGE), .aux = FIELD_AT(s, flag, 1),           \
	 .flags = FIELD_IF_FLAG}
#define U64(m, f, s, at) {FIELD_ROW(m, f, FIELD_U64, s, at, 8, FIELD_RANGE)}
#define I64(m, f, s, at) {FIELD_ROW(m, f, FIELD_I64, s, at, 8, FIELD_RANGE)}
#define FIXED64(m, f, s, at) {FIELD_ROW(m, f, FIELD_FIXED64, s, at, 8, FIELD_RANGE)}
#define ENUM(m, f, s, at, last)                                                                    \
	{FIELD_ROW(m, f, FIELD_ENUM, s, at, 4, "is no number of its enum"), .max = (last)}
/* One that has no meaning at 0, so that it must be there. */
#define ENUM_REQUIRED(m, f, s, at, last)                                                           \
	{FIELD_ROW(m, f, FIELD_ENUM, s, at, 4, "is missing or no number of its enum"), .min = 1,   \
	 .max = (last), .flags = FIELD_REQUIRED}
#define ERROR_NUMBER(m, f, s, at) {FIELD_ROW(m, f, FIELD_ERROR, s, at, 4, FIELD_RANGE)}
#define MS_UP(m, f, s, at)                                                                         \
	{FIELD_ROW(m, f, FIELD_MS, s, at, 8, FIELD_RANGE), .flags = FIELD_ROUND_UP}
#define MS_DOWN(m, f, s, at) {FIELD_ROW(m, f, FIELD_MS, s, at, 8, FIELD_RANGE)}
#define MS_OPTIONAL(m, f, s, at, rounding)                                                         \
	{FIELD_ROW(m, f, FIELD_MS, s, at, 8, FIELD_RANGE), .flags = FIELD_OPTIONAL | (rounding)}
#define MS64(m, f, s, at) {FIELD_ROW(m, f, FIELD_MS64, s, at, 8, FIELD_RANGE)}
#define MASK(m, f, s, at, last)                                                                    \
	{FIELD_ROW(m, f, FIELD_MASK, s, at, 4, "holds no number of its enum"), .max = (last)}
#define BYTES(m, f, s, at, most)                                                                   \
	{FIELD_ROW(m, f, FIELD_BYTES, s, at, sizeof(struct bytes), "is too long"), .max = (most)}
#define TEXT(m, f, s, at, most)                                                                    \
	{FIELD_ROW(m, f, FIELD_TEXT, s, at, sizeof(struct bytes),                                  \
		   "is too long, or not UTF-8 without NUL"),                                       \
	 .max = (most)}
#define NAMES(m, f, s, at, most, utf8)                                                             \
	{FIELD_ROW(m, f, FIELD_NAMES, s, at, FIELD_NAMES_COUNT * sizeof(struct bytes),             \
		   "has more than three names, or one that is too long or no UTF-8 without NUL"),  \
	 .max = (most), .flags = (utf8)}
#define TEXTS(m, f, s, at, n, most)                                                                \
	{FIELD_ROW(m, f, FIELD_TEXTS, s, at, sizeof(void *),                                       \
		   "has too many texts, or one that is too long or no UTF-8 without NUL"),         \
	 .aux = FIELD_AT(s, n, 4), .max = (most), .element_bytes = sizeof(struct bytes)}
#define U64S(m, f, s, at, n, most)                                                                 \
	{FIELD_ROW(m, f, FIELD_U64S, s, at, sizeof(void *), "has too many elements"),              \
	 .aux = FIELD_AT(s, n, 4), .max = (most), .element_bytes = 8}

#define FIELD_INNER(m, f, s, at, table)                                                            \
	.number = FIELD_TAG(m, f), .type = FIELD_MESSAGE, .offset = offsetof(struct s, at),        \
	.message = (table), .trouble = #m "." #f " stands twice"
#define MESSAGE(m, f, s, at, table) {FIELD_INNER(m, f, s, at, table)}
/* Its fields are members of `s` itself. */
#define FLAT(m, f, table)                                                                          \
	{.number = FIELD_TAG(m, f), .type = FIELD_MESSAGE, .message = (table),                     \
	 .trouble = #m "." #f " stands twice"}
#define MESSAGE_IF(m, f, s, at, table, flag)                                                       \
	{FIELD_INNER(m, f, s, at, table), .aux = FIELD_AT(s, flag, 1), .flags = FIELD_IF_FLAG}
#define FLAT_IF_ERROR(m, f, s, table, error_at)                                                    \
	{.number = FIELD_TAG(m, f), .type = FIELD_MESSAGE, .message = (table),                     \
	 .aux = FIELD_AT(s, error_at, 4), .flags = FIELD_IF_ERROR,                                 \
	 .trouble = #m "." #f " stands twice"}
/* A case of a oneof whose fields are members of `s` itself: there when `kind_at` is `value`. */
#define CASE(m, f, s, kind_at, value, table)                                                       \
	{.number = FIELD_TAG(m, f), .type = FIELD_MESSAGE, .message = (table),                     \
	 .aux = FIELD_AT(s, kind_at, 4), .max = (value), .flags = FIELD_IF_CASE,                   \
	 .trouble = #m " has two bodies"}
#define MESSAGES(m, f, s, at, n, table, most)                                                      \
	{.number = FIELD_TAG(m, f), .type = FIELD_MESSAGES,                                        \
	 .offset = FIELD_AT(s, at, sizeof(void *)), .aux = FIELD_AT(s, n, 4), .max = (most),       \
	 .element_bytes = sizeof(*((struct s *)NULL)->at), .message = (table),                     \
	 .trouble = #m "." #f " has too many elements"}
#define MESSAGES_INLINE(m, f, s, at, n, table)                                                     \
	{.number = FIELD_TAG(m, f), .type = FIELD_MESSAGES, .flags = FIELD_INLINE,                 \
	 .offset = offsetof(struct s, at), .aux = FIELD_AT(s, n, 4),                               \
	 .max = sizeof(((struct s *)NULL)->at) / sizeof(((struct s *)NULL)->at[0]),                \
	 .element_bytes = sizeof(((struct s *)NULL)->at[0]), .message = (table),                   \
	 .trouble = #m "." #f " has too many elements"}

/* The table of a static array of rows. */
#define FIELDS(array) {.rows = (array), .count = sizeof(array) / sizeof((array)[0])}
#define FIELDS_BULK(array, s, at)                                                                  \
	{.rows = (array), .count = sizeof(array) / sizeof((array)[0]),                             \
	 .bulk = FIELD_AT(s, at, sizeof(struct bytes)) + 1}

/* clang-format on */

#endif
