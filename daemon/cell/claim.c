/*
 * Claims: which (session, handle) holds or awaits which lock.
 *
 * One ordered tree answers both questions that an apply asks: has this handle a claim on this
 * lock already (without reading a long queue), and what does this session leave behind when it
 * ends. `session.locks` shows the same to the outside.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>

struct claim *claim_find(const struct cell *c, struct session_id session, uint64_t instance,
			 struct handle_id handle)
{
	struct claim key = {.session = session, .instance = instance, .handle = handle};

	return RB_FIND(claim_tree, &c->index->claims, &key);
}

struct claim *claim_from(const struct cell *c, struct session_id session, uint64_t instance,
			 struct handle_id handle)
{
	struct claim key = {.session = session, .instance = instance, .handle = handle};
	struct claim *found = RB_NFIND(claim_tree, &c->index->claims, &key);

	return found != NULL && found->session.n == session.n ? found : NULL;
}

struct claim *claim_add(struct cell *c, struct session_entry *s, uint64_t instance,
			struct handle_id handle)
{
	struct claim *claim = mem_zalloc(sizeof(*claim));

	claim->session = s->session.id;
	claim->instance = instance;
	claim->handle = handle;
	CHECK(RB_INSERT(claim_tree, &c->index->claims, claim) == NULL);
	session_insert_lock(s, instance);
	return claim;
}

void claim_remove(struct cell *c, struct claim *claim)
{
	struct session_entry *s = session_find(c, claim->session);

	CHECK(s != NULL);
	session_remove_lock(s, claim->instance);
	RB_REMOVE(claim_tree, &c->index->claims, claim);
	free(claim);
}

const struct lock_holder *cell_holder(const struct cell *c, uint64_t instance,
				      struct session_id session, struct handle_id handle)
{
	const struct claim *claim = claim_find(c, session, instance, handle);
	const struct lock *l;
	uint32_t at;

	if (claim == NULL || !claim->holds)
		return NULL;
	l = &lock_find(c, instance)->lock;
	at = lock_holder_position(l, claim->grant);
	CHECK(at < l->holder_count);
	return &l->holders[at];
}

const struct lock_waiter *cell_waiter(const struct cell *c, uint64_t instance,
				      struct session_id session, struct handle_id handle)
{
	const struct claim *claim = claim_find(c, session, instance, handle);
	const struct lock *l;
	uint32_t at;

	if (claim == NULL || claim->holds)
		return NULL;
	l = &lock_find(c, instance)->lock;
	at = lock_waiter_position(l, claim->ticket);
	CHECK(at < l->waiter_count);
	return &l->waiters[at];
}
