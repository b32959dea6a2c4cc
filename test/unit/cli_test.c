/*
 * The command line: what is an option of ours and what is the command's, times, and which setting
 * wins.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "multi_words.h"

static int run_nothing(const struct cli *c)
{
	return c->json ? 0 : 1;
}

static const struct command lock_command = {
	.name = "lock",
	.takes = TAKES_TRY | TAKES_SHARED | TAKES_LOCK_DELAY | TAKES_LEASE | TAKES_KILL_AFTER |
		 TAKES_COMMAND,
	.least = 1,
	.most = -1,
	.run = run_nothing,
};

static const struct command put_command = {
	.name = "put", .takes = TAKES_GENERATION, .least = 1, .most = 2, .run = run_nothing};

static const struct command words_command = {
	.name = "multi", .takes = TAKES_WORDS, .least = 1, .most = -1, .run = run_nothing};

#define WORDS_MAX 12

struct line_row {
	const struct command *command;
	const char *words[WORDS_MAX];
	int want_status;
	const char *want_arguments[WORDS_MAX];
};

/* Options and arguments in any order; a command under a lock keeps its own options. */
static void arguments_and_options(void **state)
{
	static const struct line_row rows[] = {
		{&put_command, {"put", "/ls/local/a", "1"}, 0, {"/ls/local/a", "1"}},
		{&put_command, {"put", "/ls/local/a", "--json", "1"}, 0, {"/ls/local/a", "1"}},
		{&put_command, {"put", "--", "/ls/local/a", "-x"}, 0, {"/ls/local/a", "-x"}},
		{&put_command, {"put", "/ls/local/a", "-"}, 0, {"/ls/local/a", "-"}},
		{&put_command, {"put", "--try", "/ls/local/a"}, EXIT_USAGE, {NULL}},
		{&put_command, {"put", "--generation", "0", "/ls/local/a"}, EXIT_USAGE, {NULL}},
		{&put_command, {"put", "--nonsense", "/ls/local/a"}, EXIT_USAGE, {NULL}},
		{&put_command, {"put", "--timeout", "soon", "/ls/local/a"}, EXIT_USAGE, {NULL}},
		{&lock_command, {"lock", "/a", "--", "sh", "-c", "x"}, 0, {"/a", "sh", "-c", "x"}},
		{&lock_command, {"lock", "/a", "sh", "--json"}, 0, {"/a", "sh", "--json"}},
		{&lock_command, {"lock", "/a", "--try", "--", "sh"}, 0, {"/a", "sh"}},
		{&lock_command, {"lock", "--try", "/a", "--", "--", "x"}, 0, {"/a", "--", "x"}},
		{&lock_command, {"lock", "/a"}, 0, {"/a"}},
		{&lock_command, {"lock", "/a", "--lock-delay", "-1", "x"}, EXIT_USAGE, {NULL}},
		{&lock_command, {"lock", "/a", "--lock-delay", "61s", "x"}, EXIT_USAGE, {NULL}},
		{&lock_command, {"lock", "/a", "--lease", "1s", "x"}, 0, {"/a", "x"}},
		{&lock_command, {"lock", "/a", "--lease", "999ms", "x"}, EXIT_USAGE, {NULL}},
		{&lock_command, {"lock", "/a", "--lease", "61s", "x"}, EXIT_USAGE, {NULL}},
		{&words_command,
		 {"multi", "--json", "write", "/a", "--json"},
		 0,
		 {"write", "/a", "--json"}},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cli c = {.command = rows[i].command};
		char *argv[WORDS_MAX + 1] = {NULL};
		int argc = 0, status;

		for (; rows[i].words[argc] != NULL; argc++)
			argv[argc] = strdup(rows[i].words[argc]);
		char *owned[WORDS_MAX + 1];

		memcpy(owned, argv, sizeof(argv));
		status = options_parse(&c, argc, argv);
		if (status != rows[i].want_status)
			fail_msg("row %zu: status %d", i, status);
		for (int j = 0; status == 0 && (j == 0 || rows[i].want_arguments[j - 1] != NULL);
		     j++) {
			const char *want = rows[i].want_arguments[j];

			if (want == NULL)
				assert_int_equal(c.argument_count, j);
			else
				assert_string_equal(c.arguments[j], want);
		}
		for (int j = 0; j < argc; j++)
			free(owned[j]);
	}
}

/* What was given arrives; what was not keeps "not given". */
static void values_of_options(void **state)
{
	char name[] = "lock", try_only[] = "--try", path[] = "/a", servers[] = "--servers=x:1";
	char delay[] = "--lock-delay", time[] = "50s", command[] = "x", after[] = "--json";
	char *argv[] = {name, try_only, delay, time, path, servers, command, after, NULL};
	struct cli c = {.command = &lock_command};

	assert_int_equal(options_parse(&c, 8, argv), 0);
	assert_true(c.try_only);
	assert_false(c.json);
	assert_int_equal(c.lock_delay_ms, 50000);
	assert_int_equal(c.kill_after_ms, KILL_AFTER_DEFAULT_MS);
	assert_int_equal(c.settings.timeout_ms, -1);
	assert_string_equal(c.settings.servers, "x:1");
	assert_null(c.settings.cell);
	assert_int_equal(c.argument_count, 3);
}

/* Times have a unit, or are seconds; nothing else is taken for one. */
static void durations(void **state)
{
	static const struct {
		const char *text;
		int64_t want_ms; /* -1: refused */
	} rows[] = {
		{"5", 5000},   {"5s", 5000}, {"250ms", 250}, {"2m", 120000}, {"1h", 3600000},
		{"1.5", 1500}, {"0", 0},     {"", -1},       {"-1", -1},     {"5x", -1},
		{"5 s", -1},   {"1e3", -1},  {"0x10", -1},   {"inf", -1},    {"99999999999h", -1},
		{"s", -1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t ms = -1;
		bool taken = duration_parse(rows[i].text, &ms);

		if (taken != (rows[i].want_ms >= 0) || ms != rows[i].want_ms)
			fail_msg("\"%s\": %lld", rows[i].text, (long long)ms);
	}
}

/* A file fills in what is open, and overrides nothing. */
static void settings_from_a_file(void **state)
{
	struct settings s = {.cell = "mine", .timeout_ms = -1};

	assert_true(settings_read_text(&s, "file",
				       "# a comment\nservers = a:1,b:2\ncell = theirs\n"
				       "timeout = 3s\n[other]\nanything = goes\n"));
	assert_string_equal(s.servers, "a:1,b:2");
	assert_string_equal(s.cell, "mine");
	assert_int_equal(s.timeout_ms, 3000);
	free((void *)(uintptr_t)s.servers);
}

/* A misspelt name and a line that is none are errors, not silence. */
static void settings_refused(void **state)
{
	static const char *const texts[] = {"server = a:1\n", "timeout = later\n", "nothing\n"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct settings s = {.timeout_ms = -1};

		assert_false(settings_read_text(&s, "file", texts[i]));
		assert_null(s.servers);
	}
}

/* Command line over environment. */
static void environment(void **state)
{
	struct settings given = {.servers = "flag:1", .timeout_ms = -1};
	struct settings open = {.timeout_ms = -1}, wrong = {.timeout_ms = -1};

	setenv("HOME", "/nonexistent", 1);
	unsetenv("XDG_CONFIG_HOME");
	setenv("CHUBBY_SERVERS", "environment:1", 1);
	setenv("CHUBBY_TIMEOUT", "7", 1);
	assert_int_equal(settings_complete(&given), 0);
	assert_string_equal(given.servers, "flag:1");
	assert_int_equal(settings_complete(&open), 0);
	assert_string_equal(open.servers, "environment:1");
	assert_int_equal(open.timeout_ms, 7000);
	setenv("CHUBBY_TIMEOUT", "x", 1);
	assert_int_equal(settings_complete(&wrong), EXIT_USAGE);
}

static void ages(void **state)
{
	static const struct {
		int64_t ms;
		const char *want;
	} rows[] = {{-5, "0s"},          {59999, "59s"},     {60000, "1m00s"},
		    {3599000, "59m59s"}, {7500000, "2h05m"}, {90000000, "1d01h"}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[32];

		age_format(rows[i].ms, text, sizeof(text));
		assert_string_equal(text, rows[i].want);
	}
}

/* Contents need not be text: JSON is valid all the same. */
static void json_of_any_bytes(void **state)
{
	static const uint8_t raw[] = {'a', 0, 0xFF, 0xC3};
	json_t *j = json_of_bytes((struct bytes){raw, sizeof(raw)});

	assert_true(json_is_string(j));
	assert_int_equal(json_string_length(j), 6);
	json_decref(j);
}

/* A misspelt word is met with what is near it, and with nothing if nothing is. */
static void nearest_words(void **state)
{
	static const char *const names[] = {"lock", "locks", "ls", "sessions", "session", "put"};
	static const struct {
		const char *word, *want; /* the first; NULL: none */
		size_t count;
	} rows[] = {
		{"lokc", "lock", 1},       {"lcok", "lock", 1},     {"loc", "lock", 2},
		{"sessoin", "session", 1}, {"sess", "sessions", 2}, {"puts", "put", 1},
		{"zebra", NULL, 0},        {"", NULL, 0},           {"x", NULL, 0},
		{"xyz", NULL, 0},
	};
	static const char *const words[] = {"a", "b", "c"};
	char long_word[200], text[80];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *found[NEAREST_MAX] = {NULL};
		size_t count = nearest(rows[i].word, names, 6, found);

		if (count != rows[i].count || (count > 0 && strcmp(found[0], rows[i].want) != 0))
			fail_msg("\"%s\": %zu, %s", rows[i].word, count,
				 count > 0 ? found[0] : "-");
	}
	memset(long_word, 'l', sizeof(long_word) - 1);
	long_word[sizeof(long_word) - 1] = '\0';
	assert_int_equal(nearest(long_word, names, 6, (const char *[NEAREST_MAX]){NULL}), 0);
	nearest_format(words, 3, "--", text, sizeof(text));
	assert_string_equal(text, "; did you mean --a, --b or --c?");
	nearest_format(words, 0, "", text, sizeof(text));
	assert_string_equal(text, "");
}

static int plan_text(struct multi_plan *p, const char *text, char **ret_copy)
{
	size_t size = strlen(text);

	/* Exactly the room that is promised: a sanitizer sees whoever goes beyond. */
	*ret_copy = malloc(size + 1);
	memcpy(*ret_copy, text, size);
	*p = (struct multi_plan){0};
	return multi_plan_read(p, *ret_copy, size);
}

/* Lines become operations; quotes and escapes give any bytes. */
static void multi_lines(void **state)
{
	struct multi_plan p;
	char *copy;

	assert_int_equal(plan_text(&p,
				   "# nothing\n\n exists  /a\r\n"
				   "generation /a 18446744073709551615\n"
				   "write /a \"x\\x00\\n\"'\"\\'z\ncreate '/b c' ''\nmkdir /d",
				   &copy),
			 0);
	assert_int_equal(p.count, 5);
	assert_int_equal(p.ops[0].kind, CHUBBY_GUARD_EXISTS);
	assert_int_equal(p.lines[0], 3);
	assert_true(p.ops[1].number == UINT64_MAX);
	assert_int_equal(p.ops[2].size_bytes, 6);
	assert_memory_equal(p.ops[2].data, "x\0\n\"\\z", 6);
	assert_string_equal(p.ops[3].path, "/b c");
	assert_int_equal(p.ops[3].size_bytes, 0);
	assert_int_equal(p.ops[4].node_kind, CHUBBY_DIR);
	free(copy);
}

/* What is no operation is refused whole, wherever it breaks off. */
static void multi_lines_refused(void **state)
{
	static const char *const texts[] = {
		"write /a",
		"write /a 'x",
		"write /a \"x",
		"write /a \"\\",
		"write /a \"\\x0",
		"write /a \"\\q\"",
		"exists /a /b",
		"exists a",
		"exists",
		"token /a x",
		"token /a 1x",
		"token /a -1",
		"'' /a",
		"\"exists\\x00\" /a",
		"exists \"/a\\x00\"",
		"-- exists /a",
		"delete /a\nexists /b",
		"a b c d e f g h i j",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct multi_plan p;
		char *copy;

		if (plan_text(&p, texts[i], &copy) != EXIT_USAGE)
			fail_msg("taken: %s", texts[i]);
		free(copy);
	}
}

/* Whatever is typed, the plan keeps to its room and to its text. */
static void multi_lines_random(void **state)
{
	static const char *const pieces[] = {"exists ", "/a ",    "write ", "'",
					     "\"",      "\\",     "x41",    "\n",
					     "1 ",      "token ", "# ",     "delete /a\n"};
	uint32_t seed = 1;

	for (int round = 0; round < 20000; round++) {
		struct multi_plan p;
		char text[256], *copy;
		size_t used = 0;

		for (int i = 0; i < 20; i++) {
			seed = seed * 1664525 + 1013904223;
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s",
						 pieces[(seed >> 16) % 12]);
		}
		if (plan_text(&p, text, &copy) == 0) {
			for (size_t i = 0; i < p.count; i++)
				assert_int_equal(p.ops[i].path[0], '/');
		}
		free(copy);
	}
}

/* On the command line the words say what follows them, for completion as for the parser. */
static void multi_wanted_words(void **state)
{
	char exists[] = "exists", path[] = "/a", write[] = "write", dashes[] = "--";
	char *const words[] = {exists, path, dashes, write, path};

	assert_int_equal(multi_word_wanted(words, 0), MULTI_WANTS_KIND);
	assert_int_equal(multi_word_wanted(words, 1), MULTI_WANTS_PATH);
	assert_int_equal(multi_word_wanted(words, 2), MULTI_WANTS_KIND);
	assert_int_equal(multi_word_wanted(words, 3), MULTI_WANTS_KIND);
	assert_int_equal(multi_word_wanted(words, 4), MULTI_WANTS_PATH);
	assert_int_equal(multi_word_wanted(words, 5), MULTI_WANTS_VALUE);
}

/* Percentiles are those of all samples, by nearest rank. */
static void percentiles(void **state)
{
	struct samples all = {0}, part = {0};

	assert_int_equal(samples_percentile(&all, 50), 0);
	for (int64_t us = 100; us > 0; us--)
		assert_true(samples_add(us % 2 == 0 ? &all : &part, us * 1000));
	samples_move(&all, &part);
	samples_sort(&all);
	assert_int_equal(part.count, 0);
	assert_int_equal(all.count, 100);
	assert_int_equal(samples_percentile(&all, 50), 50);
	assert_int_equal(samples_percentile(&all, 99), 99);
	assert_int_equal(samples_percentile(&all, 100), 100);
	assert_int_equal(samples_percentile(&all, 0), 1);
	samples_release(&all);
	assert_true(samples_add(&part, 7000));
	assert_int_equal(samples_percentile(&part, 1), 7);
	assert_int_equal(samples_percentile(&part, 99), 7);
	samples_release(&part);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_and_options),
		cmocka_unit_test(values_of_options),
		cmocka_unit_test(durations),
		cmocka_unit_test(settings_from_a_file),
		cmocka_unit_test(settings_refused),
		cmocka_unit_test(environment),
		cmocka_unit_test(ages),
		cmocka_unit_test(json_of_any_bytes),
		cmocka_unit_test(nearest_words),
		cmocka_unit_test(multi_lines),
		cmocka_unit_test(multi_lines_refused),
		cmocka_unit_test(multi_lines_random),
		cmocka_unit_test(multi_wanted_words),
		cmocka_unit_test(percentiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
