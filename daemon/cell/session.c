/*
 * Sessions: made, marked, ended (design section 4).
 *
 * The end of a session is one entry that leaves nothing behind: its waiters leave their queues,
 * its locks are freed (after their lock-delay when it failed), its keepers are taken from the
 * ephemeral nodes, its stored results are forgotten. Thus no holder, waiter or keeper outlives
 * its session, and an ended session need not stay recorded. (The design lets it stay until its
 * keepers are gone; taking them away in the same apply satisfies that at once.)
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

void session_entry_free(struct session_entry *s)
{
	owned_free(&s->session.principal);
	owned_free(&s->session.host);
	owned_free(&s->session.command);
	free(s->session.results);
	free(s->session.locks);
	free(s);
}

int64_t session_clamp_lease(int64_t lease_ns)
{
	if (lease_ns < CELL_SESSION_LEASE_MIN_NS)
		return CELL_SESSION_LEASE_MIN_NS;
	if (lease_ns > CELL_SESSION_LEASE_MAX_NS)
		return CELL_SESSION_LEASE_MAX_NS;
	return lease_ns;
}

/* ---- its locks, as seen from outside ------------------------------------------------------- */

/* Just after the last that is the same: what comes next to it moves the least. */
static uint32_t position_after(const struct session *s, uint64_t instance)
{
	uint32_t low = 0, high = s->lock_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (s->locks[middle] <= instance)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void session_insert_lock(struct session_entry *s, uint64_t instance)
{
	struct session *session = &s->session;
	uint32_t at = position_after(session, instance);

	CHECK(!s->ending);
	if (session->lock_count == s->lock_capacity) {
		s->lock_capacity = grown_capacity(s->lock_capacity, session->lock_count + 1);
		session->locks = mem_realloc_array(session->locks, s->lock_capacity,
						   sizeof(session->locks[0]));
	}
	memmove(session->locks + at + 1, session->locks + at,
		(session->lock_count - at) * sizeof(session->locks[0]));
	session->locks[at] = instance;
	session->lock_count++;
}

void session_remove_lock(struct session_entry *s, uint64_t instance)
{
	struct session *session = &s->session;
	uint32_t at;

	if (s->ending)
		return;
	at = position_after(session, instance);
	CHECK(at > 0 && session->locks[at - 1] == instance);
	at--;
	session->lock_count--;
	memmove(session->locks + at, session->locks + at + 1,
		(session->lock_count - at) * sizeof(session->locks[0]));
}

/* ---- creation ------------------------------------------------------------------------------ */

static struct bytes cut_text(struct bytes text)
{
	if (text.size > CELL_TEXT_MAX_BYTES)
		text.size = CELL_TEXT_MAX_BYTES;
	return owned_copy(text);
}

enum error apply_session_create(struct cell *c, const struct entry *e, struct result *r)
{
	struct session_entry *s = mem_zalloc(sizeof(*s));
	struct session *session = &s->session;

	session->id = (struct session_id){c->meta.revision.n};
	session->principal = cut_text(e->session_create.principal);
	session->host = cut_text(e->session_create.host);
	session->command = cut_text(e->session_create.command);
	session->pid = e->session_create.pid;
	session->lease_ns = session_clamp_lease(e->session_create.lease_ns);
	session->caches = e->session_create.caches;
	session->created_unix_ms = c->meta.wall_unix_ms;
	session->mark_left_ns = -1;
	session->lowest_unanswered = 1;
	if (session->lease_ns > c->meta.longest_lease_ns)
		c->meta.longest_lease_ns = session->lease_ns;

	CHECK(RB_INSERT(session_tree, &c->index->sessions, s) == NULL);
	c->session_count++;
	session_touch(c, s);
	effect_add(c, EFFECT_SESSION_CREATED)->session = session->id;
	r->session = session->id;
	return ERROR_OK;
}

/* ---- end ----------------------------------------------------------------------------------- */

/* Lets nobody in yet: a lock that the session frees must not come to another handle of its own. */
static void drop_claims(struct cell *c, struct session_entry *s, bool failed)
{
	struct session_id id = s->session.id;
	struct claim *claim = claim_from(c, id, 0, (struct handle_id){0});

	while (claim != NULL) {
		struct claim *next = RB_NEXT(claim_tree, &c->index->claims, claim);
		struct node_entry *n = node_find(c, claim->instance);
		const struct lock *l = n->node.lock;

		if (claim->holds)
			lock_drop_holder(c, n, lock_holder_position(l, claim->grant), failed,
					 ERROR_SESSION_EXPIRED);
		else
			lock_drop_waiter(c, n, lock_waiter_position(l, claim->ticket),
					 ERROR_SESSION_EXPIRED);
		claim = next != NULL && next->session.n == id.n ? next : NULL;
	}
}

static void drop_keepers(struct cell *c, struct session_id id)
{
	struct keep *k;

	while ((k = keep_first(c, id)) != NULL) {
		struct node_entry *n = node_find(c, k->instance);

		node_remove_keeper(c, n, (struct keeper){id, k->handle});
		node_touch(c, n);
		node_judge_reapable(c, n);
	}
}

static void session_end_now(struct cell *c, struct session_entry *s, bool failed)
{
	struct session_id id = s->session.id;

	s->ending = true;
	drop_claims(c, s, failed);
	CHECK(claim_from(c, id, 0, (struct handle_id){0}) == NULL);
	for (uint32_t i = 0; i < s->session.lock_count; i++)
		if (i == 0 || s->session.locks[i] != s->session.locks[i - 1])
			lock_settle(c, node_find(c, s->session.locks[i]));
	drop_keepers(c, id);

	for (uint32_t i = 0; i < s->session.result_count; i++)
		digest_subtract(&c->digest, digest_of_result(id, &s->session.results[i]));
	row_forget(c, ROW_SESSION, id.n, &s->row);
	RB_REMOVE(session_tree, &c->index->sessions, s);
	c->session_count--;
	session_entry_free(s);
}

enum error apply_session_end(struct cell *c, const struct entry *e, struct result *r)
{
	enum session_end_reason reason = e->session_end.reason;
	struct effect *f;

	if (reason < SESSION_END_CLOSED || reason > SESSION_END_IDLE)
		return ERROR_MALFORMED;
	session_end_now(c, session_find(c, e->session), reason != SESSION_END_CLOSED);
	f = effect_add(c, EFFECT_SESSION_ENDED);
	f->session = e->session;
	f->reason = reason;
	r->session = e->session;
	return ERROR_OK;
}

/* ---- marks and traits ---------------------------------------------------------------------- */

static bool marks_are_sound(const struct entry *e)
{
	if (e->session_mark.count > 0 && e->session_mark.marks == NULL)
		return false;
	for (uint32_t i = 0; i < e->session_mark.count; i++)
		if (e->session_mark.marks[i].left_ns < 0)
			return false;
	return true;
}

static void mark(struct cell *c, struct session_id id, int64_t left_ns, struct epoch epoch)
{
	struct session_entry *s = session_find(c, id);

	/* It may have ended since the master looked. */
	if (s == NULL)
		return;
	s->session.mark_left_ns = left_ns;
	s->session.mark_epoch = epoch;
	session_touch(c, s);
}

enum error apply_session_mark(struct cell *c, const struct entry *e, struct result *r)
{
	(void)r;
	if (!marks_are_sound(e))
		return ERROR_MALFORMED;
	for (uint32_t i = 0; i < e->session_mark.count; i++)
		mark(c, e->session_mark.marks[i].session, e->session_mark.marks[i].left_ns,
		     c->meta.epoch);
	return ERROR_OK;
}

enum error apply_session_unmark(struct cell *c, const struct entry *e, struct result *r)
{
	(void)r;
	mark(c, e->session, -1, (struct epoch){0});
	return ERROR_OK;
}

enum error apply_session_caches(struct cell *c, const struct entry *e, struct result *r)
{
	struct session_entry *s = session_find(c, e->session);

	(void)r;
	s->session.caches = true;
	session_touch(c, s);
	return ERROR_OK;
}

/* ---- lookups from outside ------------------------------------------------------------------ */

const struct session *cell_session(const struct cell *c, struct session_id id)
{
	struct session_entry *s = session_find(c, id);

	return s == NULL ? NULL : &s->session;
}

const struct session *cell_session_after(const struct cell *c, struct session_id after)
{
	struct session_entry *s = after.n == UINT64_MAX
					  ? NULL
					  : session_from(c, (struct session_id){after.n + 1});

	return s == NULL ? NULL : &s->session;
}

uint64_t cell_session_count(const struct cell *c)
{
	return c->session_count;
}
