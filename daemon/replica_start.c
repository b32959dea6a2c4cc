/*
 * The start of one replica: what is on its disk is read and verified, the log is replayed, and then
 * it listens.
 */
#include <stdio.h>
#include <stdlib.h>

#include "replica_internal.h"

/* How long a replica whose disk failed leaves mastership to others. */
#define STAND_BACK_NS (30 * NS_PER_S)

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
		.stand_back_ns = r->config->stand_back ? STAND_BACK_NS : 0,
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
	const char *web_address = r->config->listen_web != NULL ? r->config->listen_web
								: own->web_address;
	struct net_config c = {
		.self =
			{
				.protocol = CODEC_PROTOCOL,
				.cell_id_high = id->cell_id_high,
				.cell_id_low = id->cell_id_low,
				.replica = id->self,
				.incarnation = id->incarnation,
			},
		.listen_client = r->config->listen != NULL ? r->config->listen : own->address,
		.listen_peer = r->config->listen_peer != NULL ? r->config->listen_peer
							      : own->peer_address,
		.insecure_plaintext_beyond_loopback = r->config->insecure_plaintext_beyond_loopback,
	};
	char *trouble = NULL;
	enum error e;

	for (uint32_t i = 0; i < id->member_count; i++) {
		const struct store_member *m = &id->members[i];
		struct peer *p = &r->peers[r->peer_count];

		if (replica_equal(m->replica, id->self))
			continue;
		c.peers[c.peer_count++] = (struct net_peer_config){m->replica, m->peer_address};
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

bool replica_start(struct replica *r)
{
	struct store_options options = {.keep_slots = (uint64_t)r->config->keep_slots};
	struct store_callbacks callbacks = replica_store_callbacks(r);
	char *trouble = NULL;
	enum error e = store_open(r->config->data, &options, &r->store, &trouble);

	if (e == ERROR_NOT_FOUND) {
		log_error("%s holds no replica. A directory is made once, by chubbyd init for a "
			  "whole cell; to join a cell with an empty one is not there yet in this "
			  "version",
			  r->config->data);
		free(trouble);
		return false;
	}
	if (e != ERROR_OK) {
		refuse(r->config->data, trouble, e);
		return false;
	}
	r->identity = store_identity(r->store);
	trouble = clock_start_trouble((int32_t)r->config->drift_ppm, r->identity->created_unix_ms);
	if (trouble != NULL) {
		refuse("cannot start", trouble, ERROR_INTERNAL);
		return false;
	}
	clock_watch_init(&r->clock_watch);
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
	replica_snapshots_start(r);
	r->started_ns = clock_now_ns();
	log_info("replica %u of cell %s, clients on %s, peers on %s, revision %llu",
		 r->identity->self.n, r->identity->cell_name, own_member(r)->address,
		 own_member(r)->peer_address, (unsigned long long)cell_meta(r->cell)->revision.n);
	return true;
}
