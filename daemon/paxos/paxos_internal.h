/*
 * What the files of paxos/ share; nobody outside this directory includes it.
 *
 *   core.c        life, roles and their moves, ticks and news from the disk
 *   step.c        dispatch of messages
 *   output.c      gathers writes, messages, chosen values and notes for the host
 *   message.c     ownership and names of messages
 *   tail.c        accepted values above the watermark
 *   membership.c  majorities, by the configuration that governs a slot
 *   acceptor.c    promises and acceptances
 *   lease.c       both sides of the lease: grants to a master, and the master's own belief
 *   proposer.c    commands into values, values into slots, acknowledgements into choices
 *   lead.c        heartbeats, retransmission, stepping down, handing over
 *   election.c    probing and phase 1
 *   learner.c     the watermark, and fetching what was missed
 *   seen.c        what acceptors were seen to acknowledge
 *   greet.c       "you forgot": vetting after a start
 *
 * Roles
 *
 *   UNVETTED --majority says whole--> FOLLOWER --lease ran out--> CANDIDATE --phase 1--> MASTER
 *                                        ^---------refused, or follows another---'         |
 *                                        ^-------------lease lapsed, disk stalled,---------'
 *                                                      higher ballot, handed over
 *   any --"you forgot", or memory contradicts itself--> LOST
 *   any but LOST --the store failed--> UNVETTED, silent until the host makes it anew
 */
#ifndef CHUBBY_PAXOS_INTERNAL_H
#define CHUBBY_PAXOS_INTERNAL_H

#include "base/check.h"
#include "base/rng.h"
#include "paxos.h"

/* How far above its own watermark an acceptor accepts: bounds the tail in memory and on disk. A
 * replica that is further behind catches up from a peer's log first. */
#define TAIL_WINDOW 1024u

/* Bytes of commands that make a batch full; a single larger command still fits a value. */
#define BATCH_BYTES ((size_t)512 << 10)

/* Bytes of values in one part of a promise. */
#define PROMISE_PART_BYTES ((size_t)1 << 20)

/* Writes that the disk may owe; beyond, nothing new is promised, accepted or proposed. */
#define WRITES_MAX 1024u

/* Answers that may wait for the disk; beyond, they count as lost on the way. */
#define HELD_MAX 4096u

/* A candidate further behind than this is refused a probe: others are better placed. */
#define PROBE_LAG_MAX 1000u

/* Longest lease that a message may ask for, and the highest round and slot that make sense. */
#define LEASE_MAX_NS (60 * NS_PER_S)
#define ROUND_MAX (UINT64_C(1) << 62)
#define SLOT_MAX (UINT64_C(1) << 62)

#define STAGGER_NS (50 * NS_PER_MS)       /* spread of candidacies after a lease ended */
#define HANDOVER_RETRY_NS (3 * NS_PER_MS) /* the successor asks again after a refusal */
#define GREET_RETRY_NS (100 * NS_PER_MS)
#define LEARN_TIMEOUT_NS (500 * NS_PER_MS) /* then another peer is asked */
#define LEARN_SILENT_NS (10 * NS_PER_S)    /* so long others come first: more than a snapshot's */
#define LEARN_PAUSE_NS (20 * NS_PER_MS)    /* least time between two requests without progress */
#define SNAPSHOT_TIMEOUT_NS (5 * NS_PER_S)
#define CATCH_UP_NS (5 * NS_PER_S)         /* a candidate that cannot catch up gives up */
#define RESIGN_WAIT_NS (200 * NS_PER_MS)   /* for values under way, before the release */
#define STAND_BACK_NS (5 * NS_PER_S)       /* no candidacy after a storage stall */
#define PROBE_WRITE_NS NS_PER_S            /* an idle master proves its disk that often */
#define REFUSER_PATIENCE_NS (2 * NS_PER_S) /* before a new ballot wins back a refusing peer */
#define REFUSER_PAUSE_NS (30 * NS_PER_S)   /* least time between two such ballots */

#define LEASE_NONE INT64_MIN

/* One slot above the watermark. */
struct tail_entry {
	bool present;
	struct slot slot;
	struct ballot ballot;
	struct value *value; /* one reference, owned */
	uint64_t own_write;  /* the write that makes it durable here */
	uint32_t acks;       /* as its master: member bits that acknowledged it durably */
	int64_t sent_ns;     /* as its master: when it was last sent */
};

enum verdict { VERDICT_NONE, VERDICT_WHOLE };

/* What is known of each member, by its index in the membership. */
struct peer {
	int64_t heard_ns; /* 0: never in this life */
	struct slot chosen;
	struct slot trimmed;      /* its log begins after this, as it last told; 0: not told */
	int64_t silent_until_ns;  /* it did not answer when asked for its log */
	int64_t acked_sent_ns;    /* as master: sending time of the newest message it answered */
	int64_t refused_since_ns; /* as master: TIME_NEVER, or since when it refuses our ballot */
	int64_t refused_last_ns;

	enum verdict verdict; /* about us */
	struct slot wants; /* asked for chosen slots from here on, once they are durable; 0: no */

	/* Our open question to a peer that greeted: its state is compared with `question_seen`. */
	uint64_t question_life; /* 0: none */
	uint64_t question_nonce;
	struct paxos_seen question_seen;

	/* As candidate: slots of the prepared range up to here, included, are reported. */
	struct slot covered;
};

enum candidate_phase { CANDIDATE_PROBING, CANDIDATE_PREPARING, CANDIDATE_CATCHING_UP };

/* The value of the highest ballot reported for a slot. */
struct report {
	struct slot slot; /* 0: nothing reported */
	struct ballot ballot;
	struct value *value; /* one reference, owned */
};

struct candidate {
	enum candidate_phase phase;
	uint64_t attempt;          /* number of the probe, never reused in this life */
	uint32_t yes;              /* member bits: would promise */
	struct ballot ballot;      /* once preparing */
	uint64_t own_write;        /* makes the own promise durable */
	struct slot from;          /* first slot of the prepared range */
	uint32_t promised;         /* member bits: promise complete */
	uint32_t refused;          /* member bits: promised a higher ballot */
	struct slot told;          /* highest watermark in promises */
	int64_t due_ns;            /* ask again */
	int64_t deadline_ns;       /* give up preparing */
	uint32_t failures;         /* in a row, for the back-off */
	int64_t handover_until_ns; /* named successor: retries refusals at once until then */
};

/* Values reported in phase 1; the candidate fills them, the master proposes them again. */
struct reports {
	struct slot base; /* slot of rows[0] */
	uint32_t count;
	uint32_t capacity;
	struct report *rows; /* owned */
	struct slot highest; /* highest slot with a row; 0: none */
};

#define REPORTS_MAX 8192u

struct command {
	struct command *next;
	uint32_t size_bytes;
	uint8_t data[];
};

struct master {
	struct ballot ballot;
	struct slot next; /* the slot of the next value */
	struct slot told; /* nothing is proposed at or below */
	int64_t elected_ns;
	int64_t heartbeat_due_ns;
	int64_t sent_ns; /* when anything was last sent under the lease */
	int64_t lease_until_ns;
	bool leaving; /* resigned; waits for values under way */
	int64_t leave_by_ns;
	struct command *queue_head; /* owned */
	struct command **queue_end;
	size_t queue_bytes;
};

struct learner {
	bool asked;
	uint32_t asked_member;
	int64_t asked_ns;
	int64_t deadline_ns;
	bool asked_log;           /* and not for a snapshot */
	uint32_t avoid_member;    /* did not answer last time; MEMBERS_MAX: none */
	int64_t check_due_ns;     /* somebody is ahead: look again then */
	struct slot check_chosen; /* our watermark when that was noticed */
};

struct held {
	uint64_t number; /* leaves when this write is durable */
	struct paxos_envelope envelope;
};

/* One output in the making, or lent to the host. */
struct gather {
	struct paxos_output view;
	struct paxos_write write;
	bool write_open;
	uint32_t row_capacity;
	struct paxos_envelope *messages; /* owned */
	uint32_t message_count, message_capacity;
	struct paxos_accepted *chosen; /* owned */
	uint32_t chosen_count, chosen_capacity;
	char note[240];
};

struct issued {
	int64_t issued_ns;
	struct slot chosen;
};

struct paxos {
	struct paxos_config config;
	struct rng rng;
	int64_t now_ns;
	uint64_t life; /* random number of this start, never 0 */
	uint32_t self; /* own index in the membership */

	enum paxos_role role;
	bool resigned;
	bool storage_failed;
	enum paxos_memory memory;
	char trouble[240];

	/* The acceptor. `durable` is the state as the next write will store it. */
	struct paxos_durable durable;
	struct tail_entry tail[TAIL_WINDOW];
	uint64_t promise_write; /* makes `promised` and the longest lease durable */
	int64_t restart_until_ns;
	struct ballot grant_ballot;
	int64_t grant_until_ns;
	struct ballot hold_ballot; /* promised lately: other probes are put off until then */
	int64_t hold_until_ns;
	struct ballot following;
	int64_t contact_ns; /* 0: never */
	uint64_t highest_round;

	struct peer peers[MEMBERS_MAX];
	struct candidate candidate;
	struct reports reports;
	struct master master;
	struct learner learner;
	int64_t greet_due_ns;
	int64_t election_due_ns;
	int64_t stand_back_until_ns;
	int64_t restand_due_ns; /* earliest next ballot on account of refusing peers */
	int64_t late_until_ns;  /* the loop was late: no timeout fires before */

	/* Writes. */
	uint64_t sealed;    /* number of the newest write given to the host */
	uint64_t persisted; /* all up to here are durable */
	struct slot persisted_chosen;
	int64_t written_ns;
	struct issued issued[WRITES_MAX];
	struct held *held; /* owned */
	uint32_t held_count, held_capacity;

	struct gather gathers[2];
	uint32_t filling; /* which of the two is filled; the other is lent */
};

/* core.c */
void paxos_move(struct paxos *p, enum paxos_role to);
void paxos_lose(struct paxos *p, const char *why);
bool paxos_takes_part(const struct paxos *p);
bool paxos_late(const struct paxos *p);
int64_t paxos_jitter(struct paxos *p, int64_t bound_ns);
/* Begins every call that brings the time: notices a loop that was late. */
void paxos_arrive(struct paxos *p, int64_t now_ns);
void paxos_note_round(struct paxos *p, struct ballot ballot);

/* output.c */
struct gather *gather_current(struct paxos *p);
struct paxos_message *send_now(struct paxos *p, uint32_t member, enum paxos_kind kind);
struct paxos_message *send_after(struct paxos *p, uint64_t number, uint32_t member,
				 enum paxos_kind kind);
uint64_t write_touch(struct paxos *p);
uint64_t write_row(struct paxos *p, struct slot slot, struct ballot ballot, struct value *value);
uint64_t write_promise(struct paxos *p);
bool write_room(const struct paxos *p);
/* When the oldest write was issued that is not durable; TIME_NEVER if all are. */
int64_t write_oldest_ns(const struct paxos *p);
void output_choose(struct paxos *p, struct slot slot, struct ballot ballot, struct value *value);
void output_serve(struct paxos *p, uint32_t member, struct slot from);
void output_release_held(struct paxos *p);
void output_drop_unwritten(struct paxos *p);
void gather_release(struct gather *g);
__attribute__((format(printf, 2, 3))) void output_note(struct paxos *p, const char *format, ...);
/* The same, but gives way to what is noted already. */
__attribute__((format(printf, 2, 3))) void output_note_minor(struct paxos *p, const char *format,
							     ...);

/* message.c */
struct paxos_accepted *message_add_accepted(struct paxos_message *m, uint32_t *capacity);

/* tail.c */
struct tail_entry *tail_get(struct paxos *p, struct slot slot);
const struct tail_entry *tail_peek(const struct paxos *p, struct slot slot);
struct tail_entry *tail_put(struct paxos *p, struct slot slot, struct ballot ballot,
			    struct value *value);
void tail_clear(struct tail_entry *e);
void tail_release(struct paxos *p);
/* NULL, or why what the disk returned contradicts itself. */
const char *tail_load(struct paxos *p, struct paxos_recovered *recovered);

/* membership.c */
#define MEMBER_NONE UINT32_MAX
const struct paxos_membership *membership_at(const struct paxos *p, struct slot slot);
uint32_t membership_find(const struct paxos_membership *m, struct replica_id replica);
uint32_t membership_majority(const struct paxos_membership *m);
uint32_t membership_voters(const struct paxos_membership *m);
bool membership_votes(const struct paxos *p, uint32_t member);
/* Do the members of `mask` make a majority for each slot from `slot` on? */
bool membership_quorum(const struct paxos *p, struct slot slot, uint32_t mask);
struct replica_id member_id(const struct paxos *p, uint32_t member);
static inline uint32_t member_bit(uint32_t member)
{
	return UINT32_C(1) << member;
}

/* acceptor.c */
bool ballot_same_owner(struct ballot a, struct ballot b);
void acceptor_promise(struct paxos *p, struct ballot ballot);
void acceptor_on_probe(struct paxos *p, uint32_t from, const struct paxos_message *m);
void acceptor_on_prepare(struct paxos *p, uint32_t from, const struct paxos_message *m);
void acceptor_on_accept(struct paxos *p, uint32_t from, const struct paxos_message *m);
void acceptor_on_heartbeat(struct paxos *p, uint32_t from, const struct paxos_message *m);
void acceptor_on_release(struct paxos *p, uint32_t from, const struct paxos_message *m);

/* lease.c */
int64_t lease_bar_ns(const struct paxos *p, struct ballot ballot);
void lease_grant(struct paxos *p, struct ballot ballot, int64_t lease_ns);
void lease_note_longest(struct paxos *p, int64_t lease_ns);
void lease_acknowledged(struct paxos *p, uint32_t from, uint64_t sequence);
int64_t lease_computed(const struct paxos *p);
void lease_refresh(struct paxos *p);

/* proposer.c */
void proposer_pump(struct paxos *p);
void proposer_send_accept(struct paxos *p, const struct tail_entry *e, uint32_t member);
/* Hands over what a majority acknowledged, in order. */
void proposer_advance(struct paxos *p);
void proposer_on_accepted(struct paxos *p, uint32_t from, const struct paxos_message *m);
/* The watermark moved by what a peer knew as chosen. */
void proposer_learned(struct paxos *p);
void proposer_own_durable(struct paxos *p);
void proposer_drop_queue(struct paxos *p);
uint64_t proposer_in_flight(const struct paxos *p);

/* lead.c */
void lead_start(struct paxos *p, struct ballot ballot, struct slot told);
void lead_tick(struct paxos *p);
int64_t lead_next_tick(const struct paxos *p);
void lead_heartbeat(struct paxos *p);
void lead_heartbeat_one(struct paxos *p, uint32_t member);
/* Before anything leaves that asks for the lease: binds our own acceptor as well. */
void lead_mark_sent(struct paxos *p);
void lead_resign(struct paxos *p);
void lead_on_heartbeat_ack(struct paxos *p, uint32_t from, const struct paxos_message *m);
void lead_on_refusal(struct paxos *p, uint32_t from, const struct paxos_message *m);
void lead_retransmit(struct paxos *p, uint32_t member, bool all);
bool storage_stalled(const struct paxos *p);
void lead_step_down(struct paxos *p, const char *why);
/* Steps down and releases the followers from their lease promise. */
void lead_release(struct paxos *p, const char *why);
void lead_progress(struct paxos *p);

/* election.c */
void election_schedule(struct paxos *p, int64_t due_ns);
void election_probe(struct paxos *p);
void election_prepare(struct paxos *p);
void election_tick(struct paxos *p);
int64_t election_next_tick(const struct paxos *p);
void election_on_probe_reply(struct paxos *p, uint32_t from, const struct paxos_message *m);
void election_on_promise(struct paxos *p, uint32_t from, const struct paxos_message *m);
void election_on_refusal(struct paxos *p, uint32_t from, const struct paxos_message *m);
/* Own promise durable, or the watermark moved: is phase 1 complete? */
void election_check(struct paxos *p);
void election_resend(struct paxos *p, uint32_t member);
void election_step_back(struct paxos *p, int64_t due_ns);
struct ballot election_next_ballot(const struct paxos *p);

/* reports.c */
void reports_reset(struct reports *r, struct slot base);
/* False if the slot lies too far ahead. */
MUST_USE bool reports_add(struct reports *r, struct slot slot, struct ballot ballot,
			  struct value *value);
const struct report *reports_get(const struct reports *r, struct slot slot);
void reports_release(struct reports *r);

/* learner.c */
/* Makes chosen what `watermark`, told under `ballot`, covers; fetches what is missing. */
void learner_told(struct paxos *p, uint32_t from, struct ballot ballot, struct slot watermark);
void learner_choose_next(struct paxos *p);
void learner_want(struct paxos *p, bool urgent);
void learner_notice_lag(struct paxos *p);
void learner_tick(struct paxos *p);
int64_t learner_next_tick(const struct paxos *p);
/* Answers who asked for what has become durable meanwhile. */
void learner_serve_durable(struct paxos *p);
void learner_on_learn(struct paxos *p, uint32_t from, const struct paxos_message *m);

/* seen.c */
void seen_note(struct paxos *p, const struct paxos_seen *news);
void seen_promised(struct paxos *p, uint32_t member, struct ballot ballot);
void seen_accepted(struct paxos *p, uint32_t member, struct ballot ballot, struct slot slot);
void seen_attach(const struct paxos *p, struct paxos_message *m);
void seen_merge(struct paxos *p, const struct paxos_message *m);
struct paxos_seen seen_of(const struct paxos *p, uint32_t member);
/* Does the state in a GREET_STATE hold all that was seen? */
bool seen_holds(const struct paxos_seen *seen, const struct paxos_message *state);

/* greet.c */
void greet_start(struct paxos *p);
void greet_tick(struct paxos *p);
void greet_peer(struct paxos *p, uint32_t member);
void greet_check(struct paxos *p);
void greet_on_greet(struct paxos *p, uint32_t from, const struct paxos_message *m);
void greet_on_challenge(struct paxos *p, uint32_t from, const struct paxos_message *m);
void greet_on_state(struct paxos *p, uint32_t from, const struct paxos_message *m);
void greet_on_verdict(struct paxos *p, uint32_t from, const struct paxos_message *m);

#endif
