/*
 * Time inside the project: int64 nanoseconds on CLOCK_BOOTTIME, handed in as `now`.
 *
 * Pure code never reads a clock. The wall clock exists for display only, as int64 milliseconds
 * since 1970 in fields named `…_unix_ms`.
 */
#ifndef CHUBBY_BASE_TIME_H
#define CHUBBY_BASE_TIME_H

#include <stdint.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* "No deadline": later than every instant that is compared with it. */
#define TIME_NEVER INT64_MAX

/* Default bound on the rate error of each clock, in parts per million (design section 3). */
#define DRIFT_PPM_DEFAULT 10000

/*
 * The end of a lease as its *beneficiary* may believe in it: `start` plus the duration, shortened
 * by (1 - e)/(1 + e), where e = drift_ppm / 1e6 bounds the rate error of either clock. The grantor
 * counts the whole duration from its own, later, instant. Every lease end in the project comes
 * from here. `duration_ns` >= 0; `drift_ppm` in 0..500000.
 */
int64_t lease_end(int64_t start_ns, int64_t duration_ns, int32_t drift_ppm);

/* The smaller of two deadlines. */
static inline int64_t time_earlier(int64_t a_ns, int64_t b_ns)
{
	return a_ns < b_ns ? a_ns : b_ns;
}

#endif
