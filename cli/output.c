#include "cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "wire/path.h"

void say(const char *format, ...)
{
	va_list arguments;

	fputs("chubby: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static const char *hint_of(enum chubby_code code)
{
	switch (code) {
	case CHUBBY_BUSY:
	case CHUBBY_LOCK_HELD:
	case CHUBBY_DEADLINE_EXCEEDED:
		return "`chubby locks` shows who holds it";
	case CHUBBY_UNAVAILABLE:
	case CHUBBY_OUTCOME_UNKNOWN:
		return "`chubby status` shows which replicas answer";
	case CHUBBY_NOT_EMPTY:
		return "remove what is in it first";
	case CHUBBY_GENERATION_MISMATCH:
		return "`chubby stat` shows the current generation";
	case CHUBBY_IS_DIRECTORY:
		return "`chubby ls` lists directories";
	case CHUBBY_WRONG_CELL:
		return "paths begin with /ls/CELL; --cell names the cell";
	default:
		return NULL;
	}
}

int failure(const struct chubby_error *e)
{
	const char *hint = hint_of(e->code);

	if (hint != NULL)
		say("%s (%s)", e->message, hint);
	else
		say("%s", e->message);
	return error_exit_code((enum error)e->code);
}

int failure_at(const struct chubby_error *e, const char *path, int flags)
{
	const char *slash = strrchr(path, '/');

	/* Below the root, which is always there. */
	if (e->code != CHUBBY_NOT_FOUND || (flags & CHUBBY_CREATE) == 0 || slash == NULL)
		return failure(e);
	say("%s (its directory is missing: `chubby mkdir -p %.*s` makes it)", e->message,
	    (int)(slash - path), path);
	return error_exit_code((enum error)e->code);
}

int print_json(json_t *value)
{
	int result;

	CHECK(value != NULL);
	result = json_dumpf(value, stdout,
			    JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
	json_decref(value);
	if (result != 0 || putchar('\n') == EOF || fflush(stdout) != 0) {
		say("standard output: cannot write");
		return 1;
	}
	return 0;
}

json_t *json_of_bytes(struct bytes b)
{
	json_t *j = text_valid(b) ? json_stringn((const char *)b.data, b.size) : NULL;
	char *text;
	size_t used = 0;

	if (j != NULL)
		return j;
	if (b.size == 0)
		return json_string("");
	/* No text: each byte beyond ASCII becomes the code point of the same number. */
	text = mem_alloc(b.size * 2);
	for (size_t i = 0; i < b.size; i++) {
		if (b.data[i] < 0x80) {
			text[used++] = (char)b.data[i];
		} else {
			text[used++] = (char)(0xC0 | (b.data[i] >> 6));
			text[used++] = (char)(0x80 | (b.data[i] & 0x3F));
		}
	}
	j = json_stringn(text, used);
	free(text);
	return j != NULL ? j : json_null();
}

int input_read(size_t max_bytes, uint8_t **ret_data, size_t *ret_size)
{
	/* One byte more than is allowed is enough to know, and room for a NUL behind. */
	uint8_t *data = mem_alloc(max_bytes + 1);
	size_t size = fread(data, 1, max_bytes + 1, stdin);

	if (ferror(stdin)) {
		say("standard input: cannot read");
	} else if (size > max_bytes) {
		say("standard input: more than %zu KiB", max_bytes >> 10);
	} else {
		*ret_data = data;
		*ret_size = size;
		return 0;
	}
	free(data);
	return 1;
}

void print_bytes(struct bytes b)
{
	for (size_t i = 0; i < b.size; i++)
		putchar(b.data[i] < 0x20 || b.data[i] == 0x7F ? '?' : b.data[i]);
}

size_t text_columns(struct bytes b)
{
	size_t columns = 0;

	for (size_t i = 0; i < b.size; i++)
		columns += (b.data[i] & 0xC0) != 0x80 ? 1 : 0;
	return columns;
}

const char *mode_name(enum wire_lock_mode mode)
{
	switch (mode) {
	case WIRE_LOCK_SHARED:
		return "shared";
	case WIRE_LOCK_EXCLUSIVE:
		return "exclusive";
	default:
		return "free";
	}
}

void age_format(int64_t ms, char *text, size_t size_bytes)
{
	long long s = ms > 0 ? (long long)(ms / 1000) : 0;

	if (s < 60)
		snprintf(text, size_bytes, "%llds", s);
	else if (s < 3600)
		snprintf(text, size_bytes, "%lldm%02llds", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, size_bytes, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else
		snprintf(text, size_bytes, "%lldd%02lldh", s / 86400, s / 3600 % 24);
}

void time_format(int64_t unix_ms, char *text, size_t size_bytes)
{
	time_t t = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (unix_ms <= 0 || gmtime_r(&t, &tm) == NULL ||
	    strftime(text, size_bytes, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		snprintf(text, size_bytes, "-");
}
