/*
 * cell: random entries. Two cells that apply the same entries stay the same, every invariant
 * holds after each, tokens grow, rows that changed are told, and a cell that is stored and loaded
 * goes on as if nothing had happened.
 */
#include "base/rng.h"
#include "cell_fixture.h"

#define SEEDS 200
#define ENTRIES 2000
#define KEYS (ENTRIES * 8)
#define HANDLES 3

static const char *const paths[] = {"/",    "/a",     "/b",   "/c",      "/a/x",
				    "/a/y", "/a/x/p", "/b/x", "/a/x/p/q"};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

struct run {
	struct rng rng;
	struct cell *cells[2];
	uint64_t newest_token[PATHS]; /* of each path, over all its instances */
	uint64_t stored[5][KEYS]; /* [row kind][key]: fingerprint of the row as stored; 0: none */
	struct multi_op ops[6];
	struct session_mark marks[3];
	uint64_t next_number;
	enum error seen[64]; /* which errors came at all */
	uint64_t counts[ENTRY_KIND_END];
};

static uint64_t below(struct run *r, uint64_t bound)
{
	return rng_below(&r->rng, bound);
}

static bool sometimes(struct run *r, uint32_t percent)
{
	return rng_chance(&r->rng, percent * 10000);
}

/* ---- entries ------------------------------------------------------------------------------- */

/* Mostly one that lives. */
static struct session_id any_session(struct run *r)
{
	const struct session *s = NULL;
	struct session_id at = {0};
	uint64_t skip = below(r, 6);

	if (sometimes(r, 3))
		return (struct session_id){below(r, cell_meta(r->cells[0])->revision.n + 2)};
	for (uint64_t i = 0; i <= skip; i++) {
		const struct session *next = cell_session_after(r->cells[0], at);

		if (next == NULL)
			break;
		s = next;
		at = s->id;
	}
	return at;
}

static struct bytes any_path(struct run *r)
{
	return bytes_of_text(paths[below(r, PATHS)]);
}

static uint64_t any_instance(struct run *r)
{
	const struct node *n = cell_node_at(r->cells[0], any_path(r));

	if (n == NULL || sometimes(r, 2))
		return below(r, cell_meta(r->cells[0])->revision.n + 2);
	return n->instance;
}

static struct handle_id any_handle(struct run *r)
{
	return (struct handle_id){1 + below(r, HANDLES)};
}

static enum lock_mode any_mode(struct run *r)
{
	return sometimes(r, 50) ? LOCK_SHARED : LOCK_EXCLUSIVE;
}

static struct bytes any_contents(struct run *r)
{
	static const char text[] = "some contents of some length";

	return (struct bytes){(const uint8_t *)text, below(r, sizeof(text))};
}

static struct grant any_grant(struct run *r, uint64_t instance)
{
	const struct node *n = cell_node(r->cells[0], instance);

	if (n == NULL || n->lock == NULL || n->lock->holder_count == 0)
		return (struct grant){{below(r, 100)}, 0};
	return n->lock->holders[below(r, n->lock->holder_count)].grant;
}

static void fill_multi(struct run *r, struct entry *e)
{
	e->multi.count = (uint32_t)(1 + below(r, 6));
	e->multi.ops = r->ops;
	for (uint32_t i = 0; i < e->multi.count; i++)
		r->ops[i] = (struct multi_op){
			.kind = (enum multi_kind)(
				MULTI_CREATE - (i == 0 && sometimes(r, 30) ? 1 + below(r, 5) : 0) +
				(i > 0 ? below(r, 5) : 0)),
			.path = any_path(r),
			.number = sometimes(r, 10) ? below(r, 50) : 0,
			.handle = any_handle(r),
			.mode = any_mode(r),
			.node_kind = sometimes(r, 50) ? NODE_FILE : NODE_DIRECTORY,
		};
}

static void fill_lock_entry(struct run *r, struct entry *e)
{
	uint64_t instance = any_instance(r);
	const struct node *n = cell_node(r->cells[0], instance);

	switch (e->kind) {
	case ENTRY_ACQUIRE:
		e->acquire.instance = instance;
		e->acquire.handle = any_handle(r);
		e->acquire.mode = any_mode(r);
		e->acquire.try_only = sometimes(r, 20);
		e->acquire.lock_delay_ns = sometimes(r, 70) ? NS_PER_S * (int64_t)below(r, 70) : 0;
		break;
	case ENTRY_RELEASE:
		e->release.instance = instance;
		e->release.handle = any_handle(r);
		break;
	case ENTRY_CANCEL:
		e->cancel.instance = instance;
		e->cancel.handle = any_handle(r);
		e->cancel.expired = sometimes(r, 50);
		break;
	case ENTRY_LOCK_DELAY_END:
		e->lock_delay_end.instance = instance;
		if (n != NULL && n->lock != NULL)
			e->lock_delay_end.began = n->lock->delay_began;
		break;
	case ENTRY_REVOKE:
		e->revoke.instance = instance;
		e->revoke.grant = any_grant(r, instance);
		break;
	default:
		break;
	}
}

static void fill_node_entry(struct run *r, struct entry *e)
{
	const struct node *n;

	switch (e->kind) {
	case ENTRY_NODE_CREATE:
		e->node_create.path = any_path(r);
		e->node_create.kind = sometimes(r, 40) ? NODE_FILE : NODE_DIRECTORY;
		e->node_create.ephemeral = sometimes(r, 40);
		e->node_create.exclusive = sometimes(r, 20);
		e->node_create.handle = any_handle(r);
		if (e->node_create.kind == NODE_FILE)
			e->node_create.contents = any_contents(r);
		if (sometimes(r, 20))
			e->node_create.acl[below(r, CELL_ACL_NAMES)] = any_path(r);
		break;
	case ENTRY_NODE_DELETE:
		e->node_delete.instance = any_instance(r);
		break;
	case ENTRY_NODE_WRITE:
		e->node_write.instance = any_instance(r);
		e->node_write.expected_generation = sometimes(r, 10) ? below(r, 100) : 0;
		e->node_write.contents = any_contents(r);
		break;
	case ENTRY_NODE_SET_ACL:
		e->node_set_acl.instance = any_instance(r);
		e->node_set_acl.acl[below(r, CELL_ACL_NAMES)] = any_path(r);
		break;
	case ENTRY_NODE_REAP:
		/* Few nodes are ripe for it: found by chance alone, it would hardly be tried. */
		n = cell_reapable_after(r->cells[0], 0);
		e->keep.instance = n != NULL && sometimes(r, 80) ? n->instance : any_instance(r);
		break;
	default:
		e->keep.instance = any_instance(r);
		e->keep.handle = any_handle(r);
		break;
	}
}

static void fill_session_entry(struct run *r, struct entry *e)
{
	switch (e->kind) {
	case ENTRY_SESSION_CREATE:
		e->session_create.principal = any_path(r);
		e->session_create.lease_ns = (int64_t)below(r, 70) * NS_PER_S;
		break;
	case ENTRY_SESSION_END:
		e->session_end.reason = (enum session_end_reason)(1 + below(r, 4));
		break;
	case ENTRY_SESSION_MARK:
	case ENTRY_SESSION_UNMARK:
		e->session_mark.count = (uint32_t)below(r, 4);
		e->session_mark.marks = r->marks;
		for (int i = 0; i < 3; i++)
			r->marks[i] = (struct session_mark){any_session(r), (int64_t)below(r, 99)};
		break;
	case ENTRY_LEASE_RAISE:
		e->lease_raise.lease_ns = (int64_t)below(r, 70) * NS_PER_S;
		break;
	case ENTRY_DIGEST:
		e->digest.revision = cell_meta(r->cells[0])->revision;
		e->digest.digest = cell_digest(r->cells[0]);
		break;
	default:
		break;
	}
}

/* How often each kind comes, in parts of their sum. */
static const uint32_t weights[ENTRY_KIND_END] = {
	[ENTRY_EPOCH] = 1,          [ENTRY_SESSION_CREATE] = 6, [ENTRY_SESSION_END] = 4,
	[ENTRY_NODE_CREATE] = 16,   [ENTRY_NODE_DELETE] = 5,    [ENTRY_NODE_WRITE] = 5,
	[ENTRY_NODE_SET_ACL] = 2,   [ENTRY_KEEP] = 4,           [ENTRY_CLOSE] = 8,
	[ENTRY_NODE_REAP] = 6,      [ENTRY_ACQUIRE] = 30,       [ENTRY_RELEASE] = 18,
	[ENTRY_CANCEL] = 4,         [ENTRY_LOCK_DELAY_END] = 8, [ENTRY_REVOKE] = 2,
	[ENTRY_MULTI] = 10,         [ENTRY_SESSION_MARK] = 2,   [ENTRY_SESSION_UNMARK] = 1,
	[ENTRY_SESSION_CACHES] = 1, [ENTRY_LEASE_RAISE] = 1,    [ENTRY_DIGEST] = 2,
};

static enum entry_kind any_kind(struct run *r)
{
	uint64_t sum = 0, at;
	int kind = 0;

	for (int i = 0; i < ENTRY_KIND_END; i++)
		sum += weights[i];
	for (at = below(r, sum); at >= weights[kind]; kind++)
		at -= weights[kind];
	return (enum entry_kind)kind;
}

static struct entry any_entry(struct run *r)
{
	struct entry e = {.kind = any_kind(r)};
	const struct session *s;

	if (sometimes(r, 90)) {
		e.guard_epoch = cell_meta(r->cells[0])->epoch;
		e.session = any_session(r);
	}
	e.wall_unix_ms = (int64_t)below(r, 100000);
	s = cell_session(r->cells[0], e.session);
	if (s != NULL && sometimes(r, 60)) {
		/* Wide: a number that comes again is mostly another kind's, and refused. */
		e.number = s->lowest_unanswered + below(r, 48);
		e.lowest_unanswered = s->lowest_unanswered + below(r, 12);
	}
	fill_node_entry(r, &e);
	if (e.kind == ENTRY_MULTI)
		fill_multi(r, &e);
	if (e.kind >= ENTRY_ACQUIRE && e.kind <= ENTRY_REVOKE)
		fill_lock_entry(r, &e);
	if (e.kind >= ENTRY_SESSION_MARK || e.kind <= ENTRY_SESSION_END)
		fill_session_entry(r, &e);
	return e;
}

/* ---- what must hold ------------------------------------------------------------------------ */

static void saw_grant(struct run *r, uint64_t instance, uint64_t token, enum lock_mode mode)
{
	const struct node *n = cell_node(r->cells[0], instance);

	for (size_t i = 0; n != NULL && i < PATHS; i++) {
		if (!bytes_equal(n->path, bytes_of_text(paths[i])))
			continue;
		assert_true(mode == LOCK_EXCLUSIVE ? token > r->newest_token[i]
						   : token >= r->newest_token[i]);
		r->newest_token[i] = token;
	}
}

static void check_outcome(struct run *r, const struct entry *e, const struct outcome *o)
{
	const struct result *result = &o->result;

	r->seen[result->error] = result->error;
	r->counts[e->kind] += result->error == ERROR_OK;
	if (o->repeated)
		assert_int_equal(o->effect_count, 0);
	if (e->kind == ENTRY_ACQUIRE && !o->repeated && result->error == ERROR_OK) {
		assert_true((result->ticket.n == 0) == (result->grant.revision.n != 0));
		if (result->ticket.n == 0)
			saw_grant(r, e->acquire.instance, result->token.n, e->acquire.mode);
	}
	for (uint32_t i = 0; i < o->effect_count; i++) {
		const struct effect *f = &o->effects[i];

		assert_int_not_equal(f->kind, EFFECT_DIGEST_DIFFERS);
		if (f->kind != EFFECT_GRANTED)
			continue;
		assert_non_null(cell_session(r->cells[0], f->session));
		assert_non_null(cell_holder(r->cells[0], f->instance, f->session, f->handle));
		assert_int_equal(cell_check_grant(r->cells[0], f->instance, f->mode, f->grant,
						  f->token),
				 ERROR_OK);
		saw_grant(r, f->instance, f->token.n, f->mode);
	}
}

static void check_same(const struct outcome *a, const struct outcome *b)
{
	assert_true(results_equal(&a->result, &b->result));
	assert_int_equal(a->repeated, b->repeated);
	assert_int_equal(a->effect_count, b->effect_count);
	for (uint32_t i = 0; i < a->effect_count; i++) {
		const struct effect *x = &a->effects[i], *y = &b->effects[i];

		/* Effects are zeroed as a whole, so that their padding is equal too. */
		assert_memory_equal(x, y, sizeof(*x));
	}
}

/* ---- rows ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t value)
{
	uint64_t both[2] = {h, value};

	return bytes_hash((struct bytes){(const uint8_t *)both, sizeof(both)});
}

static uint64_t fingerprint(const struct row *row)
{
	uint64_t h = row->kind;

	if (row->kind == ROW_META) {
		h = mix(h, row->meta->revision.n);
	} else if (row->kind == ROW_NODE) {
		h = mix(mix(h, row->node->contents_generation), row->node->acl_generation);
		for (uint32_t i = 0; i < row->node->keeper_count; i++)
			h = mix(mix(h, row->node->keepers[i].session.n),
				row->node->keepers[i].handle.n);
	} else if (row->kind == ROW_LOCK) {
		h = mix(mix(h, row->lock->generation), (uint64_t)row->lock->delay_ns);
		for (uint32_t i = 0; i < row->lock->holder_count; i++)
			h = mix(mix(h, row->lock->holders[i].grant.revision.n), i);
		for (uint32_t i = 0; i < row->lock->waiter_count; i++)
			h = mix(h, row->lock->waiters[i].ticket.n);
	} else {
		h = mix(mix(h, row->session->lowest_unanswered),
			(uint64_t)row->session->mark_left_ns + row->session->caches);
		for (uint32_t i = 0; i < row->session->result_count; i++)
			h = mix(h, row->session->results[i].number);
	}
	return h;
}

/* Writes the rows that changed; then what is stored must be the cell, no more and no less. */
static void store_and_compare(struct run *r)
{
	struct row row = {0}, before = {0};
	uint64_t rows = 0, stored = 0;

	while (cell_dirty_next(r->cells[0], &row)) {
		assert_true(row.kind > before.kind ||
			    (row.kind == before.kind && row.key > before.key));
		before = row;
		assert_true(row.key < KEYS);
		r->stored[row.kind][row.key] = row.deleted ? 0 : fingerprint(&row);
	}
	assert_int_equal(cell_dirty_bytes(r->cells[0]), 0);
	row = (struct row){0};
	while (cell_row_after(r->cells[0], &row, &row)) {
		assert_int_equal(r->stored[row.kind][row.key], fingerprint(&row));
		rows++;
	}
	for (int kind = ROW_META; kind <= ROW_SESSION; kind++)
		for (uint64_t key = 0; key < KEYS; key++)
			stored += r->stored[kind][key] != 0;
	assert_int_equal(rows, stored);
}

static void store_and_load(struct run *r)
{
	struct cell *copy = reload(r->cells[0]);

	assert_true(digests_equal(cell_digest(copy), cell_digest(r->cells[0])));
	assert_int_equal(cell_node_count(copy), cell_node_count(r->cells[0]));
	assert_int_equal(cell_session_count(copy), cell_session_count(r->cells[0]));
	cell_free(r->cells[1]);
	r->cells[1] = copy;
}

static void step(struct run *r)
{
	struct entry e = any_entry(r);
	struct outcome outcomes[2];

	cell_apply(r->cells[0], &e, &outcomes[0]);
	cell_apply(r->cells[1], &e, &outcomes[1]);
	assert_true(digests_equal(cell_digest(r->cells[0]), cell_digest(r->cells[1])));
	check_same(&outcomes[0], &outcomes[1]);
	check_outcome(r, &e, &outcomes[0]);
	assert_sound(r->cells[0]);
}

static void random_entries_keep_two_cells_alike(void **state)
{
	struct run *r = mem_zalloc(sizeof(*r));
	enum error seen[64] = {0};
	uint64_t counts[ENTRY_KIND_END] = {0};

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		memset(r, 0, sizeof(*r));
		rng_init(&r->rng, seed);
		r->cells[0] = new_cell();
		r->cells[1] = new_cell();
		for (int i = 1; i <= ENTRIES; i++) {
			step(r);
			if (i % 250 == 0)
				store_and_load(r);
			if (sometimes(r, 1))
				store_and_compare(r);
		}
		assert_sound(r->cells[1]);
		cell_free(r->cells[0]);
		cell_free(r->cells[1]);
		for (int i = 0; i < 64; i++)
			seen[i] = r->seen[i] != ERROR_OK ? r->seen[i] : seen[i];
		for (int i = 0; i < ENTRY_KIND_END; i++)
			counts[i] += r->counts[i];
	}
	/* The generator reaches what it should: each kind succeeds, these refusals come. */
	for (int i = ENTRY_EPOCH; i < ENTRY_KIND_END; i++)
		if (counts[i] < 100)
			fail_msg("kind %d succeeded only %llu times", i,
				 (unsigned long long)counts[i]);
	static const enum error wanted[] = {
		ERROR_NOT_FOUND,     ERROR_EXISTS,
		ERROR_NOT_EMPTY,     ERROR_NOT_DIRECTORY,
		ERROR_IS_DIRECTORY,  ERROR_GENERATION_MISMATCH,
		ERROR_HANDLE_STALE,  ERROR_LOCK_HELD,
		ERROR_BUSY,          ERROR_ALREADY_HELD,
		ERROR_NOT_HELD,      ERROR_SESSION_EXPIRED,
		ERROR_EPOCH_CHANGED, ERROR_MALFORMED,
		ERROR_GUARD_FAILED,  ERROR_REQUEST_OUT_OF_WINDOW,
		ERROR_WRONG_KIND,
	};
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (seen[wanted[i]] != wanted[i])
			fail_msg("%s never came", error_name(wanted[i]));
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_entries_keep_two_cells_alike),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
