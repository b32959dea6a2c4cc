/* The cell's rows on disk: never ahead of the log, whole or refused; and the log's trimming. */
#include "store_fixture.h"

#include "cell/cell.h"

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

static void expect_load_refused(struct fixture *f)
{
	struct cell *c = NULL;
	char *trouble = NULL;
	struct slot slot;

	assert_int_equal(store_load(f->store, &c, &slot, &trouble), ERROR_STORAGE_CORRUPT);
	assert_non_null(trouble);
	free(trouble);
	assert_null(c);
}

static struct result apply(struct cell *c, struct entry e)
{
	struct outcome outcome;

	cell_apply(c, &e, &outcome);
	return outcome.result;
}

static struct session_id make_session(struct cell *c, const char *who)
{
	struct entry e = {.kind = ENTRY_SESSION_CREATE, .wall_unix_ms = 1800000000000};
	struct result r;

	e.session_create.principal = bytes_of_text(who);
	e.session_create.host = bytes_of_text("host");
	e.session_create.command = bytes_of_text("test");
	e.session_create.lease_ns = 12000000000;
	r = apply(c, e);
	assert_int_equal(r.error, ERROR_OK);
	return r.session;
}

static uint64_t make_file(struct cell *c, struct session_id session, const char *path,
			  const char *contents)
{
	struct entry e = {.kind = ENTRY_NODE_CREATE, .session = session};
	struct result r;

	e.node_create.path = bytes_of_text(path);
	e.node_create.kind = NODE_FILE;
	e.node_create.contents = bytes_of_text(contents);
	r = apply(c, e);
	assert_int_equal(r.error, ERROR_OK);
	return r.instance;
}

static void acquire(struct cell *c, struct session_id session, uint64_t instance)
{
	struct entry e = {.kind = ENTRY_ACQUIRE, .session = session};

	e.acquire.instance = instance;
	e.acquire.handle = (struct handle_id){1};
	e.acquire.mode = LOCK_EXCLUSIVE;
	apply(c, e);
}

static void begin_epoch(struct cell *c)
{
	struct entry e = {.kind = ENTRY_EPOCH};

	e.epoch.master = (struct replica_id){2};
	e.epoch.ballot = ballot_of(1);
	apply(c, e);
}

static void expect_equal(const struct cell *a, const struct cell *b)
{
	assert_int_equal(cell_digest(a).high, cell_digest(b).high);
	assert_int_equal(cell_digest(a).low, cell_digest(b).low);
	assert_int_equal(cell_meta(a)->revision.n, cell_meta(b)->revision.n);
}

static void save(struct fixture *f, struct cell *c, uint64_t slot)
{
	assert_true(store_save_state(f->store, c, (struct slot){slot}));
	WAIT_FOR(f, f->state_persisted.n == slot);
}

/* Genesis gives every replica the same empty cell. */
static void genesis_state_loads(void **state)
{
	struct fixture f;
	struct cell *c;

	fixture_init(&f);
	fixture_genesis(&f);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	c = load(&f, 0);
	assert_int_equal(cell_node_count(c), 1);
	assert_true(bytes_equal(cell_meta(c)->name, bytes_of_text("local")));
	assert_int_equal(cell_meta(c)->handle_key[1], 8);
	cell_free(c);
	fixture_release(&f);
}

/* Nodes, a held and awaited lock, sessions; then changes and deletions in a second save. */
static void state_round_trip(void **state)
{
	struct session_id one, two;
	struct cell *c, *again;
	struct fixture f;
	uint64_t file;

	fixture_init(&f);
	fixture_genesis(&f);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	c = load(&f, 0);
	fixture_start(&f);
	begin_epoch(c);
	one = make_session(c, "one");
	two = make_session(c, "two");
	file = make_file(c, one, "/f", "contents");
	make_file(c, two, "/empty", "");
	acquire(c, one, file);
	acquire(c, two, file);
	fixture_submit(&f, 1, 7, 1, 0);
	save(&f, c, 7);
	fixture_close(&f);

	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	again = load(&f, 7);
	expect_equal(again, c);
	assert_non_null(cell_session(again, two));
	cell_free(c);

	fixture_start(&f);
	apply(again, (struct entry){.kind = ENTRY_SESSION_END,
				    .session = one,
				    .session_end = {SESSION_END_CLOSED}});
	f.number = f.persisted = 0;
	fixture_submit(&f, 8, 8, 1, 0);
	save(&f, again, 8);
	fixture_close(&f);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	c = load(&f, 8);
	expect_equal(again, c);
	assert_null(cell_session(c, one));
	cell_free(c);
	cell_free(again);
	fixture_release(&f);
}

/* State waits for the log: without the slot in the log it is never written. */
static void state_is_never_ahead(void **state)
{
	struct store_counters counters;
	struct paxos_recovered r;
	struct fixture f;
	struct cell *c;

	fixture_init(&f);
	fixture_genesis(&f);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	c = load(&f, 0);
	fixture_start(&f);
	begin_epoch(c);
	assert_true(store_save_state(f.store, c, (struct slot){3}));
	begin_epoch(c);
	assert_false(store_save_state(f.store, c, (struct slot){4})); /* one at a time */
	fixture_submit(&f, 1, 2, 1, 0);
	fixture_wait(&f);
	store_counters(f.store, &counters);
	assert_int_equal(counters.state_commits, 0);
	fixture_close(&f); /* slot 3 never came: the save is dropped */
	assert_int_equal(f.state_persisted.n, 0);
	fixture_memory(&f, &r);
	assert_int_equal(r.applied.n, 0);
	cell_free(c);
	fixture_release(&f);
}

/* A store with a log of `slots` and the state saved at the last one, closed. */
static void make_saved(struct fixture *f, uint64_t slots)
{
	struct cell *c;

	fixture_genesis(f);
	assert_int_equal(fixture_try_open(f, NULL), ERROR_OK);
	c = load(f, 0);
	fixture_start(f);
	begin_epoch(c);
	make_file(c, make_session(c, "one"), "/f", "x");
	fixture_submit(f, 1, slots, 1, 0);
	save(f, c, slots);
	fixture_close(f);
	cell_free(c);
}

/* The acceptor goes on without its state: memory is whole, only loading is refused. */
static void damaged_state_is_refused(void **state)
{
	static const char *const damages[] = {
		"UPDATE rows SET data = zeroblob(length(data)) WHERE kind = 2",
		"UPDATE rows SET key = key + 1 WHERE kind = 4",
		"DELETE FROM rows WHERE kind = 4",
		"DELETE FROM rows WHERE kind = 1",
		"UPDATE meta SET value = zeroblob(32) WHERE key = 'state'",
		"DELETE FROM meta WHERE key = 'state'",
		"DROP TABLE rows",
	};
	struct paxos_recovered r;
	struct fixture f;

	for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		fixture_init(&f);
		make_saved(&f, 5);
		fixture_shell("sqlite3 '%s/state.db' \"%s\"", f.directory, damages[i]);
		assert_int_equal(fixture_memory(&f, &r), PAXOS_MEMORY_WHOLE);
		assert_int_equal(r.newest.n, 5);
		assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
		expect_load_refused(&f);
		fixture_release(&f);
	}
	fixture_init(&f);
	make_saved(&f, 5);
	fixture_shell("rm '%s/state.db'", f.directory);
	assert_int_equal(fixture_memory(&f, &r), PAXOS_MEMORY_WHOLE);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	expect_load_refused(&f);
	fixture_release(&f);
}

/* A flipped bit in state.db's write-ahead log, before synced commits. */
static void damaged_state_wal_is_refused(void **state)
{
	struct fixture f;
	struct cell *c;
	uint8_t *wal;
	size_t size;
	char path[PATH_BYTES];

	fixture_init(&f);
	fixture_genesis(&f);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	c = load(&f, 0);
	fixture_start(&f);
	fixture_submit(&f, 1, 10, 1, 0);
	for (uint64_t i = 1; i <= 8; i++) {
		begin_epoch(c);
		save(&f, c, i);
	}
	cell_free(c);
	fixture_path(&f, "state.db-wal", path);
	wal = file_read(path, &size);
	fixture_shell("cd '%s' && mkdir ../kill && cp log.db log.db-wal state.db promise ../kill",
		      f.directory);
	fixture_close(&f);
	fixture_shell("rm -r '%s' && mv '%s/kill' '%s'", f.directory, f.root, f.directory);
	wal[100] ^= 1;
	file_write(path, wal, size);
	free(wal);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	expect_load_refused(&f);
	fixture_release(&f);
}

/* log.db and promise of an earlier moment under a later state: the log went back. */
static void state_above_the_log_proves_a_loss(void **state)
{
	struct fixture f;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_shell("cp '%s/log.db' '%s/old.db' && cp '%s/promise' '%s/old'", f.directory, f.root,
		      f.directory, f.root);
	fixture_shell("rm -rf '%s'", f.directory);
	make_saved(&f, 5);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	fixture_shell("cp '%s/old.db' '%s/log.db' && cp '%s/old' '%s/promise'", f.root, f.directory,
		      f.root, f.directory);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_LOST);
	fixture_release(&f);
}

/* Writes `slots` slots with the state saved at `saved`, under a store with these limits. */
static void run_trimmed(struct fixture *f, const struct store_options *options, uint64_t slots,
			uint64_t saved, size_t padding)
{
	struct cell *c;

	fixture_genesis(f);
	assert_int_equal(fixture_try_open(f, options), ERROR_OK);
	c = load(f, 0);
	fixture_start(f);
	for (uint64_t i = 1; i <= slots; i += 10) {
		fixture_submit(f, i, i + 9, 1, padding);
		fixture_wait(f);
	}
	begin_epoch(c);
	save(f, c, saved);
	cell_free(c);
}

static uint64_t first_slot(struct fixture *f, uint64_t *ret_count)
{
	struct store_slots slots;
	uint64_t first;

	assert_int_equal(store_read_log(f->store, (struct slot){1}, (struct slot){UINT64_MAX},
					SIZE_MAX, &slots),
			 ERROR_OK);
	assert_true(slots.count > 0);
	first = slots.entries[0].slot.n;
	*ret_count = slots.count;
	store_slots_release(&slots);
	return first;
}

/* Slots within the limit stay, older ones go once the state is durable, and all still verifies. */
static void trimming_keeps_slots(void **state)
{
	struct store_options options = {.keep_slots = 200};
	struct paxos_recovered r;
	struct fixture f;
	uint64_t count;

	fixture_init(&f);
	run_trimmed(&f, &options, 2000, 1900, 0);
	WAIT_FOR(&f, f.trimmed.n >= 1775); /* 1800, less what waits for company */
	assert_true(f.trimmed.n <= 1800);
	assert_int_equal(first_slot(&f, &count), f.trimmed.n + 1);
	assert_int_equal(count, 2000 - f.trimmed.n);
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, &r), PAXOS_MEMORY_WHOLE);
	assert_int_equal(r.durable.trimmed.n, f.trimmed.n);
	assert_true(r.durable.chosen.n >= f.trimmed.n);
	assert_int_equal(r.applied.n, 1900);
	fixture_release(&f);
}

/* Nothing above the state goes, whatever the limits say. */
static void trimming_stops_at_the_state(void **state)
{
	struct store_options options = {.keep_slots = 1, .keep_bytes = 1};
	struct fixture f;
	uint64_t count;

	fixture_init(&f);
	run_trimmed(&f, &options, 300, 120, 0);
	WAIT_FOR(&f, f.trimmed.n == 120);
	assert_int_equal(first_slot(&f, &count), 121);
	fixture_close(&f);
	assert_int_equal(f.trimmed.n, 120);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	fixture_release(&f);
}

static void trimming_keeps_bytes(void **state)
{
	struct store_options options = {.keep_slots = 10000, .keep_bytes = 200 * 1020};
	struct fixture f;
	uint64_t count;

	fixture_init(&f);
	run_trimmed(&f, &options, 1000, 990, 1000); /* 1020 bytes each */
	WAIT_FOR(&f, f.trimmed.n == 800);
	assert_int_equal(first_slot(&f, &count), 801);
	fixture_close(&f);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	fixture_release(&f);
}

/* State older than the trim point cannot be brought up to date from this log. */
static void state_below_the_trim_point_is_refused(void **state)
{
	struct store_options options = {.keep_slots = 10};
	struct fixture f;

	fixture_init(&f);
	fixture_genesis(&f);
	fixture_shell("cp '%s/state.db' '%s/old.db' && rm -rf '%s'", f.directory, f.root,
		      f.directory);
	run_trimmed(&f, &options, 100, 90, 0);
	WAIT_FOR(&f, f.trimmed.n >= 80);
	fixture_close(&f);
	fixture_shell("cp '%s/old.db' '%s/state.db'", f.root, f.directory);
	assert_int_equal(fixture_memory(&f, NULL), PAXOS_MEMORY_WHOLE);
	assert_int_equal(fixture_try_open(&f, NULL), ERROR_OK);
	expect_load_refused(&f);
	fixture_release(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(genesis_state_loads),
		cmocka_unit_test(state_round_trip),
		cmocka_unit_test(state_is_never_ahead),
		cmocka_unit_test(damaged_state_is_refused),
		cmocka_unit_test(damaged_state_wal_is_refused),
		cmocka_unit_test(state_above_the_log_proves_a_loss),
		cmocka_unit_test(trimming_keeps_slots),
		cmocka_unit_test(trimming_stops_at_the_state),
		cmocka_unit_test(trimming_keeps_bytes),
		cmocka_unit_test(state_below_the_trim_point_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
