/*
 * Apps: what libchubby's thread does around the session core, with simulated time and pipes; and
 * what happens to processes: they pause, vanish, and come back as others.
 */
#include "full.h"

#include <stdio.h>
#include <string.h>

#include "wire/codec.h"

#define ARENA_MAX_BYTES ((size_t)16 << 20)
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

static bool winding_down(const struct world *w)
{
	return w->now_ns > w->options->until_ns - WIND_DOWN_NS;
}

int64_t sim_app_now(const struct world *w, const struct sim_app *a)
{
	return sim_clock_local(&a->clock, w->now_ns);
}

bool sim_app_leased(const struct world *w, const struct sim_app *a)
{
	return a->alive && !a->closing && a->session != NULL &&
	       session_state(a->session) == SESSION_SAFE &&
	       session_lease_end(a->session) > sim_app_now(w, a);
}

/* ---- what the session decides --------------------------------------------------------------- */

static uint32_t server_index(const struct sim_app *a, uint32_t server)
{
	return (uint32_t)(session_server(a->session, server)[1] - '1');
}

static void ask(struct world *w, struct sim_app *a, const struct session_action *action)
{
	struct buffer bytes;

	buffer_init(&bytes, WIRE_MESSAGE_MAX_BYTES);
	if (wire_encode_request(&action->request, &bytes) != ERROR_OK)
		sim_fail(w, "a%u: a question cannot be encoded", a->index);
	else
		sim_ask(w, a->index, a->life, action->question, server_index(a, action->server),
			&bytes);
	buffer_release(&bytes);
}

static void send(struct world *w, struct sim_app *a, const struct session_action *action)
{
	struct buffer bytes;

	buffer_init(&bytes, WIRE_MESSAGE_MAX_BYTES);
	if (wire_encode_client_envelope(action->call_id, &action->request, &bytes) != ERROR_OK)
		sim_fail(w, "a%u: a request cannot be encoded", a->index);
	else
		sim_pipe_to_host(w, a->index, a->life, action->link, &bytes);
	buffer_release(&bytes);
}

static void done(struct world *w, struct sim_app *a, struct app_op *op, const struct reply *r)
{
	if (!op->used) {
		sim_fail(w, "a%u: a call is completed twice", a->index);
		return;
	}
	sim_hash(w, a->index, (uint64_t)op->verb << 32 | (uint64_t)r->error, r->revision);
	op->used = false;
	w->apps->answered++;
	if (r->error == ERROR_OK)
		sim_check_told(w, a, op, r);
	sim_app_done(w, a, op, r);
}

static void life_begin(struct world *w, struct sim_app *a);
static void life_end(struct world *w, struct sim_app *a, bool silently);

static void news(struct world *w, struct sim_app *a, const struct session_action *action)
{
	sim_hash(w, a->index, (uint64_t)action->state, (uint64_t)action->reason);
	sim_trace(w, "a%u: session %llu is now in state %d, because of %s", a->index,
		  (unsigned long long)session_identity(a->session).n, (int)action->state,
		  error_name(action->reason));
	if (action->state == SESSION_EXPIRED)
		w->apps->expired++;
}

static void tick_schedule(struct world *w, struct sim_app *a)
{
	int64_t at_ns = sim_clock_true(&a->clock, session_next_tick(a->session));

	if (at_ns < w->now_ns)
		at_ns = w->now_ns;
	if (at_ns >= a->tick_at_ns)
		return;
	a->tick_at_ns = at_ns;
	sim_push(w, &(struct sim_event){.at_ns = at_ns,
					.kind = EVENT_APP_TICK,
					.target = a->index,
					.process = a->life});
}

static void actions_carry_out(struct world *w, struct sim_app *a)
{
	const char *trouble;
	uint32_t count;
	const struct session_action *actions = session_actions(a->session, &count);

	for (uint32_t i = 0; i < count && !w->failed; i++) {
		const struct session_action *action = &actions[i];

		switch (action->kind) {
		case SESSION_ASK:
			ask(w, a, action);
			break;
		case SESSION_CONNECT:
			sim_pipe_open(w, a->index, a->life, action->link,
				      server_index(a, action->server));
			break;
		case SESSION_DISCONNECT:
			sim_pipe_close(w, a->index, a->life, action->link, false);
			break;
		case SESSION_SEND:
			send(w, a, action);
			break;
		case SESSION_DONE:
			done(w, a, action->context, &action->reply);
			break;
		case SESSION_NEWS:
			news(w, a, action);
			break;
		}
	}
	session_actions_done(a->session);
	trouble = session_invariants(a->session);
	if (trouble != NULL)
		sim_fail(w, "a%u session: %s", a->index, trouble);
	tick_schedule(w, a);
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

static void life_begin(struct world *w, struct sim_app *a)
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
	actions_carry_out(w, a);
	act_later(w, a, NS_PER_S);
}

static void backlog_drop(struct sim_app *a)
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
	backlog_drop(a);
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
	actions_carry_out(w, a);
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
	actions_carry_out(w, a);
}

static void call(struct world *w, struct sim_app *a)
{
	struct app_op *op = sim_app_choose(w, a);
	struct session_request r = {.context = op, .deadline_ns = TIME_NEVER};

	if (op == NULL)
		return;
	op->floor = w->apps->floor;
	r.request = &op->request;
	r.handle_number = a->handles[op->node].number.n;
	if (op->verb == VERB_ACQUIRE && rng_chance(&w->client_rng, 300000))
		r.deadline_ns = sim_app_now(w, a) +
				rng_between(&w->client_rng, NS_PER_MS, 4 * NS_PER_S);
	session_call(a->session, sim_app_now(w, a), &r);
	actions_carry_out(w, a);
}

static void cut_off(struct world *w, struct sim_app *a)
{
	sim_trace(w, "a%u is cut off", a->index);
	a->cut_off_until_ns = w->now_ns +
			      rng_between(&w->client_rng, 100 * NS_PER_MS, 7 * NS_PER_S);
	sim_pipes_app_cut_off(w, a->index);
}

static void act(struct world *w, struct sim_app *a)
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
		act_later(w, a, winding_down(w) ? 300 * NS_PER_MS : THINK_MAX_NS);
}

/* ---- events --------------------------------------------------------------------------------- */

static void on_message(struct world *w, struct sim_app *a, const struct sim_packet *p)
{
	const char *trouble = NULL;
	struct reply r = {0};
	uint64_t call_id = 0;
	struct arena arena;

	arena_init(&arena, ARENA_MAX_BYTES);
	if (wire_decode_server_envelope((struct bytes){p->data, p->size}, &arena, &call_id, &r,
					&trouble) != ERROR_OK)
		sim_fail(w, "a%u: an answer does not survive its encoding: %s", a->index,
			 trouble == NULL ? "" : trouble);
	else
		session_message(a->session, sim_app_now(w, a), p->pipe, call_id, &r);
	actions_carry_out(w, a);
	arena_release(&arena);
}

static void on_answer(struct world *w, struct sim_app *a, const struct sim_packet *p)
{
	const char *trouble = NULL;
	struct reply r = {0};
	struct arena arena;

	arena_init(&arena, ARENA_MAX_BYTES);
	if (p->answered && wire_decode_reply(MESSAGE_FIND_MASTER, (struct bytes){p->data, p->size},
					     &arena, &r, &trouble) != ERROR_OK)
		sim_fail(w, "a%u: an answer does not survive its encoding", a->index);
	session_answer(a->session, sim_app_now(w, a), p->question, p->answered, &r);
	actions_carry_out(w, a);
	arena_release(&arena);
}

static void app_event(struct world *w, struct sim_app *a, struct sim_event *e)
{
	const struct sim_packet *p = e->payload;

	switch (e->kind) {
	case EVENT_PACKET_TO_APP:
		on_message(w, a, p);
		break;
	case EVENT_PIPE_LOST:
		session_link_lost(a->session, sim_app_now(w, a), p->pipe, NULL);
		actions_carry_out(w, a);
		break;
	case EVENT_ANSWER:
		on_answer(w, a, p);
		break;
	case EVENT_APP_TICK:
		/* An earlier one was wanted since. */
		if (e->at_ns != a->tick_at_ns)
			break;
		a->tick_at_ns = TIME_NEVER;
		session_tick(a->session, sim_app_now(w, a));
		actions_carry_out(w, a);
		break;
	case EVENT_APP_ACT:
		act(w, a);
		break;
	default:
		CHECK_UNREACHABLE("an event that is not an app's");
	}
}

static void backlog_push(struct sim_app *a, struct sim_event *e)
{
	if (a->backlog_count == a->backlog_capacity) {
		a->backlog_capacity = a->backlog_capacity * 2 + 16;
		a->backlog = mem_realloc_array(a->backlog, a->backlog_capacity,
					       sizeof(*a->backlog));
	}
	a->backlog[a->backlog_count++] = *e;
	e->payload = NULL;
}

static void resume(struct world *w, struct sim_app *a)
{
	struct sim_event *events = a->backlog;
	uint32_t count = a->backlog_count;

	sim_trace(w, "a%u goes on, %u events late", a->index, count);
	a->paused = false;
	a->backlog = NULL;
	a->backlog_count = a->backlog_capacity = 0;
	for (uint32_t i = 0; i < count; i++) {
		if (!w->failed && a->alive && !a->paused)
			app_event(w, a, &events[i]);
		else if (a->alive && a->paused)
			backlog_push(a, &events[i]);
		sim_event_release(&events[i]);
	}
	free(events);
}

void sim_app_event(struct world *w, struct sim_event *e)
{
	struct sim_app *a = &w->apps->apps[e->target];
	const struct sim_packet *p = e->payload;
	uint32_t life = p != NULL ? p->life : e->process;

	if (life != a->life)
		return;
	if (e->kind == EVENT_APP_START) {
		if (!a->alive)
			life_begin(w, a);
		return;
	}
	if (!a->alive)
		return;
	if (e->kind == EVENT_APP_RESUME) {
		if (a->paused)
			resume(w, a);
		return;
	}
	if (a->paused)
		backlog_push(a, e);
	else
		app_event(w, a, e);
}

/* ---- all of them ---------------------------------------------------------------------------- */

void sim_apps_start(struct world *w)
{
	w->apps = mem_zalloc(sizeof(*w->apps));
	for (uint32_t i = 0; i < w->options->clients; i++) {
		struct sim_app *a = &w->apps->apps[i];
		int32_t bound = w->options->profile->drift_ppm;

		a->index = i;
		a->clock.base_local_ns = rng_between(&w->client_rng, NS_PER_S, 1000 * NS_PER_S);
		sim_clock_change_rate(&a->clock, w->now_ns,
				      (int32_t)rng_between(&w->client_rng, -bound, bound));
		sim_push(w, &(struct sim_event){.at_ns = rng_between(&w->client_rng, 0, NS_PER_S),
						.kind = EVENT_APP_START,
						.target = i});
	}
}

void sim_apps_calm(struct world *w)
{
	for (uint32_t i = 0; i < w->options->clients; i++) {
		struct sim_app *a = &w->apps->apps[i];

		a->cut_off_until_ns = 0;
		if (a->alive && a->paused)
			resume(w, a);
	}
}

void sim_apps_release(struct world *w)
{
	if (w->apps == NULL)
		return;
	for (uint32_t i = 0; i < w->options->clients; i++) {
		struct sim_app *a = &w->apps->apps[i];

		session_free(a->session);
		backlog_drop(a);
		free(a->backlog);
	}
	sim_pipes_release(w);
	for (uint32_t i = 0; i < w->apps->late_count; i++)
		free(w->apps->late[i].bytes);
	free(w->apps);
}
