/*
 * What the files of net/ share.
 *
 * Operations. Whatever is given to gRPC carries a `struct op` as its tag; when the completion
 * comes, `done` runs on the replica's thread and emits at most one event. `net.outstanding` counts
 * what is under way: the queue may be shut down only at zero. An object goes back to its pool when
 * its last batch is done, never before.
 *
 *   call.c     unary calls of clients: two completions each (arrived, answered)
 *   stream.c   Session streams of clients, and the calls in their envelopes
 *   inbound.c  streams that peers opened to us
 *   link.c     streams that we open to peers: an Exchange and a Bulk link for each
 *   join.c     which frames for a peer may be put together
 *   server.c   the two servers, their methods, and the budget for arming
 *   payload.c  bytes in and out, refusals as statuses
 *   address.c  what listening addresses mean; tls.c credentials
 *   watch.c    whether gRPC still listens
 *   net.c      the queue: next, post, shutdown
 */
#ifndef CHUBBY_NET_NET_INTERNAL_H
#define CHUBBY_NET_NET_INTERNAL_H

#include "base/check.h"
#include "base/clock.h"
#include "base/time.h"
#include "net/net.h"
#include "net/slots.h"
#include "net/watch.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stddef.h>

/* A call that is answered within this time costs no completion of its own for "client gone". */
#define NET_WATCH_AFTER_NS (20 * NS_PER_MS)
/* A dialled peer that refuses us is asked again after this. */
#define NET_REDIAL_NS (200 * NS_PER_MS)
/* Calls waiting at gRPC for each method, so that a burst finds them ready. */
#define NET_ARMED_CHUBBY 32
#define NET_ARMED_ADMIN 2
#define NET_ARMED_STRAY 4
#define NET_ARMED_PEER 4
/* Objects kept for reuse in each pool. */
#define NET_POOL_MAX 1024
#define NET_POSTED_MAX ((size_t)1 << 20)
/* Peer streams that have not said hello yet. */
#define NET_STRANGERS_MAX 64
#define NET_ARENA_MAX_BYTES ((size_t)8 << 20)
#define NET_METHODS_MAX (MESSAGE_KIND_END + 2)

#define CONTAINER_OF(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct op {
	void (*done)(struct net *n, struct op *op, bool ok);
};

/* ---- payload.c ------------------------------------------------------------------------------ */

/* Slices to be sent, in order. */
struct slice_queue {
	grpc_slice *slices; /* owned ring */
	uint32_t head, count, capacity;
	size_t bytes;
};

void slice_queue_release(struct slice_queue *q);
void slice_queue_push(struct slice_queue *q, grpc_slice s);
/* The queue must not be empty; the caller owns the slice. */
grpc_slice slice_queue_pop(struct slice_queue *q);
/* The bytes at the head, valid until the queue is touched. */
struct bytes slice_queue_peek(const struct slice_queue *q);

/* A refusal as gRPC wants it; holds slices until refusal_release(). */
struct refusal {
	grpc_status_code code;
	grpc_slice text;
	grpc_metadata trailer;
	size_t trailer_count;
};

void refusal_init(struct net *n, const struct reply *r, struct refusal *ret_refusal);
void refusal_release(struct refusal *f);
/* Fills a SEND_STATUS_FROM_SERVER; `f` must live until the batch is started. */
void refusal_op(struct refusal *f, grpc_op *ret_op);

/* A reply that net itself makes; `sentence` must outlive it. */
struct reply reply_refusing(enum error e, const char *sentence);
/* The bytes of a received message, owned by `n` until the next event. Takes the buffer. */
struct bytes net_borrow(struct net *n, grpc_byte_buffer *buffer);
/* Makes a slice of n->scratch and empties it. */
grpc_slice net_scratch_slice(struct net *n);

/* ---- calls ---------------------------------------------------------------------------------- */

/* What a call id names: the head of a struct unary or a struct envelope. */
struct call {
	uint64_t id; /* 0: answered or gone */
	enum message_kind kind;
	bool on_stream;
};

struct unary;
struct stream;
struct inbound;

enum method_use { METHOD_UNARY, METHOD_SESSION, METHOD_STRAY };

struct method {
	enum method_use use;
	enum message_kind kind;
	void *registration;
	uint32_t owed; /* receives to be armed again */
};

void unary_arm(struct net *n, struct method *m);
void unary_reply(struct net *n, struct call *c, const struct reply *r);
/* Watches the clients of calls that stayed unanswered; the instant when the next one is due. */
int64_t unary_watch(struct net *n, int64_t now_ns);
/* For net_close(): drops calls that no batch will bring back. */
void unary_abandon(struct net *n);
void unary_release_pool(struct net *n);

void stream_arm(struct net *n, struct method *m);
void envelope_reply(struct net *n, struct call *c, const struct reply *r);
/* Arms the reads that were put off, as far as the budget goes. */
void stream_turn(struct net *n);
/* Ends the streams that have no call open; for the drain. */
void stream_drain(struct net *n);
void stream_release_pool(struct net *n);

/* ---- server.c ------------------------------------------------------------------------------- */

struct endpoint {
	grpc_server *server;
	int port;
	struct watch watch;
	bool started, stopping, stopped;
	struct op stopped_op;
};

MUST_USE enum error server_open(struct net *n, const char *listen_client, const char *listen_peer,
				char **ret_trouble);
void server_start(struct net *n);
/* Accepts nothing further; idempotent. */
void server_stop(struct net *n, struct endpoint *e);
/* Arms the method again: now, or in the next turn when the budget is spent. */
void method_rearm(struct net *n, struct method *m);
void server_turn(struct net *n);

/* ---- inbound.c, link.c ---------------------------------------------------------------------- */

void inbound_arm(struct net *n, bool bulk);
/* NULL when the hello is right for us; else the reason. */
const char *hello_trouble(const struct net *n, const struct codec_hello *h);

struct peer;

struct link {
	struct peer *peer;
	bool bulk;
	enum link_state { LINK_DOWN, LINK_CALLING, LINK_UP } state;
	grpc_channel *channel;
	grpc_call *call;
	struct op sent, received, ended;
	uint32_t batches;
	bool sending;
	grpc_byte_buffer *incoming;
	grpc_metadata_array initial, trailing;
	grpc_status_code status;
	grpc_slice status_text;
	struct slice_queue queue;
	int64_t dialled_ns;
	int64_t retry_ns;   /* TIME_NEVER: none */
	char *last_trouble; /* owned; logged once as long as it stays the same */
};

struct peer {
	struct replica_id replica;
	char *address;        /* owned */
	struct link links[2]; /* Exchange, Bulk */
	struct inbound *inbound[2];
};

/* join.c: what has been put together so far. */
struct join {
	size_t bytes;
	uint32_t messages, singles;
};

/* Counts a frame in; false, and nothing changed, if it must not be put behind the others. */
bool join_add(struct join *j, struct bytes frame);

void link_open(struct net *n, struct peer *p, bool bulk);
/* Dials links whose time has come. */
void link_tick(struct net *n, int64_t now_ns);
void link_cancel(struct link *l);
void link_release(struct link *l);
/* True when every link has sent what it had. */
bool link_all_sent(const struct net *n);
struct peer *peer_find(struct net *n, struct replica_id replica);

/* ---- address.c, tls.c ----------------------------------------------------------------------- */

/* True for "host:port" and "[v6]:port". */
bool address_valid(const char *address);
/* 127.0.0.0/8, ::1, localhost. */
bool address_is_loopback(const char *address);
/* What gRPC dials; the caller frees. */
char *address_target(const char *address);
/* Where to call what listens on this port of a valid address. False: nowhere that is known. */
bool address_resolve(const char *address, int port, struct sockaddr_storage *ret_address,
		     socklen_t *ret_size);
/* Why an address cannot be bound, for a person; the caller frees. */
char *address_bind_trouble(const char *purpose, const char *address);

grpc_server_credentials *tls_server_credentials(void);
grpc_channel_credentials *tls_channel_credentials(void);
grpc_arg net_arg(const char *key, int value);

/* ---- net.c ---------------------------------------------------------------------------------- */

struct net {
	grpc_completion_queue *queue;
	struct endpoint clients, peers_endpoint;
	struct codec_hello self;
	uint64_t outstanding;
	bool draining, drain_swept, drained, closing, told_deaf;
	int64_t drain_end_ns;

	/* The event that the completion at hand brought, and what it borrows. */
	struct net_event event;
	grpc_byte_buffer *borrowed;
	grpc_slice borrowed_flat;
	char *borrowed_peer;
	struct arena arena;
	struct request request;
	struct buffer scratch; /* replies are encoded here */

	struct slots calls;   /* struct call */
	struct slots streams; /* struct stream */
	struct unary *fresh;  /* unanswered and not yet watched, oldest first */
	struct unary *unary_pool;
	uint32_t unary_pooled, unary_live;
	struct stream *stream_list;
	struct stream *unread; /* reads put off to the next turn */
	struct stream *stream_pool;
	uint32_t stream_pooled, stream_live;
	struct envelope *envelope_pool;

	struct method methods[NET_METHODS_MAX];
	uint32_t method_count;
	uint32_t owed, budget, turn_start;

	void *peer_methods[2]; /* Exchange, Bulk */
	uint32_t strangers;
	const char *last_refusal; /* of a peer's stream: logged once as long as it stays the same */
	struct peer peers[MEMBERS_MAX];
	uint32_t peer_count;
	int64_t links_due_ns;

	/* Posts: the mutex guards `posted` and `waking`; `taken` is the replica's. */
	pthread_mutex_t post_lock;
	void **posted;
	size_t posted_count, posted_capacity;
	bool waking;
	void **taken;
	size_t taken_next, taken_count, taken_capacity;
	struct op wake;
	grpc_channel *lame;
	grpc_call *wake_call;

	struct net_counters counters;
};

/* The event that net_next() will return; at most one for each completion. */
struct net_event *net_emit(struct net *n, enum net_event_kind kind);
/* Starts a batch; gRPC refuses only what is wrong in this program. */
void net_batch(struct net *n, grpc_call *call, const grpc_op *ops, size_t count, struct op *op);

#endif
