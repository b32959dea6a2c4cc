#include "net/net_internal.h"

#include <grpc/support/alloc.h>
#include <utlist.h>

/* A call that came in an envelope; its answer goes back with the client's number. */
struct envelope {
	struct call head;
	struct stream *stream;
	uint64_t client_call_id;
	struct envelope *prev, *next; /* in stream->calls, or in the pool */
};

/*
 * A Session stream.
 *
 *   armed --> open --> ending --> ended --> gone --> back to the pool
 *               |                            ^
 *               +----- client vanishes ------+
 *
 * `open` takes envelopes; `ending` only sends what is queued; `ended` has sent its status; `gone`
 * is told to the replica. One receive and one send are under way at most; the close is awaited
 * from the beginning, and is what makes a stream gone.
 */
enum stream_state { STREAM_OPEN = 1, STREAM_ENDING, STREAM_ENDED, STREAM_GONE };

struct stream {
	uint64_t id;
	enum stream_state state;
	struct method *method;
	struct op arrived, received, sent, closed;
	grpc_call *call;
	char *peer; /* owned, from gRPC */
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *incoming;
	int cancelled;
	uint32_t batches; /* under way, apart from `arrived` */
	bool announced;   /* the replica knows of it */
	bool headers_sent, sending, reading, put_off, input_ended;
	struct envelope *calls;
	uint32_t call_count;
	struct slice_queue queue;
	bool has_refusal;
	struct refusal refusal;                   /* the status when `ending`; else OK */
	struct stream *prev, *next;               /* in n->stream_list, or in the pool */
	struct stream *unread_prev, *unread_next; /* in n->unread while put_off */
};

static void stream_free(struct stream *s)
{
	grpc_metadata_array_destroy(&s->metadata);
	if (s->call != NULL)
		grpc_call_unref(s->call);
	gpr_free(s->peer);
	s->call = NULL;
	s->peer = NULL;
}

static void stream_recycle(struct net *n, struct stream *s)
{
	stream_free(s);
	if (n->stream_pooled == NET_POOL_MAX) {
		free(s);
		return;
	}
	n->stream_pooled++;
	s->next = n->stream_pool;
	n->stream_pool = s;
}

void stream_release_pool(struct net *n)
{
	while (n->stream_pool != NULL) {
		struct stream *s = n->stream_pool;

		n->stream_pool = s->next;
		free(s);
	}
	while (n->envelope_pool != NULL) {
		struct envelope *e = n->envelope_pool;

		n->envelope_pool = e->next;
		free(e);
	}
}

/* ---- envelopes ------------------------------------------------------------------------------ */

/* Forgets a call that was answered or lost its stream. */
static void envelope_end(struct net *n, struct envelope *e)
{
	slots_remove(&n->calls, e->head.id);
	DL_DELETE(e->stream->calls, e);
	e->stream->call_count--;
	e->next = n->envelope_pool;
	n->envelope_pool = e;
}

/* NULL when the table of calls is full. */
static struct envelope *envelope_begin(struct net *n, struct stream *s, uint64_t client_call_id)
{
	struct envelope *e = n->envelope_pool;
	uint64_t id;

	if (e == NULL) {
		e = mem_zalloc(sizeof(*e));
		n->envelope_pool = e;
		e->next = NULL;
	}
	id = slots_add(&n->calls, &e->head);
	if (id == 0)
		return NULL;
	n->envelope_pool = e->next;
	*e = (struct envelope){
		.head = {.id = id, .kind = n->request.kind, .on_stream = true},
		.stream = s,
		.client_call_id = client_call_id,
	};
	DL_APPEND(s->calls, e);
	s->call_count++;
	return e;
}

static void stream_end_calls(struct net *n, struct stream *s)
{
	while (s->calls != NULL)
		envelope_end(n, s->calls);
}

/* ---- sending -------------------------------------------------------------------------------- */

static void stream_send_next(struct net *n, struct stream *s)
{
	grpc_slice slice = slice_queue_pop(&s->queue);
	grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_op ops[2] = {0};
	size_t count = 0;

	if (!s->headers_sent)
		ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	s->headers_sent = true;
	ops[count].op = GRPC_OP_SEND_MESSAGE;
	/* With more behind it, it may wait for company in one write. */
	ops[count].flags = s->queue.count > 0 ? GRPC_WRITE_BUFFER_HINT : 0;
	ops[count++].data.send_message.send_message = message;
	s->sending = true;
	s->batches++;
	net_batch(n, s->call, ops, count, &s->sent);
	grpc_byte_buffer_destroy(message);
	grpc_slice_unref(slice);
}

static void stream_send_status(struct net *n, struct stream *s)
{
	grpc_op ops[2] = {0};
	size_t count = 0;

	if (!s->headers_sent)
		ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	s->headers_sent = true;
	if (s->has_refusal)
		refusal_op(&s->refusal, &ops[count++]);
	else
		ops[count++].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	s->state = STREAM_ENDED;
	s->sending = true;
	s->batches++;
	net_batch(n, s->call, ops, count, &s->sent);
}

/* Sends what is due, or ends a stream that has nothing left to do. */
static void stream_advance(struct net *n, struct stream *s)
{
	if (s->sending || s->state >= STREAM_ENDED)
		return;
	if (s->queue.count > 0) {
		stream_send_next(n, s);
		return;
	}
	if (s->state == STREAM_OPEN && s->call_count == 0) {
		if (s->input_ended) {
			s->state = STREAM_ENDING;
		} else if (n->draining) {
			const struct reply r = reply_refusing(ERROR_UNAVAILABLE,
							      "this replica is shutting down");

			refusal_init(n, &r, &s->refusal);
			s->has_refusal = true;
			s->state = STREAM_ENDING;
		}
	}
	if (s->state == STREAM_ENDING)
		stream_send_status(n, s);
}

/* Queues what is in n->scratch. */
static void stream_send(struct net *n, struct stream *s)
{
	slice_queue_push(&s->queue, net_scratch_slice(n));
	if (s->queue.bytes > NET_STREAM_QUEUE_MAX_BYTES) {
		/* It does not read what it asked for. The close that follows makes it gone. */
		s->state = STREAM_ENDED;
		slice_queue_release(&s->queue);
		(void)grpc_call_cancel_with_status(s->call, GRPC_STATUS_RESOURCE_EXHAUSTED,
						   "the client does not read", NULL);
		return;
	}
	stream_advance(n, s);
}

static void stream_send_reply(struct net *n, struct stream *s, uint64_t client_call_id,
			      const struct reply *r)
{
	buffer_clear(&n->scratch);
	if (wire_encode_server_envelope(client_call_id, r, &n->scratch) != ERROR_OK) {
		const struct reply too_large =
			reply_refusing(ERROR_TOO_LARGE, "the answer is too large; ask for less");

		buffer_clear(&n->scratch);
		CHECK(wire_encode_server_envelope(client_call_id, &too_large, &n->scratch) ==
		      ERROR_OK);
	}
	stream_send(n, s);
}

void envelope_reply(struct net *n, struct call *c, const struct reply *r)
{
	struct envelope *e = CONTAINER_OF(c, struct envelope, head);
	struct stream *s = e->stream;
	uint64_t client_call_id = e->client_call_id;

	CHECK(c->on_stream);
	envelope_end(n, e);
	n->counters.replies++;
	if (s->state == STREAM_OPEN)
		stream_send_reply(n, s, client_call_id, r);
}

void net_push(struct net *n, struct net_stream stream, const struct reply *r)
{
	struct stream *s = stream.n != 0 ? slots_find(&n->streams, stream.n) : NULL;

	if (s == NULL || s->state != STREAM_OPEN)
		return;
	n->counters.pushes++;
	stream_send_reply(n, s, 0, r);
}

/* No further envelopes; what is queued, then the refusal. */
static void stream_refuse(struct net *n, struct stream *s, const struct reply *r)
{
	if (s->state != STREAM_OPEN)
		return;
	stream_end_calls(n, s);
	s->state = STREAM_ENDING;
	if (r->error != ERROR_OK) {
		refusal_init(n, r, &s->refusal);
		s->has_refusal = true;
	}
	stream_advance(n, s);
}

void net_stream_close(struct net *n, struct net_stream stream, const struct reply *r)
{
	struct stream *s = stream.n != 0 ? slots_find(&n->streams, stream.n) : NULL;

	if (s != NULL)
		stream_refuse(n, s, r);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static void stream_read(struct net *n, struct stream *s)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &s->incoming;
	s->reading = true;
	s->batches++;
	net_batch(n, s->call, &op, 1, &s->received);
}

/* Arms the next read, in this turn or the next. */
static void stream_read_again(struct net *n, struct stream *s)
{
	if (s->state != STREAM_OPEN || s->input_ended)
		return;
	if (n->budget > 0) {
		n->budget--;
		stream_read(n, s);
		return;
	}
	s->put_off = true;
	DL_APPEND2(n->unread, s, unread_prev, unread_next);
}

static void stream_forget_read(struct net *n, struct stream *s)
{
	if (!s->put_off)
		return;
	s->put_off = false;
	DL_DELETE2(n->unread, s, unread_prev, unread_next);
}

void stream_turn(struct net *n)
{
	while (n->unread != NULL && n->budget > 0) {
		struct stream *s = n->unread;

		stream_forget_read(n, s);
		stream_read_again(n, s);
	}
}

static void stream_refuse_call(struct net *n, struct stream *s, uint64_t client_call_id,
			       enum error e, const char *sentence)
{
	const struct reply r = reply_refusing(e, sentence);

	/* Without a number there is no call to answer: the stream itself is refused. */
	if (client_call_id == 0)
		stream_refuse(n, s, &r);
	else
		stream_send_reply(n, s, client_call_id, &r);
}

/* Decodes an envelope and hands it to the replica. */
static void stream_deliver(struct net *n, struct stream *s, struct bytes input)
{
	const char *trouble = NULL;
	uint64_t client_call_id = 0;
	struct net_event *event;
	struct envelope *call;
	enum error e;

	n->counters.requests++;
	e = wire_decode_client_envelope(input, &n->arena, &client_call_id, &n->request, &trouble);
	if (e == ERROR_OK && client_call_id == 0) {
		e = ERROR_MALFORMED;
		trouble = "an envelope needs a call_id other than 0";
	}
	if (e == ERROR_OK && n->request.kind == MESSAGE_NONE)
		e = ERROR_UNIMPLEMENTED;
	if (e != ERROR_OK) {
		n->counters.malformed++;
		stream_refuse_call(n, s, client_call_id, e, trouble);
		return;
	}
	call = s->call_count < NET_CALLS_PER_STREAM_MAX ? envelope_begin(n, s, client_call_id)
							: NULL;
	if (call == NULL) {
		stream_refuse_call(n, s, client_call_id, ERROR_RESOURCE_EXHAUSTED,
				   "too many calls are open on this stream");
		return;
	}
	s->announced = true;
	event = net_emit(n, NET_REQUEST);
	event->call.n = call->head.id;
	event->stream.n = s->id;
	event->request = &n->request;
	event->peer_address = bytes_of_text(s->peer);
}

/* Back to the pool, once gone and with nothing under way. */
static void stream_settle(struct net *n, struct stream *s)
{
	if (s->state != STREAM_GONE || s->batches > 0)
		return;
	n->stream_live--;
	stream_recycle(n, s);
}

static void stream_received(struct net *n, struct op *op, bool ok)
{
	struct stream *s = CONTAINER_OF(op, struct stream, received);
	grpc_byte_buffer *incoming = s->incoming;

	s->batches--;
	s->reading = false;
	s->incoming = NULL;
	if (incoming == NULL) {
		s->input_ended = true;
		stream_advance(n, s);
	} else if (s->state != STREAM_OPEN) {
		grpc_byte_buffer_destroy(incoming);
	} else {
		stream_deliver(n, s, net_borrow(n, incoming));
		stream_read_again(n, s);
	}
	stream_settle(n, s);
}

static void stream_sent(struct net *n, struct op *op, bool ok)
{
	struct stream *s = CONTAINER_OF(op, struct stream, sent);

	s->batches--;
	s->sending = false;
	stream_advance(n, s);
	stream_settle(n, s);
}

static void stream_closed(struct net *n, struct op *op, bool ok)
{
	struct stream *s = CONTAINER_OF(op, struct stream, closed);

	s->batches--;
	stream_end_calls(n, s);
	stream_forget_read(n, s);
	slice_queue_release(&s->queue);
	if (s->has_refusal)
		refusal_release(&s->refusal);
	s->has_refusal = false;
	s->state = STREAM_GONE;
	DL_DELETE(n->stream_list, s);
	if (s->id != 0)
		slots_remove(&n->streams, s->id);
	if (s->announced)
		net_emit(n, NET_STREAM_CLOSED)->stream.n = s->id;
	stream_settle(n, s);
}

static void stream_arrived(struct net *n, struct op *op, bool ok)
{
	struct stream *s = CONTAINER_OF(op, struct stream, arrived);
	grpc_op close = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

	if (!ok) {
		stream_recycle(n, s);
		return;
	}
	method_rearm(n, s->method);
	n->stream_live++;
	s->state = STREAM_OPEN;
	s->peer = grpc_call_get_peer(s->call);
	s->id = slots_add(&n->streams, s);
	DL_APPEND(n->stream_list, s);
	close.data.recv_close_on_server.cancelled = &s->cancelled;
	s->batches++;
	net_batch(n, s->call, &close, 1, &s->closed);
	if (s->id == 0) {
		stream_refuse_call(n, s, 0, ERROR_RESOURCE_EXHAUSTED,
				   "this replica has too many streams open");
		return;
	}
	stream_read_again(n, s);
	/* One that slips in during a drain ends at once. */
	stream_advance(n, s);
}

void stream_arm(struct net *n, struct method *m)
{
	struct stream *s = n->stream_pool;

	if (s != NULL) {
		n->stream_pool = s->next;
		n->stream_pooled--;
	} else {
		s = mem_alloc(sizeof(*s));
	}
	*s = (struct stream){
		.method = m,
		.arrived.done = stream_arrived,
		.received.done = stream_received,
		.sent.done = stream_sent,
		.closed.done = stream_closed,
	};
	grpc_metadata_array_init(&s->metadata);
	CHECK(grpc_server_request_registered_call(n->clients.server, m->registration, &s->call,
						  &s->deadline, &s->metadata, NULL, n->queue,
						  n->queue, &s->arrived) == GRPC_CALL_OK);
	n->outstanding++;
}

void stream_drain(struct net *n)
{
	struct stream *s, *later;

	DL_FOREACH_SAFE(n->stream_list, s, later)
		stream_advance(n, s);
}
