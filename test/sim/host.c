/*
 * A replica's process: what daemon/replica.c does around paxos and cell, with simulated time,
 * disk and network.
 */
#include "full.h"

#include <string.h>

#define SERVE_MAX 64 /* slots in an answer to LEARN */
#define DRAIN_MAX 64 /* rounds after one event: more is an endless loop */

int64_t sim_host_now(const struct host *h)
{
	return sim_clock_local(&h->clock, h->world->now_ns);
}

bool sim_host_leased(const struct host *h)
{
	return h->state != HOST_DOWN && paxos_role(h->paxos) == PAXOS_MASTER &&
	       sim_host_now(h) < paxos_lease_until(h->paxos);
}

bool sim_host_serves(const struct host *h)
{
	enum sim_mutant mutant = h->world->options->mutant;

	if (h->state != HOST_UP || paxos_role(h->paxos) != PAXOS_MASTER || h->resigned)
		return false;
	if (h->epoch.n == 0 && mutant != MUTANT_EPOCH_IGNORED)
		return false;
	return sim_host_leased(h) || mutant == MUTANT_READ_WITHOUT_LEASE;
}

/* ---- applying ------------------------------------------------------------------------------- */

static void failover_note(struct world *w)
{
	if (w->headless_since_ns != 0 && w->failover_count < SIM_FAILOVERS_MAX)
		w->failover_ns[w->failover_count++] = w->now_ns - w->headless_since_ns;
	w->headless_since_ns = 0;
}

/* Whether the newest epoch of the state is this process's mastership. */
static void epoch_recognise(struct host *h)
{
	const struct cell_meta *meta = cell_meta(h->cell);

	if (h->paxos != NULL && paxos_role(h->paxos) == PAXOS_MASTER &&
	    replica_equal(meta->master, h->id) &&
	    ballot_equal(meta->master_ballot, paxos_ballot(h->paxos))) {
		h->epoch = meta->epoch;
		failover_note(h->world);
		if (h->front != NULL && !h->resigned)
			sim_front_begin(h);
	}
}

static void apply_command(struct host *h, struct bytes command)
{
	struct world *w = h->world;
	struct outcome outcome;
	struct arena arena;
	struct entry entry;

	arena_init(&arena, VALUE_MAX_BYTES * 4);
	memset(&entry, 0, sizeof(entry));
	if (codec_decode_entry(command, &arena, &entry) != ERROR_OK) {
		sim_fail(w, "r%u: a command in the log cannot be decoded", h->id.n);
	} else {
		cell_apply(h->cell, &entry, &outcome);
		sim_check_applied(h, &entry, &outcome);
		if (entry.kind == ENTRY_EPOCH)
			epoch_recognise(h);
		if (h->front != NULL)
			sim_front_applied(h, &entry, &outcome);
		else
			sim_serve_applied(h, &entry, &outcome);
	}
	arena_release(&arena);
}

void sim_host_apply(struct host *h, struct slot slot, const struct value *value)
{
	struct bytes command;
	size_t cursor = 0;

	if (slot.n != h->applied.n + 1) {
		sim_fail(h->world, "r%u applies slot %llu after %llu", h->id.n,
			 (unsigned long long)slot.n, (unsigned long long)h->applied.n);
		return;
	}
	sim_hash(h->world, h->index, slot.n, value_checksum(value));
	sim_trace(h->world, "r%u applies slot %llu (%u commands)", h->id.n,
		  (unsigned long long)slot.n, value_command_count(value));
	sim_check_chosen(h, slot, value);
	h->applied = slot;
	while (value_next(value, &cursor, &command))
		apply_command(h, command);
}

/* ---- what paxos asks for -------------------------------------------------------------------- */

enum error sim_host_propose(struct host *h, const struct entry *e)
{
	struct buffer bytes;
	enum error error;

	buffer_init(&bytes, VALUE_MAX_BYTES);
	error = codec_encode_entry(e, &bytes);
	CHECK(error == ERROR_OK);
	error = paxos_propose(h->paxos, sim_host_now(h), buffer_view(&bytes));
	buffer_release(&bytes);
	return error;
}

static void propose_epoch(struct host *h)
{
	struct entry e;

	memset(&e, 0, sizeof(e));
	e.kind = ENTRY_EPOCH;
	e.wall_unix_ms = h->wall_offset_ms + sim_host_now(h) / NS_PER_MS;
	e.epoch.master = h->id;
	e.epoch.ballot = paxos_ballot(h->paxos);
	if (sim_host_propose(h, &e) != ERROR_OK)
		sim_fail(h->world, "r%u cannot propose its epoch entry", h->id.n);
}

static void send_messages(struct host *h, const struct paxos_output *out)
{
	for (uint32_t i = 0; i < out->message_count; i++) {
		struct paxos_message m = out->messages[i].message;

		sim_mutate_sent(h, &m);
		sim_net_send(h, out->messages[i].to, &m);
	}
}

static void serve_log(struct host *h, const struct paxos_serve *serve)
{
	struct world *w = h->world;

	sim_push(w, &(struct sim_event){.at_ns = w->now_ns +
						 rng_between(&w->disk_rng, 0, 5 * NS_PER_MS),
					.kind = EVENT_READ_LOG,
					.target = h->index,
					.process = h->process,
					.payload = mem_dup(serve, sizeof(*serve))});
}

/* Applying may propose, which may move what the output points to. */
static void apply_chosen(struct host *h, const struct paxos_accepted *borrowed, uint32_t count)
{
	struct paxos_accepted *chosen;

	if (count == 0)
		return;
	chosen = mem_dup(borrowed, count * sizeof(*chosen));
	for (uint32_t i = 0; i < count; i++)
		value_ref(chosen[i].value);
	for (uint32_t i = 0; i < count; i++) {
		if (!h->world->failed)
			sim_host_apply(h, chosen[i].slot, chosen[i].value);
		value_unref(chosen[i].value);
	}
	free(chosen);
}

static void deposed_tell(struct host *h)
{
	sim_serve_deposed(h);
	if (h->front != NULL)
		sim_front_end(h);
}

static bool output_empty(const struct paxos_output *out)
{
	return out->write_count == 0 && out->message_count == 0 && out->chosen_count == 0 &&
	       out->serve_count == 0 && out->snapshot_from.n == 0 && !out->elected &&
	       !out->deposed && out->note == NULL;
}

/* Does one output; false if there was none. */
static bool drain_once(struct host *h)
{
	const struct paxos_output *out = paxos_output(h->paxos);
	bool elected = out->elected, deposed = out->deposed;

	if (output_empty(out))
		return false;

	if (out->note != NULL)
		sim_trace(h->world, "r%u: %s", h->id.n, out->note);
	for (uint32_t i = 0; i < out->write_count; i++)
		sim_disk_write(h, &out->writes[i]);
	send_messages(h, out);
	for (uint32_t i = 0; i < out->serve_count; i++)
		serve_log(h, &out->serve_log[i]);
	if (out->snapshot_from.n != 0)
		sim_snapshot_wanted(h, out->snapshot_from);
	if (deposed)
		deposed_tell(h);
	apply_chosen(h, out->chosen, out->chosen_count);
	if (h->world->options->mutant == MUTANT_PERSISTED_EARLY &&
	    h->disk.submitted > h->disk.reported) {
		h->disk.reported = h->disk.submitted;
		paxos_persisted(h->paxos, sim_host_now(h), h->disk.submitted);
	}
	if (!elected || paxos_role(h->paxos) != PAXOS_MASTER)
		return true;
	sim_hash(h->world, h->index, paxos_ballot(h->paxos).round, 0);
	sim_trace(h->world, "r%u is elected", h->id.n);
	h->world->elections++;
	propose_epoch(h);
	return true;
}

static void tick_schedule(struct host *h)
{
	struct world *w = h->world;
	int64_t next_ns = paxos_next_tick(h->paxos), at_ns;

	if (h->front != NULL)
		next_ns = time_earlier(next_ns, sim_front_next_tick(h));
	at_ns = sim_clock_true(&h->clock, next_ns);
	if (at_ns < w->now_ns)
		at_ns = w->now_ns;
	if (at_ns >= h->tick_at_ns)
		return;
	h->tick_at_ns = at_ns;
	sim_push(w, &(struct sim_event){.at_ns = at_ns,
					.kind = EVENT_TICK,
					.target = h->index,
					.process = h->process});
}

/* Who leads may have changed; what the master says to that may propose. */
static void front_drain(struct host *h)
{
	uint32_t rounds = 0;

	sim_front_step(h);
	while (drain_once(h) && !h->world->failed) {
		sim_front_step(h);
		if (++rounds > DRAIN_MAX)
			sim_fail(h->world, "r%u: paxos never comes to rest", h->id.n);
	}
}

void sim_host_drain(struct host *h)
{
	uint32_t rounds = 0;

	while (drain_once(h) && !h->world->failed)
		if (++rounds > DRAIN_MAX)
			sim_fail(h->world, "r%u: paxos never comes to rest", h->id.n);
	if (h->front != NULL && h->state == HOST_UP)
		front_drain(h);
	sim_check_step(h);
	tick_schedule(h);
}

/* ---- events --------------------------------------------------------------------------------- */

static void on_message(struct host *h, struct sim_event *e)
{
	struct paxos_message *m = e->payload;

	sim_mutate_received(h, e->source, m);
	paxos_step(h->paxos, sim_host_now(h), h->world->hosts[e->source].id, m);
	sim_host_drain(h);
}

static void on_learn(struct host *h, struct sim_event *e)
{
	struct codec_learn *l = e->payload;

	paxos_learned(h->paxos, sim_host_now(h), h->world->hosts[e->source].id, l->entries,
		      l->entry_count, l->chosen, l->trimmed);
	sim_host_drain(h);
}

/* The store's part in catch-up: what is durable, read apart from the loop. */
static void on_read_log(struct host *h, struct sim_event *e)
{
	const struct paxos_serve *serve = e->payload;
	struct sim_disk *d = &h->disk;
	struct codec_learn *l = mem_zalloc(sizeof(*l));

	l->entries = mem_zalloc(SERVE_MAX * sizeof(*l->entries));
	l->chosen = paxos_chosen(h->paxos);
	l->trimmed = d->trimmed;
	for (uint64_t n = serve->from.n; n <= serve->through.n && n <= d->newest.n; n++) {
		if (d->log[n].value == NULL || l->entry_count == SERVE_MAX)
			break;
		l->entries[l->entry_count++] = (struct paxos_accepted){
			.slot = {n},
			.ballot = d->log[n].ballot,
			.value = value_ref(d->log[n].value),
		};
	}
	sim_net_send_learn(h, serve->to, l);
}

/* Trims what the state covers: now and then so much that others need a snapshot. */
static void trim(struct host *h)
{
	struct world *w = h->world;
	uint64_t through = h->disk.state.slot.n;
	bool harsh = rng_chance(&w->disk_rng, 500000);
	uint64_t keep = (uint64_t)rng_between(&w->disk_rng, 0, harsh ? 5 : 100);

	for (uint32_t i = 0; i < w->options->replicas && !harsh; i++)
		if (w->hosts[i].disk.durable.chosen.n < through)
			through = w->hosts[i].disk.durable.chosen.n;
	if (through <= keep || through - keep <= h->disk.trimmed.n)
		return;
	sim_disk_trim(&h->disk, (struct slot){through - keep});
	paxos_trimmed(h->paxos, h->disk.trimmed);
	sim_host_drain(h);
}

static void on_save(struct host *h, struct sim_event *e)
{
	struct world *w = h->world;
	struct sim_event next = *e;

	if (e->kind == EVENT_SAVED && h->disk.synced < h->disk.save_after) {
		next.at_ns = w->now_ns + 5 * NS_PER_MS;
	} else if (e->kind == EVENT_SAVED) {
		sim_disk_save_end(&h->disk);
		if (w->options->profile->trims && rng_chance(&w->disk_rng, 300000))
			trim(h);
		next.kind = EVENT_SAVE;
		next.at_ns = w->now_ns + rng_between(&w->disk_rng, 0, 3 * NS_PER_S);
	} else {
		sim_disk_save_begin(&h->disk, h->cell, h->applied);
		next.kind = EVENT_SAVED;
		next.at_ns = w->now_ns + rng_between(&w->disk_rng, NS_PER_MS, 50 * NS_PER_MS);
	}
	sim_push(w, &next);
}

static void on_disk(struct host *h)
{
	uint64_t number;

	/* A sync that failed covered nothing, for all that anybody knows. */
	if (h->storage_failed)
		return;
	number = sim_disk_synced(h);
	sim_hash(h->world, h->index, number, h->disk.newest.n);
	if (h->state == HOST_PAUSED || number <= h->disk.reported)
		return;
	h->disk.reported = number;
	paxos_persisted(h->paxos, sim_host_now(h), number);
	sim_host_drain(h);
}

static void on_tick(struct host *h, const struct sim_event *e)
{
	/* An earlier one was wanted since. */
	if (e->at_ns != h->tick_at_ns)
		return;
	h->tick_at_ns = TIME_NEVER;
	if (sim_host_now(h) >= paxos_next_tick(h->paxos))
		paxos_tick(h->paxos, sim_host_now(h));
	sim_host_drain(h);
}

static void backlog_push(struct host *h, struct sim_event *e)
{
	if (h->backlog_count == h->backlog_capacity) {
		h->backlog_capacity = h->backlog_capacity * 2 + 64;
		h->backlog = mem_realloc_array(h->backlog, h->backlog_capacity,
					       sizeof(*h->backlog));
	}
	h->backlog[h->backlog_count++] = *e;
	e->payload = NULL;
}

void sim_host_event(struct host *h, struct sim_event *e)
{
	if (h->state == HOST_DOWN || (e->process != 0 && e->process != h->process))
		return;
	/* A stopped process's disk goes on; it hears of it later. */
	if (h->state == HOST_PAUSED && e->kind != EVENT_DISK) {
		backlog_push(h, e);
		return;
	}
	switch (e->kind) {
	case EVENT_MESSAGE:
		on_message(h, e);
		break;
	case EVENT_LEARN:
		on_learn(h, e);
		break;
	case EVENT_READ_LOG:
		on_read_log(h, e);
		break;
	case EVENT_DISK:
		on_disk(h);
		break;
	case EVENT_TICK:
		on_tick(h, e);
		break;
	case EVENT_REQUEST:
		sim_serve_request(h, e->payload);
		break;
	case EVENT_SAVE:
	case EVENT_SAVED:
		on_save(h, e);
		break;
	case EVENT_SNAPSHOT_ASKED:
		sim_snapshot_asked(h, e->source);
		break;
	case EVENT_SNAPSHOT:
		sim_snapshot_taken(h, e->payload);
		break;
	case EVENT_CHORES:
		sim_serve_chores(h);
		break;
	case EVENT_PACKET_TO_HOST:
		sim_front_packet(h, e->payload);
		break;
	case EVENT_PIPE_CLOSED:
		sim_front_pipe_closed(h, e->number);
		break;
	case EVENT_STOP:
		sim_fault_stopped(h->world, h);
		break;
	case EVENT_CONNECTED:
		paxos_peer_connected(h->paxos, sim_host_now(h), h->world->hosts[e->source].id);
		sim_host_drain(h);
		break;
	default:
		CHECK_UNREACHABLE("an event that is not a host's");
	}
}

/* A loop that was late reads what its peers sent before it looks at its timers. */
static void backlog_handle(struct host *h, struct sim_event *events, uint32_t count, bool ticks)
{
	for (uint32_t i = 0; i < count; i++) {
		if ((events[i].kind == EVENT_TICK) != ticks)
			continue;
		if (!h->world->failed)
			sim_host_event(h, &events[i]);
		sim_event_release(&events[i]);
	}
}

void sim_host_resume(struct host *h)
{
	struct sim_event *events = h->backlog;
	uint32_t count = h->backlog_count;

	CHECK(h->state == HOST_PAUSED);
	sim_trace(h->world, "r%u goes on, %u events late", h->id.n, count);
	h->state = HOST_UP;
	h->backlog = NULL;
	h->backlog_count = 0;
	h->backlog_capacity = 0;
	backlog_handle(h, events, count, false);
	if (h->state == HOST_UP && h->disk.synced > h->disk.reported) {
		h->disk.reported = h->disk.synced;
		paxos_persisted(h->paxos, sim_host_now(h), h->disk.synced);
		sim_host_drain(h);
	}
	backlog_handle(h, events, count, true);
	free(events);
}
