/*
 * What the canon means, told a second time and simply: who may hold each lock, in which order
 * those who wait are served, how tokens grow, what counters count; and who was granted what.
 */
#include "sim.h"

#include <string.h>
#include "base/table.h"

#define QUEUE_MAX (SIM_CLIENTS_MAX * 2)

struct model_lock {
	uint64_t instance;
	uint64_t last_token; /* of any node that ever stood at this path */
	enum lock_mode mode;
	enum lock_mode delayed_after; /* a failed hold of this mode; FREE: no lock-delay runs */
	uint32_t held;                /* by so many */
	struct grant grants[QUEUE_MAX];
	uint32_t waiting;
	uint64_t tickets[QUEUE_MAX];
};

/* What a counter was from a revision on. */
struct model_moment {
	uint64_t revision, value, generation;
};

struct model_counter {
	uint64_t instance;
	uint64_t value;
	struct model_moment *moments; /* owned; in order of revision */
	uint64_t moment_count, moment_capacity;
};

struct model_grant {
	struct {
		uint64_t revision, index;
	} key;
	struct sim_grant grant;
	UT_hash_handle hh;
};

struct model {
	struct model_lock locks[SIM_LOCKS];
	struct model_counter counters[SIM_COUNTERS];
	struct model_grant *grants; /* owned */
};

struct model *sim_model_new(void)
{
	return mem_zalloc(sizeof(struct model));
}

void sim_model_free(struct model *m)
{
	struct model_grant *g, *next;

	HASH_ITER(hh, m->grants, g, next) {
		HASH_DEL(m->grants, g);
		free(g);
	}
	for (uint32_t i = 0; i < SIM_COUNTERS; i++)
		free(m->counters[i].moments);
	free(m);
}

/* ---- what was ------------------------------------------------------------------------------- */

static void grant_note(struct model *m, const struct grant *grant, const struct sim_grant *what)
{
	struct model_grant *g = mem_zalloc(sizeof(*g));

	g->key.revision = grant->revision.n;
	g->key.index = grant->index;
	g->grant = *what;
	HASH_ADD(hh, m->grants, key, sizeof(g->key), g);
}

bool sim_model_grant(const struct model *m, const struct grant *g, struct sim_grant *ret_grant)
{
	struct model_grant key, *found;

	memset(&key, 0, sizeof(key));
	key.key.revision = g->revision.n;
	key.key.index = g->index;
	HASH_FIND(hh, m->grants, &key.key, sizeof(key.key), found);
	if (found == NULL)
		return false;
	*ret_grant = found->grant;
	return true;
}

static void moment_note(struct model_counter *c, uint64_t revision, uint64_t generation)
{
	if (c->moment_count == c->moment_capacity) {
		c->moment_capacity = c->moment_capacity * 2 + 64;
		c->moments = mem_realloc_array(c->moments, c->moment_capacity, sizeof(*c->moments));
	}
	c->moments[c->moment_count++] = (struct model_moment){revision, c->value, generation};
}

bool sim_model_counter_at(const struct model *m, uint32_t counter, uint64_t revision,
			  uint64_t *ret_value, uint64_t *ret_generation)
{
	const struct model_counter *c = &m->counters[counter];
	uint64_t i = c->moment_count;

	while (i > 0 && c->moments[i - 1].revision > revision)
		i--;
	if (i == 0)
		return false;
	*ret_value = c->moments[i - 1].value;
	*ret_generation = c->moments[i - 1].generation;
	return true;
}

/* ---- what may be ---------------------------------------------------------------------------- */

static struct model_lock *lock_find(struct model *m, uint64_t instance)
{
	for (uint32_t i = 0; instance != 0 && i < SIM_LOCKS; i++)
		if (m->locks[i].instance == instance)
			return &m->locks[i];
	return NULL;
}

static void node_created(struct world *w, struct model *m, const struct cell *c,
			 const struct entry *e, const struct result *r)
{
	const struct node *n;
	struct bytes path = e->node_create.path;
	uint32_t index;

	CHECK(path.size == 3);
	index = path.data[2] - (uint32_t)'0';
	if (path.data[1] == 'l') {
		struct model_lock *l = &m->locks[index];

		if (l->held > 0 || l->waiting > 0)
			sim_fail(w, "lock %u is created anew while it is held or awaited", index);
		l->instance = r->instance;
		l->delayed_after = LOCK_FREE;
	} else if (path.data[1] == 'c') {
		m->counters[index].instance = r->instance;
		m->counters[index].value = 0;
		n = cell_node(c, r->instance);
		CHECK(n != NULL);
		moment_note(&m->counters[index], cell_meta(c)->revision.n, n->contents_generation);
	}
}

static void granted(struct world *w, struct model *m, struct model_lock *l,
		    const struct grant *grant, const struct sim_grant *what)
{
	bool joins = l->held > 0 && l->mode == LOCK_SHARED && what->mode == LOCK_SHARED;

	if (l->held > 0 && !joins)
		sim_fail(w, "lock %llu is granted while it is held",
			 (unsigned long long)l->instance);
	/* After a failed shared hold only exclusive ones are barred. */
	if (l->delayed_after == LOCK_EXCLUSIVE ||
	    (l->delayed_after == LOCK_SHARED && what->mode == LOCK_EXCLUSIVE))
		sim_fail(w, "lock %llu is granted within its lock-delay",
			 (unsigned long long)l->instance);
	/* Those who share a lock share its token. */
	if (joins ? what->token.n != l->last_token : what->token.n <= l->last_token)
		sim_fail(w, "lock %llu: token %llu after %llu", (unsigned long long)l->instance,
			 (unsigned long long)what->token.n, (unsigned long long)l->last_token);
	CHECK(l->held < QUEUE_MAX);
	l->grants[l->held++] = *grant;
	l->mode = what->mode;
	l->last_token = what->token.n;
	grant_note(m, grant, what);
}

static void hold_ended(struct world *w, struct model_lock *l, const struct grant *grant)
{
	uint32_t i = 0;

	while (i < l->held &&
	       (l->grants[i].revision.n != grant->revision.n || l->grants[i].index != grant->index))
		i++;
	if (i == l->held) {
		sim_fail(w, "a hold ends that was not there");
		return;
	}
	l->grants[i] = l->grants[--l->held];
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
		granted(w, m, l, &r->grant,
			&(struct sim_grant){e->session, e->acquire.handle, l->instance, r->token,
					    e->acquire.mode});
	} else if (r->ticket.n != 0) {
		if (l->held == 0 && l->delayed_after == LOCK_FREE && l->waiting == 0)
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
		hold_ended(w, l, &f->grant);
		break;
	case EFFECT_GRANTED:
		waiter_left(w, l, f, true);
		granted(w, m, l, &f->grant,
			&(struct sim_grant){f->session, f->handle, f->instance, f->token, f->mode});
		break;
	case EFFECT_WAIT_ENDED:
		waiter_left(w, l, f, false);
		break;
	case EFFECT_LOCK_DELAY_BEGAN:
		l->delayed_after = f->mode;
		break;
	case EFFECT_LOCK_DELAY_ENDED:
		l->delayed_after = LOCK_FREE;
		break;
	case EFFECT_NODE_DELETED:
		if (l->held > 0 || l->waiting > 0)
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
		moment_note(counter, cell_meta(c)->revision.n, n->contents_generation);
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
		node_created(w, m, c, e, r);
	if (r->error == ERROR_OK && e->kind == ENTRY_ACQUIRE)
		acquired(w, m, e, r);
	if (r->error == ERROR_OK && e->kind == ENTRY_NODE_WRITE)
		counter_check(w, m, c, e);
	for (uint32_t i = 0; i < o->effect_count; i++)
		effect_applied(w, m, &o->effects[i]);
}
