#ifndef CHUBBY_TEST_STORE_FAILURES_H
#define CHUBBY_TEST_STORE_FAILURES_H

#include "life.h"

/* Each `stride`th call of each kind fails once. NULL, or what is wrong; prints what it did. */
const char *failures_try(const char *root, struct life_snapshot *snapshots, uint64_t stride,
			 uint64_t seed);

#endif
