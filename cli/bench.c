/*
 * chubby bench: a short measure of one's own cell, from the outside.
 *
 * Each client is a session and a thread of this process. A part of the measurement is one call, or
 * one pair, that a number of clients repeat for some seconds; all begin at the same moment, and the
 * rate counts what was done until the last has finished. Every call's duration is kept.
 *
 * What it makes is ephemeral: should this process be killed, it goes with the sessions.
 */
#include "bench.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define CONTENTS_BYTES 100

static volatile sig_atomic_t interrupted;

struct bench;

struct client {
	struct bench *bench;
	uint32_t number; /* from 1 */
	struct chubby *cell;
	struct chubby_handle *own;    /* of a node that no other client uses */
	struct chubby_handle *common; /* of the one that all use */
	pthread_t thread;
	uint64_t count;
	struct samples first, second;
	struct chubby_error error; /* code OK: none */
};

/* One repetition; false when it failed, or when the client is to stop. */
typedef bool bench_work(struct client *c);

struct bench {
	const struct cli *cli;
	char directory[256];
	struct chubby_handle *directory_handle; /* of the first client */
	uint32_t client_count;
	struct client *clients; /* owned */
	pthread_barrier_t start;
	bench_work *work;
	int64_t until_ns;
	atomic_uint last_holder; /* number of the client that had the common lock before */
};

static void on_signal(int number)
{
	interrupted = number;
}

/* ---- what is measured ----------------------------------------------------------------------- */

static bool acquire_timed(struct client *c, struct chubby_handle *h)
{
	int64_t began_ns = clock_now_ns();

	return chubby_acquire(h, NULL, &c->error) == CHUBBY_OK &&
	       samples_add(&c->first, clock_now_ns() - began_ns);
}

static bool work_pair(struct client *c)
{
	int64_t began_ns;

	if (!acquire_timed(c, c->own))
		return false;
	began_ns = clock_now_ns();
	if (chubby_release(c->own, &c->error) != CHUBBY_OK ||
	    !samples_add(&c->second, clock_now_ns() - began_ns))
		return false;
	c->count++;
	return true;
}

/* Counts only when the lock went from one client to another. */
static bool work_handoff(struct client *c)
{
	if (!acquire_timed(c, c->common))
		return false;
	if (atomic_exchange(&c->bench->last_holder, c->number) != c->number)
		c->count++;
	return chubby_release(c->common, &c->error) == CHUBBY_OK;
}

static bool work_read(struct client *c)
{
	int64_t began_ns = clock_now_ns();
	struct chubby_contents contents;

	if (chubby_get(c->own, &contents, NULL, &c->error) != CHUBBY_OK)
		return false;
	chubby_contents_free(&contents);
	c->count++;
	return samples_add(&c->first, clock_now_ns() - began_ns);
}

static bool work_write(struct client *c)
{
	static const char contents[CONTENTS_BYTES] = "bench";
	int64_t began_ns = clock_now_ns();

	if (chubby_set(c->own, contents, sizeof(contents), 0, NULL, &c->error) != CHUBBY_OK)
		return false;
	c->count++;
	return samples_add(&c->first, clock_now_ns() - began_ns);
}

/* ---- running one part ----------------------------------------------------------------------- */

static void *client_run(void *argument)
{
	struct client *c = argument;

	pthread_barrier_wait(&c->bench->start);
	while (interrupted == 0 && clock_now_ns() < c->bench->until_ns && c->bench->work(c))
		continue;
	return NULL;
}

static void part_say(const struct cli *c, const struct measure *m)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "%s: %" PRIu64 " client%s, %" PRIu64 " s …\n", m->title, m->clients,
		m->clients == 1 ? "" : "s", c->seconds);
}

static int part_collect(struct bench *b, struct measure *m)
{
	const struct client *failed = NULL;

	for (uint32_t i = 0; i < m->clients; i++) {
		struct client *c = &b->clients[i];

		m->count += c->count;
		c->count = 0;
		samples_move(&m->first, &c->first);
		samples_move(&m->second, &c->second);
		if (c->error.code != CHUBBY_OK)
			failed = c;
	}
	samples_sort(&m->first);
	samples_sort(&m->second);
	return failed != NULL ? failure(&failed->error) : 0;
}

static int part_run(struct bench *b, bench_work *work, struct measure *m)
{
	int64_t began_ns;

	part_say(b->cli, m);
	b->work = work;
	CHECK(pthread_barrier_init(&b->start, NULL, (unsigned)m->clients + 1) == 0);
	for (uint32_t i = 0; i < m->clients; i++)
		CHECK(pthread_create(&b->clients[i].thread, NULL, client_run, &b->clients[i]) == 0);
	began_ns = clock_now_ns();
	b->until_ns = began_ns + (int64_t)b->cli->seconds * NS_PER_S;
	pthread_barrier_wait(&b->start);
	for (uint32_t i = 0; i < m->clients; i++)
		pthread_join(b->clients[i].thread, NULL);
	m->elapsed_ns = clock_now_ns() - began_ns;
	pthread_barrier_destroy(&b->start);
	return part_collect(b, m);
}

static int parts_run(struct bench *b, struct measure m[MEASURES_MAX], size_t *ret_count)
{
	const uint64_t n = b->cli->clients;
	const struct {
		bench_work *work;
		struct measure measure;
	} parts[MEASURES_MAX] = {
		{work_pair,
		 {.name = "one_client",
		  .title = "one client, its own lock",
		  .unit = "pairs",
		  .clients = 1,
		  .first_name = "acquire",
		  .second_name = "release"}},
		{work_pair,
		 {.name = "own_locks",
		  .title = "each its own lock",
		  .unit = "pairs",
		  .clients = n,
		  .first_name = "acquire",
		  .second_name = "release"}},
		{work_handoff,
		 {.name = "one_lock",
		  .title = "one lock for all",
		  .unit = "handoffs",
		  .clients = n,
		  .first_name = "wait"}},
		{work_write,
		 {.name = "writes",
		  .title = "writes of 100 bytes",
		  .unit = "writes",
		  .clients = n,
		  .first_name = "write"}},
		{work_read,
		 {.name = "reads",
		  .title = "reads of 100 bytes",
		  .unit = "reads",
		  .clients = n,
		  .first_name = "read"}},
	};
	int status = 0;

	for (size_t i = 0; i < MEASURES_MAX && status == 0 && interrupted == 0; i++) {
		m[i] = parts[i].measure;
		*ret_count = i + 1;
		status = part_run(b, parts[i].work, &m[i]);
	}
	return status;
}

/* ---- before and after ----------------------------------------------------------------------- */

static int node_open(struct client *c, const char *name, struct chubby_handle **ret_handle)
{
	struct chubby_error e;
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", c->bench->directory, name);
	if (chubby_open(c->cell, path,
			CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE | CHUBBY_EPHEMERAL, NULL, 0,
			ret_handle, NULL, &e) != CHUBBY_OK)
		return failure(&e);
	return 0;
}

static int directory_make(struct bench *b)
{
	const char *cell = b->cli->settings.cell;
	struct chubby_error e;

	snprintf(b->directory, sizeof(b->directory), "/ls/%.63s/bench-%" PRIu64,
		 cell != NULL ? cell : "local", chubby_session_id(b->clients[0].cell));
	if (chubby_open(b->clients[0].cell, b->directory,
			CHUBBY_READ | CHUBBY_CREATE | CHUBBY_EXCLUSIVE | CHUBBY_DIRECTORY |
				CHUBBY_EPHEMERAL,
			NULL, 0, &b->directory_handle, NULL, &e) != CHUBBY_OK)
		return failure(&e);
	return 0;
}

static int client_open(struct bench *b, struct client *c)
{
	char name[24];
	int status = cell_connect(b->cli, "chubby bench", NULL, NULL, &c->cell);

	if (status == 0 && c->number == 1)
		status = directory_make(b);
	snprintf(name, sizeof(name), "%" PRIu32, c->number);
	if (status == 0)
		status = node_open(c, name, &c->own);
	if (status == 0)
		status = node_open(c, "common", &c->common);
	return status;
}

static int clients_open(struct bench *b)
{
	int status = 0;

	for (uint32_t i = 0; i < b->client_count && status == 0 && interrupted == 0; i++) {
		b->clients[i].bench = b;
		b->clients[i].number = i + 1;
		status = client_open(b, &b->clients[i]);
	}
	return status;
}

/* The first last: it has the directory. */
static void clients_close(struct bench *b)
{
	for (uint32_t i = b->client_count; i > 0; i--)
		chubby_disconnect(b->clients[i - 1].cell);
	free(b->clients);
}

/* A second signal ends this process at once. */
static void signals_take(void)
{
	struct sigaction a = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

int command_bench(const struct cli *c)
{
	struct measure m[MEASURES_MAX] = {{0}};
	struct bench b = {.cli = c, .client_count = (uint32_t)c->clients};
	size_t count = 0;
	int status;

	say("loading the cell for about %" PRIu64 " s with up to %" PRIu64 " clients",
	    c->seconds * MEASURES_MAX, c->clients);
	signals_take();
	b.clients = mem_zalloc(b.client_count * sizeof(*b.clients));
	status = clients_open(&b);
	if (status == 0)
		status = parts_run(&b, m, &count);
	clients_close(&b);
	if (status == 0 && interrupted != 0)
		status = 128 + (int)interrupted;
	if (status == 0)
		status = bench_show(c, c->settings.cell != NULL ? c->settings.cell : "local", m,
				    count);
	for (size_t i = 0; i < count; i++) {
		samples_release(&m[i].first);
		samples_release(&m[i].second);
	}
	return status;
}
