/* The messages of chubby.v1: what is written is what is read, and nothing hostile gets in. */
#include "wire/codec.h"
#include "wire/path.h"
#include "wire/tables.h"

#include "fields_random.h"

#include "chubby/internal/status.pb.h"
#include "chubby/v1/admin.pb.h"
#include "chubby/v1/chubby.pb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka wants the headers above before it. */
#include <cmocka.h>

#define ARENA_BYTES ((size_t)16 << 20)
#define ROUNDS 200

struct setting {
	struct rng rng;
	struct arena arena;
	struct buffer out;
};

static void setting_init(struct setting *s, uint64_t seed)
{
	rng_init(&s->rng, seed);
	arena_init(&s->arena, ARENA_BYTES);
	buffer_init(&s->out, 4 * WIRE_MESSAGE_MAX_BYTES);
}

static void setting_release(struct setting *s)
{
	arena_release(&s->arena);
	buffer_release(&s->out);
}

static void setting_next(struct setting *s)
{
	arena_release(&s->arena);
	buffer_clear(&s->out);
}

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

/* ---- the tables agree with the .proto files: same numbers, same types, none missing ---- */

#define MESSAGE_OF(table, name)                                                                    \
	static const struct proto_field proto_##name[] = {                                         \
		chubby_v1_##name##_FIELDLIST(PROTO_FIELD, _) {0}};
#define PAIRS(X)                                                                                   \
	X(wire_error, Error)                                                                       \
	X(wire_stat, Stat)                                                                         \
	X(wire_grant, Grant)                                                                       \
	X(wire_event, Event)                                                                       \
	X(wire_invalidation, Invalidation)                                                         \
	X(wire_dir_entry, DirEntry)                                                                \
	X(wire_multi_op, MultiOp)                                                                  \
	X(wire_replica_status, ReplicaStatus)                                                      \
	X(wire_lock_party, LockParty)                                                              \
	X(wire_lock_status, LockStatus)                                                            \
	X(wire_session_status, SessionStatus)                                                      \
	X(wire_client_envelope, ClientEnvelope)                                                    \
	X(wire_server_envelope, ServerEnvelope)                                                    \
	X(*wire_requests[MESSAGE_KEEP_ALIVE].rows[0].message, Header)                              \
	X(wire_requests[MESSAGE_FIND_MASTER], FindMasterRequest)                                   \
	X(wire_requests[MESSAGE_CREATE_SESSION], CreateSessionRequest)                             \
	X(wire_requests[MESSAGE_KEEP_ALIVE], KeepAliveRequest)                                     \
	X(wire_requests[MESSAGE_END_SESSION], EndSessionRequest)                                   \
	X(wire_requests[MESSAGE_OPEN], OpenRequest)                                                \
	X(wire_requests[MESSAGE_CLOSE], CloseRequest)                                              \
	X(wire_requests[MESSAGE_GET_CONTENTS_AND_STAT], GetContentsAndStatRequest)                 \
	X(wire_requests[MESSAGE_GET_STAT], GetStatRequest)                                         \
	X(wire_requests[MESSAGE_READ_DIR], ReadDirRequest)                                         \
	X(wire_requests[MESSAGE_SET_CONTENTS], SetContentsRequest)                                 \
	X(wire_requests[MESSAGE_SET_ACL], SetAclRequest)                                           \
	X(wire_requests[MESSAGE_DELETE], DeleteRequest)                                            \
	X(wire_requests[MESSAGE_ACQUIRE], AcquireRequest)                                          \
	X(wire_requests[MESSAGE_WAIT], WaitRequest)                                                \
	X(wire_requests[MESSAGE_CANCEL], CancelRequest)                                            \
	X(wire_requests[MESSAGE_RELEASE], ReleaseRequest)                                          \
	X(wire_requests[MESSAGE_CHECK_SEQUENCER], CheckSequencerRequest)                           \
	X(wire_requests[MESSAGE_MULTI], MultiRequest)                                              \
	X(wire_requests[MESSAGE_STATUS], StatusRequest)                                            \
	X(wire_requests[MESSAGE_LIST_LOCKS], ListLocksRequest)                                     \
	X(wire_requests[MESSAGE_LIST_SESSIONS], ListSessionsRequest)                               \
	X(wire_requests[MESSAGE_END_SESSION_OF], EndSessionOfRequest)                              \
	X(wire_requests[MESSAGE_REVOKE_LOCK], RevokeLockRequest)                                   \
	X(wire_requests[MESSAGE_TRANSFER_MASTER], TransferMasterRequest)                           \
	X(wire_replies[MESSAGE_FIND_MASTER], FindMasterReply)                                      \
	X(wire_replies[MESSAGE_CREATE_SESSION], CreateSessionReply)                                \
	X(wire_replies[MESSAGE_KEEP_ALIVE], KeepAliveReply)                                        \
	X(wire_replies[MESSAGE_OPEN], OpenReply)                                                   \
	X(wire_replies[MESSAGE_GET_CONTENTS_AND_STAT], GetContentsAndStatReply)                    \
	X(wire_replies[MESSAGE_GET_STAT], GetStatReply)                                            \
	X(wire_replies[MESSAGE_READ_DIR], ReadDirReply)                                            \
	X(wire_replies[MESSAGE_SET_CONTENTS], SetContentsReply)                                    \
	X(wire_replies[MESSAGE_SET_ACL], SetAclReply)                                              \
	X(wire_replies[MESSAGE_DELETE], DeleteReply)                                               \
	X(wire_replies[MESSAGE_ACQUIRE], AcquireReply)                                             \
	X(wire_replies[MESSAGE_WAIT], WaitReply)                                                   \
	X(wire_replies[MESSAGE_CANCEL], CancelReply)                                               \
	X(wire_replies[MESSAGE_RELEASE], ReleaseReply)                                             \
	X(wire_replies[MESSAGE_CHECK_SEQUENCER], CheckSequencerReply)                              \
	X(wire_replies[MESSAGE_MULTI], MultiReply)                                                 \
	X(wire_replies[MESSAGE_STATUS], StatusReply)                                               \
	X(wire_replies[MESSAGE_LIST_LOCKS], ListLocksReply)                                        \
	X(wire_replies[MESSAGE_LIST_SESSIONS], ListSessionsReply)                                  \
	X(wire_replies[MESSAGE_REVOKE_LOCK], RevokeLockReply)                                      \
	X(wire_replies[MESSAGE_WAIT_ENDED], WaitEnded)                                             \
	X(wire_replies[MESSAGE_SESSION_ENDED], SessionEnded)
PAIRS(MESSAGE_OF)

static void tables_agree_with_the_proto_files(void **state)
{
	static const struct {
		const char *name;
		const struct proto_field *fields;
		size_t count;
	} protos[] = {
#define ROW(table, name) {#name, proto_##name, sizeof(proto_##name) / sizeof(proto_##name[0]) - 1},
		PAIRS(ROW)
#undef ROW
	};
	const struct fields *tables[] = {
#define ROW(table, name) &(table),
		PAIRS(ROW)
#undef ROW
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (tables[i]->count != protos[i].count)
			fail_msg("%s: %zu rows for %zu fields", protos[i].name, tables[i]->count,
				 protos[i].count);
		for (size_t n = 0; n < tables[i]->count; n++) {
			const struct field *f = &tables[i]->rows[n];

			if (f->number != protos[i].fields[n].number ||
			    !row_fits(f, &protos[i].fields[n]))
				fail_msg("%s: row %zu (%s)", protos[i].name, n, f->trouble);
		}
		if (shared_member(tables[i]) != NULL)
			fail_msg("%s: %s", protos[i].name, shared_member(tables[i]));
	}
}

/* ---- round trips ---- */

static void requests_are_read_as_written(void **state)
{
	struct setting s;

	setting_init(&s, 1);
	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind <= MESSAGE_TRANSFER_MASTER; kind++) {
		for (int i = 0; i < ROUNDS; i++, setting_next(&s)) {
			struct request r = {.kind = kind}, back, streamed;
			const char *trouble = NULL;
			uint64_t call_id;
			enum error e;

			fill(&s.rng, &s.arena, &wire_requests[kind], (uint8_t *)&r);
			assert_int_equal(wire_encode_request(&r, &s.out), ERROR_OK);
			assert_int_equal(wire_decode_request(kind, buffer_view(&s.out), &s.arena,
							     &back, &trouble), ERROR_OK);
			assert_int_equal(back.kind, kind);
			assert_same(&wire_requests[kind], &r, &back);

			buffer_clear(&s.out);
			e = wire_encode_client_envelope(77 + (uint64_t)i, &r, &s.out);
			if (kind > MESSAGE_MULTI) {
				assert_int_equal(e, ERROR_UNIMPLEMENTED);
				continue;
			}
			assert_int_equal(e, ERROR_OK);
			assert_int_equal(wire_decode_client_envelope(buffer_view(&s.out), &s.arena,
								     &call_id, &streamed, &trouble),
					 ERROR_OK);
			assert_int_equal(call_id, 77 + i);
			assert_int_equal(streamed.kind, kind);
			assert_same(&wire_requests[kind], &r, &streamed);
		}
	}
	setting_release(&s);
}

static void replies_are_read_as_written(void **state)
{
	struct setting s;

	setting_init(&s, 2);
	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind < MESSAGE_KIND_END; kind++) {
		for (int i = 0; i < ROUNDS; i++, setting_next(&s)) {
			struct reply r = {.kind = kind}, back, streamed;
			const char *trouble = NULL;
			uint64_t call_id;
			enum error e;

			if (kind >= MESSAGE_WAIT_ENDED)
				r.error = i % 2 == 0 ? ERROR_SESSION_EXPIRED : ERROR_OK;
			fill(&s.rng, &s.arena, &wire_replies[kind], (uint8_t *)&r);
			if (r.message.size == 0 || r.message.size > WIRE_TEXT_MAX_BYTES)
				r.message = bytes_of_text("why");
			assert_int_equal(wire_encode_reply(&r, &s.out), ERROR_OK);
			assert_int_equal(wire_decode_reply(kind, buffer_view(&s.out), &s.arena, &back,
							   &trouble), ERROR_OK);
			assert_same(&wire_replies[kind], &r, &back);

			buffer_clear(&s.out);
			e = wire_encode_server_envelope((uint64_t)i, &r, &s.out);
			if (kind > MESSAGE_MULTI && kind < MESSAGE_WAIT_ENDED) {
				assert_int_equal(e, ERROR_UNIMPLEMENTED);
				continue;
			}
			assert_int_equal(e, ERROR_OK);
			assert_int_equal(wire_decode_server_envelope(buffer_view(&s.out), &s.arena,
								     &call_id, &streamed, &trouble),
					 ERROR_OK);
			assert_int_equal(call_id, i);
			assert_int_equal(streamed.kind, kind);
			assert_same(&wire_replies[kind], &r, &streamed);
		}
	}
	setting_release(&s);
}

/* A refusal says the same in an envelope and in a call's trailer. */
static void refusals_are_read_as_written(void **state)
{
	struct setting s;

	setting_init(&s, 3);
	for (int i = 0; i < 5 * ROUNDS; i++, setting_next(&s)) {
		struct reply r = {.kind = MESSAGE_OPEN}, back, status;
		const char *trouble = NULL;
		uint64_t call_id;

		fill(&s.rng, &s.arena, &wire_error, (uint8_t *)&r);
		if (r.message.size == 0 || r.message.size > WIRE_TEXT_MAX_BYTES)
			r.message = bytes_of_text("no");
		assert_int_equal(wire_encode_server_envelope(9, &r, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_server_envelope(buffer_view(&s.out), &s.arena, &call_id,
							     &back, &trouble), ERROR_OK);
		assert_int_equal(back.kind, MESSAGE_NONE);
		assert_int_equal(call_id, 9);
		assert_same(&wire_error, &r, &back);

		buffer_clear(&s.out);
		assert_int_equal(wire_encode_status(&r, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_status(buffer_view(&s.out), &s.arena, &status), ERROR_OK);
		assert_int_equal(status.kind, MESSAGE_NONE);
		assert_same(&wire_error, &r, &status);
	}
	setting_release(&s);
}

/* A sentence too long for a trailer is cut between characters; none becomes the error's text. */
static void sentences_of_refusals_fit(void **state)
{
	uint8_t text[WIRE_TEXT_MAX_BYTES + 2];
	struct reply r = {.error = ERROR_BUSY, .message = {text, sizeof(text)}}, back;
	struct setting s;

	setting_init(&s, 4);
	memset(text, 'x', sizeof(text));
	memcpy(text + WIRE_TEXT_MAX_BYTES - 1, "\xe2\x82\xac", 3);
	assert_int_equal(wire_encode_status(&r, &s.out), ERROR_OK);
	assert_int_equal(wire_decode_status(buffer_view(&s.out), &s.arena, &back), ERROR_OK);
	assert_int_equal(back.message.size, WIRE_TEXT_MAX_BYTES - 1);
	setting_next(&s);

	r.message = BYTES_NONE;
	assert_int_equal(wire_encode_status(&r, &s.out), ERROR_OK);
	assert_int_equal(wire_decode_status(buffer_view(&s.out), &s.arena, &back), ERROR_OK);
	assert_true(bytes_equal(back.message, bytes_of_text(error_text(ERROR_BUSY))));
	setting_release(&s);
}

/* ---- durations ---- */

/* Requests round up, so that nobody waits less than asked; leases down, so that none is longer. */
static void milliseconds_round_to_the_safe_side(void **state)
{
	static const struct {
		int64_t ns, up_ns, down_ns;
	} cases[] = {
		{0, 0, 0},
		{1, NS_PER_MS, 0},
		{NS_PER_MS, NS_PER_MS, NS_PER_MS},
		{NS_PER_MS + 1, 2 * NS_PER_MS, NS_PER_MS},
		{12 * NS_PER_S, 12 * NS_PER_S, 12 * NS_PER_S},
		{TIME_NEVER, UINT32_MAX * NS_PER_MS, UINT32_MAX * NS_PER_MS},
		{-5, 0, 0},
	};
	struct setting s;

	setting_init(&s, 5);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++, setting_next(&s)) {
		struct request r = {.kind = MESSAGE_FIND_MASTER}, r_back;
		struct reply p = {.kind = MESSAGE_CREATE_SESSION}, p_back;
		const char *trouble;

		r.find_master.wait_ns = cases[i].ns;
		assert_int_equal(wire_encode_request(&r, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_request(r.kind, buffer_view(&s.out), &s.arena, &r_back,
						     &trouble), ERROR_OK);
		assert_int_equal(r_back.find_master.wait_ns, cases[i].up_ns);

		buffer_clear(&s.out);
		p.create_session.lease_ns = cases[i].ns;
		assert_int_equal(wire_encode_reply(&p, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_reply(p.kind, buffer_view(&s.out), &s.arena, &p_back,
						   &trouble), ERROR_OK);
		assert_int_equal(p_back.create_session.lease_ns, cases[i].down_ns);
	}
	setting_release(&s);
}

/* ---- bytes by hand: what another language's protobuf would send ---- */

struct hand {
	const char *what;
	enum message_kind kind;
	const char *bytes;
	size_t size;
	enum error expected;
};
#define HAND(what, kind, text, expected) {what, kind, text, sizeof(text) - 1, expected}

static const struct hand hands[] = {
	HAND("empty", MESSAGE_ACQUIRE, "", ERROR_OK),
	HAND("unknown fields of every type are skipped", MESSAGE_CLOSE,
	     "\x98\x06\x01\xa2\x06\x03zzz\xa9\x06" "12345678" "\xb5\x06" "1234", ERROR_OK),
	HAND("a scalar twice: the last counts", MESSAGE_WAIT, "\x18\x05\x18\x06", ERROR_OK),
	HAND("the header twice", MESSAGE_CLOSE, "\x0a\x02\x08\x01\x0a\x02\x08\x02", ERROR_MALFORMED),
	HAND("field number 0", MESSAGE_CLOSE, "\x00\x01", ERROR_MALFORMED),
	HAND("groups", MESSAGE_CLOSE, "\x9b\x06\x9c\x06", ERROR_MALFORMED),
	HAND("wire type 7", MESSAGE_CLOSE, "\x9f\x06", ERROR_MALFORMED),
	HAND("a number where bytes belong", MESSAGE_CLOSE, "\x10\x01", ERROR_MALFORMED),
	HAND("bytes where a number belongs", MESSAGE_WAIT, "\x1a\x01\x01", ERROR_MALFORMED),
	HAND("length beyond the end", MESSAGE_CLOSE, "\x12\x05" "abc", ERROR_MALFORMED),
	HAND("enormous length", MESSAGE_CLOSE, "\x12\xff\xff\xff\xff\x0f" "abc", ERROR_MALFORMED),
	HAND("number without end", MESSAGE_WAIT, "\x18\xff\xff", ERROR_MALFORMED),
	HAND("number of eleven bytes", MESSAGE_WAIT,
	     "\x18\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", ERROR_MALFORMED),
	HAND("tag without value", MESSAGE_WAIT, "\x18", ERROR_MALFORMED),
	HAND("NUL in a path", MESSAGE_OPEN, "\x12\x03" "a\0b", ERROR_INVALID_ARGUMENT),
	HAND("overlong NUL in a path", MESSAGE_OPEN, "\x12\x02\xc0\x80", ERROR_INVALID_ARGUMENT),
	HAND("invalid UTF-8 in a path", MESSAGE_OPEN, "\x12\x02\xff\xfe", ERROR_INVALID_ARGUMENT),
	HAND("surrogate in a path", MESSAGE_OPEN, "\x12\x03\xed\xa0\x80", ERROR_INVALID_ARGUMENT),
	HAND("cut character in a path", MESSAGE_OPEN, "\x12\x02\xe2\x82", ERROR_INVALID_ARGUMENT),
	HAND("NUL in a cell's name", MESSAGE_STATUS, "\x0a\x02" "a\0", ERROR_INVALID_ARGUMENT),
	HAND("NUL in contents is fine", MESSAGE_OPEN, "\x52\x03" "a\0b", ERROR_OK),
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
	HAND("three ACL names", MESSAGE_SET_ACL, "\x1a\x01r\x1a\x00\x1a\x01" "c", ERROR_OK),
	HAND("four ACL names", MESSAGE_SET_ACL, "\x1a\x01r\x1a\x01w\x1a\x01" "c\x1a\x01" "d",
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
					     &trouble), ERROR_OK);
	return r;
}

/* Numbers and meanings as the .proto file has them, not merely as our encoder has them. */
static void bytes_mean_what_the_proto_file_says(void **state)
{
	static const char acquire[] = "\x0a\x12\x08\x07\x10\x03\x18\x09\x20\x08\x2a\x05local\x32\x01s"
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

	assert_int_equal(wire_decode_reply(MESSAGE_STATUS, (struct bytes){raw(status), sizeof(status) - 1},
					   &s.arena, &p, &trouble), ERROR_OK);
	assert_int_equal(p.status.replica_count, 2);
	assert_int_equal(p.status.replicas[0].heard_ns_ago, 0);
	assert_int_equal(p.status.replicas[1].heard_ns_ago, -1);
	setting_release(&s);
}

/* ---- envelopes ---- */

static void envelopes_hold_one_body(void **state)
{
	static const char two[] = "\x08\x01\x32\x00\x3a\x00";           /* open, close */
	static const char twice[] = "\x08\x01\x32\x00\x32\x00";         /* open, open */
	static const char newer[] = "\x08\x05\xca\x3e\x02zz";           /* a body of a later version */
	static const char bad_body[] = "\x08\x06\x72\x02\x18\x09";      /* acquire with mode 9 */
	static const char both[] = "\x08\x01\x12\x02\x08\x0f\x32\x00";  /* error and reply */
	static const char refused[] = "\x08\x01\x12\x02\x08\x0f";
	static const char odd_code[] = "\x08\x01\x12\x03\x08\xe7\x07";  /* a code of a later version */
	struct setting s;
	struct request r;
	struct reply p;
	uint64_t id = 0;
	const char *trouble;

#define CLIENT(text) wire_decode_client_envelope((struct bytes){raw(text), sizeof(text) - 1},      \
						 &s.arena, &id, &r, &trouble)
#define SERVER(text) wire_decode_server_envelope((struct bytes){raw(text), sizeof(text) - 1},      \
						 &s.arena, &id, &p, &trouble)
	setting_init(&s, 8);
	assert_int_equal(CLIENT(two), ERROR_MALFORMED);
	assert_int_equal(CLIENT(twice), ERROR_MALFORMED);
	assert_int_equal(CLIENT(newer), ERROR_OK);
	assert_int_equal(r.kind, MESSAGE_NONE);
	assert_int_equal(id, 5);
	/* The call can be refused by its id, though its body is bad. */
	assert_int_equal(CLIENT(bad_body), ERROR_INVALID_ARGUMENT);
	assert_int_equal(id, 6);
	assert_int_equal(SERVER(both), ERROR_MALFORMED);
	assert_int_equal(SERVER(refused), ERROR_OK);
	assert_int_equal(p.kind, MESSAGE_NONE);
	assert_int_equal(p.error, ERROR_BUSY);
	assert_int_equal(SERVER(odd_code), ERROR_OK);
	assert_int_equal(p.error, ERROR_INTERNAL);
	assert_int_equal(SERVER(newer), ERROR_OK);
	assert_int_equal(p.kind, MESSAGE_NONE);
	assert_int_equal(p.error, ERROR_OK);
	setting_release(&s);
}

/* gRPC's own statuses carry no chubby.v1.Error, and details of other types are passed over. */
static void foreign_statuses_are_told_apart(void **state)
{
	static const char foreign[] = "\x08\x0e\x12\x04gone\x1a\x07\x0a\x01x\x12\x02zz";
	struct setting s;
	struct reply p, r = {.error = ERROR_NOT_FOUND};

	setting_init(&s, 9);
	assert_int_equal(wire_decode_status((struct bytes){raw(foreign), sizeof(foreign) - 1}, &s.arena,
					    &p), ERROR_MALFORMED);
	assert_int_equal(wire_decode_status(BYTES_NONE, &s.arena, &p), ERROR_MALFORMED);
	/* Behind a foreign detail stands ours: messages concatenate. */
	assert_true(buffer_append(&s.out, (struct bytes){raw(foreign), sizeof(foreign) - 1}));
	assert_int_equal(wire_encode_status(&r, &s.out), ERROR_OK);
	assert_int_equal(wire_decode_status(buffer_view(&s.out), &s.arena, &p), ERROR_OK);
	assert_int_equal(p.error, ERROR_NOT_FOUND);
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
						     &trouble), ERROR_OK);
	assert_same(&wire_requests[r.kind], &r, &back);
	setting_next(&s);

	r.set_contents.contents.size++;
	assert_int_equal(wire_encode_request(&r, &s.out), ERROR_TOO_LARGE);
	assert_int_equal(s.out.size, 0);
	assert_true(buffer_append(&s.out, (struct bytes){raw("\x1a\x81\x80\x10"), 4}));
	assert_true(buffer_append(&s.out, r.set_contents.contents));
	assert_int_equal(wire_decode_request(r.kind, buffer_view(&s.out), &s.arena, &back, &trouble),
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
	assert_int_equal(wire_decode_request(r.kind, buffer_view(&s.out), &s.arena, &back, &trouble),
			 ERROR_OK);
	assert_int_equal(back.multi.count, WIRE_MULTI_MAX);
	assert_true(buffer_append(&s.out, (struct bytes){raw("\x12\x00"), 2}));
	assert_int_equal(wire_decode_request(r.kind, buffer_view(&s.out), &s.arena, &back, &trouble),
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
	assert_int_equal(wire_decode_request(MESSAGE_CLOSE, buffer_view(&s.out), &s.arena, &r, &trouble),
			 ERROR_TOO_LARGE);
	/* The arena's maximum bounds the arrays: an operation of two bytes costs a hundred. */
	arena_init(&small, 128);
	assert_int_equal(wire_decode_request(MESSAGE_MULTI, (struct bytes){raw("\x12\x00\x12\x00\x12\x00"), 6},
					     &small, &r, &trouble), ERROR_TOO_LARGE);
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
			assert_int_equal(wire_encode_client_envelope(1, &r, &tight), ERROR_TOO_LARGE);
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
			assert_int_equal(wire_decode_client_envelope(buffer_view(&s.out), &s.arena, &id,
								     &again, &trouble), ERROR_OK);
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

			(void)!wire_decode_client_envelope((struct bytes){garbage, size}, &s.arena, &id,
							   &r, &trouble);
		}
	}
	setting_release(&s);
}

static void messages_may_be_cut_anywhere(void **state)
{
	struct setting s;
	struct arena scratch;

	setting_init(&s, 16);
	arena_init(&scratch, ARENA_BYTES);
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
			enum error e = wire_decode_client_envelope((struct bytes){prefix, size}, &scratch,
								   &id, &back, &trouble);

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

/* ---- names ---- */

static void methods_have_their_paths(void **state)
{
	assert_string_equal(wire_method_path(MESSAGE_ACQUIRE), "/chubby.v1.Chubby/Acquire");
	assert_string_equal(wire_method_path(MESSAGE_STATUS), "/chubby.v1.Admin/Status");
	assert_null(wire_method_path(MESSAGE_NONE));
	assert_null(wire_method_path(MESSAGE_WAIT_ENDED));
	assert_null(wire_method_path((enum message_kind)1000));
	assert_null(message_kind_name(MESSAGE_KIND_END));
	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind < MESSAGE_KIND_END; kind++)
		assert_non_null(message_kind_name(kind));
	assert_true(message_is_numbered(MESSAGE_RELEASE));
	assert_false(message_is_numbered(MESSAGE_WAIT));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_agree_with_the_proto_files),
		cmocka_unit_test(requests_are_read_as_written),
		cmocka_unit_test(replies_are_read_as_written),
		cmocka_unit_test(refusals_are_read_as_written),
		cmocka_unit_test(sentences_of_refusals_fit),
		cmocka_unit_test(milliseconds_round_to_the_safe_side),
		cmocka_unit_test(hostile_requests_are_refused),
		cmocka_unit_test(bytes_mean_what_the_proto_file_says),
		cmocka_unit_test(envelopes_hold_one_body),
		cmocka_unit_test(foreign_statuses_are_told_apart),
		cmocka_unit_test(contents_up_to_the_limit_pass),
		cmocka_unit_test(multi_holds_64_operations),
		cmocka_unit_test(messages_and_memory_are_bounded),
		cmocka_unit_test(full_buffers_stay_as_they_were),
		cmocka_unit_test(damaged_messages_do_no_harm),
		cmocka_unit_test(garbage_does_no_harm),
		cmocka_unit_test(messages_may_be_cut_anywhere),
		cmocka_unit_test(methods_have_their_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
