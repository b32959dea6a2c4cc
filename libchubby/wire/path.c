#include "wire/path.h"

#include <string.h>

#define PREFIX "/ls/"

/* ---- texts ---- */

/* One character of UTF-8 at `at`, which is not the end: its bytes, or 0 for none. As RFC 3629 has
 * it: no surrogates, nothing above U+10FFFF, no longer form than needed. */
static size_t character(const uint8_t *at, size_t left, uint32_t *ret_point)
{
	size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
	uint32_t point;

	if (size == 0 || size > left || at[0] > 0xf4)
		return 0;
	point = size == 1 ? at[0] : at[0] & (0xffu >> (size + 1));
	for (size_t i = 1; i < size; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (at[i] & 0x3f);
	}
	if ((size == 3 && (point < 0x800 || (point >= 0xd800 && point < 0xe000))) ||
	    (size == 4 && (point < 0x10000 || point > 0x10ffff)))
		return 0;
	*ret_point = point;
	return size;
}

bool text_valid(struct bytes b)
{
	uint32_t point;
	size_t size;

	for (size_t i = 0; i < b.size; i += size) {
		size = character(b.data + i, b.size - i, &point);
		if (size == 0 || point == 0)
			return false;
	}
	return true;
}

/* ---- names ---- */

static bool is_dots(struct bytes name)
{
	return (name.size == 1 && name.data[0] == '.') ||
	       (name.size == 2 && name.data[0] == '.' && name.data[1] == '.');
}

static const char *name_trouble(struct bytes name)
{
	uint32_t point;
	size_t size;

	if (name.size == 0)
		return "the path has an empty component: a doubled or trailing slash";
	if (name.size > PATH_NAME_MAX_BYTES)
		return "a component of the path is longer than 255 bytes";
	if (is_dots(name))
		return "\".\" and \"..\" are no names";
	for (size_t i = 0; i < name.size; i += size) {
		size = character(name.data + i, name.size - i, &point);
		if (size == 0)
			return "the path is not valid UTF-8";
		if (point < 0x20 || (point >= 0x7f && point < 0xa0))
			return "the path has a control character";
	}
	return NULL;
}

/* Bytes before the next slash, or all. */
static struct bytes until_slash(struct bytes b)
{
	const uint8_t *slash = b.size > 0 ? memchr(b.data, '/', b.size) : NULL;

	return (struct bytes){b.data, slash != NULL ? (size_t)(slash - b.data) : b.size};
}

bool path_cell_name_valid(struct bytes cell)
{
	if (cell.size == 0 || cell.size > PATH_CELL_MAX_BYTES || is_dots(cell))
		return false;
	for (size_t i = 0; i < cell.size; i++) {
		uint8_t c = cell.data[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '.' &&
		    c != '_')
			return false;
	}
	return true;
}

/* ---- paths ---- */

static const char *inner_trouble(struct bytes inner)
{
	struct bytes rest = inner;
	size_t depth = 0;

	if (inner.size == 0 || inner.data[0] != '/')
		return "the path does not begin with a slash";
	if (inner.size > PATH_INNER_MAX_BYTES)
		return "the path is longer than 1024 bytes after the cell";
	if (inner.size == 1)
		return NULL;
	while (rest.size > 0) {
		struct bytes name = until_slash((struct bytes){rest.data + 1, rest.size - 1});
		const char *trouble = name_trouble(name);

		if (trouble != NULL)
			return trouble;
		if (++depth > PATH_DEPTH_MAX)
			return "the path has more than 128 components";
		rest.data += 1 + name.size;
		rest.size -= 1 + name.size;
	}
	return NULL;
}

enum error path_check_inner(struct bytes inner, const char **ret_trouble)
{
	const char *trouble = inner_trouble(inner);

	if (trouble == NULL)
		return ERROR_OK;
	*ret_trouble = trouble;
	return ERROR_INVALID_PATH;
}

enum error path_parse(struct bytes full, struct bytes *ret_cell, struct bytes *ret_inner,
		      const char **ret_trouble)
{
	const size_t prefix = strlen(PREFIX);
	struct bytes cell, inner;
	enum error e;

	if (full.size < prefix || memcmp(full.data, PREFIX, prefix) != 0) {
		*ret_trouble = "the path does not begin with /ls/ and a cell";
		return ERROR_INVALID_PATH;
	}
	cell = until_slash((struct bytes){full.data + prefix, full.size - prefix});
	if (!path_cell_name_valid(cell)) {
		*ret_trouble = "the cell's name is not 1 to 63 of a-z, 0-9, '-', '.', '_'";
		return ERROR_INVALID_PATH;
	}
	inner = (struct bytes){cell.data + cell.size, full.size - prefix - cell.size};
	if (inner.size == 0) {
		inner = bytes_of_text("/");
	} else if (inner.size == 1) {
		*ret_trouble = "the path has an empty component: a doubled or trailing slash";
		return ERROR_INVALID_PATH;
	} else {
		e = path_check_inner(inner, ret_trouble);
		if (e != ERROR_OK)
			return e;
	}
	*ret_cell = cell;
	*ret_inner = inner;
	return ERROR_OK;
}

enum error path_format(struct bytes cell, struct bytes inner, struct buffer *ret_full)
{
	size_t start = ret_full->size;

	if (buffer_append(ret_full, bytes_of_text(PREFIX)) && buffer_append(ret_full, cell) &&
	    (inner.size <= 1 || buffer_append(ret_full, inner)))
		return ERROR_OK;
	ret_full->size = start;
	return ERROR_TOO_LARGE;
}

struct bytes path_name(struct bytes inner)
{
	size_t start = inner.size;

	while (start > 0 && inner.data[start - 1] != '/')
		start--;
	return (struct bytes){inner.data + start, inner.size - start};
}

bool path_parent(struct bytes inner, struct bytes *ret_parent)
{
	size_t name = path_name(inner).size;

	if (name == 0 || name == inner.size)
		return false;
	/* The slash before the name goes too, unless it is the root's. */
	*ret_parent = (struct bytes){inner.data, inner.size - name > 1 ? inner.size - name - 1 : 1};
	return true;
}
