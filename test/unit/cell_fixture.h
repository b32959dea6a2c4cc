/*
 * What the tests of the cell share: one line for each entry, the invariants after each.
 */
#ifndef CHUBBY_TEST_CELL_FIXTURE_H
#define CHUBBY_TEST_CELL_FIXTURE_H

#include "base/check.h"
#include "cell/cell.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNUSED_OK __attribute__((unused))

struct fixture {
	struct cell *cell;
	struct outcome outcome; /* of the last entry */
};

static UNUSED_OK void assert_sound(const struct cell *c)
{
	const char *broken = cell_invariants(c);

	if (broken != NULL)
		fail_msg("revision %llu: %s", (unsigned long long)cell_meta(c)->revision.n, broken);
}

static UNUSED_OK struct result apply(struct fixture *f, const struct entry *e)
{
	uint64_t before = cell_meta(f->cell)->revision.n;

	cell_apply(f->cell, e, &f->outcome);
	assert_sound(f->cell);
	assert_true(cell_meta(f->cell)->revision.n > before);
	return f->outcome.result;
}

static UNUSED_OK struct cell *new_cell(void)
{
	struct cell_genesis genesis = {.cell_id_high = 7,
				       .cell_id_low = 11,
				       .name = bytes_of_text("test"),
				       .handle_key = {1, 2, 3},
				       .wall_unix_ms = 1000};

	return cell_new(&genesis);
}

static UNUSED_OK int fixture_setup(void **state)
{
	struct fixture *f = mem_zalloc(sizeof(*f));
	struct entry epoch = {.kind = ENTRY_EPOCH, .epoch = {.master = {1}}};

	f->cell = new_cell();
	apply(f, &epoch);
	*state = f;
	return 0;
}

static UNUSED_OK int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	cell_free(f->cell);
	free(f);
	return 0;
}

static UNUSED_OK struct epoch now_epoch(const struct fixture *f)
{
	return cell_meta(f->cell)->epoch;
}

/* ---- entries ------------------------------------------------------------------------------- */

static UNUSED_OK struct session_id make_session(struct fixture *f)
{
	struct entry e = {.kind = ENTRY_SESSION_CREATE,
			  .session_create = {.principal = bytes_of_text("alice"),
					     .lease_ns = 12 * NS_PER_S}};
	struct result r = apply(f, &e);

	assert_int_equal(r.error, ERROR_OK);
	assert_int_equal(r.session.n, r.revision.n);
	return r.session;
}

static UNUSED_OK struct result end_session(struct fixture *f, struct session_id s,
					   enum session_end_reason reason)
{
	struct entry e = {.kind = ENTRY_SESSION_END,
			  .session = s,
			  .guard_epoch = now_epoch(f),
			  .session_end = {.reason = reason}};

	return apply(f, &e);
}

struct node_options {
	enum node_kind kind; /* 0: file */
	const char *contents;
	bool ephemeral;
	bool exclusive;
};

static UNUSED_OK struct result create(struct fixture *f, struct session_id s, const char *path,
				      struct node_options o)
{
	struct entry e = {.kind = ENTRY_NODE_CREATE,
			  .session = s,
			  .node_create = {.path = bytes_of_text(path),
					  .kind = o.kind == 0 ? NODE_FILE : o.kind,
					  .ephemeral = o.ephemeral,
					  .exclusive = o.exclusive}};

	if (o.contents != NULL)
		e.node_create.contents = bytes_of_text(o.contents);
	return apply(f, &e);
}

/* A permanent file that nobody made. */
static UNUSED_OK uint64_t make_file(struct fixture *f, const char *path)
{
	struct result r = create(f, (struct session_id){0}, path, (struct node_options){0});

	assert_int_equal(r.error, ERROR_OK);
	assert_true(r.created);
	return r.instance;
}

static UNUSED_OK uint64_t make_directory(struct fixture *f, const char *path)
{
	struct result r = create(f, (struct session_id){0}, path,
				 (struct node_options){.kind = NODE_DIRECTORY});

	assert_int_equal(r.error, ERROR_OK);
	return r.instance;
}

static UNUSED_OK struct result delete_node(struct fixture *f, struct session_id s,
					   uint64_t instance)
{
	struct entry e = {.kind = ENTRY_NODE_DELETE,
			  .session = s,
			  .node_delete = {.instance = instance}};

	return apply(f, &e);
}

static UNUSED_OK struct result write_node(struct fixture *f, uint64_t instance,
					  const char *contents, uint64_t expected)
{
	struct entry e = {.kind = ENTRY_NODE_WRITE,
			  .node_write = {.instance = instance,
					 .expected_generation = expected,
					 .contents = bytes_of_text(contents)}};

	return apply(f, &e);
}

static UNUSED_OK struct result keep_entry(struct fixture *f, enum entry_kind kind,
					  struct session_id s, uint64_t instance)
{
	struct entry e = {.kind = kind, .session = s, .keep = {.instance = instance}};

	return apply(f, &e);
}

static UNUSED_OK struct entry acquire_entry(struct session_id s, uint64_t instance, uint64_t handle,
					    enum lock_mode mode)
{
	return (struct entry){.kind = ENTRY_ACQUIRE,
			      .session = s,
			      .acquire = {.instance = instance,
					  .handle = {handle},
					  .mode = mode,
					  .lock_delay_ns = CELL_LOCK_DELAY_DEFAULT_NS}};
}

static UNUSED_OK struct result acquire(struct fixture *f, struct session_id s, uint64_t instance,
				       uint64_t handle, enum lock_mode mode)
{
	struct entry e = acquire_entry(s, instance, handle, mode);

	return apply(f, &e);
}

static UNUSED_OK struct result try_acquire(struct fixture *f, struct session_id s,
					   uint64_t instance, uint64_t handle, enum lock_mode mode)
{
	struct entry e = acquire_entry(s, instance, handle, mode);

	e.acquire.try_only = true;
	return apply(f, &e);
}

static UNUSED_OK struct result release(struct fixture *f, struct session_id s, uint64_t instance,
				       uint64_t handle)
{
	struct entry e = {.kind = ENTRY_RELEASE,
			  .session = s,
			  .release = {.instance = instance, .handle = {handle}}};

	return apply(f, &e);
}

static UNUSED_OK struct result end_delay(struct fixture *f, uint64_t instance,
					 struct revision began)
{
	struct entry e = {.kind = ENTRY_LOCK_DELAY_END,
			  .guard_epoch = now_epoch(f),
			  .lock_delay_end = {.instance = instance, .began = began}};

	return apply(f, &e);
}

/* ---- looking ------------------------------------------------------------------------------- */

static UNUSED_OK uint32_t count_effects(const struct fixture *f, enum effect_kind kind)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < f->outcome.effect_count; i++)
		count += f->outcome.effects[i].kind == kind;
	return count;
}

/* The nth effect of the kind, from 0; fails the test when there is none. */
static UNUSED_OK const struct effect *effect_at(const struct fixture *f, enum effect_kind kind,
						uint32_t nth)
{
	for (uint32_t i = 0; i < f->outcome.effect_count; i++)
		if (f->outcome.effects[i].kind == kind && nth-- == 0)
			return &f->outcome.effects[i];
	fail_msg("no effect of kind %d", (int)kind);
	CHECK_UNREACHABLE("cmocka left the test");
}

static UNUSED_OK bool holds(const struct fixture *f, uint64_t instance, struct session_id s,
			    uint64_t handle)
{
	return cell_holder(f->cell, instance, s, (struct handle_id){handle}) != NULL;
}

static UNUSED_OK bool waits(const struct fixture *f, uint64_t instance, struct session_id s,
			    uint64_t handle)
{
	return cell_waiter(f->cell, instance, s, (struct handle_id){handle}) != NULL;
}

static UNUSED_OK bool digests_equal(struct digest a, struct digest b)
{
	return a.high == b.high && a.low == b.low;
}

static UNUSED_OK bool results_equal(const struct result *a, const struct result *b)
{
	return a->error == b->error && a->revision.n == b->revision.n &&
	       a->instance == b->instance && a->generation == b->generation &&
	       a->session.n == b->session.n && a->grant.revision.n == b->grant.revision.n &&
	       a->grant.index == b->grant.index && a->token.n == b->token.n &&
	       a->lock_generation == b->lock_generation && a->ticket.n == b->ticket.n &&
	       a->created == b->created && a->kind == b->kind;
}

/* A cell made of the rows of another. */
static UNUSED_OK struct cell *reload(const struct cell *c)
{
	struct cell *copy = cell_load_begin();
	struct row row = {0};
	char *trouble = NULL;

	while (cell_row_after(c, &row, &row))
		assert_int_equal(cell_load_row(copy, &row), ERROR_OK);
	if (cell_load_end(copy, &trouble) != ERROR_OK)
		fail_msg("load: %s", trouble);
	return copy;
}

#endif
