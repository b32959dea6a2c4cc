/* The tables of wire/fields.h against the headers that nanopb generates from the .proto files. */
#ifndef CHUBBY_TEST_FIELDS_PROTO_H
#define CHUBBY_TEST_FIELDS_PROTO_H

#include "wire/fields.h"

enum proto_type {
	PROTO_BOOL,
	PROTO_UINT32,
	PROTO_INT32,
	PROTO_UINT64,
	PROTO_INT64,
	PROTO_FIXED64,
	PROTO_UENUM,
	PROTO_STRING,
	PROTO_BYTES,
	PROTO_MESSAGE,
};
enum proto_rule { PROTO_SINGULAR, PROTO_OPTIONAL, PROTO_ONEOF, PROTO_REPEATED };

struct proto_field {
	uint32_t number;
	enum proto_type type;
	enum proto_rule rule;
};

/* For NAME_FIELDLIST(PROTO_FIELD, _), which nanopb generates; for an empty list NULL. */
#define PROTO_FIELD(a, allocation, rule_, type_, name, number_)                                    \
	{.number = (number_), .type = PROTO_##type_, .rule = PROTO_##rule_},

static inline bool row_fits(const struct field *f, const struct proto_field *p)
{
	bool repeated = p->rule == PROTO_REPEATED;

	switch (f->type) {
	case FIELD_BOOL:
		return p->type == PROTO_BOOL && !repeated;
	case FIELD_U32:
		return (p->type == PROTO_UINT32 || p->type == PROTO_INT32) &&
		       p->rule == (f->flags & FIELD_IF_FLAG ? PROTO_OPTIONAL : PROTO_SINGULAR);
	case FIELD_U64:
		return p->type == PROTO_UINT64 && !repeated;
	case FIELD_I64:
		return (p->type == PROTO_INT64 || p->type == PROTO_UINT64) && !repeated;
	case FIELD_FIXED64:
		return p->type == PROTO_FIXED64 && !repeated;
	case FIELD_ENUM:
		return (p->type == PROTO_UENUM || p->type == PROTO_UINT32) && !repeated;
	case FIELD_ERROR:
		return p->type == PROTO_UENUM && !repeated;
	case FIELD_MS:
		return p->type == PROTO_UINT32 &&
		       p->rule == (f->flags & FIELD_OPTIONAL ? PROTO_OPTIONAL : PROTO_SINGULAR);
	case FIELD_MS64:
		return p->type == PROTO_UINT64 && !repeated;
	case FIELD_MASK:
		return p->type == PROTO_UENUM && repeated;
	case FIELD_BYTES:
		return p->type == PROTO_BYTES && !repeated;
	case FIELD_TEXT:
		return p->type == PROTO_STRING && !repeated;
	case FIELD_NAMES:
		return p->type == (f->flags & FIELD_UTF8 ? PROTO_STRING : PROTO_BYTES) && repeated;
	case FIELD_TEXTS:
		return p->type == PROTO_STRING && repeated;
	case FIELD_U64S:
		return p->type == PROTO_UINT64 && repeated;
	case FIELD_MESSAGE:
		return p->type == PROTO_MESSAGE && !repeated &&
		       (p->rule == PROTO_ONEOF) == ((f->flags & FIELD_IF_CASE) != 0);
	case FIELD_MESSAGES:
		return p->type == PROTO_MESSAGE && repeated;
	default:
		return false;
	}
}

/* Bytes of the struct that a row claims for itself; 0 where its fields are the struct's own. */
static inline size_t row_extent(const struct field *f)
{
	switch (f->type) {
	case FIELD_BOOL:
		return 1;
	case FIELD_U32:
	case FIELD_ENUM:
	case FIELD_ERROR:
	case FIELD_MASK:
		return 4;
	case FIELD_BYTES:
	case FIELD_TEXT:
		return sizeof(struct bytes);
	case FIELD_NAMES:
		return FIELD_NAMES_COUNT * sizeof(struct bytes);
	case FIELD_MESSAGE:
		return f->offset == 0 ? 0 : 1;
	case FIELD_MESSAGES:
		return f->flags & FIELD_INLINE ? (size_t)f->max * f->element_bytes : 8;
	default:
		return 8;
	}
}

/* NULL, or the row of this table that shares its member with another. */
static inline const char *shared_member(const struct fields *t)
{
	for (size_t i = 0; i < t->count; i++) {
		for (size_t j = i + 1; j < t->count; j++) {
			const struct field *a = &t->rows[i], *b = &t->rows[j];

			if (row_extent(a) > 0 && row_extent(b) > 0 &&
			    a->offset < b->offset + row_extent(b) &&
			    b->offset < a->offset + row_extent(a))
				return b->trouble;
		}
	}
	return NULL;
}

#endif
