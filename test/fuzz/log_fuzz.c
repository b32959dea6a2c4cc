/*
 * A log.db of any content, or any write-ahead log beside a sound one: the store opens and tells
 * what its memory is worth. What it calls whole can be read to its end.
 *
 *   choice byte: 1 the rest is the whole file (else patches), 2 the rest is the write-ahead log
 */
#include "store_help.h"

#define ROWS 5

static char directory[96];
static struct buffer template_file, state_file, promise_file; /* owned */

/* A log with some slots of which two are chosen, as a replica leaves it. */
static struct buffer log_template(void)
{
	struct store s = {.identity = identity_of(2)};
	struct value *v = value_noop();
	struct log_tail tail = {{0}, {0}, 0, 0, 0};
	struct paxos_durable durable = {.promised = {4, {1}, {1, 1}}, .chosen = {2}};
	char *trouble = NULL;
	enum error e = db_create(fuzz_root, "template-log.db", STORE_APPLICATION_LOG, &s.identity,
				 &s.log.db, &trouble);
	int rc;

	CHECK(e == ERROR_OK);
	rc = log_prepare(&s.log);
	for (uint64_t slot = 1; rc == SQLITE_OK && slot <= ROWS; slot++) {
		struct paxos_accepted a = {{slot}, durable.promised, v};

		rc = log_put_row(&s, &a, &tail);
	}
	CHECK(rc == SQLITE_OK);
	rc = log_put_meta(&s, &durable, &tail);
	CHECK(rc == SQLITE_OK);
	log_finalize(&s.log);
	db_close(s.log.db, true);
	value_unref(v);
	return file_get(fuzz_root, "template-log.db");
}

static void prepare(void)
{
	struct store_identity identity = identity_of(2);
	char *trouble = NULL;
	enum error e;

	if (directory[0] != '\0')
		return;
	fuzz_root_make();
	snprintf(directory, sizeof(directory), "%s/replica", fuzz_root);
	e = store_genesis(directory, &identity, &trouble);
	CHECK(e == ERROR_OK);
	state_file = file_get(directory, STORE_FILE_STATE);
	promise_file = file_get(directory, STORE_FILE_PROMISE);
	template_file = log_template();
}

/* All slots that are there; the count. */
static uint32_t read_all(struct store *s, enum paxos_memory memory)
{
	struct store_slots slots = {0};
	uint64_t last = 0;
	uint32_t count;
	enum error e = store_read_log(s, (struct slot){1}, (struct slot){UINT64_MAX}, SIZE_MAX,
				      &slots);

	CHECK(e == ERROR_OK || memory == PAXOS_MEMORY_LOST);
	if (e != ERROR_OK)
		return 0;
	for (uint32_t i = 0; i < slots.count; i++) {
		CHECK(slots.entries[i].slot.n > last && slots.entries[i].value != NULL);
		last = slots.entries[i].slot.n;
	}
	count = slots.count;
	store_slots_release(&slots);
	return count;
}

static void check_opened(struct store *s)
{
	struct paxos_recovered r;
	char *trouble = NULL;
	enum error e = store_recover(s, &r, &trouble);
	uint64_t last;

	CHECK(e == ERROR_OK);
	CHECK((r.memory == PAXOS_MEMORY_WHOLE) == (trouble == NULL));
	CHECK(r.durable.seen_count <= MEMBERS_MAX && r.durable.longest_lease_ns >= 0);
	last = r.durable.chosen.n;
	for (uint32_t i = 0; i < r.tail_count; i++) {
		CHECK(r.tail[i].slot.n > last && r.tail[i].slot.n <= r.newest.n);
		CHECK(!ballot_less(r.durable.promised, r.tail[i].ballot));
		last = r.tail[i].slot.n;
		value_unref(r.tail[i].value);
	}
	CHECK(read_all(s, r.memory) >= r.tail_count);
	free(r.tail);
	free(trouble);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	uint8_t choice = feed_byte(&f);
	struct bytes wal = BYTES_NONE;
	struct store *s = NULL;
	char *trouble = NULL;
	struct buffer file;

	prepare();
	if (choice & 2)
		wal = feed_bytes(&f, FILE_MAX_BYTES);
	file = patched(&template_file, &f, choice & 1 && !(choice & 2));
	store_unlink(directory, STORE_FILE_LOG);
	store_unlink(directory, STORE_FILE_STATE);
	file_put(directory, STORE_FILE_LOG, buffer_view(&file));
	file_put(directory, STORE_FILE_STATE, buffer_view(&state_file));
	file_put(directory, STORE_FILE_PROMISE, buffer_view(&promise_file));
	if (choice & 2)
		file_put(directory, STORE_FILE_LOG "-wal", wal);
	if (store_open(directory, NULL, &s, &trouble) == ERROR_OK) {
		CHECK(trouble == NULL);
		check_opened(s);
		store_close(s);
	} else {
		CHECK(trouble != NULL && trouble[0] != '\0');
	}
	free(trouble);
	buffer_release(&file);
	return 0;
}
