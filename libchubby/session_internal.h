/*
 * The insides of the session core: session.c (life, time), session_link.c (KeepAlive,
 * lease), session_find.c (who is master),
 * session_call.c (numbering, sending, replay), session_lock.c (the wait for a lock).
 */
#ifndef CHUBBY_SESSION_INTERNAL_H
#define CHUBBY_SESSION_INTERNAL_H

#include "session.h"

#include "base/table.h"

#include "base/check.h"
#include "base/rng.h"

enum call_state {
	CALL_QUEUED,     /* to be sent, or sent again */
	CALL_SENT,       /* on the link, unanswered */
	CALL_WAITING,    /* an acquire with a place in the queue */
	CALL_CANCELLING, /* an acquire whose deadline passed: Cancel is under way */
};

struct call {
	uint64_t id;
	enum call_state state;
	struct request request; /* `handle` points into `handle_copy` */
	uint8_t handle_copy[WIRE_HANDLE_MAX_BYTES];
	uint64_t handle_number;
	int64_t deadline_ns;
	int64_t sent_ns;
	int64_t not_before_ns; /* queued: told to come back later */
	uint32_t sent_count;
	bool abandoned;    /* its caller is gone: undo what it gets */
	bool undoes;       /* calls for the same handle's lock wait until it is over */
	bool caller_waits; /* SESSION_DONE is owed to `context` */
	void *context;
	uint64_t ticket;
	uint64_t wait_id;    /* envelope of a Wait that asks for the ticket; 0: none */
	uint64_t acquire_id; /* of a Cancel: the acquire that it ends; 0: none */
	struct call *previous, *next;
	UT_hash_handle hh;
};

struct call_list {
	struct call *head, *tail; /* the table owns the calls */
	uint32_t count;
};

struct server {
	char address[WIRE_ADDRESS_MAX_BYTES];
	uint64_t question; /* under way; 0: none */
	int64_t ask_at_ns;
	int64_t avoid_until_ns; /* as a master: a link to it was lost or refused a moment ago */
	bool answered;          /* its last question was answered by the replica itself */
	bool tried;
};

enum link_state { LINK_NONE, LINK_ATTACHING, LINK_LIVE };

struct session {
	struct session_config config;
	enum session_state state;
	enum error reason; /* why EXPIRED or CLOSED */
	char reason_text[256];
	struct session_id id;
	struct epoch epoch;
	int64_t now_ns; /* of the last input */
	int64_t lease_end_ns;
	int64_t lease_told_ns; /* what was left when the master last told */
	int64_t connect_until_ns;
	int64_t grace_until_ns;
	int64_t close_at_ns;
	bool closing;
	bool connected; /* once, at least */
	uint64_t end_call_id;
	struct rng rng;

	struct server servers[SESSION_SERVERS_MAX];
	uint32_t server_count;
	bool seeking;
	uint32_t named_again; /* how often the silent master was named, since `seeking` */

	enum link_state link_state;
	uint64_t link;
	uint32_t link_server;
	int64_t link_began_ns;
	uint64_t attach_id;
	uint64_t keepalive_id; /* 0: none under way */
	int64_t keepalive_sent_ns;
	bool keepalive_immediate; /* the one under way asks for an answer at once */

	uint64_t last_id; /* of links, questions and envelopes */
	uint64_t next_number;
	struct call *calls; /* owned; by id */
	struct call_list queue, sent, waiting;
	uint64_t handles;   /* that the application has open */
	uint32_t undoing;   /* calls that undo */
	struct call **gone; /* owned; freed when the actions are done */
	uint32_t gone_count;

	struct session_action *actions; /* owned */
	uint32_t action_count, action_capacity;
};

/* ---- session.c ---- */
struct session_action *action_add(struct session *s, enum session_action_kind kind);
void session_move(struct session *s, enum session_state to, enum error reason);
/* The session is over, and every call with it. `text` may be empty. */
void session_expire(struct session *s, enum error reason, struct bytes text);
void session_refuse(struct session *s, const struct reply *r);
void session_close_finish(struct session *s);

/* ---- session_link.c ---- */
void link_open(struct session *s, uint32_t server);
/* Forgets the link; what was sent on it is queued again. Then look for the master. */
void link_drop(struct session *s);
/* The master of this link is none, or cannot be reached: look for another. */
void link_failed(struct session *s);
void link_send(struct session *s, uint64_t call_id, const struct request *r);
/* The header of a request within this session. */
void session_header(const struct session *s, struct request *r);
/* Asks for more lease: at once, or when it nears its end. An older question is void. */
void keepalive_send(struct session *s, bool immediate);
/* The answer to the attach or to a KeepAlive. */
void link_answered(struct session *s, const struct reply *r);
void link_pushed(struct session *s, const struct reply *r);
/* Jeopardy and the end of grace. */
void lease_tick(struct session *s);

/* ---- session_find.c ---- */
void find_begin(struct session *s);
void find_end(struct session *s);
void find_tick(struct session *s);
int64_t find_next_tick(const struct session *s);
/* A replica said "not master" and perhaps who is. */
void find_hint(struct session *s, struct bytes address);
/* The index of an address, which is added if it is new; false if there is no room. */
bool server_learn(struct session *s, struct bytes address, uint32_t *ret_server);

/* ---- session_call.c ---- */
void list_append(struct call_list *l, struct call *c);
void list_remove(struct call_list *l, struct call *c);
struct call *call_find(const struct session *s, uint64_t id);
struct call *call_new(struct session *s, const struct request *r, uint64_t handle_number);
void call_free(struct session *s, struct call *c);
/* Tells the caller, and ends the call. */
void call_complete(struct session *s, struct call *c, const struct reply *r);
void call_fail(struct session *s, struct call *c, enum error e, const char *text);
/* Tells the caller alone. */
void caller_told(struct session *s, struct call *c, const struct reply *r);
/* The caller gets `e`; a lock or a handle that the call may get is given back. */
void call_abandon(struct session *s, struct call *c, enum error e, const char *text);
void call_undoes(struct session *s, struct call *c);
/* An internal call on a handle, without a caller, that undoes what another did. */
struct call *call_follow_up(struct session *s, struct bytes handle, uint64_t handle_number,
			    enum message_kind kind);
/* Not yet: what was begun on its handle's lock is being undone. */
bool waits_for_undo(const struct session *s, const struct call *c);
/* Its caller is gone, and it cannot be sent again. */
bool undo_ends_with_link(const struct call *c);
void open_answered(struct session *s, struct call *c, const struct reply *r);
void multi_answered(struct session *s, struct call *c, const struct reply *r);
/* Before the call is freed. */
void multi_forget(struct call *c);

/* ---- session_rest.c ---- */
/* Neither a handle nor a call on one. */
bool session_has_nothing(const struct session *s);
void rest_begin(struct session *s);
void rest_end(struct session *s);

/* ---- session_call.c, again ---- */
bool request_is_numbered(const struct request *r);
/* What the caller is told when the call's fate will not be known. */
enum error call_fate(const struct session *s, const struct call *c);
void calls_pump(struct session *s);
void calls_requeue(struct session *s);
void calls_fail_all(struct session *s, bool closing);
void calls_tick(struct session *s);
int64_t calls_next_tick(const struct session *s);
void call_answered(struct session *s, struct call *c, const struct reply *r);

/* ---- session_lock.c ---- */
void acquire_answered(struct session *s, struct call *c, const struct reply *r);
void acquire_deadline(struct session *s, struct call *c);
/* call_abandon() of an acquire. */
void acquire_abandon(struct session *s, struct call *c, enum error e, const char *text);
void cancel_answered(struct session *s, struct call *c, const struct reply *r);
void wait_ended(struct session *s, const struct reply *push);
void wait_answered(struct session *s, struct call *c, const struct reply *r);
/* On a new link, and when jeopardy ends: ask for every ticket. */
void waits_ask(struct session *s);

#endif
