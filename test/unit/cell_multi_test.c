/*
 * cell: several operations in one entry, all or none.
 */
#include "cell_fixture.h"

#define NOBODY ((struct session_id){0})

static struct result multi(struct fixture *f, struct session_id s, uint32_t count,
			   const struct multi_op *ops)
{
	struct entry e = {.kind = ENTRY_MULTI, .session = s, .multi = {.count = count, .ops = ops}};

	return apply(f, &e);
}

/* The state but for what every entry moves: the revision in the row of the cell itself. */
static struct digest digest_without_revision(const struct cell *c)
{
	struct cell *copy = cell_load_begin();
	struct row row = {0};
	struct digest digest;
	char *trouble = NULL;

	while (cell_row_after(c, &row, &row)) {
		struct cell_meta meta = *cell_meta(c);
		struct row stored = row;

		if (row.kind == ROW_META) {
			meta.revision.n = REVISION_MAX;
			stored.meta = &meta;
		}
		assert_int_equal(cell_load_row(copy, &stored), ERROR_OK);
	}
	assert_int_equal(cell_load_end(copy, &trouble), ERROR_OK);
	digest = cell_digest(copy);
	cell_free(copy);
	return digest;
}

static void nonsense_is_malformed(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	struct multi_op ops[MULTI_OPS_MAX + 1] = {0};

	for (int i = 0; i <= MULTI_OPS_MAX; i++)
		ops[i] = (struct multi_op){.kind = MULTI_GUARD_EXISTS, .path = bytes_of_text("/")};
	assert_int_equal(multi(f, s, MULTI_OPS_MAX, ops).error, ERROR_OK);
	assert_int_equal(multi(f, s, MULTI_OPS_MAX + 1, ops).error, ERROR_MALFORMED);
	assert_int_equal(multi(f, s, 0, ops).error, ERROR_MALFORMED);
	assert_int_equal(multi(f, s, 1, NULL).error, ERROR_MALFORMED);
	/* Guards stand first. */
	ops[0] = (struct multi_op){.kind = MULTI_CREATE,
				   .path = bytes_of_text("/a"),
				   .node_kind = NODE_FILE};
	assert_int_equal(multi(f, s, 2, ops).error, ERROR_MALFORMED);
	assert_null(cell_node_at(f->cell, bytes_of_text("/a")));
	ops[0].kind = (enum multi_kind)0;
	assert_int_equal(multi(f, s, 1, ops).error, ERROR_MALFORMED);
	ops[0].kind = (enum multi_kind)99;
	assert_int_equal(multi(f, s, 1, ops).error, ERROR_MALFORMED);
	ops[0].kind = MULTI_ACQUIRE;
	assert_int_equal(multi(f, NOBODY, 1, ops).error, ERROR_MALFORMED);
}

static void guards(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/f");
	uint64_t generation = cell_node(f->cell, node)->contents_generation;
	struct result held = acquire(f, s, node, 5, LOCK_EXCLUSIVE);
	struct bytes there = bytes_of_text("/f"), absent = bytes_of_text("/g");
	const struct {
		struct multi_op op;
		bool good;
	} rows[] = {
		{{.kind = MULTI_GUARD_EXISTS, .path = there}, true},
		{{.kind = MULTI_GUARD_EXISTS, .path = there, .instance = node}, true},
		{{.kind = MULTI_GUARD_EXISTS, .path = there, .instance = node + 1}, false},
		{{.kind = MULTI_GUARD_EXISTS, .path = absent}, false},
		{{.kind = MULTI_GUARD_ABSENT, .path = absent}, true},
		{{.kind = MULTI_GUARD_ABSENT, .path = there}, false},
		{{.kind = MULTI_GUARD_GENERATION, .path = there, .number = generation}, true},
		{{.kind = MULTI_GUARD_GENERATION, .path = there, .number = generation + 1}, false},
		{{.kind = MULTI_GUARD_GENERATION, .path = absent, .number = 0}, false},
		{{.kind = MULTI_GUARD_HOLDER, .path = there, .number = s.n}, true},
		{{.kind = MULTI_GUARD_HOLDER, .path = there, .number = s.n, .handle = {5}}, true},
		{{.kind = MULTI_GUARD_HOLDER, .path = there, .number = s.n, .handle = {6}}, false},
		{{.kind = MULTI_GUARD_HOLDER, .path = there, .number = s.n + 1}, false},
		{{.kind = MULTI_GUARD_HOLDER, .path = bytes_of_text("/"), .number = s.n}, false},
		{{.kind = MULTI_GUARD_TOKEN, .path = there, .number = held.token.n}, true},
		{{.kind = MULTI_GUARD_TOKEN, .path = there, .number = held.token.n - 1}, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (multi(f, s, 1, &rows[i].op).error !=
		    (rows[i].good ? ERROR_OK : ERROR_GUARD_FAILED))
			fail_msg("guard %zu", i);
	/* A token is good as long as the lock is held. */
	release(f, s, node, 5);
	assert_int_equal(multi(f, s, 1, &rows[14].op).error, ERROR_GUARD_FAILED);
}

/* Each operation sees what the former ones did. */
static void operations_build_on_each_other(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t old = make_file(f, "/old");
	const struct multi_op ops[] = {
		{.kind = MULTI_GUARD_ABSENT, .path = bytes_of_text("/d")},
		{.kind = MULTI_CREATE, .path = bytes_of_text("/d"), .node_kind = NODE_DIRECTORY},
		{.kind = MULTI_CREATE,
		 .path = bytes_of_text("/d/f"),
		 .node_kind = NODE_FILE,
		 .contents = bytes_of_text("one")},
		{.kind = MULTI_WRITE,
		 .path = bytes_of_text("/d/f"),
		 .contents = bytes_of_text("two")},
		{.kind = MULTI_ACQUIRE,
		 .path = bytes_of_text("/d/f"),
		 .handle = {1},
		 .mode = LOCK_EXCLUSIVE},
		{.kind = MULTI_DELETE, .path = bytes_of_text("/old")},
		{.kind = MULTI_CREATE, .path = bytes_of_text("/old"), .node_kind = NODE_FILE},
	};
	struct result r = multi(f, s, 7, ops);
	const struct node *directory = cell_node_at(f->cell, bytes_of_text("/d"));
	const struct node *file = cell_node_at(f->cell, bytes_of_text("/d/f"));

	assert_int_equal(r.error, ERROR_OK);
	assert_true(bytes_equal(file->contents, bytes_of_text("two")));
	assert_true(directory->instance < file->instance); /* instances are never shared */
	assert_true(cell_node_at(f->cell, bytes_of_text("/old"))->instance > file->instance);
	assert_null(cell_node(f->cell, old));
	assert_true(holds(f, file->instance, s, 1));
	assert_int_equal(cell_check_grant(f->cell, file->instance, LOCK_EXCLUSIVE, r.grant,
					  r.token),
			 ERROR_OK);
	assert_int_equal(r.revision.n, cell_meta(f->cell)->revision.n);
	assert_int_equal(count_effects(f, EFFECT_NODE_CREATED), 3);
	assert_int_equal(count_effects(f, EFFECT_NODE_CHANGED), 1);
	assert_int_equal(count_effects(f, EFFECT_NODE_DELETED), 1);
}

#define T(text)                                                                                    \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}

/* The session holds /f exclusively and /s shared; the other one awaits /f and shares /s. */
static const struct multi_op before_the_refusal[] = {
	{.kind = MULTI_CREATE, .path = T("/d"), .node_kind = NODE_DIRECTORY},
	{.kind = MULTI_CREATE, .path = T("/d/x"), .node_kind = NODE_FILE},
	{.kind = MULTI_WRITE, .path = T("/f"), .contents = T("y")},
	{.kind = MULTI_ACQUIRE, .path = T("/n"), .handle = {2}, .mode = LOCK_SHARED},
	{.kind = MULTI_RELEASE, .path = T("/f"), .handle = {1}},
	{.kind = MULTI_RELEASE, .path = T("/s"), .handle = {1}},
	{.kind = MULTI_DELETE, .path = T("/d/x")},
	{.kind = MULTI_DELETE, .path = T("/n")},
	{.kind = MULTI_CREATE, .path = T("/n"), .node_kind = NODE_FILE},
};
#define BEFORE (sizeof(before_the_refusal) / sizeof(before_the_refusal[0]))

/* Revision 2 made no node: it stands for an instance that is gone. */
static const struct {
	struct multi_op op;
	enum error error;
} refused[] = {
	{{.kind = MULTI_WRITE, .path = T("/none")}, ERROR_NOT_FOUND},
	{{.kind = MULTI_WRITE, .path = T("/d")}, ERROR_IS_DIRECTORY},
	{{.kind = MULTI_WRITE, .path = T("/f"), .number = 1}, ERROR_GENERATION_MISMATCH},
	{{.kind = MULTI_WRITE, .path = T("/f"), .instance = 1}, ERROR_HANDLE_STALE},
	{{.kind = MULTI_WRITE, .path = T("/n"), .instance = 2}, ERROR_HANDLE_STALE},
	{{.kind = MULTI_CREATE, .path = T("/f"), .node_kind = NODE_FILE}, ERROR_EXISTS},
	{{.kind = MULTI_CREATE, .path = T("/f/x"), .node_kind = NODE_FILE}, ERROR_NOT_DIRECTORY},
	{{.kind = MULTI_CREATE, .path = T("f"), .node_kind = NODE_FILE}, ERROR_INVALID_PATH},
	{{.kind = MULTI_DELETE, .path = T("/s")}, ERROR_LOCK_HELD},
	{{.kind = MULTI_DELETE, .path = T("/")}, ERROR_INVALID_ARGUMENT},
	{{.kind = MULTI_ACQUIRE, .path = T("/s"), .handle = {3}, .mode = LOCK_EXCLUSIVE},
	 ERROR_BUSY},
	/* The lock was freed just now, but somebody waits for it. */
	{{.kind = MULTI_ACQUIRE, .path = T("/f"), .handle = {1}, .mode = LOCK_EXCLUSIVE},
	 ERROR_BUSY},
	{{.kind = MULTI_ACQUIRE, .path = T("/f"), .handle = {4}}, ERROR_MALFORMED},
	{{.kind = MULTI_RELEASE, .path = T("/s"), .handle = {1}}, ERROR_NOT_HELD},
};

/* Whatever ran before the refusal is as it was, digest included. */
static void a_refusal_undoes_everything(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f), other = make_session(f);
	uint64_t file = make_file(f, "/f"), shared = make_file(f, "/s");
	uint64_t free_before = make_file(f, "/n");
	struct multi_op ops[BEFORE + 1];
	struct digest before;

	acquire(f, s, file, 1, LOCK_EXCLUSIVE);
	acquire(f, other, file, 1, LOCK_EXCLUSIVE);
	acquire(f, s, shared, 1, LOCK_SHARED);
	acquire(f, other, shared, 1, LOCK_SHARED);
	memcpy(ops, before_the_refusal, sizeof(before_the_refusal));
	before = digest_without_revision(f->cell);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct result r;

		ops[BEFORE] = refused[i].op;
		r = multi(f, s, BEFORE + 1, ops);
		if (r.error != refused[i].error)
			fail_msg("row %zu: error %d", i, (int)r.error);
		assert_int_equal(r.generation, BEFORE); /* which one it was */
		assert_int_equal(f->outcome.effect_count, 0);
		assert_int_equal(r.grant.revision.n, 0);
		if (!digests_equal(digest_without_revision(f->cell), before))
			fail_msg("row %zu left something behind", i);
	}
	assert_null(cell_node(f->cell, free_before)->lock);
	/* And without the last one they all succeed. */
	assert_int_equal(multi(f, s, BEFORE, ops).error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_GRANTED, 0)->session.n, other.n);
	assert_null(cell_node(f->cell, free_before));
}

/* No two hold periods of a lock have one token, though one entry may hold it twice. */
static void tokens_differ_within_one_entry(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t node = make_file(f, "/f");
	const struct multi_op ops[] = {
		{.kind = MULTI_ACQUIRE,
		 .path = bytes_of_text("/f"),
		 .handle = {1},
		 .mode = LOCK_EXCLUSIVE},
		{.kind = MULTI_RELEASE, .path = bytes_of_text("/f"), .handle = {1}},
		{.kind = MULTI_ACQUIRE,
		 .path = bytes_of_text("/f"),
		 .handle = {2},
		 .mode = LOCK_EXCLUSIVE},
	};
	struct result r = multi(f, s, 3, ops);

	assert_int_equal(r.error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_HOLD_ENDED, 0)->token.n, r.token.n);
	assert_true(cell_node(f->cell, node)->lock->period.n > r.token.n);
	assert_int_equal(cell_node(f->cell, node)->lock->generation, 2);
}

static void several_locks_or_none(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f), other = make_session(f);
	uint64_t a = make_file(f, "/a"), b = make_file(f, "/b");
	const struct multi_op ops[] = {
		{.kind = MULTI_ACQUIRE,
		 .path = bytes_of_text("/a"),
		 .handle = {1},
		 .mode = LOCK_EXCLUSIVE},
		{.kind = MULTI_ACQUIRE,
		 .path = bytes_of_text("/b"),
		 .handle = {2},
		 .mode = LOCK_EXCLUSIVE},
	};

	acquire(f, other, b, 1, LOCK_SHARED);
	assert_int_equal(multi(f, s, 2, ops).error, ERROR_BUSY);
	assert_false(holds(f, a, s, 1));
	release(f, other, b, 1);
	assert_int_equal(multi(f, s, 2, ops).error, ERROR_OK);
	assert_true(holds(f, a, s, 1) && holds(f, b, s, 2));
	assert_int_equal(multi(f, s, 2, ops).error, ERROR_ALREADY_HELD);
	/* Its holder failed: lock-delay, as after an Acquire by itself. */
	end_session(f, s, SESSION_END_EXPIRED);
	assert_int_equal(count_effects(f, EFFECT_LOCK_DELAY_BEGAN), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nonsense_is_malformed),          TEST(guards),
		TEST(operations_build_on_each_other), TEST(a_refusal_undoes_everything),
		TEST(tokens_differ_within_one_entry), TEST(several_locks_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
