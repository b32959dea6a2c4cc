/*
 * How a connection ends: with calls outstanding, in a child, before it stood; and that nothing is
 * left of it.
 */
#include "async.h"

#include <dirent.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEFT 60

struct ending {
	struct chubby *cell;
	struct chubby_handle *handle;
	struct tally told;
	atomic_int again;
};

/* Every call is told of once; half finish it there, the others leave it to the connection's end. */
static void on_end(void *context, struct chubby_call *call)
{
	struct ending *n = context;
	struct chubby_error e = {0};
	struct chubby_call *more = NULL;

	if (atomic_fetch_add(&n->again, 1) % 2 == 0) {
		WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_CANCELLED, &e);
		/* Nothing begins any more: whoever always tries again comes to an end. */
		WANT_CODE(chubby_get_start(n->handle, on_end, n, &more, &e), CHUBBY_CANCELLED, &e);
		WANT(more == NULL);
	}
	tally_add(&n->told);
}

static void *waits(void *context)
{
	struct chubby_call *call = context;
	struct chubby_error e = {0};

	WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_CANCELLED, &e);
	return NULL;
}

void run_ends(const char *servers)
{
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby_error e = {0};
	struct ending n = {0};
	struct chubby_handle *holder;
	struct chubby_call *call;
	struct tally *told = &n.told;
	pthread_t thread;

	(void)servers;
	n.cell = async_connect(NULL, NULL);
	tally_init(told);
	holder = async_open(n.cell, "/ls/local/ends");
	n.handle = async_open(n.cell, "/ls/local/ends-other");
	WANT_CODE(chubby_acquire(holder, &o, &e), CHUBBY_OK, &e);
	for (int i = 0; i < LEFT; i++)
		WANT_CODE(chubby_acquire_start(async_open(n.cell, "/ls/local/ends"), &o, on_end, &n,
					       &call, &e),
			  CHUBBY_OK, &e);
	WANT_CODE(chubby_acquire_start(async_open(n.cell, "/ls/local/ends"), &o, NULL, NULL, &call,
				       &e),
		  CHUBBY_OK, &e);
	WANT(pthread_create(&thread, NULL, waits, call) == 0);
	/* The thread may be inside by now or come when the connection is going: it must be inside
	 * before it goes, so it is the cell that shows it: the call itself cannot. */
	WANT(!chubby_call_wait(call, 50));
	chubby_disconnect(n.cell);
	pthread_join(thread, NULL);
	WANT(tally_count(told) == LEFT);
}

/* ---- a child -------------------------------------------------------------------------------- */

static void child(struct chubby *cell, struct chubby_handle *h, struct chubby_call *call)
{
	struct chubby_options o = chubby_options_default();
	struct chubby_error e = {0};
	struct chubby_contents c;
	struct chubby_call *another = NULL;
	struct chubby *new_cell = NULL;

	alarm(20); /* a call that hangs here is a failure */
	WANT_CODE(chubby_set(h, "x", 1, 0, NULL, &e), CHUBBY_INTERNAL, &e);
	/* To connect again is no way out, so it must not be the advice. */
	WANT(strstr(e.message, "fork before") != NULL && strstr(e.message, "again") == NULL);
	WANT_CODE(chubby_get(h, &c, NULL, &e), CHUBBY_INTERNAL, &e);
	WANT_CODE(chubby_get_start(h, NULL, NULL, &another, &e), CHUBBY_INTERNAL, &e);
	WANT_CODE(chubby_open_start(cell, "/ls/local/child", CHUBBY_READ, NULL, 0, NULL, NULL,
				    &another, &e),
		  CHUBBY_INTERNAL, &e);
	WANT(another == NULL && !chubby_call_is_done(call) && !chubby_call_wait(call, -1));
	chubby_call_cancel(call);
	WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_INTERNAL, &e);
	chubby_call_discard(call);
	WANT(!chubby_is_held(h) && !chubby_session_is_safe(cell));
	WANT(chubby_session_lease_left_ms(cell) == 0);
	chubby_poison(h);
	chubby_close_start(h);
	chubby_close(h);
	chubby_disconnect(cell);
	/* A new connection is no better off: gRPC's threads did not come along. */
	o.connect_ms = 3000;
	WANT_CODE(chubby_connect(&o, &new_cell, &e), CHUBBY_INTERNAL, &e);
	WANT_CODE(chubby_connect_start(&o, &new_cell, &e), CHUBBY_INTERNAL, &e);
	WANT(new_cell == NULL);
	_exit(0);
}

void run_fork(const char *servers)
{
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby *cell = async_connect(NULL, NULL);
	struct chubby_handle *holder = async_open(cell, "/ls/local/fork");
	struct chubby_handle *h = async_open(cell, "/ls/local/fork");
	struct chubby_error e = {0};
	struct chubby_call *call;
	int status = -1;
	pid_t pid;

	(void)servers;
	WANT_CODE(chubby_acquire(holder, &o, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_acquire_start(h, &o, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	pid = fork();
	if (pid == 0)
		child(cell, h, call);
	WANT(pid > 0 && waitpid(pid, &status, 0) == pid);
	WANT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	/* The parent does not notice. */
	WANT_CODE(chubby_release(holder, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_OK, &e);
	WANT(chubby_is_held(h));
	chubby_disconnect(cell);
	/* A child of a process that has no connection may have its own. */
	pid = fork();
	if (pid == 0) {
		alarm(40);
		chubby_disconnect(async_connect(NULL, NULL));
		_exit(0);
	}
	WANT(pid > 0 && waitpid(pid, &status, 0) == pid);
	WANT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* ---- connecting without waiting ------------------------------------------------------------- */

struct opening {
	struct tally events;
	enum chubby_session_event event;
	enum chubby_code reason;
};

static void on_session(void *context, enum chubby_session_event event, enum chubby_code reason)
{
	struct opening *o = context;

	o->event = event;
	o->reason = reason;
	tally_add(&o->events);
}

void run_connect(const char *servers)
{
	struct chubby_options o = chubby_options_default();
	struct chubby_error e = {0};
	struct opening told = {0};
	struct chubby_handle *h;
	struct chubby_call *call, *late;
	struct chubby *cell;
	bool created;

	tally_init(&told.events);
	o.servers = servers;
	o.on_session = on_session;
	o.context = &told;
	WANT_CODE(chubby_connect_start(&o, &cell, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_open_start(cell, "/ls/local/connect", CHUBBY_READ | CHUBBY_CREATE, NULL, 0,
				    NULL, NULL, &call, &e),
		  CHUBBY_OK, &e);
	tally_await(&told.events, 1);
	WANT(told.event == CHUBBY_SESSION_SAFE && told.reason == CHUBBY_OK);
	WANT_CODE(chubby_open_finish(call, &h, &created, &e), CHUBBY_OK, &e);
	WANT(chubby_session_id(cell) != 0);
	chubby_disconnect(cell);
	WANT(tally_count(&told.events) == 1);
	/* Nobody listens on port 1. */
	o.servers = "127.0.0.1:1";
	o.connect_ms = 300;
	WANT_CODE(chubby_connect_start(&o, &cell, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_open_start(cell, "/ls/local/connect", CHUBBY_READ, NULL, 0, NULL, NULL,
				    &call, &e),
		  CHUBBY_OK, &e);
	WANT_CODE(chubby_open_finish(call, &h, NULL, &e), CHUBBY_UNAVAILABLE, &e);
	tally_await(&told.events, 2);
	WANT(told.event == CHUBBY_SESSION_EXPIRED_EVENT && told.reason == CHUBBY_UNAVAILABLE);
	WANT_CODE(chubby_open(cell, "/ls/local/connect", CHUBBY_READ, NULL, 0, &h, NULL, &e),
		  CHUBBY_UNAVAILABLE, &e);
	WANT_CODE(chubby_open_start(cell, "/ls/local/connect", CHUBBY_READ, NULL, 0, NULL, NULL,
				    &late, &e),
		  CHUBBY_OK, &e);
	WANT_CODE(chubby_open_finish(late, &h, NULL, &e), CHUBBY_UNAVAILABLE, &e);
	chubby_disconnect(cell);
	/* The cell's refusal is the reason, at once. */
	o.servers = servers;
	o.cell = "another-cell";
	o.connect_ms = 30000;
	WANT_CODE(chubby_connect_start(&o, &cell, &e), CHUBBY_OK, &e);
	tally_await(&told.events, 3);
	WANT(told.event == CHUBBY_SESSION_EXPIRED_EVENT && told.reason == CHUBBY_WRONG_CELL);
	chubby_disconnect(cell);
	/* Before anything is known: it goes without a word. */
	o.servers = "127.0.0.1:1";
	o.cell = NULL;
	WANT_CODE(chubby_connect_start(&o, &cell, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_open_start(cell, "/ls/local/connect", CHUBBY_READ, NULL, 0, NULL, NULL,
				    &call, &e),
		  CHUBBY_OK, &e);
	chubby_disconnect(cell);
	WANT(tally_count(&told.events) == 3);
}

/* ---- nothing is left ------------------------------------------------------------------------ */

#define ROUNDS 40
#define SETTLED 10
/* Under what a single call or handle would leave behind in all rounds. */
#define GROWTH_MAX_BYTES ((size_t)30 * 1024)

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int count = 0;

	WANT(d != NULL);
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}

/* gRPC ends threads of its own in its own time: asked again until there are no more than `most`. */
static int entries_settled(const char *path, int most)
{
	int count = entries(path);

	for (int i = 0; count > most && i < 500; i++) {
		poll(NULL, 0, 10);
		count = entries(path);
	}
	return count;
}

static void ignore(void *context, struct chubby_call *call)
{
	(void)context;
	(void)call;
}

/* Something of everything is left to the connection's end. */
static void round_of_everything(void)
{
	struct chubby_acquire_options o = {.lock_delay_ms = 0};
	struct chubby *cell = async_connect(NULL, NULL);
	struct chubby_error e = {0};
	struct chubby_handle *holder = async_open(cell, "/ls/local/leaks");
	struct chubby_lock *lock;
	struct chubby_call *call;

	WANT_CODE(chubby_acquire(holder, &o, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_lock(cell, "/ls/local/leaks-lock", &o, &lock, &e), CHUBBY_OK, &e);
	for (int i = 0; i < 10; i++) {
		struct chubby_handle *h = async_open(cell, "/ls/local/leaks");

		WANT_CODE(chubby_acquire_start(h, &o, i % 2 == 0 ? ignore : NULL, NULL, &call, &e),
			  CHUBBY_OK, &e);
		if (i % 4 == 1)
			chubby_call_cancel(call);
		if (i % 4 == 2)
			chubby_call_discard(call);
		WANT_CODE(chubby_set_start(h, "abc", 3, 0, ignore, NULL, &call, &e), CHUBBY_OK, &e);
		if (i % 3 == 0)
			WANT_CODE(chubby_set_finish(call, NULL, &e), CHUBBY_OK, &e);
		WANT_CODE(chubby_get_start(h, ignore, NULL, &call, &e), CHUBBY_OK, &e);
		if (i % 3 == 1)
			chubby_call_discard(call);
		WANT_CODE(chubby_open_start(cell, "/ls/local/leaks-open",
					    CHUBBY_READ | CHUBBY_CREATE, "abc", 3, NULL, NULL,
					    &call, &e),
			  CHUBBY_OK, &e);
		if (i % 3 == 2)
			chubby_close_start(h);
	}
	chubby_disconnect(cell);
}

void run_leaks(const char *servers)
{
	size_t before = 0, after;
	int threads = 0, descriptors = 0;

	(void)servers;
	for (int i = 0; i < ROUNDS; i++) {
		round_of_everything();
		if (i == SETTLED) {
			/* gRPC keeps what it made once. */
			before = mallinfo2().uordblks;
			threads = entries("/proc/self/task");
			descriptors = entries("/proc/self/fd");
		}
	}
	after = mallinfo2().uordblks;
	printf("%d rounds: %zu bytes after, %zu before; %d threads, %d before; %d descriptors, "
	       "%d before\n",
	       ROUNDS - SETTLED - 1, after, before, entries("/proc/self/task"), threads,
	       entries("/proc/self/fd"), descriptors);
	WANT(after < before + GROWTH_MAX_BYTES);
	WANT(entries_settled("/proc/self/task", threads) <= threads);
	WANT(entries_settled("/proc/self/fd", descriptors) <= descriptors);
}
