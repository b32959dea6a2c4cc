/* The tables of chubby.v1, shared by the files of wire/. Private to them and to the tests. */
#ifndef CHUBBY_WIRE_TABLES_H
#define CHUBBY_WIRE_TABLES_H

#include "wire/fields.h"
#include "wire/message.h"

/* By kind; no rows where a message is empty or the kind has none. */
extern const struct fields wire_requests[MESSAGE_KIND_END];
extern const struct fields wire_replies[MESSAGE_KIND_END];

/* A struct reply whose `error` is not OK, as chubby.v1.Error. */
extern const struct fields wire_error;

/* What stands in an envelope. The message comes first, since its tables start at offset 0. */
struct client_envelope {
	struct request request;
	uint64_t call_id;
};
struct server_envelope {
	struct reply reply;
	uint64_t call_id;
	/* Written only: the call's refusal, which a push never has. Read, it is in reply.error. */
	enum error refusal;
};
extern const struct fields wire_client_envelope;
extern const struct fields wire_server_envelope;

extern const struct fields wire_stat;
extern const struct fields wire_grant;
extern const struct fields wire_event;
extern const struct fields wire_invalidation;
extern const struct fields wire_dir_entry;
extern const struct fields wire_multi_op;
extern const struct fields wire_replica_status;
extern const struct fields wire_lock_party;
extern const struct fields wire_lock_status;
extern const struct fields wire_session_status;

/* The reply with a message that fits: cut before a character, and the error's own text if empty. */
struct reply wire_error_reply(const struct reply *r);

#endif
