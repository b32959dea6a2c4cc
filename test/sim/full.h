/*
 * The whole stack in the simulator: daemon/master on every host (front.c), libchubby's session core
 * in every client (app.c, app_life.c, app_calls.c), envelopes in bytes between them (pipe.c).
 *
 * Vocabulary
 *   front    what stands before a host's cell: its master, and the calls that it owes an answer
 *   app      a process with a session: it opens nodes, takes locks in both modes, waits, gives up,
 *            counts, keeps ephemerals; it pauses, vanishes, and comes back as another
 *   life     of an app, from its start to its end; numbered
 *   pipe     a Session stream: ordered and lossless, until it breaks; it may stall
 *   belief   an app believes that it holds a lock from the answer that said so, while its own clock
 *            is within its own lease, until it releases
 *   floor    the newest revision that anybody was told before a call began
 *
 * Invariants (app_check.c), beside those of sim.h: who believes that a session lives, or that it
 * holds a lock, is right, at any instant, whatever the clocks within the bound; a token is never
 * two grants'; a storage that refuses old tokens never sees conflicting holders; every answer's
 * revision lies above the floor of its call, and tells what the canon tells at that revision; each
 * call is answered once. When the faults stop, all who wait are served, and the sessions of the
 * dead end.
 */
#ifndef CHUBBY_TEST_SIM_FULL_H
#define CHUBBY_TEST_SIM_FULL_H

#include "base/table.h"

#include "master/master.h"
#include "session.h"
#include "sim.h"

#define APP_OPS_MAX 4
#define APP_LOCKS SIM_LOCKS
#define APP_COUNTERS SIM_COUNTERS
#define APP_EPHEMERALS 8
#define APP_NODES (APP_LOCKS + APP_COUNTERS + APP_EPHEMERALS)
#define APP_PATH_BYTES 24

/* ---- pipe.c --------------------------------------------------------------------------------- */

struct sim_packet {
	uint64_t pipe;
	uint64_t question; /* of a unary FindMaster; 0: it belongs to the pipe */
	uint32_t app, life;
	bool answered; /* of an answer: the replica itself gave it */
	size_t size;
	uint8_t data[];
};

struct sim_pipe {
	uint64_t id;
	uint32_t app, life;
	uint64_t link; /* of the app's session */
	uint32_t host;
	uint32_t process; /* that it reached; 0: none yet */
	int64_t to_host_at_ns, to_app_at_ns;
	UT_hash_handle hh;
};

struct sim_pipes {
	struct sim_pipe *table; /* owned; by id */
	uint64_t last_id;
};

/* Which pipe a link of a life is; the caller has opened none with that link before. */
void sim_pipe_open(struct world *w, uint32_t app, uint32_t life, uint64_t link, uint32_t host);
/* The app lets go of it. `silently`: its host vanished, and the other side never hears of it. */
void sim_pipe_close(struct world *w, uint32_t app, uint32_t life, uint64_t link, bool silently);
/* Drops the bytes if the pipe is broken. */
void sim_pipe_to_host(struct world *w, uint32_t app, uint32_t life, uint64_t link,
		      const struct buffer *bytes);
void sim_pipe_to_app(struct world *w, uint64_t pipe, const struct buffer *bytes);
/* The app's network fails: its pipes break, which the hosts hear of. */
void sim_pipes_app_cut_off(struct world *w, uint32_t app);
/* A process is gone, and its pipes with it: apps hear of it, unless its machine went. */
void sim_pipes_host_gone(struct host *h);
void sim_pipes_release(struct world *w);
void sim_ask(struct world *w, uint32_t app, uint32_t life, uint64_t question, uint32_t host,
	     const struct buffer *bytes);
void sim_answer(struct world *w, uint32_t app, uint32_t life, uint64_t question, bool answered,
		const struct buffer *bytes);
/* False if the pipe ended at another process, or nobody is there: the sender is told so. */
bool sim_pipe_reaches(struct host *h, const struct sim_packet *packet);
/* What arrives at a host, or finds it gone. */
void sim_pipe_event(struct world *w, struct sim_event *e);
struct sim_pipe *sim_pipe_find(struct world *w, uint64_t id);

/* ---- front.c -------------------------------------------------------------------------------- */

struct sim_front;

void sim_front_start(struct host *h);
void sim_front_release(struct host *h);
void sim_front_packet(struct host *h, const struct sim_packet *p);
void sim_front_pipe_closed(struct host *h, uint64_t pipe);
void sim_front_applied(struct host *h, const struct entry *e, const struct outcome *o);
/* The host's epoch entry is applied; its mastership is over. */
void sim_front_begin(struct host *h);
void sim_front_end(struct host *h);
/* Timers, and who leads. */
void sim_front_step(struct host *h);
int64_t sim_front_next_tick(const struct host *h);
/* NULL, or the invariant that does not hold. */
const char *sim_front_invariants(const struct host *h);
void sim_front_counters(const struct host *h, struct master_counters *ret_counters);

/* ---- app.c ---------------------------------------------------------------------------------- */

enum app_verb {
	VERB_OPEN,
	VERB_CLOSE,
	VERB_ACQUIRE,
	VERB_RELEASE,
	VERB_CHECK,
	VERB_GET,
	VERB_SET,
	VERB_STAT,
	VERB_COUNT
};

struct app_op {
	bool used;
	enum app_verb verb;
	uint32_t node;
	uint64_t floor;
	int64_t asked_ns;
	struct request request; /* points into the fields below and into the handle */
	uint8_t contents[8];
	char path[APP_PATH_BYTES];
	uint8_t sequencer[WIRE_SEQUENCER_MAX_BYTES];
};

enum app_handle_state { APP_CLOSED, APP_OPENING, APP_OPEN, APP_CLOSING };

struct app_handle {
	enum app_handle_state state;
	struct handle_id number;
	uint8_t token[WIRE_HANDLE_MAX_BYTES];
	size_t token_size;
	uint64_t instance;
	bool busy; /* a call on it is under way */
	bool held;
	bool wants; /* an acquire is under way, or its fate is not known */
	enum wire_lock_mode mode;
	uint64_t fencing_token;
	uint8_t sequencer[WIRE_SEQUENCER_MAX_BYTES];
	size_t sequencer_size;
	bool counter_read;
	uint64_t counter_value, counter_generation;
};

struct sim_app {
	uint32_t index;
	uint32_t life;
	bool alive, paused, closing;
	struct sim_clock clock;
	int64_t cut_off_until_ns; /* nothing of it arrives before */
	struct session *session;  /* owned; NULL between lives */
	char command[16];
	uint64_t last_handle;
	int64_t tick_at_ns; /* true time of the tick that is in the queue */
	struct app_handle handles[APP_NODES];
	struct app_op ops[APP_OPS_MAX];
	struct sim_event *backlog; /* owned; what came while it was paused */
	uint32_t backlog_count, backlog_capacity;
};

/* A write under a lock, on its way to the storage. */
struct app_write {
	uint32_t lock;
	uint64_t token, session;
	enum wire_lock_mode mode;
};

struct sim_storage {
	uint64_t token; /* the largest seen */
	uint64_t session;
	enum wire_lock_mode mode;
	uint64_t accepted, refused;
};

/* A timer's entry that a mastership proposed, on its way far longer than that lasted. */
#define LATE_MAX 64
struct sim_late {
	uint64_t epoch;
	uint8_t *bytes; /* owned */
	size_t size;
};

struct sim_apps {
	struct sim_late late[LATE_MAX];
	uint32_t late_count;
	struct sim_app apps[SIM_CLIENTS_MAX];
	struct sim_pipes pipes;
	uint64_t floor; /* the newest revision that anybody was told */
	struct sim_storage storage[APP_LOCKS];
	uint64_t head_at_calm; /* sessions of that time have an app that lives, or end */
	uint64_t answered, granted, expired, lives;
	struct sim_history *history; /* owned */
	uint64_t judged, searched;   /* operations of it; its beginnings */
};

void sim_apps_start(struct world *w);
void sim_apps_release(struct world *w);
void sim_apps_calm(struct world *w);
void sim_app_event(struct world *w, struct sim_event *e);
int64_t sim_app_now(const struct world *w, const struct sim_app *a);
/* Does what the session decided, after each call into it. */
void sim_app_carry_out(struct world *w, struct sim_app *a);
void sim_app_backlog_drop(struct sim_app *a);
/* app_life.c */
void sim_app_begin(struct world *w, struct sim_app *a);
void sim_app_act(struct world *w, struct sim_app *a);
/* Near the end apps close what they have, so that all who wait are served. */
bool sim_winding_down(const struct world *w);
/* By its own clock and lease: the session lives. */
bool sim_app_leased(const struct world *w, const struct sim_app *a);

/* ---- app_calls.c ---------------------------------------------------------------------------- */

/* What it does next, if anything: a call that was filled in, or NULL. */
struct app_op *sim_app_choose(struct world *w, struct sim_app *a);
void sim_app_done(struct world *w, struct sim_app *a, struct app_op *op, const struct reply *r);
/* The letter of its name: lock, counter, ephemeral. */
char sim_node_letter(uint32_t node);
uint32_t sim_node_index(uint32_t node);

/* ---- app_check.c ---------------------------------------------------------------------------- */

/* The canon has grown by one at this cell. */
void sim_check_beliefs(struct world *w, const struct cell *c);
void sim_check_told(struct world *w, struct sim_app *a, const struct app_op *op,
		    const struct reply *r);
/* A write under a lock reaches the storage, perhaps long after it was sent. */
void sim_check_storage(struct world *w, const struct app_write *write);
void sim_check_apps_end(struct world *w, const struct host *master);

/* ---- app_history.c -------------------------------------------------------------------------- */

struct sim_history *sim_history_new(void);
void sim_history_free(struct sim_history *k);
/* A call is answered. */
void sim_history_told(struct world *w, const struct sim_app *a, const struct app_op *op,
		      const struct reply *r);
/* The canon has grown by one at this cell. */
void sim_history_known(struct world *w, const struct cell *c, const struct entry *e,
		       const struct outcome *o);
void sim_history_judge(struct world *w);

#endif
