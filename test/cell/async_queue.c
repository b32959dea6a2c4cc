/*
 * Waiting for locks without waiting: order, cancel, discard, poison.
 */
#include "async.h"

#define WAITERS 40

struct waiter {
	struct chubby_handle *handle;
	struct chubby_call *call;
	struct queue *queue;
	int number;
	uint64_t token;
	atomic_int told;
};

struct queue {
	struct chubby *cell;
	struct waiter waiters[WAITERS];
	struct tally over;
	atomic_int holders;
	atomic_uint_fast64_t last_token;
};

static void on_released(void *context, struct chubby_call *call)
{
	struct waiter *w = context;
	struct chubby_error e = {0};

	WANT_CODE(chubby_release_finish(call, &e), CHUBBY_OK, &e);
	tally_add(&w->queue->over);
}

/* Calls the library from the callback: finishes this call, and begins the next. */
static void on_granted(void *context, struct chubby_call *call)
{
	struct waiter *w = context;
	struct chubby_error e = {0};
	struct chubby_call *release;

	WANT(atomic_fetch_add(&w->told, 1) == 0);
	WANT(call == w->call);
	if (w->number % 3 == 0) {
		/* It was cancelled before the lock was free. */
		WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_CANCELLED, &e);
		tally_add(&w->queue->over);
		return;
	}
	WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_OK, &e);
	WANT(atomic_fetch_add(&w->queue->holders, 1) == 0);
	w->token = chubby_token(w->handle);
	WANT(w->token > atomic_exchange(&w->queue->last_token, w->token));
	atomic_fetch_sub(&w->queue->holders, 1);
	WANT_CODE(chubby_release_start(w->handle, on_released, w, &release, &e), CHUBBY_OK, &e);
}

static void never(void *context, struct chubby_call *call)
{
	(void)context;
	(void)call;
	async_fail(__FILE__, __LINE__, "a discarded call was told of");
}

/* One handle holds; many wait. A third is cancelled, a third discarded, a third gets the lock. */
static void many_wait(struct chubby *cell)
{
	static struct queue q;
	struct chubby_handle *holder = async_open(cell, "/ls/local/queue");
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby_error e = {0};

	memset(&q, 0, sizeof(q));
	q.cell = cell;
	tally_init(&q.over);
	WANT_CODE(chubby_acquire(holder, &o, &e), CHUBBY_OK, &e);
	atomic_store(&q.last_token, chubby_token(holder));
	for (int i = 0; i < WAITERS; i++) {
		struct waiter *w = &q.waiters[i];

		w->queue = &q;
		w->number = i;
		w->handle = async_open(cell, "/ls/local/queue");
		WANT_CODE(chubby_acquire_start(w->handle, &o, i % 3 == 1 ? never : on_granted, w,
					       &w->call, &e),
			  CHUBBY_OK, &e);
		WANT(!chubby_call_wait(w->call, 0));
	}
	for (int i = 0; i < WAITERS; i++) {
		if (i % 3 == 0)
			chubby_call_cancel(q.waiters[i].call);
		else if (i % 3 == 1)
			chubby_call_discard(q.waiters[i].call);
	}
	tally_await(&q.over, (WAITERS + 2) / 3);
	WANT_CODE(chubby_release(holder, &e), CHUBBY_OK, &e);
	tally_await(&q.over, WAITERS - (WAITERS + 1) / 3);
	/* Nobody is left in the queue, and nobody holds: it is free at once. */
	o.wait_ms = -1;
	WANT_CODE(chubby_acquire(holder, &o, &e), CHUBBY_OK, &e);
	for (int i = 0; i < WAITERS; i++) {
		WANT(atomic_load(&q.waiters[i].told) == (i % 3 == 1 ? 0 : 1));
		chubby_close_start(q.waiters[i].handle);
	}
	chubby_close(holder);
}

/* A call that was ended leaves its handle usable: the next acquire of it is not the one undone. */
static void again_and_again(struct chubby *cell)
{
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby_handle *h = async_open(cell, "/ls/local/again");
	struct chubby_error e = {0};
	struct chubby_call *call;

	for (int i = 0; i < 50; i++) {
		WANT_CODE(chubby_acquire_start(h, &o, NULL, NULL, &call, &e), CHUBBY_OK, &e);
		if (i % 2 == 0) {
			chubby_call_discard(call);
		} else {
			enum chubby_code code;

			chubby_call_cancel(call);
			code = chubby_acquire_finish(call, &e);
			WANT(code == CHUBBY_OK || code == CHUBBY_CANCELLED);
			WANT((code == CHUBBY_OK) == chubby_is_held(h));
			if (code == CHUBBY_OK)
				WANT_CODE(chubby_release(h, &e), CHUBBY_OK, &e);
		}
		WANT_CODE(chubby_acquire(h, &o, &e), CHUBBY_OK, &e);
		WANT(chubby_is_held(h));
		WANT_CODE(chubby_release(h, &e), CHUBBY_OK, &e);
	}
	chubby_close(h);
}

/* What a call got that was done, and then discarded, is given back: lock, handle, contents. */
static void discarded_results(struct chubby *cell)
{
	const int flags = CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE | CHUBBY_EPHEMERAL;
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby_handle *a = async_open(cell, "/ls/local/given-back");
	struct chubby_handle *b = async_open(cell, "/ls/local/given-back"), *gone;
	struct chubby_error e = {0};
	struct chubby_call *call;

	WANT_CODE(chubby_acquire_start(a, &o, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT(chubby_call_wait(call, -1));
	chubby_call_discard(call);
	WANT_CODE(chubby_acquire(b, &o, &e), CHUBBY_OK, &e);
	chubby_close(a);
	chubby_close(b);
	/* An ephemeral node goes with its last handle. Half of them are done when discarded. */
	for (int i = 0; i < 20; i++) {
		WANT_CODE(chubby_open_start(cell, "/ls/local/short-lived", flags, "abc", 3, NULL,
					    NULL, &call, &e),
			  CHUBBY_OK, &e);
		WANT(i % 2 == 0 || chubby_call_wait(call, -1));
		chubby_call_discard(call);
	}
	while (chubby_open(cell, "/ls/local/short-lived", CHUBBY_READ, NULL, 0, &gone, NULL, &e) ==
	       CHUBBY_OK)
		chubby_close(gone);
	WANT_CODE(e.code, CHUBBY_NOT_FOUND, &e);
}

/* Poison ends what waits, without waiting calls included. */
static void poisoned(struct chubby *cell)
{
	struct chubby_handle *holder = async_open(cell, "/ls/local/poison");
	struct chubby_handle *h = async_open(cell, "/ls/local/poison");
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby_error e = {0};
	struct chubby_call *call;

	WANT_CODE(chubby_acquire(holder, &o, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_acquire_start(h, &o, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	chubby_poison(h);
	WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_CANCELLED, &e);
	/* A handle that is closed before its call is finished: the call ends all the same. */
	chubby_close(h);
	h = async_open(cell, "/ls/local/poison");
	WANT_CODE(chubby_acquire_start(h, &o, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	chubby_close(h);
	WANT(chubby_acquire_finish(call, &e) != CHUBBY_OK);
	chubby_close(holder);
}

void run_queue(const char *servers)
{
	struct chubby *cell = async_connect(NULL, NULL);

	(void)servers;
	many_wait(cell);
	again_and_again(cell);
	discarded_results(cell);
	poisoned(cell);
	chubby_disconnect(cell);
}
