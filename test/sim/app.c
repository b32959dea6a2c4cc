/*
 * Apps: what libchubby's thread does around the session core, with simulated time and pipes.
 */
#include "full.h"

#include <string.h>

#include "wire/codec.h"

#define ARENA_MAX_BYTES ((size_t)16 << 20)

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
	sim_history_told(w, a, op, r);
	sim_app_done(w, a, op, r);
}

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

void sim_app_carry_out(struct world *w, struct sim_app *a)
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
	sim_app_carry_out(w, a);
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
	sim_app_carry_out(w, a);
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
		sim_app_carry_out(w, a);
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
		sim_app_carry_out(w, a);
		break;
	case EVENT_APP_ACT:
		sim_app_act(w, a);
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
	const struct sim_packet *p = e->payload; /* NULL: a timer's */
	uint32_t life = p != NULL ? p->life : e->process;

	if (life != a->life)
		return;
	if (e->kind == EVENT_APP_START) {
		if (!a->alive)
			sim_app_begin(w, a);
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
	w->apps->history = sim_history_new();
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
	w->apps->head_at_calm = sim_checker_head(w->checker);
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
		sim_app_backlog_drop(a);
		free(a->backlog);
	}
	sim_pipes_release(w);
	sim_history_free(w->apps->history);
	for (uint32_t i = 0; i < w->apps->late_count; i++)
		free(w->apps->late[i].bytes);
	free(w->apps);
}
