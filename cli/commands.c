/*
 * The commands, in one table, and what --help says of them.
 */
#include "cli.h"

#include <string.h>

/* What a synopsis may take beside its summary in the overview. */
#define SYNOPSIS_COLUMNS 26u

static int command_help(const struct cli *c);

static const struct command commands[] = {
	{
		.name = "lock",
		.group = "Locks",
		.synopsis = "PATH [-- COMMAND…]",
		.summary = "run a command under a lock, or hold it until interrupted",
		.details =
			"Creates the node if there is none. The command finds CHUBBY_LOCK_PATH,\n"
			"CHUBBY_SEQUENCER and CHUBBY_FENCING_TOKEN in its environment; its exit\n"
			"status is passed on (128+n if signal n ended it). If the lock may be\n"
			"lost, the command and what it started get SIGTERM, later SIGKILL, and\n"
			"the status is 76. The lock is waited for without limit, the cell for\n"
			"ten seconds; --timeout sets both.\n",
		.takes = TAKES_TRY | TAKES_SHARED | TAKES_LOCK_DELAY | TAKES_LEASE |
			 TAKES_KILL_AFTER | TAKES_COMMAND,
		.least = 1,
		.most = -1,
		.first = ARGUMENT_PATH,
		.then = ARGUMENT_COMMAND_LINE,
		.run = command_lock,
	},
	{
		.name = "locks",
		.group = "Locks",
		.synopsis = "[PATH]",
		.summary = "who holds which lock, and who waits",
		.details = "With PATH only that node and what is below it; exit status 2 if there\n"
			   "is no such node.\n",
		.takes = TAKES_ALL,
		.least = 0,
		.most = 1,
		.first = ARGUMENT_PATH,
		.run = command_locks,
	},
	{
		.name = "who",
		.group = "Locks",
		.synopsis = "PATH",
		.summary = "who holds this one lock, and who waits for it",
		.details =
			"Exit status 0 if somebody holds it, 1 if nobody does, 2 if there is no\n"
			"such node.\n",
		.least = 1,
		.most = 1,
		.first = ARGUMENT_PATH,
		.run = command_who,
	},
	{
		.name = "check",
		.group = "Locks",
		.synopsis = "SEQUENCER",
		.summary = "does the sequencer's lock still stand?",
		.details = "Exit status 0 if it does, 3 if it does not.\n",
		.least = 1,
		.most = 1,
		.run = command_check,
	},
	{
		.name = "ls",
		.group = "Nodes",
		.synopsis = "[PATH]",
		.summary = "list a directory",
		.details = "Without PATH: the cell's root. Directories end with \"/\".\n",
		.takes = TAKES_LONG,
		.least = 0,
		.most = 1,
		.first = ARGUMENT_PATH,
		.run = command_ls,
	},
	{
		.name = "cat",
		.group = "Nodes",
		.synopsis = "PATH",
		.summary = "print a file's contents",
		.details = "",
		.least = 1,
		.most = 1,
		.first = ARGUMENT_PATH,
		.run = command_cat,
	},
	{
		.name = "put",
		.group = "Nodes",
		.synopsis = "PATH [VALUE|-]",
		.summary = "write a file, making it if there is none",
		.details = "With \"-\", or without a value, the contents come from standard input\n"
			   "(at most 256 KiB).\n",
		.takes = TAKES_GENERATION,
		.least = 1,
		.most = 2,
		.first = ARGUMENT_PATH,
		.run = command_put,
	},
	{
		.name = "mkdir",
		.group = "Nodes",
		.synopsis = "PATH",
		.summary = "make a directory",
		.details = "",
		.takes = TAKES_PARENTS,
		.least = 1,
		.most = 1,
		.first = ARGUMENT_PATH,
		.run = command_mkdir,
	},
	{
		.name = "rm",
		.group = "Nodes",
		.synopsis = "PATH",
		.summary = "remove a file, or an empty directory",
		.details = "",
		.least = 1,
		.most = 1,
		.first = ARGUMENT_PATH,
		.run = command_rm,
	},
	{
		.name = "stat",
		.group = "Nodes",
		.synopsis = "PATH",
		.summary = "show a node's metadata",
		.details = "",
		.least = 1,
		.most = 1,
		.first = ARGUMENT_PATH,
		.run = command_stat,
	},
	{
		.name = "multi",
		.group = "Nodes",
		.synopsis = "GUARD… [--] OPERATION… | -",
		.summary = "conditions and changes in one instant: all or nothing",
		.details =
			"Guards\n"
			"  exists PATH            there is such a node\n"
			"  absent PATH            there is none\n"
			"  generation PATH N      of its contents, as `chubby stat` shows it\n"
			"  holder PATH SESSION    that session holds the lock\n"
			"  token PATH N           the lock is held with this fencing token\n"
			"Operations\n"
			"  create PATH CONTENTS   a new file\n"
			"  mkdir PATH             a new directory\n"
			"  write PATH CONTENTS    of a file that is there\n"
			"  delete PATH            a file, or an empty directory\n"
			"\n"
			"At most 64, guards first. With \"-\" they come from standard input,\n"
			"one a line, words quoted if need be: 'literally', or with escapes,\n"
			"\"\\n \\t \\\" \\\\ \\xHH\". A line that begins with # is none.\n"
			"CONTENTS of \"-\" on the command line is standard input. If one fails,\n"
			"nothing is done; it is named, and the status is its own: 1 for a\n"
			"guard or a conflict, 2 if a node is not found.\n",
		.takes = TAKES_WORDS,
		.least = 1,
		.most = -1,
		.first = ARGUMENT_MULTI,
		.then = ARGUMENT_MULTI,
		.run = command_multi,
	},
	{
		.name = "status",
		.group = "Cell",
		.synopsis = "",
		.summary = "replicas, master, and how many more may fail",
		.details =
			"Asks every server of the list, then the replicas that the answers name;\n"
			"each has 1.5 seconds to answer, or --timeout. Exit status 69 if there\n"
			"is no master.\n",
		.least = 0,
		.most = 0,
		.run = command_status,
	},
	{
		.name = "sessions",
		.group = "Cell",
		.synopsis = "",
		.summary = "who is there: the sessions of the cell",
		.details = "LEFT is what remains of the lease if nothing more is heard.\n",
		.least = 0,
		.most = 0,
		.run = command_sessions,
	},
	{
		.name = "session",
		.group = "Cell",
		.synopsis = "end ID",
		.summary = "end a session: its locks go, after their lock-delay",
		.details =
			"Its waiting calls end, its ephemeral nodes go. Exit status 2 if there is\n"
			"no such session.\n",
		.least = 2,
		.most = 2,
		.first = ARGUMENT_SESSION_VERB,
		.then = ARGUMENT_SESSION_ID,
		.run = command_session,
	},
	{
		.name = "bench",
		.group = "Cell",
		.synopsis = "",
		.summary = "measure this cell, for a few seconds",
		.details =
			"Loads the cell while it runs, and asks nothing before. Latency of one\n"
			"client, then rates of several: each with its own lock, all with one\n"
			"lock, writes of 100 bytes, and reads. The clients are threads of this\n"
			"process. Its nodes are ephemeral, below /ls/CELL/bench-SESSION, and are\n"
			"gone when it ends.\n",
		.takes = TAKES_SIZE,
		.least = 0,
		.most = 0,
		.run = command_bench,
	},
	{
		.name = "version",
		.group = "Cell",
		.synopsis = "",
		.summary = "print the version",
		.details = "",
		.least = 0,
		.most = 0,
		.run = command_version,
	},
	{
		.name = "help",
		.group = "Cell",
		.synopsis = "[COMMAND]",
		.summary = "explain a command",
		.details = "",
		.least = 0,
		.most = 1,
		.first = ARGUMENT_COMMAND_NAME,
		.run = command_help,
	},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

const struct command *commands_all(size_t *ret_count)
{
	*ret_count = COMMAND_COUNT;
	return commands;
}

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

int command_unknown(const char *name)
{
	const char *names[COMMAND_COUNT], *found[NEAREST_MAX];
	char meant[160];

	for (size_t i = 0; i < COMMAND_COUNT; i++)
		names[i] = commands[i].name;
	nearest_format(found, nearest(name, names, COMMAND_COUNT, found), "", meant, sizeof(meant));
	say("there is no command \"%s\"%s (`chubby help` lists them)", name, meant);
	return EXIT_USAGE;
}

void print_overview(FILE *f)
{
	const char *group = "";
	size_t columns;

	fputs("usage: chubby COMMAND [OPTION…] [ARGUMENT…]\n", f);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(group, commands[i].group) != 0)
			fprintf(f, "\n%s\n", commands[i].group);
		group = commands[i].group;
		columns = text_columns(bytes_of_text(commands[i].synopsis));
		fprintf(f, "  %-8s %s%*s %s\n", commands[i].name, commands[i].synopsis,
			columns < SYNOPSIS_COLUMNS ? (int)(SYNOPSIS_COLUMNS - columns) : 0, "",
			commands[i].summary);
	}
	fputs("\nEvery command takes --servers, --cell, --timeout, --json and --help.\n"
	      "Paths are /ls/CELL/NAME/…; `chubby help COMMAND` tells more, chubby(1) all.\n",
	      f);
}

void print_command(FILE *f, const struct command *m)
{
	const struct option_row *rows;
	size_t count;

	fprintf(f, "usage: chubby %s [OPTION…]%s%s\n\n%c%s%s\n%s\nOptions\n", m->name,
		m->synopsis[0] != '\0' ? " " : "", m->synopsis,
		m->summary[0] - (m->summary[0] >= 'a' && m->summary[0] <= 'z' ? 'a' - 'A' : 0),
		m->summary + 1, m->summary[strlen(m->summary) - 1] == '?' ? "" : ".", m->details);
	rows = options_all(&count);
	for (size_t i = 0; i < count; i++) {
		char left[40], letter[8] = "";

		if (!option_belongs(&rows[i], m))
			continue;
		if (rows[i].id < 256)
			snprintf(letter, sizeof(letter), "-%c, ", rows[i].id);
		snprintf(left, sizeof(left), "%s--%s%s%s", letter, rows[i].name,
			 rows[i].value != NULL ? " " : "",
			 rows[i].value != NULL ? rows[i].value : "");
		fprintf(f, "  %-20s %s\n", left, rows[i].help);
	}
	fputs("A TIME is 5, 5s, 250ms or 2m.\n", f);
}

static int command_help(const struct cli *c)
{
	const struct command *m;

	if (c->argument_count == 0) {
		print_overview(stdout);
		return 0;
	}
	m = command_find(c->arguments[0]);
	if (m == NULL)
		return command_unknown(c->arguments[0]);
	print_command(stdout, m);
	return 0;
}

int command_version(const struct cli *c)
{
	if (c->json)
		return print_json(json_pack("{s:s}", "version", chubby_version()));
	printf("chubby %s\n", chubby_version());
	return 0;
}
