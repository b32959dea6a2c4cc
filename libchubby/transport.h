/*
 * transport: gRPC under the client library. The only user of grpc in libchubby.
 *
 * One completion queue, polled by one thread with transport_next(), which reports one event after
 * the other: answers to questions, messages of links, and what other threads posted. All functions
 * belong to that thread, except transport_post().
 *
 * A link that is disconnected reports nothing any more. Every question is answered exactly once.
 */
#ifndef CHUBBY_TRANSPORT_H
#define CHUBBY_TRANSPORT_H

#include "wire/message.h"

#define TRANSPORT_SERVERS_MAX 32
/* What one decoded message may hold. */
#define TRANSPORT_ARENA_MAX_BYTES ((size_t)16 << 20)

struct transport;

enum transport_event_kind {
	TRANSPORT_TIMEOUT = 1, /* the deadline passed */
	TRANSPORT_POSTED,      /* transport_post() was called since */
	TRANSPORT_ANSWER,      /* question, answered, reply */
	TRANSPORT_MESSAGE,     /* link, call_id, reply */
	TRANSPORT_LINK_LOST,   /* link; refused: reply says why */
};

struct transport_event {
	enum transport_event_kind kind;
	uint64_t question;
	bool answered;
	uint64_t link;
	uint64_t call_id;
	bool refused;
	struct reply reply; /* points into `arena` */
	struct arena arena; /* passes to the caller, who releases it */
};

/* True in a child of a process that used gRPC when it forked: its threads did not come along, and
 * what they held is held for ever. Nothing else here may be called then. */
bool transport_forked(void);

struct transport *transport_new(void);
/* Cancels and drains everything. */
void transport_free(struct transport *t);

/* The next event, waiting until `deadline_ns` on the clock of clock_now_ns(). */
void transport_next(struct transport *t, int64_t deadline_ns, struct transport_event *ret_event);
/* From any thread: wakes transport_next(). */
void transport_post(struct transport *t);

/* `server` is an index below TRANSPORT_SERVERS_MAX that always stands for the same address. */
void transport_ask(struct transport *t, uint32_t server, const char *address, uint64_t number,
		   const struct request *r);
void transport_connect(struct transport *t, uint32_t server, const char *address, uint64_t number);
void transport_disconnect(struct transport *t, uint64_t number);
/* False: the request is too large to be sent. Sending to a lost link does nothing. */
__attribute__((warn_unused_result)) bool transport_send(struct transport *t, uint64_t number,
							uint64_t call_id, const struct request *r);

/* ---- one call, without a thread of one's own (transport_unary.c) ---- */

struct transport_channel;

struct transport_channel *transport_channel_new(const char *address);
void transport_channel_free(struct transport_channel *c);
/* Sends `r` and waits for the answer. UNAVAILABLE: the server was not reached, or did not answer
 * in time; else OK, and *ret_reply is its answer or refusal. Any thread. */
MUST_USE enum error transport_unary(struct transport_channel *c, const struct request *r,
				    int64_t timeout_ns, struct arena *arena,
				    struct reply *ret_reply);

#endif
