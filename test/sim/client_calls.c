/* What a client's next call asks, and what the answer tells it. */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#define LANE_LOCKS 0

static struct handle_id handle_of(const struct sim_client *c)
{
	return (struct handle_id){c->index + 1};
}

static void ask_open(struct sim_request *r, char letter, uint32_t index)
{
	r->path_size = (uint32_t)snprintf(r->path, sizeof(r->path), "/%c%u", letter, index);
	CHECK(r->path_size < sizeof(r->path));
	r->entry.kind = ENTRY_NODE_CREATE;
	r->entry.node_create.kind = NODE_FILE;
	if (letter == 'c')
		r->contents_size = sizeof(r->contents); /* the counter begins at 0 */
}

static void ask_read(struct sim_request *r, const struct sim_client *c, uint64_t instance)
{
	r->read = true;
	r->entry.acquire.instance = instance;
	r->entry.acquire.handle = handle_of(c);
}

/* ---- locks and files ------------------------------------------------------------------------ */

static enum sim_goal choose_held(struct world *w, struct sim_client *c, struct sim_request *r)
{
	if (rng_chance(&w->client_rng, 300000)) {
		ask_read(r, c, c->lock_instance[c->lock]);
		return GOAL_POLL;
	}
	r->entry.kind = ENTRY_RELEASE;
	r->entry.release.instance = c->lock_instance[c->lock];
	r->entry.release.handle = handle_of(c);
	return GOAL_RELEASE;
}

static enum sim_goal choose_waiting(struct world *w, struct sim_client *c, struct sim_request *r)
{
	if (!rng_chance(&w->client_rng, 100000)) {
		ask_read(r, c, c->lock_instance[c->lock]);
		return GOAL_POLL;
	}
	r->entry.kind = ENTRY_CANCEL;
	r->entry.cancel.instance = c->lock_instance[c->lock];
	r->entry.cancel.handle = handle_of(c);
	r->entry.cancel.ticket = c->ticket;
	return GOAL_CANCEL;
}

static enum sim_goal choose_file(struct world *w, struct sim_client *c, struct sim_request *r)
{
	uint32_t file = (uint32_t)rng_below(&w->client_rng, SIM_FILES);

	c->lock = file;
	if (c->file_instance[file] == 0) {
		ask_open(r, 'f', file);
		r->entry.node_create.exclusive = rng_chance(&w->client_rng, 300000);
		return GOAL_FILE_CREATE;
	}
	if (rng_chance(&w->client_rng, w->options->profile->bulk_ppm)) {
		r->entry.kind = ENTRY_NODE_WRITE;
		r->entry.node_write.instance = c->file_instance[file];
		r->bulk_size = (uint32_t)rng_between(&w->client_rng, 1, CELL_CONTENTS_MAX_BYTES);
		return GOAL_FILE_WRITE;
	}
	r->entry.kind = ENTRY_NODE_DELETE;
	r->entry.node_delete.instance = c->file_instance[file];
	return GOAL_FILE_DELETE;
}

/* Now and then a lock's node is deleted, so that tokens must grow across its instances. */
static enum sim_goal choose_delete_lock(struct sim_client *c, struct sim_request *r)
{
	r->entry.kind = ENTRY_NODE_DELETE;
	r->entry.node_delete.instance = c->lock_instance[c->lock];
	return GOAL_FILE_DELETE;
}

static enum sim_goal choose_lock(struct world *w, struct sim_client *c, struct sim_request *r)
{
	c->lock = (uint32_t)rng_below(&w->client_rng, SIM_LOCKS);
	if (c->lock_instance[c->lock] == 0) {
		ask_open(r, 'l', c->lock);
		return GOAL_OPEN;
	}
	if (rng_chance(&w->client_rng, 30000))
		return choose_delete_lock(c, r);
	r->entry.kind = ENTRY_ACQUIRE;
	r->entry.acquire.instance = c->lock_instance[c->lock];
	r->entry.acquire.handle = handle_of(c);
	r->entry.acquire.mode = LOCK_EXCLUSIVE;
	r->entry.acquire.try_only = rng_chance(&w->client_rng, 200000);
	r->entry.acquire.lock_delay_ns = rng_between(&w->client_rng, 0, 2) * NS_PER_S;
	return GOAL_ACQUIRE;
}

static enum sim_goal choose_in_session(struct world *w, struct sim_client *c, struct sim_request *r)
{
	/* Only while nothing else is under way: its answer would come to a session that is gone. */
	if (rng_chance(&w->client_rng, 5000) && sim_client_idle(c)) {
		r->entry.kind = ENTRY_SESSION_END;
		r->entry.session_end.reason = SESSION_END_CLOSED;
		return GOAL_END;
	}
	if (c->holds)
		return choose_held(w, c, r);
	if (c->waits)
		return choose_waiting(w, c, r);
	return rng_chance(&w->client_rng, 250000) ? choose_file(w, c, r) : choose_lock(w, c, r);
}

/* ---- counters ------------------------------------------------------------------------------- */

static enum sim_goal choose_counter(struct world *w, struct sim_client *c, struct sim_request *r)
{
	if (!c->counter_read) {
		c->counter = (uint32_t)rng_below(&w->client_rng, SIM_COUNTERS);
		if (c->counter_instance[c->counter] == 0) {
			ask_open(r, 'c', c->counter);
			return GOAL_COUNTER_OPEN;
		}
		ask_read(r, c, c->counter_instance[c->counter]);
		return GOAL_COUNTER_READ;
	}
	c->counter_read = false;
	c->counter_value++;
	r->entry.kind = ENTRY_NODE_WRITE;
	r->entry.node_write.instance = c->counter_instance[c->counter];
	r->entry.node_write.expected_generation = c->counter_generation;
	memcpy(r->contents, &c->counter_value, sizeof(r->contents));
	r->contents_size = sizeof(r->contents);
	return GOAL_COUNTER_WRITE;
}

void sim_call_choose(struct world *w, struct sim_client *c, uint32_t lane)
{
	struct sim_lane *l = &c->lanes[lane];
	struct sim_request *r = &l->request;

	CHECK(l->goal == GOAL_NONE);
	if (c->lanes[LANE_LOCKS].goal == GOAL_END)
		return;
	if (c->session.n != 0) {
		l->goal = lane == LANE_LOCKS ? choose_in_session(w, c, r) : choose_counter(w, c, r);
	} else if (lane == LANE_LOCKS && sim_client_idle(c)) {
		r->entry.kind = ENTRY_SESSION_CREATE;
		r->entry.session_create.lease_ns = 12 * NS_PER_S;
		l->goal = GOAL_SESSION;
	}
}

/* ---- answers -------------------------------------------------------------------------------- */

static void session_gone(struct sim_client *c)
{
	c->session.n = 0;
	c->next_number = 1;
	c->holds = false;
	c->waits = false;
	c->counter_read = false;
}

/* Nodes come and go: what is stale is opened anew. */
static void forget_lock(struct sim_client *c)
{
	c->lock_instance[c->lock] = 0;
	c->holds = false;
	c->waits = false;
}

static void acquired(struct sim_client *c, const struct result *result)
{
	if (result->error == ERROR_OK && result->grant.revision.n != 0) {
		c->holds = true;
	} else if (result->error == ERROR_OK && result->ticket.n != 0) {
		c->waits = true;
		c->ticket = result->ticket;
	} else if (result->error == ERROR_HANDLE_STALE || result->error == ERROR_NOT_FOUND) {
		forget_lock(c);
	}
}

static void polled(struct sim_client *c, const struct sim_reply *r)
{
	if (r->error == ERROR_NOT_FOUND)
		forget_lock(c);
	if (r->error != ERROR_OK)
		return;
	c->holds = r->holds;
	c->waits = r->waits;
}

static void file_done(struct sim_client *c, enum sim_goal goal, const struct sim_request *r,
		      const struct result *result)
{
	if (goal == GOAL_FILE_WRITE && result->error != ERROR_OK)
		c->file_instance[c->lock] = 0;
	if (goal == GOAL_FILE_CREATE && c->lock < SIM_FILES)
		c->file_instance[c->lock] = result->error == ERROR_OK ? result->instance : 0;
	for (uint32_t i = 0; goal == GOAL_FILE_DELETE && i < SIM_FILES; i++)
		if (c->file_instance[i] == r->entry.node_delete.instance)
			c->file_instance[i] = 0;
	for (uint32_t i = 0; goal == GOAL_FILE_DELETE && i < SIM_LOCKS; i++)
		if (c->lock_instance[i] == r->entry.node_delete.instance &&
		    result->error != ERROR_LOCK_HELD)
			c->lock_instance[i] = 0;
}

static void counter_done(struct sim_client *c, enum sim_goal goal, const struct sim_reply *r)
{
	if (goal == GOAL_COUNTER_OPEN)
		c->counter_instance[c->counter] = r->result.instance;
	if (goal == GOAL_COUNTER_READ && r->error == ERROR_OK) {
		c->counter_read = true;
		c->counter_value = r->counter;
		c->counter_generation = r->generation;
	}
}

void sim_call_done(struct world *w, struct sim_client *c, uint32_t lane, const struct sim_reply *r)
{
	enum sim_goal goal = c->lanes[lane].goal;
	enum error error = r->error != ERROR_OK ? r->error : r->result.error;

	if (goal != GOAL_SESSION && (error == ERROR_SESSION_EXPIRED || goal == GOAL_END)) {
		session_gone(c);
		return;
	}
	switch (goal) {
	case GOAL_SESSION:
		if (error == ERROR_OK)
			c->session = r->result.session;
		break;
	case GOAL_OPEN:
		c->lock_instance[c->lock] = error == ERROR_OK ? r->result.instance : 0;
		break;
	case GOAL_ACQUIRE:
		acquired(c, &r->result);
		break;
	case GOAL_RELEASE:
		c->holds = false;
		break;
	case GOAL_CANCEL:
		/* It may have been granted meanwhile: a poll tells. */
		c->waits = error != ERROR_OK;
		break;
	case GOAL_POLL:
		polled(c, r);
		break;
	case GOAL_FILE_CREATE:
	case GOAL_FILE_DELETE:
	case GOAL_FILE_WRITE:
		file_done(c, goal, &c->lanes[lane].request, &r->result);
		break;
	case GOAL_COUNTER_OPEN:
	case GOAL_COUNTER_READ:
	case GOAL_COUNTER_WRITE:
		counter_done(c, goal, r);
		break;
	case GOAL_NONE:
	case GOAL_END:
		CHECK_UNREACHABLE("no call, or answered above");
	}
	sim_trace(w, "c%u: goal %d answered: %s", c->index, (int)goal, error_name(error));
}
