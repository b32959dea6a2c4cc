/*
 * chubby.v1 messages between plain structs and protobuf bytes. With daemon/codec the only user of
 * nanopb.
 *
 * Decoding copies the message into the caller's arena (which needs room for it and its arrays:
 * three times the message will always do for what our encoder made), checks every bound and every
 * enum, and accepts unknown fields. It never trusts: a malformed message is MALFORMED, an
 * oversized part TOO_LARGE, a text with NUL or invalid UTF-8 INVALID_ARGUMENT; `ret_trouble`
 * points to a constant sentence that names the field. Encoding cannot fail for a struct within its
 * limits; beyond them it returns TOO_LARGE. All functions are pure and thread-safe.
 */
#ifndef CHUBBY_WIRE_CODEC_H
#define CHUBBY_WIRE_CODEC_H

#include "wire/message.h"

/* Unary methods: the message alone; `kind` comes from the method. Appended to `ret_bytes`. */
MUST_USE enum error wire_encode_request(const struct request *r, struct buffer *ret_bytes);
MUST_USE enum error wire_decode_request(enum message_kind kind, struct bytes b, struct arena *arena,
					struct request *ret_request, const char **ret_trouble);
MUST_USE enum error wire_encode_reply(const struct reply *r, struct buffer *ret_bytes);
MUST_USE enum error wire_decode_reply(enum message_kind kind, struct bytes b, struct arena *arena,
				      struct reply *ret_reply, const char **ret_trouble);

/* The Session stream: the same within envelopes. A refusal travels as the envelope's error with
 * the kind MESSAGE_NONE. `call_id` 0 is a push. Kinds that have no place on the stream (Admin) are
 * UNIMPLEMENTED to encode. Decoding an envelope of a newer version, whose body is of a kind that we
 * do not know, gives OK and MESSAGE_NONE (a reply then has no error either): the server answers
 * UNIMPLEMENTED, the client ignores it. `ret_call_id` alone is set on failure too, to 0 where it
 * could not be read: the call is to be refused, not the whole stream. */
MUST_USE enum error wire_encode_client_envelope(uint64_t call_id, const struct request *r,
						struct buffer *ret_bytes);
MUST_USE enum error wire_decode_client_envelope(struct bytes b, struct arena *arena,
						uint64_t *ret_call_id, struct request *ret_request,
						const char **ret_trouble);
MUST_USE enum error wire_encode_server_envelope(uint64_t call_id, const struct reply *r,
						struct buffer *ret_bytes);
MUST_USE enum error wire_decode_server_envelope(struct bytes b, struct arena *arena,
						uint64_t *ret_call_id, struct reply *ret_reply,
						const char **ret_trouble);

/* google.rpc.Status with a chubby.v1.Error in its details, for grpc-status-details-bin. Of the
 * reply only the refusal is used, and the kind is MESSAGE_NONE. An error's sentence is cut to
 * WIRE_TEXT_MAX_BYTES; an empty one is replaced by the error's text. MALFORMED for a status without
 * chubby.v1.Error, such as gRPC's own. */
MUST_USE enum error wire_encode_status(const struct reply *r, struct buffer *ret_bytes);
MUST_USE enum error wire_decode_status(struct bytes b, struct arena *arena,
				       struct reply *ret_reply);

/* "/chubby.v1.Chubby/Acquire"; NULL for kinds that are no method. */
const char *wire_method_path(enum message_kind kind);

#endif
