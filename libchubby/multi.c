/*
 * Several operations at once (design section 4). What can be judged without the cell is judged
 * here, in sentences; the rest the master says, with the number of the operation.
 */
#include "multi.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "wire/path.h"

/* With paths and handles they fit a message of WIRE_MESSAGE_MAX_BYTES, and an entry of the log. */
#define CONTENTS_SUM_MAX_BYTES (3 * WIRE_CONTENTS_MAX_BYTES)
#define MULTI_ARENA_MAX_BYTES ((size_t)4 << 20)

_Static_assert(CHUBBY_MULTI_MAX_OPS == WIRE_MULTI_MAX, "the protocol's limit");
_Static_assert(CHUBBY_OP_ACQUIRE == WIRE_MULTI_ACQUIRE, "the protocol's number");

/* What names the node, and what else an operation takes. */
enum takes {
	TAKES_PATH = 1,
	TAKES_HANDLE = 2,
	TAKES_NUMBER = 4,
	TAKES_DATA = 8,
	TAKES_NODE_KIND = 16,
	TAKES_MODE = 32,
	NEEDS_NUMBER = 64,
};

static const struct kind_row {
	const char *name;
	int takes;
} kinds[] = {
	[CHUBBY_GUARD_EXISTS] = {"GUARD_EXISTS", TAKES_PATH | TAKES_HANDLE},
	[CHUBBY_GUARD_ABSENT] = {"GUARD_ABSENT", TAKES_PATH},
	[CHUBBY_GUARD_GENERATION] = {"GUARD_GENERATION", TAKES_PATH | TAKES_HANDLE | TAKES_NUMBER},
	[CHUBBY_GUARD_HOLDER] = {"GUARD_HOLDER", TAKES_PATH | TAKES_HANDLE | TAKES_NUMBER},
	[CHUBBY_GUARD_TOKEN] = {"GUARD_TOKEN",
				TAKES_PATH | TAKES_HANDLE | TAKES_NUMBER | NEEDS_NUMBER},
	[CHUBBY_OP_CREATE] = {"OP_CREATE", TAKES_PATH | TAKES_DATA | TAKES_NODE_KIND},
	/* Their number: of the contents that they change, as chubby_set() has it. */
	[CHUBBY_OP_WRITE] = {"OP_WRITE", TAKES_PATH | TAKES_HANDLE | TAKES_NUMBER | TAKES_DATA},
	[CHUBBY_OP_DELETE] = {"OP_DELETE", TAKES_PATH | TAKES_HANDLE | TAKES_NUMBER},
	[CHUBBY_OP_ACQUIRE] = {"OP_ACQUIRE", TAKES_HANDLE | TAKES_MODE},
	[CHUBBY_OP_RELEASE] = {"OP_RELEASE", TAKES_HANDLE},
};

static bool is_guard(enum chubby_op_kind kind)
{
	return kind >= CHUBBY_GUARD_EXISTS && kind <= CHUBBY_GUARD_TOKEN;
}

/* ---- judging -------------------------------------------------------------------------------- */

/* What is being judged, for the sentences. */
struct judging {
	struct chubby *cell;
	const struct chubby_op *op;
	size_t at;
	struct chubby_error *error; /* may be NULL */
};

static enum chubby_code refuse(const struct judging *j, enum chubby_code code, const char *why)
{
	return error_report(j->error, code, "multi: operation %zu, counted from 0: %s", j->at, why);
}

static const char *name_trouble(const struct chubby_op *op, int takes)
{
	if (op->path != NULL && op->handle != NULL)
		return "name the node by its path or by a handle, not by both";
	if (op->path == NULL && op->handle == NULL)
		return takes & TAKES_PATH ? "it names no node: give its path"
					  : "to acquire and to release a lock takes a handle";
	if (op->path != NULL && !(takes & TAKES_PATH))
		return "to acquire and to release a lock takes a handle, not a path";
	if (op->handle != NULL && !(takes & TAKES_HANDLE))
		return "what is not there yet is named by a path, not by a handle";
	return NULL;
}

/* A field that is set and means nothing here was meant to mean something. */
static const char *field_trouble(const struct chubby_op *op, int takes)
{
	if (op->number != 0 && !(takes & TAKES_NUMBER))
		return "this kind takes no number: leave it 0";
	if (op->number == 0 && takes & NEEDS_NUMBER)
		return "no lock has token 0: give chubby_token() of the holder";
	if (op->kind == CHUBBY_GUARD_HOLDER && op->number == 0 && op->handle == NULL)
		return "say which session holds the lock, or give a handle";
	if (op->size_bytes != 0 && !(takes & TAKES_DATA))
		return "this kind takes no data: leave size_bytes 0";
	if (op->size_bytes != 0 && op->data == NULL)
		return "data is NULL, and size_bytes is not 0";
	if (op->node_kind != 0 && !(takes & TAKES_NODE_KIND))
		return "this kind takes no node_kind: leave it 0";
	if (op->node_kind != 0 && op->node_kind != CHUBBY_FILE && op->node_kind != CHUBBY_DIR)
		return "node_kind is neither CHUBBY_FILE nor CHUBBY_DIR";
	if (op->node_kind == CHUBBY_DIR && op->size_bytes != 0)
		return "a directory has no contents: leave size_bytes 0";
	if (op->mode != CHUBBY_FREE && !(takes & TAKES_MODE))
		return "this kind takes no mode: leave it 0";
	if (op->mode != CHUBBY_FREE && op->mode != CHUBBY_SHARED &&
	    op->mode != CHUBBY_EXCLUSIVE_MODE)
		return "mode is neither CHUBBY_SHARED nor CHUBBY_EXCLUSIVE_MODE";
	return NULL;
}

static enum chubby_code node_check(const struct judging *j)
{
	struct bytes cell, inner;
	const char *why = NULL;

	if (j->op->path != NULL &&
	    path_parse(bytes_of_text(j->op->path), &cell, &inner, &why) != ERROR_OK)
		return refuse(j, CHUBBY_INVALID_PATH, why);
	if (j->op->handle == NULL)
		return CHUBBY_OK;
	if (j->op->handle->cell != j->cell)
		return refuse(j, CHUBBY_INVALID_ARGUMENT,
			      "the handle belongs to another connection");
	if (atomic_load(&j->op->handle->poisoned))
		return refuse(j, CHUBBY_CANCELLED, "the handle was poisoned");
	return CHUBBY_OK;
}

static enum chubby_code op_check(const struct judging *j, bool operations_began, size_t sum_bytes)
{
	const struct chubby_op *op = j->op;
	const char *why;

	if (op->kind < CHUBBY_GUARD_EXISTS || op->kind > CHUBBY_OP_RELEASE)
		return refuse(j, CHUBBY_INVALID_ARGUMENT, "there is no such kind");
	if (is_guard(op->kind) && operations_began)
		return refuse(j, CHUBBY_INVALID_ARGUMENT,
			      "guards stand before operations: move it up");
	why = name_trouble(op, kinds[op->kind].takes);
	if (why == NULL)
		why = field_trouble(op, kinds[op->kind].takes);
	if (why != NULL)
		return refuse(j, CHUBBY_INVALID_ARGUMENT, why);
	if (op->size_bytes > WIRE_CONTENTS_MAX_BYTES)
		return refuse(j, CHUBBY_TOO_LARGE, "contents are limited to 256 KiB");
	if (sum_bytes + op->size_bytes > CONTENTS_SUM_MAX_BYTES)
		return refuse(j, CHUBBY_TOO_LARGE,
			      "all contents together are limited to 768 KiB: use several calls");
	return node_check(j);
}

static enum chubby_code ops_check(struct chubby *cell, const struct chubby_op *ops, size_t count,
				  size_t *ret_failed_op, struct chubby_error *ret_error)
{
	bool operations_began = false;
	size_t sum_bytes = 0;

	*ret_failed_op = CHUBBY_MULTI_NO_OP;
	if (ops == NULL || count == 0 || count > CHUBBY_MULTI_MAX_OPS)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "multi: want 1 to %d guards and operations, not %zu",
				    CHUBBY_MULTI_MAX_OPS, ops == NULL ? 0 : count);
	for (size_t i = 0; i < count; i++) {
		struct judging j = {.cell = cell, .op = &ops[i], .at = i, .error = ret_error};
		enum chubby_code code = op_check(&j, operations_began, sum_bytes);

		if (code != CHUBBY_OK) {
			*ret_failed_op = i;
			return code;
		}
		operations_began = operations_began || !is_guard(ops[i].kind);
		sum_bytes += ops[i].size_bytes;
	}
	return CHUBBY_OK;
}

/* A request brings one sequencer, and each handle wants its own checked. */
static enum chubby_code guard_find(const struct chubby_op *ops, size_t count, char **ret_guard,
				   size_t *ret_failed_op, struct chubby_error *ret_error)
{
	char *guard = NULL;

	for (size_t i = 0; i < count; i++) {
		char *own = ops[i].handle != NULL ? handle_guard(ops[i].handle) : NULL;
		bool differs = own != NULL && guard != NULL && strcmp(own, guard) != 0;

		if (guard == NULL)
			guard = own;
		else
			free(own);
		if (differs) {
			free(guard);
			*ret_failed_op = i;
			return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
					    "multi: operation %zu, counted from 0: its handle has "
					    "another sequencer set than one before; use a "
					    "GUARD_TOKEN for each lock instead",
					    i);
		}
	}
	*ret_guard = guard;
	return CHUBBY_OK;
}

/* ---- asking --------------------------------------------------------------------------------- */

static struct bytes copied(struct multi *m, const void *data, size_t size_bytes)
{
	struct bytes copy = BYTES_NONE;

	CHECK(arena_copy(&m->arena, (struct bytes){data, size_bytes}, &copy));
	return copy;
}

static enum wire_lock_mode op_mode(const struct chubby_op *op)
{
	if (op->kind != CHUBBY_OP_ACQUIRE)
		return WIRE_LOCK_FREE;
	return op->mode == CHUBBY_SHARED ? WIRE_LOCK_SHARED : WIRE_LOCK_EXCLUSIVE;
}

static void op_copy(struct multi *m, const struct chubby_op *op, struct wire_multi_op *ret_op)
{
	*ret_op = (struct wire_multi_op){
		.kind = (uint32_t)op->kind,
		.number = op->number,
		.node_kind = op->node_kind == CHUBBY_DIR ? WIRE_NODE_DIRECTORY
							 : WIRE_NODE_UNSPECIFIED,
		.mode = op_mode(op),
	};
	if (op->path != NULL)
		ret_op->path = copied(m, op->path, strlen(op->path));
	if (op->size_bytes > 0)
		ret_op->contents = copied(m, op->data, op->size_bytes);
	if (op->handle != NULL)
		ret_op->handle = copied(m, op->handle->token, op->handle->token_size);
}

enum chubby_code multi_prepare(struct chubby *cell, const struct chubby_op *ops, size_t count,
			       struct multi *ret_multi, size_t *ret_failed_op,
			       struct chubby_error *ret_error)
{
	size_t failed_op;
	enum chubby_code code = ops_check(cell, ops, count, &failed_op, ret_error);
	struct multi m = {.request = {.kind = MESSAGE_MULTI}};
	struct wire_multi_op *copies;

	if (code == CHUBBY_OK)
		code = guard_find(ops, count, &m.guard, &failed_op, ret_error);
	if (code != CHUBBY_OK) {
		if (ret_failed_op != NULL)
			*ret_failed_op = failed_op;
		return code;
	}
	arena_init(&m.arena, MULTI_ARENA_MAX_BYTES);
	copies = arena_alloc(&m.arena, count * sizeof(*copies));
	m.handles = arena_alloc(&m.arena, count * sizeof(struct chubby_handle *));
	CHECK(copies != NULL && m.handles != NULL);
	for (size_t i = 0; i < count; i++) {
		op_copy(&m, &ops[i], &copies[i]);
		m.handles[i] = ops[i].handle;
	}
	m.request.multi.count = (uint32_t)count;
	m.request.multi.ops = copies;
	if (m.guard != NULL)
		m.request.guard_sequencer = bytes_of_text(m.guard);
	*ret_multi = m;
	return CHUBBY_OK;
}

void multi_release(struct multi *m)
{
	arena_release(&m->arena);
	free(m->guard);
}

/* ---- the answer ----------------------------------------------------------------------------- */

static uint32_t acquires_of(const struct multi *m)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < m->request.multi.count; i++)
		count += m->request.multi.ops[i].kind == CHUBBY_OP_ACQUIRE ? 1 : 0;
	return count;
}

/* In the order of the operations: one handle may have released, and acquired anew. A grant that
 * has no token was lost again before its answer came; that handle holds nothing. */
static void handles_settle(struct multi *m, const struct reply *r)
{
	const struct wire_grant *g = r->multi.grants;

	for (uint32_t i = 0; i < m->request.multi.count; i++) {
		struct chubby_handle *h = m->handles[i];

		switch (m->request.multi.ops[i].kind) {
		case CHUBBY_OP_ACQUIRE:
			if (g->fencing_token != 0 && h != NULL)
				grant_keep(h, g);
			g++;
			break;
		case CHUBBY_OP_RELEASE:
			if (h != NULL)
				atomic_store(&h->held, false);
			break;
		default:
			break;
		}
	}
}

/* As chubby_release() has it: who thinks that he holds the lock is told that he lost it. */
static enum chubby_code refusal(struct multi *m, const struct client_call *c, size_t failed_op,
				struct chubby_error *ret_error)
{
	struct chubby_handle *h;

	if (c->error != ERROR_NOT_HELD || failed_op >= m->request.multi.count ||
	    m->request.multi.ops[failed_op].kind != CHUBBY_OP_RELEASE)
		return client_result(c, "multi", ret_error);
	h = m->handles[failed_op];
	if (h == NULL || !atomic_exchange(&h->held, false))
		return client_result(c, "multi", ret_error);
	return error_report(ret_error, CHUBBY_LOCK_LOST,
			    "multi: operation %zu, counted from 0: the lock of %.100s was lost "
			    "before: an operator revoked it, or its node was deleted",
			    failed_op, h->path);
}

enum chubby_code multi_taken(struct multi *m, const struct client_call *c, uint64_t *ret_revision,
			     size_t *ret_failed_op, struct chubby_error *ret_error)
{
	size_t failed_op = CHUBBY_MULTI_NO_OP;

	if (c->error != ERROR_OK) {
		if (c->failed_op >= 0 && c->failed_op < (int64_t)m->request.multi.count)
			failed_op = (size_t)c->failed_op;
		if (ret_failed_op != NULL)
			*ret_failed_op = failed_op;
		return refusal(m, c, failed_op, ret_error);
	}
	if (c->reply.multi.grant_count != acquires_of(m)) {
		if (ret_failed_op != NULL)
			*ret_failed_op = failed_op;
		return error_report(ret_error, CHUBBY_MALFORMED,
				    "multi: the answer does not tell of each lock");
	}
	handles_settle(m, &c->reply);
	if (ret_revision != NULL)
		*ret_revision = c->reply.revision;
	return CHUBBY_OK;
}

enum chubby_code chubby_multi(struct chubby *cell, const struct chubby_op *ops, size_t count,
			      uint64_t *ret_revision, size_t *ret_failed_op,
			      struct chubby_error *ret_error)
{
	enum chubby_code code = client_enter(cell, ret_error);
	struct client_call c = {0};
	struct multi m;

	if (code != CHUBBY_OK) {
		if (ret_failed_op != NULL)
			*ret_failed_op = CHUBBY_MULTI_NO_OP;
		return code;
	}
	code = multi_prepare(cell, ops, count, &m, ret_failed_op, ret_error);
	if (code == CHUBBY_OK) {
		c.request = m.request;
		client_call(cell, &c);
		code = multi_taken(&m, &c, ret_revision, ret_failed_op, ret_error);
		client_call_release(&c);
		multi_release(&m);
	}
	client_leave(cell);
	return code;
}
