/*
 * net: gRPC at the rim (design sections 1 and 2). The only user of grpc in the daemon.
 *
 * One completion queue carries everything: client calls, session streams, peer streams, and what
 * other threads post. The replica's thread takes one event after the other with net_next(); its
 * deadline is the replica's timer. All functions belong to that thread, except net_post().
 *
 * Calls. A unary call and an envelope on a Session stream look alike: a NET_REQUEST with a call
 * id, answered exactly once with net_reply(), or ended by a NET_CALL_GONE (its client cancelled,
 * its deadline passed, or its stream broke), after which net_reply() is a no-op. Ids are never
 * used twice.
 *
 * Malformed, oversized and unknown requests are answered here and never reach the replica.
 *
 * Peers. Each replica dials each other: Exchange carries its own messages, Bulk (a channel of its
 * own) what is large. The first frame must be a Hello that names this cell, this receiver and a
 * known replica; else the stream is refused with the reason. A peer that comes back is connected
 * again within 500 ms. Frames to a peer that is not connected are dropped: the protocol repeats.
 *
 * Fairness. Receives from peers are armed at once; client calls and stream reads are armed again
 * from a budget in each net_turn(), so that a flood of clients never starves an election.
 *
 * Threads. gRPC starts threads of its own; net_open() sees to it that they take no signals. The
 * program ignores SIGPIPE.
 */
#ifndef CHUBBY_NET_NET_H
#define CHUBBY_NET_NET_H

#include "base/ids.h"
#include "codec/codec.h"
#include "wire/codec.h"

#define NET_TURN_BUDGET 256 /* client receives armed again in one turn */
#define NET_PEER_QUEUE_MAX_BYTES ((size_t)16 << 20)
#define NET_STREAM_QUEUE_MAX_BYTES ((size_t)4 << 20) /* a client that does not read is cut off */
#define NET_CALLS_PER_STREAM_MAX 1024

struct net;

struct net_call {
	uint64_t n; /* 0: none */
};

/* A Session stream; 0 for a unary call. */
struct net_stream {
	uint64_t n;
};

struct net_config {
	struct codec_hello self;   /* `to` is set for each peer */
	const char *listen_client; /* host:port; port 0 chooses one */
	const char *listen_peer;
	/* Without transport security only loopback addresses are accepted, unless this is set. */
	bool insecure_plaintext_beyond_loopback;
	uint32_t peer_count;
	struct net_peer_config {
		struct replica_id replica;
		const char *address; /* copied */
	} peers[MEMBERS_MAX];
};

enum net_event_kind {
	NET_TIMEOUT = 1,    /* the deadline passed */
	NET_REQUEST,        /* call, stream, request */
	NET_CALL_GONE,      /* call */
	NET_STREAM_CLOSED,  /* stream: all its calls are gone */
	NET_PEER_CONNECTED, /* replica: our stream to it is up (again) */
	NET_PEER_LOST,      /* replica: our stream to it broke */
	NET_PEER_FRAME,     /* replica, frame, bulk */
	NET_POSTED,         /* item */
	NET_DEAF,           /* once: gRPC takes no connections any more; only a new process does */
	NET_DRAINED,        /* after net_shutdown_begin(): nothing is under way any more */
};

/* Borrowed until the next net_next(), except `item`, which passes to the caller. */
struct net_event {
	enum net_event_kind kind;
	struct net_call call;
	struct net_stream stream;
	struct request *request;
	struct bytes peer_address; /* of the client, for the log */
	struct replica_id replica;
	struct bytes frame;
	bool bulk;
	void *item;
};

/* Starts listening and dialling. *ret_trouble: a sentence that the caller frees (busy port, bad
 * address, plaintext beyond loopback …). INVALID_ARGUMENT, UNAVAILABLE. */
MUST_USE enum error net_open(const struct net_config *config, struct net **ret_net,
			     char **ret_trouble);
/* The bound ports, for port 0. */
int net_client_port(const struct net *n);
int net_peer_port(const struct net *n);

/* The next event, waiting until `deadline_ns` on the clock of clock_now_ns(), to the millisecond
 * and never less; a deadline in the past polls. */
void net_next(struct net *n, int64_t deadline_ns, struct net_event *ret_event);

/* Once a turn of the loop: arms client receives from the budget. Sending needs no turn: an answer
 * leaves at once, or right behind what is on its way. */
void net_turn(struct net *n);

/* Answers a call; a refusal becomes a gRPC status with details, or the envelope's error. Encodes
 * during the call; nothing is kept. */
void net_reply(struct net *n, struct net_call call, const struct reply *r);
/* Sends a push on a stream (0 or a closed one: dropped). */
void net_push(struct net *n, struct net_stream stream, const struct reply *r);
/* Ends a stream with a refusal, after what is queued. */
void net_stream_close(struct net *n, struct net_stream stream, const struct reply *r);

/* Queues a frame (built with codec_frame_…) for a peer. Copied. False if it was dropped: not
 * connected, larger than CODEC_FRAME_MAX_BYTES, or beyond NET_PEER_QUEUE_MAX_BYTES. Frames that
 * gather behind one that is on its way arrive as one, except on Bulk. */
bool net_peer_send(struct net *n, struct replica_id to, struct bytes frame, bool bulk);
bool net_peer_connected(const struct net *n, struct replica_id replica);

/* From any thread: net_next() will return `item` as NET_POSTED, in order for each thread. */
void net_post(struct net *n, void *item);

/* Graceful end: stop accepting; the caller answers what it holds, then takes events until
 * NET_DRAINED, which comes after at most `grace_ns`, when the rest is cut off. */
void net_shutdown_begin(struct net *n, int64_t grace_ns);
/* After NET_DRAINED, or at once to abandon everything; NULL is allowed. Nobody may post any more;
 * what was posted and not taken is dropped, so take events until NET_TIMEOUT first. */
void net_close(struct net *n);

struct net_counters {
	uint64_t requests, replies, pushes, malformed;
	uint64_t peer_frames_sent, peer_frames_received, peer_frames_dropped, peer_bytes_sent;
	uint64_t streams_open, calls_open;
};
void net_counters(const struct net *n, struct net_counters *ret_counters);

#endif
