/*
 * several: one client process of the tests of several operations at once (multi_test.py).
 *
 *   check     guards, all or nothing, which operation failed, locks, bad arguments
 *   transfer  moves units between two files by multis that name the generations it read, until it
 *             is told to stop; what was acknowledged must be there, once
 *
 * The last line on standard output is one JSON object. Exit status 1 if a check failed.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chubby.h"

#define RIGHTS (CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE)

static struct chubby *cell;
static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

__attribute__((noreturn)) static void give_up(int line, const char *what, const char *why)
{
	fprintf(stderr, "several.c:%d: %s: %s\n", line, what, why);
	exit(1);
}

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			give_up(__LINE__, #condition, "does not hold");                            \
	} while (0)
#define WANT(expected, call)                                                                       \
	do {                                                                                       \
		struct chubby_error e = {0};                                                       \
		enum chubby_code code = (call);                                                    \
		if (code != (expected))                                                            \
			give_up(__LINE__, #call,                                                   \
				e.code != 0 ? e.message : chubby_code_name(code));                 \
		if (code != CHUBBY_OK && (e.code != code || e.message[0] == '\0'))                 \
			give_up(__LINE__, #call, "no sentence says why");                          \
	} while (0)

static struct chubby_handle *opened(const char *path)
{
	struct chubby_handle *h;

	WANT(CHUBBY_OK, chubby_open(cell, path, RIGHTS, NULL, 0, &h, NULL, &e));
	return h;
}

static bool exists(const char *path)
{
	struct chubby_handle *h;
	enum chubby_code code = chubby_open(cell, path, CHUBBY_READ, NULL, 0, &h, NULL, NULL);

	if (code == CHUBBY_OK)
		chubby_close(h);
	MUST(code == CHUBBY_OK || code == CHUBBY_NOT_FOUND);
	return code == CHUBBY_OK;
}

/* ---- check ---------------------------------------------------------------------------------- */

static void creates_writes_and_deletes(void)
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
	h = opened("/ls/local/d/f");
	WANT(CHUBBY_OK, chubby_get(h, &c, NULL, &e));
	MUST(c.size_bytes == 3 && memcmp(c.data, "two", 3) == 0);
	chubby_contents_free(&c);
	chubby_close(h);
	MUST(!exists("/ls/local/d/g"));
	/* The same again fails at its first, and says so. */
	WANT(CHUBBY_GUARD_FAILED, chubby_multi(cell, ops, 6, &later, &at, &e));
	MUST(at == 0 && later == 0);
	WANT(CHUBBY_EXISTS, chubby_multi(cell, ops + 1, 5, NULL, &at, &e));
	MUST(at == 0);
	WANT(CHUBBY_EXISTS, chubby_multi(cell, ops + 1, 5, NULL, NULL, &e));
}

/* What fails at its end leaves nothing of its beginning. */
static void all_or_nothing(void)
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
	MUST(!exists("/ls/local/n1") && !exists("/ls/local/n2") && exists("/ls/local/d/f"));
}

static void guards(void)
{
	struct chubby_handle *h = opened("/ls/local/guarded");
	struct chubby_handle *other = opened("/ls/local/guarded");
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

static void several_locks(void)
{
	struct chubby_handle *a = opened("/ls/local/la"), *b = opened("/ls/local/lb");
	struct chubby_handle *c = opened("/ls/local/lc"), *c2 = opened("/ls/local/lc");
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
static void bad_arguments(void)
{
	static char much[(256 << 10) + 1];
	struct chubby_handle *h = opened("/ls/local/guarded");
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
static void the_largest(void)
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

static void check(void)
{
	creates_writes_and_deletes();
	all_or_nothing();
	guards();
	several_locks();
	bad_arguments();
	the_largest();
}

/* ---- transfer ------------------------------------------------------------------------------- */

struct account {
	struct chubby_handle *handle;
	uint64_t generation;
	long units;
};

static struct account account_opened(const char *path)
{
	struct account a = {.handle = opened(path)};

	WANT(CHUBBY_OK, chubby_set(a.handle, "0", 1, 0, &a.generation, &e));
	return a;
}

static long account_read(struct account *a)
{
	struct chubby_contents c;
	struct chubby_stat st;
	long units;

	WANT(CHUBBY_OK, chubby_get(a->handle, &c, &st, &e));
	units = strtol(c.data, NULL, 10);
	a->generation = st.contents_generation;
	chubby_contents_free(&c);
	return units;
}

/* Nobody else writes here: the generations that it knows are right, unless one of its own writes
 * was lost or came twice. Each move also takes and gives back two locks. */
static void transfer(int id)
{
	char path[2][64], text[2][32];
	struct chubby_handle *locks[2];
	struct account from, to;
	long moved = 0;

	snprintf(path[0], sizeof(path[0]), "/ls/local/from-%d", id);
	snprintf(path[1], sizeof(path[1]), "/ls/local/to-%d", id);
	from = account_opened(path[0]);
	to = account_opened(path[1]);
	locks[0] = opened(path[0]);
	locks[1] = opened(path[1]);
	while (!stop_asked) {
		bool take = moved % 2 == 0;
		struct chubby_op ops[] = {
			{.kind = CHUBBY_GUARD_GENERATION,
			 .handle = from.handle,
			 .number = from.generation},
			{.kind = CHUBBY_OP_WRITE, .handle = from.handle, .data = text[0]},
			{.kind = CHUBBY_OP_WRITE,
			 .handle = to.handle,
			 .number = to.generation,
			 .data = text[1]},
			{.kind = take ? CHUBBY_OP_ACQUIRE : CHUBBY_OP_RELEASE, .handle = locks[0]},
			{.kind = take ? CHUBBY_OP_ACQUIRE : CHUBBY_OP_RELEASE, .handle = locks[1]},
		};

		ops[1].size_bytes = (size_t)snprintf(text[0], sizeof(text[0]), "%ld", -moved - 1);
		ops[2].size_bytes = (size_t)snprintf(text[1], sizeof(text[1]), "%ld", moved + 1);
		WANT(CHUBBY_OK, chubby_multi(cell, ops, 5, NULL, NULL, &e));
		moved++;
		MUST(chubby_is_held(locks[0]) == take && chubby_is_held(locks[1]) == take);
		MUST(account_read(&from) == -moved && account_read(&to) == moved);
	}
	printf("{\"id\": %d, \"moved\": %ld}\n", id, moved);
}

int main(int argc, char **argv)
{
	struct chubby_options o = chubby_options_default();
	const char *mode = argc > 1 ? argv[1] : "";

	signal(SIGTERM, on_signal);
	o.connect_ms = 30000;
	WANT(CHUBBY_OK, chubby_connect(&o, &cell, &e));
	if (strcmp(mode, "check") == 0)
		check();
	else if (strcmp(mode, "transfer") == 0 && argc == 3)
		transfer((int)strtol(argv[2], NULL, 10));
	else
		return 64;
	chubby_disconnect(cell);
	return 0;
}
