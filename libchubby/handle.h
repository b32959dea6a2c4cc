/*
 * Handles inside the library. The fields below `mutex` are guarded by it.
 */
#ifndef CHUBBY_HANDLE_H
#define CHUBBY_HANDLE_H

#include "client.h"

struct chubby_handle {
	struct chubby *cell; /* borrowed */
	uint64_t number;     /* within the session */
	char *path;          /* owned */
	uint8_t token[WIRE_HANDLE_MAX_BYTES];
	size_t token_size;
	atomic_bool poisoned;
	atomic_bool held; /* it was granted and not released */
	pthread_mutex_t mutex;
	char *sequencer; /* owned; of the latest grant, NULL before the first */
	uint64_t fencing_token;
	char *guard; /* owned; the sequencer that every call brings, NULL: none */
	struct chubby_handle *previous, *next; /* guarded by the cell's users_mutex */
};

/* A call on the handle, blocking. `c` has its kind's fields filled in. The code is also in
 * ret_error; on OK the caller reads c->reply and calls client_call_release(). */
MUST_USE enum chubby_code handle_call(struct chubby_handle *h, struct client_call *c,
				      const char *verb, struct chubby_error *ret_error);

/* INVALID_ARGUMENT, with a sentence, for a handle that is NULL. */
MUST_USE enum chubby_code handle_check(const struct chubby_handle *h,
				       struct chubby_error *ret_error);

/* A copy of the sequencer that calls on the handle bring, which the caller frees; NULL: none. */
MUST_USE char *handle_guard(struct chubby_handle *h);

/* The handle holds the lock under this grant, which is copied. */
void grant_keep(struct chubby_handle *h, const struct wire_grant *g);
MUST_USE enum chubby_code acquire_options_check(const struct chubby_acquire_options *o,
						struct chubby_error *ret_error);
/* A lock of the convenience calls, which takes the handle over. */
struct chubby_lock *lock_of_handle(struct chubby_handle *h);

#endif
