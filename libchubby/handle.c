/*
 * Nodes: open, close, contents, metadata, listings (Chubby section 2.6).
 */
#include "call.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/path.h"

#define CONTENTS_MAX_BYTES ((size_t)256 << 10)
/* Closing goes on in the background after that. */
#define CLOSE_WAIT_NS (2 * NS_PER_S)
#define READ_DIR_MAX_ENTRIES ((size_t)10000000)

/* ---- life ----------------------------------------------------------------------------------- */

static void handle_link(struct chubby_handle *h)
{
	struct chubby *cell = h->cell;

	pthread_mutex_lock(&cell->users_mutex);
	h->next = cell->handles;
	if (h->next != NULL)
		h->next->previous = h;
	cell->handles = h;
	pthread_mutex_unlock(&cell->users_mutex);
}

static void handle_free(struct chubby_handle *h)
{
	pthread_mutex_destroy(&h->mutex);
	free(h->sequencer);
	free(h->guard);
	free(h->path);
	free(h);
}

/* Calls that are under way forget it. */
void handle_unlink_free(struct chubby_handle *h)
{
	struct chubby *cell = h->cell;

	pthread_mutex_lock(&cell->users_mutex);
	if (h->previous != NULL)
		h->previous->next = h->next;
	else
		cell->handles = h->next;
	if (h->next != NULL)
		h->next->previous = h->previous;
	pthread_mutex_unlock(&cell->users_mutex);
	asyncs_detach(h);
	handle_free(h);
}

void handles_free(struct chubby *cell)
{
	while (cell->handles != NULL) {
		struct chubby_handle *h = cell->handles;

		cell->handles = h->next;
		handle_free(h);
	}
}

/* ---- open and close ------------------------------------------------------------------------- */

static enum chubby_code open_check(const char *path, int flags, const void *initial,
				   size_t initial_bytes, struct chubby_error *ret_error)
{
	const int known = CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CHANGE_ACL | CHUBBY_CREATE |
			  CHUBBY_EXCLUSIVE | CHUBBY_DIRECTORY | CHUBBY_EPHEMERAL;
	struct bytes cell, inner;
	const char *why = "a path is needed";

	if (path == NULL || path_parse(bytes_of_text(path), &cell, &inner, &why) != ERROR_OK)
		return error_report(ret_error, CHUBBY_INVALID_PATH,
				    "open %s: %s; a path is /ls/CELL/NAME…",
				    path == NULL ? "" : path, why);
	if ((flags & ~known) != 0 ||
	    (flags & (CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CHANGE_ACL)) == 0)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "open %s: flags want CHUBBY_READ, CHUBBY_WRITE or "
				    "CHUBBY_CHANGE_ACL",
				    path);
	if ((flags & (CHUBBY_EPHEMERAL | CHUBBY_EXCLUSIVE)) != 0 && (flags & CHUBBY_CREATE) == 0)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "open %s: CHUBBY_EPHEMERAL and CHUBBY_EXCLUSIVE want "
				    "CHUBBY_CREATE as well",
				    path);
	if (initial_bytes > CONTENTS_MAX_BYTES)
		return error_report(ret_error, CHUBBY_TOO_LARGE,
				    "open %s: contents are limited to 256 KiB", path);
	if (initial == NULL && initial_bytes > 0)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "open %s: initial is NULL, and initial_bytes is not 0", path);
	return CHUBBY_OK;
}

enum chubby_code open_prepare(const char *path, int flags, const void *initial,
			      size_t initial_bytes, struct client_call *ret_call,
			      struct chubby_error *ret_error)
{
	struct client_call *c = ret_call;
	enum chubby_code code = open_check(path, flags, initial, initial_bytes, ret_error);

	if (code != CHUBBY_OK)
		return code;
	c->request.kind = MESSAGE_OPEN;
	c->request.open.path = bytes_of_text(path);
	c->request.open.read = (flags & CHUBBY_READ) != 0;
	c->request.open.write = (flags & CHUBBY_WRITE) != 0;
	c->request.open.change_acl = (flags & CHUBBY_CHANGE_ACL) != 0;
	if (flags & CHUBBY_CREATE)
		c->request.open.create = flags & CHUBBY_EXCLUSIVE ? WIRE_CREATE_MUST
								  : WIRE_CREATE_MAY;
	/* Without a kind an existing node of any kind will do, and a new one is a file. */
	if (flags & CHUBBY_DIRECTORY)
		c->request.open.kind = WIRE_NODE_DIRECTORY;
	c->request.open.ephemeral = (flags & CHUBBY_EPHEMERAL) != 0;
	c->request.open.contents = (struct bytes){initial, initial_bytes};
	return CHUBBY_OK;
}

static struct chubby_handle *handle_new(struct chubby *cell, const char *path, uint64_t number,
					struct bytes token)
{
	struct chubby_handle *h = mem_zalloc(sizeof(*h));

	h->cell = cell;
	h->number = number;
	h->path = mem_strdup(path);
	h->token_size = token.size;
	if (token.size > 0)
		memcpy(h->token, token.data, token.size);
	pthread_mutex_init(&h->mutex, NULL);
	handle_link(h);
	return h;
}

enum chubby_code open_take(struct chubby *cell, const char *path, const struct client_call *c,
			   struct chubby_handle **ret_handle, bool *ret_created,
			   struct chubby_error *ret_error)
{
	if (c->reply.open.handle.size > WIRE_HANDLE_MAX_BYTES)
		return error_report(ret_error, CHUBBY_MALFORMED, "%s: the handle is too long",
				    path);
	*ret_handle = handle_new(cell, path, c->request.open.handle_number.n, c->reply.open.handle);
	if (ret_created != NULL)
		*ret_created = c->reply.open.created;
	return CHUBBY_OK;
}

enum chubby_code chubby_open(struct chubby *cell, const char *path, int flags, const void *initial,
			     size_t initial_bytes, struct chubby_handle **ret_handle,
			     bool *ret_created, struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = open_prepare(path, flags, initial, initial_bytes, &c, ret_error);
	char what[64];

	if (code != CHUBBY_OK)
		return code;
	code = client_enter(cell, ret_error);
	if (code != CHUBBY_OK)
		return code;
	c.request.open.handle_number.n = atomic_fetch_add(&cell->last_handle_number, 1) + 1;
	client_call(cell, &c);
	snprintf(what, sizeof(what), "%.60s", path);
	code = client_result(&c, what, ret_error);
	if (code == CHUBBY_OK)
		code = open_take(cell, path, &c, ret_handle, ret_created, ret_error);
	client_call_release(&c);
	client_leave(cell);
	return code;
}

void chubby_close(struct chubby_handle *h)
{
	struct client_call c = {.request = {.kind = MESSAGE_CLOSE}};
	struct chubby *cell;

	if (h == NULL || client_enter(h->cell, NULL) != CHUBBY_OK)
		return;
	cell = h->cell;
	c.request.handle = (struct bytes){h->token, h->token_size};
	c.deadline_ns = clock_now_ns() + CLOSE_WAIT_NS;
	client_call(cell, &c);
	client_call_release(&c);
	handle_unlink_free(h);
	client_leave(cell);
}

void chubby_poison(struct chubby_handle *h)
{
	if (h == NULL || h->cell->pid != getpid())
		return;
	atomic_store(&h->poisoned, true);
	asyncs_poison(h);
	client_poison(h->cell, h->number);
}

const char *chubby_path(const struct chubby_handle *h)
{
	return h->path;
}

/* ---- calls on a handle ---------------------------------------------------------------------- */

enum chubby_code handle_check(const struct chubby_handle *h, struct chubby_error *ret_error)
{
	if (h != NULL)
		return CHUBBY_OK;
	return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
			    "the handle is NULL: take the one that chubby_open() gave");
}

char *handle_guard(struct chubby_handle *h)
{
	char *guard;

	pthread_mutex_lock(&h->mutex);
	guard = h->guard != NULL ? mem_strdup(h->guard) : NULL;
	pthread_mutex_unlock(&h->mutex);
	return guard;
}

enum chubby_code handle_call(struct chubby_handle *h, struct client_call *c, const char *verb,
			     struct chubby_error *ret_error)
{
	enum chubby_code code = handle_check(h, ret_error);
	char what[128];

	if (code == CHUBBY_OK)
		code = client_enter(h->cell, ret_error);
	if (code != CHUBBY_OK)
		return code;
	snprintf(what, sizeof(what), "%s %.100s", verb, h->path);
	if (atomic_load(&h->poisoned)) {
		code = error_report(ret_error, CHUBBY_CANCELLED, "%s: the handle was poisoned",
				    what);
	} else {
		c->request.handle = (struct bytes){h->token, h->token_size};
		c->handle_number = h->number;
		c->poisoned = &h->poisoned;
		c->guard = handle_guard(h);
		if (c->guard != NULL)
			c->request.guard_sequencer = bytes_of_text(c->guard);
		client_call(h->cell, c);
		code = client_result(c, what, ret_error);
		if (code != CHUBBY_OK)
			client_call_release(c);
	}
	client_leave(h->cell);
	return code;
}

static void stat_from_wire(const struct wire_stat *w, struct chubby_stat *ret_stat)
{
	*ret_stat = (struct chubby_stat){
		.kind = w->kind == WIRE_NODE_DIRECTORY ? CHUBBY_DIR : CHUBBY_FILE,
		.ephemeral = w->ephemeral,
		.instance = w->instance,
		.contents_generation = w->contents_generation,
		.lock_generation = w->lock_generation,
		.acl_generation = w->acl_generation,
		.checksum = w->checksum,
		.size_bytes = w->size_bytes,
		.child_count = w->child_count,
		.lock_mode = (enum chubby_mode)w->lock_mode,
		.lock_holders = w->holder_count,
		.lock_waiters = w->waiter_count,
		.created_unix_ms = w->created_unix_ms,
		.modified_unix_ms = w->modified_unix_ms,
	};
}

void get_take(const struct client_call *c, struct chubby_contents *ret_contents,
	      struct chubby_stat *ret_stat)
{
	struct bytes b = c->reply.get_contents_and_stat.contents;

	ret_contents->data = mem_zalloc(b.size + 1);
	if (b.size > 0)
		memcpy(ret_contents->data, b.data, b.size);
	ret_contents->size_bytes = b.size;
	if (ret_stat != NULL)
		stat_take(c, ret_stat);
}

enum chubby_code chubby_get(struct chubby_handle *h, struct chubby_contents *ret_contents,
			    struct chubby_stat *ret_stat, struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_GET_CONTENTS_AND_STAT}};
	enum chubby_code code = handle_call(h, &c, "get", ret_error);

	if (code != CHUBBY_OK)
		return code;
	get_take(&c, ret_contents, ret_stat);
	client_call_release(&c);
	return CHUBBY_OK;
}

void chubby_contents_free(struct chubby_contents *contents)
{
	free(contents->data);
	*contents = (struct chubby_contents){0};
}

void stat_take(const struct client_call *c, struct chubby_stat *ret_stat)
{
	stat_from_wire(&c->reply.get_contents_and_stat.stat, ret_stat);
}

enum chubby_code chubby_stat(struct chubby_handle *h, struct chubby_stat *ret_stat,
			     struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_GET_STAT}};
	enum chubby_code code = handle_call(h, &c, "stat", ret_error);

	if (code != CHUBBY_OK)
		return code;
	stat_take(&c, ret_stat);
	client_call_release(&c);
	return CHUBBY_OK;
}

enum chubby_code set_prepare(const struct chubby_handle *h, const void *data, size_t size_bytes,
			     uint64_t expected_generation, struct client_call *ret_call,
			     struct chubby_error *ret_error)
{
	enum chubby_code code = handle_check(h, ret_error);

	if (code != CHUBBY_OK)
		return code;
	if (size_bytes > CONTENTS_MAX_BYTES)
		return error_report(ret_error, CHUBBY_TOO_LARGE,
				    "set %.100s: contents are limited to 256 KiB", h->path);
	if (data == NULL && size_bytes > 0)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "set %.100s: data is NULL, and size_bytes is not 0", h->path);
	ret_call->request.kind = MESSAGE_SET_CONTENTS;
	ret_call->request.set_contents.contents = (struct bytes){data, size_bytes};
	ret_call->request.set_contents.expected_generation = expected_generation;
	return CHUBBY_OK;
}

enum chubby_code chubby_set(struct chubby_handle *h, const void *data, size_t size_bytes,
			    uint64_t expected_generation, uint64_t *ret_generation,
			    struct chubby_error *ret_error)
{
	struct client_call c = {0};
	enum chubby_code code = set_prepare(h, data, size_bytes, expected_generation, &c,
					    ret_error);

	if (code != CHUBBY_OK)
		return code;
	code = handle_call(h, &c, "set", ret_error);
	if (code != CHUBBY_OK)
		return code;
	if (ret_generation != NULL)
		*ret_generation = c.reply.generation;
	client_call_release(&c);
	return CHUBBY_OK;
}

enum chubby_code chubby_delete(struct chubby_handle *h, struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_DELETE}};
	enum chubby_code code = handle_call(h, &c, "delete", ret_error);

	if (code == CHUBBY_OK)
		client_call_release(&c);
	return code;
}

/* ---- listings ------------------------------------------------------------------------------- */

bool read_dir_take(struct client_call *c, struct chubby_dir *dir)
{
	const struct reply *r = &c->reply;
	size_t count = dir->count + r->read_dir.count;

	dir->entries = mem_realloc_array(dir->entries, count, sizeof(*dir->entries));
	for (uint32_t i = 0; i < r->read_dir.count; i++) {
		struct chubby_dir_entry *e = &dir->entries[dir->count++];

		e->name = bytes_to_text(r->read_dir.entries[i].name);
		stat_from_wire(&r->read_dir.entries[i].stat, &e->stat);
	}
	if (!r->read_dir.more || r->read_dir.count == 0 || count >= READ_DIR_MAX_ENTRIES)
		return false;
	c->request.read_dir.after = bytes_of_text(dir->entries[count - 1].name);
	return true;
}

enum chubby_code chubby_read_dir(struct chubby_handle *h, struct chubby_dir *ret_dir,
				 struct chubby_error *ret_error)
{
	struct client_call c = {.request = {.kind = MESSAGE_READ_DIR}};
	struct chubby_dir dir = {0};
	bool more = true;

	while (more) {
		enum chubby_code code;

		c.deadline_ns = 0; /* for each page */
		code = handle_call(h, &c, "list", ret_error);
		if (code != CHUBBY_OK) {
			chubby_dir_free(&dir);
			return code;
		}
		more = read_dir_take(&c, &dir);
		client_call_release(&c);
	}
	*ret_dir = dir;
	return CHUBBY_OK;
}

void chubby_dir_free(struct chubby_dir *dir)
{
	for (size_t i = 0; i < dir->count; i++)
		free((void *)(uintptr_t)dir->entries[i].name);
	free(dir->entries);
	*dir = (struct chubby_dir){0};
}
