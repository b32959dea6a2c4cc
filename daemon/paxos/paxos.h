/*
 * paxos: one replicated log (design section 3; Paxos Made Live; Chubby section 2.2).
 *
 * A pure state machine. The host (replica.c, or the simulator) feeds it messages, ticks,
 * commands, and news from the disk, each with the current time, and after each call takes what
 * paxos_output() returns: it must do all of it, in the order that the fields' comments give.
 * Nothing here reads a clock, sends, or writes.
 *
 * Vocabulary
 *   acceptor     a replica in one incarnation; promises ballots and accepts values
 *   ballot       (round, replica, incarnation); never used by two masterships
 *   slot         a position of the log; holds one value, which holds many commands
 *   chosen       accepted by a durable majority in one ballot; never changes again
 *   watermark    the slot up to which, included, all slots are chosen (or trimmed)
 *   master       the leader of a ballot that a majority promised; `leased` while a majority's
 *                promise to follow nobody else is known to run
 *   vetted       after a start: a majority has confirmed that this replica's memory is whole
 *
 * Messages (struct paxos_message)
 *   kind           from        to          durable before it leaves / effect
 *   PROBE          candidate   all         would you promise? (raises nothing)
 *   PROBE_REPLY    acceptor    candidate   yes, or no and the lease that remains
 *   PREPARE        candidate   all         its own promise is durable in both copies first
 *   PROMISE        acceptor    candidate   its promise is durable first; accepted values in parts
 *   REFUSAL        acceptor    sender      a higher ballot, or a lease: never costs a write
 *   ACCEPT         master      acceptors   one slot; carries watermark, lease and `seen`
 *   ACCEPTED       acceptor    master      the acceptance is durable first
 *   HEARTBEAT      master      all         lease renewal, watermark, `seen`
 *   HEARTBEAT_ACK  acceptor    master      renews the lease; tells its own watermark; also the
 *                                          answer to an ACCEPT too far ahead to be held
 *   RELEASE        master      all         the master leaves: your lease promise is void
 *   LEARN          any         any         send me what is chosen from this slot on
 *   GREET          restarted   all         vet me
 *   CHALLENGE      peer        restarted   a nonce: after this moment nothing new is seen
 *   GREET_STATE    restarted   peer        promise and accepted tail, for the nonce
 *   VERDICT        peer        restarted   whole, or: you forgot this
 *
 * Chosen values for a replica that is behind do not come through paxos: `serve_log` asks the host
 * to read them from its store and send them to that peer over a connection of their own; the
 * receiver's host gives them to paxos_learned().
 *
 * Invariants (checked by paxos_invariants)
 *   I1  promised >= the ballot of every acceptance
 *   I2  nothing leaves that says "promised" or "accepted" before that is durable
 *   I3  slots are handed to apply in order, without gaps, once in a life of the process
 *   I4  a master proposes nothing at or below a watermark that it was told, nothing above
 *       watermark + alpha, and only one value for a slot in its ballot
 *   I5  leased implies: a majority granted a lease for this ballot, counted from *sending*
 *   I6  before it is vetted a replica neither promises, accepts nor stands for election
 */
#ifndef CHUBBY_PAXOS_PAXOS_H
#define CHUBBY_PAXOS_PAXOS_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/time.h"
#include "base/value.h"

/* Most slots that may be open (proposed, not known as chosen) at once: the alpha of section 3. */
#define PAXOS_ALPHA 32

/* Values under way before commands wait for company, unless a batch is full. */
#define PAXOS_WINDOW 2

/* Most bytes of commands that wait to be proposed; beyond, paxos_propose() refuses. */
#define PAXOS_QUEUE_MAX_BYTES ((size_t)32 << 20)

struct paxos_member {
	struct replica_id replica;
	struct incarnation incarnation;
	bool voting;
};

struct paxos_membership {
	uint32_t count; /* 1..MEMBERS_MAX */
	struct paxos_member members[MEMBERS_MAX];
};

struct paxos_config {
	struct replica_id self;
	struct incarnation incarnation;
	int64_t lease_ns;      /* L; default 400 ms */
	int64_t heartbeat_ns;  /* default 100 ms; at most lease_ns / 3 */
	int32_t drift_ppm;     /* bound of each clock's rate error */
	int64_t stall_ns;      /* a master steps down when its oldest write is older; 1 s */
	int64_t stand_back_ns; /* no candidacy for so long after the start: 0, or a few seconds
				  after a storage error */
	struct paxos_membership membership;
};

/* A slot as an acceptor stores it. The holder of the struct owns one reference to `value`. */
struct paxos_accepted {
	struct slot slot;
	struct ballot ballot;
	struct value *value;
};

/*
 * What somebody saw one acceptor acknowledge ("you forgot", section 3): it promised `promised`,
 * and accepted every slot of `from`..`through` in `accepted` (from 0: none).
 */
struct paxos_seen {
	struct replica_id replica;
	struct incarnation incarnation;
	struct ballot promised;
	struct ballot accepted;
	struct slot from;
	struct slot through;
};

/* Durable state: what the store returns at start, and what each write changes. */
struct paxos_durable {
	struct ballot promised;
	int64_t longest_lease_ns; /* longest L ever promised: the restart wait */
	struct slot chosen;       /* watermark; may lag behind the truth */
	struct slot trimmed;      /* slots up to here are gone from the log */
	uint32_t seen_count;
	struct paxos_seen seen[MEMBERS_MAX];
};

/* Reasons why a replica takes no part. */
enum paxos_memory {
	PAXOS_MEMORY_WHOLE,    /* as far as this replica can tell by itself */
	PAXOS_MEMORY_DOUBTFUL, /* the write-ahead log ended doubtfully: own word does not count */
	PAXOS_MEMORY_LOST,     /* blank, rolled back, damaged: never votes in this incarnation */
};

struct paxos_recovered {
	struct paxos_durable durable;
	enum paxos_memory memory;
	/* State is complete up to here. The host itself applies what lies between this and
	 * `durable.chosen` from its log; paxos hands out what follows the greater of the two. */
	struct slot applied;
	struct slot newest; /* newest slot in the log */
	/* Accepted slots above `durable.chosen`, ascending; each reference passes to paxos. */
	uint32_t tail_count;
	struct paxos_accepted *tail; /* borrowed during paxos_new() */
};

enum paxos_kind {
	PAXOS_PROBE = 1,
	PAXOS_PROBE_REPLY,
	PAXOS_PREPARE,
	PAXOS_PROMISE,
	PAXOS_REFUSAL,
	PAXOS_ACCEPT,
	PAXOS_ACCEPTED,
	PAXOS_HEARTBEAT,
	PAXOS_HEARTBEAT_ACK,
	PAXOS_RELEASE,
	PAXOS_LEARN,
	PAXOS_GREET,
	PAXOS_CHALLENGE,
	PAXOS_GREET_STATE,
	PAXOS_VERDICT,
	PAXOS_KIND_END,
};

/*
 * One message. Fields that a kind does not use are zero. `accepted[].value` may be NULL where the
 * message names only (slot, ballot), as in GREET_STATE.
 */
struct paxos_message {
	enum paxos_kind kind;
	struct ballot ballot;   /* the ballot that it is about */
	struct ballot promised; /* REFUSAL, PROBE_REPLY, GREET_STATE: the sender's promise */
	struct incarnation incarnation; /* of the sender's memory; set on every message */
	struct slot slot;               /* ACCEPT, ACCEPTED: which; LEARN: first wanted;
					  PREPARE: first slot that the candidate does not know;
					  PROMISE: first slot that this part covers;
					  GREET…VERDICT: random number of the greeter's start */
	struct slot chosen;             /* sender's watermark, on every message */
	struct slot trimmed;            /* sender's trim point: PROMISE, PROBE_REPLY, GREET_STATE */
	int64_t lease_ns;            /* ACCEPT, HEARTBEAT: L; REFUSAL, PROBE_REPLY: what remains */
	uint64_t sequence;           /* HEARTBEAT, ACCEPT: echoed in the answer, for the lease;
					  PROBE, PREPARE: attempt; CHALLENGE…VERDICT: nonce */
	uint32_t part;               /* PROMISE: number of this part, from 0 */
	bool last;                   /* PROMISE: no further part; covers all slots that follow */
	bool granted;                /* PROBE_REPLY: yes; VERDICT: memory is whole */
	struct replica_id successor; /* RELEASE: whom the master prefers */
	struct value *value;         /* ACCEPT; one reference, owned by the message */
	uint32_t accepted_count;     /* PROMISE, GREET_STATE */
	struct paxos_accepted *accepted; /* owned by the message, each with its reference */
	uint32_t seen_count;             /* ACCEPT, HEARTBEAT: what the master saw acknowledged */
	struct paxos_seen seen[MEMBERS_MAX];
};

/* Drops what the message owns (values, the array); the struct itself is the caller's. */
void paxos_message_release(struct paxos_message *m);
const char *paxos_kind_name(enum paxos_kind kind);

struct paxos_envelope {
	struct replica_id to;
	struct paxos_message message;
};

/*
 * One durable write: all of it in one transaction and one sync. Writes are numbered from 1 and
 * made in order; the host reports with paxos_persisted(n) that all up to n are durable.
 */
struct paxos_write {
	uint64_t number;
	bool promise_changed; /* then the promise file is synced after the database, before news */
	struct paxos_durable durable; /* the whole small state as of this write */
	uint32_t accepted_count;
	struct paxos_accepted *accepted; /* rows to insert or replace; references held by the write;
					    of two rows for one slot the later counts */
};

enum paxos_role {
	PAXOS_LOST,     /* memory lost: takes no part */
	PAXOS_UNVETTED, /* waits for a majority to confirm its memory */
	PAXOS_FOLLOWER,
	PAXOS_CANDIDATE, /* probing or preparing */
	PAXOS_MASTER,
};

/*
 * What the host must do after a call. Everything is borrowed until the next call into this paxos.
 * Order: start the writes, send the messages (the core has already held back what must wait for
 * the disk, so neither waits for the other), then apply what is chosen, then look at the role.
 */
struct paxos_output {
	uint32_t write_count;
	const struct paxos_write *writes;
	uint32_t message_count;
	const struct paxos_envelope *messages;

	/* Newly chosen, ascending, without gaps: apply each. `value` is borrowed: reference it. */
	uint32_t chosen_count;
	const struct paxos_accepted *chosen;

	/* Send the chosen log from `from` on to `to`, at most a chunk, over the bulk connection.
	 * All of them are durable as chosen. Slots at or below the trim point of paxos_durable(),
	 * as it is now, are left out: what a row below an installed snapshot holds was perhaps
	 * never chosen. Without entries watermark and trim point are sent all the same. */
	struct paxos_serve {
		struct replica_id to;
		struct slot from;
		struct slot through; /* not beyond this slot */
	} serve_log[MEMBERS_MAX];
	uint32_t serve_count;

	/* A peer's log begins above what we need: only a snapshot helps. `replica` 0: none. */
	struct replica_id snapshot_from;

	/* Mastership won or lost since the last output; on `elected`, propose the epoch entry.
	 * Both: the old one is over and a new one has begun. */
	bool elected;
	bool deposed;

	/* A sentence for the log, or NULL: what happened and what this replica does next. */
	const char *note;
};

struct paxos;

/* `recovered->tail` references pass to the result. `seed` drives jitter and nonces only. */
struct paxos *paxos_new(const struct paxos_config *config, struct paxos_recovered *recovered,
			uint64_t seed, int64_t now_ns);
void paxos_free(struct paxos *p);

/*
 * A message from a configured peer. Borrowed: what paxos keeps it references itself. What it says
 * is never trusted beyond the protocol; nonsense is dropped with a note.
 */
void paxos_step(struct paxos *p, int64_t now_ns, struct replica_id from,
		const struct paxos_message *m);

/* Fires what is due. The host calls it when paxos_next_tick() has come, after it has read what
 * peers sent before that instant. */
void paxos_tick(struct paxos *p, int64_t now_ns);
/* When paxos_tick() wants to be called next. */
int64_t paxos_next_tick(const struct paxos *p);

/* All writes up to `number` are durable. */
void paxos_persisted(struct paxos *p, int64_t now_ns, uint64_t number);

/* The store failed: this instance says nothing any more, since its writes that are not persisted
 * count as lost. The host reads the disk again and makes a new instance of what it finds. */
void paxos_storage_failed(struct paxos *p, int64_t now_ns);

/* Commands for the log; copied. NOT_MASTER, TOO_LARGE (beyond a value), RESOURCE_EXHAUSTED. */
MUST_USE enum error paxos_propose(struct paxos *p, int64_t now_ns, struct bytes command);

/* Chosen values that a peer sent in answer to LEARN, ascending from `entries[0].slot`; borrowed.
 * `peer_chosen` is the peer's watermark: more is to be had if it lies above the last. */
void paxos_learned(struct paxos *p, int64_t now_ns, struct replica_id from,
		   const struct paxos_accepted *entries, uint32_t count, struct slot peer_chosen,
		   struct slot peer_trimmed);

/* A snapshot was installed: state and log now begin after `slot`. */
void paxos_snapshot_installed(struct paxos *p, int64_t now_ns, struct slot slot);

/* The log is trimmed up to `slot`. */
void paxos_trimmed(struct paxos *p, struct slot slot);

/* Leaves mastership at once and for good, hands over to the most up-to-date replica. The host has
 * stopped reading under the lease before it calls this. A follower becomes unable to stand. */
void paxos_resign(struct paxos *p, int64_t now_ns);

/* A connection to `peer` was made anew: greets and retransmits at once instead of at a timer. */
void paxos_peer_connected(struct paxos *p, int64_t now_ns, struct replica_id peer);

/* Takes the output that has gathered since the last call; never NULL. */
const struct paxos_output *paxos_output(struct paxos *p);

enum paxos_role paxos_role(const struct paxos *p);
/* The ballot that this replica follows or leads, and its leader (0: none known). */
struct ballot paxos_ballot(const struct paxos *p);
struct replica_id paxos_leader(const struct paxos *p, int64_t now_ns);
/* The end of the master lease; before now when there is none. Read state, then compare. */
int64_t paxos_lease_until(const struct paxos *p);
struct slot paxos_chosen(const struct paxos *p);
/* As a master: the watermark that `replica` last told, and when it last answered (0: never). */
struct slot paxos_peer_chosen(const struct paxos *p, struct replica_id replica);
int64_t paxos_peer_heard_ns(const struct paxos *p, struct replica_id replica);
const struct paxos_durable *paxos_durable(const struct paxos *p);
/* Why this replica takes no part, for a person; NULL when it does. Valid until the next call. */
const char *paxos_trouble(const struct paxos *p);

/* NULL, or the invariant that does not hold. */
const char *paxos_invariants(const struct paxos *p);

#endif
