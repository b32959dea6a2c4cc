/*
 * The log's disk: one sync at a time covers all writes that were queued when it began, as store/
 * does it. A crash loses what no sync had covered; the running one is a transaction, so it made it
 * whole or not at all.
 */
#include "sim.h"

#include <string.h>

void sim_disk_init(struct sim_disk *d)
{
	memset(d, 0, sizeof(*d));
}

static void accepted_release(struct paxos_accepted *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		value_unref(rows[i].value);
	free(rows);
}

static void queue_clear(struct sim_disk *d)
{
	for (uint32_t i = 0; i < d->queued; i++)
		accepted_release(d->queue[i].accepted, d->queue[i].accepted_count);
	d->queued = 0;
	d->under_way = 0;
}

void sim_state_release(struct sim_state *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		free((void *)(uintptr_t)s->rows[i].stored.data);
	free(s->rows);
	memset(s, 0, sizeof(*s));
}

void sim_disk_release(struct sim_disk *d)
{
	queue_clear(d);
	free(d->queue);
	for (uint64_t n = 0; n < d->log_capacity; n++)
		value_unref(d->log[n].value);
	free(d->log);
	for (uint32_t i = 0; i < d->undo_count; i++)
		accepted_release(d->undo[i].rows, d->undo[i].count);
	free(d->undo);
	sim_state_release(&d->state);
	sim_state_release(&d->delta);
}

static struct sim_log_row *log_row(struct sim_disk *d, struct slot slot)
{
	if (slot.n >= d->log_capacity) {
		uint64_t capacity = slot.n * 2 + 64;

		d->log = mem_realloc_array(d->log, capacity, sizeof(*d->log));
		memset(&d->log[d->log_capacity], 0, (capacity - d->log_capacity) * sizeof(*d->log));
		d->log_capacity = capacity;
	}
	return &d->log[slot.n];
}

static void sync_begin(struct host *h)
{
	struct world *w = h->world;
	struct sim_disk *d = &h->disk;
	int64_t end_ns = w->now_ns + rng_between(&w->disk_rng, 50 * NS_PER_US,
						 w->options->profile->sync_max_ns);

	if (rng_chance(&w->disk_rng, 5000))
		end_ns += rng_between(&w->disk_rng, 0, 100 * NS_PER_MS);
	if (end_ns < d->slow_until_ns)
		end_ns = d->slow_until_ns;
	d->under_way = d->queued;
	sim_push(w, &(struct sim_event){.at_ns = end_ns,
					.kind = EVENT_DISK,
					.target = h->index,
					.process = h->process,
					.number = d->queue[d->queued - 1].number});
}

void sim_disk_write(struct host *h, const struct paxos_write *write)
{
	struct sim_disk *d = &h->disk;
	struct sim_write *copy;

	CHECK(write->number == d->submitted + 1);
	d->submitted = write->number;
	if (d->queued == d->queue_capacity) {
		d->queue_capacity = d->queue_capacity * 2 + 16;
		d->queue = mem_realloc_array(d->queue, d->queue_capacity, sizeof(*d->queue));
	}
	copy = &d->queue[d->queued++];
	copy->number = write->number;
	copy->durable = write->durable;
	copy->accepted_count = write->accepted_count;
	copy->accepted = NULL;
	if (write->accepted_count > 0) {
		copy->accepted = mem_dup(write->accepted,
					 write->accepted_count * sizeof(*write->accepted));
		for (uint32_t i = 0; i < copy->accepted_count; i++)
			value_ref(copy->accepted[i].value);
	}
	if (d->under_way == 0)
		sync_begin(h);
}

/* Remembers what the write is about to replace. */
static void undo_push(struct sim_disk *d, int64_t now_ns, const struct sim_write *write)
{
	struct sim_undo *undo;

	if (d->undo_count == d->undo_capacity) {
		d->undo_capacity = d->undo_capacity * 2 + 64;
		d->undo = mem_realloc_array(d->undo, d->undo_capacity, sizeof(*d->undo));
	}
	undo = &d->undo[d->undo_count++];
	undo->at_ns = now_ns;
	undo->durable = d->durable;
	undo->newest = d->newest;
	undo->count = write->accepted_count;
	undo->rows = mem_zalloc((write->accepted_count + 1) * sizeof(*undo->rows));
	for (uint32_t i = 0; i < write->accepted_count; i++) {
		struct sim_log_row *row = log_row(d, write->accepted[i].slot);

		undo->rows[i].slot = write->accepted[i].slot;
		undo->rows[i].ballot = row->ballot;
		undo->rows[i].value = row->value == NULL ? NULL : value_ref(row->value);
	}
}

static void commit(struct host *h, struct sim_write *write)
{
	struct sim_disk *d = &h->disk;

	if (h->world->options->profile->rollback_mean_ns > 0 ||
	    h->world->options->mutant == MUTANT_ACCEPTS_LOST)
		undo_push(d, h->world->now_ns, write);
	d->durable = write->durable;
	for (uint32_t i = 0; i < write->accepted_count; i++) {
		struct paxos_accepted *a = &write->accepted[i];
		struct sim_log_row *row = log_row(d, a->slot);

		value_unref(row->value);
		row->ballot = a->ballot;
		row->value = a->value; /* the write's reference */
		if (a->slot.n > d->newest.n)
			d->newest = a->slot;
	}
	free(write->accepted);
	write->accepted = NULL;
}

static void commit_running(struct host *h)
{
	struct sim_disk *d = &h->disk;
	uint32_t done = d->under_way;

	for (uint32_t i = 0; i < done; i++)
		commit(h, &d->queue[i]);
	memmove(d->queue, d->queue + done, (d->queued - done) * sizeof(*d->queue));
	d->queued -= done;
	d->under_way = 0;
}

uint64_t sim_disk_synced(struct host *h)
{
	struct sim_disk *d = &h->disk;

	CHECK(d->under_way > 0);
	d->synced = d->queue[d->under_way - 1].number;
	commit_running(h);
	if (d->queued > 0)
		sync_begin(h);
	return d->synced;
}

/* Lost and doubtful memories together stay a minority: beyond, nobody could ever vouch. */
static bool lies_enough(const struct world *w)
{
	uint32_t lost = 0;

	for (uint32_t i = 0; i < w->options->replicas; i++)
		lost += w->hosts[i].rolled_back || w->hosts[i].disk.doubtful;
	return w->options->profile->rollback_mean_ns > 0 && lost >= (w->options->replicas - 1) / 2;
}

void sim_disk_crash(struct host *h)
{
	struct sim_disk *d = &h->disk;
	struct rng *rng = &h->world->disk_rng;
	bool covered = d->saving && d->synced >= d->save_after;

	d->doubtful = false;
	if (d->under_way > 0) {
		if (rng_chance(rng, 500000))
			commit_running(h);
		else
			d->doubtful = !lies_enough(h->world) && rng_chance(rng, 500000);
	}
	queue_clear(d);
	d->submitted = 0;
	d->synced = 0;
	d->reported = 0;
	if (covered && rng_chance(rng, 500000))
		sim_disk_save_end(d);
	sim_state_release(&d->delta);
	d->saving = false;
}

bool sim_disk_rollback(struct sim_disk *d, int64_t since_ns)
{
	bool any = false;

	while (d->undo_count > 0 && d->undo[d->undo_count - 1].at_ns > since_ns) {
		struct sim_undo *undo = &d->undo[--d->undo_count];

		for (uint32_t i = undo->count; i-- > 0;) {
			struct sim_log_row *row = log_row(d, undo->rows[i].slot);

			any = true;
			value_unref(row->value);
			row->ballot = undo->rows[i].ballot;
			row->value = undo->rows[i].value;
		}
		free(undo->rows);
		any = any || ballot_less(undo->durable.promised, d->durable.promised);
		d->durable = undo->durable;
		d->newest = undo->newest;
	}
	return any;
}

void sim_disk_trim(struct sim_disk *d, struct slot through)
{
	CHECK(through.n <= d->newest.n && d->state.slot.n >= through.n);
	for (uint64_t n = d->trimmed.n + 1; n <= through.n; n++) {
		value_unref(d->log[n].value);
		d->log[n].value = NULL;
	}
	if (through.n > d->trimmed.n)
		d->trimmed = through;
}

/* ---- the state's rows ----------------------------------------------------------------------- */

static int row_compare(const struct sim_row *a, enum row_kind kind, uint64_t key)
{
	if (a->kind != kind)
		return a->kind < kind ? -1 : 1;
	if (a->key != key)
		return a->key < key ? -1 : 1;
	return 0;
}

/* Where the row stands or belongs. */
static uint32_t state_find(const struct sim_state *s, enum row_kind kind, uint64_t key)
{
	uint32_t low = 0, high = s->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (row_compare(&s->rows[middle], kind, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Inserts or replaces; takes the bytes. */
static void state_put(struct sim_state *s, const struct sim_row *row)
{
	uint32_t at = state_find(s, row->kind, row->key);

	if (at < s->count && row_compare(&s->rows[at], row->kind, row->key) == 0) {
		free((void *)(uintptr_t)s->rows[at].stored.data);
		s->rows[at] = *row;
		return;
	}
	if (s->count == s->capacity) {
		s->capacity = s->capacity * 2 + 16;
		s->rows = mem_realloc_array(s->rows, s->capacity, sizeof(*s->rows));
	}
	memmove(&s->rows[at + 1], &s->rows[at], (s->count - at) * sizeof(*s->rows));
	s->rows[at] = *row;
	s->count++;
}

static void state_remove(struct sim_state *s, enum row_kind kind, uint64_t key)
{
	uint32_t at = state_find(s, kind, key);

	if (at == s->count || row_compare(&s->rows[at], kind, key) != 0)
		return;
	free((void *)(uintptr_t)s->rows[at].stored.data);
	s->count--;
	memmove(&s->rows[at], &s->rows[at + 1], (s->count - at) * sizeof(*s->rows));
}

static void delta_add(struct sim_disk *d, const struct row *row)
{
	struct sim_row stored = {.kind = row->kind, .key = row->key, .deleted = row->deleted};
	struct buffer bytes;

	if (!row->deleted) {
		buffer_init(&bytes, CODEC_FRAME_MAX_BYTES);
		CHECK(codec_encode_row(row, &bytes) == ERROR_OK);
		stored.stored = (struct bytes){mem_dup(bytes.data, bytes.size), bytes.size};
		buffer_release(&bytes);
	}
	state_put(&d->delta, &stored);
}

void sim_disk_save_begin(struct sim_disk *d, struct cell *c, struct slot slot)
{
	struct row row;

	CHECK(!d->saving && d->delta.count == 0);
	while (cell_dirty_next(c, &row))
		delta_add(d, &row);
	d->delta.slot = slot;
	d->saving = true;
	/* A slot may be applied before this replica's own acceptance is durable: the log must be
	 * synced as far as it was written, or it could hold less than the state. */
	d->save_after = d->submitted;
}

void sim_disk_save_end(struct sim_disk *d)
{
	CHECK(d->saving && d->delta.slot.n >= d->state.slot.n);
	for (uint32_t i = 0; i < d->delta.count; i++) {
		struct sim_row *row = &d->delta.rows[i];

		if (row->deleted)
			state_remove(&d->state, row->kind, row->key);
		else
			state_put(&d->state, row);
		row->stored = BYTES_NONE;
	}
	d->state.slot = d->delta.slot;
	sim_state_release(&d->delta);
	d->saving = false;
}

void sim_state_copy(struct sim_state *to, const struct sim_state *from)
{
	*to = *from;
	to->capacity = from->count;
	to->rows = mem_dup(from->rows, from->count * sizeof(*from->rows));
	for (uint32_t i = 0; i < from->count; i++)
		to->rows[i].stored.data = mem_dup(from->rows[i].stored.data,
						  from->rows[i].stored.size);
}

void sim_disk_install(struct sim_disk *d, const struct sim_state *state)
{
	CHECK(!d->saving && d->queued == 0);
	sim_state_release(&d->state);
	sim_state_copy(&d->state, state);
	for (uint64_t n = d->trimmed.n + 1; n <= state->slot.n && n < d->log_capacity; n++) {
		value_unref(d->log[n].value);
		d->log[n].value = NULL;
	}
	d->trimmed = d->durable.chosen = state->slot;
	if (d->newest.n < state->slot.n) {
		d->newest = state->slot;
		(void)log_row(d, state->slot); /* there is room as far as the newest */
	}
}

void sim_disk_state_clear(struct sim_disk *d)
{
	sim_state_release(&d->state);
	sim_state_release(&d->delta);
	d->saving = false;
}

struct cell *sim_disk_load(struct world *w, const struct sim_disk *d)
{
	struct cell *c = cell_load_begin();
	char *trouble = NULL;

	for (uint32_t i = 0; i < d->state.count; i++) {
		const struct sim_row *stored = &d->state.rows[i];
		struct arena arena;
		struct row row;

		arena_init(&arena, CODEC_FRAME_MAX_BYTES * 4);
		if (codec_decode_row(stored->kind, stored->key, stored->stored, &arena, &row) !=
			    ERROR_OK ||
		    cell_load_row(c, &row) != ERROR_OK)
			sim_fail(w, "a saved row cannot be loaded: kind %d key %llu", stored->kind,
				 (unsigned long long)stored->key);
		arena_release(&arena);
	}
	if (cell_load_end(c, &trouble) != ERROR_OK)
		sim_fail(w, "the saved state does not fit together: %s",
			 trouble == NULL ? "" : trouble);
	free(trouble);
	return c;
}
