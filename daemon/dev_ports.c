#include "dev_ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOK_AGAIN_MS 50

static bool port_free(int port)
{
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
	bool taken;

	if (fd < 0)
		return true; /* the replica will say why */
	/* Connections that were closed a moment ago do not count. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	taken = bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 && errno == EADDRINUSE;
	close(fd);
	return !taken;
}

static int first_taken(int base_port, uint32_t count)
{
	for (int i = 1; i <= (int)count; i++) {
		const int ports[] = {base_port + i, base_port + PEER_PORT_OFFSET + i,
				     base_port + WEB_PORT_OFFSET + i};

		for (int k = 0; k < 3; k++) {
			if (!port_free(ports[k]))
				return ports[k];
		}
	}
	return 0;
}

int dev_port_taken(int base_port, uint32_t count, int64_t patience_ns)
{
	int64_t until_ns = clock_now_ns() + patience_ns;
	int taken;

	while ((taken = first_taken(base_port, count)) != 0 && clock_now_ns() < until_ns)
		poll(NULL, 0, LOOK_AGAIN_MS);
	return taken;
}
