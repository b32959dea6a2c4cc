/*
 * A snapshot from another replica, of any content and in any pieces. One that is accepted is
 * installed by the next open, and the state is sound; one that is refused leaves the state as it
 * was.
 *
 *   choice byte: 1 the rest is the whole image (else patches), 2 checksums of rows are mended,
 *   4 the image's checksum is wrong, 8 slot and revision are told otherwise, 16 a piece is missing
 */
#include "store_help.h"

static char directory[96];
static struct buffer image_template, log_file, state_file, promise_file; /* owned */
static struct state_mark image_mark;

static void prepare(void)
{
	struct store_identity identity = identity_of(2);
	char *trouble = NULL;
	enum error e;

	if (directory[0] != '\0')
		return;
	fuzz_root_make();
	snprintf(directory, sizeof(directory), "%s/replica", fuzz_root);
	e = store_genesis(directory, &identity, &trouble);
	CHECK(e == ERROR_OK);
	log_file = file_get(directory, STORE_FILE_LOG);
	state_file = file_get(directory, STORE_FILE_STATE);
	promise_file = file_get(directory, STORE_FILE_PROMISE);
	image_template = state_template(1, TEMPLATE_SLOT, &image_mark);
}

/* The directory as genesis left it. */
static struct store *open_anew(void)
{
	struct store *s = NULL;
	char *trouble = NULL;
	enum error e;

	store_unlink(directory, STORE_FILE_LOG);
	store_unlink(directory, STORE_FILE_STATE);
	store_unlink(directory, STORE_FILE_READY);
	file_put(directory, STORE_FILE_LOG, buffer_view(&log_file));
	file_put(directory, STORE_FILE_STATE, buffer_view(&state_file));
	file_put(directory, STORE_FILE_PROMISE, buffer_view(&promise_file));
	e = store_open(directory, NULL, &s, &trouble);
	CHECK(e == ERROR_OK);
	return s;
}

static struct store_snapshot announce(const struct buffer *image, uint8_t choice, struct feed *f)
{
	struct store_snapshot about = {image_mark.slot, image_mark.revision, image->size, 0};
	char *path;
	bool readable;
	int fd;

	file_put(fuzz_root, "image", buffer_view(image));
	path = store_path(fuzz_root, "image");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	readable = image_checksum(fd, image->size, &about.checksum);
	CHECK(fd >= 0 && readable);
	close(fd);
	free(path);
	if (choice & 4)
		about.checksum++;
	if (choice & 8) {
		about.slot.n = feed_number(f, 8);
		about.revision.n = feed_number(f, 8);
		about.total_bytes += feed_number(f, 1);
	}
	return about;
}

/* In pieces of a page; whether it was accepted. */
static bool receive(struct store *s, const struct store_snapshot *about, struct bytes image,
		    bool lacks)
{
	struct store_receipt *r = NULL;
	char *trouble = NULL;
	enum error e = store_receipt_begin(s, about, &r, &trouble);

	for (size_t at = 0; e == ERROR_OK && at < image.size; at += STORE_PAGE_BYTES) {
		size_t left = image.size - at;
		struct bytes piece = {image.data + at,
				      left < STORE_PAGE_BYTES ? left : STORE_PAGE_BYTES};

		if (!lacks || at != STORE_PAGE_BYTES)
			e = store_receipt_write(r, at, piece, &trouble);
	}
	if (e == ERROR_OK)
		e = store_receipt_finish(r, &trouble);
	CHECK((e == ERROR_OK) == (trouble == NULL));
	store_receipt_free(r);
	free(trouble);
	return e == ERROR_OK;
}

static void check_after(bool accepted, const struct store_snapshot *about)
{
	struct paxos_recovered recovered;
	struct cell *c = NULL;
	struct store *s = NULL;
	char *trouble = NULL;
	struct slot applied;
	enum error e = store_open(directory, NULL, &s, &trouble);

	CHECK(e == ERROR_OK && trouble == NULL);
	e = store_recover(s, &recovered, &trouble);
	CHECK(e == ERROR_OK && recovered.memory == PAXOS_MEMORY_WHOLE);
	free(recovered.tail);
	e = store_load(s, &c, &applied, &trouble);
	CHECK(e == ERROR_OK);
	CHECK(applied.n == (accepted ? about->slot.n : 0));
	CHECK(cell_meta(c)->revision.n == (accepted ? about->revision.n : 1));
	check_cell(c);
	cell_free(c);
	store_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	uint8_t choice = feed_byte(&f);
	struct store_identity identity = identity_of(1);
	struct store_snapshot about;
	struct buffer image;
	struct store *s;
	bool accepted;

	prepare();
	if (choice & 8) {
		struct feed told = f;

		(void)feed_bytes(&f, 17);
		image = patched(&image_template, &f, choice & 1);
		about = announce(&image, choice, &told);
	} else {
		image = patched(&image_template, &f, choice & 1);
		about = announce(&image, choice, &f);
	}
	if (choice & 2) {
		mend(&image, &identity);
		about = announce(&image, choice & ~8, &f);
	}
	s = open_anew();
	accepted = receive(s, &about, buffer_view(&image), choice & 16);
	CHECK(!accepted || (choice & (4 | 16)) == 0 || image.size <= STORE_PAGE_BYTES);
	store_close(s);
	check_after(accepted, &about);
	buffer_release(&image);
	return 0;
}
