/*
 * Is this host's clock fit for a lease? (Design section 3.)
 *
 * Leases are safe as long as the rate of each replica's clock is within ε (drift-ppm) of true
 * time, and the clock neither stands still nor goes back. A replica cannot know true time, but it
 * can know some of what breaks the promise: a kernel that was told to run its clock fast or slow, a
 * steered clock that drifts from the raw counter below it, a clock that does not move. Where it
 * knows, it refuses to take part and says why; a wrong lease would be worse than a replica less.
 *
 * The wall clock is for display alone, but its times are kept for ever and never go back: one that
 * is plainly unset or absurd is refused before it writes.
 */
#ifndef CHUBBYD_CLOCK_WATCH_H
#define CHUBBYD_CLOCK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

/* Between two readings of clock_watch_tick(): the steered clock's error over it must show. */
#define CLOCK_WATCH_EVERY_NS INT64_C(10000000000)

/* All clocks at one moment. */
struct clock_sample {
	int64_t boot_ns;    /* CLOCK_BOOTTIME: what leases are measured with */
	int64_t steered_ns; /* CLOCK_MONOTONIC: the same but for time suspended */
	int64_t raw_ns;     /* CLOCK_MONOTONIC_RAW: the counter, steered by nobody */
	int64_t gap_ns;     /* between the readings of the last two: their uncertainty */
	int64_t wall_unix_ms;
	int64_t steer_ppm; /* how fast the kernel was told to run the clock; 0: as the counter */
};

/* Readings as close to each other as this host's load allows; thread-safe. */
struct clock_sample clock_sample_take(void);

/* NULL, or a sentence on why no lease may be measured on this host: to be freed by the caller.
 * `made_unix_ms`: when the cell was made; 0: it is about to be. Pure. */
char *clock_sample_trouble(const struct clock_sample *s, int32_t drift_ppm, int64_t made_unix_ms);
/* The same of what happened from one sample to a later one. Pure. */
char *clock_interval_trouble(const struct clock_sample *from, const struct clock_sample *to,
			     int32_t drift_ppm);

/* At the start of a replica, and of a cell: NULL or trouble. Takes a few milliseconds. */
char *clock_start_trouble(int32_t drift_ppm, int64_t made_unix_ms);

/* While a replica runs. */
struct clock_watch {
	struct clock_sample last;
	int64_t next_ns; /* of CLOCK_BOOTTIME */
};
void clock_watch_init(struct clock_watch *w);
/* NULL while all is well, or too early for another look. */
char *clock_watch_tick(struct clock_watch *w, int64_t now_ns, int32_t drift_ppm);

#endif
