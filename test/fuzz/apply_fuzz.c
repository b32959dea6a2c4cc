/*
 * A log of arbitrary commands, applied. Whatever a decoder lets pass leaves a sound cell, and two
 * replicas in the same state.
 */
#include "cell_help.h"

/* The master checked the names that it proposes; what else stands in an entry is anybody's. */
#include "wire/path.h"

#define ENTRIES_MAX 256

static bool name_good(struct bytes path)
{
	const char *trouble;

	return path_check_inner(path, &trouble) == ERROR_OK;
}

static bool names_good(const struct entry *e)
{
	bool good = true;

	if (e->kind == ENTRY_NODE_CREATE)
		return name_good(e->node_create.path);
	for (uint32_t i = 0; e->kind == ENTRY_MULTI && i < e->multi.count; i++)
		good = good && (e->multi.ops[i].path.size == 0 || name_good(e->multi.ops[i].path));
	return good;
}

static void apply(struct cell *c, const struct entry *e)
{
	uint64_t before = cell_meta(c)->revision.n;
	struct outcome o;

	cell_apply(c, e, &o);
	CHECK(cell_meta(c)->revision.n > before);
	CHECK(e->kind != ENTRY_EPOCH || o.result.error != ERROR_OK || cell_meta(c)->epoch.n > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	struct cell *a = cell_of_genesis(), *b = cell_of_genesis();
	struct arena arena;

	arena_init(&arena, ROW_ARENA_BYTES);
	for (int i = 0; i < ENTRIES_MAX && f.left > 0; i++) {
		struct entry e;

		if (codec_decode_entry(feed_run(&f), &arena, &e) == ERROR_OK && names_good(&e)) {
			apply(a, &e);
			apply(b, &e);
		}
		arena_release(&arena);
	}
	CHECK(cell_digest(a).high == cell_digest(b).high);
	CHECK(cell_digest(a).low == cell_digest(b).low);
	check_cell(a);
	cell_free(a);
	cell_free(b);
	return 0;
}
