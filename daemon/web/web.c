#include "web/web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/time.h"
#include "web/page.h"

#define PAGE_MAX_BYTES ((size_t)64 << 10)
#define CONNECTIONS_MAX 64
#define CONNECTION_TIMEOUT_S 10
/* The loop publishes each half second; a page older than this says that the loop hangs. */
#define STALE_AFTER_NS (5 * NS_PER_S)

struct web {
	struct MHD_Daemon *daemon;
	pthread_mutex_t mutex;
	struct web_snapshot snapshot;
};

static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
			       const char *text)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text),
									(void *)(uintptr_t)text,
									MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result healthz(struct MHD_Connection *connection, const struct web_snapshot *s)
{
	if (clock_now_ns() - s->published_ns > STALE_AFTER_NS)
		return respond(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
			       "the replica's loop does not turn\n");
	if (s->healthy)
		return respond(connection, MHD_HTTP_OK, "text/plain", "ok\n");
	return respond(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "text/plain",
		       s->trouble[0] != '\0' ? s->trouble : "takes no part\n");
}

static enum MHD_Result page(struct MHD_Connection *connection, const struct web_snapshot *s,
			    void (*fill)(const struct web_snapshot *, struct buffer *),
			    const char *type)
{
	struct buffer b;
	enum MHD_Result result;
	char *text;

	buffer_init(&b, PAGE_MAX_BYTES);
	fill(s, &b);
	text = bytes_to_text(buffer_view(&b));
	buffer_release(&b);
	result = respond(connection, MHD_HTTP_OK, type, text);
	free(text);
	return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **state)
{
	struct web *w = context;
	struct web_snapshot s;

	(void)version;
	(void)upload;
	(void)upload_size;
	(void)state;
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain",
			       "only GET is served here\n");
	pthread_mutex_lock(&w->mutex);
	s = w->snapshot;
	pthread_mutex_unlock(&w->mutex);
	if (strcmp(url, "/healthz") == 0)
		return healthz(connection, &s);
	if (strcmp(url, "/metrics") == 0)
		return page(connection, &s, page_metrics, "text/plain; version=0.0.4");
	if (strcmp(url, "/") == 0)
		return page(connection, &s, page_people, "text/html; charset=utf-8");
	return respond(connection, MHD_HTTP_NOT_FOUND, "text/plain",
		       "there are /, /healthz and /metrics\n");
}

/* "127.0.0.1:7601"; IPv4 in numbers, or localhost. */
static bool parse_address(const char *address, struct sockaddr_in *ret_address)
{
	const char *colon = strrchr(address, ':');
	struct sockaddr_in a = {.sin_family = AF_INET};
	char host[64];
	char *end;
	unsigned long port;

	if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
		return false;
	memcpy(host, address, (size_t)(colon - address));
	host[colon - address] = '\0';
	port = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || end == colon + 1 || port > 65535)
		return false;
	if (strcmp(host, "localhost") == 0)
		snprintf(host, sizeof(host), "127.0.0.1");
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1)
		return false;
	a.sin_port = htons((uint16_t)port);
	*ret_address = a;
	return true;
}

__attribute__((format(printf, 2, 3))) static void complain(char **ret_trouble, const char *format,
							   ...)
{
	char *text = NULL;
	va_list arguments;

	va_start(arguments, format);
	CHECK(vasprintf(&text, format, arguments) >= 0);
	va_end(arguments);
	*ret_trouble = text;
}

enum error web_open(const char *address, bool beyond_loopback, struct web **ret_web,
		    char **ret_trouble)
{
	struct sockaddr_in a;
	struct web *w;

	if (!parse_address(address, &a)) {
		complain(ret_trouble, "web address \"%s\" is not of the form 127.0.0.1:PORT",
			 address);
		return ERROR_INVALID_ARGUMENT;
	}
	if (!beyond_loopback && (ntohl(a.sin_addr.s_addr) >> 24) != 127) {
		complain(ret_trouble,
			 "web address %s is not loopback, and pages are sent in plain text; see "
			 "--insecure-plaintext-beyond-loopback",
			 address);
		return ERROR_INVALID_ARGUMENT;
	}
	w = mem_zalloc(sizeof(*w));
	CHECK(pthread_mutex_init(&w->mutex, NULL) == 0);
	w->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, w,
				     MHD_OPTION_SOCK_ADDR, &a, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
				     (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_END);
	if (w->daemon == NULL) {
		complain(ret_trouble, "cannot listen on %s for web pages: %s", address,
			 strerror(errno));
		pthread_mutex_destroy(&w->mutex);
		free(w);
		return ERROR_UNAVAILABLE;
	}
	*ret_web = w;
	return ERROR_OK;
}

void web_publish(struct web *w, const struct web_snapshot *snapshot)
{
	if (w == NULL)
		return;
	pthread_mutex_lock(&w->mutex);
	w->snapshot = *snapshot;
	pthread_mutex_unlock(&w->mutex);
}

void web_close(struct web *w)
{
	if (w == NULL)
		return;
	MHD_stop_daemon(w->daemon);
	pthread_mutex_destroy(&w->mutex);
	free(w);
}
