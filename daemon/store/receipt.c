/*
 * The receiver's side of a snapshot: pieces gather in snapshot.part; what is complete, intact and
 * ours becomes snapshot.ready, all of it on the disk before it has that name.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* What a transfer leaves free on the disk: the log must go on. */
#define KEEP_FREE_BYTES ((uint64_t)64 << 20)

struct store_receipt {
	struct store *store; /* outlives it */
	int fd;              /* owned; -1 when finished */
	struct store_snapshot about;
	uint64_t size; /* so far */
};

static enum error part_failed(const char *what, int error, char **ret_trouble)
{
	*ret_trouble = sentence("cannot %s " STORE_FILE_PART ": %s", what, strerror(error));
	return error == ENOSPC || error == EDQUOT || error == EFBIG ? ERROR_STORAGE_FULL
								    : ERROR_STORAGE_IO;
}

static bool room_for(const char *directory, uint64_t size)
{
	struct statvfs fs;
	uint64_t available;

	if (statvfs(directory, &fs) != 0)
		return true; /* then writing will tell */
	available = (uint64_t)fs.f_bavail * fs.f_frsize;
	return available > KEEP_FREE_BYTES && available - KEEP_FREE_BYTES >= size;
}

enum error store_receipt_begin(struct store *s, const struct store_snapshot *about,
			       struct store_receipt **ret_receipt, char **ret_trouble)
{
	struct store_receipt *r;
	char *path;
	int fd;

	if (!room_for(s->directory, about->total_bytes)) {
		*ret_trouble = sentence("a snapshot of %llu bytes does not fit on the disk of %s, "
					"where %llu MiB stay free for the log",
					(unsigned long long)about->total_bytes, s->directory,
					(unsigned long long)(KEEP_FREE_BYTES >> 20));
		return ERROR_STORAGE_FULL;
	}
	store_unlink(s->directory, STORE_FILE_PART);
	path = store_path(s->directory, STORE_FILE_PART);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	free(path);
	if (fd < 0)
		return part_failed("create", errno, ret_trouble);
	r = mem_zalloc(sizeof(*r));
	r->store = s;
	r->fd = fd;
	r->about = *about;
	*ret_receipt = r;
	return ERROR_OK;
}

enum error store_receipt_write(struct store_receipt *r, uint64_t offset, struct bytes data,
			       char **ret_trouble)
{
	size_t done = 0;

	CHECK(r->fd >= 0);
	if (offset != r->size || data.size > r->about.total_bytes - offset) {
		*ret_trouble = sentence("a piece of a snapshot is out of place: it begins at %llu, "
					"expected was %llu",
					(unsigned long long)offset, (unsigned long long)r->size);
		return ERROR_INVALID_ARGUMENT;
	}
	while (done < data.size) {
		ssize_t n = pwrite(r->fd, data.data + done, data.size - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return part_failed("write", n < 0 ? errno : EIO, ret_trouble);
		done += (size_t)n;
	}
	r->size += data.size;
	return ERROR_OK;
}

uint64_t store_receipt_size(const struct store_receipt *r)
{
	return r->size;
}

/* ---- verification --------------------------------------------------------------------------- */

static enum error check_owner(const struct store_identity *ours,
			      const struct store_identity *inside, const char *file,
			      char **ret_trouble)
{
	if (inside->cell_id_high == ours->cell_id_high && inside->cell_id_low == ours->cell_id_low)
		return ERROR_OK;
	*ret_trouble = sentence("%s is of another cell, \"%s\"", file, inside->cell_name);
	return ERROR_STORAGE_CORRUPT;
}

/* Our two tables and nothing else: no view, trigger or virtual table of somebody's making. */
static enum error check_tables(sqlite3 *db, const char *file, char **ret_trouble)
{
	int64_t ours = 0, all = 0;
	int rc = db_number(db, "SELECT count(*) FROM sqlite_schema", &all);

	if (rc == SQLITE_OK)
		rc = db_number(db,
			       "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND"
			       " rootpage > 0 AND name IN ('meta', 'rows')",
			       &ours);
	if (rc != SQLITE_OK)
		return db_error(rc, file, ret_trouble);
	if (all == 2 && ours == 2)
		return ERROR_OK;
	*ret_trouble = sentence("%s holds other tables than a state", file);
	return ERROR_STORAGE_CORRUPT;
}

enum error snapshot_verify(const char *directory, const char *file,
			   const struct store_identity *identity, struct store_identity *ret_inside,
			   struct state_mark *ret_mark, char **ret_trouble)
{
	struct store_identity inside;
	struct state_mark mark;
	struct cell *c = NULL;
	sqlite3 *db = NULL;
	enum error e = db_open(directory, file, true, &db, ret_trouble);

	if (e == ERROR_OK)
		e = check_tables(db, file, ret_trouble);
	if (e == ERROR_OK)
		e = store_identity_of(directory, file, STORE_APPLICATION_STATE, &inside,
				      ret_trouble);
	if (e == ERROR_OK)
		e = check_owner(identity, &inside, file, ret_trouble);
	/* The sender's checksum; those of the rows are the same on every replica. */
	if (e == ERROR_OK)
		e = state_read_mark(db, file, &inside, &mark, ret_trouble);
	if (e == ERROR_OK)
		e = state_load(db, file, identity, &mark, &c, ret_trouble);
	cell_free(c);
	db_close(db, false);
	if (e == ERROR_OK) {
		*ret_inside = inside;
		*ret_mark = mark;
	}
	return e;
}

static enum error check_complete(struct store_receipt *r, char **ret_trouble)
{
	uint64_t checksum = 0;

	if (r->size != r->about.total_bytes) {
		*ret_trouble = sentence("a snapshot is not complete: %llu of %llu bytes",
					(unsigned long long)r->size,
					(unsigned long long)r->about.total_bytes);
		return ERROR_STORAGE_CORRUPT;
	}
	if (fsync(r->fd) != 0)
		return part_failed("sync", errno, ret_trouble);
	if (!image_checksum(r->fd, r->size, &checksum))
		return part_failed("read", errno, ret_trouble);
	if (checksum != r->about.checksum) {
		*ret_trouble = sentence("a snapshot arrived damaged: its checksum is wrong");
		return ERROR_STORAGE_CORRUPT;
	}
	return ERROR_OK;
}

static enum error check_content(struct store_receipt *r, struct state_mark *ret_mark,
				char **ret_trouble)
{
	const struct store *s = r->store;
	struct store_identity inside;
	struct state_mark mark;
	enum error e = snapshot_verify(s->directory, STORE_FILE_PART, &s->identity, &inside, &mark,
				       ret_trouble);

	if (e != ERROR_OK)
		return e;
	if (mark.slot.n != r->about.slot.n || mark.revision.n != r->about.revision.n) {
		*ret_trouble = sentence("a snapshot is of slot %llu, announced was %llu",
					(unsigned long long)mark.slot.n,
					(unsigned long long)r->about.slot.n);
		return ERROR_STORAGE_CORRUPT;
	}
	*ret_mark = mark;
	return ERROR_OK;
}

/* ---- making it ours ------------------------------------------------------------------------- */

/* The identity and the mark are bound to a replica, the rows to the cell. */
static enum error adopt(const struct store *s, const struct state_mark *mark, char **ret_trouble)
{
	sqlite3_stmt *put = NULL;
	struct buffer record;
	sqlite3 *db = NULL;
	enum error e = db_open(s->directory, STORE_FILE_PART, false, &db, ret_trouble);
	int rc;

	if (e != ERROR_OK)
		return e;
	buffer_init(&record, RECORD_MAX_BYTES);
	record_put_identity(&record, &s->identity);
	rc = db_exec(db, "BEGIN IMMEDIATE");
	if (rc == SQLITE_OK)
		rc = db_prepare(db, meta_put_sql, &put);
	if (rc == SQLITE_OK)
		rc = meta_put(put, NULL, "identity", buffer_view(&record));
	if (rc == SQLITE_OK)
		rc = state_put_mark(put, &s->identity, mark);
	if (rc == SQLITE_OK)
		rc = db_exec(db, "COMMIT");
	if (rc == SQLITE_OK)
		rc = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if (rc != SQLITE_OK)
		e = db_error(rc, STORE_FILE_PART, ret_trouble);
	buffer_release(&record);
	sqlite3_finalize(put);
	db_close(db, e == ERROR_OK); /* which removes the write-ahead log */
	return e;
}

static enum error make_ready(const struct store *s, char **ret_trouble)
{
	char *from = store_path(s->directory, STORE_FILE_PART);
	char *to = store_path(s->directory, STORE_FILE_READY);
	enum error e = store_sync(s->directory, STORE_FILE_PART, ret_trouble);

	if (e == ERROR_OK && rename(from, to) != 0)
		e = part_failed("rename", errno, ret_trouble);
	if (e == ERROR_OK)
		e = store_sync(s->directory, NULL, ret_trouble);
	free(from);
	free(to);
	return e;
}

enum error store_receipt_finish(struct store_receipt *r, char **ret_trouble)
{
	struct state_mark mark;
	enum error e = check_complete(r, ret_trouble);

	if (e == ERROR_OK)
		e = check_content(r, &mark, ret_trouble);
	close(r->fd);
	r->fd = -1;
	if (e == ERROR_OK)
		e = adopt(r->store, &mark, ret_trouble);
	if (e == ERROR_OK)
		e = make_ready(r->store, ret_trouble);
	return e;
}

void store_receipt_free(struct store_receipt *r)
{
	if (r == NULL)
		return;
	if (r->fd >= 0)
		close(r->fd);
	store_unlink(r->store->directory, STORE_FILE_PART);
	free(r);
}
