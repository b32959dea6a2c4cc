#include "net/net_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST_MAX_BYTES 256
#define PORT_DIGITS_MAX 5
#define PORT_MAX 65535

/* Splits "host:port" or "[v6]:port" into NUL-terminated texts. */
static bool address_split(const char *address, char ret_host[HOST_MAX_BYTES],
			  char ret_port[PORT_DIGITS_MAX + 1])
{
	const char *colon = address != NULL ? strrchr(address, ':') : NULL;
	size_t host_size, port_size;
	const char *host = address;

	if (colon == NULL)
		return false;
	port_size = strlen(colon + 1);
	if (port_size == 0 || port_size > PORT_DIGITS_MAX ||
	    strspn(colon + 1, "0123456789") != port_size || strtoul(colon + 1, NULL, 10) > PORT_MAX)
		return false;
	host_size = (size_t)(colon - address);
	if (host_size >= 2 && host[0] == '[' && host[host_size - 1] == ']') {
		host++;
		host_size -= 2;
	} else if (memchr(host, ':', host_size) != NULL) {
		return false;
	}
	if (host_size == 0 || host_size >= HOST_MAX_BYTES)
		return false;
	memcpy(ret_host, host, host_size);
	ret_host[host_size] = '\0';
	memcpy(ret_port, colon + 1, port_size + 1);
	return true;
}

bool address_valid(const char *address)
{
	char host[HOST_MAX_BYTES], port[PORT_DIGITS_MAX + 1];

	return address_split(address, host, port);
}

bool address_is_loopback(const char *address)
{
	char host[HOST_MAX_BYTES], port[PORT_DIGITS_MAX + 1];
	struct in6_addr v6;
	struct in_addr v4;

	if (!address_split(address, host, port))
		return false;
	if (strcmp(host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, host, &v4) == 1)
		return ntohl(v4.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

char *address_target(const char *address)
{
	char host[HOST_MAX_BYTES], port[PORT_DIGITS_MAX + 1];
	struct in6_addr v6;
	struct in_addr v4;
	const char *scheme = "dns:///";
	char *target;

	CHECK(address_split(address, host, port));
	/* A literal address needs no resolver, whose pauses would delay a reconnection. */
	if (inet_pton(AF_INET, host, &v4) == 1)
		scheme = "ipv4:";
	else if (inet_pton(AF_INET6, host, &v6) == 1)
		scheme = "ipv6:";
	CHECK(asprintf(&target, "%s%s", scheme, address) > 0);
	return target;
}

bool address_resolve(const char *address, int port, struct sockaddr_storage *ret_address,
		     socklen_t *ret_size)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	char host[HOST_MAX_BYTES], given[PORT_DIGITS_MAX + 1], bound[16];
	struct addrinfo *found = NULL;

	CHECK(address_split(address, host, given));
	snprintf(bound, sizeof(bound), "%d", port);
	if (getaddrinfo(host, bound, &hints, &found) != 0)
		return false;
	CHECK(found->ai_addrlen <= sizeof(*ret_address));
	memcpy(ret_address, found->ai_addr, found->ai_addrlen);
	*ret_size = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

/* Tries what gRPC tried, since gRPC does not hand out the reason. 0: it would work now. */
static int bind_errno(const struct addrinfo *a)
{
	int one = 1, result = 0;
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 1) != 0)
		result = errno;
	close(fd);
	return result;
}

char *address_bind_trouble(const char *purpose, const char *address)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	char host[HOST_MAX_BYTES], port[PORT_DIGITS_MAX + 1];
	struct addrinfo *found = NULL;
	const char *reason = "gRPC could not bind it";
	char *sentence;
	int code;

	CHECK(address_split(address, host, port));
	code = getaddrinfo(host, port, &hints, &found);
	if (code != 0) {
		reason = gai_strerror(code);
	} else {
		code = bind_errno(found);
		if (code != 0)
			reason = strerror(code);
		freeaddrinfo(found);
	}
	CHECK(asprintf(&sentence, "cannot listen for %s on %s: %s%s", purpose, address, reason,
		       code == EADDRINUSE ? "; stop the other process or choose another port"
					  : "") > 0);
	return sentence;
}
