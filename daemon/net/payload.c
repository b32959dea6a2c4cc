#include "net/net_internal.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

/* Above this the encoded bytes are handed to gRPC instead of copied. */
#define HAND_OVER_BYTES ((size_t)16384)

void slice_queue_release(struct slice_queue *q)
{
	while (q->count > 0)
		grpc_slice_unref(slice_queue_pop(q));
	free(q->slices);
	*q = (struct slice_queue){0};
}

/* Doubles the ring and straightens it. */
static void slice_queue_grow(struct slice_queue *q)
{
	uint32_t capacity = q->capacity == 0 ? 8 : q->capacity * 2;
	grpc_slice *slices = mem_realloc_array(NULL, capacity, sizeof(*slices));

	for (uint32_t i = 0; i < q->count; i++)
		slices[i] = q->slices[(q->head + i) % q->capacity];
	free(q->slices);
	q->slices = slices;
	q->head = 0;
	q->capacity = capacity;
}

void slice_queue_push(struct slice_queue *q, grpc_slice s)
{
	if (q->count == q->capacity)
		slice_queue_grow(q);
	q->slices[(q->head + q->count++) % q->capacity] = s;
	q->bytes += GRPC_SLICE_LENGTH(s);
}

grpc_slice slice_queue_pop(struct slice_queue *q)
{
	grpc_slice s;

	CHECK(q->count > 0);
	s = q->slices[q->head];
	q->head = (q->head + 1) % q->capacity;
	q->count--;
	q->bytes -= GRPC_SLICE_LENGTH(s);
	return s;
}

struct bytes slice_queue_peek(const struct slice_queue *q)
{
	const grpc_slice *s = &q->slices[q->head];

	CHECK(q->count > 0);
	return (struct bytes){GRPC_SLICE_START_PTR(*s), GRPC_SLICE_LENGTH(*s)};
}

struct bytes net_borrow(struct net *n, grpc_byte_buffer *buffer)
{
	const grpc_slice_buffer *parts = &buffer->data.raw.slice_buffer;
	grpc_byte_buffer_reader reader;

	CHECK(n->borrowed == NULL);
	n->borrowed = buffer;
	if (buffer->data.raw.compression == GRPC_COMPRESS_NONE) {
		if (parts->count == 0)
			return BYTES_NONE;
		if (parts->count == 1)
			return (struct bytes){GRPC_SLICE_START_PTR(parts->slices[0]),
					      GRPC_SLICE_LENGTH(parts->slices[0])};
	}
	/* What came in several pieces is made one; so is what this version would not expect. */
	if (!grpc_byte_buffer_reader_init(&reader, buffer))
		return BYTES_NONE;
	n->borrowed_flat = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	return (struct bytes){GRPC_SLICE_START_PTR(n->borrowed_flat),
			      GRPC_SLICE_LENGTH(n->borrowed_flat)};
}

grpc_slice net_scratch_slice(struct net *n)
{
	struct buffer *b = &n->scratch;
	grpc_slice s;

	if (b->size == 0)
		return grpc_empty_slice();
	if (b->size < HAND_OVER_BYTES) {
		s = grpc_slice_from_copied_buffer((const char *)b->data, b->size);
		buffer_clear(b);
		return s;
	}
	s = grpc_slice_new(b->data, b->size, free);
	buffer_init(b, b->max_size);
	return s;
}

struct reply reply_refusing(enum error e, const char *sentence)
{
	return (struct reply){
		.error = e,
		.message = sentence != NULL ? bytes_of_text(sentence) : BYTES_NONE,
	};
}

void refusal_init(struct net *n, const struct reply *r, struct refusal *ret_refusal)
{
	struct bytes text = r->message.size > 0 ? r->message : bytes_of_text(error_text(r->error));

	CHECK(r->error != ERROR_OK);
	*ret_refusal = (struct refusal){
		.code = (grpc_status_code)error_grpc_status(r->error),
		.text = grpc_slice_from_copied_buffer((const char *)text.data, text.size),
	};
	buffer_clear(&n->scratch);
	/* A refusal too long for its details still arrives as status and text. */
	if (wire_encode_status(r, &n->scratch) == ERROR_OK) {
		ret_refusal->trailer.key = grpc_slice_from_static_string("grpc-status-details-bin");
		ret_refusal->trailer.value = net_scratch_slice(n);
		ret_refusal->trailer_count = 1;
	}
	buffer_clear(&n->scratch);
}

void refusal_release(struct refusal *f)
{
	grpc_slice_unref(f->text);
	if (f->trailer_count > 0)
		grpc_slice_unref(f->trailer.value);
	f->text = grpc_empty_slice();
	f->trailer_count = 0;
}

void refusal_op(struct refusal *f, grpc_op *ret_op)
{
	*ret_op = (grpc_op){.op = GRPC_OP_SEND_STATUS_FROM_SERVER};
	ret_op->data.send_status_from_server.status = f->code;
	ret_op->data.send_status_from_server.status_details = &f->text;
	ret_op->data.send_status_from_server.trailing_metadata_count = f->trailer_count;
	ret_op->data.send_status_from_server.trailing_metadata = &f->trailer;
}
