/*
 * Borrowed bytes, growable buffers with a maximum, and fixed texts.
 *
 * `struct bytes` never owns: whoever hands one out says until when it is valid. `struct buffer`
 * owns what it holds and cannot be made without a maximum.
 */
#ifndef CHUBBY_BASE_BYTES_H
#define CHUBBY_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bytes {
	const uint8_t *data; /* may be NULL when size is 0 */
	size_t size;
};

#define BYTES_NONE ((struct bytes){NULL, 0})

/* The bytes of a NUL-terminated text, without the NUL; valid as long as the text. */
struct bytes bytes_of_text(const char *text);
bool bytes_equal(struct bytes a, struct bytes b);
/* Lexicographic by unsigned byte: <0, 0, >0. */
int bytes_compare(struct bytes a, struct bytes b);
/* XXH3-64. The same on every machine; used for checksums and hash tables alike. */
uint64_t bytes_hash(struct bytes b);
/* A NUL-terminated copy that the caller frees. Bytes after an embedded NUL are kept. */
char *bytes_to_text(struct bytes b);

struct buffer {
	uint8_t *data; /* owned */
	size_t size;
	size_t capacity;
	size_t max_size;
};

void buffer_init(struct buffer *b, size_t max_size);
/* Frees the storage; the buffer may be used again with the same maximum. */
void buffer_release(struct buffer *b);
void buffer_clear(struct buffer *b);
/* False, and nothing changed, if the maximum would be exceeded. */
__attribute__((warn_unused_result)) bool buffer_append(struct buffer *b, struct bytes tail);
/* Room for `size` more bytes at the end, counted as used; NULL beyond the maximum. */
__attribute__((warn_unused_result)) uint8_t *buffer_extend(struct buffer *b, size_t size);
struct bytes buffer_view(const struct buffer *b);

#endif
