/*
 * The calls of clients: what daemon/master does, reduced to what the simulator's clients need.
 * Each call that reaches a living process is answered once: by its result, by a refusal, or by
 * "not master" when the mastership ends.
 */
#include "sim.h"

#include <string.h>

#define PENDING_MAX 4096

/* What large files hold. */
static const uint8_t bulk[CELL_CONTENTS_MAX_BYTES];

/* The request's bytes live beside it and moved with it. */
static void request_bind(struct sim_request *r)
{
	struct bytes path = {(const uint8_t *)r->path, r->path_size};
	struct bytes contents = {r->contents, r->contents_size};

	if (r->bulk_size > 0)
		contents = (struct bytes){bulk, r->bulk_size};

	if (r->entry.kind == ENTRY_NODE_CREATE) {
		r->entry.node_create.path = path;
		r->entry.node_create.contents = contents;
	}
	if (r->entry.kind == ENTRY_NODE_WRITE)
		r->entry.node_write.contents = contents;
}

static void reply_begin(const struct host *h, const struct sim_request *r, struct sim_reply *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->client = r->client;
	ret->lane = r->lane;
	ret->attempt = r->attempt;
	ret->number = r->entry.number;
	ret->session = r->entry.session;
	ret->read = r->read;
	ret->leader = paxos_leader(h->paxos, sim_host_now(h));
}

static void refuse(struct host *h, const struct sim_request *r, enum error error)
{
	struct sim_reply reply;

	reply_begin(h, r, &reply);
	reply.error = error;
	sim_net_to_client(h->world, &reply);
}

static void answer(struct host *h, const struct sim_request *r, const struct result *result)
{
	struct sim_reply reply;

	reply_begin(h, r, &reply);
	reply.result = *result;
	sim_check_acked(h, r, result);
	sim_net_to_client(h->world, &reply);
}

static void answer_read(struct host *h, const struct sim_request *r)
{
	const struct node *n = cell_node(h->cell, r->entry.acquire.instance);
	struct handle_id handle = r->entry.acquire.handle;
	struct sim_reply reply;

	reply_begin(h, r, &reply);
	if (n == NULL) {
		reply.error = ERROR_NOT_FOUND;
	} else {
		reply.holds = cell_holder(h->cell, n->instance, r->entry.session, handle) != NULL;
		reply.waits = cell_waiter(h->cell, n->instance, r->entry.session, handle) != NULL;
		reply.generation = n->contents_generation;
		if (n->contents.size == sizeof(reply.counter))
			memcpy(&reply.counter, n->contents.data, sizeof(reply.counter));
	}
	if (cell_session(h->cell, r->entry.session) == NULL)
		reply.error = ERROR_SESSION_EXPIRED;
	sim_check_read(h, r->acked_revision);
	sim_net_to_client(h->world, &reply);
}

static void pending_add(struct host *h, const struct sim_request *r, uint64_t origin_number)
{
	if (h->pending_count == h->pending_capacity) {
		h->pending_capacity = h->pending_capacity * 2 + 16;
		h->pending = mem_realloc_array(h->pending, h->pending_capacity,
					       sizeof(*h->pending));
	}
	h->pending[h->pending_count++] = (struct sim_pending){origin_number, *r};
}

static void propose_request(struct host *h, const struct sim_request *r)
{
	struct sim_request own = *r;
	enum error error;

	request_bind(&own);
	own.entry.origin_epoch = h->epoch;
	own.entry.origin_number = ++h->next_origin;
	own.entry.wall_unix_ms = h->wall_offset_ms + sim_host_now(h) / NS_PER_MS;
	error = sim_host_propose(h, &own.entry);
	if (error != ERROR_OK) {
		refuse(h, r, error);
		return;
	}
	if (h->world->options->mutant == MUTANT_ANSWER_EARLY && r->entry.number != 0) {
		struct result guess = {.revision = {cell_meta(h->cell)->revision.n + 1}};

		answer(h, r, &guess);
	} else {
		pending_add(h, r, own.entry.origin_number);
	}
	sim_host_drain(h);
}

void sim_serve_request(struct host *h, const struct sim_request *r)
{
	struct result stored;

	if (!sim_host_serves(h)) {
		refuse(h, r, ERROR_NOT_MASTER);
		return;
	}
	if (r->read) {
		answer_read(h, r);
		return;
	}
	if (h->pending_count >= PENDING_MAX) {
		refuse(h, r, ERROR_RESOURCE_EXHAUSTED);
		return;
	}
	/* Mostly a repeat is answered from the stored results; now and then apply must notice. */
	if (r->entry.number != 0 && rng_chance(&h->world->host_rng, 600000) &&
	    cell_stored_result(h->cell, r->entry.session, r->entry.number,
			       r->entry.lowest_unanswered, r->entry.kind, &stored) == ERROR_OK) {
		answer(h, r, &stored);
		return;
	}
	propose_request(h, r);
}

void sim_serve_applied(struct host *h, const struct entry *e, const struct outcome *o)
{
	uint32_t i = 0;

	if (h->epoch.n == 0 || e->origin_epoch.n != h->epoch.n || e->origin_number == 0)
		return;
	while (i < h->pending_count && h->pending[i].origin_number != e->origin_number)
		i++;
	if (i == h->pending_count)
		return;
	answer(h, &h->pending[i].request, &o->result);
	h->pending_count--;
	memmove(&h->pending[i], &h->pending[i + 1], (h->pending_count - i) * sizeof(*h->pending));
}

void sim_serve_deposed(struct host *h)
{
	h->epoch.n = 0;
	for (uint32_t i = 0; i < h->pending_count; i++)
		refuse(h, &h->pending[i].request, ERROR_NOT_MASTER);
	h->pending_count = 0;
}

/* ---- chores --------------------------------------------------------------------------------- */

static void chore_propose(struct host *h, struct entry *e)
{
	e->guard_epoch = h->epoch;
	e->origin_epoch = h->epoch;
	e->wall_unix_ms = h->wall_offset_ms + sim_host_now(h) / NS_PER_MS;
	/* A refusal is as good as a timer that fires later. */
	(void)!sim_host_propose(h, e);
	sim_host_drain(h);
}

static void end_lock_delays(struct host *h)
{
	const struct node *n = NULL;
	struct entry e;
	uint64_t after = 0;

	while ((n = cell_locked_after(h->cell, after)) != NULL) {
		after = n->instance;
		if (n->lock->delay_ns == 0 || !rng_chance(&h->world->host_rng, 300000))
			continue;
		memset(&e, 0, sizeof(e));
		e.kind = ENTRY_LOCK_DELAY_END;
		e.lock_delay_end.instance = n->instance;
		e.lock_delay_end.began = n->lock->delay_began;
		chore_propose(h, &e);
		if (!sim_host_serves(h))
			return;
	}
}

static void expire_session(struct host *h)
{
	struct rng *rng = &h->world->host_rng;
	uint64_t newest = cell_meta(h->cell)->revision.n;
	const struct session *s;
	struct entry e;

	s = cell_session_after(h->cell, (struct session_id){rng_below(rng, newest + 1)});
	if (s == NULL || s->ended)
		return;
	memset(&e, 0, sizeof(e));
	e.kind = ENTRY_SESSION_END;
	e.session = s->id;
	e.session_end.reason = SESSION_END_EXPIRED;
	chore_propose(h, &e);
}

void sim_serve_chores(struct host *h)
{
	struct world *w = h->world;
	int64_t mean_ns = w->options->profile->expire_mean_ns;
	int64_t next_ns = rng_between(&w->host_rng, 100 * NS_PER_MS, 500 * NS_PER_MS);

	if (sim_host_serves(h))
		end_lock_delays(h);
	if (sim_host_serves(h) && mean_ns > 0 && !w->calm &&
	    rng_below(&w->host_rng, (uint64_t)mean_ns) < (uint64_t)next_ns)
		expire_session(h);
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + next_ns,
					.kind = EVENT_CHORES,
					.target = h->index,
					.process = h->process});
}
