/*
 * Names of nodes: /ls/<cell>/a/b (Chubby section 2.3).
 *
 * A cell's name is 1..63 bytes of a-z, 0-9, '-', '.', '_'. Components are 1..255 bytes of UTF-8
 * without NUL, '/' and control characters, and neither "." nor ".."; what follows the cell is at
 * most 1024 bytes and 128 components. One name has one spelling: doubled or trailing slashes are
 * refused. "/ls/<cell>" names the root directory.
 */
#ifndef CHUBBY_WIRE_PATH_H
#define CHUBBY_WIRE_PATH_H

#include "base/bytes.h"
#include "base/error.h"

#define PATH_INNER_MAX_BYTES 1024
#define PATH_NAME_MAX_BYTES 255
#define PATH_DEPTH_MAX 128
#define PATH_CELL_MAX_BYTES 63

/* Splits a full path: the cell, and the path inside it ("/" for the root). Both point into `full`
 * (the root into a constant). INVALID_PATH; *ret_trouble is a constant sentence saying why. */
MUST_USE enum error path_parse(struct bytes full, struct bytes *ret_cell, struct bytes *ret_inner,
			       const char **ret_trouble);
/* Checks a path inside a cell: "/" or "/a/b". */
MUST_USE enum error path_check_inner(struct bytes inner, const char **ret_trouble);
/* "/ls/<cell>" + inner, appended to the buffer. TOO_LARGE when the buffer is full. */
MUST_USE enum error path_format(struct bytes cell, struct bytes inner, struct buffer *ret_full);
bool path_cell_name_valid(struct bytes cell);
/* "/a" of "/a/b", "/" of "/a"; the root has no parent: false. Points into `inner`. */
bool path_parent(struct bytes inner, struct bytes *ret_parent);
/* "b" of "/a/b"; empty for the root. */
struct bytes path_name(struct bytes inner);
/* True for valid UTF-8 without NUL. */
bool text_valid(struct bytes b);

#endif
