/* Two replicas of one cell, one far ahead, and a snapshot on its way between them. */
#ifndef CHUBBY_TEST_STORE_SNAPSHOT_FIXTURE_H
#define CHUBBY_TEST_STORE_SNAPSHOT_FIXTURE_H

#include "store_fixture.h"

#include "cell/cell.h"

#define SNAPSHOT_SLOT 900
#define PIECE_BYTES 4096

static inline void genesis(struct fixture *f, struct store_identity identity)
{
	char *trouble = NULL;

	fixture_init(f);
	assert_int_equal(store_genesis(f->directory, &identity, &trouble), ERROR_OK);
}

static inline struct store_identity identity_of_sender(void)
{
	struct store_identity identity = identity_make();

	identity.self = identity.members[0].replica;
	identity.incarnation = identity.members[0].incarnation;
	return identity;
}

static inline struct cell *load(struct fixture *f, uint64_t applied)
{
	struct cell *c = NULL;
	char *trouble = NULL;
	struct slot slot;

	assert_int_equal(store_load(f->store, &c, &slot, &trouble), ERROR_OK);
	assert_int_equal(slot.n, applied);
	assert_null(cell_invariants(c));
	return c;
}

static inline struct result apply(struct cell *c, struct entry e)
{
	struct outcome outcome;

	cell_apply(c, &e, &outcome);
	return outcome.result;
}

/* A session, files of some size, and an ephemeral node. */
static inline void live(struct cell *c, int files)
{
	struct entry session = {.kind = ENTRY_SESSION_CREATE, .wall_unix_ms = 1800000000000};
	uint8_t contents[9000];
	struct result r;

	session.session_create.principal = bytes_of_text("one");
	session.session_create.lease_ns = 12000000000;
	r = apply(c, session);
	assert_int_equal(r.error, ERROR_OK);
	for (int i = 0; i < files; i++) {
		struct entry e = {.kind = ENTRY_NODE_CREATE, .session = r.session};
		char path[32];

		snprintf(path, sizeof(path), "/file-%d", i);
		memset(contents, 'a' + i, sizeof(contents));
		e.node_create.path = bytes_of_text(path);
		e.node_create.kind = NODE_FILE;
		e.node_create.ephemeral = i == 0;
		e.node_create.contents = (struct bytes){contents, sizeof(contents)};
		assert_int_equal(apply(c, e).error, ERROR_OK);
	}
}

/* A replica that is far ahead, its state at SNAPSHOT_SLOT; the store is open. */
static inline struct cell *make_sender(struct fixture *f, struct store_identity identity)
{
	struct cell *c;

	genesis(f, identity);
	assert_int_equal(fixture_try_open(f, NULL), ERROR_OK);
	c = load(f, 0);
	fixture_start(f);
	live(c, 20);
	fixture_submit(f, 1, SNAPSHOT_SLOT + 50, 3, 0);
	assert_true(store_save_state(f->store, c, (struct slot){SNAPSHOT_SLOT}));
	WAIT_FOR(f, f->state_persisted.n == SNAPSHOT_SLOT);
	return c;
}

/* One that was away at slot 20 and knows ten as chosen; closed. `ahead`: it has accepted two slots
 * beyond what will come. */
static inline void make_receiver(struct fixture *f, bool ahead)
{
	struct cell *c;

	genesis(f, identity_make());
	assert_int_equal(fixture_try_open(f, NULL), ERROR_OK);
	c = load(f, 0);
	fixture_start(f);
	live(c, 1);
	f->durable.chosen.n = 10;
	fixture_submit(f, 1, 20, 2, 0);
	assert_true(store_save_state(f->store, c, (struct slot){10}));
	WAIT_FOR(f, f->state_persisted.n == 10);
	if (ahead)
		fixture_submit(f, SNAPSHOT_SLOT + 3, SNAPSHOT_SLOT + 4, 5, 0);
	fixture_wait(f);
	fixture_close(f);
	cell_free(c);
}

static inline struct store_image *make_image(struct fixture *sender)
{
	struct store_image *image = NULL;
	char *trouble = NULL;

	assert_int_equal(store_image_make(sender->store, &image, &trouble), ERROR_OK);
	assert_int_equal(store_image_about(image)->slot.n, SNAPSHOT_SLOT);
	assert_true(store_image_about(image)->total_bytes > 20 * PIECE_BYTES);
	return image;
}

static inline void piece(const struct store_image *image, uint64_t offset, struct buffer *ret_data)
{
	buffer_clear(ret_data);
	assert_int_equal(store_image_read(image, offset, PIECE_BYTES, ret_data), ERROR_OK);
}

/* All of it, with the byte at `damage` changed; the receipt is still to be finished. */
static inline struct store_receipt *transfer(struct fixture *receiver,
					     const struct store_image *image,
					     const struct store_snapshot *about, uint64_t damage)
{
	struct store_receipt *r = NULL;
	struct buffer data;
	char *trouble = NULL;

	buffer_init(&data, PIECE_BYTES);
	assert_int_equal(store_receipt_begin(receiver->store, about, &r, &trouble), ERROR_OK);
	while (store_receipt_size(r) < about->total_bytes) {
		uint64_t at = store_receipt_size(r);

		piece(image, at, &data);
		if (damage >= at && damage - at < data.size)
			data.data[damage - at] ^= 0x10;
		assert_int_equal(store_receipt_write(r, at, buffer_view(&data), &trouble),
				 ERROR_OK);
	}
	buffer_release(&data);
	return r;
}

static inline enum error finish(struct store_receipt *r)
{
	char *trouble = NULL;
	enum error e = store_receipt_finish(r, &trouble);

	assert_true((e == ERROR_OK) == (trouble == NULL));
	free(trouble);
	store_receipt_free(r);
	return e;
}

static inline bool there(const struct fixture *f, const char *file)
{
	char path[PATH_BYTES];

	fixture_path(f, file, path);
	return access(path, F_OK) == 0;
}

/* A receiver whose next open will install, as a kill leaves it: its state's last save stands in
 * the write-ahead log. */
static inline struct cell *make_ready(struct fixture *receiver, bool ahead)
{
	struct fixture sender;
	struct cell *c = make_sender(&sender, identity_of_sender()), *old;
	struct store_image *image = make_image(&sender);

	make_receiver(receiver, ahead);
	assert_int_equal(fixture_try_open(receiver, NULL), ERROR_OK);
	old = load(receiver, 10);
	receiver->number = receiver->persisted = 0;
	fixture_start(receiver);
	live(old, 0);
	assert_true(store_save_state(receiver->store, old, (struct slot){15}));
	WAIT_FOR(receiver, receiver->state_persisted.n == 15);
	cell_free(old);
	assert_int_equal(finish(transfer(receiver, image, store_image_about(image), UINT64_MAX)),
			 ERROR_OK);
	fixture_shell("cp -r '%s' '%s/killed'", receiver->directory, receiver->root);
	fixture_close(receiver);
	fixture_shell("rm -r '%s' && mv '%s/killed' '%s'", receiver->directory, receiver->root,
		      receiver->directory);
	assert_true(there(receiver, "snapshot.ready"));
	store_image_free(image);
	fixture_release(&sender);
	return c;
}

static inline void expect_equal(const struct cell *a, const struct cell *b)
{
	assert_int_equal(cell_digest(a).high, cell_digest(b).high);
	assert_int_equal(cell_digest(a).low, cell_digest(b).low);
	assert_int_equal(cell_meta(a)->revision.n, cell_meta(b)->revision.n);
}

/* State and log meet at the snapshot; what this acceptor promised and accepted is all there. */
static inline void expect_installed(struct fixture *f, const struct cell *expected, bool ahead)
{
	struct store_slots slots;
	struct paxos_recovered r;
	struct cell *c;

	assert_int_equal(fixture_memory(f, &r), PAXOS_MEMORY_WHOLE);
	assert_int_equal(r.applied.n, SNAPSHOT_SLOT);
	assert_int_equal(r.durable.chosen.n, SNAPSHOT_SLOT);
	assert_int_equal(r.durable.trimmed.n, SNAPSHOT_SLOT);
	assert_int_equal(r.durable.promised.round, ahead ? 5 : 2);
	assert_int_equal(r.tail_count, ahead ? 2 : 0);
	assert_int_equal(r.newest.n, ahead ? SNAPSHOT_SLOT + 4 : SNAPSHOT_SLOT);
	assert_int_equal(fixture_try_open(f, NULL), ERROR_OK);
	assert_true(store_identity(f->store)->self.n == 2);
	c = load(f, SNAPSHOT_SLOT);
	expect_equal(c, expected);
	cell_free(c);
	assert_int_equal(store_read_log(f->store, (struct slot){1}, (struct slot){UINT64_MAX},
					SIZE_MAX, &slots),
			 ERROR_OK);
	assert_int_equal(slots.count, r.tail_count);
	if (ahead) {
		assert_int_equal(slots.entries[0].slot.n, SNAPSHOT_SLOT + 3);
		assert_int_equal(slots.entries[0].ballot.round, 5);
	}
	store_slots_release(&slots);
	fixture_close(f);
	fixture_shell("test 0 = $(sqlite3 '%s/log.db' "
		      "\"SELECT count(*) FROM meta WHERE key = 'install'\")",
		      f->directory);
	assert_false(there(f, "snapshot.ready"));
	assert_false(there(f, "snapshot.part"));
	assert_false(there(f, "snapshot.part-wal"));
}

static inline void expect_unchanged(struct fixture *f)
{
	struct paxos_recovered r;

	assert_int_equal(fixture_memory(f, &r), PAXOS_MEMORY_WHOLE);
	assert_int_equal(r.applied.n, 10);
	assert_int_equal(r.durable.trimmed.n, 0);
	assert_false(there(f, "snapshot.part"));
}

#endif
