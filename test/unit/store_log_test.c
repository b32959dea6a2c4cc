/* The log: what was reported as durable is there after a start, and nothing else is. */
#include "store_fixture.h"

#include <signal.h>
#include <sys/resource.h>

/* Checks that the log holds exactly `from`..`through`, each with the value made for `round`. */
static void expect_slots(struct fixture *f, uint64_t from, uint64_t through, uint64_t round)
{
	struct store_slots slots;

	assert_int_equal(store_read_log(f->store, (struct slot){0}, (struct slot){UINT64_MAX},
					SIZE_MAX, &slots),
			 ERROR_OK);
	assert_int_equal(slots.count, through + 1 - from);
	for (uint32_t i = 0; i < slots.count; i++) {
		struct value *expected = value_for(from + i, round, 0);

		assert_int_equal(slots.entries[i].slot.n, from + i);
		assert_true(ballot_equal(slots.entries[i].ballot, ballot_of(round)));
		assert_true(value_equal(slots.entries[i].value, expected));
		value_unref(expected);
	}
	store_slots_release(&slots);
}

static void written_slots_survive(void **state)
{
	struct fixture f;
	struct paxos_recovered r;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_open(&f);
	f.durable.seen_count = 1;
	f.durable.seen[0] = (struct paxos_seen){{1},          {11, 12}, ballot_of(1),
						ballot_of(1), {1},      {3}};
	fixture_submit(&f, 1, 3, 1, 0);
	f.durable.chosen = (struct slot){3};
	fixture_submit(&f, 4, 9, 1, 0);
	fixture_wait(&f);
	expect_slots(&f, 1, 9, 1); /* a committed row is seen at once */
	fixture_close(&f);
	assert_int_equal(f.values_back, 9);
	assert_int_equal(f.writes_reported, 2);

	assert_int_equal(fixture_memory(&f, &r), PAXOS_MEMORY_WHOLE);
	assert_true(ballot_equal(r.durable.promised, ballot_of(1)));
	assert_int_equal(r.durable.longest_lease_ns, 400000000);
	assert_int_equal(r.durable.chosen.n, 3);
	assert_int_equal(r.newest.n, 9);
	assert_int_equal(r.applied.n, 0);
	assert_int_equal(r.tail_count, 6); /* those above the watermark */
	assert_int_equal(r.durable.seen_count, 1);
	assert_int_equal(r.durable.seen[0].through.n, 3);
	fixture_open(&f);
	expect_slots(&f, 1, 9, 1);
	fixture_release(&f);
}

/* Accepting again in a higher ballot replaces the row, and the tail still fits. */
static void replaced_slots_survive(void **state)
{
	struct fixture f;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_open(&f);
	fixture_submit(&f, 1, 20, 1, 0);
	fixture_submit(&f, 1, 20, 5, 0);
	fixture_wait(&f);
	fixture_submit(&f, 1, 20, 6, 0);
	fixture_wait(&f);
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	fixture_open(&f);
	expect_slots(&f, 1, 20, 6);
	fixture_release(&f);
}

/* What arrives during one sync shares the next: far fewer commits than writes, none lost, and
 * closing waits for all of them. */
static void writes_gather_and_close_flushes(void **state)
{
	struct store_counters counters;
	struct fixture f;
	int64_t oldest_ns;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_open(&f);
	for (uint64_t i = 1; i <= 2000; i++)
		fixture_submit(&f, i, i, 1, 0);
	fixture_wait(&f);
	store_counters(f.store, &counters);
	assert_int_equal(counters.log_rows, 2000);
	assert_true(counters.log_commits < 2000);
	assert_int_equal(counters.promise_syncs, 1);
	assert_int_equal(store_pending(f.store, INT64_MAX, &oldest_ns), 0);
	assert_int_equal(oldest_ns, 0);
	for (uint64_t i = 2001; i <= 2500; i++)
		fixture_submit(&f, i, i, 1, 0);
	fixture_close(&f);
	assert_int_equal(f.persisted, f.number);
	assert_int_equal(f.writes_reported, 2500);
	assert_int_equal(f.values_back, 2500);
	fixture_open(&f);
	expect_slots(&f, 1, 2500, 1);
	fixture_release(&f);
}

static void reads_are_bounded(void **state)
{
	struct store_slots slots;
	struct fixture f;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_open(&f);
	fixture_submit(&f, 1, 10, 1, 984); /* 16 + 984 + 4 bytes each */
	fixture_wait(&f);
	assert_int_equal(store_read_log(f.store, (struct slot){3}, (struct slot){8}, 3 * 1004,
					&slots),
			 ERROR_OK);
	assert_int_equal(slots.count, 3);
	assert_int_equal(slots.entries[0].slot.n, 3);
	store_slots_release(&slots);
	assert_int_equal(store_read_log(f.store, (struct slot){3}, (struct slot){8}, 1, &slots),
			 ERROR_OK);
	assert_int_equal(slots.count, 1);
	store_slots_release(&slots);
	assert_int_equal(store_read_log(f.store, (struct slot){11}, (struct slot){20}, SIZE_MAX,
					&slots),
			 ERROR_OK);
	assert_int_equal(slots.count, 0);
	store_slots_release(&slots);
	fixture_release(&f);
}

/* Values of a mebibyte and the empty no-op are rows like others. */
static void largest_and_smallest_values(void **state)
{
	struct store_slots slots;
	struct fixture f;
	struct paxos_accepted noop = {{2}, ballot_of(1), value_noop()};
	struct paxos_write w = {.number = 2, .accepted_count = 1, .accepted = &noop};

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_open(&f);
	fixture_submit(&f, 1, 1, 1, VALUE_MAX_BYTES - VALUE_FRAME_BYTES - 16);
	w.durable = f.durable;
	f.number = 2;
	store_write(f.store, &w);
	value_unref(noop.value);
	fixture_wait(&f);
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	fixture_open(&f);
	assert_int_equal(store_read_log(f.store, (struct slot){1}, (struct slot){2}, SIZE_MAX,
					&slots),
			 ERROR_OK);
	assert_int_equal(slots.count, 2);
	assert_int_equal(value_bytes(slots.entries[0].value).size, VALUE_MAX_BYTES);
	assert_int_equal(value_bytes(slots.entries[1].value).size, 0);
	store_slots_release(&slots);
	fixture_release(&f);
}

/* The write-ahead log is copied and begun anew under steady load, without a pause. */
static void write_ahead_log_stays_small(void **state)
{
	struct fixture f;
	char path[PATH_BYTES];
	struct stat st;
	off_t largest = 0;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_open(&f);
	fixture_path(&f, "log.db-wal", path);
	for (uint64_t i = 1; i <= 6000; i += 20) {
		fixture_submit(&f, i, i + 19, 1, 4000); /* at least 40 KB of frames each */
		fixture_wait(&f);
		assert_int_equal(stat(path, &st), 0);
		largest = st.st_size > largest ? st.st_size : largest;
	}
	assert_int_equal(f.failed, ERROR_OK);
	assert_true(largest < 16 << 20); /* of some 25 MB that went through it */
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	fixture_release(&f);
}

static void directories_are_guarded(void **state)
{
	struct store_identity identity = identity_make();
	struct fixture f, second;
	char *trouble = NULL;
	struct stat st;
	char path[PATH_BYTES];

	fixture_init(&f);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_NOT_FOUND);
	assert_int_not_equal(access(f.directory, F_OK), 0); /* nothing was made on the way */
	fixture_genesis(&f);
	assert_int_equal(store_genesis(f.directory, &identity, &trouble), ERROR_EXISTS);
	free(trouble);
	fixture_open(&f);
	second = f;
	assert_int_equal(fixture_try_open(&second, NULL), ERROR_BUSY);
	assert_string_equal(store_identity(f.store)->cell_name, "local");
	assert_int_equal(store_identity(f.store)->self.n, 2);
	assert_memory_equal(store_identity(f.store)->handle_key, identity.handle_key, 32);
	assert_string_equal(store_identity(f.store)->members[2].peer_address, "127.0.0.1:7102");
	assert_int_equal(stat(f.directory, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	fixture_path(&f, "log.db", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fixture_path(&f, "log.db-wal", path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	fixture_release(&f);
}

/* Genesis is all or nothing: what an interrupted one left is no store, and may be made anew. */
static void unfinished_genesis_is_none(void **state)
{
	struct fixture f;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_shell("cd '%s' && mv log.db log.db.new", f.directory);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_NOT_FOUND);
	fixture_genesis(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	/* But a log that vanished is lost memory, and genesis keeps its hands off. */
	fixture_shell("rm '%s/log.db'", f.directory);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
	fixture_release(&f);
}

static void newer_schema_is_refused(void **state)
{
	static const char *const files[] = {"log.db", "state.db"};
	char *trouble = NULL;
	struct fixture f;

	for (int i = 0; i < 2; i++) {
		fixture_init(&f);
		fixture_genesis(&f);
		fixture_shell("sqlite3 '%s/%s' 'PRAGMA user_version=77'", f.directory, files[i]);
		assert_int_equal(store_open(f.directory, NULL, &f.store, &trouble),
				 ERROR_STORAGE_VERSION);
		assert_non_null(strstr(trouble, "77"));
		assert_non_null(strstr(trouble, " 1 "));
		free(trouble);
		fixture_release(&f);
	}
}

/*
 * fsyncgate: after the first failure nothing more is reported as durable, and what was reported is
 * there after a start. A limit on the size of files stands for a failing disk.
 */
static void failure_is_final(void **state)
{
	const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	const struct rlimit small = {256 << 10, RLIM_INFINITY};
	struct paxos_recovered r;
	struct fixture f;
	uint64_t last_good;

	signal(SIGXFSZ, SIG_IGN);
	fixture_init(&f);
	fixture_genesis(&f);
	fixture_open(&f);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	for (uint64_t i = 1; i <= 200 && f.failed == ERROR_OK; i++) {
		fixture_submit(&f, i, i, 1, 4000);
		fixture_wait(&f);
	}
	assert_int_equal(f.failed, ERROR_STORAGE_IO);
	last_good = f.persisted;
	assert_true(last_good > 1 && last_good < f.number);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
	/* There is room again: still nothing more happens in this life. */
	fixture_submit(&f, 201, 201, 1, 0);
	fixture_close(&f);
	assert_int_equal(f.persisted, last_good);
	assert_int_not_equal(fixture_memory(&f, &r), PAXOS_MEMORY_LOST);
	assert_true(r.newest.n >= last_good && r.newest.n <= last_good + 1);
	fixture_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_slots_survive),
		cmocka_unit_test(replaced_slots_survive),
		cmocka_unit_test(writes_gather_and_close_flushes),
		cmocka_unit_test(reads_are_bounded),
		cmocka_unit_test(largest_and_smallest_values),
		cmocka_unit_test(write_ahead_log_stays_small),
		cmocka_unit_test(directories_are_guarded),
		cmocka_unit_test(unfinished_genesis_is_none),
		cmocka_unit_test(newer_schema_is_refused),
		cmocka_unit_test(failure_is_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
