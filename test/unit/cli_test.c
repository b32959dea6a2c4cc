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

#include "cli.h"

static int run_nothing(const struct cli *c)
{
	return c->json ? 0 : 1;
}

static const struct command lock_command = {
	.name = "lock",
	.takes = TAKES_TRY | TAKES_SHARED | TAKES_LOCK_DELAY | TAKES_KILL_AFTER | TAKES_COMMAND,
	.least = 1,
	.most = -1,
	.run = run_nothing,
};

static const struct command put_command = {
	.name = "put", .takes = TAKES_GENERATION, .least = 1, .most = 2, .run = run_nothing};

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
