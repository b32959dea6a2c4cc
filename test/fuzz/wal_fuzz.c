/*
 * The walk through a write-ahead log.
 *
 *   choice byte even: the rest is the file. Odd: the rest tells of a file that SQLite would have
 *   written, and of one damage; a whole file is clean, and no damage looks like none.
 */
#include "fuzz.h"

#include "store/store_internal.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEADER_BYTES 32u
#define FRAME_HEADER_BYTES 24u
#define FRAME_BYTES (FRAME_HEADER_BYTES + STORE_PAGE_BYTES)
#define FRAMES_MAX 8

static enum wal_verdict walk(struct bytes b)
{
	int fd = memfd_create("wal", MFD_CLOEXEC);
	enum wal_verdict verdict = WAL_DAMAGED;
	char path[64], *trouble = NULL;
	ssize_t written;
	enum error e;

	CHECK(fd >= 0);
	written = write(fd, b.data, b.size);
	CHECK(written == (ssize_t)b.size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	e = wal_walk(path, &verdict, &trouble);
	CHECK(e == ERROR_OK && verdict <= WAL_DAMAGED);
	CHECK((verdict == WAL_CLEAN) == (trouble == NULL));
	free(trouble);
	close(fd);
	return verdict;
}

/* ---- a file as SQLite writes it ---- */

struct chain {
	uint32_t a, b;
	bool big_endian;
};

static void put_big(uint8_t *at, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(n >> (24 - 8 * i));
}

static uint32_t word(const uint8_t *at, bool big_endian)
{
	uint32_t n = 0;

	for (int i = 0; i < 4; i++)
		n |= (uint32_t)at[i] << (big_endian ? 24 - 8 * i : 8 * i);
	return n;
}

static void chain_over(struct chain *c, const uint8_t *data, size_t size)
{
	for (size_t i = 0; i < size; i += 8) {
		c->a += word(data + i, c->big_endian) + c->b;
		c->b += word(data + i + 4, c->big_endian) + c->a;
	}
}

static void put_header(struct buffer *file, struct chain *c, uint32_t salt)
{
	uint8_t *at = buffer_extend(file, HEADER_BYTES);

	CHECK(at != NULL);
	put_big(at, 0x377f0682u | (c->big_endian ? 1 : 0));
	put_big(at + 4, 3007000);
	put_big(at + 8, STORE_PAGE_BYTES);
	put_big(at + 12, 1);
	put_big(at + 16, salt);
	put_big(at + 20, ~salt);
	chain_over(c, at, 24);
	put_big(at + 24, c->a);
	put_big(at + 28, c->b);
}

static void put_frame(struct buffer *file, struct chain *c, uint32_t salt, struct feed *f,
		      bool commit)
{
	uint8_t *at = buffer_extend(file, FRAME_BYTES);
	struct bytes page = feed_bytes(f, 16);

	CHECK(at != NULL);
	memset(at, 0, FRAME_BYTES);
	put_big(at, 1 + feed_below(f, 9));
	put_big(at + 4, commit ? 9 : 0);
	put_big(at + 8, salt);
	put_big(at + 12, ~salt);
	if (page.size > 0)
		memcpy(at + FRAME_HEADER_BYTES, page.data, page.size);
	chain_over(c, at, 8);
	chain_over(c, at + FRAME_HEADER_BYTES, STORE_PAGE_BYTES);
	put_big(at + 16, c->a);
	put_big(at + 20, c->b);
}

static void check_written(struct feed *f)
{
	uint8_t choice = feed_byte(f), flip;
	uint32_t frames = feed_below(f, FRAMES_MAX + 1), commits = feed_byte(f);
	uint32_t salt = (uint32_t)feed_number(f, 4);
	struct chain c = {.big_endian = choice & 1};
	struct buffer file;
	size_t at;

	buffer_init(&file, HEADER_BYTES + FRAMES_MAX * FRAME_BYTES);
	at = (size_t)feed_number(f, 3);
	flip = feed_byte(f);
	put_header(&file, &c, salt);
	for (uint32_t i = 0; i < frames; i++)
		put_frame(&file, &c, salt, f, i + 1 == frames || (commits >> i & 1));
	CHECK(walk(buffer_view(&file)) == WAL_CLEAN);
	/* One byte changed; the size of the database, in a commit, is covered like all else. */
	file.data[at % file.size] ^= flip;
	CHECK((walk(buffer_view(&file)) == WAL_CLEAN) == (flip == 0));
	/* Or cut off within. */
	file.data[at % file.size] ^= flip;
	file.size = at % file.size;
	if (file.size % FRAME_BYTES != HEADER_BYTES && file.size > 0)
		CHECK(walk(buffer_view(&file)) == WAL_DOUBTFUL);
	buffer_release(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};

	if (feed_byte(&f) & 1)
		check_written(&f);
	else
		(void)walk((struct bytes){f.at, f.left});
	return 0;
}
