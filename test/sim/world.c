#include "full.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The faults stop this long before the end. */
#define CALM_BEFORE_END_NS (15 * NS_PER_S)
#define SETTLE_NS (5 * NS_PER_S)

void sim_hash(struct world *w, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t hash = w->trace_hash;

	hash = (hash ^ a) * UINT64_C(0x9e3779b97f4a7c15);
	hash = (hash ^ hash >> 32 ^ b) * UINT64_C(0xbf58476d1ce4e5b9);
	hash = (hash ^ hash >> 29 ^ c) * UINT64_C(0x94d049bb133111eb);
	hash = (hash ^ hash >> 31 ^ (uint64_t)w->now_ns) * UINT64_C(0x9e3779b97f4a7c15);
	w->trace_hash = hash ^ hash >> 30;
}

void sim_trace(struct world *w, const char *format, ...)
{
	va_list arguments;

	if (!w->options->trace)
		return;
	printf("%11.6f ", (double)w->now_ns / 1e9);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

void sim_fail(struct world *w, const char *format, ...)
{
	va_list arguments;

	if (w->failed)
		return;
	w->failed = true;
	va_start(arguments, format);
	vsnprintf(w->failure, sizeof(w->failure), format, arguments);
	va_end(arguments);
	sim_trace(w, "VIOLATED %s", w->failure);
}

static void probe(struct world *w)
{
	int64_t bound_ns = w->options->profile->headless_max_ns;

	for (uint32_t i = 0; i < w->options->replicas; i++) {
		if (!sim_host_serves(&w->hosts[i]))
			continue;
		sim_check_read(&w->hosts[i], sim_checker_acked_revision(w->checker));
		w->served_ns = w->now_ns;
	}
	if (bound_ns > 0 && w->now_ns - w->served_ns > bound_ns)
		sim_fail(w, "liveness: no master for longer than %d ms",
			 (int)(bound_ns / NS_PER_MS));
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns +
						 rng_between(&w->host_rng, 1, 100 * NS_PER_MS),
					.kind = EVENT_PROBE});
}

static void handle(struct world *w, struct sim_event *e)
{
	struct host *h = &w->hosts[e->target < MEMBERS_MAX ? e->target : 0];

	switch (e->kind) {
	case EVENT_CLIENT:
		sim_client_act(w, e->target);
		break;
	case EVENT_REPLY:
		sim_client_reply(w, e->payload);
		break;
	case EVENT_START:
		if (h->state == HOST_DOWN && h->process == e->process)
			sim_host_start(h);
		break;
	case EVENT_RESUME:
		if (h->state == HOST_PAUSED && h->process == e->process)
			sim_host_resume(h);
		break;
	case EVENT_FAULT:
		sim_fault(w, e->number);
		break;
	case EVENT_HEAL:
		sim_net_heal(w, e->number);
		break;
	case EVENT_CALM:
		sim_faults_calm(w);
		break;
	case EVENT_SETTLED:
		sim_check_settled(w);
		break;
	case EVENT_NEAR_END:
		for (uint32_t i = 0; i < w->options->replicas; i++)
			if (w->hosts[i].applied.n > w->applied_near_end)
				w->applied_near_end = w->hosts[i].applied.n;
		break;
	case EVENT_PROBE:
		probe(w);
		break;
	case EVENT_PACKET_TO_HOST:
	case EVENT_PIPE_CLOSED:
		sim_pipe_event(w, e);
		break;
	case EVENT_PACKET_TO_APP:
	case EVENT_PIPE_LOST:
	case EVENT_ANSWER:
	case EVENT_APP_TICK:
	case EVENT_APP_ACT:
	case EVENT_APP_START:
	case EVENT_APP_RESUME:
		sim_app_event(w, e);
		break;
	case EVENT_STORAGE:
		sim_check_storage(w, e->payload);
		break;
	default:
		sim_host_event(h, e);
	}
}

/* Every seed has a character of its own: each rate somewhere below the profile's bound. */
static uint32_t draw_below(struct world *w, uint32_t bound_ppm)
{
	if (bound_ppm == 0 || rng_chance(&w->fault_rng, 250000))
		return 0;
	return (uint32_t)rng_below(&w->fault_rng, bound_ppm + 1);
}

static void world_init(struct world *w, const struct sim_options *options, uint64_t seed)
{
	struct rng root;

	memset(w, 0, sizeof(*w));
	w->options = options;
	w->seed = seed;
	rng_init(&root, seed);
	rng_init(&w->net_rng, rng_next(&root));
	rng_init(&w->disk_rng, rng_next(&root));
	rng_init(&w->fault_rng, rng_next(&root));
	rng_init(&w->client_rng, rng_next(&root));
	rng_init(&w->host_rng, rng_next(&root));
	w->net.loss_ppm = draw_below(w, options->profile->loss_ppm);
	w->net.duplicate_ppm = draw_below(w, options->profile->duplicate_ppm);
	w->net.slow_ppm = draw_below(w, options->profile->slow_ppm);
	w->checker = sim_checker_new(w);
	for (uint32_t i = 0; i < options->replicas; i++) {
		sim_host_init(&w->hosts[i], w, i);
		w->hosts[i].clock.base_local_ns = rng_between(&w->host_rng, NS_PER_S,
							      1000 * NS_PER_S);
		sim_fault_clock(w, &w->hosts[i]);
	}
	if (options->profile->full)
		sim_apps_start(w);
	for (uint32_t i = 0; i < options->replicas; i++)
		sim_host_start(&w->hosts[i]);
	for (uint32_t i = 0; i < options->clients && !options->profile->full; i++)
		sim_client_init(w, i);
}

void sim_world_run(struct world *w, const struct sim_options *options, uint64_t seed)
{
	int64_t calm_ns = options->until_ns - CALM_BEFORE_END_NS;
	struct sim_event e;

	CHECK(calm_ns > 0);
	world_init(w, options, seed);
	sim_faults_schedule(w);
	sim_push(w, &(struct sim_event){.at_ns = calm_ns, .kind = EVENT_CALM});
	sim_push(w, &(struct sim_event){.at_ns = calm_ns + SETTLE_NS, .kind = EVENT_SETTLED});
	sim_push(w, &(struct sim_event){.at_ns = options->until_ns - NS_PER_S,
					.kind = EVENT_NEAR_END});
	sim_push(w, &(struct sim_event){.at_ns = 0, .kind = EVENT_PROBE});
	while (!w->failed && sim_pop(w, &e)) {
		CHECK(e.at_ns >= w->now_ns);
		if (e.at_ns > options->until_ns) {
			sim_event_release(&e);
			break;
		}
		w->now_ns = e.at_ns;
		w->steps++;
		handle(w, &e);
		sim_event_release(&e);
	}
	if (!w->failed)
		sim_check_end(w);
	sim_hash(w, w->steps, w->attempts, w->failed);
}

void sim_world_release(struct world *w)
{
	struct sim_event e;

	for (uint32_t i = 0; i < w->options->replicas; i++)
		sim_host_release(&w->hosts[i]);
	sim_apps_release(w);
	while (sim_pop(w, &e))
		sim_event_release(&e);
	free(w->queue.heap);
	sim_checker_free(w->checker);
}
