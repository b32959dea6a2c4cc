/*
 * Catch-up by snapshot, as daemon/replica_snapshot.c and daemon/store do it, in one piece: the
 * sender's saved state as it is on its disk, on its way for a while, then installed between two
 * lives of the receiver. The crash that separates them takes what no sync had covered.
 */
#include "sim.h"

#include <string.h>

#define ASK_AGAIN_NS (2 * NS_PER_S)
#define LONGEST_WAY_NS (3 * NS_PER_S)
/* Of installs: the process dies before the snapshot was made ready. */
#define LOST_PPM 200000

struct sim_snapshot {
	struct sim_state state;
};

void sim_snapshot_free(struct sim_snapshot *s)
{
	sim_state_release(&s->state);
	free(s);
}

void sim_snapshot_wanted(struct host *h, struct replica_id from)
{
	struct world *w = h->world;
	struct host *sender = sim_host(w, from);

	if (w->now_ns < h->snapshot_again_ns)
		return;
	h->snapshot_again_ns = w->now_ns + ASK_AGAIN_NS;
	sim_trace(w, "r%u asks r%u for a snapshot", h->id.n, from.n);
	if (w->net.cut[h->index][sender->index] > 0)
		return;
	sim_push(w, &(struct sim_event){.at_ns = sim_net_arrival(w),
					.kind = EVENT_SNAPSHOT_ASKED,
					.target = sender->index,
					.source = h->index});
}

void sim_snapshot_asked(struct host *h, uint32_t by)
{
	struct world *w = h->world;
	struct sim_snapshot *s;

	/* Behind a state that is older than its own log nobody would find the way on. */
	if (h->disk.state.slot.n < h->disk.trimmed.n || w->net.cut[h->index][by] > 0 ||
	    paxos_role(h->paxos) == PAXOS_LOST)
		return;
	s = mem_zalloc(sizeof(*s));
	sim_state_copy(&s->state, &h->disk.state);
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + rng_between(&w->net_rng, NS_PER_MS,
									 LONGEST_WAY_NS),
					.kind = EVENT_SNAPSHOT,
					.target = by,
					.source = h->index,
					.payload = s});
}

void sim_snapshot_taken(struct host *h, struct sim_snapshot *s)
{
	struct world *w = h->world;
	struct sim_disk *d = &h->disk;

	if (s->state.slot.n <= d->state.slot.n || s->state.slot.n <= d->durable.chosen.n ||
	    paxos_role(h->paxos) == PAXOS_LOST || h->storage_failed)
		return;
	sim_hash(w, h->index, s->state.slot.n, d->newest.n);
	sim_host_crash(h);
	if (!w->calm && rng_chance(&w->disk_rng, LOST_PPM)) {
		sim_trace(w, "r%u dies over a snapshot", h->id.n);
	} else if (s->state.slot.n > d->state.slot.n && s->state.slot.n > d->durable.chosen.n) {
		sim_trace(w, "r%u installs a snapshot up to slot %llu", h->id.n,
			  (unsigned long long)s->state.slot.n);
		sim_disk_install(d, &s->state);
		w->snapshots++;
	}
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + rng_between(&w->disk_rng, NS_PER_MS,
									 100 * NS_PER_MS),
					.kind = EVENT_START,
					.target = h->index,
					.process = h->process});
}
