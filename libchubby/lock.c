/*
 * Locks, sequencers, fencing tokens (Chubby section 2.4), and the common case.
 */
#include "call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/path.h"
#include "wire/sequencer.h"

_Static_assert(CHUBBY_SEQUENCER_MAX_BYTES == WIRE_SEQUENCER_MAX_BYTES, "the protocol's limit");

#define LOCK_DELAY_MAX_MS 60000
#define WAIT_MAX_MS (INT64_C(1000) * 3600 * 24 * 365)
/* The cell ends the wait too, should this process not come to it. */
#define SERVER_WAIT_SLACK_NS (2 * NS_PER_S)

struct chubby_acquire_options chubby_acquire_options_default(void)
{
	return (struct chubby_acquire_options){.lock_delay_ms = CHUBBY_LOCK_DELAY_DEFAULT};
}

/* ---- acquire and release -------------------------------------------------------------------- */

enum chubby_code acquire_options_check(const struct chubby_acquire_options *o,
				       struct chubby_error *ret_error)
{
	if (o->mode != CHUBBY_FREE && o->mode != CHUBBY_SHARED && o->mode != CHUBBY_EXCLUSIVE_MODE)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "mode is %d: want CHUBBY_SHARED, CHUBBY_EXCLUSIVE_MODE, or 0",
				    (int)o->mode);
	if (o->lock_delay_ms < -1 || o->lock_delay_ms > LOCK_DELAY_MAX_MS)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "lock_delay_ms: want 0 to 60000, or -1 for the default");
	if (o->wait_ms < -1 || o->wait_ms > WAIT_MAX_MS)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "wait_ms: want milliseconds, 0 for no limit, -1 not to wait");
	return CHUBBY_OK;
}

enum chubby_code acquire_prepare(const struct chubby_acquire_options *options,
				 struct client_call *ret_call, struct chubby_error *ret_error)
{
	struct chubby_acquire_options defaults = chubby_acquire_options_default();
	const struct chubby_acquire_options *o = options != NULL ? options : &defaults;
	struct client_call *c = ret_call;
	enum chubby_code code = acquire_options_check(o, ret_error);

	if (code != CHUBBY_OK)
		return code;
	c->request.kind = MESSAGE_ACQUIRE;
	c->request.acquire.mode = o->mode == CHUBBY_SHARED ? WIRE_LOCK_SHARED : WIRE_LOCK_EXCLUSIVE;
	c->request.acquire.try_only = o->wait_ms < 0;
	c->request.acquire.lock_delay_ns = o->lock_delay_ms < 0 ? -1 : o->lock_delay_ms * NS_PER_MS;
	if (o->wait_ms > 0) {
		c->request.acquire.wait_ns = o->wait_ms * NS_PER_MS + SERVER_WAIT_SLACK_NS;
		c->deadline_ns = clock_now_ns() + o->wait_ms * NS_PER_MS;
	} else if (o->wait_ms == 0) {
		c->deadline_ns = TIME_NEVER;
	}
	return CHUBBY_OK;
}

void grant_keep(struct chubby_handle *h, const struct wire_grant *g)
{
	pthread_mutex_lock(&h->mutex);
	free(h->sequencer);
	h->sequencer = bytes_to_text(g->sequencer);
	h->fencing_token = g->fencing_token;
	atomic_store(&h->held, true);
	pthread_mutex_unlock(&h->mutex);
}

enum chubby_code chubby_acquire(struct chubby_handle *h,
				const struct chubby_acquire_options *options,
				struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = acquire_prepare(options, &c, ret_error);

	if (code != CHUBBY_OK)
		return code;
	code = handle_call(h, &c, "lock", ret_error);
	if (code != CHUBBY_OK)
		return code;
	grant_keep(h, &c.reply.acquire.grant);
	client_call_release(&c);
	return CHUBBY_OK;
}

enum chubby_code release_take(bool was_held, enum chubby_code code, const char *what,
			      struct chubby_error *ret_error)
{
	if (code != CHUBBY_NOT_HELD || !was_held)
		return code;
	return error_report(ret_error, CHUBBY_LOCK_LOST,
			    "%s: the lock was lost before: an operator revoked it, or its node was "
			    "deleted",
			    what);
}

/* After these answers to a release the handle holds nothing. */
bool release_ends(enum chubby_code code)
{
	return code == CHUBBY_OK || code == CHUBBY_NOT_HELD || code == CHUBBY_HANDLE_STALE;
}

enum chubby_code chubby_release(struct chubby_handle *h, struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_RELEASE}};
	bool was_held = h != NULL && atomic_load(&h->held);
	enum chubby_code code = handle_call(h, &c, "release", ret_error);
	char what[128];

	if (code == CHUBBY_OK)
		client_call_release(&c);
	if (h == NULL)
		return code;
	if (release_ends(code))
		atomic_store(&h->held, false);
	snprintf(what, sizeof(what), "release %.100s", h->path);
	return release_take(was_held, code, what, ret_error);
}

/* A lock does not outlive its session. */
static bool handle_holds(const struct chubby_handle *h)
{
	return atomic_load(&h->held) && !atomic_load(&h->cell->expired);
}

const char *chubby_sequencer(const struct chubby_handle *h)
{
	return handle_holds(h) ? h->sequencer : NULL;
}

uint64_t chubby_token(const struct chubby_handle *h)
{
	return handle_holds(h) ? h->fencing_token : 0;
}

bool chubby_is_held(const struct chubby_handle *h)
{
	return handle_holds(h) && chubby_session_is_safe(h->cell);
}

enum chubby_code check_sequencer_prepare(const char *sequencer, struct client_call *ret_call,
					 struct chubby_error *ret_error)
{
	const char *why = NULL;
	struct bytes cell, inner;
	struct sequencer parsed;

	/* The cell would say INVALID_ARGUMENT; who asks only wants to know whether to refuse. */
	if (sequencer == NULL || sequencer_parse(bytes_of_text(sequencer), &parsed) != ERROR_OK ||
	    path_parse(parsed.path, &cell, &inner, &why) != ERROR_OK)
		return error_report(ret_error, CHUBBY_SEQUENCER_INVALID,
				    "check sequencer: this is no sequencer: give the whole text "
				    "that chubby_sequencer() gave");
	ret_call->request.kind = MESSAGE_CHECK_SEQUENCER;
	ret_call->request.check_sequencer.sequencer = bytes_of_text(sequencer);
	return CHUBBY_OK;
}

/* The cell that is meant by "local" is not known here by name; the path says it in any case. */
static enum chubby_code sequencer_refused(const struct chubby *cell, struct bytes path,
					  struct chubby_error *ret_error)
{
	bool is_local = strcmp(cell->cell, "local") == 0;
	struct bytes of, inner;
	const char *why = NULL;

	if (!is_local && path_parse(path, &of, &inner, &why) == ERROR_OK &&
	    !bytes_equal(of, bytes_of_text(cell->cell)))
		return error_report(ret_error, CHUBBY_SEQUENCER_INVALID,
				    "check sequencer: it is of cell %.*s, and this is cell %.64s: "
				    "ask that one",
				    (int)of.size, (const char *)of.data, cell->cell);
	return error_report(ret_error, CHUBBY_SEQUENCER_INVALID,
			    "check sequencer: its grant of %.*s is over: its holder released or "
			    "lost the lock%s",
			    path.size < 200 ? (int)path.size : 200, (const char *)path.data,
			    is_local ? "; or it is of another cell than this" : "");
}

enum chubby_code check_sequencer_take(const struct chubby *cell, const struct client_call *c,
				      uint64_t *ret_token, struct chubby_error *ret_error)
{
	if (!c->reply.check_sequencer.valid)
		return sequencer_refused(cell, c->reply.check_sequencer.path, ret_error);
	if (ret_token != NULL)
		*ret_token = c->reply.check_sequencer.fencing_token;
	return CHUBBY_OK;
}

enum chubby_code chubby_check_sequencer(struct chubby *cell, const char *sequencer,
					uint64_t *ret_token, struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = check_sequencer_prepare(sequencer, &c, ret_error);

	if (code != CHUBBY_OK)
		return code;
	code = client_enter(cell, ret_error);
	if (code != CHUBBY_OK)
		return code;
	client_call(cell, &c);
	code = client_result(&c, "check sequencer", ret_error);
	if (code == CHUBBY_OK)
		code = check_sequencer_take(cell, &c, ret_token, ret_error);
	client_call_release(&c);
	client_leave(cell);
	return code;
}

enum chubby_code chubby_set_sequencer(struct chubby_handle *h, const char *sequencer,
				      struct chubby_error *ret_error)
{
	enum chubby_code code = handle_check(h, ret_error);
	struct sequencer parsed;
	char *guard = NULL, *former;

	if (code == CHUBBY_OK)
		code = client_enter(h->cell, ret_error);
	if (code != CHUBBY_OK)
		return code;
	if (sequencer != NULL && sequencer_parse(bytes_of_text(sequencer), &parsed) != ERROR_OK) {
		code = error_report(ret_error, CHUBBY_SEQUENCER_INVALID,
				    "set sequencer %.100s: this is no sequencer", h->path);
	} else {
		if (sequencer != NULL)
			guard = mem_strdup(sequencer);
		pthread_mutex_lock(&h->mutex);
		former = h->guard;
		h->guard = guard;
		pthread_mutex_unlock(&h->mutex);
		free(former);
	}
	client_leave(h->cell);
	return code;
}

/* ---- the common case ------------------------------------------------------------------------ */

struct chubby_lock {
	struct chubby_handle *handle;        /* owned by the cell's list */
	struct chubby_lock *previous, *next; /* guarded by the cell's users_mutex */
};

void locks_free(struct chubby *cell)
{
	while (cell->locks != NULL) {
		struct chubby_lock *l = cell->locks;

		cell->locks = l->next;
		free(l);
	}
}

struct chubby_lock *lock_of_handle(struct chubby_handle *h)
{
	struct chubby_lock *l = mem_zalloc(sizeof(*l));
	struct chubby *cell = h->cell;

	l->handle = h;
	pthread_mutex_lock(&cell->users_mutex);
	l->next = cell->locks;
	if (l->next != NULL)
		l->next->previous = l;
	cell->locks = l;
	pthread_mutex_unlock(&cell->users_mutex);
	return l;
}

enum chubby_code chubby_lock(struct chubby *cell, const char *path,
			     const struct chubby_acquire_options *options,
			     struct chubby_lock **ret_lock, struct chubby_error *ret_error)
{
	struct chubby_handle *h;
	enum chubby_code code = chubby_open(cell, path, CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0, &h,
					    NULL, ret_error);

	if (code != CHUBBY_OK)
		return code;
	code = chubby_acquire(h, options, ret_error);
	if (code != CHUBBY_OK) {
		chubby_close(h);
		return code;
	}
	*ret_lock = lock_of_handle(h);
	return CHUBBY_OK;
}

void chubby_unlock(struct chubby_lock *l)
{
	struct chubby *cell;

	if (l == NULL)
		return;
	cell = l->handle->cell;
	if (cell->pid != getpid())
		return;
	pthread_mutex_lock(&cell->users_mutex);
	if (l->previous != NULL)
		l->previous->next = l->next;
	else
		cell->locks = l->next;
	if (l->next != NULL)
		l->next->previous = l->previous;
	pthread_mutex_unlock(&cell->users_mutex);
	chubby_close(l->handle); /* one log entry releases and closes */
	free(l);
}

uint64_t chubby_lock_token(const struct chubby_lock *l)
{
	return chubby_token(l->handle);
}

const char *chubby_lock_sequencer(const struct chubby_lock *l)
{
	return chubby_sequencer(l->handle);
}

bool chubby_lock_is_held(const struct chubby_lock *l)
{
	return chubby_is_held(l->handle);
}
