/*
 * The network: every ordered pair of hosts is a link that delays, drops, duplicates and overtakes,
 * and that can be cut in one direction. Messages in flight outlive the process that sent them.
 */
#include "sim.h"

#include <string.h>

/* How many messages in a million take the way through bytes, to exercise the codec. */
#define CODEC_PPM 20000

void sim_learn_free(struct codec_learn *l)
{
	for (uint32_t i = 0; i < l->entry_count; i++)
		value_unref(l->entries[i].value);
	free(l->entries);
	free(l);
}

static struct paxos_message *message_copy(const struct paxos_message *m)
{
	struct paxos_message *copy = mem_dup(m, sizeof(*m));

	if (m->value != NULL)
		value_ref(copy->value);
	copy->accepted = NULL;
	if (m->accepted_count > 0) {
		copy->accepted = mem_dup(m->accepted, m->accepted_count * sizeof(*m->accepted));
		for (uint32_t i = 0; i < m->accepted_count; i++)
			if (copy->accepted[i].value != NULL)
				value_ref(copy->accepted[i].value);
	}
	return copy;
}

/* The same through a peer frame. */
static struct paxos_message *message_through_codec(struct world *w, const struct paxos_message *m)
{
	struct paxos_message *copy = NULL;
	struct codec_frame frame;
	struct buffer bytes;
	struct arena arena;

	buffer_init(&bytes, CODEC_FRAME_MAX_BYTES);
	arena_init(&arena, CODEC_FRAME_MAX_BYTES * 4);
	memset(&frame, 0, sizeof(frame));
	if (codec_frame_message(&bytes, m) == ERROR_OK &&
	    codec_decode_frame(buffer_view(&bytes), &arena, &frame) == ERROR_OK &&
	    frame.message_count == 1)
		copy = message_copy(&frame.messages[0]);
	else
		sim_fail(w, "a %s does not survive its encoding", paxos_kind_name(m->kind));
	codec_frame_release(&frame);
	arena_release(&arena);
	buffer_release(&bytes);
	return copy;
}

int64_t sim_net_arrival(struct world *w)
{
	const struct sim_profile *p = w->options->profile;
	int64_t at_ns = w->now_ns + rng_between(&w->net_rng, 20 * NS_PER_US, p->delay_max_ns);

	if (!w->calm && rng_chance(&w->net_rng, w->net.slow_ppm))
		at_ns += rng_between(&w->net_rng, 0, p->slow_max_ns);
	return at_ns;
}

static void deliver(struct host *from, struct host *to, const struct paxos_message *m)
{
	struct world *w = from->world;
	struct paxos_message *copy;

	copy = rng_chance(&w->net_rng, CODEC_PPM) ? message_through_codec(w, m) : message_copy(m);
	if (copy == NULL)
		return;
	sim_push(w, &(struct sim_event){.at_ns = sim_net_arrival(w),
					.kind = EVENT_MESSAGE,
					.target = to->index,
					.source = from->index,
					.payload = copy});
}

void sim_net_send(struct host *from, struct replica_id to_id, const struct paxos_message *m)
{
	struct world *w = from->world;
	struct host *to = sim_host(w, to_id);

	sim_hash(w, (uint64_t)m->kind << 16 | from->index << 8 | to->index, m->slot.n,
		 m->ballot.round);
	sim_trace(w, "r%u -> r%u %s ballot %llu.%u slot %llu chosen %llu", from->id.n, to_id.n,
		  paxos_kind_name(m->kind), (unsigned long long)m->ballot.round,
		  m->ballot.replica.n, (unsigned long long)m->slot.n,
		  (unsigned long long)m->chosen.n);
	if (w->net.cut[from->index][to->index] > 0)
		return;
	if (!w->calm && rng_chance(&w->net_rng, w->net.loss_ppm))
		return;
	deliver(from, to, m);
	if (!w->calm && rng_chance(&w->net_rng, w->net.duplicate_ppm))
		deliver(from, to, m);
}

void sim_net_send_learn(struct host *from, struct replica_id to, struct codec_learn *l)
{
	struct world *w = from->world;
	struct host *target = sim_host(w, to);

	sim_hash(w, from->index << 8 | target->index, l->entry_count, l->chosen.n);
	if (w->net.cut[from->index][target->index] > 0) {
		sim_learn_free(l);
		return;
	}
	sim_push(w, &(struct sim_event){.at_ns = sim_net_arrival(w),
					.kind = EVENT_LEARN,
					.target = target->index,
					.source = from->index,
					.payload = l});
}

static void connect(struct world *w, uint32_t a, uint32_t b)
{
	int64_t at_ns = w->now_ns + rng_between(&w->net_rng, NS_PER_MS, 200 * NS_PER_MS);

	if (w->net.cut[a][b] > 0 || w->net.cut[b][a] > 0)
		return;
	if (w->hosts[a].state == HOST_DOWN || w->hosts[b].state == HOST_DOWN)
		return;
	sim_push(w, &(struct sim_event){.at_ns = at_ns,
					.kind = EVENT_CONNECTED,
					.target = a,
					.source = b,
					.process = w->hosts[a].process});
	sim_push(w, &(struct sim_event){.at_ns = at_ns,
					.kind = EVENT_CONNECTED,
					.target = b,
					.source = a,
					.process = w->hosts[b].process});
}

void sim_net_started(struct host *h)
{
	for (uint32_t i = 0; i < h->world->options->replicas; i++)
		if (i != h->index)
			connect(h->world, h->index, i);
}

/* ---- cuts ----------------------------------------------------------------------------------- */

static uint32_t cut_shape(const struct world *w, uint64_t cut)
{
	uint32_t shapes = w->options->profile->cut_shapes;

	return (uint32_t)(cut % 256 % (shapes == 0 ? 6 : shapes));
}

/* A cut is its number: which links it takes is drawn again from it when it heals. */
static bool cut_takes(struct world *w, uint64_t cut, uint32_t from, uint32_t to)
{
	uint32_t count = w->options->replicas;
	uint64_t draw = cut >> 8;
	uint32_t a = (uint32_t)(draw % count), b = (uint32_t)(draw / count % (count - 1));
	uint32_t sides = (uint32_t)(draw % (1u << count));

	if (b >= a)
		b++;
	switch (cut_shape(w, cut)) {
	case 0: /* one link, one way */
		return from == a && to == b;
	case 1: /* one link, both ways */
		return (from == a && to == b) || (from == b && to == a);
	case 2: /* one host hears nobody */
		return to == a;
	case 3: /* nobody hears one host */
		return from == a;
	case 4: /* one host alone */
		return from == a || to == a;
	default: /* two sides */
		return (sides >> from & 1) != (sides >> to & 1);
	}
}

static void cut_change(struct world *w, uint64_t cut, bool on)
{
	for (uint32_t from = 0; from < w->options->replicas; from++) {
		for (uint32_t to = 0; to < w->options->replicas; to++) {
			if (from == to || !cut_takes(w, cut, from, to))
				continue;
			if (on)
				w->net.cut[from][to]++;
			else if (--w->net.cut[from][to] == 0)
				connect(w, from, to);
		}
	}
}

void sim_net_fault(struct world *w)
{
	uint64_t cut = rng_next(&w->fault_rng);
	int64_t long_ns = rng_chance(&w->fault_rng, 500000) ? 600 * NS_PER_MS : 6 * NS_PER_S;

	sim_trace(w, "cut of shape %u", cut_shape(w, cut));
	w->net.cuts++;
	cut_change(w, cut, true);
	sim_push(w, &(struct sim_event){.at_ns = w->now_ns +
						 rng_between(&w->fault_rng, NS_PER_MS, long_ns),
					.kind = EVENT_HEAL,
					.number = cut});
}

void sim_net_heal(struct world *w, uint64_t cut)
{
	if (w->calm)
		return;
	sim_trace(w, "a cut of shape %u heals", cut_shape(w, cut));
	cut_change(w, cut, false);
}

void sim_net_calm(struct world *w)
{
	memset(w->net.cut, 0, sizeof(w->net.cut));
	for (uint32_t a = 0; a < w->options->replicas; a++)
		for (uint32_t b = a + 1; b < w->options->replicas; b++)
			connect(w, a, b);
}

/* ---- clients' connections ------------------------------------------------------------------- */

void sim_net_to_host(struct world *w, uint32_t target, const struct sim_request *r)
{
	if (!w->calm && rng_chance(&w->net_rng, w->net.loss_ppm))
		return;
	sim_push(w, &(struct sim_event){.at_ns = sim_net_arrival(w),
					.kind = EVENT_REQUEST,
					.target = target,
					.payload = mem_dup(r, sizeof(*r))});
}

void sim_net_to_client(struct world *w, const struct sim_reply *r)
{
	sim_check_answered(w, r->attempt);
	if (!w->calm && rng_chance(&w->net_rng, w->net.loss_ppm))
		return;
	sim_push(w, &(struct sim_event){.at_ns = sim_net_arrival(w),
					.kind = EVENT_REPLY,
					.target = r->client,
					.payload = mem_dup(r, sizeof(*r))});
}
