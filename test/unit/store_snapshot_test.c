/* Snapshots: what comes in is verified before it counts, and a crash at any step does no harm. */
#include "store_fixture.h"

#include "cell/cell.h"

#include <sys/syscall.h>
#include <sys/wait.h>

#define SNAPSHOT_SLOT 900
#define PIECE_BYTES 4096
#define EXIT_CRASHED 77
#define INSTALL_STEPS_MIN 8

/* ---- crashes --------------------------------------------------------------------------------
 *
 * Every call with which something becomes durable or visible goes through here, ours and
 * SQLite's, and the process ends before the one that is named.
 */
static int calls_left = -1;

static void maybe_crash(void)
{
	if (calls_left > 0 && --calls_left == 0)
		_exit(EXIT_CRASHED);
}

#define VISIBLE __attribute__((visibility("default")))

VISIBLE int fsync(int fd)
{
	maybe_crash();
	return (int)syscall(SYS_fsync, fd);
}

VISIBLE int fdatasync(int fd)
{
	maybe_crash();
	return (int)syscall(SYS_fdatasync, fd);
}

VISIBLE int rename(const char *from, const char *to)
{
	maybe_crash();
	return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

VISIBLE int unlink(const char *path)
{
	maybe_crash();
	return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Runs `what` in a process that ends before its call number `call`; false if it came through. */
static bool crashes(struct fixture *f, void (*what)(struct fixture *f), int call)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		calls_left = call;
		what(f);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == EXIT_CRASHED);
	return WEXITSTATUS(status) == EXIT_CRASHED;
}

/* ---- two replicas --------------------------------------------------------------------------- */

static void genesis(struct fixture *f, struct store_identity identity)
{
	char *trouble = NULL;

	fixture_init(f);
	assert_int_equal(store_genesis(f->directory, &identity, &trouble), ERROR_OK);
}

static struct store_identity identity_of_sender(void)
{
	struct store_identity identity = identity_make();

	identity.self = identity.members[0].replica;
	identity.incarnation = identity.members[0].incarnation;
	return identity;
}

static struct cell *load(struct fixture *f, uint64_t applied)
{
	struct cell *c = NULL;
	char *trouble = NULL;
	struct slot slot;

	assert_int_equal(store_load(f->store, &c, &slot, &trouble), ERROR_OK);
	assert_int_equal(slot.n, applied);
	assert_null(cell_invariants(c));
	return c;
}

static struct result apply(struct cell *c, struct entry e)
{
	struct outcome outcome;

	cell_apply(c, &e, &outcome);
	return outcome.result;
}

/* A session, files of some size, and an ephemeral node. */
static void live(struct cell *c, int files)
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
static struct cell *make_sender(struct fixture *f, struct store_identity identity)
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
static void make_receiver(struct fixture *f, bool ahead)
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

static struct store_image *make_image(struct fixture *sender)
{
	struct store_image *image = NULL;
	char *trouble = NULL;

	assert_int_equal(store_image_make(sender->store, &image, &trouble), ERROR_OK);
	assert_int_equal(store_image_about(image)->slot.n, SNAPSHOT_SLOT);
	assert_true(store_image_about(image)->total_bytes > 20 * PIECE_BYTES);
	return image;
}

static void piece(const struct store_image *image, uint64_t offset, struct buffer *ret_data)
{
	buffer_clear(ret_data);
	assert_int_equal(store_image_read(image, offset, PIECE_BYTES, ret_data), ERROR_OK);
}

/* All of it, with the byte at `damage` changed; the receipt is still to be finished. */
static struct store_receipt *transfer(struct fixture *receiver, const struct store_image *image,
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

static enum error finish(struct store_receipt *r)
{
	char *trouble = NULL;
	enum error e = store_receipt_finish(r, &trouble);

	assert_true((e == ERROR_OK) == (trouble == NULL));
	free(trouble);
	store_receipt_free(r);
	return e;
}

static bool there(const struct fixture *f, const char *file)
{
	char path[PATH_BYTES];

	fixture_path(f, file, path);
	return access(path, F_OK) == 0;
}

/* A receiver whose next open will install, as a kill leaves it: its state's last save stands in
 * the write-ahead log. */
static struct cell *make_ready(struct fixture *receiver, bool ahead)
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

static void expect_equal(const struct cell *a, const struct cell *b)
{
	assert_int_equal(cell_digest(a).high, cell_digest(b).high);
	assert_int_equal(cell_digest(a).low, cell_digest(b).low);
	assert_int_equal(cell_meta(a)->revision.n, cell_meta(b)->revision.n);
}

/* State and log meet at the snapshot; what this acceptor promised and accepted is all there. */
static void expect_installed(struct fixture *f, const struct cell *expected, bool ahead)
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

static void expect_unchanged(struct fixture *f)
{
	struct paxos_recovered r;

	assert_int_equal(fixture_memory(f, &r), PAXOS_MEMORY_WHOLE);
	assert_int_equal(r.applied.n, 10);
	assert_int_equal(r.durable.trimmed.n, 0);
	assert_false(there(f, "snapshot.part"));
}

/* ---- tests ---------------------------------------------------------------------------------- */

/* The whole way; and the store works on with it, saves and trims. */
static void snapshot_is_installed(void **state)
{
	struct store_options options = {.keep_slots = 20};
	struct fixture f;
	struct cell *expected = make_ready(&f, true), *c;

	expect_installed(&f, expected, true);
	assert_int_equal(fixture_try_open(&f, &options), ERROR_OK);
	c = load(&f, SNAPSHOT_SLOT);
	f.number = f.persisted = 0;
	fixture_start(&f);
	fixture_submit(&f, SNAPSHOT_SLOT + 1, SNAPSHOT_SLOT + 100, 6, 0);
	apply(c, (struct entry){.kind = ENTRY_EPOCH, .epoch = {.master = {2}}});
	assert_true(store_save_state(f.store, c, (struct slot){SNAPSHOT_SLOT + 90}));
	WAIT_FOR(&f, f.trimmed.n > SNAPSHOT_SLOT + 70);
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	cell_free(load(&f, SNAPSHOT_SLOT + 90));
	cell_free(c);
	cell_free(expected);
	fixture_release(&f);
}

/* An image is of one moment: what its replica writes later does not touch it, and it leaves
 * nothing in the directory. */
static void image_is_of_one_moment(void **state)
{
	struct fixture sender, receiver;
	struct cell *c = make_sender(&sender, identity_of_sender());
	struct store_image *image = make_image(&sender);
	struct buffer data;

	assert_false(there(&sender, "snapshot.tmp"));
	live(c, 0);
	assert_true(store_save_state(sender.store, c, (struct slot){SNAPSHOT_SLOT + 20}));
	WAIT_FOR(&sender, sender.state_persisted.n == SNAPSHOT_SLOT + 20);
	make_receiver(&receiver, true);
	assert_int_equal(fixture_try_open(&receiver, NULL), ERROR_OK);
	assert_int_equal(finish(transfer(&receiver, image, store_image_about(image), UINT64_MAX)),
			 ERROR_OK);
	buffer_init(&data, PIECE_BYTES);
	assert_int_equal(store_image_read(image, store_image_about(image)->total_bytes + 1, 1,
					  &data),
			 ERROR_INVALID_ARGUMENT);
	buffer_release(&data);
	store_image_free(image);
	fixture_release(&receiver);
	fixture_release(&sender);
	cell_free(c);
}

/* Snapshot and log meet: while the image lives, the slots above it stay, whatever the limits. */
static void image_holds_the_log(void **state)
{
	struct store_options options = {.keep_slots = 10};
	struct fixture f;
	struct cell *c;
	struct store_image *image = NULL;
	struct store_slots slots;
	char *trouble = NULL;

	genesis(&f, identity_of_sender());
	assert_int_equal(fixture_try_open(&f, &options), ERROR_OK);
	c = load(&f, 0);
	fixture_start(&f);
	live(c, 20);
	fixture_submit(&f, 1, 100, 3, 0);
	assert_true(store_save_state(f.store, c, (struct slot){100}));
	WAIT_FOR(&f, f.trimmed.n >= 88);
	assert_int_equal(store_image_make(f.store, &image, &trouble), ERROR_OK);
	for (uint64_t slot = 200; slot <= 600; slot += 100) {
		fixture_submit(&f, slot - 99, slot, 3, 0);
		live(c, 0);
		WAIT_FOR(&f, f.persisted == f.number);
		assert_true(store_save_state(f.store, c, (struct slot){slot}));
		WAIT_FOR(&f, f.state_persisted.n == slot);
	}
	assert_true(f.trimmed.n <= store_image_about(image)->slot.n);
	assert_int_equal(store_read_log(f.store, slot_next(store_image_about(image)->slot),
					(struct slot){UINT64_MAX}, SIZE_MAX, &slots),
			 ERROR_OK);
	assert_int_equal(slots.count, 500);
	store_slots_release(&slots);
	store_image_free(image);
	WAIT_FOR(&f, f.trimmed.n >= 588);
	fixture_release(&f);
	cell_free(c);
}

/* A byte that changed on the way, wherever it is: refused, and the state that was stays. */
static void damaged_images_are_refused(void **state)
{
	struct fixture sender, receiver;
	struct cell *c = make_sender(&sender, identity_of_sender());
	struct store_image *image = make_image(&sender);
	const struct store_snapshot *about = store_image_about(image);

	make_receiver(&receiver, true);
	assert_int_equal(fixture_try_open(&receiver, NULL), ERROR_OK);
	for (uint64_t at = 0; at < about->total_bytes; at += about->total_bytes / 23)
		assert_int_equal(finish(transfer(&receiver, image, about, at)),
				 ERROR_STORAGE_CORRUPT);
	assert_false(there(&receiver, "snapshot.ready"));
	fixture_close(&receiver);
	expect_unchanged(&receiver);
	store_image_free(image);
	fixture_release(&receiver);
	fixture_release(&sender);
	cell_free(c);
}

/* A sender's damaged state, copied faithfully: rows and digest tell. */
static void damaged_states_are_refused(void **state)
{
	static const char *const damages[] = {
		"UPDATE rows SET data = zeroblob(length(data)) WHERE kind = 2",
		"DELETE FROM rows WHERE kind = 4",
		"DELETE FROM rows WHERE kind = 2 AND key = (SELECT max(key) FROM rows WHERE "
		"kind = 2)",
		"UPDATE rows SET key = key + 1 WHERE kind = 4",
		"DROP TABLE rows",
		"PRAGMA user_version = 0",
		"CREATE TRIGGER t AFTER UPDATE ON meta BEGIN DELETE FROM rows; END",
		"CREATE VIEW v AS SELECT * FROM rows",
	};
	struct fixture receiver;

	make_receiver(&receiver, true);
	assert_int_equal(fixture_try_open(&receiver, NULL), ERROR_OK);
	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		struct fixture sender;
		struct cell *c = make_sender(&sender, identity_of_sender());
		struct store_image *image;

		fixture_close(&sender);
		assert_int_equal(fixture_try_open(&sender, NULL), ERROR_OK);
		fixture_shell("sqlite3 '%s/state.db' \"%s\"", sender.directory, damages[i]);
		image = make_image(&sender);
		assert_int_equal(finish(transfer(&receiver, image, store_image_about(image),
						 UINT64_MAX)),
				 ERROR_STORAGE_CORRUPT);
		store_image_free(image);
		fixture_release(&sender);
		cell_free(c);
	}
	fixture_close(&receiver);
	expect_unchanged(&receiver);
	fixture_release(&receiver);
}

/* Another cell's state is none of ours, and neither is one of another slot than announced. */
static void foreign_snapshots_are_refused(void **state)
{
	struct store_identity foreign = identity_of_sender();
	struct fixture sender, receiver;
	struct store_receipt *r;
	struct store_snapshot about;
	struct store_image *image;
	char *trouble = NULL;
	struct cell *c;

	make_receiver(&receiver, true);
	assert_int_equal(fixture_try_open(&receiver, NULL), ERROR_OK);
	foreign.cell_id_low++;
	c = make_sender(&sender, foreign);
	image = make_image(&sender);
	r = transfer(&receiver, image, store_image_about(image), UINT64_MAX);
	assert_int_equal(store_receipt_finish(r, &trouble), ERROR_STORAGE_CORRUPT);
	assert_non_null(strstr(trouble, "another cell"));
	free(trouble);
	store_receipt_free(r);
	store_image_free(image);
	fixture_release(&sender);
	cell_free(c);

	c = make_sender(&sender, identity_of_sender());
	image = make_image(&sender);
	about = *store_image_about(image);
	about.slot.n++;
	assert_int_equal(finish(transfer(&receiver, image, &about, UINT64_MAX)),
			 ERROR_STORAGE_CORRUPT);
	store_image_free(image);
	fixture_release(&sender);
	cell_free(c);
	assert_false(there(&receiver, "snapshot.ready"));
	fixture_release(&receiver);
}

/* Pieces in another order, twice, beyond the end, or not all of them. */
static void pieces_come_in_order(void **state)
{
	struct fixture sender, receiver;
	struct cell *c = make_sender(&sender, identity_of_sender());
	struct store_image *image = make_image(&sender);
	const struct store_snapshot *about = store_image_about(image);
	struct store_snapshot small = *about;
	struct store_receipt *r = NULL;
	struct buffer data;
	char *trouble = NULL;

	make_receiver(&receiver, true);
	assert_int_equal(fixture_try_open(&receiver, NULL), ERROR_OK);
	buffer_init(&data, PIECE_BYTES);
	assert_int_equal(store_receipt_begin(receiver.store, about, &r, &trouble), ERROR_OK);
	piece(image, PIECE_BYTES, &data);
	assert_int_equal(store_receipt_write(r, PIECE_BYTES, buffer_view(&data), &trouble),
			 ERROR_INVALID_ARGUMENT);
	free(trouble);
	piece(image, 0, &data);
	assert_int_equal(store_receipt_write(r, 0, buffer_view(&data), &trouble), ERROR_OK);
	assert_int_equal(store_receipt_write(r, 0, buffer_view(&data), &trouble),
			 ERROR_INVALID_ARGUMENT);
	free(trouble);
	assert_int_equal(finish(r), ERROR_STORAGE_CORRUPT);

	small.total_bytes = PIECE_BYTES - 1;
	assert_int_equal(store_receipt_begin(receiver.store, &small, &r, &trouble), ERROR_OK);
	assert_int_equal(store_receipt_write(r, 0, buffer_view(&data), &trouble),
			 ERROR_INVALID_ARGUMENT);
	free(trouble);
	store_receipt_free(r);
	small.total_bytes = UINT64_MAX;
	trouble = NULL;
	assert_int_equal(store_receipt_begin(receiver.store, &small, &r, &trouble),
			 ERROR_STORAGE_FULL);
	free(trouble);
	assert_false(there(&receiver, "snapshot.part"));
	buffer_release(&data);
	store_image_free(image);
	fixture_release(&receiver);
	fixture_release(&sender);
	cell_free(c);
}

/* A replica that got further by itself meanwhile keeps its state, and the snapshot goes. */
static void outdated_snapshot_is_dropped(void **state)
{
	struct paxos_recovered r;
	struct fixture f;
	struct cell *expected = make_ready(&f, true);

	fixture_shell("mv '%s/snapshot.ready' '%s/kept'", f.directory, f.root);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	fixture_start(&f);
	f.number = f.persisted = 0;
	f.durable.chosen.n = SNAPSHOT_SLOT;
	fixture_submit(&f, 21, SNAPSHOT_SLOT + 2, 5, 0);
	fixture_wait(&f);
	fixture_close(&f);
	fixture_shell("mv '%s/kept' '%s/snapshot.ready'", f.root, f.directory);
	assert_int_equal(fixture_memory(&f, &r), PAXOS_MEMORY_WHOLE);
	assert_int_equal(r.applied.n, 15);
	assert_int_equal(r.durable.trimmed.n, 0);
	assert_int_equal(r.durable.chosen.n, SNAPSHOT_SLOT);
	assert_false(there(&f, "snapshot.ready"));
	cell_free(expected);
	fixture_release(&f);
}

/* An old state above the log proves that the log went back: no snapshot may cover that. */
static void snapshot_hides_no_loss(void **state)
{
	struct fixture f, blank;
	struct cell *expected = make_ready(&f, true);

	genesis(&blank, identity_make());
	fixture_shell("cd '%s' && rm -f log.db-wal log.db-shm && cp '%s/log.db' '%s/promise' .",
		      f.directory, blank.directory, blank.directory);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
	assert_true(there(&f, "snapshot.ready"));
	cell_free(expected);
	fixture_release(&blank);
	fixture_release(&f);
}

/* A state above the log is the install's only while log.db says so: an older log went back. */
static void log_from_before_the_install_is_a_loss(void **state)
{
	struct fixture f;
	struct cell *expected = make_ready(&f, false);

	fixture_shell("cd '%s' && mkdir ../old && cp log.db* ../old", f.directory);
	expect_installed(&f, expected, false);
	fixture_shell("cd '%s' && rm -f log.db-wal log.db-shm && cp ../old/* .", f.directory);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
	cell_free(expected);
	fixture_release(&f);
}

static void open_and_close(struct fixture *f)
{
	char *trouble = NULL;

	if (store_open(f->directory, NULL, &f->store, &trouble) != ERROR_OK)
		_exit(1);
	store_close(f->store);
}

/* Ends before each call in turn, each time from the same beginning; the next open finishes. */
static void crash_at_each_step_of_the_install(void **state)
{
	for (int ahead = 0; ahead < 2; ahead++) {
		struct fixture f;
		struct cell *expected = make_ready(&f, ahead);
		int call = 1;

		fixture_shell("cp -r '%s' '%s/start'", f.directory, f.root);
		for (; crashes(&f, open_and_close, call); call++) {
			expect_installed(&f, expected, ahead);
			fixture_shell("rm -r '%s' && cp -r '%s/start' '%s'", f.directory, f.root,
				      f.directory);
		}
		assert_true(call > INSTALL_STEPS_MIN);
		cell_free(expected);
		fixture_release(&f);
	}
}

/* One crash after the other: as soon as a start comes through, all is done. */
static void crash_again_and_again(void **state)
{
	struct fixture f;
	struct cell *expected = make_ready(&f, false);

	fixture_shell("cp -r '%s' '%s/start'", f.directory, f.root);
	for (int first = 1; first <= 12; first++) {
		for (int call = first; crashes(&f, open_and_close, call); call++)
			continue;
		expect_installed(&f, expected, false);
		fixture_shell("rm -r '%s' && cp -r '%s/start' '%s'", f.directory, f.root,
			      f.directory);
	}
	cell_free(expected);
	fixture_release(&f);
}

/* What a process that receives does: the image comes from a directory of pieces. */
static struct store_image *image_to_take;

static void receive(struct fixture *f)
{
	struct store_receipt *r = NULL;
	char *trouble = NULL;
	struct buffer data;
	int calls = calls_left;

	calls_left = -1; /* the open is not what is tried here */
	if (store_open(f->directory, NULL, &f->store, &trouble) != ERROR_OK)
		_exit(1);
	calls_left = calls;
	buffer_init(&data, PIECE_BYTES);
	if (store_receipt_begin(f->store, store_image_about(image_to_take), &r, &trouble) !=
	    ERROR_OK)
		_exit(1);
	while (store_receipt_size(r) < store_image_about(image_to_take)->total_bytes) {
		buffer_clear(&data);
		if (store_image_read(image_to_take, store_receipt_size(r), PIECE_BYTES, &data) !=
			    ERROR_OK ||
		    store_receipt_write(r, store_receipt_size(r), buffer_view(&data), &trouble) !=
			    ERROR_OK)
			_exit(1);
	}
	if (store_receipt_finish(r, &trouble) != ERROR_OK)
		_exit(1);
	calls_left = -1;
}

/* Before it has its name nothing has changed; with its name it is installed. */
static void crash_at_each_step_of_the_receipt(void **state)
{
	struct fixture sender, f;
	struct cell *expected = make_sender(&sender, identity_of_sender());
	int unchanged = 0, installed = 0;

	/* Without threads, since a process with threads must not fork. */
	fixture_close(&sender);
	assert_int_equal(fixture_try_open(&sender, NULL), ERROR_OK);
	image_to_take = make_image(&sender);
	make_receiver(&f, true);
	fixture_shell("cp -r '%s' '%s/start'", f.directory, f.root);
	for (int call = 1; crashes(&f, receive, call); call++) {
		if (there(&f, "snapshot.ready")) {
			expect_installed(&f, expected, true);
			installed++;
		} else {
			expect_unchanged(&f);
			unchanged++;
		}
		fixture_shell("rm -r '%s' && cp -r '%s/start' '%s'", f.directory, f.root,
			      f.directory);
	}
	assert_true(unchanged > 5 && installed > 0);
	store_image_free(image_to_take);
	fixture_release(&f);
	fixture_release(&sender);
	cell_free(expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(snapshot_is_installed),
		cmocka_unit_test(image_is_of_one_moment),
		cmocka_unit_test(image_holds_the_log),
		cmocka_unit_test(damaged_images_are_refused),
		cmocka_unit_test(damaged_states_are_refused),
		cmocka_unit_test(foreign_snapshots_are_refused),
		cmocka_unit_test(pieces_come_in_order),
		cmocka_unit_test(outdated_snapshot_is_dropped),
		cmocka_unit_test(snapshot_hides_no_loss),
		cmocka_unit_test(log_from_before_the_install_is_a_loss),
		cmocka_unit_test(crash_at_each_step_of_the_install),
		cmocka_unit_test(crash_again_and_again),
		cmocka_unit_test(crash_at_each_step_of_the_receipt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
