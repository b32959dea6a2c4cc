/* What a replica does with its store, step by step. */
#include "disk.h"
#include "life.h"

#include "base/check.h"
#include "base/value.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAIT_S 60
#define FILES 14
#define PIECE_BYTES 8192

/* ---- waiting -------------------------------------------------------------------------------- */

static bool settled(const struct life *l, uint64_t number)
{
	return l->failed != ERROR_OK ||
	       (l->persisted >= number && (l->saving == 0 || l->state_persisted >= l->saving));
}

static const char *wait_for(struct life *l, uint64_t number)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_S;
	pthread_mutex_lock(&l->mutex);
	while (!settled(l, number) && error == 0)
		error = pthread_cond_timedwait(&l->news, &l->mutex, &until);
	for (size_t i = 0; i < l->value_count; i++)
		value_unref(l->values[i]);
	l->value_count = 0;
	pthread_mutex_unlock(&l->mutex);
	l->saving = 0;
	return error == 0 ? NULL : "a write was neither reported nor did the store fail";
}

/* ---- writes --------------------------------------------------------------------------------- */

static struct truth_row draw_row(struct life *l, uint64_t newest, uint64_t lowest, uint64_t round)
{
	uint64_t slot = newest + 1;

	if (rng_below(&l->rng, 12) == 0)
		slot += rng_below(&l->rng, 4); /* a hole */
	if (rng_below(&l->rng, 5) == 0 && newest > lowest)
		slot = lowest + 1 + rng_below(&l->rng, newest - lowest);
	return (struct truth_row){slot, round};
}

static struct truth_write draw_write(struct life *l, bool *ret_promised)
{
	struct truth_write w = {.number = l->submitted + 1, .durable = *truth_durable(&l->truth)};
	uint64_t newest = truth_newest(&l->truth);
	uint64_t lowest = w.durable.chosen.n;

	*ret_promised = rng_below(&l->rng, 4) == 0 || w.durable.promised.round == 0;
	if (*ret_promised) {
		w.durable.promised = truth_ballot(w.durable.promised.round + 1 +
						  rng_below(&l->rng, 3));
		w.durable.longest_lease_ns += (int64_t)rng_below(&l->rng, 2) * 1000000;
	}
	if (rng_below(&l->rng, 3) == 0 && newest > lowest)
		w.durable.chosen.n += rng_below(&l->rng, newest - lowest + 1);
	w.durable.seen_count = 1;
	w.durable.seen[0] = (struct paxos_seen){.replica = {1},
						.from = {w.number},
						.through = {w.number},
						.accepted = truth_ballot(1)};
	w.row_count = (uint32_t)rng_below(&l->rng, TRUTH_WRITE_ROWS_MAX);
	for (uint32_t i = 0; i < w.row_count; i++) {
		w.rows[i] = draw_row(l, newest, lowest, w.durable.promised.round);
		if (w.rows[i].slot > newest)
			newest = w.rows[i].slot;
	}
	return w;
}

static void submit(struct life *l)
{
	struct paxos_accepted accepted[TRUTH_WRITE_ROWS_MAX];
	bool promised;
	struct truth_write t = draw_write(l, &promised);
	struct paxos_write w = {
		.number = t.number,
		.promise_changed = promised,
		.durable = t.durable,
		.accepted_count = t.row_count,
		.accepted = accepted,
	};

	for (uint32_t i = 0; i < t.row_count; i++)
		accepted[i] = (struct paxos_accepted){
			{t.rows[i].slot},
			truth_ballot(t.rows[i].round),
			truth_value(t.rows[i].slot, t.rows[i].round),
		};
	/* A promise before a majority has vetted us is not paxos' way; it ends the doubt. */
	if (promised)
		l->truth.doubt = false;
	l->submitted = t.number;
	truth_wrote(&l->truth, &t);
	l->tally->writes++;
	store_write(l->store, &w);
	for (uint32_t i = 0; i < t.row_count; i++)
		value_unref(accepted[i].value);
}

/* The first write alone, the others in one batch: the log thread waits in its report. */
static const char *step_writes(struct life *l)
{
	unsigned others = (unsigned)rng_below(&l->rng, 6);
	const char *text;

	pthread_mutex_lock(&l->mutex);
	l->hold = others > 0;
	pthread_mutex_unlock(&l->mutex);
	submit(l);
	text = wait_for(l, l->submitted);
	for (unsigned i = 0; i < others && text == NULL; i++)
		submit(l);
	pthread_mutex_lock(&l->mutex);
	l->hold = false;
	pthread_cond_broadcast(&l->news);
	pthread_mutex_unlock(&l->mutex);
	return text == NULL ? wait_for(l, l->submitted) : text;
}

/* ---- state ---------------------------------------------------------------------------------- */

static struct result apply(struct life *l, struct entry *e)
{
	struct outcome outcome;

	e->wall_unix_ms = 1800000000000;
	cell_apply(l->cell, e, &outcome);
	return outcome.result;
}

static void begin_session(struct life *l)
{
	struct entry e = {.kind = ENTRY_SESSION_CREATE};

	e.session_create.principal = bytes_of_text("one");
	e.session_create.lease_ns = 12000000000;
	l->session = apply(l, &e).session;
}

static void change_file(struct life *l)
{
	uint8_t contents[4000];
	char path[32];
	struct entry e = {.kind = ENTRY_NODE_CREATE, .session = l->session};
	const struct node *node;

	snprintf(path, sizeof(path), "/file-%d", (int)rng_below(&l->rng, FILES));
	memset(contents, 'a' + (int)rng_below(&l->rng, 26), sizeof(contents));
	node = cell_node_at(l->cell, bytes_of_text(path));
	if (node == NULL) {
		e.node_create.path = bytes_of_text(path);
		e.node_create.kind = NODE_FILE;
		e.node_create.contents = (struct bytes){contents, rng_below(&l->rng, 4000)};
	} else if (rng_below(&l->rng, 4) == 0) {
		e.kind = ENTRY_NODE_DELETE;
		e.node_delete.instance = node->instance;
	} else {
		e.kind = ENTRY_NODE_WRITE;
		e.node_write.instance = node->instance;
		e.node_write.contents = (struct bytes){contents, rng_below(&l->rng, 4000)};
	}
	apply(l, &e);
}

/* What is applied was chosen: the newest slot, which a write has named. */
static const char *step_save(struct life *l)
{
	const struct truth *t = &l->truth;
	uint64_t newest;

	/* Of what is on its way; or of what is there, beside it. */
	if (rng_below(&l->rng, 2) == 0)
		submit(l);
	newest = truth_newest(&l->truth);
	if (newest <= t->saves[t->save_count - 1].slot || t->save_count == TRUTH_SAVES_MAX)
		return wait_for(l, l->submitted);
	if (l->session.n == 0)
		begin_session(l);
	for (uint64_t i = rng_below(&l->rng, 5); i > 0; i--)
		change_file(l);
	if (rng_below(&l->rng, 2) == 0)
		submit(l);
	truth_saves(&l->truth, newest, cell_digest(l->cell));
	if (store_save_state(l->store, l->cell, (struct slot){newest})) {
		l->saving = newest;
		l->tally->saves++;
	}
	return wait_for(l, l->submitted);
}

const char *life_save_at(struct life *l, uint64_t slot)
{
	struct truth_write t = {.number = ++l->submitted,
				.durable = *truth_durable(&l->truth),
				.row_count = 1};
	struct paxos_accepted accepted = {{slot}, truth_ballot(1), truth_value(slot, 1)};
	struct paxos_write w = {
		.number = t.number,
		.durable = t.durable,
		.accepted_count = 1,
		.accepted = &accepted,
	};

	t.rows[0] = (struct truth_row){slot, 1};
	truth_wrote(&l->truth, &t);
	store_write(l->store, &w);
	value_unref(accepted.value);
	return step_save(l);
}

/* ---- snapshots ------------------------------------------------------------------------------ */

/* The sender's part: an image, and a store that trims meanwhile. */
static const char *step_image(struct life *l)
{
	struct store_image *image = NULL;
	char *trouble = NULL;
	const char *text = NULL;

	if (store_image_make(l->store, &image, &trouble) == ERROR_OK) {
		text = step_writes(l);
		store_image_free(image);
		l->tally->images++;
	} else if (!disk_is_cut() && !disk_has_failed()) {
		text = "no image of the state can be made";
	}
	free(trouble);
	return text;
}

static enum error receive(struct life *l, const struct life_snapshot *snapshot, uint64_t bytes)
{
	struct bytes image = buffer_view(&snapshot->image);
	struct store_receipt *r = NULL;
	char *trouble = NULL;
	enum error e = store_receipt_begin(l->store, &snapshot->about, &r, &trouble);

	while (e == ERROR_OK && store_receipt_size(r) < bytes) {
		uint64_t at = store_receipt_size(r);
		uint64_t size = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;

		e = store_receipt_write(r, at, (struct bytes){image.data + at, size}, &trouble);
	}
	if (e == ERROR_OK && bytes == image.size)
		e = store_receipt_finish(r, &trouble);
	if (r != NULL)
		store_receipt_free(r);
	free(trouble);
	return e;
}

/* The receiver's: one that is complete is installed at the next start. *ret_over then. */
static const char *step_receipt(struct life *l, bool *ret_over)
{
	uint64_t chosen = truth_durable(&l->truth)->chosen.n;
	const struct life_snapshot *snapshot = NULL;
	uint64_t bytes;
	enum error e;

	for (int i = LIFE_SNAPSHOTS - 1; i >= 0; i--)
		if (l->snapshots[i].about.slot.n > chosen)
			snapshot = &l->snapshots[i];
	if (snapshot == NULL || l->truth.save_count == TRUTH_SAVES_MAX)
		return NULL;
	bytes = snapshot->about.total_bytes;
	if (rng_below(&l->rng, 4) == 0)
		bytes = rng_below(&l->rng, bytes); /* the sender goes away */
	truth_saves(&l->truth, snapshot->about.slot.n, snapshot->digest);
	e = receive(l, snapshot, bytes);
	if (e != ERROR_OK)
		return disk_is_cut() || disk_has_failed() ? NULL : "a snapshot was refused";
	*ret_over = bytes == snapshot->about.total_bytes;
	if (*ret_over) {
		l->truth.snapshot = snapshot->about.slot.n;
		l->tally->installs++;
	}
	return NULL;
}

const char *life_work(struct life *l, unsigned steps)
{
	const char *text = NULL;
	bool over = false;

	while (steps-- > 0 && text == NULL && !over && !disk_is_cut() && l->failed == ERROR_OK) {
		uint64_t draw = rng_below(&l->rng, 100);

		if (draw < 66)
			text = step_writes(l);
		else if (draw < 90)
			text = step_save(l);
		else if (draw < 95)
			text = step_image(l);
		else if (draw < 98)
			text = step_receipt(l, &over);
	}
	return text;
}
