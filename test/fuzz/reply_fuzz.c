/* Replies, as a client reads them: unary ones of every kind, envelopes, and a refusal's status. */
#include "fuzz.h"

#include "fields_random.h"
#include "wire/codec.h"
#include "wire/tables.h"

#define ARENA_BYTES ((size_t)4 << 20)

/* What the bytes are read as: a kind of reply, or one of these. */
#define AS_ENVELOPE ((unsigned)MESSAGE_NONE)
#define AS_STATUS ((unsigned)MESSAGE_KIND_END)

static enum error decode(unsigned as, struct bytes b, struct arena *arena, uint64_t *ret_id,
			 struct reply *ret_reply)
{
	const char *trouble = NULL;
	struct reply untouched;
	enum error e;

	memset(ret_reply, 0x5a, sizeof(*ret_reply));
	memset(&untouched, 0x5a, sizeof(untouched));
	if (as == AS_ENVELOPE)
		e = wire_decode_server_envelope(b, arena, ret_id, ret_reply, &trouble);
	else if (as == AS_STATUS)
		e = wire_decode_status(b, arena, ret_reply);
	else
		e = wire_decode_reply((enum message_kind)as, b, arena, ret_reply, &trouble);
	CHECK(arena->used_bytes <= arena->max_bytes);
	if (e != ERROR_OK) {
		CHECK(as == AS_STATUS || (trouble != NULL && trouble[0] != '\0'));
		CHECK(memcmp(ret_reply, &untouched, sizeof(untouched)) == 0);
	}
	return e;
}

static void encode(unsigned as, uint64_t id, const struct reply *r, struct buffer *ret_bytes)
{
	enum error e = as == AS_ENVELOPE ? wire_encode_server_envelope(id, r, ret_bytes)
		       : as == AS_STATUS ? wire_encode_status(r, ret_bytes)
					 : wire_encode_reply(r, ret_bytes);

	CHECK(e == ERROR_OK);
}

/* A refusal without a sentence gets one when it is written. */
static void check_same(const struct reply *a, const struct reply *b)
{
	struct reply with = *a;

	CHECK(a->kind == b->kind && a->error == b->error);
	if (a->error == ERROR_OK) {
		CHECK(difference(&wire_replies[a->kind], (const uint8_t *)a, (const uint8_t *)b) ==
		      NULL);
		return;
	}
	if (a->message.size == 0)
		with.message = bytes_of_text(error_text(a->error));
	CHECK(difference(&wire_error, (const uint8_t *)&with, (const uint8_t *)b) == NULL);
}

static void check_again(unsigned as, uint64_t id, const struct reply *r, struct arena *arena)
{
	struct buffer once, twice;
	struct reply again;
	uint64_t id_again = 0;
	enum error e;

	buffer_init(&once, 2 * WIRE_MESSAGE_MAX_BYTES);
	buffer_init(&twice, 2 * WIRE_MESSAGE_MAX_BYTES);
	encode(as, id, r, &once);
	e = decode(as, buffer_view(&once), arena, &id_again, &again);
	CHECK(e == ERROR_OK);
	CHECK(id_again == id);
	check_same(r, &again);
	encode(as, id, &again, &twice);
	CHECK(bytes_equal(buffer_view(&once), buffer_view(&twice)));
	buffer_release(&once);
	buffer_release(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	unsigned as = feed_below(&f, AS_STATUS + 1);
	struct arena arena;
	struct reply r;
	uint64_t id = 0;

	arena_init(&arena, ARENA_BYTES);
	/* An envelope of a newer version may hold what is nothing to us. */
	if (decode(as, (struct bytes){f.at, f.left}, &arena, &id, &r) == ERROR_OK &&
	    (r.kind != MESSAGE_NONE || r.error != ERROR_OK))
		check_again(as, id, &r, &arena);
	arena_release(&arena);
	arena_init(&arena, f.left + 64);
	(void)!decode(as, (struct bytes){f.at, f.left}, &arena, &id, &r);
	arena_release(&arena);
	return 0;
}
