/* Snapshots on their way: what comes in is verified before it counts. */
#include "store_snapshot_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(image_is_of_one_moment),
		cmocka_unit_test(image_holds_the_log),
		cmocka_unit_test(damaged_images_are_refused),
		cmocka_unit_test(damaged_states_are_refused),
		cmocka_unit_test(foreign_snapshots_are_refused),
		cmocka_unit_test(pieces_come_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
