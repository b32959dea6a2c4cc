/*
 * Genesis of one replica's directory. All or nothing: everything is built under names that end in
 * ".new", synced, and renamed, log.db last. A directory with log.db.new and without log.db is an
 * unfinished genesis, which may be repeated; one with log.db holds a store.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const files[] = {STORE_FILE_STATE, STORE_FILE_PROMISE, STORE_FILE_LOG};
#define FILE_COUNT (sizeof(files) / sizeof(files[0]))

static bool directory_taken(const char *directory)
{
	if (store_exists(directory, STORE_FILE_LOG))
		return true;
	if (store_exists(directory, STORE_FILE_LOG STORE_NEW))
		return false;
	return store_exists(directory, STORE_FILE_STATE) ||
	       store_exists(directory, STORE_FILE_PROMISE);
}

/* What an interrupted genesis left; log.db.new last, for it says that nothing here counts. */
static enum error remove_leftovers(const char *directory, char **ret_trouble)
{
	enum error e;

	if (!store_exists(directory, STORE_FILE_LOG STORE_NEW))
		return ERROR_OK;
	store_unlink(directory, STORE_FILE_STATE);
	store_unlink(directory, STORE_FILE_STATE STORE_NEW);
	store_unlink(directory, STORE_FILE_PROMISE);
	store_unlink(directory, STORE_FILE_PROMISE STORE_NEW);
	e = store_sync(directory, NULL, ret_trouble);
	if (e == ERROR_OK)
		store_unlink(directory, STORE_FILE_LOG STORE_NEW);
	return e;
}

/* The main file alone gets its name, so all must be in it. Closing would see to that as well, but
 * could not tell that it failed. */
static int complete(sqlite3 *db)
{
	return sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

static enum error create_log(const char *directory, const struct store_identity *identity,
			     char **ret_trouble)
{
	struct store s = {.identity = *identity};
	enum error e = db_create(directory, STORE_FILE_LOG STORE_NEW, STORE_APPLICATION_LOG,
				 identity, &s.log.db, ret_trouble);
	int rc;

	if (e != ERROR_OK)
		return e;
	rc = log_prepare(&s.log);
	if (rc == SQLITE_OK)
		rc = log_put_meta(&s, &s.log.durable, &s.log.tail);
	if (rc == SQLITE_OK)
		rc = complete(s.log.db);
	if (rc != SQLITE_OK)
		e = db_error(rc, STORE_FILE_LOG, ret_trouble);
	log_finalize(&s.log);
	db_close(s.log.db, true);
	return e;
}

/* The cell that every replica of it starts from: the same bytes everywhere. */
static void encode_genesis(const struct store_identity *identity, struct state_save *save)
{
	struct cell_genesis genesis = {
		.cell_id_high = identity->cell_id_high,
		.cell_id_low = identity->cell_id_low,
		.name = bytes_of_text(identity->cell_name),
		.wall_unix_ms = identity->created_unix_ms,
	};
	struct row row = {0};
	struct cell *c;

	memcpy(genesis.handle_key, identity->handle_key, sizeof(genesis.handle_key));
	c = cell_new(&genesis);
	while (cell_row_after(c, &row, &row)) {
		state_encode_row(&save->rows, &row);
		save->row_count++;
	}
	save->mark.revision = cell_meta(c)->revision;
	save->mark.digest = cell_digest(c);
	cell_free(c);
}

static enum error create_state(const char *directory, const struct store_identity *identity,
			       char **ret_trouble)
{
	struct state_db state = {0};
	struct state_save save = {0};
	enum error e = db_create(directory, STORE_FILE_STATE STORE_NEW, STORE_APPLICATION_STATE,
				 identity, &state.db, ret_trouble);
	int rc;

	if (e != ERROR_OK)
		return e;
	buffer_init(&save.rows, RECORD_MAX_BYTES);
	encode_genesis(identity, &save);
	rc = state_prepare(&state);
	if (rc == SQLITE_OK)
		rc = state_write(&state, identity, &save);
	if (rc == SQLITE_OK)
		rc = complete(state.db);
	if (rc != SQLITE_OK)
		e = db_error(rc, STORE_FILE_STATE, ret_trouble);
	buffer_release(&save.rows);
	state_finalize(&state);
	db_close(state.db, true);
	return e;
}

static enum error create_all(const char *directory, const struct store_identity *identity,
			     char **ret_trouble)
{
	struct promise_record promise = {
		.cell_id_high = identity->cell_id_high,
		.cell_id_low = identity->cell_id_low,
		.replica = identity->self,
		.incarnation = identity->incarnation,
	};
	enum error e = create_log(directory, identity, ret_trouble);

	if (e == ERROR_OK)
		e = create_state(directory, identity, ret_trouble);
	if (e == ERROR_OK)
		e = promise_create(directory, STORE_FILE_PROMISE STORE_NEW, &promise, ret_trouble);
	if (e == ERROR_OK)
		e = store_sync(directory, STORE_FILE_LOG STORE_NEW, ret_trouble);
	if (e == ERROR_OK)
		e = store_sync(directory, STORE_FILE_STATE STORE_NEW, ret_trouble);
	if (e == ERROR_OK)
		e = store_sync(directory, NULL, ret_trouble);
	return e;
}

/* The directory is synced before the last rename: log.db stands only beside all the others. */
static enum error rename_all(const char *directory, char **ret_trouble)
{
	enum error e = ERROR_OK;

	for (size_t i = 0; i < FILE_COUNT && e == ERROR_OK; i++) {
		char *from = sentence("%s/%s" STORE_NEW, directory, files[i]);
		char *to = store_path(directory, files[i]);

		if (i == FILE_COUNT - 1)
			e = store_sync(directory, NULL, ret_trouble);
		if (e == ERROR_OK && rename(from, to) != 0) {
			*ret_trouble = sentence("cannot rename %s: %s", from, strerror(errno));
			e = ERROR_STORAGE_IO;
		}
		free(from);
		free(to);
	}
	if (e == ERROR_OK)
		e = store_sync(directory, NULL, ret_trouble);
	return e;
}

/* The new directory itself must outlive a power cut too. */
static enum error make_directory(const char *directory, char **ret_trouble)
{
	char *parent;
	enum error e;

	if (mkdir(directory, 0700) != 0) {
		if (errno == EEXIST)
			return ERROR_OK;
		*ret_trouble = sentence("cannot create the directory %s: %s", directory,
					strerror(errno));
		return ERROR_STORAGE_IO;
	}
	parent = sentence("%s/..", directory);
	e = store_sync(parent, NULL, ret_trouble);
	free(parent);
	return e;
}

enum error store_genesis(const char *directory, const struct store_identity *identity,
			 char **ret_trouble)
{
	enum error e = make_directory(directory, ret_trouble);
	int lock_fd = -1;

	if (e == ERROR_OK)
		e = store_lock(directory, &lock_fd, ret_trouble);
	if (e == ERROR_OK && directory_taken(directory)) {
		/* An earlier genesis may have failed at the very last: what is said to be
		 * there has to stay. */
		e = store_sync(directory, NULL, ret_trouble);
		if (e == ERROR_OK) {
			*ret_trouble = sentence("%s holds a store already; nothing was "
						"changed",
						directory);
			e = ERROR_EXISTS;
		}
	} else if (e == ERROR_OK) {
		e = remove_leftovers(directory, ret_trouble);
		if (e == ERROR_OK)
			e = create_all(directory, identity, ret_trouble);
		if (e == ERROR_OK)
			e = rename_all(directory, ret_trouble);
	}
	if (lock_fd >= 0)
		close(lock_fd);
	return e;
}
