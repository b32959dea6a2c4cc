/*
 * Clients: each has one session and two lanes, one for locks and files, one for counters, so that
 * two numbered calls may be under way at once. A call that is not answered in time is asked again,
 * with the same number, wherever a master may be.
 */
#include "sim.h"

#include <string.h>

#define RETRY_MIN_NS (300 * NS_PER_MS)
#define RETRY_MAX_NS (900 * NS_PER_MS)
#define THINK_MAX_NS (600 * NS_PER_MS)

void sim_client_init(struct world *w, uint32_t index)
{
	struct sim_client *c = &w->clients[index];

	memset(c, 0, sizeof(*c));
	c->index = index;
	c->next_number = 1;
	c->target = (uint32_t)rng_below(&w->client_rng, w->options->replicas);
	sim_push(w, &(struct sim_event){.at_ns = rng_between(&w->client_rng, 0, NS_PER_S),
					.kind = EVENT_CLIENT,
					.target = index});
}

bool sim_client_idle(const struct sim_client *c)
{
	for (uint32_t i = 0; i < SIM_LANES; i++)
		if (c->lanes[i].goal != GOAL_NONE)
			return false;
	return true;
}

static uint64_t lowest_unanswered(const struct sim_client *c)
{
	uint64_t lowest = c->next_number;

	for (uint32_t i = 0; i < SIM_LANES; i++)
		if (c->lanes[i].goal != GOAL_NONE && c->lanes[i].request.entry.number != 0 &&
		    c->lanes[i].request.entry.number < lowest)
			lowest = c->lanes[i].request.entry.number;
	return lowest;
}

static void wake(struct world *w, const struct sim_client *c, int64_t at_ns)
{
	sim_push(w, &(struct sim_event){.at_ns = at_ns, .kind = EVENT_CLIENT, .target = c->index});
}

static void send(struct world *w, struct sim_client *c, uint32_t lane)
{
	struct sim_lane *l = &c->lanes[lane];

	l->request.attempt = ++w->attempts;
	if (l->request.entry.number != 0)
		l->request.entry.lowest_unanswered = lowest_unanswered(c);
	l->retry_at_ns = w->now_ns + rng_between(&w->client_rng, RETRY_MIN_NS, RETRY_MAX_NS);
	sim_net_to_host(w, c->target, &l->request);
	wake(w, c, l->retry_at_ns);
}

static void begin(struct world *w, struct sim_client *c, uint32_t lane)
{
	struct sim_lane *l = &c->lanes[lane];

	memset(&l->request, 0, sizeof(l->request));
	sim_call_choose(w, c, lane);
	if (l->goal == GOAL_NONE)
		return;
	l->request.client = c->index;
	l->request.lane = lane;
	l->request.acked_revision = sim_checker_acked_revision(w->checker);
	l->request.entry.session = c->session;
	if (l->goal != GOAL_SESSION && l->goal != GOAL_END && !l->request.read)
		l->request.entry.number = c->next_number++;
	send(w, c, lane);
}

void sim_client_act(struct world *w, uint32_t index)
{
	struct sim_client *c = &w->clients[index];
	/* The last calls begin early enough to be answered. */
	int64_t think_ns = w->options->profile->think_max_ns;
	bool closing = w->now_ns > w->options->until_ns - 4 * NS_PER_S;

	if (think_ns == 0)
		think_ns = THINK_MAX_NS;
	for (uint32_t lane = 0; lane < SIM_LANES; lane++) {
		struct sim_lane *l = &c->lanes[lane];

		if (l->goal != GOAL_NONE) {
			if (w->now_ns < l->retry_at_ns)
				continue;
			c->target = (c->target + 1) % w->options->replicas;
			send(w, c, lane);
		} else if (!closing && w->now_ns >= l->next_ns) {
			l->next_ns = w->now_ns +
				     rng_between(&w->client_rng, think_ns / 30, think_ns);
			begin(w, c, lane);
			wake(w, c, l->next_ns);
		}
	}
}

void sim_client_reply(struct world *w, const struct sim_reply *r)
{
	struct sim_client *c = &w->clients[r->client];
	struct sim_lane *l = &c->lanes[r->lane];
	bool current = l->goal != GOAL_NONE && r->attempt == l->request.attempt;
	/* The answer to an earlier attempt of a numbered call is an answer to the call. */
	bool repeat = l->goal != GOAL_NONE && r->number != 0 &&
		      r->number == l->request.entry.number && r->session.n == c->session.n &&
		      r->error == ERROR_OK;

	if (!current && !repeat)
		return;
	sim_hash(w, r->client, r->attempt, r->result.revision.n);
	if (r->error == ERROR_NOT_MASTER || r->error == ERROR_RESOURCE_EXHAUSTED) {
		/* Ask again soon: whom this replica follows, or anybody. */
		c->target = r->leader.n != 0
				    ? r->leader.n - 1
				    : (uint32_t)rng_below(&w->client_rng, w->options->replicas);
		l->retry_at_ns = w->now_ns +
				 rng_between(&w->client_rng, 10 * NS_PER_MS, 150 * NS_PER_MS);
		wake(w, c, l->retry_at_ns);
		/* The next wake must ask there, not at the one after it. */
		c->target = (c->target + w->options->replicas - 1) % w->options->replicas;
		return;
	}
	sim_call_done(w, c, r->lane, r);
	l->goal = GOAL_NONE;
}
