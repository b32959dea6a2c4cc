/*
 * What daemon/replica.c does around daemon/master: requests in, answers out if the lease still
 * runs, proposals to the log, applied entries back.
 */
#include "full.h"

#include <string.h>

#include "wire/codec.h"

#define ARENA_MAX_BYTES ((size_t)16 << 20)
#define LATE_PPM 300000     /* of the entries that timers propose */
#define LATE_TURN_PPM 10000 /* of a serving host's steps */
#define DRAIN_MAX 256       /* rounds after one event: more is an endless loop */

/* A call that the master owes an answer. */
struct front_call {
	uint64_t id;
	uint64_t pipe, call_id; /* of the stream that it came by; or: */
	uint64_t question;
	uint32_t app, life;
	UT_hash_handle hh;
};

struct sim_front {
	struct master *master;    /* owned */
	struct front_call *calls; /* owned */
	uint64_t last_call;
	struct replica_id told_leader;
	char addresses[MEMBERS_MAX][8];
};

static struct moment moment_of(const struct host *h)
{
	return (struct moment){
		.now_ns = sim_host_now(h),
		.lease_until_ns = paxos_lease_until(h->paxos),
		.wall_unix_ms = h->wall_offset_ms + sim_host_now(h) / NS_PER_MS,
	};
}

/* ---- out ------------------------------------------------------------------------------------ */

static void send_envelope(struct host *h, uint64_t pipe, uint64_t call_id, const struct reply *r)
{
	struct buffer bytes;

	buffer_init(&bytes, WIRE_MESSAGE_MAX_BYTES * 2);
	if (wire_encode_server_envelope(call_id, r, &bytes) != ERROR_OK)
		sim_fail(h->world, "r%u: an answer to %s cannot be encoded", h->id.n,
			 message_kind_name(r->kind));
	else
		sim_pipe_to_app(h->world, pipe, &bytes);
	buffer_release(&bytes);
}

static void send_answer(struct host *h, const struct front_call *c, const struct reply *r)
{
	struct buffer bytes;
	enum error e;

	buffer_init(&bytes, WIRE_MESSAGE_MAX_BYTES * 2);
	e = r->error == ERROR_OK ? wire_encode_reply(r, &bytes) : ERROR_OK;
	if (e != ERROR_OK)
		sim_fail(h->world, "r%u: an answer cannot be encoded", h->id.n);
	/* A refusal tells the session core nothing but that it was refused. */
	sim_answer(h->world, c->app, c->life, c->question, r->error == ERROR_OK, &bytes);
	buffer_release(&bytes);
}

static bool lease_runs(const struct host *h)
{
	return sim_host_now(h) < paxos_lease_until(h->paxos) ||
	       h->world->options->mutant == MUTANT_READ_WITHOUT_LEASE;
}

static void send_reply(struct host *h, const struct master_reply *out)
{
	struct reply refusal = {.kind = out->reply.kind, .error = ERROR_NOT_MASTER};
	const struct reply *r = out->needs_lease && !lease_runs(h) ? &refusal : &out->reply;
	struct front_call *c;

	HASH_FIND(hh, h->front->calls, &out->call.n, sizeof(out->call.n), c);
	if (c == NULL) {
		sim_fail(h->world, "r%u answers call %llu, which it does not owe an answer",
			 h->id.n, (unsigned long long)out->call.n);
		return;
	}
	if (c->question != 0)
		send_answer(h, c, r);
	else
		send_envelope(h, c->pipe, c->call_id, r);
	HASH_DEL(h->front->calls, c);
	free(c);
}

struct refusal {
	struct entry entry; /* numbers only are read of it: its texts are gone by then */
	enum error error;
};

/*
 * What the timers of a mastership propose must do no harm when it comes late: "a stalled former
 * master ends nothing". The log's order rules most of that out today; the guard in the entry must
 * hold all the same, so copies turn up again under later masters.
 */
static void keep_for_later(struct host *h, const struct entry *e)
{
	struct sim_apps *apps = h->world->apps;
	struct sim_late *late;
	struct buffer bytes;

	if ((e->guard_epoch.n == 0 && e->kind != ENTRY_NODE_REAP) || h->world->calm ||
	    !rng_chance(&h->world->host_rng, LATE_PPM) || apps->late_count == LATE_MAX)
		return;
	buffer_init(&bytes, VALUE_MAX_BYTES);
	if (codec_encode_entry(e, &bytes) == ERROR_OK) {
		late = &apps->late[apps->late_count++];
		late->epoch = h->epoch.n;
		late->size = bytes.size;
		late->bytes = mem_dup(bytes.data, bytes.size);
	}
	buffer_release(&bytes);
}

/* The same mastership may count on its own order. */
static void propose_late(struct host *h)
{
	struct sim_apps *apps = h->world->apps;
	struct sim_late *late;
	uint32_t at;

	if (apps->late_count == 0 || !sim_host_serves(h) ||
	    !rng_chance(&h->world->host_rng, LATE_TURN_PPM))
		return;
	at = (uint32_t)rng_below(&h->world->host_rng, apps->late_count);
	late = &apps->late[at];
	if (late->epoch == h->epoch.n)
		return;
	(void)!paxos_propose(h->paxos, sim_host_now(h), (struct bytes){late->bytes, late->size});
	free(late->bytes);
	*late = apps->late[--apps->late_count];
}

static uint32_t output_carry(struct host *h, const struct master_output *out,
			     struct refusal **ret_refused)
{
	struct refusal *refused = NULL;
	uint32_t count = 0;

	for (uint32_t i = 0; i < out->reply_count; i++)
		send_reply(h, &out->replies[i]);
	for (uint32_t i = 0; i < out->push_count; i++)
		send_envelope(h, out->pushes[i].stream.n, 0, &out->pushes[i].reply);
	for (uint32_t i = 0; i < out->proposal_count; i++) {
		enum error error = sim_host_propose(h, &out->proposals[i]);

		keep_for_later(h, &out->proposals[i]);
		if (error == ERROR_OK)
			continue;
		refused = mem_realloc_array(refused, count + 1, sizeof(*refused));
		refused[count++] = (struct refusal){out->proposals[i], error};
	}
	*ret_refused = refused;
	return count;
}

static void drain(struct host *h)
{
	for (uint32_t round = 0; !h->world->failed; round++) {
		const struct master_output *out = master_output(h->front->master);
		struct refusal *refused;
		uint32_t count;

		if (out->reply_count + out->push_count + out->proposal_count == 0)
			return;
		count = output_carry(h, out, &refused);
		master_output_done(h->front->master);
		for (uint32_t i = 0; i < count; i++) {
			struct moment at = moment_of(h);

			master_proposal_refused(h->front->master, &at, &refused[i].entry,
						refused[i].error);
		}
		free(refused);
		if (round > DRAIN_MAX)
			sim_fail(h->world, "r%u: its master never comes to rest", h->id.n);
	}
}

/* ---- in ------------------------------------------------------------------------------------- */

static struct front_call *call_new(struct host *h, const struct sim_packet *p, uint64_t call_id)
{
	struct front_call *c = mem_zalloc(sizeof(*c));

	c->id = ++h->front->last_call;
	c->pipe = p->pipe;
	c->call_id = call_id;
	c->question = p->question;
	c->app = p->app;
	c->life = p->life;
	HASH_ADD(hh, h->front->calls, id, sizeof(c->id), c);
	return c;
}

void sim_front_packet(struct host *h, const struct sim_packet *p)
{
	struct bytes b = {p->data, p->size};
	const char *trouble = NULL;
	struct request r = {0};
	uint64_t call_id = 0;
	struct arena arena;
	enum error e;

	if (!sim_pipe_reaches(h, p))
		return;
	arena_init(&arena, ARENA_MAX_BYTES);
	if (p->question != 0)
		e = wire_decode_request(MESSAGE_FIND_MASTER, b, &arena, &r, &trouble);
	else
		e = wire_decode_client_envelope(b, &arena, &call_id, &r, &trouble);
	if (e != ERROR_OK) {
		sim_fail(h->world, "r%u: a request does not survive its encoding: %s", h->id.n,
			 trouble == NULL ? error_text(e) : trouble);
	} else {
		struct moment at = moment_of(h);
		struct front_call *c = call_new(h, p, call_id);

		sim_hash(h->world, h->index, r.kind, r.session.n ^ r.number << 32);
		master_request(h->front->master, &at, (struct call_id){c->id},
			       (struct stream_id){p->pipe}, &r);
		drain(h);
	}
	arena_release(&arena);
	sim_host_drain(h);
}

void sim_front_pipe_closed(struct host *h, uint64_t pipe)
{
	struct front_call *c, *next;

	HASH_ITER(hh, h->front->calls, c, next) {
		if (c->pipe != pipe || c->question != 0)
			continue;
		master_call_gone(h->front->master, (struct call_id){c->id});
		HASH_DEL(h->front->calls, c);
		free(c);
	}
	master_stream_closed(h->front->master, (struct stream_id){pipe});
	drain(h);
	sim_host_drain(h);
}

void sim_front_applied(struct host *h, const struct entry *e, const struct outcome *o)
{
	struct moment at;

	if (master_serving(h->front->master)) {
		at = moment_of(h);
		master_applied(h->front->master, &at, e, o);
	}
	drain(h);
}

void sim_front_begin(struct host *h)
{
	struct moment at = moment_of(h);

	master_begin(h->front->master, &at);
	h->front->told_leader = h->id;
}

void sim_front_end(struct host *h)
{
	struct moment at = moment_of(h);

	master_end(h->front->master, &at);
	drain(h);
}

void sim_front_step(struct host *h)
{
	struct moment at = moment_of(h);
	struct replica_id leader = paxos_leader(h->paxos, at.now_ns);

	if (!replica_equal(leader, h->front->told_leader)) {
		h->front->told_leader = leader;
		master_leader(h->front->master, &at, leader);
		drain(h);
	}
	propose_late(h);
	at = moment_of(h);
	if (at.now_ns >= master_next_tick(h->front->master, &at)) {
		master_tick(h->front->master, &at);
		drain(h);
	}
}

int64_t sim_front_next_tick(const struct host *h)
{
	struct moment at = moment_of(h);

	return master_next_tick(h->front->master, &at);
}

/* ---- life ----------------------------------------------------------------------------------- */

void sim_front_start(struct host *h)
{
	struct sim_front *f = mem_zalloc(sizeof(*f));
	struct master_config config = {.self = h->id};

	config.server_count = h->world->options->replicas;
	for (uint32_t i = 0; i < config.server_count; i++) {
		f->addresses[i][0] = 'r';
		f->addresses[i][1] = (char)('1' + i);
		config.servers[i] = (struct master_server){
			.replica = h->world->hosts[i].id,
			.address = bytes_of_text(f->addresses[i]),
		};
	}
	f->master = master_new(&config, h->cell);
	h->front = f;
}

void sim_front_release(struct host *h)
{
	struct front_call *c, *next;

	if (h->front == NULL)
		return;
	HASH_ITER(hh, h->front->calls, c, next) {
		HASH_DEL(h->front->calls, c);
		free(c);
	}
	master_free(h->front->master);
	free(h->front);
	h->front = NULL;
}

const char *sim_front_invariants(const struct host *h)
{
	return master_invariants(h->front->master);
}

void sim_front_counters(const struct host *h, struct master_counters *ret_counters)
{
	master_counters(h->front->master, ret_counters);
}
