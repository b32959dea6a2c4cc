#include "master/timers.h"

#include "base/check.h"

static bool earlier(const struct timer *a, const struct timer *b)
{
	if (a->at_ns != b->at_ns)
		return a->at_ns < b->at_ns;
	return a->order < b->order;
}

static void place(struct timers *t, size_t position, struct timer *timer)
{
	t->heap[position] = timer;
	timer->position = position;
}

static void sift_up(struct timers *t, struct timer *timer)
{
	size_t position = timer->position;

	while (position > 1 && earlier(timer, t->heap[position / 2])) {
		place(t, position, t->heap[position / 2]);
		position /= 2;
	}
	place(t, position, timer);
}

static void sift_down(struct timers *t, struct timer *timer)
{
	size_t position = timer->position;

	for (;;) {
		size_t child = position * 2;

		if (child > t->count)
			break;
		if (child < t->count && earlier(t->heap[child + 1], t->heap[child]))
			child++;
		if (!earlier(t->heap[child], timer))
			break;
		place(t, position, t->heap[child]);
		position = child;
	}
	place(t, position, timer);
}

void timers_release(struct timers *t)
{
	free(t->heap);
	*t = (struct timers){0};
}

void timers_set(struct timers *t, struct timer *timer, int64_t at_ns)
{
	timers_cancel(t, timer);
	if (t->count + 2 > t->capacity) {
		t->capacity = t->capacity == 0 ? 64 : t->capacity * 2;
		t->heap = mem_realloc_array(t->heap, t->capacity, sizeof(*t->heap));
	}
	timer->at_ns = at_ns;
	timer->order = t->next_order++;
	t->count++;
	place(t, t->count, timer);
	sift_up(t, timer);
}

void timers_cancel(struct timers *t, struct timer *timer)
{
	struct timer *last;
	size_t position = timer->position;

	if (position == 0)
		return;
	CHECK(position <= t->count && t->heap[position] == timer);
	last = t->heap[t->count];
	t->count--;
	timer->position = 0;
	if (last == timer)
		return;
	place(t, position, last);
	sift_up(t, last);
	sift_down(t, last);
}

int64_t timers_next(const struct timers *t)
{
	return t->count == 0 ? INT64_MAX : t->heap[1]->at_ns;
}

struct timer *timers_expire(struct timers *t, int64_t now_ns)
{
	struct timer *first;

	if (t->count == 0 || t->heap[1]->at_ns > now_ns)
		return NULL;
	first = t->heap[1];
	timers_cancel(t, first);
	return first;
}
