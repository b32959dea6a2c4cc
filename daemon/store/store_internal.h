/*
 * Inside store: who may touch what, and when.
 *
 *   part              thread
 *   log, trimming     log thread after store_start(), main thread before and after
 *   state, checkpoint state thread after store_start(), main thread before and after
 *   reader            any thread, under its own mutex
 *   shared            any thread, under its mutex; held for a few instructions, never over I/O
 *
 * Lock order: no function holds both mutexes.
 *
 * Invariants
 *   S1  tail and durable in memory are what the last commit wrote
 *   S2  the promise file is never ahead of the database
 *   S3  state.slot <= newest slot that log.db has synced; tail.trimmed <= state.slot, except after
 *       the install of a snapshot
 *   S4  after `failed` no thread writes, and closing leaves the files as they are
 */
#ifndef CHUBBY_STORE_INTERNAL_H
#define CHUBBY_STORE_INTERNAL_H

#include "store.h"

#include "base/check.h"

#include <pthread.h>
#include <sqlite3.h>

#define STORE_PAGE_BYTES 4096u

/* The WAL is copied into the database in the background from this many frames on: as measured,
 * SQLite's own default is faster than never, since the file is then written again, not extended. */
#ifndef STORE_CHECKPOINT_FRAMES
#define STORE_CHECKPOINT_FRAMES 1000
#endif
/* Text of a PRAGMA: nobody waits for the state, so its own commits may copy the WAL. */
#ifndef STORE_STATE_CHECKPOINT_FRAMES
#define STORE_STATE_CHECKPOINT_FRAMES "1000"
#endif

/* Rows and bytes that one transaction trims at most, so that it delays no commit for long. */
#define STORE_TRIM_ROWS 512
#define STORE_TRIM_BYTES ((uint64_t)4 << 20)

#define STORE_APPLICATION_LOG 0x4348424c   /* "CHBL" */
#define STORE_APPLICATION_STATE 0x43484253 /* "CHBS" */

#define STORE_FILE_LOG "log.db"
#define STORE_FILE_STATE "state.db"
#define STORE_FILE_PROMISE "promise"
#define STORE_FILE_LOCK "lock"
/* What genesis builds under; renamed when all of it is on the disk, log.db last. */
#define STORE_NEW ".new"
#define STORE_FILE_IMAGE "snapshot.tmp"
#define STORE_FILE_PART "snapshot.part"
#define STORE_FILE_READY "snapshot.ready"

/* ---- records: what stands in meta rows and in the promise file (record.c) ------------------- */

/* About all rows of the log. */
struct log_tail {
	struct slot newest;
	struct slot trimmed; /* no row stands at or below */
	uint64_t count;
	uint64_t value_bytes;
	/* Sum modulo 2^64 of the row checksums: replacing and trimming need only the rows that go
	 * and come, in any order. */
	uint64_t sum;
};

/* What state.db holds. */
struct state_mark {
	struct slot slot;
	struct revision revision;
	struct digest digest;
};

#define RECORD_MAX_BYTES ((size_t)16 << 10)

void record_put_identity(struct buffer *b, const struct store_identity *identity);
MUST_USE bool record_get_identity(struct bytes b, struct store_identity *ret_identity);
void record_put_durable(struct buffer *b, const struct paxos_durable *durable);
MUST_USE bool record_get_durable(struct bytes b, struct paxos_durable *ret_durable);
void record_put_tail(struct buffer *b, const struct log_tail *tail);
MUST_USE bool record_get_tail(struct bytes b, struct log_tail *ret_tail);
void record_put_mark(struct buffer *b, const struct state_mark *mark);
MUST_USE bool record_get_mark(struct bytes b, struct state_mark *ret_mark);

struct promise_record {
	uint64_t sequence; /* its parity is the number of the slot that it stands in */
	uint64_t cell_id_high;
	uint64_t cell_id_low;
	struct replica_id replica;
	struct incarnation incarnation;
	struct ballot promised;
	int64_t longest_lease_ns;
};
void record_put_promise(struct buffer *b, const struct promise_record *r);
MUST_USE bool record_get_promise(struct bytes b, struct promise_record *ret_record);

/* Checksums bind content to its place. `identity` is NULL for the identity's own row. */
uint64_t record_meta_checksum(const struct store_identity *identity, const char *key,
			      struct bytes value);
uint64_t record_log_checksum(const struct store_identity *identity, struct slot slot,
			     struct ballot ballot, uint64_t value_checksum);
uint64_t record_state_checksum(const struct store_identity *identity, uint32_t kind, uint64_t key,
			       struct bytes data);

/* A sentence that the caller frees. */
__attribute__((format(printf, 1, 2))) char *sentence(const char *format, ...);

/* ---- the walk through a write-ahead log (check.c) ------------------------------------------- */

enum wal_verdict {
	WAL_CLEAN,    /* ends with a commit */
	WAL_DOUBTFUL, /* something is wrong that a torn last write can explain */
	WAL_DAMAGED,  /* something is wrong before commits that were synced */
};

/* Reads only; call it before SQLite opens the database. A file that is not there is clean.
 * STORAGE_IO. *ret_trouble: a sentence, NULL when clean. */
MUST_USE enum error wal_walk(const char *path, enum wal_verdict *ret_verdict, char **ret_trouble);

/* ---- databases (schema.c) ------------------------------------------------------------------- */

/* How a failed SQLite call is told. `file` names the database. */
MUST_USE enum error db_error(int rc, const char *file, char **ret_trouble);
/* Opens an existing database for one thread. `immutable` reads the main file alone. */
MUST_USE enum error db_open(const char *directory, const char *file, bool immutable,
			    sqlite3 **ret_db, char **ret_trouble);
/* Closes; unless `checkpoint`, the write-ahead log stays as it is. NULL is allowed. */
void db_close(sqlite3 *db, bool checkpoint);
MUST_USE int db_exec(sqlite3 *db, const char *sql);
MUST_USE int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_statement);
/* Runs a statement that returns no rows, and resets it: SQLITE_OK or the failure. */
MUST_USE int db_run(sqlite3_stmt *statement);
MUST_USE int db_number(sqlite3 *db, const char *sql, int64_t *ret_number);
/* Application id and schema version. STORAGE_VERSION for a newer one. */
MUST_USE enum error db_check_version(sqlite3 *db, const char *file, int64_t application,
				     char **ret_trouble);
/* STORAGE_IO for one that permissions, or a damaged header, make read-only. */
MUST_USE enum error db_check_writable(sqlite3 *db, const char *file, char **ret_trouble);
/* Creates a database with its tables and the identity, in a file that must not exist. */
MUST_USE enum error db_create(const char *directory, const char *file, int64_t application,
			      const struct store_identity *identity, sqlite3 **ret_db,
			      char **ret_trouble);

/* Meta rows. NOT_FOUND without such a row, STORAGE_CORRUPT when its checksum is wrong. */
MUST_USE enum error meta_get(sqlite3 *db, const char *file, const struct store_identity *identity,
			     const char *key, struct buffer *ret_value, char **ret_trouble);
MUST_USE int meta_put(sqlite3_stmt *put, const struct store_identity *identity, const char *key,
		      struct bytes value);
MUST_USE enum error meta_get_identity(sqlite3 *db, const char *file,
				      struct store_identity *ret_identity, char **ret_trouble);

extern const char meta_put_sql[];

/* path = directory/file; the caller frees. */
char *store_path(const char *directory, const char *file);
bool store_exists(const char *directory, const char *file);
/* Removes a database with what SQLite keeps beside it; one that is not there is fine. */
void store_unlink(const char *directory, const char *file);
/* Syncs a directory, or a file in it. */
MUST_USE enum error store_sync(const char *directory, const char *file, char **ret_trouble);

/* ---- the promise file (promise.c) ----------------------------------------------------------- */

struct promise_file {
	int fd;            /* owned; -1: none */
	uint32_t readable; /* slots that could be read at open: 0..2 */
	struct promise_record newest;
};

MUST_USE enum error promise_create(const char *directory, const char *file,
				   const struct promise_record *record, char **ret_trouble);
/* A missing file is opened with `readable` 0. */
MUST_USE enum error promise_open(struct promise_file *p, const char *directory, char **ret_trouble);
void promise_close(struct promise_file *p);
/* Writes the other slot and syncs. */
MUST_USE enum error promise_write(struct promise_file *p, struct ballot promised,
				  int64_t longest_lease_ns, char **ret_trouble);

enum promise_verdict {
	PROMISE_EQUAL,
	PROMISE_BEHIND, /* a crash between the two: the database is right */
	PROMISE_LOST,   /* the database went back, or nothing can be known */
};
enum promise_verdict promise_compare(const struct promise_file *p,
				     const struct store_identity *identity,
				     const struct paxos_durable *durable, char **ret_trouble);

/* ---- log.db --------------------------------------------------------------------------------- */

struct log_db {
	sqlite3 *db; /* owned; NULL when memory is lost */
	sqlite3_stmt *begin, *commit, *checksum_of, *put, *put_meta, *trim_scan, *trim;
	struct paxos_durable durable;
	struct log_tail tail;
	bool doubt; /* stored: the end of a WAL was doubtful and nobody has vetted since */
	int wal_frames;
};

MUST_USE int log_prepare(struct log_db *log);
void log_finalize(struct log_db *log);
/* The whole log, row by row, against its checksums, its tail and the small state (log.c). */
MUST_USE enum error log_verify(struct store *s, char **ret_trouble);
MUST_USE int log_put_row(struct store *s, const struct paxos_accepted *a, struct log_tail *tail);
MUST_USE int log_put_meta(struct store *s, const struct paxos_durable *durable,
			  const struct log_tail *tail);
/* Reads the row that a statement with log_row_sql stands at. */
MUST_USE enum error log_read_row(const struct store_identity *identity, sqlite3_stmt *row,
				 struct paxos_accepted *ret_accepted, uint64_t *ret_checksum,
				 char **ret_trouble);
#define LOG_ROW_COLUMNS                                                                            \
	"slot, round, replica, incarnation_high, incarnation_low, value_checksum, row_checksum,"   \
	" value"

/* Trimming (trim.c). */
bool trim_due(const struct store *s, struct slot state_slot);
MUST_USE int trim_some(struct store *s, struct slot state_slot, struct log_tail *tail);
/* Gives pages back to the file system when most of the file is free. */
MUST_USE int trim_vacuum(struct store *s);

/* ---- state.db ------------------------------------------------------------------------------- */

struct state_db {
	sqlite3 *db; /* owned; NULL when state.db cannot be used */
	sqlite3_stmt *begin, *commit, *put, *delete, *put_meta;
	struct state_mark mark;
};

/* Rows on their way to the disk: encoded, one after the other. */
struct state_save {
	struct state_mark mark;
	struct buffer rows;
	uint64_t row_count;
	uint64_t after_write; /* number of the log write that must be durable first */
};

MUST_USE int state_prepare(struct state_db *state);
void state_finalize(struct state_db *state);
void state_encode_row(struct buffer *rows, const struct row *row);
/* One transaction. */
MUST_USE int state_write(struct state_db *state, const struct store_identity *identity,
			 const struct state_save *save);

/* Which slot, revision and digest a state database holds. */
MUST_USE enum error state_read_mark(sqlite3 *db, const char *file,
				    const struct store_identity *identity,
				    struct state_mark *ret_mark, char **ret_trouble);
MUST_USE int state_put_mark(sqlite3_stmt *put, const struct store_identity *identity,
			    const struct state_mark *mark);
/* All rows, verified: checksums, the digest and revision of `mark`, the cell (load.c). */
MUST_USE enum error state_load(sqlite3 *db, const char *file, const struct store_identity *identity,
			       const struct state_mark *mark, struct cell **ret_cell,
			       char **ret_trouble);

/* ---- snapshots ------------------------------------------------------------------------------ */

/* Checksum over the first `size` bytes of a file; false with errno if they cannot be read. */
MUST_USE bool image_checksum(int fd, uint64_t size, uint64_t *ret_checksum);

/* Whose a database is, from its main file alone (open.c). */
MUST_USE enum error store_identity_of(const char *directory, const char *file, int64_t application,
				      struct store_identity *ret_identity, char **ret_trouble);
bool identity_equal(const struct store_identity *a, const struct store_identity *b);
/* Reads the whole of a state database that nobody has open: an intact state of the cell of
 * `identity`? Tells whose it is, and what it holds (receipt.c). */
MUST_USE enum error snapshot_verify(const char *directory, const char *file,
				    const struct store_identity *identity,
				    struct store_identity *ret_inside, struct state_mark *ret_mark,
				    char **ret_trouble);

/*
 * The install, at open (install.c). Steps, each durable before the next begins:
 *
 *   1  "install" in log.db: the snapshot's mark         nothing has changed yet
 *   2  state.db's WAL removed                           from here on only forward
 *   3  snapshot.ready renamed to state.db
 *   4  log trimmed up to the mark, "install" removed    one transaction
 *
 * install_find() tells which install was recorded but not finished, or which snapshot is ready
 * and of use; it removes one that is not.
 */
MUST_USE enum error install_pending(struct store *s, char **ret_trouble);
MUST_USE enum error install_find(struct store *s, char **ret_trouble);
MUST_USE enum error install_record(struct store *s, char **ret_trouble);
MUST_USE enum error install_swap(struct store *s, char **ret_trouble);
MUST_USE enum error install_finish(struct store *s, char **ret_trouble);

/* ---- the store ------------------------------------------------------------------------------ */

struct queued_write {
	struct queued_write *next;
	uint64_t number;
	int64_t queued_ns;
	bool promise_changed;
	struct paxos_durable durable;
	uint32_t accepted_count;
	struct paxos_accepted accepted[];
};

enum checkpoint_step { CHECKPOINT_IDLE, CHECKPOINT_WANTED, CHECKPOINT_COPIED };

struct store_shared {
	pthread_mutex_t mutex;
	pthread_cond_t log_wake;
	pthread_cond_t state_wake;
	bool log_sleeps;
	bool state_sleeps;
	bool closing;
	bool log_done; /* the log thread will write nothing more */
	bool failed;
	bool vetted;
	/* Not bounded here: paxos has at most PAXOS_ALPHA slots open and holds learnt ones back. */
	struct queued_write *queue, **queue_end;
	struct queued_write *batch; /* under way; its content belongs to the log thread */
	uint32_t pending;
	uint64_t submitted, persisted; /* numbers of writes */
	struct slot synced;            /* newest slot or trim point that log.db has synced */
	struct state_save *save; /* queued or under way; content belongs to the state thread */
	struct slot state_slot;
	bool held; /* an image holds the log: it is not trimmed beyond `hold` */
	struct slot hold;
	enum checkpoint_step checkpoint;
	struct store_counters counters;
};

struct store {
	char *directory;
	int lock_fd;
	struct store_options options;
	struct store_identity identity;
	bool identified; /* identity is known */
	enum paxos_memory memory;
	char *memory_trouble;      /* owned; why memory is not whole */
	char *state_trouble;       /* owned; why the state cannot be loaded */
	bool installing;           /* during the open: a snapshot takes the state's place */
	bool install_recorded;     /* ... and log.db says so */
	struct state_mark install; /* which one */

	struct log_db log;
	struct promise_file promise;
	struct state_db state;
	sqlite3 *checkpointer; /* the state thread's connection to log.db */
	struct {
		pthread_mutex_t mutex;
		sqlite3 *db;
		sqlite3_stmt *range;
	} reader;

	struct store_callbacks callbacks;
	bool started;
	pthread_t log_thread, state_thread;
	struct store_shared shared;
};

/* Takes the directory for this process. BUSY: another daemon uses it. */
MUST_USE enum error store_lock(const char *directory, int *ret_fd, char **ret_trouble);

/* The first failure: tells the host, and both threads stop. Takes over `trouble`. */
void store_fail(struct store *s, enum error e, char *trouble);

void *log_thread_main(void *store);
void *state_thread_main(void *store);
/* Copies the write-ahead log of log.db into it as far as nobody is in the way. */
MUST_USE int store_checkpoint(sqlite3 *db);

#endif
