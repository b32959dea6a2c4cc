/*
 * sim: whole cells in one process and one thread, from one seed (design section 8).
 *
 * The second host of the pure libraries paxos and cell. The same seed and profile give the same
 * run, byte for byte, on every machine and in every build: decisions use integers from seeded
 * generators only, never addresses, hash order, floating point or the real clock.
 *
 * Vocabulary
 *   world      everything of one run: the queue of events, the generators, hosts, clients, checker
 *   host       one replica: its process (paxos, cell, pending calls), its clock and its disk
 *   process    one life of a host, from start to crash; numbered
 *   true time  the world's; each host sees it through a clock of its own rate and offset
 *   canon      the one history of chosen slots and applied commands, as first seen at any replica
 *
 * Invariants, checked after each step (checker.c): one value a slot, for ever, on a majority of
 * disks before anybody acts on it; every replica steps along the canon with equal results and
 * digests; one leased master at any true instant; a leased read sees every command that was
 * acknowledged before; what was acknowledged is in the canon, once; locks are granted to one, in
 * order of their tickets, with growing tokens; counters count; paxos's and cell's own invariants.
 * After the faults stop: a master within a bound, all replicas equal, all commands answered.
 */
#ifndef CHUBBY_TEST_SIM_SIM_H
#define CHUBBY_TEST_SIM_SIM_H

#include "base/arena.h"
#include "base/check.h"
#include "base/rng.h"
#include "cell/cell.h"
#include "checker.h"
#include "codec/codec.h"
#include "paxos/paxos.h"

#define SIM_CLIENTS_MAX 64
#define SIM_LOCKS 4    /* "/l0".. are locked */
#define SIM_COUNTERS 3 /* "/c0".. are counted up by compare and set */
#define SIM_FILES 3    /* "/f0".. come and go */
#define SIM_LANES 2    /* calls that a client may have under way: one of each kind */
#define SIM_PATH_BYTES 8
#define SIM_FAILOVERS_MAX 1024 /* that are measured in a run */

/* ---- profiles and options ------------------------------------------------------------------- */

/* What can happen in a run. Rates are in parts per million; a mean of 0: never. */
struct sim_profile {
	const char *name;
	uint32_t loss_ppm, duplicate_ppm, slow_ppm; /* upper bounds: each seed draws its own */
	int64_t delay_max_ns;                       /* of an ordinary message */
	int64_t slow_max_ns;                        /* of one that lags far behind */
	int64_t sync_max_ns;                        /* of an ordinary write */
	int64_t crash_mean_ns, pause_mean_ns, cut_mean_ns, slow_disk_mean_ns, disk_error_mean_ns;
	int64_t resign_mean_ns, expire_mean_ns, rollback_mean_ns, blink_mean_ns;
	int32_t drift_ppm;       /* real bound of the clocks' rates */
	int64_t think_max_ns;    /* between two calls of a lane; 0: the default */
	uint32_t bulk_ppm;       /* of a client's file writes that are large */
	int64_t headless_max_ns; /* longest that there may be no master; 0: any time */
	uint32_t cut_shapes;     /* how many of the shapes of net.c; 0: all */
	bool masters_only;       /* each crash takes the master, and nobody else */
	bool trims;
	bool full;        /* daemon/master and libchubby's session core as well: full.h */
	bool leases_void; /* clocks beyond the bound: only what rests on no clock is checked */
};

const struct sim_profile *sim_profile_find(const char *name);

/* Bugs planted in the host, to see that the checker bites. */
enum sim_mutant {
	MUTANT_NONE,
	MUTANT_PERSISTED_EARLY,    /* durable is reported before it is */
	MUTANT_PROMISE_FORGOTTEN,  /* a restart forgets promise and lease */
	MUTANT_NO_RESTART_WAIT,    /* a restart forgets the lease that it promised */
	MUTANT_READ_WITHOUT_LEASE, /* reads are served by whoever thinks that it leads */
	MUTANT_ANSWER_EARLY,       /* a command is acknowledged when proposed */
	MUTANT_STATE_AHEAD,        /* saved state names a slot too early: replays one twice */
	MUTANT_EMPTY_PROMISE,      /* promises leave without what was accepted */
	MUTANT_EPOCH_IGNORED,      /* serves before its epoch entry is applied */
	MUTANT_ACCEPTS_LOST,       /* a restart finds its promise, but not its last acceptances */
	MUTANT_WILD_CLOCK,         /* clocks run 20 % wrong */
	MUTANT_ACCEPTS_OLD,        /* an acceptance of a ballot that lost is acknowledged */
	MUTANT_COUNTS_TWICE,       /* an acceptance counts for two acceptors */
	MUTANT_LEASE_FROM_RECEIPT, /* an answer renews the lease from the newest message on */
	MUTANT_COUNT,
};

const char *sim_mutant_name(enum sim_mutant m);

struct sim_options {
	const struct sim_profile *profile;
	uint32_t replicas, clients;
	int64_t until_ns;
	enum sim_mutant mutant;
	bool trace;
};

/* ---- events --------------------------------------------------------------------------------- */

enum sim_event_kind {
	EVENT_MESSAGE = 1, /* host `target`, from host `source`; payload: paxos_message */
	EVENT_LEARN,       /* the same; payload: codec_learn */
	EVENT_CONNECTED,   /* a connection to `source` was made anew */
	EVENT_TICK,
	EVENT_DISK,     /* the writes up to `number` reached the disk */
	EVENT_READ_LOG, /* slots `number`.. for `source`; payload: paxos_serve */
	EVENT_SAVE,     /* time to save the state */
	EVENT_SAVED,
	EVENT_CHORES,  /* what master/ does by timers: expiry, the end of lock-delays */
	EVENT_REQUEST, /* payload: sim_request */
	EVENT_REPLY,   /* client `target`; payload: sim_reply */
	EVENT_CLIENT,  /* client `target`: time to do something */
	EVENT_START,   /* host `target` starts again */
	EVENT_RESUME,
	EVENT_STOP,    /* the end of a graceful stop */
	EVENT_FAULT,   /* `number`: enum sim_fault */
	EVENT_HEAL,    /* `number` names the cut */
	EVENT_CALM,    /* faults end */
	EVENT_SETTLED, /* a master must be there */
	EVENT_NEAR_END,
	EVENT_SNAPSHOT_ASKED, /* host `target`, by host `source` */
	EVENT_SNAPSHOT,       /* for host `target`; payload: sim_snapshot */
	EVENT_PROBE,          /* looks at every host at a random instant */
	/* full.h: the whole stack. The payload is a sim_packet. */
	EVENT_PACKET_TO_HOST,
	EVENT_PIPE_CLOSED, /* host `target`: the pipe `number` was closed by its app */
	EVENT_PACKET_TO_APP,
	EVENT_PIPE_LOST, /* app `target` */
	EVENT_ANSWER,
	EVENT_APP_TICK,
	EVENT_APP_ACT,    /* time to do something */
	EVENT_APP_START,  /* the next life of app `target` */
	EVENT_APP_RESUME, /* it was paused */
	EVENT_STORAGE,    /* payload: app_write */
};

struct sim_event {
	int64_t at_ns;
	uint64_t sequence; /* events of one instant happen in order of their making */
	enum sim_event_kind kind;
	uint32_t target, source;
	uint32_t process; /* that it is meant for; 0: whichever lives */
	uint64_t number;
	void *payload; /* owned */
};

struct sim_queue {
	struct sim_event *heap; /* owned; the earliest first */
	uint32_t count, capacity;
	uint64_t sequence;
};

/* ---- clocks --------------------------------------------------------------------------------- */

struct sim_clock {
	int64_t base_true_ns, base_local_ns;
	int32_t rate_ppm; /* how much too fast */
};

int64_t sim_clock_local(const struct sim_clock *c, int64_t true_ns);
/* The first true instant at which the clock shows at least `local_ns`. */
int64_t sim_clock_true(const struct sim_clock *c, int64_t local_ns);
void sim_clock_change_rate(struct sim_clock *c, int64_t true_ns, int32_t rate_ppm);

/* ---- disks ---------------------------------------------------------------------------------- */

struct sim_row {
	enum row_kind kind;
	uint64_t key;
	bool deleted;        /* only in a delta */
	struct bytes stored; /* owned */
};

/* state.db: the rows at one slot. */
struct sim_state {
	struct slot slot;
	uint32_t count, capacity;
	struct sim_row *rows; /* owned; in order of (kind, key) */
};

struct sim_log_row {
	struct ballot ballot;
	struct value *value; /* one reference; NULL: no row */
};

struct sim_write {
	uint64_t number;
	struct paxos_durable durable;
	uint32_t accepted_count;
	struct paxos_accepted *accepted; /* owned, with references */
};

/* What a commit replaced, so that a lying disk can take it back. */
struct sim_undo {
	int64_t at_ns;
	struct paxos_durable durable;
	struct slot newest;
	uint32_t count;
	struct paxos_accepted *rows; /* owned; value NULL: there was no row */
};

struct sim_disk {
	struct paxos_durable durable;
	struct sim_log_row *log; /* owned; indexed by slot */
	uint64_t log_capacity;
	struct slot newest, trimmed;
	struct sim_write *queue; /* owned; the first `under_way` are in the running sync */
	uint32_t queued, queue_capacity, under_way;
	/* Numbers of this process's writes: queued, durable, told to paxos. */
	uint64_t submitted, synced, reported;
	int64_t slow_until_ns;
	bool doubtful;         /* the log ended in a torn write */
	bool blank;            /* nothing is left of the former disk */
	struct sim_undo *undo; /* owned; only where a profile rolls back */
	uint32_t undo_count, undo_capacity;
	struct sim_state state;
	struct sim_state delta; /* rows of the save under way */
	bool saving;
	uint64_t save_after; /* the write that must be durable before the save is */
};

struct world;
struct host;

void sim_disk_init(struct sim_disk *d);
void sim_disk_release(struct sim_disk *d);
/* Queues a copy; starts a sync if none runs. */
void sim_disk_write(struct host *h, const struct paxos_write *w);
/* The running sync ends; returns the number up to which all is durable. */
uint64_t sim_disk_synced(struct host *h);
/* Power is gone: what no sync had covered is lost, the running one may have made it or not. */
void sim_disk_crash(struct host *h);
/* Takes back what was committed after `since_ns`; false if there was nothing. */
bool sim_disk_rollback(struct sim_disk *d, int64_t since_ns);
/* Drops the saved state, and what was on its way. */
void sim_disk_state_clear(struct sim_disk *d);
void sim_disk_trim(struct sim_disk *d, struct slot through);
/* Puts a cell's dirty rows, or all its rows, into the delta. */
void sim_disk_save_begin(struct sim_disk *d, struct cell *c, struct slot slot);
void sim_disk_save_end(struct sim_disk *d);
/* Puts a snapshot's rows in the place of the state; the log begins behind it. */
void sim_disk_install(struct sim_disk *d, const struct sim_state *state);
void sim_state_copy(struct sim_state *to, const struct sim_state *from);
void sim_state_release(struct sim_state *s);
struct cell *sim_disk_load(struct world *w, const struct sim_disk *d);

/* ---- hosts ---------------------------------------------------------------------------------- */

struct sim_request {
	uint32_t client, lane;
	uint64_t attempt;        /* unique in the world */
	bool read;               /* a leased read of entry.acquire.instance or the path */
	uint64_t acked_revision; /* acknowledged anywhere before this request began */
	struct entry entry;      /* bytes point into the fields below */
	char path[SIM_PATH_BYTES];
	uint8_t contents[8];
	uint32_t path_size, contents_size;
	uint32_t bulk_size; /* not 0: the contents are so many zeros */
};

struct sim_reply {
	uint32_t client, lane;
	uint64_t attempt, number;
	struct session_id session;
	enum error error; /* OK: `result` is the command's */
	struct result result;
	struct replica_id leader;
	/* reads */
	bool read, holds, waits;
	uint64_t generation, counter;
};

struct sim_pending {
	uint64_t origin_number;
	struct sim_request request;
};

enum sim_host_state { HOST_DOWN, HOST_UP, HOST_PAUSED };

struct host {
	struct world *world;
	struct replica_id id;
	uint32_t index;
	enum sim_host_state state;
	uint32_t process;
	struct incarnation incarnation;
	struct sim_clock clock;
	struct sim_disk disk;
	int64_t tick_at_ns; /* true time of the tick that is in the queue */
	bool rolled_back;   /* may, and must, find its memory lost */
	bool resigned;
	bool storage_failed;
	int64_t wall_offset_ms;
	int64_t snapshot_again_ns; /* when it may ask for another */
	uint64_t newest_sequence;  /* that it sent as a master; for a mutant */

	/* The process; gone after a crash. */
	struct paxos *paxos; /* owned */
	struct cell *cell;   /* owned */
	struct slot applied;
	struct epoch epoch; /* of its own mastership, once that entry is applied; 0: none */
	uint64_t next_origin;
	struct sim_pending *pending; /* owned; in order of proposal */
	uint32_t pending_count, pending_capacity;
	struct sim_event *backlog; /* owned; what came while it was paused */
	uint32_t backlog_count, backlog_capacity;
	struct sim_front *front; /* owned; full profiles only */
};

void sim_host_init(struct host *h, struct world *w, uint32_t index);
void sim_host_release(struct host *h);
void sim_host_start(struct host *h);
void sim_host_crash(struct host *h);
/* An event for a living process; takes the payload. */
void sim_host_event(struct host *h, struct sim_event *e);
void sim_host_resume(struct host *h);
void sim_host_resign(struct host *h);
void sim_host_storage_failed(struct host *h);
/* An empty disk takes the place of its own. */
void sim_host_blank(struct host *h);
/* Its saved state becomes what genesis wrote; the log tells the rest. */
void sim_host_state_reset(struct host *h);
int64_t sim_host_now(const struct host *h);
/* True while it may answer reads: it leads, its epoch is applied, its lease runs. */
bool sim_host_serves(const struct host *h);
bool sim_host_leased(const struct host *h);

/* The next chosen value, at the cell. */
void sim_host_apply(struct host *h, struct slot slot, const struct value *value);

/* snapshot.c */
struct sim_snapshot;
void sim_snapshot_wanted(struct host *h, struct replica_id from);
void sim_snapshot_asked(struct host *h, uint32_t by);
void sim_snapshot_taken(struct host *h, struct sim_snapshot *s);
void sim_snapshot_free(struct sim_snapshot *s);

/* host_serve.c: the calls of clients. */
void sim_serve_request(struct host *h, const struct sim_request *r);
void sim_serve_applied(struct host *h, const struct entry *e, const struct outcome *o);
void sim_serve_deposed(struct host *h);
void sim_serve_chores(struct host *h);
enum error sim_host_propose(struct host *h, const struct entry *e);
/* mutant.c: spoils what passes, as the planted bug wants it. */
void sim_mutate_sent(struct host *h, struct paxos_message *m);
void sim_mutate_received(struct host *h, uint32_t source, struct paxos_message *m);
/* Does what paxos asks for, after each call into it. */
void sim_host_drain(struct host *h);

/* ---- network -------------------------------------------------------------------------------- */

struct sim_net {
	uint32_t loss_ppm, duplicate_ppm, slow_ppm;
	uint16_t cut[MEMBERS_MAX][MEMBERS_MAX]; /* [from][to]: how many cuts are on it */
	uint64_t cuts;
};

void sim_net_send(struct host *from, struct replica_id to, const struct paxos_message *m);
/* Takes the entries. */
void sim_net_send_learn(struct host *from, struct replica_id to, struct codec_learn *l);
void sim_net_started(struct host *h);
void sim_net_fault(struct world *w);
void sim_net_heal(struct world *w, uint64_t cut);
void sim_net_calm(struct world *w);
void sim_net_to_host(struct world *w, uint32_t target, const struct sim_request *r);
void sim_net_to_client(struct world *w, const struct sim_reply *r);
void sim_learn_free(struct codec_learn *l);
/* When an ordinary message that is sent now arrives. */
int64_t sim_net_arrival(struct world *w);

/* ---- clients -------------------------------------------------------------------------------- */

enum sim_goal {
	GOAL_NONE,
	GOAL_SESSION,
	GOAL_OPEN,
	GOAL_ACQUIRE,
	GOAL_RELEASE,
	GOAL_CANCEL,
	GOAL_POLL,
	GOAL_END,
	GOAL_FILE_CREATE,
	GOAL_FILE_DELETE,
	GOAL_FILE_WRITE,
	GOAL_COUNTER_OPEN,
	GOAL_COUNTER_READ,
	GOAL_COUNTER_WRITE,
};

struct sim_lane {
	enum sim_goal goal; /* NONE: nothing under way */
	struct sim_request request;
	int64_t retry_at_ns;
	int64_t next_ns; /* when the next call may begin */
};

struct sim_client {
	uint32_t index;
	struct session_id session; /* 0: none yet */
	uint64_t next_number;
	uint32_t target;
	struct sim_lane lanes[SIM_LANES];
	uint64_t lock_instance[SIM_LOCKS];
	uint64_t counter_instance[SIM_COUNTERS];
	uint64_t file_instance[SIM_FILES];
	uint32_t lock; /* the one that it holds or awaits */
	bool holds, waits;
	struct revision ticket;
	uint32_t polls;
	uint32_t counter;
	uint64_t counter_value, counter_generation;
	bool counter_read;
};

void sim_client_init(struct world *w, uint32_t index);
void sim_client_act(struct world *w, uint32_t index);
void sim_client_reply(struct world *w, const struct sim_reply *r);
bool sim_client_idle(const struct sim_client *c);
/* client_calls.c: what a call asks, and what its answer changes. */
void sim_call_choose(struct world *w, struct sim_client *c, uint32_t lane);
void sim_call_done(struct world *w, struct sim_client *c, uint32_t lane, const struct sim_reply *r);

/* ---- the world ------------------------------------------------------------------------------ */

struct world {
	const struct sim_options *options;
	uint64_t seed;
	int64_t now_ns;
	bool calm; /* no further faults */
	struct sim_queue queue;
	struct rng net_rng, disk_rng, fault_rng, client_rng, host_rng;
	struct host hosts[MEMBERS_MAX];
	struct sim_net net;
	struct sim_client clients[SIM_CLIENTS_MAX];
	uint64_t attempts;
	struct checker *checker; /* owned */
	struct sim_apps *apps;   /* owned; full profiles only, in place of clients */
	uint64_t trace_hash, steps, elections, snapshots;
	uint64_t acked_at_calm;
	uint64_t applied_near_end; /* slots, at any replica: all must reach it until the end */
	/* From a crash of the serving master to the next one's epoch. */
	int64_t served_ns;         /* when a master was last seen */
	int64_t headless_since_ns; /* 0: there is a master, or none crashed */
	uint32_t failover_count;
	int64_t failover_ns[SIM_FAILOVERS_MAX];
	bool failed;
	char failure[512];
};

/* Runs a seed to its end or first violation. The caller gives it to sim_world_release(). */
void sim_world_run(struct world *w, const struct sim_options *options, uint64_t seed);
void sim_world_release(struct world *w);

/* Queues an event; takes the payload. */
void sim_push(struct world *w, const struct sim_event *e);
bool sim_pop(struct world *w, struct sim_event *ret_event);
void sim_event_release(struct sim_event *e);

/* Folds numbers into the trace hash. */
void sim_hash(struct world *w, uint64_t a, uint64_t b, uint64_t c);
/* A line of the story, with --trace. */
__attribute__((format(printf, 2, 3))) void sim_trace(struct world *w, const char *format, ...);
/* An invariant does not hold: the first one is kept and ends the run. */
__attribute__((format(printf, 2, 3))) void sim_fail(struct world *w, const char *format, ...);

/* faults.c */
void sim_faults_schedule(struct world *w);
void sim_fault(struct world *w, uint64_t fault);
void sim_faults_calm(struct world *w);
/* A process ends as planned, and comes back. */
void sim_fault_stopped(struct world *w, struct host *h);
void sim_fault_clock(struct world *w, struct host *h);

static inline struct host *sim_host(struct world *w, struct replica_id id)
{
	CHECK(id.n >= 1 && id.n <= w->options->replicas);
	return &w->hosts[id.n - 1];
}

#endif
