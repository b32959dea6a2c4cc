#include "clock_watch.h"

#include <string.h>
#include <sys/timex.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/time.h"
#include "config.h"

#define PPM INT64_C(1000000)
#define MS_PER_DAY INT64_C(86400000)
/* 2026-01-01: this program is younger than that. */
#define WALL_LEAST_UNIX_MS INT64_C(1767225600000)
/* 2200-01-01: times are kept below 2^53 and shown with four digits of the year. */
#define WALL_MOST_UNIX_MS INT64_C(7258118400000)
/* The kernel's tick is 10 ms long at nominal speed: one unit of it is 100 ppm. */
#define TICK_NOMINAL_US 10000
#define TICK_UNIT_PPM 100
/* timex.freq is in ppm with 16 bits of fraction. */
#define FREQ_PER_PPM 65536
#define READINGS 5
/* A clock that does not move in so many readings stands still. */
#define STILL_NS (20 * NS_PER_MS)

/* ---- judging -------------------------------------------------------------------------------- */

static void wall_text(int64_t unix_ms, char text[32])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;

	if (gmtime_r(&seconds, &tm) == NULL || strftime(text, 32, "%Y-%m-%d %H:%M UTC", &tm) == 0)
		memcpy(text, "no date at all", sizeof("no date at all"));
}

static char *wall_trouble(int64_t wall_unix_ms, int64_t made_unix_ms)
{
	char now[32], made[32];

	wall_text(wall_unix_ms, now);
	wall_text(made_unix_ms, made);
	if (wall_unix_ms < WALL_LEAST_UNIX_MS || wall_unix_ms > WALL_MOST_UNIX_MS)
		return config_sentence("the wall clock says %s: set the clock, and let NTP keep it",
				       now);
	/* Machines of one cell may disagree a little on what time it is. */
	if (wall_unix_ms < made_unix_ms - MS_PER_DAY)
		return config_sentence("the wall clock says %s, but this cell was made on %s: set "
				       "the clock, and let NTP keep it",
				       now, made);
	return NULL;
}

static char *steer_trouble(int64_t steer_ppm, int32_t drift_ppm)
{
	if (steer_ppm <= drift_ppm && steer_ppm >= -drift_ppm)
		return NULL;
	return config_sentence("the kernel was told to run the clock %lld ppm %s, and leases allow "
			       "for %d (drift-ppm): limit what steers it (chrony: maxslewrate)",
			       (long long)(steer_ppm < 0 ? -steer_ppm : steer_ppm),
			       steer_ppm < 0 ? "slow" : "fast", drift_ppm);
}

char *clock_sample_trouble(const struct clock_sample *s, int32_t drift_ppm, int64_t made_unix_ms)
{
	char *trouble;

	if (s->boot_ns <= 0 || s->steered_ns <= 0 || s->raw_ns <= 0)
		return config_sentence("the monotonic clock shows no time: leases cannot be "
				       "measured on this host");
	trouble = steer_trouble(s->steer_ppm, drift_ppm);
	return trouble != NULL ? trouble : wall_trouble(s->wall_unix_ms, made_unix_ms);
}

char *clock_interval_trouble(const struct clock_sample *from, const struct clock_sample *to,
			     int32_t drift_ppm)
{
	int64_t boot = to->boot_ns - from->boot_ns;
	int64_t steered = to->steered_ns - from->steered_ns;
	int64_t raw = to->raw_ns - from->raw_ns;
	int64_t unsure = from->gap_ns + to->gap_ns;
	int64_t error = steered - raw, error_ppm;

	if (boot < 0 || steered < 0)
		return config_sentence("the monotonic clock went back by %lld ms: leases cannot be "
				       "measured on this host",
				       (long long)(-(boot < 0 ? boot : steered) / NS_PER_MS));
	/* What the gaps between the readings may explain is held against nobody. */
	error += error > 0 ? -unsure : unsure;
	if ((steered > raw) != (error > 0))
		error = 0;
	if (raw < NS_PER_S && steered < NS_PER_S)
		return NULL;
	if (raw <= 0)
		return config_sentence("the hardware's counter stands still: leases cannot be "
				       "measured on this host");
	error_ppm = (int64_t)((double)error * (double)PPM / (double)raw);
	if (error_ppm > drift_ppm || error_ppm < -drift_ppm)
		return config_sentence("the clock ran %lld ppm %s of the hardware's counter, and "
				       "leases allow for %d (drift-ppm): is something steering it?",
				       (long long)(error_ppm < 0 ? -error_ppm : error_ppm),
				       error_ppm < 0 ? "slower" : "faster", drift_ppm);
	return NULL;
}

/* ---- looking -------------------------------------------------------------------------------- */

/* 0 for a clock that this kernel does not have. */
static int64_t read_clock(clockid_t which)
{
	struct timespec t;

	return clock_gettime(which, &t) == 0 ? t.tv_sec * NS_PER_S + t.tv_nsec : 0;
}

static int64_t steer_ppm(void)
{
	struct timex t = {0}; /* modes 0: asks, and changes nothing */

	/* Where asking is forbidden the watch on the clocks themselves is left. */
	if (adjtimex(&t) < 0)
		return 0;
	return (t.tick - TICK_NOMINAL_US) * TICK_UNIT_PPM + t.freq / FREQ_PER_PPM;
}

struct clock_sample clock_sample_take(void)
{
	struct clock_sample s = {.steer_ppm = steer_ppm(), .wall_unix_ms = clock_wall_unix_ms()};

	s.boot_ns = read_clock(CLOCK_BOOTTIME);
	s.gap_ns = INT64_MAX;
	/* This thread may be stopped between two readings, for as long as anybody likes. */
	for (int i = 0; i < READINGS; i++) {
		int64_t before = read_clock(CLOCK_MONOTONIC_RAW);
		int64_t steered = read_clock(CLOCK_MONOTONIC);
		int64_t gap = read_clock(CLOCK_MONOTONIC_RAW) - before;

		if (gap >= s.gap_ns)
			continue;
		s.gap_ns = gap;
		s.steered_ns = steered;
		s.raw_ns = before;
	}
	return s;
}

char *clock_start_trouble(int32_t drift_ppm, int64_t made_unix_ms)
{
	struct clock_sample first = clock_sample_take(), second;
	const struct timespec pause = {.tv_nsec = STILL_NS};
	char *trouble = clock_sample_trouble(&first, drift_ppm, made_unix_ms);

	if (trouble != NULL)
		return trouble;
	nanosleep(&pause, NULL);
	second = clock_sample_take();
	if (second.boot_ns == first.boot_ns)
		return config_sentence("the monotonic clock stands still: leases cannot be "
				       "measured on this host");
	return clock_interval_trouble(&first, &second, drift_ppm);
}

void clock_watch_init(struct clock_watch *w)
{
	w->last = clock_sample_take();
	w->next_ns = w->last.boot_ns + CLOCK_WATCH_EVERY_NS;
}

char *clock_watch_tick(struct clock_watch *w, int64_t now_ns, int32_t drift_ppm)
{
	struct clock_sample now;
	char *trouble;

	/* The loop takes its time from the same clock: what went back is seen at once. */
	if (now_ns < w->next_ns && now_ns >= w->last.boot_ns)
		return NULL;
	now = clock_sample_take();
	trouble = steer_trouble(now.steer_ppm, drift_ppm);
	if (trouble == NULL)
		trouble = clock_interval_trouble(&w->last, &now, drift_ppm);
	w->last = now;
	w->next_ns = now.boot_ns + CLOCK_WATCH_EVERY_NS;
	return trouble;
}
