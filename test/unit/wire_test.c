/* The messages of chubby.v1: what is written is what is read. */
#include "wire/codec.h"
#include "wire/tables.h"

#include "fields_proto.h"
#include "fields_random.h"

#include "chubby/internal/status.pb.h"
#include "chubby/v1/admin.pb.h"
#include "chubby/v1/chubby.pb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
/* cmocka wants the headers above before it. */
#include <cmocka.h>

#define ROUNDS 200

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
		chubby_v1_##name##_FIELDLIST(PROTO_FIELD, _){0}};
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
	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind <= MESSAGE_TRANSFER_MASTER;
	     kind++) {
		for (int i = 0; i < ROUNDS; i++, setting_next(&s)) {
			struct request r = {.kind = kind}, back, streamed;
			const char *trouble = NULL;
			uint64_t call_id;
			enum error e;

			fill(&s.rng, &s.arena, &wire_requests[kind], (uint8_t *)&r);
			assert_int_equal(wire_encode_request(&r, &s.out), ERROR_OK);
			assert_int_equal(wire_decode_request(kind, buffer_view(&s.out), &s.arena,
							     &back, &trouble),
					 ERROR_OK);
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
			assert_int_equal(wire_decode_reply(kind, buffer_view(&s.out), &s.arena,
							   &back, &trouble),
					 ERROR_OK);
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
		assert_int_equal(wire_decode_server_envelope(buffer_view(&s.out), &s.arena,
							     &call_id, &back, &trouble),
				 ERROR_OK);
		assert_int_equal(back.kind, MESSAGE_NONE);
		assert_int_equal(call_id, 9);
		assert_same(&wire_error, &r, &back);

		buffer_clear(&s.out);
		assert_int_equal(wire_encode_status(&r, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_status(buffer_view(&s.out), &s.arena, &status),
				 ERROR_OK);
		assert_int_equal(status.kind, MESSAGE_NONE);
		assert_same(&wire_error, &r, &status);
	}
	setting_release(&s);
}

/* Operation 0 is one, and none is told apart from it; who wrote before the field was there, and who
 * reads without knowing it, are understood. */
static void refusals_name_their_operation(void **state)
{
	static const char old[] = "\x08\x01\x12\x02\x08\x26";           /* GUARD_FAILED */
	static const char first[] = "\x08\x01\x12\x04\x08\x26\x38\x00"; /* of operation 0 */
	struct reply r = {.error = ERROR_GUARD_FAILED, .has_failed_op = true}, back;
	const char *trouble = NULL;
	struct setting s;
	uint64_t id;

	setting_init(&s, 10);
	assert_int_equal(wire_decode_server_envelope(LITERAL(old), &s.arena, &id, &back, &trouble),
			 ERROR_OK);
	assert_false(back.has_failed_op);
	assert_int_equal(wire_decode_server_envelope(LITERAL(first), &s.arena, &id, &back,
						     &trouble),
			 ERROR_OK);
	assert_true(back.has_failed_op);
	assert_int_equal(back.failed_op, 0);
	for (int i = 0; i < 2; i++, setting_next(&s), r.has_failed_op = false) {
		assert_int_equal(wire_encode_status(&r, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_status(buffer_view(&s.out), &s.arena, &back),
				 ERROR_OK);
		assert_int_equal(back.has_failed_op, r.has_failed_op);
		buffer_clear(&s.out);
		assert_int_equal(wire_encode_server_envelope(1, &r, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_server_envelope(buffer_view(&s.out), &s.arena, &id,
							     &back, &trouble),
				 ERROR_OK);
		assert_int_equal(back.error, ERROR_GUARD_FAILED);
		assert_int_equal(back.has_failed_op, r.has_failed_op);
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
						     &trouble),
				 ERROR_OK);
		assert_int_equal(r_back.find_master.wait_ns, cases[i].up_ns);

		buffer_clear(&s.out);
		p.create_session.lease_ns = cases[i].ns;
		assert_int_equal(wire_encode_reply(&p, &s.out), ERROR_OK);
		assert_int_equal(wire_decode_reply(p.kind, buffer_view(&s.out), &s.arena, &p_back,
						   &trouble),
				 ERROR_OK);
		assert_int_equal(p_back.create_session.lease_ns, cases[i].down_ns);
	}
	setting_release(&s);
}

/* ---- envelopes ---- */

static void envelopes_hold_one_body(void **state)
{
	static const char two[] = "\x08\x01\x32\x00\x3a\x00";      /* open, close */
	static const char twice[] = "\x08\x01\x32\x00\x32\x00";    /* open, open */
	static const char newer[] = "\x08\x05\xca\x3e\x02zz";      /* a body of a later version */
	static const char bad_body[] = "\x08\x06\x72\x02\x18\x09"; /* acquire with mode 9 */
	static const char both[] = "\x08\x01\x12\x02\x08\x0f\x32\x00"; /* error and reply */
	static const char refused[] = "\x08\x01\x12\x02\x08\x0f";
	static const char odd_code[] =
		"\x08\x01\x12\x03\x08\xe7\x07"; /* a code of a later version */
	struct setting s;
	struct request r;
	struct reply p;
	uint64_t id = 0;
	const char *trouble;

#define CLIENT(text)                                                                               \
	wire_decode_client_envelope((struct bytes){raw(text), sizeof(text) - 1}, &s.arena, &id,    \
				    &r, &trouble)
#define SERVER(text)                                                                               \
	wire_decode_server_envelope((struct bytes){raw(text), sizeof(text) - 1}, &s.arena, &id,    \
				    &p, &trouble)
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
	assert_int_equal(wire_decode_status((struct bytes){raw(foreign), sizeof(foreign) - 1},
					    &s.arena, &p),
			 ERROR_MALFORMED);
	assert_int_equal(wire_decode_status(BYTES_NONE, &s.arena, &p), ERROR_MALFORMED);
	/* Behind a foreign detail stands ours: messages concatenate. */
	assert_true(buffer_append(&s.out, (struct bytes){raw(foreign), sizeof(foreign) - 1}));
	assert_int_equal(wire_encode_status(&r, &s.out), ERROR_OK);
	assert_int_equal(wire_decode_status(buffer_view(&s.out), &s.arena, &p), ERROR_OK);
	assert_int_equal(p.error, ERROR_NOT_FOUND);
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
		cmocka_unit_test(refusals_name_their_operation),
		cmocka_unit_test(sentences_of_refusals_fit),
		cmocka_unit_test(milliseconds_round_to_the_safe_side),
		cmocka_unit_test(envelopes_hold_one_body),
		cmocka_unit_test(foreign_statuses_are_told_apart),
		cmocka_unit_test(methods_have_their_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
