/*
 * What the files of the replica share.
 *
 *   replica_start.c   reading the disk, replaying, listening
 *   replica.c         the loop, the end
 *   replica_flow.c    outputs of paxos and master to where they go; applying what is chosen
 *   replica_peers.c   frames from and to peers; serving the log to those behind
 *   replica_snapshot.c  the state for those whose missing log is trimmed
 *   replica_status.c  what `chubby status` is told
 *   replica_posts.c   what other threads post
 */
#ifndef CHUBBY_REPLICA_INTERNAL_H
#define CHUBBY_REPLICA_INTERNAL_H

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/version.h"
#include "cell/cell.h"
#include "clock_watch.h"
#include "codec/codec.h"
#include "master/master.h"
#include "net/net.h"
#include "paxos/paxos.h"
#include "replica.h"
#include "store/store.h"
#include "web/web.h"

/* Events that are taken in one turn before what they caused is sent. */
#define TURN_EVENTS_MAX 128
/* State is saved so often, or when so much is dirty. */
#define SAVE_EVERY_NS (1 * NS_PER_S)
#define SAVE_AT_BYTES ((size_t)1 << 20)
#define GOSSIP_EVERY_NS (500 * NS_PER_MS)
/* A peer that has not spoken for so long does not count as alive in the status. */
#define ALIVE_WITHIN_NS (1500 * NS_PER_MS)
#define SERVE_CHUNK_BYTES ((size_t)1 << 20)
#define ENTRY_ARENA_MAX_BYTES ((size_t)4 << 20)
#define FRAME_ARENA_MAX_BYTES ((size_t)8 << 20)
#define HANDOVER_NS (500 * NS_PER_MS)
#define DRAIN_NS (500 * NS_PER_MS)

enum post_kind {
	POST_PERSISTED,
	POST_STORE_FAILED,
	POST_VALUES_DONE,
	POST_STATE_PERSISTED,
	POST_TRIMMED,
	POST_LOG_READ,
	POST_SNAPSHOT_READ,
	POST_SNAPSHOT_TAKEN,
	POST_STOP,
};

/* What another thread tells the loop; owned by whoever takes it. */
struct post {
	enum post_kind kind;
	uint64_t number;       /* PERSISTED; SNAPSHOT_TAKEN: bytes so far */
	enum error error;      /* STORE_FAILED, LOG_READ, SNAPSHOT_… */
	char *text;            /* STORE_FAILED, SNAPSHOT_…: owned */
	struct value **values; /* VALUES_DONE: owned array */
	uint32_t count;
	struct slot slot;               /* STATE_PERSISTED, TRIMMED */
	struct replica_id peer;         /* LOG_READ, SNAPSHOT_READ */
	struct store_slots slots;       /* LOG_READ: owned */
	struct codec_snapshot snapshot; /* SNAPSHOT_…; its data is not used */
	struct buffer data;             /* SNAPSHOT_READ: owned */
	bool ready;                     /* SNAPSHOT_TAKEN: complete, verified, can be installed */
};

struct peer {
	struct replica_id replica;
	struct incarnation incarnation;
	struct buffer frame;        /* gathers messages during a turn */
	bool reading;               /* the reader thread works for it */
	bool snapshot_reading;      /* the snapshot thread does */
	int64_t heard_ns;           /* last frame; 0: never */
	struct codec_gossip gossip; /* texts empty but `trouble`, `version` */
	char trouble[512];
	char version[64];
};

struct read_job {
	struct replica_id peer;
	struct slot from;
	struct slot through;
};

struct reader {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t condition;
	bool stop;
	uint32_t job_count; /* at most one for each peer */
	struct read_job jobs[MEMBERS_MAX];
};

struct snapshot_job {
	bool serve; /* a piece to `peer`; else a piece that came is to be taken */
	struct replica_id peer;
	struct slot above;              /* serve: what the peer has */
	struct slot trimmed;            /* serve: up to where our log is */
	struct codec_snapshot snapshot; /* its data is not used */
	struct buffer data;             /* take: owned */
};

/* The thread for snapshots in both directions. */
struct snapshots {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t condition;
	bool stop;
	uint32_t job_count; /* at most one for each peer, and one to take */
	struct snapshot_job jobs[MEMBERS_MAX + 1];
};

/* A snapshot that this replica fetches. */
struct fetch {
	struct replica_id from;      /* 0: none */
	struct codec_snapshot about; /* id 0: the first piece has not come */
	uint64_t size_bytes;         /* written so far */
	bool writing;                /* a piece is with the thread, perhaps of an earlier fetch */
	int64_t ask_at_ns;
	int64_t give_up_ns;
};

struct replica {
	const struct config *config;
	const struct store_identity *identity;
	struct store *store;
	struct cell *cell;
	struct paxos *paxos;
	struct master *master;
	struct net *net;
	struct web *web;
	struct reader reader;
	struct snapshots snapshots;
	struct fetch fetch;

	uint32_t peer_count;
	struct peer peers[MEMBERS_MAX];

	struct arena entry_arena;
	struct arena frame_arena;
	struct buffer entry_bytes;
	struct slot applied;
	struct replica_id told_leader;
	bool vetted;        /* a majority confirmed our memory */
	bool resigned;      /* the end of the process is near */
	bool diverged;      /* our digest is not the log's */
	enum error storage; /* OK, or what failed */
	char trouble[512];
	int64_t started_ns;
	int64_t save_at_ns;
	int64_t gossip_at_ns;
	int64_t stop_at_ns; /* resigned: when to stop waiting for the hand-over */
	bool stop_asked;
	bool clock_failed;
	struct clock_watch clock_watch;
	bool restart; /* a snapshot is ready, or gRPC is deaf: only a new process helps */
	bool drained;
};

/* ---- replica_start.c */
/* False: the reason is in the log; what was made so far is in `r`. */
bool replica_start(struct replica *r);

/* ---- replica_flow.c */
struct moment replica_moment(const struct replica *r);
/* Carries what paxos and master have put out, until nothing is left. */
void replica_flush(struct replica *r);
/* Sends the master's replies and pushes, proposes its entries. */
void replica_drain_master(struct replica *r);
/* Applies one value of the log: each command becomes a revision. */
void replica_apply_value(struct replica *r, struct slot slot, const struct value *v);

/* ---- replica_peers.c */
void replica_peer_frame(struct replica *r, struct replica_id from, struct bytes bytes);
void replica_peer_connected(struct replica *r, struct replica_id to);
void replica_send_messages(struct replica *r, const struct paxos_output *out);
void replica_serve_log(struct replica *r, const struct paxos_output *out);
void replica_log_read(struct replica *r, struct post *p);
void replica_gossip(struct replica *r);
struct peer *replica_peer(struct replica *r, struct replica_id id);
void replica_reader_start(struct replica *r);
void replica_reader_stop(struct replica *r);

/* ---- replica_snapshot.c */
void replica_snapshots_start(struct replica *r);
void replica_snapshots_stop(struct replica *r);
/* Paxos finds that only a snapshot helps. */
void replica_snapshot_wanted(struct replica *r, struct replica_id from);
void replica_snapshot_asked(struct replica *r, struct peer *p,
			    const struct codec_snapshot_request *q);
void replica_snapshot_piece(struct replica *r, struct replica_id from,
			    const struct codec_snapshot *s);
void replica_snapshot_read(struct replica *r, struct post *p);
void replica_snapshot_taken(struct replica *r, struct post *p);
void replica_snapshot_peer_lost(struct replica *r, struct replica_id peer);
void replica_snapshot_tick(struct replica *r, int64_t now_ns);
int64_t replica_snapshot_next_tick(const struct replica *r);

/* ---- replica_status.c */
void replica_status(struct replica *r, struct net_call call, const struct request *request);
enum wire_replica_state replica_state(const struct replica *r);
const char *replica_trouble(const struct replica *r);
void replica_publish(struct replica *r);

/* ---- replica_posts.c */
struct store_callbacks replica_store_callbacks(struct replica *r);
void replica_posted(struct replica *r, struct post *p);
void replica_post(struct replica *r, struct post p);

#endif
