/*
 * What apps were told of each lock and each counter, as histories for test/lin: at the end of a run
 * the witness judges them, by rules that know nothing of cells.
 *
 * What happened and was told to nobody (the answer was lost, a session ended, a lock-delay began)
 * comes from the canon, as operations of which only the revision is known.
 */
#include "full.h"

#include <string.h>

#include "lin.h"
#include "wire/sequencer.h"

#define OBJECTS (APP_LOCKS + APP_COUNTERS)
/* Within a revision: what ends comes before what it makes room for. */
#define GRANT_PLACE 1000
/* Of some seeds the beginning is searched as well, without a look at revisions. */
#define SEARCH_EVERY 8
#define SEARCH_ANSWERED 12
#define SEARCH_OPEN_MAX 6
#define SEARCH_BUDGET 200000

struct party {
	struct {
		uint64_t session, handle;
	} key;
	uint32_t number;
	int64_t queued_ns; /* 0: not in a queue */
	uint32_t queue;    /* the lock's */
	UT_hash_handle hh;
};

struct sim_history {
	struct lin_history told, canon;
	struct party *parties; /* owned */
	uint64_t instances[OBJECTS];
};

struct sim_history *sim_history_new(void)
{
	return mem_zalloc(sizeof(struct sim_history));
}

void sim_history_free(struct sim_history *k)
{
	struct party *p, *next;

	if (k == NULL)
		return;
	HASH_ITER(hh, k->parties, p, next) {
		HASH_DEL(k->parties, p);
		free(p);
	}
	lin_release(&k->told);
	lin_release(&k->canon);
	free(k);
}

static struct party *party(struct sim_history *k, struct session_id session, uint64_t handle)
{
	struct party key, *p;

	memset(&key, 0, sizeof(key));
	key.key.session = session.n;
	key.key.handle = handle;
	HASH_FIND(hh, k->parties, &key.key, sizeof(key.key), p);
	if (p != NULL)
		return p;
	p = mem_zalloc(sizeof(*p));
	p->key = key.key;
	p->number = HASH_COUNT(k->parties);
	HASH_ADD(hh, k->parties, key, sizeof(p->key), p);
	return p;
}

static uint64_t grant_number(uint64_t revision, uint64_t index)
{
	return revision * GRANT_PLACE + index;
}

/* ---- what apps were told -------------------------------------------------------------------- */

static bool tell_acquire(const struct app_op *op, const struct reply *r, struct lin_op *t)
{
	const struct wire_grant *g = &r->acquire.grant;

	t->verb = LIN_ACQUIRE;
	t->shared = op->request.acquire.mode == WIRE_LOCK_SHARED;
	t->outcome = r->error == ERROR_OK ? LIN_OK : LIN_NO;
	if (r->error != ERROR_OK)
		return r->error == ERROR_BUSY && op->request.acquire.try_only;
	t->revision = g->revision;
	t->place = GRANT_PLACE + g->index;
	t->token = g->fencing_token;
	t->grant = grant_number(g->revision, g->index);
	/* Else it is repeated, and gone by now. */
	return g->sequencer.size > 0;
}

static bool tell_check(const struct app_op *op, const struct reply *r, struct lin_op *t)
{
	struct sequencer s;

	if (r->error != ERROR_OK ||
	    sequencer_parse(op->request.check_sequencer.sequencer, &s) != ERROR_OK)
		return false;
	t->verb = LIN_CHECK;
	t->outcome = r->check_sequencer.valid ? LIN_OK : LIN_NO;
	t->of = t->who;
	t->token = s.fencing_token;
	t->grant = grant_number(s.revision, s.index);
	return true;
}

static bool tell_set(const struct app_op *op, const struct reply *r, struct lin_op *t)
{
	t->verb = LIN_CAS;
	t->outcome = r->error == ERROR_OK ? LIN_OK : LIN_NO;
	t->expected = op->request.set_contents.expected_generation;
	t->generation = r->generation;
	t->revision = r->error == ERROR_OK ? r->revision : 0;
	memcpy(&t->value, op->contents, sizeof(t->value));
	return r->error == ERROR_OK || r->error == ERROR_GENERATION_MISMATCH;
}

static bool tell_get(const struct reply *r, struct lin_op *t)
{
	if (r->error != ERROR_OK)
		return false;
	t->verb = LIN_READ;
	if (r->get_contents_and_stat.contents.size == sizeof(t->value))
		memcpy(&t->value, r->get_contents_and_stat.contents.data, sizeof(t->value));
	t->generation = r->get_contents_and_stat.stat.contents_generation;
	t->revision = r->revision;
	return true;
}

static bool tell(const struct app_op *op, const struct reply *r, struct lin_op *t)
{
	switch (op->verb) {
	case VERB_ACQUIRE:
		return tell_acquire(op, r, t);
	case VERB_RELEASE:
		t->verb = LIN_RELEASE;
		t->revision = r->revision;
		return r->error == ERROR_OK;
	case VERB_CHECK:
		return tell_check(op, r, t);
	case VERB_SET:
		return tell_set(op, r, t);
	case VERB_GET:
		return tell_get(r, t);
	case VERB_OPEN:
	case VERB_CLOSE:
	case VERB_STAT:
	case VERB_COUNT:
		break;
	}
	return false;
}

void sim_history_told(struct world *w, const struct sim_app *a, const struct app_op *op,
		      const struct reply *r)
{
	struct sim_history *k = w->apps->history;
	struct lin_op t = {.object = op->node, .asked_ns = op->asked_ns, .answered_ns = w->now_ns};

	if (op->node >= OBJECTS)
		return;
	t.who = party(k, session_identity(a->session), a->handles[op->node].number.n)->number;
	if (tell(op, r, &t))
		lin_add(&k->told, &t);
}

/* ---- what the canon knows ------------------------------------------------------------------- */

static uint32_t object_of(const struct sim_history *k, uint64_t instance)
{
	uint32_t i = 0;

	while (i < OBJECTS && (instance == 0 || k->instances[i] != instance))
		i++;
	return i;
}

/* While it stood in the queue others may have been refused. */
static void queue_left(struct world *w, struct party *p)
{
	if (p->queued_ns == 0)
		return;
	lin_add(&w->apps->history->told, &(struct lin_op){.verb = LIN_ACQUIRE,
							  .outcome = LIN_NO,
							  .waits = true,
							  .object = p->queue,
							  .who = p->number,
							  .asked_ns = p->queued_ns,
							  .answered_ns = w->now_ns});
	p->queued_ns = 0;
}

static void granted(struct world *w, struct lin_op *t, struct party *p, const struct grant *g,
		    struct revision token, enum lock_mode mode)
{
	queue_left(w, p);
	t->verb = LIN_ACQUIRE;
	t->who = p->number;
	t->place = GRANT_PLACE + g->index;
	t->token = token.n;
	t->grant = grant_number(g->revision.n, g->index);
	t->shared = mode == LOCK_SHARED;
	lin_add(&w->apps->history->canon, t);
}

static void effect_known(struct world *w, const struct effect *f, struct lin_op *t)
{
	struct sim_history *k = w->apps->history;
	struct party *p;

	t->object = object_of(k, f->instance);
	if (t->object >= APP_LOCKS)
		return;
	switch (f->kind) {
	case EFFECT_GRANTED:
		granted(w, t, party(k, f->session, f->handle.n), &f->grant, f->token, f->mode);
		return;
	case EFFECT_WAIT_ENDED:
		p = party(k, f->session, f->handle.n);
		queue_left(w, p);
		return;
	case EFFECT_HOLD_ENDED:
		t->verb = LIN_RELEASE;
		t->who = party(k, f->session, f->handle.n)->number;
		break;
	case EFFECT_LOCK_DELAY_BEGAN:
		t->verb = LIN_BAR;
		t->shared = f->mode == LOCK_SHARED;
		break;
	case EFFECT_LOCK_DELAY_ENDED:
		t->verb = LIN_UNBAR;
		break;
	default:
		return;
	}
	lin_add(&k->canon, t);
}

static void created(struct sim_history *k, const struct cell *c, const struct entry *e,
		    const struct result *r, struct lin_op *t)
{
	uint8_t letter = e->node_create.path.data[1];

	if (letter != 'l' && letter != 'c')
		return;
	t->object = e->node_create.path.data[2] - (uint32_t)'0' + (letter == 'c' ? APP_LOCKS : 0);
	k->instances[t->object] = r->instance;
	t->verb = LIN_CREATE;
	t->generation = cell_node(c, r->instance)->contents_generation;
	if (letter == 'c')
		lin_add(&k->canon, t);
}

static void written(struct sim_history *k, const struct cell *c, const struct entry *e,
		    struct lin_op *t)
{
	const struct node *n = cell_node(c, e->node_write.instance);

	t->object = object_of(k, e->node_write.instance);
	if (t->object < APP_LOCKS || t->object >= OBJECTS || n == NULL ||
	    n->contents.size != sizeof(t->value))
		return;
	t->verb = LIN_WRITE;
	t->generation = n->contents_generation;
	memcpy(&t->value, n->contents.data, sizeof(t->value));
	lin_add(&k->canon, t);
}

static void acquired(struct world *w, const struct entry *e, const struct result *r,
		     struct lin_op *t)
{
	struct party *p = party(w->apps->history, e->session, e->acquire.handle.n);

	t->object = object_of(w->apps->history, e->acquire.instance);
	if (t->object >= APP_LOCKS)
		return;
	if (r->grant.revision.n != 0) {
		granted(w, t, p, &r->grant, r->token, e->acquire.mode);
	} else if (r->ticket.n != 0) {
		p->queued_ns = w->now_ns;
		p->queue = t->object;
	}
}

void sim_history_known(struct world *w, const struct cell *c, const struct entry *e,
		       const struct outcome *o)
{
	const struct lin_op blank = {.outcome = LIN_UNKNOWN,
				     .answered_ns = LIN_NEVER,
				     .revision = cell_meta(c)->revision.n};
	struct sim_history *k;
	struct lin_op t = blank;

	if (w->apps == NULL || o->repeated)
		return;
	k = w->apps->history;
	if (o->result.error == ERROR_OK && e->kind == ENTRY_NODE_CREATE && o->result.created)
		created(k, c, e, &o->result, &t);
	else if (o->result.error == ERROR_OK && e->kind == ENTRY_NODE_WRITE)
		written(k, c, e, &t);
	else if (o->result.error == ERROR_OK && e->kind == ENTRY_ACQUIRE)
		acquired(w, e, &o->result, &t);
	for (uint32_t i = 0; i < o->effect_count; i++) {
		t = blank;
		t.place = i + 1;
		effect_known(w, &o->effects[i], &t);
	}
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Its answer speaks for it, if it has one; only the place within the revision is not told. */
static bool is_told(struct sim_history *k, const struct lin_op *t)
{
	for (uint32_t i = 0; i < k->told.count; i++) {
		struct lin_op *op = &k->told.ops[i];

		if (op->revision != t->revision || op->object != t->object || op->outcome != LIN_OK)
			continue;
		if (op->verb == LIN_CAS ? t->verb != LIN_WRITE
					: op->verb != t->verb || op->who != t->who)
			continue;
		op->place = t->place;
		return true;
	}
	return false;
}

static bool only_looks(const struct lin_op *op)
{
	return op->outcome == LIN_NO || op->verb == LIN_READ || op->verb == LIN_CHECK;
}

/* When the last of the first few answers was given; LIN_NEVER if there are not so many. */
static int64_t beginning_ends(const struct lin_history *h, uint32_t object)
{
	uint32_t answered = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		answered += h->ops[i].object == object && h->ops[i].answered_ns != LIN_NEVER;
		if (answered == SEARCH_ANSWERED)
			return h->ops[i].answered_ns;
	}
	return LIN_NEVER;
}

/* What was surely later than this instant has this revision, or a larger one. */
static uint64_t later_from(const struct lin_history *h, uint32_t object, int64_t end_ns)
{
	uint64_t from = UINT64_MAX;

	for (uint32_t i = 0; i < h->count; i++) {
		const struct lin_op *op = &h->ops[i];

		if (op->object == object && op->asked_ns > end_ns && op->revision != 0 &&
		    op->revision < from)
			from = op->revision;
	}
	return from;
}

static void search_beginning(struct world *w, uint32_t object)
{
	const struct lin_history *h = &w->apps->history->told;
	int64_t end_ns = beginning_ends(h, object);
	uint64_t from = later_from(h, object, end_ns);
	struct lin_history beginning = {0};
	struct lin_report report;
	uint32_t open = 0;

	for (uint32_t i = 0; i < h->count; i++) {
		struct lin_op op = h->ops[i];

		if (op.object != object || op.asked_ns > end_ns || op.revision > from)
			continue;
		if (op.answered_ns > end_ns && op.outcome == LIN_OK && !only_looks(&op))
			op.outcome = LIN_UNKNOWN;
		if (op.answered_ns > end_ns)
			op.answered_ns = LIN_NEVER;
		/* It waits in the queue, or its answer is still to come. */
		if (op.answered_ns == LIN_NEVER && only_looks(&op) && !op.waits)
			continue;
		open += op.outcome == LIN_UNKNOWN;
		lin_add(&beginning, &op);
	}
	if (end_ns != LIN_NEVER && open <= SEARCH_OPEN_MAX) {
		w->apps->searched++;
		if (lin_search(&beginning, object, SEARCH_BUDGET, &report) == LIN_WRONG)
			sim_fail(w, "linearizability of the beginning of %c%u: %s",
				 sim_node_letter(object), sim_node_index(object), report.why);
	}
	lin_release(&beginning);
}

void sim_history_judge(struct world *w)
{
	struct sim_history *k = w->apps->history;
	struct lin_report report;
	struct party *p, *next;

	HASH_ITER(hh, k->parties, p, next)
		queue_left(w, p);
	for (uint32_t i = 0; i < k->canon.count; i++)
		if (!is_told(k, &k->canon.ops[i]))
			lin_add(&k->told, &k->canon.ops[i]);
	for (uint32_t object = 0; object < OBJECTS; object++)
		if (lin_witness(&k->told, object, LIN_BUDGET, &report) != LIN_FINE)
			sim_fail(w, "linearizability of %c%u: %s", sim_node_letter(object),
				 sim_node_index(object), report.why);
	for (uint32_t object = 0; w->seed % SEARCH_EVERY == 0 && object < OBJECTS; object++)
		search_beginning(w, object);
	w->apps->judged = k->told.count;
}
