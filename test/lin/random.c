/*
 * A faultless object, and clients that call it at random: a call takes effect somewhere between its
 * question and its answer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "help.h"

struct planned {
	uint32_t who;
	int64_t asked_ns, effect_ns, answered_ns;
};

struct object {
	uint64_t revision, number;
	/* A lock's. */
	bool shared, barred;
	uint32_t holders;
	bool holds[64], dead[64];
	uint64_t grants[64];
	uint64_t old_token, old_grant; /* of somebody's earlier hold */
	uint32_t old_who;
	/* A file's. */
	bool exists;
	uint64_t value, old_number;
};

static int by_effect(const void *a, const void *b)
{
	const struct planned *x = a, *y = b;

	return x->effect_ns < y->effect_ns ? -1 : x->effect_ns > y->effect_ns;
}

/* ---- what is asked -------------------------------------------------------------------------- */

static void file_ask(const struct object *o, struct rng *rng, struct lin_op *op)
{
	static const enum lin_verb verbs[] = {LIN_READ, LIN_READ,   LIN_WRITE,  LIN_CAS,   LIN_CAS,
					      LIN_CAS,  LIN_CREATE, LIN_CREATE, LIN_DELETE};

	op->verb = verbs[rng_below(rng, sizeof(verbs) / sizeof(verbs[0]))];
	op->value = 1 + rng_below(rng, 4);
	if (op->verb == LIN_CAS)
		op->expected = rng_below(rng, 3) > 0 ? o->number : o->old_number;
	if (op->expected == 0)
		op->expected = op->verb == LIN_CAS;
}

static void lock_ask(const struct object *o, struct rng *rng, struct lin_op *op)
{
	uint64_t draw = rng_below(rng, 20);

	op->shared = rng_below(rng, 2) == 0;
	if (o->barred && draw < 8) {
		op->verb = LIN_UNBAR;
	} else if (draw < 4) {
		op->verb = LIN_CHECK;
		op->of = o->old_who;
		op->token = o->old_token;
		op->grant = o->old_grant;
	} else if (draw < 6) {
		op->verb = LIN_EXPIRE;
		op->delays = rng_below(rng, 2) == 0;
	} else {
		op->verb = o->holds[op->who] && draw < 15 ? LIN_RELEASE : LIN_ACQUIRE;
	}
}

/* ---- what it does --------------------------------------------------------------------------- */

static bool file_do(struct object *o, struct lin_op *op)
{
	switch (op->verb) {
	case LIN_READ:
		op->value = o->value;
		op->generation = o->number;
		return o->exists;
	case LIN_CREATE:
		if (o->exists)
			return false;
		break;
	case LIN_CAS:
		if (!o->exists)
			return false;
		op->generation = o->number;
		if (op->expected != o->number)
			return false;
		break;
	default:
		if (!o->exists)
			return false;
		break;
	}
	o->exists = op->verb != LIN_DELETE;
	o->revision++;
	if (o->exists) {
		o->old_number = o->number;
		o->number = o->revision;
		o->value = op->value;
		op->generation = o->number;
	}
	return true;
}

static bool lock_grant(struct object *o, struct lin_op *op)
{
	if (o->barred || (o->holders > 0 && !(o->shared && op->shared)))
		return false;
	o->revision++;
	if (o->holders++ == 0)
		o->number = o->revision;
	o->shared = op->shared;
	o->holds[op->who] = true;
	op->token = o->number;
	op->grant = o->grants[op->who] = o->revision;
	o->old_who = op->who;
	o->old_token = op->token;
	o->old_grant = op->grant;
	return true;
}

static bool lock_do(struct object *o, struct lin_op *op)
{
	switch (op->verb) {
	case LIN_ACQUIRE:
		return lock_grant(o, op);
	case LIN_CHECK:
		return o->holds[op->of] && o->grants[op->of] == op->grant;
	case LIN_RELEASE:
		if (!o->holds[op->who])
			return false;
		break;
	case LIN_EXPIRE:
		o->dead[op->who] = true;
		o->barred |= op->delays && o->holds[op->who] && !o->shared;
		op->delays &= o->holds[op->who] && !o->shared;
		break;
	default:
		o->barred = false;
		break;
	}
	if (op->verb != LIN_UNBAR) {
		o->holders -= o->holds[op->who];
		o->holds[op->who] = false;
	}
	o->revision++;
	return true;
}

/* What an object would not say, and a model need not know what to answer. */
static bool makes_sense(const struct object *o, const struct lin_op *op)
{
	switch (op->verb) {
	case LIN_ACQUIRE:
		return !o->holds[op->who] && !o->dead[op->who];
	case LIN_CHECK:
		return op->token != 0;
	case LIN_EXPIRE:
		return !o->dead[op->who];
	case LIN_UNBAR:
		return o->barred;
	case LIN_CAS:
		return o->exists;
	default:
		return true;
	}
}

static void carry_out(struct lin_history *h, struct object *o, struct rng *rng,
		      const struct random_plan *plan, const struct planned *p)
{
	struct lin_op op = {.who = p->who, .asked_ns = p->asked_ns, .answered_ns = p->answered_ns};
	bool unknown = rng_chance(rng, plan->unknown_ppm), looks;

	(plan->files ? file_ask : lock_ask)(o, rng, &op);
	if (!makes_sense(o, &op) || (plan->immortal && op.verb == LIN_EXPIRE))
		return;
	looks = op.verb == LIN_CHECK || op.verb == LIN_READ;
	if (unknown && !looks)
		op.answered_ns = LIN_NEVER;
	if (unknown && (looks || rng_below(rng, 2) == 0)) {
		op.outcome = LIN_UNKNOWN;
	} else if (!(plan->files ? file_do : lock_do)(o, &op)) {
		op.outcome = LIN_NO;
		/* The refusal is lost, and says nothing. */
		if (unknown)
			return;
	} else {
		op.outcome = unknown ? LIN_UNKNOWN : LIN_OK;
		op.revision = o->revision;
	}
	if (rng_chance(rng, plan->silent_ppm) || op.verb == LIN_CHECK)
		op.revision = 0;
	if (unknown && op.verb != LIN_CHECK)
		op.token = op.grant = op.generation = 0;
	if (unknown && looks)
		return;
	lin_add(h, &op);
}

void random_history(struct lin_history *h, struct rng *rng, const struct random_plan *plan)
{
	struct planned *p = mem_alloc((plan->count + 1) * sizeof(*p));
	struct object *o = mem_zalloc(sizeof(*o));
	int64_t free_ns[64] = {0};

	CHECK(plan->clients <= 64);
	o->revision = 1 + rng_below(rng, 5);
	for (uint32_t i = 0; i < plan->count; i++) {
		uint32_t who = (uint32_t)rng_below(rng, plan->clients);

		p[i].who = who;
		p[i].asked_ns = free_ns[who] + rng_between(rng, 1, plan->gap_ns);
		p[i].effect_ns = p[i].asked_ns + rng_between(rng, 0, plan->gap_ns);
		p[i].answered_ns = p[i].effect_ns + rng_between(rng, 0, plan->gap_ns);
		free_ns[who] = p[i].answered_ns;
	}
	qsort(p, plan->count, sizeof(*p), by_effect);
	for (uint32_t i = 0; i < plan->count; i++)
		carry_out(h, o, rng, plan, &p[i]);
	free(o);
	free(p);
}

/* ---- what could as well stand there --------------------------------------------------------- */

static void number_change(uint64_t *n, struct rng *rng)
{
	if (*n > 1 && rng_below(rng, 2) == 0)
		*n -= 1;
	else
		*n += 1 + rng_below(rng, 2);
}

static void time_change(struct lin_op *op, struct rng *rng)
{
	int64_t by_ns = rng_between(rng, 1, 60);

	if (op->answered_ns == LIN_NEVER || rng_below(rng, 2) == 0) {
		op->asked_ns += op->answered_ns == LIN_NEVER || rng_below(rng, 2) == 0 ? by_ns : 0;
		if (op->asked_ns > op->answered_ns)
			op->answered_ns = op->asked_ns;
		return;
	}
	op->answered_ns -= by_ns;
	if (op->answered_ns < op->asked_ns)
		op->asked_ns = op->answered_ns = op->answered_ns < 0 ? 0 : op->answered_ns;
}

void random_change(struct lin_history *h, struct rng *rng)
{
	struct lin_op *op;

	if (h->count == 0)
		return;
	op = &h->ops[rng_below(rng, h->count)];
	switch (rng_below(rng, 6)) {
	case 0:
		number_change(&op->value, rng);
		number_change(&op->token, rng);
		break;
	case 1:
		number_change(op->verb == LIN_CAS ? &op->expected : &op->generation, rng);
		op->shared = !op->shared;
		break;
	case 2:
		number_change(&op->revision, rng);
		break;
	case 3:
		if (op->verb != LIN_EXPIRE && op->verb != LIN_UNBAR)
			op->outcome = op->outcome == LIN_OK ? LIN_NO : LIN_OK;
		break;
	case 4:
		op->who = (uint32_t)rng_below(rng, h->who_count);
		break;
	default:
		time_change(op, rng);
		break;
	}
}
