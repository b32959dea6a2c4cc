/*
 * SetSequencer (Chubby 2.4 and 2.6) through master and cell: a request that brings a sequencer has
 * no effect unless its grant stands at that moment.
 */
#include "master_fixture.h"

#include <stdio.h>

#define METHODS_MAX 14

struct scene {
	struct world w;
	struct session_id s, t;
	struct bytes x, dir, mine, queued; /* of s: a file, a directory, a lock held, one awaited */
	struct bytes lock;                 /* of t: the lock whose grant guards */
	char sequencer[256];
	uint64_t ticket;
	uint32_t count;
	struct request methods[METHODS_MAX]; /* of s, unnumbered, each of which would succeed */
	struct wire_multi_op op;
};

static struct bytes open_it(struct scene *c, struct session_id s, const char *path, uint64_t number,
			    enum wire_node_kind kind, bool ephemeral)
{
	struct request r = {
		.kind = MESSAGE_OPEN,
		.session = s,
		.open =
			{
				.path = bytes_of_text(path),
				.handle_number = {number},
				.read = true,
				.write = true,
				.change_acl = true,
				.create = WIRE_CREATE_MAY,
				.kind = kind,
				.ephemeral = ephemeral,
			},
	};
	struct reply *a = world_call(&c->w, 0, &r);

	assert_int_equal(a->error, ERROR_OK);
	return a->open.handle;
}

static struct request *method(struct scene *c, enum message_kind kind, struct bytes handle)
{
	struct request *r = &c->methods[c->count++];

	assert_true(c->count <= METHODS_MAX);
	*r = (struct request){.kind = kind, .session = c->s, .handle = handle};
	return r;
}

static void opens(struct scene *c, const char *path, uint64_t number, bool create)
{
	struct request *r = method(c, MESSAGE_OPEN, BYTES_NONE);

	r->open.path = bytes_of_text(path);
	r->open.handle_number.n = number;
	r->open.read = true;
	r->open.create = create ? WIRE_CREATE_MUST : WIRE_CREATE_NEVER;
}

/* The first are answered at once, the others by an entry of the log: returns how many are first. */
static uint32_t methods_fill(struct scene *c)
{
	struct request *r;
	uint32_t reads;

	method(c, MESSAGE_GET_CONTENTS_AND_STAT, c->x);
	method(c, MESSAGE_GET_STAT, c->x);
	method(c, MESSAGE_READ_DIR, c->dir);
	method(c, MESSAGE_WAIT, c->mine);
	opens(c, "/ls/local/x", 50, false);
	reads = c->count;
	opens(c, "/ls/local/new", 51, true);
	opens(c, "/ls/local/ephemeral", 52, false);
	r = method(c, MESSAGE_SET_CONTENTS, c->x);
	r->set_contents.contents = bytes_of_text("new");
	r = method(c, MESSAGE_SET_ACL, c->x);
	r->set_acl.acl[0] = bytes_of_text("somebody");
	r = method(c, MESSAGE_ACQUIRE, c->x);
	r->acquire.mode = WIRE_LOCK_EXCLUSIVE;
	method(c, MESSAGE_CANCEL, c->queued)->cancel.ticket = c->ticket;
	method(c, MESSAGE_RELEASE, c->mine);
	method(c, MESSAGE_DELETE, c->x);
	r = method(c, MESSAGE_MULTI, BYTES_NONE);
	c->op = (struct wire_multi_op){.kind = MULTI_CREATE, .path = bytes_of_text("/ls/local/m")};
	r->multi.count = 1;
	r->multi.ops = &c->op;
	return reads;
}

static void scene_begin(struct scene *c)
{
	struct answer *a;

	memset(c, 0, sizeof(*c));
	world_new(&c->w);
	world_begin(&c->w);
	c->s = world_session(&c->w, 1);
	c->t = world_session(&c->w, 2);
	c->x = open_it(c, c->s, "/ls/local/x", 1, WIRE_NODE_FILE, false);
	c->dir = open_it(c, c->s, "/ls/local/d", 2, WIRE_NODE_DIRECTORY, false);
	c->mine = open_it(c, c->s, "/ls/local/mine", 3, WIRE_NODE_FILE, false);
	c->queued = open_it(c, c->s, "/ls/local/lock", 4, WIRE_NODE_FILE, false);
	open_it(c, c->t, "/ls/local/ephemeral", 2, WIRE_NODE_FILE, true);
	world_acquire(&c->w, 1, c->s, c->mine, 0);
	c->lock = open_it(c, c->t, "/ls/local/lock", 1, WIRE_NODE_FILE, false);
	a = world_answer(&c->w, world_acquire(&c->w, 2, c->t, c->lock, 0));
	assert_true(a->reply.acquire.grant.present);
	memcpy(c->sequencer, a->sequencer, sizeof(c->sequencer));
}

/* What is there, without the revision. */
static uint64_t state_hash(const struct cell *c)
{
	struct row row = {0};
	struct buffer b;
	uint64_t hash;

	buffer_init(&b, (size_t)1 << 20);
	while (cell_row_after(c, &row, &row)) {
		if (row.kind != ROW_META)
			assert_int_equal(codec_encode_row(&row, &b), ERROR_OK);
	}
	hash = bytes_hash(buffer_view(&b));
	buffer_release(&b);
	return hash;
}

/* The guard's lock goes to nobody else: its holder's own lets it go. */
static void lock_let_go(struct scene *c)
{
	struct request r = {.kind = MESSAGE_RELEASE, .session = c->t, .handle = c->lock};

	world_send(&c->w, 2, &r);
}

/* Property: while the grant stands, the sequencer is no hindrance to any method. */
static void a_standing_grant_lets_all_through(void **state)
{
	for (uint32_t i = 0, count = 1; i < count; i++) {
		struct scene c;
		struct reply *a;

		scene_begin(&c);
		c.ticket = world_answer(&c.w, world_acquire(&c.w, 1, c.s, c.queued, 0))
				   ->reply.acquire.ticket;
		methods_fill(&c);
		count = c.count;
		c.methods[i].guard_sequencer = bytes_of_text(c.sequencer);
		a = world_call(&c.w, 1, &c.methods[i]);
		if (a->error != ERROR_OK)
			fail_msg("method %u: %s", i, error_name(a->error));
		world_free(&c.w);
	}
}

/* Property: once the grant is gone, every method of a handle is refused on arrival, and nothing
 * is proposed. Close and the session's own calls go on. */
static void a_lost_grant_stops_all(void **state)
{
	struct request close = {.kind = MESSAGE_CLOSE};
	struct revision before;
	struct scene c;

	scene_begin(&c);
	methods_fill(&c);
	lock_let_go(&c);
	before = cell_meta(c.w.cell)->revision;
	for (uint32_t i = 0; i < c.count; i++) {
		c.methods[i].guard_sequencer = bytes_of_text(c.sequencer);
		assert_int_equal(world_call(&c.w, 1, &c.methods[i])->error,
				 ERROR_SEQUENCER_INVALID);
	}
	assert_int_equal(cell_meta(c.w.cell)->revision.n, before.n);
	close.session = c.s;
	close.handle = c.mine;
	close.guard_sequencer = bytes_of_text(c.sequencer);
	assert_int_equal(world_call(&c.w, 1, &close)->error, ERROR_OK);
	world_free(&c.w);
}

/* Property: a grant that goes between the arrival of a change and its turn in the log takes the
 * change's effect away, whatever it is. */
static void a_grant_lost_in_the_log_stops_changes(void **state)
{
	struct scene c;
	uint32_t first;

	scene_begin(&c);
	first = methods_fill(&c);
	for (uint32_t i = first; i < c.count; i++) {
		struct call_id call;
		struct answer *a;
		uint64_t hash;

		c.methods[i].guard_sequencer = bytes_of_text(c.sequencer);
		if (c.methods[i].kind == MESSAGE_CANCEL) {
			c.ticket = world_answer(&c.w, world_acquire(&c.w, 1, c.s, c.queued, 0))
					   ->reply.acquire.ticket;
			c.methods[i].cancel.ticket = c.ticket;
		}
		c.w.hold = true;
		lock_let_go(&c);
		call = world_send(&c.w, 1, &c.methods[i]);
		assert_null(world_answer(&c.w, call)); /* on arrival it stood */
		assert_int_equal(c.w.log_count, 2);
		world_apply_next(&c.w);
		hash = state_hash(c.w.cell);
		assert_int_equal(world_apply_next(&c.w).error, ERROR_SEQUENCER_INVALID);
		a = world_answer(&c.w, call);
		assert_int_equal(a->reply.error, ERROR_SEQUENCER_INVALID);
		assert_false(a->reply.has_failed_op);
		if (state_hash(c.w.cell) != hash)
			fail_msg("method %u changed something", i);
		world_free(&c.w);
		scene_begin(&c);
		assert_int_equal(methods_fill(&c), first);
	}
	world_free(&c.w);
}

/* Property: what was refused in the log stays refused when it is asked again at the next master,
 * and what was done there is told so, although the grant is gone by then. */
static void repeats_are_not_judged_again(void **state)
{
	struct request set = {.kind = MESSAGE_SET_CONTENTS, .number = 1, .lowest_unanswered = 1};
	struct scene c;

	scene_begin(&c);
	set.session = c.s;
	set.handle = c.x;
	set.guard_sequencer = bytes_of_text(c.sequencer);
	assert_int_equal(world_call(&c.w, 1, &set)->error, ERROR_OK);
	c.w.hold = true;
	lock_let_go(&c);
	set.number = 2;
	world_send(&c.w, 1, &set);
	c.w.hold = false;
	world_take(&c.w);
	world_fail_over(&c.w);
	assert_int_equal(world_call(&c.w, 1, &set)->error, ERROR_SEQUENCER_INVALID);
	set.guard_sequencer = BYTES_NONE; /* the number has its answer */
	assert_int_equal(world_call(&c.w, 1, &set)->error, ERROR_SEQUENCER_INVALID);
	set.number = 1;
	set.guard_sequencer = bytes_of_text(c.sequencer);
	assert_int_equal(world_call(&c.w, 1, &set)->error, ERROR_OK);
	world_free(&c.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_standing_grant_lets_all_through),
		cmocka_unit_test(a_lost_grant_stops_all),
		cmocka_unit_test(a_grant_lost_in_the_log_stops_changes),
		cmocka_unit_test(repeats_are_not_judged_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
