/* Frames from other replicas. */
#include "fuzz.h"

#include "codec/codec.h"

#define ARENA_BYTES ((size_t)16 << 20)

/* Every part of what was read, written again. */
static void encode(const struct codec_frame *f, struct buffer *ret_bytes)
{
	enum error e = ERROR_OK;

	if (f->has_hello)
		e = codec_frame_hello(ret_bytes, &f->hello);
	for (uint32_t i = 0; e == ERROR_OK && i < f->message_count; i++)
		e = codec_frame_message(ret_bytes, &f->messages[i]);
	if (e == ERROR_OK && f->has_learn)
		e = codec_frame_learn(ret_bytes, &f->learn);
	if (e == ERROR_OK && f->has_gossip)
		e = codec_frame_gossip(ret_bytes, &f->gossip);
	if (e == ERROR_OK && f->has_snapshot_request)
		e = codec_frame_snapshot_request(ret_bytes, &f->snapshot_request);
	if (e == ERROR_OK && f->has_snapshot)
		e = codec_frame_snapshot(ret_bytes, &f->snapshot);
	CHECK(e == ERROR_OK);
}

static void check_bounds(const struct codec_frame *f)
{
	CHECK(f->message_count <= CODEC_FRAME_MESSAGES_MAX);
	CHECK(f->learn.entry_count <= CODEC_FRAME_ACCEPTED_MAX);
	for (uint32_t i = 0; i < f->message_count; i++) {
		const struct paxos_message *m = &f->messages[i];

		CHECK(m->kind >= PAXOS_PROBE && m->kind < PAXOS_KIND_END);
		CHECK(m->accepted_count <= CODEC_FRAME_ACCEPTED_MAX);
		CHECK(m->seen_count <= MEMBERS_MAX && m->lease_ns >= 0);
	}
}

/* The same parts, in bytes that say the same. */
static void check_again(const struct codec_frame *f, struct arena *arena)
{
	struct buffer once, twice;
	struct codec_frame again;
	enum error e;

	buffer_init(&once, CODEC_FRAME_MAX_BYTES);
	buffer_init(&twice, CODEC_FRAME_MAX_BYTES);
	encode(f, &once);
	e = codec_decode_frame(buffer_view(&once), arena, &again);
	CHECK(e == ERROR_OK);
	CHECK(again.has_hello == f->has_hello && again.has_learn == f->has_learn &&
	      again.has_gossip == f->has_gossip && again.has_snapshot == f->has_snapshot &&
	      again.has_snapshot_request == f->has_snapshot_request &&
	      again.message_count == f->message_count &&
	      again.learn.entry_count == f->learn.entry_count);
	encode(&again, &twice);
	CHECK(bytes_equal(buffer_view(&once), buffer_view(&twice)));
	codec_frame_release(&again);
	buffer_release(&once);
	buffer_release(&twice);
}

static void decode(struct bytes b, size_t arena_bytes)
{
	struct codec_frame frame;
	struct arena arena;

	arena_init(&arena, arena_bytes);
	if (codec_decode_frame(b, &arena, &frame) == ERROR_OK) {
		check_bounds(&frame);
		if (arena_bytes == ARENA_BYTES)
			check_again(&frame, &arena);
		codec_frame_release(&frame);
	}
	CHECK(arena.used_bytes <= arena.max_bytes);
	arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = {data, size};

	decode(b, ARENA_BYTES);
	decode(b, size + 64);
	return 0;
}
