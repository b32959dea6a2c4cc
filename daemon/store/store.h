/*
 * store: what a replica remembers (design section 6).
 *
 * A data directory holds
 *   log.db      the log, the promise, the identity of cell and replica; one sync a batch
 *   state.db    the cell's rows at one slot, written lazily
 *   promise     two 4 KiB slots: incarnation, promise and longest lease once more, so that a
 *               write-ahead log that rolled back is noticed
 *   lock        held (flock) while a daemon uses the directory
 *   snapshot.*  a snapshot that is made (tmp), comes in (part), or waits to be installed (ready)
 *
 * Threads: store_open(), store_load() and store_close() block and belong to the main thread. After
 * store_start() the replica's thread submits writes and never waits; two writer threads (log,
 * state) make them and report through the callbacks, *on the writer threads*: the host posts them
 * to its loop. References inside submitted writes are taken by the store and handed back with the
 * report (value references belong to the replica's thread).
 *
 * Order of durability: the transaction is committed and synced; then, when the promise changed,
 * the promise file is written and synced; then the write is reported. State is never written past
 * what log.db has synced. The log is trimmed only below what state.db has synced.
 *
 * Errors: after the first failed write or sync nothing further is written or reported as done
 * (fsyncgate); the host stops promising, and reopens the store from the disk.
 */
#ifndef CHUBBY_STORE_STORE_H
#define CHUBBY_STORE_STORE_H

#include "cell/cell.h"
#include "paxos/paxos.h"

#define STORE_SCHEMA_VERSION 1
#define STORE_TEXT_MAX_BYTES 256

/* Slots kept in the log below the state, for replicas that are behind. */
#define STORE_KEEP_SLOTS_DEFAULT 500000
#define STORE_KEEP_BYTES_DEFAULT ((uint64_t)1 << 30)

struct store_member {
	struct replica_id replica;
	struct incarnation incarnation;
	char address[STORE_TEXT_MAX_BYTES]; /* for clients: host:port */
	char peer_address[STORE_TEXT_MAX_BYTES];
	char web_address[STORE_TEXT_MAX_BYTES]; /* may be empty */
};

/* Who the replica is; written once by genesis. */
struct store_identity {
	uint64_t cell_id_high;
	uint64_t cell_id_low;
	char cell_name[STORE_TEXT_MAX_BYTES];
	uint8_t handle_key[32];
	int64_t created_unix_ms;
	struct replica_id self;
	struct incarnation incarnation;
	uint32_t member_count;
	struct store_member members[MEMBERS_MAX];
};

/*
 * Creates a data directory for one replica of a new cell: identity, empty log, the state of an
 * empty cell, promise file. EXISTS if the directory already holds a store. *ret_trouble, here and
 * below, is a sentence for a person that the caller frees.
 */
MUST_USE enum error store_genesis(const char *directory, const struct store_identity *identity,
				  char **ret_trouble);

struct store;

struct store_options {
	uint64_t keep_slots; /* 0: the default */
	uint64_t keep_bytes;
};

/*
 * Opens and verifies: walks the write-ahead logs before SQLite sees them, checks every row's
 * checksum, the promise file, the schema version. NOT_FOUND: the directory holds no store ("join
 * only"). STORAGE_VERSION: written by a newer version. BUSY: another daemon uses it. Damage is no
 * error here: it is told in the recovered memory (LOST or DOUBTFUL) with a sentence, so that the
 * daemon can come up and say so. STORAGE_IO and STORAGE_FULL: could not even read.
 */
MUST_USE enum error store_open(const char *directory, const struct store_options *options,
			       struct store **ret_store, char **ret_trouble);

const struct store_identity *store_identity(const struct store *s);

/* What paxos needs. `ret_recovered->tail` is an array that the caller frees with free() after
 * paxos_new() took the references. *ret_trouble: why memory is not whole, or NULL. */
MUST_USE enum error store_recover(struct store *s, struct paxos_recovered *ret_recovered,
				  char **ret_trouble);

/* Loads the state (its rows go through codec and cell_load_row), at *ret_applied. The caller then
 * replays store_read_log() from there to the watermark. STORAGE_CORRUPT with a sentence. */
MUST_USE enum error store_load(struct store *s, struct cell **ret_cell, struct slot *ret_applied,
			       char **ret_trouble);

/*
 * Reads stored slots `from`..`through` that are there, ascending, at most `max_bytes` of values
 * (at least one slot). Each entry's checksum is verified (STORAGE_CORRUPT). The caller owns the
 * array and its references. Any thread: it uses a connection of its own under a mutex.
 */
struct store_slots {
	uint32_t count;
	struct paxos_accepted *entries;
};
MUST_USE enum error store_read_log(struct store *s, struct slot from, struct slot through,
				   size_t max_bytes, struct store_slots *ret_slots);
void store_slots_release(struct store_slots *slots);

/* ---- running -------------------------------------------------------------------------------- */

struct store_callbacks {
	void *context;
	/* All log writes up to `number` are durable; `count` of them were in the batch. Called once
	 * a sync. Log thread. */
	void (*log_persisted)(void *context, uint64_t number, uint32_t count);
	/* A write or sync failed: nothing more will come. `trouble` is valid during the call. */
	void (*failed)(void *context, enum error e, const char *trouble);
	/* Values that the store no longer needs, to be unreferenced on the replica's thread; the
	 * array passes to the callee, who frees it. Log thread. */
	void (*values_done)(void *context, struct value **values, uint32_t count);
	/* State up to `slot` is durable. State thread. */
	void (*state_persisted)(void *context, struct slot slot);
	/* The log was trimmed up to `slot`. Log thread. */
	void (*trimmed)(void *context, struct slot slot);
};

/* Starts the threads. A store whose memory is LOST stays as it is: store_start() succeeds, writes
 * are dropped and never reported, state is not saved. */
MUST_USE enum error store_start(struct store *s, const struct store_callbacks *callbacks,
				char **ret_trouble);

/* Queues a write; its rows and state are copied, one reference to each value is taken. Never
 * blocks. What gathers while one sync runs goes into the next transaction. */
void store_write(struct store *s, const struct paxos_write *w);

/* A majority has vetted this replica's memory: a doubtful end of the write-ahead log, which is
 * remembered over restarts, is settled with the next write. Any thread. */
void store_vetted(struct store *s);

/* How many log writes are queued or under way, and the age of the oldest at `now_ns` (0: none). */
uint32_t store_pending(struct store *s, int64_t now_ns, int64_t *ret_oldest_ns);

/*
 * All rows that are dirty at the end of `slot`, to be written in one transaction. The store copies
 * (encodes) them in the call and clears the cell's dirty set. At most one such write is under way:
 * false, and nothing happened, while it is. The write waits until log.db has synced `slot`.
 */
MUST_USE bool store_save_state(struct store *s, struct cell *c, struct slot slot);

/* ---- snapshots -------------------------------------------------------------------------------
 *
 * A replica whose missing slots are trimmed everywhere takes over another one's state.
 *
 *   sender     an image of state.db, copied beside its writer, and read piece by piece; it has no
 *              name in the directory and vanishes with the process
 *   receiver   pieces gather in snapshot.part. When all are there the image is verified as a whole,
 *              made this replica's own, and called snapshot.ready
 *   install    by the next store_open(): intent in log.db, state.db replaced, log trimmed up to the
 *              snapshot's slot; promise, accepted slots above it and incarnation stay. A crash
 *              anywhere between leaves what the following store_open() goes on from
 *
 * These block: any thread but the replica's, one call at a time for each object.
 */
struct store_snapshot {
	struct slot slot; /* the state is complete up to here */
	struct revision revision;
	uint64_t total_bytes;
	uint64_t checksum; /* of the image, as peer.proto says */
};

struct store_image;
/*
 * Copies what state.db holds now. From then on the log is trimmed no further than to the image's
 * slot, so that snapshot and log meet when the receiver asks for the rest; until the image is
 * freed, or until the caller finds that it has been held for long enough. One image at a time.
 * STORAGE_FULL, STORAGE_IO, STORAGE_CORRUPT (no state to copy).
 */
MUST_USE enum error store_image_make(struct store *s, struct store_image **ret_image,
				     char **ret_trouble);
const struct store_snapshot *store_image_about(const struct store_image *image);
/* Appends at most `size` bytes from `offset` on; fewer only at the end. INVALID_ARGUMENT beyond
 * it, STORAGE_IO. */
MUST_USE enum error store_image_read(const struct store_image *image, uint64_t offset, size_t size,
				     struct buffer *ret_data);
void store_image_let_log_go(struct store_image *image);
void store_image_free(struct store_image *image);

struct store_receipt;
/* STORAGE_FULL when the disk would not keep room for the log beside it. */
MUST_USE enum error store_receipt_begin(struct store *s, const struct store_snapshot *about,
					struct store_receipt **ret_receipt, char **ret_trouble);
/* The next piece. INVALID_ARGUMENT when it does not begin where the last one ended, or ends beyond
 * the image; STORAGE_IO, STORAGE_FULL. */
MUST_USE enum error store_receipt_write(struct store_receipt *r, uint64_t offset, struct bytes data,
					char **ret_trouble);
uint64_t store_receipt_size(const struct store_receipt *r);
/* When all pieces are there: verifies and makes it ready. STORAGE_CORRUPT: not an intact state of
 * this cell at that slot; STORAGE_VERSION; STORAGE_IO, STORAGE_FULL. */
MUST_USE enum error store_receipt_finish(struct store_receipt *r, char **ret_trouble);
/* Removes what is not ready. NULL is allowed. */
void store_receipt_free(struct store_receipt *r);

/* Writes that were made since the start, for metrics and tests: log transactions, log rows, state
 * transactions, syncs of the promise file. */
struct store_counters {
	uint64_t log_commits, log_rows, state_commits, state_rows, promise_syncs;
	uint64_t log_bytes;
	struct slot trimmed, state_slot;
};
void store_counters(struct store *s, struct store_counters *ret_counters);

/* Waits for what is queued (unless the store failed), stops the threads, closes. Drops references
 * that a failure left inside: call it on the replica's thread, or after that has ended. */
void store_close(struct store *s);

#endif
