/* What an app's next call asks, and what the answer tells it. */
#include "full.h"

#include <stdio.h>
#include <string.h>

char sim_node_letter(uint32_t node)
{
	return node < APP_LOCKS ? 'l' : node < APP_LOCKS + APP_COUNTERS ? 'c' : 'e';
}

uint32_t sim_node_index(uint32_t node)
{
	return node < APP_LOCKS                  ? node
	       : node < APP_LOCKS + APP_COUNTERS ? node - APP_LOCKS
						 : node - APP_LOCKS - APP_COUNTERS;
}

/* ---- asking --------------------------------------------------------------------------------- */

static struct app_op *op_new(struct sim_app *a, uint32_t node, enum app_verb verb,
			     enum message_kind kind)
{
	struct app_handle *h = &a->handles[node];

	for (uint32_t i = 0; i < APP_OPS_MAX; i++) {
		struct app_op *op = &a->ops[i];

		if (op->used)
			continue;
		memset(op, 0, sizeof(*op));
		op->used = true;
		op->verb = verb;
		op->node = node;
		op->request.kind = kind;
		op->request.handle = (struct bytes){h->token, h->token_size};
		h->busy = true;
		return op;
	}
	return NULL;
}

static struct app_op *ask_open(struct sim_app *a, uint32_t node)
{
	struct app_handle *h = &a->handles[node];
	struct app_op *op;

	h->token_size = 0;
	h->sequencer_size = 0;
	h->number.n = a->last_handle + 1;
	op = op_new(a, node, VERB_OPEN, MESSAGE_OPEN);
	if (op == NULL)
		return NULL;
	a->last_handle++;
	h->state = APP_OPENING;
	snprintf(op->path, sizeof(op->path), "/ls/sim/%c%u", sim_node_letter(node),
		 sim_node_index(node));
	op->request.open.path = bytes_of_text(op->path);
	op->request.open.handle_number = h->number;
	op->request.open.read = op->request.open.write = true;
	op->request.open.create = WIRE_CREATE_MAY;
	op->request.open.ephemeral = sim_node_letter(node) == 'e';
	if (sim_node_letter(node) == 'c')
		op->request.open.contents = (struct bytes){op->contents, sizeof(op->contents)};
	return op;
}

static struct app_op *ask_close(struct sim_app *a, uint32_t node)
{
	struct app_handle *h = &a->handles[node];
	struct app_op *op = op_new(a, node, VERB_CLOSE, MESSAGE_CLOSE);

	if (op == NULL)
		return NULL;
	h->state = APP_CLOSING;
	h->held = h->wants = false;
	return op;
}

static struct app_op *ask_acquire(struct world *w, struct sim_app *a, uint32_t node)
{
	struct app_op *op = op_new(a, node, VERB_ACQUIRE, MESSAGE_ACQUIRE);

	if (op == NULL)
		return NULL;
	op->request.acquire.mode = rng_chance(&w->client_rng, 400000) ? WIRE_LOCK_SHARED
								      : WIRE_LOCK_EXCLUSIVE;
	op->request.acquire.try_only = rng_chance(&w->client_rng, 150000);
	op->request.acquire.lock_delay_ns = rng_between(&w->client_rng, 0, 2) * NS_PER_S;
	a->handles[node].wants = true;
	return op;
}

static struct app_op *ask_release(struct sim_app *a, uint32_t node)
{
	struct app_op *op = op_new(a, node, VERB_RELEASE, MESSAGE_RELEASE);

	if (op != NULL)
		a->handles[node].held = false;
	return op;
}

static struct app_op *ask_check(struct sim_app *a, uint32_t node)
{
	const struct app_handle *h = &a->handles[node];
	struct app_op *op = op_new(a, node, VERB_CHECK, MESSAGE_CHECK_SEQUENCER);

	if (op == NULL)
		return NULL;
	memcpy(op->sequencer, h->sequencer, h->sequencer_size);
	op->request.handle.size = 0;
	op->request.check_sequencer.sequencer = (struct bytes){op->sequencer, h->sequencer_size};
	return op;
}

/* Under the lock; the write may be on its way for much longer than the lock is held. */
static void write_to_storage(struct world *w, struct sim_app *a, uint32_t node)
{
	const struct app_handle *h = &a->handles[node];
	struct app_write write = {
		.lock = sim_node_index(node),
		.token = h->fencing_token,
		.session = session_identity(a->session).n,
		.mode = h->mode,
	};

	sim_push(w, &(struct sim_event){.at_ns = w->now_ns +
						 rng_between(&w->client_rng, 0, 10 * NS_PER_S),
					.kind = EVENT_STORAGE,
					.target = a->index,
					.payload = mem_dup(&write, sizeof(write))});
}

static struct app_op *choose_lock(struct world *w, struct sim_app *a, uint32_t node)
{
	struct rng *rng = &w->client_rng;
	struct app_handle *h = &a->handles[node];

	if (sim_winding_down(w))
		return ask_close(a, node);
	if (h->held) {
		uint64_t draw = rng_below(rng, 10);

		if (draw < 4) {
			if (sim_app_leased(w, a))
				write_to_storage(w, a, node);
			return NULL;
		}
		if (draw < 5)
			return ask_check(a, node);
		return draw < 9 ? ask_release(a, node) : ask_close(a, node);
	}
	switch (rng_below(rng, 20)) {
	case 0:
		return ask_close(a, node);
	case 1:
		/* Of a hold that is over. */
		if (h->sequencer_size > 0)
			return ask_check(a, node);
		return ask_acquire(w, a, node);
	default:
		return ask_acquire(w, a, node);
	}
}

static struct app_op *choose_counter(struct sim_app *a, uint32_t node)
{
	struct app_handle *h = &a->handles[node];
	struct app_op *op;

	if (!h->counter_read)
		return op_new(a, node, VERB_GET, MESSAGE_GET_CONTENTS_AND_STAT);
	op = op_new(a, node, VERB_SET, MESSAGE_SET_CONTENTS);
	if (op == NULL)
		return NULL;
	h->counter_read = false;
	h->counter_value++;
	memcpy(op->contents, &h->counter_value, sizeof(op->contents));
	op->request.set_contents.contents = (struct bytes){op->contents, sizeof(op->contents)};
	op->request.set_contents.expected_generation = h->counter_generation;
	return op;
}

/* Locks are what it is about; of ephemerals there are enough that most have one keeper or none. */
static uint32_t choose_node(struct world *w)
{
	uint64_t draw = rng_below(&w->client_rng, 10);

	if (draw < 5)
		return (uint32_t)rng_below(&w->client_rng, APP_LOCKS);
	if (draw < 7)
		return APP_LOCKS + (uint32_t)rng_below(&w->client_rng, APP_COUNTERS);
	return APP_LOCKS + APP_COUNTERS + (uint32_t)rng_below(&w->client_rng, APP_EPHEMERALS);
}

struct app_op *sim_app_choose(struct world *w, struct sim_app *a)
{
	uint32_t node;
	struct app_handle *h;

	if (sim_winding_down(w)) {
		/* What is open is closed, the locks first. */
		for (node = 0; node < APP_NODES; node++)
			if (a->handles[node].state == APP_OPEN && !a->handles[node].busy)
				return ask_close(a, node);
		return NULL;
	}
	node = choose_node(w);
	h = &a->handles[node];
	if (h->busy)
		return NULL;
	if (h->state == APP_CLOSED)
		return ask_open(a, node);
	CHECK(h->state == APP_OPEN);
	switch (sim_node_letter(node)) {
	case 'l':
		return choose_lock(w, a, node);
	case 'c':
		return choose_counter(a, node);
	default:
		return rng_chance(&w->client_rng, 600000)
			       ? ask_close(a, node)
			       : op_new(a, node, VERB_STAT, MESSAGE_GET_STAT);
	}
}

/* ---- answers -------------------------------------------------------------------------------- */

static void opened(struct world *w, struct app_handle *h, const struct reply *r)
{
	if (r->error != ERROR_OK) {
		h->state = APP_CLOSED;
		return;
	}
	if (r->open.handle.size > sizeof(h->token)) {
		sim_fail(w, "a handle is longer than handles are");
		return;
	}
	h->state = APP_OPEN;
	h->token_size = r->open.handle.size;
	memcpy(h->token, r->open.handle.data, h->token_size);
	h->instance = r->open.stat.instance;
	h->held = h->wants = h->counter_read = false;
}

static void acquired(struct world *w, struct sim_app *a, struct app_handle *h,
		     const struct reply *r)
{
	const struct wire_grant *g = &r->acquire.grant;

	h->wants = false;
	if (r->error != ERROR_OK)
		return;
	if (!g->present || g->sequencer.size > sizeof(h->sequencer)) {
		sim_fail(w, "a%u: an acquire succeeds without a grant", a->index);
		return;
	}
	w->apps->granted++;
	/* A repeated answer to a grant that is gone by now names no lock, and is none. */
	h->held = g->sequencer.size > 0;
	h->mode = g->mode;
	h->fencing_token = g->fencing_token;
	h->sequencer_size = g->sequencer.size;
	if (g->sequencer.size > 0)
		memcpy(h->sequencer, g->sequencer.data, g->sequencer.size);
}

static void counter_read(struct app_handle *h, const struct reply *r)
{
	if (r->error != ERROR_OK)
		return;
	h->counter_read = true;
	h->counter_generation = r->get_contents_and_stat.stat.contents_generation;
	if (r->get_contents_and_stat.contents.size == sizeof(h->counter_value))
		memcpy(&h->counter_value, r->get_contents_and_stat.contents.data,
		       sizeof(h->counter_value));
}

/* What no app does anything to deserve. */
static bool is_undeserved(const struct app_op *op, enum error e)
{
	switch (e) {
	case ERROR_NOT_MASTER:
	case ERROR_EPOCH_CHANGED:
	case ERROR_REQUEST_OUT_OF_WINDOW:
	case ERROR_INVALID_ARGUMENT:
	case ERROR_INVALID_PATH:
	case ERROR_WRONG_CELL:
	case ERROR_WRONG_KIND:
	case ERROR_MALFORMED:
	case ERROR_INTERNAL:
	case ERROR_ALREADY_HELD:
		return true;
	case ERROR_NOT_HELD:
		return op->verb == VERB_RELEASE;
	default:
		return false;
	}
}

static bool handle_is_dead(enum error e)
{
	return e == ERROR_HANDLE_STALE || e == ERROR_HANDLE_CLOSED || e == ERROR_HANDLE_INVALID ||
	       e == ERROR_NOT_FOUND;
}

void sim_app_done(struct world *w, struct sim_app *a, struct app_op *op, const struct reply *r)
{
	struct app_handle *h = &a->handles[op->node];

	sim_trace(w, "a%u: verb %d on %c%u answered: %s", a->index, (int)op->verb,
		  sim_node_letter(op->node), sim_node_index(op->node), error_name(r->error));
	h->busy = false;
	if (is_undeserved(op, r->error) && !w->options->profile->leases_void)
		sim_fail(w, "a%u: verb %d on %c%u is refused: %s", a->index, (int)op->verb,
			 sim_node_letter(op->node), sim_node_index(op->node), error_name(r->error));
	switch (op->verb) {
	case VERB_OPEN:
		opened(w, h, r);
		return;
	case VERB_CLOSE:
		h->state = APP_CLOSED;
		return;
	case VERB_ACQUIRE:
		acquired(w, a, h, r);
		break;
	case VERB_GET:
		counter_read(h, r);
		break;
	case VERB_RELEASE:
	case VERB_CHECK:
	case VERB_SET:
	case VERB_STAT:
	case VERB_COUNT:
		break;
	}
	if (handle_is_dead(r->error) && op->verb != VERB_CHECK) {
		/* Nothing deletes a lock or a counter; an ephemeral lives as long as it is open. */
		if (sim_app_leased(w, a))
			sim_fail(w, "a%u: its handle on %c%u is dead: %s", a->index,
				 sim_node_letter(op->node), sim_node_index(op->node),
				 error_name(r->error));
		h->state = APP_CLOSED;
		h->held = false;
	}
}
