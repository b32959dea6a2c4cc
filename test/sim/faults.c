/* What goes wrong, and when. */
#include "full.h"

enum sim_fault {
	FAULT_CRASH,
	FAULT_PAUSE,
	FAULT_CUT,
	FAULT_SLOW_DISK,
	FAULT_DISK_ERROR,
	FAULT_RESIGN,
	FAULT_ROLLBACK,
	FAULT_BLINK,
	FAULT_CLOCK,
	FAULT_WALL,
	FAULT_COUNT,
};

#define CLOCK_MEAN_NS (10 * NS_PER_S)
#define WALL_STEP_MS INT64_C(3600000)
/* A lying disk may take back only what the others have surely heard of: see reliability.md. */
#define ROLLBACK_KNOWN_NS (1500 * NS_PER_MS)
#define ROLLBACK_MAX_NS (6 * NS_PER_S)

static int64_t mean_of(const struct world *w, enum sim_fault fault)
{
	const struct sim_profile *p = w->options->profile;

	switch (fault) {
	case FAULT_CRASH:
		return p->crash_mean_ns;
	case FAULT_PAUSE:
		return p->pause_mean_ns;
	case FAULT_CUT:
		return p->cut_mean_ns;
	case FAULT_SLOW_DISK:
		return p->slow_disk_mean_ns;
	case FAULT_DISK_ERROR:
		return p->disk_error_mean_ns;
	case FAULT_RESIGN:
		return p->resign_mean_ns;
	case FAULT_ROLLBACK:
		return p->rollback_mean_ns;
	case FAULT_BLINK:
		return p->blink_mean_ns;
	case FAULT_CLOCK:
	case FAULT_WALL:
		return CLOCK_MEAN_NS;
	case FAULT_COUNT:
		break;
	}
	return 0;
}

static void schedule(struct world *w, enum sim_fault fault)
{
	int64_t mean_ns = mean_of(w, fault);

	if (mean_ns == 0)
		return;
	sim_push(w,
		 &(struct sim_event){
			 .at_ns = w->now_ns + rng_between(&w->fault_rng, mean_ns / 20, 2 * mean_ns),
			 .kind = EVENT_FAULT,
			 .number = fault,
		 });
}

void sim_faults_schedule(struct world *w)
{
	for (enum sim_fault fault = 0; fault < FAULT_COUNT; fault++)
		schedule(w, fault);
}

/* Somebody who is up; rather often whoever leads, since that is where it hurts. */
static struct host *victim(struct world *w)
{
	uint32_t first = (uint32_t)rng_below(&w->fault_rng, w->options->replicas);
	bool master = rng_chance(&w->fault_rng, 400000) || w->options->profile->masters_only;

	for (uint32_t i = 0; master && i < w->options->replicas; i++)
		if (w->hosts[i].state == HOST_UP && paxos_role(w->hosts[i].paxos) == PAXOS_MASTER)
			return &w->hosts[i];
	for (uint32_t i = 0; i < w->options->replicas; i++) {
		struct host *h = &w->hosts[(first + i) % w->options->replicas];

		if (h->state == HOST_UP)
			return h;
	}
	return NULL;
}

static void start_after(struct world *w, struct host *h, int64_t wait_ns)
{
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + wait_ns,
					.kind = EVENT_START,
					.target = h->index,
					.process = h->process});
}

static void start_later(struct world *w, struct host *h)
{
	struct rng *rng = &w->fault_rng;
	uint64_t kind = rng_below(rng, 10);
	int64_t wait_ns = kind < 3 || w->calm ? rng_between(rng, NS_PER_MS, 50 * NS_PER_MS)
			  : kind < 8          ? rng_between(rng, 50 * NS_PER_MS, 2 * NS_PER_S)
					      : rng_between(rng, NS_PER_S, 10 * NS_PER_S);

	start_after(w, h, wait_ns);
}

static void crash(struct world *w, struct host *h)
{
	if (h == NULL)
		return;
	sim_host_crash(h);
	/* Sometimes the whole machine starts again, and its clock with it. */
	if (rng_chance(&w->fault_rng, 200000)) {
		h->clock.base_true_ns = w->now_ns;
		h->clock.base_local_ns = rng_between(&w->fault_rng, NS_PER_S, 100 * NS_PER_S);
	}
	start_later(w, h);
}

/* Where a master is promised within a time, a majority must be there to elect it. */
static bool majority_needed(const struct world *w)
{
	uint32_t down = 0;

	for (uint32_t i = 0; i < w->options->replicas; i++)
		down += w->hosts[i].state != HOST_UP;
	return w->options->profile->headless_max_ns > 0 && down >= (w->options->replicas - 1) / 2;
}

static void crash_some(struct world *w)
{
	uint32_t count = 1;
	bool alone = w->options->profile->masters_only;

	if (majority_needed(w))
		return;
	if (!alone && rng_chance(&w->fault_rng, 150000))
		count = (uint32_t)rng_between(&w->fault_rng, 2, w->options->replicas);
	for (uint32_t i = 0; i < count; i++)
		crash(w, victim(w));
}

static void pause_host(struct world *w, struct host *h)
{
	int64_t long_ns = rng_chance(&w->fault_rng, 600000) ? 800 * NS_PER_MS : 8 * NS_PER_S;

	if (h == NULL)
		return;
	sim_trace(w, "r%u is paused", h->id.n);
	h->state = HOST_PAUSED;
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns +
						 rng_between(&w->fault_rng, NS_PER_MS, long_ns),
					.kind = EVENT_RESUME,
					.target = h->index,
					.process = h->process});
}

/* The master stands still with its lease, and everybody else starts again at once: whoever forgets
 * what it promised elects a second one. */
static void blink(struct world *w)
{
	struct host *master = NULL;

	for (uint32_t i = 0; i < w->options->replicas; i++)
		if (sim_host_serves(&w->hosts[i]))
			master = &w->hosts[i];
	if (master == NULL)
		return;
	pause_host(w, master);
	for (uint32_t i = 0; i < w->options->replicas; i++) {
		struct host *h = &w->hosts[i];

		if (h == master || h->state != HOST_UP)
			continue;
		sim_host_crash(h);
		start_after(w, h, rng_between(&w->fault_rng, NS_PER_MS, 20 * NS_PER_MS));
	}
}

static void slow_disk(struct world *w)
{
	struct host *h = victim(w);

	if (h == NULL)
		return;
	h->disk.slow_until_ns = w->now_ns + rng_between(&w->fault_rng, NS_PER_MS, 4 * NS_PER_S);
	sim_trace(w, "r%u: its disk hangs", h->id.n);
}

static void disk_error(struct world *w)
{
	struct host *h = victim(w);

	if (h == NULL || h->storage_failed)
		return;
	sim_host_storage_failed(h);
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + rng_between(&w->fault_rng, NS_PER_MS,
									 500 * NS_PER_MS),
					.kind = EVENT_STOP,
					.target = h->index,
					.process = h->process});
}

static void resign(struct world *w)
{
	struct host *h = victim(w);

	if (h == NULL || h->resigned)
		return;
	sim_host_resign(h);
}

void sim_fault_stopped(struct world *w, struct host *h)
{
	sim_host_crash(h);
	start_later(w, h);
}

/* The disk is swapped for an empty one, or forgets what it had synced. */
static void rollback(struct world *w)
{
	struct host *h = victim(w);
	uint32_t lost = 0, i;
	int64_t since_ns = w->now_ns - rng_between(&w->fault_rng, ROLLBACK_KNOWN_NS + NS_PER_S,
						   ROLLBACK_MAX_NS);

	for (i = 0; i < w->options->replicas; i++)
		lost += w->hosts[i].rolled_back || w->hosts[i].disk.doubtful;
	if (h == NULL || h->rolled_back || lost >= (w->options->replicas - 1) / 2 ||
	    paxos_role(h->paxos) == PAXOS_MASTER || paxos_role(h->paxos) == PAXOS_UNVETTED)
		return;
	i = h->disk.undo_count;
	while (i > 0 && h->disk.undo[i - 1].at_ns > since_ns)
		i--;
	if (i == h->disk.undo_count || h->disk.undo[i].at_ns > w->now_ns - ROLLBACK_KNOWN_NS)
		return;
	crash(w, h);
	h->rolled_back = true;
	if (rng_chance(&w->fault_rng, 300000)) {
		sim_trace(w, "r%u: its disk is blank", h->id.n);
		sim_host_blank(h);
	} else {
		/* With state.db as it was, the state above the log would give it away. */
		bool state_too = rng_chance(&w->fault_rng, 700000);

		sim_trace(w, "r%u: its disk goes back in time", h->id.n);
		sim_disk_rollback(&h->disk, since_ns);
		if (state_too)
			sim_host_state_reset(h);
	}
}

static int32_t draw_rate(struct world *w)
{
	int32_t bound = w->options->profile->drift_ppm;

	if (w->options->mutant == MUTANT_WILD_CLOCK)
		bound = 200000;
	/* The extremes are where it hurts. */
	if (rng_chance(&w->fault_rng, 500000))
		return rng_chance(&w->fault_rng, 500000) ? bound : -bound;
	return (int32_t)rng_between(&w->fault_rng, -bound, bound);
}

void sim_fault_clock(struct world *w, struct host *h)
{
	sim_clock_change_rate(&h->clock, w->now_ns, draw_rate(w));
}

void sim_fault(struct world *w, uint64_t fault)
{
	if (w->calm)
		return;
	sim_hash(w, fault, w->queue.count, 0);
	switch ((enum sim_fault)fault) {
	case FAULT_CRASH:
		crash_some(w);
		break;
	case FAULT_PAUSE:
		pause_host(w, victim(w));
		break;
	case FAULT_CUT:
		sim_net_fault(w);
		break;
	case FAULT_SLOW_DISK:
		slow_disk(w);
		break;
	case FAULT_DISK_ERROR:
		disk_error(w);
		break;
	case FAULT_RESIGN:
		resign(w);
		break;
	case FAULT_ROLLBACK:
		rollback(w);
		break;
	case FAULT_BLINK:
		blink(w);
		break;
	case FAULT_CLOCK:
		/* A tick in the queue comes where the old rate put it: early or late. */
		sim_fault_clock(w, &w->hosts[rng_below(&w->fault_rng, w->options->replicas)]);
		break;
	case FAULT_WALL:
		/* Up to an hour, forth or back: nothing but what is displayed may change. */
		w->hosts[rng_below(&w->fault_rng, w->options->replicas)].wall_offset_ms +=
			rng_between(&w->fault_rng, -WALL_STEP_MS, WALL_STEP_MS);
		break;
	case FAULT_COUNT:
		CHECK_UNREACHABLE("no fault");
	}
	schedule(w, (enum sim_fault)fault);
}

void sim_faults_calm(struct world *w)
{
	sim_trace(w, "the faults stop");
	w->calm = true;
	w->acked_at_calm = sim_checker_acked_count(w->checker);
	sim_net_calm(w);
	if (w->apps != NULL)
		sim_apps_calm(w);
	for (uint32_t i = 0; i < w->options->replicas; i++) {
		struct host *h = &w->hosts[i];

		h->disk.slow_until_ns = 0;
		if (h->state == HOST_PAUSED)
			sim_host_resume(h);
		if (h->state == HOST_DOWN)
			sim_host_start(h);
	}
}
