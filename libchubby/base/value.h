/*
 * What one slot of the log holds: an immutable, reference-counted run of commands.
 *
 * A command is opaque bytes. Inside the value each is preceded by its length as four
 * little-endian bytes. The XXH3-64 checksum over the whole is made once, when the value is made,
 * and travels with it. A value without commands is the no-op. Not thread-safe: the counts belong
 * to the thread that owns the replica, except that a reference may be *handed* to another thread
 * which hands it back.
 */
#ifndef CHUBBY_BASE_VALUE_H
#define CHUBBY_BASE_VALUE_H

#include "bytes.h"

#define VALUE_MAX_BYTES ((size_t)1 << 20)
#define VALUE_FRAME_BYTES 4

struct value; /* opaque */

/* A value from its stored or received form, copied; NULL if the framing is damaged or too long. */
__attribute__((warn_unused_result)) struct value *value_parse(struct bytes framed);
/* The same, checked against the checksum that came with it; NULL on a mismatch too. */
__attribute__((warn_unused_result)) struct value *value_parse_checked(struct bytes framed,
								      uint64_t checksum);
struct value *value_noop(void);
struct value *value_ref(struct value *v);
/* Drops one reference; NULL is allowed. */
void value_unref(struct value *v);

/* The framed bytes, valid as long as a reference is held. */
struct bytes value_bytes(const struct value *v);
uint64_t value_checksum(const struct value *v);
uint32_t value_command_count(const struct value *v);
bool value_equal(const struct value *a, const struct value *b);

/*
 * Walks the commands: start with *cursor = 0; false at the end. The command is valid as long as a
 * reference to the value is held.
 */
bool value_next(const struct value *v, size_t *cursor, struct bytes *ret_command);

/* Collects commands into the next value. */
struct value_builder {
	struct buffer framed;
	uint32_t commands;
};

void value_builder_init(struct value_builder *b);
void value_builder_release(struct value_builder *b);
/* False, and nothing changed, when the command does not fit beside what is there. */
__attribute__((warn_unused_result)) bool value_builder_add(struct value_builder *b,
							   struct bytes command);
/* Makes a value of what was collected and empties the builder. */
struct value *value_builder_finish(struct value_builder *b);

#endif
