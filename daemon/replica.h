/*
 * replica: the loop that wires the layers of one replica; it holds no protocol rule.
 *
 *   net event ──► master ──► entry ──► codec ──► paxos ──► store (log thread)
 *                   ▲                              │           │ posted back
 *                   └──── cell_apply ◄── chosen ◄──┴───────────┘
 *
 * One thread owns everything here. What may block runs elsewhere and is posted back: the store's
 * two writer threads, and one reader thread for logs that are sent to peers.
 */
#ifndef CHUBBY_REPLICA_H
#define CHUBBY_REPLICA_H

#include "config.h"

enum replica_exit {
	REPLICA_STOPPED,        /* by SIGTERM or SIGINT, gracefully */
	REPLICA_REFUSED,        /* could not start; the reason is in the log */
	REPLICA_RESTART,        /* start the process anew: to install a snapshot, or to listen */
	REPLICA_CLOCK_FAILED,   /* no lease can be measured here; the reason is in the log */
	REPLICA_STORAGE_FAILED, /* start the process anew: the disk is to be read and verified */
};

/* Runs until it is stopped. The caller has blocked SIGTERM, SIGINT and SIGHUP in all threads and
 * ignores SIGPIPE. */
enum replica_exit replica_run(const struct config *config);

#endif
