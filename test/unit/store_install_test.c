/* A snapshot takes the place of the state: log and state meet, and a crash at any step only delays
 * it. */
#include "store_snapshot_fixture.h"

#include <sys/syscall.h>
#include <sys/wait.h>

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
		cmocka_unit_test(outdated_snapshot_is_dropped),
		cmocka_unit_test(snapshot_hides_no_loss),
		cmocka_unit_test(log_from_before_the_install_is_a_loss),
		cmocka_unit_test(crash_at_each_step_of_the_install),
		cmocka_unit_test(crash_again_and_again),
		cmocka_unit_test(crash_at_each_step_of_the_receipt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
