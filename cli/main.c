/*
 * chubby: locks and small files of a Chubby cell, from the shell.
 */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int command_version(const struct cli *c);
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
			"the status is 76.\n",
		.takes = TAKES_TRY | TAKES_SHARED | TAKES_LOCK_DELAY | TAKES_KILL_AFTER |
			 TAKES_COMMAND,
		.least = 1,
		.most = -1,
		.run = command_lock,
	},
	{
		.name = "locks",
		.group = "Locks",
		.synopsis = "[PATH]",
		.summary = "who holds which lock, and who waits",
		.details = "With PATH only that node and what is below it.\n",
		.takes = TAKES_ALL,
		.least = 0,
		.most = 1,
		.run = command_locks,
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
		.run = command_stat,
	},
	{
		.name = "status",
		.group = "Cell",
		.synopsis = "",
		.summary = "replicas, master, and how many more may fail",
		.details = "Asks every server of the list. Exit status 69 if there is no master.\n",
		.least = 0,
		.most = 0,
		.run = command_status,
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
		.run = command_help,
	},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

static void print_overview(FILE *f)
{
	const char *group = "";

	fputs("usage: chubby COMMAND [OPTION…] [ARGUMENT…]\n", f);
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(group, commands[i].group) != 0)
			fprintf(f, "\n%s\n", commands[i].group);
		group = commands[i].group;
		fprintf(f, "  %-8s %-22s %s\n", commands[i].name, commands[i].synopsis,
			commands[i].summary);
	}
	fputs("\nEvery command takes --servers, --cell, --timeout, --json and --help.\n"
	      "Paths are /ls/CELL/NAME/…; `chubby help COMMAND` tells more, chubby(1) all.\n",
	      f);
}

static void print_command(FILE *f, const struct command *m)
{
	static const struct {
		unsigned takes;
		const char *text;
	} options[] = {
		{TAKES_TRY, "  --try                do not wait: status 75 if the lock is busy\n"},
		{TAKES_SHARED, "  --shared             a shared lock\n"},
		{TAKES_LOCK_DELAY,
		 "  --lock-delay TIME    how long a failed holder's lock stays claimed (15s)\n"},
		{TAKES_KILL_AFTER, "  --kill-after TIME    from SIGTERM to SIGKILL (5s)\n"},
		{TAKES_LONG,
		 "  -l, --long           kind, size, generation, lock and time as well\n"},
		{TAKES_PARENTS,
		 "  -p, --parents        its parents as well; no error if it exists\n"},
		{TAKES_GENERATION,
		 "  --generation N       only if the contents are still of this generation\n"},
		{TAKES_ALL, "  --all                free ones as well, that were locked before\n"},
	};

	fprintf(f, "usage: chubby %s [OPTION…] %s\n\n%c%s.\n%s\nOptions\n", m->name, m->synopsis,
		m->summary[0] - (m->summary[0] >= 'a' && m->summary[0] <= 'z' ? 'a' - 'A' : 0),
		m->summary + 1, m->details);
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		if (m->takes & options[i].takes)
			fputs(options[i].text, f);
	}
	fprintf(f, "  --timeout TIME       %s\n",
		m->takes & TAKES_COMMAND ? "longest wait for the lock (no limit)"
					 : "longest wait for the cell (10s)");
	fputs("  --servers LIST       host:port,host:port ($CHUBBY_SERVERS)\n"
	      "  --cell NAME          the cell's name ($CHUBBY_CELL, or local)\n"
	      "  --json               one JSON value on standard output\n"
	      "  -h, --help           this text\n"
	      "A TIME is 5, 5s, 250ms or 2m.\n",
	      f);
}

static int command_help(const struct cli *c)
{
	const struct command *m;

	if (c->argument_count == 0) {
		print_overview(stdout);
		return 0;
	}
	m = command_find(c->arguments[0]);
	if (m == NULL) {
		say("there is no command \"%s\"; `chubby help` lists them", c->arguments[0]);
		return EXIT_USAGE;
	}
	print_command(stdout, m);
	return 0;
}

static int command_version(const struct cli *c)
{
	if (c->json)
		return print_json(json_pack("{s:s}", "version", chubby_version()));
	printf("chubby %s\n", chubby_version());
	return 0;
}

/* `chubby --servers X status`: options may stand before the command's name too. */
static int command_position(int argc, char **argv)
{
	static const char *const with_value[] = {"--servers", "--cell", "--timeout"};

	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			return i;
		for (size_t j = 0; j < sizeof(with_value) / sizeof(with_value[0]); j++) {
			if (strcmp(argv[i], with_value[j]) == 0)
				i++;
		}
	}
	return 0;
}

static int command_run(struct cli *c, int argc, char **argv)
{
	const struct command *m = c->command;
	int status = options_parse(c, argc, argv);

	if (status != 0)
		return status;
	if (c->help) {
		print_command(stdout, m);
		return 0;
	}
	if (c->argument_count < m->least || (m->most >= 0 && c->argument_count > m->most)) {
		say("usage: chubby %s [OPTION…] %s (chubby help %s)", m->name, m->synopsis,
		    m->name);
		return EXIT_USAGE;
	}
	status = settings_complete(&c->settings);
	if (status == 0)
		status = m->run(c);
	if (fflush(stdout) != 0 && status == 0) {
		say("standard output: cannot write");
		status = 1;
	}
	return status;
}

int main(int argc, char **argv)
{
	struct cli c = {0};
	int at;

	if (argc > 1 && strcmp(argv[1], RUN_SHIM_NAME) == 0)
		return run_shim(argc - 2, argv + 2);
	signal(SIGPIPE, SIG_IGN);
	at = command_position(argc, argv);
	if (at == 0) {
		bool asked = argc > 1 &&
			     (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);

		if (argc > 1 && strcmp(argv[1], "--version") == 0)
			return command_version(&c);
		print_overview(asked ? stdout : stderr);
		return asked ? 0 : EXIT_USAGE;
	}
	c.command = command_find(argv[at]);
	if (c.command == NULL) {
		say("there is no command \"%s\"; `chubby help` lists them", argv[at]);
		return EXIT_USAGE;
	}
	/* The name goes to the front; what stood before it are options like those behind it. */
	memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof(argv[0]));
	argv[1] = (char *)(uintptr_t)c.command->name;
	return command_run(&c, argc - 1, argv + 1);
}
