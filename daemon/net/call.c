#include "net/net_internal.h"

#include <grpc/support/alloc.h>
#include <utlist.h>

/*
 * A unary call: armed -> arrived -> (watched) -> answered or gone -> back to the pool.
 *
 * Most calls cost two completions, arrived and answered: the batch that answers also takes note of
 * the call's end. Only a call that stays unanswered for NET_WATCH_AFTER_NS gets a batch of its own
 * that tells when its client gives up; gRPC allows that batch once, so it is left out then later.
 */
struct unary {
	struct call head;
	struct method *method;
	struct op arrived, answered, closed;
	grpc_call *call;
	gpr_timespec deadline;
	grpc_metadata_array metadata;
	grpc_byte_buffer *payload; /* passes to n->borrowed when it is read */
	int cancelled;
	uint32_t batches; /* under way, apart from `arrived` */
	bool watched;
	int64_t arrived_ns;
	struct unary *prev, *next; /* in n->fresh, or in the pool */
};

static void unary_free(struct unary *u)
{
	grpc_metadata_array_destroy(&u->metadata);
	if (u->payload != NULL)
		grpc_byte_buffer_destroy(u->payload);
	if (u->call != NULL)
		grpc_call_unref(u->call);
	u->payload = NULL;
	u->call = NULL;
}

static void unary_recycle(struct net *n, struct unary *u)
{
	unary_free(u);
	if (n->unary_pooled == NET_POOL_MAX) {
		free(u);
		return;
	}
	n->unary_pooled++;
	u->next = n->unary_pool;
	n->unary_pool = u;
}

void unary_release_pool(struct net *n)
{
	while (n->unary_pool != NULL) {
		struct unary *u = n->unary_pool;

		n->unary_pool = u->next;
		free(u);
	}
}

/* Ends a call that is answered or gone once nothing of it is under way. */
static void unary_settle(struct net *n, struct unary *u)
{
	if (u->batches > 0 || u->head.id != 0)
		return;
	n->unary_live--;
	unary_recycle(n, u);
}

static void unary_answered(struct net *n, struct op *op, bool ok)
{
	struct unary *u = CONTAINER_OF(op, struct unary, answered);

	u->batches--;
	unary_settle(n, u);
}

static void unary_closed(struct net *n, struct op *op, bool ok)
{
	struct unary *u = CONTAINER_OF(op, struct unary, closed);

	u->batches--;
	if (u->head.id != 0) {
		struct net_event *event = net_emit(n, NET_CALL_GONE);

		event->call.n = u->head.id;
		slots_remove(&n->calls, u->head.id);
		u->head.id = 0;
	}
	unary_settle(n, u);
}

/* Starts the one batch that ends the call. */
static void unary_answer(struct net *n, struct unary *u, const struct reply *r)
{
	struct reply too_large;
	struct refusal refusal;
	grpc_byte_buffer *message = NULL;
	grpc_op ops[4] = {0};
	size_t count = 0;

	ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
	buffer_clear(&n->scratch);
	if (r->error == ERROR_OK && wire_encode_reply(r, &n->scratch) != ERROR_OK) {
		too_large = reply_refusing(ERROR_TOO_LARGE,
					   "the answer is too large; ask for less");
		r = &too_large;
	}
	if (r->error == ERROR_OK) {
		grpc_slice slice = net_scratch_slice(n);

		message = grpc_raw_byte_buffer_create(&slice, 1);
		grpc_slice_unref(slice);
		ops[count].op = GRPC_OP_SEND_MESSAGE;
		ops[count++].data.send_message.send_message = message;
		ops[count++].op = GRPC_OP_SEND_STATUS_FROM_SERVER; /* GRPC_STATUS_OK is 0 */
	} else {
		refusal_init(n, r, &refusal);
		refusal_op(&refusal, &ops[count++]);
	}
	if (!u->watched) {
		ops[count].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
		ops[count++].data.recv_close_on_server.cancelled = &u->cancelled;
	}
	u->batches++;
	net_batch(n, u->call, ops, count, &u->answered);
	n->counters.replies++;
	if (message != NULL)
		grpc_byte_buffer_destroy(message);
	else
		refusal_release(&refusal);
}

void unary_reply(struct net *n, struct call *c, const struct reply *r)
{
	struct unary *u = CONTAINER_OF(c, struct unary, head);

	CHECK(!c->on_stream);
	if (!u->watched)
		DL_DELETE(n->fresh, u);
	slots_remove(&n->calls, c->id);
	c->id = 0;
	unary_answer(n, u, r);
}

/* A refusal made here, before the replica hears of the call. */
static void unary_refuse(struct net *n, struct unary *u, enum error e, const char *sentence)
{
	const struct reply r = reply_refusing(e, sentence);

	unary_answer(n, u, &r);
}

static void unary_deliver(struct net *n, struct unary *u)
{
	const char *trouble = NULL;
	struct net_event *event;
	struct bytes input;
	enum error e;

	if (u->payload == NULL) {
		n->counters.malformed++;
		unary_refuse(n, u, ERROR_MALFORMED, "the call carried no message");
		return;
	}
	input = net_borrow(n, u->payload);
	u->payload = NULL;
	e = wire_decode_request(u->head.kind, input, &n->arena, &n->request, &trouble);
	if (e != ERROR_OK) {
		n->counters.malformed++;
		unary_refuse(n, u, e, trouble);
		return;
	}
	u->head.id = slots_add(&n->calls, &u->head);
	if (u->head.id == 0) {
		unary_refuse(n, u, ERROR_RESOURCE_EXHAUSTED,
			     "this replica has too many calls open");
		return;
	}
	u->arrived_ns = clock_now_ns();
	DL_APPEND(n->fresh, u);
	n->borrowed_peer = grpc_call_get_peer(u->call);
	event = net_emit(n, NET_REQUEST);
	event->call.n = u->head.id;
	event->request = &n->request;
	event->peer_address = bytes_of_text(n->borrowed_peer);
}

static void unary_arrived(struct net *n, struct op *op, bool ok)
{
	struct unary *u = CONTAINER_OF(op, struct unary, arrived);

	if (!ok) {
		unary_recycle(n, u);
		return;
	}
	method_rearm(n, u->method);
	n->counters.requests++;
	n->unary_live++;
	unary_deliver(n, u);
}

void unary_arm(struct net *n, struct method *m)
{
	struct unary *u = n->unary_pool;

	if (u != NULL) {
		n->unary_pool = u->next;
		n->unary_pooled--;
	} else {
		u = mem_alloc(sizeof(*u));
	}
	*u = (struct unary){
		.head.kind = m->kind,
		.method = m,
		.arrived.done = unary_arrived,
		.answered.done = unary_answered,
		.closed.done = unary_closed,
	};
	grpc_metadata_array_init(&u->metadata);
	CHECK(grpc_server_request_registered_call(n->clients.server, m->registration, &u->call,
						  &u->deadline, &u->metadata, &u->payload, n->queue,
						  n->queue, &u->arrived) == GRPC_CALL_OK);
	n->outstanding++;
}

int64_t unary_watch(struct net *n, int64_t now_ns)
{
	while (n->fresh != NULL) {
		struct unary *u = n->fresh;
		grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};

		if (u->arrived_ns + NET_WATCH_AFTER_NS > now_ns)
			return u->arrived_ns + NET_WATCH_AFTER_NS;
		DL_DELETE(n->fresh, u);
		u->watched = true;
		u->batches++;
		op.data.recv_close_on_server.cancelled = &u->cancelled;
		net_batch(n, u->call, &op, 1, &u->closed);
	}
	return TIME_NEVER;
}

void unary_abandon(struct net *n)
{
	while (n->fresh != NULL) {
		struct unary *u = n->fresh;

		DL_DELETE(n->fresh, u);
		slots_remove(&n->calls, u->head.id);
		u->head.id = 0;
		unary_settle(n, u);
	}
}
