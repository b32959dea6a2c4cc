#include "servers.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* What `chubbyd dev` listens on when nobody says otherwise. */
#define DEFAULT_SERVERS "127.0.0.1:7401,127.0.0.1:7402,127.0.0.1:7403,127.0.0.1:7404,127.0.0.1:7405"

enum chubby_code error_report(struct chubby_error *ret_error, enum chubby_code code,
			      const char *format, ...)
{
	va_list arguments;

	if (ret_error == NULL)
		return code;
	ret_error->code = code;
	va_start(arguments, format);
	vsnprintf(ret_error->message, sizeof(ret_error->message), format, arguments);
	va_end(arguments);
	return code;
}

void server_list_release(struct server_list *list)
{
	for (uint32_t i = 0; i < list->count; i++)
		free(list->addresses[i]);
	list->count = 0;
}

/* host:port, where the host may be in brackets; gRPC resolves it. */
static bool address_valid(const char *address, size_t size)
{
	const char *colon = memrchr(address, ':', size);
	size_t port_size;
	unsigned port = 0;

	if (colon == NULL || colon == address || size >= WIRE_ADDRESS_MAX_BYTES)
		return false;
	port_size = size - (size_t)(colon - address) - 1;
	if (port_size < 1 || port_size > 5)
		return false;
	for (size_t i = 1; i <= port_size; i++) {
		if (colon[i] < '0' || colon[i] > '9')
			return false;
		port = port * 10 + (unsigned)(colon[i] - '0');
	}
	for (const char *c = address; c < colon; c++) {
		if (*c <= ' ' || *c == '/' || *c == 127)
			return false;
	}
	return port >= 1 && port <= 65535;
}

enum error server_list_parse(const char *text, struct server_list *ret_list,
			     struct chubby_error *ret_error)
{
	struct server_list list = {0};
	const char *rest;

	if (text == NULL)
		text = getenv("CHUBBY_SERVERS");
	if (text == NULL || text[0] == '\0')
		text = DEFAULT_SERVERS;
	rest = text;
	while (*rest != '\0') {
		size_t size = strcspn(rest, ", ");

		if (size > 0) {
			if (!address_valid(rest, size) || list.count == SERVER_LIST_MAX) {
				server_list_release(&list);
				error_report(
					ret_error, CHUBBY_INVALID_ARGUMENT,
					"servers \"%s\": want host:port,host:port (at most %d)",
					text, SERVER_LIST_MAX);
				return ERROR_INVALID_ARGUMENT;
			}
			list.addresses[list.count] = mem_zalloc(size + 1);
			memcpy(list.addresses[list.count++], rest, size);
		}
		rest += size + (rest[size] != '\0');
	}
	if (list.count == 0) {
		error_report(ret_error, CHUBBY_INVALID_ARGUMENT, "the list of servers is empty");
		return ERROR_INVALID_ARGUMENT;
	}
	*ret_list = list;
	return ERROR_OK;
}
