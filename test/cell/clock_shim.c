/*
 * Wrong clocks for a test: loaded before the C library (LD_PRELOAD) into a daemon.
 *
 *   CLOCK_SHIM_WALL_S      the wall clock, in seconds since 1970
 *   CLOCK_SHIM_STILL       if set, the monotonic clocks stand still
 *   CLOCK_SHIM_TICK_US     what adjtimex() says the kernel was told: microseconds a tick
 *   CLOCK_SHIM_FAST_AFTER  seconds after the start from which on the steered clocks run 8 % fast
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

/* Seen by the dynamic linker before the C library's own. */
#define SHIM __attribute__((visibility("default")))

#define NS_PER_S INT64_C(1000000000)

static int64_t real_ns(clockid_t which)
{
	struct timespec t;

	syscall(SYS_clock_gettime, which, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static int64_t number(const char *name, int64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoll(text, NULL, 10) : otherwise;
}

/* How much the steered clocks are ahead by now. */
static int64_t ahead_ns(void)
{
	static int64_t started_ns;
	int64_t now_ns = real_ns(CLOCK_MONOTONIC_RAW),
		after_s = number("CLOCK_SHIM_FAST_AFTER", -1);
	int64_t first = 0;

	__atomic_compare_exchange_n(&started_ns, &first, now_ns, 0, __ATOMIC_SEQ_CST,
				    __ATOMIC_SEQ_CST);
	if (after_s < 0 || now_ns - started_ns < after_s * NS_PER_S)
		return 0;
	return (now_ns - started_ns - after_s * NS_PER_S) / 100 * 8;
}

SHIM int clock_gettime(clockid_t which, struct timespec *ret_time)
{
	int64_t ns = real_ns(which);

	if (which == CLOCK_REALTIME && getenv("CLOCK_SHIM_WALL_S") != NULL)
		ns = number("CLOCK_SHIM_WALL_S", 0) * NS_PER_S;
	if ((which == CLOCK_BOOTTIME || which == CLOCK_MONOTONIC) &&
	    getenv("CLOCK_SHIM_STILL") != NULL)
		ns = 1000 * NS_PER_S;
	if (which == CLOCK_BOOTTIME || which == CLOCK_MONOTONIC)
		ns += ahead_ns();
	ret_time->tv_sec = ns / NS_PER_S;
	ret_time->tv_nsec = ns % NS_PER_S;
	return 0;
}

SHIM int adjtimex(struct timex *t)
{
	memset(t, 0, sizeof(*t));
	t->tick = number("CLOCK_SHIM_TICK_US", 10000);
	return TIME_OK;
}
