/* The small records of a replica's directory: what is read is what was written, byte for byte. */
#include "fuzz.h"

#include "store/store_internal.h"

static bool identity(struct bytes b, struct buffer *ret_again)
{
	struct store_identity r;

	if (!record_get_identity(b, &r))
		return false;
	CHECK(r.member_count <= MEMBERS_MAX && strlen(r.cell_name) < STORE_TEXT_MAX_BYTES);
	/* A NUL within a text ends it: then less is written than was read. */
	record_put_identity(ret_again, &r);
	return true;
}

static bool durable(struct bytes b, struct buffer *ret_again)
{
	struct paxos_durable r;

	if (!record_get_durable(b, &r))
		return false;
	CHECK(r.seen_count <= MEMBERS_MAX && r.longest_lease_ns >= 0);
	record_put_durable(ret_again, &r);
	return true;
}

static bool tail(struct bytes b, struct buffer *ret_again)
{
	struct log_tail r;

	if (!record_get_tail(b, &r))
		return false;
	record_put_tail(ret_again, &r);
	return true;
}

static bool mark(struct bytes b, struct buffer *ret_again)
{
	struct state_mark r;

	if (!record_get_mark(b, &r))
		return false;
	record_put_mark(ret_again, &r);
	return true;
}

static bool promise(struct bytes b, struct buffer *ret_again)
{
	struct promise_record r;

	if (!record_get_promise(b, &r))
		return false;
	CHECK(r.longest_lease_ns >= 0 && r.replica.n <= REPLICA_ID_MAX);
	record_put_promise(ret_again, &r);
	return true;
}

static bool (*const readers[])(struct bytes, struct buffer *) = {identity, durable, tail, mark,
								 promise};
#define IDENTITY 0
#define PROMISE 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	uint32_t which = feed_below(&f, sizeof(readers) / sizeof(readers[0]));
	struct bytes b = {f.at, f.left};
	struct buffer once, twice;
	bool good;

	buffer_init(&once, RECORD_MAX_BYTES);
	buffer_init(&twice, RECORD_MAX_BYTES);
	if (readers[which](b, &once)) {
		/* Behind a promise there is the rest of its slot. */
		if (which == PROMISE)
			b.size = once.size;
		CHECK(which == IDENTITY || bytes_equal(buffer_view(&once), b));
		CHECK(once.size <= b.size);
		good = readers[which](buffer_view(&once), &twice);
		CHECK(good && bytes_equal(buffer_view(&once), buffer_view(&twice)));
	}
	buffer_release(&once);
	buffer_release(&twice);
	return 0;
}
