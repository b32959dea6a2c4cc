/* kill -9 at any moment: whatever a store reported as durable is there at the next start. */
#include "store_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define ROUNDS 25

static void tell_persisted(void *context, uint64_t number, uint32_t count)
{
	int *pipe_end = context;

	if (write(*pipe_end, &number, sizeof(number)) != sizeof(number))
		_exit(1);
	(void)count;
}

static void ignore_failure(void *context, enum error e, const char *trouble)
{
	_exit(2);
}

static void ignore_values(void *context, struct value **values, uint32_t count)
{
	free(values);
}

static void ignore_slot(void *context, struct slot slot)
{
}

/* The child: writes slots from `from` on as fast as they are taken, in rising rounds, until it is
 * killed. Write number n holds slot from + n - 1, promised in round 1 + n / 50. */
static void write_until_killed(struct fixture *f, uint64_t from, uint64_t round, int pipe_end)
{
	struct store_callbacks callbacks = {&pipe_end,     tell_persisted, ignore_failure,
					    ignore_values, ignore_slot,    ignore_slot};
	char *trouble = NULL;
	int64_t oldest_ns;

	if (store_open(f->directory, NULL, &f->store, &trouble) != ERROR_OK ||
	    store_start(f->store, &callbacks, &trouble) != ERROR_OK)
		_exit(3);
	f->durable.promised = ballot_of(round);
	for (uint64_t n = 1;; n++) {
		fixture_submit(f, from + n - 1, from + n - 1, round + n / 50, n % 7 * 1500);
		while (store_pending(f->store, 0, &oldest_ns) > 8)
			sched_yield();
	}
}

/* Runs the child for `milliseconds` after its first report; returns the last number it told. */
static uint64_t run_and_kill(struct fixture *f, uint64_t from, uint64_t round, int milliseconds)
{
	struct pollfd readable;
	uint64_t number = 0;
	int ends[2], status;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0)
		write_until_killed(f, from, round, ends[1]);
	close(ends[1]);
	readable = (struct pollfd){.fd = ends[0], .events = POLLIN};
	assert_int_equal(poll(&readable, 1, 20000), 1);
	poll(NULL, 0, milliseconds);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	for (uint64_t next; read(ends[0], &next, sizeof(next)) == sizeof(next);) {
		assert_true(next > number);
		number = next;
	}
	close(ends[0]);
	return number;
}

static void reported_writes_survive_kill(void **state)
{
	struct paxos_recovered r;
	struct fixture f;
	uint64_t newest = 0, round = 1;

	fixture_init(&f);
	fixture_genesis(&f);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t told = run_and_kill(&f, newest + 1, round, i % 13);

		assert_int_not_equal(fixture_memory(&f, &r), PAXOS_MEMORY_LOST);
		assert_true(r.newest.n >= newest + told);
		assert_true(r.durable.promised.round >= round + told / 50);
		newest = r.newest.n;
		round = r.durable.promised.round;
	}
	fixture_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reported_writes_survive_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
