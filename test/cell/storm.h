/*
 * storm: one of many client processes that use every feature of locks while masters are killed.
 *
 * Each lock X of the storm is the node /ls/local/lock-X. It guards a counter in /ls/local/count-X,
 * "<n> <fencing token of the last writer> <client>", which holders of the exclusive lock raise, and
 * holders of the shared lock look at. A client has at most one claim on a lock at a time, so that
 * its session and the lock name a place in the queue.
 *
 * Events (history.h): ask, got, not, free, freed (a claim on a lock, from begin to end), counted (a
 * write was acknowledged), saw (a read under a shared lock), checked, session, news, error, end.
 */
#ifndef CHUBBY_TEST_STORM_H
#define CHUBBY_TEST_STORM_H

#include "base/rng.h"
#include "history.h"

#define STORM_LOCKS_MAX 3
#define STORM_PATH_BYTES 64
#define STORM_SEQUENCER_BYTES 1280

struct storm_lock {
	char name[8];
	char path[STORM_PATH_BYTES];
	struct chubby_handle *lock;        /* of `path` */
	struct chubby_handle *count;       /* of the counter */
	char stale[STORM_SEQUENCER_BYTES]; /* of a hold that is over; empty: none yet */
};

struct storm {
	struct chubby *cell;
	struct history history;
	struct rng rng;
	int client;
	int lock_count;
	struct storm_lock locks[STORM_LOCKS_MAX];
	struct chubby_handle *own; /* a counter that nobody else writes */
	uint64_t own_count, own_generation;
	struct chubby_handle *ephemeral; /* NULL: not there now */
	uint64_t ephemeral_instance;
	uint64_t started;          /* calls without waiting */
	atomic_uint_fast64_t told; /* callbacks that came */
};

/* What the lock is held by, as the library tells it for a handle or a chubby_lock. */
struct storm_hold {
	struct storm_lock *lock;
	enum chubby_mode mode;
	uint64_t token;
	const char *sequencer; /* borrowed from the handle */
};

/* Each returns false when something was wrong, and has said so. */

struct storm_lock *storm_pick(struct storm *s);
enum chubby_mode storm_mode(struct storm *s);
struct chubby_acquire_options storm_options(struct storm *s, enum chubby_mode mode);
void storm_ask(struct storm *s, const struct storm_lock *l, enum chubby_mode mode, const char *how);
/* The claim ended without a hold: `code` is what was expected, or it is an error. */
bool storm_not(struct storm *s, const struct storm_lock *l, enum chubby_code code,
	       enum chubby_code expected, const struct chubby_error *e);
/* The hold began: what the mode allows is done under it. */
bool storm_under(struct storm *s, struct storm_hold *hold);
/* Just before it is given up, and after. */
void storm_free(struct storm *s, struct storm_hold *hold, const char *how);
void storm_freed(struct storm *s, const struct storm_lock *l);
struct storm_hold storm_hold_of(struct storm_lock *l, enum chubby_mode mode,
				const struct chubby_handle *h);
bool storm_raise(struct storm *s, struct storm_lock *l, uint64_t token);
/* The counter as it stands; `ret_generation` may be NULL. */
bool storm_read(struct storm *s, struct storm_lock *l, uint64_t *ret_count, uint64_t *ret_token,
		uint64_t *ret_generation);

/* What a client does, in storm_calls.c. */
bool storm_wait(struct storm *s);
bool storm_try(struct storm *s);
bool storm_deadline(struct storm *s);
bool storm_poison(struct storm *s);
bool storm_close(struct storm *s);
bool storm_convenient(struct storm *s);
bool storm_stale(struct storm *s);
bool storm_misuse(struct storm *s);
bool storm_own(struct storm *s);
bool storm_ephemeral(struct storm *s);

/* The same, in storm_several.c. */
bool storm_multi(struct storm *s);
bool storm_take(struct storm *s);
bool storm_all(struct storm *s);
bool storm_bound(struct storm *s);
/* In storm_async.c. */
bool storm_async(struct storm *s);

#endif
