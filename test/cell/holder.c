/*
 * holder: takes a lock, and holds it until it is told to stop, or is killed. Its history
 * (history.h) says how long its lease runs by its own reckoning: "lease left_ms=…", at each
 * renewal.
 */
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "history.h"

#define LOOK_EVERY_MS 20

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

/* The lease moves when a KeepAlive is answered; in between it only gets shorter. */
static void hold(struct chubby *cell, struct history *h)
{
	int64_t before_ms = 0;

	while (!stop_asked) {
		int64_t left_ms = chubby_session_lease_left_ms(cell);

		if (left_ms > before_ms)
			history_say(h, "lease left_ms=%" PRId64, left_ms);
		before_ms = left_ms;
		poll(NULL, 0, LOOK_EVERY_MS);
	}
}

static int run(struct chubby *cell, struct history *h, const char *path, int64_t lock_delay_ms)
{
	struct chubby_acquire_options o = chubby_acquire_options_default();
	struct chubby_lock *lock;
	struct chubby_error e;
	enum chubby_code code;

	o.lock_delay_ms = lock_delay_ms;
	history_say(h, "session id=%" PRIu64, chubby_session_id(cell));
	history_say(h, "ask lock=%s mode=x how=convenient", path);
	code = chubby_lock(cell, path, &o, &lock, &e);
	if (code != CHUBBY_OK) {
		history_fail(h, "lock", code, &e);
		return 1;
	}
	history_say(h, "got lock=%s seq=%s", path, chubby_lock_sequencer(lock));
	hold(cell, h);
	history_say(h, "free lock=%s how=unlock", path);
	chubby_unlock(lock);
	history_say(h, "freed lock=%s", path);
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: holder --servers LIST --history FILE --path PATH "
			"[--lease-ms N] [--lock-delay-ms N]\n");
	return 64;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"servers", required_argument, NULL, 's'},
		{"history", required_argument, NULL, 'h'},
		{"path", required_argument, NULL, 'p'},
		{"lease-ms", required_argument, NULL, 'l'},
		{"lock-delay-ms", required_argument, NULL, 'd'},
		{NULL, 0, NULL, 0},
	};
	struct chubby_options o = chubby_options_default();
	const char *file = NULL, *path = NULL;
	int64_t lock_delay_ms = CHUBBY_LOCK_DELAY_DEFAULT;
	struct chubby *cell;
	struct chubby_error e;
	struct history h;
	int c, status;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 's')
			o.servers = optarg;
		else if (c == 'h')
			file = optarg;
		else if (c == 'p')
			path = optarg;
		else if (c == 'l')
			o.lease_ms = strtoll(optarg, NULL, 10);
		else if (c == 'd')
			lock_delay_ms = strtoll(optarg, NULL, 10);
		else
			return usage();
	}
	if (file == NULL || path == NULL || !history_open(&h, file, 0))
		return usage();
	signal(SIGTERM, on_signal);
	o.on_session = history_session;
	o.context = &h;
	if (chubby_connect(&o, &cell, &e) != CHUBBY_OK) {
		history_fail(&h, "connect", e.code, &e);
		return 1;
	}
	status = run(cell, &h, path, lock_delay_ms);
	chubby_disconnect(cell);
	history_close(&h);
	return status;
}
