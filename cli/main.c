/*
 * chubby: locks and small files of a Chubby cell, from the shell.
 */
#include "cli.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `chubby --servers X status`: options may stand before the command's name too. */
static int command_position(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] != '-')
			return i;
		if (option_wants_value(argv[i]))
			i++;
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
		say("usage: chubby %s [OPTION…]%s%s (chubby help %s)", m->name,
		    m->synopsis[0] != '\0' ? " " : "", m->synopsis, m->name);
		return EXIT_USAGE;
	}
	/* An empty variable, most likely: to hold the lock until interrupted is not what it means.
	 */
	if (c->separated && c->argument_count == m->least) {
		say("there is no command behind \"--\"; without \"--\" the lock is just held "
		    "(chubby help %s)",
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
	if (argc > 1 && strcmp(argv[1], COMPLETE_NAME) == 0)
		return complete(argc - 2, argv + 2);
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
	if (c.command == NULL)
		return command_unknown(argv[at]);
	/* The name goes to the front; what stood before it are options like those behind it. */
	memmove(&argv[2], &argv[1], (size_t)(at - 1) * sizeof(argv[0]));
	argv[1] = (char *)(uintptr_t)c.command->name;
	return command_run(&c, argc - 1, argv + 1);
}
