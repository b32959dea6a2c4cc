/*
 * What apps do, and what happens to them: they act now and then, pause, are cut off, vanish, and
 * come back as others.
 */
#include "full.h"

#include <stdio.h>
#include <string.h>

#define LEASE_MIN_NS (1500 * NS_PER_MS)
#define LEASE_MAX_NS (4 * NS_PER_S)
#define LONG_LEASE_PPM 200000
#define LONG_LEASE_MAX_NS (10 * NS_PER_S)
#define GRACE_NS (8 * NS_PER_S)
#define THINK_MIN_NS (100 * NS_PER_MS)
#define THINK_MAX_NS (3900 * NS_PER_MS)
#define FAULT_PPM 12000 /* of acts: it vanishes; twice as often it is paused, or cut off */
/* From the calm on nobody vanishes; then apps wind down, so that all who wait are served. */
#define WIND_DOWN_NS (9 * NS_PER_S)
#define CALM_NS (26 * NS_PER_S)

bool sim_winding_down(const struct world *w)
{
	return w->now_ns > w->options->until_ns - WIND_DOWN_NS;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void act_later(struct world *w, struct sim_app *a, int64_t most_ns)
{
	int64_t wait_ns = rng_between(&w->client_rng, THINK_MIN_NS, most_ns);

	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + wait_ns,
					.kind = EVENT_APP_ACT,
					.target = a->index,
					.process = a->life});
}

void sim_app_begin(struct world *w, struct sim_app *a)
{
	static const char *const servers[MEMBERS_MAX] = {"r1", "r2", "r3", "r4", "r5",
							 "r6", "r7", "r8", "r9"};
	struct session_config config = {
		.cell = bytes_of_text("sim"),
		.host = bytes_of_text("sim"),
		.command = bytes_of_text(a->command),
		.grace_ns = GRACE_NS,
		.connect_ns = 20 * NS_PER_S,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.server_count = w->options->replicas,
		.servers = servers,
	};

	a->life++;
	w->apps->lives++;
	a->alive = true;
	a->paused = a->closing = false;
	a->tick_at_ns = TIME_NEVER;
	a->last_handle = 0;
	memset(a->handles, 0, sizeof(a->handles));
	memset(a->ops, 0, sizeof(a->ops));
	snprintf(a->command, sizeof(a->command), "a%u.%u", a->index, a->life);
	config.pid = a->life;
	config.lease_ns = rng_between(&w->client_rng, LEASE_MIN_NS,
				      rng_chance(&w->client_rng, LONG_LEASE_PPM) ? LONG_LEASE_MAX_NS
										 : LEASE_MAX_NS);
	config.seed = rng_next(&w->client_rng);
	a->session = session_new(&config, sim_app_now(w, a));
	sim_app_carry_out(w, a);
	act_later(w, a, NS_PER_S);
}

void sim_app_backlog_drop(struct sim_app *a)
{
	for (uint32_t i = 0; i < a->backlog_count; i++)
		sim_event_release(&a->backlog[i]);
	a->backlog_count = 0;
}

static void start_later(struct world *w, struct sim_app *a)
{
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + rng_between(&w->client_rng, NS_PER_MS,
									 3 * NS_PER_S),
					.kind = EVENT_APP_START,
					.target = a->index,
					.process = a->life});
}

static void life_end(struct world *w, struct sim_app *a, bool silently)
{
	struct sim_pipe *p, *next;

	HASH_ITER(hh, w->apps->pipes.table, p, next) {
		if (p->app == a->index && p->life == a->life)
			sim_pipe_close(w, a->index, a->life, p->link, silently);
	}
	session_free(a->session);
	a->session = NULL;
	a->alive = false;
	sim_app_backlog_drop(a);
}

static void vanish(struct world *w, struct sim_app *a)
{
	sim_trace(w, "a%u vanishes", a->index);
	life_end(w, a, rng_chance(&w->client_rng, 500000));
	start_later(w, a);
}

static void pause_app(struct world *w, struct sim_app *a)
{
	int64_t most_ns = rng_chance(&w->client_rng, 500000) ? 500 * NS_PER_MS : 8 * NS_PER_S;

	sim_trace(w, "a%u is paused", a->index);
	a->paused = true;
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns +
						 rng_between(&w->client_rng, NS_PER_MS, most_ns),
					.kind = EVENT_APP_RESUME,
					.target = a->index,
					.process = a->life});
}

/* ---- acting --------------------------------------------------------------------------------- */

static void close_session(struct world *w, struct sim_app *a)
{
	int64_t now_ns = sim_app_now(w, a);

	sim_trace(w, "a%u closes its session", a->index);
	a->closing = true;
	session_close(a->session, now_ns, now_ns + NS_PER_S);
	sim_app_carry_out(w, a);
}

/* A process that hears that its session is over ends, as most do, and is started again. */
static bool life_over(struct world *w, struct sim_app *a)
{
	enum session_state s = session_state(a->session);

	if (s != SESSION_EXPIRED && s != SESSION_CLOSED)
		return false;
	for (uint32_t i = 0; i < APP_OPS_MAX; i++)
		if (a->ops[i].used)
			sim_fail(w, "a%u: a call outlives its session", a->index);
	life_end(w, a, false);
	start_later(w, a);
	return true;
}

static void give_up_a_wait(struct world *w, struct sim_app *a)
{
	uint32_t node = (uint32_t)rng_below(&w->client_rng, APP_LOCKS);
	struct app_handle *h = &a->handles[node];

	if (!h->wants || !h->busy || h->state != APP_OPEN)
		return;
	session_poison(a->session, sim_app_now(w, a), h->number.n);
	sim_app_carry_out(w, a);
}

static void call(struct world *w, struct sim_app *a)
{
	struct app_op *op = sim_app_choose(w, a);
	struct session_request r = {.context = op, .deadline_ns = TIME_NEVER};

	if (op == NULL)
		return;
	op->floor = w->apps->floor;
	op->asked_ns = w->now_ns;
	r.request = &op->request;
	r.handle_number = a->handles[op->node].number.n;
	if (op->verb == VERB_ACQUIRE && rng_chance(&w->client_rng, 300000))
		r.deadline_ns = sim_app_now(w, a) +
				rng_between(&w->client_rng, NS_PER_MS, 4 * NS_PER_S);
	session_call(a->session, sim_app_now(w, a), &r);
	sim_app_carry_out(w, a);
}

static void cut_off(struct world *w, struct sim_app *a)
{
	sim_trace(w, "a%u is cut off", a->index);
	a->cut_off_until_ns = w->now_ns +
			      rng_between(&w->client_rng, 100 * NS_PER_MS, 7 * NS_PER_S);
	sim_pipes_app_cut_off(w, a->index);
}

void sim_app_act(struct world *w, struct sim_app *a)
{
	struct rng *rng = &w->client_rng;
	bool faults = !w->calm && w->now_ns < w->options->until_ns - CALM_NS &&
		      w->options->profile->loss_ppm > 0;

	if (life_over(w, a))
		return;
	if (faults && rng_chance(rng, FAULT_PPM)) {
		vanish(w, a);
		return;
	}
	if (faults && rng_chance(rng, 2 * FAULT_PPM)) {
		pause_app(w, a);
	} else if (faults && rng_chance(rng, 2 * FAULT_PPM)) {
		cut_off(w, a);
	} else if (faults && rng_chance(rng, FAULT_PPM)) {
		close_session(w, a);
	} else if (!a->closing) {
		if (rng_chance(rng, 60000))
			give_up_a_wait(w, a);
		call(w, a);
	}
	if (a->alive)
		act_later(w, a, sim_winding_down(w) ? 300 * NS_PER_MS : THINK_MAX_NS);
}
