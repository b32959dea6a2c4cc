/* A cell as its rows tell it: what every target that makes one holds it against. */
#ifndef CHUBBY_TEST_FUZZ_CELL_HELP_H
#define CHUBBY_TEST_FUZZ_CELL_HELP_H

#include "codec/codec.h"
#include "fuzz.h"

#define ROW_ARENA_BYTES ((size_t)16 << 20)

/* One row through its stored form into another cell. */
static inline void copy_row(const struct row *row, struct cell *to)
{
	struct arena arena;
	struct buffer stored;
	struct row back;
	enum error e;

	arena_init(&arena, ROW_ARENA_BYTES);
	buffer_init(&stored, ROW_ARENA_BYTES);
	e = codec_encode_row(row, &stored);
	CHECK(e == ERROR_OK);
	e = codec_decode_row(row->kind, row->key, buffer_view(&stored), &arena, &back);
	CHECK(e == ERROR_OK);
	e = cell_load_row(to, &back);
	CHECK(e == ERROR_OK);
	buffer_release(&stored);
	arena_release(&arena);
}

/* A sound cell: its invariants hold, and what is stored of it is the same cell. */
static inline void check_cell(const struct cell *c)
{
	struct cell *copy = cell_load_begin();
	struct digest a = cell_digest(c), b;
	struct row row = {.kind = 0}, next;
	char *trouble = NULL;
	enum error e;

	CHECK(cell_invariants(c) == NULL);
	while (cell_row_after(c, &row, &next)) {
		copy_row(&next, copy);
		row = next;
	}
	e = cell_load_end(copy, &trouble);
	CHECK(e == ERROR_OK);
	b = cell_digest(copy);
	CHECK(a.high == b.high && a.low == b.low);
	CHECK(cell_invariants(copy) == NULL);
	cell_free(copy);
}

static inline struct cell *cell_of_genesis(void)
{
	struct cell_genesis g = {.cell_id_high = 1, .cell_id_low = 2};

	g.name = bytes_of_text("local");
	memset(g.handle_key, 7, sizeof(g.handle_key));
	return cell_new(&g);
}

#endif
