/*
 * The operator's calls: the internal part of libchubby that the command line tool uses. Not
 * installed, and no stable interface.
 *
 * Without a session: each call finds a replica that answers. `arena` holds what the reply points
 * to. Blocks at most `timeout_ns`.
 */
#ifndef CHUBBY_OPERATOR_H
#define CHUBBY_OPERATOR_H

#include "chubby.h"
#include "wire/message.h"

struct chubby_operator; /* opaque */

/* `servers` and `cell` as in chubby_options. */
MUST_USE CHUBBY_API enum error operator_open(const char *servers, const char *cell,
					     struct chubby_operator **ret_operator,
					     struct chubby_error *ret_error);
CHUBBY_API void operator_close(struct chubby_operator *o);

/* Sends `r` to the master (or, with `any_replica`, to whichever answers first), following
 * NOT_MASTER answers until the deadline; UNAVAILABLE says which servers did not answer. */
MUST_USE CHUBBY_API enum error operator_call(struct chubby_operator *o, const struct request *r,
					     bool any_replica, int64_t timeout_ns,
					     struct arena *arena, struct reply *ret_reply,
					     struct chubby_error *ret_error);
/* The same to one server, by its position in the list, for `status`. */
MUST_USE CHUBBY_API enum error operator_call_server(struct chubby_operator *o, uint32_t server,
						    const struct request *r, int64_t timeout_ns,
						    struct arena *arena, struct reply *ret_reply,
						    struct chubby_error *ret_error);
CHUBBY_API uint32_t operator_server_count(const struct chubby_operator *o);
CHUBBY_API const char *operator_server_address(const struct chubby_operator *o, uint32_t server);

#endif
