/* Stored rows: runs of kind, key, length and bytes. What loads as a cell is a sound one. */
#include "cell_help.h"

#include "codec/tables.h"

static void check_row(const struct row *row, size_t size)
{
	struct buffer once;
	struct arena arena;
	struct row again;
	enum error e;

	buffer_init(&once, ROW_ARENA_BYTES);
	arena_init(&arena, ROW_ARENA_BYTES);
	e = codec_encode_row(row, &once);
	CHECK(e == ERROR_OK && once.size <= size);
	e = codec_decode_row(row->kind, row->key, buffer_view(&once), &arena, &again);
	CHECK(e == ERROR_OK);
	arena_release(&arena);
	buffer_release(&once);
}

/* False where the store would stop reading. */
static bool load_row(struct cell *c, struct feed *f)
{
	enum row_kind kind = (enum row_kind)feed_byte(f);
	uint64_t key = feed_number(f, 8);
	struct bytes run = feed_run(f), b = {mem_dup(run.data, run.size), run.size};
	struct arena arena;
	struct row row;
	bool good = false;

	arena_init(&arena, ROW_ARENA_BYTES);
	if (codec_decode_row(kind, key, b, &arena, &row) == ERROR_OK) {
		CHECK(!row.deleted && row.kind == kind && row.key == key);
		check_row(&row, b.size);
		good = cell_load_row(c, &row) == ERROR_OK;
	}
	CHECK(arena.used_bytes <= arena.max_bytes);
	arena_release(&arena);
	free((void *)(uintptr_t)b.data);
	return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	struct cell *c = cell_load_begin();
	char *trouble = NULL;
	bool good = true;

	while (good && f.left > 0)
		good = load_row(c, &f);
	if (good) {
		if (cell_load_end(c, &trouble) == ERROR_OK)
			check_cell(c);
		else
			CHECK(trouble != NULL && trouble[0] != '\0');
	}
	free(trouble);
	cell_free(c);
	return 0;
}
