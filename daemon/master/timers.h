/*
 * timers: a binary heap of deadlines with stable order, for the master's leases and waits.
 *
 * A timer is embedded in its owner; the heap holds pointers only. Deadlines are on whatever clock
 * the owner uses. Equal deadlines fire in the order in which they were set, so that runs repeat.
 */
#ifndef CHUBBY_MASTER_TIMERS_H
#define CHUBBY_MASTER_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct timer {
	int64_t at_ns;
	uint64_t order;
	size_t position; /* in the heap, from 1; 0: not set */
	int kind;        /* the owner's */
	void *owner;
};

struct timers {
	struct timer **heap; /* owned array of borrowed timers; [0] unused */
	size_t count;
	size_t capacity;
	uint64_t next_order;
};

void timers_release(struct timers *t);
/* Sets or moves the timer. */
void timers_set(struct timers *t, struct timer *timer, int64_t at_ns);
/* Takes it out; harmless when it is not set. */
void timers_cancel(struct timers *t, struct timer *timer);
/* The earliest deadline, or INT64_MAX. */
int64_t timers_next(const struct timers *t);
/* Takes out and returns the earliest timer whose deadline is at or before `now_ns`, or NULL. */
struct timer *timers_expire(struct timers *t, int64_t now_ns);

#endif
