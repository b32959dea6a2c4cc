/* A replica's directory in memory, made by genesis, for targets that read what stands in one. */
#ifndef CHUBBY_TEST_FUZZ_STORE_HELP_H
#define CHUBBY_TEST_FUZZ_STORE_HELP_H

#include "cell_help.h"
#include "store/store_internal.h"
#include "story.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPLATE_SLOT 900
#define FILE_MAX_BYTES ((size_t)1 << 20)

static char fuzz_root[64]; /* removed at exit */

static inline void fuzz_shell(const char *format, const char *path)
{
	char command[256];
	int size = snprintf(command, sizeof(command), format, path);

	CHECK(size > 0 && (size_t)size < sizeof(command) && system(command) == 0);
}

static void fuzz_root_remove(void)
{
	fuzz_shell("rm -rf '%s'", fuzz_root);
}

/* A directory that is in memory where there is one: syncs cost nothing. */
static inline void fuzz_root_make(void)
{
	bool memory = access("/dev/shm", W_OK) == 0;
	const char *told = getenv("CHUBBY_FUZZ_DIRECTORY"); /* libFuzzer runs no exit handlers */
	int size;
	char *made;

	if (told == NULL)
		told = memory ? "/dev/shm" : "/tmp";
	size = snprintf(fuzz_root, sizeof(fuzz_root), "%s/chubby-fuzz.XXXXXX", told);
	CHECK(size > 0 && (size_t)size < sizeof(fuzz_root));
	made = mkdtemp(fuzz_root);
	CHECK(made != NULL);
	atexit(fuzz_root_remove);
}

/* Replica `n` of a cell of three. */
static inline struct store_identity identity_of(uint32_t n)
{
	struct store_identity identity = {
		.cell_id_high = 1,
		.cell_id_low = 2,
		.cell_name = "local",
		.handle_key = {7},
		.created_unix_ms = 1700000000000,
		.self = {n},
		.incarnation = {n, n},
		.member_count = 3,
	};

	for (uint32_t i = 0; i < 3; i++) {
		struct store_member *m = &identity.members[i];

		m->replica = (struct replica_id){i + 1};
		m->incarnation = (struct incarnation){i + 1, i + 1};
		snprintf(m->address, sizeof(m->address), "127.0.0.1:%u", 7001 + i);
		snprintf(m->peer_address, sizeof(m->peer_address), "127.0.0.1:%u", 7101 + i);
	}
	return identity;
}

/* A whole file of the directory. */
static inline void file_put(const char *directory, const char *file, struct bytes b)
{
	char *path = store_path(directory, file);
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t written = write(fd, b.data, b.size);

	CHECK(fd >= 0 && written == (ssize_t)b.size);
	close(fd);
	free(path);
}

/* The caller releases. */
static inline struct buffer file_get(const char *directory, const char *file)
{
	char *path = store_path(directory, file);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct buffer b;
	struct stat st;
	uint8_t *to;
	ssize_t have;

	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	buffer_init(&b, FILE_MAX_BYTES);
	to = buffer_extend(&b, (size_t)st.st_size);
	CHECK(to != NULL);
	have = read(fd, to, (size_t)st.st_size);
	CHECK(have == st.st_size);
	close(fd);
	free(path);
	return b;
}

/* A state database with the story in it, as replica `n` would have written it at `slot`. */
static inline struct buffer state_template(uint32_t n, uint64_t slot, struct state_mark *ret_mark)
{
	struct store_identity identity = identity_of(n);
	struct cell *c = cell_of_genesis();
	struct state_save save = {.mark = {.slot = {slot}}};
	struct state_db state = {0};
	struct row row = {0}, next;
	char *trouble = NULL;
	struct buffer file;
	enum error e;
	int rc;

	story_apply(c, STORY_BUSY);
	buffer_init(&save.rows, FILE_MAX_BYTES);
	for (; cell_row_after(c, &row, &next); row = next) {
		state_encode_row(&save.rows, &next);
		save.row_count++;
	}
	save.mark.revision = cell_meta(c)->revision;
	save.mark.digest = cell_digest(c);
	store_unlink(fuzz_root, "template.db");
	e = db_create(fuzz_root, "template.db", STORE_APPLICATION_STATE, &identity, &state.db,
		      &trouble);
	CHECK(e == ERROR_OK);
	rc = state_prepare(&state);
	CHECK(rc == SQLITE_OK);
	rc = state_write(&state, &identity, &save);
	CHECK(rc == SQLITE_OK);
	state_finalize(&state);
	db_close(state.db, true);
	file = file_get(fuzz_root, "template.db");
	buffer_release(&save.rows);
	cell_free(c);
	*ret_mark = save.mark;
	return file;
}

/* The template with what the input says written over it: place, length, bytes. Or, if `whole`, the
 * input itself. */
static inline struct buffer patched(const struct buffer *template_file, struct feed *f, bool whole)
{
	struct buffer b;
	bool fits;

	buffer_init(&b, FILE_MAX_BYTES);
	if (whole) {
		fits = buffer_append(&b, feed_bytes(f, FILE_MAX_BYTES));
		CHECK(fits);
		return b;
	}
	fits = buffer_append(&b, buffer_view(template_file));
	CHECK(fits);
	while (f->left > 0) {
		size_t at = (size_t)feed_number(f, 3) % b.size;
		struct bytes with = feed_bytes(f, feed_byte(f));

		if (with.size > b.size - at)
			with.size = b.size - at;
		if (with.size > 0)
			memcpy(b.data + at, with.data, with.size);
	}
	return b;
}

/* ---- checksums that fit, so that damage gets past them ---- */

static inline int mend_rows(sqlite3 *db, const struct store_identity *identity)
{
	sqlite3_stmt *rows = NULL, *put = NULL;
	int rc = db_prepare(db, "SELECT kind, key, data FROM rows", &rows);

	if (rc == SQLITE_OK)
		rc = db_prepare(db, "UPDATE rows SET checksum = ?3 WHERE kind = ?1 AND key = ?2",
				&put);
	while (rc == SQLITE_OK && sqlite3_step(rows) == SQLITE_ROW) {
		int64_t kind = sqlite3_column_int64(rows, 0), key = sqlite3_column_int64(rows, 1);
		struct bytes data = {sqlite3_column_blob(rows, 2),
				     (size_t)sqlite3_column_bytes(rows, 2)};
		uint64_t sum = record_state_checksum(identity, (uint32_t)kind, (uint64_t)key, data);

		rc = sqlite3_bind_int64(put, 1, kind) | sqlite3_bind_int64(put, 2, key) |
		     sqlite3_bind_int64(put, 3, (int64_t)sum);
		if (rc == SQLITE_OK)
			rc = db_run(put);
	}
	sqlite3_finalize(rows);
	sqlite3_finalize(put);
	return rc;
}

/* Gives the rows of a damaged state database the checksums that fit them, as far as SQLite can. */
static inline void mend(struct buffer *file, const struct store_identity *identity)
{
	sqlite3 *db = NULL;
	struct buffer after;
	char *path;

	if (file->size < 100)
		return;
	/* Without a write-ahead log of its own; and then as it was. */
	file->data[18] = file->data[19] = 1;
	file_put(fuzz_root, "mend.db", buffer_view(file));
	path = store_path(fuzz_root, "mend.db");
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL) ==
		    SQLITE_OK &&
	    db_exec(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF") == SQLITE_OK)
		(void)!mend_rows(db, identity);
	sqlite3_close(db);
	after = file_get(fuzz_root, "mend.db");
	buffer_release(file);
	*file = after;
	if (file->size >= 100)
		file->data[18] = file->data[19] = 2;
	store_unlink(fuzz_root, "mend.db");
	free(path);
}

#endif
