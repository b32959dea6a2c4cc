#include "status.h"

#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

#define REPLY_MAX_BYTES ((size_t)4 << 20)
/* To tell a port where nobody listens from one where somebody does. */
#define PROBE_MS 200

/* ---- why a server is silent ------------------------------------------------------------------ */

static bool somebody_listens(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
	socklen_t size = sizeof(error);
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	bool listens;

	if (fd < 0)
		return false;
	listens = connect(fd, info->ai_addr, info->ai_addrlen) == 0 ||
		  (poll(&p, 1, PROBE_MS) == 1 &&
		   getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0);
	close(fd);
	return listens;
}

/* The transport only knows that there was no answer; what to do about it depends on why. */
static void explain_silence(struct asked *a)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	const char *colon = strrchr(a->address, ':');
	const char *from = a->address[0] == '[' ? a->address + 1 : a->address;
	size_t size = (size_t)(colon - from) - (a->address[0] == '[' ? 1 : 0);
	char *host = mem_zalloc(size + 1);
	struct addrinfo *list = NULL;
	bool listens = false;
	int error;

	memcpy(host, from, size);
	error = getaddrinfo(host, colon + 1, &hints, &list);
	free(host);
	if (error != 0) {
		snprintf(a->error.message, sizeof(a->error.message),
			 "its name cannot be resolved: %s", gai_strerror(error));
		return;
	}
	for (const struct addrinfo *i = list; i != NULL && !listens; i = i->ai_next)
		listens = somebody_listens(i);
	freeaddrinfo(list);
	snprintf(a->error.message, sizeof(a->error.message), "%s",
		 listens ? "something listens there, but gave no answer in time: a replica that is "
			   "stopped or busy, or another program"
			 : "nothing listens there");
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void *ask(void *argument)
{
	struct asked *a = argument;
	struct request r = {.kind = MESSAGE_STATUS};

	a->answered = operator_call_server(a->o, a->server, &r, a->timeout_ns, &a->arena, &a->reply,
					   &a->error) == ERROR_OK;
	if (!a->answered && a->error.code == CHUBBY_UNAVAILABLE)
		explain_silence(a);
	return NULL;
}

static void ask_these(struct asked asked[], uint32_t from, uint32_t to, int64_t timeout_ns)
{
	for (uint32_t i = from; i < to; i++) {
		asked[i].timeout_ns = timeout_ns;
		arena_init(&asked[i].arena, REPLY_MAX_BYTES);
		CHECK(pthread_create(&asked[i].thread, NULL, ask, &asked[i]) == 0);
	}
	for (uint32_t i = from; i < to; i++)
		pthread_join(asked[i].thread, NULL);
}

/* Its answer came, under whichever address; or its address was asked. */
static bool was_asked(const struct asked asked[], uint32_t count,
		      const struct wire_replica_status *s)
{
	for (uint32_t i = 0; i < count; i++) {
		if (bytes_equal(bytes_of_text(asked[i].address), s->address))
			return true;
		if (asked[i].answered && replica_equal(asked[i].reply.status.replica, s->id))
			return true;
	}
	return false;
}

/* An address comes from another process: what is none is passed over. */
static bool add(const struct cli *c, struct bytes address, struct asked *a)
{
	struct chubby_operator *o;
	struct chubby_error e;
	char *text = bytes_to_text(address);

	if (address.size == 0 || operator_open(text, c->settings.cell, &o, &e) != ERROR_OK) {
		free(text);
		return false;
	}
	*a = (struct asked){.o = o, .o_owned = o, .address = text};
	return true;
}

uint32_t status_ask(const struct cli *c, struct chubby_operator *o, int64_t timeout_ns,
		    struct asked asked[ASKED_MAX])
{
	uint32_t given = operator_server_count(o), count;

	CHECK(given <= ASKED_MAX - MEMBERS_MAX);
	for (count = 0; count < given; count++)
		asked[count] = (struct asked){
			.o = o,
			.server = count,
			.address = mem_strdup(operator_server_address(o, count)),
		};
	ask_these(asked, 0, given, timeout_ns);
	for (uint32_t i = 0; i < given; i++) {
		const struct reply *r = &asked[i].reply;

		for (uint32_t k = 0; asked[i].answered && k < r->status.replica_count; k++) {
			const struct wire_replica_status *s = &r->status.replicas[k];

			if (count < ASKED_MAX && !was_asked(asked, count, s) &&
			    add(c, s->address, &asked[count]))
				count++;
		}
	}
	ask_these(asked, given, count, timeout_ns);
	return count;
}

void status_release(struct asked asked[], uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		arena_release(&asked[i].arena);
		operator_close(asked[i].o_owned);
		free(asked[i].address);
	}
}
