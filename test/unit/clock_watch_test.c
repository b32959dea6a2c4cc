/*
 * What a replica makes of its host's clocks: no lease is measured with one that is known to be
 * wrong, and no healthy host is refused, however loaded it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "clock_watch.h"

#define LIMIT_PPM 10000
#define NOVEMBER_2026_MS INT64_C(1795000000000)
#define DAY_MS INT64_C(86400000)

static struct clock_sample healthy(void)
{
	return (struct clock_sample){
		.boot_ns = 900 * NS_PER_S,
		.steered_ns = 800 * NS_PER_S,
		.raw_ns = 790 * NS_PER_S,
		.gap_ns = 100,
		.wall_unix_ms = NOVEMBER_2026_MS,
	};
}

/* `boot`, `steered` and `raw` nanoseconds later. */
static struct clock_sample later(int64_t boot, int64_t steered, int64_t raw)
{
	struct clock_sample s = healthy();

	s.boot_ns += boot;
	s.steered_ns += steered;
	s.raw_ns += raw;
	return s;
}

static void assert_trouble(char *trouble, const char *word)
{
	assert_non_null(trouble);
	if (strstr(trouble, word) == NULL)
		fail_msg("no \"%s\" in: %s", word, trouble);
	free(trouble);
}

static void a_healthy_host_passes(void **state)
{
	struct clock_sample s = healthy();

	(void)state;
	assert_null(clock_sample_trouble(&s, LIMIT_PPM, 0));
	assert_null(clock_sample_trouble(&s, LIMIT_PPM, NOVEMBER_2026_MS));
	s.steer_ppm = -500; /* as far as NTP steers by frequency */
	assert_null(clock_sample_trouble(&s, LIMIT_PPM, 0));
	/* Machines of one cell need not agree to the minute. */
	s.wall_unix_ms -= DAY_MS / 24;
	assert_null(clock_sample_trouble(&s, LIMIT_PPM, NOVEMBER_2026_MS));
	assert_null(clock_start_trouble(LIMIT_PPM, 0)); /* this very host */
}

static void a_clock_that_is_steered_too_hard_is_refused(void **state)
{
	struct clock_sample s = healthy();

	(void)state;
	s.steer_ppm = LIMIT_PPM + 1;
	assert_trouble(clock_sample_trouble(&s, LIMIT_PPM, 0), "fast");
	s.steer_ppm = -LIMIT_PPM - 1;
	assert_trouble(clock_sample_trouble(&s, LIMIT_PPM, 0), "slow");
	assert_null(clock_sample_trouble(&s, 2 * LIMIT_PPM, 0));
}

static void a_wall_clock_that_is_unset_or_absurd_is_refused(void **state)
{
	struct clock_sample s = healthy();

	(void)state;
	s.wall_unix_ms = 5000;
	assert_trouble(clock_sample_trouble(&s, LIMIT_PPM, 0), "1970-01-01");
	s.wall_unix_ms = INT64_C(9000000000000);
	assert_trouble(clock_sample_trouble(&s, LIMIT_PPM, 0), "2255");
	s.wall_unix_ms = INT64_MAX;
	assert_trouble(clock_sample_trouble(&s, LIMIT_PPM, 0), "set the clock");
	s.wall_unix_ms = NOVEMBER_2026_MS - 2 * DAY_MS;
	assert_trouble(clock_sample_trouble(&s, LIMIT_PPM, NOVEMBER_2026_MS), "was made on");
}

static void a_clock_without_time_is_refused(void **state)
{
	struct clock_sample s = healthy();

	(void)state;
	s.boot_ns = 0;
	assert_trouble(clock_sample_trouble(&s, LIMIT_PPM, 0), "shows no time");
}

static void a_rate_within_the_limit_passes_and_one_beyond_it_does_not(void **state)
{
	struct clock_sample from = healthy();
	const int64_t t = 10 * NS_PER_S;
	const struct {
		int64_t error_ppm;
		const char *word; /* NULL: fine */
	} cases[] = {{0, NULL},     {9900, NULL},      {-9900, NULL},
		     {500, NULL},   {10100, "faster"}, {-10100, "slower"},
		     {80000, "fa"}, {1000000, "fa"},   {-900000, "slower"}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t off = t / 1000000 * cases[i].error_ppm;
		struct clock_sample to = later(t + off, t + off, t);
		char *trouble = clock_interval_trouble(&from, &to, LIMIT_PPM);

		if (cases[i].word == NULL)
			assert_null(trouble);
		else
			assert_trouble(trouble, cases[i].word);
	}
}

/* A thread that was stopped between two readings knows that it was, by the gap. */
static void a_loaded_host_is_not_taken_for_a_wrong_clock(void **state)
{
	struct clock_sample from = healthy();
	struct clock_sample to = later(10 * NS_PER_S, 10 * NS_PER_S + 400 * NS_PER_MS,
				       10 * NS_PER_S);

	(void)state;
	assert_trouble(clock_interval_trouble(&from, &to, LIMIT_PPM), "faster");
	to.gap_ns = 400 * NS_PER_MS;
	assert_null(clock_interval_trouble(&from, &to, LIMIT_PPM));
	/* Long sleeps, of the host or of the process, are no error of the clock. */
	to = later(3600 * NS_PER_S, 20 * NS_PER_S, 20 * NS_PER_S);
	assert_null(clock_interval_trouble(&from, &to, LIMIT_PPM));
}

static void a_clock_that_goes_back_or_stands_is_refused(void **state)
{
	struct clock_sample from = healthy();
	struct clock_sample to = later(-5 * NS_PER_MS, 10 * NS_PER_S, 10 * NS_PER_S);

	(void)state;
	assert_trouble(clock_interval_trouble(&from, &to, LIMIT_PPM), "went back by 5 ms");
	to = later(0, 0, 10 * NS_PER_S);
	assert_trouble(clock_interval_trouble(&from, &to, LIMIT_PPM), "slower");
	to = later(10 * NS_PER_S, 10 * NS_PER_S, 0);
	assert_trouble(clock_interval_trouble(&from, &to, LIMIT_PPM), "counter stands still");
}

static void the_watch_looks_now_and_then_and_at_once_when_time_goes_back(void **state)
{
	struct clock_watch w;

	(void)state;
	clock_watch_init(&w);
	assert_int_equal(w.next_ns, w.last.boot_ns + CLOCK_WATCH_EVERY_NS);
	assert_null(clock_watch_tick(&w, w.next_ns - 1, LIMIT_PPM));
	w.last.boot_ns += 1000 * NS_PER_S;
	assert_trouble(clock_watch_tick(&w, w.last.boot_ns - 1, LIMIT_PPM), "went back");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_healthy_host_passes),
		cmocka_unit_test(a_clock_that_is_steered_too_hard_is_refused),
		cmocka_unit_test(a_wall_clock_that_is_unset_or_absurd_is_refused),
		cmocka_unit_test(a_clock_without_time_is_refused),
		cmocka_unit_test(a_rate_within_the_limit_passes_and_one_beyond_it_does_not),
		cmocka_unit_test(a_loaded_host_is_not_taken_for_a_wrong_clock),
		cmocka_unit_test(a_clock_that_goes_back_or_stands_is_refused),
		cmocka_unit_test(the_watch_looks_now_and_then_and_at_once_when_time_goes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
