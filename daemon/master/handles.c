/*
 * Handles (Chubby section 2.3): the client keeps a sealed token; the master keeps which numbers of
 * this epoch are open. A number of this epoch that is not in the table is closed; one of an older
 * epoch is rebuilt once, on use.
 *
 * A rebuilt handle that was closed stays in the table, since its token could be rebuilt again. Of
 * the others the last few that were closed stay, so that an open that comes late, by a connection
 * that was given up, is not taken for a new one.
 */
#include "master/master_internal.h"
#include "wire/handle.h"

struct open_handle *handle_find(struct lease *l, struct handle_id number)
{
	struct open_handle *h;

	HASH_FIND(hh, l->handles, &number.n, sizeof(number.n), h);
	return h;
}

static struct open_handle *handle_insert(struct lease *l, const struct handle_token *t)
{
	struct open_handle *h = mem_zalloc(sizeof(*h));

	h->number = t->number.n;
	h->instance = t->instance;
	h->uses = t->uses;
	h->event_mask = t->event_mask;
	HASH_ADD(hh, l->handles, number, sizeof(h->number), h);
	l->open_handles++;
	return h;
}

/* What counts against the session's limit: all but the queue of closed ones. */
static uint32_t handle_count(const struct lease *l)
{
	CHECK(HASH_COUNT(l->handles) >= l->closed_count);
	return HASH_COUNT(l->handles) - l->closed_count;
}

static void forget_oldest_closed(struct lease *l)
{
	struct open_handle *h = l->closed_head;

	l->closed_head = h->next_closed;
	if (l->closed_head == NULL)
		l->closed_tail = NULL;
	l->closed_count--;
	HASH_DEL(l->handles, h);
	free(h);
}

void handle_close(struct lease *l, struct open_handle *h)
{
	CHECK(!h->closed && l->open_handles > 0);
	h->closed = true;
	l->open_handles--;
	if (h->rebuilt)
		return;
	if (l->closed_tail != NULL)
		l->closed_tail->next_closed = h;
	else
		l->closed_head = h;
	l->closed_tail = h;
	l->closed_count++;
	if (l->closed_count > MASTER_CLOSED_REMEMBERED_MAX)
		forget_oldest_closed(l);
}

static const char *uses_refused(uint32_t wanted)
{
	if (wanted & HANDLE_WRITE)
		return "the handle was not opened for writing";
	if (wanted & HANDLE_CHANGE_ACL)
		return "the handle was not opened for changing the ACL";
	return "the handle was not opened for reading";
}

enum error handle_lookup(struct master *m, struct lease *l, struct bytes token, uint32_t uses,
			 struct open_handle **ret_handle, const char **ret_why)
{
	struct handle_token t;
	struct open_handle *h;

	if (handle_unseal(token, cell_meta(m->cell)->handle_key, &t) != ERROR_OK)
		return ERROR_HANDLE_INVALID;
	if (t.session.n != l->session || t.epoch.n > m->epoch.n) {
		*ret_why = "the handle belongs to another session or cell";
		return ERROR_HANDLE_INVALID;
	}
	h = handle_find(l, t.number);
	if (h == NULL && t.epoch.n < m->epoch.n) {
		if (handle_count(l) >= MASTER_HANDLES_PER_SESSION_MAX)
			return ERROR_RESOURCE_EXHAUSTED;
		h = handle_insert(l, &t);
		h->rebuilt = true;
	}
	if (h == NULL || h->closed || h->instance != t.instance)
		return ERROR_HANDLE_CLOSED;
	if ((h->uses & uses) != uses) {
		*ret_why = uses_refused(uses);
		return ERROR_PERMISSION_DENIED;
	}
	*ret_handle = h;
	return ERROR_OK;
}

bool handle_resolve(struct master *m, struct inbound *in, uint32_t uses)
{
	const char *why = NULL;
	enum error e = handle_lookup(m, in->lease, in->r->handle, uses, &in->handle, &why);

	if (e == ERROR_OK) {
		in->node = cell_node(m->cell, in->handle->instance);
		if (in->node == NULL && in->r->kind != MESSAGE_CLOSE)
			e = ERROR_HANDLE_STALE;
	}
	if (e != ERROR_OK)
		reply_error(m, in->call, in->r->kind, e, why);
	return e == ERROR_OK;
}

enum error handle_add(struct master *m, struct lease *l, struct handle_id number, uint64_t instance,
		      uint32_t uses, uint32_t event_mask, struct bytes *ret_token)
{
	struct handle_token t = {
		.session = {l->session},
		.instance = instance,
		.number = number,
		.epoch = m->epoch,
		.uses = uses,
		.event_mask = event_mask,
	};
	struct open_handle *h = handle_find(l, number);
	uint8_t *token;

	if (h == NULL) {
		if (handle_count(l) >= MASTER_HANDLES_PER_SESSION_MAX)
			return ERROR_RESOURCE_EXHAUSTED;
		handle_insert(l, &t);
	} else if (h->closed || h->instance != instance || h->uses != uses) {
		return ERROR_INVALID_ARGUMENT; /* the number was used before */
	}
	token = output_alloc(m, HANDLE_TOKEN_BYTES);
	handle_seal(&t, cell_meta(m->cell)->handle_key, token);
	*ret_token = (struct bytes){token, HANDLE_TOKEN_BYTES};
	return ERROR_OK;
}

void handles_clear(struct lease *l)
{
	struct open_handle *h, *next;

	HASH_ITER(hh, l->handles, h, next) {
		HASH_DEL(l->handles, h);
		free(h);
	}
	l->open_handles = l->closed_count = 0;
	l->closed_head = l->closed_tail = NULL;
}
