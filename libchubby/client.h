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

/* One call of an API function; lives on its caller's stack. */
struct client_call {
	struct request request; /* what it points to stays until the call is done */
	int64_t deadline_ns;    /* 0: the connection's default */
	char *guard;            /* owned: what request.guard_sequencer points to; may be NULL */
	uint64_t handle_number;
	/* results */
	enum error error;
	struct reply reply;               /* OK: points into `arena` */
	struct arena arena;               /* the caller releases it */
	char message[CALL_MESSAGE_BYTES]; /* not OK: what the cell or the session said */
	int64_t failed_op;                /* a refused MULTI: which operation; -1: about none */
	/* for the library thread */
	sem_t done;
};

enum post_kind { POST_CALL, POST_POISON, POST_CLOSE };

struct post {
	enum post_kind kind;
	struct client_call *call; /* borrowed */
	uint64_t handle_number;
	struct post *next;
};

#define NEWS_MAX 16

/* Callbacks have a thread of their own, so that they may call the library. */
struct callbacks {
	chubby_session_callback *function; /* NULL: none, and no thread */
	void *context;
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool stop;
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
	bool stopped; /* the library thread takes nothing any more */

	sem_t connected; /* posted once: safe, or refused */
	bool connect_told;
	enum error connect_error;
	char connect_message[CALL_MESSAGE_BYTES];

	atomic_int_fast64_t safe_until_ns; /* end of the lease while SAFE; else 0 */
	atomic_uint_fast64_t session_number;
	atomic_bool expired;
	atomic_uint_fast64_t last_handle_number;

	pthread_mutex_t users_mutex; /* guards the next three */
	pthread_cond_t users_changed;
	uint32_t users;                /* API calls inside */
	struct chubby_handle *handles; /* owned; opened and not closed */
	struct chubby_lock *locks;     /* owned */

	struct callbacks callbacks;
};

/* CHUBBY_INTERNAL in a forked child, with a message. Else OK, and client_leave() must follow. */
MUST_USE enum chubby_code client_enter(struct chubby *cell, struct chubby_error *ret_error);
void client_leave(struct chubby *cell);

/* Carries out the call and waits for it. */
void client_call(struct chubby *cell, struct client_call *c);
void client_call_release(struct client_call *c);
/* After a call: OK, or the sentence "what: why" in ret_error. */
enum chubby_code client_result(const struct client_call *c, const char *what,
			       struct chubby_error *ret_error);
void client_poison(struct chubby *cell, uint64_t handle_number);

/* ---- callbacks.c ---- */
void callbacks_start(struct callbacks *c, chubby_session_callback *function, void *context);
void callbacks_stop(struct callbacks *c);
void callbacks_push(struct callbacks *c, enum chubby_session_event event, enum chubby_code reason);

/* ---- loop.c ---- */
/* The library thread. */
void *client_loop(void *cell);
bool client_post(struct chubby *cell, struct post *p);

/* ---- handle.c, lock.c ---- */
/* Frees all that is left when the connection goes. */
void handles_free(struct chubby *cell);
void locks_free(struct chubby *cell);

#endif
