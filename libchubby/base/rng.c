#include "rng.h"

#include "check.h"

/* splitmix64: spreads a seed of few bits over the whole state, which must not be all zero. */
static uint64_t spread(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

void rng_init(struct rng *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		r->state[i] = spread(&seed);
}

uint64_t rng_next(struct rng *r)
{
	uint64_t *s = r->state;
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t shifted = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= shifted;
	s[3] = rotate_left(s[3], 45);
	return result;
}

uint64_t rng_below(struct rng *r, uint64_t bound)
{
	uint64_t draw, surplus;

	CHECK(bound > 0);
	/* 2^64 mod bound: draws below it would make the small results more likely. */
	surplus = (0 - bound) % bound;
	do {
		draw = rng_next(r);
	} while (draw < surplus);
	return draw % bound;
}

int64_t rng_between(struct rng *r, int64_t low, int64_t high)
{
	uint64_t span;

	CHECK(low <= high);
	span = (uint64_t)high - (uint64_t)low;
	if (span == UINT64_MAX)
		return (int64_t)rng_next(r);
	return (int64_t)((uint64_t)low + rng_below(r, span + 1));
}

bool rng_chance(struct rng *r, uint32_t ppm)
{
	return rng_below(r, 1000000) < ppm;
}
