/*
 * web: what a browser or a monitoring system asks one replica over HTTP, on a thread of its own.
 *
 *   /healthz   200 "ok" while the replica takes part; 503 and the reason otherwise
 *   /metrics   counters and gauges in the Prometheus text format
 *   /          a page for people
 *
 * It never touches the replica's state: the loop publishes snapshots, pages are made of the newest
 * one. Plain HTTP, so it listens on loopback, unless the flag that allows plaintext elsewhere is
 * set.
 */
#ifndef CHUBBY_WEB_WEB_H
#define CHUBBY_WEB_WEB_H

#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

struct web_snapshot {
	char cell[256];
	uint32_t replica;
	uint32_t master; /* 0: none known */
	char state[16];
	bool healthy;
	char trouble[512];
	uint64_t epoch, revision, chosen_slot, applied_slot;
	uint64_t nodes, sessions, handles, pending_calls, held_calls;
	uint64_t requests, replies, pushes, malformed, streams;
	uint64_t log_commits, log_rows, log_bytes, state_commits, state_rows, promise_syncs;
	uint64_t peer_frames_sent, peer_frames_received, peer_bytes_sent;
	int64_t published_ns; /* CLOCK_BOOTTIME */
};

struct web;

/* Listens on host:port. *ret_trouble: a sentence that the caller frees. */
MUST_USE enum error web_open(const char *address, bool beyond_loopback, struct web **ret_web,
			     char **ret_trouble);
/* Copies the snapshot for the pages to come. Any thread. */
void web_publish(struct web *w, const struct web_snapshot *snapshot);
/* NULL is allowed. */
void web_close(struct web *w);

#endif
