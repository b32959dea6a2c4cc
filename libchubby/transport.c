/*
 * The library thread's side of gRPC: one completion queue, a channel for each server, questions
 * and links.
 */
#include "transport_internal.h"

#include <stdatomic.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/codec.h"

/* A link whose server does not read is of no use: its master is stuck. */
#define LINK_QUEUE_MAX 8192u
#define SESSION_METHOD "/chubby.v1.Chubby/Session"

enum tag_kind { TAG_POST, TAG_QUESTION, TAG_START, TAG_WRITE, TAG_READ, TAG_STATUS };

struct tag {
	enum tag_kind kind;
	void *owner;
};

struct question {
	struct tag tag;
	uint64_t number;
	struct transport_rpc rpc;
	struct question *next, *previous;
};

struct link_message {
	grpc_byte_buffer *bytes;
	struct link_message *next;
};

/* Freed when it is dead and its last batch has come back. */
struct link {
	uint64_t number;
	grpc_call *call;
	struct tag start, write, read, status;
	uint32_t batches;
	bool dead; /* reports nothing any more */
	bool writing;
	struct link_message *queue_head, *queue_tail;
	uint32_t queue_count;
	grpc_byte_buffer *received;
	grpc_metadata_array initial, trailers;
	grpc_status_code status_code;
	grpc_slice details;
	struct link *next, *previous;
};

struct transport {
	grpc_completion_queue *queue;
	grpc_channel *lame;
	grpc_call *post_call;
	struct tag post_tag;
	atomic_bool posted;
	grpc_channel *channels[TRANSPORT_SERVERS_MAX];
	struct question *questions; /* owned */
	struct link *links;         /* owned, the dying ones included */
};

/* ---- life ----------------------------------------------------------------------------------- */

struct transport *transport_new(void)
{
	struct transport *t = mem_zalloc(sizeof(*t));

	transport_begin();
	t->queue = grpc_completion_queue_create_for_next(NULL);
	/* An empty batch on a call that goes nowhere comes back at once and wakes the queue. */
	t->lame = grpc_lame_client_channel_create("post", GRPC_STATUS_UNAVAILABLE, "post");
	t->post_call = grpc_channel_create_call(t->lame, NULL, GRPC_PROPAGATE_DEFAULTS, t->queue,
						grpc_slice_from_static_string("/post"), NULL,
						gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	t->post_tag.kind = TAG_POST;
	return t;
}

static grpc_channel *channel_of(struct transport *t, uint32_t server, const char *address)
{
	CHECK(server < TRANSPORT_SERVERS_MAX);
	if (t->channels[server] == NULL)
		t->channels[server] = transport_channel_create(address);
	return t->channels[server];
}

void transport_post(struct transport *t)
{
	if (atomic_exchange(&t->posted, true))
		return;
	CHECK(grpc_call_start_batch(t->post_call, NULL, 0, &t->post_tag, NULL) == GRPC_CALL_OK);
}

/* ---- questions ------------------------------------------------------------------------------ */

void transport_ask(struct transport *t, uint32_t server, const char *address, uint64_t number,
		   const struct request *r)
{
	struct question *q = mem_zalloc(sizeof(*q));
	int64_t timeout_ns = r->find_master.wait_ns + NS_PER_S;

	q->tag = (struct tag){TAG_QUESTION, q};
	q->number = number;
	CHECK(transport_rpc_start(&q->rpc, channel_of(t, server, address), t->queue, r, timeout_ns,
				  &q->tag));
	q->next = t->questions;
	if (q->next != NULL)
		q->next->previous = q;
	t->questions = q;
}

static void question_done(struct transport *t, struct question *q, struct transport_event *ret)
{
	ret->kind = TRANSPORT_ANSWER;
	ret->question = q->number;
	ret->answered = transport_rpc_finish(&q->rpc, &ret->arena, &ret->reply);
	if (!ret->answered)
		ret->reply = (struct reply){.kind = MESSAGE_FIND_MASTER,
					    .error = ERROR_UNAVAILABLE};
	if (q->previous != NULL)
		q->previous->next = q->next;
	else
		t->questions = q->next;
	if (q->next != NULL)
		q->next->previous = q->previous;
	free(q);
}

/* ---- links ---------------------------------------------------------------------------------- */

static struct link *link_find(struct transport *t, uint64_t number)
{
	for (struct link *l = t->links; l != NULL; l = l->next) {
		if (l->number == number && !l->dead)
			return l;
	}
	return NULL;
}

static void link_batch(struct link *l, const grpc_op *ops, size_t count, struct tag *tag)
{
	l->batches++;
	CHECK(grpc_call_start_batch(l->call, ops, count, tag, NULL) == GRPC_CALL_OK);
}

static void link_read(struct link *l)
{
	grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};

	op.data.recv_message.recv_message = &l->received;
	link_batch(l, &op, 1, &l->read);
}

static void link_write_next(struct link *l)
{
	struct link_message *m = l->queue_head;
	grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};

	if (m == NULL || l->writing || l->dead)
		return;
	op.data.send_message.send_message = m->bytes;
	l->writing = true;
	link_batch(l, &op, 1, &l->write);
	grpc_byte_buffer_destroy(m->bytes); /* the batch has its own reference */
	l->queue_head = m->next;
	if (l->queue_head == NULL)
		l->queue_tail = NULL;
	l->queue_count--;
	free(m);
}

void transport_connect(struct transport *t, uint32_t server, const char *address, uint64_t number)
{
	struct link *l = mem_zalloc(sizeof(*l));
	grpc_op ops[2];

	l->number = number;
	l->start = (struct tag){TAG_START, l};
	l->write = (struct tag){TAG_WRITE, l};
	l->read = (struct tag){TAG_READ, l};
	l->status = (struct tag){TAG_STATUS, l};
	grpc_metadata_array_init(&l->initial);
	grpc_metadata_array_init(&l->trailers);
	l->details = grpc_empty_slice();
	l->call = grpc_channel_create_call(channel_of(t, server, address), NULL,
					   GRPC_PROPAGATE_DEFAULTS, t->queue,
					   grpc_slice_from_static_string(SESSION_METHOD), NULL,
					   gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
	l->next = t->links;
	if (l->next != NULL)
		l->next->previous = l;
	t->links = l;
	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
	ops[0].data.recv_status_on_client.trailing_metadata = &l->trailers;
	ops[0].data.recv_status_on_client.status = &l->status_code;
	ops[0].data.recv_status_on_client.status_details = &l->details;
	link_batch(l, ops, 1, &l->status);
	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[1].data.recv_initial_metadata.recv_initial_metadata = &l->initial;
	link_batch(l, ops, 2, &l->start);
	link_read(l);
}

void transport_disconnect(struct transport *t, uint64_t number)
{
	struct link *l = link_find(t, number);

	if (l == NULL)
		return;
	l->dead = true;
	grpc_call_cancel(l->call, NULL);
}

bool transport_send(struct transport *t, uint64_t number, uint64_t call_id, const struct request *r)
{
	struct link *l = link_find(t, number);
	struct link_message *m;
	struct buffer bytes;

	if (l == NULL)
		return true;
	buffer_init(&bytes, WIRE_MESSAGE_MAX_BYTES);
	if (wire_encode_client_envelope(call_id, r, &bytes) != ERROR_OK) {
		buffer_release(&bytes);
		return false;
	}
	if (l->queue_count >= LINK_QUEUE_MAX) {
		buffer_release(&bytes);
		grpc_call_cancel(l->call, NULL); /* its status will report the link lost */
		return true;
	}
	m = mem_zalloc(sizeof(*m));
	m->bytes = transport_pack(&bytes);
	buffer_release(&bytes);
	if (l->queue_tail != NULL)
		l->queue_tail->next = m;
	else
		l->queue_head = m;
	l->queue_tail = m;
	l->queue_count++;
	link_write_next(l);
	return true;
}

static void link_free(struct transport *t, struct link *l)
{
	while (l->queue_head != NULL) {
		struct link_message *m = l->queue_head;

		l->queue_head = m->next;
		grpc_byte_buffer_destroy(m->bytes);
		free(m);
	}
	if (l->received != NULL)
		grpc_byte_buffer_destroy(l->received);
	grpc_metadata_array_destroy(&l->initial);
	grpc_metadata_array_destroy(&l->trailers);
	grpc_slice_unref(l->details);
	grpc_call_unref(l->call);
	if (l->previous != NULL)
		l->previous->next = l->next;
	else
		t->links = l->next;
	if (l->next != NULL)
		l->next->previous = l->previous;
	free(l);
}

/* True if there is something to report. */
static bool link_received(struct link *l, struct transport_event *ret)
{
	const char *trouble = NULL;
	grpc_slice slice;
	enum error e;

	if (l->received == NULL || l->dead)
		return false; /* the end: the status tells why */
	if (!transport_unpack(l->received, &slice))
		return false;
	grpc_byte_buffer_destroy(l->received);
	l->received = NULL;
	e = wire_decode_server_envelope((struct bytes){GRPC_SLICE_START_PTR(slice),
						       GRPC_SLICE_LENGTH(slice)},
					&ret->arena, &ret->call_id, &ret->reply, &trouble);
	grpc_slice_unref(slice);
	if (e != ERROR_OK) {
		/* A server that cannot be understood is left. */
		grpc_call_cancel(l->call, NULL);
		return false;
	}
	ret->kind = TRANSPORT_MESSAGE;
	ret->link = l->number;
	link_read(l);
	return true;
}

static bool link_ended(struct link *l, struct transport_event *ret)
{
	if (l->dead)
		return false;
	l->dead = true;
	ret->kind = TRANSPORT_LINK_LOST;
	ret->link = l->number;
	ret->refused = transport_refusal(&l->trailers, &ret->arena, &ret->reply);
	return true;
}

static bool link_event(struct transport *t, struct link *l, enum tag_kind kind, bool success,
		       struct transport_event *ret)
{
	bool report = false;

	l->batches--;
	if (kind == TAG_WRITE) {
		l->writing = false;
		if (success)
			link_write_next(l);
	} else if (kind == TAG_READ && success) {
		report = link_received(l, ret);
	} else if (kind == TAG_STATUS) {
		report = link_ended(l, ret);
	}
	if (l->dead && l->batches == 0)
		link_free(t, l);
	return report;
}

/* ---- events --------------------------------------------------------------------------------- */

/* True if there is something to report. */
static bool event_take(struct transport *t, const grpc_event *ev, struct transport_event *ret)
{
	struct tag *tag = ev->tag;

	switch (tag->kind) {
	case TAG_POST:
		atomic_store(&t->posted, false);
		ret->kind = TRANSPORT_POSTED;
		return true;
	case TAG_QUESTION:
		question_done(t, tag->owner, ret);
		return true;
	default:
		return link_event(t, tag->owner, tag->kind, ev->success != 0, ret);
	}
}

void transport_next(struct transport *t, int64_t deadline_ns, struct transport_event *ret_event)
{
	gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);

	memset(ret_event, 0, sizeof(*ret_event));
	arena_init(&ret_event->arena, TRANSPORT_ARENA_MAX_BYTES);
	if (deadline_ns != TIME_NEVER) {
		int64_t after_ns = deadline_ns - clock_now_ns();

		deadline = transport_deadline(after_ns > 0 ? after_ns : 0);
	}
	for (;;) {
		grpc_event ev = grpc_completion_queue_next(t->queue, deadline, NULL);

		CHECK(ev.type != GRPC_QUEUE_SHUTDOWN);
		if (ev.type == GRPC_QUEUE_TIMEOUT) {
			ret_event->kind = TRANSPORT_TIMEOUT;
			return;
		}
		if (event_take(t, &ev, ret_event))
			return;
	}
}

/* A batch after the queue's shutdown would abort: everything comes back first. */
void transport_free(struct transport *t)
{
	struct transport_event ev;

	if (t == NULL)
		return;
	for (struct link *l = t->links; l != NULL; l = l->next) {
		l->dead = true;
		grpc_call_cancel(l->call, NULL);
	}
	for (struct question *q = t->questions; q != NULL; q = q->next)
		grpc_call_cancel(q->rpc.call, NULL);
	while (t->links != NULL || t->questions != NULL || atomic_load(&t->posted)) {
		grpc_event e = grpc_completion_queue_next(t->queue,
							  gpr_inf_future(GPR_CLOCK_MONOTONIC),
							  NULL);

		memset(&ev, 0, sizeof(ev));
		arena_init(&ev.arena, TRANSPORT_ARENA_MAX_BYTES);
		(void)event_take(t, &e, &ev);
		arena_release(&ev.arena);
	}
	grpc_call_unref(t->post_call);
	grpc_channel_destroy(t->lame);
	for (uint32_t i = 0; i < TRANSPORT_SERVERS_MAX; i++) {
		if (t->channels[i] != NULL)
			grpc_channel_destroy(t->channels[i]);
	}
	grpc_completion_queue_shutdown(t->queue);
	while (grpc_completion_queue_next(t->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
		       .type != GRPC_QUEUE_SHUTDOWN)
		continue;
	grpc_completion_queue_destroy(t->queue);
	transport_end();
	free(t);
}
