/*
 * cell: nodes, ephemerals, ACL names.
 */
#include "cell_fixture.h"

#define NOBODY ((struct session_id){0})

static void path_forms(void **state)
{
	struct fixture *f = *state;
	char long_name[400], long_path[1200];
	static const char *const bad[] = {"", "a", "//", "/a/", "/a//b", "a/b", "/a/b/", "//a"};

	make_directory(f, "/a");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(create(f, NOBODY, bad[i], (struct node_options){0}).error,
				 ERROR_INVALID_PATH);
		assert_null(cell_node_at(f->cell, bytes_of_text(bad[i])));
	}
	memset(long_name, 'x', sizeof(long_name));
	long_name[0] = '/';
	long_name[257] = 0;
	assert_int_equal(create(f, NOBODY, long_name, (struct node_options){0}).error,
			 ERROR_INVALID_PATH);
	long_name[256] = 0; /* 255 bytes of name */
	assert_int_equal(create(f, NOBODY, long_name, (struct node_options){0}).error, ERROR_OK);
	for (int i = 0; i < 1200; i++)
		long_path[i] = i % 2 == 0 ? '/' : 'a';
	long_path[1026] = 0;
	assert_int_equal(create(f, NOBODY, long_path, (struct node_options){0}).error,
			 ERROR_INVALID_PATH);
}

static void create_needs_a_parent_directory(void **state)
{
	struct fixture *f = *state;
	uint64_t file = make_file(f, "/file");

	assert_int_equal(create(f, NOBODY, "/no/x", (struct node_options){0}).error,
			 ERROR_NOT_FOUND);
	assert_int_equal(create(f, NOBODY, "/file/x", (struct node_options){0}).error,
			 ERROR_NOT_DIRECTORY);
	assert_int_equal(create(f, NOBODY, "/file/x/y", (struct node_options){0}).error,
			 ERROR_NOT_DIRECTORY);
	assert_null(cell_node_at(f->cell, bytes_of_text("/file/x")));
	assert_int_equal(cell_node(f->cell, file)->child_count, 0);
	assert_int_equal(
		create(f, NOBODY, "/z", (struct node_options){.kind = (enum node_kind)9}).error,
		ERROR_MALFORMED);
	assert_int_equal(create(f, NOBODY, "/d",
				(struct node_options){.kind = NODE_DIRECTORY, .contents = "x"})
				 .error,
			 ERROR_IS_DIRECTORY);
}

static void create_opens_or_refuses_what_exists(void **state)
{
	struct fixture *f = *state;
	struct result made = create(f, NOBODY, "/f", (struct node_options){.contents = "one"});
	struct result again;

	assert_true(made.created);
	assert_int_equal(made.instance, made.revision.n);
	assert_int_equal(made.kind, NODE_FILE);
	assert_int_equal(count_effects(f, EFFECT_NODE_CREATED), 1);
	assert_int_equal(effect_at(f, EFFECT_NODE_CREATED, 0)->parent,
			 cell_node_at(f->cell, bytes_of_text("/"))->instance);

	again = create(f, NOBODY, "/f", (struct node_options){.contents = "two"});
	assert_int_equal(again.error, ERROR_OK);
	assert_false(again.created);
	assert_int_equal(again.instance, made.instance);
	assert_int_equal(again.generation, made.generation);
	assert_int_equal(count_effects(f, EFFECT_NODE_CREATED), 0);
	assert_true(bytes_equal(cell_node(f->cell, made.instance)->contents, bytes_of_text("one")));

	again = create(f, NOBODY, "/f", (struct node_options){.exclusive = true});
	assert_int_equal(again.error, ERROR_EXISTS);
	assert_int_equal(again.instance, made.instance);
	assert_int_equal(create(f, NOBODY, "/", (struct node_options){.exclusive = true}).error,
			 ERROR_EXISTS);
}

static void contents_have_a_limit(void **state)
{
	struct fixture *f = *state;
	uint8_t *big = mem_zalloc(CELL_CONTENTS_MAX_BYTES + 1);
	struct entry e = {.kind = ENTRY_NODE_CREATE,
			  .node_create = {.path = bytes_of_text("/big"),
					  .kind = NODE_FILE,
					  .contents = {big, CELL_CONTENTS_MAX_BYTES + 1}}};
	struct entry write = {.kind = ENTRY_NODE_WRITE};

	assert_int_equal(apply(f, &e).error, ERROR_TOO_LARGE);
	e.node_create.contents.size--;
	write.node_write.instance = apply(f, &e).instance;
	write.node_write.contents = (struct bytes){big, CELL_CONTENTS_MAX_BYTES + 1};
	assert_int_equal(apply(f, &write).error, ERROR_TOO_LARGE);
	write.node_write.contents.size--;
	assert_int_equal(apply(f, &write).error, ERROR_OK);
	free(big);
}

/* Generations and instances only grow, also when the name is used anew: old handles fail. */
static void recreation_is_another_instance(void **state)
{
	struct fixture *f = *state;
	uint64_t old = make_file(f, "/f"), again, generation;

	generation = write_node(f, old, "x", 0).generation;
	assert_int_equal(delete_node(f, NOBODY, old).error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_NODE_DELETED, 0)->instance, old);
	again = make_file(f, "/f");
	assert_true(again > old);
	assert_true(cell_node(f->cell, again)->contents_generation > generation);
	assert_null(cell_node(f->cell, old));
	assert_int_equal(write_node(f, old, "y", 0).error, ERROR_HANDLE_STALE);
	assert_int_equal(delete_node(f, NOBODY, old).error, ERROR_HANDLE_STALE);
	assert_int_equal(acquire(f, make_session(f), old, 1, LOCK_SHARED).error,
			 ERROR_HANDLE_STALE);
}

static void write_checks_the_generation(void **state)
{
	struct fixture *f = *state;
	uint64_t file = make_file(f, "/f"), directory = make_directory(f, "/d");
	struct result r = write_node(f, file, "one", 0);
	uint64_t generation = r.generation;

	assert_int_equal(r.error, ERROR_OK);
	assert_int_equal(generation, r.revision.n);
	assert_int_equal(count_effects(f, EFFECT_NODE_CHANGED), 1);
	r = write_node(f, file, "two", generation - 1);
	assert_int_equal(r.error, ERROR_GENERATION_MISMATCH);
	assert_int_equal(r.generation, generation);
	assert_int_equal(count_effects(f, EFFECT_NODE_CHANGED), 0);
	assert_true(bytes_equal(cell_node(f->cell, file)->contents, bytes_of_text("one")));
	assert_int_equal(write_node(f, file, "two", generation).error, ERROR_OK);
	assert_int_equal(cell_node(f->cell, file)->checksum, bytes_hash(bytes_of_text("two")));
	assert_int_equal(write_node(f, directory, "x", 0).error, ERROR_IS_DIRECTORY);
}

static void delete_is_refused(void **state)
{
	struct fixture *f = *state;
	uint64_t directory = make_directory(f, "/d"), file = make_file(f, "/d/f");
	struct entry e = {.kind = ENTRY_NODE_DELETE,
			  .node_delete = {.instance = file, .expected_generation = 1}};

	assert_int_equal(delete_node(f, NOBODY, directory).error, ERROR_NOT_EMPTY);
	assert_int_equal(
		delete_node(f, NOBODY, cell_node_at(f->cell, bytes_of_text("/"))->instance).error,
		ERROR_INVALID_ARGUMENT);
	assert_int_equal(apply(f, &e).error, ERROR_GENERATION_MISMATCH);
	assert_int_equal(f->outcome.result.generation, file);
	assert_int_equal(delete_node(f, NOBODY, file).error, ERROR_OK);
	assert_int_equal(effect_at(f, EFFECT_NODE_DELETED, 0)->parent, directory);
	assert_int_equal(delete_node(f, NOBODY, directory).error, ERROR_OK);
}

static void children_come_in_order(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"/b", "/a", "/ab", "/B", "/\xff", "/a!"};
	static const char *const sorted[] = {"B", "a", "a!", "ab", "b", "\xff"};
	struct bytes after = BYTES_NONE;
	uint64_t root = cell_node_at(f->cell, bytes_of_text("/"))->instance;

	for (int i = 0; i < 6; i++)
		make_file(f, names[i]);
	for (int i = 0; i < 6; i++) {
		const struct node *n = cell_child_after(f->cell, root, after);

		assert_non_null(n);
		after = node_name(n);
		assert_true(bytes_equal(after, bytes_of_text(sorted[i])));
	}
	assert_null(cell_child_after(f->cell, root, after));
	assert_null(cell_child_after(f->cell, 12345, BYTES_NONE));
	/* From a name that is not there. */
	assert_true(bytes_equal(node_name(cell_child_after(f->cell, root, bytes_of_text("aa"))),
				bytes_of_text("ab")));
	assert_int_equal(node_name(cell_node(f->cell, root)).size, 0);
}

static void acl_names_are_inherited(void **state)
{
	struct fixture *f = *state;
	uint64_t directory = make_directory(f, "/d"), file;
	struct entry set = {.kind = ENTRY_NODE_SET_ACL,
			    .node_set_acl = {.instance = directory,
					     .acl = {bytes_of_text("readers"),
						     bytes_of_text("writers"),
						     bytes_of_text("admins")}}};
	struct entry e = {.kind = ENTRY_NODE_CREATE,
			  .node_create = {.path = bytes_of_text("/d/own"),
					  .kind = NODE_FILE,
					  .acl = {BYTES_NONE, bytes_of_text("w2"), BYTES_NONE}}};
	const struct node *n;
	char long_name[300];

	assert_int_equal(apply(f, &set).error, ERROR_OK);
	assert_int_equal(f->outcome.result.generation, f->outcome.result.revision.n);
	file = make_file(f, "/d/f");
	n = cell_node(f->cell, file);
	assert_true(bytes_equal(n->acl[ACL_READ], bytes_of_text("readers")));
	assert_true(bytes_equal(n->acl[ACL_CHANGE], bytes_of_text("admins")));
	n = cell_node(f->cell, apply(f, &e).instance);
	assert_true(bytes_equal(n->acl[ACL_READ], bytes_of_text("readers")));
	assert_true(bytes_equal(n->acl[ACL_WRITE], bytes_of_text("w2")));

	/* A change of the parent does not reach children that exist. */
	set.node_set_acl.acl[0] = bytes_of_text("others");
	set.node_set_acl.expected_generation = 1;
	assert_int_equal(apply(f, &set).error, ERROR_GENERATION_MISMATCH);
	set.node_set_acl.expected_generation = f->outcome.result.generation;
	assert_int_equal(apply(f, &set).error, ERROR_OK);
	assert_true(bytes_equal(cell_node(f->cell, file)->acl[0], bytes_of_text("readers")));
	memset(long_name, 'n', sizeof(long_name));
	set.node_set_acl.expected_generation = 0;
	set.node_set_acl.acl[1] = (struct bytes){(uint8_t *)long_name, sizeof(long_name)};
	assert_int_equal(apply(f, &set).error, ERROR_TOO_LARGE);
}

/* ---- ephemerals ---------------------------------------------------------------------------- */

static void ephemeral_goes_after_its_last_keeper(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	uint64_t node = create(f, a, "/e", (struct node_options){.ephemeral = true}).instance;

	assert_int_equal(create(f, NOBODY, "/x", (struct node_options){.ephemeral = true}).error,
			 ERROR_MALFORMED);
	/* An open by create keeps as well; a second open changes nothing. */
	assert_false(create(f, b, "/e", (struct node_options){0}).created);
	assert_int_equal(keep_entry(f, ENTRY_KEEP, b, node).error, ERROR_OK);
	assert_int_equal(cell_node(f->cell, node)->keeper_count, 2);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_GUARD_FAILED);

	assert_int_equal(keep_entry(f, ENTRY_CLOSE, a, node).error, ERROR_OK);
	assert_int_equal(keep_entry(f, ENTRY_CLOSE, a, node).error, ERROR_OK);
	assert_int_equal(count_effects(f, EFFECT_UNKEPT), 0);
	assert_null(cell_reapable_after(f->cell, 0));
	end_session(f, b, SESSION_END_EXPIRED);
	assert_int_equal(effect_at(f, EFFECT_UNKEPT, 0)->instance, node);
	assert_int_equal(cell_reapable_after(f->cell, 0)->instance, node);
	assert_null(cell_session(f->cell, b)); /* nothing of it is left */

	/* Opened before the reaping: it stays. */
	keep_entry(f, ENTRY_KEEP, a, node);
	assert_null(cell_reapable_after(f->cell, 0));
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_GUARD_FAILED);
	keep_entry(f, ENTRY_CLOSE, a, node);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_OK);
	assert_int_equal(count_effects(f, EFFECT_NODE_DELETED), 1);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_HANDLE_STALE);
}

static struct result handle_entry(struct fixture *f, enum entry_kind kind, struct session_id s,
				  uint64_t instance, uint64_t handle)
{
	struct entry e = {
		.kind = kind,
		.session = s,
		.keep = {.instance = instance, .handle = {handle}},
	};

	return apply(f, &e);
}

/* Each handle keeps by itself: whoever has the node open twice closes it twice. */
static void handles_keep_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	uint64_t node = create(f, a, "/e", (struct node_options){.ephemeral = true}).instance;

	handle_entry(f, ENTRY_KEEP, a, node, 7);
	handle_entry(f, ENTRY_KEEP, a, node, 5);
	handle_entry(f, ENTRY_KEEP, a, node, 5); /* asked again at the next master */
	handle_entry(f, ENTRY_KEEP, b, node, 5);
	assert_int_equal(cell_node(f->cell, node)->keeper_count, 4);
	handle_entry(f, ENTRY_CLOSE, a, node, 0);
	handle_entry(f, ENTRY_CLOSE, a, node, 5);
	handle_entry(f, ENTRY_CLOSE, a, node, 5);
	end_session(f, b, SESSION_END_CLOSED);
	assert_int_equal(cell_node(f->cell, node)->keeper_count, 1);
	assert_null(cell_reapable_after(f->cell, 0));
	handle_entry(f, ENTRY_CLOSE, a, node, 7);
	assert_int_equal(effect_at(f, EFFECT_UNKEPT, 0)->instance, node);
}

/* One row holds them all. */
static void keepers_have_a_maximum(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f);
	uint64_t node = create(f, a, "/e", (struct node_options){.ephemeral = true}).instance;
	struct entry e = {.kind = ENTRY_KEEP, .session = a, .keep = {.instance = node}};

	while (++e.keep.handle.n < CELL_HOLDERS_MAX)
		cell_apply(f->cell, &e, &f->outcome);
	assert_int_equal(cell_node(f->cell, node)->keeper_count, CELL_HOLDERS_MAX);
	assert_int_equal(apply(f, &e).error, ERROR_RESOURCE_EXHAUSTED);
	assert_int_equal(create(f, make_session(f), "/e", (struct node_options){0}).error,
			 ERROR_RESOURCE_EXHAUSTED);
	assert_int_equal(cell_node(f->cell, node)->keeper_count, CELL_HOLDERS_MAX);
}

/* A close gives up all that the handle has, and nothing of any other. */
static void close_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f), b = make_session(f);
	uint64_t e = create(f, a, "/e", (struct node_options){.ephemeral = true}).instance;
	uint64_t p = make_file(f, "/p");

	handle_entry(f, ENTRY_KEEP, a, e, 1);
	handle_entry(f, ENTRY_CLOSE, a, e, 0);
	acquire(f, a, e, 1, LOCK_EXCLUSIVE);
	acquire(f, b, e, 2, LOCK_EXCLUSIVE);
	handle_entry(f, ENTRY_CLOSE, a, e, 1);
	assert_true(holds(f, e, b, 2)); /* handed on at once, without lock-delay */
	assert_null(cell_reapable_after(f->cell, 0));
	handle_entry(f, ENTRY_CLOSE, b, e, 2); /* never kept, but held */
	assert_int_equal(cell_reapable_after(f->cell, 0)->instance, e);

	acquire(f, a, p, 3, LOCK_EXCLUSIVE);
	acquire(f, b, p, 4, LOCK_EXCLUSIVE);
	handle_entry(f, ENTRY_CLOSE, b, p, 4);
	assert_int_equal(effect_at(f, EFFECT_WAIT_ENDED, 0)->error, ERROR_CANCELLED);
	assert_false(waits(f, p, b, 4));
	handle_entry(f, ENTRY_CLOSE, a, p, 99);
	assert_true(holds(f, p, a, 3));
	handle_entry(f, ENTRY_CLOSE, a, p, 3);
	assert_int_equal(cell_node(f->cell, p)->lock->mode, LOCK_FREE);
}

static void permanent_nodes_have_no_keepers(void **state)
{
	struct fixture *f = *state;
	struct session_id a = make_session(f);
	uint64_t node = make_file(f, "/p");

	assert_int_equal(keep_entry(f, ENTRY_KEEP, a, node).error, ERROR_WRONG_KIND);
	assert_int_equal(keep_entry(f, ENTRY_CLOSE, a, node).error, ERROR_OK); /* it had nothing */
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_WRONG_KIND);
	assert_int_equal(keep_entry(f, ENTRY_KEEP, NOBODY, node).error, ERROR_MALFORMED);
}

/* Watching or keeping the directory keeps none of its ephemeral children. */
static void keeping_a_directory_keeps_no_child(void **state)
{
	struct fixture *f = *state;
	struct session_id watcher = make_session(f), owner = make_session(f);
	uint64_t directory = create(f, watcher, "/d",
				    (struct node_options){.kind = NODE_DIRECTORY,
							  .ephemeral = true})
				     .instance;
	uint64_t child =
		create(f, owner, "/d/c", (struct node_options){.ephemeral = true}).instance;

	assert_int_equal(cell_node(f->cell, directory)->keeper_count, 1);
	end_session(f, owner, SESSION_END_CLOSED);
	assert_int_equal(count_effects(f, EFFECT_UNKEPT), 1);
	assert_int_equal(effect_at(f, EFFECT_UNKEPT, 0)->instance, child);
}

static void ephemeral_directory_waits_for_its_children(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f);
	uint64_t directory = create(f, s, "/d",
				    (struct node_options){.kind = NODE_DIRECTORY,
							  .ephemeral = true})
				     .instance;
	uint64_t child = make_file(f, "/d/c");

	end_session(f, s, SESSION_END_CLOSED);
	assert_int_equal(count_effects(f, EFFECT_UNKEPT), 0);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, directory).error, ERROR_NOT_EMPTY);
	delete_node(f, NOBODY, child);
	assert_int_equal(effect_at(f, EFFECT_UNKEPT, 0)->instance, directory);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, directory).error, ERROR_OK);
	assert_int_equal(cell_node_count(f->cell), 1);
}

/* The lock-delay of a failed holder would be lost with the node. */
static void reaping_waits_for_the_lock_delay(void **state)
{
	struct fixture *f = *state;
	struct session_id s = make_session(f), other = make_session(f);
	uint64_t node = create(f, s, "/e", (struct node_options){.ephemeral = true}).instance;
	struct revision began;

	acquire(f, s, node, 1, LOCK_EXCLUSIVE);
	end_session(f, s, SESSION_END_EXPIRED);
	began = effect_at(f, EFFECT_LOCK_DELAY_BEGAN, 0)->revision;
	assert_int_equal(count_effects(f, EFFECT_UNKEPT), 0);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_LOCK_HELD);
	assert_int_equal(end_delay(f, node, began).error, ERROR_OK);
	assert_int_equal(count_effects(f, EFFECT_UNKEPT), 1);
	/* Held by a session that does not keep it: not reaped either. */
	acquire(f, other, node, 1, LOCK_SHARED);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_LOCK_HELD);
	release(f, other, node, 1);
	assert_int_equal(count_effects(f, EFFECT_UNKEPT), 1);
	assert_int_equal(keep_entry(f, ENTRY_NODE_REAP, NOBODY, node).error, ERROR_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(path_forms),
		TEST(create_needs_a_parent_directory),
		TEST(create_opens_or_refuses_what_exists),
		TEST(contents_have_a_limit),
		TEST(recreation_is_another_instance),
		TEST(write_checks_the_generation),
		TEST(delete_is_refused),
		TEST(children_come_in_order),
		TEST(acl_names_are_inherited),
		TEST(ephemeral_goes_after_its_last_keeper),
		TEST(handles_keep_one_by_one),
		TEST(keepers_have_a_maximum),
		TEST(close_leaves_nothing),
		TEST(permanent_nodes_have_no_keepers),
		TEST(keeping_a_directory_keeps_no_child),
		TEST(ephemeral_directory_waits_for_its_children),
		TEST(reaping_waits_for_the_lock_delay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
