/*
 * The client's session core (Chubby sections 2.8 and 2.9; design section 7): a pure state machine.
 *
 * It decides; a host (transport.c, or the simulator) does. The host feeds it calls, answers, lost
 * links and ticks, each with the time, and after each input carries out session_actions() in
 * order. There is no I/O, clock, thread or global in here.
 *
 *      connect            created                lease ran out
 *   o──────────► CONNECTING ────────► SAFE ◄─────────────────────► JEOPARDY
 *                   │                  │  │    the cell answered       │
 *      time is up,  │     told by the  │  │ close                      │ grace is over, or
 *      or refused   │     cell         ▼  │                            │ told by the cell
 *                   │             EXPIRED ◄────────────────────────────┘
 *                   ▼                  ▼  ▼
 *                 CLOSED ◄─────────────┴──┘
 *
 * Told by the cell that it is over, a session that has no handle is RESTING instead: the next call
 * makes it CONNECTING again. From there it comes back to rest when nobody is found in time.
 *
 * Vocabulary
 *   server    an address of the cell, by its index; more are learnt from answers
 *   question  one FindMaster to one server; a replica without a master holds it
 *   link      one Session stream to the server that is believed to be master; at most one
 *   attach    the first envelope of a link: CreateSession, or an immediate KeepAlive; until it is
 *             answered nothing else is sent
 *   call      one request of the application, completed exactly once
 *   number    of a mutation: given when it is first sent, kept when it is sent again; the window is
 *             64 above the lowest that is unanswered
 *   lease     ends at (send time of the request + what the answer told), shortened for drift
 *
 * Invariants (session_invariants)
 *   S1  every call completes exactly once; after EXPIRED or CLOSED there are none
 *   S2  numbers in flight lie within the window; each belongs to one call
 *   S3  the lease never moves back
 *   S4  SAFE implies that the lease ran at the last input
 *   S5  a session rests without handles, calls, link and identity
 */
#ifndef CHUBBY_SESSION_H
#define CHUBBY_SESSION_H

#include "wire/message.h"

#define SESSION_SERVERS_MAX 32
#define SESSION_WINDOW 64
/* Calls on the link at one time; further ones wait their turn. */
#define SESSION_IN_FLIGHT_MAX 512

/* A call without an answer for so long makes it ask other replicas who is master. */
#define SESSION_SUSPECT_NS (200 * NS_PER_MS)
#define SESSION_ATTACH_PATIENCE_NS (2 * NS_PER_S)
/* How long a replica may hold "who is master?". */
#define SESSION_QUESTION_HOLD_NS (2 * NS_PER_S)
/* After its deadline an acquire waits so long for the answer to its Cancel. */
#define SESSION_CANCEL_PATIENCE_NS (1 * NS_PER_S)

enum session_state {
	SESSION_CONNECTING,
	SESSION_SAFE,
	SESSION_JEOPARDY,
	SESSION_RESTING,
	SESSION_EXPIRED,
	SESSION_CLOSED,
	SESSION_STATE_END,
};

struct session_config {
	struct bytes cell; /* these three are borrowed for the session's life; cell may be empty */
	struct bytes host;
	struct bytes command;
	uint32_t pid;
	int64_t lease_ns; /* 0: the cell's default */
	int64_t grace_ns;
	int64_t connect_ns; /* longest time in CONNECTING at first; later it is the grace period */
	int32_t drift_ppm;
	uint64_t seed;              /* of the jitter */
	uint32_t server_count;      /* 1..SESSION_SERVERS_MAX */
	const char *const *servers; /* host:port; copied */
};

enum session_action_kind {
	SESSION_ASK = 1,    /* FindMaster to `server`; the answer goes to session_answer() */
	SESSION_CONNECT,    /* open the Session stream `link` to `server` */
	SESSION_DISCONNECT, /* drop `link`: nothing from it is wanted any more */
	SESSION_SEND,       /* `request` as `call_id` on `link` */
	SESSION_DONE,       /* the call of `context` is over: `reply` */
	SESSION_NEWS,       /* the state is now `state`, because of `reason` */
};

/* Everything borrowed is valid until session_actions_done(). */
struct session_action {
	enum session_action_kind kind;
	uint32_t server;
	uint64_t question;
	uint64_t link;
	uint64_t call_id;
	struct request request;
	void *context;
	struct reply reply;
	enum session_state state;
	enum error reason;
};

struct session;

/* Starts to look for the master at once: take the first actions. The caller frees. */
struct session *session_new(const struct session_config *config, int64_t now_ns);
/* Calls that are not completed are forgotten: close first. NULL is allowed. */
void session_free(struct session *s);

struct session_request {
	/* OPEN gives a handle to the application; it gives it back with one CLOSE. */
	/* What it points to (paths, contents) is borrowed until the call is done; the handle token
	 * is copied. Header fields are filled in here. */
	const struct request *request;
	/* When the caller stops waiting; TIME_NEVER: when the session ends. A mutation that was
	 * sent by then is OUTCOME_UNKNOWN, an acquire DEADLINE_EXCEEDED (and undone), else
	 * UNAVAILABLE. */
	int64_t deadline_ns;
	uint64_t handle_number; /* for session_poison(); 0: none */
	void *context;          /* opaque; comes back with SESSION_DONE */
};

/* ACQUIRE is done when the lock is granted or refused: waiting in the queue is part of it. Returns
 * what names the call to session_cancel(). */
uint64_t session_call(struct session *s, int64_t now_ns, const struct session_request *r);
/* The call is done, CANCELLED, unless it is done already. What was sent may take effect; a lock or
 * a handle that it gets all the same is given back. Then calls for the lock of the same handle wait
 * until that is over. */
void session_cancel(struct session *s, int64_t now_ns, uint64_t call);
/* Calls with this handle number are done, CANCELLED; what they began is undone where possible. */
void session_poison(struct session *s, int64_t now_ns, uint64_t handle_number);
/* Completes all calls with CANCELLED, tells the cell, and is CLOSED when that is answered or at
 * `deadline_ns`. */
void session_close(struct session *s, int64_t now_ns, int64_t deadline_ns);

/* The answer to a question. `answered` is false when the server could not be reached. */
void session_answer(struct session *s, int64_t now_ns, uint64_t question, bool answered,
		    const struct reply *r);
/* A message on a link; call_id 0 is a push. Those of older links are ignored. */
void session_message(struct session *s, int64_t now_ns, uint64_t link, uint64_t call_id,
		     const struct reply *r);
/* `why` is the refusal that the server ended it with, or NULL. */
void session_link_lost(struct session *s, int64_t now_ns, uint64_t link, const struct reply *why);
void session_tick(struct session *s, int64_t now_ns);
/* When session_tick() is wanted; TIME_NEVER: not at all. */
int64_t session_next_tick(const struct session *s);

const struct session_action *session_actions(const struct session *s, uint32_t *ret_count);
void session_actions_done(struct session *s);

enum session_state session_state(const struct session *s);
struct session_id session_identity(const struct session *s);
struct epoch session_epoch(const struct session *s);
/* The end of the lease on this side; 0 before there is one. */
int64_t session_lease_end(const struct session *s);
const char *session_server(const struct session *s, uint32_t server);
/* For a person: which servers answer. Written into `text`. */
void session_trouble(const struct session *s, char *text, size_t size_bytes);

/* NULL, or the invariant that does not hold. */
const char *session_invariants(const struct session *s);

#endif
