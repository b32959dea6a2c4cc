/*
 * Calls on locks, and several at once, without waiting.
 */
#include <string.h>

#include "base/check.h"
#include "call.h"
#include "multi.h"

enum chubby_code chubby_acquire_start(struct chubby_handle *h,
				      const struct chubby_acquire_options *options,
				      chubby_done_callback *done, void *context,
				      struct chubby_call **ret_call, struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = acquire_prepare(options, &c, ret_error);

	if (code != CHUBBY_OK)
		return code;
	return async_start_on(h, &c, "lock", NULL, done, context, ret_call, ret_error);
}

enum chubby_code chubby_acquire_finish(struct chubby_call *call, struct chubby_error *ret_error)
{
	enum chubby_code code;
	struct chubby *cell;

	if (!async_finish_begin(call, MESSAGE_ACQUIRE, &code, ret_error))
		return code;
	cell = call->cell;
	pthread_mutex_lock(&cell->calls_mutex);
	if (code == CHUBBY_OK && call->handle != NULL)
		grant_keep(call->handle, &call->client.reply.acquire.grant);
	else if (code == CHUBBY_OK)
		code = error_report(ret_error, CHUBBY_HANDLE_CLOSED,
				    "%s: the handle was closed before this was finished",
				    call->what);
	pthread_mutex_unlock(&cell->calls_mutex);
	async_finish_end(call);
	return code;
}

enum chubby_code chubby_release_start(struct chubby_handle *h, chubby_done_callback *done,
				      void *context, struct chubby_call **ret_call,
				      struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_RELEASE}};

	return async_start_on(h, &c, "release", NULL, done, context, ret_call, ret_error);
}

enum chubby_code chubby_release_finish(struct chubby_call *call, struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_RELEASE, &code, ret_error))
		return code;
	code = release_take(call->was_held, code, call->what, ret_error);
	async_finish_end(call);
	return code;
}

enum chubby_code chubby_check_sequencer_start(struct chubby *cell, const char *sequencer,
					      chubby_done_callback *done, void *context,
					      struct chubby_call **ret_call,
					      struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = check_sequencer_prepare(sequencer, &c, ret_error);
	struct chubby_call *call;
	char *copy;

	if (code == CHUBBY_OK)
		code = client_enter(cell, ret_error);
	if (code != CHUBBY_OK)
		return code;
	copy = mem_strdup(sequencer);
	c.request.check_sequencer.sequencer = bytes_of_text(copy);
	call = async_new(cell, &c, "check sequencer", NULL);
	call->copy = copy;
	code = async_start(call, done, context, ret_call, ret_error);
	client_leave(cell);
	return code;
}

enum chubby_code chubby_check_sequencer_finish(struct chubby_call *call, uint64_t *ret_token,
					       struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_CHECK_SEQUENCER, &code, ret_error))
		return code;
	if (code == CHUBBY_OK)
		code = check_sequencer_take(call->cell, &call->client, ret_token, ret_error);
	async_finish_end(call);
	return code;
}

/* ---- several at once ------------------------------------------------------------------------ */

enum chubby_code chubby_multi_start(struct chubby *cell, const struct chubby_op *ops, size_t count,
				    chubby_done_callback *done, void *context,
				    struct chubby_call **ret_call, struct chubby_error *ret_error)
{
	enum chubby_code code = client_enter(cell, ret_error);
	struct client_call c = {0};
	struct chubby_call *call;
	struct multi m;

	if (code != CHUBBY_OK)
		return code;
	code = multi_prepare(cell, ops, count, &m, NULL, ret_error);
	if (code == CHUBBY_OK) {
		c.request = m.request;
		call = async_new(cell, &c, "multi", NULL);
		call->multi = mem_alloc(sizeof(m));
		*call->multi = m;
		code = async_start(call, done, context, ret_call, ret_error);
	}
	client_leave(cell);
	return code;
}

enum chubby_code chubby_multi_finish(struct chubby_call *call, uint64_t *ret_revision,
				     size_t *ret_failed_op, struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_MULTI, &code, ret_error))
		return code;
	pthread_mutex_lock(&call->cell->calls_mutex); /* handles may be closed meanwhile */
	code = multi_taken(call->multi, &call->client, ret_revision, ret_failed_op, ret_error);
	pthread_mutex_unlock(&call->cell->calls_mutex);
	async_finish_end(call);
	return code;
}
