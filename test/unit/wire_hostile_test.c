/* What others may send us as chubby.v1: their own encoders' bytes, too much, damage, malice. */
#include "wire/codec.h"
#include "wire/tables.h"

#include "fields_random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka wants the headers above before it. */
#include <cmocka.h>

static const uint8_t *raw(const void *p)
{
	return p;
}

static void assert_same(const struct fields *t, const void *a, const void *b)
{
	const char *d = difference(t, a, b);

	if (d != NULL)
		fail_msg("not read as written: %s", d);
}

/* ---- bytes by hand: what another language's protobuf would send ---- */

struct hand {
	const char *what;
	enum message_kind kind;
	const char *bytes;
	size_t size;
	enum error expected;
};
#define HAND(what, kind, text, expected)                                                           \
	{                                                                                          \
		what, kind, text, sizeof(text) - 1, expected                                       \
	}

static const struct hand hands[] = {
	HAND("empty", MESSAGE_ACQUIRE, "", ERROR_OK),
	HAND("unknown fields of every type are skipped", MESSAGE_CLOSE,
	     "\x98\x06\x01\xa2\x06\x03zzz\xa9\x06"
	     "12345678"
	     "\xb5\x06"
	     "1234",
	     ERROR_OK),
	HAND("a scalar twice: the last counts", MESSAGE_WAIT, "\x18\x05\x18\x06", ERROR_OK),
	HAND("the header twice", MESSAGE_CLOSE, "\x0a\x02\x08\x01\x0a\x02\x08\x02",
	     ERROR_MALFORMED),
	HAND("field number 0", MESSAGE_CLOSE, "\x00\x01", ERROR_MALFORMED),
	HAND("groups", MESSAGE_CLOSE, "\x9b\x06\x9c\x06", ERROR_MALFORMED),
	HAND("wire type 7", MESSAGE_CLOSE, "\x9f\x06", ERROR_MALFORMED),
	HAND("a number where bytes belong", MESSAGE_CLOSE, "\x10\x01", ERROR_MALFORMED),
	HAND("bytes where a number belongs", MESSAGE_WAIT, "\x1a\x01\x01", ERROR_MALFORMED),
	HAND("length beyond the end", MESSAGE_CLOSE,
	     "\x12\x05"
	     "abc",
	     ERROR_MALFORMED),
	HAND("enormous length", MESSAGE_CLOSE,
	     "\x12\xff\xff\xff\xff\x0f"
	     "abc",
	     ERROR_MALFORMED),
	HAND("number without end", MESSAGE_WAIT, "\x18\xff\xff", ERROR_MALFORMED),
	HAND("number of eleven bytes", MESSAGE_WAIT,
	     "\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", ERROR_MALFORMED),
	HAND("tag without value", MESSAGE_WAIT, "\x18", ERROR_MALFORMED),
	HAND("NUL in a path", MESSAGE_OPEN,
	     "\x12\x03"
	     "a\0b",
	     ERROR_INVALID_ARGUMENT),
	HAND("overlong NUL in a path", MESSAGE_OPEN, "\x12\x02\xc0\x80", ERROR_INVALID_ARGUMENT),
	HAND("invalid UTF-8 in a path", MESSAGE_OPEN, "\x12\x02\xff\xfe", ERROR_INVALID_ARGUMENT),
	HAND("surrogate in a path", MESSAGE_OPEN, "\x12\x03\xed\xa0\x80", ERROR_INVALID_ARGUMENT),
	HAND("cut character in a path", MESSAGE_OPEN, "\x12\x02\xe2\x82", ERROR_INVALID_ARGUMENT),
	HAND("NUL in a cell's name", MESSAGE_STATUS,
	     "\x0a\x02"
	     "a\0",
	     ERROR_INVALID_ARGUMENT),
	HAND("NUL in contents is fine", MESSAGE_OPEN,
	     "\x52\x03"
	     "a\0b",
	     ERROR_OK),
	HAND("unknown lock mode", MESSAGE_ACQUIRE, "\x18\x03", ERROR_INVALID_ARGUMENT),
	HAND("negative enum", MESSAGE_ACQUIRE, "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	     ERROR_INVALID_ARGUMENT),
	HAND("unknown way to create", MESSAGE_OPEN, "\x38\x03", ERROR_INVALID_ARGUMENT),
	HAND("bool of 2", MESSAGE_ACQUIRE, "\x20\x02", ERROR_INVALID_ARGUMENT),
	HAND("uint32 of 33 bits", MESSAGE_READ_DIR, "\x20\x80\x80\x80\x80\x10",
	     ERROR_INVALID_ARGUMENT),
	HAND("events packed", MESSAGE_OPEN, "\x62\x02\x01\x09", ERROR_OK),
	HAND("events one by one", MESSAGE_OPEN, "\x60\x01\x60\x09", ERROR_OK),
	HAND("event 0", MESSAGE_OPEN, "\x62\x01\x00", ERROR_INVALID_ARGUMENT),
	HAND("event 10", MESSAGE_OPEN, "\x60\x0a", ERROR_INVALID_ARGUMENT),
	HAND("event 33", MESSAGE_OPEN, "\x60\x21", ERROR_INVALID_ARGUMENT),
	HAND("three ACL names", MESSAGE_SET_ACL,
	     "\x1a\x01r\x1a\x00\x1a\x01"
	     "c",
	     ERROR_OK),
	HAND("four ACL names", MESSAGE_SET_ACL,
	     "\x1a\x01r\x1a\x01w\x1a\x01"
	     "c\x1a\x01"
	     "d",
	     ERROR_TOO_LARGE),
	HAND("acknowledgements packed and one by one", MESSAGE_KEEP_ALIVE,
	     "\x10\x05\x12\x03\x06\x80\x01\x10\x07", ERROR_OK),
	HAND("a packed run that ends within a number", MESSAGE_KEEP_ALIVE, "\x12\x02\x06\x80",
	     ERROR_MALFORMED),
	HAND("an operation that ends within a field", MESSAGE_MULTI, "\x12\x02\x12\x05",
	     ERROR_MALFORMED),
};

static void hostile_requests_are_refused(void **state)
{
	struct setting s;

	setting_init(&s, 6);
	for (size_t i = 0; i < sizeof(hands) / sizeof(hands[0]); i++, setting_next(&s)) {
		struct bytes b = {(const uint8_t *)hands[i].bytes, hands[i].size};
		struct request r, untouched;
		const char *trouble = NULL;
		enum error e;

		memset(&r, 0x5a, sizeof(r));
		memset(&untouched, 0x5a, sizeof(untouched));
		e = wire_decode_request(hands[i].kind, b, &s.arena, &r, &trouble);
		if (e != hands[i].expected)
			fail_msg("%s: %s", hands[i].what, error_name(e));
		if (e == ERROR_OK)
			continue;
		assert_non_null(trouble);
		assert_memory_equal(&r, &untouched, sizeof(r));
	}
	setting_release(&s);
}

static struct request decode_hand(struct setting *s, enum message_kind kind, const char *text,
				  size_t size)
{
	struct request r;
	const char *trouble;

	assert_int_equal(wire_decode_request(kind, (struct bytes){raw(text), size}, &s->arena, &r,
					     &trouble),
			 ERROR_OK);
	return r;
}

/* Numbers and meanings as the .proto file has them, not merely as our encoder has them. */
static void bytes_mean_what_the_proto_file_says(void **state)
{
	static const char acquire[] =
		"\x0a\x12\x08\x07\x10\x03\x18\x09\x20\x08\x2a\x05local\x32\x01s"
		"\x12\x02hh\x18\x02\x20\x01\x28\xe8\x07\x30\x00";
	static const char keep_alive[] = "\x10\x05\x12\x03\x06\x80\x01\x18\x07\x20\x01";
	static const char open[] = "\x62\x02\x01\x09\x5a\x00\x5a\x01w";
	static const char status[] = "\x3a\x04\x08\x02\x40\x00\x3a\x02\x08\x03";
	struct setting s;
	struct request r;
	struct reply p;
	const char *trouble;

	setting_init(&s, 7);
	r = decode_hand(&s, MESSAGE_ACQUIRE, acquire, sizeof(acquire) - 1);
	assert_int_equal(r.session.n, 7);
	assert_int_equal(r.epoch.n, 3);
	assert_int_equal(r.number, 9);
	assert_int_equal(r.lowest_unanswered, 8);
	assert_true(bytes_equal(r.cell, bytes_of_text("local")));
	assert_true(bytes_equal(r.guard_sequencer, bytes_of_text("s")));
	assert_true(bytes_equal(r.handle, bytes_of_text("hh")));
	assert_int_equal(r.acquire.mode, WIRE_LOCK_EXCLUSIVE);
	assert_true(r.acquire.try_only);
	assert_int_equal(r.acquire.wait_ns, NS_PER_S);
	assert_int_equal(r.acquire.lock_delay_ns, 0);
	r = decode_hand(&s, MESSAGE_ACQUIRE, "", 0);
	assert_int_equal(r.acquire.lock_delay_ns, -1);

	r = decode_hand(&s, MESSAGE_KEEP_ALIVE, keep_alive, sizeof(keep_alive) - 1);
	assert_int_equal(r.keep_alive.acked_invalidation_count, 3);
	assert_int_equal(r.keep_alive.acked_invalidations[0], 5);
	assert_int_equal(r.keep_alive.acked_invalidations[1], 6);
	assert_int_equal(r.keep_alive.acked_invalidations[2], 128);
	assert_int_equal(r.keep_alive.acked_events, 7);
	assert_true(r.keep_alive.immediate);

	r = decode_hand(&s, MESSAGE_OPEN, open, sizeof(open) - 1);
	assert_int_equal(r.open.event_mask, 1u << 1 | 1u << 9);
	assert_int_equal(r.open.acl[0].size, 0);
	assert_true(bytes_equal(r.open.acl[1], bytes_of_text("w")));

	assert_int_equal(wire_decode_reply(MESSAGE_STATUS,
					   (struct bytes){raw(status), sizeof(status) - 1},
					   &s.arena, &p, &trouble),
			 ERROR_OK);
	assert_int_equal(p.status.replica_count, 2);
	assert_int_equal(p.status.replicas[0].heard_ns_ago, 0);
	assert_int_equal(p.status.replicas[1].heard_ns_ago, -1);
	setting_release(&s);
}

/* ---- limits ---- */

/* At each limit a message passes, one beyond it is refused, on writing and on reading. */
static void contents_up_to_the_limit_pass(void **state)
{
	static uint8_t contents[WIRE_CONTENTS_MAX_BYTES + 1];
	struct setting s;
	struct request r = {.kind = MESSAGE_SET_CONTENTS}, back;
	const char *trouble = NULL;
	uint64_t id;

	setting_init(&s, 10);
	memset(contents, 'q', sizeof(contents));
	r.set_contents.contents = (struct bytes){contents, WIRE_CONTENTS_MAX_BYTES};
	assert_int_equal(wire_encode_client_envelope(1, &r, &s.out), ERROR_OK);
	assert_int_equal(wire_decode_client_envelope(buffer_view(&s.out), &s.arena, &id, &back,
						     &trouble),
			 ERROR_OK);
	assert_same(&wire_requests[r.kind], &r, &back);
	setting_next(&s);

	r.set_contents.contents.size++;
	assert_int_equal(wire_encode_request(&r, &s.out), ERROR_TOO_LARGE);
	assert_int_equal(s.out.size, 0);
	assert_true(buffer_append(&s.out, (struct bytes){raw("\x1a\x81\x80\x10"), 4}));
	assert_true(buffer_append(&s.out, r.set_contents.contents));
	assert_int_equal(wire_decode_request(r.kind, buffer_view(&s.out), &s.arena, &back,
					     &trouble),
			 ERROR_TOO_LARGE);
	assert_string_equal(trouble, "SetContentsRequest.contents is too long");
	setting_release(&s);
}

static void multi_holds_64_operations(void **state)
{
	struct wire_multi_op ops[WIRE_MULTI_MAX + 1];
	struct setting s;
	struct request r = {.kind = MESSAGE_MULTI}, back;
	const char *trouble;

	setting_init(&s, 11);
	memset(ops, 0, sizeof(ops));
	r.multi.ops = ops;
	r.multi.count = WIRE_MULTI_MAX;
	assert_int_equal(wire_encode_request(&r, &s.out), ERROR_OK);
	assert_int_equal(wire_decode_request(r.kind, buffer_view(&s.out), &s.arena, &back,
					     &trouble),
			 ERROR_OK);
	assert_int_equal(back.multi.count, WIRE_MULTI_MAX);
	assert_true(buffer_append(&s.out, (struct bytes){raw("\x12\x00"), 2}));
	assert_int_equal(wire_decode_request(r.kind, buffer_view(&s.out), &s.arena, &back,
					     &trouble),
			 ERROR_TOO_LARGE);
	r.multi.count++;
	assert_int_equal(wire_encode_request(&r, &s.out), ERROR_TOO_LARGE);
	setting_release(&s);
}

static void messages_and_memory_are_bounded(void **state)
{
	struct setting s;
	struct arena small;
	struct request r;
	uint8_t *big;
	const char *trouble;

	setting_init(&s, 12);
	/* More than a message may be, though an unknown field that would be skipped. */
	big = buffer_extend(&s.out, WIRE_MESSAGE_MAX_BYTES + 1);
	memset(big, 0, s.out.size);
	assert_int_equal(wire_decode_request(MESSAGE_CLOSE, buffer_view(&s.out), &s.arena, &r,
					     &trouble),
			 ERROR_TOO_LARGE);
	/* The arena's maximum bounds the arrays: an operation of two bytes costs a hundred. */
	arena_init(&small, 128);
	assert_int_equal(wire_decode_request(MESSAGE_MULTI,
					     (struct bytes){raw("\x12\x00\x12\x00\x12\x00"), 6},
					     &small, &r, &trouble),
			 ERROR_TOO_LARGE);
	arena_release(&small);
	setting_release(&s);
}

/* An output buffer that is too small leaves no half of a message behind, whatever its size. */
static void full_buffers_stay_as_they_were(void **state)
{
	struct setting s;

	setting_init(&s, 13);
	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind <= MESSAGE_MULTI; kind++) {
		struct request r = {.kind = kind};

		fill(&s.rng, &s.arena, &wire_requests[kind], (uint8_t *)&r);
		assert_int_equal(wire_encode_client_envelope(1, &r, &s.out), ERROR_OK);
		for (size_t max = 0; max < s.out.size && max < 600; max++) {
			struct buffer tight;

			buffer_init(&tight, max);
			if (max > 0)
				assert_true(buffer_append(&tight, bytes_of_text("x")));
			assert_int_equal(wire_encode_client_envelope(1, &r, &tight),
					 ERROR_TOO_LARGE);
			assert_int_equal(tight.size, max > 0 ? 1 : 0);
			buffer_release(&tight);
		}
		setting_next(&s);
	}
	setting_release(&s);
}

/* ---- damage ---- */

static void try_everything(struct bytes b, struct arena *arena)
{
	const char *trouble;
	struct request r;
	struct reply p;
	uint64_t id;

	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind < MESSAGE_KIND_END; kind++) {
		(void)!wire_decode_request(kind, b, arena, &r, &trouble);
		(void)!wire_decode_reply(kind, b, arena, &p, &trouble);
	}
	(void)!wire_decode_client_envelope(b, arena, &id, &r, &trouble);
	(void)!wire_decode_server_envelope(b, arena, &id, &p, &trouble);
	(void)!wire_decode_status(b, arena, &p);
}

/* No bytes at all make a decoder read outside its input (the sanitizers see to that), and what it
 * accepts can be written again and read as the same. */
static void damaged_messages_do_no_harm(void **state)
{
	struct setting s;

	setting_init(&s, 14);
	for (int i = 0; i < 60000; i++, setting_next(&s)) {
		enum message_kind kind = 1 + (enum message_kind)rng_below(&s.rng, MESSAGE_MULTI);
		struct request r = {.kind = kind}, again;
		struct reply p = {.kind = kind};
		const char *trouble;
		uint64_t id;
		struct bytes b;

		fill(&s.rng, &s.arena, &wire_requests[kind], (uint8_t *)&r);
		assert_int_equal(wire_encode_client_envelope(1, &r, &s.out), ERROR_OK);
		b = damaged(&s.rng, &s.arena, buffer_view(&s.out));
		if (wire_decode_client_envelope(b, &s.arena, &id, &r, &trouble) == ERROR_OK &&
		    r.kind != MESSAGE_NONE) {
			buffer_clear(&s.out);
			assert_int_equal(wire_encode_client_envelope(id, &r, &s.out), ERROR_OK);
			assert_int_equal(wire_decode_client_envelope(buffer_view(&s.out), &s.arena,
								     &id, &again, &trouble),
					 ERROR_OK);
			assert_int_equal(again.kind, r.kind);
			assert_same(&wire_requests[r.kind], &r, &again);
		}
		buffer_clear(&s.out);
		fill(&s.rng, &s.arena, &wire_replies[kind], (uint8_t *)&p);
		assert_int_equal(wire_encode_server_envelope(1, &p, &s.out), ERROR_OK);
		b = damaged(&s.rng, &s.arena, buffer_view(&s.out));
		(void)!wire_decode_server_envelope(b, &s.arena, &id, &p, &trouble);
	}
	setting_release(&s);
}

static void garbage_does_no_harm(void **state)
{
	struct setting s;

	setting_init(&s, 15);
	for (int i = 0; i < 100000; i++, setting_next(&s)) {
		uint8_t garbage[64];
		size_t size = rng_below(&s.rng, sizeof(garbage) + 1);

		/* Small bytes are tags, lengths and numbers more often than large ones. */
		for (size_t n = 0; n < size; n++)
			garbage[n] = (uint8_t)(rng_next(&s.rng) >> (i % 2 == 0 ? 0 : 60));
		if (i % 25 == 0) {
			try_everything((struct bytes){garbage, size}, &s.arena);
		} else {
			struct request r;
			uint64_t id;
			const char *trouble;

			(void)!wire_decode_client_envelope((struct bytes){garbage, size}, &s.arena,
							   &id, &r, &trouble);
		}
	}
	setting_release(&s);
}

static void messages_may_be_cut_anywhere(void **state)
{
	struct setting s;
	struct arena scratch;

	setting_init(&s, 16);
	arena_init(&scratch, (size_t)16 << 20);
	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind <= MESSAGE_MULTI; kind++) {
		struct request r = {.kind = kind}, back;
		const char *trouble;
		uint64_t id;

		fill(&s.rng, &s.arena, &wire_requests[kind], (uint8_t *)&r);
		assert_int_equal(wire_encode_client_envelope(1, &r, &s.out), ERROR_OK);
		/* The body is one field of the envelope: no prefix holds it whole. */
		for (size_t size = 2; size < s.out.size; size += 1 + size / 500) {
			/* Of its own size, so that a read beyond the end is seen. */
			uint8_t *prefix = mem_dup(s.out.data, size);
			enum error e = wire_decode_client_envelope((struct bytes){prefix, size},
								   &scratch, &id, &back, &trouble);

			if (size == 2)
				assert_int_equal(e, ERROR_OK);
			else
				assert_int_equal(e, ERROR_MALFORMED);
			free(prefix);
			arena_release(&scratch);
		}
		setting_next(&s);
	}
	setting_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_requests_are_refused),
		cmocka_unit_test(bytes_mean_what_the_proto_file_says),
		cmocka_unit_test(contents_up_to_the_limit_pass),
		cmocka_unit_test(multi_holds_64_operations),
		cmocka_unit_test(messages_and_memory_are_bounded),
		cmocka_unit_test(full_buffers_stay_as_they_were),
		cmocka_unit_test(damaged_messages_do_no_harm),
		cmocka_unit_test(garbage_does_no_harm),
		cmocka_unit_test(messages_may_be_cut_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
