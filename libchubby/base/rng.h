/*
 * A small seeded generator (xoshiro256**), for jitter and for the simulator: the same seed gives
 * the same numbers on every machine. Not for secrets.
 */
#ifndef CHUBBY_BASE_RNG_H
#define CHUBBY_BASE_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
	uint64_t state[4];
};

void rng_init(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);
/* Uniform in 0..bound-1; bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);
/* Uniform in low..high, both included; low <= high. */
int64_t rng_between(struct rng *r, int64_t low, int64_t high);
/* True in `ppm` of a million draws. */
bool rng_chance(struct rng *r, uint32_t ppm);

#endif
