/*
 * Histories, and their text.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "lin.h"

#define LINE_MAX_BYTES 512
#define WORDS_MAX 16

static const char *const verbs[LIN_VERBS] = {
	[LIN_ACQUIRE] = "acquire", [LIN_RELEASE] = "release", [LIN_CHECK] = "check",
	[LIN_EXPIRE] = "expire",   [LIN_BAR] = "bar",         [LIN_UNBAR] = "unbar",
	[LIN_READ] = "read",       [LIN_WRITE] = "write",     [LIN_CAS] = "cas",
	[LIN_CREATE] = "create",   [LIN_DELETE] = "delete",
};

/* ---- histories ------------------------------------------------------------------------------ */

static void names_free(char **names, uint32_t count)
{
	for (uint32_t i = 0; names != NULL && i < count; i++)
		free(names[i]);
	free(names);
}

void lin_release(struct lin_history *h)
{
	names_free(h->objects, h->object_count);
	names_free(h->whos, h->who_count);
	free(h->ops);
	memset(h, 0, sizeof(*h));
}

/* Room below `count`; those that nobody named have no name. */
static void names_reach(char ***names, uint32_t *have, uint32_t count)
{
	if (count <= *have)
		return;
	if (*names != NULL) {
		*names = mem_realloc_array(*names, count, sizeof(char *));
		memset(*names + *have, 0, (count - *have) * sizeof(char *));
	}
	*have = count;
}

static uint32_t name_number(char ***names, uint32_t *count, const char *name)
{
	uint32_t at = *count;

	if (*names == NULL)
		*names = mem_zalloc((at + 1) * sizeof(char *));
	for (uint32_t i = 0; i < at; i++)
		if ((*names)[i] != NULL && strcmp((*names)[i], name) == 0)
			return i;
	names_reach(names, count, at + 1);
	(*names)[at] = mem_strdup(name);
	return at;
}

uint32_t lin_object(struct lin_history *h, const char *name)
{
	return name_number(&h->objects, &h->object_count, name);
}

uint32_t lin_who(struct lin_history *h, const char *name)
{
	return name_number(&h->whos, &h->who_count, name);
}

void lin_add(struct lin_history *h, const struct lin_op *op)
{
	CHECK(op->verb < LIN_VERBS);
	if (h->count == h->capacity) {
		h->capacity = h->capacity * 2 + 64;
		h->ops = mem_realloc_array(h->ops, h->capacity, sizeof(*h->ops));
	}
	h->ops[h->count++] = *op;
	names_reach(&h->objects, &h->object_count, op->object + 1);
	names_reach(&h->whos, &h->who_count, (op->who > op->of ? op->who : op->of) + 1);
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool read_number(const char *text, uint64_t *ret_number)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*ret_number = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

static bool read_time(const char *text, int64_t *ret_ns)
{
	uint64_t n;

	if (strcmp(text, "-") == 0) {
		*ret_ns = LIN_NEVER;
		return true;
	}
	if (!read_number(text, &n) || n >= (uint64_t)LIN_NEVER)
		return false;
	*ret_ns = (int64_t)n;
	return true;
}

static bool read_revision(struct lin_op *op, char *text)
{
	char *dot = strchr(text, '.');

	if (dot != NULL)
		*dot = '\0';
	return read_number(text, &op->revision) &&
	       (dot == NULL || read_number(dot + 1, &op->place));
}

static bool read_flag(const char *value, bool *ret_flag)
{
	*ret_flag = strcmp(value, "1") == 0;
	return *ret_flag || strcmp(value, "0") == 0;
}

static bool read_key(struct lin_history *h, struct lin_op *op, const char *key, char *value)
{
	if (strcmp(key, "rev") == 0)
		return read_revision(op, value);
	if (strcmp(key, "token") == 0)
		return read_number(value, &op->token);
	if (strcmp(key, "grant") == 0)
		return read_number(value, &op->grant);
	if (strcmp(key, "value") == 0)
		return read_number(value, &op->value);
	if (strcmp(key, "gen") == 0)
		return read_number(value, &op->generation);
	if (strcmp(key, "expect") == 0)
		return read_number(value, &op->expected);
	if (strcmp(key, "wait") == 0)
		return read_flag(value, &op->waits);
	if (strcmp(key, "delay") == 0)
		return read_flag(value, &op->delays);
	if (strcmp(key, "mode") == 0) {
		op->shared = strcmp(value, "s") == 0;
		return op->shared || strcmp(value, "x") == 0;
	}
	if (strcmp(key, "of") != 0)
		return false;
	op->of = lin_who(h, value);
	return true;
}

static const char *read_verb_and_outcome(struct lin_op *op, char *const *words)
{
	uint32_t verb = 0;

	while (verb < LIN_VERBS && strcmp(verbs[verb], words[2]) != 0)
		verb++;
	if (verb == LIN_VERBS)
		return "the third word is no verb";
	op->verb = (enum lin_verb)verb;
	if (strcmp(words[5], "ok") == 0)
		op->outcome = LIN_OK;
	else if (strcmp(words[5], "no") == 0)
		op->outcome = LIN_NO;
	else if (strcmp(words[5], "?") == 0)
		op->outcome = LIN_UNKNOWN;
	else
		return "the sixth word is none of ok, no, ?";
	if (!read_time(words[3], &op->asked_ns) || op->asked_ns == LIN_NEVER ||
	    !read_time(words[4], &op->answered_ns) || op->answered_ns < op->asked_ns)
		return "the instants are not two numbers, the later one last";
	if (op->outcome == LIN_NO &&
	    (op->verb == LIN_EXPIRE || op->verb == LIN_BAR || op->verb == LIN_UNBAR))
		return "an event of the cell is never refused";
	return NULL;
}

/* Locks and files have no verbs in common. */
static bool suits_object(const struct lin_history *h, const struct lin_op *op)
{
	for (uint32_t i = 0; i < h->count; i++)
		if (h->ops[i].object == op->object)
			return (h->ops[i].verb <= LIN_UNBAR) == (op->verb <= LIN_UNBAR);
	return true;
}

bool lin_parse_line(struct lin_history *h, const char *line, const char **ret_why)
{
	char copy[LINE_MAX_BYTES], *words[WORDS_MAX], *state = NULL, *word;
	struct lin_op op = {0};
	uint32_t count = 0;
	const char *why = "a word is not KEY=VALUE as this verb has them";

	if ((size_t)snprintf(copy, sizeof(copy), "%s", line) >= sizeof(copy)) {
		*ret_why = "the line is too long";
		return false;
	}
	copy[strcspn(copy, "#\r\n")] = '\0';
	for (word = strtok_r(copy, " \t", &state); word != NULL && count < WORDS_MAX;
	     word = strtok_r(NULL, " \t", &state))
		words[count++] = word;
	if (count == 0)
		return true;
	if (count < 6 || word != NULL) {
		*ret_why = "want: OBJECT WHO VERB ASKED ANSWERED OUTCOME [KEY=VALUE]...";
		return false;
	}
	for (uint32_t i = 6; i < count; i++) {
		char *equals = strchr(words[i], '=');

		if (equals != NULL)
			*equals = '\0';
		if (equals == NULL || !read_key(h, &op, words[i], equals + 1)) {
			*ret_why = why;
			return false;
		}
	}
	why = read_verb_and_outcome(&op, words);
	if (why != NULL) {
		*ret_why = why;
		return false;
	}
	op.object = lin_object(h, words[0]);
	op.who = lin_who(h, words[1]);
	if (!suits_object(h, &op)) {
		*ret_why = "an object is a lock or a file, not both";
		return false;
	}
	lin_add(h, &op);
	return true;
}

/* ---- writing -------------------------------------------------------------------------------- */

struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void say(struct text *t, const char *format, ...)
{
	va_list arguments;
	int n;

	va_start(arguments, format);
	n = vsnprintf(t->at, t->left, format, arguments);
	va_end(arguments);
	if (n < 0 || (size_t)n >= t->left)
		n = t->left > 0 ? (int)t->left - 1 : 0;
	t->at += n;
	t->left -= (size_t)n;
}

static void say_name(struct text *t, char *const *names, uint32_t number, char letter)
{
	if (names != NULL && names[number] != NULL)
		say(t, "%s", names[number]);
	else
		say(t, "%c%u", letter, number);
}

static void say_number(struct text *t, const char *key, uint64_t n)
{
	if (n != 0)
		say(t, " %s=%" PRIu64, key, n);
}

static void say_keys(struct text *t, const struct lin_history *h, const struct lin_op *op)
{
	if (op->revision != 0)
		say(t, " rev=%" PRIu64 ".%" PRIu64, op->revision, op->place);
	if (op->verb == LIN_ACQUIRE || op->verb == LIN_BAR)
		say(t, " mode=%c", op->shared ? 's' : 'x');
	if (op->verb == LIN_CHECK) {
		say(t, " of=");
		say_name(t, h->whos, op->of, 'p');
	}
	say_number(t, "token", op->token);
	say_number(t, "grant", op->grant);
	say_number(t, "wait", op->waits);
	say_number(t, "delay", op->delays);
	say_number(t, "expect", op->expected);
	if (op->verb >= LIN_READ)
		say(t, " value=%" PRIu64, op->value);
	say_number(t, "gen", op->generation);
}

void lin_print(const struct lin_history *h, const struct lin_op *op, char *text, size_t size)
{
	static const char *const outcomes[] = {"ok", "no", "?"};
	struct text t = {text, size};

	say_name(&t, h->objects, op->object, 'o');
	say(&t, " ");
	say_name(&t, h->whos, op->who, 'p');
	say(&t, " %s %" PRId64 " ", verbs[op->verb], op->asked_ns);
	if (op->answered_ns == LIN_NEVER)
		say(&t, "-");
	else
		say(&t, "%" PRId64, op->answered_ns);
	say(&t, " %s", outcomes[op->outcome]);
	say_keys(&t, h, op);
}
