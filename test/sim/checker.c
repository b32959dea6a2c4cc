/*
 * What must hold, checked while it runs. The first replica that applies a slot or a command
 * writes the canon; everybody else, for ever, must agree with it.
 */
#include "full.h"

#include <string.h>

#define CELL_CHECK_EVERY 400 /* commands between two looks at a whole cell */
#define FRONT_CHECK_EVERY 16 /* steps between two looks at a whole master */
#define MASTER_WITHIN_NS (5 * NS_PER_S)

struct canon_slot {
	bool known;
	uint64_t checksum;
};

struct canon_command {
	struct digest digest;
	uint64_t result_hash;
	uint64_t session, number;
	bool repeated;
};

/* A numbered request that took effect, or was refused for good, at a revision. */
struct effected {
	struct {
		uint64_t session, number;
	} key;
	uint64_t revision;
	UT_hash_handle hh;
};

struct checker {
	struct world *world;
	struct canon_slot *slots; /* owned; indexed by slot */
	uint64_t slot_capacity;
	struct canon_command *commands; /* owned; indexed by revision */
	uint64_t command_capacity;
	uint64_t head; /* newest revision of the canon */
	uint64_t acked_revision, acked_count;
	struct effected *effected; /* owned */
	uint8_t *answered;         /* owned; one for each attempt */
	uint64_t answered_capacity;
	struct model *model; /* owned */
};

struct checker *sim_checker_new(struct world *w)
{
	struct checker *k = mem_zalloc(sizeof(*k));

	k->world = w;
	k->model = sim_model_new();
	return k;
}

void sim_checker_free(struct checker *k)
{
	struct effected *f, *next;

	HASH_ITER(hh, k->effected, f, next) {
		HASH_DEL(k->effected, f);
		free(f);
	}
	sim_model_free(k->model);
	free(k->slots);
	free(k->commands);
	free(k->answered);
	free(k);
}

uint64_t sim_checker_acked_revision(const struct checker *k)
{
	return k->acked_revision;
}

uint64_t sim_checker_head(const struct checker *k)
{
	return k->head;
}

bool sim_checker_grant(const struct checker *k, const struct grant *g, struct sim_grant *ret_grant)
{
	return sim_model_grant(k->model, g, ret_grant);
}

bool sim_checker_counter_at(const struct checker *k, uint32_t counter, uint64_t revision,
			    uint64_t *ret_value, uint64_t *ret_generation)
{
	return sim_model_counter_at(k->model, counter, revision, ret_value, ret_generation);
}

uint64_t sim_checker_acked_count(const struct checker *k)
{
	return k->acked_count;
}

/* Zeroed room for `index`; returns the array, which may have moved. */
static void *array_reach(void *array, uint64_t *capacity, uint64_t index, size_t size)
{
	uint64_t wanted = index * 2 + 256;

	if (index < *capacity)
		return array;
	array = mem_realloc_array(array, wanted, size);
	memset((uint8_t *)array + *capacity * size, 0, (wanted - *capacity) * size);
	*capacity = wanted;
	return array;
}

static uint64_t fold(uint64_t hash, uint64_t n)
{
	hash = (hash ^ n) * UINT64_C(0x9e3779b97f4a7c15);
	return hash ^ hash >> 29;
}

/* Field by field: padding has no meaning. */
static uint64_t result_hash(const struct result *r)
{
	uint64_t hash = fold(1, (uint64_t)r->error);

	hash = fold(hash, r->revision.n);
	hash = fold(hash, r->instance);
	hash = fold(hash, r->generation);
	hash = fold(hash, r->session.n);
	hash = fold(hash, r->grant.revision.n);
	hash = fold(hash, r->grant.index);
	hash = fold(hash, r->token.n);
	hash = fold(hash, r->lock_generation);
	hash = fold(hash, r->ticket.n);
	hash = fold(hash, r->created);
	return fold(hash, (uint64_t)r->kind);
}

/* ---- agreement ------------------------------------------------------------------------------ */

/* Who first knows a value as chosen knows that a majority of disks hold it, now and for ever. */
static void check_durable(struct host *h, struct slot slot, const struct value *v)
{
	struct world *w = h->world;
	uint32_t hold = 0;

	/* A disk that lies may have forgotten it since. */
	if (w->options->profile->rollback_mean_ns > 0)
		return;
	for (uint32_t i = 0; i < w->options->replicas; i++) {
		const struct sim_disk *d = &w->hosts[i].disk;

		hold += slot.n < d->log_capacity && d->log[slot.n].value != NULL &&
			value_equal(d->log[slot.n].value, v);
	}
	if (hold <= w->options->replicas / 2)
		sim_fail(w, "durability: slot %llu is chosen at r%u, and on %u disks only",
			 (unsigned long long)slot.n, h->id.n, hold);
}

void sim_check_chosen(struct host *h, struct slot slot, const struct value *v)
{
	struct checker *k = h->world->checker;
	struct canon_slot *canon;

	k->slots = array_reach(k->slots, &k->slot_capacity, slot.n, sizeof(*k->slots));
	canon = &k->slots[slot.n];
	if (!canon->known) {
		canon->known = true;
		canon->checksum = value_checksum(v);
		check_durable(h, slot, v);
	} else if (canon->checksum != value_checksum(v)) {
		sim_fail(h->world, "agreement: r%u has another value in slot %llu", h->id.n,
			 (unsigned long long)slot.n);
	}
}

/* A number takes effect once: later entries with it must be told as repeats. */
static void effected_note(struct checker *k, const struct entry *e, const struct outcome *o,
			  uint64_t revision)
{
	struct effected *f, key;

	if (e->number == 0 || o->repeated || o->result.error == ERROR_REQUEST_OUT_OF_WINDOW ||
	    o->result.error == ERROR_SESSION_EXPIRED)
		return;
	memset(&key, 0, sizeof(key));
	key.key.session = e->session.n;
	key.key.number = e->number;
	HASH_FIND(hh, k->effected, &key.key, sizeof(key.key), f);
	if (f != NULL) {
		sim_fail(k->world,
			 "exactly once: session %llu number %llu took effect at %llu and %llu",
			 (unsigned long long)e->session.n, (unsigned long long)e->number,
			 (unsigned long long)f->revision, (unsigned long long)revision);
		return;
	}
	f = mem_zalloc(sizeof(*f));
	f->key = key.key;
	f->revision = revision;
	HASH_ADD(hh, k->effected, key, sizeof(f->key), f);
}

static void canon_append(struct host *h, const struct entry *e, const struct outcome *o,
			 const struct canon_command *now)
{
	struct checker *k = h->world->checker;

	k->head++;
	k->commands = array_reach(k->commands, &k->command_capacity, k->head, sizeof(*k->commands));
	k->commands[k->head] = *now;
	sim_hash(h->world, k->head, now->digest.high, now->result_hash);
	effected_note(k, e, o, k->head);
	sim_model_apply(h->world, k->model, h->cell, e, o);
	sim_history_known(h->world, h->cell, e, o);
	sim_check_beliefs(h->world, h->cell);
}

static void canon_compare(struct host *h, uint64_t revision, const struct canon_command *now)
{
	const struct canon_command *canon = &h->world->checker->commands[revision];

	if (canon->digest.high != now->digest.high || canon->digest.low != now->digest.low)
		sim_fail(h->world, "digest: r%u differs at revision %llu", h->id.n,
			 (unsigned long long)revision);
	if (canon->result_hash != now->result_hash || canon->session != now->session ||
	    canon->number != now->number || canon->repeated != now->repeated)
		sim_fail(h->world, "history: r%u has another result at revision %llu", h->id.n,
			 (unsigned long long)revision);
}

void sim_check_applied(struct host *h, const struct entry *e, const struct outcome *o)
{
	struct checker *k = h->world->checker;
	uint64_t revision = cell_meta(h->cell)->revision.n;
	struct canon_command now = {
		.digest = cell_digest(h->cell),
		.result_hash = result_hash(&o->result),
		.session = e->session.n,
		.number = e->number,
		.repeated = o->repeated,
	};
	const char *trouble;

	for (uint32_t i = 0; i < o->effect_count; i++)
		if (o->effects[i].kind == EFFECT_DIGEST_DIFFERS)
			sim_fail(h->world, "digest: r%u says so itself", h->id.n);
	if (revision > k->head + 1)
		sim_fail(h->world, "history: r%u is at revision %llu, the canon at %llu", h->id.n,
			 (unsigned long long)revision, (unsigned long long)k->head);
	else if (revision == k->head + 1)
		canon_append(h, e, o, &now);
	else
		canon_compare(h, revision, &now);
	if (revision % CELL_CHECK_EVERY != h->index)
		return;
	trouble = cell_invariants(h->cell);
	if (trouble != NULL)
		sim_fail(h->world, "r%u cell: %s", h->id.n, trouble);
}

void sim_check_loaded(struct host *h)
{
	struct checker *k = h->world->checker;
	uint64_t revision = cell_meta(h->cell)->revision.n;
	struct digest now = cell_digest(h->cell);
	const char *trouble = cell_invariants(h->cell);

	if (trouble != NULL)
		sim_fail(h->world, "r%u cell after its start: %s", h->id.n, trouble);
	if (k->head == 0) {
		/* The canon begins with what genesis wrote. */
		k->head = revision;
		k->commands = array_reach(k->commands, &k->command_capacity, revision,
					  sizeof(*k->commands));
		k->commands[revision].digest = now;
	}
	if (revision > k->head)
		sim_fail(h->world, "r%u starts beyond the canon", h->id.n);
	else if (revision > 0 && (k->commands[revision].digest.high != now.high ||
				  k->commands[revision].digest.low != now.low))
		sim_fail(h->world, "digest: r%u loads another state at revision %llu", h->id.n,
			 (unsigned long long)revision);
}

/* ---- masters -------------------------------------------------------------------------------- */

static void check_masters(struct host *h)
{
	struct world *w = h->world;

	if (!sim_host_leased(h) || w->options->profile->leases_void)
		return;
	for (uint32_t i = 0; i < w->options->replicas; i++)
		if (i != h->index && sim_host_leased(&w->hosts[i]))
			sim_fail(w, "two leased masters: r%u and r%u", h->id.n, w->hosts[i].id.n);
}

void sim_check_step(struct host *h)
{
	struct world *w = h->world;
	const char *trouble = paxos_invariants(h->paxos);

	if (trouble != NULL)
		sim_fail(w, "r%u paxos: %s", h->id.n, trouble);
	trouble = h->front != NULL && w->steps % FRONT_CHECK_EVERY == 0 ? sim_front_invariants(h)
									: NULL;
	if (trouble != NULL)
		sim_fail(w, "r%u master: %s", h->id.n, trouble);
	check_masters(h);
	if (paxos_role(h->paxos) == PAXOS_LOST && !h->rolled_back)
		sim_fail(w, "r%u says that it lost its memory, and did not: %s", h->id.n,
			 paxos_trouble(h->paxos) == NULL ? "" : paxos_trouble(h->paxos));
	/* What its disk took back the others have surely heard of: they must tell it so. */
	if (h->rolled_back && paxos_role(h->paxos) != PAXOS_LOST &&
	    paxos_role(h->paxos) != PAXOS_UNVETTED)
		sim_fail(w, "r%u takes part with a disk that went back in time", h->id.n);
	if (paxos_chosen(h->paxos).n < h->applied.n)
		sim_fail(w, "r%u applied %llu, but knows %llu as chosen", h->id.n,
			 (unsigned long long)h->applied.n,
			 (unsigned long long)paxos_chosen(h->paxos).n);
}

/* ---- what clients were told ----------------------------------------------------------------- */

void sim_check_acked(struct host *h, const struct sim_request *r, const struct result *result)
{
	struct checker *k = h->world->checker;
	uint64_t revision = result->revision.n;
	const struct canon_command *canon;

	k->acked_count++;
	if (revision > k->acked_revision)
		k->acked_revision = revision;
	if (revision == 0 || revision > k->head) {
		sim_fail(h->world, "r%u acknowledges revision %llu, the canon ends at %llu",
			 h->id.n, (unsigned long long)revision, (unsigned long long)k->head);
		return;
	}
	canon = &k->commands[revision];
	if (canon->session != r->entry.session.n || canon->number != r->entry.number)
		sim_fail(h->world,
			 "r%u acknowledges session %llu number %llu at revision %llu, where the "
			 "canon has session %llu number %llu",
			 h->id.n, (unsigned long long)r->entry.session.n,
			 (unsigned long long)r->entry.number, (unsigned long long)revision,
			 (unsigned long long)canon->session, (unsigned long long)canon->number);
	else if (canon->result_hash != result_hash(result))
		sim_fail(h->world, "r%u acknowledges another result at revision %llu", h->id.n,
			 (unsigned long long)revision);
}

void sim_check_read(struct host *h, uint64_t acked_before)
{
	uint64_t revision = cell_meta(h->cell)->revision.n;

	/* Stronger than what the caller may ask: nothing newer is acknowledged anywhere, now. */
	CHECK(acked_before <= h->world->checker->acked_revision);
	if (h->world->options->profile->leases_void)
		return;
	if (revision < h->world->checker->acked_revision)
		sim_fail(h->world, "stale read: r%u answers at revision %llu, %llu is acknowledged",
			 h->id.n, (unsigned long long)revision,
			 (unsigned long long)h->world->checker->acked_revision);
}

void sim_check_answered(struct world *w, uint64_t attempt)
{
	struct checker *k = w->checker;

	k->answered = array_reach(k->answered, &k->answered_capacity, attempt, 1);
	if (k->answered[attempt]++ > 0)
		sim_fail(w, "call %llu is answered twice", (unsigned long long)attempt);
}

/* ---- liveness ------------------------------------------------------------------------------- */

static struct host *serving(struct world *w)
{
	for (uint32_t i = 0; i < w->options->replicas; i++)
		if (sim_host_serves(&w->hosts[i]))
			return &w->hosts[i];
	return NULL;
}

void sim_check_settled(struct world *w)
{
	if (serving(w) == NULL)
		sim_fail(w, "liveness: no master %d s after the faults stopped",
			 (int)(MASTER_WITHIN_NS / NS_PER_S));
}

static void check_converged(struct world *w, const struct host *master, struct host *h)
{
	const char *trouble;

	if (paxos_role(h->paxos) == PAXOS_LOST)
		return;
	if (paxos_role(h->paxos) == PAXOS_UNVETTED)
		sim_fail(w, "liveness: r%u is not vetted at the end", h->id.n);
	/* A timer's entry may be on its way at the last moment. */
	if (h->applied.n < w->applied_near_end)
		sim_fail(w, "liveness: r%u has applied %llu at the end, the master %llu", h->id.n,
			 (unsigned long long)h->applied.n, (unsigned long long)master->applied.n);
	if (h->pending_count > 0)
		sim_fail(w, "liveness: r%u still has %u pending calls", h->id.n, h->pending_count);
	trouble = cell_invariants(h->cell);
	if (trouble != NULL)
		sim_fail(w, "r%u cell at the end: %s", h->id.n, trouble);
}

void sim_check_end(struct world *w)
{
	struct host *master = serving(w);

	if (master == NULL) {
		sim_fail(w, "liveness: no master at the end");
		return;
	}
	for (uint32_t i = 0; i < w->options->replicas; i++)
		check_converged(w, master, &w->hosts[i]);
	if (w->apps != NULL) {
		sim_check_apps_end(w, master);
		return;
	}
	for (uint32_t i = 0; i < w->options->clients; i++)
		if (!sim_client_idle(&w->clients[i]))
			sim_fail(w, "liveness: c%u still waits for an answer", i);
	if (w->checker->acked_count == w->acked_at_calm)
		sim_fail(w, "liveness: nothing was acknowledged after the faults stopped");
}
