/*
 * For the tests of the judges: a third opinion, and histories to judge.
 */
#ifndef CHUBBY_TEST_LIN_HELP_H
#define CHUBBY_TEST_LIN_HELP_H

#include "base/rng.h"
#include "lin.h"

#define BRUTE_MAX 7

/*
 * Every order of every choice of operations, each replayed from its beginning by a model of its
 * own. One object, at most BRUTE_MAX operations. `witness`: in the order of the revisions.
 */
bool brute_force(const struct lin_history *h, bool witness);

struct random_plan {
	bool files;
	bool immortal; /* nobody expires */
	uint32_t clients, count;
	int64_t gap_ns;       /* at most, between two calls of a client */
	uint32_t unknown_ppm; /* of operations */
	uint32_t silent_ppm;  /* of those that took effect: their revision is not told */
};

/* What clients of a faultless object saw; one object. */
void random_history(struct lin_history *h, struct rng *rng, const struct random_plan *plan);
/* Changes one field of one operation to something else that could stand there. */
void random_change(struct lin_history *h, struct rng *rng);

#endif
