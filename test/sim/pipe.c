/*
 * Pipes: what a TCP connection is to its two ends. Bytes arrive in order and once, late when the
 * network lags, or not at all once it broke; either end may find out much later.
 */
#include "full.h"

#include <string.h>

/* How many packets in a million break the pipe, or hold up all that follows. */
#define BREAK_PPM 1000
#define STALL_PPM 3000
#define STALL_MAX_NS (4 * NS_PER_S)
/* A question to a replica that does not answer is given up after its hold and a second. */
#define ASK_PATIENCE_NS (SESSION_QUESTION_HOLD_NS + NS_PER_S)

static struct sim_pipes *pipes(struct world *w)
{
	return &w->apps->pipes;
}

static struct sim_packet *packet_new(const struct buffer *bytes)
{
	size_t size = bytes != NULL ? bytes->size : 0;
	struct sim_packet *p = mem_zalloc(sizeof(*p) + size);

	p->size = size;
	if (size > 0)
		memcpy(p->data, bytes->data, size);
	return p;
}

struct sim_pipe *sim_pipe_find(struct world *w, uint64_t id)
{
	struct sim_pipe *p;

	HASH_FIND(hh, pipes(w)->table, &id, sizeof(id), p);
	return p;
}

static struct sim_pipe *pipe_of(struct world *w, uint32_t app, uint32_t life, uint64_t link)
{
	for (struct sim_pipe *p = pipes(w)->table; p != NULL; p = p->hh.next)
		if (p->app == app && p->life == life && p->link == link)
			return p;
	return NULL;
}

static void pipe_free(struct world *w, struct sim_pipe *p)
{
	HASH_DEL(pipes(w)->table, p);
	free(p);
}

void sim_pipe_open(struct world *w, uint32_t app, uint32_t life, uint64_t link, uint32_t host)
{
	struct sim_pipe *p = mem_zalloc(sizeof(*p));

	p->id = ++pipes(w)->last_id;
	p->app = app;
	p->life = life;
	p->link = link;
	p->host = host;
	HASH_ADD(hh, pipes(w)->table, id, sizeof(p->id), p);
}

/* The other end hears of it, like of bytes, after all that was sent. */
static void tell_host(struct world *w, struct sim_pipe *p)
{
	int64_t at_ns = sim_net_arrival(w);

	if (at_ns < p->to_host_at_ns)
		at_ns = p->to_host_at_ns;
	sim_push(w, &(struct sim_event){.at_ns = at_ns,
					.kind = EVENT_PIPE_CLOSED,
					.target = p->host,
					.process = p->process,
					.number = p->id});
}

static void tell_app(struct world *w, struct sim_pipe *p)
{
	struct sim_packet *lost = packet_new(NULL);
	int64_t at_ns = sim_net_arrival(w);

	if (at_ns < p->to_app_at_ns)
		at_ns = p->to_app_at_ns;
	lost->pipe = p->link;
	lost->app = p->app;
	lost->life = p->life;
	sim_push(w, &(struct sim_event){.at_ns = at_ns,
					.kind = EVENT_PIPE_LOST,
					.target = p->app,
					.payload = lost});
}

void sim_pipe_close(struct world *w, uint32_t app, uint32_t life, uint64_t link, bool silently)
{
	struct sim_pipe *p = pipe_of(w, app, life, link);

	if (p == NULL)
		return;
	if (!silently && p->process != 0)
		tell_host(w, p);
	pipe_free(w, p);
}

static void pipe_break(struct world *w, struct sim_pipe *p)
{
	sim_trace(w, "a%u: its pipe to r%u breaks", p->app, p->host + 1);
	if (p->process != 0)
		tell_host(w, p);
	tell_app(w, p);
	pipe_free(w, p);
}

/* When the next packet arrives; never before the one that was sent before it. */
static int64_t in_order(struct world *w, int64_t *last_ns)
{
	int64_t at_ns = sim_net_arrival(w);

	if (!w->calm && w->options->profile->loss_ppm > 0 && rng_chance(&w->net_rng, STALL_PPM))
		at_ns += rng_between(&w->net_rng, 0, STALL_MAX_NS);
	if (at_ns < *last_ns)
		at_ns = *last_ns;
	*last_ns = at_ns;
	return at_ns;
}

/* Not before the app's network is there again. */
static int64_t when_connected(const struct world *w, uint32_t app, int64_t at_ns)
{
	int64_t until_ns = w->apps->apps[app].cut_off_until_ns;

	return at_ns < until_ns ? until_ns : at_ns;
}

void sim_pipes_app_cut_off(struct world *w, uint32_t app)
{
	struct sim_pipe *p, *next;

	HASH_ITER(hh, pipes(w)->table, p, next) {
		if (p->app == app)
			pipe_break(w, p);
	}
}

static bool breaks(struct world *w)
{
	return !w->calm && w->options->profile->loss_ppm > 0 && rng_chance(&w->net_rng, BREAK_PPM);
}

void sim_pipe_to_host(struct world *w, uint32_t app, uint32_t life, uint64_t link,
		      const struct buffer *bytes)
{
	struct sim_pipe *p = pipe_of(w, app, life, link);
	struct sim_packet *packet;

	if (p == NULL)
		return;
	packet = packet_new(bytes);
	packet->pipe = p->id;
	packet->app = app;
	packet->life = life;
	p->to_host_at_ns = when_connected(w, app, p->to_host_at_ns);
	sim_push(w, &(struct sim_event){.at_ns = in_order(w, &p->to_host_at_ns),
					.kind = EVENT_PACKET_TO_HOST,
					.target = p->host,
					.payload = packet});
	if (breaks(w))
		pipe_break(w, p);
}

void sim_pipe_to_app(struct world *w, uint64_t pipe, const struct buffer *bytes)
{
	struct sim_pipe *p = sim_pipe_find(w, pipe);
	struct sim_packet *packet;

	if (p == NULL)
		return;
	packet = packet_new(bytes);
	packet->pipe = p->link;
	packet->app = p->app;
	packet->life = p->life;
	p->to_app_at_ns = when_connected(w, p->app, p->to_app_at_ns);
	sim_push(w, &(struct sim_event){.at_ns = in_order(w, &p->to_app_at_ns),
					.kind = EVENT_PACKET_TO_APP,
					.target = p->app,
					.payload = packet});
	if (breaks(w))
		pipe_break(w, p);
}

void sim_pipes_host_gone(struct host *h)
{
	struct world *w = h->world;
	bool machine = rng_chance(&w->net_rng, 300000);
	struct sim_pipe *p, *next;

	HASH_ITER(hh, pipes(w)->table, p, next) {
		if (p->host != h->index || p->process != h->process)
			continue;
		/* Of a machine that went, nothing is heard: its peer learns it when it asks. */
		if (machine)
			continue;
		tell_app(w, p);
		pipe_free(w, p);
	}
}

void sim_pipes_release(struct world *w)
{
	struct sim_pipe *p, *next;

	HASH_ITER(hh, pipes(w)->table, p, next)
		pipe_free(w, p);
}

/* ---- unary questions ------------------------------------------------------------------------ */

void sim_answer(struct world *w, uint32_t app, uint32_t life, uint64_t question, bool answered,
		const struct buffer *bytes)
{
	struct sim_packet *packet = packet_new(bytes);

	packet->question = question;
	packet->app = app;
	packet->life = life;
	packet->answered = answered;
	sim_push(w, &(struct sim_event){.at_ns = sim_net_arrival(w),
					.kind = EVENT_ANSWER,
					.target = app,
					.payload = packet});
}

void sim_ask(struct world *w, uint32_t app, uint32_t life, uint64_t question, uint32_t host,
	     const struct buffer *bytes)
{
	struct sim_packet *packet = packet_new(bytes), *late = packet_new(NULL);

	packet->question = question;
	packet->app = app;
	packet->life = life;
	sim_push(w, &(struct sim_event){.at_ns = when_connected(w, app, sim_net_arrival(w)),
					.kind = EVENT_PACKET_TO_HOST,
					.target = host,
					.payload = packet});
	late->question = question;
	late->app = app;
	late->life = life;
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns + ASK_PATIENCE_NS,
					.kind = EVENT_ANSWER,
					.target = app,
					.payload = late});
}

/* ---- arrival -------------------------------------------------------------------------------- */

bool sim_pipe_reaches(struct host *h, const struct sim_packet *packet)
{
	struct world *w = h->world;
	struct sim_pipe *p;

	if (packet->question != 0) {
		if (h->state == HOST_DOWN)
			sim_answer(w, packet->app, packet->life, packet->question, false, NULL);
		return h->state != HOST_DOWN;
	}
	p = sim_pipe_find(w, packet->pipe);
	/* The app let go of it meanwhile, but what it had sent arrives. */
	if (p == NULL)
		return h->state != HOST_DOWN;
	if (h->state != HOST_DOWN && p->process == 0)
		p->process = h->process;
	if (h->state != HOST_DOWN && p->process == h->process)
		return true;
	tell_app(w, p);
	pipe_free(w, p);
	return false;
}

void sim_pipe_event(struct world *w, struct sim_event *e)
{
	struct host *h = &w->hosts[e->target];

	if (h->state != HOST_DOWN)
		sim_host_event(h, e);
	else if (e->kind == EVENT_PACKET_TO_HOST)
		(void)sim_pipe_reaches(h, e->payload);
}
