/* Starts and ends. */
#include "life.h"

#include "disk.h"

#include "base/check.h"
#include "base/value.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAIT_S 60
#define CUT_SPREAD 160 /* changes within which a cut comes */

/* ---- reports of the store, on its threads --------------------------------------------------- */

static void on_persisted(void *context, uint64_t number, uint32_t count)
{
	struct life *l = context;

	pthread_mutex_lock(&l->mutex);
	l->persisted = number;
	if (l->record != NULL)
		l->record->acknowledged = number;
	pthread_cond_broadcast(&l->news);
	while (l->hold)
		pthread_cond_wait(&l->news, &l->mutex);
	pthread_mutex_unlock(&l->mutex);
	(void)count;
}

static void on_failed(void *context, enum error e, const char *trouble)
{
	struct life *l = context;

	pthread_mutex_lock(&l->mutex);
	l->failed = e;
	snprintf(l->failure, sizeof(l->failure), "%s", trouble);
	pthread_cond_broadcast(&l->news);
	pthread_mutex_unlock(&l->mutex);
}

static void on_values(void *context, struct value **values, uint32_t count)
{
	struct life *l = context;

	pthread_mutex_lock(&l->mutex);
	if (l->value_count + count > l->value_capacity) {
		l->value_capacity = 2 * (l->value_count + count);
		l->values = mem_realloc_array(l->values, l->value_capacity, sizeof(*values));
	}
	memcpy(l->values + l->value_count, values, count * sizeof(*values));
	l->value_count += count;
	pthread_mutex_unlock(&l->mutex);
	free(values);
}

static void on_state(void *context, struct slot slot)
{
	struct life *l = context;

	pthread_mutex_lock(&l->mutex);
	l->state_persisted = slot.n;
	if (l->record != NULL)
		l->record->acknowledged_state = slot.n;
	pthread_cond_broadcast(&l->news);
	pthread_mutex_unlock(&l->mutex);
}

static void on_trimmed(void *context, struct slot slot)
{
	struct life *l = context;

	pthread_mutex_lock(&l->mutex);
	l->trimmed = slot.n;
	l->tally->trims++;
	pthread_mutex_unlock(&l->mutex);
}

/* ---- life ----------------------------------------------------------------------------------- */

struct store_identity life_identity(uint32_t self)
{
	struct store_identity identity = {
		.cell_id_high = 0x1122334455667788,
		.cell_id_low = 0x99aabbccddeeff00,
		.cell_name = "local",
		.handle_key = {7, 8, 9},
		.created_unix_ms = 1700000000000,
		.self = {self},
		.incarnation = {21, self},
		.member_count = 3,
	};

	for (uint32_t i = 0; i < 3; i++) {
		struct store_member *m = &identity.members[i];

		m->replica = (struct replica_id){i + 1};
		m->incarnation = (struct incarnation){21, i + 1};
		snprintf(m->address, sizeof(m->address), "127.0.0.1:%u", 7000 + i);
		snprintf(m->peer_address, sizeof(m->peer_address), "127.0.0.1:%u", 7100 + i);
	}
	return identity;
}

void life_init(struct life *l, const char *root, uint64_t seed, struct life_snapshot *snapshots,
	       struct life_tally *tally)
{
	*l = (struct life){.snapshots = snapshots, .tally = tally};
	rng_init(&l->rng, seed);
	snprintf(l->directory, sizeof(l->directory), "%s/" LIFE_DIRECTORY, root);
	pthread_mutex_init(&l->mutex, NULL);
	pthread_cond_init(&l->news, NULL);
	disk_clear(rng_next(&l->rng));
	tally->lives++;
}

static void drop_values(struct life *l)
{
	pthread_mutex_lock(&l->mutex);
	for (size_t i = 0; i < l->value_count; i++)
		value_unref(l->values[i]);
	l->value_count = 0;
	pthread_mutex_unlock(&l->mutex);
}

void life_release(struct life *l)
{
	life_close(l);
	truth_release(&l->truth);
	free(l->values);
	pthread_mutex_destroy(&l->mutex);
	pthread_cond_destroy(&l->news);
}

/* What was acknowledged becomes part of the truth. */
void life_close(struct life *l)
{
	store_close(l->store);
	l->store = NULL;
	cell_free(l->cell);
	l->cell = NULL;
	drop_values(l);
	if (l->persisted > l->truth.acknowledged)
		l->truth.acknowledged = l->persisted;
	if (l->state_persisted > l->truth.acknowledged_state)
		l->truth.acknowledged_state = l->state_persisted;
	l->saving = 0;
}

struct digest life_genesis_digest(const struct store_identity *identity)
{
	struct cell_genesis genesis = {
		.cell_id_high = identity->cell_id_high,
		.cell_id_low = identity->cell_id_low,
		.name = bytes_of_text(identity->cell_name),
		.wall_unix_ms = identity->created_unix_ms,
	};
	struct digest digest;
	struct cell *c;

	memcpy(genesis.handle_key, identity->handle_key, sizeof(genesis.handle_key));
	c = cell_new(&genesis);
	digest = cell_digest(c);
	cell_free(c);
	return digest;
}

/* A store is either not there or whole; a genesis that reported success is there. */
const char *life_genesis(struct life *l)
{
	struct store_identity identity = life_identity(2);
	enum error e;

	truth_init(&l->truth, life_genesis_digest(&identity));
	for (;;) {
		bool cut_comes = rng_below(&l->rng, 3) == 0;
		char *trouble = NULL;
		struct store *s = NULL;

		disk_cut_at(cut_comes ? 1 + rng_below(&l->rng, 100) : 0);
		e = store_genesis(l->directory, &identity, &trouble);
		free(trouble);
		if (e != ERROR_OK && e != ERROR_EXISTS && !disk_is_cut())
			return "genesis failed by itself";
		if (!cut_comes)
			return NULL;
		l->tally->cuts++;
		l->tally->cuts_at_genesis++;
		l->truth.whole = false;
		disk_power_on();
		trouble = NULL;
		/* Only a look: the open itself is tried elsewhere. */
		if (store_open(l->directory, NULL, &s, &trouble) == ERROR_OK) {
			store_close(s);
			return NULL;
		}
		free(trouble);
		if (e == ERROR_OK)
			return "a store that genesis made is gone";
	}
}

/* A genesis that failed is repeated by whoever wanted it. */
const char *life_genesis_once(struct life *l)
{
	struct store_identity identity = life_identity(2);

	truth_init(&l->truth, life_genesis_digest(&identity));
	for (int i = 0; i < 2; i++) {
		char *trouble = NULL;
		bool failed_before = disk_has_failed();
		enum error e = store_genesis(l->directory, &identity, &trouble);

		free(trouble);
		if (e == ERROR_OK || e == ERROR_EXISTS)
			return NULL;
		if (failed_before || !disk_has_failed())
			return "genesis failed by itself";
	}
	return "genesis failed twice";
}

static struct store_callbacks callbacks_of(struct life *l)
{
	return (struct store_callbacks){l,         on_persisted, on_failed,
					on_values, on_state,     on_trimmed};
}

/* A failure that was planted excuses those starts in which it happens. */
static const char *open_failed(struct life *l, char *trouble, bool excused)
{
	static char text[512];

	snprintf(text, sizeof(text), "the store does not open: %s", trouble);
	free(trouble);
	life_close(l);
	return excused ? NULL : text;
}

static bool excused(bool failed_before)
{
	return disk_is_cut() || (!failed_before && disk_has_failed());
}

/* What cannot be read now counts as lost, but only until the next start; a failure of anything else
 * is no loss. */
static const char *look(struct life *l, bool failed_before)
{
	enum paxos_memory memory = PAXOS_MEMORY_LOST;
	const char *text = truth_check(&l->truth, l->store, &l->cell, &memory);

	if (text != NULL) {
		life_close(l);
		return excused(failed_before) &&
				       (memory != PAXOS_MEMORY_LOST || disk_failed_reading())
			       ? NULL
			       : text;
	}
	l->submitted = l->persisted = l->truth.number;
	l->session = (struct session_id){0};
	l->tally->doubtful += memory == PAXOS_MEMORY_DOUBTFUL;
	if (memory == PAXOS_MEMORY_DOUBTFUL && rng_below(&l->rng, 2) == 0) {
		l->truth.doubt = false;
		store_vetted(l->store);
	}
	return NULL;
}

const char *life_start(struct life *l)
{
	struct store_options options = {.keep_slots = 1 + rng_below(&l->rng, 60)};
	struct store_callbacks callbacks = callbacks_of(l);
	bool failed_before = disk_has_failed();
	char *trouble = NULL;
	const char *text;

	l->tally->starts++;
	l->failed = ERROR_OK;
	l->persisted = l->state_persisted = l->saving = 0;
	if (store_open(l->directory, &options, &l->store, &trouble) != ERROR_OK)
		return open_failed(l, trouble, excused(failed_before));
	text = look(l, failed_before);
	if (text != NULL || l->store == NULL)
		return text;
	if (store_start(l->store, &callbacks, &trouble) != ERROR_OK)
		return open_failed(l, trouble, excused(failed_before));
	return NULL;
}

/* ---- episodes ------------------------------------------------------------------------------- */

static uint64_t draw_cut(struct life *l)
{
	switch (rng_below(&l->rng, 4)) {
	case 0:
		return 1 + rng_below(&l->rng, 12); /* during the start, mostly */
	case 1:
		return 1 + rng_below(&l->rng, 50);
	default:
		return 1 + rng_below(&l->rng, CUT_SPREAD);
	}
}

static void count_cut(struct life *l, bool started)
{
	l->tally->cuts++;
	l->tally->cuts_at_start += !started;
	l->truth.whole = false;
	disk_power_on();
}

const char *life_episode(struct life *l)
{
	uint64_t end = rng_below(&l->rng, 40);
	const char *text;
	bool started;

	/* 0: a clean close, 1: a kill, 2: a cut when all is quiet, else a cut at some change. */
	disk_cut_at(end > 2 ? draw_cut(l) : 0);
	text = life_start(l);
	started = l->store != NULL && !disk_is_cut();
	if (text == NULL && started)
		text = life_work(l, end > 2 ? 60 : (unsigned)rng_below(&l->rng, 8));
	if (text != NULL)
		return text;
	if (end == 1 || end == 2) {
		/* A process that is gone does not close: it only cannot write any more. */
		disk_cut_at(1);
		life_close(l);
		if (end == 1) {
			disk_stay_on();
			l->tally->kills++;
			return NULL;
		}
	}
	life_close(l);
	if (end == 0) {
		l->tally->closes++;
		l->truth.whole = l->failed == ERROR_OK;
		return NULL;
	}
	count_cut(l, started);
	return NULL;
}
