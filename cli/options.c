#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	OPTION_SERVERS = 256,
	OPTION_CELL,
	OPTION_TIMEOUT,
	OPTION_JSON,
	OPTION_TRY,
	OPTION_SHARED,
	OPTION_LOCK_DELAY,
	OPTION_KILL_AFTER,
	OPTION_GENERATION,
	OPTION_ALL
};

bool duration_parse(const char *text, int64_t *ret_ms)
{
	static const struct {
		const char *unit;
		double ms;
	} units[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60000}, {"h", 3600000}};
	char *end;
	double value;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	value = strtod(text, &end);
	if (errno != 0 || strspn(text, "0123456789.") != (size_t)(end - text))
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcmp(end, units[i].unit) == 0 && value * units[i].ms <= 31536000000.0) {
			*ret_ms = (int64_t)(value * units[i].ms + 0.5);
			return true;
		}
	}
	return false;
}

static bool number_parse(const char *text, uint64_t *ret_number)
{
	char *end;
	unsigned long long n;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0')
		return false;
	*ret_number = n;
	return true;
}

static int bad_value(const char *option, const char *value, const char *want)
{
	say("--%s %s: want %s", option, value, want);
	return EXIT_USAGE;
}

static int duration_option(const char *option, int64_t *ret_ms)
{
	if (duration_parse(optarg, ret_ms))
		return 0;
	return bad_value(option, optarg, "a time such as 5, 5s, 250ms or 2m");
}

/* What only some commands take. */
static unsigned option_needs(int option)
{
	switch (option) {
	case OPTION_TRY:
		return TAKES_TRY;
	case OPTION_SHARED:
		return TAKES_SHARED;
	case OPTION_LOCK_DELAY:
		return TAKES_LOCK_DELAY;
	case OPTION_KILL_AFTER:
		return TAKES_KILL_AFTER;
	case OPTION_GENERATION:
		return TAKES_GENERATION;
	case OPTION_ALL:
		return TAKES_ALL;
	case 'l':
		return TAKES_LONG;
	case 'p':
		return TAKES_PARENTS;
	default:
		return 0;
	}
}

static int option_take(struct cli *c, int option)
{
	unsigned needs = option_needs(option);

	if ((c->command->takes & needs) != needs) {
		say("chubby %s has no such option; see chubby help %s", c->command->name,
		    c->command->name);
		return EXIT_USAGE;
	}
	switch (option) {
	case 'h':
		c->help = true;
		return 0;
	case 'l':
		c->long_format = true;
		return 0;
	case 'p':
		c->parents = true;
		return 0;
	case OPTION_SERVERS:
		c->settings.servers = optarg;
		return 0;
	case OPTION_CELL:
		c->settings.cell = optarg;
		return 0;
	case OPTION_JSON:
		c->json = true;
		return 0;
	case OPTION_TRY:
		c->try_only = true;
		return 0;
	case OPTION_SHARED:
		c->shared = true;
		return 0;
	case OPTION_ALL:
		c->all = true;
		return 0;
	case OPTION_TIMEOUT:
		return duration_option("timeout", &c->settings.timeout_ms);
	case OPTION_LOCK_DELAY:
		return duration_option("lock-delay", &c->lock_delay_ms);
	case OPTION_KILL_AFTER:
		return duration_option("kill-after", &c->kill_after_ms);
	case OPTION_GENERATION:
		if (number_parse(optarg, &c->generation) && c->generation > 0)
			return 0;
		return bad_value("generation", optarg, "a number from 1");
	default:
		return EXIT_USAGE; /* getopt_long() has said why */
	}
}

static const struct option long_options[] = {
	{"help", no_argument, NULL, 'h'},
	{"json", no_argument, NULL, OPTION_JSON},
	{"servers", required_argument, NULL, OPTION_SERVERS},
	{"cell", required_argument, NULL, OPTION_CELL},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"try", no_argument, NULL, OPTION_TRY},
	{"shared", no_argument, NULL, OPTION_SHARED},
	{"lock-delay", required_argument, NULL, OPTION_LOCK_DELAY},
	{"kill-after", required_argument, NULL, OPTION_KILL_AFTER},
	{"generation", required_argument, NULL, OPTION_GENERATION},
	{"all", no_argument, NULL, OPTION_ALL},
	{"long", no_argument, NULL, 'l'},
	{"parents", no_argument, NULL, 'p'},
	{NULL, 0, NULL, 0},
};

/*
 * Options and arguments in any order, except that a command's own options are not ours: then the
 * path comes to the front, and what follows "--" or the next word is left as it is.
 */
int options_parse(struct cli *c, int argc, char **argv)
{
	const bool leaves_command = (c->command->takes & TAKES_COMMAND) != 0;
	char *path = NULL;
	int option, status;

	c->settings.timeout_ms = -1;
	c->lock_delay_ms = -1;
	c->kill_after_ms = KILL_AFTER_DEFAULT_MS;
	optind = 0; /* GNU: start anew */
	for (;;) {
		option = getopt_long(argc, argv, leaves_command ? "+hlp" : "hlp", long_options,
				     NULL);
		if (option == -1) {
			bool ended = optind > 1 && strcmp(argv[optind - 1], "--") == 0;

			if (!leaves_command || path != NULL || ended || optind >= argc)
				break;
			path = argv[optind++];
			continue;
		}
		status = option_take(c, option);
		if (status != 0)
			return status;
	}
	if (path == NULL) {
		c->argument_count = argc - optind;
		c->arguments = argv + optind;
		return 0;
	}
	/* There is room: the path itself stood before what is left. */
	argv[--optind] = path;
	c->argument_count = argc - optind;
	c->arguments = argv + optind;
	return 0;
}
