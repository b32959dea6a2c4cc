/* Several operations at once, seen by one client: see several.c. */
#include "several.h"

#include <string.h>

static void creates_writes_and_deletes(struct chubby *cell)
{
	const struct chubby_op ops[] = {
		{.kind = CHUBBY_GUARD_ABSENT, .path = "/ls/local/d"},
		{.kind = CHUBBY_OP_CREATE, .path = "/ls/local/d", .node_kind = CHUBBY_DIR},
		{.kind = CHUBBY_OP_CREATE, .path = "/ls/local/d/f", .data = "one", .size_bytes = 3},
		{.kind = CHUBBY_OP_CREATE, .path = "/ls/local/d/g"},
		{.kind = CHUBBY_OP_WRITE, .path = "/ls/local/d/f", .data = "two", .size_bytes = 3},
		{.kind = CHUBBY_OP_DELETE, .path = "/ls/local/d/g"},
	};
	struct chubby_contents c;
	struct chubby_handle *h;
	uint64_t revision = 0, later = 0;
	size_t at = 77;

	WANT(CHUBBY_OK, chubby_multi(cell, ops, 6, &revision, &at, &e));
	MUST(revision > 0 && at == 77);
	h = opened(cell, "/ls/local/d/f");
	WANT(CHUBBY_OK, chubby_get(h, &c, NULL, &e));
	MUST(c.size_bytes == 3 && memcmp(c.data, "two", 3) == 0);
	chubby_contents_free(&c);
	chubby_close(h);
	MUST(!exists(cell, "/ls/local/d/g"));
	/* The same again fails at its first, and says so. */
	WANT(CHUBBY_GUARD_FAILED, chubby_multi(cell, ops, 6, &later, &at, &e));
	MUST(at == 0 && later == 0);
	WANT(CHUBBY_EXISTS, chubby_multi(cell, ops + 1, 5, NULL, &at, &e));
	MUST(at == 0);
	WANT(CHUBBY_EXISTS, chubby_multi(cell, ops + 1, 5, NULL, NULL, &e));
}

/* What fails at its end leaves nothing of its beginning. */
static void all_or_nothing(struct chubby *cell)
{
	const struct chubby_op ops[] = {
		{.kind = CHUBBY_OP_CREATE, .path = "/ls/local/n1"},
		{.kind = CHUBBY_OP_CREATE, .path = "/ls/local/n2"},
		{.kind = CHUBBY_OP_DELETE, .path = "/ls/local/d/f"},
		{.kind = CHUBBY_OP_CREATE, .path = "/ls/local/none/n3"},
	};
	size_t at = 0;

	WANT(CHUBBY_NOT_FOUND, chubby_multi(cell, ops, 4, NULL, &at, &e));
	MUST(at == 3);
	MUST(!exists(cell, "/ls/local/n1") && !exists(cell, "/ls/local/n2") &&
	     exists(cell, "/ls/local/d/f"));
}

static void guards(struct chubby *cell)
{
	struct chubby_handle *h = opened(cell, "/ls/local/guarded");
	struct chubby_handle *other = opened(cell, "/ls/local/guarded");
	struct chubby_op ops[] = {
		{.kind = CHUBBY_GUARD_EXISTS, .path = "/ls/local/guarded"},
		{.kind = CHUBBY_GUARD_GENERATION, .handle = h},
		{.kind = CHUBBY_GUARD_HOLDER, .handle = h},
		{.kind = CHUBBY_GUARD_HOLDER, .path = "/ls/local/guarded"},
		{.kind = CHUBBY_GUARD_TOKEN, .path = "/ls/local/guarded"},
		{.kind = CHUBBY_OP_WRITE, .handle = h, .data = "x", .size_bytes = 1},
	};
	uint64_t generation;
	size_t at;

	WANT(CHUBBY_OK, chubby_set(h, "0", 1, 0, &generation, &e));
	WANT(CHUBBY_OK, chubby_acquire(h, NULL, &e));
	ops[1].number = generation;
	ops[3].number = chubby_session_id(cell);
	ops[4].number = chubby_token(h);
	WANT(CHUBBY_OK, chubby_multi(cell, ops, 6, NULL, NULL, &e));
	WANT(CHUBBY_GUARD_FAILED, chubby_multi(cell, ops, 6, NULL, &at, &e)); /* its own write */
	MUST(at == 1);
	ops[1] = ops[0];
	ops[2].handle = other; /* of the same session, but it is not the one that holds */
	WANT(CHUBBY_GUARD_FAILED, chubby_multi(cell, ops, 6, NULL, &at, &e));
	MUST(at == 2);
	ops[2].number = chubby_session_id(cell); /* any handle of the session */
	WANT(CHUBBY_OK, chubby_multi(cell, ops, 6, NULL, &at, &e));
	ops[2].number++;
	WANT(CHUBBY_GUARD_FAILED, chubby_multi(cell, ops, 6, NULL, &at, &e));
	MUST(at == 2);
	ops[2] = ops[0];
	ops[4].number++;
	WANT(CHUBBY_GUARD_FAILED, chubby_multi(cell, ops, 6, NULL, &at, &e));
	MUST(at == 4);
	WANT(CHUBBY_OK, chubby_release(h, &e));
	ops[4].number--;
	WANT(CHUBBY_GUARD_FAILED, chubby_multi(cell, ops, 6, NULL, &at, &e));
	MUST(at == 3);
	/* A change may name the generation that it changes. */
	ops[5].number = 1;
	WANT(CHUBBY_GENERATION_MISMATCH, chubby_multi(cell, ops + 5, 1, NULL, &at, &e));
	MUST(at == 0);
	chubby_close(other);
	chubby_close(h);
}

static void several_locks(struct chubby *cell)
{
	struct chubby_handle *a = opened(cell, "/ls/local/la"), *b = opened(cell, "/ls/local/lb");
	struct chubby_handle *c = opened(cell, "/ls/local/lc"), *c2 = opened(cell, "/ls/local/lc");
	struct chubby_op take[] = {
		{.kind = CHUBBY_OP_ACQUIRE, .handle = a},
		{.kind = CHUBBY_OP_ACQUIRE, .handle = b, .mode = CHUBBY_SHARED},
		{.kind = CHUBBY_OP_ACQUIRE, .handle = c, .mode = CHUBBY_EXCLUSIVE_MODE},
	};
	struct chubby_op move[] = {
		{.kind = CHUBBY_OP_RELEASE, .handle = a},
		{.kind = CHUBBY_OP_RELEASE, .handle = b},
		{.kind = CHUBBY_OP_ACQUIRE, .handle = a, .mode = CHUBBY_SHARED},
		{.kind = CHUBBY_OP_RELEASE, .handle = c},
	};
	uint64_t token, before;
	size_t at;

	WANT(CHUBBY_OK, chubby_acquire(c2, NULL, &e));
	WANT(CHUBBY_BUSY, chubby_multi(cell, take, 3, NULL, &at, &e));
	MUST(at == 2);
	MUST(!chubby_is_held(a) && !chubby_is_held(b) && chubby_sequencer(a) == NULL);
	WANT(CHUBBY_OK, chubby_release(c2, &e));
	WANT(CHUBBY_OK, chubby_multi(cell, take, 3, NULL, &at, &e));
	MUST(chubby_is_held(a) && chubby_is_held(b) && chubby_is_held(c));
	for (size_t i = 0; i < 3; i++) {
		WANT(CHUBBY_OK,
		     chubby_check_sequencer(cell, chubby_sequencer(take[i].handle), &token, &e));
		MUST(token == chubby_token(take[i].handle));
	}
	WANT(CHUBBY_ALREADY_HELD, chubby_multi(cell, take, 3, NULL, &at, &e));
	MUST(at == 0 && chubby_is_held(a));
	before = chubby_token(a);
	WANT(CHUBBY_OK, chubby_multi(cell, move, 4, NULL, &at, &e));
	MUST(chubby_is_held(a) && chubby_token(a) > before);
	MUST(!chubby_is_held(b) && !chubby_is_held(c));
	WANT(CHUBBY_NOT_HELD, chubby_multi(cell, move + 3, 1, NULL, &at, &e));
	MUST(at == 0);
	WANT(CHUBBY_OK, chubby_release(a, &e));
	chubby_close(a);
	chubby_close(b);
	chubby_close(c);
	chubby_close(c2);
}

/* What can be judged here is refused here: with the connection cut it would be the same. */
static void bad_arguments(struct chubby *cell)
{
	static char much[(256 << 10) + 1];
	struct chubby_handle *h = opened(cell, "/ls/local/guarded");
	const char *p = "/ls/local/guarded";
	const struct {
		struct chubby_op op;
		enum chubby_code code;
	} rows[] = {
		{{.kind = 0, .path = p}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = 11, .path = p}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_WRITE}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_WRITE, .path = p, .handle = h}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_CREATE, .handle = h}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_GUARD_ABSENT, .handle = h}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_ACQUIRE, .path = p}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_RELEASE, .path = p}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_ACQUIRE, .handle = h, .mode = 3}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_DELETE, .path = p, .mode = 1}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_GUARD_EXISTS, .path = p, .number = 1}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_GUARD_TOKEN, .path = p}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_GUARD_HOLDER, .path = p}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_WRITE, .path = p, .size_bytes = 1}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_DELETE, .path = p, .data = p, .size_bytes = 1},
		 CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_CREATE, .path = p, .node_kind = 3}, CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_CREATE, .path = p, .node_kind = 2, .data = p, .size_bytes = 1},
		 CHUBBY_INVALID_ARGUMENT},
		{{.kind = CHUBBY_OP_WRITE, .path = "/x"}, CHUBBY_INVALID_PATH},
		{{.kind = CHUBBY_OP_WRITE, .path = "/ls/local/a//b"}, CHUBBY_INVALID_PATH},
		{{.kind = CHUBBY_OP_WRITE, .path = "/ls/other/a"}, CHUBBY_WRONG_CELL},
		{{.kind = CHUBBY_OP_WRITE, .path = p, .data = much, .size_bytes = sizeof(much)},
		 CHUBBY_TOO_LARGE},
	};
	struct chubby_op many[CHUBBY_MULTI_MAX_OPS + 1];
	size_t at;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct chubby_op ops[] = {{.kind = CHUBBY_GUARD_EXISTS, .path = p},
						rows[i].op};

		at = 77;
		WANT(rows[i].code, chubby_multi(cell, ops, 2, NULL, &at, &e));
		MUST(at == 1);
	}
	for (size_t i = 0; i <= CHUBBY_MULTI_MAX_OPS; i++)
		many[i] = (struct chubby_op){.kind = CHUBBY_GUARD_EXISTS, .path = p};
	WANT(CHUBBY_INVALID_ARGUMENT,
	     chubby_multi(cell, many, CHUBBY_MULTI_MAX_OPS + 1, NULL, &at, &e));
	MUST(at == CHUBBY_MULTI_NO_OP);
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_multi(cell, many, 0, NULL, &at, &e));
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_multi(cell, NULL, 1, NULL, &at, &e));
	WANT(CHUBBY_OK, chubby_multi(cell, many, CHUBBY_MULTI_MAX_OPS, NULL, &at, &e));
	many[0].kind = CHUBBY_OP_WRITE;
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_multi(cell, many, 2, NULL, &at, &e));
	MUST(at == 1);
	chubby_poison(h);
	many[0] = (struct chubby_op){.kind = CHUBBY_OP_WRITE, .handle = h};
	WANT(CHUBBY_CANCELLED, chubby_multi(cell, many, 1, NULL, &at, &e));
	MUST(at == 0);
	chubby_close(h);
}

/* The most that is taken at all arrives: 768 KiB of contents under the longest of names. */
static void the_largest(struct chubby *cell)
{
	static char much[256 << 10];
	struct chubby_op ops[CHUBBY_MULTI_MAX_OPS] = {{0}};
	char path[1200] = "/ls/local";
	size_t at;

	for (int i = 0; i < 4; i++) {
		size_t end = strlen(path);

		path[end] = '/';
		memset(path + end + 1, 'n', 250);
		path[end + 251] = '\0';
		ops[i] = (struct chubby_op){.kind = CHUBBY_OP_CREATE, .path = strdup(path)};
		if (i < 3)
			ops[i].node_kind = CHUBBY_DIR;
	}
	for (int i = 4; i < CHUBBY_MULTI_MAX_OPS; i++) {
		ops[i] = (struct chubby_op){.kind = CHUBBY_OP_WRITE, .path = path, .data = much};
		if (i >= CHUBBY_MULTI_MAX_OPS - 3)
			ops[i].size_bytes = sizeof(much);
	}
	memset(much, 'm', sizeof(much));
	WANT(CHUBBY_OK, chubby_multi(cell, ops, CHUBBY_MULTI_MAX_OPS, NULL, NULL, &e));
	ops[4].size_bytes = 1;
	WANT(CHUBBY_TOO_LARGE, chubby_multi(cell, ops + 4, 60, NULL, &at, &e));
	MUST(at == 59);
	for (int i = 0; i < 4; i++)
		free((void *)(uintptr_t)ops[i].path);
}

void check_multi(struct chubby *cell)
{
	creates_writes_and_deletes(cell);
	all_or_nothing(cell);
	guards(cell);
	several_locks(cell);
	bad_arguments(cell);
	the_largest(cell);
}
