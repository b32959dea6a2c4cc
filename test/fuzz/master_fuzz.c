/*
 * A master over a cell, fed with requests as clients may send them, while its log lags, refuses
 * and loses entries, clients go, leases lapse and masterships change.
 *
 * Its invariants and the cell's hold, whatever comes out can be written, and each call is answered
 * once: the last of them when there has been a master for long enough.
 */
#include "cell_help.h"

#include "master/master.h"
#include "wire/codec.h"

#define CALLS_MAX 512
#define LOG_MAX 256
#define STEPS_MAX 300
#define KNOWN 4 /* sessions, handles, sequencers that clients remember */

enum call_state { CALL_NONE, CALL_OPEN, CALL_ANSWERED, CALL_GONE };

struct text {
	uint8_t bytes[WIRE_SEQUENCER_MAX_BYTES];
	size_t size;
};

struct world {
	struct cell *cell;
	struct master *master;
	struct moment at;
	uint64_t round;
	uint32_t log_first, log_count;
	struct buffer log[LOG_MAX]; /* a ring: what is proposed and not applied */
	enum call_state calls[CALLS_MAX];
	uint64_t streams[CALLS_MAX]; /* of the calls */
	uint32_t call_count;
	struct session_id sessions[KNOWN];
	struct text handles[KNOWN], sequencers[KNOWN];
	uint32_t session_count, handle_count, sequencer_count;
	uint64_t ticket, number;
	struct buffer out;
};

/* ---- what comes out ---- */

static void remember(struct text *t, struct bytes b)
{
	CHECK(b.size <= sizeof(t->bytes));
	if (b.size > 0)
		memcpy(t->bytes, b.data, b.size);
	t->size = b.size;
}

static void learn(struct world *w, const struct reply *r)
{
	if (r->error != ERROR_OK)
		return;
	if (r->kind == MESSAGE_CREATE_SESSION)
		w->sessions[w->session_count++ % KNOWN] = r->create_session.session;
	if (r->kind == MESSAGE_OPEN)
		remember(&w->handles[w->handle_count++ % KNOWN], r->open.handle);
	if (r->kind == MESSAGE_ACQUIRE && r->acquire.grant.present)
		remember(&w->sequencers[w->sequencer_count++ % KNOWN], r->acquire.grant.sequencer);
	if (r->kind == MESSAGE_ACQUIRE && r->acquire.ticket != 0)
		w->ticket = r->acquire.ticket;
}

/* As the stream carries it, and alone as well, as a unary call's answer or status. */
static void check_written(struct world *w, uint64_t id, const struct reply *r)
{
	enum error e = ERROR_OK;

	buffer_clear(&w->out);
	if (r->error != ERROR_OK || r->kind <= MESSAGE_MULTI || r->kind >= MESSAGE_WAIT_ENDED)
		e = wire_encode_server_envelope(id, r, &w->out);
	CHECK(e == ERROR_OK);
	if (id == 0)
		return;
	e = r->error != ERROR_OK ? wire_encode_status(r, &w->out) : wire_encode_reply(r, &w->out);
	CHECK(e == ERROR_OK);
}

static void take_replies(struct world *w, const struct master_output *out)
{
	for (uint32_t i = 0; i < out->reply_count; i++) {
		uint64_t n = out->replies[i].call.n;

		CHECK(n > 0 && n <= w->call_count && w->calls[n - 1] == CALL_OPEN);
		w->calls[n - 1] = CALL_ANSWERED;
		check_written(w, n, &out->replies[i].reply);
		learn(w, &out->replies[i].reply);
	}
	for (uint32_t i = 0; i < out->push_count; i++)
		check_written(w, 0, &out->pushes[i].reply);
}

/* What does not fit into the log is refused, after the output was taken. */
static bool propose(struct world *w, const struct entry *e)
{
	struct buffer *b = &w->log[(w->log_first + w->log_count) % LOG_MAX];

	if (w->log_count == LOG_MAX)
		return false;
	buffer_init(b, VALUE_MAX_BYTES - VALUE_FRAME_BYTES);
	if (codec_encode_entry(e, b) != ERROR_OK) {
		buffer_release(b);
		return false;
	}
	w->log_count++;
	return true;
}

static void take(struct world *w)
{
	const struct master_output *out = master_output(w->master);
	struct entry refused[LOG_MAX];
	uint32_t count = 0;

	take_replies(w, out);
	for (uint32_t i = 0; i < out->proposal_count; i++) {
		if (!propose(w, &out->proposals[i]) && count < LOG_MAX)
			refused[count++] = out->proposals[i];
	}
	master_output_done(w->master);
	/* Of a refused entry only the numbers are read. */
	for (uint32_t i = 0; i < count; i++)
		master_proposal_refused(w->master, &w->at, &refused[i], ERROR_RESOURCE_EXHAUSTED);
	CHECK(master_invariants(w->master) == NULL);
	if (count > 0)
		take(w);
}

/* ---- the log ---- */

static void drop_first(struct world *w)
{
	buffer_release(&w->log[w->log_first]);
	w->log_first = (w->log_first + 1) % LOG_MAX;
	w->log_count--;
}

static void apply_one(struct world *w, bool refuse)
{
	struct arena arena;
	struct outcome o;
	struct entry e;
	enum error error;

	if (w->log_count == 0)
		return;
	arena_init(&arena, ROW_ARENA_BYTES);
	error = codec_decode_entry(buffer_view(&w->log[w->log_first]), &arena, &e);
	CHECK(error == ERROR_OK);
	if (refuse) {
		master_proposal_refused(w->master, &w->at, &e, ERROR_RESOURCE_EXHAUSTED);
	} else {
		cell_apply(w->cell, &e, &o);
		master_applied(w->master, &w->at, &e, &o);
	}
	arena_release(&arena);
	drop_first(w);
	take(w);
}

static void begin(struct world *w)
{
	struct entry e = {.kind = ENTRY_EPOCH};
	struct outcome o;

	while (w->log_count > 0)
		apply_one(w, false);
	e.epoch.master.n = 1;
	e.epoch.ballot.round = ++w->round;
	e.epoch.ballot.replica.n = 1;
	cell_apply(w->cell, &e, &o);
	w->at.lease_until_ns = INT64_MAX;
	master_begin(w->master, &w->at);
}

static void end(struct world *w, struct feed *f)
{
	uint32_t keep = feed_byte(f);

	master_end(w->master, &w->at);
	take(w);
	for (; keep > 0 && w->log_count > 0; keep--)
		apply_one(w, false);
	while (w->log_count > 0)
		drop_first(w);
	master_leader(w->master, &w->at, (struct replica_id){feed_below(f, 4)});
}

/* ---- what goes in ---- */

static struct bytes known(const struct text *texts, struct feed *f)
{
	const struct text *t = &texts[feed_below(f, KNOWN)];

	return (struct bytes){t->bytes, t->size};
}

/* What a client that is in its right mind would fill in, where the choice says so. */
static void fill_in(struct world *w, struct feed *f, uint8_t choice, struct request *r)
{
	if (choice & 1)
		r->session = w->sessions[feed_below(f, KNOWN)];
	if (choice & 2)
		r->handle = known(w->handles, f);
	if (choice & 4 && message_is_numbered(r->kind)) {
		r->number = ++w->number;
		r->lowest_unanswered = w->number > 8 ? w->number - 8 : 1;
	}
	if (choice & 8)
		r->guard_sequencer = known(w->sequencers, f);
	if (choice & 16 && (r->kind == MESSAGE_WAIT || r->kind == MESSAGE_CANCEL))
		r->wait.ticket = w->ticket;
	if (choice & 32 && r->kind == MESSAGE_CHECK_SEQUENCER)
		r->check_sequencer.sequencer = known(w->sequencers, f);
	if (choice & 64)
		r->epoch = cell_meta(w->cell)->epoch;
	if (choice & 128 && r->kind == MESSAGE_OPEN) {
		static const char *const paths[] = {"/ls/local/a", "/ls/local/b", "/ls/local/a/c",
						    "/ls/local"};

		r->open.path = bytes_of_text(paths[feed_below(f, 4)]);
		r->open.handle_number.n = 1 + w->handle_count;
		r->open.read = r->open.write = r->open.change_acl = true;
		r->open.create = WIRE_CREATE_MAY;
	}
}

static void request(struct world *w, struct feed *f)
{
	enum message_kind kind = (enum message_kind)(
		1 + feed_below(f, (uint32_t)MESSAGE_TRANSFER_MASTER));
	uint8_t choice = feed_byte(f);
	uint64_t stream = feed_below(f, 4);
	struct arena arena;
	struct request r;
	const char *trouble;

	/* STATUS belongs to the host. */
	if (w->call_count == CALLS_MAX || kind == MESSAGE_STATUS)
		return;
	arena_init(&arena, ROW_ARENA_BYTES);
	if (wire_decode_request(kind, feed_run(f), &arena, &r, &trouble) != ERROR_OK)
		r = (struct request){.kind = kind};
	fill_in(w, f, choice, &r);
	w->calls[w->call_count] = CALL_OPEN;
	w->streams[w->call_count++] = stream;
	master_request(w->master, &w->at, (struct call_id){w->call_count},
		       (struct stream_id){stream}, &r);
	take(w);
	arena_release(&arena);
}

static void call_gone(struct world *w, struct feed *f)
{
	uint32_t i = w->call_count == 0 ? 0 : feed_byte(f) % w->call_count;

	if (w->calls[i] != CALL_OPEN || w->streams[i] != 0)
		return;
	w->calls[i] = CALL_GONE;
	master_call_gone(w->master, (struct call_id){i + 1});
}

static void stream_gone(struct world *w, struct feed *f)
{
	uint64_t stream = 1 + feed_below(f, 3);

	for (uint32_t i = 0; i < w->call_count; i++) {
		if (w->calls[i] == CALL_OPEN && w->streams[i] == stream)
			w->calls[i] = CALL_GONE;
	}
	master_stream_closed(w->master, (struct stream_id){stream});
}

static void pass_time(struct world *w, int64_t step_ns, bool lapse)
{
	w->at.lease_until_ns = w->at.now_ns + (lapse ? step_ns / 2 : 2 * step_ns + 1);
	w->at.now_ns += step_ns;
	master_tick(w->master, &w->at);
	take(w);
	w->at.lease_until_ns = INT64_MAX;
}

static void step(struct world *w, struct feed *f)
{
	uint8_t op = feed_below(f, 16), n;

	switch (op) {
	case 0:
	case 1:
	case 2:
		for (n = feed_byte(f); n > 0 && w->log_count > 0; n--)
			apply_one(w, false);
		break;
	case 3:
		apply_one(w, true);
		break;
	case 4:
	case 5:
		n = feed_byte(f);
		pass_time(w, n * n * NS_PER_MS, n % 16 == 15);
		break;
	case 6:
		call_gone(w, f);
		break;
	case 7:
		stream_gone(w, f);
		break;
	case 8:
		if (master_serving(w->master))
			end(w, f);
		else
			begin(w);
		break;
	default:
		request(w, f);
		break;
	}
	take(w);
}

/* Longer than any call is held. */
static void come_to_rest(struct world *w)
{
	if (!master_serving(w->master))
		begin(w);
	take(w);
	for (int i = 0; i < 75; i++) {
		while (w->log_count > 0)
			apply_one(w, false);
		pass_time(w, NS_PER_S, false);
	}
	for (uint32_t i = 0; i < w->call_count; i++)
		CHECK(w->calls[i] != CALL_OPEN);
	check_cell(w->cell);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	struct world *w = mem_zalloc(sizeof(*w));
	struct master_config config = {.self = {1}, .server_count = 2};

	config.stretch_sessions = feed_below(&f, 2) * 3;
	config.servers[0] = (struct master_server){{1}, bytes_of_text("127.0.0.1:7401")};
	config.servers[1] = (struct master_server){{2}, bytes_of_text("127.0.0.1:7402")};
	buffer_init(&w->out, 4 * WIRE_MESSAGE_MAX_BYTES);
	w->cell = cell_of_genesis();
	w->master = master_new(&config, w->cell);
	w->at.now_ns = 1000 * NS_PER_S;
	begin(w);
	take(w);
	for (int i = 0; i < STEPS_MAX && f.left > 0; i++)
		step(w, &f);
	come_to_rest(w);
	while (w->log_count > 0)
		drop_first(w);
	master_free(w->master);
	cell_free(w->cell);
	buffer_release(&w->out);
	free(w);
	return 0;
}
