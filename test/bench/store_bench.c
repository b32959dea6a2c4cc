/*
 * store_bench: durable commits of a store, and what they cost.
 *
 *   store_bench [DIRECTORY [SECONDS]]
 *
 * For 1, 8 and 64 rows of 200 bytes a write: one write under way at a time, each measured from
 * store_write() to the report. CPU is the whole process's. Then rows a second without waiting.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/time.h"
#include "base/value.h"
#include "store/store.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SAMPLES_MAX 400000

struct bench {
	struct store *store;
	pthread_mutex_t mutex;
	pthread_cond_t news;
	uint64_t persisted, number, slot;
	struct value **returned;
	uint32_t returned_count;
	int64_t samples[SAMPLES_MAX];
};

static void on_persisted(void *context, uint64_t number, uint32_t count)
{
	struct bench *b = context;

	pthread_mutex_lock(&b->mutex);
	b->persisted = number;
	pthread_cond_signal(&b->news);
	pthread_mutex_unlock(&b->mutex);
}

static void on_failed(void *context, enum error e, const char *trouble)
{
	fprintf(stderr, "%s: %s\n", error_name(e), trouble);
	_exit(1);
}

static void on_values(void *context, struct value **values, uint32_t count)
{
	struct bench *b = context;

	pthread_mutex_lock(&b->mutex);
	b->returned = mem_realloc_array(b->returned, b->returned_count + count, sizeof(*values));
	memcpy(b->returned + b->returned_count, values, count * sizeof(*values));
	b->returned_count += count;
	pthread_mutex_unlock(&b->mutex);
	free(values);
}

static void on_slot(void *context, struct slot slot)
{
}

static struct value *make_value(void)
{
	static const uint8_t command[196];
	struct value_builder builder;
	struct value *v;

	value_builder_init(&builder);
	if (!value_builder_add(&builder, (struct bytes){command, sizeof(command)}))
		abort();
	v = value_builder_finish(&builder);
	value_builder_release(&builder);
	return v;
}

static void submit(struct bench *b, uint32_t rows)
{
	struct paxos_accepted accepted[64];
	struct paxos_write w = {.number = ++b->number, .accepted_count = rows};

	w.durable.promised = (struct ballot){1, {1}, {1, 1}};
	w.durable.chosen = (struct slot){b->slot};
	w.accepted = accepted;
	for (uint32_t i = 0; i < rows; i++)
		accepted[i] = (struct paxos_accepted){{++b->slot},
						      w.durable.promised,
						      make_value()};
	store_write(b->store, &w);
	for (uint32_t i = 0; i < rows; i++)
		value_unref(accepted[i].value);
}

/* Waits until at most `ahead` writes are not reported; drops what came back. */
static void settle(struct bench *b, uint64_t ahead)
{
	pthread_mutex_lock(&b->mutex);
	while (b->persisted + ahead < b->number)
		pthread_cond_wait(&b->news, &b->mutex);
	for (uint32_t i = 0; i < b->returned_count; i++)
		value_unref(b->returned[i]);
	b->returned_count = 0;
	pthread_mutex_unlock(&b->mutex);
}

static int64_t cpu_ns(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * NS_PER_S +
	       (u.ru_utime.tv_usec + u.ru_stime.tv_usec) * NS_PER_US;
}

static int by_size(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void measure(struct bench *b, uint32_t rows, int64_t run_ns)
{
	int64_t began_ns = clock_now_ns(), cpu = cpu_ns(), spent_ns;
	size_t count = 0;

	while (count < SAMPLES_MAX && clock_now_ns() - began_ns < run_ns) {
		int64_t from_ns = clock_now_ns();

		submit(b, rows);
		settle(b, 0);
		b->samples[count++] = clock_now_ns() - from_ns;
	}
	spent_ns = clock_now_ns() - began_ns;
	cpu = cpu_ns() - cpu;
	qsort(b->samples, count, sizeof(b->samples[0]), by_size);
	size_t half = count / 2, most = count * 99 / 100, nearly_all = count * 999 / 1000;

	printf("%2u rows: %7.0f commits/s  p50 %5.0f  p99 %6.0f  p99.9 %6.0f  max %6.0f us"
	       "  cpu %5.1f us a commit\n",
	       rows, (double)count * 1e9 / (double)spent_ns, (double)b->samples[half] / 1e3,
	       (double)b->samples[most] / 1e3, (double)b->samples[nearly_all] / 1e3,
	       (double)b->samples[count - 1] / 1e3, (double)cpu / 1e3 / (double)count);
}

static void measure_gathered(struct bench *b, int64_t run_ns)
{
	struct store_counters before, after;
	int64_t began_ns = clock_now_ns();
	double seconds;

	store_counters(b->store, &before);
	while (clock_now_ns() - began_ns < run_ns) {
		submit(b, 1);
		settle(b, 128);
	}
	settle(b, 0);
	seconds = (double)(clock_now_ns() - began_ns) / 1e9;
	store_counters(b->store, &after);
	printf("gathered: %.0f rows/s in %.0f commits/s\n",
	       (double)(after.log_rows - before.log_rows) / seconds,
	       (double)(after.log_commits - before.log_commits) / seconds);
}

int main(int argc, char **argv)
{
	const char *directory = argc > 1 ? argv[1] : "store_bench.dir";
	int64_t run_ns = (argc > 2 ? strtoll(argv[2], NULL, 10) : 3) * NS_PER_S;
	struct store_identity identity = {.cell_id_high = 1, .self = {1}, .incarnation = {1, 1}};
	struct bench *b = mem_zalloc(sizeof(*b));
	struct store_callbacks callbacks = {b,         on_persisted, on_failed,
					    on_values, on_slot,      on_slot};
	char *trouble = NULL;

	pthread_mutex_init(&b->mutex, NULL);
	pthread_cond_init(&b->news, NULL);
	if (store_genesis(directory, &identity, &trouble) != ERROR_OK ||
	    store_open(directory, NULL, &b->store, &trouble) != ERROR_OK ||
	    store_start(b->store, &callbacks, &trouble) != ERROR_OK) {
		fprintf(stderr, "%s\n", trouble);
		return 1;
	}
	measure(b, 1, run_ns);
	measure(b, 8, run_ns);
	measure(b, 64, run_ns);
	measure_gathered(b, run_ns);
	store_close(b->store);
	free(b->returned);
	free(b);
	return 0;
}
