/*
 * What `chubby status` is told: this replica's own state, and of the others what they said last.
 */
#include "replica_internal.h"
#include "wire/path.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum wire_replica_state replica_state(const struct replica *r)
{
	if (r->storage != ERROR_OK)
		return WIRE_REPLICA_FAILED;
	switch (paxos_role(r->paxos)) {
	case PAXOS_LOST:
		return WIRE_REPLICA_LOST;
	case PAXOS_UNVETTED:
		return WIRE_REPLICA_STARTING;
	case PAXOS_CANDIDATE:
		return WIRE_REPLICA_CANDIDATE;
	case PAXOS_MASTER:
		return WIRE_REPLICA_MASTER;
	case PAXOS_FOLLOWER:
		break;
	}
	return WIRE_REPLICA_FOLLOWER;
}

const char *replica_trouble(const struct replica *r)
{
	if (r->trouble[0] != '\0')
		return r->trouble;
	if (r->diverged)
		return "its state differs from the other replicas' digest";
	return paxos_trouble(r->paxos);
}

static uint64_t resident_bytes(void)
{
	unsigned long long pages = 0, resident = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (f == NULL)
		return 0;
	if (fscanf(f, "%llu %llu", &pages, &resident) != 2)
		resident = 0;
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static bool takes_part(enum wire_replica_state state)
{
	return state == WIRE_REPLICA_FOLLOWER || state == WIRE_REPLICA_CANDIDATE ||
	       state == WIRE_REPLICA_MASTER;
}

static const struct store_member *member_of(const struct replica *r, struct replica_id id)
{
	for (uint32_t i = 0; i < r->identity->member_count; i++) {
		if (replica_equal(r->identity->members[i].replica, id))
			return &r->identity->members[i];
	}
	return NULL;
}

static void own_status(struct replica *r, struct wire_replica_status *s, uint8_t digest[16])
{
	struct digest d = cell_digest(r->cell);
	const char *trouble = replica_trouble(r);

	for (int i = 0; i < 8; i++) {
		digest[i] = (uint8_t)(d.high >> (56 - 8 * i));
		digest[8 + i] = (uint8_t)(d.low >> (56 - 8 * i));
	}
	s->state = replica_state(r);
	s->revision = cell_meta(r->cell)->revision.n;
	s->chosen_slot = paxos_chosen(r->paxos).n;
	s->digest = (struct bytes){digest, 16};
	s->version = bytes_of_text(PROJECT_VERSION);
	if (trouble != NULL)
		s->trouble = bytes_of_text(trouble);
}

static void peer_status(const struct peer *p, bool connected, int64_t now_ns,
			struct wire_replica_status *s)
{
	s->heard_ns_ago = p->heard_ns == 0 ? -1 : now_ns - p->heard_ns;
	s->revision = p->gossip.revision;
	s->chosen_slot = p->gossip.chosen;
	s->trouble = bytes_of_text(p->trouble);
	s->version = bytes_of_text(p->version);
	if (connected && p->heard_ns != 0 && now_ns - p->heard_ns < ALIVE_WITHIN_NS)
		s->state = (enum wire_replica_state)p->gossip.state;
	else
		s->state = WIRE_REPLICA_UNKNOWN;
}

/* How many more may fail before there is no majority: an honest number, from who speaks now. */
static uint32_t tolerates(uint32_t voting, uint32_t alive)
{
	uint32_t majority = voting / 2 + 1;

	return alive > majority ? alive - majority : 0;
}

void replica_status(struct replica *r, struct net_call call, const struct request *request)
{
	struct reply out = {.kind = MESSAGE_STATUS, .epoch = cell_meta(r->cell)->epoch};
	struct wire_replica_status list[MEMBERS_MAX];
	int64_t now_ns = clock_now_ns();
	struct replica_id leader = paxos_leader(r->paxos, now_ns);
	uint8_t digest[16];
	uint32_t alive = 0;
	char why[384];

	if (request->cell.size > 0 &&
	    !bytes_equal(request->cell, bytes_of_text(r->identity->cell_name))) {
		snprintf(why, sizeof(why), "this is cell %s, not %.*s", r->identity->cell_name,
			 (int)(request->cell.size < 64 ? request->cell.size : 64),
			 (const char *)request->cell.data);
		out.error = ERROR_WRONG_CELL;
		if (text_valid(bytes_of_text(why))) /* a name that was cut may not be */
			out.message = bytes_of_text(why);
		net_reply(r->net, call, &out);
		return;
	}
	if (replica_equal(leader, r->identity->self) && !master_serving(r->master))
		leader.n = 0; /* elected, but its epoch entry is not applied */
	for (uint32_t i = 0; i < r->identity->member_count; i++) {
		const struct store_member *m = &r->identity->members[i];
		struct peer *p = replica_peer(r, m->replica);

		list[i] = (struct wire_replica_status){.id = m->replica};
		list[i].address = bytes_of_text(m->address);
		list[i].peer_address = bytes_of_text(m->peer_address);
		if (p != NULL)
			peer_status(p, net_peer_connected(r->net, p->replica), now_ns, &list[i]);
		else
			own_status(r, &list[i], digest);
		list[i].voting = list[i].state != WIRE_REPLICA_LOST;
		if (takes_part(list[i].state))
			alive++;
	}
	out.status.cell = bytes_of_text(r->identity->cell_name);
	out.status.replica = r->identity->self;
	out.status.master = leader;
	if (leader.n != 0)
		out.status.master_address = bytes_of_text(member_of(r, leader)->address);
	out.status.tolerates = tolerates(r->identity->member_count, alive);
	out.status.replica_count = r->identity->member_count;
	out.status.replicas = list;
	out.status.node_count = cell_node_count(r->cell);
	out.status.session_count = cell_session_count(r->cell);
	out.status.uptime_ns = now_ns - r->started_ns;
	out.status.resident_bytes = resident_bytes();
	net_reply(r->net, call, &out);
}

/* ---- the web pages' snapshot ---------------------------------------------------------------- */

static const char *state_name(enum wire_replica_state state)
{
	static const char *const names[] = {"unknown", "starting", "follower", "candidate",
					    "master",  "lost",     "failed"};

	return names[state];
}

void replica_publish(struct replica *r)
{
	struct master_counters calls;
	struct store_counters disk;
	struct net_counters traffic;
	const char *trouble = replica_trouble(r);
	struct web_snapshot s = {
		.replica = r->identity->self.n,
		.master = paxos_leader(r->paxos, clock_now_ns()).n,
		.healthy = takes_part(replica_state(r)) && !r->diverged,
		.epoch = cell_meta(r->cell)->epoch.n,
		.revision = cell_meta(r->cell)->revision.n,
		.chosen_slot = paxos_chosen(r->paxos).n,
		.applied_slot = r->applied.n,
		.nodes = cell_node_count(r->cell),
		.sessions = cell_session_count(r->cell),
		.published_ns = clock_now_ns(),
	};

	if (r->web == NULL)
		return;
	master_counters(r->master, &calls);
	store_counters(r->store, &disk);
	net_counters(r->net, &traffic);
	snprintf(s.cell, sizeof(s.cell), "%s", r->identity->cell_name);
	snprintf(s.state, sizeof(s.state), "%s", state_name(replica_state(r)));
	snprintf(s.trouble, sizeof(s.trouble), "%s", trouble != NULL ? trouble : "");
	s.handles = calls.handles;
	s.pending_calls = calls.pending;
	s.held_calls = calls.held;
	s.requests = traffic.requests;
	s.replies = traffic.replies;
	s.pushes = traffic.pushes;
	s.malformed = traffic.malformed;
	s.streams = traffic.streams_open;
	s.peer_frames_sent = traffic.peer_frames_sent;
	s.peer_frames_received = traffic.peer_frames_received;
	s.peer_bytes_sent = traffic.peer_bytes_sent;
	s.log_commits = disk.log_commits;
	s.log_rows = disk.log_rows;
	s.log_bytes = disk.log_bytes;
	s.state_commits = disk.state_commits;
	s.state_rows = disk.state_rows;
	s.promise_syncs = disk.promise_syncs;
	web_publish(r->web, &s);
}
