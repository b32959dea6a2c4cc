/*
 * The walk through a write-ahead log, before SQLite sees it.
 *
 * SQLite ends its recovery at the first frame whose checksum is wrong, and takes everything behind
 * for a torn write: one flipped bit silently undoes acknowledged commits. But since each commit
 * is synced before the next one begins, a torn write can only be the last. The walk checks each
 * frame against the checksum *stored* in its predecessor, so that it sees past a bad frame:
 *
 *   header good, frames good, a commit last                     clean
 *   a bad frame, then a good commit frame, then a good frame    damaged: that commit was synced
 *   header bad, two neighbouring frames agree                   damaged: the header was synced
 *   anything else                                               doubtful
 *
 * Frames with other salts are remains of an earlier use of the file and no damage.
 *
 * The file: a header of 32 bytes (magic, version, page size, sequence, two salts, two checksums),
 * then frames: page number, size of the database for a commit or 0, two salts, two checksums, and
 * the page. All numbers are big-endian; the magic's lowest bit tells how the sums read words.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER_BYTES 32u
#define FRAME_HEADER_BYTES 24u
#define FRAME_BYTES (FRAME_HEADER_BYTES + STORE_PAGE_BYTES)
#define MAGIC 0x377f0682u
#define FORMAT 3007000u

struct sum {
	uint32_t a, b;
};

struct salt {
	uint32_t a, b;
};

struct frame {
	bool complete; /* all bytes are there */
	bool headed;   /* at least its header is */
	bool commit;
	struct salt salt;
	struct sum stored;
	uint8_t bytes[FRAME_BYTES];
};

struct walk {
	int fd;
	bool big_endian; /* how checksums read the words */
	uint64_t size;
	struct salt salt;
	struct sum header_sum; /* as stored in the header */
};

static uint32_t read_big(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t read_word(const uint8_t *at, bool big_endian)
{
	if (big_endian)
		return read_big(at);
	return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static struct sum sum_over(struct sum s, const uint8_t *data, size_t size, bool big_endian)
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		s.a += read_word(data + i, big_endian) + s.b;
		s.b += read_word(data + i + 4, big_endian) + s.a;
	}
	return s;
}

static bool sum_equal(struct sum a, struct sum b)
{
	return a.a == b.a && a.b == b.b;
}

static bool salt_equal(struct salt a, struct salt b)
{
	return a.a == b.a && a.b == b.b;
}

/* Reads up to `size` bytes; fewer only at the end of the file. */
static bool read_at(int fd, uint64_t offset, uint8_t *ret_data, size_t size, size_t *ret_size)
{
	size_t have = 0;

	while (have < size) {
		ssize_t n = pread(fd, ret_data + have, size - have, (off_t)(offset + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	*ret_size = have;
	return true;
}

static bool read_frame(const struct walk *w, uint64_t index, struct frame *ret_frame)
{
	size_t have;

	if (!read_at(w->fd, HEADER_BYTES + index * FRAME_BYTES, ret_frame->bytes, FRAME_BYTES,
		     &have))
		return false;
	ret_frame->complete = have == FRAME_BYTES;
	ret_frame->headed = have >= FRAME_HEADER_BYTES;
	if (!ret_frame->headed)
		return true;
	ret_frame->commit = read_big(ret_frame->bytes + 4) != 0;
	ret_frame->salt = (struct salt){read_big(ret_frame->bytes + 8),
					read_big(ret_frame->bytes + 12)};
	ret_frame->stored = (struct sum){read_big(ret_frame->bytes + 16),
					 read_big(ret_frame->bytes + 20)};
	return true;
}

/* Does the frame continue a chain whose last stored checksum is `before`? */
static bool frame_chains(const struct frame *f, struct sum before, bool big_endian)
{
	struct sum s;

	if (!f->complete)
		return false;
	s = sum_over(before, f->bytes, 8, big_endian);
	s = sum_over(s, f->bytes + FRAME_HEADER_BYTES, STORE_PAGE_BYTES, big_endian);
	return sum_equal(s, f->stored);
}

/* What the walk has seen so far. */
struct findings {
	uint64_t good;       /* frames before the first bad one */
	bool committed;      /* the last of these is a commit, or there are none */
	bool bad;            /* a bad frame, then at least one of this chain */
	bool past_end;       /* a frame that is not of this chain was seen */
	bool after_commit;   /* the previous frame was a good commit behind a bad frame */
	uint64_t damaged_at; /* number of that commit frame, from 1; 0: none */
};

static void look_at(const struct walk *w, const struct frame *f, uint64_t index, struct sum before,
		    bool before_is_ours, struct findings *found)
{
	bool ours = salt_equal(f->salt, w->salt);
	bool chains = frame_chains(f, before, w->big_endian);
	bool good = ours && chains;

	if (good && !found->past_end) {
		found->good = index + 1;
		found->committed = f->commit;
		return;
	}
	if (good && found->after_commit && found->damaged_at == 0)
		found->damaged_at = index;
	found->past_end = true;
	found->after_commit = good && f->commit;
	/* The checksum does not cover the salts: a frame that continues our chain under other salts
	 * is ours with a damaged salt, not a remain. */
	if (ours || (before_is_ours && chains))
		found->bad = true;
}

static bool walk_frames(const struct walk *w, struct findings *ret_found)
{
	struct frame *f = mem_alloc(sizeof(*f));
	struct findings found = {.committed = true};
	struct sum before = w->header_sum;
	bool before_is_ours = true;
	bool readable = true;

	for (uint64_t i = 0; HEADER_BYTES + i * FRAME_BYTES < w->size; i++) {
		readable = read_frame(w, i, f);
		if (!readable)
			break;
		if (!f->headed) {
			found.bad = true; /* no frame ends there, whoever wrote it */
			break;
		}
		look_at(w, f, i, before, before_is_ours, &found);
		before = f->stored;
		before_is_ours = salt_equal(f->salt, w->salt);
	}
	free(f);
	*ret_found = found;
	return readable;
}

/* Behind a bad header: two neighbours of one chain, however checksums are read. */
static bool walk_agreement(struct walk *w, bool *ret_agree)
{
	struct frame *f = mem_alloc(sizeof(*f));
	struct sum before = {0, 0};
	struct salt salt = {0, 0};
	bool readable = true, agree = false;

	for (uint64_t i = 0; !agree && HEADER_BYTES + i * FRAME_BYTES < w->size; i++) {
		readable = read_frame(w, i, f);
		if (!readable || !f->complete)
			break;
		agree = i > 0 && salt_equal(f->salt, salt) &&
			(frame_chains(f, before, false) || frame_chains(f, before, true));
		before = f->stored;
		salt = f->salt;
	}
	free(f);
	*ret_agree = agree;
	return readable;
}

static bool header_good(struct walk *w, const uint8_t *header)
{
	uint32_t magic = read_big(header);
	struct sum computed;

	w->big_endian = (magic & 1) != 0;
	w->salt = (struct salt){read_big(header + 16), read_big(header + 20)};
	w->header_sum = (struct sum){read_big(header + 24), read_big(header + 28)};
	computed = sum_over((struct sum){0, 0}, header, 24, w->big_endian);
	return (magic & ~1u) == MAGIC && read_big(header + 4) == FORMAT &&
	       read_big(header + 8) == STORE_PAGE_BYTES && sum_equal(computed, w->header_sum);
}

static bool judge_header(struct walk *w, const char *path, enum wal_verdict *ret_verdict,
			 char **ret_trouble)
{
	bool agree = false;

	if (w->size > HEADER_BYTES && !walk_agreement(w, &agree))
		return false;
	if (agree)
		*ret_trouble = sentence("%s: the header is damaged, but frames behind it agree: "
					"commits that were acknowledged cannot be read",
					path);
	else
		*ret_trouble = sentence("%s: the header is not whole: the last write may be torn",
					path);
	*ret_verdict = agree ? WAL_DAMAGED : WAL_DOUBTFUL;
	return true;
}

static bool judge_frames(const struct walk *w, const char *path, enum wal_verdict *ret_verdict,
			 char **ret_trouble)
{
	struct findings found;

	if (!walk_frames(w, &found))
		return false;
	if (found.damaged_at != 0) {
		*ret_verdict = WAL_DAMAGED;
		*ret_trouble = sentence("%s: frame %llu is damaged, and commits behind it were "
					"synced (frame %llu)",
					path, (unsigned long long)found.good + 1,
					(unsigned long long)found.damaged_at);
	} else if (found.bad || !found.committed) {
		*ret_verdict = WAL_DOUBTFUL;
		*ret_trouble = sentence("%s: the write-ahead log ends doubtfully after frame %llu: "
					"the last write may be torn",
					path, (unsigned long long)found.good);
	} else {
		*ret_verdict = WAL_CLEAN;
		*ret_trouble = NULL;
	}
	return true;
}

/* An empty file is what a checkpoint leaves behind. */
static bool walk_open_file(struct walk *w, const char *path, enum wal_verdict *ret_verdict,
			   char **ret_trouble)
{
	uint8_t header[HEADER_BYTES];
	struct stat st;
	size_t have;

	if (fstat(w->fd, &st) != 0 || !read_at(w->fd, 0, header, sizeof(header), &have))
		return false;
	w->size = (uint64_t)st.st_size;
	if (w->size == 0) {
		*ret_verdict = WAL_CLEAN;
		*ret_trouble = NULL;
		return true;
	}
	if (have < sizeof(header) || !header_good(w, header))
		return judge_header(w, path, ret_verdict, ret_trouble);
	return judge_frames(w, path, ret_verdict, ret_trouble);
}

enum error wal_walk(const char *path, enum wal_verdict *ret_verdict, char **ret_trouble)
{
	struct walk w = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
	bool readable;
	int error;

	if (w.fd < 0 && errno == ENOENT) {
		*ret_verdict = WAL_CLEAN;
		*ret_trouble = NULL;
		return ERROR_OK;
	}
	readable = w.fd >= 0 && walk_open_file(&w, path, ret_verdict, ret_trouble);
	error = errno;
	if (w.fd >= 0)
		close(w.fd);
	if (!readable) {
		*ret_trouble = sentence("cannot read %s: %s", path, strerror(error));
		return ERROR_STORAGE_IO;
	}
	return ERROR_OK;
}
