/*
 * The life of a call without waiting: begun, done, asked, waited for, cancelled, finished or
 * discarded.
 */
#include "call.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "multi.h"

/* ---- life ----------------------------------------------------------------------------------- */

struct chubby_call *async_new(struct chubby *cell, const struct client_call *prepared,
			      const char *verb, const char *path)
{
	struct chubby_call *call = mem_zalloc(sizeof(*call));
	pthread_condattr_t monotonic;

	call->client.request = prepared->request;
	call->client.deadline_ns = prepared->deadline_ns;
	call->client.handle_number = prepared->handle_number;
	call->client.owner = call;
	client_call_init(cell, &call->client);
	call->post = (struct post){.kind = POST_CALL, .call = &call->client};
	call->cancel_post = (struct post){.kind = POST_CANCEL, .call = &call->client};
	call->cell = cell;
	snprintf(call->what, sizeof(call->what), path != NULL ? "%s %.100s" : "%s", verb, path);
	atomic_init(&call->references, 1);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&call->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return call;
}

static void async_free(struct chubby_call *call)
{
	client_call_release(&call->client);
	chubby_dir_free(&call->dir);
	pthread_cond_destroy(&call->changed);
	free(call->copy);
	if (call->multi != NULL)
		multi_release(call->multi);
	free(call->multi);
	free(call);
}

void async_unref(struct chubby_call *call)
{
	if (atomic_fetch_sub(&call->references, 1) == 1)
		async_free(call);
}

static void async_link(struct chubby_call *call)
{
	struct chubby *cell = call->cell;

	pthread_mutex_lock(&cell->calls_mutex);
	call->next = cell->calls;
	if (call->next != NULL)
		call->next->previous = call;
	cell->calls = call;
	pthread_mutex_unlock(&cell->calls_mutex);
}

/* With the calls_mutex. */
static void async_unlink(struct chubby_call *call)
{
	if (call->previous == NULL && call->cell->calls != call)
		return; /* what is given back was never linked */
	if (call->previous != NULL)
		call->previous->next = call->next;
	else
		call->cell->calls = call->next;
	if (call->next != NULL)
		call->next->previous = call->previous;
	call->previous = call->next = NULL;
}

void asyncs_free(struct chubby *cell)
{
	while (cell->calls != NULL) {
		struct chubby_call *call = cell->calls;

		async_unlink(call);
		async_unref(call);
	}
}

/* ---- begun ---------------------------------------------------------------------------------- */

enum chubby_code async_start(struct chubby_call *call, chubby_done_callback *done, void *context,
			     struct chubby_call **ret_call, struct chubby_error *ret_error)
{
	struct chubby_call *former;
	struct chubby *cell = call->cell;

	call->function = done;
	call->context = context;
	if (done != NULL)
		callbacks_need(&cell->callbacks);
	async_link(call);
	/* Linked first: who poisons the handle from here on finds the call. */
	if (call->handle != NULL && atomic_load(&call->handle->poisoned))
		atomic_store(&call->cancelled, true);
	atomic_fetch_add(&call->references, 1); /* the library thread's */
	memcpy(&former, ret_call, sizeof(former));
	*ret_call = call; /* before it can be done: its callback may look for it there */
	if (client_post(cell, &call->post))
		return CHUBBY_OK;
	if (!atomic_load(&cell->leaving)) {
		client_refuse(cell, &call->client);
		async_arrived(call);
		return CHUBBY_OK;
	}
	*ret_call = former;
	pthread_mutex_lock(&cell->calls_mutex);
	async_unlink(call);
	pthread_mutex_unlock(&cell->calls_mutex);
	error_report(ret_error, CHUBBY_CANCELLED, "%s: the connection is being closed", call->what);
	async_unref(call);
	async_unref(call);
	return CHUBBY_CANCELLED;
}

enum chubby_code async_start_on(struct chubby_handle *h, const struct client_call *prepared,
				const char *verb, void *copy, chubby_done_callback *done,
				void *context, struct chubby_call **ret_call,
				struct chubby_error *ret_error)
{
	enum chubby_code code = handle_check(h, ret_error);
	struct chubby_call *call;
	struct chubby *cell;

	if (code == CHUBBY_OK)
		code = client_enter(h->cell, ret_error);
	if (code != CHUBBY_OK) {
		free(copy);
		return code;
	}
	cell = h->cell; /* once it is begun, its callback may close the handle */
	call = async_new(cell, prepared, verb, h->path);
	call->copy = copy;
	call->handle = h;
	call->was_held = atomic_load(&h->held);
	memcpy(call->token, h->token, h->token_size);
	call->client.request.handle = (struct bytes){call->token, h->token_size};
	call->client.handle_number = h->number;
	call->client.guard = handle_guard(h);
	if (call->client.guard != NULL)
		call->client.request.guard_sequencer = bytes_of_text(call->client.guard);
	code = async_start(call, done, context, ret_call, ret_error);
	client_leave(cell);
	return code;
}

typedef bool post_function(struct chubby *cell, struct post *p);

static void give_back(struct chubby *cell, enum message_kind kind, struct bytes token,
		      uint64_t handle_number, post_function *post)
{
	struct client_call prepared = {
		.request = {.kind = kind},
		.deadline_ns = TIME_NEVER,
		.handle_number = handle_number,
	};
	struct chubby_call *call = async_new(cell, &prepared, "give back", NULL);

	CHECK(token.size <= sizeof(call->token));
	if (token.size > 0)
		memcpy(call->token, token.data, token.size);
	call->client.request.handle = (struct bytes){call->token, token.size};
	call->discarded = true;
	if (!post(cell, &call->post))
		async_unref(call); /* the session is ending, and ends what it holds */
}

void async_give_back(struct chubby *cell, enum message_kind kind, struct bytes token,
		     uint64_t handle_number)
{
	give_back(cell, kind, token, handle_number, client_post);
}

/* ---- done ----------------------------------------------------------------------------------- */

/* Whatever locks of it the handles hold. */
static void multi_dispose(struct chubby_call *call, post_function *post)
{
	const struct request *r = &call->client.request;

	for (uint32_t i = 0; i < r->multi.count; i++) {
		if (r->multi.ops[i].kind == CHUBBY_OP_ACQUIRE)
			give_back(call->cell, MESSAGE_RELEASE, r->multi.ops[i].handle, 0, post);
	}
}

static void async_dispose(struct chubby_call *call, post_function *post)
{
	const struct client_call *c = &call->client;

	if (c->error != ERROR_OK)
		return;
	if (c->request.kind == MESSAGE_OPEN && c->reply.open.handle.size <= WIRE_HANDLE_MAX_BYTES)
		give_back(call->cell, MESSAGE_CLOSE, c->reply.open.handle, 0, post);
	else if (c->request.kind == MESSAGE_ACQUIRE)
		give_back(call->cell, MESSAGE_RELEASE, c->request.handle, c->handle_number, post);
	else if (c->request.kind == MESSAGE_MULTI)
		multi_dispose(call, post);
}

/* Several pages make one listing. True: the next one was asked for. */
static bool listing_goes_on(struct chubby_call *call)
{
	struct client_call *c = &call->client;

	if (c->request.kind != MESSAGE_READ_DIR || c->error != ERROR_OK ||
	    !read_dir_take(c, &call->dir))
		return false;
	arena_release(&c->arena);
	c->deadline_ns = 0;
	client_call_init(call->cell, c);
	if (client_post(call->cell, &call->post))
		return true;
	client_refuse(call->cell, c);
	return false;
}

void async_arrived(struct chubby_call *call)
{
	struct chubby *cell = call->cell;
	bool discarded;

	if (listing_goes_on(call))
		return;
	pthread_mutex_lock(&cell->calls_mutex);
	discarded = call->discarded;
	if (call->client.request.kind == MESSAGE_RELEASE && call->handle != NULL &&
	    release_ends((enum chubby_code)call->client.error))
		atomic_store(&call->handle->held, false);
	atomic_store(&call->done, true);
	pthread_cond_broadcast(&call->changed);
	if (discarded)
		async_unlink(call);
	else if (call->function != NULL)
		callbacks_owe(&cell->callbacks, call);
	pthread_mutex_unlock(&cell->calls_mutex);
	/* What was asked since the discard waits in the inbox: a release behind it would take away
	 * what it is granted. */
	if (discarded)
		async_dispose(call, client_post_first);
	async_unref(call);
}

bool async_is_cancelled(const struct chubby_call *call)
{
	return atomic_load(&call->cancelled);
}

/* ---- its handle ----------------------------------------------------------------------------- */

void asyncs_poison(struct chubby_handle *h)
{
	struct chubby *cell = h->cell;

	pthread_mutex_lock(&cell->calls_mutex);
	for (struct chubby_call *call = cell->calls; call != NULL; call = call->next) {
		if (call->handle == h)
			atomic_store(&call->cancelled, true);
	}
	pthread_mutex_unlock(&cell->calls_mutex);
}

void asyncs_detach(struct chubby_handle *h)
{
	struct chubby *cell = h->cell;

	pthread_mutex_lock(&cell->calls_mutex);
	for (struct chubby_call *call = cell->calls; call != NULL; call = call->next) {
		if (call->handle == h)
			call->handle = NULL;
		for (uint32_t i = 0; call->multi != NULL && i < call->multi->request.multi.count;
		     i++) {
			if (call->multi->handles[i] == h)
				call->multi->handles[i] = NULL;
		}
	}
	pthread_mutex_unlock(&cell->calls_mutex);
}

/* ---- asked, waited for ---------------------------------------------------------------------- */

bool chubby_call_is_done(const struct chubby_call *call)
{
	return call->cell->pid == getpid() && atomic_load(&call->done);
}

static bool async_await(struct chubby_call *call, int64_t wait_ms)
{
	struct chubby *cell = call->cell;
	struct timespec until = {0};
	int late = 0;

	if (wait_ms >= 0) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		if (wait_ms > CLIENT_WAIT_MAX_MS)
			wait_ms = CLIENT_WAIT_MAX_MS;
		until.tv_sec += (time_t)(wait_ms / 1000);
		until.tv_nsec += (long)(wait_ms % 1000 * NS_PER_MS);
		if (until.tv_nsec >= NS_PER_S) {
			until.tv_sec++;
			until.tv_nsec -= NS_PER_S;
		}
	}
	pthread_mutex_lock(&cell->calls_mutex);
	while (!atomic_load(&call->done) && late == 0) {
		if (wait_ms < 0)
			pthread_cond_wait(&call->changed, &cell->calls_mutex);
		else
			late = pthread_cond_timedwait(&call->changed, &cell->calls_mutex, &until);
	}
	pthread_mutex_unlock(&cell->calls_mutex);
	return atomic_load(&call->done);
}

bool chubby_call_wait(struct chubby_call *call, int64_t wait_ms)
{
	bool done;

	if (client_enter(call->cell, NULL) != CHUBBY_OK)
		return false;
	done = async_await(call, wait_ms);
	client_leave(call->cell);
	return done;
}

/* ---- cancelled, discarded ------------------------------------------------------------------- */

static void async_cancel(struct chubby_call *call)
{
	if (atomic_exchange(&call->cancelled, true) || atomic_load(&call->done))
		return;
	atomic_fetch_add(&call->references, 1);
	if (!client_post(call->cell, &call->cancel_post))
		async_unref(call);
}

void chubby_call_cancel(struct chubby_call *call)
{
	struct chubby *cell = call->cell;

	if (client_enter(cell, NULL) != CHUBBY_OK)
		return;
	async_cancel(call);
	client_leave(cell);
}

void chubby_call_discard(struct chubby_call *call)
{
	struct chubby *cell;
	bool done;

	if (call == NULL || client_enter(call->cell, NULL) != CHUBBY_OK)
		return;
	cell = call->cell;
	pthread_mutex_lock(&cell->calls_mutex);
	call->discarded = true;
	done = atomic_load(&call->done);
	/* Until it is done, its handle must be able to tell it that it is closed. */
	if (done)
		async_unlink(call);
	pthread_mutex_unlock(&cell->calls_mutex);
	callbacks_forget(&cell->callbacks, call);
	if (done)
		async_dispose(call, client_post);
	else
		async_cancel(call);
	async_unref(call);
	client_leave(cell);
}

/* ---- finished ------------------------------------------------------------------------------- */

bool async_finish_begin(struct chubby_call *call, enum message_kind kind,
			enum chubby_code *ret_code, struct chubby_error *ret_error)
{
	enum chubby_code code = client_enter(call->cell, ret_error);

	if (code != CHUBBY_OK) {
		*ret_code = code;
		return false;
	}
	if (call->client.request.kind != kind) {
		*ret_code = error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
					 "%s: finish it with the function of its own kind",
					 call->what);
		client_leave(call->cell);
		return false;
	}
	(void)async_await(call, -1);
	callbacks_forget(&call->cell->callbacks, call);
	*ret_code = client_result(&call->client, call->what, ret_error);
	return true;
}

void async_finish_end(struct chubby_call *call)
{
	struct chubby *cell = call->cell;

	pthread_mutex_lock(&cell->calls_mutex);
	async_unlink(call);
	pthread_mutex_unlock(&cell->calls_mutex);
	async_unref(call);
	client_leave(cell);
}
