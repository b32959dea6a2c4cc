/*
 * The two judges: what is given to the search, with which order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "lin_model.h"

/* ---- what is to be judged ------------------------------------------------------------------- */

/* Another's acquire queued while this one was refused: the queue goes first. */
static bool excused(const struct lin_history *h, const struct lin_op *op, const uint32_t *queuers,
		    uint32_t count)
{
	if (op->verb != LIN_ACQUIRE || op->outcome != LIN_NO)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		const struct lin_op *other = &h->ops[queuers[i]];

		if (other->who != op->who && other->asked_ns <= op->answered_ns &&
		    other->answered_ns >= op->asked_ns)
			return true;
	}
	return false;
}

static bool happened(const struct lin_op *op, bool with_revisions)
{
	return op->outcome != LIN_UNKNOWN || (with_revisions && op->revision != 0);
}

static bool is_left_out(const struct lin_op *op)
{
	/* Who left the queue was told nothing of the lock. */
	if (op->verb == LIN_ACQUIRE && op->outcome == LIN_NO && op->waits)
		return true;
	return op->outcome == LIN_UNKNOWN && (op->verb == LIN_CHECK || op->verb == LIN_READ);
}

void lin_items_init(struct lin_items *t, const struct lin_history *h, uint32_t object,
		    bool with_revisions)
{
	uint32_t *queuers = mem_alloc(((size_t)h->count + 1) * sizeof(*queuers));
	uint32_t count = 0;

	*t = (struct lin_items){.parties = h->who_count};
	t->items = mem_zalloc(((size_t)h->count + 1) * sizeof(*t->items));
	for (uint32_t i = 0; i < h->count; i++)
		if (h->ops[i].object == object && h->ops[i].verb == LIN_ACQUIRE && h->ops[i].waits)
			queuers[count++] = i;
	for (uint32_t i = 0; i < h->count; i++) {
		const struct lin_op *op = &h->ops[i];

		if (op->object != object || is_left_out(op))
			continue;
		t->items[t->count++] = (struct lin_item){
			.op = op,
			.must = happened(op, with_revisions),
			.excused = excused(h, op, queuers, count),
			.rank = LIN_NO_RANK,
		};
	}
	free(queuers);
}

void lin_items_release(struct lin_items *t)
{
	free(t->items);
}

enum lin_verdict lin_search(const struct lin_history *h, uint32_t object, uint64_t budget,
			    struct lin_report *ret_report)
{
	struct lin_items t;

	memset(ret_report, 0, sizeof(*ret_report));
	lin_items_init(&t, h, object, false);
	lin_items_search(h, &t, budget, ret_report);
	lin_items_release(&t);
	return ret_report->verdict;
}

/* ---- the witness ---------------------------------------------------------------------------- */

static int by_revision(const void *a, const void *b)
{
	const struct lin_op *x = (*(struct lin_item *const *)a)->op;
	const struct lin_op *y = (*(struct lin_item *const *)b)->op;
	bool x_looks = lin_only_looks(x), y_looks = lin_only_looks(y);

	if (x->revision != y->revision)
		return x->revision < y->revision ? -1 : 1;
	/* Who looks at a revision sees all of it. */
	if (x_looks != y_looks)
		return x_looks ? 1 : -1;
	if (!x_looks && x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x < y ? -1 : x > y;
}

static void object_to(const struct lin_history *h, const struct lin_op *op, const char *what,
		      struct lin_report *ret_report)
{
	char line[LIN_WHY_BYTES - 60];

	lin_print(h, op, line, sizeof(line));
	ret_report->verdict = LIN_WRONG;
	ret_report->op = (uint32_t)(op - h->ops);
	snprintf(ret_report->why, sizeof(ret_report->why), "%s: %s", what, line);
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Ranks those that have a revision; false if their order cannot be. */
static bool order(const struct lin_history *h, struct lin_item **sorted, uint32_t count,
		  struct lin_report *ret_report)
{
	/* The latest call of all that surely come before; of those that may come in any order. */
	int64_t before_ns = INT64_MIN, beside_ns = INT64_MIN;
	const struct lin_op *last = NULL;
	uint32_t changes = 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct lin_op *op = sorted[i]->op;
		bool looks = lin_only_looks(op);
		bool same = last != NULL && last->revision == op->revision;

		if (!looks && same && last->place == op->place) {
			object_to(h, op, "two changes at one revision", ret_report);
			return false;
		}
		/* Looks at one revision are in no order. */
		if (!looks || !same || !lin_only_looks(last)) {
			before_ns = later(before_ns, beside_ns);
			beside_ns = INT64_MIN;
		}
		if (op->answered_ns < before_ns) {
			object_to(h, op, "answered before an earlier revision was asked for",
				  ret_report);
			return false;
		}
		beside_ns = later(beside_ns, op->asked_ns);
		sorted[i]->rank = changes;
		changes += !looks;
		last = op;
	}
	return true;
}

enum lin_verdict lin_witness(const struct lin_history *h, uint32_t object, uint64_t budget,
			     struct lin_report *ret_report)
{
	struct lin_items t;
	struct lin_item **sorted;
	uint32_t count = 0;

	memset(ret_report, 0, sizeof(*ret_report));
	lin_items_init(&t, h, object, true);
	sorted = mem_alloc(((size_t)t.count + 1) * sizeof(struct lin_item *));
	for (uint32_t i = 0; i < t.count; i++)
		if (t.items[i].op->revision != 0)
			sorted[count++] = &t.items[i];
	qsort(sorted, count, sizeof(struct lin_item *), by_revision);
	if (order(h, sorted, count, ret_report))
		lin_items_search(h, &t, budget, ret_report);
	free(sorted);
	lin_items_release(&t);
	return ret_report->verdict;
}

enum lin_verdict lin_judge(const struct lin_history *h, uint64_t budget,
			   struct lin_report *ret_report)
{
	struct lin_report gave_up = {.verdict = LIN_FINE};
	uint64_t steps = 0;

	for (uint32_t object = 0; object < h->object_count; object++) {
		uint32_t count = 0;
		bool revisions = false;

		for (uint32_t i = 0; i < h->count; i++) {
			count += h->ops[i].object == object;
			revisions |= h->ops[i].object == object && h->ops[i].revision != 0;
		}
		for (int judge = 0; judge < 2; judge++) {
			if (judge == 0 ? !revisions : revisions && count > LIN_SEARCH_MAX)
				continue;
			(judge == 0 ? lin_witness : lin_search)(h, object, budget, ret_report);
			steps += ret_report->steps;
			ret_report->steps = steps;
			if (ret_report->verdict == LIN_WRONG)
				return LIN_WRONG;
			if (ret_report->verdict == LIN_GAVE_UP)
				gave_up = *ret_report;
		}
	}
	if (gave_up.verdict != LIN_GAVE_UP)
		memset(ret_report, 0, sizeof(*ret_report));
	else
		*ret_report = gave_up;
	ret_report->steps = steps;
	return ret_report->verdict;
}
