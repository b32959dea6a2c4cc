/*
 * worker: one client process of the real-process tests. It writes and locks through libchubby for
 * a while and checks, as far as one client can, that nothing is lost or doubled:
 *
 *   own      a counter in a file of its own, each write conditional on the generation that the
 *            last one returned: a lost or doubled write makes the next one fail
 *   shared   a counter in one file for all, raised inside the lock of another; the file also holds
 *            the fencing token of its last writer, which must be smaller than the holder's
 *   flood    many threads that write as fast as they can, a given number of times in all
 *   ephemeral  keeps an ephemeral node open until it is told to stop
 *
 * The last line on standard output is one JSON object. Exit status 1 if a check failed.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chubby.h"

#define FLOOD_THREADS_MAX 64

struct worker {
	struct chubby *cell;
	const char *mode;
	int id;
	int threads;
	long count; /* flood: operations in all */
	double seconds;
	struct chubby_handle *own, *lock, *shared;
	uint64_t own_generation;
	uint64_t own_count, sections, unknown, jeopardies, expiries;
	double longest_gap_s;
	double last_success;
	bool failed;
	atomic_long flooded;
};

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void on_session(void *context, enum chubby_session_event event, enum chubby_code reason)
{
	struct worker *w = context;

	(void)reason;
	if (event == CHUBBY_SESSION_JEOPARDY)
		w->jeopardies++;
	if (event == CHUBBY_SESSION_EXPIRED_EVENT)
		w->expiries++;
}

static bool fail(struct worker *w, const char *what, enum chubby_code code,
		 const struct chubby_error *e)
{
	fprintf(stderr, "worker %d: %s: %s%s%s\n", w->id, what, chubby_code_name(code),
		e != NULL ? ": " : "", e != NULL ? e->message : "");
	w->failed = true;
	return false;
}

static void succeeded(struct worker *w)
{
	double now = now_s();

	if (now - w->last_success > w->longest_gap_s)
		w->longest_gap_s = now - w->last_success;
	w->last_success = now;
}

static bool open_file(struct worker *w, const char *name, struct chubby_handle **ret_handle)
{
	struct chubby_error e = {0};
	enum chubby_code code;
	char path[128];

	snprintf(path, sizeof(path), "/ls/local/%s", name);
	code = chubby_open(w->cell, path, CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE, "0 0", 3,
			   ret_handle, NULL, &e);
	return code == CHUBBY_OK || fail(w, path, code, &e);
}

static bool write_own(struct worker *w)
{
	struct chubby_error e = {0};
	char text[32];
	enum chubby_code code;

	snprintf(text, sizeof(text), "%" PRIu64, w->own_count + 1);
	code = chubby_set(w->own, text, strlen(text), w->own_generation, &w->own_generation, &e);
	if (code != CHUBBY_OK)
		return fail(w, "own write", code, &e);
	w->own_count++;
	succeeded(w);
	return true;
}

/* Inside the lock: read, check that the last writer's token is smaller, write. */
static bool raise_shared(struct worker *w)
{
	struct chubby_error e = {0};
	struct chubby_contents c = {0};
	struct chubby_stat st;
	uint64_t count = 0, token = 0, mine = chubby_token(w->lock);
	enum chubby_code code = chubby_get(w->shared, &c, &st, &e);
	char text[64];

	if (code != CHUBBY_OK)
		return fail(w, "shared read", code, &e);
	if (sscanf(c.data, "%" SCNu64 " %" SCNu64, &count, &token) != 2 || token >= mine) {
		fprintf(stderr, "worker %d: token %" PRIu64 " after %" PRIu64 "\n", w->id, mine,
			token);
		w->failed = true;
	}
	chubby_contents_free(&c);
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64, count + 1, mine);
	code = chubby_set(w->shared, text, strlen(text), st.contents_generation, NULL, &e);
	if (code != CHUBBY_OK)
		return fail(w, "shared write", code, &e);
	w->sections++;
	succeeded(w);
	return !w->failed;
}

static bool section(struct worker *w)
{
	struct chubby_error e = {0};
	enum chubby_code code = chubby_acquire(w->lock, NULL, &e);
	bool good;

	if (code != CHUBBY_OK)
		return fail(w, "acquire", code, &e);
	succeeded(w);
	good = raise_shared(w);
	code = chubby_release(w->lock, &e);
	if (code != CHUBBY_OK)
		return fail(w, "release", code, &e);
	succeeded(w);
	return good;
}

static bool own_is_complete(struct worker *w)
{
	struct chubby_error e = {0};
	struct chubby_contents c = {0};
	enum chubby_code code = chubby_get(w->own, &c, NULL, &e);
	uint64_t count = 0;

	if (code != CHUBBY_OK)
		return fail(w, "own read", code, &e);
	if (sscanf(c.data, "%" SCNu64, &count) != 1 || count != w->own_count) {
		fprintf(stderr, "worker %d: the file says %s, acknowledged were %" PRIu64 "\n",
			w->id, (char *)c.data, w->own_count);
		w->failed = true;
	}
	chubby_contents_free(&c);
	return !w->failed;
}

static void work(struct worker *w)
{
	char name[32];
	double end = now_s() + w->seconds;

	snprintf(name, sizeof(name), "own-%d", w->id);
	if (!open_file(w, name, &w->own) || !open_file(w, "lock", &w->lock) ||
	    !open_file(w, "shared", &w->shared))
		return;
	w->last_success = now_s();
	while (!stop_asked && now_s() < end) {
		if (!write_own(w) || (strcmp(w->mode, "both") == 0 && !section(w)))
			break;
	}
	if (!w->failed)
		own_is_complete(w);
}

static void keep_ephemeral(struct worker *w)
{
	struct chubby_error e = {0};
	enum chubby_code code;
	sigset_t none;
	char path[64];

	snprintf(path, sizeof(path), "/ls/local/ephemeral-%d", w->id);
	code = chubby_open(w->cell, path,
			   CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE | CHUBBY_EPHEMERAL, "", 0,
			   &w->own, NULL, &e);
	if (code != CHUBBY_OK) {
		fail(w, path, code, &e);
		return;
	}
	/* Blocked but for the wait, so that none is missed between the look and it. */
	sigemptyset(&none);
	while (!stop_asked)
		sigsuspend(&none);
}

static void *flood_thread(void *context)
{
	struct worker *w = context;
	struct chubby_handle *h;
	char name[48];
	long mine = atomic_fetch_add(&w->flooded, 1) + 1;

	snprintf(name, sizeof(name), "flood-%d-%ld", w->id, mine);
	if (!open_file(w, name, &h))
		return NULL;
	while (!stop_asked && !w->failed && atomic_fetch_add(&w->flooded, 1) < w->count) {
		struct chubby_error e = {0};
		enum chubby_code code = chubby_set(h, name, strlen(name), 0, NULL, &e);

		if (code != CHUBBY_OK)
			fail(w, "flood", code, &e);
	}
	return NULL;
}

static void flood(struct worker *w)
{
	pthread_t threads[FLOOD_THREADS_MAX];

	for (int i = 0; i < w->threads; i++)
		pthread_create(&threads[i], NULL, flood_thread, w);
	for (int i = 0; i < w->threads; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"servers", required_argument, NULL, 's'},
		{"id", required_argument, NULL, 'i'},
		{"seconds", required_argument, NULL, 't'},
		{"mode", required_argument, NULL, 'm'},
		{"count", required_argument, NULL, 'n'},
		{"threads", required_argument, NULL, 'j'},
		{NULL, 0, NULL, 0},
	};
	struct worker w = {.mode = "both", .seconds = 10, .threads = 16};
	struct chubby_options o = chubby_options_default();
	struct chubby_error e = {0};
	double began;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			o.servers = optarg;
			break;
		case 'i':
			w.id = (int)strtol(optarg, NULL, 10);
			break;
		case 't':
			w.seconds = strtod(optarg, NULL);
			break;
		case 'm':
			w.mode = optarg;
			break;
		case 'n':
			w.count = strtol(optarg, NULL, 10);
			break;
		case 'j':
			w.threads = (int)strtol(optarg, NULL, 10);
			break;
		default:
			return 64;
		}
	}
	if (w.threads < 1 || w.threads > FLOOD_THREADS_MAX)
		return 64;
	if (strcmp(w.mode, "ephemeral") == 0)
		block_signals();
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	o.on_session = on_session;
	o.context = &w;
	o.connect_ms = 30000;
	if (chubby_connect(&o, &w.cell, &e) != CHUBBY_OK) {
		fail(&w, "connect", e.code, &e);
		return 1;
	}
	began = now_s();
	if (strcmp(w.mode, "flood") == 0)
		flood(&w);
	else if (strcmp(w.mode, "ephemeral") == 0)
		keep_ephemeral(&w);
	else
		work(&w);
	printf("{\"id\": %d, \"own\": %" PRIu64 ", \"sections\": %" PRIu64
	       ", \"flooded\": %ld, \"jeopardies\": %" PRIu64 ", \"expiries\": %" PRIu64
	       ", \"longest_gap_s\": %.3f, \"seconds\": %.3f, \"failed\": %s}\n",
	       w.id, w.own_count, w.sections, atomic_load(&w.flooded), w.jeopardies, w.expiries,
	       w.longest_gap_s, now_s() - began, w.failed ? "true" : "false");
	fflush(stdout);
	chubby_disconnect(w.cell);
	return w.failed ? 1 : 0;
}
