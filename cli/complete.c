/*
 * chubby .complete: what may follow on a command line that a shell is asked to complete.
 *
 * The arguments are the words behind `chubby`, up to the cursor; the last is the one to complete,
 * perhaps empty. Each candidate is a line: the whole word, a tab, and what it is, if there is
 * something to say. The only line ".command N" says that the words from the N-th on (from 1) are a
 * command of their own, which the shell knows better. No candidates: nothing, and status 0.
 *
 * Paths and sessions are asked of the cell, which has a moment to answer.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "multi_words.h"

#define PATIENCE_MS 700
#define CANDIDATES_MAX 2000u

/* What stands before the word to complete. */
struct line {
	struct cli cli;
	const char *word;    /* the one to complete */
	int arguments;       /* that the command has already */
	bool no_options;     /* they are over */
	bool wants_value;    /* the word is the value of an option */
	int command_line_at; /* where another program's command line begins; 0: nowhere */
};

/* Whatever the command waits for: its completion does not. */
static struct cli impatient(const struct line *l)
{
	static const struct command plain = {.takes = 0};
	struct cli c = l->cli;

	c.command = &plain;
	return c;
}

static void offer(const struct line *l, const char *candidate, const char *what)
{
	if (strncmp(candidate, l->word, strlen(l->word)) == 0)
		printf("%s%s%s\n", candidate, what[0] != '\0' ? "\t" : "", what);
}

/* ---- reading the line ----------------------------------------------------------------------- */

/* Where to ask, if the line says so. */
static void setting_take(struct line *l, const char *option, const char *value)
{
	if (strncmp(option, "--servers", 9) == 0)
		l->cli.settings.servers = value;
	else if (strncmp(option, "--cell", 6) == 0)
		l->cli.settings.cell = value;
}

static void argument_take(struct line *l, const char *word)
{
	const struct command *m = l->cli.command;

	if (m == NULL) {
		l->cli.command = command_find(word);
		/* Of a command that there is not, nothing is known. */
		l->no_options = l->cli.command == NULL;
		l->arguments = l->cli.command == NULL ? -1 : 0;
		return;
	}
	l->arguments++;
	l->no_options = l->no_options || (m->takes & TAKES_WORDS) != 0;
}

static void line_read(struct line *l, int count, char **words)
{
	for (int i = 0; i + 1 < count && l->arguments >= 0; i++) {
		bool own = l->cli.command != NULL && (l->cli.command->takes & TAKES_COMMAND) != 0 &&
			   l->arguments > 0;
		const char *equals = strchr(words[i], '=');

		if (own && (l->no_options || words[i][0] != '-')) {
			l->command_line_at = i + 1;
			return;
		}
		if (l->no_options || words[i][0] != '-' || words[i][1] == '\0') {
			argument_take(l, words[i]);
		} else if (strcmp(words[i], "--") == 0) {
			l->no_options = true;
		} else if (option_wants_value(words[i])) {
			l->wants_value = i + 2 == count;
			if (!l->wants_value)
				setting_take(l, words[i], words[i + 1]);
			i++;
		} else if (equals != NULL) {
			setting_take(l, words[i], equals + 1);
		}
	}
	/* Behind the path everything may be the command; an option still may not. */
	if (l->cli.command != NULL && (l->cli.command->takes & TAKES_COMMAND) != 0 &&
	    l->arguments > 0 && (l->no_options || l->word[0] != '-'))
		l->command_line_at = count;
}

/* ---- what the cell knows -------------------------------------------------------------------- */

static void offer_entries(const struct line *l, const char *directory, const struct chubby_dir *d)
{
	char candidate[4096];

	for (size_t i = 0; i < d->count && i < CANDIDATES_MAX; i++) {
		bool inner = d->entries[i].stat.kind == CHUBBY_DIR;

		snprintf(candidate, sizeof(candidate), "%s/%s%s", directory, d->entries[i].name,
			 inner ? "/" : "");
		offer(l, candidate, inner ? "directory" : "file");
	}
}

/* "/ls/local/a/b": what is in /ls/local/a. */
static void offer_paths(struct line *l)
{
	const char *slash = strrchr(l->word, '/');
	char *directory, root[128];
	struct chubby_handle *h;
	struct chubby_error e;
	struct chubby_dir d;
	struct cli c = impatient(l);
	struct chubby *cell;

	snprintf(root, sizeof(root), "/ls/%s/",
		 l->cli.settings.cell != NULL ? l->cli.settings.cell : "local");
	if (strncmp(root, l->word, strlen(l->word)) == 0 && strlen(l->word) < strlen(root)) {
		offer(l, root, "the cell");
		return;
	}
	if (strncmp(l->word, "/ls/", 4) != 0 || slash - l->word < 4 ||
	    cell_connect(&c, NULL, NULL, NULL, &cell) != 0)
		return;
	directory = mem_strdup(l->word);
	directory[slash - l->word] = '\0';
	if (chubby_open(cell, directory, CHUBBY_READ, NULL, 0, &h, NULL, &e) == CHUBBY_OK &&
	    chubby_read_dir(h, &d, &e) == CHUBBY_OK) {
		offer_entries(l, directory, &d);
		chubby_dir_free(&d);
	}
	free(directory);
	chubby_disconnect(cell);
}

static void offer_sessions(struct line *l)
{
	struct request r = {.kind = MESSAGE_LIST_SESSIONS};
	struct reply reply = {0};
	struct chubby_operator *o;
	struct arena arena;

	if (operator_connect(&l->cli, &o) != 0)
		return;
	if (operator_ask(&l->cli, o, &r, &arena, &reply) == 0) {
		for (uint32_t i = 0; i < reply.list_sessions.count; i++) {
			const struct wire_session_status *s = &reply.list_sessions.sessions[i];
			char id[24], what[200];

			snprintf(id, sizeof(id), "%" PRIu64, s->session.n);
			snprintf(what, sizeof(what), "%.*s: %.*s", (int)s->host.size,
				 s->host.size > 0 ? (const char *)s->host.data : "",
				 (int)s->command.size,
				 s->command.size > 0 ? (const char *)s->command.data : "");
			for (char *p = what; *p != '\0'; p++)
				*p = (unsigned char)*p < ' ' ? '?' : *p;
			offer(l, id, what);
		}
	}
	arena_release(&arena);
	operator_close(o);
}

/* ---- what the tool knows -------------------------------------------------------------------- */

static void offer_options(const struct line *l)
{
	static const struct command any = {.takes = 0};
	const struct command *m = l->cli.command != NULL ? l->cli.command : &any;
	const struct option_row *rows;
	char candidate[40];
	size_t count;

	rows = options_all(&count);
	for (size_t i = 0; i < count; i++) {
		if (!option_belongs(&rows[i], m))
			continue;
		snprintf(candidate, sizeof(candidate), "--%s", rows[i].name);
		offer(l, candidate, rows[i].help);
	}
}

static void offer_commands(const struct line *l)
{
	const struct command *m;
	size_t count;

	m = commands_all(&count);
	for (size_t i = 0; i < count; i++)
		offer(l, m[i].name, m[i].summary);
}

/* A word of `chubby multi`: behind a guard or an operation its path, then its values, then the
 * next. */
static void offer_multi(struct line *l, int count, char **words)
{
	int at = 0;

	while (at < count && strcmp(words[at], "multi") != 0)
		at++;
	CHECK(at + 1 < count);
	switch (multi_word_wanted(&words[at + 1], (size_t)(count - at - 2))) {
	case MULTI_WANTS_PATH:
		offer_paths(l);
		break;
	case MULTI_WANTS_KIND:
		for (size_t i = 0; multi_kind_name(i) != NULL; i++)
			offer(l, multi_kind_name(i), multi_kind_help(i));
		break;
	case MULTI_WANTS_VALUE:
		break; /* nothing to guess */
	}
}

static void offer_argument(struct line *l, int count, char **words)
{
	const struct command *m = l->cli.command;
	enum argument_kind kind = l->arguments == 0 ? m->first : m->then;

	if (m->most >= 0 && l->arguments >= m->most)
		return;
	switch (kind) {
	case ARGUMENT_FREE:
	case ARGUMENT_COMMAND_LINE:
		break;
	case ARGUMENT_PATH:
		offer_paths(l);
		break;
	case ARGUMENT_COMMAND_NAME:
		offer_commands(l);
		break;
	case ARGUMENT_SESSION_VERB:
		offer(l, "end", "end a session");
		break;
	case ARGUMENT_SESSION_ID:
		offer_sessions(l);
		break;
	case ARGUMENT_MULTI:
		offer_multi(l, count, words);
		break;
	}
}

int complete(int argc, char **argv)
{
	struct line l = {.word = argc > 0 ? argv[argc - 1] : "",
			 .cli.settings.timeout_ms = PATIENCE_MS};

	line_read(&l, argc, argv);
	/* A setting that cannot be understood is another command's to complain of. */
	if (l.arguments < 0 || l.wants_value || settings_complete(&l.cli.settings) != 0)
		return 0;
	if (l.command_line_at > 0)
		printf(".command %d\n", l.command_line_at);
	else if (!l.no_options && l.word[0] == '-')
		offer_options(&l);
	else if (l.cli.command == NULL)
		offer_commands(&l);
	else
		offer_argument(&l, argc, argv);
	return fflush(stdout) != 0 ? 1 : 0;
}
