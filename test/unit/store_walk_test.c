/*
 * The walk through a write-ahead log. Two properties against each other:
 *   no false alarm   whatever part of the last, unsynced transaction reached the disk, the log is
 *                    never called damaged
 *   no silence       whatever bit flips, a log that SQLite would cut short is never called clean
 */
#include "store_fixture.h"

#include "store/store_internal.h"

#define WAL_HEADER 32u
#define WAL_FRAME (24u + STORE_PAGE_BYTES)

struct bench {
	struct fixture f; /* for its directory only */
	char database[PATH_BYTES];
	char wal[PATH_BYTES];
	char copy[PATH_BYTES]; /* what the walk looks at */
	sqlite3 *db;
};

static void run(struct bench *b, const char *sql)
{
	assert_int_equal(sqlite3_exec(b->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void bench_open(struct bench *b)
{
	assert_int_equal(sqlite3_open(b->database, &b->db), SQLITE_OK);
	run(b, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
	       "PRAGMA wal_autocheckpoint=0; CREATE TABLE IF NOT EXISTS t(k INTEGER PRIMARY KEY,"
	       " v BLOB)");
	assert_int_equal(sqlite3_db_config(b->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL),
			 SQLITE_OK);
}

static void bench_init(struct bench *b)
{
	fixture_init(&b->f);
	assert_int_equal(mkdir(b->f.directory, 0700), 0);
	fixture_path(&b->f, "x.db", b->database);
	fixture_path(&b->f, "x.db-wal", b->wal);
	fixture_path(&b->f, "copy-wal", b->copy);
	bench_open(b);
}

static void bench_release(struct bench *b)
{
	assert_int_equal(sqlite3_close(b->db), SQLITE_OK);
	fixture_release(&b->f);
}

/* One transaction of about `pages` frames. */
static void commit(struct bench *b, int key, int pages)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "INSERT OR REPLACE INTO t VALUES(%d, randomblob(%d))", key,
		 pages * 4000);
	run(b, sql);
}

static enum wal_verdict verdict_of(struct bench *b, const uint8_t *wal, size_t size)
{
	enum wal_verdict verdict;
	char *trouble = NULL;

	file_write(b->copy, wal, size);
	assert_int_equal(wal_walk(b->copy, &verdict, &trouble), ERROR_OK);
	assert_true((verdict == WAL_CLEAN) == (trouble == NULL));
	free(trouble);
	return verdict;
}

/* Every subset of the frames that the last transaction wrote; the others are as they were. */
static void try_subsets(struct bench *b, const uint8_t *before, size_t before_size,
			const uint8_t *after, size_t after_size)
{
	size_t first = 0, count = 0;
	uint8_t *mixed = mem_alloc(after_size);

	for (size_t i = 0; WAL_HEADER + (i + 1) * WAL_FRAME <= after_size; i++) {
		size_t at = WAL_HEADER + i * WAL_FRAME;
		bool same = at + WAL_FRAME <= before_size &&
			    memcmp(before + at, after + at, WAL_FRAME) == 0;

		if (same && count > 0)
			break; /* remains behind the transaction */
		if (!same && count++ == 0)
			first = i;
	}
	assert_true(count >= 3 && count <= 10);
	for (unsigned subset = 0; subset < 1u << count; subset++) {
		enum wal_verdict verdict;

		memcpy(mixed, after, after_size);
		for (size_t i = 0; i < count; i++) {
			size_t at = WAL_HEADER + (first + i) * WAL_FRAME;

			if ((subset & 1u << i) != 0)
				continue;
			memset(mixed + at, 0, WAL_FRAME);
			if (at < before_size)
				memcpy(mixed + at, before + at, WAL_FRAME);
		}
		verdict = verdict_of(b, mixed, after_size);
		assert_int_not_equal(verdict, WAL_DAMAGED);
		if (subset == (1u << count) - 1)
			assert_int_equal(verdict, WAL_CLEAN);
	}
	free(mixed);
}

static void last_commit_in_subsets(struct bench *b, int key, int pages)
{
	size_t before_size, after_size;
	uint8_t *before, *after;

	before = file_read(b->wal, &before_size);
	commit(b, key, pages);
	after = file_read(b->wal, &after_size);
	/* A header that begins the file anew is synced before any frame is written. */
	try_subsets(b, before, before_size, after, after_size);
	free(before);
	free(after);
}

/* wal_walk_false_alarm */
static void torn_last_write_is_never_damage(void **state)
{
	struct bench b;

	bench_init(&b);
	for (int i = 1; i <= 6; i++)
		commit(&b, i, 1 + i % 3);
	last_commit_in_subsets(&b, 7, 5); /* at the end of the file */
	commit(&b, 8, 2);
	last_commit_in_subsets(&b, 9, 3);
	run(&b, "PRAGMA wal_checkpoint(PASSIVE)");
	last_commit_in_subsets(&b, 10, 4); /* begins the file anew over older frames */
	commit(&b, 11, 1);
	last_commit_in_subsets(&b, 12, 3); /* in the midst of older frames */
	bench_release(&b);
}

/* After a crash SQLite writes on behind the last commit, over what the torn write left: its frames
 * may stick out behind the new ones, under the same salts. */
static void remains_of_a_torn_write_are_no_damage(void **state)
{
	static const int sizes[] = {1, 2, 3, 1, 4};
	size_t size, torn_size;
	struct bench b;
	uint8_t *wal;

	bench_init(&b);
	for (int i = 1; i <= 3; i++)
		commit(&b, i, 2);
	wal = file_read(b.wal, &size);
	free(wal);
	commit(&b, 4, 8);
	assert_int_equal(sqlite3_close(b.db), SQLITE_OK);
	wal = file_read(b.wal, &torn_size);
	wal[size + 2 * WAL_FRAME + 100] ^= 1; /* the last transaction is torn in its middle */
	assert_int_equal(verdict_of(&b, wal, torn_size), WAL_DOUBTFUL);
	file_write(b.wal, wal, torn_size);
	free(wal);
	fixture_shell("rm -f '%s-shm'", b.database);
	bench_open(&b);
	for (int i = 0; i < 5; i++) {
		wal = file_read(b.wal, &size);
		assert_int_not_equal(verdict_of(&b, wal, size), WAL_DAMAGED);
		free(wal);
		commit(&b, 20 + i, sizes[i]);
	}
	bench_release(&b);
}

/* Every byte at which the last transaction may have been cut. */
static void truncation_is_doubtful(void **state)
{
	size_t before, size;
	struct bench b;
	uint8_t *wal;

	bench_init(&b);
	commit(&b, 1, 1);
	wal = file_read(b.wal, &before);
	free(wal);
	commit(&b, 2, 2);
	wal = file_read(b.wal, &size);
	file_write(b.copy, wal, size);
	for (size_t cut = size; cut-- > before;) {
		enum wal_verdict verdict;
		char *trouble = NULL;

		assert_int_equal(truncate(b.copy, (off_t)cut), 0);
		assert_int_equal(wal_walk(b.copy, &verdict, &trouble), ERROR_OK);
		assert_int_equal(verdict, cut == before ? WAL_CLEAN : WAL_DOUBTFUL);
		free(trouble);
	}
	free(wal);
	bench_release(&b);
}

/* How many rows SQLite finds with this log. */
static int rows_with(struct bench *b, const uint8_t *wal, size_t size)
{
	char path[2 * PATH_BYTES];
	sqlite3_stmt *count = NULL;
	sqlite3 *db = NULL;
	int rows = -1;

	fixture_shell("cp '%s' '%s/y.db' && rm -f '%s/y.db-shm'", b->database, b->f.directory,
		      b->f.directory);
	snprintf(path, sizeof(path), "%s/y.db-wal", b->f.directory);
	file_write(path, wal, size);
	snprintf(path, sizeof(path), "%s/y.db", b->f.directory);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_prepare_v2(db, "SELECT count(*) FROM t", -1, &count, NULL) == SQLITE_OK &&
	    sqlite3_step(count) == SQLITE_ROW)
		rows = sqlite3_column_int(count, 0);
	sqlite3_finalize(count);
	sqlite3_close(db);
	return rows;
}

#define COMMITS 10

/* One bit of the log, in the frames of commits that later commits prove to be synced. */
static void expect_flip_found(struct bench *b, uint8_t *wal, size_t size, size_t at, unsigned bit,
			      size_t proven_end)
{
	enum wal_verdict verdict;

	wal[at] ^= (uint8_t)(1u << bit);
	verdict = verdict_of(b, wal, size);
	if (at < proven_end)
		assert_int_equal(verdict, WAL_DAMAGED);
	else if (verdict == WAL_CLEAN) /* then it must not matter */
		assert_int_equal(rows_with(b, wal, size), COMMITS);
	wal[at] ^= (uint8_t)(1u << bit);
}

/* wal_rollback, par_truncate: every bit of all headers, and bits throughout the pages. */
static void flipped_bits_are_found(void **state)
{
	size_t proven_end = 0, size;
	struct bench b;
	uint8_t *wal;

	bench_init(&b);
	for (int i = 1; i <= COMMITS; i++) {
		/* The last one is a single frame, whose salts nothing behind it confirms. */
		commit(&b, i, i < COMMITS ? 1 + i % 2 : 0);
		/* Behind it stand a good commit and then a good frame, whatever of it breaks. */
		if (i == COMMITS - 3) {
			wal = file_read(b.wal, &proven_end);
			free(wal);
		}
	}
	wal = file_read(b.wal, &size);
	assert_int_equal(rows_with(&b, wal, size), COMMITS);
	assert_int_equal(verdict_of(&b, wal, size), WAL_CLEAN);
	for (size_t at = 0; at < WAL_HEADER; at++)
		for (unsigned bit = 0; bit < 8; bit++)
			expect_flip_found(&b, wal, size, at, bit, proven_end);
	for (size_t frame = WAL_HEADER; frame < size; frame += WAL_FRAME)
		for (size_t at = 0; at < 24; at++)
			for (unsigned bit = at % 3; bit < 8; bit += 3)
				expect_flip_found(&b, wal, size, frame + at, bit, proven_end);
	for (size_t at = WAL_HEADER; at < size; at += 331)
		expect_flip_found(&b, wal, size, at, at % 8, proven_end);
	free(wal);
	bench_release(&b);
}

static void nothing_is_clean(void **state)
{
	static const uint8_t zeros[2 * WAL_FRAME];
	enum wal_verdict verdict;
	char *trouble = NULL;
	struct bench b;

	bench_init(&b);
	assert_int_equal(wal_walk(b.copy, &verdict, &trouble), ERROR_OK);
	assert_int_equal(verdict, WAL_CLEAN); /* not there */
	assert_int_equal(verdict_of(&b, zeros, 0), WAL_CLEAN);
	assert_int_equal(verdict_of(&b, zeros, 31), WAL_DOUBTFUL);
	assert_int_equal(verdict_of(&b, zeros, 32), WAL_DOUBTFUL);
	fixture_shell("rm -f '%s' && mkdir '%s'", b.copy, b.copy);
	assert_int_equal(wal_walk(b.copy, &verdict, &trouble), ERROR_STORAGE_IO);
	assert_non_null(trouble);
	free(trouble);
	bench_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torn_last_write_is_never_damage),
		cmocka_unit_test(remains_of_a_torn_write_are_no_damage),
		cmocka_unit_test(truncation_is_doubtful),
		cmocka_unit_test(flipped_bits_are_found),
		cmocka_unit_test(nothing_is_clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
