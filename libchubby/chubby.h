/*
 * libchubby: locks, small files and sessions of a Chubby cell.
 *
 *   struct chubby *cell;
 *   struct chubby_lock *lock;
 *   if (chubby_connect(NULL, &cell, NULL) == CHUBBY_OK &&
 *       chubby_lock(cell, "/ls/local/job", NULL, &lock, NULL) == CHUBBY_OK) {
 *           write_to_storage(chubby_lock_token(lock), …);  // storage refuses smaller tokens
 *           chubby_unlock(lock);
 *   }
 *
 * A session is a promise between this process and the cell, renewed by KeepAlives on a thread of
 * the library. While the library cannot renew it the session is in *jeopardy*: calls wait, and
 * the application is told. When the cell answers within the grace period the session is *safe*
 * again and nothing was lost; otherwise it has *expired*, and every lock with it.
 *
 * The cell ends a session that has no handle and makes no call for a minute. It loses nothing, and
 * nobody is told: it *rests*, not safe meanwhile and with chubby_session_id() 0, and the next call
 * opens another one. A session that had a handle never comes back.
 *
 * A lock is advice with an expiry: a process that stops for longer than its lease does not notice
 * that it lost the lock. Storage that must be safe takes the fencing token with every write and
 * refuses tokens smaller than the largest seen (see chubby_lock_token).
 *
 * Threads: every function may be called from any thread, callbacks included, unless it says
 * otherwise. Callbacks run one at a time on one thread of the library.
 *
 * Fork: a child inherits nothing usable. Calls in a child return CHUBBY_INTERNAL, those without a
 * result do nothing, and it cannot connect if its parent had a connection open; exec is fine.
 *
 * NULL: where a call with a result wants a connection or a handle, NULL is INVALID_ARGUMENT. Other
 * pointers must not be NULL unless it says so: outputs that are not said to be optional, and what
 * calls without a result are asked about (chubby_token(), chubby_path(), …).
 *
 * Errors: functions return enum chubby_code. `ret_error`, where there is one, may be NULL; on
 * failure it gets a sentence for a person. Outputs are untouched on failure.
 */
#ifndef CHUBBY_H
#define CHUBBY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define CHUBBY_API __attribute__((visibility("default")))
#define CHUBBY_MUST_USE __attribute__((warn_unused_result))
#else
#define CHUBBY_API
#define CHUBBY_MUST_USE
#endif

#define CHUBBY_VERSION_MAJOR 0
#define CHUBBY_VERSION_MINOR 1
#define CHUBBY_VERSION_PATCH 0

/* The version of the library that is linked, "0.1.0". */
CHUBBY_API const char *chubby_version(void);

/* The numbers are those of the protocol and never change. */
enum chubby_code {
	CHUBBY_OK = 0,
	CHUBBY_INVALID_ARGUMENT = 1,
	CHUBBY_INVALID_PATH = 2,
	CHUBBY_WRONG_CELL = 3,
	CHUBBY_TOO_LARGE = 4,
	CHUBBY_NOT_FOUND = 5,
	CHUBBY_EXISTS = 6,
	CHUBBY_NOT_EMPTY = 7,
	CHUBBY_NOT_DIRECTORY = 8,
	CHUBBY_IS_DIRECTORY = 9,
	CHUBBY_GENERATION_MISMATCH = 10,
	CHUBBY_HANDLE_INVALID = 11,
	CHUBBY_HANDLE_CLOSED = 12,
	CHUBBY_HANDLE_STALE = 13,
	CHUBBY_LOCK_HELD = 14,
	CHUBBY_BUSY = 15,
	CHUBBY_ALREADY_HELD = 16,
	CHUBBY_NOT_HELD = 17,
	CHUBBY_SEQUENCER_INVALID = 18,
	CHUBBY_SESSION_EXPIRED = 19,
	CHUBBY_EPOCH_CHANGED = 20,
	CHUBBY_NOT_MASTER = 21,
	CHUBBY_UNAVAILABLE = 22,
	CHUBBY_REQUEST_OUT_OF_WINDOW = 23,
	CHUBBY_RESOURCE_EXHAUSTED = 24,
	CHUBBY_PERMISSION_DENIED = 25,
	CHUBBY_UNAUTHENTICATED = 26,
	CHUBBY_CANCELLED = 27,
	CHUBBY_DEADLINE_EXCEEDED = 28,
	CHUBBY_LOCK_LOST = 29,
	CHUBBY_OUTCOME_UNKNOWN = 30,
	CHUBBY_UNIMPLEMENTED = 31,
	CHUBBY_INTERNAL = 32,
	CHUBBY_STORAGE_IO = 33,
	CHUBBY_STORAGE_CORRUPT = 34,
	CHUBBY_STORAGE_FULL = 35,
	CHUBBY_STORAGE_VERSION = 36,
	CHUBBY_MALFORMED = 37,
	CHUBBY_GUARD_FAILED = 38,
	CHUBBY_WRONG_KIND = 39,
};

/* "NOT_FOUND", "not found". The texts live for ever. */
CHUBBY_API const char *chubby_code_name(enum chubby_code code);
CHUBBY_API const char *chubby_code_text(enum chubby_code code);

struct chubby_error {
	enum chubby_code code;
	char message[512]; /* NUL-terminated: what happened, to what, and what to do */
};

/* ---- the session ---------------------------------------------------------------------------- */

struct chubby;

enum chubby_session_event {
	CHUBBY_SESSION_JEOPARDY = 1,      /* the lease ran out on this side; calls wait */
	CHUBBY_SESSION_SAFE = 2,          /* the cell answered in time: nothing was lost */
	CHUBBY_SESSION_EXPIRED_EVENT = 3, /* the session and its locks are gone for good */
};

/* `reason` counts for CHUBBY_SESSION_EXPIRED_EVENT alone; with the others it means nothing. It says
 * why the session expired: SESSION_EXPIRED (told by the cell), UNAVAILABLE (nobody
 * answered within the grace period). Calls return the same from then on; but what was sent before,
 * and may have taken effect, is OUTCOME_UNKNOWN. */
typedef void chubby_session_callback(void *context, enum chubby_session_event event,
				     enum chubby_code reason);

struct chubby_options {
	const char *servers; /* "host:port,host:port"; NULL: $CHUBBY_SERVERS, or 127.0.0.1:7401… */
	const char *cell;    /* NULL: $CHUBBY_CELL, or "local" */
	int64_t lease_ms;    /* 1000..60000; 0: 12000 */
	int64_t grace_ms;    /* jeopardy before a session is given up; 0: 45000 */
	int64_t connect_ms;  /* longest wait of chubby_connect(); 0: 10000 */
	int64_t call_ms;     /* longest wait of calls but acquire; 0: the session's life */
	const char *command;                 /* shown to operators; NULL: this process's name */
	chubby_session_callback *on_session; /* may be NULL */
	void *context;
};

/* Fills in zeros: take the result, change what you want, and options stay valid when fields are
 * added. */
CHUBBY_API struct chubby_options chubby_options_default(void);

/* Opens a session. `options` may be NULL. Blocks until it stands, or UNAVAILABLE. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_connect(const struct chubby_options *options,
							   struct chubby **ret_cell,
							   struct chubby_error *ret_error);

/* The same without waiting: the session opens in the background, and calls wait for it. SAFE tells
 * that it stands, EXPIRED that it does not and never will (reason UNAVAILABLE after connect_ms, or
 * the cell's refusal); then every call returns that reason, and chubby_disconnect() is what is
 * left. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_connect_start(
	const struct chubby_options *options, struct chubby **ret_cell,
	struct chubby_error *ret_error);

/* Ends the session: locks are released, waiting calls return CANCELLED, callbacks that are owed
 * run; then handles, locks and calls of it are freed. Not from a callback. NULL is allowed. */
CHUBBY_API void chubby_disconnect(struct chubby *cell);

CHUBBY_API uint64_t chubby_session_id(const struct chubby *cell);
/* True while the lease runs on this side: neither jeopardy nor expired. */
CHUBBY_API bool chubby_session_is_safe(const struct chubby *cell);
/* Milliseconds of the lease that are left on this side; 0 in jeopardy and after. */
CHUBBY_API int64_t chubby_session_lease_left_ms(const struct chubby *cell);

/* ---- nodes ---------------------------------------------------------------------------------- */

struct chubby_handle;

enum chubby_open_flags {
	CHUBBY_READ = 1,       /* contents, stat, listing */
	CHUBBY_WRITE = 2,      /* contents, delete, and locks */
	CHUBBY_CHANGE_ACL = 4, /* no call uses it yet */
	CHUBBY_CREATE = 8,     /* make the node if it is not there */
	CHUBBY_EXCLUSIVE = 16, /* with CREATE: EXISTS if it is */
	CHUBBY_DIRECTORY = 32, /* with CREATE: make a directory */
	CHUBBY_EPHEMERAL = 64, /* with CREATE: goes when nobody has it open */
			       /* EXCLUSIVE or EPHEMERAL without CREATE is INVALID_ARGUMENT. */
};

enum chubby_kind { CHUBBY_FILE = 1, CHUBBY_DIR = 2 };
enum chubby_mode { CHUBBY_FREE = 0, CHUBBY_SHARED = 1, CHUBBY_EXCLUSIVE_MODE = 2 };

struct chubby_stat {
	enum chubby_kind kind;
	bool ephemeral;
	uint64_t instance;            /* larger than that of any earlier node of this name */
	uint64_t contents_generation; /* grows with each write */
	uint64_t lock_generation;     /* grows when the lock goes from free to held */
	uint64_t acl_generation;
	uint64_t checksum; /* XXH3-64 of the contents */
	uint32_t size_bytes;
	uint32_t child_count;
	enum chubby_mode lock_mode;
	uint32_t lock_holders;
	uint32_t lock_waiters;
	int64_t created_unix_ms;
	int64_t modified_unix_ms;
};

/* What a call read; the caller gives it to chubby_contents_free(). */
struct chubby_contents {
	void *data; /* owned; followed by a NUL that is not counted */
	size_t size_bytes;
};
CHUBBY_API void chubby_contents_free(struct chubby_contents *contents);

/* Opens a node. `initial` (may be NULL) are the contents of a file that is made. `ret_created`
 * may be NULL. The handle is bound to the node that stands there now: when that is deleted every
 * call on it is HANDLE_STALE, also when the name exists again. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_open(
	struct chubby *cell, const char *path, int flags, const void *initial, size_t initial_bytes,
	struct chubby_handle **ret_handle, bool *ret_created, struct chubby_error *ret_error);

/* Releases the handle's lock, if it holds one, and frees the handle. Never fails; NULL is allowed.
 * No other thread may be in a call on the handle. */
CHUBBY_API void chubby_close(struct chubby_handle *handle);

/* Makes outstanding and later calls on the handle fail with CANCELLED, without freeing it. */
CHUBBY_API void chubby_poison(struct chubby_handle *handle);

CHUBBY_API const char *chubby_path(const struct chubby_handle *handle);

/* Contents and metadata at one instant. `ret_stat` may be NULL. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_get(struct chubby_handle *handle,
						       struct chubby_contents *ret_contents,
						       struct chubby_stat *ret_stat,
						       struct chubby_error *ret_error);
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_stat(struct chubby_handle *handle,
							struct chubby_stat *ret_stat,
							struct chubby_error *ret_error);

/* Replaces the whole contents (at most 256 KiB). With `expected_generation` not 0 only if the
 * contents' generation is still that one, else GENERATION_MISMATCH. `ret_generation` may be
 * NULL. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_set(struct chubby_handle *handle,
						       const void *data, size_t size_bytes,
						       uint64_t expected_generation,
						       uint64_t *ret_generation,
						       struct chubby_error *ret_error);

CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_delete(struct chubby_handle *handle,
							  struct chubby_error *ret_error);

struct chubby_dir_entry {
	const char *name;
	struct chubby_stat stat;
};
struct chubby_dir {
	size_t count;
	struct chubby_dir_entry *entries; /* owned, in byte order of their names */
};
/* All children. Each page is one instant; the whole of a large directory is not. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_read_dir(struct chubby_handle *handle,
							    struct chubby_dir *ret_dir,
							    struct chubby_error *ret_error);
CHUBBY_API void chubby_dir_free(struct chubby_dir *dir);

/* ---- locks ---------------------------------------------------------------------------------- */

#define CHUBBY_LOCK_DELAY_DEFAULT (-1)
/* No sequencer is longer; a buffer wants one byte more, for the NUL. */
#define CHUBBY_SEQUENCER_MAX_BYTES 1536

struct chubby_acquire_options {
	enum chubby_mode mode; /* CHUBBY_FREE means exclusive */
	int64_t wait_ms;       /* longest wait; 0: no limit; -1: do not wait (BUSY) */
	int64_t lock_delay_ms; /* CHUBBY_LOCK_DELAY_DEFAULT: 15 s; at most 60 s */
};
CHUBBY_API struct chubby_acquire_options chubby_acquire_options_default(void);

/* Acquires the lock of the handle's node (open it with CHUBBY_WRITE). Waiters are served in the
 * order of their arrival, also across a change of master. BUSY (not waited), DEADLINE_EXCEEDED,
 * ALREADY_HELD, CANCELLED (poisoned, or an operator ended the wait), HANDLE_STALE (deleted),
 * SESSION_EXPIRED (the session is over), UNAVAILABLE (the same, or no master could even be asked
 * within wait_ms). `options` may be NULL. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_acquire(
	struct chubby_handle *handle, const struct chubby_acquire_options *options,
	struct chubby_error *ret_error);
/* NOT_HELD if this handle holds nothing; LOCK_LOST if it did. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_release(struct chubby_handle *handle,
							   struct chubby_error *ret_error);

/* The sequencer of the grant that the handle holds: printable; NULL if it holds none. The text
 * stays where it is until the handle is closed or acquires again: a release does not free it, but
 * afterwards this is NULL. */
CHUBBY_API const char *chubby_sequencer(const struct chubby_handle *handle);
/* Its fencing token: larger for every new exclusive grant of this lock, for ever; 0 if it holds
 * none. Shared holders whose holds overlap have the same one: shared holders that write must check
 * sequencers as well. */
CHUBBY_API uint64_t chubby_token(const struct chubby_handle *handle);
/* True if the handle holds the lock and the session's lease runs on this side. */
CHUBBY_API bool chubby_is_held(const struct chubby_handle *handle);

/* From now on every call on this handle is SEQUENCER_INVALID, without effect, unless the
 * sequencer's grant stands at that moment (SetSequencer of the paper). NULL: no condition any
 * more. SEQUENCER_INVALID at once only if the text is none. An acquire is judged when it joins the
 * queue; a close is not. In one chubby_multi() handles may have one sequencer set, not several. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_set_sequencer(struct chubby_handle *handle,
								 const char *sequencer,
								 struct chubby_error *ret_error);

/* Asks the master whether the sequencer's grant stands. OK, or SEQUENCER_INVALID: the grant is
 * over, it is of another cell, or the text is no sequencer. `ret_token` may be NULL. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_check_sequencer(struct chubby *cell,
								   const char *sequencer,
								   uint64_t *ret_token,
								   struct chubby_error *ret_error);

/* ---- several at once ------------------------------------------------------------------------ */

enum chubby_op_kind {
	/* Guards: conditions that must hold. */
	CHUBBY_GUARD_EXISTS = 1,     /* `path` or `handle` */
	CHUBBY_GUARD_ABSENT = 2,     /* `path` */
	CHUBBY_GUARD_GENERATION = 3, /* of the contents is `number` */
	CHUBBY_GUARD_HOLDER = 4,     /* session `number` holds the lock; 0 with a handle: it does */
	CHUBBY_GUARD_TOKEN = 5,      /* the lock is held under fencing token `number` */
	/* Operations. */
	CHUBBY_OP_CREATE = 6,   /* `path`, `node_kind` (0: file), `data`; EXISTS if it is there */
	CHUBBY_OP_WRITE = 7,    /* `data` are the new contents; `number`: of the old ones, or 0 */
	CHUBBY_OP_DELETE = 8,   /* `number` likewise */
	CHUBBY_OP_ACQUIRE = 9,  /* `handle`, `mode` (0: exclusive); does not wait */
	CHUBBY_OP_RELEASE = 10, /* `handle` */
};

/* One guard or operation; zero what does not apply. The node is named by `path` or by `handle`. */
struct chubby_op {
	enum chubby_op_kind kind;
	const char *path;
	struct chubby_handle *handle;
	uint64_t number;
	const void *data;
	size_t size_bytes;
	enum chubby_kind node_kind;
	enum chubby_mode mode;
};

#define CHUBBY_MULTI_MAX_OPS 64
#define CHUBBY_MULTI_NO_OP ((size_t)-1)

/* All guards and operations at one instant, or none of them: one write to the log. Guards stand
 * before operations. Contents are at most 256 KiB each, 768 KiB together. Handles hold what they
 * acquired. On failure `ret_failed_op` (may be NULL) is
 * the index of the first that failed, or CHUBBY_MULTI_NO_OP; the code is GUARD_FAILED, or what the
 * operation alone would return. `ret_revision` may be NULL. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_multi(struct chubby *cell,
							 const struct chubby_op *ops, size_t count,
							 uint64_t *ret_revision,
							 size_t *ret_failed_op,
							 struct chubby_error *ret_error);

/* ---- the common case ------------------------------------------------------------------------ */

struct chubby_lock;

/* Opens the node (making a file if there is none) and acquires its lock. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_lock(
	struct chubby *cell, const char *path, const struct chubby_acquire_options *options,
	struct chubby_lock **ret_lock, struct chubby_error *ret_error);
/* Acquires the locks of 1 to 64 different paths, one after the other in byte order of the paths,
 * so that callers that want some of the same never wait for each other in a circle. All or
 * nothing: on failure those that it got are released. `wait_ms` of the options is for all
 * together. ret_locks[i] is the lock of paths[i]. */
CHUBBY_MUST_USE CHUBBY_API enum chubby_code chubby_lock_all(
	struct chubby *cell, const char *const paths[], size_t count,
	const struct chubby_acquire_options *options, struct chubby_lock *ret_locks[],
	struct chubby_error *ret_error);
/* Releases and frees; NULL is allowed. */
CHUBBY_API void chubby_unlock(struct chubby_lock *lock);
CHUBBY_API uint64_t chubby_lock_token(const struct chubby_lock *lock);
CHUBBY_API const char *chubby_lock_sequencer(const struct chubby_lock *lock);
CHUBBY_API bool chubby_lock_is_held(const struct chubby_lock *lock);

/* ---- without waiting ------------------------------------------------------------------------ */

/*
 * Every call that waits has a form that does not: chubby_X_start() begins it, chubby_X_finish()
 * takes its result, waiting if it must, and frees the call. In between the call may be asked,
 * waited for, or cancelled. `done` (may be NULL) is told, on the library's callback thread, when
 * finishing will not wait; it may finish the call itself. A call that is finished before its
 * callback was told is not told of any more; finishing waits while it is being told. What the
 * arguments point to is copied by _start().
 *
 *   struct chubby_call *call;
 *   chubby_acquire_start(handle, NULL, on_acquired, context, &call, NULL);
 *   …
 *   if (chubby_acquire_finish(call, &error) == CHUBBY_OK) …
 *
 * _start() fails only on bad arguments, in a forked child, and, CANCELLED, once
 * chubby_disconnect() has begun; then there is no call and no callback. Each call is finished once
 * (or chubby_call_discard()ed); those that are left when the connection goes end CANCELLED, are
 * told, and are freed with it. To finish a call with the function of another kind is
 * INVALID_ARGUMENT, and the call lives on. A handle may be closed before its calls are finished:
 * they end, and what they got is gone with it.
 */
struct chubby_call;
typedef void chubby_done_callback(void *context, struct chubby_call *call);

CHUBBY_API bool chubby_call_is_done(const struct chubby_call *call);
/* Waits at most `wait_ms` (-1: no limit); true if the call is done. A callback that waits holds up
 * all others. */
CHUBBY_API bool chubby_call_wait(struct chubby_call *call, int64_t wait_ms);
/* Ends the call with CANCELLED unless it is done before; a lock that it may get is given back. What
 * was sent may still take effect. It is finished as ever. */
CHUBBY_API void chubby_call_cancel(struct chubby_call *call);
/* Cancels, and frees; once this returns its callback is not told any more (it may be called from
 * the callback itself). What it would have returned is released: a lock, a handle, contents.
 * NULL is allowed. */
CHUBBY_API void chubby_call_discard(struct chubby_call *call);

#define CHUBBY_START CHUBBY_MUST_USE CHUBBY_API enum chubby_code

CHUBBY_START chubby_open_start(struct chubby *cell, const char *path, int flags,
			       const void *initial, size_t initial_bytes,
			       chubby_done_callback *done, void *context,
			       struct chubby_call **ret_call, struct chubby_error *ret_error);
CHUBBY_START chubby_open_finish(struct chubby_call *call, struct chubby_handle **ret_handle,
				bool *ret_created, struct chubby_error *ret_error);
/* Closes in the background; the handle is gone for the caller. NULL is allowed. */
CHUBBY_API void chubby_close_start(struct chubby_handle *handle);

CHUBBY_START chubby_get_start(struct chubby_handle *handle, chubby_done_callback *done,
			      void *context, struct chubby_call **ret_call,
			      struct chubby_error *ret_error);
CHUBBY_START chubby_get_finish(struct chubby_call *call, struct chubby_contents *ret_contents,
			       struct chubby_stat *ret_stat, struct chubby_error *ret_error);
CHUBBY_START chubby_stat_start(struct chubby_handle *handle, chubby_done_callback *done,
			       void *context, struct chubby_call **ret_call,
			       struct chubby_error *ret_error);
CHUBBY_START chubby_stat_finish(struct chubby_call *call, struct chubby_stat *ret_stat,
				struct chubby_error *ret_error);
CHUBBY_START chubby_set_start(struct chubby_handle *handle, const void *data, size_t size_bytes,
			      uint64_t expected_generation, chubby_done_callback *done,
			      void *context, struct chubby_call **ret_call,
			      struct chubby_error *ret_error);
CHUBBY_START chubby_set_finish(struct chubby_call *call, uint64_t *ret_generation,
			       struct chubby_error *ret_error);
CHUBBY_START chubby_delete_start(struct chubby_handle *handle, chubby_done_callback *done,
				 void *context, struct chubby_call **ret_call,
				 struct chubby_error *ret_error);
CHUBBY_START chubby_delete_finish(struct chubby_call *call, struct chubby_error *ret_error);
CHUBBY_START chubby_read_dir_start(struct chubby_handle *handle, chubby_done_callback *done,
				   void *context, struct chubby_call **ret_call,
				   struct chubby_error *ret_error);
CHUBBY_START chubby_read_dir_finish(struct chubby_call *call, struct chubby_dir *ret_dir,
				    struct chubby_error *ret_error);
CHUBBY_START chubby_acquire_start(struct chubby_handle *handle,
				  const struct chubby_acquire_options *options,
				  chubby_done_callback *done, void *context,
				  struct chubby_call **ret_call, struct chubby_error *ret_error);
CHUBBY_START chubby_acquire_finish(struct chubby_call *call, struct chubby_error *ret_error);
CHUBBY_START chubby_release_start(struct chubby_handle *handle, chubby_done_callback *done,
				  void *context, struct chubby_call **ret_call,
				  struct chubby_error *ret_error);
CHUBBY_START chubby_release_finish(struct chubby_call *call, struct chubby_error *ret_error);
CHUBBY_START chubby_check_sequencer_start(struct chubby *cell, const char *sequencer,
					  chubby_done_callback *done, void *context,
					  struct chubby_call **ret_call,
					  struct chubby_error *ret_error);
CHUBBY_START chubby_check_sequencer_finish(struct chubby_call *call, uint64_t *ret_token,
					   struct chubby_error *ret_error);
CHUBBY_START chubby_multi_start(struct chubby *cell, const struct chubby_op *ops, size_t count,
				chubby_done_callback *done, void *context,
				struct chubby_call **ret_call, struct chubby_error *ret_error);
CHUBBY_START chubby_multi_finish(struct chubby_call *call, uint64_t *ret_revision,
				 size_t *ret_failed_op, struct chubby_error *ret_error);

#undef CHUBBY_START

#ifdef __cplusplus
}
#endif

#endif
