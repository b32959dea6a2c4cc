/* Requests, as a client may send them: unary messages of every kind, and envelopes. */
#include "fuzz.h"

#include "fields_random.h"
#include "wire/codec.h"
#include "wire/tables.h"

#define ARENA_BYTES ((size_t)4 << 20)

/* What is refused is refused with a sentence, and leaves the caller's struct as it was. */
static void check_refused(const struct request *r, const char *trouble)
{
	struct request untouched;

	memset(&untouched, 0x5a, sizeof(untouched));
	CHECK(trouble != NULL && trouble[0] != '\0');
	CHECK(memcmp(r, &untouched, sizeof(untouched)) == 0);
}

static enum error decode(enum message_kind kind, struct bytes b, struct arena *arena,
			 uint64_t *ret_id, struct request *ret_request)
{
	const char *trouble = NULL;
	enum error e;

	memset(ret_request, 0x5a, sizeof(*ret_request));
	e = kind == MESSAGE_NONE
		    ? wire_decode_client_envelope(b, arena, ret_id, ret_request, &trouble)
		    : wire_decode_request(kind, b, arena, ret_request, &trouble);
	CHECK(arena->used_bytes <= arena->max_bytes);
	if (e != ERROR_OK)
		check_refused(ret_request, trouble);
	return e;
}

static void encode(enum message_kind kind, uint64_t id, const struct request *r,
		   struct buffer *ret_bytes)
{
	enum error e = kind == MESSAGE_NONE ? wire_encode_client_envelope(id, r, ret_bytes)
					    : wire_encode_request(r, ret_bytes);

	CHECK(e == ERROR_OK);
}

/* What was read can be written, and is read as the same. */
static void check_again(enum message_kind kind, uint64_t id, const struct request *r,
			struct arena *arena)
{
	struct buffer once, twice;
	struct request again;
	uint64_t id_again = 0;
	enum error e;

	buffer_init(&once, 2 * WIRE_MESSAGE_MAX_BYTES);
	buffer_init(&twice, 2 * WIRE_MESSAGE_MAX_BYTES);
	encode(kind, id, r, &once);
	e = decode(kind, buffer_view(&once), arena, &id_again, &again);
	CHECK(e == ERROR_OK);
	CHECK(again.kind == r->kind && id_again == id);
	CHECK(difference(&wire_requests[r->kind], (const uint8_t *)r, (const uint8_t *)&again) ==
	      NULL);
	encode(kind, id, &again, &twice);
	CHECK(bytes_equal(buffer_view(&once), buffer_view(&twice)));
	buffer_release(&once);
	buffer_release(&twice);
}

/* An arena that is too small refuses; it is never exceeded. */
static void check_small_arena(enum message_kind kind, struct bytes b)
{
	struct arena arena;
	struct request r;
	uint64_t id;

	arena_init(&arena, b.size + 64);
	(void)!decode(kind, b, &arena, &id, &r);
	arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	enum message_kind kind = (enum message_kind)feed_below(&f, MESSAGE_KIND_END);
	struct bytes b = {f.at, f.left};
	struct arena arena;
	struct request r;
	uint64_t id = 0;

	arena_init(&arena, ARENA_BYTES);
	if (decode(kind, b, &arena, &id, &r) == ERROR_OK && r.kind != MESSAGE_NONE)
		check_again(kind, id, &r, &arena);
	arena_release(&arena);
	check_small_arena(kind, b);
	return 0;
}
