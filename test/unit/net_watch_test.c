/*
 * Is a listener that gRPC gave up noticed? One that answers never is taken for it, a slow one gets
 * its time, and one that takes no connection is told of soon after descriptors had run out.
 */
#include "net_fixture.h"

#include "net/watch.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#define STEP_NS (10 * NS_PER_MS)

struct listener {
	struct watch watch;
	int fd;
	int64_t now_ns; /* invented */
};

static int listener_setup(void **state)
{
	struct listener *l = mem_zalloc(sizeof(*l));
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(a);

	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(l->fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(l->fd, 64), 0);
	assert_int_equal(getsockname(l->fd, (struct sockaddr *)&a, &size), 0);
	watch_init(&l->watch, (struct sockaddr *)&a, size);
	l->now_ns = NS_PER_S;
	*state = l;
	return 0;
}

static int listener_teardown(void **state)
{
	struct listener *l = *state;

	watch_release(&l->watch);
	close(l->fd);
	free(l);
	return 0;
}

/* Invented time passes; true as soon as the listener is held to be deaf. */
static bool pass(struct listener *l, int64_t ns)
{
	for (int64_t end = l->now_ns + ns; l->now_ns < end; l->now_ns += STEP_NS) {
		watch_tick(&l->watch, l->now_ns);
		if (l->watch.deaf)
			return true;
	}
	return false;
}

/* Takes the next connection; `speak`: and says something. Returns its descriptor. */
static int serve(struct listener *l, bool speak)
{
	struct pollfd p = {.fd = l->fd, .events = POLLIN};
	int fd;

	assert_int_equal(poll(&p, 1, 5000), 1);
	fd = accept(l->fd, NULL, NULL);
	assert_true(fd >= 0);
	if (speak)
		assert_int_equal(send(fd, "x", 1, 0), 1);
	return fd;
}

/* Waits in true time until what was sent to the watch, or its end, is there. */
static void until_heard(struct listener *l)
{
	struct pollfd p = {.fd = l->watch.fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 5000), 1);
}

/* A listener that answers is called once in a while, for ever, and one that hangs up is alive. */
static void test_answers(void **state)
{
	struct listener *l = *state;

	for (int i = 0; i < 20; i++) {
		int fd;

		assert_false(pass(l, STEP_NS));
		fd = serve(l, i % 2 == 0);
		if (i % 2 == 1)
			close(fd);
		until_heard(l);
		assert_false(pass(l, WATCH_EVERY_NS));
		assert_int_equal(l->watch.vain, 0);
		if (i % 2 == 0)
			close(fd);
		assert_int_equal(l->watch.fd, -1);
		l->now_ns = l->watch.next_ns;
	}
}

/* What takes connections into its backlog only is deaf, after the whole patience. */
static void test_deaf(void **state)
{
	struct listener *l = *state;

	assert_false(pass(l, (WATCH_VAIN_MAX - 1) * WATCH_PATIENCE_NS));
	assert_true(pass(l, 3 * NS_PER_S));
	assert_int_equal(watch_tick(&l->watch, l->now_ns), TIME_NEVER);
}

/* An answer in time takes back what was held against it. */
static void test_late_answer(void **state)
{
	struct listener *l = *state;
	int fds[WATCH_VAIN_MAX], calls;

	assert_false(pass(l, (WATCH_VAIN_MAX - 1) * WATCH_PATIENCE_NS));
	calls = l->watch.vain + 1;
	assert_in_range(calls, 3, WATCH_VAIN_MAX);
	for (int i = 0; i < calls; i++)
		fds[i] = serve(l, i == calls - 1);
	until_heard(l);
	assert_false(pass(l, WATCH_PATIENCE_NS / 2));
	assert_int_equal(l->watch.vain, 0);
	for (int i = 0; i < calls; i++)
		close(fds[i]);
}

/* The process has no descriptor to spare while this holds. */
static struct rlimit starve(void)
{
	struct rlimit before, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	return before;
}

/* As long as there is no descriptor nothing is held against it; then patience is short. */
static void test_scarcity(void **state)
{
	struct listener *l = *state;
	struct rlimit before = starve();
	bool deaf = pass(l, 60 * NS_PER_S);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_false(deaf);
	assert_true(l->watch.scarce);
	assert_true(pass(l, WATCH_SCARCE_EVERY_NS +
				    WATCH_SCARCE_VAIN_MAX * WATCH_SCARCE_PATIENCE_NS +
				    500 * NS_PER_MS));
}

/* ---- with gRPC ------------------------------------------------------------------------------ */

static int dial(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

static bool greeted(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

/* After a want of descriptors either clients are taken again, or the replica is told. */
static void test_grpc_after_scarcity(void **state)
{
	struct fixture *f = *state;
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), later;
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)net_client_port(f->net)),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct net_event event = {0};
	struct rlimit before = starve();
	bool good = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	for (int64_t until = clock_now_ns() + NS_PER_S + 500 * NS_PER_MS; clock_now_ns() < until;)
		net_next(f->net, until, &event);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(good);
	later = dial(net_client_port(f->net));
	while (event.kind != NET_DEAF && !greeted(later) && clock_now_ns() < end_ns)
		net_next(f->net, clock_now_ns() + STEP_NS, &event);
	assert_true(event.kind == NET_DEAF || greeted(later));
	close(later);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, listener_setup, listener_teardown),
		cmocka_unit_test_setup_teardown(test_deaf, listener_setup, listener_teardown),
		cmocka_unit_test_setup_teardown(test_late_answer, listener_setup,
						listener_teardown),
		cmocka_unit_test_setup_teardown(test_scarcity, listener_setup, listener_teardown),
		WITH_NET(test_grpc_after_scarcity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
