#include "sim.h"

/* What happens first: by time, then by order of making. */
static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
	if (a->at_ns != b->at_ns)
		return a->at_ns < b->at_ns;
	return a->sequence < b->sequence;
}

void sim_push(struct world *w, const struct sim_event *e)
{
	struct sim_queue *q = &w->queue;
	uint32_t at = q->count;

	CHECK(e->at_ns >= w->now_ns);
	if (q->count == q->capacity) {
		q->capacity = q->capacity == 0 ? 256 : q->capacity * 2;
		q->heap = mem_realloc_array(q->heap, q->capacity, sizeof(*q->heap));
	}
	q->count++;
	q->heap[at] = *e;
	q->heap[at].sequence = ++q->sequence;
	while (at > 0 && earlier(&q->heap[at], &q->heap[(at - 1) / 2])) {
		struct sim_event parent = q->heap[(at - 1) / 2];

		q->heap[(at - 1) / 2] = q->heap[at];
		q->heap[at] = parent;
		at = (at - 1) / 2;
	}
}

bool sim_pop(struct world *w, struct sim_event *ret_event)
{
	struct sim_queue *q = &w->queue;
	struct sim_event last;
	uint32_t at = 0;

	if (q->count == 0)
		return false;
	*ret_event = q->heap[0];
	last = q->heap[--q->count];
	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= q->count)
			break;
		if (child + 1 < q->count && earlier(&q->heap[child + 1], &q->heap[child]))
			child++;
		if (!earlier(&q->heap[child], &last))
			break;
		q->heap[at] = q->heap[child];
		at = child;
	}
	if (q->count > 0)
		q->heap[at] = last;
	return true;
}

void sim_event_release(struct sim_event *e)
{
	if (e->payload == NULL)
		return;
	if (e->kind == EVENT_MESSAGE)
		paxos_message_release(e->payload);
	if (e->kind == EVENT_LEARN)
		sim_learn_free(e->payload);
	else if (e->kind == EVENT_SNAPSHOT)
		sim_snapshot_free(e->payload);
	else
		free(e->payload);
	e->payload = NULL;
}
