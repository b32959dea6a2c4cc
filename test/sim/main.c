/*
 * sim: runs seeds, prints what they violated, or a hash of the story.
 *
 * Last line of standard output: the trace hash for one seed, the tally for many. Exit code 1 when
 * an invariant was violated, 2 for wrong arguments. With --mutant, a violation is what is wanted:
 * exit code 0 as soon as one is found.
 */
#include "full.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef SIM_MUTANTS
#include "planted.h"
#endif

#define UNTIL_DEFAULT_NS (60 * NS_PER_S)
#define UNTIL_MIN_S 20
#define UNTIL_MAX_S 3000
#define CLIENTS_DEFAULT 8 /* that speak to the cell itself */
#define APPS_DEFAULT 20

struct arguments {
	struct sim_options options;
	int mutant;
	const char *mutant_name; /* NULL: none is planted */
	uint64_t first, last;
};

struct tally {
	uint64_t failovers;
	int64_t *failover_ns; /* owned */
	uint64_t passed, failed, steps, elections, snapshots, acked, hash;
	uint64_t answered, granted, expired, lives, refused, judged, searched; /* of apps */
	int64_t simulated_ns;
};

/* What an assertion inside the libraries must still be able to say. */
static char replay_command[256];
static char mutant_text[256];
static bool mutant_hunted;

static void on_abort(int signal_number)
{
	const char *text = "aborted; replay: ";

	(void)signal_number;
	if (mutant_hunted) {
		/* A bug that was planted, caught by the code's own assertions. */
		if (write(STDOUT_FILENO, mutant_text, strlen(mutant_text)) < 0)
			_exit(1);
		_exit(0);
	}
	if (write(STDOUT_FILENO, text, strlen(text)) < 0 ||
	    write(STDOUT_FILENO, replay_command, strlen(replay_command)) < 0 ||
	    write(STDOUT_FILENO, "\n", 1) < 0)
		_exit(1);
	_exit(1);
}

static void replay_prepare(const struct arguments *a, uint64_t seed)
{
	const struct sim_options *o = &a->options;
	char mutant[24] = "";

	if (a->mutant_name != NULL)
		snprintf(mutant, sizeof(mutant), " --mutant %d", a->mutant);
	snprintf(replay_command, sizeof(replay_command),
		 "sim --seed %" PRIu64 " --profile %s --until %ds --replicas %u --clients %u%s",
		 seed, o->profile->name, (int)(o->until_ns / NS_PER_S), o->replicas, o->clients,
		 mutant);
}

static void failovers_gather(struct tally *t, const struct world *w)
{
	if (w->failover_count == 0)
		return;
	t->failover_ns = mem_realloc_array(t->failover_ns, t->failovers + w->failover_count,
					   sizeof(*t->failover_ns));
	memcpy(t->failover_ns + t->failovers, w->failover_ns,
	       w->failover_count * sizeof(*w->failover_ns));
	t->failovers += w->failover_count;
}

static void apps_gather(struct tally *t, const struct sim_apps *apps)
{
	t->answered += apps->answered;
	t->granted += apps->granted;
	t->expired += apps->expired;
	t->lives += apps->lives;
	t->judged += apps->judged;
	t->searched += apps->searched;
	for (uint32_t i = 0; i < APP_LOCKS; i++)
		t->refused += apps->storage[i].refused;
}

static void apps_print(const struct tally *t)
{
	if (t->lives > 0)
		printf("%" PRIu64 " lives of apps, %" PRIu64 " calls answered, %" PRIu64
		       " locks granted, %" PRIu64 " sessions expired, %" PRIu64
		       " stale writes refused; %" PRIu64 " operations in histories, %" PRIu64
		       " beginnings searched\n",
		       t->lives, t->answered, t->granted, t->expired, t->refused, t->judged,
		       t->searched);
}

static int compare_ns(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void failovers_print(struct tally *t)
{
	if (t->failovers == 0)
		return;
	qsort(t->failover_ns, t->failovers, sizeof(*t->failover_ns), compare_ns);
	printf("%" PRIu64 " crashes of a serving master; to the next epoch: median %" PRId64
	       " ms, 99 %% %" PRId64 " ms, longest %" PRId64 " ms\n",
	       t->failovers, t->failover_ns[t->failovers / 2] / NS_PER_MS,
	       t->failover_ns[t->failovers * 99 / 100] / NS_PER_MS,
	       t->failover_ns[t->failovers - 1] / NS_PER_MS);
	free(t->failover_ns);
}

static void run_seed(const struct arguments *a, uint64_t seed, struct tally *t)
{
	struct world *w = mem_zalloc(sizeof(*w));

	replay_prepare(a, seed);
	sim_world_run(w, &a->options, seed);
	t->steps += w->steps;
	t->elections += w->elections;
	t->snapshots += w->snapshots;
	t->acked += sim_checker_acked_count(w->checker);
	if (w->apps != NULL)
		apps_gather(t, w->apps);
	t->simulated_ns += w->now_ns;
	t->hash = w->trace_hash;
	failovers_gather(t, w);
	if (w->failed) {
		t->failed++;
		printf("seed %" PRIu64 " violates at %.6f s: %s\n", seed, (double)w->now_ns / 1e9,
		       w->failure);
		printf("replay: %s\n", replay_command);
		fflush(stdout);
	} else {
		t->passed++;
	}
	sim_world_release(w);
	free(w);
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim --seed N | --seeds A..B  [--until 60s] [--profile P] [--trace]\n"
		"           [--replicas N] [--clients N] [--mutant N]\n"
		"profiles, of the whole stack: chaos sessions crash lossy failover partial\n"
		"          of the cell alone: bare calm liar busy wild\n");
	for (int i = 1; i < MUTANT_COUNT; i++)
		fprintf(stderr, "mutant %d: %s\n", i, sim_mutant_name((enum sim_mutant)i));
#ifdef SIM_MUTANTS
	for (const struct mutant *m = mutants_planted; m->number != 0; m++)
		fprintf(stderr, "mutant %d: %s: %s\n", m->number, m->file, m->what);
#endif
	return 2;
}

/* What the host itself does wrong, or else the code that it hosts. */
static const char *mutant_plant(struct arguments *a, uint64_t number)
{
	a->mutant = (int)number;
	if (number > 0 && number < MUTANT_COUNT) {
		a->options.mutant = (enum sim_mutant)number;
		return sim_mutant_name(a->options.mutant);
	}
#ifdef SIM_MUTANTS
	for (const struct mutant *m = mutants_planted; m->number != 0; m++) {
		if ((uint64_t)m->number != number)
			continue;
		mutant_planted = m->number;
		return m->what;
	}
#endif
	return NULL;
}

static bool number_parse(const char *text, uint64_t high, uint64_t *ret_n, const char **ret_end)
{
	char *end;
	unsigned long long n;

	if (*text < '0' || *text > '9')
		return false;
	n = strtoull(text, &end, 10);
	if (n > high)
		return false;
	*ret_n = n;
	*ret_end = end;
	return true;
}

static bool seeds_parse(const char *text, struct arguments *a)
{
	const char *end;

	return number_parse(text, UINT64_MAX - 1, &a->first, &end) && strncmp(end, "..", 2) == 0 &&
	       number_parse(end + 2, UINT64_MAX - 1, &a->last, &end) && *end == '\0' &&
	       a->first <= a->last;
}

static bool option_parse(struct arguments *a, int option, const char *text)
{
	struct sim_options *o = &a->options;
	const char *end = "";
	uint64_t n = 0;

	switch (option) {
	case 's':
		if (!number_parse(text, UINT64_MAX - 1, &a->first, &end))
			return false;
		a->last = a->first;
		return *end == '\0';
	case 'S':
		return seeds_parse(text, a);
	case 'p':
		o->profile = sim_profile_find(text);
		return o->profile != NULL;
	case 'u':
		if (!number_parse(text, UNTIL_MAX_S, &n, &end) || n < UNTIL_MIN_S)
			return false;
		o->until_ns = (int64_t)n * NS_PER_S;
		return *end == '\0' || strcmp(end, "s") == 0;
	case 'm':
		if (!number_parse(text, 999, &n, &end))
			return false;
		a->mutant_name = mutant_plant(a, n);
		return *end == '\0' && a->mutant_name != NULL;
	case 'r':
		if (!number_parse(text, MEMBERS_MAX, &n, &end) || n < 2)
			return false;
		o->replicas = (uint32_t)n;
		return *end == '\0';
	case 'c':
		if (!number_parse(text, SIM_CLIENTS_MAX, &n, &end) || n < 1)
			return false;
		o->clients = (uint32_t)n;
		return *end == '\0';
	case 't':
		o->trace = true;
		return true;
	default:
		return false;
	}
}

static bool arguments_parse(int argc, char **argv, struct arguments *a)
{
	static const struct option table[] = {
		{"seed", required_argument, NULL, 's'},
		{"seeds", required_argument, NULL, 'S'},
		{"profile", required_argument, NULL, 'p'},
		{"until", required_argument, NULL, 'u'},
		{"mutant", required_argument, NULL, 'm'},
		{"trace", no_argument, NULL, 't'},
		{"replicas", required_argument, NULL, 'r'},
		{"clients", required_argument, NULL, 'c'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", table, NULL)) != -1)
		if (!option_parse(a, option, optarg))
			return false;
	return optind == argc && a->last > 0;
}

/* By the processor's time: what else runs on the machine does not count. */
static void rate_print(const struct tally *t)
{
	int64_t ms = (int64_t)clock() / (CLOCKS_PER_SEC / 1000) + 1;

	printf("%" PRId64 " simulated seconds, %" PRIu64 " steps, %" PRIu64 " elections, %" PRIu64
	       " snapshots, %" PRIu64 " commands acknowledged; %" PRId64
	       " simulated seconds, %" PRId64 " steps a second of one core\n",
	       t->simulated_ns / NS_PER_S, t->steps, t->elections, t->snapshots, t->acked,
	       t->simulated_ns / NS_PER_MS / ms, (int64_t)t->steps * 1000 / ms);
}

int main(int argc, char **argv)
{
	struct arguments a = {
		.options = {.profile = sim_profile_find("chaos"),
			    .replicas = 5,
			    .until_ns = UNTIL_DEFAULT_NS},
	};
	struct tally t = {0};
	bool mutant;

	if (!arguments_parse(argc, argv, &a))
		return usage();
	if (a.options.clients == 0)
		a.options.clients = a.options.profile->full ? APPS_DEFAULT : CLIENTS_DEFAULT;
	mutant = a.mutant_name != NULL;
	signal(SIGABRT, on_abort);
	signal(SIGSEGV, on_abort);
	mutant_hunted = mutant;
	for (uint64_t seed = a.first; seed <= a.last; seed++) {
		if (mutant)
			snprintf(mutant_text, sizeof(mutant_text),
				 "mutant %d (%s): caught by an assertion after %" PRIu64 " seeds\n",
				 a.mutant, a.mutant_name, seed - a.first + 1);
		run_seed(&a, seed, &t);
		if (mutant && t.failed > 0)
			break;
	}
	failovers_print(&t);
	apps_print(&t);
	rate_print(&t);
	if (mutant)
		printf("mutant %d (%s): %s after %" PRIu64 " seeds\n", a.mutant, a.mutant_name,
		       t.failed > 0 ? "caught" : "survived", t.passed + t.failed);
	else if (a.first == a.last)
		printf("%016" PRIx64 "\n", t.hash);
	else
		printf("%" PRIu64 " seeds passed, %" PRIu64 " failed\n", t.passed, t.failed);
	return (t.failed > 0) == mutant ? 0 : 1;
}
