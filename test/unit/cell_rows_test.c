/*
 * cell: rows out and in, and digests compared at a revision.
 */
#include "cell_fixture.h"

static void dirty_rows_come_once_and_in_order(void **state)
{
	struct fixture *f = *state;
	struct session_id s;
	uint64_t node, gone;
	struct row row;
	static const enum row_kind kinds[] = {ROW_META, ROW_NODE, ROW_NODE, ROW_LOCK, ROW_SESSION};

	while (cell_dirty_next(f->cell, &row))
		continue;
	assert_int_equal(cell_dirty_bytes(f->cell), 0);

	s = make_session(f);
	node = make_file(f, "/f");
	gone = make_file(f, "/g");
	for (int i = 0; i < 5; i++) {
		acquire(f, s, node, 1, LOCK_EXCLUSIVE);
		release(f, s, node, 1);
	}
	delete_node(f, s, gone);
	assert_true(cell_dirty_bytes(f->cell) > 0);
	for (int i = 0; i < 5; i++) {
		assert_true(cell_dirty_next(f->cell, &row));
		assert_int_equal(row.kind, kinds[i]);
		assert_int_equal(row.deleted, i == 2);
		if (i == 2)
			assert_int_equal(row.key, gone);
		if (i == 3)
			assert_ptr_equal(row.lock, cell_node(f->cell, node)->lock);
	}
	assert_false(cell_dirty_next(f->cell, &row));
	assert_int_equal(cell_dirty_bytes(f->cell), 0);
	/* A stored row that goes is told once more. */
	delete_node(f, s, node);
	cell_dirty_next(f->cell, &row);
	assert_int_equal(row.kind, ROW_META);
	cell_dirty_next(f->cell, &row);
	assert_true(row.kind == ROW_NODE && row.deleted && row.key == node);
	cell_dirty_next(f->cell, &row);
	assert_true(row.kind == ROW_LOCK && row.deleted && row.key == node);
	assert_false(cell_dirty_next(f->cell, &row));
}

static void digest_is_compared_at_its_revision(void **state)
{
	struct fixture *f = *state;
	struct entry e = {.kind = ENTRY_DIGEST,
			  .digest = {.revision = cell_meta(f->cell)->revision,
				     .digest = cell_digest(f->cell)}};

	make_file(f, "/between");
	apply(f, &e);
	assert_int_equal(f->outcome.effect_count, 0);
	e.digest.digest.low ^= 1;
	apply(f, &e);
	assert_int_equal(count_effects(f, EFFECT_DIGEST_DIFFERS), 1);
	assert_int_equal(effect_at(f, EFFECT_DIGEST_DIFFERS, 0)->revision.n, e.digest.revision.n);
	/* Nobody remembers, or nobody was there yet: nothing to compare. */
	for (int i = 0; i < 1100; i++)
		cell_apply(f->cell, &(struct entry){.kind = ENTRY_DIGEST}, &f->outcome);
	apply(f, &e);
	assert_int_equal(f->outcome.effect_count, 0);
	e.digest.revision.n = 1u << 30;
	apply(f, &e);
	assert_int_equal(f->outcome.effect_count, 0);
}

/* Every field that is replicated is in the digest; here some that are easily forgotten. */
static void digest_notices_small_differences(void **state)
{
	struct fixture *f = *state;
	struct cell *other = new_cell();
	struct entry e = {.kind = ENTRY_EPOCH, .epoch = {.master = {1}}};
	struct outcome o;

	cell_apply(other, &e, &o);
	assert_true(digests_equal(cell_digest(other), cell_digest(f->cell)));
	e = (struct entry){.kind = ENTRY_SESSION_CREATE, .session_create = {.pid = 1}};
	apply(f, &e);
	e.session_create.pid = 2;
	cell_apply(other, &e, &o);
	assert_false(digests_equal(cell_digest(other), cell_digest(f->cell)));
	cell_free(other);
}

static void load_refuses_damage(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t directory = make_directory(f, "/d"), file = make_file(f, "/d/f");

	acquire(f, s, file, 1, LOCK_EXCLUSIVE);
	write_node(f, file, "contents", 0);
	for (int damage = 0; damage < 9; damage++) {
		struct cell *copy = cell_load_begin();
		struct row row = {0};
		char *trouble = NULL;
		enum error error = ERROR_OK;

		while (error == ERROR_OK && cell_row_after(f->cell, &row, &row)) {
			struct node node = row.kind == ROW_NODE ? *row.node : (struct node){0};
			struct lock lock = row.kind == ROW_LOCK ? *row.lock : (struct lock){0};
			struct row bad = row;

			if (row.kind == ROW_NODE)
				bad.node = &node;
			if (row.kind == ROW_LOCK)
				bad.lock = &lock;
			if (damage == 0 && row.kind == ROW_META)
				continue;
			if (damage == 1 && row.key == directory)
				continue;
			if (damage == 2 && row.kind == ROW_SESSION)
				continue;
			if (damage == 3)
				node.checksum ^= row.key == file;
			if (damage == 4 && row.key == file)
				node.path = bytes_of_text("/e/f");
			if (damage == 5)
				lock.mode = LOCK_FREE;
			if (damage == 6)
				lock.period.n = 1;
			if (damage == 7 && row.kind == ROW_NODE && row.node->parent == 0)
				continue;
			if (damage == 8 && row.kind == ROW_NODE && row.key == file)
				continue;
			error = cell_load_row(copy, &bad);
		}
		if (error == ERROR_OK)
			error = cell_load_end(copy, &trouble);
		if (error != ERROR_STORAGE_CORRUPT)
			fail_msg("damage %d was not noticed", damage);
		free(trouble);
		cell_free(copy);
	}
}

static void rows_load_twice_only_once(void **state)
{
	struct fixture *f = *state;
	struct cell *copy = cell_load_begin();
	struct row row = {0};

	make_session(f);
	while (cell_row_after(f->cell, &row, &row)) {
		assert_int_equal(cell_load_row(copy, &row), ERROR_OK);
		assert_int_equal(cell_load_row(copy, &row), ERROR_STORAGE_CORRUPT);
	}
	row = (struct row){.kind = (enum row_kind)77};
	assert_int_equal(cell_load_row(copy, &row), ERROR_STORAGE_CORRUPT);
	cell_free(copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(dirty_rows_come_once_and_in_order), TEST(digest_is_compared_at_its_revision),
		TEST(digest_notices_small_differences),  TEST(load_refuses_damage),
		TEST(rows_load_twice_only_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
