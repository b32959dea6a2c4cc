/*
 * master: what the master knows and a new one can do without (design section 5).
 *
 * A pure state machine beside the cell, on every replica; it serves only between master_begin()
 * and master_end(). The host feeds it requests, applied entries and ticks, and after each call
 * takes master_output(): replies, pushes, and entries to propose.
 *
 * Vocabulary
 *   call          one request, answered exactly once
 *   pending call  waits for its proposal to be applied
 *   held call     waits for an event: KeepAlive, Wait, FindMaster
 *   lease         of a session: until when the master must not end it
 *   session clock runs only while the master lease holds; all leases, waits and lock-delays are
 *                 counted on it, so that a gap (stopped process, no majority) expires nobody
 *   handle        a token (wire/handle.h); its number is in the session's table while it is open
 *
 * Invariants (checked by master_invariants)
 *   M1  every call is answered or forgotten (its client is gone) exactly once
 *   M2  a session whose expiry is proposed is never extended
 *   M3  when it does not serve it holds no pending calls, leases or handles
 *   M4  every lease belongs to a session of the cell, and every session of the cell has one
 *   M5  a session is extended only while no mark of it is in the log or on its way there
 *
 * Sessions of the dead under repeated failovers (lease_reset_by_failover). A new master that knew
 * nothing better would give each session its whole lease again. So the master marks sessions: every
 * MASTER_MARK_EVERY_NS it logs what those have left that hold no KeepAlive and sent nothing for
 * MASTER_SILENT_NS; a healthy cell logs nothing. A new master starts them from their mark. A
 * session that comes back is extended once the entry that removes its mark is applied; until then
 * its KeepAlive is held, and it does not expire. What a mastership that ends has counted of a
 * lease and not logged is at most MASTER_SILENT_NS + MASTER_MARK_EVERY_NS and the time that an
 * entry takes, and the session clock stands still while there is no master. Thus a session ends,
 * from the last KeepAlive that was answered to it, however often the master changes, within
 *
 *   lease + failovers * (MASTER_SILENT_NS + MASTER_MARK_EVERY_NS + one entry + time without master)
 *
 * A lease of 12 s under a new master every 5 s ends after about 25 s. A KeepAlive held for a host
 * that vanished without closing its connection may still be answered, once, before that count
 * begins.
 *
 * Leases under load. Beyond `stretch_sessions` sessions, leases of at least the default grow in
 * proportion, up to the cell's longest; shorter ones were asked for with a purpose, and stay. The
 * first that is stretched waits for an ENTRY_LEASE_RAISE to the longest of all, and nobody is given
 * just that at his request: so where the cell's longest is CELL_SESSION_LEASE_MAX_NS, and only
 * there, a new master counts on stretched leases.
 *
 * Idle sessions end after MASTER_IDLE_NS without a call but KeepAlive, when they have no handle
 * open, hold and await nothing, and cache nothing: at their next KeepAlive answer, by an entry. The
 * client hears SESSION_ENDED, and makes a new session when it needs one again. A session that is
 * older than the mastership may have handles that it did not use since, and stays.
 *
 * A lock-delay that runs when the master changes begins anew with the next one, since time is not
 * in the log. That is safe: the delay is the least time that a failed holder's lock stays
 * claimed, never the most. It ends at most one whole delay (60 s) after the last failover.
 *
 * Replies marked `needs_lease` read state or extend a lease: the host takes the time anew after
 * the call and sends them only if the master lease still runs (read, then check; section 3).
 */
#ifndef CHUBBY_MASTER_MASTER_H
#define CHUBBY_MASTER_MASTER_H

#include "cell/cell.h"
#include "wire/message.h"

/* Admission. Beyond them: RESOURCE_EXHAUSTED with a retry hint. Peers, KeepAlive, Release, Cancel
 * and session ends are never refused. */
#define MASTER_SESSIONS_MAX 200000
#define MASTER_HANDLES_PER_SESSION_MAX 10000
/* Closed numbers of this epoch that are told from new ones, in each session. */
#define MASTER_CLOSED_REMEMBERED_MAX 256
#define MASTER_PENDING_MAX 20000
#define MASTER_HELD_MAX 400000

#define MASTER_LEASE_DEFAULT_NS (12 * NS_PER_S)
/* The most that a client gets at its request; see "Leases under load". */
#define MASTER_LEASE_ASKED_MAX_NS (CELL_SESSION_LEASE_MAX_NS - NS_PER_MS)
#define MASTER_STRETCH_SESSIONS 20000
#define MASTER_MARK_EVERY_NS (3 * NS_PER_S)
#define MASTER_SILENT_NS (2 * NS_PER_S)
#define MASTER_IDLE_NS (60 * NS_PER_S)
/* A KeepAlive is answered when so much of its session's lease is left: 5 of 12. */
#define MASTER_KEEPALIVE_LEFT_PER_MILLE 417
#define MASTER_FIND_HOLD_MAX_NS (10 * NS_PER_S)
#define MASTER_WAIT_HOLD_MAX_NS (60 * NS_PER_S)
/* A digest goes into the log every so many revisions. */
#define MASTER_DIGEST_EVERY 4096

struct call_id {
	uint64_t n; /* 0: none */
};

struct stream_id {
	uint64_t n; /* 0: the call is unary */
};

/* The moment of a call into the master: taken anew for each event. */
struct moment {
	int64_t now_ns;         /* CLOCK_BOOTTIME */
	int64_t lease_until_ns; /* of the master lease; in the past: none */
	int64_t wall_unix_ms;   /* for display */
};

struct master_reply {
	struct call_id call;
	bool needs_lease;
	struct reply reply;
};

struct master_push {
	struct stream_id stream;
	struct reply reply;
};

/* Borrowed until the next call into the master or into its cell. */
struct master_output {
	uint32_t reply_count;
	const struct master_reply *replies;
	uint32_t push_count;
	const struct master_push *pushes;
	/* Encode and propose, in this order. What is refused goes to master_proposal_refused(). */
	uint32_t proposal_count;
	const struct entry *proposals;
};

struct master_server {
	struct replica_id replica;
	struct bytes address; /* for clients; copied */
};

struct master_config {
	struct replica_id self;
	uint32_t stretch_sessions; /* more make leases longer; 0: MASTER_STRETCH_SESSIONS */
	uint32_t server_count;
	struct master_server servers[MEMBERS_MAX];
};

struct master;

/* `cell` is borrowed for the life of the master, read-only. */
struct master *master_new(const struct master_config *config, const struct cell *cell);
void master_free(struct master *m);

/* The epoch entry of this replica's own mastership was applied: serve (Chubby 2.9). */
void master_begin(struct master *m, const struct moment *at);
/* Mastership is over: every pending and held call is answered NOT_MASTER. Harmless when idle. */
void master_end(struct master *m, const struct moment *at);
bool master_serving(const struct master *m);

/* Who leads, as far as this replica knows (0: nobody): answers held FindMaster questions. */
void master_leader(struct master *m, const struct moment *at, struct replica_id leader);

/* A request; `r` is borrowed during the call. STATUS belongs to the host and never comes here. */
void master_request(struct master *m, const struct moment *at, struct call_id call,
		    struct stream_id stream, const struct request *r);
/* The call's client is gone: forget it. */
void master_call_gone(struct master *m, struct call_id call);
void master_stream_closed(struct master *m, struct stream_id stream);

/* Every applied entry, in order, on every replica. */
void master_applied(struct master *m, const struct moment *at, const struct entry *e,
		    const struct outcome *outcome);

/* The log refused the proposal: its call is answered with `error`; what nobody asked for (an
 * expiry, the end of a wait or a lock-delay), and what is never refused for want of room (Release,
 * Cancel, session ends), is proposed again a little later. */
void master_proposal_refused(struct master *m, const struct moment *at, const struct entry *e,
			     enum error error);

void master_tick(struct master *m, const struct moment *at);
/* When master_tick() wants to be called, on the clock of moment.now_ns; TIME_NEVER: not at all. */
int64_t master_next_tick(const struct master *m, const struct moment *at);

const struct master_output *master_output(struct master *m);
/* Forgets the output that was taken. */
void master_output_done(struct master *m);

struct master_counters {
	uint64_t sessions, handles, pending, held;
};
void master_counters(const struct master *m, struct master_counters *ret_counters);

/* NULL, or the invariant that does not hold. */
const char *master_invariants(const struct master *m);

#endif
