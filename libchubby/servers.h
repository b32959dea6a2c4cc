/*
 * The list of servers that an application or a person gives: "host:port,host:port".
 */
#ifndef CHUBBY_SERVERS_H
#define CHUBBY_SERVERS_H

#include "chubby.h"
#include "wire/message.h"

#define SERVER_LIST_MAX 16

struct server_list {
	uint32_t count;
	char *addresses[SERVER_LIST_MAX]; /* owned */
};

/* `text` NULL: $CHUBBY_SERVERS, else the five ports of `chubbyd dev`. INVALID_ARGUMENT. */
MUST_USE enum error server_list_parse(const char *text, struct server_list *ret_list,
				      struct chubby_error *ret_error);
void server_list_release(struct server_list *list);

/* Fills in `ret_error` (may be NULL) and returns the code. */
__attribute__((format(printf, 3, 4))) enum chubby_code error_report(struct chubby_error *ret_error,
								    enum chubby_code code,
								    const char *format, ...);

#endif
