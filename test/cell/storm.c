#include "storm.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define PPM 1000000

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

/* ---- claims --------------------------------------------------------------------------------- */

struct storm_lock *storm_pick(struct storm *s)
{
	return &s->locks[rng_below(&s->rng, (uint64_t)s->lock_count)];
}

enum chubby_mode storm_mode(struct storm *s)
{
	return rng_chance(&s->rng, PPM / 2) ? CHUBBY_SHARED : CHUBBY_EXCLUSIVE_MODE;
}

/* No holder of a storm fails, so that no lock-delay may ever be felt, however long it is. */
struct chubby_acquire_options storm_options(struct storm *s, enum chubby_mode mode)
{
	static const int64_t delays[] = {0, 1, 500, 60000, CHUBBY_LOCK_DELAY_DEFAULT};
	struct chubby_acquire_options o = chubby_acquire_options_default();

	o.mode = mode;
	o.lock_delay_ms = delays[rng_below(&s->rng, sizeof(delays) / sizeof(delays[0]))];
	return o;
}

void storm_ask(struct storm *s, const struct storm_lock *l, enum chubby_mode mode, const char *how)
{
	history_say(&s->history, "ask lock=%s mode=%s how=%s", l->name,
		    mode == CHUBBY_SHARED ? "s" : "x", how);
}

bool storm_not(struct storm *s, const struct storm_lock *l, enum chubby_code code,
	       enum chubby_code expected, const struct chubby_error *e)
{
	history_say(&s->history, "not lock=%s code=%s", l->name, chubby_code_name(code));
	/* In a short time without a master nobody could even be asked: chubby_acquire(3). */
	if (expected == CHUBBY_DEADLINE_EXCEEDED && code == CHUBBY_UNAVAILABLE)
		return true;
	return code == expected || history_fail(&s->history, "acquire", code, e);
}

struct storm_hold storm_hold_of(struct storm_lock *l, enum chubby_mode mode,
				const struct chubby_handle *h)
{
	return (struct storm_hold){.lock = l,
				   .mode = mode,
				   .token = chubby_token(h),
				   .sequencer = chubby_sequencer(h)};
}

void storm_free(struct storm *s, struct storm_hold *hold, const char *how)
{
	snprintf(hold->lock->stale, sizeof(hold->lock->stale), "%s", hold->sequencer);
	history_say(&s->history, "free lock=%s how=%s", hold->lock->name, how);
}

void storm_freed(struct storm *s, const struct storm_lock *l)
{
	history_say(&s->history, "freed lock=%s", l->name);
}

/* ---- what is done under a lock -------------------------------------------------------------- */

bool storm_read(struct storm *s, struct storm_lock *l, uint64_t *ret_count, uint64_t *ret_token,
		uint64_t *ret_generation)
{
	struct chubby_contents contents;
	struct chubby_error e;
	struct chubby_stat st;
	enum chubby_code code = chubby_get(l->count, &contents, &st, &e);
	bool good;

	if (code != CHUBBY_OK)
		return history_fail(&s->history, "read", code, &e);
	good = sscanf(contents.data, "%" SCNu64 " %" SCNu64, ret_count, ret_token) == 2;
	chubby_contents_free(&contents);
	if (ret_generation != NULL)
		*ret_generation = st.contents_generation;
	return good || history_fail(&s->history, "contents", CHUBBY_MALFORMED, NULL);
}

bool storm_raise(struct storm *s, struct storm_lock *l, uint64_t token)
{
	uint64_t count = 0, last = 0, generation = 0;
	struct chubby_error e;
	enum chubby_code code;
	char text[80];

	if (!storm_read(s, l, &count, &last, &generation))
		return false;
	if (last > token)
		return history_fail(&s->history, "larger-token-in-file", CHUBBY_LOCK_LOST, NULL);
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %d", count + 1, token, s->client);
	/* Inside the lock the condition must hold, and must not be needed. */
	code = chubby_set(l->count, text, strlen(text),
			  rng_chance(&s->rng, PPM / 2) ? generation : 0, NULL, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "raise", code, &e);
	history_say(&s->history, "counted file=count-%s n=%" PRIu64 " token=%" PRIu64, l->name,
		    count + 1, token);
	return true;
}

static bool look(struct storm *s, struct storm_lock *l)
{
	uint64_t count = 0, token = 0;

	if (!storm_read(s, l, &count, &token, NULL))
		return false;
	history_say(&s->history, "saw lock=%s n=%" PRIu64, l->name, count);
	return true;
}

static bool check_held(struct storm *s, const struct storm_hold *hold)
{
	struct chubby_error e;
	uint64_t token = 0;
	enum chubby_code code = chubby_check_sequencer(s->cell, hold->sequencer, &token, &e);

	history_say(&s->history, "checked lock=%s held=1 code=%s", hold->lock->name,
		    chubby_code_name(code));
	if (code != CHUBBY_OK || token != hold->token)
		return history_fail(&s->history, "check-of-a-hold", code, &e);
	return true;
}

bool storm_under(struct storm *s, struct storm_hold *hold)
{
	int64_t times = rng_between(&s->rng, 1, 4);
	bool good = true;

	if (hold->sequencer == NULL || hold->token == 0)
		return history_fail(&s->history, "no-sequencer", CHUBBY_NOT_HELD, NULL);
	history_say(&s->history, "got lock=%s seq=%s", hold->lock->name, hold->sequencer);
	for (int64_t i = 0; i < times && good; i++) {
		if (hold->mode == CHUBBY_SHARED)
			good = look(s, hold->lock);
		else
			good = storm_raise(s, hold->lock, hold->token);
	}
	if (good && rng_chance(&s->rng, PPM / 5))
		good = check_held(s, hold);
	return good;
}

/* ---- the program ---------------------------------------------------------------------------- */

static bool open_file(struct storm *s, const char *path, const char *initial,
		      struct chubby_handle **ret_handle)
{
	struct chubby_error e;
	enum chubby_code code = chubby_open(s->cell, path,
					    CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE, initial,
					    strlen(initial), ret_handle, NULL, &e);

	return code == CHUBBY_OK || history_fail(&s->history, "open", code, &e);
}

static bool open_all(struct storm *s)
{
	char path[STORM_PATH_BYTES];

	for (int i = 0; i < s->lock_count; i++) {
		struct storm_lock *l = &s->locks[i];

		snprintf(l->name, sizeof(l->name), "%c", 'a' + i);
		snprintf(l->path, sizeof(l->path), "/ls/local/lock-%s", l->name);
		snprintf(path, sizeof(path), "/ls/local/count-%s", l->name);
		if (!open_file(s, l->path, "", &l->lock) || !open_file(s, path, "0 0 0", &l->count))
			return false;
	}
	snprintf(path, sizeof(path), "/ls/local/own-%d", s->client);
	return open_file(s, path, "0", &s->own);
}

struct deed {
	const char *name;
	bool (*function)(struct storm *s);
	unsigned weight;
};

static const struct deed storm_deeds[] = {
	{"wait", storm_wait, 8},         {"try", storm_try, 3},
	{"deadline", storm_deadline, 3}, {"poison", storm_poison, 2},
	{"close", storm_close, 2},       {"convenient", storm_convenient, 2},
	{"stale", storm_stale, 2},       {"misuse", storm_misuse, 1},
	{"own", storm_own, 3},           {"ephemeral", storm_ephemeral, 2},
	{"multi", storm_multi, 3},       {"take", storm_take, 4},
	{"all", storm_all, 2},           {"bound", storm_bound, 2},
	{"async", storm_async, 3},       {NULL, NULL, 0},
};

static const struct deed mixed_deeds[] = {
	{"wait", storm_wait, 1},
	{NULL, NULL, 0},
};

static const struct deed *pick_deed(struct storm *s, const struct deed *deeds)
{
	uint64_t total = 0, drawn;

	for (const struct deed *d = deeds; d->name != NULL; d++)
		total += d->weight;
	drawn = rng_below(&s->rng, total);
	while (drawn >= deeds->weight) {
		drawn -= deeds->weight;
		deeds++;
	}
	return deeds;
}

static void run(struct storm *s, const struct deed *deeds)
{
	if (!open_all(s))
		return;
	while (!stop_asked) {
		const struct deed *d = pick_deed(s, deeds);

		if (!d->function(s)) {
			fprintf(stderr, "client %d: stopped at %s\n", s->client, d->name);
			return;
		}
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: storm --servers LIST --client N --history FILE --seed N "
			"[--mixed]\n");
	return 64;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"servers", required_argument, NULL, 's'}, {"client", required_argument, NULL, 'c'},
		{"history", required_argument, NULL, 'h'}, {"seed", required_argument, NULL, 'r'},
		{"mixed", no_argument, NULL, 'm'},         {NULL, 0, NULL, 0},
	};
	struct storm s = {.lock_count = STORM_LOCKS_MAX};
	struct chubby_options o = chubby_options_default();
	const struct deed *deeds = storm_deeds;
	const char *file = NULL;
	struct chubby_error e;
	uint64_t seed = 1;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			o.servers = optarg;
		else if (c == 'c')
			s.client = (int)strtol(optarg, NULL, 10);
		else if (c == 'h')
			file = optarg;
		else if (c == 'r')
			seed = strtoull(optarg, NULL, 10);
		else if (c == 'm')
			deeds = mixed_deeds;
		else
			return usage();
	}
	if (file == NULL || !history_open(&s.history, file, s.client))
		return usage();
	if (deeds == mixed_deeds)
		s.lock_count = 1;
	rng_init(&s.rng, seed * 1000 + (uint64_t)s.client);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	o.on_session = history_session;
	o.context = &s.history;
	o.connect_ms = 30000;
	if (chubby_connect(&o, &s.cell, &e) != CHUBBY_OK) {
		history_fail(&s.history, "connect", e.code, &e);
		return 1;
	}
	history_say(&s.history, "session id=%" PRIu64, chubby_session_id(s.cell));
	run(&s, deeds);
	chubby_disconnect(s.cell);
	/* Who finishes a call himself before its callback came gets none. */
	if (atomic_load(&s.told) > s.started)
		history_fail(&s.history, "told-too-often", CHUBBY_INTERNAL, NULL);
	history_close(&s.history);
	return atomic_load(&s.history.failed) ? 1 : 0;
}
