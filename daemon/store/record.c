/* The stored form of the small records: little-endian numbers, texts with a length before them. */
#include "store_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void put_u64(struct buffer *b, uint64_t n)
{
	uint8_t *at = buffer_extend(b, 8);

	CHECK(at != NULL);
	for (unsigned i = 0; i < 8; i++)
		at[i] = (uint8_t)(n >> (8 * i));
}

static void put_text(struct buffer *b, const char *text)
{
	struct bytes bytes = {(const uint8_t *)text, strnlen(text, STORE_TEXT_MAX_BYTES - 1)};
	bool fits;

	put_u64(b, bytes.size);
	fits = buffer_append(b, bytes);
	CHECK(fits);
}

static void put_incarnation(struct buffer *b, struct incarnation i)
{
	put_u64(b, i.high);
	put_u64(b, i.low);
}

static void put_ballot(struct buffer *b, struct ballot ballot)
{
	put_u64(b, ballot.round);
	put_u64(b, ballot.replica.n);
	put_incarnation(b, ballot.incarnation);
}

/* Reads on after the first failure give zeros; get_end() tells whether there was one. */
struct cursor {
	struct bytes left;
	bool failed;
};

static uint64_t get_u64(struct cursor *c)
{
	uint64_t n = 0;

	if (c->failed || c->left.size < 8) {
		c->failed = true;
		return 0;
	}
	for (unsigned i = 0; i < 8; i++)
		n |= (uint64_t)c->left.data[i] << (8 * i);
	c->left.data += 8;
	c->left.size -= 8;
	return n;
}

static uint64_t get_at_most(struct cursor *c, uint64_t most)
{
	uint64_t n = get_u64(c);

	if (n > most) {
		c->failed = true;
		return 0;
	}
	return n;
}

/* `ret_text` is zeroed and has STORE_TEXT_MAX_BYTES. */
static void get_text(struct cursor *c, char *ret_text)
{
	size_t size = get_at_most(c, STORE_TEXT_MAX_BYTES - 1);

	if (c->failed || size > c->left.size) {
		c->failed = true;
		return;
	}
	memcpy(ret_text, c->left.data, size);
	c->left.data += size;
	c->left.size -= size;
}

static struct replica_id get_replica(struct cursor *c)
{
	return (struct replica_id){(uint32_t)get_at_most(c, REPLICA_ID_MAX)};
}

static struct incarnation get_incarnation(struct cursor *c)
{
	struct incarnation i;

	i.high = get_u64(c);
	i.low = get_u64(c);
	return i;
}

static struct ballot get_ballot(struct cursor *c)
{
	struct ballot b;

	b.round = get_u64(c);
	b.replica = get_replica(c);
	b.incarnation = get_incarnation(c);
	return b;
}

static bool get_end(const struct cursor *c)
{
	return !c->failed && c->left.size == 0;
}

void record_put_identity(struct buffer *b, const struct store_identity *identity)
{
	struct bytes key = {identity->handle_key, sizeof(identity->handle_key)};
	bool fits;

	put_u64(b, identity->cell_id_high);
	put_u64(b, identity->cell_id_low);
	put_text(b, identity->cell_name);
	fits = buffer_append(b, key);
	CHECK(fits);
	put_u64(b, (uint64_t)identity->created_unix_ms);
	put_u64(b, identity->self.n);
	put_incarnation(b, identity->incarnation);
	CHECK(identity->member_count <= MEMBERS_MAX);
	put_u64(b, identity->member_count);
	for (uint32_t i = 0; i < identity->member_count; i++) {
		const struct store_member *m = &identity->members[i];

		put_u64(b, m->replica.n);
		put_incarnation(b, m->incarnation);
		put_text(b, m->address);
		put_text(b, m->peer_address);
		put_text(b, m->web_address);
	}
}

bool record_get_identity(struct bytes b, struct store_identity *ret_identity)
{
	struct cursor c = {b, false};
	struct store_identity identity = {0};
	const size_t key_size = sizeof(identity.handle_key);

	identity.cell_id_high = get_u64(&c);
	identity.cell_id_low = get_u64(&c);
	get_text(&c, identity.cell_name);
	if (c.failed || c.left.size < key_size)
		return false;
	memcpy(identity.handle_key, c.left.data, key_size);
	c.left.data += key_size;
	c.left.size -= key_size;
	identity.created_unix_ms = (int64_t)get_u64(&c);
	identity.self = get_replica(&c);
	identity.incarnation = get_incarnation(&c);
	identity.member_count = (uint32_t)get_at_most(&c, MEMBERS_MAX);
	for (uint32_t i = 0; i < identity.member_count; i++) {
		struct store_member *m = &identity.members[i];

		m->replica = get_replica(&c);
		m->incarnation = get_incarnation(&c);
		get_text(&c, m->address);
		get_text(&c, m->peer_address);
		get_text(&c, m->web_address);
	}
	if (!get_end(&c))
		return false;
	*ret_identity = identity;
	return true;
}

void record_put_durable(struct buffer *b, const struct paxos_durable *durable)
{
	put_ballot(b, durable->promised);
	put_u64(b, (uint64_t)durable->longest_lease_ns);
	put_u64(b, durable->chosen.n);
	put_u64(b, durable->trimmed.n);
	CHECK(durable->seen_count <= MEMBERS_MAX);
	put_u64(b, durable->seen_count);
	for (uint32_t i = 0; i < durable->seen_count; i++) {
		const struct paxos_seen *seen = &durable->seen[i];

		put_u64(b, seen->replica.n);
		put_incarnation(b, seen->incarnation);
		put_ballot(b, seen->promised);
		put_ballot(b, seen->accepted);
		put_u64(b, seen->from.n);
		put_u64(b, seen->through.n);
	}
}

bool record_get_durable(struct bytes b, struct paxos_durable *ret_durable)
{
	struct cursor c = {b, false};
	struct paxos_durable durable = {0};

	durable.promised = get_ballot(&c);
	durable.longest_lease_ns = (int64_t)get_at_most(&c, INT64_MAX);
	durable.chosen.n = get_u64(&c);
	durable.trimmed.n = get_u64(&c);
	durable.seen_count = (uint32_t)get_at_most(&c, MEMBERS_MAX);
	for (uint32_t i = 0; i < durable.seen_count; i++) {
		struct paxos_seen *seen = &durable.seen[i];

		seen->replica = get_replica(&c);
		seen->incarnation = get_incarnation(&c);
		seen->promised = get_ballot(&c);
		seen->accepted = get_ballot(&c);
		seen->from.n = get_u64(&c);
		seen->through.n = get_u64(&c);
	}
	if (!get_end(&c))
		return false;
	*ret_durable = durable;
	return true;
}

void record_put_tail(struct buffer *b, const struct log_tail *tail)
{
	put_u64(b, tail->newest.n);
	put_u64(b, tail->trimmed.n);
	put_u64(b, tail->count);
	put_u64(b, tail->value_bytes);
	put_u64(b, tail->sum);
}

bool record_get_tail(struct bytes b, struct log_tail *ret_tail)
{
	struct cursor c = {b, false};
	struct log_tail tail;

	tail.newest.n = get_u64(&c);
	tail.trimmed.n = get_u64(&c);
	tail.count = get_u64(&c);
	tail.value_bytes = get_u64(&c);
	tail.sum = get_u64(&c);
	if (!get_end(&c))
		return false;
	*ret_tail = tail;
	return true;
}

void record_put_mark(struct buffer *b, const struct state_mark *mark)
{
	put_u64(b, mark->slot.n);
	put_u64(b, mark->revision.n);
	put_u64(b, mark->digest.high);
	put_u64(b, mark->digest.low);
}

bool record_get_mark(struct bytes b, struct state_mark *ret_mark)
{
	struct cursor c = {b, false};
	struct state_mark mark;

	mark.slot.n = get_u64(&c);
	mark.revision.n = get_at_most(&c, REVISION_MAX);
	mark.digest.high = get_u64(&c);
	mark.digest.low = get_u64(&c);
	if (!get_end(&c))
		return false;
	*ret_mark = mark;
	return true;
}

void record_put_promise(struct buffer *b, const struct promise_record *r)
{
	put_u64(b, r->sequence);
	put_u64(b, r->cell_id_high);
	put_u64(b, r->cell_id_low);
	put_u64(b, r->replica.n);
	put_incarnation(b, r->incarnation);
	put_ballot(b, r->promised);
	put_u64(b, (uint64_t)r->longest_lease_ns);
}

bool record_get_promise(struct bytes b, struct promise_record *ret_record)
{
	struct cursor c = {b, false};
	struct promise_record r;

	r.sequence = get_u64(&c);
	r.cell_id_high = get_u64(&c);
	r.cell_id_low = get_u64(&c);
	r.replica = get_replica(&c);
	r.incarnation = get_incarnation(&c);
	r.promised = get_ballot(&c);
	r.longest_lease_ns = (int64_t)get_at_most(&c, INT64_MAX);
	if (c.failed)
		return false;
	*ret_record = r;
	return true;
}

uint64_t record_meta_checksum(const struct store_identity *identity, const char *key,
			      struct bytes value)
{
	struct buffer b;
	uint64_t checksum;
	bool fits;

	buffer_init(&b, RECORD_MAX_BYTES + 1024);
	if (identity != NULL) {
		put_u64(&b, identity->cell_id_high);
		put_u64(&b, identity->cell_id_low);
		put_incarnation(&b, identity->incarnation);
	}
	put_text(&b, key);
	fits = value.size <= RECORD_MAX_BYTES && buffer_append(&b, value);
	/* A row that is longer than any record was never written by us: no checksum fits it. */
	checksum = fits ? bytes_hash(buffer_view(&b)) : 0;
	buffer_release(&b);
	return checksum;
}

uint64_t record_log_checksum(const struct store_identity *identity, struct slot slot,
			     struct ballot ballot, uint64_t value_checksum)
{
	uint64_t fields[] = {
		identity->cell_id_high,
		identity->cell_id_low,
		identity->incarnation.high,
		identity->incarnation.low,
		slot.n,
		ballot.round,
		ballot.replica.n,
		ballot.incarnation.high,
		ballot.incarnation.low,
		value_checksum,
	};
	uint8_t packed[sizeof(fields)];

	for (size_t i = 0; i < sizeof(packed); i++)
		packed[i] = (uint8_t)(fields[i / 8] >> (8 * (i % 8)));
	return bytes_hash((struct bytes){packed, sizeof(packed)});
}

uint64_t record_state_checksum(const struct store_identity *identity, uint32_t kind, uint64_t key,
			       struct bytes data)
{
	uint64_t fields[] = {
		identity->cell_id_high, identity->cell_id_low, kind, key, bytes_hash(data),
	};
	uint8_t packed[sizeof(fields)];

	for (size_t i = 0; i < sizeof(packed); i++)
		packed[i] = (uint8_t)(fields[i / 8] >> (8 * (i % 8)));
	return bytes_hash((struct bytes){packed, sizeof(packed)});
}

char *sentence(const char *format, ...)
{
	va_list arguments;
	char *text;
	int size;

	va_start(arguments, format);
	size = vasprintf(&text, format, arguments);
	va_end(arguments);
	CHECK(size >= 0);
	return text;
}
