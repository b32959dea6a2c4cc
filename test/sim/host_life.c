/* A process's birth from what its disk holds, and its ends. */
#include "full.h"

#include <string.h>

#define LEASE_NS (400 * NS_PER_MS)
#define HEARTBEAT_NS (100 * NS_PER_MS)
#define STALL_NS NS_PER_S

/* The cell as the disk has it: saved rows, then the log from there. */
static void state_recover(struct host *h, struct slot chosen)
{
	struct sim_disk *d = &h->disk;

	h->cell = sim_disk_load(h->world, d);
	h->applied = d->state.slot;
	if (h->world->failed)
		return;
	sim_check_loaded(h);
	if (h->world->options->mutant == MUTANT_STATE_AHEAD && h->applied.n > d->trimmed.n)
		h->applied.n--;
	while (h->applied.n < chosen.n && !h->world->failed) {
		struct slot next = slot_next(h->applied);

		if (next.n > d->newest.n || d->log[next.n].value == NULL)
			sim_fail(h->world, "r%u: slot %llu is chosen and not in its log", h->id.n,
				 (unsigned long long)next.n);
		else
			sim_host_apply(h, next, d->log[next.n].value);
	}
}

static void memory_recover(struct host *h, struct paxos_recovered *ret_recovered)
{
	struct sim_disk *d = &h->disk;
	enum sim_mutant mutant = h->world->options->mutant;

	memset(ret_recovered, 0, sizeof(*ret_recovered));
	ret_recovered->durable = d->durable;
	ret_recovered->durable.trimmed = d->trimmed;
	/* State above the log's newest slot proves that the log went back. */
	ret_recovered->memory = d->blank || d->state.slot.n > d->newest.n ? PAXOS_MEMORY_LOST
				: d->doubtful                             ? PAXOS_MEMORY_DOUBTFUL
									  : PAXOS_MEMORY_WHOLE;
	ret_recovered->newest = d->newest;
	ret_recovered->tail = mem_zalloc((d->newest.n + 1) * sizeof(*ret_recovered->tail));
	for (uint64_t n = d->durable.chosen.n + 1; n <= d->newest.n; n++) {
		if (d->log[n].value == NULL)
			continue;
		ret_recovered->tail[ret_recovered->tail_count++] = (struct paxos_accepted){
			.slot = {n},
			.ballot = d->log[n].ballot,
			.value = value_ref(d->log[n].value),
		};
	}
	if (mutant == MUTANT_PROMISE_FORGOTTEN)
		ret_recovered->durable.promised = BALLOT_NONE;
	if (mutant == MUTANT_PROMISE_FORGOTTEN || mutant == MUTANT_NO_RESTART_WAIT)
		ret_recovered->durable.longest_lease_ns = 0;
}

static void config_fill(struct host *h, struct paxos_config *ret_config)
{
	struct world *w = h->world;

	memset(ret_config, 0, sizeof(*ret_config));
	ret_config->self = h->id;
	ret_config->incarnation = h->incarnation;
	ret_config->lease_ns = LEASE_NS;
	ret_config->heartbeat_ns = HEARTBEAT_NS;
	ret_config->drift_ppm = DRIFT_PPM_DEFAULT;
	ret_config->stall_ns = STALL_NS;
	ret_config->membership.count = w->options->replicas;
	for (uint32_t i = 0; i < w->options->replicas; i++)
		ret_config->membership.members[i] = (struct paxos_member){
			.replica = w->hosts[i].id,
			.incarnation = w->hosts[i].incarnation,
			.voting = true,
		};
}

static void timers_start(struct host *h)
{
	struct world *w = h->world;
	struct sim_event e = {.target = h->index, .process = h->process};

	e.kind = EVENT_SAVE;
	e.at_ns = w->now_ns + rng_between(&w->disk_rng, 0, 2 * NS_PER_S);
	sim_push(w, &e);
	if (h->front != NULL)
		return;
	e.kind = EVENT_CHORES;
	e.at_ns = w->now_ns + rng_between(&w->host_rng, 0, 500 * NS_PER_MS);
	sim_push(w, &e);
}

void sim_host_start(struct host *h)
{
	struct world *w = h->world;
	struct paxos_recovered recovered;
	struct paxos_config config;

	CHECK(h->state == HOST_DOWN && h->paxos == NULL && h->cell == NULL);
	h->process++;
	h->state = HOST_UP;
	h->tick_at_ns = TIME_NEVER;
	h->resigned = false;
	h->storage_failed = false;
	h->epoch.n = 0;
	h->wall_offset_ms = INT64_C(1700000000000) + rng_between(&w->host_rng, -3600000, 3600000);
	sim_hash(w, h->index, h->process, h->disk.newest.n);
	sim_trace(w,
		  "r%u starts, life %u: promised %llu.%u, state %llu, chosen %llu, newest %llu%s",
		  h->id.n, h->process, (unsigned long long)h->disk.durable.promised.round,
		  h->disk.durable.promised.replica.n, (unsigned long long)h->disk.state.slot.n,
		  (unsigned long long)h->disk.durable.chosen.n,
		  (unsigned long long)h->disk.newest.n, h->disk.doubtful ? ", doubtful" : "");
	config_fill(h, &config);
	memory_recover(h, &recovered);
	state_recover(h, recovered.durable.chosen);
	recovered.applied = h->applied;
	h->paxos = paxos_new(&config, &recovered, rng_next(&w->host_rng), sim_host_now(h));
	free(recovered.tail);
	if (w->options->profile->full)
		sim_front_start(h);
	timers_start(h);
	sim_net_started(h);
	sim_host_drain(h);
}

static void process_release(struct host *h)
{
	sim_front_release(h);
	paxos_free(h->paxos);
	cell_free(h->cell);
	h->paxos = NULL;
	h->cell = NULL;
	h->pending_count = 0;
	for (uint32_t i = 0; i < h->backlog_count; i++)
		sim_event_release(&h->backlog[i]);
	h->backlog_count = 0;
}

void sim_host_crash(struct host *h)
{
	struct world *w = h->world;

	CHECK(h->state != HOST_DOWN);
	sim_hash(w, h->index, h->process, h->disk.queued);
	sim_trace(w, "r%u crashes", h->id.n);
	if (sim_host_serves(h))
		w->headless_since_ns = w->now_ns;
	if (h->front != NULL)
		sim_pipes_host_gone(h);
	process_release(h);
	h->state = HOST_DOWN;
	sim_disk_crash(h);
	if (w->options->mutant == MUTANT_ACCEPTS_LOST) {
		struct ballot promised = h->disk.durable.promised;

		sim_disk_rollback(&h->disk, w->now_ns - 300 * NS_PER_MS);
		h->disk.durable.promised = promised;
		if (h->disk.state.slot.n > h->disk.newest.n)
			h->disk.newest = h->disk.state.slot;
	}
}

void sim_host_state_reset(struct host *h)
{
	struct cell_genesis genesis = {.cell_id_high = 1, .cell_id_low = 2};
	struct cell *c;

	CHECK(h->disk.trimmed.n == 0);
	sim_disk_state_clear(&h->disk);
	genesis.name = bytes_of_text("sim");
	c = cell_new(&genesis);
	sim_disk_save_begin(&h->disk, c, (struct slot){0});
	sim_disk_save_end(&h->disk);
	cell_free(c);
}

void sim_host_blank(struct host *h)
{
	CHECK(h->state == HOST_DOWN);
	sim_disk_release(&h->disk);
	sim_disk_init(&h->disk);
	sim_host_state_reset(h);
	h->disk.blank = true;
}

void sim_host_init(struct host *h, struct world *w, uint32_t index)
{
	memset(h, 0, sizeof(*h));
	h->world = w;
	h->index = index;
	h->id.n = index + 1;
	h->incarnation = (struct incarnation){rng_next(&w->host_rng), rng_next(&w->host_rng)};
	sim_disk_init(&h->disk);
	sim_host_state_reset(h);
}

void sim_host_release(struct host *h)
{
	process_release(h);
	free(h->pending);
	free(h->backlog);
	sim_disk_release(&h->disk);
}

void sim_host_resign(struct host *h)
{
	struct world *w = h->world;

	CHECK(h->state == HOST_UP);
	sim_trace(w, "r%u resigns", h->id.n);
	h->resigned = true;
	sim_serve_deposed(h);
	if (h->front != NULL)
		sim_front_end(h);
	paxos_resign(h->paxos, sim_host_now(h));
	sim_host_drain(h);
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + 300 * NS_PER_MS,
					.kind = EVENT_STOP,
					.target = h->index,
					.process = h->process});
}

void sim_host_storage_failed(struct host *h)
{
	CHECK(h->state == HOST_UP);
	sim_trace(h->world, "r%u: its storage fails", h->id.n);
	h->storage_failed = true;
	if (h->front != NULL)
		sim_front_end(h);
	paxos_storage_failed(h->paxos, sim_host_now(h));
	sim_host_drain(h);
}
