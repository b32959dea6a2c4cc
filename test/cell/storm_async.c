/*
 * What a client of the storm does without waiting: claims on all locks at once, some of which it
 * cancels or discards, and several reads and a write under way together.
 */
#include "storm.h"

#include <inttypes.h>
#include <string.h>

#define READS 4

static void on_done(void *context, struct chubby_call *call)
{
	struct storm *s = context;

	if (!chubby_call_is_done(call))
		history_fail(&s->history, "told-before-done", CHUBBY_INTERNAL, NULL);
	atomic_fetch_add(&s->told, 1);
}

static bool started(struct storm *s, enum chubby_code code, const struct chubby_error *e)
{
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "start", code, e);
	s->started++;
	return true;
}

/* Reads that overtake each other or not: under the lock all find the same. */
static bool read_together(struct storm *s, struct storm_hold *hold)
{
	struct chubby_call *calls[READS];
	struct chubby_contents contents;
	struct chubby_error e;
	uint64_t count, first = 0;
	enum chubby_code code;
	int begun = 0;

	while (begun < READS &&
	       started(s, chubby_get_start(hold->lock->count, on_done, s, &calls[begun], &e), &e))
		begun++;
	for (int i = 0; i < begun; i++) {
		code = chubby_get_finish(calls[i], &contents, NULL, &e);
		if (code != CHUBBY_OK)
			return history_fail(&s->history, "get-finish", code, &e);
		if (sscanf(contents.data, "%" SCNu64, &count) != 1 || (i > 0 && count != first))
			return history_fail(&s->history, "reads-differ", CHUBBY_MALFORMED, NULL);
		first = count;
		chubby_contents_free(&contents);
	}
	return begun == READS;
}

static bool write_and_release(struct storm *s, struct storm_hold *hold)
{
	struct storm_lock *l = hold->lock;
	uint64_t count, last, generation;
	struct chubby_call *call;
	struct chubby_error e;
	enum chubby_code code;
	char text[80];

	if (hold->mode == CHUBBY_EXCLUSIVE_MODE) {
		if (!storm_read(s, l, &count, &last, &generation))
			return false;
		snprintf(text, sizeof(text), "%" PRIu64 " %" PRIu64 " %d", count + 1, hold->token,
			 s->client);
		if (!started(s,
			     chubby_set_start(l->count, text, strlen(text), generation, on_done, s,
					      &call, &e),
			     &e))
			return false;
		/* What the arguments point to was copied. */
		memset(text, 'x', sizeof(text));
		code = chubby_set_finish(call, NULL, &e);
		if (code != CHUBBY_OK)
			return history_fail(&s->history, "set-finish", code, &e);
		history_say(&s->history, "counted file=count-%s n=%" PRIu64 " token=%" PRIu64,
			    l->name, count + 1, hold->token);
	}
	storm_free(s, hold, "async");
	if (!started(s, chubby_release_start(l->lock, on_done, s, &call, &e), &e))
		return false;
	code = chubby_release_finish(call, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "release-finish", code, &e);
	storm_freed(s, l);
	return true;
}

/* Waits for a short while, since it may hold what another that waits holds the counterpart of. */
static bool settle(struct storm *s, struct storm_lock *l, enum chubby_mode mode,
		   struct chubby_call *call)
{
	struct storm_hold hold;
	struct chubby_error e;
	enum chubby_code code;

	if (!chubby_call_wait(call, rng_between(&s->rng, 0, 40))) {
		if (rng_below(&s->rng, 4) == 0) {
			chubby_call_discard(call);
			return storm_not(s, l, CHUBBY_CANCELLED, CHUBBY_CANCELLED, NULL);
		}
		chubby_call_cancel(call);
	}
	code = chubby_acquire_finish(call, &e);
	if (code != CHUBBY_OK)
		return storm_not(s, l, code, CHUBBY_CANCELLED, &e);
	hold = storm_hold_of(l, mode, l->lock);
	return storm_under(s, &hold) && read_together(s, &hold) && write_and_release(s, &hold);
}

bool storm_async(struct storm *s)
{
	struct chubby_call *calls[STORM_LOCKS_MAX];
	enum chubby_mode modes[STORM_LOCKS_MAX];
	struct chubby_error e;
	bool good = true;

	for (int i = 0; i < s->lock_count && good; i++) {
		struct chubby_acquire_options o = storm_options(s, storm_mode(s));

		modes[i] = o.mode;
		storm_ask(s, &s->locks[i], o.mode, "async");
		good = started(s,
			       chubby_acquire_start(s->locks[i].lock, &o, on_done, s, &calls[i],
						    &e),
			       &e);
	}
	for (int i = 0; i < s->lock_count && good; i++)
		good = settle(s, &s->locks[i], modes[i], calls[i]);
	return good;
}
