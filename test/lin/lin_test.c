/*
 * The judges of histories: what is right is accepted, what is wrong is not, and whoever cannot tell
 * says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "help.h"

#define LINE_MAX_BYTES 600
#define BUDGET UINT64_C(1000000)

/* ---- by hand -------------------------------------------------------------------------------- */

struct expected {
	char name[128];
	enum lin_verdict search, witness;
	struct lin_history history;
};

static enum lin_verdict worst(const struct lin_history *h, bool witness, char *why)
{
	enum lin_verdict all = LIN_FINE;

	for (uint32_t object = 0; object < h->object_count; object++) {
		struct lin_report r;
		enum lin_verdict v = (witness ? lin_witness : lin_search)(h, object, BUDGET, &r);

		/* A verdict has a reason, and only then. */
		assert_int_equal(v != LIN_FINE, r.why[0] != '\0');
		if (v != LIN_FINE && all != LIN_WRONG) {
			all = v;
			memcpy(why, r.why, sizeof(r.why));
		}
	}
	return all;
}

static void as_expected(struct expected *e, uint32_t *ret_wrong)
{
	const struct lin_history *h = &e->history;
	char why[LIN_WHY_BYTES] = "";

	if (worst(h, false, why) != e->search) {
		print_error("%s: the search is mistaken %s\n", e->name, why);
		*ret_wrong += 1;
	}
	if (worst(h, true, why) != e->witness) {
		print_error("%s: the witness is mistaken %s\n", e->name, why);
		*ret_wrong += 1;
	}
	if (h->count <= BRUTE_MAX && h->object_count == 1 && strstr(e->name, "queue") == NULL)
		for (int witness = 0; witness < 2; witness++)
			if (brute_force(h, witness != 0) !=
			    ((witness ? e->witness : e->search) == LIN_FINE)) {
				print_error("%s: brute force differs\n", e->name);
				*ret_wrong += 1;
			}
	lin_release(&e->history);
}

static bool begins(struct expected *e, const char *line)
{
	char words[3][8] = {"", ""};
	size_t size;

	if (strncmp(line, "== ", 3) != 0)
		return false;
	memset(e, 0, sizeof(*e));
	size = strcspn(line + 3, "\n") + 3;
	/* The last two words are the verdicts. */
	for (int i = 1; i >= 0; i--) {
		size_t end = size;

		while (size > 3 && line[size - 1] != ' ')
			size--;
		assert_true(end - size < sizeof(words[i]));
		memcpy(words[i], line + size, end - size);
		size--;
	}
	snprintf(e->name, sizeof(e->name), "%.*s", (int)size - 3, line + 3);
	assert_true(strcmp(words[0], "fine") == 0 || strcmp(words[0], "wrong") == 0);
	assert_true(strcmp(words[1], "fine") == 0 || strcmp(words[1], "wrong") == 0);
	e->search = strcmp(words[0], "fine") == 0 ? LIN_FINE : LIN_WRONG;
	e->witness = strcmp(words[1], "fine") == 0 ? LIN_FINE : LIN_WRONG;
	return true;
}

/* Each history that was made by hand is judged as it says, by both judges and by brute force. */
static void by_hand(void **state)
{
	FILE *file = fopen(*state, "r");
	char line[LINE_MAX_BYTES];
	struct expected e = {0}, next;
	uint32_t count = 0, wrong = 0;
	const char *why = NULL;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file) != NULL) {
		if (begins(&next, line)) {
			as_expected(&e, &wrong);
			e = next;
			count++;
		} else if (!lin_parse_line(&e.history, line, &why)) {
			fail_msg("%s: %s: %s", e.name, line, why);
		}
	}
	as_expected(&e, &wrong);
	fclose(file);
	assert_int_equal(wrong, 0);
	assert_true(count >= 80);
}

/* ---- at random ------------------------------------------------------------------------------ */

static void print_history(const struct lin_history *h)
{
	char line[256];

	for (uint32_t i = 0; i < h->count; i++) {
		lin_print(h, &h->ops[i], line, sizeof(line));
		print_error("%s\n", line);
	}
}

static void both_as_brute_force(const struct lin_history *h, uint64_t seed, uint32_t *ret_wrong)
{
	for (int witness = 0; witness < 2; witness++) {
		struct lin_report r;
		enum lin_verdict v = (witness ? lin_witness : lin_search)(h, 0, BUDGET, &r);

		if ((v == LIN_FINE) == brute_force(h, witness != 0) && v != LIN_GAVE_UP) {
			*ret_wrong += v == LIN_WRONG;
			continue;
		}
		print_history(h);
		fail_msg("seed %u: %s says %d: %s", (unsigned)seed, witness ? "witness" : "search",
			 (int)v, r.why);
	}
}

/*
 * Small histories of a faultless object are fine; when one field is changed, both judges find what
 * brute force finds.
 */
static void small_ones(void **state)
{
	uint32_t wrong = 0, judged = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct random_plan plan = {.files = seed % 2 == 0,
					   .clients = 2 + seed % 3,
					   .count = 4 + seed % 3,
					   .gap_ns = 8 + (int64_t)(seed % 5) * 10,
					   .unknown_ppm = seed % 7 * 60000,
					   .silent_ppm = seed % 4 * 200000};
		struct lin_history h = {0};
		struct rng rng;
		uint32_t before = wrong;

		rng_init(&rng, seed);
		random_history(&h, &rng, &plan);
		if (h.count > 0) {
			both_as_brute_force(&h, seed, &wrong);
			assert_int_equal(wrong, before);
			random_change(&h, &rng);
			both_as_brute_force(&h, seed, &wrong);
			judged++;
		}
		lin_release(&h);
	}
	/* Of changed ones, by either judge. */
	print_message("%u changed histories, %u objections\n", judged, wrong);
	assert_true(wrong > judged / 2);
}

/*
 * Histories of middle size: the faultless are fine for both; what the witness accepts the search
 * accepts, since it knows less.
 */
static void middle_ones(void **state)
{
	uint32_t wrong = 0, judged = 0, gave_up = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 400; seed++) {
		struct random_plan plan = {.files = seed % 2 == 0,
					   .clients = 2 + seed % 6,
					   .count = 40,
					   .gap_ns = 20,
					   .unknown_ppm = seed % 4 * 40000,
					   .silent_ppm = seed % 3 * 100000};
		struct lin_history h = {0};
		struct lin_report search, witness;
		struct rng rng;

		rng_init(&rng, seed);
		random_history(&h, &rng, &plan);
		if (lin_witness(&h, 0, BUDGET, &witness) != LIN_FINE ||
		    lin_search(&h, 0, BUDGET, &search) == LIN_WRONG) {
			print_history(&h);
			fail_msg("seed %u: %s%s", (unsigned)seed, witness.why, search.why);
		}
		gave_up += search.verdict == LIN_GAVE_UP;
		for (int i = 0; i < 5 && h.count > 0; i++) {
			random_change(&h, &rng);
			lin_witness(&h, 0, BUDGET, &witness);
			lin_search(&h, 0, BUDGET, &search);
			gave_up += witness.verdict == LIN_GAVE_UP;
			gave_up += search.verdict == LIN_GAVE_UP;
			assert_false(witness.verdict == LIN_FINE && search.verdict == LIN_WRONG);
			wrong += witness.verdict == LIN_WRONG;
			judged++;
		}
		lin_release(&h);
	}
	print_message("%u changed histories, %u wrong, %u given up\n", judged, wrong, gave_up);
	assert_true(wrong > judged / 2);
	assert_true(gave_up < judged / 50);
}

/* ---- how fast ------------------------------------------------------------------------------- */

/* Twenty thousand operations: a few attempts each. */
static void long_ones(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct random_plan plan = {.files = seed % 2 == 0,
					   .immortal = true,
					   .clients = 20,
					   .count = 30000,
					   .gap_ns = 1000,
					   .unknown_ppm = seed > 2 ? 2000 : 0};
		struct lin_history h = {0};
		struct lin_report r;
		struct rng rng;

		rng_init(&rng, seed);
		random_history(&h, &rng, &plan);
		lin_witness(&h, 0, LIN_BUDGET, &r);
		print_message("%u operations, %u attempts: %s\n", h.count, (unsigned)r.steps,
			      r.why);
		assert_int_equal(r.verdict, LIN_FINE);
		assert_true(r.steps < (uint64_t)h.count * 200);
		lin_release(&h);
	}
}

/* Twelve at once, which all have to be tried against each other. */
static void all_at_once(void **state)
{
	struct lin_history h = {0};
	struct lin_report r;

	(void)state;
	lin_add(&h, &(struct lin_op){.verb = LIN_CREATE, .value = 99, .answered_ns = 5});
	for (uint32_t i = 0; i < 12; i++)
		lin_add(&h, &(struct lin_op){.verb = LIN_WRITE,
					     .who = i,
					     .asked_ns = 10,
					     .answered_ns = 20,
					     .value = i + 1});
	lin_add(&h,
		&(struct lin_op){.verb = LIN_READ, .value = 7, .asked_ns = 30, .answered_ns = 40});
	assert_int_equal(lin_search(&h, 0, BUDGET, &r), LIN_FINE);
	print_message("%u attempts\n", (unsigned)r.steps);
	h.ops[13].value = 50;
	assert_int_equal(lin_search(&h, 0, BUDGET, &r), LIN_WRONG);
	print_message("%u attempts\n", (unsigned)r.steps);
	/* Too little for it: it does not call that fine, nor wrong. */
	assert_int_equal(lin_search(&h, 0, 1000, &r), LIN_GAVE_UP);
	assert_int_equal(lin_judge(&h, 1000, &r), LIN_GAVE_UP);
	assert_true(strncmp(r.why, "gave up", 7) == 0);
	lin_release(&h);
}

/* ---- text ----------------------------------------------------------------------------------- */

static void lines_that_are_none(void **state)
{
	static const char *const lines[] = {
		"l a acquire 10 20",
		"l a acquires 10 20 ok",
		"l a acquire 10 20 yes",
		"l a acquire 20 10 ok",
		"l a acquire - 10 ok",
		"l a acquire 10 20 ok mode=z",
		"l a acquire 10 20 ok mode",
		"l a acquire 10 20 ok token=x",
		"l a acquire 10 20 ok token=99999999999999999999",
		"l a acquire 10 20 ok colour=1",
		"l a acquire 10 20 ok rev=1.",
		"l a acquire 10 20 ok wait=2",
		"l a expire 10 20 no",
		"f a release 10 20 ok",
	};
	struct lin_history h = {0};
	const char *why;

	(void)state;
	assert_true(lin_parse_line(&h, "f a read 10 20 no", &why));
	assert_true(lin_parse_line(&h, "  # nothing", &why));
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		why = NULL;
		if (lin_parse_line(&h, lines[i], &why))
			fail_msg("taken: %s", lines[i]);
		assert_non_null(why);
	}
	assert_int_equal(h.count, 1);
	lin_release(&h);
}

/* What is written reads back as the same. */
static void there_and_back(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct random_plan plan = {.files = seed % 2 == 0,
					   .clients = 4,
					   .count = 30,
					   .gap_ns = 20,
					   .unknown_ppm = 200000,
					   .silent_ppm = 200000};
		struct lin_history h = {0}, again = {0};
		char first[256], second[256];
		const char *why = "";
		struct rng rng;

		rng_init(&rng, seed);
		random_history(&h, &rng, &plan);
		for (uint32_t i = 0; i < h.count; i++) {
			lin_print(&h, &h.ops[i], first, sizeof(first));
			if (!lin_parse_line(&again, first, &why))
				fail_msg("%s: %s", first, why);
			lin_print(&again, &again.ops[i], second, sizeof(second));
			assert_string_equal(first, second);
		}
		lin_release(&h);
		lin_release(&again);
	}
}

int main(int argc, char **argv)
{
	char here[] = "histories.txt";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(by_hand, argc > 1 ? argv[1] : here),
		cmocka_unit_test(small_ones),
		cmocka_unit_test(middle_ones),
		cmocka_unit_test(long_ones),
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(lines_that_are_none),
		cmocka_unit_test(there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
