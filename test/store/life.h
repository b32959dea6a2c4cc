/*
 * One life of a store: genesis, and then again and again a start, some work, and an end: a power
 * cut at any change, a kill, or a clean close. All from one seed, but for what the store's own two
 * threads make of the same moment.
 */
#ifndef CHUBBY_TEST_STORE_LIFE_H
#define CHUBBY_TEST_STORE_LIFE_H

#include "truth.h"

#include "base/rng.h"

#include <pthread.h>

#define LIFE_DIRECTORY "replica"
#define LIFE_SNAPSHOTS 3

/* A state from far ahead, to be installed. */
struct life_snapshot {
	struct store_snapshot about;
	struct digest digest;
	struct buffer image;
};

struct life_tally {
	uint64_t lives, starts, cuts, cuts_at_start, cuts_at_genesis, kills, closes;
	uint64_t writes, acknowledged, saves, trims, installs, images, doubtful, failed, unsettled;
};

struct life {
	struct rng rng;
	struct truth_record *record; /* borrowed; NULL: nobody */
	char directory[512];
	struct truth truth;
	struct store *store;
	struct cell *cell;
	struct session_id session;
	struct life_snapshot *snapshots; /* borrowed */
	struct life_tally *tally;        /* borrowed */
	uint64_t submitted;              /* number of a write */
	uint64_t saving;                 /* slot; 0: none under way */

	pthread_mutex_t mutex; /* over what follows */
	pthread_cond_t news;
	bool hold; /* the log thread waits in its report */
	uint64_t persisted, state_persisted;
	uint64_t trimmed;
	enum error failed;
	char failure[256];
	struct value **values; /* given back, for the main thread */
	size_t value_count, value_capacity;
};

void life_init(struct life *l, const char *root, uint64_t seed, struct life_snapshot *snapshots,
	       struct life_tally *tally);
void life_release(struct life *l);

/* Each of these: NULL, or what is wrong. */
/* Until there is one, cut by cut. */
const char *life_genesis(struct life *l);
/* Without cuts. */
const char *life_genesis_once(struct life *l);
/* A start, and work of at most `steps` steps. Where a cut or failure came during the start, the
 * store may be closed after it. */
const char *life_start(struct life *l);
const char *life_work(struct life *l, unsigned steps);
/* Closes; NULL is fine. */
void life_close(struct life *l);
/* A start, work, and an end with a power cut or without one. */
const char *life_episode(struct life *l);

/* Makes what life_snapshot says in a directory of its own. */
void life_make_snapshots(const char *directory, struct life_snapshot *ret_snapshots);
struct store_identity life_identity(uint32_t self);
struct digest life_genesis_digest(const struct store_identity *identity);
/* A write and a state at this slot. */
const char *life_save_at(struct life *l, uint64_t slot);

#endif
