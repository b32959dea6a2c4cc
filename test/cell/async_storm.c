/*
 * Many calls at once from several threads on one connection: what is acknowledged is there, and
 * each call is told of once.
 */
#include "async.h"

#define THREADS 6
#define FILES 8
#define ROUNDS 40
#define AT_ONCE 12

struct storm;

struct one {
	struct storm *storm;
	struct chubby_call *call;
	atomic_int told;
};

struct storm {
	struct chubby *cell;
	struct tally told;
	pthread_mutex_t mutex; /* guards the next two: the latest acknowledged write of a file */
	uint64_t generation[FILES];
	char latest[FILES][32];
	struct chubby_handle *shared[FILES];
};

struct thread {
	pthread_t id;
	struct storm *storm;
	int number;
};

static void on_done(void *context, struct chubby_call *call)
{
	struct one *o = context;

	WANT(chubby_call_is_done(call));
	WANT(atomic_fetch_add(&o->told, 1) == 0);
	tally_add(&o->storm->told);
}

static void acknowledged(struct storm *s, int file, uint64_t generation, const char text[32])
{
	pthread_mutex_lock(&s->mutex);
	WANT(generation != s->generation[file]);
	if (generation > s->generation[file]) {
		s->generation[file] = generation;
		memcpy(s->latest[file], text, sizeof(s->latest[file]));
	}
	pthread_mutex_unlock(&s->mutex);
}

/* A callback that only looks, and a thread that finishes: the one of the two may come first. */
static void writes(struct thread *t, int round)
{
	struct one ones[AT_ONCE];
	char texts[AT_ONCE][32];
	struct storm *s = t->storm;
	struct chubby_error e = {0};

	for (int i = 0; i < AT_ONCE; i++) {
		char *text = texts[i];
		int n = snprintf(text, sizeof(texts[i]), "%d %d %d", t->number, round, i);

		ones[i].storm = s;
		atomic_init(&ones[i].told, 0);
		WANT_CODE(chubby_set_start(s->shared[(t->number + i) % FILES], text, (size_t)n, 0,
					   i % 2 == 0 ? on_done : NULL, &ones[i], &ones[i].call,
					   &e),
			  CHUBBY_OK, &e);
	}
	for (int i = 0; i < AT_ONCE; i++) {
		uint64_t generation = 0;

		if (i % 4 == 0)
			WANT(chubby_call_wait(ones[i].call, -1));
		WANT_CODE(chubby_set_finish(ones[i].call, &generation, &e), CHUBBY_OK, &e);
		WANT(generation > 0);
		acknowledged(s, (t->number + i) % FILES, generation, texts[i]);
		/* Its memory goes now: nobody may be about to look at it. */
		WANT(atomic_load(&ones[i].told) <= 1);
		memset(&ones[i], 0, sizeof(ones[i]));
	}
}

static void reads(struct thread *t)
{
	struct chubby_call *calls[AT_ONCE];
	struct chubby_error e = {0};

	for (int i = 0; i < AT_ONCE; i++) {
		struct chubby_handle *h = t->storm->shared[i % FILES];

		WANT_CODE(i % 2 == 0 ? chubby_get_start(h, NULL, NULL, &calls[i], &e)
				     : chubby_stat_start(h, NULL, NULL, &calls[i], &e),
			  CHUBBY_OK, &e);
	}
	for (int i = AT_ONCE - 1; i >= 0; i--) {
		struct chubby_contents c;
		struct chubby_stat st;

		if (i % 3 == 0) {
			chubby_call_discard(calls[i]);
		} else if (i % 2 == 0) {
			WANT_CODE(chubby_get_finish(calls[i], &c, &st, &e), CHUBBY_OK, &e);
			WANT(c.size_bytes == st.size_bytes);
			chubby_contents_free(&c);
		} else {
			WANT_CODE(chubby_stat_finish(calls[i], &st, &e), CHUBBY_OK, &e);
		}
	}
}

/* A call that blocks goes between them. */
static void opens(struct thread *t, int round)
{
	struct chubby_call *calls[AT_ONCE];
	struct chubby_error e = {0};
	struct chubby_handle *h;

	for (int i = 0; i < AT_ONCE; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/ls/local/storm-%d-%d", t->number, i);
		WANT_CODE(chubby_open_start(t->storm->cell, path,
					    CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE |
						    CHUBBY_EPHEMERAL,
					    "x", 1, NULL, NULL, &calls[i], &e),
			  CHUBBY_OK, &e);
	}
	for (int i = 0; i < AT_ONCE; i++) {
		if ((i + round) % 4 == 0) {
			chubby_call_discard(calls[i]);
			continue;
		}
		WANT_CODE(chubby_open_finish(calls[i], &h, NULL, &e), CHUBBY_OK, &e);
		if (i % 2 == 0)
			chubby_close(h);
		else
			chubby_close_start(h);
	}
}

static void *storm_thread(void *context)
{
	struct thread *t = context;

	for (int round = 0; round < ROUNDS; round++) {
		writes(t, round);
		reads(t);
		if (round % 4 == 0)
			opens(t, round);
	}
	return NULL;
}

void run_storm(const char *servers)
{
	static struct storm s;
	struct thread threads[THREADS];
	struct chubby_error e = {0};

	(void)servers;
	s.cell = async_connect(NULL, NULL);
	tally_init(&s.told);
	pthread_mutex_init(&s.mutex, NULL);
	for (int i = 0; i < FILES; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/ls/local/storm-file-%d", i);
		s.shared[i] = async_open(s.cell, path);
	}
	for (int i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){.storm = &s, .number = i};
		WANT(pthread_create(&threads[i].id, NULL, storm_thread, &threads[i]) == 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i].id, NULL);
	for (int i = 0; i < FILES; i++) {
		struct chubby_contents c;
		struct chubby_stat st;

		WANT_CODE(chubby_get(s.shared[i], &c, &st, &e), CHUBBY_OK, &e);
		WANT(st.contents_generation == s.generation[i]);
		WANT(strcmp(c.data, s.latest[i]) == 0);
		chubby_contents_free(&c);
	}
	chubby_disconnect(s.cell);
}
