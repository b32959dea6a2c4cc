/*
 * A cell of paxos instances in one process, with a network and disks of paper.
 *
 * Time moves from event to event. After every call into an instance its invariants are checked,
 * what it sends is compared with what its disk holds (nothing claims a promise or acceptance that
 * a power cut would undo), what it applies with one canonical history, and its lease with those
 * of the others. Tests say what is lost, cut, or crashed, and when.
 */
#ifndef TEST_PAXOS_NET_H
#define TEST_PAXOS_NET_H

#include "base/rng.h"
#include "paxos/paxos.h"

#define NET_SLOTS_MAX 8192u
#define NET_LEASE_NS (400 * NS_PER_MS)
#define NET_HEARTBEAT_NS (100 * NS_PER_MS)

struct net_write {
	struct net_write *next;
	struct paxos_write write; /* owns its rows */
	int64_t due_ns;
};

struct net_disk {
	struct paxos_durable durable;
	struct paxos_accepted rows[NET_SLOTS_MAX];
	bool blank_before; /* nothing below durable.trimmed may be served */
};

struct net_node {
	struct paxos *p; /* NULL: down */
	struct net_disk disk;
	struct net_write *writes, **writes_end;
	int64_t started_ns;
	uint64_t applied;  /* last slot handed out in this life */
	int32_t rate_ppm;  /* error of its clock's rate */
	int64_t offset_ns; /* and its origin */
	bool disk_hangs;
	bool loop_stopped; /* no ticks, no deliveries */
	uint32_t elections, depositions;
	uint64_t commands_applied;
};

struct net_message {
	struct net_message *next;
	int64_t due_ns;
	uint64_t order;
	uint32_t from, to;
	bool learned; /* a chunk of chosen log instead of a message */
	struct paxos_message message;
	struct paxos_accepted *entries;
	uint32_t entry_count;
	struct slot chosen, trimmed;
};

struct net {
	uint32_t count;
	struct net_node nodes[MEMBERS_MAX + 1]; /* by replica id, from 1 */
	struct paxos_config config;
	struct rng rng;
	int64_t now_ns;
	uint64_t order;
	struct net_message *messages;               /* by due time, then order */
	bool cut[MEMBERS_MAX + 1][MEMBERS_MAX + 1]; /* from, to */
	uint32_t loss_ppm, duplicate_ppm;
	int64_t latency_low_ns, latency_high_ns;
	int64_t disk_low_ns, disk_high_ns;
	uint64_t proposed;
	/* The one history: what the first replica that applied a slot found there. */
	struct value *history[NET_SLOTS_MAX];
	uint64_t history_newest;
	/* True to lose this message on its way; may be NULL. */
	bool (*lose)(struct net *n, uint32_t from, uint32_t to, const struct paxos_message *m);
	/* Sees each message that leaves; may be NULL. */
	void (*watch)(struct net *n, uint32_t from, uint32_t to, const struct paxos_message *m);
	void *context;
	bool quiet;
};

struct net *net_new(uint32_t count, uint64_t seed);
void net_free(struct net *n);
void net_start(struct net *n, uint32_t id, enum paxos_memory memory);
void net_start_all(struct net *n);
/* Power cut: what is not durable is gone. */
void net_crash(struct net *n, uint32_t id);
void net_run(struct net *n, int64_t duration_ns);
/* Runs until there is a leased master or the time is over; its id or 0. */
uint32_t net_wait_master(struct net *n, int64_t limit_ns);
uint32_t net_master(struct net *n); /* leased now; 0: none */
/* Runs until every replica that is up has applied all of the history, at least `least` slots. */
bool net_wait_equal(struct net *n, uint64_t least, int64_t limit_ns);
enum error net_propose(struct net *n, uint32_t id);
/* Handles what the instance wants done; for tests that call it directly. */
void net_collect(struct net *n, uint32_t id);
int64_t net_local_ns(const struct net *n, uint32_t id);
void net_isolate(struct net *n, uint32_t id, bool cut);
void net_trim(struct net *n, uint32_t id, uint64_t slot);
/* A copy of the disk as it is now, to roll back to; free it with net_disk_free(). */
struct net_disk *net_disk_copy(const struct net *n, uint32_t id);
void net_disk_restore(struct net *n, uint32_t id, const struct net_disk *copy);
void net_disk_free(struct net_disk *copy);
struct incarnation net_incarnation(uint32_t id);
void net_rows_release(struct paxos_accepted *rows, uint32_t count);

#endif
