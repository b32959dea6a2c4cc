/* Messages of every kind, with every field filled in by the tables that describe them. */
#include "seed.h"

#include "codec/codec.h"
#include "codec/tables.h"
#include "fields_random.h"
#include "wire/codec.h"
#include "wire/tables.h"

#include <stdio.h>

#define TRIES 64

/* Behind the byte that chooses how the target reads it. */
static void write_chosen(const char *target, const char *name, unsigned choice,
			 const struct setting *s)
{
	struct buffer b;

	buffer_init(&b, SEED_MAX_BYTES + 16);
	seed_number(&b, choice, 1);
	seed_append(&b, buffer_view(&s->out));
	seed_write(target, name, buffer_view(&b));
	buffer_release(&b);
}

/* One that is filled well and not too large. */
static bool fits(const struct setting *s, enum error e)
{
	return e == ERROR_OK && s->out.size <= SEED_MAX_BYTES;
}

static void write_request(struct setting *s, enum message_kind kind)
{
	char name[64];

	for (int i = 0; i < TRIES; i++, setting_next(s)) {
		struct request r = {.kind = kind};

		fill(&s->rng, &s->arena, &wire_requests[kind], (uint8_t *)&r);
		if (!fits(s, wire_encode_request(&r, &s->out)) || s->out.size < 20)
			continue;
		snprintf(name, sizeof(name), "%s", message_kind_name(kind));
		write_chosen("request", name, kind, s);
		buffer_clear(&s->out);
		if (wire_encode_client_envelope(7, &r, &s->out) != ERROR_OK)
			break;
		snprintf(name, sizeof(name), "envelope-%s", message_kind_name(kind));
		write_chosen("request", name, MESSAGE_NONE, s);
		break;
	}
	setting_next(s);
}

/* With texts as long as they may be: one byte more is too much. */
static void write_longest(struct setting *s)
{
	uint8_t bytes[WIRE_NAME_MAX_BYTES + 1];
	struct request r = {.kind = MESSAGE_CLOSE, .handle = {bytes, WIRE_HANDLE_MAX_BYTES}};
	enum error e;

	memset(bytes, 'x', sizeof(bytes));
	e = wire_encode_request(&r, &s->out);
	CHECK(e == ERROR_OK);
	write_chosen("request", "longest-handle", r.kind, s);
	setting_next(s);
	r = (struct request){.kind = MESSAGE_READ_DIR};
	r.read_dir.after = (struct bytes){bytes, WIRE_NAME_MAX_BYTES};
	e = wire_encode_request(&r, &s->out);
	CHECK(e == ERROR_OK);
	write_chosen("request", "longest-name", r.kind, s);
	setting_next(s);
}

static void write_reply(struct setting *s, enum message_kind kind)
{
	const char *called = message_kind_name(kind);
	char name[64];

	for (int i = 0; i < TRIES; i++, setting_next(s)) {
		struct reply p = {.kind = kind};

		fill(&s->rng, &s->arena, &wire_replies[kind], (uint8_t *)&p);
		if (p.error != ERROR_OK || !fits(s, wire_encode_reply(&p, &s->out)) ||
		    (s->out.size < 20 && i < TRIES / 2))
			continue;
		snprintf(name, sizeof(name), "%s", called != NULL ? called : "push");
		write_chosen("reply", name, kind, s);
		buffer_clear(&s->out);
		if (wire_encode_server_envelope(7, &p, &s->out) != ERROR_OK)
			break;
		snprintf(name, sizeof(name), "envelope-%s-%d", called != NULL ? called : "push",
			 (int)kind);
		write_chosen("reply", name, MESSAGE_NONE, s);
		break;
	}
	setting_next(s);
}

static void write_refusal(struct setting *s)
{
	struct reply p = {
		.error = ERROR_NOT_MASTER,
		.message = bytes_of_text("another one is"),
		.master_address = bytes_of_text("127.0.0.1:7401"),
		.epoch = {3},
		.retry_after_ns = 5 * NS_PER_MS,
		.generation = 4,
		.has_failed_op = true,
		.failed_op = 2,
	};
	enum error e = wire_encode_server_envelope(7, &p, &s->out);

	CHECK(e == ERROR_OK);
	write_chosen("reply", "refusal", MESSAGE_NONE, s);
	buffer_clear(&s->out);
	e = wire_encode_status(&p, &s->out);
	CHECK(e == ERROR_OK);
	write_chosen("reply", "status", MESSAGE_KIND_END, s);
	setting_next(s);
}

static void write_entry(struct setting *s, enum entry_kind kind)
{
	char name[64];

	for (int i = 0; i < TRIES; i++, setting_next(s)) {
		struct entry e = {.kind = kind};

		fill(&s->rng, &s->arena, &codec_entry, (uint8_t *)&e);
		if (!fits(s, codec_encode_entry(&e, &s->out)))
			continue;
		snprintf(name, sizeof(name), "kind-%d", (int)kind);
		seed_write("entry", name, buffer_view(&s->out));
		break;
	}
	setting_next(s);
}

static struct value *some_value(void)
{
	struct value_builder b;
	struct value *v;
	bool added;

	value_builder_init(&b);
	added = value_builder_add(&b, bytes_of_text("one command")) &&
		value_builder_add(&b, bytes_of_text("another"));
	CHECK(added);
	v = value_builder_finish(&b);
	value_builder_release(&b);
	return v;
}

/* Every kind of message, some with values. */
static void write_frame(struct setting *s, enum paxos_kind kind)
{
	struct value *v = some_value();
	struct paxos_accepted accepted[] = {{{8}, {2, {1}, {11, 12}}, v},
					    {{9}, {3, {2}, {21, 22}}, NULL}};
	struct paxos_message m;
	struct message_wire wire;
	enum error e;

	memset(&wire, 0, sizeof(wire));
	fill(&s->rng, &s->arena, &codec_message, (uint8_t *)&wire);
	m = wire.message;
	m.kind = kind;
	m.lease_ns = 400 * NS_PER_MS;
	m.accepted = accepted;
	m.accepted_count = kind == PAXOS_PROMISE || kind == PAXOS_GREET_STATE ? 2 : 0;
	m.value = kind == PAXOS_ACCEPT ? v : NULL;
	e = codec_frame_message(&s->out, &m);
	CHECK(e == ERROR_OK);
	seed_write("frame", paxos_kind_name(kind), buffer_view(&s->out));
	value_unref(v);
	setting_next(s);
}

static void write_other_frame(struct setting *s)
{
	struct value *v = some_value();
	struct paxos_accepted entries[] = {{{4}, {2, {1}, {11, 12}}, v},
					   {{5}, {2, {1}, {11, 12}}, v}};
	struct codec_hello hello = {CODEC_PROTOCOL, 1, 2, {1}, {11, 12}, {2}};
	struct codec_gossip gossip = {9, 8, 4, bytes_of_text("no"), bytes_of_text("0.1.0")};
	struct codec_learn learn = {2, entries, {5}, {3}};
	struct codec_snapshot_request question = {7, 4096, {3}};
	struct codec_snapshot piece = {7, {5}, {9}, 8192, 77, 4096, bytes_of_text("a piece")};
	enum error e = codec_frame_hello(&s->out, &hello);

	if (e == ERROR_OK)
		e = codec_frame_gossip(&s->out, &gossip);
	if (e == ERROR_OK)
		e = codec_frame_learn(&s->out, &learn);
	CHECK(e == ERROR_OK);
	seed_write("frame", "hello", buffer_view(&s->out));
	buffer_clear(&s->out);
	e = codec_frame_snapshot_request(&s->out, &question);
	if (e == ERROR_OK)
		e = codec_frame_snapshot(&s->out, &piece);
	CHECK(e == ERROR_OK);
	seed_write("frame", "snapshot", buffer_view(&s->out));
	value_unref(v);
	setting_next(s);
}

void seed_messages(void)
{
	struct setting s;

	setting_init(&s, 4);
	for (enum message_kind kind = MESSAGE_FIND_MASTER; kind < MESSAGE_KIND_END; kind++) {
		if (kind < MESSAGE_WAIT_ENDED)
			write_request(&s, kind);
		write_reply(&s, kind);
	}
	write_longest(&s);
	write_refusal(&s);
	for (enum entry_kind kind = ENTRY_EPOCH; kind < ENTRY_KIND_END; kind++)
		write_entry(&s, kind);
	for (enum paxos_kind kind = PAXOS_PROBE; kind < PAXOS_KIND_END; kind++)
		write_frame(&s, kind);
	write_other_frame(&s);
	setting_release(&s);
}
