/*
 * Damage and going back in time: memory that lost what was acknowledged is never called whole.
 *
 * A crash is a copy of the files of a running store, taken while it is idle.
 */
#include "store_fixture.h"

static const char *const files[] = {"log.db", "log.db-wal", "state.db", "state.db-wal", "promise"};
#define FILES 5
enum { LOG_DB, LOG_WAL, STATE_DB, STATE_WAL, PROMISE };

struct image {
	uint8_t *data[FILES]; /* NULL: not there */
	size_t size[FILES];
};

static struct image image_take(const struct fixture *f)
{
	struct image image = {0};

	for (int i = 0; i < FILES; i++) {
		char path[PATH_BYTES];

		fixture_path(f, files[i], path);
		if (access(path, F_OK) == 0)
			image.data[i] = file_read(path, &image.size[i]);
	}
	return image;
}

static void image_put(const struct fixture *f, const struct image *image)
{
	static const char *const derived[] = {"log.db-shm", "state.db-shm"};
	char path[PATH_BYTES];

	for (int i = 0; i < 2; i++) {
		fixture_path(f, derived[i], path);
		unlink(path);
	}
	for (int i = 0; i < FILES; i++) {
		fixture_path(f, files[i], path);
		if (image->data[i] != NULL)
			file_write(path, image->data[i], image->size[i]);
		else
			unlink(path);
	}
}

static void image_release(struct image *image)
{
	for (int i = 0; i < FILES; i++)
		free(image->data[i]);
}

/* `commits` slots, each synced by itself, with a promise file write at the first. */
static struct image image_of_commits(struct fixture *f, uint64_t commits)
{
	struct image image;

	fixture_genesis(f);
	fixture_open(f);
	for (uint64_t i = 1; i <= commits; i++) {
		fixture_submit(f, i, i, 1, 0);
		fixture_wait(f);
	}
	image = image_take(f);
	fixture_close(f);
	return image;
}

/* Every slot up to the newest must carry what was written, if the memory counts as whole. */
static void expect_honest(struct fixture *f, uint64_t newest)
{
	struct paxos_recovered r;
	char *trouble = NULL;
	enum error e = fixture_try_open(f, NULL);

	if (e != ERROR_OK) {
		assert_true(e == ERROR_STORAGE_CORRUPT || e == ERROR_STORAGE_VERSION ||
			    e == ERROR_STORAGE_IO);
		return;
	}
	assert_int_equal(store_recover(f->store, &r, &trouble), ERROR_OK);
	if (r.memory == PAXOS_MEMORY_WHOLE) {
		assert_int_equal(r.tail_count, newest);
		assert_int_equal(r.newest.n, newest);
		assert_true(ballot_equal(r.durable.promised, ballot_of(1)));
	}
	for (uint32_t i = 0; i < r.tail_count; i++) {
		struct value *expected = value_for(i + 1, 1, 0);

		assert_int_equal(r.tail[i].slot.n, i + 1);
		assert_true(value_equal(r.tail[i].value, expected));
		value_unref(expected);
		value_unref(r.tail[i].value);
	}
	free(r.tail);
	free(trouble);
	fixture_close(f);
}

static void crash_is_whole(void **state)
{
	struct fixture f;
	struct image image;

	fixture_init(&f);
	image = image_of_commits(&f, 12);
	image_put(&f, &image);
	expect_honest(&f, 12);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	image_release(&image);
	fixture_release(&f);
}

/* wal_rollback: a flipped bit early in the write-ahead log loses the memory, and what SQLite would
 * have made of the files is not left behind: a second look finds the same. */
static void flipped_wal_loses_memory(void **state)
{
	struct fixture f;
	struct image image;

	fixture_init(&f);
	image = image_of_commits(&f, 12);
	for (size_t at = 0; at < image.size[LOG_WAL]; at += 977) {
		image.data[LOG_WAL][at] ^= 4;
		image_put(&f, &image);
		if (at < image.size[LOG_WAL] / 2) {
			assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
			assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
		} else {
			expect_honest(&f, 12);
		}
		image.data[LOG_WAL][at] ^= 4;
	}
	image_release(&image);
	fixture_release(&f);
}

/* A bit of the main file: found, or nothing that matters. */
static void flipped_main_file_is_found(void **state)
{
	struct fixture f;
	struct image image;

	fixture_init(&f);
	image = image_of_commits(&f, 12);
	image_release(&image);
	image = image_take(&f); /* closed: all is in the main file */
	assert_null(image.data[LOG_WAL]);
	for (size_t at = 0; at < image.size[LOG_DB]; at += at < 100 ? 1 : 61) {
		image.data[LOG_DB][at] ^= (uint8_t)(1u << at % 8);
		image_put(&f, &image);
		expect_honest(&f, 12);
		image.data[LOG_DB][at] ^= (uint8_t)(1u << at % 8);
	}
	image_release(&image);
	fixture_release(&f);
}

/* Each of these leaves a sound SQLite database that tells something else. */
static void tampered_rows_lose_memory(void **state)
{
	static const char *const damages[] = {
		/* misdirected_write: right checksums, wrong place */
		"UPDATE log SET slot = slot + 100 WHERE slot = 3",
		"UPDATE log SET slot = -slot WHERE slot IN (3, 4);"
		" UPDATE log SET slot = 7 + slot WHERE slot < 0",
		"CREATE TEMP TABLE x AS SELECT * FROM log WHERE slot = 3;"
		" UPDATE log SET (value, value_checksum) = (SELECT value, value_checksum FROM log"
		" WHERE slot = 4) WHERE slot = 3",
		"UPDATE log SET (value, value_checksum, row_checksum) = (SELECT value,"
		" value_checksum, row_checksum FROM log WHERE slot = 4) WHERE slot = 3",
		"UPDATE log SET value = zeroblob(20) WHERE slot = 5",
		"UPDATE log SET round = 2 WHERE slot = 5",
		"UPDATE log SET row_checksum = row_checksum + 1 WHERE slot = 5",
		"DELETE FROM log WHERE slot = 12",
		"DELETE FROM log WHERE slot = 6",
		"DELETE FROM log",
		"UPDATE meta SET value = zeroblob(length(value)) WHERE key = 'durable'",
		"DELETE FROM meta WHERE key = 'tail'",
		"UPDATE meta SET (value, checksum) = (SELECT value, checksum FROM meta WHERE key ="
		" 'tail') WHERE key = 'durable'",
		"DELETE FROM meta WHERE key = 'identity'", /* state.db still knows */
		"DROP TABLE log",
		"PRAGMA application_id = 5",
	};
	struct fixture f;
	struct image image;

	fixture_init(&f);
	image = image_of_commits(&f, 12);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		image_put(&f, &image);
		fixture_shell("sqlite3 '%s/log.db' \"%s\"", f.directory, damages[i]);
		assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
	}
	image_put(&f, &image);
	fixture_shell("printf '' > '%s/log.db'; rm '%s/log.db-wal'", f.directory, f.directory);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
	image_release(&image);
	fixture_release(&f);
}

/* A lost store stays as it is: it starts, says so, and reports nothing as durable. */
static void lost_store_reports_nothing(void **state)
{
	struct store_slots slots;
	struct fixture f;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_shell("rm '%s/promise'", f.directory);
	fixture_open(&f);
	assert_int_equal(store_identity(f.store)->self.n, 2);
	fixture_submit(&f, 1, 1, 1, 0);
	assert_int_equal(store_read_log(f.store, (struct slot){1}, (struct slot){1}, 100, &slots),
			 ERROR_STORAGE_CORRUPT);
	fixture_close(&f);
	assert_int_equal(f.reports, 0);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
	fixture_release(&f);
}

static void with_promise(struct fixture *f, const struct image *database,
			 const struct image *promise, enum paxos_memory expected)
{
	struct image mixed = *database;

	mixed.data[PROMISE] = promise != NULL ? promise->data[PROMISE] : NULL;
	mixed.size[PROMISE] = promise != NULL ? promise->size[PROMISE] : 0;
	image_put(f, &mixed);
	assert_int_equal(fixture_memory(f, NULL), expected);
}

/* One image with round 1 promised, a later one with round 2. */
static void two_promises(struct fixture *f, struct image *ret_first, struct image *ret_second)
{
	fixture_genesis(f);
	fixture_open(f);
	fixture_submit(f, 1, 1, 1, 0);
	fixture_wait(f);
	*ret_first = image_take(f);
	fixture_submit(f, 2, 1, 2, 0); /* a promise alone */
	fixture_wait(f);
	*ret_second = image_take(f);
	fixture_close(f);
}

/* Database ahead: a crash between the two syncs. File ahead: the database went back. */
static void promise_file_against_database(void **state)
{
	struct image first, second, rewritten;
	struct fixture f;

	fixture_init(&f);
	two_promises(&f, &first, &second);
	with_promise(&f, &first, &first, PAXOS_MEMORY_WHOLE);
	with_promise(&f, &second, &second, PAXOS_MEMORY_WHOLE);
	with_promise(&f, &first, &second, PAXOS_MEMORY_LOST);
	with_promise(&f, &second, NULL, PAXOS_MEMORY_LOST);
	with_promise(&f, &second, &first, PAXOS_MEMORY_WHOLE);
	/* The start brought the file up to date: now the older database is found out. */
	rewritten = image_take(&f);
	with_promise(&f, &first, &rewritten, PAXOS_MEMORY_LOST);
	image_release(&first);
	image_release(&second);
	image_release(&rewritten);
	fixture_release(&f);
}

static void promise_slots_torn(void **state)
{
	struct image first, second;
	struct fixture f;

	fixture_init(&f);
	two_promises(&f, &first, &second);
	for (size_t slot = 0; slot < 2; slot++) {
		for (size_t at = 0; at < 4096; at += at < 160 ? 1 : 517) {
			second.data[PROMISE][slot * 4096 + at] ^= 16;
			with_promise(&f, &second, &second, PAXOS_MEMORY_WHOLE);
			second.data[PROMISE][slot * 4096 + at] ^= 16;
		}
	}
	second.data[PROMISE][10] ^= 1;
	second.data[PROMISE][4096 + 4095] ^= 1;
	with_promise(&f, &second, &second, PAXOS_MEMORY_LOST);
	second.size[PROMISE] = 0;
	with_promise(&f, &second, &second, PAXOS_MEMORY_LOST);
	image_release(&first);
	image_release(&second);
	fixture_release(&f);
}

static void promise_of_another_incarnation(void **state)
{
	struct store_identity other = identity_make();
	struct image first, second;
	char *trouble = NULL;
	struct fixture f;

	fixture_init(&f);
	two_promises(&f, &first, &second);
	other.incarnation.low++;
	fixture_shell("rm -rf '%s'", f.directory);
	assert_int_equal(store_genesis(f.directory, &other, &trouble), ERROR_OK);
	image_release(&second);
	second = image_take(&f);
	with_promise(&f, &first, &second, PAXOS_MEMORY_LOST);
	image_release(&first);
	image_release(&second);
	fixture_release(&f);
}

/* The last commit torn: doubtful. The doubt outlives starts and crashes until somebody vets. */
static void doubt_is_remembered(void **state)
{
	struct paxos_recovered r;
	struct image image, again;
	struct fixture f;

	fixture_init(&f);
	image = image_of_commits(&f, 12);
	image.size[LOG_WAL] -= 100;
	image_put(&f, &image);
	assert_int_equal(fixture_memory(&f, &r), PAXOS_MEMORY_DOUBTFUL);
	assert_int_equal(r.newest.n, 11);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_DOUBTFUL);
	fixture_open(&f);
	again = image_take(&f); /* a crash right after the start */
	fixture_close(&f);
	image_put(&f, &again);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_DOUBTFUL);
	fixture_open(&f);
	f.durable.promised = ballot_of(1);
	fixture_submit(&f, 12, 12, 1, 0); /* learnt, without a promise */
	fixture_wait(&f);
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_DOUBTFUL);
	fixture_open(&f);
	store_vetted(f.store);
	f.number = 0;
	f.persisted = 0;
	fixture_submit(&f, 13, 13, 1, 0);
	fixture_wait(&f);
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	image_release(&image);
	image_release(&again);
	fixture_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crash_is_whole),
		cmocka_unit_test(flipped_wal_loses_memory),
		cmocka_unit_test(flipped_main_file_is_found),
		cmocka_unit_test(tampered_rows_lose_memory),
		cmocka_unit_test(lost_store_reports_nothing),
		cmocka_unit_test(promise_file_against_database),
		cmocka_unit_test(promise_slots_torn),
		cmocka_unit_test(promise_of_another_incarnation),
		cmocka_unit_test(doubt_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
