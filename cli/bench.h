/*
 * chubby bench: what its measuring and its showing share.
 */
#ifndef CHUBBY_CLI_BENCH_H
#define CHUBBY_CLI_BENCH_H

#include "cli.h"

/* How long each of many calls took, all of them; beyond the maximum a client stops measuring. */
struct samples {
	uint32_t *us; /* owned */
	size_t count, capacity;
};
#define SAMPLES_MAX ((size_t)4 << 20)

/* False, and nothing added, when it is full. */
bool samples_add(struct samples *s, int64_t ns);
void samples_release(struct samples *s);

/* Of sorted samples: the smallest that is not less than `percent` of them. 0 if there is none. */
uint32_t samples_percentile(const struct samples *s, double percent);
void samples_sort(struct samples *s);
/* Adds all of `from`, which is released. */
void samples_move(struct samples *s, struct samples *from);

/* One line of the result: many calls of one kind. */
struct measure {
	const char *name;  /* in JSON */
	const char *title; /* for a person */
	const char *unit;  /* what is counted */
	uint64_t clients;
	uint64_t count;
	int64_t elapsed_ns;
	struct samples first, second; /* sorted */
	const char *first_name, *second_name;
};

#define MEASURES_MAX 5

int bench_show(const struct cli *c, const char *cell, const struct measure m[], size_t count);

#endif
