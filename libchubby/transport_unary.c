/*
 * Unary calls, and what every use of gRPC here needs: channels, buffers, refusals.
 */
#include "transport_internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "wire/codec.h"

#define DETAILS_KEY "grpc-status-details-bin"
#define RECEIVE_MAX_BYTES ((int)WIRE_MESSAGE_MAX_BYTES * 2)

/* gRPC's own state is one for the process, and so is what is known of it: how many use it, and in
 * which process. */
static atomic_int users;
static atomic_int users_pid;

void transport_begin(void)
{
	atomic_store(&users_pid, (int)getpid());
	atomic_fetch_add(&users, 1);
	grpc_init();
}

void transport_end(void)
{
	grpc_shutdown();
	atomic_fetch_sub(&users, 1);
}

bool transport_forked(void)
{
	return atomic_load(&users) > 0 && atomic_load(&users_pid) != (int)getpid();
}

static grpc_arg integer_arg(const char *key, int value)
{
	return (grpc_arg){
		.type = GRPC_ARG_INTEGER,
		.key = (char *)(uintptr_t)key, /* gRPC does not write there */
		.value.integer = value,
	};
}

/*
 * A call fails at once while its server cannot be reached: finding another is our business. The
 * connection is tried again soon, and a peer that accepts and stays silent costs half a second.
 */
grpc_channel *transport_channel_create(const char *address)
{
	grpc_arg args[] = {
		integer_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		integer_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
		integer_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 500),
		integer_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 300),
		integer_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 4000),
		integer_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 2000),
		integer_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		integer_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		integer_arg(GRPC_ARG_ENABLE_RETRIES, 0),
		integer_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		integer_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
		integer_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RECEIVE_MAX_BYTES),
	};
	grpc_channel_args channel_args = {sizeof(args) / sizeof(args[0]), args};
	grpc_channel_credentials *plain = grpc_insecure_credentials_create();
	grpc_channel *channel = grpc_channel_create(address, plain, &channel_args);

	grpc_channel_credentials_release(plain);
	return channel;
}

gpr_timespec transport_deadline(int64_t after_ns)
{
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_nanos(after_ns, GPR_TIMESPAN));
}

grpc_byte_buffer *transport_pack(const struct buffer *bytes)
{
	grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes->data, bytes->size);
	grpc_byte_buffer *packed = grpc_raw_byte_buffer_create(&slice, 1);

	grpc_slice_unref(slice);
	return packed;
}

bool transport_unpack(grpc_byte_buffer *message, grpc_slice *ret_slice)
{
	grpc_byte_buffer_reader reader;

	if (message == NULL || !grpc_byte_buffer_reader_init(&reader, message))
		return false;
	*ret_slice = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return true;
}

bool transport_refusal(const grpc_metadata_array *trailers, struct arena *arena,
		       struct reply *ret_reply)
{
	for (size_t i = 0; i < trailers->count; i++) {
		const grpc_metadata *m = &trailers->metadata[i];

		if (grpc_slice_str_cmp(m->key, DETAILS_KEY) != 0)
			continue;
		return wire_decode_status((struct bytes){GRPC_SLICE_START_PTR(m->value),
							 GRPC_SLICE_LENGTH(m->value)},
					  arena, ret_reply) == ERROR_OK &&
		       ret_reply->error != ERROR_OK;
	}
	return false;
}

bool transport_rpc_start(struct transport_rpc *rpc, grpc_channel *channel,
			 grpc_completion_queue *queue, const struct request *r, int64_t timeout_ns,
			 void *tag)
{
	struct buffer bytes;
	grpc_op ops[6];

	buffer_init(&bytes, WIRE_MESSAGE_MAX_BYTES);
	if (wire_encode_request(r, &bytes) != ERROR_OK) {
		buffer_release(&bytes);
		return false;
	}
	memset(rpc, 0, sizeof(*rpc));
	rpc->kind = r->kind;
	rpc->sent = transport_pack(&bytes);
	buffer_release(&bytes);
	grpc_metadata_array_init(&rpc->initial);
	grpc_metadata_array_init(&rpc->trailers);
	rpc->details = grpc_empty_slice();
	rpc->call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
					     grpc_slice_from_static_string(
						     wire_method_path(r->kind)),
					     NULL, transport_deadline(timeout_ns), NULL);
	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = rpc->sent;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &rpc->initial;
	ops[4].op = GRPC_OP_RECV_MESSAGE;
	ops[4].data.recv_message.recv_message = &rpc->received;
	ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[5].data.recv_status_on_client.trailing_metadata = &rpc->trailers;
	ops[5].data.recv_status_on_client.status = &rpc->status;
	ops[5].data.recv_status_on_client.status_details = &rpc->details;
	CHECK(grpc_call_start_batch(rpc->call, ops, 6, tag, NULL) == GRPC_CALL_OK);
	return true;
}

static bool rpc_answer(const struct transport_rpc *rpc, struct arena *arena,
		       struct reply *ret_reply)
{
	const char *trouble = NULL;
	grpc_slice slice;
	enum error e;

	if (rpc->status != GRPC_STATUS_OK) {
		if (transport_refusal(&rpc->trailers, arena, ret_reply)) {
			ret_reply->kind = rpc->kind;
			return true;
		}
		if (rpc->status != GRPC_STATUS_UNIMPLEMENTED)
			return false;
		*ret_reply = (struct reply){.kind = rpc->kind, .error = ERROR_UNIMPLEMENTED};
		return true;
	}
	if (!transport_unpack(rpc->received, &slice))
		return false;
	e = wire_decode_reply(rpc->kind,
			      (struct bytes){GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice)},
			      arena, ret_reply, &trouble);
	grpc_slice_unref(slice);
	if (e != ERROR_OK)
		*ret_reply = (struct reply){.kind = rpc->kind, .error = e};
	return true;
}

bool transport_rpc_finish(struct transport_rpc *rpc, struct arena *arena, struct reply *ret_reply)
{
	/* Before the call goes: the trailers belong to it. */
	bool answered = rpc_answer(rpc, arena, ret_reply);

	grpc_byte_buffer_destroy(rpc->sent);
	if (rpc->received != NULL)
		grpc_byte_buffer_destroy(rpc->received);
	grpc_metadata_array_destroy(&rpc->initial);
	grpc_metadata_array_destroy(&rpc->trailers);
	grpc_slice_unref(rpc->details);
	grpc_call_unref(rpc->call);
	return answered;
}

/* ---- one call that blocks ------------------------------------------------------------------- */

struct transport_channel {
	grpc_channel *channel;
};

struct transport_channel *transport_channel_new(const char *address)
{
	struct transport_channel *c = mem_zalloc(sizeof(*c));

	transport_begin();
	c->channel = transport_channel_create(address);
	return c;
}

void transport_channel_free(struct transport_channel *c)
{
	if (c == NULL)
		return;
	grpc_channel_destroy(c->channel);
	transport_end();
	free(c);
}

enum error transport_unary(struct transport_channel *c, const struct request *r, int64_t timeout_ns,
			   struct arena *arena, struct reply *ret_reply)
{
	grpc_completion_queue *queue = grpc_completion_queue_create_for_pluck(NULL);
	gpr_timespec forever = gpr_inf_future(GPR_CLOCK_MONOTONIC);
	enum error e = ERROR_TOO_LARGE;
	struct transport_rpc rpc;

	if (transport_rpc_start(&rpc, c->channel, queue, r, timeout_ns, &rpc)) {
		grpc_completion_queue_pluck(queue, &rpc, forever, NULL);
		e = transport_rpc_finish(&rpc, arena, ret_reply) ? ERROR_OK : ERROR_UNAVAILABLE;
	}
	grpc_completion_queue_shutdown(queue);
	while (grpc_completion_queue_pluck(queue, NULL, forever, NULL).type != GRPC_QUEUE_SHUTDOWN)
		continue;
	grpc_completion_queue_destroy(queue);
	return e;
}
