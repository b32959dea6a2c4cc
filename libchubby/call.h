/*
 * Calls without waiting: struct chubby_call.
 *
 * A call is referred to by the application until it finishes or discards it, by the library thread
 * until it is done, and by its Cancel while that is under way; the last one frees it. It is done
 * once: `done` is set, waiters wake, and its callback is queued unless it was discarded before.
 * What a discarded call got is given back by calls that nobody waits for.
 *
 * Locks: the cell's calls_mutex before the mutex of its callbacks.
 */
#ifndef CHUBBY_CALL_H
#define CHUBBY_CALL_H

#include "handle.h"

#define CALL_WHAT_BYTES 128

struct chubby_call {
	struct client_call client; /* the library thread's until done */
	struct post post, cancel_post;
	struct chubby *cell;            /* borrowed */
	chubby_done_callback *function; /* may be NULL */
	void *context;
	char what[CALL_WHAT_BYTES]; /* "set /ls/…", for errors */
	void *copy;                 /* owned: what the request points to */
	uint8_t token[WIRE_HANDLE_MAX_BYTES];
	struct chubby_dir dir; /* owned: the pages so far */
	struct multi *multi;   /* owned; of a multi */
	bool was_held;         /* of a release */
	atomic_uint references;
	atomic_bool cancelled, done;

	/* Guarded by the cell's calls_mutex. */
	struct chubby_handle *handle; /* borrowed; NULL: none, or closed since */
	bool discarded;
	pthread_cond_t changed;
	/* Of the cell's: until it is finished, or discarded and done. */
	struct chubby_call *previous, *next;

	/* Guarded by the callbacks' mutex. */
	bool owed;
	struct chubby_call *owed_previous, *owed_next;
};

/* A call that nobody has begun. Its request is as in `prepared`. */
struct chubby_call *async_new(struct chubby *cell, const struct client_call *prepared,
			      const char *verb, const char *path);
/* Hands it to the library thread. On failure (CANCELLED: the connection is being closed) it is
 * freed. Within client_enter(). */
MUST_USE enum chubby_code async_start(struct chubby_call *call, chubby_done_callback *done,
				      void *context, struct chubby_call **ret_call,
				      struct chubby_error *ret_error);
/* The same for a call on a handle. `copy` (owned, may be NULL) is freed with the call. */
MUST_USE enum chubby_code async_start_on(struct chubby_handle *h,
					 const struct client_call *prepared, const char *verb,
					 void *copy, chubby_done_callback *done, void *context,
					 struct chubby_call **ret_call,
					 struct chubby_error *ret_error);
/* Waits until it is done. False: it cannot be finished like this, *ret_code says why, and the call
 * lives on. True: *ret_code is its result, and async_finish_end() must follow. */
MUST_USE bool async_finish_begin(struct chubby_call *call, enum message_kind kind,
				 enum chubby_code *ret_code, struct chubby_error *ret_error);
void async_finish_end(struct chubby_call *call);

/* A call that nobody waits for: CLOSE or RELEASE of a handle. */
void async_give_back(struct chubby *cell, enum message_kind kind, struct bytes token,
		     uint64_t handle_number);
/* Calls on the handle, which is poisoned or about to be freed. */
void asyncs_poison(struct chubby_handle *h);
void asyncs_detach(struct chubby_handle *h);

/* ---- what both forms of a call share: handle.c, lock.c ---- */
MUST_USE enum chubby_code open_prepare(const char *path, int flags, const void *initial,
				       size_t initial_bytes, struct client_call *ret_call,
				       struct chubby_error *ret_error);
MUST_USE enum chubby_code open_take(struct chubby *cell, const char *path,
				    const struct client_call *c, struct chubby_handle **ret_handle,
				    bool *ret_created, struct chubby_error *ret_error);
void get_take(const struct client_call *c, struct chubby_contents *ret_contents,
	      struct chubby_stat *ret_stat);
void stat_take(const struct client_call *c, struct chubby_stat *ret_stat);
MUST_USE enum chubby_code set_prepare(const struct chubby_handle *h, const void *data,
				      size_t size_bytes, uint64_t expected_generation,
				      struct client_call *ret_call, struct chubby_error *ret_error);
/* Adds a page to `dir`. True: there are more, and `c` asks for the next one. */
MUST_USE bool read_dir_take(struct client_call *c, struct chubby_dir *dir);
/* Calls that are under way forget it. */
void handle_unlink_free(struct chubby_handle *h);
MUST_USE enum chubby_code acquire_prepare(const struct chubby_acquire_options *options,
					  struct client_call *ret_call,
					  struct chubby_error *ret_error);
/* After this answer to a release the handle holds nothing. */
bool release_ends(enum chubby_code code);
/* Who thought that he held the lock is told that he lost it. */
MUST_USE enum chubby_code release_take(bool was_held, enum chubby_code code, const char *what,
				       struct chubby_error *ret_error);
MUST_USE enum chubby_code check_sequencer_prepare(const char *sequencer,
						  struct client_call *ret_call,
						  struct chubby_error *ret_error);
MUST_USE enum chubby_code check_sequencer_take(const struct chubby *cell,
					       const struct client_call *c, uint64_t *ret_token,
					       struct chubby_error *ret_error);

#endif
