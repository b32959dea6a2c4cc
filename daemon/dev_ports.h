/*
 * The ports of a cell on loopback: all of them must be free before any replica starts, else clients
 * would be sent to whoever listens there.
 */
#ifndef CHUBBY_DEV_PORTS_H
#define CHUBBY_DEV_PORTS_H

#include <stdint.h>

#define PEER_PORT_OFFSET 100
#define WEB_PORT_OFFSET 200

/* The first port that another process has, or 0. Replicas of an earlier run may be about to end:
 * they are waited for, at most `patience_ns`. */
int dev_port_taken(int base_port, uint32_t count, int64_t patience_ns);

#endif
