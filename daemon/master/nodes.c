/*
 * Nodes: open and close, contents, metadata, listings (Chubby section 2.6). Reads are answered
 * from the cell under the master lease; changes are proposed.
 */
#include "master/master_internal.h"
#include "wire/handle.h"
#include "wire/path.h"

#define READ_DIR_MAX_BYTES ((size_t)512 << 10)

static const char no_directory[] = "there is no such directory to make it in";
static const char used_before[] = "this handle number was used before in the session";

static uint32_t uses_of(const struct request *r)
{
	return (r->open.read ? HANDLE_READ : 0u) | (r->open.write ? HANDLE_WRITE : 0u) |
	       (r->open.change_acl ? HANDLE_CHANGE_ACL : 0u);
}

/* Makes the handle and answers; the node stands. */
static void open_answer(struct master *m, struct call_id call, struct lease *l,
			struct handle_id number, uint32_t uses, uint32_t event_mask,
			const struct node *n, bool created)
{
	struct reply r = {.kind = MESSAGE_OPEN};
	enum error e = handle_add(m, l, number, n->instance, uses, event_mask, &r.open.handle);

	if (e != ERROR_OK) {
		reply_error(m, call, MESSAGE_OPEN, e,
			    e == ERROR_INVALID_ARGUMENT ? used_before
							: "too many open handles in this session");
		return;
	}
	r.open.created = created;
	r.open.stat = stat_of(n);
	r.revision = cell_meta(m->cell)->revision.n;
	reply_with(m, call, true, &r);
}

/* Joins a relative name to the directory that `relative_to` is a handle of. */
static bool open_path(struct master *m, struct inbound *in, struct bytes *ret_inner)
{
	const struct request *r = in->r;
	struct request base = {.kind = MESSAGE_OPEN, .session = r->session};
	struct inbound sub = *in;
	const char *why = NULL;
	size_t base_size;
	uint8_t *p;

	if (r->open.relative_to.size == 0)
		return path_resolve(m, in, r->open.path, ret_inner);
	base.handle = r->open.relative_to;
	sub.r = &base;
	if (!handle_resolve(m, &sub, 0))
		return false;
	if (sub.node->kind != NODE_DIRECTORY) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_NOT_DIRECTORY, NULL);
		return false;
	}
	base_size = sub.node->path.size == 1 ? 0 : sub.node->path.size;
	p = output_alloc(m, base_size + 1 + r->open.path.size);
	memcpy(p, sub.node->path.data, base_size);
	p[base_size] = '/';
	if (r->open.path.size > 0)
		memcpy(p + base_size + 1, r->open.path.data, r->open.path.size);
	*ret_inner = (struct bytes){p, base_size + 1 + r->open.path.size};
	if (path_check_inner(*ret_inner, &why) != ERROR_OK) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_INVALID_PATH, why);
		return false;
	}
	return true;
}

static void open_create(struct master *m, struct inbound *in, struct bytes inner)
{
	const struct request *r = in->r;
	struct open_call *c;
	struct entry e = {
		.kind = ENTRY_NODE_CREATE,
		.session = r->session,
		.number = r->number,
		.lowest_unanswered = r->lowest_unanswered,
		.node_create =
			{
				.path = inner,
				.kind = r->open.kind == WIRE_NODE_DIRECTORY ? NODE_DIRECTORY
									    : NODE_FILE,
				.contents = r->open.contents,
				.ephemeral = r->open.ephemeral,
				.exclusive = r->open.create == WIRE_CREATE_MUST,
				.handle = r->open.handle_number,
			},
	};

	for (int i = 0; i < CELL_ACL_NAMES; i++)
		e.node_create.acl[i] = r->open.acl[i];
	c = propose_for(m, in, &e);
	if (c == NULL)
		return;
	c->handle = r->open.handle_number;
	c->uses = uses_of(r);
	c->event_mask = r->open.event_mask;
}

/* Each handle of an ephemeral node becomes a keeper by an entry. */
static bool keeps(const struct node *n, struct session_id session, struct handle_id handle)
{
	for (uint32_t i = 0; i < n->keeper_count; i++) {
		if (n->keepers[i].session.n == session.n && n->keepers[i].handle.n == handle.n)
			return true;
	}
	return false;
}

static void open_keep(struct master *m, struct inbound *in, const struct node *n)
{
	const struct request *r = in->r;
	struct open_call *c;
	struct entry e = {
		.kind = ENTRY_KEEP,
		.session = r->session,
		.keep = {.instance = n->instance, .handle = r->open.handle_number},
	};

	c = propose_for(m, in, &e);
	if (c == NULL)
		return;
	c->handle = r->open.handle_number;
	c->instance = n->instance;
	c->uses = uses_of(r);
	c->event_mask = r->open.event_mask;
}

void open_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	const struct open_handle *h;
	const struct node *n;
	struct bytes inner;

	if (r->open.handle_number.n == 0) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_INVALID_ARGUMENT,
			    "handle_number must not be 0");
		return;
	}
	if (r->open.contents.size > CELL_CONTENTS_MAX_BYTES) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_TOO_LARGE,
			    "contents are limited to 256 KiB");
		return;
	}
	if (!open_path(m, in, &inner))
		return;
	if (r->open.create != WIRE_CREATE_NEVER && request_repeated(m, in))
		return;
	h = handle_find(in->lease, r->open.handle_number);
	if (h != NULL && h->closed) {
		/* It comes late, by a connection that was given up: nothing must keep for it. */
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_INVALID_ARGUMENT, used_before);
		return;
	}
	n = cell_node_at(m->cell, inner);
	if (n == NULL && r->open.create == WIRE_CREATE_NEVER) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_NOT_FOUND, NULL);
		return;
	}
	if (n == NULL) {
		open_create(m, in, inner);
		return;
	}
	if (r->open.create == WIRE_CREATE_MUST) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_EXISTS, NULL);
		return;
	}
	if (r->open.kind == WIRE_NODE_DIRECTORY && n->kind != NODE_DIRECTORY) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_NOT_DIRECTORY, NULL);
		return;
	}
	if (r->open.kind == WIRE_NODE_FILE && n->kind == NODE_DIRECTORY) {
		reply_error(m, in->call, MESSAGE_OPEN, ERROR_IS_DIRECTORY, NULL);
		return;
	}
	if (n->ephemeral && !keeps(n, r->session, r->open.handle_number)) {
		/* By the time that the log comes to it, the node may be gone. */
		if (r->open.create == WIRE_CREATE_MAY)
			open_create(m, in, inner);
		else
			open_keep(m, in, n);
		return;
	}
	open_answer(m, in->call, in->lease, r->open.handle_number, uses_of(r), r->open.event_mask,
		    n, false);
}

/* The node keeps for a handle that its caller did not get. */
static void open_undo(struct master *m, const struct moment *at, const struct open_call *c,
		      struct lease *l, const struct node *n)
{
	const struct open_handle *h = handle_find(l, c->handle);
	struct entry e = {
		.kind = ENTRY_CLOSE,
		.session = c->session,
		.keep = {.instance = n->instance, .handle = c->handle},
	};

	if ((h == NULL || h->closed || h->instance != n->instance) &&
	    keeps(n, c->session, c->handle))
		propose(m, at, &e);
}

void open_applied(struct master *m, const struct moment *at, const struct open_call *c,
		  const struct result *r)
{
	struct lease *l = lease_find(m, c->session);
	uint64_t instance = r->instance != 0 ? r->instance : c->instance;
	const struct node *n = cell_node(m->cell, instance);

	if (r->error != ERROR_OK) {
		/* An ephemeral node that went between arrival and log was never there for it. */
		reply_error(m, c->call, MESSAGE_OPEN,
			    r->error == ERROR_HANDLE_STALE ? ERROR_NOT_FOUND : r->error,
			    r->error == ERROR_NOT_FOUND ? no_directory : NULL);
	} else if (l == NULL) {
		reply_error(m, c->call, MESSAGE_OPEN, ERROR_SESSION_EXPIRED, NULL);
	} else if (n == NULL) {
		reply_error(m, c->call, MESSAGE_OPEN, ERROR_HANDLE_STALE, NULL);
	} else {
		open_answer(m, c->call, l, c->handle, c->uses, c->event_mask, n, r->created);
		open_undo(m, at, c, l, n);
	}
}

/* True if what this handle asked for before is in the log's hands and may yet get it a claim. */
static bool claim_is_under_way(const struct master *m, struct session_id session,
			       struct handle_id handle)
{
	const struct open_call *c, *next;

	HASH_ITER(by_origin, m->pending, c, next) {
		if (c->session.n != session.n)
			continue;
		if (c->kind == MESSAGE_ACQUIRE && c->handle.n == handle.n)
			return true;
		for (uint32_t i = 0; i < c->claim_count; i++) {
			if (c->claims[i].handle.n == handle.n)
				return true;
		}
	}
	return false;
}

/* Whether the log must hear that the handle is closed. A claim that is not applied yet will be a
 * hold or a wait by the time that the log comes to the close. */
static bool leaves_something(const struct master *m, const struct node *n,
			     struct session_id session, struct handle_id handle)
{
	return keeps(n, session, handle) ||
	       cell_holder(m->cell, n->instance, session, handle) != NULL ||
	       cell_waiter(m->cell, n->instance, session, handle) != NULL ||
	       claim_is_under_way(m, session, handle);
}

/*
 * Close releases the handle's lock, leaves its queue, and gives up an ephemeral node: one entry,
 * for which the answer waits. Who got no answer asks the next master, which knows the handle by
 * its token and finds in the cell what is left of it; the same is done for a handle that was
 * closed here, since the first answer may be on its way still.
 */
void close_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	struct reply ok = {.kind = MESSAGE_CLOSE};
	struct entry e = {.kind = ENTRY_CLOSE, .session = r->session};
	const char *why = NULL;
	enum error error = handle_lookup(m, in->lease, r->handle, 0, &in->handle, &why);
	struct handle_token t;
	const struct node *n;

	if ((error != ERROR_OK && error != ERROR_HANDLE_CLOSED) ||
	    handle_unseal(r->handle, cell_meta(m->cell)->handle_key, &t) != ERROR_OK) {
		reply_error(m, in->call, MESSAGE_CLOSE, error, why);
		return;
	}
	if (error == ERROR_OK)
		handle_close(in->lease, in->handle);
	e.keep.instance = t.instance;
	e.keep.handle = t.number;
	n = cell_node(m->cell, t.instance);
	if (n != NULL && leaves_something(m, n, r->session, t.number))
		propose_for(m, in, &e);
	else if (error != ERROR_OK)
		reply_error(m, in->call, MESSAGE_CLOSE, error, why);
	else
		reply_with(m, in->call, false, &ok);
}

void get_request(struct master *m, struct inbound *in)
{
	struct reply r = {.kind = in->r->kind};

	if (!handle_resolve(m, in, HANDLE_READ))
		return;
	if (in->r->kind == MESSAGE_GET_CONTENTS_AND_STAT) {
		if (in->node->kind == NODE_DIRECTORY) {
			reply_error(m, in->call, in->r->kind, ERROR_IS_DIRECTORY, NULL);
			return;
		}
		r.get_contents_and_stat.contents = in->node->contents;
	}
	r.get_contents_and_stat.stat = stat_of(in->node);
	r.revision = cell_meta(m->cell)->revision.n;
	reply_with(m, in->call, true, &r);
}

void read_dir_request(struct master *m, struct inbound *in)
{
	struct reply r = {.kind = MESSAGE_READ_DIR};
	uint32_t limit = in->r->read_dir.limit, count = 0;
	struct wire_dir_entry *entries;
	const struct node *child;
	size_t bytes = 0;

	if (!handle_resolve(m, in, HANDLE_READ))
		return;
	if (in->node->kind != NODE_DIRECTORY) {
		reply_error(m, in->call, MESSAGE_READ_DIR, ERROR_NOT_DIRECTORY, NULL);
		return;
	}
	if (limit == 0 || limit > WIRE_READ_DIR_LIMIT)
		limit = WIRE_READ_DIR_LIMIT;
	entries = output_alloc(m, limit * sizeof(*entries));
	child = cell_child_after(m->cell, in->node->instance, in->r->read_dir.after);
	while (child != NULL && count < limit && bytes < READ_DIR_MAX_BYTES) {
		entries[count].name = node_name(child);
		entries[count].stat = stat_of(child);
		bytes += entries[count].name.size + sizeof(struct wire_stat);
		child = cell_child_after(m->cell, in->node->instance, entries[count].name);
		count++;
	}
	r.read_dir.count = count;
	r.read_dir.entries = entries;
	r.read_dir.more = child != NULL;
	r.revision = cell_meta(m->cell)->revision.n;
	reply_with(m, in->call, true, &r);
}

void set_contents_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	struct entry e = {
		.kind = ENTRY_NODE_WRITE,
		.session = r->session,
		.number = r->number,
		.lowest_unanswered = r->lowest_unanswered,
		.node_write =
			{
				.expected_generation = r->set_contents.expected_generation,
				.contents = r->set_contents.contents,
			},
	};

	if (r->set_contents.contents.size > CELL_CONTENTS_MAX_BYTES) {
		reply_error(m, in->call, r->kind, ERROR_TOO_LARGE,
			    "contents are limited to 256 KiB");
		return;
	}
	if (request_repeated(m, in) || !handle_resolve(m, in, HANDLE_WRITE))
		return;
	e.node_write.instance = in->node->instance;
	propose_for(m, in, &e);
}

void set_acl_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	struct entry e = {
		.kind = ENTRY_NODE_SET_ACL,
		.session = r->session,
		.number = r->number,
		.lowest_unanswered = r->lowest_unanswered,
		.node_set_acl = {.expected_generation = r->set_acl.expected_generation},
	};

	if (request_repeated(m, in) || !handle_resolve(m, in, HANDLE_CHANGE_ACL))
		return;
	e.node_set_acl.instance = in->node->instance;
	for (int i = 0; i < CELL_ACL_NAMES; i++)
		e.node_set_acl.acl[i] = r->set_acl.acl[i];
	propose_for(m, in, &e);
}

void delete_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	struct entry e = {
		.kind = ENTRY_NODE_DELETE,
		.session = r->session,
		.number = r->number,
		.lowest_unanswered = r->lowest_unanswered,
		.node_delete = {.expected_generation = r->delete_node.expected_generation},
	};

	if (request_repeated(m, in) || !handle_resolve(m, in, HANDLE_WRITE))
		return;
	if (in->node->path.size == 1) {
		reply_error(m, in->call, r->kind, ERROR_INVALID_ARGUMENT, "the cell's root stays");
		return;
	}
	e.node_delete.instance = in->node->instance;
	propose_for(m, in, &e);
}
