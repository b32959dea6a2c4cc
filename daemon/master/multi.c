/*
 * Multi: guards and operations, all or nothing, in one entry (design section 4; Paxos Made Live,
 * 5.6).
 *
 * An operation names its node by a path, or by a handle of the session, which then binds it to the
 * handle's instance; ACQUIRE and RELEASE need a handle, because a handle is what holds a lock.
 * CREATE and GUARD_ABSENT mean what is not there and take a path alone. A guard of the HOLDER means
 * any handle of the session that it names; with a handle and no session, that very handle.
 *
 * The reply holds a grant for each ACQUIRE, in their order. A repeat after the lock was lost again
 * cannot tell all of its grant: that one comes without sequencer and token, and names no lock.
 */
#include <stdio.h>

#include "master/master_internal.h"
#include "wire/handle.h"

static bool is_guard(uint32_t kind)
{
	return kind >= MULTI_GUARD_EXISTS && kind <= MULTI_GUARD_TOKEN;
}

/* Says which operation it was, for programs and in words. */
static void refuse(struct master *m, struct call_id call, uint32_t at, enum error error,
		   const char *why)
{
	struct reply r = {
		.kind = MESSAGE_MULTI,
		.error = error,
		.has_failed_op = true,
		.failed_op = at,
	};
	char text[256];
	int size = snprintf(text, sizeof(text), "operation %u, counted from 0: %s", at,
			    why != NULL ? why : error_text(error));

	CHECK(size > 0 && (size_t)size < sizeof(text));
	r.message = output_copy(m, (struct bytes){(const uint8_t *)text, (size_t)size});
	reply_with(m, call, m->serving, &r);
}

/* ---- in ------------------------------------------------------------------------------------ */

static enum error resolve_handle(struct master *m, struct inbound *in,
				 const struct wire_multi_op *op, struct multi_op *out,
				 const char **why)
{
	struct open_handle *h;
	const struct node *n;
	enum error e = handle_lookup(m, in->lease, op->handle,
				     is_guard(op->kind) ? 0 : HANDLE_WRITE, &h, why);

	if (e != ERROR_OK)
		return e;
	n = cell_node(m->cell, h->instance);
	if (n == NULL)
		return ERROR_HANDLE_STALE;
	out->path = n->path;
	out->instance = h->instance;
	if (!is_guard(op->kind)) {
		out->handle.n = h->number;
	} else if (op->kind == MULTI_GUARD_HOLDER && op->number == 0) {
		out->handle.n = h->number;
		out->number = in->lease->session;
	}
	return ERROR_OK;
}

static enum error resolve_node(struct master *m, struct inbound *in, const struct wire_multi_op *op,
			       struct multi_op *out, const char **why)
{
	struct bytes inner = BYTES_NONE;
	enum error e;

	if (op->handle.size == 0 && (op->kind == MULTI_ACQUIRE || op->kind == MULTI_RELEASE)) {
		*why = "to acquire and to release a lock takes a handle";
		return ERROR_INVALID_ARGUMENT;
	}
	if (op->handle.size > 0 && (op->kind == MULTI_CREATE || op->kind == MULTI_GUARD_ABSENT)) {
		*why = "what is not there is named by a path, not by a handle";
		return ERROR_INVALID_ARGUMENT;
	}
	if (op->path.size > 0 || op->handle.size == 0) {
		e = path_inside(m, op->path, &inner, why);
		if (e != ERROR_OK)
			return e;
		out->path = inner;
	}
	if (op->handle.size == 0)
		return ERROR_OK;
	e = resolve_handle(m, in, op, out, why);
	if (e == ERROR_OK && inner.size > 0 && !bytes_equal(inner, out->path)) {
		*why = "the path and the handle name different nodes";
		e = ERROR_INVALID_ARGUMENT;
	}
	return e;
}

static enum error resolve_op(struct master *m, struct inbound *in, const struct wire_multi_op *op,
			     struct multi_op *out, const char **why)
{
	if (op->kind < MULTI_GUARD_EXISTS || op->kind > MULTI_RELEASE) {
		*why = "there is no such kind of operation";
		return ERROR_INVALID_ARGUMENT;
	}
	if (op->contents.size > CELL_CONTENTS_MAX_BYTES) {
		*why = "contents are limited to 256 KiB";
		return ERROR_TOO_LARGE;
	}
	*out = (struct multi_op){
		.kind = (enum multi_kind)op->kind,
		.number = op->number,
		.contents = op->contents,
		.mode = op->mode == WIRE_LOCK_SHARED ? LOCK_SHARED : LOCK_EXCLUSIVE,
		.node_kind = op->node_kind == WIRE_NODE_DIRECTORY ? NODE_DIRECTORY : NODE_FILE,
	};
	return resolve_node(m, in, op, out, why);
}

/* All operations, or a refusal of the call: NULL. */
static struct multi_op *resolve_ops(struct master *m, struct inbound *in, uint32_t *ret_acquires)
{
	const struct request *r = in->r;
	struct multi_op *ops = output_alloc(m, r->multi.count * sizeof(*ops));
	bool operations = false;
	uint32_t acquires = 0;

	for (uint32_t i = 0; i < r->multi.count; i++) {
		const struct wire_multi_op *op = &r->multi.ops[i];
		const char *why = NULL;
		enum error e = resolve_op(m, in, op, &ops[i], &why);

		if (e == ERROR_OK && is_guard(op->kind) && operations) {
			why = "guards stand before operations";
			e = ERROR_INVALID_ARGUMENT;
		}
		if (e != ERROR_OK) {
			refuse(m, in->call, i, e, why);
			return NULL;
		}
		operations = operations || !is_guard(op->kind);
		acquires += op->kind == MULTI_ACQUIRE ? 1 : 0;
	}
	*ret_acquires = acquires;
	return ops;
}

static void take_claims(struct open_call *c, const struct multi_op *ops, uint32_t count,
			uint32_t acquires)
{
	if (acquires == 0)
		return;
	c->claims = mem_zalloc(acquires * sizeof(*c->claims));
	for (uint32_t i = 0; i < count; i++) {
		if (ops[i].kind == MULTI_ACQUIRE)
			c->claims[c->claim_count++] = (struct multi_claim){ops[i].instance,
									   ops[i].handle};
	}
	CHECK(c->claim_count == acquires);
}

void multi_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	struct multi_op *ops;
	struct open_call *c;
	uint32_t acquires = 0;
	struct entry e = {
		.kind = ENTRY_MULTI,
		.session = r->session,
		.number = r->number,
		.lowest_unanswered = r->lowest_unanswered,
	};

	if (r->multi.count == 0 || r->multi.count > MULTI_OPS_MAX) {
		reply_error(m, in->call, r->kind, ERROR_INVALID_ARGUMENT,
			    "a multi is 1 to 64 guards and operations");
		return;
	}
	if (request_repeated(m, in))
		return;
	ops = resolve_ops(m, in, &acquires);
	if (ops == NULL)
		return;
	e.multi.count = r->multi.count;
	e.multi.ops = ops;
	c = propose_for(m, in, &e);
	if (c != NULL)
		take_claims(c, ops, r->multi.count, acquires);
}

/* ---- out ----------------------------------------------------------------------------------- */

/* By the tokens alone: the handles may be closed by now, and their nodes gone. */
void multi_repeated(struct master *m, const struct inbound *in, struct open_call *repeat)
{
	const struct request *r = in->r;

	repeat->claims = output_alloc(m, r->multi.count * sizeof(*repeat->claims));
	for (uint32_t i = 0; i < r->multi.count; i++) {
		struct multi_claim *claim = &repeat->claims[repeat->claim_count];
		struct handle_token t;

		if (r->multi.ops[i].kind != MULTI_ACQUIRE)
			continue;
		repeat->claim_count++;
		if (handle_unseal(r->multi.ops[i].handle, cell_meta(m->cell)->handle_key, &t) ==
			    ERROR_OK &&
		    t.session.n == r->session.n)
			*claim = (struct multi_claim){t.instance, t.number};
	}
}

/* The grant that this multi made, if it stands. The handle held nothing before; a grant that is
 * younger is another. */
static struct wire_grant claim_grant(struct master *m, const struct open_call *c,
				     const struct multi_claim *claim, const struct result *r)
{
	const struct lock_holder *h = cell_holder(m->cell, claim->instance, c->session,
						  claim->handle);

	if (h == NULL || h->grant.revision.n > r->revision.n)
		return (struct wire_grant){.present = true};
	return holder_grant(m, claim->instance, h);
}

void multi_applied(struct master *m, const struct open_call *c, const struct result *r)
{
	struct reply out = {.kind = MESSAGE_MULTI, .revision = r->revision.n};
	struct wire_grant *grants;

	switch (r->error) {
	case ERROR_OK:
		break;
	case ERROR_SESSION_EXPIRED:
	case ERROR_EPOCH_CHANGED:
	case ERROR_REQUEST_OUT_OF_WINDOW:
	case ERROR_MALFORMED:
	case ERROR_SEQUENCER_INVALID:
		/* It came to none of the operations. */
		reply_error(m, c->call, MESSAGE_MULTI, r->error, NULL);
		return;
	default:
		refuse(m, c->call, (uint32_t)r->generation, r->error, NULL);
		return;
	}
	grants = output_alloc(m, c->claim_count * sizeof(*grants));
	for (uint32_t i = 0; i < c->claim_count; i++)
		grants[i] = claim_grant(m, c, &c->claims[i], r);
	out.multi.grant_count = c->claim_count;
	out.multi.grants = grants;
	reply_with(m, c->call, false, &out);
}
