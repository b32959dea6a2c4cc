/*
 * What apps believe and are told, against the canon.
 */
#include "full.h"

#include <string.h>

/* ---- beliefs -------------------------------------------------------------------------------- */

static void check_holds(struct world *w, const struct sim_app *a, const struct cell *c,
			struct session_id id)
{
	for (uint32_t node = 0; node < APP_LOCKS; node++) {
		const struct app_handle *h = &a->handles[node];
		const struct node *n;

		if (h->state != APP_OPEN || !h->held)
			continue;
		n = cell_node(c, h->instance);
		if (n == NULL || cell_holder(c, h->instance, id, h->number) == NULL)
			sim_fail(w, "a%u believes that it holds l%u, and does not", a->index, node);
		else if ((n->lock->mode == LOCK_SHARED) != (h->mode == WIRE_LOCK_SHARED))
			sim_fail(w, "a%u holds l%u in another mode than it believes", a->index,
				 node);
	}
}

static void check_ephemerals(struct world *w, const struct sim_app *a, const struct cell *c)
{
	for (uint32_t node = APP_LOCKS + APP_COUNTERS; node < APP_NODES; node++) {
		const struct app_handle *h = &a->handles[node];

		if (h->state == APP_OPEN && cell_node(c, h->instance) == NULL)
			sim_fail(w, "a%u has e%u open, which is gone", a->index,
				 sim_node_index(node));
	}
}

void sim_check_beliefs(struct world *w, const struct cell *c)
{
	if (w->apps == NULL || w->options->profile->leases_void)
		return;
	for (uint32_t i = 0; i < w->options->clients; i++) {
		const struct sim_app *a = &w->apps->apps[i];
		const struct session *s;
		struct session_id id;

		if (!sim_app_leased(w, a))
			continue;
		id = session_identity(a->session);
		s = cell_session(c, id);
		if (s == NULL || s->ended) {
			sim_fail(w, "a%u believes in session %llu, which has ended", i,
				 (unsigned long long)id.n);
			return;
		}
		check_holds(w, a, c, id);
		check_ephemerals(w, a, c);
	}
}

/* ---- answers -------------------------------------------------------------------------------- */

static void told(struct world *w, const struct sim_app *a, uint64_t revision, uint64_t above,
		 const char *what)
{
	if (revision > sim_checker_head(w->checker))
		sim_fail(w, "a%u is told of revision %llu by %s, the canon ends at %llu", a->index,
			 (unsigned long long)revision, what,
			 (unsigned long long)sim_checker_head(w->checker));
	if (revision <= above)
		sim_fail(w, "a%u: %s is answered at revision %llu; before it began %llu was known",
			 a->index, what, (unsigned long long)revision, (unsigned long long)above);
	if (revision > w->apps->floor)
		w->apps->floor = revision;
}

/* A read tells what stood there at its revision, and that is no older than its call. */
static void check_counter(struct world *w, struct sim_app *a, const struct app_op *op,
			  const struct reply *r)
{
	uint64_t value, generation, seen = 0;

	if (op->floor > 0)
		told(w, a, r->revision, op->floor - 1, "a read");
	if (r->get_contents_and_stat.contents.size == sizeof(seen))
		memcpy(&seen, r->get_contents_and_stat.contents.data, sizeof(seen));
	if (!sim_checker_counter_at(w->checker, sim_node_index(op->node), r->revision, &value,
				    &generation)) {
		sim_fail(w, "a%u reads a counter before it was made", a->index);
		return;
	}
	if (seen != value || r->get_contents_and_stat.stat.contents_generation != generation)
		sim_fail(w,
			 "a%u reads %llu of generation %llu at revision %llu, where the canon has "
			 "%llu of %llu",
			 a->index, (unsigned long long)seen,
			 (unsigned long long)r->get_contents_and_stat.stat.contents_generation,
			 (unsigned long long)r->revision, (unsigned long long)value,
			 (unsigned long long)generation);
}

static void check_grant(struct world *w, struct sim_app *a, const struct app_op *op,
			const struct wire_grant *g)
{
	struct grant grant = {.revision = {g->revision}, .index = g->index};
	struct sim_grant canon;

	told(w, a, g->revision, op->floor, "a grant");
	if (!sim_checker_grant(w->checker, &grant, &canon)) {
		sim_fail(w, "a%u is told of a grant that is not in the canon", a->index);
		return;
	}
	if (canon.session.n != session_identity(a->session).n ||
	    canon.handle.n != a->handles[op->node].number.n ||
	    canon.instance != a->handles[op->node].instance)
		sim_fail(w, "a%u is told of a grant that is another's", a->index);
	if (canon.token.n != g->fencing_token ||
	    (canon.mode == LOCK_SHARED) != (g->mode == WIRE_LOCK_SHARED))
		sim_fail(w, "a%u is told token %llu, and the canon has %llu", a->index,
			 (unsigned long long)g->fencing_token, (unsigned long long)canon.token.n);
}

/* Its own lock, which it believes to hold: the sequencer must stand. */
static void check_valid(struct world *w, const struct sim_app *a, const struct app_op *op,
			const struct reply *r)
{
	const struct app_handle *h = &a->handles[op->node];

	if (!r->check_sequencer.valid && h->held && sim_app_leased(w, a) &&
	    !w->options->profile->leases_void)
		sim_fail(w, "a%u holds l%u, and its sequencer is refused", a->index, op->node);
	if (r->check_sequencer.valid && r->check_sequencer.fencing_token != h->fencing_token)
		sim_fail(w, "a%u: its sequencer stands for another token", a->index);
}

void sim_check_told(struct world *w, struct sim_app *a, const struct app_op *op,
		    const struct reply *r)
{
	switch (op->verb) {
	case VERB_ACQUIRE:
		if (r->acquire.grant.sequencer.size > 0)
			check_grant(w, a, op, &r->acquire.grant);
		break;
	case VERB_SET:
		told(w, a, r->revision, op->floor, "a write");
		break;
	case VERB_RELEASE:
		told(w, a, r->revision, op->floor, "a release");
		break;
	case VERB_GET:
		check_counter(w, a, op, r);
		break;
	case VERB_CHECK:
		check_valid(w, a, op, r);
		break;
	case VERB_OPEN:
	case VERB_CLOSE:
	case VERB_STAT:
	case VERB_COUNT:
		break;
	}
}

/* ---- the storage ---------------------------------------------------------------------------- */

void sim_check_storage(struct world *w, const struct app_write *write)
{
	struct sim_storage *s = &w->apps->storage[write->lock];

	if (write->token < s->token) {
		s->refused++;
		return;
	}
	if (write->token == s->token && write->session != s->session &&
	    (write->mode != WIRE_LOCK_SHARED || s->mode != WIRE_LOCK_SHARED))
		sim_fail(w, "fencing: sessions %llu and %llu write under token %llu of l%u",
			 (unsigned long long)write->session, (unsigned long long)s->session,
			 (unsigned long long)write->token, write->lock);
	s->accepted++;
	s->token = write->token;
	s->session = write->session;
	s->mode = write->mode;
}

/* ---- the end -------------------------------------------------------------------------------- */

static bool is_of_an_app(const struct world *w, struct session_id id)
{
	for (uint32_t i = 0; i < w->options->clients; i++) {
		const struct sim_app *a = &w->apps->apps[i];

		if (a->alive && session_identity(a->session).n == id.n)
			return true;
	}
	return false;
}

/* Those who vanished did so long enough ago. A session whose creation was answered to nobody is
 * an orphan, and ends like them. */
static void check_sessions_end(struct world *w, const struct cell *c)
{
	const struct session *s = cell_session_after(c, (struct session_id){0});

	while (s != NULL && s->id.n <= w->apps->head_at_calm) {
		if (!is_of_an_app(w, s->id))
			sim_fail(w, "liveness: session %llu outlives its app",
				 (unsigned long long)s->id.n);
		s = cell_session_after(c, s->id);
	}
}

void sim_check_apps_end(struct world *w, const struct host *master)
{
	struct master_counters counters;

	for (uint32_t i = 0; i < w->options->clients; i++) {
		const struct sim_app *a = &w->apps->apps[i];

		if (!a->alive)
			continue;
		for (uint32_t j = 0; j < APP_OPS_MAX; j++)
			if (a->ops[j].used)
				sim_fail(w, "liveness: a%u still waits for an answer to verb %d", i,
					 (int)a->ops[j].verb);
	}
	check_sessions_end(w, master->cell);
	sim_front_counters(master, &counters);
	if (counters.pending > 0)
		sim_fail(w, "liveness: r%u still has %llu pending calls", master->id.n,
			 (unsigned long long)counters.pending);
	sim_history_judge(w);
	if (w->apps->answered == 0 || w->apps->granted == 0)
		sim_fail(w, "liveness: nobody was ever granted a lock");
}
