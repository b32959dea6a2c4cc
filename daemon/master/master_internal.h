/*
 * What the files of master/ share. Nobody outside includes this.
 *
 *   master.c     life, dispatch of requests, checks that all share
 *   output.c     replies, pushes and proposals that gather during a call
 *   pending.c    open calls: pending on a proposal, or held for an event
 *   streams.c    which calls and which session a stream carries
 *   leases.c     sessions' leases, the session clock, expiry
 *   marks.c      what silent sessions have left, in the log
 *   keepalive.c  KeepAlive
 *   handles.c    handle tokens and the table of open ones
 *   nodes.c      open, close, contents, listings
 *   locks.c      acquire, wait, cancel, release, sequencers, lock-delay
 *   multi.c      several operations in one entry
 *   admin.c      what operators ask
 *   find.c       who is master?
 *   failover.c   beginning and end of a mastership, entries applied
 */
#ifndef CHUBBY_MASTER_INTERNAL_H
#define CHUBBY_MASTER_INTERNAL_H

#include <string.h>

#include "base/check.h"
#include "master/master.h"
#include "master/timers.h"

/* Out of memory stops the process in mem_alloc(); uthash must not have another opinion. */
#define uthash_malloc(size) mem_alloc(size)
#define uthash_fatal(message) check_failed(__FILE__, __LINE__, (message))
#include "base/table.h"
#include <utlist.h>

#define OUTPUT_ARENA_MAX_BYTES ((size_t)64 << 20)
#define RETRY_AFTER_NS (100 * NS_PER_MS)

enum timer_kind {
	TIMER_SESSION_EXPIRY,   /* owner: struct lease */
	TIMER_KEEPALIVE_ANSWER, /* owner: struct lease */
	TIMER_HELD,             /* owner: struct open_call: Wait, on the session clock */
	TIMER_LOCK_WAIT,        /* owner: struct lock_timer: a waiter's deadline */
	TIMER_LOCK_DELAY,       /* owner: struct lock_timer */
	TIMER_RETRY,            /* owner: struct master: refused proposals of its own */
	TIMER_MARK,             /* owner: struct master */
};

struct open_handle {
	uint64_t number; /* key */
	uint64_t instance;
	uint32_t uses;
	uint32_t event_mask;
	bool rebuilt; /* from a token of an older epoch: once closed, remembered to the end */
	bool closed;
	struct open_handle *next_closed; /* not rebuilt: the next to forget */
	UT_hash_handle hh;
};

/* A lock that a multi acquires, in the order of its operations; all zero: not known any more. */
struct multi_claim {
	uint64_t instance;
	struct handle_id handle;
};

/* A call that is not answered yet. Owned by the table in struct master. */
struct open_call {
	struct call_id call; /* 0: its client is gone */
	struct stream_id stream;
	enum message_kind kind;
	struct session_id session;
	struct handle_id handle;
	uint64_t instance;
	uint32_t uses;
	uint32_t event_mask;
	uint64_t ticket;
	uint64_t origin_number; /* of its proposal; 0: held */
	int64_t received_ns;
	uint32_t claim_count;
	struct multi_claim *claims; /* MULTI: what it acquires; owned */
	struct timer timer;
	struct open_call *next_held;   /* of the same session, or of the FindMaster list */
	struct open_call *prev, *next; /* of the same stream, while there is one */
	UT_hash_handle by_call;
	UT_hash_handle by_origin;
};

/* The volatile half of a session. */
struct lease {
	uint64_t session;     /* key */
	int64_t lease_ns;     /* that it was created with */
	int64_t granted_ns;   /* from the last extension to the deadline */
	int64_t deadline_ns;  /* this and the following: session clock */
	int64_t heard_ns;     /* when something arrived last, or a KeepAlive ceased to be held */
	int64_t called_ns;    /* when something but a KeepAlive arrived last */
	bool expiry_proposed; /* or another end that the master decided on */
	bool contacted;       /* has heard from this master */
	bool newborn;         /* created in this mastership, which thus knows all its handles */
	bool marked;          /* a mark may be in the log: see marks.c */
	bool unmark_proposed;
	bool quiet; /* no KeepAlive is held: in the list of those */
	struct lease *prev, *next;
	struct stream_id stream;
	struct timer expiry;
	struct timer answer;
	struct open_call *keepalive; /* held */
	struct open_call *waits;     /* held, a list */
	struct open_handle *handles; /* hash, owned */
	uint32_t open_handles;
	uint32_t closed_count; /* of the queue of closed ones */
	struct open_handle *closed_head, *closed_tail;
	UT_hash_handle hh;
};

/* Exists while a call of it is open or a session is bound to it. */
struct stream {
	uint64_t id; /* key */
	struct lease *lease;
	struct open_call *calls; /* a list */
	UT_hash_handle hh;
};

/* The deadline of a waiter, or the end of a lock-delay. */
struct lock_timer {
	uint64_t instance;
	uint64_t revision; /* ticket, or the delay's beginning */
	struct session_id session;
	struct handle_id handle;
	struct timer timer;
	struct {
		uint64_t instance, revision;
	} key;
	UT_hash_handle hh;
};

struct master {
	struct master_config config; /* texts owned */
	const struct cell *cell;
	bool serving;
	struct epoch epoch;
	struct replica_id leader;

	/* The session clock: see leases.c. */
	int64_t session_now_ns;
	int64_t last_now_ns;

	struct timers timers;      /* on the session clock */
	struct timers find_timers; /* FindMaster is held without a master: on the host's clock */
	uint64_t next_origin;
	uint32_t call_count;
	uint32_t find_count;
	struct open_call *calls;   /* by call, owned unless the client is gone */
	struct open_call *pending; /* by origin, owned */
	struct open_call *finding; /* held FindMaster questions, a list */
	struct lease *leases;
	struct lease *quiet; /* the same objects, a list */
	struct stream *streams;
	struct lock_timer *waits;
	struct lock_timer *delays;
	uint32_t retry_count;
	struct entry *retries; /* owned */
	struct timer retry;
	struct timer mark;
	bool raise_proposed;

	struct {
		uint32_t reply_count, reply_capacity;
		struct master_reply *replies;
		uint32_t push_count, push_capacity;
		struct master_push *pushes;
		uint32_t proposal_count, proposal_capacity;
		struct entry *proposals;
		struct arena arena;
		struct master_output view;
	} out;
};

/* A request on its way through the checks. */
struct inbound {
	struct call_id call;
	struct stream_id stream;
	const struct request *r;
	const struct moment *at;
	struct grant_guard guard;   /* of its sequencer, if it brings one */
	struct lease *lease;        /* of its session */
	struct open_handle *handle; /* of its handle token */
	const struct node *node;    /* that the handle is bound to */
};

/* ---- output.c */
void reply_with(struct master *m, struct call_id call, bool needs_lease, const struct reply *r);
void reply_error(struct master *m, struct call_id call, enum message_kind kind, enum error error,
		 const char *message);
void push_to(struct master *m, struct stream_id stream, const struct reply *r);
/* Fills in origin and wall time, queues the entry, returns its origin number. */
uint64_t propose(struct master *m, const struct moment *at, struct entry *e);
void *output_alloc(struct master *m, size_t size);
/* Half of what it can hold is used: what can be asked for again, is left out. */
bool output_is_full(const struct master *m);
struct bytes output_copy(struct master *m, struct bytes b);
struct bytes output_path(struct master *m, struct bytes inner);
struct wire_stat stat_of(const struct node *n);
struct wire_grant grant_of(struct master *m, uint64_t instance, enum lock_mode mode,
			   struct grant grant, struct revision token, uint64_t generation);
void output_release(struct master *m);

/* ---- pending.c */
/* Registers a call that waits for its proposal. False: too many; the call has been refused. */
struct open_call *call_pend(struct master *m, const struct inbound *in, uint64_t origin_number);
struct open_call *call_hold(struct master *m, const struct inbound *in);
struct open_call *call_pending(struct master *m, uint64_t origin_number);
/* Unregisters and frees; the caller has answered it. */
void call_done(struct master *m, struct open_call *c);
void calls_refuse_all(struct master *m);
void retry_now(struct master *m, const struct moment *at);
void retries_clear(struct master *m);

/* ---- streams.c */
void stream_add_call(struct master *m, struct open_call *c);
void stream_remove_call(struct master *m, struct open_call *c);
/* Pushes for the session go to this stream from now on; 0: to none. */
void lease_bind_stream(struct master *m, struct lease *l, struct stream_id stream);

/* ---- leases.c */
/* What the session clock shows at that moment, and setting it so. */
int64_t session_clock_at(const struct master *m, const struct moment *at);
void session_clock_advance(struct master *m, const struct moment *at);
struct lease *lease_find(struct master *m, struct session_id id);
/* In a new mastership, or for a session that was created just now. */
struct lease *lease_add(struct master *m, const struct moment *at, const struct session *s,
			bool newborn);
void lease_remove(struct master *m, struct lease *l);
void lease_extend(struct master *m, const struct moment *at, struct lease *l);
void lease_expire(struct master *m, const struct moment *at, struct lease *l);
bool lease_is_idle(const struct master *m, const struct lease *l);
void lease_end_idle(struct master *m, const struct moment *at, struct lease *l);
void lease_drop_held(struct master *m, struct lease *l, struct open_call *c);

/* ---- marks.c */
void quiet_enter(struct master *m, struct lease *l);
void quiet_leave(struct master *m, struct lease *l);
void marks_due(struct master *m, const struct moment *at);
void unmark_propose(struct master *m, const struct moment *at, struct lease *l);
void unmark_applied(struct master *m, const struct moment *at, const struct entry *e,
		    const struct result *r);

/* ---- keepalive.c */
void keepalive_request(struct master *m, struct inbound *in);
void keepalive_answer(struct master *m, const struct moment *at, struct lease *l);

/* ---- handles.c */
/* The open handle of a token, found or rebuilt; its node may be gone. `ret_why` may be set on
 * failure, to a constant sentence. */
MUST_USE enum error handle_lookup(struct master *m, struct lease *l, struct bytes token,
				  uint32_t uses, struct open_handle **ret_handle,
				  const char **ret_why);
/* Finds (or rebuilds) the handle of the request; on failure the call is answered: false. */
bool handle_resolve(struct master *m, struct inbound *in, uint32_t uses);
struct open_handle *handle_find(struct lease *l, struct handle_id number);
MUST_USE enum error handle_add(struct master *m, struct lease *l, struct handle_id number,
			       uint64_t instance, uint32_t uses, uint32_t event_mask,
			       struct bytes *ret_token);
void handle_close(struct lease *l, struct open_handle *h);
void handles_clear(struct lease *l);

/* ---- nodes.c */
void open_request(struct master *m, struct inbound *in);
void open_applied(struct master *m, const struct moment *at, const struct open_call *c,
		  const struct result *r);
void close_request(struct master *m, struct inbound *in);
void get_request(struct master *m, struct inbound *in);
void read_dir_request(struct master *m, struct inbound *in);
void set_contents_request(struct master *m, struct inbound *in);
void set_acl_request(struct master *m, struct inbound *in);
void delete_request(struct master *m, struct inbound *in);

/* ---- locks.c */
void acquire_request(struct master *m, struct inbound *in);
void acquire_applied(struct master *m, const struct open_call *c, const struct result *r);
void wait_request(struct master *m, struct inbound *in);
void wait_timeout(struct master *m, struct open_call *c);
void cancel_request(struct master *m, struct inbound *in);
void cancel_applied(struct master *m, const struct open_call *c, const struct result *r);
void release_request(struct master *m, struct inbound *in);
void check_sequencer_request(struct master *m, struct inbound *in);
/* Whether the request brings no sequencer, or one that stands; else the call is answered. What it
 * proposes is bound to the same grant. */
bool sequencer_guards(struct master *m, struct inbound *in);
void lock_granted(struct master *m, const struct effect *e);
void lock_wait_ended(struct master *m, const struct effect *e);
void lock_wait_watch(struct master *m, uint64_t instance, const struct lock_waiter *w);
void lock_wait_unwatch(struct master *m, const struct effect *e);
void lock_delay_watch(struct master *m, uint64_t instance, int64_t delay_ns, struct revision began);
/* How long the lock-delay lasts still, at most; 0: there is none. */
int64_t lock_delay_left_ns(const struct master *m, const struct node *n);
void lock_timer_fired(struct master *m, const struct moment *at, struct timer *t);
void lock_timers_clear(struct master *m);

struct wire_grant holder_grant(struct master *m, uint64_t instance, const struct lock_holder *h);

/* ---- multi.c */
void multi_request(struct master *m, struct inbound *in);
void multi_applied(struct master *m, const struct open_call *c, const struct result *r);
/* Fills in what a repeat acquires; in the output's memory. */
void multi_repeated(struct master *m, const struct inbound *in, struct open_call *repeat);

/* ---- admin.c */
void list_locks_request(struct master *m, struct inbound *in);
void list_sessions_request(struct master *m, struct inbound *in);
void end_session_of_request(struct master *m, struct inbound *in);
void revoke_lock_request(struct master *m, struct inbound *in);
void revoke_applied(struct master *m, const struct open_call *c, const struct result *r);

/* ---- find.c */
void find_master_request(struct master *m, struct inbound *in);
void find_master_news(struct master *m);
void find_master_timeout(struct master *m, int64_t now_ns);
struct bytes leader_address(const struct master *m);
void not_master(struct master *m, struct call_id call, enum message_kind kind);

/* ---- master.c */
/* True when the request names no cell, or ours. Else the call is answered. */
bool cell_matches(struct master *m, struct inbound *in, struct bytes cell);
/* What a numbered request is in the log; 0 for kinds that carry no number. */
enum entry_kind numbered_entry(enum message_kind kind);
/* Looks the number up; true: the call is answered (a repeat, outside the window, or used for
 * another kind of request). */
bool request_repeated(struct master *m, struct inbound *in);
void reply_to_result(struct master *m, const struct moment *at, const struct open_call *c,
		     const struct result *r);
/* Proposes on behalf of the call and registers it as pending. */
struct open_call *propose_for(struct master *m, struct inbound *in, struct entry *e);
/* An inner path of a full one, checked against this cell. */
MUST_USE enum error path_inside(const struct master *m, struct bytes full, struct bytes *ret_inner,
				const char **ret_why);
/* The same; on failure the call is answered. */
/* "this is cell a, not b", or NULL if the name cannot be shown. For one reply. */
const char *wrong_cell(struct master *m, struct bytes asked);
bool path_resolve(struct master *m, struct inbound *in, struct bytes full, struct bytes *ret_inner);

#endif
