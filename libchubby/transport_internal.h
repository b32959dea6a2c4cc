/*
 * What the files of transport share: channels, and messages between structs and byte buffers.
 */
#ifndef CHUBBY_TRANSPORT_INTERNAL_H
#define CHUBBY_TRANSPORT_INTERNAL_H

#include "transport.h"

#include <grpc/grpc.h>

/* grpc_init() and grpc_shutdown(), counted for transport_forked(). */
void transport_begin(void);
void transport_end(void);
grpc_channel *transport_channel_create(const char *address);
gpr_timespec transport_deadline(int64_t after_ns);
/* The caller destroys the result; NULL if the buffer was not filled. */
grpc_byte_buffer *transport_pack(const struct buffer *bytes);
/* The slice that holds all bytes of `message`; the caller unrefs it. False if there are none. */
bool transport_unpack(grpc_byte_buffer *message, grpc_slice *ret_slice);
/* The refusal in the trailers; false if they hold none. */
bool transport_refusal(const grpc_metadata_array *trailers, struct arena *arena,
		       struct reply *ret_reply);

/* A unary call under way. */
struct transport_rpc {
	grpc_call *call;
	enum message_kind kind;
	grpc_byte_buffer *sent, *received;
	grpc_metadata_array initial, trailers;
	grpc_status_code status;
	grpc_slice details;
};

/* Starts the one batch of the call; false, with nothing started, if `r` cannot be encoded. */
bool transport_rpc_start(struct transport_rpc *rpc, grpc_channel *channel,
			 grpc_completion_queue *queue, const struct request *r, int64_t timeout_ns,
			 void *tag);
/* After its batch is complete: the answer. False if the server was not reached. Releases all but
 * `rpc` itself. */
bool transport_rpc_finish(struct transport_rpc *rpc, struct arena *arena, struct reply *ret_reply);

#endif
