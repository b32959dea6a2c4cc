#include <string.h>

#include "base/check.h"
#include "help.h"

#define WHOS_MAX 8

/* The numbers of a history, each larger than the one before; 0: not told so far. */
struct numbers {
	uint64_t told[BRUTE_MAX];
	uint32_t count;
};

struct replay {
	struct numbers numbers;
	bool exists;
	uint64_t value;
	bool holds[WHOS_MAX], dead[WHOS_MAX], shared;
	uint64_t grants[WHOS_MAX];
	int barred; /* 0: nobody, 1: exclusive ones, 2: everybody */
};

static bool numbers_can_be(const struct numbers *n)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < n->count; i++) {
		if (n->told[i] != 0 && n->told[i] <= last)
			return false;
		last = n->told[i] != 0 ? n->told[i] : last + 1;
	}
	return true;
}

static bool numbers_next(struct numbers *n, uint64_t told)
{
	CHECK(n->count < BRUTE_MAX);
	n->told[n->count++] = told;
	return numbers_can_be(n);
}

static bool numbers_tell(struct numbers *n, uint64_t told)
{
	uint64_t *newest = &n->told[n->count - 1];

	CHECK(n->count > 0);
	if (told == 0)
		return true;
	if (*newest != 0 && *newest != told)
		return false;
	*newest = told;
	return numbers_can_be(n);
}

static uint64_t numbers_newest(const struct numbers *n)
{
	CHECK(n->count > 0);
	return n->told[n->count - 1];
}

/* ---- files ---------------------------------------------------------------------------------- */

static bool file_refuses(struct replay *r, const struct lin_op *op)
{
	switch (op->verb) {
	case LIN_READ:
	case LIN_WRITE:
	case LIN_DELETE:
		return !r->exists;
	case LIN_CREATE:
		return r->exists;
	case LIN_CAS:
		return r->exists && op->generation != op->expected &&
		       numbers_tell(&r->numbers, op->generation) &&
		       numbers_newest(&r->numbers) != op->expected;
	default:
		return false;
	}
}

static bool file_does(struct replay *r, const struct lin_op *op)
{
	switch (op->verb) {
	case LIN_READ:
		return r->exists && r->value == op->value &&
		       numbers_tell(&r->numbers, op->generation);
	case LIN_DELETE:
		if (!r->exists)
			return false;
		r->exists = false;
		return true;
	case LIN_CAS:
		if (!r->exists || !numbers_tell(&r->numbers, op->expected))
			return false;
		break;
	case LIN_WRITE:
		if (!r->exists)
			return false;
		break;
	default:
		if (r->exists)
			return false;
	}
	r->exists = true;
	r->value = op->value;
	return numbers_next(&r->numbers, op->generation);
}

/* ---- locks ---------------------------------------------------------------------------------- */

static uint32_t holders(const struct replay *r)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < WHOS_MAX; i++)
		count += r->holds[i];
	return count;
}

static bool open_to(const struct replay *r, const struct lin_op *op)
{
	if (r->barred == 2 || (r->barred == 1 && !op->shared))
		return false;
	return holders(r) == 0 || (r->shared && op->shared);
}

static bool stands(struct replay *r, const struct lin_op *op)
{
	if (!r->holds[op->of])
		return false;
	if (op->grant != 0 && r->grants[op->of] != 0 && op->grant != r->grants[op->of])
		return false;
	return numbers_tell(&r->numbers, op->token);
}

static bool lock_refuses(struct replay *r, const struct lin_op *op)
{
	struct replay copy = *r;

	switch (op->verb) {
	case LIN_ACQUIRE:
		return !open_to(r, op);
	case LIN_RELEASE:
		return !r->holds[op->who];
	case LIN_CHECK:
		return !stands(&copy, op) || op->token == 0 || numbers_newest(&r->numbers) == 0 ||
		       (op->grant == 0) != (r->grants[op->of] == 0);
	default:
		return false;
	}
}

static bool grant(struct replay *r, const struct lin_op *op)
{
	bool first = holders(r) == 0;

	if (!open_to(r, op) || r->holds[op->who] || r->dead[op->who])
		return false;
	r->holds[op->who] = true;
	r->shared = op->shared;
	r->grants[op->who] = op->grant;
	return first ? numbers_next(&r->numbers, op->token) : numbers_tell(&r->numbers, op->token);
}

static bool lock_does(struct replay *r, const struct lin_op *op)
{
	switch (op->verb) {
	case LIN_ACQUIRE:
		return grant(r, op);
	case LIN_CHECK:
		return stands(r, op);
	case LIN_RELEASE:
		if (!r->holds[op->who])
			return false;
		r->holds[op->who] = false;
		return true;
	case LIN_EXPIRE:
		if (op->outcome == LIN_UNKNOWN && r->dead[op->who])
			return false;
		if (op->delays && r->holds[op->who] && r->barred != 2)
			r->barred = r->shared ? 1 : 2;
		r->holds[op->who] = false;
		r->dead[op->who] = true;
		return true;
	case LIN_BAR:
		r->barred = op->shared ? 1 : 2;
		return true;
	default:
		if (r->barred == 0)
			return false;
		r->barred = 0;
		return true;
	}
}

/* ---- orders --------------------------------------------------------------------------------- */

struct brute {
	const struct lin_history *h;
	bool witness;
	uint32_t order[BRUTE_MAX];
	uint32_t count;
};

static bool looks(const struct lin_op *op)
{
	return op->outcome == LIN_NO || op->verb == LIN_CHECK || op->verb == LIN_READ;
}

static bool must(const struct brute *b, const struct lin_op *op)
{
	return op->outcome != LIN_UNKNOWN || (b->witness && op->revision != 0 && !looks(op));
}

static bool in_order_of_revisions(const struct lin_op *a, const struct lin_op *b)
{
	if (a->revision == 0 || b->revision == 0 ||
	    (looks(a) && looks(b) && a->revision == b->revision))
		return true;
	if (a->revision != b->revision)
		return a->revision < b->revision;
	return !looks(a) && (looks(b) || a->place < b->place);
}

static bool order_can_be(const struct brute *b)
{
	struct replay r;

	memset(&r, 0, sizeof(r));
	for (uint32_t i = 0; i < b->count; i++) {
		const struct lin_op *op = &b->h->ops[b->order[i]];
		bool file = op->verb >= LIN_READ;

		for (uint32_t j = 0; j < i; j++) {
			const struct lin_op *before = &b->h->ops[b->order[j]];

			if (must(b, op) && op->answered_ns < before->asked_ns)
				return false;
			if (b->witness && !in_order_of_revisions(before, op))
				return false;
		}
		if (op->outcome == LIN_NO ? !(file ? file_refuses : lock_refuses)(&r, op)
					  : !(file ? file_does : lock_does)(&r, op))
			return false;
	}
	return true;
}

static bool try_orders(struct brute *b, uint32_t used)
{
	bool all = true;

	if (!order_can_be(b))
		return false;
	for (uint32_t i = 0; i < b->h->count; i++)
		all &= (used >> i & 1) != 0 || !must(b, &b->h->ops[i]);
	if (all)
		return true;
	for (uint32_t i = 0; i < b->h->count; i++) {
		if ((used >> i & 1) != 0)
			continue;
		b->order[b->count++] = i;
		if (try_orders(b, used | 1U << i))
			return true;
		b->count--;
	}
	return false;
}

bool brute_force(const struct lin_history *h, bool witness)
{
	struct brute b = {.h = h, .witness = witness};

	CHECK(h->count <= BRUTE_MAX && h->who_count <= WHOS_MAX && h->object_count <= 1);
	return try_orders(&b, 0);
}
