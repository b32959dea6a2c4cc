/* Inputs for the store and for the state machines: short lives, as their targets read them. */
#include "seed.h"

#include "store_help.h"
#include "wire/message.h"

static void write_buffer(const char *target, const char *name, struct buffer *b)
{
	seed_write(target, name, buffer_view(b));
	buffer_clear(b);
}

/* ---- the store ---- */

static void write_records(void)
{
	struct store_identity identity = identity_of(2);
	struct paxos_durable durable = {
		.promised = {4, {1}, {1, 1}},
		.longest_lease_ns = 9,
		.chosen = {7},
		.trimmed = {3},
		.seen_count = 1,
		.seen = {{{3}, {3, 3}, {4, {1}, {1, 1}}, {2, {1}, {1, 1}}, {5}, {6}}},
	};
	struct log_tail tail = {{9}, {3}, 6, 600, 77};
	struct state_mark mark = {{900}, {12}, {1, 2}};
	struct promise_record promise = {5, 1, 2, {2}, {2, 2}, {4, {1}, {1, 1}}, 9};
	struct buffer b;

	buffer_init(&b, RECORD_MAX_BYTES);
	seed_number(&b, 0, 1);
	record_put_identity(&b, &identity);
	write_buffer("record", "identity", &b);
	seed_number(&b, 1, 1);
	record_put_durable(&b, &durable);
	write_buffer("record", "durable", &b);
	seed_number(&b, 2, 1);
	record_put_tail(&b, &tail);
	write_buffer("record", "tail", &b);
	seed_number(&b, 3, 1);
	record_put_mark(&b, &mark);
	write_buffer("record", "mark", &b);
	seed_number(&b, 4, 1);
	record_put_promise(&b, &promise);
	write_buffer("record", "promise", &b);
	buffer_release(&b);
}

static void put_promise(struct buffer *b, uint64_t sequence)
{
	struct promise_record promise = {sequence, 1, 2, {2}, {2, 2}, {4, {1}, {1, 1}}, 9};
	struct buffer record;

	buffer_init(&record, 160);
	record_put_promise(&record, &promise);
	while (record.size < 160)
		seed_number(&record, 0, 1);
	seed_append(b, buffer_view(&record));
	buffer_release(&record);
}

static void write_promises(void)
{
	struct buffer b;

	buffer_init(&b, 1024);
	for (unsigned choice = 0; choice <= 6; choice += 2) {
		char name[] = "damage-0";

		seed_number(&b, choice, 1);
		put_promise(&b, 4);
		put_promise(&b, 3);
		name[7] = (char)('0' + choice);
		write_buffer("promise", name, &b);
	}
	buffer_release(&b);
}

static void write_patches(void)
{
	struct cell *c = cell_of_genesis();
	uint64_t revision;
	struct buffer b;

	story_apply(c, STORY_BUSY);
	revision = cell_meta(c)->revision.n;
	cell_free(c);
	buffer_init(&b, 1024);
	seed_number(&b, 0, 1);
	seed_write("log", "as-written", buffer_view(&b));
	write_buffer("state", "as-written", &b);
	seed_number(&b, 2, 1);
	seed_write("log", "empty-wal", buffer_view(&b));
	write_buffer("state", "mended", &b);
	for (unsigned choice = 0; choice <= 16; choice = choice == 0 ? 2 : 2 * choice) {
		char name[32];

		snprintf(name, sizeof(name), "choice-%u", choice);
		seed_number(&b, choice, 1);
		if (choice == 8) {
			seed_number(&b, TEMPLATE_SLOT, 8);
			seed_number(&b, revision, 8);
			seed_number(&b, 0, 1);
		}
		write_buffer("snapshot", name, &b);
	}
	/* A byte in the first table page, and one in the last. */
	seed_number(&b, 2, 1);
	seed_number(&b, 2 * STORE_PAGE_BYTES + 4000, 3);
	seed_number(&b, 1, 1);
	seed_number(&b, 0x55, 1);
	seed_number(&b, 3 * STORE_PAGE_BYTES + 4000, 3);
	seed_number(&b, 2, 1);
	seed_number(&b, 0x5555, 2);
	seed_write("snapshot", "patched", buffer_view(&b));
	seed_write("log", "patched", buffer_view(&b));
	write_buffer("state", "patched", &b);
	buffer_release(&b);
}

static void write_wals(void)
{
	struct buffer b;

	buffer_init(&b, 1024);
	for (unsigned frames = 0; frames <= 6; frames += 3) {
		char name[] = "frames-0";

		seed_number(&b, 1, 1);
		seed_number(&b, frames & 1, 1);
		seed_number(&b, frames, 1);
		seed_number(&b, 0x2a, 1);
		seed_number(&b, 0x12345678, 4);
		seed_number(&b, 4000 * frames + 9, 3);
		seed_number(&b, 0x10, 1);
		for (unsigned i = 0; i < frames; i++) {
			seed_append(&b, bytes_of_text("sixteen bytes..."));
			seed_number(&b, i, 1);
		}
		name[7] = (char)('0' + frames);
		write_buffer("wal", name, &b);
	}
	buffer_release(&b);
}

/* ---- state machines: the bytes are theirs to read (session_fuzz.c, master_fuzz.c) ---- */

static void put(struct buffer *b, const uint8_t *bytes, size_t size)
{
	seed_append(b, (struct bytes){bytes, size});
}
#define PUT(b, ...) put(b, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* A session that attaches, opens, waits for a lock, is granted it, and loses its link. */
static void write_session(void)
{
	struct buffer b;

	buffer_init(&b, 1024);
	PUT(&b, 7);
	PUT(&b, 3, 0, 1, 1, 2, 0);            /* the first question: "a:1" is master */
	PUT(&b, 6, 0, 1, 2, 40);              /* the attach: a session of 10 s */
	PUT(&b, 14, 0, 0, 1, 0, 0);           /* an open, */
	PUT(&b, 6, 0, 1, 2, 0);               /* answered */
	PUT(&b, 14, 6, 0, 1, 0, 0);           /* an acquire, */
	PUT(&b, 6, 0, 1, 2, 1);               /* which has to wait, */
	PUT(&b, 10, 1, 1, 2, 1);              /* and is granted */
	PUT(&b, 14, 4, 200, 1, 0, 0, 0, 200); /* a write, and time */
	PUT(&b, 11, 1, 1, 0);                 /* the link goes */
	PUT(&b, 0, 5, 3, 1, 1, 2, 2, 1, 6, 0, 2, 2, 90, 5);
	write_buffer("session", "life", &b);
	buffer_release(&b);
}

static void put_request(struct buffer *b, enum message_kind kind, unsigned choice, unsigned stream,
			struct bytes body)
{
	seed_number(b, 9, 1);
	seed_number(b, (uint64_t)kind - 1, 1);
	seed_number(b, choice, 1);
	seed_number(b, stream, 1);
	seed_run(b, body);
}

/* Two sessions, one lock; a holder, a waiter, a failover, and a client that goes. */
static void write_master(void)
{
	static const uint8_t exclusive[] = {0x18, 2};
	struct bytes body = {exclusive, sizeof(exclusive)};
	struct buffer b;

	buffer_init(&b, 1024);
	PUT(&b, 0);
	put_request(&b, MESSAGE_CREATE_SESSION, 0, 1, BYTES_NONE);
	PUT(&b, 0, 9);
	put_request(&b, MESSAGE_CREATE_SESSION, 0, 2, BYTES_NONE);
	PUT(&b, 0, 9);
	for (unsigned i = 0; i < 2; i++) {
		put_request(&b, MESSAGE_OPEN, 129, i + 1, BYTES_NONE);
		PUT(&b, i, 0, 0, 9);
		put_request(&b, MESSAGE_ACQUIRE, 7, i + 1, body);
		PUT(&b, i, i, 0, 9);
		put_request(&b, MESSAGE_KEEP_ALIVE, 1, i + 1, BYTES_NONE);
		PUT(&b, i);
	}
	write_buffer("master", "two", &b);
	buffer_release(&b);
}

/* What a peer says of what it was asked, in the place that the question has among the sent. */
static void put_answer(struct buffer *b, unsigned asked, enum paxos_kind kind)
{
	uint8_t from = (uint8_t)(asked & 1);

	if (kind == PAXOS_CHALLENGE)
		PUT(b, 10, (uint8_t)asked, from, 1 | 2, PAXOS_CHALLENGE - 1, 9, 0, 0);
	else
		PUT(b, 10, (uint8_t)asked, from, 1 | 2 | 4 | 64, (uint8_t)(kind - 1), 0, 0);
	if (kind == PAXOS_PROMISE || kind == PAXOS_GREET_STATE)
		seed_number(b, 0, 1);
}

/* Both peers find that nothing was forgotten: the first four messages are about that. */
static void put_vetting(struct buffer *b)
{
	PUT(b, 255, 0, 7, 0, 5);
	put_answer(b, 0, PAXOS_CHALLENGE);
	put_answer(b, 1, PAXOS_CHALLENGE);
	put_answer(b, 2, PAXOS_VERDICT);
	put_answer(b, 3, PAXOS_VERDICT);
}

/* A replica of a new cell is elected, and slots are chosen. */
static void write_paxos(void)
{
	struct buffer b;

	buffer_init(&b, 1024);
	put_vetting(&b);
	PUT(&b, 0, 5);
	put_answer(&b, 6, PAXOS_PROBE_REPLY);
	put_answer(&b, 7, PAXOS_PROBE_REPLY);
	PUT(&b, 3, 255);
	put_answer(&b, 8, PAXOS_PROMISE);
	put_answer(&b, 9, PAXOS_PROMISE);
	PUT(&b, 3, 255, 5, 3, 0, 'o', 'n', 'e', 3, 255);
	for (unsigned i = 10; i < 16; i++)
		put_answer(&b, i, PAXOS_ACCEPTED);
	PUT(&b, 3, 255, 0, 5, 0, 5);
	for (unsigned i = 0; i < 6; i++)
		put_answer(&b, i, PAXOS_HEARTBEAT_ACK);
	PUT(&b, 3, 255, 0, 5, 8, 0);
	write_buffer("paxos", "master", &b);
	/* A follower that hears of a master, and accepts. */
	put_vetting(&b);
	PUT(&b, 10, 0, 0, 64, PAXOS_PREPARE - 1, 16, 1, 1, 40, 0, 3, 255);
	PUT(&b, 10, 0, 0, 64, PAXOS_ACCEPT - 1, 16, 1, 1, 40, 0, 1, 0, 3, 255);
	PUT(&b, 10, 0, 0, 16, PAXOS_HEARTBEAT - 1, 16, 0, 2, 1, 40, 0, 0);
	PUT(&b, 6, 0, 0, 1, 1, 16, 1, 5, 1);
	write_buffer("paxos", "follower", &b);
	buffer_release(&b);
}

void seed_machines(void)
{
	write_paxos();
	write_session();
	write_master();
	write_records();
	write_promises();
	write_patches();
	write_wals();
}
