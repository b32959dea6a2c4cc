/* google.rpc.Status around a chubby.v1.Error: how a refusal travels in gRPC trailers. */
#include "wire/codec.h"
#include "wire/tables.h"

#include "chubby/internal/status.pb.h"

#define FIELD_PACKAGE chubby_internal

#define ERROR_TYPE_URL "type.googleapis.com/chubby.v1.Error"
#define DETAILS_MAX 16
#define DETAIL_MAX_BYTES 8192 /* gRPC's own limit on a call's metadata */

struct any {
	struct bytes type_url;
	struct bytes value;
};

struct status {
	uint32_t grpc_status;
	struct bytes message;
	uint32_t detail_count;
	const struct any *details;
};

static const struct field any_rows[] = {
	TEXT(Any, type_url, any, type_url, 256),
	BYTES(Any, value, any, value, DETAIL_MAX_BYTES),
};
static const struct fields any_fields = FIELDS(any_rows);

static const struct field status_rows[] = {
	U32(Status, code, status, grpc_status),
	TEXT(Status, message, status, message, DETAIL_MAX_BYTES),
	MESSAGES(Status, details, status, details, detail_count, &any_fields, DETAILS_MAX),
};
static const struct fields status_fields = FIELDS(status_rows);

enum error wire_encode_status(const struct reply *r, struct buffer *ret_bytes)
{
	struct reply refusal = wire_error_reply(r);
	struct any detail = {.type_url = bytes_of_text(ERROR_TYPE_URL)};
	struct status s = {
		.grpc_status = (uint32_t)error_grpc_status(r->error),
		.message = refusal.message,
		.detail_count = 1,
		.details = &detail,
	};
	struct buffer error;
	enum error e;

	buffer_init(&error, DETAIL_MAX_BYTES);
	e = fields_encode(&wire_error, &refusal, &error);
	detail.value = buffer_view(&error);
	if (e == ERROR_OK)
		e = fields_encode(&status_fields, &s, ret_bytes);
	buffer_release(&error);
	return e;
}

enum error wire_decode_status(struct bytes b, struct arena *arena, struct reply *ret_reply)
{
	struct reply r = {.kind = MESSAGE_NONE};
	struct status s = {0};
	const char *trouble;
	struct bytes copy;
	enum error e;

	if (b.size > (size_t)2 * DETAIL_MAX_BYTES || !arena_copy(arena, b, &copy))
		return ERROR_TOO_LARGE;
	e = fields_decode(&status_fields, copy, arena, FIELDS_LENIENT, &s, &trouble);
	if (e != ERROR_OK)
		return e;
	for (uint32_t i = 0; i < s.detail_count; i++) {
		if (!bytes_equal(s.details[i].type_url, bytes_of_text(ERROR_TYPE_URL)))
			continue;
		e = fields_decode(&wire_error, s.details[i].value, arena, FIELDS_LENIENT, &r,
				  &trouble);
		if (e != ERROR_OK)
			return e;
		if (r.error == ERROR_OK)
			return ERROR_MALFORMED;
		*ret_reply = r;
		return ERROR_OK;
	}
	return ERROR_MALFORMED;
}
