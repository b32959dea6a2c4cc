/*
 * Multi through the master: what its operations name, what it answers, and how often.
 */
#include "master_fixture.h"

struct scene {
	struct world w;
	struct session_id s, t;
	struct bytes hx, hy, hread, tx; /* of s: two files, one read-only; of t: the first file */
};

static void scene_begin(struct scene *c)
{
	struct request r = {
		.kind = MESSAGE_OPEN,
		.open = {.path = bytes_of_text("/ls/local/x"), .handle_number = {3}, .read = true},
	};

	world_new(&c->w);
	world_begin(&c->w);
	c->s = world_session(&c->w, 1);
	c->t = world_session(&c->w, 2);
	c->hx = world_open(&c->w, c->s, "/ls/local/x", 1);
	c->hy = world_open(&c->w, c->s, "/ls/local/y", 2);
	c->tx = world_open(&c->w, c->t, "/ls/local/x", 1);
	r.session = c->s;
	c->hread = world_call(&c->w, 1, &r)->open.handle;
}

static struct answer *multi(struct scene *c, uint64_t number, uint32_t count,
			    const struct wire_multi_op *ops)
{
	struct request r = {
		.kind = MESSAGE_MULTI,
		.session = c->s,
		.number = number,
		.lowest_unanswered = number,
		.multi = {.count = count, .ops = ops},
	};
	struct answer *a = world_answer(&c->w, world_send(&c->w, 1, &r));

	assert_non_null(a);
	return a;
}

/* Property: all of it happens, at one revision, and each ACQUIRE is told its grant, in order. */
static void all_of_it(void **state)
{
	struct scene c;
	const struct node *d;
	struct answer *a;
	const struct wire_multi_op ops[] = {
		{.kind = MULTI_GUARD_ABSENT, .path = bytes_of_text("/ls/local/d")},
		{.kind = MULTI_CREATE,
		 .path = bytes_of_text("/ls/local/d"),
		 .node_kind = WIRE_NODE_DIRECTORY},
		{.kind = MULTI_CREATE,
		 .path = bytes_of_text("/ls/local/d/f"),
		 .contents = bytes_of_text("one")},
		{.kind = MULTI_ACQUIRE, .handle = BYTES_NONE, .mode = WIRE_LOCK_SHARED},
		{.kind = MULTI_WRITE,
		 .path = bytes_of_text("/ls/local/x"),
		 .contents = bytes_of_text("two")},
		{.kind = MULTI_ACQUIRE, .handle = BYTES_NONE, .mode = WIRE_LOCK_EXCLUSIVE},
	};
	struct wire_multi_op mine[6];

	(void)state;
	scene_begin(&c);
	memcpy(mine, ops, sizeof(ops));
	mine[3].handle = c.hy;
	mine[5].handle = c.hx;
	a = multi(&c, 1, 6, mine);
	assert_int_equal(a->reply.error, ERROR_OK);
	assert_int_equal(a->reply.multi.grant_count, 2);
	assert_int_equal(a->grants[0].mode, WIRE_LOCK_SHARED);
	assert_int_equal(a->grants[1].mode, WIRE_LOCK_EXCLUSIVE);
	d = cell_node_at(c.w.cell, bytes_of_text("/x"));
	assert_true(bytes_equal(d->contents, bytes_of_text("two")));
	assert_int_equal(d->lock->period.n, a->grants[1].fencing_token);
	d = cell_node_at(c.w.cell, bytes_of_text("/d/f"));
	assert_true(bytes_equal(d->contents, bytes_of_text("one")));
	assert_int_equal(cell_node_at(c.w.cell, bytes_of_text("/d"))->kind, NODE_DIRECTORY);
	world_free(&c.w);
}

/* Property: a refused multi changes nothing, and tells which operation refused it. */
static void nothing_of_it(void **state)
{
	struct scene c;
	struct answer *a;
	struct wire_multi_op ops[] = {
		{.kind = MULTI_GUARD_EXISTS, .path = bytes_of_text("/ls/local/y")},
		{.kind = MULTI_CREATE, .path = bytes_of_text("/ls/local/z")},
		{.kind = MULTI_ACQUIRE, .mode = WIRE_LOCK_EXCLUSIVE},
	};

	(void)state;
	scene_begin(&c);
	world_acquire(&c.w, 2, c.t, c.tx, 1);
	ops[2].handle = c.hx;
	a = multi(&c, 1, 3, ops);
	assert_int_equal(a->reply.error, ERROR_BUSY);
	assert_true(a->reply.has_failed_op);
	assert_int_equal(a->reply.failed_op, 2);
	assert_non_null(strstr(a->message, "operation 2"));
	assert_null(cell_node_at(c.w.cell, bytes_of_text("/z")));
	ops[0].kind = MULTI_GUARD_ABSENT;
	a = multi(&c, 1, 3, ops); /* the same, asked again */
	assert_int_equal(a->reply.error, ERROR_BUSY);
	assert_int_equal(a->reply.failed_op, 2);
	a = multi(&c, 2, 3, ops);
	assert_int_equal(a->reply.error, ERROR_GUARD_FAILED);
	assert_true(a->reply.has_failed_op);
	assert_int_equal(a->reply.failed_op, 0);
	world_free(&c.w);
}

/* Property: a guard may name one handle of one's own: it holds as long as that handle does. */
static void guard_by_handle(void **state)
{
	struct scene c;
	struct wire_multi_op ops[2] = {
		{.kind = MULTI_GUARD_HOLDER},
		{.kind = MULTI_WRITE, .contents = bytes_of_text("mine")},
	};

	(void)state;
	scene_begin(&c);
	ops[0].handle = ops[1].handle = c.hx;
	assert_int_equal(multi(&c, 0, 2, ops)->reply.error, ERROR_GUARD_FAILED);
	world_acquire(&c.w, 1, c.s, c.hx, 1);
	assert_int_equal(multi(&c, 0, 2, ops)->reply.error, ERROR_OK);
	ops[0].handle = c.hread; /* of the same node and session, but not the holder */
	assert_int_equal(multi(&c, 0, 2, ops)->reply.error, ERROR_GUARD_FAILED);
	ops[0].number = c.s.n; /* then the handle names the node alone */
	assert_int_equal(multi(&c, 0, 2, ops)->reply.error, ERROR_OK);
	ops[0].number = c.t.n;
	assert_int_equal(multi(&c, 0, 2, ops)->reply.error, ERROR_GUARD_FAILED);
	world_free(&c.w);
}

/* Property: what contradicts itself or is not the session's own never reaches the log. */
static void nonsense_is_refused(void **state)
{
	struct scene c;
	struct bytes x = bytes_of_text("/ls/local/x"), y = bytes_of_text("/ls/local/y");
	static uint8_t much[CELL_CONTENTS_MAX_BYTES + 1];
	struct revision before;

	(void)state;
	scene_begin(&c);
	before = cell_meta(c.w.cell)->revision;
	const struct {
		struct wire_multi_op op;
		enum error error;
	} rows[] = {
		{{.kind = 0, .path = x}, ERROR_INVALID_ARGUMENT},
		{{.kind = 11, .path = x}, ERROR_INVALID_ARGUMENT},
		{{.kind = MULTI_ACQUIRE, .path = x}, ERROR_INVALID_ARGUMENT},
		{{.kind = MULTI_RELEASE, .path = x}, ERROR_INVALID_ARGUMENT},
		{{.kind = MULTI_CREATE, .path = x, .handle = c.hx}, ERROR_INVALID_ARGUMENT},
		{{.kind = MULTI_GUARD_ABSENT, .handle = c.hx}, ERROR_INVALID_ARGUMENT},
		{{.kind = MULTI_ACQUIRE, .path = y, .handle = c.hx}, ERROR_INVALID_ARGUMENT},
		{{.kind = MULTI_WRITE}, ERROR_INVALID_PATH},
		{{.kind = MULTI_WRITE, .path = bytes_of_text("/ls/local/../x")},
		 ERROR_INVALID_PATH},
		{{.kind = MULTI_WRITE, .path = bytes_of_text("/ls/other/x")}, ERROR_WRONG_CELL},
		{{.kind = MULTI_WRITE, .path = x, .contents = {much, sizeof(much)}},
		 ERROR_TOO_LARGE},
		{{.kind = MULTI_ACQUIRE, .handle = bytes_of_text("forged")}, ERROR_HANDLE_INVALID},
		{{.kind = MULTI_ACQUIRE, .handle = c.tx}, ERROR_HANDLE_INVALID},
		{{.kind = MULTI_ACQUIRE, .handle = c.hread}, ERROR_PERMISSION_DENIED},
		{{.kind = MULTI_WRITE, .handle = c.hread}, ERROR_PERMISSION_DENIED},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum error e = multi(&c, 0, 1, &rows[i].op)->reply.error;

		if (e != rows[i].error)
			fail_msg("row %zu: %s", i, error_name(e));
	}
	const struct wire_multi_op late_guard[] = {
		{.kind = MULTI_WRITE, .path = x},
		{.kind = MULTI_GUARD_EXISTS, .path = x},
	};
	assert_int_equal(multi(&c, 0, 2, late_guard)->reply.error, ERROR_INVALID_ARGUMENT);
	assert_int_equal(multi(&c, 0, 2, late_guard)->reply.failed_op, 1);
	assert_int_equal(multi(&c, 0, 0, late_guard)->reply.error, ERROR_INVALID_ARGUMENT);
	assert_false(multi(&c, 0, 0, late_guard)->reply.has_failed_op);
	assert_int_equal(cell_meta(c.w.cell)->revision.n, before.n);
	world_free(&c.w);
}

/* Property (dup_after_failover): a repeat at the new master gets the same grants and does nothing
 * again; a lock that was lost in between comes without a token. */
static void repeat_after_failover(void **state)
{
	struct scene c;
	struct wire_multi_op ops[] = {
		{.kind = MULTI_CREATE, .path = bytes_of_text("/ls/local/new")},
		{.kind = MULTI_ACQUIRE, .mode = WIRE_LOCK_EXCLUSIVE},
		{.kind = MULTI_ACQUIRE, .mode = WIRE_LOCK_EXCLUSIVE},
	};
	struct request release = {.kind = MESSAGE_RELEASE};
	uint64_t first, second;
	struct answer *a;

	(void)state;
	scene_begin(&c);
	ops[1].handle = c.hx;
	ops[2].handle = c.hy;
	a = multi(&c, 1, 3, ops);
	first = a->grants[0].fencing_token;
	second = a->grants[1].fencing_token;
	assert_true(first > 0 && second > 0);
	master_end(c.w.master, &c.w.at);
	world_take(&c.w);
	world_begin(&c.w);
	a = multi(&c, 1, 3, ops);
	assert_int_equal(a->reply.error, ERROR_OK);
	assert_int_equal(a->grants[0].fencing_token, first);
	assert_int_equal(a->grants[1].fencing_token, second);
	release.session = c.s;
	release.handle = c.hx;
	assert_int_equal(world_call(&c.w, 1, &release)->error, ERROR_OK);
	world_acquire(&c.w, 1, c.s, c.hx, 2); /* held again, but by another grant */
	a = multi(&c, 1, 3, ops);
	assert_int_equal(a->reply.error, ERROR_REQUEST_OUT_OF_WINDOW);
	world_free(&c.w);
}

/* Property: a repeat tells only of the grants that it made and that still stand. */
static void repeat_of_what_was_lost(void **state)
{
	struct scene c;
	struct wire_multi_op ops[] = {
		{.kind = MULTI_ACQUIRE, .mode = WIRE_LOCK_EXCLUSIVE},
		{.kind = MULTI_ACQUIRE, .mode = WIRE_LOCK_EXCLUSIVE},
	};
	struct request release = {.kind = MESSAGE_RELEASE};
	struct request acquire = {
		.kind = MESSAGE_ACQUIRE,
		.number = 2,
		.lowest_unanswered = 1,
		.acquire = {.mode = WIRE_LOCK_EXCLUSIVE, .lock_delay_ns = -1},
	};
	uint64_t second;
	struct answer *a;

	(void)state;
	scene_begin(&c);
	ops[0].handle = c.hx;
	ops[1].handle = c.hy;
	second = multi(&c, 1, 2, ops)->grants[1].fencing_token;
	release.session = acquire.session = c.s;
	release.handle = acquire.handle = c.hx;
	assert_int_equal(world_call(&c.w, 1, &release)->error, ERROR_OK);
	assert_true(world_call(&c.w, 1, &acquire)->acquire.grant.present);
	a = multi(&c, 1, 2, ops);
	assert_int_equal(a->reply.multi.grant_count, 2);
	assert_int_equal(a->grants[0].fencing_token, 0);
	assert_int_equal(a->grants[1].fencing_token, second);
	world_free(&c.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_of_it),
		cmocka_unit_test(nothing_of_it),
		cmocka_unit_test(guard_by_handle),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(repeat_after_failover),
		cmocka_unit_test(repeat_of_what_was_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
