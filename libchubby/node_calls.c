/*
 * Calls on nodes, without waiting.
 */
#include <string.h>

#include "base/check.h"
#include "call.h"

/* One block for both. */
static void *path_and_contents(const char *path, const void *data, size_t size_bytes,
			       struct bytes *ret_path, struct bytes *ret_contents)
{
	size_t path_bytes = strlen(path);
	char *copy = mem_zalloc(path_bytes + 1 + size_bytes);

	memcpy(copy, path, path_bytes + 1);
	if (size_bytes > 0)
		memcpy(copy + path_bytes + 1, data, size_bytes);
	*ret_path = (struct bytes){(uint8_t *)copy, path_bytes};
	*ret_contents = (struct bytes){(uint8_t *)copy + path_bytes + 1, size_bytes};
	return copy;
}

enum chubby_code chubby_open_start(struct chubby *cell, const char *path, int flags,
				   const void *initial, size_t initial_bytes,
				   chubby_done_callback *done, void *context,
				   struct chubby_call **ret_call, struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = open_prepare(path, flags, initial, initial_bytes, &c, ret_error);
	struct chubby_call *call;
	void *copy;

	if (code == CHUBBY_OK)
		code = client_enter(cell, ret_error);
	if (code != CHUBBY_OK)
		return code;
	copy = path_and_contents(path, initial, initial_bytes, &c.request.open.path,
				 &c.request.open.contents);
	c.request.open.handle_number.n = atomic_fetch_add(&cell->last_handle_number, 1) + 1;
	call = async_new(cell, &c, "open", path);
	call->copy = copy;
	code = async_start(call, done, context, ret_call, ret_error);
	client_leave(cell);
	return code;
}

enum chubby_code chubby_open_finish(struct chubby_call *call, struct chubby_handle **ret_handle,
				    bool *ret_created, struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_OPEN, &code, ret_error))
		return code;
	if (code == CHUBBY_OK)
		code = open_take(call->cell, call->copy, &call->client, ret_handle, ret_created,
				 ret_error);
	async_finish_end(call);
	return code;
}

void chubby_close_start(struct chubby_handle *h)
{
	struct chubby *cell;

	if (h == NULL || client_enter(h->cell, NULL) != CHUBBY_OK)
		return;
	cell = h->cell;
	async_give_back(cell, MESSAGE_CLOSE, (struct bytes){h->token, h->token_size}, 0);
	handle_unlink_free(h);
	client_leave(cell);
}

/* ---- contents and metadata ------------------------------------------------------------------ */

enum chubby_code chubby_get_start(struct chubby_handle *h, chubby_done_callback *done,
				  void *context, struct chubby_call **ret_call,
				  struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_GET_CONTENTS_AND_STAT}};

	return async_start_on(h, &c, "get", NULL, done, context, ret_call, ret_error);
}

enum chubby_code chubby_get_finish(struct chubby_call *call, struct chubby_contents *ret_contents,
				   struct chubby_stat *ret_stat, struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_GET_CONTENTS_AND_STAT, &code, ret_error))
		return code;
	if (code == CHUBBY_OK)
		get_take(&call->client, ret_contents, ret_stat);
	async_finish_end(call);
	return code;
}

enum chubby_code chubby_stat_start(struct chubby_handle *h, chubby_done_callback *done,
				   void *context, struct chubby_call **ret_call,
				   struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_GET_STAT}};

	return async_start_on(h, &c, "stat", NULL, done, context, ret_call, ret_error);
}

enum chubby_code chubby_stat_finish(struct chubby_call *call, struct chubby_stat *ret_stat,
				    struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_GET_STAT, &code, ret_error))
		return code;
	if (code == CHUBBY_OK)
		stat_take(&call->client, ret_stat);
	async_finish_end(call);
	return code;
}

enum chubby_code chubby_set_start(struct chubby_handle *h, const void *data, size_t size_bytes,
				  uint64_t expected_generation, chubby_done_callback *done,
				  void *context, struct chubby_call **ret_call,
				  struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = set_prepare(h, data, size_bytes, expected_generation, &c,
					    ret_error);
	void *copy = NULL;

	if (code != CHUBBY_OK)
		return code;
	if (size_bytes > 0) {
		copy = mem_alloc(size_bytes);
		memcpy(copy, data, size_bytes);
		c.request.set_contents.contents.data = copy;
	}
	return async_start_on(h, &c, "set", copy, done, context, ret_call, ret_error);
}

enum chubby_code chubby_set_finish(struct chubby_call *call, uint64_t *ret_generation,
				   struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_SET_CONTENTS, &code, ret_error))
		return code;
	if (code == CHUBBY_OK && ret_generation != NULL)
		*ret_generation = call->client.reply.generation;
	async_finish_end(call);
	return code;
}

enum chubby_code chubby_delete_start(struct chubby_handle *h, chubby_done_callback *done,
				     void *context, struct chubby_call **ret_call,
				     struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_DELETE}};

	return async_start_on(h, &c, "delete", NULL, done, context, ret_call, ret_error);
}

enum chubby_code chubby_delete_finish(struct chubby_call *call, struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (async_finish_begin(call, MESSAGE_DELETE, &code, ret_error))
		async_finish_end(call);
	return code;
}

/* ---- listings ------------------------------------------------------------------------------- */

enum chubby_code chubby_read_dir_start(struct chubby_handle *h, chubby_done_callback *done,
				       void *context, struct chubby_call **ret_call,
				       struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_READ_DIR}};

	return async_start_on(h, &c, "list", NULL, done, context, ret_call, ret_error);
}

enum chubby_code chubby_read_dir_finish(struct chubby_call *call, struct chubby_dir *ret_dir,
					struct chubby_error *ret_error)
{
	enum chubby_code code;

	if (!async_finish_begin(call, MESSAGE_READ_DIR, &code, ret_error))
		return code;
	if (code == CHUBBY_OK) {
		*ret_dir = call->dir;
		call->dir = (struct chubby_dir){0};
	}
	async_finish_end(call);
	return code;
}
