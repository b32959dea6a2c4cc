#include "wire/codec.h"

#include "base/check.h"
#include "wire/path.h"
#include "wire/tables.h"

/* Copies the input once, so that everything in it may be borrowed from the arena. */
static enum error decode(const struct fields *table, struct bytes b, struct arena *arena,
			 void *target, const char **ret_trouble)
{
	struct bytes copy;

	if (b.size > WIRE_MESSAGE_MAX_BYTES || !arena_copy(arena, b, &copy)) {
		*ret_trouble = "the message is too large";
		return ERROR_TOO_LARGE;
	}
	return fields_decode(table, copy, arena, FIELDS_LENIENT, target, ret_trouble);
}

static enum error encode(const struct fields *table, const void *source, struct buffer *ret_bytes)
{
	size_t start = ret_bytes->size;
	enum error e = fields_encode(table, source, ret_bytes);

	if (e == ERROR_OK && ret_bytes->size - start > WIRE_MESSAGE_MAX_BYTES) {
		ret_bytes->size = start;
		return ERROR_TOO_LARGE;
	}
	return e;
}

static bool is_kind(enum message_kind kind)
{
	return kind > MESSAGE_NONE && kind < MESSAGE_KIND_END;
}

static bool is_push(enum message_kind kind)
{
	return kind == MESSAGE_WAIT_ENDED || kind == MESSAGE_SESSION_ENDED;
}

static bool has_envelope(enum message_kind kind)
{
	return kind >= MESSAGE_FIND_MASTER && kind <= MESSAGE_MULTI;
}

struct reply wire_error_reply(const struct reply *r)
{
	struct reply refusal = {
		.error = r->error,
		.message = r->message,
		.master_address = r->master_address,
		.epoch = r->epoch,
		.retry_after_ns = r->retry_after_ns,
		.generation = r->generation,
		.has_failed_op = r->has_failed_op,
		.failed_op = r->failed_op,
	};
	size_t size = WIRE_TEXT_MAX_BYTES;

	if (refusal.message.size == 0)
		refusal.message = bytes_of_text(error_text(r->error));
	if (refusal.message.size <= WIRE_TEXT_MAX_BYTES)
		return refusal;
	/* Not within a character: its further bytes are 10xxxxxx. */
	while (size > 0 && (refusal.message.data[size] & 0xc0) == 0x80)
		size--;
	refusal.message.size = size;
	return refusal;
}

/* ---- unary ---- */

enum error wire_encode_request(const struct request *r, struct buffer *ret_bytes)
{
	CHECK(is_kind(r->kind));
	return encode(&wire_requests[r->kind], r, ret_bytes);
}

enum error wire_decode_request(enum message_kind kind, struct bytes b, struct arena *arena,
			       struct request *ret_request, const char **ret_trouble)
{
	struct request r = {.kind = kind};
	enum error e;

	CHECK(is_kind(kind));
	e = decode(&wire_requests[kind], b, arena, &r, ret_trouble);
	if (e == ERROR_OK)
		*ret_request = r;
	return e;
}

enum error wire_encode_reply(const struct reply *r, struct buffer *ret_bytes)
{
	/* A refused call has a status instead of a message. */
	CHECK(is_kind(r->kind) && (r->error == ERROR_OK || is_push(r->kind)));
	return encode(&wire_replies[r->kind], r, ret_bytes);
}

enum error wire_decode_reply(enum message_kind kind, struct bytes b, struct arena *arena,
			     struct reply *ret_reply, const char **ret_trouble)
{
	struct reply r = {.kind = kind};
	enum error e;

	CHECK(is_kind(kind));
	e = decode(&wire_replies[kind], b, arena, &r, ret_trouble);
	if (e == ERROR_OK)
		*ret_reply = r;
	return e;
}

/* ---- envelopes ---- */

enum error wire_encode_client_envelope(uint64_t call_id, const struct request *r,
				       struct buffer *ret_bytes)
{
	struct client_envelope envelope = {.request = *r, .call_id = call_id};

	if (!has_envelope(r->kind))
		return ERROR_UNIMPLEMENTED;
	return encode(&wire_client_envelope, &envelope, ret_bytes);
}

enum error wire_decode_client_envelope(struct bytes b, struct arena *arena, uint64_t *ret_call_id,
				       struct request *ret_request, const char **ret_trouble)
{
	struct client_envelope envelope = {.call_id = 0};
	enum error e = decode(&wire_client_envelope, b, arena, &envelope, ret_trouble);

	*ret_call_id = envelope.call_id;
	if (e == ERROR_OK)
		*ret_request = envelope.request;
	return e;
}

enum error wire_encode_server_envelope(uint64_t call_id, const struct reply *r,
				       struct buffer *ret_bytes)
{
	struct server_envelope envelope = {.call_id = call_id};
	struct reply refusal;

	if (r->error == ERROR_OK) {
		envelope.reply = *r;
	} else {
		/* What a push says beside its error stands. */
		envelope.reply = is_push(r->kind) ? *r : (struct reply){.error = r->error};
		refusal = wire_error_reply(r);
		envelope.reply.message = refusal.message;
		envelope.reply.master_address = refusal.master_address;
		envelope.reply.epoch = refusal.epoch;
		envelope.reply.retry_after_ns = refusal.retry_after_ns;
		envelope.reply.generation = refusal.generation;
		envelope.reply.has_failed_op = refusal.has_failed_op;
		envelope.reply.failed_op = refusal.failed_op;
		envelope.refusal = is_push(r->kind) ? ERROR_OK : r->error;
	}
	if (envelope.refusal == ERROR_OK && !has_envelope(r->kind) && !is_push(r->kind))
		return ERROR_UNIMPLEMENTED;
	return encode(&wire_server_envelope, &envelope, ret_bytes);
}

enum error wire_decode_server_envelope(struct bytes b, struct arena *arena, uint64_t *ret_call_id,
				       struct reply *ret_reply, const char **ret_trouble)
{
	struct server_envelope envelope = {.call_id = 0};
	struct reply *r = &envelope.reply;
	enum error e = decode(&wire_server_envelope, b, arena, &envelope, ret_trouble);

	*ret_call_id = envelope.call_id;
	if (e != ERROR_OK)
		return e;
	if (r->error != ERROR_OK && r->kind != MESSAGE_NONE && !is_push(r->kind)) {
		*ret_trouble = "the envelope holds both a reply and an error";
		return ERROR_MALFORMED;
	}
	*ret_reply = *r;
	return ERROR_OK;
}
