/*
 * cell: the replicated state, and the one function that changes it (design section 4).
 *
 * A pure, deterministic state machine: the same entries in the same order give the same state,
 * the same results and the same digest on every replica. It knows nothing of Paxos, clocks or
 * connections; times in it are durations, or the master's wall clock for display.
 *
 * Vocabulary
 *   entry      one command of the log, decoded
 *   revision   the number of an applied entry; the cell's one global order
 *   node       a file or directory; its `instance` is the revision that created it
 *   lock       every node is one; held exclusively or shared, with a FIFO of waiters
 *   ticket     the revision of an Acquire that joined the FIFO; names the waiter
 *   grant      (revision, index): one acquisition; valid until released or taken away
 *   token      the fencing token: the revision at which the hold period began
 *   session    a client; locks and ephemeral nodes live at most as long
 *   handle     a number that the client chose within its session; (session, handle) holds locks
 *   keepers    the open handles of an ephemeral node
 *   row        what is stored for one object: node, lock, session, or the cell itself
 *
 * Paths here are inside the cell: "/" is the root, "/a/b" a node; the prefix /ls/<cell> and all
 * syntax belong to wire/path.h, which the master applied before it proposed.
 *
 * Invariants (checked by cell_invariants)
 *   C1  a lock has holders of one mode; exclusive means exactly one
 *   C2  every holder, waiter and keeper belongs to a live session
 *   C3  waiters stand in order of their tickets; nobody waits for a lock that it could have
 *   C4  every node but the root has a parent directory; an ephemeral directory is one too
 *   C5  every grant's token is at least the node's instance, and at most the revision
 *   C6  the digest equals the digest computed anew over all rows
 *   C7  a session keeps at most CELL_RESULTS_MAX results, none below its lowest unanswered
 */
#ifndef CHUBBY_CELL_CELL_H
#define CHUBBY_CELL_CELL_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/time.h"

#define CELL_CONTENTS_MAX_BYTES ((size_t)256 << 10)
#define CELL_PATH_MAX_BYTES 1024
#define CELL_NAME_MAX_BYTES 255
#define CELL_RESULTS_MAX 64 /* stored results of a session; the window of request numbers */
#define CELL_LOCK_DELAY_MAX_NS (60 * NS_PER_S)
#define CELL_LOCK_DELAY_DEFAULT_NS (15 * NS_PER_S)
#define CELL_SESSION_LEASE_MIN_NS (1 * NS_PER_S)
#define CELL_SESSION_LEASE_MAX_NS (60 * NS_PER_S)
#define CELL_WAITERS_MAX 100000 /* of one lock */
#define CELL_HOLDERS_MAX 100000 /* of one lock; keepers of one node as well */
#define CELL_TEXT_MAX_BYTES 256 /* principal, host, command: display texts are cut to this */
#define CELL_ACL_NAMES 3

enum node_kind { NODE_FILE = 1, NODE_DIRECTORY = 2 };
enum lock_mode { LOCK_FREE = 0, LOCK_SHARED = 1, LOCK_EXCLUSIVE = 2 };
enum acl_use { ACL_READ, ACL_WRITE, ACL_CHANGE };

struct digest {
	uint64_t high;
	uint64_t low;
};

struct grant {
	struct revision revision;
	uint32_t index; /* among the grants of that revision */
};

/* ---- entries ------------------------------------------------------------------------------ */

enum entry_kind {
	ENTRY_EPOCH = 1, /* first of every mastership */
	ENTRY_SESSION_CREATE,
	ENTRY_SESSION_END, /* by the client, or expiry (then bound to the epoch) */
	ENTRY_NODE_CREATE,
	ENTRY_NODE_DELETE,
	ENTRY_NODE_WRITE,
	ENTRY_NODE_SET_ACL,
	ENTRY_KEEP,      /* a handle of an ephemeral node opens */
	ENTRY_CLOSE,     /* a handle gives up what it has: its hold, its wait, its keeping */
	ENTRY_NODE_REAP, /* an ephemeral without keepers goes: GUARD_FAILED if it has some,
				  NOT_EMPTY, LOCK_HELD while held or in lock-delay */
	ENTRY_ACQUIRE,
	ENTRY_RELEASE,
	ENTRY_CANCEL,         /* a waiter leaves: by itself or by its deadline (epoch-bound);
				  ALREADY_HELD with the grant if it was let in before */
	ENTRY_LOCK_DELAY_END, /* epoch-bound */
	ENTRY_REVOKE,         /* an administrator takes a grant away; starts the lock-delay */
	ENTRY_MULTI,          /* all or nothing; result.grant is that of the first ACQUIRE; when
				  refused, result.generation is the index of what refused it */
	ENTRY_SESSION_MARK,   /* what silent sessions have left (epoch-bound) */
	ENTRY_SESSION_UNMARK, /* entry.session has none any more */
	ENTRY_SESSION_CACHES, /* the session caches from here on */
	ENTRY_LEASE_RAISE,    /* the cell's longest session lease */
	ENTRY_DIGEST,         /* compare at this revision */
	ENTRY_KIND_END,
};

enum session_end_reason {
	SESSION_END_CLOSED = 1, /* by the client: locks are free at once */
	SESSION_END_EXPIRED,    /* its lease ran out: lock-delay applies */
	SESSION_END_REVOKED,    /* by an administrator: lock-delay applies */
	SESSION_END_IDLE,       /* no handles and no calls for a minute */
};

/* What a sequencer names (Chubby 2.4). */
struct grant_guard {
	uint64_t instance;
	enum lock_mode mode; /* LOCK_FREE: no grant is meant */
	struct grant grant;
	struct revision token;
};

/*
 * One entry. Bytes are borrowed from whoever decoded it, for the duration of cell_apply().
 *
 * Exactly-once: entries with `session` and `number` not zero repeat their stored result when
 * applied again. `origin_epoch` and `origin_number` identify the proposal to the master that made
 * it and change nothing in the state.
 */
struct entry {
	enum entry_kind kind;
	struct epoch origin_epoch;
	uint64_t origin_number;
	int64_t wall_unix_ms; /* the master's; made monotone in apply; display only */
	struct session_id session;
	uint64_t number;            /* request number, from 1; 0: not an exactly-once request */
	uint64_t lowest_unanswered; /* results below are forgotten */
	/* Void unless it is the current one: EPOCH_CHANGED, and no result is stored. Epoch-bound
	 * entries need it; others may have it (0: not bound). */
	struct epoch guard_epoch;
	/* SEQUENCER_INVALID unless it stands; what was done before is repeated all the same. */
	struct grant_guard guard_grant;

	union {
		struct {
			struct replica_id master;
			struct ballot ballot; /* by which the master recognises its own */
		} epoch;
		struct {
			struct bytes principal;
			struct bytes host;
			struct bytes command;
			uint32_t pid;
			int64_t lease_ns;
			bool caches;
		} session_create;
		struct {
			enum session_end_reason reason;
		} session_end; /* which: entry.session */
		struct {
			struct bytes path;
			enum node_kind kind;
			struct bytes contents;
			bool ephemeral; /* (entry.session, handle) becomes the first keeper */
			bool exclusive; /* an existing node is an error; else it is opened */
			struct bytes acl[CELL_ACL_NAMES]; /* empty: inherited */
			struct handle_id handle;          /* that is opened */
		} node_create;
		struct {
			uint64_t instance;
			uint64_t expected_generation; /* 0: any; else of the contents */
		} node_delete;
		struct {
			uint64_t instance;
			uint64_t expected_generation; /* 0: any */
			struct bytes contents;
		} node_write;
		struct {
			uint64_t instance;
			uint64_t expected_generation; /* of the ACL; 0: any */
			struct bytes acl[CELL_ACL_NAMES];
		} node_set_acl;
		struct {
			uint64_t instance;
			struct handle_id handle;
		} keep; /* KEEP, CLOSE, REAP */
		struct {
			uint64_t instance;
			struct handle_id handle;
			enum lock_mode mode;
			bool try_only;         /* BUSY instead of joining the FIFO */
			int64_t lock_delay_ns; /* of this hold, should its holder fail */
			int64_t wait_ns;       /* most it will wait; 0: no limit */
		} acquire;
		struct {
			uint64_t instance;
			struct handle_id handle;
		} release;
		struct {
			uint64_t instance;
			struct handle_id handle;
			struct revision ticket; /* must match, when not 0 */
			bool expired;           /* by its deadline, else by its owner */
		} cancel;
		struct {
			uint64_t instance;
			struct revision began; /* the delay that is meant */
		} lock_delay_end;
		struct {
			uint64_t instance;
			struct grant grant;
		} revoke;
		struct {
			uint32_t count;
			const struct multi_op *ops; /* guards first, then operations */
		} multi;
		struct {
			uint32_t count;
			const struct session_mark *marks;
		} session_mark;
		struct {
			int64_t lease_ns;
		} lease_raise;
		struct {
			struct revision revision; /* of the state that was digested */
			struct digest digest;
		} digest;
	};
};

enum multi_kind {
	MULTI_GUARD_EXISTS = 1,
	MULTI_GUARD_ABSENT,
	MULTI_GUARD_GENERATION,
	MULTI_GUARD_HOLDER,
	MULTI_GUARD_TOKEN,
	MULTI_CREATE,
	MULTI_WRITE,
	MULTI_DELETE,
	MULTI_ACQUIRE, /* try-only */
	MULTI_RELEASE,
};

#define MULTI_OPS_MAX 64

struct multi_op {
	enum multi_kind kind;
	struct bytes path;
	uint64_t instance; /* 0: whatever stands at the path */
	uint64_t number;   /* generation (WRITE, DELETE: expected one; 0: any), token, or
			      holder's session */
	struct handle_id handle;
	enum lock_mode mode;
	enum node_kind node_kind;
	struct bytes contents;
};

struct session_mark {
	struct session_id session;
	int64_t left_ns;
};

/* ---- objects: read-only for everybody but cell/ -------------------------------------------- */

struct keeper {
	struct session_id session;
	struct handle_id handle;
};

struct node {
	uint64_t instance;
	uint64_t parent;   /* instance of the parent; 0 for the root */
	struct bytes path; /* owned */
	enum node_kind kind;
	bool ephemeral;
	struct bytes contents;        /* owned; empty for directories */
	uint64_t contents_generation; /* revision of the last write; files only */
	uint64_t acl_generation;
	uint64_t checksum;                /* XXH3-64 of the contents */
	struct bytes acl[CELL_ACL_NAMES]; /* owned */
	uint32_t child_count;             /* derived */
	uint32_t keeper_count;
	struct keeper *keepers; /* owned, ascending */
	int64_t created_unix_ms;
	int64_t modified_unix_ms;
	struct lock *lock; /* owned; NULL as long as nobody ever locked it */
};

struct lock_holder {
	struct session_id session;
	struct handle_id handle;
	struct grant grant;
	int64_t lock_delay_ns;
	int64_t since_unix_ms;
};

struct lock_waiter {
	struct session_id session;
	struct handle_id handle;
	struct revision ticket;
	enum lock_mode mode;
	int64_t lock_delay_ns;
	int64_t wait_ns;
	int64_t since_unix_ms;
};

struct lock {
	uint64_t instance; /* of its node */
	enum lock_mode mode;
	uint64_t generation;    /* rises from free to held */
	struct revision period; /* the hold period's beginning: the fencing token */
	uint32_t holder_count;
	struct lock_holder *holders; /* owned, in order of their grants */
	uint32_t waiter_count;
	struct lock_waiter *waiters; /* owned, FIFO */
	/* Lock-delay in force; delay_ns 0: none. After a failed shared hold it bars
	 * exclusive requests only. */
	int64_t delay_ns;
	struct revision delay_began;
	enum lock_mode delay_after;
};

/* What a repeated request is answered with: numbers only, at most 128 bytes when stored. */
struct result {
	enum error error;
	struct revision revision;  /* at which it was applied */
	uint64_t instance;         /* node created, opened, written */
	uint64_t generation;       /* contents generation after a write or open; current one after a
				     GENERATION_MISMATCH; ACL generation after SET_ACL */
	struct session_id session; /* SESSION_CREATE */
	struct grant grant;        /* ACQUIRE that was granted */
	struct revision token;     /* its fencing token */
	uint64_t lock_generation;
	struct revision ticket; /* ACQUIRE that joined the FIFO; 0: granted or failed */
	bool created;           /* NODE_CREATE: made, not found */
	enum node_kind kind;    /* NODE_CREATE: of the node that stands there */
};

struct stored_result {
	uint64_t number;
	enum entry_kind kind;
	struct result result;
};

struct session {
	struct session_id id;
	struct bytes principal; /* owned, as the other texts */
	struct bytes host;
	struct bytes command;
	uint32_t pid;
	int64_t lease_ns;
	bool caches;
	bool ended; /* never true: keepers go with the session, in the same apply */
	int64_t created_unix_ms;
	int64_t mark_left_ns; /* -1: no mark */
	struct epoch mark_epoch;
	uint64_t lowest_unanswered;
	uint32_t result_count;
	struct stored_result *results; /* owned, ascending by number */
	/* Derived: instances that it holds or awaits, ascending; with repetitions. */
	uint32_t lock_count;
	uint64_t *locks;
};

struct cell_meta {
	uint64_t cell_id_high;
	uint64_t cell_id_low;
	struct bytes name; /* owned */
	struct revision revision;
	struct epoch epoch;
	struct replica_id master; /* of that epoch */
	struct ballot master_ballot;
	uint8_t handle_key[32];   /* secret of the handle MACs */
	int64_t longest_lease_ns; /* longest session lease ever granted */
	int64_t wall_unix_ms;     /* monotone display clock */
};

/* ---- effects ------------------------------------------------------------------------------- */

enum effect_kind {
	/* A waiter got the lock: session, handle, instance, ticket, grant, token. */
	EFFECT_GRANTED = 1,
	EFFECT_WAIT_ENDED, /* a waiter left without it: session, handle, ticket, error says why */
	EFFECT_HOLD_ENDED, /* a holder lost or gave up: session, handle, instance, grant */
	EFFECT_SESSION_CREATED,  /* session */
	EFFECT_SESSION_ENDED,    /* session, reason */
	EFFECT_NODE_CREATED,     /* instance */
	EFFECT_NODE_CHANGED,     /* instance: contents or ACL */
	EFFECT_NODE_DELETED,     /* instance: handles on it are stale */
	EFFECT_LOCK_DELAY_BEGAN, /* instance, delay_ns, revision */
	EFFECT_LOCK_DELAY_ENDED, /* instance */
	EFFECT_EPOCH,            /* a mastership began */
	EFFECT_UNKEPT, /* instance: an ephemeral node may be reaped; cell_reapable_after() */
	EFFECT_DIGEST_DIFFERS, /* the entry's digest is not ours at that revision */
};

struct effect {
	enum effect_kind kind;
	struct session_id session;
	struct handle_id handle;
	uint64_t instance;
	uint64_t parent; /* NODE_…, UNKEPT: instance of the parent, for whoever watches it */
	struct revision ticket;
	struct grant grant;
	struct revision token;
	uint64_t lock_generation;
	enum lock_mode mode;
	enum session_end_reason reason;
	enum error error;
	int64_t delay_ns;
	struct revision revision;
};

struct outcome {
	struct result result;
	bool repeated; /* answered from the stored results; nothing changed */
	uint32_t effect_count;
	const struct effect *effects; /* borrowed until the next cell_apply() */
};

/* ---- the cell ------------------------------------------------------------------------------ */

struct cell;

struct cell_genesis {
	uint64_t cell_id_high;
	uint64_t cell_id_low;
	struct bytes name;
	uint8_t handle_key[32];
	int64_t wall_unix_ms;
};

/* An empty cell with its root directory: what genesis stores. */
struct cell *cell_new(const struct cell_genesis *genesis);
void cell_free(struct cell *c);

/* Applies the entry at the next revision (a MULTI may take several; genesis is revision 1). Never
 * fails: a refused request is a result. One that is nonsense (a decoder let it pass) is MALFORMED
 * and changes nothing but the revision. `ret_outcome` is borrowed until the next call. */
void cell_apply(struct cell *c, const struct entry *e, struct outcome *ret_outcome);

const struct cell_meta *cell_meta(const struct cell *c);
struct digest cell_digest(const struct cell *c);

/* Lookups: NULL if there is none. Valid until the next cell_apply(). */
const struct node *cell_node_at(const struct cell *c, struct bytes path);
const struct node *cell_node(const struct cell *c, uint64_t instance);
const struct session *cell_session(const struct cell *c, struct session_id id);
const struct lock_holder *cell_holder(const struct cell *c, uint64_t instance,
				      struct session_id session, struct handle_id handle);
const struct lock_waiter *cell_waiter(const struct cell *c, uint64_t instance,
				      struct session_id session, struct handle_id handle);
/* The last component of the path; empty for the root. */
struct bytes node_name(const struct node *n);

/* Children in byte order of their names: the first after `after` (empty: from the start). */
const struct node *cell_child_after(const struct cell *c, uint64_t parent, struct bytes after);
/* All sessions, ascending: the first with an id above `after`. */
const struct session *cell_session_after(const struct cell *c, struct session_id after);
/* All nodes that have a lock row, by instance, ascending. */
const struct node *cell_locked_after(const struct cell *c, uint64_t after);
/* Ephemeral nodes that ENTRY_NODE_REAP would take now, by instance, ascending. */
const struct node *cell_reapable_after(const struct cell *c, uint64_t after);
uint64_t cell_node_count(const struct cell *c);
uint64_t cell_session_count(const struct cell *c);

/* Result of a numbered request: *ret_result when it is stored. The request brings its own line,
 * which may be ahead of the one applied last. REQUEST_OUT_OF_WINDOW below it or too far above;
 * NOT_FOUND when new; SESSION_EXPIRED; INVALID_ARGUMENT: an entry of another kind had it. */
MUST_USE enum error cell_stored_result(const struct cell *c, struct session_id session,
				       uint64_t number, uint64_t lowest_unanswered,
				       enum entry_kind kind, struct result *ret_result);

/* OK while the grant stands: session, instance, mode and grant must all match. */
MUST_USE enum error cell_check_grant(const struct cell *c, uint64_t instance, enum lock_mode mode,
				     struct grant grant, struct revision token);

/* ---- rows: how the state gets to disk and back ---------------------------------------------- */

enum row_kind { ROW_META = 1, ROW_NODE = 2, ROW_LOCK = 3, ROW_SESSION = 4 };

/* `key` is the instance or session id (0 for META). A row whose object is gone is deleted. Objects
 * are borrowed until the next cell_apply(). */
struct row {
	enum row_kind kind;
	uint64_t key;
	bool deleted;
	const struct cell_meta *meta;
	const struct node *node;
	const struct lock *lock;
	const struct session *session;
};

/* Takes the rows that changed since the last call, each once, in order of (kind, key). */
bool cell_dirty_next(struct cell *c, struct row *ret_row);
size_t cell_dirty_bytes(const struct cell *c);

/* Builds a cell from stored rows, in any order, copying. cell_load_end() checks that they fit
 * together; STORAGE_CORRUPT with a sentence that the caller frees. */
struct cell *cell_load_begin(void);
MUST_USE enum error cell_load_row(struct cell *c, const struct row *row);
MUST_USE enum error cell_load_end(struct cell *c, char **ret_trouble);

/* Every row: start with a zeroed row; false at the end. */
bool cell_row_after(const struct cell *c, const struct row *after, struct row *ret_row);

/* NULL, or the invariant that does not hold. Costs as much as the cell is large. */
const char *cell_invariants(const struct cell *c);

#endif
