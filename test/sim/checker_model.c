/*
 * What the canon means, told a second time and simply: who may hold each lock, in which order
 * those who wait are served, how tokens grow, what counters count. Exclusive locks only.
 */
#include "sim.h"

#include <string.h>

#define QUEUE_MAX (SIM_CLIENTS_MAX * 2)

struct model_lock {
	uint64_t instance;
	uint64_t last_token; /* of any node that ever stood at this path */
	bool held, delayed;
	struct grant grant;
	uint32_t waiting;
	uint64_t tickets[QUEUE_MAX];
};

struct model_counter {
	uint64_t instance;
	uint64_t value;
};

struct model {
	struct model_lock locks[SIM_LOCKS];
	struct model_counter counters[SIM_COUNTERS];
};

struct model *sim_model_new(void)
{
	return mem_zalloc(sizeof(struct model));
}

void sim_model_free(struct model *m)
{
	free(m);
}

static struct model_lock *lock_find(struct model *m, uint64_t instance)
{
	for (uint32_t i = 0; instance != 0 && i < SIM_LOCKS; i++)
		if (m->locks[i].instance == instance)
			return &m->locks[i];
	return NULL;
}

static void node_created(struct world *w, struct model *m, const struct entry *e,
			 const struct result *r)
{
	struct bytes path = e->node_create.path;
	uint32_t index;

	CHECK(path.size == 3);
	index = path.data[2] - (uint32_t)'0';
	if (path.data[1] == 'l') {
		struct model_lock *l = &m->locks[index];

		if (l->held || l->waiting > 0)
			sim_fail(w, "lock %u is created anew while it is held or awaited", index);
		l->instance = r->instance;
		l->delayed = false;
	} else if (path.data[1] == 'c') {
		m->counters[index] = (struct model_counter){.instance = r->instance};
	}
}

static void granted(struct world *w, struct model_lock *l, struct grant grant,
		    struct revision token)
{
	if (l->held)
		sim_fail(w, "lock %llu is granted while it is held",
			 (unsigned long long)l->instance);
	if (l->delayed)
		sim_fail(w, "lock %llu is granted within its lock-delay",
			 (unsigned long long)l->instance);
	if (token.n <= l->last_token)
		sim_fail(w, "lock %llu: token %llu is not above %llu",
			 (unsigned long long)l->instance, (unsigned long long)token.n,
			 (unsigned long long)l->last_token);
	l->held = true;
	l->grant = grant;
	l->last_token = token.n;
}

static void acquired(struct world *w, struct model *m, const struct entry *e,
		     const struct result *r)
{
	struct model_lock *l = lock_find(m, e->acquire.instance);

	if (l == NULL) {
		sim_fail(w, "a lock that does not exist is granted or awaited");
	} else if (r->grant.revision.n != 0) {
		if (l->waiting > 0)
			sim_fail(w, "lock %llu is granted past those who wait",
				 (unsigned long long)l->instance);
		granted(w, l, r->grant, r->token);
	} else if (r->ticket.n != 0) {
		if (!l->held && !l->delayed && l->waiting == 0)
			sim_fail(w, "lock %llu is free and is not granted",
				 (unsigned long long)l->instance);
		if (l->waiting > 0 && l->tickets[l->waiting - 1] >= r->ticket.n)
			sim_fail(w, "tickets do not grow");
		CHECK(l->waiting < QUEUE_MAX);
		l->tickets[l->waiting++] = r->ticket.n;
	}
}

static void waiter_left(struct world *w, struct model_lock *l, const struct effect *f, bool served)
{
	uint32_t i = 0;

	while (i < l->waiting && l->tickets[i] != f->ticket.n)
		i++;
	if (i == l->waiting) {
		sim_fail(w, "ticket %llu was not waiting", (unsigned long long)f->ticket.n);
		return;
	}
	if (served && i != 0)
		sim_fail(w, "FIFO: ticket %llu is served before %llu",
			 (unsigned long long)f->ticket.n, (unsigned long long)l->tickets[0]);
	l->waiting--;
	memmove(&l->tickets[i], &l->tickets[i + 1], (l->waiting - i) * sizeof(l->tickets[0]));
}

static void effect_applied(struct world *w, struct model *m, const struct effect *f)
{
	struct model_lock *l = lock_find(m, f->instance);

	if (l == NULL)
		return;
	switch (f->kind) {
	case EFFECT_HOLD_ENDED:
		if (!l->held || l->grant.revision.n != f->grant.revision.n ||
		    l->grant.index != f->grant.index)
			sim_fail(w, "a hold ends that was not there");
		l->held = false;
		break;
	case EFFECT_GRANTED:
		waiter_left(w, l, f, true);
		granted(w, l, f->grant, f->token);
		break;
	case EFFECT_WAIT_ENDED:
		waiter_left(w, l, f, false);
		break;
	case EFFECT_LOCK_DELAY_BEGAN:
		l->delayed = true;
		break;
	case EFFECT_LOCK_DELAY_ENDED:
		l->delayed = false;
		break;
	case EFFECT_NODE_DELETED:
		if (l->held || l->waiting > 0)
			sim_fail(w, "lock %llu goes while it is held or awaited",
				 (unsigned long long)l->instance);
		l->instance = 0;
		break;
	default:
		break;
	}
}

/* Each successful write adds one to what it read; nothing else changes a counter. */
static void counter_check(struct world *w, struct model *m, const struct cell *c,
			  const struct entry *e)
{
	for (uint32_t i = 0; i < SIM_COUNTERS; i++) {
		struct model_counter *counter = &m->counters[i];
		const struct node *n = cell_node(c, counter->instance);
		uint64_t stored;

		if (counter->instance == 0 || counter->instance != e->node_write.instance)
			continue;
		counter->value++;
		if (n == NULL || n->contents.size != sizeof(stored)) {
			sim_fail(w, "counter %u is gone", i);
			return;
		}
		memcpy(&stored, n->contents.data, sizeof(stored));
		if (stored != counter->value)
			sim_fail(w, "counter %u is %llu after %llu writes", i,
				 (unsigned long long)stored, (unsigned long long)counter->value);
	}
}

void sim_model_apply(struct world *w, struct model *m, const struct cell *c, const struct entry *e,
		     const struct outcome *o)
{
	const struct result *r = &o->result;

	if (o->repeated) {
		if (o->effect_count > 0)
			sim_fail(w, "a repeated command has effects");
		return;
	}
	if (r->error == ERROR_OK && e->kind == ENTRY_NODE_CREATE && r->created)
		node_created(w, m, e, r);
	if (r->error == ERROR_OK && e->kind == ENTRY_ACQUIRE)
		acquired(w, m, e, r);
	if (r->error == ERROR_OK && e->kind == ENTRY_NODE_WRITE)
		counter_check(w, m, c, e);
	for (uint32_t i = 0; i < o->effect_count; i++)
		effect_applied(w, m, &o->effects[i]);
}
