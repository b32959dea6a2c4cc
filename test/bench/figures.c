/*
 * figures: what one's own cell does, measured through libchubby.
 *
 *   figures latency  [--seconds S]              one client, one lock: acquire and release
 *   figures own      [--seconds S] [--clients N] N clients, a lock each: pairs a second
 *   figures handoff  [--seconds S] [--clients N] N clients, one lock: grants a second
 *   figures reads    [--seconds S] [--clients N] linearizable reads
 *   figures writes   [--seconds S]              prints each gap above 200 ms between two
 *                                               acknowledged writes; for kills of the master
 *
 * Each client is a session of its own with a thread that makes one call after the other.
 */
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chubby.h"

#define CLIENTS_MAX 256
#define SAMPLES_MAX 400000
#define GAP_MS 200.0

struct client {
	pthread_t thread;
	int id;
	const char *mode;
	struct chubby *cell;
	struct chubby_handle *handle;
	uint64_t pairs;
	size_t sample_count;
	float *acquire_ms, *release_ms;
	bool failed;
};

static atomic_bool running, stop;

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static bool check(struct client *c, const char *what, enum chubby_code code,
		  const struct chubby_error *e)
{
	if (code == CHUBBY_OK)
		return true;
	fprintf(stderr, "client %d: %s: %s: %s\n", c->id, what, chubby_code_name(code), e->message);
	c->failed = true;
	return false;
}

static void pair(struct client *c)
{
	struct chubby_error e = {0};
	double t0 = now_ms(), t1, t2;

	if (!check(c, "acquire", chubby_acquire(c->handle, NULL, &e), &e))
		return;
	t1 = now_ms();
	if (!check(c, "release", chubby_release(c->handle, &e), &e))
		return;
	t2 = now_ms();
	if (!atomic_load(&running))
		return;
	c->pairs++;
	if (c->sample_count < SAMPLES_MAX) {
		c->acquire_ms[c->sample_count] = (float)(t1 - t0);
		c->release_ms[c->sample_count++] = (float)(t2 - t1);
	}
}

static void read_once(struct client *c)
{
	struct chubby_error e = {0};
	struct chubby_contents contents = {0};
	double t0 = now_ms();

	if (!check(c, "read", chubby_get(c->handle, &contents, NULL, &e), &e))
		return;
	chubby_contents_free(&contents);
	if (!atomic_load(&running))
		return;
	c->pairs++;
	if (c->sample_count < SAMPLES_MAX)
		c->acquire_ms[c->sample_count++] = (float)(now_ms() - t0);
}

static void write_once(struct client *c, double *last)
{
	struct chubby_error e = {0};
	double now;

	if (!check(c, "write", chubby_set(c->handle, "x", 1, 0, NULL, &e), &e))
		return;
	now = now_ms();
	if (*last > 0 && now - *last > GAP_MS) {
		printf("gap %.0f ms\n", now - *last);
		fflush(stdout);
	}
	*last = now;
	c->pairs++;
}

static void *client_main(void *argument)
{
	struct client *c = argument;
	double last = 0;

	while (!atomic_load(&stop) && !c->failed) {
		if (strcmp(c->mode, "reads") == 0)
			read_once(c);
		else if (strcmp(c->mode, "writes") == 0)
			write_once(c, &last);
		else
			pair(c);
	}
	return NULL;
}

static bool prepare(struct client *c)
{
	struct chubby_error e = {0};
	bool shared = strcmp(c->mode, "handoff") == 0;
	char path[64];

	snprintf(path, sizeof(path), "/ls/local/figures-%s-%d", c->mode, shared ? 0 : c->id);
	c->acquire_ms = malloc(SAMPLES_MAX * sizeof(float));
	c->release_ms = malloc(SAMPLES_MAX * sizeof(float));
	if (c->acquire_ms == NULL || c->release_ms == NULL)
		return false;
	return check(c, "connect", chubby_connect(NULL, &c->cell, &e), &e) &&
	       check(c, "open",
		     chubby_open(c->cell, path, CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE, "x", 1,
				 &c->handle, NULL, &e),
		     &e);
}

static int compare(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void report(const char *what, struct client *clients, int count, bool second)
{
	size_t n = 0, at = 0;
	float *all;

	for (int i = 0; i < count; i++)
		n += clients[i].sample_count;
	if (n == 0)
		return;
	all = malloc(n * sizeof(*all));
	if (all == NULL)
		return;
	for (int i = 0; i < count; i++) {
		memcpy(all + at, second ? clients[i].release_ms : clients[i].acquire_ms,
		       clients[i].sample_count * sizeof(*all));
		at += clients[i].sample_count;
	}
	qsort(all, n, sizeof(*all), compare);
	printf("%-8s n=%zu p50=%.3f ms p90=%.3f ms p99=%.3f ms max=%.3f ms\n", what, n,
	       (double)all[n / 2], (double)all[n * 9 / 10], (double)all[n * 99 / 100],
	       (double)all[n - 1]);
	free(all);
}

static void pass(double seconds)
{
	struct timespec t = {.tv_sec = (time_t)seconds,
			     .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&t, NULL);
}

static void measure(struct client *clients, int count, double seconds)
{
	double began, took;
	uint64_t pairs = 0;

	for (int i = 0; i < count; i++)
		pthread_create(&clients[i].thread, NULL, client_main, &clients[i]);
	pass(0.5); /* warm */
	atomic_store(&running, true);
	began = now_ms();
	pass(seconds);
	atomic_store(&running, false);
	took = now_ms() - began;
	for (int i = 0; i < count; i++)
		pairs += clients[i].pairs;
	atomic_store(&stop, true);
	for (int i = 0; i < count; i++)
		pthread_join(clients[i].thread, NULL);
	printf("%s: %d clients, %.0f/s\n", clients[0].mode, count, (double)pairs / took * 1e3);
	report(strcmp(clients[0].mode, "reads") == 0 ? "read" : "acquire", clients, count, false);
	if (strcmp(clients[0].mode, "reads") != 0)
		report("release", clients, count, true);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"seconds", required_argument, NULL, 's'},
		{"clients", required_argument, NULL, 'c'},
		{NULL, 0, NULL, 0},
	};
	static struct client clients[CLIENTS_MAX];
	double seconds = 5;
	int count = 1, c;
	bool failed = false;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			seconds = strtod(optarg, NULL);
		else if (c == 'c')
			count = (int)strtol(optarg, NULL, 10);
		else
			return 64;
	}
	if (optind + 1 != argc || count < 1 || count > CLIENTS_MAX) {
		fprintf(stderr, "usage: figures latency|own|handoff|reads|writes [--seconds S] "
				"[--clients N]\n");
		return 64;
	}
	for (int i = 0; i < count; i++) {
		clients[i].id = i;
		clients[i].mode = argv[optind];
		if (!prepare(&clients[i]))
			return 1;
	}
	measure(clients, count, seconds);
	for (int i = 0; i < count; i++) {
		failed = failed || clients[i].failed;
		chubby_close(clients[i].handle);
		chubby_disconnect(clients[i].cell);
		free(clients[i].acquire_ms);
		free(clients[i].release_ms);
	}
	return failed ? 1 : 0;
}
