/*
 * What a client of the storm does with several things at once: multi, chubby_lock_all(), and calls
 * bound to a sequencer.
 */
#include "storm.h"

#include <inttypes.h>
#include <string.h>

/* Different locks, in any order. */
static size_t some_locks(struct storm *s, int64_t least, int64_t most,
			 struct storm_lock *ret_wanted[])
{
	size_t count = (size_t)rng_between(&s->rng, least, most);
	uint64_t first = rng_below(&s->rng, STORM_LOCKS_MAX);
	uint64_t step = 1 + rng_below(&s->rng, STORM_LOCKS_MAX - 1);

	_Static_assert(STORM_LOCKS_MAX == 3, "any step but 0 visits all of a prime number");
	for (size_t i = 0; i < count; i++)
		ret_wanted[i] = &s->locks[(first + i * step) % STORM_LOCKS_MAX];
	return count;
}

/* ---- multi ---------------------------------------------------------------------------------- */

/* Raises the counter and releases the lock in one entry, if the handle holds it and the counter is
 * what was read. */
static bool raise_and_release(struct storm *s, struct storm_hold *hold)
{
	struct storm_lock *l = hold->lock;
	uint64_t count, last, generation, revision;
	struct chubby_error e;
	enum chubby_code code;
	size_t failed_op;
	char text[80];

	if (!storm_read(s, l, &count, &last, &generation))
		return false;
	snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %d", count + 1, hold->token,
		 s->client);
	const struct chubby_op ops[] = {
		{.kind = CHUBBY_GUARD_HOLDER, .handle = l->lock},
		{.kind = CHUBBY_GUARD_TOKEN, .handle = l->lock, .number = hold->token},
		{.kind = CHUBBY_GUARD_GENERATION, .handle = l->count, .number = generation},
		{.kind = CHUBBY_OP_WRITE,
		 .handle = l->count,
		 .data = text,
		 .size_bytes = strlen(text)},
		{.kind = CHUBBY_OP_RELEASE, .handle = l->lock},
	};
	storm_free(s, hold, "multi");
	code = chubby_multi(s->cell, ops, sizeof(ops) / sizeof(ops[0]), &revision, &failed_op, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "multi", code, &e);
	history_say(&s->history, "counted file=count-%s n=%" PRIu64 " token=%" PRIu64, l->name,
		    count + 1, hold->token);
	storm_freed(s, l);
	return true;
}

/* With a guard that does not hold nothing happens: neither the write nor the release. */
static bool guard_fails(struct storm *s, const struct storm_hold *hold)
{
	const struct storm_lock *l = hold->lock;
	const struct chubby_op ops[] = {
		{.kind = CHUBBY_GUARD_HOLDER, .handle = l->lock},
		{.kind = CHUBBY_GUARD_TOKEN, .handle = l->lock, .number = hold->token - 1},
		{.kind = CHUBBY_OP_WRITE, .handle = l->count, .data = "damage", .size_bytes = 6},
		{.kind = CHUBBY_OP_RELEASE, .handle = l->lock},
	};
	struct chubby_error e;
	size_t failed_op = 0;
	enum chubby_code code = chubby_multi(s->cell, ops, sizeof(ops) / sizeof(ops[0]), NULL,
					     &failed_op, &e);

	return (code == CHUBBY_GUARD_FAILED && failed_op == 1) ||
	       history_fail(&s->history, "guard", code, &e);
}

bool storm_multi(struct storm *s)
{
	struct storm_lock *l = storm_pick(s);
	struct chubby_acquire_options o = storm_options(s, CHUBBY_EXCLUSIVE_MODE);
	struct storm_hold hold;
	struct chubby_error e;
	enum chubby_code code;

	storm_ask(s, l, o.mode, "multi");
	code = chubby_acquire(l->lock, &o, &e);
	if (code != CHUBBY_OK)
		return storm_not(s, l, code, CHUBBY_OK, &e);
	hold = storm_hold_of(l, o.mode, l->lock);
	return storm_under(s, &hold) && guard_fails(s, &hold) && raise_and_release(s, &hold);
}

/* What a multi acquired, given back by another. */
static bool release_several(struct storm *s, struct storm_lock *const wanted[], size_t count,
			    const enum chubby_mode modes[])
{
	struct chubby_op release[STORM_LOCKS_MAX];
	struct chubby_error e;
	enum chubby_code code;

	for (size_t i = 0; i < count; i++) {
		struct storm_hold hold = storm_hold_of(wanted[i], modes[i], wanted[i]->lock);

		release[i] = (struct chubby_op){.kind = CHUBBY_OP_RELEASE,
						.handle = wanted[i]->lock};
		storm_free(s, &hold, "multi");
	}
	code = chubby_multi(s->cell, release, count, NULL, NULL, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "release-several", code, &e);
	for (size_t i = 0; i < count; i++)
		storm_freed(s, wanted[i]);
	return true;
}

/* One lock or two, all or none, without waiting. */
bool storm_take(struct storm *s)
{
	struct chubby_op acquire[STORM_LOCKS_MAX];
	struct storm_lock *wanted[STORM_LOCKS_MAX];
	enum chubby_mode modes[STORM_LOCKS_MAX];
	size_t count = some_locks(s, 1, 2, wanted);
	struct chubby_error e;
	enum chubby_code code;
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		modes[i] = storm_mode(s);
		acquire[i] = (struct chubby_op){.kind = CHUBBY_OP_ACQUIRE,
						.handle = wanted[i]->lock,
						.mode = modes[i]};
		storm_ask(s, wanted[i], modes[i], "take");
	}
	code = chubby_multi(s->cell, acquire, count, NULL, NULL, &e);
	for (size_t i = 0; i < count && code != CHUBBY_OK; i++)
		good = storm_not(s, wanted[i], code, CHUBBY_BUSY, &e) && good;
	for (size_t i = 0; i < count && code == CHUBBY_OK && good; i++) {
		struct storm_hold hold = storm_hold_of(wanted[i], modes[i], wanted[i]->lock);

		good = storm_under(s, &hold);
	}
	return good && (code != CHUBBY_OK || release_several(s, wanted, count, modes));
}

/* ---- all of some locks ---------------------------------------------------------------------- */

static bool under_all(struct storm *s, enum chubby_mode mode, struct storm_lock *const wanted[],
		      struct chubby_lock *const locks[], size_t count)
{
	bool good = true;

	for (size_t i = 0; i < count; i++) {
		struct storm_hold hold = {.lock = wanted[i],
					  .mode = mode,
					  .token = chubby_lock_token(locks[i]),
					  .sequencer = chubby_lock_sequencer(locks[i])};

		good = good && storm_under(s, &hold);
		if (good)
			storm_free(s, &hold, "unlock");
		chubby_unlock(locks[i]);
		if (good)
			storm_freed(s, wanted[i]);
	}
	return good;
}

bool storm_all(struct storm *s)
{
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));
	struct storm_lock *wanted[STORM_LOCKS_MAX];
	struct chubby_lock *locks[STORM_LOCKS_MAX];
	const char *paths[STORM_LOCKS_MAX];
	size_t count = some_locks(s, 2, STORM_LOCKS_MAX, wanted);
	struct chubby_error e;
	enum chubby_code code;
	bool good = true;

	if (rng_below(&s->rng, 2) == 0)
		o.wait_ms = rng_between(&s->rng, 1, 200);
	for (size_t i = 0; i < count; i++) {
		paths[i] = wanted[i]->path;
		storm_ask(s, wanted[i], o.mode, "all");
	}
	code = chubby_lock_all(s->cell, paths, count, &o, locks, &e);
	if (code == CHUBBY_OK)
		return under_all(s, o.mode, wanted, locks, count);
	for (size_t i = 0; i < count; i++) {
		good = storm_not(s, wanted[i], code,
				 o.wait_ms > 0 ? CHUBBY_DEADLINE_EXCEEDED : CHUBBY_OK, &e) &&
		       good;
	}
	return good;
}

/* ---- calls bound to a sequencer ------------------------------------------------------------- */

/* The hold is over: the write must not happen. */
static bool is_refused(struct storm *s, struct chubby_handle *bound)
{
	struct chubby_error e;
	enum chubby_code code = chubby_set(bound, "damage", 6, 0, NULL, &e);

	return code == CHUBBY_SEQUENCER_INVALID ||
	       history_fail(&s->history, "write-after-the-hold", code, &e);
}

bool storm_bound(struct storm *s)
{
	struct storm_lock *l = storm_pick(s);
	struct storm_lock bound = *l; /* its counter is reached by another handle */
	struct chubby_acquire_options o = storm_options(s, CHUBBY_EXCLUSIVE_MODE);
	char path[STORM_PATH_BYTES];
	struct storm_hold hold;
	struct chubby_error e;
	enum chubby_code code;
	bool good;

	storm_ask(s, l, o.mode, "bound");
	code = chubby_acquire(l->lock, &o, &e);
	if (code != CHUBBY_OK)
		return storm_not(s, l, code, CHUBBY_OK, &e);
	hold = storm_hold_of(l, o.mode, l->lock);
	if (!storm_under(s, &hold))
		return false;
	snprintf(path, sizeof(path), "/ls/local/count-%s", l->name);
	code = chubby_open(s->cell, path, CHUBBY_READ | CHUBBY_WRITE, NULL, 0, &bound.count, NULL,
			   &e);
	if (code == CHUBBY_OK)
		code = chubby_set_sequencer(bound.count, hold.sequencer, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "set-sequencer", code, &e);
	good = storm_raise(s, &bound, hold.token);
	storm_free(s, &hold, "release");
	code = chubby_release(l->lock, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "release", code, &e);
	storm_freed(s, l);
	good = good && is_refused(s, bound.count);
	chubby_close(bound.count);
	return good;
}
