#include "base/log.h"
#include "net/net_internal.h"

#include <stdio.h>

/*
 * A stream that a peer opened to us.
 *
 *   armed --> stranger --(right hello)--> known --> over
 *                 +-------(wrong hello, too many strangers)--^
 *
 * Its first frame must be a hello; ours goes back as the confirmation that lets the peer send.
 * A second stream of the same replica replaces the first: the peer has started anew, and knows it
 * sooner than our connection does.
 */
enum inbound_state { INBOUND_STRANGER = 1, INBOUND_KNOWN, INBOUND_OVER };

struct inbound {
	enum inbound_state state;
	bool bulk;
	struct peer *peer; /* NULL for a stranger */
	struct op arrived, received, sent, closed;
	grpc_call *call;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *incoming;
	int cancelled;
	bool headers_sent, status_wanted, status_sent, sending, gone;
	const char *trouble; /* constant; why it is refused */
	uint32_t batches;    /* under way, apart from `arrived` */
};

static void inbound_free(struct inbound *i)
{
	grpc_metadata_array_destroy(&i->metadata);
	if (i->call != NULL)
		grpc_call_unref(i->call);
	free(i);
}

static void inbound_settle(struct inbound *i)
{
	if (i->gone && i->batches == 0)
		inbound_free(i);
}

/* Takes it out of the places that count or name it. */
static void inbound_leave(struct net *n, struct inbound *i)
{
	if (i->state == INBOUND_STRANGER)
		n->strangers--;
	if (i->peer != NULL && i->peer->inbound[i->bulk] == i)
		i->peer->inbound[i->bulk] = NULL;
	i->state = INBOUND_OVER;
}

static void inbound_send_status(struct net *n, struct inbound *i)
{
	const char *sentence = i->trouble != NULL ? i->trouble : "";
	grpc_slice text = grpc_slice_from_static_string(sentence);
	grpc_op ops[2] = {0};
	size_t count = 0;

	if (i->sending || i->status_sent || i->gone)
		return;
	if (!i->headers_sent)
		ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	i->headers_sent = true;
	ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[count].data.send_status_from_server.status = i->trouble != NULL
								 ? GRPC_STATUS_FAILED_PRECONDITION
								 : GRPC_STATUS_OK;
	ops[count++].data.send_status_from_server.status_details = &text;
	i->status_sent = true;
	i->sending = true;
	i->batches++;
	net_batch(n, i->call, ops, count, &i->sent);
}

/* Ends the stream with a reason; NULL when the peer itself ended it. */
static void inbound_end(struct net *n, struct inbound *i, const char *trouble)
{
	if (i->state == INBOUND_OVER)
		return;
	inbound_leave(n, i);
	i->trouble = trouble;
	i->status_wanted = true;
	inbound_send_status(n, i);
}

static void inbound_read(struct net *n, struct inbound *i)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &i->incoming;
	i->batches++;
	net_batch(n, i->call, &op, 1, &i->received);
}

/* Our hello, which tells the peer that it may send. */
static void inbound_confirm(struct net *n, struct inbound *i)
{
	struct codec_hello hello = n->self;
	grpc_op ops[2] = {0};
	grpc_byte_buffer *message;
	grpc_slice slice;

	hello.to = i->peer->replica;
	buffer_clear(&n->scratch);
	CHECK(codec_frame_hello(&n->scratch, &hello) == ERROR_OK);
	slice = net_scratch_slice(n);
	message = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = message;
	i->headers_sent = true;
	i->sending = true;
	i->batches++;
	net_batch(n, i->call, ops, 2, &i->sent);
	grpc_byte_buffer_destroy(message);
}

const char *hello_trouble(const struct net *n, const struct codec_hello *h)
{
	if (h->protocol != CODEC_PROTOCOL)
		return "the peers speak another version of the protocol";
	if (h->cell_id_high != n->self.cell_id_high || h->cell_id_low != n->self.cell_id_low)
		return "the replica belongs to another cell";
	if (h->to.n != n->self.replica.n)
		return "the address leads to another replica than the one that was meant";
	return NULL;
}

static void inbound_frame(struct net *n, const struct inbound *i, struct bytes frame)
{
	struct net_event *event = net_emit(n, NET_PEER_FRAME);

	n->counters.peer_frames_received++;
	event->replica = i->peer->replica;
	event->frame = frame;
	event->bulk = i->bulk;
}

/* The first frame: a hello, and perhaps more behind it. */
static void inbound_greet(struct net *n, struct inbound *i, struct bytes frame)
{
	const char *trouble = "the first frame is no hello";
	struct codec_frame f = {0};
	struct peer *peer = NULL;
	bool more = false;

	if (codec_decode_frame(frame, &n->arena, &f) == ERROR_OK && f.has_hello) {
		trouble = hello_trouble(n, &f.hello);
		peer = peer_find(n, f.hello.replica);
		if (trouble == NULL && peer == NULL)
			trouble = "the replica is not a member of this cell";
		more = f.message_count > 0 || f.has_learn || f.has_gossip;
	}
	codec_frame_release(&f);
	if (trouble != NULL) {
		if (trouble != n->last_refusal)
			log_warning("net: refused the stream of a peer: %s", trouble);
		n->last_refusal = trouble;
		inbound_end(n, i, trouble);
		return;
	}
	if (peer->inbound[i->bulk] != NULL)
		inbound_end(n, peer->inbound[i->bulk], "a newer stream took the place of this one");
	n->strangers--;
	i->state = INBOUND_KNOWN;
	i->peer = peer;
	peer->inbound[i->bulk] = i;
	inbound_confirm(n, i);
	if (more)
		inbound_frame(n, i, frame);
}

static void inbound_received(struct net *n, struct op *op, bool ok)
{
	struct inbound *i = CONTAINER_OF(op, struct inbound, received);
	grpc_byte_buffer *incoming = i->incoming;

	i->batches--;
	i->incoming = NULL;
	if (incoming == NULL) {
		inbound_end(n, i, NULL);
	} else if (i->state == INBOUND_OVER || i->gone) {
		grpc_byte_buffer_destroy(incoming);
	} else {
		struct bytes frame = net_borrow(n, incoming);

		if (i->state == INBOUND_STRANGER)
			inbound_greet(n, i, frame);
		else
			inbound_frame(n, i, frame);
		if (i->state == INBOUND_KNOWN)
			inbound_read(n, i);
	}
	inbound_settle(i);
}

static void inbound_sent(struct net *n, struct op *op, bool ok)
{
	struct inbound *i = CONTAINER_OF(op, struct inbound, sent);

	i->batches--;
	i->sending = false;
	if (i->status_wanted)
		inbound_send_status(n, i);
	inbound_settle(i);
}

static void inbound_closed(struct net *n, struct op *op, bool ok)
{
	struct inbound *i = CONTAINER_OF(op, struct inbound, closed);

	i->batches--;
	if (i->state != INBOUND_OVER)
		inbound_leave(n, i);
	i->gone = true;
	inbound_settle(i);
}

static void inbound_arrived(struct net *n, struct op *op, bool ok)
{
	struct inbound *i = CONTAINER_OF(op, struct inbound, arrived);
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

	if (!ok) {
		inbound_free(i);
		return;
	}
	if (!n->closing)
		inbound_arm(n, i->bulk);
	i->state = INBOUND_STRANGER;
	n->strangers++;
	close.data.recv_close_on_server.cancelled = &i->cancelled;
	i->batches++;
	net_batch(n, i->call, &close, 1, &i->closed);
	if (n->strangers > NET_STRANGERS_MAX)
		inbound_end(n, i, "too many streams that have not said hello");
	else
		inbound_read(n, i);
}

void inbound_arm(struct net *n, bool bulk)
{
	struct inbound *i = mem_zalloc(sizeof(*i));

	i->bulk = bulk;
	i->arrived.done = inbound_arrived;
	i->received.done = inbound_received;
	i->sent.done = inbound_sent;
	i->closed.done = inbound_closed;
	grpc_metadata_array_init(&i->metadata);
	CHECK(grpc_server_request_registered_call(n->peers_endpoint.server, n->peer_methods[bulk],
						  &i->call, &i->deadline, &i->metadata, NULL,
						  n->queue, n->queue, &i->arrived) == GRPC_CALL_OK);
	n->outstanding++;
}
