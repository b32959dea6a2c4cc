/*
 * Inside the client library: the connection, the library thread, and calls that block.
 *
 * The library thread alone owns the session core and the transport. An API function posts a call
 * to it and waits for that call alone; nothing is polled. What other threads may look at (is the
 * session safe?) is published in atomics.
 *
 * Lifetimes: chubby_disconnect() ends the thread, waits until no API call is inside, and then
 * frees handles and locks.
 */
#ifndef CHUBBY_CLIENT_H
#define CHUBBY_CLIENT_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "chubby.h"
#include "servers.h"
#include "session.h"
#include "transport.h"

#define CALL_MESSAGE_BYTES 400
/* Longer than any wait that makes sense, and far from overflow. */
#define CLIENT_WAIT_MAX_MS (INT64_C(1000) * 3600 * 24 * 365)

/* One call of an API function. That of one that blocks lives on its caller's stack. */
struct client_call {
	struct request request; /* what it points to stays until the call is done */
	int64_t deadline_ns;    /* 0: the connection's default */
	char *guard;            /* owned: what request.guard_sequencer points to; may be NULL */
	uint64_t handle_number;
	const atomic_bool *poisoned; /* of the handle of a call that blocks; NULL: none */
	/* results */
	enum error error;
	struct reply reply;               /* OK: points into `arena` */
	struct arena arena;               /* the caller releases it */
	char message[CALL_MESSAGE_BYTES]; /* not OK: what the cell or the session said */
	int64_t failed_op;                /* a refused MULTI: which operation; -1: about none */
	/* for the library thread */
	struct chubby_call *owner; /* it is told when it is done; NULL: who waits for `done` is */
	sem_t done;
	uint64_t session_call; /* of session_call(); 0: not begun */
};

enum post_kind { POST_CALL, POST_CANCEL, POST_POISON, POST_CLOSE };

struct post {
	enum post_kind kind;
	struct client_call *call; /* borrowed */
	uint64_t handle_number;
	struct post *next;
};

#define NEWS_MAX 16

/* Callbacks have a thread of their own, so that they may call the library. */
struct callbacks {
	chubby_session_callback *function; /* may be NULL */
	void *context;
	pthread_mutex_t mutex; /* guards what follows */
	pthread_cond_t changed;
	pthread_t thread;
	bool started; /* there is a thread, since somebody gave a callback */
	bool stop;
	struct chubby_call *owed_head, *owed_tail;
	struct chubby_call *running; /* whose callback is being told; not to be looked into */
	uint32_t count;
	struct {
		enum chubby_session_event event;
		enum chubby_code reason;
	} news[NEWS_MAX];
};

struct chubby {
	pid_t pid; /* of the process that connected */
	struct server_list servers;
	char *cell, *host, *command; /* owned */
	int64_t call_ns;             /* TIME_NEVER: no limit */

	pthread_t thread;
	struct transport *transport; /* the library thread's, but for transport_post() */
	struct session *session;     /* the library thread's */

	pthread_mutex_t inbox_mutex; /* guards the next three */
	struct post *inbox_head, *inbox_tail;
	bool stopped;        /* nothing is taken any more */
	atomic_bool leaving; /* since chubby_disconnect() */

	sem_t connected;      /* posted once: safe, or refused */
	bool connect_is_news; /* nobody waits: callbacks tell of it */
	bool connect_told;
	bool jeopardy_told;
	/* Why it was refused; what calls say when nothing is taken any more. */
	enum error connect_error;
	char connect_message[CALL_MESSAGE_BYTES];

	atomic_int_fast64_t safe_until_ns; /* end of the lease while SAFE; else 0 */
	atomic_uint_fast64_t session_number;
	atomic_bool expired; /* nothing is held any more */
	atomic_uint_fast64_t last_handle_number;

	pthread_mutex_t users_mutex; /* guards the next three */
	pthread_cond_t users_changed;
	uint32_t users;                /* API calls inside */
	struct chubby_handle *handles; /* owned; opened and not closed */
	struct chubby_lock *locks;     /* owned */

	pthread_mutex_t calls_mutex;
	struct chubby_call *calls; /* owned; begun without waiting, and not finished */

	struct callbacks callbacks;
};

/* CHUBBY_INTERNAL in a forked child, with a message. Else OK, and client_leave() must follow. */
MUST_USE enum chubby_code client_enter(struct chubby *cell, struct chubby_error *ret_error);
void client_leave(struct chubby *cell);

/* Before it is posted. */
void client_call_init(struct chubby *cell, struct client_call *c);
/* It was not taken: what it ends with. */
void client_refuse(struct chubby *cell, struct client_call *c);
/* Carries out the call and waits for it. */
void client_call(struct chubby *cell, struct client_call *c);
void client_call_release(struct client_call *c);
/* After a call: OK, or the sentence "what: why" in ret_error. */
enum chubby_code client_result(const struct client_call *c, const char *what,
			       struct chubby_error *ret_error);
void client_poison(struct chubby *cell, uint64_t handle_number);

/* ---- callbacks.c ---- */
void callbacks_init(struct callbacks *c, chubby_session_callback *function, void *context);
/* There will be callbacks: starts their thread if it does not run yet. */
void callbacks_need(struct callbacks *c);
/* Tells what is owed, and ends the thread. */
void callbacks_stop(struct callbacks *c);
void callbacks_push(struct callbacks *c, enum chubby_session_event event, enum chubby_code reason);

/* Of a call that is done, and stays until it is told or forgotten. */
void callbacks_owe(struct callbacks *c, struct chubby_call *call);
/* Once this returns it is not told any more; waits while it is being told, by another thread. */
void callbacks_forget(struct callbacks *c, struct chubby_call *call);

/* ---- call.c ---- */
/* On the library thread: its answer is there. */
void async_arrived(struct chubby_call *call);
bool async_is_cancelled(const struct chubby_call *call);
void async_unref(struct chubby_call *call);
/* Frees all that is left when the connection goes. */
void asyncs_free(struct chubby *cell);

/* ---- loop.c ---- */
/* The library thread. */
void *client_loop(void *argument);
/* False: it was not taken. */
bool client_post(struct chubby *cell, struct post *p);
/* Before all that wait there: what the application asked after it must find it done. */
bool client_post_first(struct chubby *cell, struct post *p);

/* ---- handle.c, lock.c ---- */
void handles_free(struct chubby *cell);
void locks_free(struct chubby *cell);

#endif
