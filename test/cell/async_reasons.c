/*
 * Why a session ended: the calls say it, and the callback. The test that drives this ends sessions
 * and cells; it is told of each step by a line on standard output, and answers with one.
 */
#include "async.h"

#include <inttypes.h>
#include <poll.h>

struct news {
	struct tally told;
	atomic_int event, reason; /* the latest */
};

static void on_session(void *context, enum chubby_session_event event, enum chubby_code reason)
{
	struct news *n = context;

	atomic_store(&n->reason, (int)reason);
	atomic_store(&n->event, (int)event);
	tally_add(&n->told);
}

static void step(const char *what, uint64_t session)
{
	char line[64];

	printf("%s %" PRIu64 "\n", what, session);
	fflush(stdout);
	WANT(fgets(line, sizeof(line), stdin) != NULL);
}

/* Ended without a handle, it rests, and the next call finds another session; nobody is told. */
static void rest(struct chubby *cell, struct news *n)
{
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	uint64_t first = chubby_session_id(cell);
	struct chubby_error e = {0};
	struct chubby_lock *lock;

	step("end", first);
	for (int i = 0; chubby_session_id(cell) != 0 && i < 1000; i++)
		poll(NULL, 0, 10);
	WANT(chubby_session_id(cell) == 0 && !chubby_session_is_safe(cell));
	WANT_CODE(chubby_lock(cell, "/ls/local/reasons", &o, &lock, &e), CHUBBY_OK, &e);
	WANT(chubby_session_id(cell) != 0 && chubby_session_id(cell) != first);
	WANT(chubby_lock_is_held(lock) && tally_count(&n->told) == 0);
	chubby_unlock(lock);
}

/* Every call has the one reason, begun before or after; nothing pretends to hold a lock. */
static void over(struct chubby *cell, struct news *n, const char *how, enum chubby_code reason)
{
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby_handle *held = async_open(cell, "/ls/local/reasons");
	struct chubby_handle *waiting = async_open(cell, "/ls/local/reasons");
	struct chubby_error e = {0};
	struct chubby_call *call;
	struct chubby_stat st;

	WANT_CODE(chubby_acquire(held, &o, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_acquire_start(waiting, &o, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	step(how, chubby_session_id(cell));
	WANT_CODE(chubby_acquire_finish(call, &e), reason, &e);
	for (int told = 0; atomic_load(&n->event) != CHUBBY_SESSION_EXPIRED_EVENT; told++)
		tally_await(&n->told, told + 1);
	WANT(atomic_load(&n->reason) == (int)reason);
	WANT_CODE(chubby_stat(held, &st, &e), reason, &e);
	WANT_CODE(chubby_release(held, &e), reason, &e);
	WANT_CODE(chubby_open(cell, "/ls/local/reasons", CHUBBY_READ, NULL, 0, &waiting, NULL, &e),
		  reason, &e);
	WANT(strchr(e.message, ':') != NULL);
	WANT(!chubby_is_held(held) && chubby_token(held) == 0 && chubby_sequencer(held) == NULL);
}

void run_reasons(const char *servers)
{
	struct chubby_options o = chubby_options_default();
	struct chubby_error e = {0};
	struct news n = {0};
	struct chubby *cell;

	tally_init(&n.told);
	o.servers = servers;
	o.on_session = on_session;
	o.context = &n;
	WANT_CODE(chubby_connect(&o, &cell, &e), CHUBBY_OK, &e);
	rest(cell, &n);
	over(cell, &n, "end", CHUBBY_SESSION_EXPIRED);
	chubby_disconnect(cell);
	memset(&n, 0, sizeof(n));
	tally_init(&n.told);
	o.lease_ms = 2000;
	o.grace_ms = 1000;
	WANT_CODE(chubby_connect(&o, &cell, &e), CHUBBY_OK, &e);
	over(cell, &n, "stop", CHUBBY_UNAVAILABLE);
	chubby_disconnect(cell);
}
