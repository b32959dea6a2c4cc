/*
 * The options, in one table: what the command line takes, --help shows and shells complete.
 */
#include "cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TIME_WANTED "a time such as 5, 5s, 250ms or 2m"
#define LEASE_MIN_MS 1000
#define LEASE_MAX_MS 60000
#define LOCK_DELAY_MAX_MS 60000
#define SECONDS_MAX 60
#define CLIENTS_MAX 256

enum {
	OPTION_SERVERS = 256,
	OPTION_CELL,
	OPTION_TIMEOUT,
	OPTION_JSON,
	OPTION_TRY,
	OPTION_SHARED,
	OPTION_LOCK_DELAY,
	OPTION_LEASE,
	OPTION_KILL_AFTER,
	OPTION_GENERATION,
	OPTION_ALL,
	OPTION_SECONDS,
	OPTION_CLIENTS
};

static const struct option_row rows[] = {
	{OPTION_TRY, "try", NULL, TAKES_TRY, 0, "do not wait: status 75 if the lock is busy"},
	{OPTION_SHARED, "shared", NULL, TAKES_SHARED, 0,
	 "a shared lock: others may share it, nobody has it alone"},
	{OPTION_LOCK_DELAY, "lock-delay", "TIME", TAKES_LOCK_DELAY, 0,
	 "how long a failed holder's lock stays claimed (15s)"},
	{OPTION_LEASE, "lease", "TIME", TAKES_LEASE, 0,
	 "how long the cell waits for word of this process, 1s to 60s (12s)"},
	{OPTION_KILL_AFTER, "kill-after", "TIME", TAKES_KILL_AFTER, 0,
	 "from SIGTERM to SIGKILL when the lock is lost (5s)"},
	{'l', "long", NULL, TAKES_LONG, 0, "kind, size, generation, lock and time as well"},
	{'p', "parents", NULL, TAKES_PARENTS, 0, "its parents as well; no error if it exists"},
	{OPTION_GENERATION, "generation", "N", TAKES_GENERATION, 0,
	 "only if the contents are still of this generation"},
	{OPTION_ALL, "all", NULL, TAKES_ALL, 0, "free ones as well, that were locked before"},
	{OPTION_SECONDS, "seconds", "N", TAKES_SIZE, 0, "how long each part takes, 1 to 60 (3)"},
	{OPTION_CLIENTS, "clients", "N", TAKES_SIZE, 0,
	 "how many clients where there are several, 2 to 256 (16)"},
	{OPTION_TIMEOUT, "timeout", "TIME", TAKES_COMMAND, 0,
	 "longest wait for the lock (no limit), and for the cell (10s)"},
	{OPTION_TIMEOUT, "timeout", "TIME", 0, TAKES_COMMAND, "longest wait for the cell (10s)"},
	{OPTION_SERVERS, "servers", "LIST", 0, 0, "host:port,host:port ($CHUBBY_SERVERS)"},
	{OPTION_CELL, "cell", "NAME", 0, 0, "the cell's name ($CHUBBY_CELL, or local)"},
	{OPTION_JSON, "json", NULL, 0, 0, "one JSON value on standard output"},
	{'h', "help", NULL, 0, 0, "this text"},
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

const struct option_row *options_all(size_t *ret_count)
{
	*ret_count = ROW_COUNT;
	return rows;
}

bool option_belongs(const struct option_row *o, const struct command *m)
{
	return (o->takes == 0 || (m->takes & o->takes) != 0) && (m->takes & o->unless) == 0;
}

bool option_wants_value(const char *word)
{
	for (size_t i = 0; strncmp(word, "--", 2) == 0 && i < ROW_COUNT; i++) {
		if (rows[i].value != NULL && strcmp(word + 2, rows[i].name) == 0)
			return true;
	}
	return false;
}

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

bool number_parse(const char *text, uint64_t *ret_number)
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

static int duration_option(const char *option, int64_t least_ms, int64_t most_ms, const char *want,
			   int64_t *ret_ms)
{
	int64_t ms;

	if (!duration_parse(optarg, &ms) || ms < least_ms || ms > most_ms)
		return bad_value(option, optarg, want);
	*ret_ms = ms;
	return 0;
}

static int number_option(const char *option, uint64_t least, uint64_t most, const char *want,
			 uint64_t *ret_number)
{
	uint64_t n;

	if (!number_parse(optarg, &n) || n < least || n > most)
		return bad_value(option, optarg, want);
	*ret_number = n;
	return 0;
}

static int value_take(struct cli *c, int option)
{
	switch (option) {
	case OPTION_SERVERS:
		c->settings.servers = optarg;
		return 0;
	case OPTION_CELL:
		c->settings.cell = optarg;
		return 0;
	case OPTION_TIMEOUT:
		return duration_option("timeout", 0, INT64_MAX, TIME_WANTED,
				       &c->settings.timeout_ms);
	case OPTION_LOCK_DELAY:
		return duration_option("lock-delay", 0, LOCK_DELAY_MAX_MS,
				       "a time up to 60s, such as 5s or 250ms", &c->lock_delay_ms);
	case OPTION_LEASE:
		return duration_option("lease", LEASE_MIN_MS, LEASE_MAX_MS, "a time from 1s to 60s",
				       &c->lease_ms);
	case OPTION_KILL_AFTER:
		return duration_option("kill-after", 0, INT64_MAX, TIME_WANTED, &c->kill_after_ms);
	case OPTION_GENERATION:
		return number_option("generation", 1, UINT64_MAX, "a number from 1",
				     &c->generation);
	case OPTION_SECONDS:
		return number_option("seconds", 1, SECONDS_MAX, "a number from 1 to 60",
				     &c->seconds);
	case OPTION_CLIENTS:
		return number_option("clients", 2, CLIENTS_MAX, "a number from 2 to 256",
				     &c->clients);
	default:
		return EXIT_USAGE;
	}
}

static int option_take(struct cli *c, int option)
{
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
	default:
		return value_take(c, option);
	}
}

/* getopt has said that something is wrong; this says what would be right. */
static int not_understood(const struct command *m, const char *word)
{
	const char *names[ROW_COUNT], *found[NEAREST_MAX];
	char meant[160], given[64];
	size_t count = 0;

	for (size_t i = 0; i < ROW_COUNT; i++) {
		if (option_belongs(&rows[i], m))
			names[count++] = rows[i].name;
	}
	snprintf(given, sizeof(given), "%.*s", (int)strcspn(word, "="), word);
	count = strncmp(given, "--", 2) == 0 ? nearest(given + 2, names, count, found) : 0;
	if (count > 0 && strcmp(found[0], given + 2) == 0)
		count = 0; /* it is the value that is missing, or too many */
	nearest_format(found, count, "--", meant, sizeof(meant));
	say("chubby help %s lists the options%s", m->name, meant);
	return EXIT_USAGE;
}

/* What getopt is told: only what this command takes. */
static void options_of(const struct command *m, struct option longs[ROW_COUNT + 1],
		       char letters[ROW_COUNT + 2])
{
	size_t count = 0, letter_count = 0;

	/* "+": stop at the first argument. */
	if ((m->takes & (TAKES_COMMAND | TAKES_WORDS)) != 0)
		letters[letter_count++] = '+';
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct option_row *o = &rows[i];

		if (!option_belongs(o, m))
			continue;
		longs[count++] = (struct option){
			.name = o->name,
			.has_arg = o->value != NULL ? required_argument : no_argument,
			.val = o->id,
		};
		if (o->id < 256)
			letters[letter_count++] = (char)o->id;
	}
	longs[count] = (struct option){0};
	letters[letter_count] = '\0';
}

/*
 * Options and arguments in any order, except that a command's own options are not ours: then the
 * path comes to the front, and what follows "--" or the next word is left as it is.
 */
static int parse(struct cli *c, int argc, char **argv)
{
	const bool leaves_command = (c->command->takes & TAKES_COMMAND) != 0;
	struct option longs[ROW_COUNT + 1];
	char letters[ROW_COUNT + 2];
	char *path = NULL;
	int option, status;

	options_of(c->command, longs, letters);
	optind = 0; /* GNU: start anew */
	for (;;) {
		option = getopt_long(argc, argv, letters, longs, NULL);
		if (option == -1) {
			bool ended = optind > 1 && strcmp(argv[optind - 1], "--") == 0;

			if (!leaves_command || path != NULL || ended || optind >= argc) {
				c->separated = ended && path != NULL;
				break;
			}
			path = argv[optind++];
			continue;
		}
		status = option == '?' ? not_understood(c->command, argv[optind - 1])
				       : option_take(c, option);
		if (status != 0)
			return status;
	}
	/* There is room: the path itself stood before what is left. */
	if (path != NULL)
		argv[--optind] = path;
	c->argument_count = argc - optind;
	c->arguments = argv + optind;
	return 0;
}

int options_parse(struct cli *c, int argc, char **argv)
{
	char name[64], *was = argv[0];
	int status;

	c->settings.timeout_ms = -1;
	c->lock_delay_ms = -1;
	c->kill_after_ms = KILL_AFTER_DEFAULT_MS;
	c->seconds = SECONDS_DEFAULT;
	c->clients = CLIENTS_DEFAULT;
	/* getopt's messages begin with this. */
	snprintf(name, sizeof(name), "chubby %s", c->command->name);
	argv[0] = name;
	status = parse(c, argc, argv);
	argv[0] = was;
	return status;
}
