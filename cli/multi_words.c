#include "multi_words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "cli.h"

enum operand { OPERAND_NONE, OPERAND_NUMBER, OPERAND_CONTENTS };

struct kind_row {
	const char *name;
	enum chubby_op_kind kind;
	enum operand operand;
	enum chubby_kind node_kind;
	const char *help;
};

/* Guards first. */
static const struct kind_row kinds[] = {
	{"exists", CHUBBY_GUARD_EXISTS, OPERAND_NONE, 0, "PATH: there is such a node"},
	{"absent", CHUBBY_GUARD_ABSENT, OPERAND_NONE, 0, "PATH: there is none"},
	{"generation", CHUBBY_GUARD_GENERATION, OPERAND_NUMBER, 0, "PATH N: of its contents"},
	{"holder", CHUBBY_GUARD_HOLDER, OPERAND_NUMBER, 0, "PATH SESSION: it holds the lock"},
	{"token", CHUBBY_GUARD_TOKEN, OPERAND_NUMBER, 0, "PATH N: under which the lock is held"},
	{"create", CHUBBY_OP_CREATE, OPERAND_CONTENTS, CHUBBY_FILE, "PATH CONTENTS: a new file"},
	{"mkdir", CHUBBY_OP_CREATE, OPERAND_NONE, CHUBBY_DIR, "PATH: a new directory"},
	{"write", CHUBBY_OP_WRITE, OPERAND_CONTENTS, 0, "PATH CONTENTS: of a file that is there"},
	{"delete", CHUBBY_OP_DELETE, OPERAND_NONE, 0, "PATH: a file, or an empty directory"},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

const char *multi_kind_name(size_t i)
{
	return i < KIND_COUNT ? kinds[i].name : NULL;
}

const char *multi_kind_help(size_t i)
{
	return i < KIND_COUNT ? kinds[i].help : NULL;
}

static const struct kind_row *kind_find(const char *name)
{
	for (size_t i = 0; i < KIND_COUNT; i++) {
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	}
	return NULL;
}

static bool is_guard(const struct chubby_op *op)
{
	return op->kind < CHUBBY_OP_CREATE;
}

static size_t words_needed(const struct kind_row *k)
{
	return k->operand == OPERAND_NONE ? 2 : 3;
}

enum multi_wanted multi_word_wanted(char *const words[], size_t count)
{
	size_t i = 0;

	while (i < count) {
		const struct kind_row *k = kind_find(words[i]);

		if (k == NULL)
			i++; /* "--", or nonsense, of which nothing follows */
		else if (i + words_needed(k) > count)
			return i + 1 == count ? MULTI_WANTS_PATH : MULTI_WANTS_VALUE;
		else
			i += words_needed(k);
	}
	return MULTI_WANTS_KIND;
}

void multi_op_format(const struct chubby_op *op, char *text, size_t size_bytes)
{
	const char *name = "?";

	for (size_t i = 0; i < KIND_COUNT; i++) {
		if (kinds[i].kind == op->kind &&
		    (op->kind != CHUBBY_OP_CREATE || kinds[i].node_kind == op->node_kind))
			name = kinds[i].name;
	}
	if (is_guard(op) && op->kind != CHUBBY_GUARD_EXISTS && op->kind != CHUBBY_GUARD_ABSENT)
		snprintf(text, size_bytes, "%s %.300s %" PRIu64, name, op->path, op->number);
	else
		snprintf(text, size_bytes, "%s %.300s", name, op->path);
}

/* ---- words to operations -------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static int complain(unsigned line, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (line > 0)
		say("multi: line %u: %s (chubby help multi)", line, text);
	else
		say("multi: %s (chubby help multi)", text);
	return EXIT_USAGE;
}

static bool is_text(struct bytes b)
{
	return memchr(b.data, '\0', b.size) == NULL;
}

static int kind_unknown(const char *name, unsigned line)
{
	const char *names[KIND_COUNT], *found[NEAREST_MAX];
	char meant[160];

	for (size_t i = 0; i < KIND_COUNT; i++)
		names[i] = kinds[i].name;
	nearest_format(found, nearest(name, names, KIND_COUNT, found), "", meant, sizeof(meant));
	return complain(line, "\"%.100s\" is neither a guard nor an operation%s", name, meant);
}

/* One guard or operation from the front of the words, of which it takes words_needed(). */
static int op_read(const struct bytes words[], size_t count, unsigned line,
		   const struct kind_row *k, struct chubby_op *ret_op)
{
	struct chubby_op op = {.kind = k->kind, .node_kind = k->node_kind};

	if (count < words_needed(k))
		return complain(line, "%s wants %s", k->name, k->help);
	op.path = (const char *)words[1].data;
	if (!is_text(words[1]) || op.path[0] != '/')
		return complain(line, "%s: \"%.100s\" is no path: paths begin with /ls/", k->name,
				op.path);
	if (k->operand == OPERAND_NUMBER &&
	    (!is_text(words[2]) || !number_parse((const char *)words[2].data, &op.number)))
		return complain(line, "%s %.200s: \"%.100s\" is no number", k->name, op.path,
				(const char *)words[2].data);
	if (k->operand == OPERAND_CONTENTS) {
		op.data = words[2].data;
		op.size_bytes = words[2].size;
	}
	*ret_op = op;
	return 0;
}

int multi_plan_add(struct multi_plan *p, const struct bytes words[], size_t count, unsigned line)
{
	size_t i = 0;

	while (i < count) {
		const char *name = (const char *)words[i].data;
		const struct kind_row *k = kind_find(name);
		struct chubby_op *op = &p->ops[p->count];

		if (line == 0 && strcmp(name, "--") == 0) {
			i++;
			continue;
		}
		if (k == NULL || !is_text(words[i]))
			return kind_unknown(name, line);
		if (p->count == CHUBBY_MULTI_MAX_OPS)
			return complain(line, "more than %d guards and operations",
					CHUBBY_MULTI_MAX_OPS);
		if (op_read(&words[i], count - i, line, k, op) != 0)
			return EXIT_USAGE;
		if (is_guard(op) && p->count > 0 && !is_guard(op - 1))
			return complain(line, "%s is a guard: guards stand before operations",
					name);
		p->lines[p->count++] = line;
		i += words_needed(k);
		if (line > 0 && i < count)
			return complain(line,
					"\"%.100s\" is one word too many: quote what has blanks",
					(const char *)words[i].data);
	}
	return 0;
}

/* ---- lines to words ------------------------------------------------------------------------- */

struct reading {
	const char *at, *end; /* what is left of the line */
	char *out;            /* where the next byte of a word goes; never ahead of `at` */
	const char *trouble;  /* NULL: none */
};

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *found;

	found = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c) : NULL;
	return found != NULL ? (int)(found - digits) : -1;
}

/* Behind a backslash between double quotes. */
static void read_escape(struct reading *r)
{
	static const char from[] = "nrt\"\\", to[] = "\n\r\t\"\\";
	char c = r->at < r->end ? *r->at : '\0';
	const char *simple = c != '\0' ? strchr(from, c) : NULL;

	if (simple != NULL) {
		*r->out++ = to[simple - from];
		r->at++;
	} else if (c == 'x' && r->end - r->at >= 3 && hex_digit(r->at[1]) >= 0 &&
		   hex_digit(r->at[2]) >= 0) {
		*r->out++ = (char)(hex_digit(r->at[1]) * 16 + hex_digit(r->at[2]));
		r->at += 3;
	} else {
		r->trouble = "behind a backslash comes n, r, t, \", \\ or xHH";
	}
}

static void read_quoted(struct reading *r, char quote)
{
	while (r->trouble == NULL) {
		if (r->at == r->end) {
			r->trouble = "a quote is not closed";
		} else if (*r->at == quote) {
			r->at++;
			return;
		} else if (*r->at == '\\' && quote == '"') {
			r->at++;
			read_escape(r);
		} else {
			*r->out++ = *r->at++;
		}
	}
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void read_word(struct reading *r)
{
	while (r->at < r->end && !is_blank(*r->at) && r->trouble == NULL) {
		char c = *r->at++;

		if (c == '\'' || c == '"')
			read_quoted(r, c);
		else
			*r->out++ = c;
	}
}

/* The line ends in a NUL of its own, at `end`. */
static int line_read(struct multi_plan *p, char *line, char *end, unsigned number)
{
	struct reading r = {.at = line, .end = end, .out = line};
	struct bytes words[MULTI_LINE_WORDS_MAX];
	size_t count = 0;

	for (;;) {
		char *begin;
		bool last;

		while (r.at < r.end && is_blank(*r.at))
			r.at++;
		if (r.at == r.end || (count == 0 && *r.at == '#'))
			break;
		if (count == MULTI_LINE_WORDS_MAX)
			return complain(number, "too many words: quote what has blanks");
		begin = r.out;
		read_word(&r);
		if (r.trouble != NULL)
			return complain(number, "%s", r.trouble);
		words[count++] = (struct bytes){(const uint8_t *)begin, (size_t)(r.out - begin)};
		/* The NUL takes the place of the blank that was read, or of the line's end. */
		last = r.at == r.end;
		r.at += last ? 0 : 1;
		*r.out++ = '\0';
		if (last)
			break;
	}
	return multi_plan_add(p, words, count, number);
}

int multi_plan_read(struct multi_plan *p, char *text, size_t size_bytes)
{
	char *at = text, *end = text + size_bytes;
	unsigned number = 0;
	int status = 0;

	while (at < end && status == 0) {
		char *line_end = memchr(at, '\n', (size_t)(end - at));

		if (line_end == NULL)
			line_end = end;
		*line_end = '\0'; /* of the text's own end too: there is a byte behind it */
		status = line_read(p, at, line_end, ++number);
		at = line_end + 1;
	}
	return status;
}
