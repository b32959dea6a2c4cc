/*
 * base: the properties that every layer above leans on.
 */
#include "base/arena.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/time.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct bytes text(const char *s)
{
	return bytes_of_text(s);
}

/* Runs `body` in a child whose standard error is caught; the child's wait status. */
static int run_child(void (*body)(void), char *ret_stderr, size_t room)
{
	int ends[2], status;
	size_t size = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		body();
		_exit(0);
	}
	close(ends[1]);
	while (size + 1 < room && (n = read(ends[0], ret_stderr + size, room - 1 - size)) > 0)
		size += (size_t)n;
	ret_stderr[size] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void body_failed_check(void)
{
	int one = 1;

	CHECK(one == 2);
}

static void body_impossible_array(void)
{
	free(mem_realloc_array(NULL, SIZE_MAX / 2, 3));
}

static void body_draw_below_zero(void)
{
	struct rng r;

	rng_init(&r, 1);
	(void)rng_below(&r, 0);
}

/* A check that does not hold ends the process and says where and what, in every build. */
static void check_aborts(void **state)
{
	char said[512];
	int status = run_child(body_failed_check, said, sizeof(said));

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_non_null(strstr(said, "base_test.c"));
	assert_non_null(strstr(said, "one == 2"));

	status = run_child(body_impossible_array, said, sizeof(said));
	assert_true(WIFSIGNALED(status));
	assert_non_null(strstr(said, "out of memory"));

	status = run_child(body_draw_below_zero, said, sizeof(said));
	assert_true(WIFSIGNALED(status));
	assert_non_null(strstr(said, "bound > 0"));
}

static void memory_of_size_zero_exists(void **state)
{
	void *a = mem_alloc(0);
	uint64_t *zeroed = mem_zalloc(16);
	char *copy = mem_strdup("text");

	(void)state;
	assert_non_null(a);
	assert_int_equal(zeroed[0] | zeroed[1], 0);
	assert_string_equal(copy, "text");
	a = mem_realloc(a, 0);
	assert_non_null(a);
	free(a);
	free(zeroed);
	free(copy);
}

/* Order is that of unsigned bytes, a prefix comes first, and empty bytes need no pointer. */
static void bytes_order(void **state)
{
	const uint8_t high[] = {0xff}, nul[] = {'a', 0, 'b'};
	struct bytes with_nul = {nul, sizeof(nul)};
	char *copy;

	(void)state;
	assert_true(bytes_compare(text("a"), text("b")) < 0);
	assert_true(bytes_compare(text("ab"), text("a")) > 0);
	assert_true(bytes_compare((struct bytes){high, 1}, text("a")) > 0);
	assert_int_equal(bytes_compare(BYTES_NONE, text("")), 0);
	assert_true(bytes_compare(BYTES_NONE, text("a")) < 0);
	assert_true(bytes_equal(BYTES_NONE, text("")));
	assert_false(bytes_equal(text("a"), text("b")));
	assert_false(bytes_equal(with_nul, text("a")));
	copy = bytes_to_text(with_nul);
	assert_memory_equal(copy, "a\0b", 4);
	free(copy);
	copy = bytes_to_text(BYTES_NONE);
	assert_string_equal(copy, "");
	free(copy);
}

/* The hash is XXH3-64 with seed 0: it stands on disks, so it may never change. */
static void bytes_hash_is_stable(void **state)
{
	uint8_t large[1000];

	(void)state;
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (uint8_t)i;
	assert_true(bytes_hash(BYTES_NONE) == UINT64_C(0x2d06800538d394c2));
	assert_true(bytes_hash(text("")) == UINT64_C(0x2d06800538d394c2));
	assert_true(bytes_hash(text("chubby")) == UINT64_C(0xe72768f7c34616f8));
	assert_true(bytes_hash((struct bytes){large, sizeof(large)}) ==
		    UINT64_C(0xd33dd80b46f60e50));
}

/* A buffer grows to its maximum and not by a byte beyond; a refusal changes nothing. */
static void buffer_keeps_its_maximum(void **state)
{
	struct buffer b;

	(void)state;
	buffer_init(&b, 100);
	assert_true(buffer_append(&b, BYTES_NONE));
	assert_int_equal(buffer_view(&b).size, 0);
	for (int i = 0; i < 33; i++)
		assert_true(buffer_append(&b, text("abc")));
	assert_false(buffer_append(&b, text("xy")));
	assert_null(buffer_extend(&b, SIZE_MAX));
	assert_int_equal(b.size, 99);
	assert_true(buffer_append(&b, text("z")));
	assert_int_equal(b.data[99], 'z');
	assert_false(buffer_append(&b, text("z")));
	assert_true(buffer_append(&b, BYTES_NONE));
	buffer_clear(&b);
	assert_true(buffer_append(&b, text("again")));
	assert_true(bytes_equal(buffer_view(&b), text("again")));
	buffer_release(&b);
	buffer_release(&b);
	assert_true(buffer_append(&b, text("after release")));
	buffer_release(&b);
}

static void buffer_without_room(void **state)
{
	struct buffer b;

	(void)state;
	buffer_init(&b, 0);
	assert_non_null(buffer_extend(&b, 0));
	assert_false(buffer_append(&b, text("a")));
	buffer_release(&b);
}

/* Every allocation is zeroed, aligned, and apart from the others. */
static void arena_allocates(void **state)
{
	struct arena a;
	uint8_t *previous = NULL;

	(void)state;
	arena_init(&a, 1 << 20);
	for (size_t size = 0; size < 300; size++) {
		uint8_t *memory = arena_alloc(&a, size);

		assert_non_null(memory);
		assert_true(memory != previous);
		assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(memory[i], 0);
		memset(memory, 0xaa, size);
		previous = memory;
	}
	previous = arena_alloc(&a, 10000);
	assert_non_null(previous);
	memset(previous, 0xbb, 10000);
	arena_release(&a);
	assert_int_equal(a.used_bytes, 0);
	assert_non_null(arena_alloc(&a, 1));
	arena_release(&a);
}

static void arena_keeps_its_maximum(void **state)
{
	struct bytes copy = text("unchanged");
	struct arena a;
	unsigned given = 0;

	(void)state;
	arena_init(&a, 1000);
	assert_null(arena_alloc(&a, 1001));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_non_null(arena_alloc(&a, 999));
	assert_null(arena_alloc(&a, 2));
	assert_false(arena_copy(&a, text("too much"), &copy));
	assert_true(bytes_equal(copy, text("unchanged")));
	arena_release(&a);
	/* Allocations of nothing count too: else outside input could repeat them for ever. */
	while (given < 2000 && arena_alloc(&a, 0) != NULL && a.used_bytes < a.max_bytes)
		given++;
	assert_true(given < 1000);
	arena_release(&a);
	assert_true(arena_copy(&a, text("fits"), &copy));
	assert_true(bytes_equal(copy, text("fits")));
	arena_release(&a);
}

/* The beneficiary's end is never later than the exact one, nor a nanosecond earlier than needed. */
static void lease_end_shortens(void **state)
{
	(void)state;
	assert_int_equal(lease_end(5, 0, 10000), 5);
	assert_int_equal(lease_end(100, 1000, 0), 1100);
	/* 12 s x 990000 / 1010000 = 11.762376237 s and a fraction, rounded down. */
	assert_int_equal(lease_end(0, 12 * NS_PER_S, 10000), INT64_C(11762376237));
	assert_int_equal(lease_end(7, 12 * NS_PER_S, 10000), INT64_C(11762376244));
	assert_int_equal(lease_end(0, 1, 10000), 0);
	assert_int_equal(lease_end(0, 3, 500000), 1);
	assert_int_equal(lease_end(-NS_PER_S, NS_PER_S, 0), 0);
}

/* No sum or product wraps: an end beyond the range is "never". */
static void lease_end_does_not_overflow(void **state)
{
	int64_t end_ns = lease_end(0, INT64_MAX, 10000);

	(void)state;
	assert_true(end_ns > INT64_MAX / 100 * 98 && end_ns < INT64_MAX / 100 * 99);
	assert_true(lease_end(0, INT64_MAX, 0) == TIME_NEVER);
	assert_true(lease_end(INT64_MAX - 10, 1000, 10000) == TIME_NEVER);
	assert_true(lease_end(TIME_NEVER, 0, 10000) == TIME_NEVER);
}

/* Against the rate errors that it is made for: when the beneficiary's clock is slow by e and the
 * grantor's fast by e, the beneficiary's end comes first all the same. */
static void lease_end_is_safe_under_drift(void **state)
{
	(void)state;
	for (int32_t ppm = 0; ppm <= 500000; ppm += 12500) {
		const int64_t lease_ns = 400 * NS_PER_MS;
		int64_t believed_ns = lease_end(0, lease_ns, ppm);
		double longest_real_ns = (double)believed_ns / (1.0 - ppm / 1e6);
		double shortest_grant_ns = (double)lease_ns / (1.0 + ppm / 1e6);

		assert_true(longest_real_ns <= shortest_grant_ns + 1e-3);
	}
}

/* The same seed gives the same numbers on every machine, now and in ten years. */
static void rng_is_reproducible(void **state)
{
	struct rng a, b, c;

	(void)state;
	rng_init(&a, 1);
	rng_init(&b, 1);
	rng_init(&c, 2);
	assert_true(rng_next(&a) == UINT64_C(0xb3f2af6d0fc710c5));
	assert_true(rng_next(&a) == UINT64_C(0x853b559647364cea));
	assert_true(rng_next(&b) == UINT64_C(0xb3f2af6d0fc710c5));
	assert_true(rng_next(&c) != UINT64_C(0xb3f2af6d0fc710c5));
	rng_init(&a, 0);
	assert_true(rng_next(&a) != rng_next(&a));
}

static void rng_stays_in_bounds(void **state)
{
	unsigned hits[7] = {0}, chances = 0;
	struct rng r;

	(void)state;
	rng_init(&r, 42);
	for (int i = 0; i < 70000; i++) {
		uint64_t n = rng_below(&r, 7);
		int64_t between = rng_between(&r, -3, 3);

		assert_true(n < 7);
		hits[n]++;
		assert_true(between >= -3 && between <= 3);
		chances += rng_chance(&r, 250000) ? 1 : 0;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(hits[i], 9500, 10500);
	assert_in_range(chances, 17000, 18000);
	assert_int_equal(rng_below(&r, 1), 0);
	assert_true(rng_between(&r, INT64_MIN, INT64_MIN) == INT64_MIN);
	(void)rng_between(&r, INT64_MIN, INT64_MAX);
	assert_false(rng_chance(&r, 0));
	assert_true(rng_chance(&r, 1000000));
}

/* Numbers are the protocol's: each has a name, and unknown ones are internal errors. */
static void error_table(void **state)
{
	(void)state;
	assert_string_equal(error_name(ERROR_NOT_FOUND), "NOT_FOUND");
	assert_string_equal(error_text(ERROR_NOT_FOUND), "not found");
	assert_int_equal(error_grpc_status(ERROR_NOT_FOUND), 5);
	assert_int_equal(error_exit_code(ERROR_NOT_FOUND), 2);
	assert_int_equal(error_exit_code(ERROR_OK), 0);
	for (unsigned n = 0; n <= ERROR_WRONG_KIND; n++) {
		enum error e = error_from_number(n);

		assert_int_equal(e, n);
		assert_string_not_equal(error_name(e), "UNKNOWN");
		assert_in_range(error_grpc_status(e), 0, 16);
		assert_int_equal(error_exit_code(e) == 0, n == 0);
		assert_int_equal(error_grpc_status(e) == 0, n == 0);
	}
	assert_int_equal(error_from_number(12345), ERROR_INTERNAL);
	assert_int_equal(error_from_number(UINT32_MAX), ERROR_INTERNAL);
	assert_string_equal(error_name((enum error)12345), "UNKNOWN");
	assert_int_equal(error_grpc_status((enum error)12345), 13);
}

static void clocks_go_forward(void **state)
{
	uint8_t random[300] = {0};
	unsigned set = 0;
	int64_t before_ns = clock_now_ns();

	(void)state;
	assert_true(before_ns > 0);
	assert_true(clock_now_ns() >= before_ns);
	assert_true(clock_wall_unix_ms() > INT64_C(1600000000000));
	clock_random_bytes(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		set += random[i] != 0 ? 1 : 0;
	assert_true(set > 200);
	clock_random_bytes(random, 0);
}

static void body_log(void)
{
	char wide[5000];

	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	log_configure(LOG_LEVEL_INFO, "replica 3");
	log_debug("not shown");
	errno = ENOENT;
	log_info("two\nlines: %m");
	if (errno == ENOENT)
		log_warning("%s", wide);
}

/* One line an event whatever it holds; what is less important than configured is not written. */
static void log_writes_lines(void **state)
{
	char said[8192];
	int status = run_child(body_log, said, sizeof(said));
	const char *second;

	(void)state;
	assert_int_equal(status, 0);
	second = strchr(said, '\n');
	assert_non_null(second);
	assert_memory_equal(said, "INFO replica 3: two lines: No such file or directory\n",
			    (size_t)(second - said) + 1);
	second++;
	assert_memory_equal(second, "WARNING replica 3: www", 22);
	assert_string_equal(second + strlen(second) - 5, "w...\n");
	assert_ptr_equal(strchr(second, '\n'), second + strlen(second) - 1);
	assert_true(strlen(second) < 2100);
}

/* Ballots are ordered by round, then replica, then incarnation. */
static void ballot_order(void **state)
{
	const struct ballot low = {1, {2}, {3, 4}}, round = {2, {1}, {0, 0}},
			    replica = {1, {3}, {0, 0}}, incarnation = {1, {2}, {3, 5}};

	(void)state;
	assert_true(ballot_less(BALLOT_NONE, low));
	assert_true(ballot_less(low, round));
	assert_true(ballot_less(low, replica));
	assert_true(ballot_less(low, incarnation));
	assert_true(ballot_less(incarnation, replica));
	assert_false(ballot_less(low, low));
	assert_true(ballot_equal(low, low));
	assert_true(ballot_is_none(BALLOT_NONE));
	assert_false(ballot_is_none(low));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_aborts),
		cmocka_unit_test(memory_of_size_zero_exists),
		cmocka_unit_test(bytes_order),
		cmocka_unit_test(bytes_hash_is_stable),
		cmocka_unit_test(buffer_keeps_its_maximum),
		cmocka_unit_test(buffer_without_room),
		cmocka_unit_test(arena_allocates),
		cmocka_unit_test(arena_keeps_its_maximum),
		cmocka_unit_test(lease_end_shortens),
		cmocka_unit_test(lease_end_does_not_overflow),
		cmocka_unit_test(lease_end_is_safe_under_drift),
		cmocka_unit_test(rng_is_reproducible),
		cmocka_unit_test(rng_stays_in_bounds),
		cmocka_unit_test(error_table),
		cmocka_unit_test(clocks_go_forward),
		cmocka_unit_test(log_writes_lines),
		cmocka_unit_test(ballot_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
