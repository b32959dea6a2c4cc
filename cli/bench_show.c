/*
 * The result of a measurement: percentiles of all samples, as a table or as JSON.
 */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

/* ---- samples -------------------------------------------------------------------------------- */

static void samples_reserve(struct samples *s, size_t capacity)
{
	uint32_t *us = mem_alloc(capacity * sizeof(*us));

	if (s->count > 0)
		memcpy(us, s->us, s->count * sizeof(*us));
	free(s->us);
	s->us = us;
	s->capacity = capacity;
}

bool samples_add(struct samples *s, int64_t ns)
{
	int64_t us = ns / 1000;

	if (s->count == SAMPLES_MAX)
		return false;
	if (s->count == s->capacity)
		samples_reserve(s, s->capacity == 0 ? 1024 : s->capacity * 2);
	s->us[s->count++] = us < 0 ? 0 : us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
	return true;
}

void samples_release(struct samples *s)
{
	free(s->us);
	*s = (struct samples){0};
}

void samples_move(struct samples *s, struct samples *from)
{
	if (from->count > 0) {
		samples_reserve(s, s->count + from->count);
		memcpy(s->us + s->count, from->us, from->count * sizeof(*s->us));
		s->count += from->count;
	}
	samples_release(from);
}

static int us_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void samples_sort(struct samples *s)
{
	if (s->count > 0)
		qsort(s->us, s->count, sizeof(*s->us), us_compare);
}

uint32_t samples_percentile(const struct samples *s, double percent)
{
	double rank = percent / 100 * (double)s->count;
	size_t i = (size_t)rank;

	if (s->count == 0)
		return 0;
	/* The nearest rank: of 100 samples the 99th for 99 %, which has the index 98. */
	if ((double)i < rank)
		i++;
	i = i > s->count ? s->count : i;
	return s->us[i > 0 ? i - 1 : 0];
}

/* ---- showing -------------------------------------------------------------------------------- */

static double rate_of(const struct measure *m)
{
	return m->elapsed_ns > 0 ? (double)m->count * NS_PER_S / (double)m->elapsed_ns : 0;
}

static double ms_of(const struct samples *s, double percent)
{
	return samples_percentile(s, percent) / 1000.0;
}

static void add_samples(json_t *j, const char *name, const struct samples *s)
{
	json_object_set_new(j, name,
			    json_pack("{s:I, s:f, s:f, s:f}", "count", (json_int_t)s->count,
				      "p50_ms", ms_of(s, 50), "p99_ms", ms_of(s, 99), "longest_ms",
				      ms_of(s, 100)));
}

static json_t *json_of_measure(const struct measure *m)
{
	json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:f, s:f}", "name", m->name, "unit", m->unit,
			      "clients", (json_int_t)m->clients, "count", (json_int_t)m->count,
			      "elapsed_ms", (double)m->elapsed_ns / NS_PER_MS, "per_second",
			      rate_of(m));

	add_samples(j, m->first_name, &m->first);
	if (m->second_name != NULL)
		add_samples(j, m->second_name, &m->second);
	return j;
}

static void print_samples(const char *name, const struct samples *s)
{
	printf("  %-9s %9.2f %9.2f %9.2f %9zu", name, ms_of(s, 50), ms_of(s, 99), ms_of(s, 100),
	       s->count);
}

static void print_measure(const struct measure *m)
{
	char count[80];

	snprintf(count, sizeof(count), "%.0f %s/s", rate_of(m), m->unit);
	printf("%-26s %7" PRIu64 "  %18s", m->title, m->clients, count);
	print_samples(m->first_name, &m->first);
	printf("\n");
	if (m->second_name != NULL) {
		printf("%-26s %7s  %18s", "", "", "");
		print_samples(m->second_name, &m->second);
		printf("\n");
	}
}

int bench_show(const struct cli *c, const char *cell, const struct measure m[], size_t count)
{
	json_t *parts;

	if (!c->json) {
		printf("%-26s %7s  %18s  %-9s %9s %9s %9s %9s\n", "", "clients", "rate", "",
		       "p50 ms", "p99 ms", "longest", "samples");
		for (size_t i = 0; i < count; i++)
			print_measure(&m[i]);
		return 0;
	}
	parts = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(parts, json_of_measure(&m[i]));
	return print_json(json_pack("{s:s, s:I, s:I, s:o}", "cell", cell, "seconds",
				    (json_int_t)c->seconds, "clients", (json_int_t)c->clients,
				    "parts", parts));
}
