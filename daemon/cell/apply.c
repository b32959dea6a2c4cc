/*
 * The one entrance to the state. Each entry passes, in this order:
 *
 *   1 form        nonsense is MALFORMED
 *   2 epoch       what a timer of a former master proposed is void: EPOCH_CHANGED
 *   3 session     SESSION_EXPIRED unless it is live: checked in the apply that grants, so that
 *                 no grant follows its session's end
 *   4 exactly-once a number that was answered is answered again, and nothing changes
 *   5 sequencer   the grant that the request was bound to stands: else SEQUENCER_INVALID
 *   6 the entry itself; its result, a refusal too, is stored under its number
 *
 * A void or malformed entry stores no result: the request may come again and be applied.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <string.h>

struct entry_rule {
	enum error (*apply)(struct cell *c, const struct entry *e, struct result *r);
	bool needs_session;
	bool epoch_bound; /* always; see is_epoch_bound() for those that may be */
};

static enum error apply_epoch(struct cell *c, const struct entry *e, struct result *r)
{
	struct effect *f;

	(void)r;
	c->meta.epoch.n++;
	c->meta.master = e->epoch.master;
	c->meta.master_ballot = e->epoch.ballot;
	f = effect_add(c, EFFECT_EPOCH);
	f->revision = c->meta.revision;
	return ERROR_OK;
}

static enum error apply_lease_raise(struct cell *c, const struct entry *e, struct result *r)
{
	int64_t lease_ns = session_clamp_lease(e->lease_raise.lease_ns);

	(void)r;
	if (e->lease_raise.lease_ns <= 0)
		return ERROR_MALFORMED;
	if (lease_ns > c->meta.longest_lease_ns)
		c->meta.longest_lease_ns = lease_ns;
	return ERROR_OK;
}

static const struct entry_rule entry_rules[ENTRY_KIND_END] = {
	[ENTRY_EPOCH] = {.apply = apply_epoch},
	[ENTRY_SESSION_CREATE] = {.apply = apply_session_create},
	[ENTRY_SESSION_END] = {.apply = apply_session_end, .needs_session = true},
	[ENTRY_NODE_CREATE] = {.apply = apply_node_create},
	[ENTRY_NODE_DELETE] = {.apply = apply_node_delete},
	[ENTRY_NODE_WRITE] = {.apply = apply_node_write},
	[ENTRY_NODE_SET_ACL] = {.apply = apply_node_set_acl},
	[ENTRY_KEEP] = {.apply = apply_keep, .needs_session = true},
	[ENTRY_CLOSE] = {.apply = apply_close, .needs_session = true},
	[ENTRY_NODE_REAP] = {.apply = apply_node_reap},
	[ENTRY_ACQUIRE] = {.apply = apply_acquire, .needs_session = true},
	[ENTRY_RELEASE] = {.apply = apply_release, .needs_session = true},
	[ENTRY_CANCEL] = {.apply = apply_cancel, .needs_session = true},
	[ENTRY_LOCK_DELAY_END] = {.apply = apply_lock_delay_end, .epoch_bound = true},
	[ENTRY_REVOKE] = {.apply = apply_revoke},
	[ENTRY_MULTI] = {.apply = apply_multi},
	[ENTRY_SESSION_MARK] = {.apply = apply_session_mark, .epoch_bound = true},
	[ENTRY_SESSION_UNMARK] = {.apply = apply_session_unmark, .needs_session = true},
	[ENTRY_SESSION_CACHES] = {.apply = apply_session_caches, .needs_session = true},
	[ENTRY_LEASE_RAISE] = {.apply = apply_lease_raise},
	[ENTRY_DIGEST] = {.apply = apply_digest},
};

static bool is_well_formed(const struct entry *e)
{
	if ((unsigned)e->kind >= ENTRY_KIND_END || entry_rules[e->kind].apply == NULL)
		return false;
	return e->session.n != 0 || !entry_rules[e->kind].needs_session;
}

static bool is_epoch_bound(const struct entry *e)
{
	if (e->kind == ENTRY_SESSION_END)
		return e->session_end.reason == SESSION_END_EXPIRED ||
		       e->session_end.reason == SESSION_END_IDLE;
	if (e->kind == ENTRY_CANCEL)
		return e->cancel.expired;
	return entry_rules[e->kind].epoch_bound;
}

/* An entry may be bound to an epoch although it need not be. */
static bool is_void(const struct cell *c, const struct entry *e)
{
	return (is_epoch_bound(e) || e->guard_epoch.n != 0) && e->guard_epoch.n != c->meta.epoch.n;
}

static enum error apply_guarded(struct cell *c, const struct entry *e, struct result *r)
{
	const struct grant_guard *g = &e->guard_grant;

	if (g->mode != LOCK_FREE &&
	    cell_check_grant(c, g->instance, g->mode, g->grant, g->token) != ERROR_OK)
		return ERROR_SEQUENCER_INVALID;
	return entry_rules[e->kind].apply(c, e, r);
}

static void apply_numbered(struct cell *c, const struct entry *e, struct outcome *outcome)
{
	struct session_entry *s = session_find(c, e->session);
	struct stored_result stored = {.number = e->number, .kind = e->kind};
	const struct stored_result *known;
	struct result *r = &outcome->result;

	r->error = result_find(&s->session, e->number, e->lowest_unanswered, e->kind, &known);
	if (r->error == ERROR_OK) {
		*r = known->result;
		outcome->repeated = true;
		return;
	}
	if (r->error != ERROR_NOT_FOUND)
		return;
	r->error = apply_guarded(c, e, r);
	r->revision = c->meta.revision;
	/* The entry may have ended its own session. */
	s = session_find(c, e->session);
	if (s == NULL || r->error == ERROR_MALFORMED)
		return;
	stored.result = *r;
	result_store(c, s, e->lowest_unanswered, &stored);
}

static void apply_checked(struct cell *c, const struct entry *e, struct outcome *outcome)
{
	struct result *r = &outcome->result;
	bool of_session = e->session.n != 0 && e->kind != ENTRY_SESSION_CREATE;

	if (is_void(c, e))
		r->error = ERROR_EPOCH_CHANGED;
	else if (of_session && session_find(c, e->session) == NULL)
		r->error = ERROR_SESSION_EXPIRED;
	else if (of_session && e->number != 0)
		apply_numbered(c, e, outcome);
	else
		r->error = apply_guarded(c, e, r);
}

void cell_apply(struct cell *c, const struct entry *e, struct outcome *ret_outcome)
{
	struct outcome outcome = {0};
	int64_t wall_unix_ms = c->meta.wall_unix_ms;

	c->effect_count = 0;
	c->grants_made = 0;
	revision_advance(c);
	if (is_well_formed(e)) {
		if (e->wall_unix_ms > c->meta.wall_unix_ms)
			c->meta.wall_unix_ms = e->wall_unix_ms;
		apply_checked(c, e, &outcome);
	} else {
		outcome.result.error = ERROR_MALFORMED;
	}
	if (outcome.result.error == ERROR_MALFORMED)
		c->meta.wall_unix_ms = wall_unix_ms; /* nonsense may tell a nonsensical time */
	if (!outcome.repeated)
		outcome.result.revision = c->meta.revision;
	meta_touch(c);
	digest_remember(c);

	outcome.effect_count = c->effect_count;
	outcome.effects = c->effects;
	*ret_outcome = outcome;
}
