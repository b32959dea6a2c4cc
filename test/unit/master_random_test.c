/*
 * A master under everything at once: random requests on random streams, clients and streams that
 * go, a log that lags, refuses and loses its end, leases that lapse, masterships that change.
 *
 * After each step the master's invariants hold (the fixture sees to it), and
 *   each call is answered exactly once, or never again after its client has gone;
 *   no session ends for its silence before the lease that its client was told is over.
 * At the end everything that is still open is answered in bounded time, and nothing leaks.
 */
#include "base/rng.h"
#include "master_fixture.h"

#define SESSIONS 6
#define HANDLES 6
#define STREAMS 5
#define CALLS_MAX 20000
#define STEPS 4000

enum call_state { CALL_NONE, CALL_OPEN, CALL_ANSWERED, CALL_GONE };

struct call {
	enum call_state state;
	uint64_t stream;
	uint32_t client; /* index */
	struct session_id session;
};

struct handle {
	uint8_t token[WIRE_HANDLE_MAX_BYTES];
	size_t size;
};

struct client {
	struct session_id id;
	int64_t believes_until_ns; /* that its lease runs */
	bool may_end;              /* by its own wish, an operator's, or as idle */
	uint64_t number, handle_number, ticket;
	struct handle handles[HANDLES];
};

struct chaos {
	struct world w;
	struct rng rng;
	uint64_t streams[STREAMS]; /* ids; [0] is unary */
	uint64_t next_stream;
	struct client clients[SESSIONS];
	struct call *calls; /* by id */
	uint64_t answered, gone, refused, failovers, expired;
};

static uint32_t below(struct chaos *c, uint32_t bound)
{
	return (uint32_t)rng_below(&c->rng, bound);
}

static bool one_in(struct chaos *c, uint32_t n)
{
	return below(c, n) == 0;
}

/* ---- what comes out ------------------------------------------------------------------------ */

static bool lease_runs(const struct chaos *c)
{
	return c->w.at.lease_until_ns > c->w.at.now_ns;
}

static void learn(struct chaos *c, const struct call *call, const struct answer *a)
{
	struct client *client = &c->clients[call->client];
	const struct reply *r = &a->reply;
	int64_t left_ns = 0;

	/* The client may have another session by now. */
	if (r->error != ERROR_OK || call->session.n != client->id.n)
		return;
	if (r->kind == MESSAGE_CREATE_SESSION && lease_runs(c)) {
		*client = (struct client){.id = r->create_session.session};
		left_ns = r->create_session.lease_ns;
	} else if (r->kind == MESSAGE_KEEP_ALIVE && lease_runs(c)) {
		left_ns = r->keep_alive.left_ns;
		assert_true(left_ns > 0 && left_ns <= CELL_SESSION_LEASE_MAX_NS);
	} else if (r->kind == MESSAGE_OPEN) {
		struct handle *h = &client->handles[below(c, HANDLES)];

		memcpy(h->token, a->handle, r->open.handle.size);
		h->size = r->open.handle.size;
	} else if (r->kind == MESSAGE_ACQUIRE && r->acquire.ticket != 0) {
		client->ticket = r->acquire.ticket;
	}
	if (left_ns > 0 && c->w.at.now_ns + left_ns > client->believes_until_ns)
		client->believes_until_ns = c->w.at.now_ns + left_ns;
}

static void settle_answers(struct chaos *c)
{
	for (uint32_t i = 0; i < c->w.answer_count; i++) {
		const struct answer *a = &c->w.answers[i];
		struct call *call = &c->calls[a->call.n];

		if (a->call.n == 0)
			continue;
		if (call->state != CALL_OPEN)
			fail_msg("call %llu, %s, is %s", (unsigned long long)a->call.n,
				 message_kind_name(a->reply.kind),
				 call->state == CALL_GONE ? "gone" : "answered already");
		if (a->reply.kind == MESSAGE_CLOSE) /* never fails for want of room */
			assert_true(a->reply.error != ERROR_TOO_LARGE &&
				    a->reply.error != ERROR_RESOURCE_EXHAUSTED);
		call->state = CALL_ANSWERED;
		c->answered++;
		learn(c, call, a);
	}
	c->w.answer_count = 0;
}

/* The log has no room for some of what it was just given. */
static void refuse_some(struct chaos *c, uint32_t from)
{
	while (c->w.log_count > from && one_in(c, 8)) {
		uint32_t last = (c->w.log_first + c->w.log_count - 1) % LOG_MAX;
		struct arena arena;
		struct entry e;

		arena_init(&arena, (size_t)16 << 20);
		assert_int_equal(codec_decode_entry(buffer_view(&c->w.log[last]), &arena, &e),
				 ERROR_OK);
		c->w.log_count--;
		master_proposal_refused(c->w.master, &c->w.at, &e,
					one_in(c, 4) ? ERROR_TOO_LARGE : ERROR_RESOURCE_EXHAUSTED);
		world_collect(&c->w);
		arena_release(&arena);
		buffer_release(&c->w.log[last]);
		c->refused++;
	}
}

static void after(struct chaos *c, uint32_t log_before)
{
	world_collect(&c->w);
	refuse_some(c, log_before);
	settle_answers(c);
}

static void apply_one(struct chaos *c)
{
	struct arena arena;
	struct entry e;

	arena_init(&arena, (size_t)16 << 20);
	assert_int_equal(codec_decode_entry(buffer_view(&c->w.log[c->w.log_first]), &arena, &e),
			 ERROR_OK);
	for (int i = 0; i < SESSIONS; i++) {
		if (e.kind == ENTRY_SESSION_END && e.session.n == c->clients[i].id.n &&
		    e.session_end.reason != SESSION_END_EXPIRED)
			c->clients[i].may_end = true;
	}
	arena_release(&arena);
	world_apply_next(&c->w);
	settle_answers(c);
}

static void check_beliefs(struct chaos *c)
{
	for (int i = 0; i < SESSIONS; i++) {
		struct client *client = &c->clients[i];

		if (client->id.n == 0 || cell_session(c->w.cell, client->id) != NULL)
			continue;
		if (!client->may_end && client->believes_until_ns > c->w.at.now_ns)
			fail_msg("a session ended before the lease that its client was told");
		c->expired += client->may_end ? 0 : 1;
		*client = (struct client){0};
	}
}

/* ---- what goes in -------------------------------------------------------------------------- */

static struct bytes any_handle(struct chaos *c, const struct client *client)
{
	const struct handle *h = &client->handles[below(c, HANDLES)];

	if (one_in(c, 30))
		h = &c->clients[below(c, SESSIONS)].handles[below(c, HANDLES)];
	return (struct bytes){h->token, h->size};
}

static struct bytes any_path(struct chaos *c)
{
	static const char *const paths[] = {
		"/ls/local/a", "/ls/local/b", "/ls/local/c", "/ls/local/d/e",
		"/ls/local",   "/ls/wrong/a", "/ls/local/d",
	};

	return bytes_of_text(paths[below(c, sizeof(paths) / sizeof(paths[0]))]);
}

static void fill_open(struct chaos *c, struct client *client, struct request *r)
{
	r->open.path = any_path(c);
	r->open.handle_number.n = one_in(c, 20) ? 1 : ++client->handle_number;
	r->open.read = r->open.write = r->open.change_acl = !one_in(c, 10);
	r->open.create = (enum wire_create)below(c, 3);
	r->open.ephemeral = one_in(c, 3);
	r->open.kind = one_in(c, 6) ? WIRE_NODE_DIRECTORY : WIRE_NODE_UNSPECIFIED;
}

static void fill_multi(struct chaos *c, const struct client *client, struct request *r,
		       struct wire_multi_op ops[4])
{
	r->multi.count = below(c, 5);
	r->multi.ops = ops;
	for (uint32_t i = 0; i < r->multi.count; i++) {
		ops[i] = (struct wire_multi_op){.kind = below(c, 12), .contents = any_path(c)};
		if (ops[i].kind >= MULTI_ACQUIRE || one_in(c, 4))
			ops[i].handle = any_handle(c, client);
		else
			ops[i].path = any_path(c);
	}
}

static void fill(struct chaos *c, struct client *client, struct request *r,
		 struct wire_multi_op ops[4])
{
	switch (r->kind) {
	case MESSAGE_OPEN:
		fill_open(c, client, r);
		break;
	case MESSAGE_KEEP_ALIVE:
		r->keep_alive.immediate = one_in(c, 6);
		break;
	case MESSAGE_FIND_MASTER:
		r->find_master.wait_ns = below(c, 3) * NS_PER_S;
		break;
	case MESSAGE_CREATE_SESSION:
		r->create_session.lease_ns = one_in(c, 3) ? (1 + below(c, 62)) * NS_PER_S : 0;
		break;
	case MESSAGE_ACQUIRE:
		r->acquire.mode = one_in(c, 2) ? WIRE_LOCK_SHARED : WIRE_LOCK_EXCLUSIVE;
		r->acquire.try_only = one_in(c, 4);
		r->acquire.wait_ns = one_in(c, 2) ? below(c, 5) * NS_PER_S : 0;
		r->acquire.lock_delay_ns = one_in(c, 2) ? -1 : below(c, 4) * NS_PER_S;
		break;
	case MESSAGE_WAIT:
		r->wait.ticket = one_in(c, 2) ? client->ticket : 0;
		r->wait.wait_ns = below(c, 20) * NS_PER_S;
		break;
	case MESSAGE_MULTI:
		fill_multi(c, client, r, ops);
		break;
	case MESSAGE_REVOKE_LOCK:
		r->revoke_lock.path = any_path(c);
		break;
	case MESSAGE_END_SESSION_OF:
		r->end_session_of.session = client->id;
		break;
	default:
		break;
	}
}

static enum message_kind any_kind(struct chaos *c)
{
	static const enum message_kind often[] = {
		MESSAGE_KEEP_ALIVE, MESSAGE_KEEP_ALIVE, MESSAGE_OPEN,    MESSAGE_ACQUIRE,
		MESSAGE_ACQUIRE,    MESSAGE_WAIT,       MESSAGE_RELEASE, MESSAGE_CLOSE,
	};
	enum message_kind kind;

	if (!one_in(c, 4))
		return often[below(c, sizeof(often) / sizeof(often[0]))];
	do
		kind = (enum message_kind)(1 + below(c, MESSAGE_TRANSFER_MASTER));
	while (kind == MESSAGE_STATUS ||
	       ((kind == MESSAGE_END_SESSION || kind == MESSAGE_END_SESSION_OF) && !one_in(c, 4)));
	return kind;
}

static void send_something(struct chaos *c)
{
	uint32_t who = below(c, SESSIONS), log_before = c->w.log_count;
	struct client *client = &c->clients[who];
	struct wire_multi_op ops[4];
	struct request r = {.kind = any_kind(c), .session = client->id};
	uint64_t stream = c->streams[below(c, STREAMS)];
	struct call_id call = {c->w.next_call++};

	if (client->id.n == 0 && !one_in(c, 3))
		r.kind = MESSAGE_CREATE_SESSION;
	if (r.kind == MESSAGE_CREATE_SESSION && client->id.n != 0 && !one_in(c, 5))
		r.kind = MESSAGE_KEEP_ALIVE;
	if (one_in(c, 8))
		r.epoch = cell_meta(c->w.cell)->epoch;
	if (one_in(c, 2) && message_is_numbered(r.kind)) {
		r.number = one_in(c, 6) ? client->number : ++client->number;
		r.lowest_unanswered = r.number > 3 ? r.number - 3 : 1;
	}
	r.handle = any_handle(c, client);
	fill(c, client, &r, ops);
	assert_true(call.n < CALLS_MAX);
	c->calls[call.n] = (struct call){CALL_OPEN, stream, who, client->id};
	master_request(c->w.master, &c->w.at, call, (struct stream_id){stream}, &r);
	after(c, log_before);
}

static void call_goes(struct chaos *c)
{
	struct call_id call = {1 + below(c, (uint32_t)c->w.next_call)};

	if (c->calls[call.n].state != CALL_OPEN || c->calls[call.n].stream != 0)
		return;
	c->calls[call.n].state = CALL_GONE;
	c->gone++;
	master_call_gone(c->w.master, call);
	after(c, c->w.log_count);
}

static void stream_goes(struct chaos *c)
{
	uint64_t *stream = &c->streams[1 + below(c, STREAMS - 1)];

	for (uint64_t n = 1; n < c->w.next_call; n++) {
		if (c->calls[n].state != CALL_OPEN || c->calls[n].stream != *stream)
			continue;
		c->calls[n].state = CALL_GONE;
		c->gone++;
	}
	master_stream_closed(c->w.master, (struct stream_id){*stream});
	*stream = c->next_stream++;
	after(c, c->w.log_count);
}

static void time_passes(struct chaos *c)
{
	static const int64_t steps_ms[] = {1, 10, 100, 300, 700, 1500, 3100};
	int64_t step_ns = steps_ms[below(c, 7)] * NS_PER_MS;
	uint32_t log_before = c->w.log_count;

	/* As a rule the lease was renewed all the while; now and then it lapsed on the way. */
	c->w.at.lease_until_ns = c->w.at.now_ns + (one_in(c, 12) ? step_ns / 2 : 2 * step_ns);
	c->w.at.now_ns += step_ns;
	master_tick(c->w.master, &c->w.at);
	after(c, log_before);
	check_beliefs(c);
	c->w.at.lease_until_ns = INT64_MAX;
}

static void mastership_ends(struct chaos *c)
{
	master_end(c->w.master, &c->w.at);
	after(c, c->w.log_count);
	/* What has not reached a majority may be lost, from some point on. */
	for (uint32_t keep = below(c, c->w.log_count + 1); keep > 0; keep--)
		apply_one(c);
	world_lose_log(&c->w);
	master_leader(c->w.master, &c->w.at, (struct replica_id){below(c, 3)});
	after(c, 0);
	c->failovers++;
}

static void step(struct chaos *c)
{
	uint32_t what = below(c, 100);

	if (what < 50)
		send_something(c);
	else if (what < 75)
		for (uint32_t i = below(c, 8); i > 0 && c->w.log_count > 0; i--)
			apply_one(c);
	else if (what < 90)
		time_passes(c);
	else if (what < 94)
		call_goes(c);
	else if (what < 97)
		stream_goes(c);
	else if (!master_serving(c->w.master))
		world_begin(&c->w);
	else if (what == 99 && one_in(c, 2))
		mastership_ends(c);
	settle_answers(c);
	/* The fixture's log is short. */
	while (c->w.log_count > LOG_MAX / 2)
		apply_one(c);
	check_beliefs(c);
}

/* With a master, a log that takes everything, and time, every call is answered. */
static void come_to_rest(struct chaos *c)
{
	if (!master_serving(c->w.master))
		world_begin(&c->w);
	for (int i = 0; i < 700; i++) {
		while (c->w.log_count > 0)
			apply_one(c);
		c->w.at.now_ns += 100 * NS_PER_MS;
		master_tick(c->w.master, &c->w.at);
		world_collect(&c->w);
		settle_answers(c);
		check_beliefs(c);
	}
	for (uint64_t n = 1; n < c->w.next_call; n++) {
		if (c->calls[n].state == CALL_OPEN)
			fail_msg("call %llu is still open", (unsigned long long)n);
	}
	assert_null(cell_invariants(c->w.cell));
}

static void run(uint64_t seed, struct chaos *totals)
{
	struct chaos *c = mem_zalloc(sizeof(*c));

	rng_init(&c->rng, seed);
	world_new_stretching(&c->w, one_in(c, 2) ? 3 : 0);
	c->w.hold = true;
	c->calls = mem_zalloc(CALLS_MAX * sizeof(*c->calls));
	for (int i = 1; i < STREAMS; i++)
		c->streams[i] = (uint64_t)i;
	c->next_stream = STREAMS;
	world_begin(&c->w);
	for (int i = 0; i < STEPS; i++)
		step(c);
	come_to_rest(c);
	totals->answered += c->answered;
	totals->gone += c->gone;
	totals->refused += c->refused;
	totals->failovers += c->failovers;
	totals->expired += c->expired;
	world_free(&c->w);
	free(c->calls);
	free(c);
}

static void everything_at_once(void **state)
{
	struct chaos totals = {0};
	const char *text = getenv("CHUBBY_SEED");
	uint64_t first = text == NULL ? 1 : strtoull(text, NULL, 10);

	(void)state;
	for (uint64_t seed = first; seed < first + (text == NULL ? 20 : 1); seed++) {
		print_message("seed %llu\n", (unsigned long long)seed);
		run(seed, &totals);
	}
	/* The test tests what it says. */
	if (text == NULL) {
		assert_true(totals.answered > 10000 && totals.gone > 500);
		assert_true(totals.refused > 500 && totals.failovers > 100 && totals.expired > 50);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
