/*
 * What a client of the storm does: the features of locks one by one, each with the results that
 * its documentation allows.
 */
#include "storm.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

/* An ephemeral node that nobody has open goes by an entry of its own. */
#define EPHEMERAL_TRIES 2000

static bool open_lock(struct storm *s, const struct storm_lock *l,
		      struct chubby_handle **ret_handle)
{
	struct chubby_error e;
	enum chubby_code code = chubby_open(s->cell, l->path, CHUBBY_WRITE, NULL, 0, ret_handle,
					    NULL, &e);

	return code == CHUBBY_OK || history_fail(&s->history, "open", code, &e);
}

static bool release(struct storm *s, struct storm_hold *hold, struct chubby_handle *h)
{
	struct chubby_error e;
	enum chubby_code code;

	storm_free(s, hold, "release");
	code = chubby_release(h, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "release", code, &e);
	storm_freed(s, hold->lock);
	return true;
}

/* Acquires with these options, and if it is granted does something and releases. `expected` is
 * what else the call may say. */
static bool section(struct storm *s, const struct chubby_acquire_options *o, const char *how,
		    enum chubby_code expected)
{
	struct storm_lock *l = storm_pick(s);
	struct storm_hold hold;
	struct chubby_error e;
	enum chubby_code code;

	storm_ask(s, l, o->mode, how);
	code = chubby_acquire(l->lock, o, &e);
	if (code != CHUBBY_OK)
		return storm_not(s, l, code, expected, &e);
	hold = storm_hold_of(l, o->mode, l->lock);
	return storm_under(s, &hold) && release(s, &hold, l->lock);
}

bool storm_wait(struct storm *s)
{
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));

	return section(s, &o, "wait", CHUBBY_OK);
}

bool storm_try(struct storm *s)
{
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));

	o.wait_ms = -1;
	return section(s, &o, "try", CHUBBY_BUSY);
}

bool storm_deadline(struct storm *s)
{
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));

	o.wait_ms = rng_between(&s->rng, 1, 60);
	return section(s, &o, "deadline", CHUBBY_DEADLINE_EXCEEDED);
}

/* ---- poison --------------------------------------------------------------------------------- */

struct poisoner {
	struct chubby_handle *handle;
	int delay_ms;
};

static void *poison_later(void *argument)
{
	struct poisoner *p = argument;

	/* The moment is what is tested: any, before or after the grant. */
	poll(NULL, 0, p->delay_ms);
	chubby_poison(p->handle);
	return NULL;
}

bool storm_poison(struct storm *s)
{
	struct storm_lock *l = storm_pick(s);
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));
	struct poisoner p = {.delay_ms = (int)rng_between(&s->rng, 0, 40)};
	struct storm_hold hold;
	struct chubby_error e;
	enum chubby_code code;
	pthread_t thread;
	bool good;

	if (!open_lock(s, l, &p.handle))
		return false;
	if (pthread_create(&thread, NULL, poison_later, &p) != 0)
		return history_fail(&s->history, "thread", CHUBBY_RESOURCE_EXHAUSTED, NULL);
	storm_ask(s, l, o.mode, "poison");
	code = chubby_acquire(p.handle, &o, &e);
	if (code == CHUBBY_OK) {
		hold = storm_hold_of(l, o.mode, p.handle);
		good = storm_under(s, &hold);
		pthread_join(thread, NULL);
		/* A poisoned handle still gives its lock back when it is closed. */
		storm_free(s, &hold, "poisoned");
	} else {
		good = storm_not(s, l, code, CHUBBY_CANCELLED, &e);
		pthread_join(thread, NULL);
	}
	chubby_close(p.handle);
	if (code == CHUBBY_OK)
		storm_freed(s, l);
	return good;
}

/* ---- other ways to begin and to end a hold -------------------------------------------------- */

bool storm_close(struct storm *s)
{
	struct storm_lock *l = storm_pick(s);
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));
	struct chubby_handle *h;
	struct storm_hold hold;
	struct chubby_error e;
	enum chubby_code code;
	bool good;

	if (!open_lock(s, l, &h))
		return false;
	storm_ask(s, l, o.mode, "close");
	code = chubby_acquire(h, &o, &e);
	if (code != CHUBBY_OK)
		return storm_not(s, l, code, CHUBBY_OK, &e);
	hold = storm_hold_of(l, o.mode, h);
	good = storm_under(s, &hold);
	storm_free(s, &hold, "close");
	chubby_close(h);
	storm_freed(s, l);
	return good;
}

bool storm_convenient(struct storm *s)
{
	struct storm_lock *l = storm_pick(s);
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));
	struct chubby_lock *lock;
	struct storm_hold hold = {.lock = l, .mode = o.mode};
	struct chubby_error e;
	enum chubby_code code;
	bool good;

	storm_ask(s, l, o.mode, "convenient");
	code = chubby_lock(s->cell, l->path, &o, &lock, &e);
	if (code != CHUBBY_OK)
		return storm_not(s, l, code, CHUBBY_OK, &e);
	hold.token = chubby_lock_token(lock);
	hold.sequencer = chubby_lock_sequencer(lock);
	good = storm_under(s, &hold);
	storm_free(s, &hold, "unlock");
	chubby_unlock(lock);
	storm_freed(s, l);
	return good;
}

/* ---- what must be refused ------------------------------------------------------------------- */

bool storm_stale(struct storm *s)
{
	struct storm_lock *l = storm_pick(s);
	struct chubby_error e;
	enum chubby_code code;

	if (l->stale[0] == '\0')
		return true;
	code = chubby_check_sequencer(s->cell, l->stale, NULL, &e);
	history_say(&s->history, "checked lock=%s held=0 code=%s", l->name, chubby_code_name(code));
	return code == CHUBBY_SEQUENCER_INVALID ||
	       history_fail(&s->history, "check-of-a-former-hold", code, &e);
}

bool storm_misuse(struct storm *s)
{
	struct storm_lock *l = storm_pick(s);
	struct chubby_acquire_options o = storm_options(s, storm_mode(s));
	struct storm_hold hold;
	struct chubby_error e;
	enum chubby_code code = chubby_release(l->lock, &e);

	if (code != CHUBBY_NOT_HELD)
		return history_fail(&s->history, "release-of-nothing", code, &e);
	storm_ask(s, l, o.mode, "misuse");
	code = chubby_acquire(l->lock, &o, &e);
	if (code != CHUBBY_OK)
		return storm_not(s, l, code, CHUBBY_OK, &e);
	hold = storm_hold_of(l, o.mode, l->lock);
	if (!storm_under(s, &hold))
		return false;
	code = chubby_acquire(l->lock, &o, &e);
	if (code != CHUBBY_ALREADY_HELD)
		return history_fail(&s->history, "acquire-twice", code, &e);
	return release(s, &hold, l->lock);
}

/* ---- files ---------------------------------------------------------------------------------- */

/* Each write names the generation that the last one returned: a lost or doubled one is refused. */
bool storm_own(struct storm *s)
{
	struct chubby_error e;
	enum chubby_code code;
	char text[32];

	snprintf(text, sizeof(text), "%" PRIu64, s->own_count + 1);
	code = chubby_set(s->own, text, strlen(text), s->own_generation, &s->own_generation, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "own-write", code, &e);
	s->own_count++;
	history_say(&s->history, "counted file=own-%d n=%" PRIu64 " token=0", s->client,
		    s->own_count);
	return true;
}

/* Makes the node anew once the last one is gone. */
static bool ephemeral_make(struct storm *s)
{
	const int flags = CHUBBY_READ | CHUBBY_CREATE | CHUBBY_EXCLUSIVE | CHUBBY_EPHEMERAL;
	enum chubby_code code = CHUBBY_EXISTS;
	struct chubby_stat st;
	struct chubby_error e;
	char path[STORM_PATH_BYTES];

	snprintf(path, sizeof(path), "/ls/local/ephemeral-%d", s->client);
	for (int i = 0; i < EPHEMERAL_TRIES && code == CHUBBY_EXISTS; i++)
		code = chubby_open(s->cell, path, flags, NULL, 0, &s->ephemeral, NULL, &e);
	if (code == CHUBBY_OK)
		code = chubby_stat(s->ephemeral, &st, &e);
	if (code != CHUBBY_OK)
		return history_fail(&s->history, "ephemeral-make", code, &e);
	if (!st.ephemeral || st.instance <= s->ephemeral_instance)
		return history_fail(&s->history, "ephemeral-instance", CHUBBY_EXISTS, NULL);
	s->ephemeral_instance = st.instance;
	return true;
}

bool storm_ephemeral(struct storm *s)
{
	struct chubby_error e;
	struct chubby_stat st;
	enum chubby_code code;

	if (s->ephemeral == NULL)
		return ephemeral_make(s);
	code = chubby_stat(s->ephemeral, &st, &e);
	if (code != CHUBBY_OK || st.instance != s->ephemeral_instance)
		return history_fail(&s->history, "ephemeral-lost", code, &e);
	history_say(&s->history, "ephemeral instance=%" PRIu64, st.instance);
	if (rng_below(&s->rng, 4) == 0) {
		chubby_close(s->ephemeral);
		s->ephemeral = NULL;
	}
	return true;
}
