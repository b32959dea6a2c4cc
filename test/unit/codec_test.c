/* Peer frames: what is written is what is read, values are whole or refused. */
#include "codec/codec.h"
#include "codec/tables.h"

#include "fields_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka wants the headers above before it. */
#include <cmocka.h>

#define ROUNDS 300

static void assert_same(const struct fields *t, const void *a, const void *b)
{
	const char *d = difference(t, a, b);

	if (d != NULL)
		fail_msg("not read as written: %s", d);
}

/* ---- peer frames ---- */

static struct value *random_value(struct rng *r)
{
	struct value_builder b;
	struct value *v;
	uint8_t command[300];

	value_builder_init(&b);
	for (uint64_t n = rng_below(r, 4); n > 0; n--) {
		size_t size = rng_below(r, sizeof(command));

		for (size_t i = 0; i < size; i++)
			command[i] = (uint8_t)rng_next(r);
		assert_true(value_builder_add(&b, (struct bytes){command, size}));
	}
	v = value_builder_finish(&b);
	value_builder_release(&b);
	return v;
}

static struct paxos_message random_message(struct setting *s)
{
	struct message_wire wire = {.has_value = false};
	struct paxos_message m;

	fill(&s->rng, &s->arena, &codec_message, (uint8_t *)&wire);
	m = wire.message;
	m.lease_ns &= INT64_MAX;
	m.value = rng_below(&s->rng, 2) == 0 ? random_value(&s->rng) : NULL;
	m.accepted_count = wire.accepted_count;
	m.accepted = mem_zalloc(wire.accepted_count * sizeof(*m.accepted) + 1);
	for (uint32_t i = 0; i < m.accepted_count; i++) {
		m.accepted[i].slot = wire.accepted[i].slot;
		m.accepted[i].ballot = wire.accepted[i].ballot;
		if (rng_below(&s->rng, 3) != 0)
			m.accepted[i].value = random_value(&s->rng);
	}
	return m;
}

static void assert_same_value(const struct value *a, const struct value *b)
{
	assert_int_equal(a == NULL, b == NULL);
	if (a != NULL)
		assert_true(value_equal(a, b));
}

static void assert_same_message(const struct paxos_message *a, const struct paxos_message *b)
{
	struct message_wire x = {.message = *a}, y = {.message = *b};

	assert_same(&codec_message, &x, &y);
	assert_same_value(a->value, b->value);
	assert_int_equal(a->accepted_count, b->accepted_count);
	for (uint32_t i = 0; i < a->accepted_count; i++) {
		assert_int_equal(a->accepted[i].slot.n, b->accepted[i].slot.n);
		assert_true(ballot_equal(a->accepted[i].ballot, b->accepted[i].ballot));
		assert_same_value(a->accepted[i].value, b->accepted[i].value);
	}
}

static void frames_are_read_as_written(void **state)
{
	struct setting s;

	setting_init(&s, 21);
	for (int i = 0; i < ROUNDS; i++, setting_next(&s)) {
		struct paxos_message messages[4];
		uint32_t count = (uint32_t)rng_below(&s.rng, 5);
		struct codec_hello hello;
		struct codec_gossip gossip;
		struct codec_frame frame;

		memset(&hello, 0, sizeof(hello));
		memset(&gossip, 0, sizeof(gossip));
		fill(&s.rng, &s.arena, &codec_hello_fields, (uint8_t *)&hello);
		fill(&s.rng, &s.arena, &codec_gossip_fields, (uint8_t *)&gossip);
		if (i % 2 == 0)
			assert_int_equal(codec_frame_hello(&s.out, &hello), ERROR_OK);
		for (uint32_t n = 0; n < count; n++) {
			messages[n] = random_message(&s);
			assert_int_equal(codec_frame_message(&s.out, &messages[n]), ERROR_OK);
			if (n == 0 && i % 3 == 0)
				assert_int_equal(codec_frame_gossip(&s.out, &gossip), ERROR_OK);
		}
		assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame),
				 ERROR_OK);
		assert_int_equal(frame.has_hello, i % 2 == 0);
		if (frame.has_hello)
			assert_same(&codec_hello_fields, &hello, &frame.hello);
		assert_int_equal(frame.has_gossip, count > 0 && i % 3 == 0);
		/* Its texts are the arena's, not the input's. */
		memset(s.out.data, 0, s.out.size);
		if (frame.has_gossip)
			assert_same(&codec_gossip_fields, &gossip, &frame.gossip);
		assert_false(frame.has_learn);
		assert_int_equal(frame.message_count, count);
		for (uint32_t n = 0; n < count; n++) {
			assert_same_message(&messages[n], &frame.messages[n]);
			paxos_message_release(&messages[n]);
		}
		codec_frame_release(&frame);
	}
	setting_release(&s);
}

static void learned_values_are_read_as_written(void **state)
{
	struct setting s;
	struct paxos_accepted entries[20];
	struct codec_learn learn = {.entry_count = 20,
				    .entries = entries,
				    .chosen = {90},
				    .trimmed = {7}};
	struct codec_frame frame;

	setting_init(&s, 22);
	for (uint32_t i = 0; i < 20; i++)
		entries[i] = (struct paxos_accepted){.slot = {40 + i},
						     .ballot = {.round = i},
						     .value = random_value(&s.rng)};
	assert_int_equal(codec_frame_learn(&s.out, &learn), ERROR_OK);
	assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame), ERROR_OK);
	assert_true(frame.has_learn);
	assert_int_equal(frame.learn.chosen.n, 90);
	assert_int_equal(frame.learn.trimmed.n, 7);
	assert_int_equal(frame.learn.entry_count, 20);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(frame.learn.entries[i].slot.n, 40 + i);
		assert_int_equal(frame.learn.entries[i].ballot.round, i);
		assert_same_value(frame.learn.entries[i].value, entries[i].value);
		value_unref(entries[i].value);
	}
	codec_frame_release(&frame);
	setting_release(&s);
}

static struct codec_snapshot piece_of_snapshot(struct setting *s, uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)rng_next(&s->rng);
	return (struct codec_snapshot){
		.id = rng_next(&s->rng),
		.slot = {901},
		.revision = {1700},
		.total_bytes = 400 + 2 * size,
		.image_checksum = rng_next(&s->rng),
		.offset = 400,
		.data = {data, size},
	};
}

/* The largest piece of a snapshot, beside a request for one. */
static void snapshots_are_read_as_written(void **state)
{
	static uint8_t data[CODEC_SNAPSHOT_CHUNK_MAX_BYTES + 1];
	struct codec_snapshot_request q = {77, 1 << 20, {900}};
	struct codec_frame frame;
	struct codec_snapshot piece;
	struct setting s;

	setting_init(&s, 29);
	piece = piece_of_snapshot(&s, data, CODEC_SNAPSHOT_CHUNK_MAX_BYTES);
	assert_int_equal(codec_frame_snapshot_request(&s.out, &q), ERROR_OK);
	assert_int_equal(codec_frame_snapshot(&s.out, &piece), ERROR_OK);
	assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame), ERROR_OK);
	assert_true(frame.has_snapshot && frame.has_snapshot_request);
	assert_same(&codec_snapshot_request_fields, &q, &frame.snapshot_request);
	assert_same(&codec_snapshot_fields, &(struct snapshot_wire){piece, 0},
		    &(struct snapshot_wire){frame.snapshot, 0});
	codec_frame_release(&frame);
	buffer_clear(&s.out);
	piece.data.size++;
	assert_int_equal(codec_frame_snapshot(&s.out, &piece), ERROR_TOO_LARGE);
	assert_int_equal(s.out.size, 0);
	setting_release(&s);
}

/* Whichever byte is damaged: its piece is refused, or is no piece any more. */
static void damaged_snapshots_are_refused(void **state)
{
	uint8_t data[300];
	struct codec_snapshot piece;
	struct codec_frame frame;
	struct setting s;

	setting_init(&s, 30);
	piece = piece_of_snapshot(&s, data, sizeof(data));
	assert_int_equal(codec_frame_snapshot(&s.out, &piece), ERROR_OK);
	for (size_t i = 0; i < s.out.size; i++, arena_release(&s.arena)) {
		s.out.data[i] ^= 4;
		if (codec_decode_frame(buffer_view(&s.out), &s.arena, &frame) == ERROR_OK) {
			assert_false(frame.has_snapshot);
			codec_frame_release(&frame);
		}
		s.out.data[i] ^= 4;
	}
	/* Beyond its own image, whatever the checksum says. */
	piece.offset = piece.total_bytes - sizeof(data) + 1;
	buffer_clear(&s.out);
	assert_int_equal(codec_frame_snapshot(&s.out, &piece), ERROR_OK);
	assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame),
			 ERROR_MALFORMED);
	setting_release(&s);
}

/* The largest value goes through; what does not fit into a frame leaves the frame as it was. */
static void frames_have_a_limit(void **state)
{
	static uint8_t command[VALUE_MAX_BYTES - VALUE_FRAME_BYTES];
	struct value_builder b;
	struct paxos_message m = {.kind = PAXOS_ACCEPT, .slot = {1}};
	struct codec_frame frame;
	struct setting s;
	enum error e = ERROR_OK;
	uint32_t fit = 0;
	size_t size = 0;

	setting_init(&s, 23);
	value_builder_init(&b);
	assert_true(value_builder_add(&b, (struct bytes){command, sizeof(command)}));
	m.value = value_builder_finish(&b);
	value_builder_release(&b);
	while (e == ERROR_OK) {
		size = s.out.size;
		e = codec_frame_message(&s.out, &m);
		fit += e == ERROR_OK;
		assert_true(fit < 5);
	}
	assert_int_equal(e, ERROR_TOO_LARGE);
	assert_int_equal(s.out.size, size);
	assert_int_equal(fit, 3);
	assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame), ERROR_OK);
	assert_int_equal(frame.message_count, 3);
	assert_true(value_equal(frame.messages[2].value, m.value));
	codec_frame_release(&frame);
	paxos_message_release(&m);
	setting_release(&s);
}

/* Every flipped bit of a value is noticed: the checksum that it travels with says so. */
static void damaged_values_are_refused(void **state)
{
	struct setting s;
	struct paxos_message m = {.kind = PAXOS_ACCEPT, .slot = {5}};
	struct codec_frame frame;
	struct bytes value;
	size_t at = 0;

	setting_init(&s, 24);
	do {
		value_unref(m.value);
		m.value = random_value(&s.rng);
	} while (value_bytes(m.value).size < 20);
	value = value_bytes(m.value);
	assert_int_equal(codec_frame_message(&s.out, &m), ERROR_OK);
	while (memcmp(s.out.data + at, value.data, value.size) != 0)
		at++;
	for (size_t i = 0; i < value.size; i++, arena_release(&s.arena)) {
		s.out.data[at + i] ^= 1;
		assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame),
				 ERROR_MALFORMED);
		s.out.data[at + i] ^= 1;
	}
	paxos_message_release(&m);
	setting_release(&s);
}

static void frames_of_a_newer_peer_are_read(void **state)
{
	const struct {
		struct bytes bytes;
		enum error expected;
	} cases[] = {
		{LITERAL(""), ERROR_OK},
		{LITERAL("\x12\x02\x08\x01"), ERROR_OK}, /* PROBE */
		{LITERAL("\x12\x05\x08\x01\xf8\x07\x01\xfa\x3e\x00"),
		 ERROR_OK},                                     /* and unknown fields */
		{LITERAL("\x12\x00"), ERROR_MALFORMED},         /* no kind */
		{LITERAL("\x12\x02\x08\x10"), ERROR_MALFORMED}, /* an unknown kind */
		{LITERAL("\x0a\x00\x0a\x00"), ERROR_MALFORMED}, /* two greetings */
		{LITERAL("\x12\x04\x08\x06\x7a\x00"),
		 ERROR_MALFORMED}, /* ACCEPT without has_value */
		{LITERAL("\x12\x06\x08\x04\x82\x01\x01\x08"), ERROR_MALFORMED}, /* cut within */
		{LITERAL("\x12\x0d\x08\x08\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
		 ERROR_MALFORMED}, /* a negative lease */
	};
	struct setting s;

	setting_init(&s, 25);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++, setting_next(&s)) {
		struct codec_frame frame;
		enum error e = codec_decode_frame(cases[i].bytes, &s.arena, &frame);

		if (e != cases[i].expected)
			fail_msg("case %zu: %s", i, error_name(e));
		if (e == ERROR_OK)
			codec_frame_release(&frame);
	}
	setting_release(&s);
}

/* More members seen than a configuration can have would not fit into the message. */
static void seen_is_bounded(void **state)
{
	struct setting s;
	struct codec_frame frame;
	struct buffer body;

	setting_init(&s, 26);
	buffer_init(&body, 1024);
	assert_true(buffer_append(&body, LITERAL("\x08\x08")));
	for (int i = 0; i <= MEMBERS_MAX; i++) {
		uint8_t *header;

		buffer_clear(&s.out);
		header = buffer_extend(&s.out, 2);
		header[0] = 0x12;
		header[1] = (uint8_t)body.size;
		assert_true(buffer_append(&s.out, buffer_view(&body)));
		assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame),
				 ERROR_OK);
		assert_int_equal(frame.messages[0].seen_count, i);
		codec_frame_release(&frame);
		assert_true(buffer_append(&body, LITERAL("\x8a\x01\x00")));
		if (i < MEMBERS_MAX)
			continue;
		s.out.data[1] = (uint8_t)body.size;
		assert_true(buffer_append(&s.out, LITERAL("\x8a\x01\x00")));
		assert_int_equal(codec_decode_frame(buffer_view(&s.out), &s.arena, &frame),
				 ERROR_MALFORMED);
	}
	buffer_release(&body);
	setting_release(&s);
}

static void damaged_frames_do_no_harm(void **state)
{
	struct setting s;

	setting_init(&s, 27);
	for (int i = 0; i < 40000; i++, setting_next(&s)) {
		struct codec_frame frame;
		struct paxos_message m = random_message(&s);
		struct codec_learn learn = {.entry_count = m.accepted_count, .entries = m.accepted};
		struct bytes b;

		assert_int_equal(codec_frame_message(&s.out, &m), ERROR_OK);
		assert_int_equal(codec_frame_learn(&s.out, &learn), ERROR_OK);
		b = damaged(&s.rng, &s.arena, buffer_view(&s.out));
		if (codec_decode_frame(b, &s.arena, &frame) == ERROR_OK)
			codec_frame_release(&frame);
		b = (struct bytes){s.out.data, rng_below(&s.rng, s.out.size)};
		if (codec_decode_frame(b, &s.arena, &frame) == ERROR_OK)
			codec_frame_release(&frame);
		paxos_message_release(&m);
	}
	setting_release(&s);
}

static void garbage_is_no_frame(void **state)
{
	struct setting s;

	setting_init(&s, 28);
	for (int i = 0; i < 100000; i++, setting_next(&s)) {
		uint8_t garbage[48];
		struct bytes b = {garbage, rng_below(&s.rng, sizeof(garbage) + 1)};
		struct codec_frame frame;

		/* Small bytes are tags, lengths and numbers more often than large ones. */
		for (size_t n = 0; n < b.size; n++)
			garbage[n] = (uint8_t)(rng_next(&s.rng) >> (i % 2 == 0 ? 0 : 59));
		if (codec_decode_frame(b, &s.arena, &frame) == ERROR_OK)
			codec_frame_release(&frame);
	}
	setting_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_read_as_written),
		cmocka_unit_test(learned_values_are_read_as_written),
		cmocka_unit_test(snapshots_are_read_as_written),
		cmocka_unit_test(damaged_snapshots_are_refused),
		cmocka_unit_test(frames_have_a_limit),
		cmocka_unit_test(damaged_values_are_refused),
		cmocka_unit_test(frames_of_a_newer_peer_are_read),
		cmocka_unit_test(seen_is_bounded),
		cmocka_unit_test(damaged_frames_do_no_harm),
		cmocka_unit_test(garbage_is_no_frame),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
