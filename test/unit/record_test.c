/* Commands and rows: what is written is what is read, and nothing else is understood. */
#include "codec/codec.h"
#include "codec/tables.h"

#include "fields_proto.h"
#include "fields_random.h"

#include "chubby/internal/peer.pb.h"
#include "chubby/internal/record.pb.h"

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

/* ---- the tables agree with the .proto files ---- */

/* The table of a message that stands in another's field. */
static const struct fields *inner(const struct fields *t, uint32_t number)
{
	for (size_t i = 0; i < t->count; i++) {
		if (t->rows[i].number == number)
			return t->rows[i].message;
	}
	fail_msg("no field %u", number);
	return NULL;
}

#define BODY_OF(field) inner(&codec_entry, chubby_internal_Entry_##field##_tag)
#define ROW_PART(row, m, f) inner(&codec_rows[row], chubby_internal_##m##_##f##_tag)
#define PAIRS(X)                                                                                   \
	X(&codec_ballot, Ballot)                                                                   \
	X(&codec_accepted, Accepted)                                                               \
	X(&codec_seen, Seen)                                                                       \
	X(&codec_message, PaxosMessage)                                                            \
	X(&codec_hello_fields, Hello)                                                              \
	X(&codec_gossip_fields, Gossip)                                                            \
	X(&codec_learn_fields, LearnChunk)                                                         \
	X(&codec_snapshot_request_fields, SnapshotRequest)                                         \
	X(&codec_snapshot_fields, SnapshotChunk)                                                   \
	X(&codec_entry, Entry)                                                                     \
	X(BODY_OF(guard_grant), GuardGrant)                                                        \
	X(BODY_OF(epoch), EpochBody)                                                               \
	X(BODY_OF(session_create), SessionCreateBody)                                              \
	X(BODY_OF(session_end), SessionEndBody)                                                    \
	X(BODY_OF(node_create), NodeCreateBody)                                                    \
	X(BODY_OF(node_delete), NodeDeleteBody)                                                    \
	X(BODY_OF(node_write), NodeWriteBody)                                                      \
	X(BODY_OF(node_set_acl), NodeSetAclBody)                                                   \
	X(BODY_OF(keep), HandleBody)                                                               \
	X(BODY_OF(acquire), AcquireBody)                                                           \
	X(BODY_OF(cancel), CancelBody)                                                             \
	X(BODY_OF(lock_delay_end), LockDelayEndBody)                                               \
	X(BODY_OF(revoke), RevokeBody)                                                             \
	X(BODY_OF(multi), MultiBody)                                                               \
	X(inner(BODY_OF(multi), chubby_internal_MultiBody_ops_tag), MultiOpBody)                   \
	X(BODY_OF(session_mark), SessionMarkBody)                                                  \
	X(inner(BODY_OF(session_mark), chubby_internal_SessionMarkBody_marks_tag), MarkBody)       \
	X(BODY_OF(lease_raise), LeaseRaiseBody)                                                    \
	X(BODY_OF(digest), DigestBody)                                                             \
	X(inner(BODY_OF(digest), chubby_internal_DigestBody_digest_tag), Digest)                   \
	X(&codec_rows[ROW_META], MetaRow)                                                          \
	X(&codec_rows[ROW_NODE], NodeRow)                                                          \
	X(ROW_PART(ROW_NODE, NodeRow, keepers), KeeperRow)                                         \
	X(&codec_rows[ROW_LOCK], LockRow)                                                          \
	X(ROW_PART(ROW_LOCK, LockRow, holders), HolderRow)                                         \
	X(ROW_PART(ROW_LOCK, LockRow, waiters), WaiterRow)                                         \
	X(&codec_rows[ROW_SESSION], SessionRow)                                                    \
	X(ROW_PART(ROW_SESSION, SessionRow, results), ResultRow)

#define PROTO_OF(table, name)                                                                      \
	static const struct proto_field proto_##name[] = {                                         \
		chubby_internal_##name##_FIELDLIST(PROTO_FIELD, _){0}};
PAIRS(PROTO_OF)

static void compare_table(const char *name, const struct fields *t, const struct proto_field *proto,
			  size_t count)
{
	if (t->count != count)
		fail_msg("%s: %zu rows for %zu fields", name, t->count, count);
	for (size_t i = 0; i < count; i++) {
		if (t->rows[i].number != proto[i].number || !row_fits(&t->rows[i], &proto[i]))
			fail_msg("%s: row %zu (%s)", name, i, t->rows[i].trouble);
	}
	if (shared_member(t) != NULL)
		fail_msg("%s: %s", name, shared_member(t));
}

static void tables_agree_with_the_proto_files(void **state)
{
#define COMPARE(table, name)                                                                       \
	compare_table(#name, table, proto_##name,                                                  \
		      sizeof(proto_##name) / sizeof(proto_##name[0]) - 1);
	PAIRS(COMPARE)
#undef COMPARE
}

/* ---- commands ---- */

static void entries_are_read_as_written(void **state)
{
	struct setting s;

	setting_init(&s, 31);
	for (enum entry_kind kind = ENTRY_EPOCH; kind < ENTRY_KIND_END; kind++) {
		for (int i = 0; i < ROUNDS; i++, setting_next(&s)) {
			struct entry e = {.kind = kind}, back;

			fill(&s.rng, &s.arena, &codec_entry, (uint8_t *)&e);
			assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_OK);
			assert_int_equal(codec_decode_entry(buffer_view(&s.out), &s.arena, &back),
					 ERROR_OK);
			assert_int_equal(back.kind, kind);
			assert_same(&codec_entry, &e, &back);
		}
	}
	setting_release(&s);
}

struct hand {
	const char *what;
	struct bytes bytes;
	enum error expected;
};

/* What the encoder cannot have made is refused: half an understanding would split the replicas. */
static void strange_entries_are_refused(void **state)
{
	const struct hand hands[] = {
		{"a release", LITERAL("\x20\x07\xaa\x01\x02\x08\x05"), ERROR_OK},
		{"an empty body", LITERAL("\xda\x01\x00"), ERROR_OK},
		{"nothing", LITERAL(""), ERROR_MALFORMED},
		{"no body", LITERAL("\x20\x07"), ERROR_MALFORMED},
		{"an unknown body", LITERAL("\xfa\x01\x00"), ERROR_MALFORMED},
		{"an unknown field beside the body", LITERAL("\x20\x07\x40\x01\xaa\x01\x00"),
		 ERROR_MALFORMED},
		{"an unknown field behind the body", LITERAL("\xaa\x01\x00\xf8\x07\x01"),
		 ERROR_MALFORMED},
		{"an unknown field in the body", LITERAL("\xaa\x01\x02\x18\x05"), ERROR_MALFORMED},
		{"a field in an empty body", LITERAL("\xda\x01\x02\x08\x01"), ERROR_MALFORMED},
		{"two bodies", LITERAL("\xaa\x01\x00\xb2\x01\x00"), ERROR_MALFORMED},
		{"the body twice", LITERAL("\xaa\x01\x00\xaa\x01\x00"), ERROR_MALFORMED},
		{"a number twice", LITERAL("\x20\x07\x20\x07\xaa\x01\x00"), ERROR_MALFORMED},
		{"out of order", LITERAL("\xaa\x01\x00\x20\x07"), ERROR_MALFORMED},
		{"a wrong wire type", LITERAL("\x22\x01\x07\xaa\x01\x00"), ERROR_MALFORMED},
		{"an acquire without mode", LITERAL("\xa2\x01\x02\x08\x05"), ERROR_MALFORMED},
		{"an acquire of mode 3", LITERAL("\xa2\x01\x02\x18\x03"), ERROR_MALFORMED},
		{"an acquire of mode 2", LITERAL("\xa2\x01\x02\x18\x02"), ERROR_OK},
		{"a node of kind 3", LITERAL("\x6a\x02\x10\x03"), ERROR_MALFORMED},
		{"an end for reason 5", LITERAL("\x62\x02\x08\x05"), ERROR_MALFORMED},
		{"a multi-operation of kind 11", LITERAL("\xca\x01\x04\x0a\x02\x08\x0b"),
		 ERROR_MALFORMED},
		{"four ACL names", LITERAL("\x82\x01\x08\x1a\x00\x1a\x00\x1a\x00\x1a\x00"),
		 ERROR_MALFORMED},
	};
	struct setting s;

	setting_init(&s, 32);
	for (size_t i = 0; i < sizeof(hands) / sizeof(hands[0]); i++, setting_next(&s)) {
		struct entry entry, untouched;
		enum error e;

		memset(&entry, 0x5a, sizeof(entry));
		memset(&untouched, 0x5a, sizeof(untouched));
		e = codec_decode_entry(hands[i].bytes, &s.arena, &entry);
		if (e != hands[i].expected)
			fail_msg("%s: %s", hands[i].what, error_name(e));
		if (e != ERROR_OK)
			assert_memory_equal(&entry, &untouched, sizeof(entry));
	}
	setting_release(&s);
}

/* An entry that nobody could read is not written: it could not be taken back from the log. */
static void unreadable_entries_are_not_written(void **state)
{
	static uint8_t contents[CELL_CONTENTS_MAX_BYTES + 1];
	struct setting s;
	struct entry e = {.kind = ENTRY_NODE_WRITE}, back;
	struct multi_op ops[MULTI_OPS_MAX + 1];

	setting_init(&s, 33);
	e.node_write.contents = (struct bytes){contents, CELL_CONTENTS_MAX_BYTES};
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_OK);
	assert_int_equal(codec_decode_entry(buffer_view(&s.out), &s.arena, &back), ERROR_OK);
	assert_same(&codec_entry, &e, &back);
	buffer_clear(&s.out);
	e.node_write.contents.size++;
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_TOO_LARGE);

	e = (struct entry){.kind = ENTRY_NODE_CREATE};
	e.node_create.kind = NODE_FILE;
	e.node_create.path = (struct bytes){contents, CELL_PATH_MAX_BYTES};
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_OK);
	buffer_clear(&s.out);
	e.node_create.path.size++;
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_TOO_LARGE);

	e = (struct entry){.kind = ENTRY_ACQUIRE};
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_INVALID_ARGUMENT);
	e.acquire.mode = (enum lock_mode)3;
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_INVALID_ARGUMENT);

	e = (struct entry){.kind = ENTRY_MULTI};
	memset(ops, 0, sizeof(ops));
	for (int i = 0; i <= MULTI_OPS_MAX; i++)
		ops[i].kind = MULTI_WRITE;
	e.multi.ops = ops;
	e.multi.count = MULTI_OPS_MAX;
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_OK);
	buffer_clear(&s.out);
	e.multi.count++;
	assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_TOO_LARGE);
	assert_int_equal(s.out.size, 0);
	setting_release(&s);
}

/* No prefix of an entry is that entry; damage is refused or gives what can be written again. */
static void damaged_entries_do_no_harm(void **state)
{
	struct setting s;

	setting_init(&s, 34);
	for (int i = 0; i < 60000; i++, setting_next(&s)) {
		struct entry e = {.kind = 1 +
					  (enum entry_kind)rng_below(&s.rng, ENTRY_KIND_END - 1)};
		struct entry back;
		struct bytes b;

		fill(&s.rng, &s.arena, &codec_entry, (uint8_t *)&e);
		assert_int_equal(codec_encode_entry(&e, &s.out), ERROR_OK);
		b = buffer_view(&s.out);
		b.size = rng_below(&s.rng, b.size);
		/* The body stands last and is one field. */
		assert_int_equal(codec_decode_entry(b, &s.arena, &back), ERROR_MALFORMED);
		b = damaged(&s.rng, &s.arena, buffer_view(&s.out));
		if (codec_decode_entry(b, &s.arena, &back) != ERROR_OK)
			continue;
		buffer_clear(&s.out);
		assert_int_equal(codec_encode_entry(&back, &s.out), ERROR_OK);
		assert_int_equal(codec_decode_entry(buffer_view(&s.out), &s.arena, &e), ERROR_OK);
		assert_int_equal(e.kind, back.kind);
		assert_same(&codec_entry, &back, &e);
	}
	setting_release(&s);
}

static void garbage_is_no_record(void **state)
{
	struct setting s;

	setting_init(&s, 35);
	for (int i = 0; i < 100000; i++, setting_next(&s)) {
		uint8_t garbage[48];
		struct bytes b = {garbage, rng_below(&s.rng, sizeof(garbage) + 1)};
		struct entry e;
		struct row row;

		for (size_t n = 0; n < b.size; n++)
			garbage[n] = (uint8_t)(rng_next(&s.rng) >> (i % 2 == 0 ? 0 : 59));
		(void)!codec_decode_entry(b, &s.arena, &e);
		(void)!codec_decode_row(1 + (enum row_kind)rng_below(&s.rng, 5), i & 3, b, &s.arena,
					&row);
	}
	setting_release(&s);
}

/* ---- rows ---- */

struct objects {
	struct meta_wire meta;
	struct node node;
	struct lock lock;
	struct session_wire session;
};

static struct row random_row(struct setting *s, enum row_kind kind, struct objects *o)
{
	struct row row = {.kind = kind};

	memset(o, 0, sizeof(*o));
	switch (kind) {
	case ROW_META:
		fill(&s->rng, &s->arena, &codec_rows[kind], (uint8_t *)&o->meta);
		for (size_t i = 0; i < sizeof(o->meta.meta.handle_key); i++)
			o->meta.meta.handle_key[i] = (uint8_t)rng_next(&s->rng);
		row.meta = &o->meta.meta;
		break;
	case ROW_NODE:
		fill(&s->rng, &s->arena, &codec_rows[kind], (uint8_t *)&o->node);
		row.node = &o->node;
		row.key = o->node.instance;
		break;
	case ROW_LOCK:
		fill(&s->rng, &s->arena, &codec_rows[kind], (uint8_t *)&o->lock);
		row.lock = &o->lock;
		row.key = o->lock.instance;
		break;
	case ROW_SESSION:
		fill(&s->rng, &s->arena, &codec_rows[kind], (uint8_t *)&o->session);
		if (o->session.session.mark_left_ns < 0)
			o->session.session.mark_left_ns = -1;
		row.session = &o->session.session;
		row.key = o->session.session.id.n;
		break;
	}
	return row;
}

static void assert_same_row(const struct row *a, const struct row *b)
{
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->key, b->key);
	if (a->kind == ROW_META) {
		struct meta_wire x = {.meta = *a->meta}, y = {.meta = *b->meta};

		assert_same(&codec_rows[ROW_META], &x, &y);
		assert_memory_equal(a->meta->handle_key, b->meta->handle_key, 32);
	} else if (a->kind == ROW_NODE) {
		assert_same(&codec_rows[ROW_NODE], a->node, b->node);
		assert_int_equal(b->node->checksum,
				 a->node->kind == NODE_FILE ? bytes_hash(a->node->contents) : 0);
	} else if (a->kind == ROW_LOCK) {
		assert_same(&codec_rows[ROW_LOCK], a->lock, b->lock);
	} else {
		struct session_wire x = {.session = *a->session}, y = {.session = *b->session};

		assert_same(&codec_rows[ROW_SESSION], &x, &y);
	}
}

static void rows_are_read_as_written(void **state)
{
	struct setting s;
	struct objects o;

	setting_init(&s, 41);
	for (enum row_kind kind = ROW_META; kind <= ROW_SESSION; kind++) {
		for (int i = 0; i < 2 * ROUNDS; i++, setting_next(&s)) {
			struct row row = random_row(&s, kind, &o), back, other;
			struct bytes b;

			assert_int_equal(codec_encode_row(&row, &s.out), ERROR_OK);
			assert_int_equal(codec_decode_row(kind, row.key, buffer_view(&s.out),
							  &s.arena, &back),
					 ERROR_OK);
			assert_false(back.deleted);
			assert_same_row(&row, &back);
			/* A row under another's key is damage. */
			assert_int_equal(codec_decode_row(kind, row.key + 1, buffer_view(&s.out),
							  &s.arena, &other),
					 ERROR_MALFORMED);
			b = damaged(&s.rng, &s.arena, buffer_view(&s.out));
			(void)!codec_decode_row(kind, row.key, b, &s.arena, &other);
		}
	}
	setting_release(&s);
}

/* A session whose lease has run out may be marked with nothing left; that is not "no mark". */
static void a_mark_of_zero_is_a_mark(void **state)
{
	static const int64_t lefts[] = {-1, 0, 1, INT64_MAX};
	struct setting s;

	setting_init(&s, 42);
	for (size_t i = 0; i < 4; i++, setting_next(&s)) {
		struct session session = {.id = {3}, .mark_left_ns = lefts[i]};
		struct row row = {.kind = ROW_SESSION, .key = 3, .session = &session}, back;

		assert_int_equal(codec_encode_row(&row, &s.out), ERROR_OK);
		assert_int_equal(codec_decode_row(ROW_SESSION, 3, buffer_view(&s.out), &s.arena,
						  &back),
				 ERROR_OK);
		assert_int_equal(back.session->mark_left_ns, lefts[i]);
	}
	setting_release(&s);
}

static void strange_rows_are_refused(void **state)
{
	const struct {
		const char *what;
		enum row_kind kind;
		uint64_t key;
		struct bytes bytes;
	} rows[] = {
		{"no handle key", ROW_META, 0, LITERAL("\x20\x01")},
		{"a short handle key", ROW_META, 0, LITERAL("\x42\x02zz")},
		{"a node of no kind", ROW_NODE, 5, LITERAL("\x08\x05")},
		{"a node of kind 3", ROW_NODE, 5, LITERAL("\x08\x05\x20\x03")},
		{"an unknown field", ROW_NODE, 5, LITERAL("\x08\x05\x20\x01\x68\x01")},
		{"a waiter for nothing", ROW_LOCK, 5, LITERAL("\x08\x05\x32\x02\x08\x01")},
		{"time left without a mark", ROW_SESSION, 5, LITERAL("\x08\x05\x58\x01")},
		{"an error of a later version", ROW_SESSION, 5,
		 LITERAL("\x08\x05\x72\x05\x10\x01\x18\xe7\x07")},
		{"no such kind of row", (enum row_kind)5, 5, LITERAL("\x08\x05")},
	};
	struct setting s;

	setting_init(&s, 43);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++, setting_next(&s)) {
		struct row row;
		enum error e = codec_decode_row(rows[i].kind, rows[i].key, rows[i].bytes, &s.arena,
						&row);

		if (e != ERROR_MALFORMED)
			fail_msg("%s: %s", rows[i].what, error_name(e));
	}
	setting_release(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_agree_with_the_proto_files),
		cmocka_unit_test(entries_are_read_as_written),
		cmocka_unit_test(strange_entries_are_refused),
		cmocka_unit_test(unreadable_entries_are_not_written),
		cmocka_unit_test(damaged_entries_do_no_harm),
		cmocka_unit_test(garbage_is_no_record),
		cmocka_unit_test(rows_are_read_as_written),
		cmocka_unit_test(a_mark_of_zero_is_a_mark),
		cmocka_unit_test(strange_rows_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
