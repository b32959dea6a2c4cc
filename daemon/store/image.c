/*
 * The sender's side of a snapshot: an image of state.db.
 *
 * SQLite's backup copies one consistent state while the state thread writes the next ones; what is
 * sent is the copy, so that a slow receiver pins neither the write-ahead log nor a transaction.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHECKSUM_BLOCK_BYTES 65536u

struct store_image {
	struct store *store; /* outlives it */
	int fd;              /* owned; the file has no name any more */
	struct store_snapshot about;
};

bool image_checksum(int fd, uint64_t size, uint64_t *ret_checksum)
{
	uint8_t *block = mem_alloc(CHECKSUM_BLOCK_BYTES);
	uint64_t sum = 0;

	for (uint64_t at = 0; at < size;) {
		size_t want = size - at < CHECKSUM_BLOCK_BYTES ? (size_t)(size - at)
							       : CHECKSUM_BLOCK_BYTES;
		ssize_t n = pread(fd, block, want, (off_t)at);
		uint64_t pair[2] = {sum};
		uint8_t packed[sizeof(pair)];

		if (n < 0 && errno == EINTR)
			continue;
		/* Both ends cut at the same places, so a short read is a failure. */
		if (n != (ssize_t)want) {
			errno = n < 0 ? errno : EIO;
			free(block);
			return false;
		}
		pair[1] = bytes_hash((struct bytes){block, want});
		for (size_t i = 0; i < sizeof(packed); i++)
			packed[i] = (uint8_t)(pair[i / 8] >> (8 * (i % 8)));
		sum = bytes_hash((struct bytes){packed, sizeof(packed)});
		at += want;
	}
	free(block);
	*ret_checksum = sum;
	return true;
}

/* Nobody reads the copy before it is complete, and nobody needs it after a crash. */
static enum error open_copy(struct store *s, sqlite3 **ret_db, char **ret_trouble)
{
	char *path = store_path(s->directory, STORE_FILE_IMAGE);
	enum error e = ERROR_OK;
	sqlite3 *db = NULL;
	int fd, rc;

	store_unlink(s->directory, STORE_FILE_IMAGE);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0) {
		*ret_trouble = sentence("cannot create %s: %s", path, strerror(errno));
		e = errno == ENOSPC || errno == EDQUOT ? ERROR_STORAGE_FULL : ERROR_STORAGE_IO;
	} else {
		close(fd);
		e = db_open(s->directory, STORE_FILE_IMAGE, false, &db, ret_trouble);
	}
	free(path);
	if (e != ERROR_OK)
		return e;
	rc = db_exec(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF");
	if (rc != SQLITE_OK) {
		db_close(db, false);
		return db_error(rc, STORE_FILE_IMAGE, ret_trouble);
	}
	*ret_db = db;
	return ERROR_OK;
}

/* Mark and pages of one read transaction. */
static enum error copy_pages(struct store *s, sqlite3 *from, sqlite3 *to,
			     struct state_mark *ret_mark, char **ret_trouble)
{
	int rc = db_exec(from, "PRAGMA query_only=ON; BEGIN");
	sqlite3_backup *backup;
	enum error e;

	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_STATE, ret_trouble);
	e = state_read_mark(from, STORE_FILE_STATE, &s->identity, ret_mark, ret_trouble);
	if (e != ERROR_OK)
		return e;
	backup = sqlite3_backup_init(to, "main", from, "main");
	if (backup == NULL)
		return db_error(sqlite3_extended_errcode(to), STORE_FILE_IMAGE, ret_trouble);
	rc = sqlite3_backup_step(backup, -1);
	sqlite3_backup_finish(backup);
	return rc == SQLITE_DONE ? ERROR_OK : db_error(rc, STORE_FILE_IMAGE, ret_trouble);
}

static enum error copy_state(struct store *s, struct state_mark *ret_mark, char **ret_trouble)
{
	sqlite3 *from = NULL, *to = NULL;
	enum error e = db_open(s->directory, STORE_FILE_STATE, false, &from, ret_trouble);

	if (e == ERROR_OK)
		e = open_copy(s, &to, ret_trouble);
	if (e == ERROR_OK)
		e = copy_pages(s, from, to, ret_mark, ret_trouble);
	db_close(to, false);
	db_close(from, false);
	return e;
}

/* Takes the copy's name away: it lives as long as the descriptor. */
static enum error take_copy(struct store *s, struct store_image *image, char **ret_trouble)
{
	char *path = store_path(s->directory, STORE_FILE_IMAGE);
	enum error e = ERROR_OK;
	struct stat st;

	image->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (image->fd < 0 || fstat(image->fd, &st) != 0 ||
	    !image_checksum(image->fd, (uint64_t)st.st_size, &image->about.checksum)) {
		*ret_trouble = sentence("cannot read %s: %s", path, strerror(errno));
		e = ERROR_STORAGE_IO;
	} else {
		image->about.total_bytes = (uint64_t)st.st_size;
	}
	free(path);
	return e;
}

/* Before the copy: its slot cannot be older than what is durable now. */
static void hold_log(struct store *s)
{
	struct store_shared *sh = &s->shared;

	pthread_mutex_lock(&sh->mutex);
	CHECK(!sh->held);
	sh->held = true;
	sh->hold = sh->state_slot;
	pthread_mutex_unlock(&sh->mutex);
}

void store_image_let_log_go(struct store_image *image)
{
	struct store_shared *sh = &image->store->shared;

	pthread_mutex_lock(&sh->mutex);
	sh->held = false;
	if (sh->log_sleeps)
		pthread_cond_signal(&sh->log_wake); /* there may be something to trim */
	pthread_mutex_unlock(&sh->mutex);
}

enum error store_image_make(struct store *s, struct store_image **ret_image, char **ret_trouble)
{
	struct store_image *image;
	struct state_mark mark;
	enum error e;

	if (s->memory == PAXOS_MEMORY_LOST || s->state_trouble != NULL) {
		*ret_trouble = sentence("the state of this replica is damaged itself");
		return ERROR_STORAGE_CORRUPT;
	}
	image = mem_zalloc(sizeof(*image));
	image->store = s;
	image->fd = -1;
	hold_log(s);
	e = copy_state(s, &mark, ret_trouble);
	if (e == ERROR_OK)
		e = take_copy(s, image, ret_trouble);
	store_unlink(s->directory, STORE_FILE_IMAGE);
	if (e != ERROR_OK) {
		store_image_free(image);
		return e;
	}
	image->about.slot = mark.slot;
	image->about.revision = mark.revision;
	*ret_image = image;
	return ERROR_OK;
}

const struct store_snapshot *store_image_about(const struct store_image *image)
{
	return &image->about;
}

enum error store_image_read(const struct store_image *image, uint64_t offset, size_t size,
			    struct buffer *ret_data)
{
	uint64_t left = image->about.total_bytes - offset;
	size_t want = left < size ? (size_t)left : size;
	size_t start = ret_data->size, have = 0;
	uint8_t *data;

	if (offset > image->about.total_bytes)
		return ERROR_INVALID_ARGUMENT;
	data = buffer_extend(ret_data, want);
	if (data == NULL)
		return ERROR_TOO_LARGE;
	while (have < want) {
		ssize_t n = pread(image->fd, data + have, want - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			ret_data->size = start;
			return ERROR_STORAGE_IO;
		}
		have += (size_t)n;
	}
	return ERROR_OK;
}

void store_image_free(struct store_image *image)
{
	if (image == NULL)
		return;
	store_image_let_log_go(image);
	if (image->fd >= 0)
		close(image->fd);
	free(image);
}
