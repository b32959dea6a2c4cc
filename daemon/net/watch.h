/*
 * Does a listener still take connections? gRPC 1.51 gives a listener up for good when accept()
 * fails once for want of descriptors (CVE-2023-4785), and tells nobody: peers that are connected
 * already go on, a master stays master, and no client reaches it any more. So the replica calls
 * itself, as a client would, and listens for the first bytes that gRPC sends unasked; a listener
 * that closes the connection is alive as well.
 *
 * Patience is short only after descriptors were seen to run out: a loaded machine is not deaf.
 */
#ifndef CHUBBY_NET_WATCH_H
#define CHUBBY_NET_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/time.h"

#define WATCH_EVERY_NS NS_PER_S
#define WATCH_SCARCE_EVERY_NS (100 * NS_PER_MS)
/* How long a call waits for bytes, and how many in a row must wait in vain. */
#define WATCH_PATIENCE_NS (400 * NS_PER_MS)
#define WATCH_VAIN_MAX 5
#define WATCH_SCARCE_PATIENCE_NS (300 * NS_PER_MS)
#define WATCH_SCARCE_VAIN_MAX 2

struct watch {
	struct sockaddr_storage address; /* of the listener */
	socklen_t address_size;          /* 0: nothing is watched */
	int fd;                          /* the call under way; -1: none */
	int64_t since_ns;                /* when it began */
	int64_t next_ns;                 /* when to call, or to look, again */
	int vain;                        /* calls in a row without an answer */
	bool scarce;                     /* descriptors ran out since the last answer */
	bool deaf;
};

void watch_init(struct watch *w, const struct sockaddr *address, socklen_t size);
void watch_release(struct watch *w);

/* Calls, or looks for the answer. Returns when it wants to be called again. From the moment on at
 * which `deaf` is true nothing else happens. */
int64_t watch_tick(struct watch *w, int64_t now_ns);

#endif
