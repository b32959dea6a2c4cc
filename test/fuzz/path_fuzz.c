/* Names of nodes, and UTF-8. */
#include "fuzz.h"

#include "wire/path.h"

/* One name has one spelling: its parts put together are the name, and each part is one. */
static void check_parts(struct bytes full, struct bytes cell, struct bytes inner)
{
	struct bytes parent = inner, name;
	const char *trouble;
	struct buffer again;
	unsigned depth = 0;
	enum error e;

	buffer_init(&again, full.size + 16);
	e = path_format(cell, inner, &again);
	CHECK(e == ERROR_OK && bytes_equal(buffer_view(&again), full));
	CHECK(path_cell_name_valid(cell) && text_valid(full));
	CHECK(inner.size <= PATH_INNER_MAX_BYTES);
	for (; parent.size > 1; depth++) {
		bool has_parent;

		name = path_name(parent);
		CHECK(name.size > 0 && name.size <= PATH_NAME_MAX_BYTES);
		has_parent = path_parent(parent, &parent);
		CHECK(has_parent && path_check_inner(parent, &trouble) == ERROR_OK);
	}
	CHECK(depth <= PATH_DEPTH_MAX && !path_parent(parent, &parent));
	buffer_release(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes full = {data, size}, cell, inner;
	const char *trouble = NULL;

	(void)text_valid(full);
	if (path_parse(full, &cell, &inner, &trouble) == ERROR_OK)
		check_parts(full, cell, inner);
	else
		CHECK(trouble != NULL);
	if (path_check_inner(full, &trouble) == ERROR_OK)
		CHECK(text_valid(full) && full.data[0] == '/');
	return 0;
}
