/*
 * The search (Wing and Gong 1993, with the memory of Lowe 2017): take one after the other what may
 * come next, go back where nothing may, and never look twice at the same operations done and the
 * same state reached.
 *
 * What is left to do stands in a list of calls and returns in order of time; an operation may come
 * next if no return stands before its call. One of unknown outcome has no return.
 *
 * Two kinds of moves are never taken back. A look that fits and leaves the state as it is may as
 * well be now. And where the witness says which change is next, and it fits, nothing of unknown
 * outcome need come before it: what does not make the next one possible could as well happen after
 * it, or never (forced_change() has the exceptions).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "lin_model.h"

#define NONE UINT32_MAX

enum phase { MUST, MAY, EXHAUSTED };

/* A call, or a return: entry 2i and 2i + 1 of item i. The list's head is the last entry. */
struct entry {
	uint32_t next, prev;
};

struct frame {
	uint32_t item;
	enum phase phase;
	bool forced;
	struct lin_undo undo;
	uint64_t key[2];
};

struct seen {
	uint64_t (*keys)[2]; /* owned; open addressing, zeros are empty */
	uint64_t count, capacity;
};

struct search {
	const struct lin_items *t;
	struct lin_model model;
	struct entry *entries; /* owned */
	uint32_t head;
	struct frame *frames; /* owned */
	uint32_t depth;
	uint32_t must_left, best_left, stuck;
	uint32_t changes; /* of the witness, that are done */
	uint64_t set[2];  /* hash of what is done */
	struct seen seen;
	uint64_t steps, budget;
};

/* ---- memory --------------------------------------------------------------------------------- */

/* False: it was there. */
static bool seen_put(struct seen *s, const uint64_t key[2])
{
	uint64_t at = key[0] & (s->capacity - 1);

	while (s->keys[at][0] != 0 || s->keys[at][1] != 0) {
		if (s->keys[at][0] == key[0] && s->keys[at][1] == key[1])
			return false;
		at = (at + 1) & (s->capacity - 1);
	}
	s->keys[at][0] = key[0];
	s->keys[at][1] = key[1];
	s->count++;
	return true;
}

static bool seen_add(struct seen *s, const uint64_t key[2])
{
	struct seen old = *s;

	if (s->count * 2 < s->capacity)
		return seen_put(s, key);
	s->capacity = s->capacity * 2 + 256;
	while ((s->capacity & (s->capacity - 1)) != 0)
		s->capacity &= s->capacity - 1;
	s->keys = mem_zalloc(s->capacity * sizeof(*s->keys));
	s->count = 0;
	for (uint64_t i = 0; i < old.capacity; i++)
		if (old.keys[i][0] != 0 || old.keys[i][1] != 0)
			seen_put(s, old.keys[i]);
	free(old.keys);
	return seen_put(s, key);
}

static bool is_new(struct search *s)
{
	uint64_t state = lin_state_hash(&s->model.now);
	uint64_t key[2] = {s->set[0] ^ state, s->set[1] ^ lin_mix(state)};

	return seen_add(&s->seen, key);
}

/* ---- the list ------------------------------------------------------------------------------- */

struct moment {
	int64_t at_ns;
	uint32_t entry;
};

static int moment_compare(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;
	uint32_t x_return = x->entry & 1, y_return = y->entry & 1;

	if (x->at_ns != y->at_ns)
		return x->at_ns < y->at_ns ? -1 : 1;
	/* At one instant calls come first: what touches overlaps. */
	if (x_return != y_return)
		return x_return < y_return ? -1 : 1;
	return x->entry < y->entry ? -1 : x->entry > y->entry;
}

static void list_build(struct search *s)
{
	uint32_t count = 0, before;
	struct moment *m = mem_alloc(((size_t)s->t->count * 2 + 1) * sizeof(*m));

	for (uint32_t i = 0; i < s->t->count; i++) {
		const struct lin_item *item = &s->t->items[i];

		m[count++] = (struct moment){item->op->asked_ns, i * 2};
		if (item->must && item->op->answered_ns != LIN_NEVER)
			m[count++] = (struct moment){item->op->answered_ns, i * 2 + 1};
	}
	qsort(m, count, sizeof(*m), moment_compare);
	before = s->head;
	for (uint32_t i = 0; i < count; i++) {
		s->entries[before].next = m[i].entry;
		s->entries[m[i].entry].prev = before;
		before = m[i].entry;
	}
	s->entries[before].next = s->head;
	s->entries[s->head].prev = before;
	free(m);
}

static bool has_return(const struct lin_item *item)
{
	return item->must && item->op->answered_ns != LIN_NEVER;
}

static void entry_out(struct search *s, uint32_t e)
{
	s->entries[s->entries[e].prev].next = s->entries[e].next;
	s->entries[s->entries[e].next].prev = s->entries[e].prev;
}

static void entry_back(struct search *s, uint32_t e)
{
	s->entries[s->entries[e].prev].next = e;
	s->entries[s->entries[e].next].prev = e;
}

/* ---- moves ---------------------------------------------------------------------------------- */

static bool is_change(const struct lin_item *item)
{
	return item->rank != LIN_NO_RANK && !lin_only_looks(item->op);
}

static bool fits(struct search *s, uint32_t i, struct lin_undo *undo)
{
	const struct lin_item *item = &s->t->items[i];

	if (item->rank != LIN_NO_RANK && item->rank != s->changes)
		return false;
	s->steps++;
	return lin_step(&s->model, item->op, item->excused, undo);
}

static void toggle(struct search *s, uint32_t i)
{
	s->set[0] ^= lin_mix((uint64_t)i * 2 + 1);
	s->set[1] ^= lin_mix(~((uint64_t)i * 2));
}

/* The step is made already. */
static void forth(struct search *s, uint32_t i, enum phase phase, bool forced,
		  const struct lin_undo *undo)
{
	const struct lin_item *item = &s->t->items[i];

	s->frames[s->depth++] =
		(struct frame){.item = i, .phase = phase, .forced = forced, .undo = *undo};
	entry_out(s, i * 2);
	if (has_return(item))
		entry_out(s, i * 2 + 1);
	toggle(s, i);
	s->must_left -= item->must;
	s->changes += is_change(item);
}

static struct frame *back(struct search *s)
{
	struct frame *f = &s->frames[--s->depth];
	const struct lin_item *item = &s->t->items[f->item];

	s->changes -= is_change(item);
	s->must_left += item->must;
	toggle(s, f->item);
	if (has_return(item))
		entry_back(s, f->item * 2 + 1);
	entry_back(s, f->item * 2);
	lin_step_back(&s->model, &f->undo);
	return f;
}

/* The next candidate behind `from`: a call before which no return stands. */
static uint32_t candidate(const struct search *s, uint32_t from)
{
	uint32_t e = s->entries[from].next;

	return e == s->head || (e & 1) != 0 ? NONE : e / 2;
}

static bool forced_look(struct search *s)
{
	struct lin_undo undo;

	for (uint32_t i = candidate(s, s->head); i != NONE; i = candidate(s, i * 2)) {
		const struct lin_item *item = &s->t->items[i];

		if (!item->must || !lin_only_looks(item->op) || !fits(s, i, &undo))
			continue;
		if (lin_state_hash(&s->model.now) == lin_state_hash(&undo.state)) {
			forth(s, i, EXHAUSTED, true, &undo);
			return true;
		}
		lin_step_back(&s->model, &undo);
	}
	return false;
}

/*
 * May what is unknown wait until this change was made? Not where a blind write hides how many there
 * were before it, nor where the change may end a period that somebody unknown would have kept up,
 * or begin a bar.
 */
static bool may_come_first(const struct search *s, const struct lin_op *op)
{
	switch (op->verb) {
	case LIN_ACQUIRE:
	case LIN_CREATE:
	case LIN_DELETE:
		return true;
	case LIN_RELEASE:
		return s->model.now.mode == LIN_EXCLUSIVE;
	case LIN_WRITE:
	case LIN_CAS:
		return op->generation != 0;
	default:
		return false;
	}
}

static bool forced_change(struct search *s)
{
	struct lin_undo undo;
	uint32_t next = NONE;

	for (uint32_t i = candidate(s, s->head); i != NONE; i = candidate(s, i * 2)) {
		const struct lin_item *item = &s->t->items[i];

		if (!item->must)
			continue;
		if (item->rank == LIN_NO_RANK)
			return false;
		if (item->rank == s->changes && is_change(item))
			next = i;
		/* A look whose turn it is, and which does not fit. */
		if (item->rank == s->changes && !is_change(item))
			return false;
	}
	if (next == NONE || !may_come_first(s, s->t->items[next].op) || !fits(s, next, &undo))
		return false;
	forth(s, next, EXHAUSTED, true, &undo);
	return true;
}

/* Tries the candidates behind `from`; false if none is left. */
static bool try_next(struct search *s, enum phase phase, uint32_t from)
{
	struct lin_undo undo;

	for (; phase < EXHAUSTED; phase++, from = s->head) {
		for (uint32_t i = candidate(s, from); i != NONE; i = candidate(s, i * 2)) {
			if (s->t->items[i].must != (phase == MUST) || !fits(s, i, &undo))
				continue;
			forth(s, i, phase, false, &undo);
			if (is_new(s))
				return true;
			back(s);
		}
	}
	return false;
}

static void note_best(struct search *s)
{
	uint32_t e = s->entries[s->head].next;

	if (s->must_left >= s->best_left)
		return;
	s->best_left = s->must_left;
	while (e != s->head && (e & 1) == 0)
		e = s->entries[e].next;
	s->stuck = e == s->head ? NONE : e / 2;
	/* Nothing is due: the first that must be. */
	for (e = s->entries[s->head].next; s->stuck == NONE && e != s->head; e = s->entries[e].next)
		if (s->t->items[e / 2].must)
			s->stuck = e / 2;
}

static enum lin_verdict run(struct search *s)
{
	bool fresh = true;

	for (;;) {
		note_best(s);
		if (s->must_left == 0)
			return LIN_FINE;
		if (s->steps > s->budget)
			return LIN_GAVE_UP;
		if (fresh && (forced_look(s) || forced_change(s) || try_next(s, MUST, s->head)))
			continue;
		fresh = false;
		while (s->depth > 0) {
			struct frame *f = back(s);

			/* `back` left the frame as it is. */
			if (!f->forced && try_next(s, f->phase, f->item * 2)) {
				fresh = true;
				break;
			}
		}
		if (!fresh)
			return LIN_WRONG;
	}
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void report_fill(const struct lin_history *h, const struct search *s,
			struct lin_report *ret_report)
{
	char line[LIN_WHY_BYTES - 40];

	ret_report->steps = s->steps;
	ret_report->why[0] = '\0';
	if (ret_report->verdict == LIN_FINE || s->stuck == NONE)
		return;
	ret_report->op = (uint32_t)(s->t->items[s->stuck].op - h->ops);
	lin_print(h, s->t->items[s->stuck].op, line, sizeof(line));
	snprintf(ret_report->why, sizeof(ret_report->why), "%s: %s",
		 ret_report->verdict == LIN_WRONG ? "no place for" : "gave up at", line);
}

enum lin_verdict lin_items_search(const struct lin_history *h, const struct lin_items *t,
				  uint64_t budget, struct lin_report *ret_report)
{
	struct search s = {.t = t, .budget = budget, .head = t->count * 2, .best_left = NONE};

	s.entries = mem_zalloc(((size_t)t->count * 2 + 1) * sizeof(*s.entries));
	s.frames = mem_zalloc(((size_t)t->count + 1) * sizeof(*s.frames));
	s.stuck = NONE;
	for (uint32_t i = 0; i < t->count; i++)
		s.must_left += t->items[i].must;
	lin_model_init(&s.model, t->parties);
	list_build(&s);
	ret_report->verdict = run(&s);
	report_fill(h, &s, ret_report);
	lin_model_release(&s.model);
	free(s.entries);
	free(s.frames);
	free(s.seen.keys);
	return ret_report->verdict;
}
