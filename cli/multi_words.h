/*
 * The words of `chubby multi`: guards, then operations, each a name, a path, and what it needs.
 *
 *   exists PATH    absent PATH    generation PATH N    holder PATH SESSION    token PATH N
 *   create PATH CONTENTS    mkdir PATH    write PATH CONTENTS    delete PATH
 *
 * On the command line they stand one behind the other, and "--" between two of them is decoration;
 * in a text each has a line, with words quoted as `chubby help multi` says.
 */
#ifndef CHUBBY_CLI_MULTI_H
#define CHUBBY_CLI_MULTI_H

#include "base/bytes.h"
#include "chubby.h"

#define MULTI_LINE_WORDS_MAX 8u

/* Points into the words that it was read from. */
struct multi_plan {
	size_t count;
	struct chubby_op ops[CHUBBY_MULTI_MAX_OPS];
	unsigned lines[CHUBBY_MULTI_MAX_OPS]; /* where each stood; 0: on the command line */
};

/* Adds what the words say; words are followed by a NUL that is not counted. 0, or EXIT_USAGE after
 * a message that names `line` if that is not 0. */
int multi_plan_add(struct multi_plan *p, const struct bytes words[], size_t count, unsigned line);
/* The same for each line of a text, which is changed: the words are made in their place. The byte
 * behind the text is written to. */
int multi_plan_read(struct multi_plan *p, char *text, size_t size_bytes);
/* "generation /ls/local/a 7", without contents. */
void multi_op_format(const struct chubby_op *op, char *text, size_t size_bytes);

/* ---- for completion ------------------------------------------------------------------------- */

enum multi_wanted { MULTI_WANTS_KIND, MULTI_WANTS_PATH, MULTI_WANTS_VALUE };
/* What comes behind these words. */
enum multi_wanted multi_word_wanted(char *const words[], size_t count);
const char *multi_kind_name(size_t i); /* NULL behind the last */
const char *multi_kind_help(size_t i);

#endif
