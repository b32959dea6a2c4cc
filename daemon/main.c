/*
 * chubbyd: one replica of a Chubby cell, and the commands that make one.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "commands.h"
#include "config.h"
#include "replica.h"

static const char usage_text[] =
	"usage: chubbyd run --data DIR [options]     run one replica in the foreground\n"
	"       chubbyd init --cell NAME --replica ID=CLIENT,PEER[,WEB] ... --out DIR\n"
	"                                            make the directories of a new cell, once\n"
	"       chubbyd dev --data DIR [--replicas N] [--port BASE] [--cell NAME]\n"
	"                                            a whole cell on loopback, for trying out\n"
	"       chubbyd version\n"
	"\n"
	"chubbyd COMMAND --help tells more.\n";

static const char run_text[] =
	"usage: chubbyd run --data DIR [options]\n"
	"\n"
	"Runs one replica on the data directory DIR, which chubbyd init made. Stops gracefully on\n"
	"SIGTERM and SIGINT: a master hands over first.\n"
	"\n"
	"  --config FILE          settings, key = value under [chubbyd]; flags win over it\n"
	"  --data DIR             the data directory\n"
	"  --listen HOST:PORT     where clients come in (default: as told to chubbyd init)\n"
	"  --listen-peer HOST:PORT, --listen-web HOST:PORT   likewise\n"
	"  --lease-ms N           master lease, 100..10000 (400)\n"
	"  --heartbeat-ms N       at most a third of the lease (100)\n"
	"  --drift-ppm N          bound of each clock's rate error (10000)\n"
	"  --keep-slots N         slots kept for replicas that were away (500000)\n"
	"  --log-level LEVEL      error, warning, info or debug (info)\n"
	"  --insecure-plaintext-beyond-loopback yes\n"
	"                         listen elsewhere than on loopback without encryption and\n"
	"                         authentication: whoever reaches the port may do anything\n";

static int complain(char *trouble)
{
	fprintf(stderr, "chubbyd: %s\n", trouble);
	free(trouble);
	return EXIT_USAGE;
}

/* Flags are "--name value" or "--name=value"; --config is read before the others count. */
static int read_settings(int argc, char **argv, struct config *config)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 0},
		{"data", required_argument, NULL, 0},
		{"listen", required_argument, NULL, 0},
		{"listen-peer", required_argument, NULL, 0},
		{"listen-web", required_argument, NULL, 0},
		{"lease-ms", required_argument, NULL, 0},
		{"heartbeat-ms", required_argument, NULL, 0},
		{"drift-ppm", required_argument, NULL, 0},
		{"keep-slots", required_argument, NULL, 0},
		{"log-level", required_argument, NULL, 0},
		{"insecure-plaintext-beyond-loopback", required_argument, NULL, 0},
		{"die-with-parent", required_argument, NULL, 0},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	char *trouble = NULL;
	int pass, which, c;

	for (pass = 0; pass < 2; pass++) {
		optind = 1;
		while ((c = getopt_long(argc, argv, "h", options, &which)) != -1) {
			bool file = c == 0 && strcmp(options[which].name, "config") == 0;

			if (c == 'h') {
				fputs(run_text, stdout);
				exit(0);
			}
			if (c != 0)
				return EXIT_USAGE;
			if (pass == 0 && file &&
			    config_read_file(config, optarg, &trouble) != ERROR_OK)
				return complain(trouble);
			if (pass == 1 && !file &&
			    config_set(config, options[which].name, optarg, &trouble) != ERROR_OK)
				return complain(trouble);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "chubbyd: \"%s\" is not understood\n", argv[optind]);
		return EXIT_USAGE;
	}
	if (config_check(config, &trouble) != ERROR_OK)
		return complain(trouble);
	return 0;
}

/* Many clients, one descriptor each: take what the system allows. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
			log_warning("cannot raise the limit of open files: %s", strerror(errno));
	}
}

static void prepare_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

int command_run(int argc, char **argv)
{
	struct config config;
	enum replica_exit result;
	/* getopt's messages begin with it; a restart below needs the command's own name. */
	char shown[] = "chubbyd run";
	char *name = argv[0];
	int code;

	config_init(&config);
	argv[0] = shown;
	code = read_settings(argc, argv, &config);
	argv[0] = name;
	if (code != 0) {
		config_release(&config);
		return code;
	}
	log_configure(config.log_level, NULL);
	config.stand_back = getenv(CONFIG_STAND_BACK_VARIABLE) != NULL;
	unsetenv(CONFIG_STAND_BACK_VARIABLE);
	if (config.die_with_parent)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	raise_descriptor_limit();
	prepare_signals();
	result = replica_run(&config);
	config_release(&config);
	if (result == REPLICA_STORAGE_FAILED || result == REPLICA_RESTART) {
		/* From the beginning, so that nothing in memory outlives what was on the disk. */
		log_info("reading the disk anew");
		if (result == REPLICA_STORAGE_FAILED)
			setenv(CONFIG_STAND_BACK_VARIABLE, "1", 1);
		execv("/proc/self/exe", argv - 1);
		log_error("cannot start again: %s", strerror(errno));
		return 1;
	}
	return result == REPLICA_STOPPED ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "--help";
	char init[] = "chubbyd init", dev[] = "chubbyd dev";

	if (strcmp(command, "run") == 0)
		return command_run(argc - 1, argv + 1);
	if (strcmp(command, "init") == 0) {
		argv[1] = init;
		return command_init(argc - 1, argv + 1);
	}
	if (strcmp(command, "dev") == 0) {
		argv[1] = dev;
		return command_dev(argc - 1, argv + 1);
	}
	if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0) {
		puts("chubbyd " PROJECT_VERSION);
		return 0;
	}
	if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0) {
		fputs(usage_text, argc > 1 ? stdout : stderr);
		return argc > 1 ? 0 : EXIT_USAGE;
	}
	fprintf(stderr, "chubbyd: there is no command \"%s\"\n%s", command, usage_text);
	return EXIT_USAGE;
}
