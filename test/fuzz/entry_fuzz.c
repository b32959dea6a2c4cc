/* Commands of the log. */
#include "fuzz.h"

#include "codec/codec.h"
#include "codec/tables.h"
#include "fields_random.h"

#define ARENA_BYTES ((size_t)16 << 20)

static void check_again(const struct entry *e, size_t size, struct arena *arena)
{
	struct buffer once, twice;
	struct entry again;
	enum error error;

	buffer_init(&once, VALUE_MAX_BYTES);
	buffer_init(&twice, VALUE_MAX_BYTES);
	error = codec_encode_entry(e, &once);
	CHECK(error == ERROR_OK);
	/* Nothing is skipped in records, so the shortest form is ours. */
	CHECK(once.size <= size);
	error = codec_decode_entry(buffer_view(&once), arena, &again);
	CHECK(error == ERROR_OK && again.kind == e->kind);
	CHECK(difference(&codec_entry, (const uint8_t *)e, (const uint8_t *)&again) == NULL);
	error = codec_encode_entry(&again, &twice);
	CHECK(error == ERROR_OK && bytes_equal(buffer_view(&once), buffer_view(&twice)));
	buffer_release(&once);
	buffer_release(&twice);
}

static void decode(struct bytes b, size_t arena_bytes)
{
	struct entry e, untouched;
	struct arena arena;

	memset(&e, 0x5a, sizeof(e));
	memset(&untouched, 0x5a, sizeof(untouched));
	arena_init(&arena, arena_bytes);
	if (codec_decode_entry(b, &arena, &e) != ERROR_OK)
		CHECK(memcmp(&e, &untouched, sizeof(e)) == 0);
	else if (arena_bytes == ARENA_BYTES)
		check_again(&e, b.size, &arena);
	CHECK(arena.used_bytes <= arena.max_bytes);
	arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = {data, size};

	if (size > VALUE_MAX_BYTES)
		return 0;
	decode(b, ARENA_BYTES);
	decode(b, size / 2);
	return 0;
}
