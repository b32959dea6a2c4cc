/*
 * The promise file. Of two slots the newer sound one counts; what is written next is read next.
 *
 *   choice byte: 1 the rest is the whole file, else two records, whose checksums fit unless 2, 4
 */
#include "store_help.h"

#define SLOT_BYTES 4096u

static void prepare(void)
{
	if (fuzz_root[0] == '\0')
		fuzz_root_make();
}

/* A slot with the record that the input gives, and the checksum that fits, or nearly. */
static void put_slot(struct buffer *file, struct feed *f, bool damaged)
{
	uint8_t *slot = buffer_extend(file, SLOT_BYTES);
	struct bytes record = feed_bytes(f, 160);
	uint64_t sum;

	CHECK(slot != NULL);
	memset(slot, 0, SLOT_BYTES);
	if (record.size > 0)
		memcpy(slot, record.data, record.size);
	sum = bytes_hash((struct bytes){slot, SLOT_BYTES - 8}) ^ (damaged ? 1 : 0);
	for (unsigned i = 0; i < 8; i++)
		slot[SLOT_BYTES - 8 + i] = (uint8_t)(sum >> (8 * i));
}

static void check_written(struct promise_file *p)
{
	struct ballot promised = {p->newest.promised.round / 2 + 7, {3}, {1, 2}};
	struct promise_file again;
	char *trouble = NULL;
	uint64_t sequence = p->newest.sequence;
	enum error e;

	/* A sequence that would wrap is none that a replica reaches. */
	if (sequence == UINT64_MAX)
		return;
	e = promise_write(p, promised, 5, &trouble);
	CHECK(e == ERROR_OK);
	e = promise_open(&again, fuzz_root, &trouble);
	CHECK(e == ERROR_OK && again.readable >= 1);
	CHECK(again.newest.sequence == sequence + 1);
	CHECK(ballot_equal(again.newest.promised, promised));
	CHECK(again.newest.longest_lease_ns == 5);
	promise_close(&again);
}

/* No verdict but "lost" for what cannot be ours or is newer than the log. */
static void check_verdict(const struct promise_file *p)
{
	struct store_identity identity = identity_of(2);
	struct paxos_durable durable = {.promised = {4, {1}, {1, 1}}, .longest_lease_ns = 9};
	char *trouble = NULL;
	enum promise_verdict v = promise_compare(p, &identity, &durable, &trouble);

	CHECK((v == PROMISE_LOST) == (trouble != NULL));
	if (v == PROMISE_EQUAL)
		CHECK(ballot_equal(p->newest.promised, durable.promised) &&
		      p->newest.longest_lease_ns == 9);
	if (v == PROMISE_BEHIND)
		CHECK(ballot_compare(p->newest.promised, durable.promised) <= 0 &&
		      p->newest.longest_lease_ns <= 9);
	free(trouble);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	uint8_t choice = feed_byte(&f);
	struct promise_file p;
	char *trouble = NULL;
	struct buffer file;
	enum error e;
	bool fits = true;

	prepare();
	buffer_init(&file, FILE_MAX_BYTES);
	if (choice & 1) {
		fits = buffer_append(&file, feed_bytes(&f, FILE_MAX_BYTES));
	} else {
		put_slot(&file, &f, choice & 2);
		put_slot(&file, &f, choice & 4);
	}
	CHECK(fits);
	file_put(fuzz_root, STORE_FILE_PROMISE, buffer_view(&file));
	e = promise_open(&p, fuzz_root, &trouble);
	CHECK(e == ERROR_OK && p.readable <= 2);
	CHECK((choice & 7) != 6 || p.readable == 0);
	check_verdict(&p);
	if (p.readable > 0)
		check_written(&p);
	promise_close(&p);
	buffer_release(&file);
	return 0;
}
