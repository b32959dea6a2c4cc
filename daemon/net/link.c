#include "base/log.h"
#include "net/net_internal.h"

#include <grpc/support/alloc.h>
#include <stdio.h>
#include <string.h>

/*
 * A stream that we open to a peer, on a channel (so a connection) of its own.
 *
 *   DOWN --dial--> CALLING --(their hello)--> UP
 *     ^               |                       |
 *     +--- refused ---+------- broken --------+
 *
 * The call waits until the channel has a connection, which the channel tries for at the pace set
 * below: a peer that comes back is found within one back-off and one connect. Pings find a peer
 * that stopped without closing its connections.
 */
#define CONNECT_TIMEOUT_MS 300 /* gRPC: the "minimum reconnect back-off" */
#define RECONNECT_FIRST_MS 100
#define RECONNECT_MOST_MS 200
#define PING_EVERY_MS 1000
#define PING_TIMEOUT_MS 1000
/* Frames in one message; the receiver takes the concatenation for one frame. */
#define FRAMES_PER_MESSAGE_MAX 64

static grpc_channel *link_channel(const char *address)
{
	const grpc_arg args[] = {
		net_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
		net_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
		net_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, RECONNECT_FIRST_MS),
		net_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, RECONNECT_MOST_MS),
		net_arg(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000),
		net_arg(GRPC_ARG_KEEPALIVE_TIME_MS, PING_EVERY_MS),
		net_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, PING_TIMEOUT_MS),
		net_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		net_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		net_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		net_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, 65536), /* hellos only */
		net_arg(GRPC_ARG_ENABLE_RETRIES, 0),
		/* What the environment says about proxies is not meant for replicas. */
		net_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
		net_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
	};
	const grpc_channel_args list = {
		.num_args = sizeof(args) / sizeof(args[0]),
		.args = (grpc_arg *)(uintptr_t)args,
	};
	grpc_channel_credentials *credentials = tls_channel_credentials();
	char *target = address_target(address);
	grpc_channel *channel = grpc_channel_create(target, credentials, &list);

	grpc_channel_credentials_release(credentials);
	free(target);
	return channel;
}

struct peer *peer_find(struct net *n, struct replica_id replica)
{
	for (uint32_t i = 0; i < n->peer_count; i++)
		if (replica_equal(n->peers[i].replica, replica))
			return &n->peers[i];
	return NULL;
}

bool net_peer_connected(const struct net *n, struct replica_id replica)
{
	for (uint32_t i = 0; i < n->peer_count; i++)
		if (replica_equal(n->peers[i].replica, replica))
			return n->peers[i].links[0].state == LINK_UP;
	return false;
}

static const char *link_name(const struct link *l)
{
	return l->bulk ? "Bulk" : "Exchange";
}

/* ---- sending -------------------------------------------------------------------------------- */

/* Takes a frame from the queue, and those behind it that may be put together with it. Bulk frames
 * are large already and go one by one. */
static uint32_t link_gather(struct link *l, grpc_slice slices[FRAMES_PER_MESSAGE_MAX])
{
	struct join join = {0};
	uint32_t count = 0;
	bool joins = !l->bulk && l->queue.count > 1 && join_add(&join, slice_queue_peek(&l->queue));

	do {
		slices[count++] = slice_queue_pop(&l->queue);
	} while (joins && l->queue.count > 0 && count < FRAMES_PER_MESSAGE_MAX &&
		 join_add(&join, slice_queue_peek(&l->queue)));
	return count;
}

/* Sends what has gathered while the last message was under way. */
static void link_flush(struct net *n, struct link *l)
{
	grpc_slice slices[FRAMES_PER_MESSAGE_MAX];
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
	grpc_byte_buffer *message;
	uint32_t count;

	if (l->state != LINK_UP || l->sending || l->queue.count == 0)
		return;
	count = link_gather(l, slices);
	message = grpc_raw_byte_buffer_create(slices, count);
	n->counters.peer_bytes_sent += grpc_byte_buffer_length(message);
	op.data.send_message.send_message = message;
	l->sending = true;
	l->batches++;
	net_batch(n, l->call, &op, 1, &l->sent);
	grpc_byte_buffer_destroy(message);
	for (uint32_t i = 0; i < count; i++)
		grpc_slice_unref(slices[i]);
}

bool net_peer_send(struct net *n, struct replica_id to, struct bytes frame, bool bulk)
{
	struct peer *p = peer_find(n, to);
	struct link *l = p != NULL ? &p->links[bulk] : NULL;

	if (l == NULL || l->state != LINK_UP || frame.size == 0 ||
	    frame.size > CODEC_FRAME_MAX_BYTES ||
	    l->queue.bytes + frame.size > NET_PEER_QUEUE_MAX_BYTES) {
		n->counters.peer_frames_dropped++;
		return false;
	}
	slice_queue_push(&l->queue,
			 grpc_slice_from_copied_buffer((const char *)frame.data, frame.size));
	n->counters.peer_frames_sent++;
	link_flush(n, l);
	return true;
}

bool link_all_sent(const struct net *n)
{
	for (uint32_t i = 0; i < n->peer_count; i++)
		for (int bulk = 0; bulk < 2; bulk++) {
			const struct link *l = &n->peers[i].links[bulk];

			if (l->state == LINK_UP && (l->sending || l->queue.count > 0))
				return false;
		}
	return true;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void link_retry_at(struct net *n, struct link *l, int64_t at_ns)
{
	l->retry_ns = at_ns;
	n->links_due_ns = time_earlier(n->links_due_ns, at_ns);
}

/* Logs a trouble once, not at every attempt. */
static void link_note(struct link *l, const char *what)
{
	if (l->last_trouble != NULL && strcmp(l->last_trouble, what) == 0)
		return;
	log_warning("net: no %s stream to replica %u at %s: %s; trying again", link_name(l),
		    l->peer->replica.n, l->peer->address, what);
	free(l->last_trouble);
	l->last_trouble = mem_strdup(what);
}

static void link_forget_call(struct link *l)
{
	grpc_metadata_array_destroy(&l->initial);
	grpc_metadata_array_destroy(&l->trailing);
	grpc_slice_unref(l->status_text);
	l->status_text = grpc_empty_slice();
	grpc_call_unref(l->call);
	l->call = NULL;
}

/* After the last batch of a broken call: the next attempt. */
static void link_settle(struct net *n, struct link *l)
{
	if (l->batches > 0 || l->state != LINK_DOWN || l->call == NULL)
		return;
	link_forget_call(l);
	if (!n->closing)
		link_retry_at(n, l, l->dialled_ns + NET_REDIAL_NS);
}

static void link_read(struct net *n, struct link *l, bool first)
{
	grpc_op ops[2] = {0};
	size_t count = 0;

	if (first) {
		ops[count].op = GRPC_OP_RECV_INITIAL_METADATA;
		ops[count++].data.recv_initial_metadata.recv_initial_metadata = &l->initial;
	}
	ops[count].op = GRPC_OP_RECV_MESSAGE;
	ops[count++].data.recv_message.recv_message = &l->incoming;
	l->batches++;
	net_batch(n, l->call, ops, count, &l->received);
}

/* The first answer must be the hello of the replica that we meant. */
static void link_greeted(struct net *n, struct link *l, struct bytes frame)
{
	const char *trouble = "the first answer is no hello";
	struct codec_frame f = {0};

	if (codec_decode_frame(frame, &n->arena, &f) == ERROR_OK && f.has_hello) {
		trouble = hello_trouble(n, &f.hello);
		if (trouble == NULL && !replica_equal(f.hello.replica, l->peer->replica))
			trouble = "another replica answers at this address";
	}
	codec_frame_release(&f);
	if (trouble != NULL) {
		link_note(l, trouble);
		(void)grpc_call_cancel(l->call, NULL);
		return;
	}
	l->state = LINK_UP;
	free(l->last_trouble);
	l->last_trouble = NULL;
	if (!l->bulk) {
		log_info("net: connected to replica %u at %s", l->peer->replica.n,
			 l->peer->address);
		net_emit(n, NET_PEER_CONNECTED)->replica = l->peer->replica;
	}
}

static void link_received(struct net *n, struct op *op, bool ok)
{
	struct link *l = CONTAINER_OF(op, struct link, received);
	grpc_byte_buffer *incoming = l->incoming;

	l->batches--;
	l->incoming = NULL;
	/* NULL: the call is over, and its status is about to say why. Later frames mean nothing. */
	if (incoming != NULL) {
		struct bytes frame = net_borrow(n, incoming);

		if (l->state == LINK_CALLING)
			link_greeted(n, l, frame);
		link_read(n, l, false);
	}
	link_settle(n, l);
}

static void link_sent(struct net *n, struct op *op, bool ok)
{
	struct link *l = CONTAINER_OF(op, struct link, sent);

	l->batches--;
	l->sending = false;
	link_flush(n, l);
	link_settle(n, l);
}

static void link_ended(struct net *n, struct op *op, bool ok)
{
	struct link *l = CONTAINER_OF(op, struct link, ended);
	bool was_up = l->state == LINK_UP;
	char *text = grpc_slice_to_c_string(l->status_text);

	l->batches--;
	l->state = LINK_DOWN;
	slice_queue_release(&l->queue);
	if (was_up && !l->bulk) {
		if (!n->closing)
			log_info("net: lost replica %u at %s: %s", l->peer->replica.n,
				 l->peer->address, text);
		net_emit(n, NET_PEER_LOST)->replica = l->peer->replica;
	} else if (!was_up && l->status != GRPC_STATUS_CANCELLED && !n->closing) {
		link_note(l, text);
	}
	gpr_free(text);
	/* A stream that was up is dialled again at once; one that never was, at a pace. */
	if (was_up)
		l->dialled_ns -= NET_REDIAL_NS;
	link_settle(n, l);
}

static void link_dial(struct net *n, struct link *l, int64_t now_ns)
{
	struct codec_hello hello = n->self;
	grpc_op ops[2] = {0};
	grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
	grpc_byte_buffer *message;
	grpc_slice slice;

	hello.to = l->peer->replica;
	buffer_clear(&n->scratch);
	CHECK(codec_frame_hello(&n->scratch, &hello) == ERROR_OK);
	slice = net_scratch_slice(n);
	message = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);

	l->state = LINK_CALLING;
	l->retry_ns = TIME_NEVER;
	l->dialled_ns = now_ns;
	l->call = grpc_channel_create_call(l->channel, NULL, GRPC_PROPAGATE_DEFAULTS, n->queue,
					   grpc_slice_from_static_string(
						   l->bulk ? "/chubby.internal.Peer/Bulk"
							   : "/chubby.internal.Peer/Exchange"),
					   NULL, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	grpc_metadata_array_init(&l->initial);
	grpc_metadata_array_init(&l->trailing);
	status.data.recv_status_on_client.trailing_metadata = &l->trailing;
	status.data.recv_status_on_client.status = &l->status;
	status.data.recv_status_on_client.status_details = &l->status_text;
	l->batches += 2;
	net_batch(n, l->call, &status, 1, &l->ended);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY |
		       GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = message;
	l->sending = true;
	net_batch(n, l->call, ops, 2, &l->sent);
	grpc_byte_buffer_destroy(message);
	link_read(n, l, true);
}

void link_tick(struct net *n, int64_t now_ns)
{
	if (now_ns < n->links_due_ns)
		return;
	n->links_due_ns = TIME_NEVER;
	if (n->closing)
		return;
	for (uint32_t i = 0; i < n->peer_count; i++)
		for (int bulk = 0; bulk < 2; bulk++) {
			struct link *l = &n->peers[i].links[bulk];

			if (l->retry_ns <= now_ns)
				link_dial(n, l, now_ns);
			else
				n->links_due_ns = time_earlier(n->links_due_ns, l->retry_ns);
		}
}

void link_open(struct net *n, struct peer *p, bool bulk)
{
	struct link *l = &p->links[bulk];

	*l = (struct link){
		.peer = p,
		.bulk = bulk,
		.channel = link_channel(p->address),
		.sent.done = link_sent,
		.received.done = link_received,
		.ended.done = link_ended,
		.status_text = grpc_empty_slice(),
	};
	link_retry_at(n, l, 0);
}

void link_cancel(struct link *l)
{
	if (l->call != NULL)
		(void)grpc_call_cancel(l->call, NULL);
}

void link_release(struct link *l)
{
	if (l->channel == NULL)
		return;
	CHECK(l->call == NULL);
	grpc_channel_destroy(l->channel);
	slice_queue_release(&l->queue);
	free(l->last_trouble);
}
