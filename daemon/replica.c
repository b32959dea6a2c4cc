/*
 * The start, the loop and the end of one replica.
 */
#include "replica_internal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- start ---------------------------------------------------------------------------------- */

static void refuse(const char *what, char *trouble, enum error e)
{
	log_error("%s: %s", what, trouble != NULL ? trouble : error_text(e));
	free(trouble);
}

static struct paxos_config paxos_configuration(const struct replica *r)
{
	const struct store_identity *id = r->identity;
	struct paxos_config c = {
		.self = id->self,
		.incarnation = id->incarnation,
		.lease_ns = r->config->lease_ms * NS_PER_MS,
		.heartbeat_ns = r->config->heartbeat_ms * NS_PER_MS,
		.drift_ppm = (int32_t)r->config->drift_ppm,
		.stall_ns = NS_PER_S,
	};

	c.membership.count = id->member_count;
	for (uint32_t i = 0; i < id->member_count; i++)
		c.membership.members[i] = (struct paxos_member){
			.replica = id->members[i].replica,
			.incarnation = id->members[i].incarnation,
			.voting = true,
		};
	return c;
}

/* What the log holds beyond the stored state, up to the stored watermark. */
static bool replay(struct replica *r, struct slot chosen)
{
	while (r->applied.n < chosen.n) {
		struct store_slots slots = {0};
		enum error e = store_read_log(r->store, slot_next(r->applied), chosen,
					      SERVE_CHUNK_BYTES, &slots);

		if (e != ERROR_OK || slots.count == 0 ||
		    slots.entries[0].slot.n != r->applied.n + 1) {
			log_error("the log cannot be replayed from slot %llu: %s",
				  (unsigned long long)r->applied.n + 1,
				  e == ERROR_OK ? "slots are missing" : error_text(e));
			store_slots_release(&slots);
			return false;
		}
		for (uint32_t i = 0; i < slots.count; i++)
			replica_apply_value(r, slots.entries[i].slot, slots.entries[i].value);
		store_slots_release(&slots);
	}
	return true;
}

/* A replica without memory comes up all the same, to say so. */
static void load_nothing(struct replica *r)
{
	struct cell_genesis g = {
		.cell_id_high = r->identity->cell_id_high,
		.cell_id_low = r->identity->cell_id_low,
		.name = bytes_of_text(r->identity->cell_name),
	};

	cell_free(r->cell);
	r->cell = cell_new(&g);
	r->applied = (struct slot){0};
}

static bool load_state(struct replica *r, struct paxos_recovered *recovered)
{
	char *trouble = NULL;
	enum error e;

	if (recovered->memory != PAXOS_MEMORY_LOST) {
		e = store_load(r->store, &r->cell, &r->applied, &trouble);
		if (e == ERROR_OK && replay(r, recovered->durable.chosen))
			return true;
		if (trouble == NULL)
			trouble = config_sentence("the state cannot be rebuilt: %s",
						  error_text(e == ERROR_OK ? ERROR_STORAGE_CORRUPT
									   : e));
		snprintf(r->trouble, sizeof(r->trouble), "%s", trouble);
		log_error("%s; this replica takes no part until it is replaced", trouble);
		free(trouble);
		recovered->memory = PAXOS_MEMORY_LOST;
	}
	load_nothing(r);
	return true;
}

static bool start_paxos(struct replica *r)
{
	struct paxos_config config = paxos_configuration(r);
	struct paxos_recovered recovered = {0};
	char *trouble = NULL;
	uint64_t seed;
	enum error e = store_recover(r->store, &recovered, &trouble);

	if (e != ERROR_OK) {
		refuse("cannot read the log", trouble, e);
		return false;
	}
	if (recovered.memory == PAXOS_MEMORY_LOST) {
		snprintf(r->trouble, sizeof(r->trouble), "%s",
			 trouble != NULL ? trouble : "its memory is lost");
		log_error("%s; this replica takes no part until it is replaced", r->trouble);
	} else if (trouble != NULL) {
		log_warning("%s", trouble);
	}
	free(trouble);
	if (!load_state(r, &recovered))
		return false;
	recovered.applied = r->applied;
	clock_random_bytes(&seed, sizeof(seed));
	r->paxos = paxos_new(&config, &recovered, seed, clock_now_ns());
	free(recovered.tail);
	return true;
}

static void start_master(struct replica *r)
{
	struct master_config config = {.self = r->identity->self};

	config.server_count = r->identity->member_count;
	for (uint32_t i = 0; i < r->identity->member_count; i++)
		config.servers[i] = (struct master_server){
			.replica = r->identity->members[i].replica,
			.address = bytes_of_text(r->identity->members[i].address),
		};
	r->master = master_new(&config, r->cell);
}

static const struct store_member *own_member(const struct replica *r)
{
	for (uint32_t i = 0; i < r->identity->member_count; i++) {
		if (replica_equal(r->identity->members[i].replica, r->identity->self))
			return &r->identity->members[i];
	}
	CHECK_UNREACHABLE("an identity without this replica");
}

static bool start_net(struct replica *r)
{
	const struct store_identity *id = r->identity;
	const struct store_member *own = own_member(r);
	const char *web_address =
		r->config->listen_web != NULL ? r->config->listen_web : own->web_address;
	struct net_config c = {
		.self = {
			.protocol = CODEC_PROTOCOL,
			.cell_id_high = id->cell_id_high,
			.cell_id_low = id->cell_id_low,
			.replica = id->self,
			.incarnation = id->incarnation,
		},
		.listen_client = r->config->listen != NULL ? r->config->listen : own->address,
		.listen_peer = r->config->listen_peer != NULL ? r->config->listen_peer
							      : own->peer_address,
		.insecure_plaintext_beyond_loopback =
			r->config->insecure_plaintext_beyond_loopback,
	};
	char *trouble = NULL;
	enum error e;

	for (uint32_t i = 0; i < id->member_count; i++) {
		const struct store_member *m = &id->members[i];
		struct peer *p = &r->peers[r->peer_count];

		if (replica_equal(m->replica, id->self))
			continue;
		c.peers[c.peer_count++] =
			(struct net_peer_config){m->replica, m->peer_address};
		p->replica = m->replica;
		p->incarnation = m->incarnation;
		buffer_init(&p->frame, CODEC_FRAME_MAX_BYTES);
		r->peer_count++;
	}
	e = net_open(&c, &r->net, &trouble);
	if (e != ERROR_OK) {
		refuse("cannot start", trouble, e);
		return false;
	}
	if (web_address[0] == '\0')
		return true;
	e = web_open(web_address, r->config->insecure_plaintext_beyond_loopback, &r->web, &trouble);
	if (e != ERROR_OK)
		refuse("cannot start", trouble, e);
	return e == ERROR_OK;
}

static bool start(struct replica *r)
{
	struct store_options options = {.keep_slots = (uint64_t)r->config->keep_slots};
	struct store_callbacks callbacks = replica_store_callbacks(r);
	char *trouble = NULL;
	enum error e = store_open(r->config->data, &options, &r->store, &trouble);

	if (e == ERROR_NOT_FOUND) {
		log_error("%s holds no replica. A directory is made once, by chubbyd init for a "
			  "whole cell; an empty one can only join an existing cell",
			  r->config->data);
		free(trouble);
		return false;
	}
	if (e != ERROR_OK) {
		refuse(r->config->data, trouble, e);
		return false;
	}
	r->identity = store_identity(r->store);
	if (!start_paxos(r))
		return false;
	start_master(r);
	if (!start_net(r))
		return false;
	e = store_start(r->store, &callbacks, &trouble);
	if (e != ERROR_OK) {
		refuse(r->config->data, trouble, e);
		return false;
	}
	replica_reader_start(r);
	r->started_ns = clock_now_ns();
	log_info("replica %u of cell %s, clients on %s, peers on %s, revision %llu",
		 r->identity->self.n, r->identity->cell_name, own_member(r)->address,
		 own_member(r)->peer_address,
		 (unsigned long long)cell_meta(r->cell)->revision.n);
	return true;
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void handle_request(struct replica *r, const struct net_event *ev)
{
	struct moment at = replica_moment(r);

	if (ev->request->kind == MESSAGE_STATUS) {
		replica_status(r, ev->call, ev->request);
		return;
	}
	master_request(r->master, &at, (struct call_id){ev->call.n},
		       (struct stream_id){ev->stream.n}, ev->request);
	replica_drain_master(r);
}

static void handle(struct replica *r, const struct net_event *ev)
{
	switch (ev->kind) {
	case NET_REQUEST:
		handle_request(r, ev);
		break;
	case NET_CALL_GONE:
		master_call_gone(r->master, (struct call_id){ev->call.n});
		break;
	case NET_STREAM_CLOSED:
		master_stream_closed(r->master, (struct stream_id){ev->stream.n});
		break;
	case NET_PEER_CONNECTED:
		replica_peer_connected(r, ev->replica);
		break;
	case NET_PEER_FRAME:
		replica_peer_frame(r, ev->replica, ev->frame);
		break;
	case NET_POSTED:
		replica_posted(r, ev->item);
		break;
	case NET_DRAINED:
		r->drained = true;
		break;
	case NET_PEER_LOST:
	case NET_TIMEOUT:
		break;
	}
}

static void save_state(struct replica *r, int64_t now_ns)
{
	if (r->storage != ERROR_OK || paxos_role(r->paxos) == PAXOS_LOST)
		return;
	if (now_ns < r->save_at_ns && cell_dirty_bytes(r->cell) < SAVE_AT_BYTES)
		return;
	if (cell_dirty_bytes(r->cell) == 0 ||
	    store_save_state(r->store, r->cell, r->applied))
		r->save_at_ns = now_ns + SAVE_EVERY_NS;
	else
		r->save_at_ns = now_ns + SAVE_EVERY_NS / 20;
}

/* Timers fire after everything that was waiting has been read: a loop that was late must not take
 * its own lateness for the silence of others. */
static void fire_timers(struct replica *r)
{
	struct moment at = replica_moment(r);

	if (at.now_ns >= paxos_next_tick(r->paxos))
		paxos_tick(r->paxos, at.now_ns);
	at = replica_moment(r);
	if (at.now_ns >= master_next_tick(r->master, &at)) {
		master_tick(r->master, &at);
		replica_drain_master(r);
	}
	if (at.now_ns >= r->gossip_at_ns) {
		r->gossip_at_ns = at.now_ns + GOSSIP_EVERY_NS;
		replica_gossip(r);
		replica_publish(r);
	}
	save_state(r, at.now_ns);
}

static int64_t next_deadline(const struct replica *r)
{
	struct moment at = replica_moment(r);
	int64_t next = paxos_next_tick(r->paxos);

	next = time_earlier(next, master_next_tick(r->master, &at));
	next = time_earlier(next, r->gossip_at_ns);
	next = time_earlier(next, r->save_at_ns);
	if (r->resigned)
		next = time_earlier(next, r->stop_at_ns);
	return next;
}

/* One turn: wait for an event, take what else is there, fire timers, send what came of it. */
static void turn(struct replica *r)
{
	struct net_event ev;
	int budget = TURN_EVENTS_MAX;

	net_next(r->net, next_deadline(r), &ev);
	while (ev.kind != NET_TIMEOUT) {
		handle(r, &ev);
		if (--budget == 0)
			break;
		net_next(r->net, 0, &ev);
	}
	if (budget > 0)
		fire_timers(r);
	replica_flush(r);
	net_turn(r->net);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Hands mastership over, tells the clients, stops. */
static void resign(struct replica *r)
{
	struct moment at = replica_moment(r);

	log_info("stopping%s", master_serving(r->master) ? ", handing mastership over" : "");
	r->resigned = true;
	r->stop_at_ns = at.now_ns + HANDOVER_NS;
	master_end(r->master, &at);
	replica_drain_master(r);
	paxos_resign(r->paxos, clock_now_ns());
	replica_flush(r);
	net_turn(r->net);
}

/* The hand-over is done when a successor is known, or nobody led anyway. */
static bool handed_over(const struct replica *r)
{
	struct replica_id leader = paxos_leader(r->paxos, clock_now_ns());

	return clock_now_ns() >= r->stop_at_ns ||
	       (leader.n != 0 && !replica_equal(leader, r->identity->self)) ||
	       paxos_role(r->paxos) == PAXOS_LOST;
}

static void finish(struct replica *r)
{
	int64_t until = clock_now_ns() + 2 * DRAIN_NS;

	net_shutdown_begin(r->net, DRAIN_NS);
	while (!r->drained && clock_now_ns() < until)
		turn(r);
	if (r->storage == ERROR_OK && paxos_role(r->paxos) != PAXOS_LOST)
		(void)!store_save_state(r->store, r->cell, r->applied);
}

static void release(struct replica *r)
{
	struct net_event ev;

	if (r->reader.thread != 0)
		replica_reader_stop(r);
	store_close(r->store);
	/* What the store's threads posted last still owns memory. */
	if (r->net != NULL && r->paxos != NULL) {
		for (net_next(r->net, 0, &ev); ev.kind != NET_TIMEOUT; net_next(r->net, 0, &ev)) {
			if (ev.kind == NET_POSTED)
				replica_posted(r, ev.item);
		}
	}
	master_free(r->master);
	paxos_free(r->paxos);
	cell_free(r->cell);
	web_close(r->web);
	if (r->net != NULL)
		net_close(r->net);
	for (uint32_t i = 0; i < r->peer_count; i++)
		buffer_release(&r->peers[i].frame);
	buffer_release(&r->entry_bytes);
	arena_release(&r->entry_arena);
	arena_release(&r->frame_arena);
}

static void *signal_main(void *argument)
{
	struct replica *r = argument;
	sigset_t set;
	int number = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1); /* from release(): the loop ended by itself */
	if (sigwait(&set, &number) == 0 && number != SIGUSR1)
		replica_post(r, (struct post){.kind = POST_STOP});
	return NULL;
}

static enum replica_exit loop(struct replica *r)
{
	while (!r->stop_asked && r->storage == ERROR_OK) {
		turn(r);
		if (r->diverged && !r->resigned)
			resign(r);
	}
	if (r->storage != ERROR_OK) {
		replica_gossip(r);
		replica_flush(r);
		net_turn(r->net);
		return REPLICA_STORAGE_FAILED;
	}
	if (!r->resigned)
		resign(r);
	while (!handed_over(r))
		turn(r);
	finish(r);
	return REPLICA_STOPPED;
}

enum replica_exit replica_run(const struct config *config)
{
	struct replica *r = mem_zalloc(sizeof(*r));
	enum replica_exit result = REPLICA_REFUSED;
	pthread_t signals;

	r->config = config;
	arena_init(&r->entry_arena, ENTRY_ARENA_MAX_BYTES);
	arena_init(&r->frame_arena, FRAME_ARENA_MAX_BYTES);
	buffer_init(&r->entry_bytes, VALUE_MAX_BYTES);
	if (start(r)) {
		CHECK(pthread_create(&signals, NULL, signal_main, r) == 0);
		result = loop(r);
		pthread_kill(signals, SIGUSR1);
		pthread_join(signals, NULL);
	}
	release(r);
	free(r);
	return result;
}
