/*
 * `chubbyd dev`: a whole cell on loopback, for trying out and for tests. A supervisor in the
 * foreground: it makes the cell once, runs a process for each replica, starts one that died again
 * after half a second, and stops them all when it is told to.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/time.h"
#include "commands.h"
#include "config.h"
#include "dev_files.h"
#include "dev_ports.h"
#include "wire/path.h"

#define RESTART_AFTER_NS (500 * NS_PER_MS)
#define STOP_WITHIN_NS (10 * NS_PER_S)
#define PORT_DEFAULT 7400
/* Replicas of a supervisor that was killed take a moment to end. */
#define PORTS_FREE_WITHIN_NS (2 * NS_PER_S)
/* A replica that ends so soon after each of its first starts never will run. */
#define EARLY_NS (2 * NS_PER_S)
#define EARLY_ENDS_MAX 3

static const char dev_text[] =
	"usage: chubbyd dev --data DIR [--replicas N] [--port BASE] [--cell NAME] [-- OPTIONS]\n"
	"\n"
	"Runs a cell of N replicas (five) on loopback in the foreground, made in DIR at the first\n"
	"time. N is 1 to 9, better odd: an even number survives no more failures than the odd\n"
	"one below it, and one none. Replica i serves clients at BASE+i, peers at BASE+100+i, web\n"
	"pages at BASE+200+i (BASE 7400): all must be free. Source DIR/env to find it: . DIR/env.\n"
	"SIGTERM or Ctrl-C stops all. A replica that dies starts again after half a second; one\n"
	"that fails three times before it ever ran ends dev with status 1.\n"
	"OPTIONS go to each chubbyd run.\n";

struct child {
	uint32_t id;
	pid_t pid;           /* 0: not running */
	int64_t start_at_ns; /* when not running */
	int64_t started_ns;
	bool ran;       /* it lived for longer than EARLY_NS once, or was ended by a signal */
	int early_ends; /* until then */
};

struct dev {
	const char *data;
	const char *cell;
	int base_port;
	uint32_t count;
	struct child children[MEMBERS_MAX];
	char **extra; /* options for each replica */
	int extra_count;
	bool stopping;
	bool hopeless; /* a replica failed again and again before it ever ran */
};

/* Read once, at the start: after a rebuild the link would name a file that is gone. */
static char *program_path(void)
{
	static char path[4096];

	if (path[0] == '\0') {
		ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

		CHECK(n > 0);
		path[n] = '\0';
	}
	return path;
}

/* ---- the cell's directory -------------------------------------------------------------------- */

/* Missing entries of a PATH that finds the tools: where chubbyd is, and beside it the build's. */
static char *tools_path(void)
{
	char *self = program_path();
	char *slash = strrchr(self, '/');
	char *path;

	*slash = '\0';
	path = config_sentence("%s/../cli:%s", self, self);
	*slash = '/';
	return path;
}

static bool write_env(const struct dev *d)
{
	char servers[MEMBERS_MAX * 32] = "";
	size_t used = 0;
	char *tools = tools_path();
	char *text;
	bool good;

	for (uint32_t i = 0; i < d->count; i++)
		used += (size_t)snprintf(servers + used, sizeof(servers) - used, "%s127.0.0.1:%d",
					 i == 0 ? "" : ",", d->base_port + (int)d->children[i].id);
	text = config_sentence(
		"export CHUBBY_SERVERS='%s'\n"
		"export CHUBBY_CELL='%s'\n"
		"case \":$PATH:\" in *':%s:'*) ;; *) export PATH='%s':\"$PATH\" ;; esac\n",
		servers, d->cell, tools, tools);
	good = dev_write_file(d->data, "env", text);
	free(text);
	free(tools);
	return good;
}

static void write_pid(const struct dev *d, const struct child *c)
{
	char *directory = config_sentence("%s/%u", d->data, c->id);
	char *text = config_sentence("%d\n", (int)c->pid);

	dev_write_file(directory, "pid", text);
	free(directory);
	free(text);
}

/* What the cell was made with is kept beside it: ports cannot change later, so a second start with
 * others is refused instead of starting something that cannot find itself. */
static bool remember(struct dev *d, bool fresh)
{
	char *path = config_sentence("%s/dev.conf", d->data);
	char cell[64] = "";
	unsigned count = 0;
	int base = 0;
	FILE *f = fopen(path, "re");
	char *text;
	bool good;

	if (f != NULL) {
		good = fscanf(f, "cell %63s replicas %u port %d", cell, &count, &base) == 3;
		fclose(f);
		good = good && strcmp(cell, d->cell) == 0 && count == d->count &&
		       base == d->base_port;
		if (!good)
			fprintf(stderr,
				"chubbyd dev: %s was made with --cell %s --replicas %u --port %d; "
				"say the same, or take another directory\n",
				d->data, cell, count, base);
		free(path);
		return good;
	}
	free(path);
	if (!fresh) {
		fprintf(stderr, "chubbyd dev: %s was not made by chubbyd dev\n", d->data);
		return false;
	}
	text = config_sentence("cell %s replicas %u port %d\n", d->cell, d->count, d->base_port);
	good = dev_write_file(d->data, "dev.conf", text);
	free(text);
	return good;
}

/* `made`: the cell is there already, for these ports. */
static bool ports_free(const struct dev *d, bool made)
{
	int port = dev_port_taken(d->base_port, d->count, PORTS_FREE_WITHIN_NS);

	if (port == 0)
		return true;
	fprintf(stderr,
		made ? "chubbyd dev: port %d is taken, and the cell in %s was made for it: stop "
		       "what listens there, or make another cell with another --data and --port\n"
		     : "chubbyd dev: port %d is taken: choose others with --port BASE\n",
		port, d->data);
	return false;
}

static bool genesis(struct dev *d)
{
	struct store_member members[MEMBERS_MAX] = {{.replica = {0}}};
	struct store_identity identity;
	char *trouble = NULL;
	char *first = config_sentence("%s/1", d->data);
	bool there = access(first, F_OK) == 0;

	free(first);
	if (there)
		return remember(d, false) && ports_free(d, true);
	if (!ports_free(d, false))
		return false;
	for (uint32_t i = 0; i < d->count; i++) {
		struct store_member *m = &members[i];
		int port = d->base_port + (int)(i + 1);

		m->replica.n = i + 1;
		snprintf(m->address, sizeof(m->address), "127.0.0.1:%d", port);
		snprintf(m->peer_address, sizeof(m->peer_address), "127.0.0.1:%d",
			 port + PEER_PORT_OFFSET);
		snprintf(m->web_address, sizeof(m->web_address), "127.0.0.1:%d",
			 port + WEB_PORT_OFFSET);
	}
	init_identity(d->cell, d->count, members, &identity);
	if (init_directories(d->data, &identity, &trouble) != ERROR_OK) {
		fprintf(stderr, "chubbyd dev: %s\n", trouble);
		free(trouble);
		return false;
	}
	return remember(d, true);
}

/* ---- the processes --------------------------------------------------------------------------- */

static void child_start(struct dev *d, struct child *c)
{
	char *directory = config_sentence("%s/%u", d->data, c->id);
	char *output = config_sentence("%s/log", directory);
	char *arguments[64] = {program_path(),
			       (char *)(uintptr_t) "run",
			       (char *)(uintptr_t) "--data",
			       directory,
			       (char *)(uintptr_t) "--die-with-parent",
			       (char *)(uintptr_t) "yes"};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none;
	int n = 6, error;

	for (int i = 0; i < d->extra_count && n < 62; i++)
		arguments[n++] = d->extra[i];
	sigemptyset(&none);
	CHECK(posix_spawnattr_init(&attributes) == 0);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	CHECK(posix_spawn_file_actions_init(&files) == 0);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0600);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	error = posix_spawn(&c->pid, arguments[0], &files, &attributes, arguments, environ);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	if (error != 0) {
		log_error("cannot start replica %u: %s", c->id, strerror(error));
		c->pid = 0;
		c->start_at_ns = clock_now_ns() + RESTART_AFTER_NS;
	} else {
		c->started_ns = clock_now_ns();
		write_pid(d, c);
	}
	free(directory);
	free(output);
}

/* A directory that is no replica's, a port of somebody else: starting again does not mend it. */
static void judge_end(struct dev *d, struct child *c, int status)
{
	char *log, *words;

	if (!WIFEXITED(status) || clock_now_ns() - c->started_ns >= EARLY_NS)
		c->ran = true;
	if (c->ran || ++c->early_ends < EARLY_ENDS_MAX)
		return;
	log = config_sentence("%s/%u/log", d->data, c->id);
	words = dev_last_line(log);
	log_error("replica %u failed %d times at its start, the last time so: %s", c->id,
		  c->early_ends, words);
	free(words);
	free(log);
	d->hopeless = true;
}

static void child_ended(struct dev *d, pid_t pid, int status)
{
	for (uint32_t i = 0; i < d->count; i++) {
		struct child *c = &d->children[i];

		if (c->pid != pid)
			continue;
		c->pid = 0;
		c->start_at_ns = clock_now_ns() + RESTART_AFTER_NS;
		if (d->stopping)
			return;
		judge_end(d, c, status);
		if (WIFSIGNALED(status))
			log_warning("replica %u was ended by signal %d; it starts again in 0.5 s",
				    c->id, WTERMSIG(status));
		else if (!d->hopeless)
			log_warning("replica %u ended with status %d (see %s/%u/log); it starts "
				    "again in 0.5 s",
				    c->id, WEXITSTATUS(status), d->data, c->id);
		return;
	}
}

static uint32_t running(const struct dev *d)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->count; i++)
		n += d->children[i].pid != 0;
	return n;
}

static void signal_all(const struct dev *d, int number)
{
	for (uint32_t i = 0; i < d->count; i++) {
		if (d->children[i].pid != 0)
			kill(d->children[i].pid, number);
	}
}

/* Starts what is due; returns how long to wait for the next, in milliseconds, -1: for ever. */
static int start_due(struct dev *d)
{
	int64_t now = clock_now_ns(), next = TIME_NEVER;

	for (uint32_t i = 0; i < d->count; i++) {
		struct child *c = &d->children[i];

		if (c->pid == 0 && c->start_at_ns <= now)
			child_start(d, c);
		if (c->pid == 0)
			next = time_earlier(next, c->start_at_ns);
	}
	return next == TIME_NEVER ? -1 : (int)((next - now) / NS_PER_MS) + 1;
}

static void reap(struct dev *d)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		child_ended(d, pid, status);
}

/* True when a signal asks to stop. */
static bool take_signals(struct dev *d, int signals, int wait_ms)
{
	struct pollfd p = {.fd = signals, .events = POLLIN};
	struct signalfd_siginfo info;

	if (poll(&p, 1, wait_ms) <= 0)
		return false;
	if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return false;
	if (info.ssi_signo == SIGCHLD)
		reap(d);
	return info.ssi_signo != SIGCHLD;
}

static void stop_all(struct dev *d, int signals)
{
	int64_t until = clock_now_ns() + STOP_WITHIN_NS;

	d->stopping = true;
	signal_all(d, SIGTERM);
	/* A stopped process cannot act on SIGTERM. */
	signal_all(d, SIGCONT);
	while (running(d) > 0 && clock_now_ns() < until) {
		take_signals(d, signals, 100);
		reap(d);
	}
	if (running(d) > 0) {
		log_warning("%u replicas did not stop within 10 s; they are killed", running(d));
		signal_all(d, SIGKILL);
		while (running(d) > 0)
			child_ended(d, waitpid(-1, NULL, 0), 0);
	}
}

static int supervise(struct dev *d)
{
	sigset_t set;
	int signals;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	CHECK(signals >= 0);
	log_info("cell %s, %u replicas, clients on 127.0.0.1:%d and up; . %s/env", d->cell,
		 d->count, d->base_port + 1, d->data);
	while (!d->hopeless && !take_signals(d, signals, start_due(d)))
		reap(d);
	stop_all(d, signals);
	close(signals);
	return d->hopeless ? 1 : 0;
}

/* Two supervisors on one directory would fight over the ports. */
static bool lock_directory(const struct dev *d)
{
	char *path = config_sentence("%s/dev.lock", d->data);
	int fd;

	if (mkdir(d->data, 0700) != 0 && errno != EEXIST) {
		fprintf(stderr, "chubbyd dev: cannot make %s: %s\n", d->data, strerror(errno));
		free(path);
		return false;
	}
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
		fprintf(stderr, "chubbyd dev: %s is in use by another chubbyd dev\n", d->data);
		return false;
	}
	return true; /* held until the process ends */
}

static bool parse_range(const char *text, long low, long high, long *ret_number)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end != '\0' || n < low || n > high)
		return false;
	*ret_number = n;
	return true;
}

static int dev_usage(const char *what)
{
	fprintf(stderr, "chubbyd dev: %s; see --help\n", what);
	return EXIT_USAGE;
}

int command_dev(int argc, char **argv)
{
	static const struct option options[] = {
		{"data", required_argument, NULL, 'd'},     {"cell", required_argument, NULL, 'c'},
		{"replicas", required_argument, NULL, 'n'}, {"port", required_argument, NULL, 'p'},
		{"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
	};
	struct dev d = {.cell = "local", .base_port = PORT_DEFAULT, .count = 5};
	char *pid;
	long n;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			fputs(dev_text, stdout);
			return 0;
		case 'd':
			d.data = optarg;
			break;
		case 'c':
			d.cell = optarg;
			break;
		case 'n':
			if (!parse_range(optarg, 1, MEMBERS_MAX, &n))
				return dev_usage("--replicas is 1..9");
			d.count = (uint32_t)n;
			break;
		case 'p':
			if (!parse_range(optarg, 1, 65535 - WEB_PORT_OFFSET - MEMBERS_MAX, &n))
				return dev_usage("--port is no port that leaves room for all");
			d.base_port = (int)n;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (d.data == NULL || !path_cell_name_valid(bytes_of_text(d.cell)))
		return dev_usage(d.data == NULL ? "say --data DIR" : "the cell's name is invalid");
	d.extra = argv + optind;
	d.extra_count = argc - optind;
	log_configure(LOG_LEVEL_INFO, NULL);
	if (d.count % 2 == 0)
		log_warning("%u replicas survive no more failures than %u", d.count, d.count - 1);
	for (uint32_t i = 0; i < d.count; i++)
		d.children[i].id = i + 1;
	if (!lock_directory(&d) || !genesis(&d) || !write_env(&d))
		return 1;
	pid = config_sentence("%d\n", (int)getpid());
	dev_write_file(d.data, "dev.pid", pid);
	free(pid);
	return supervise(&d);
}
