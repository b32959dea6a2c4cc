/*
 * The loop and the end of one replica.
 */
#include "replica_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How often, and with how many blocks of 4 KiB, a disk that failed is tried again. */
#define PROBE_EVERY_NS (1 * NS_PER_S)
#define PROBE_BLOCKS 1024

/* ---- the loop ------------------------------------------------------------------------------- */

static void handle_request(struct replica *r, const struct net_event *ev)
{
	struct moment at = replica_moment(r);

	if (ev->request->kind == MESSAGE_STATUS) {
		replica_status(r, ev->call, ev->request);
		return;
	}
	master_request(r->master, &at, (struct call_id){ev->call.n},
		       (struct stream_id){ev->stream.n}, ev->request);
	replica_drain_master(r);
}

static void handle(struct replica *r, const struct net_event *ev)
{
	switch (ev->kind) {
	case NET_REQUEST:
		handle_request(r, ev);
		break;
	case NET_CALL_GONE:
		master_call_gone(r->master, (struct call_id){ev->call.n});
		break;
	case NET_STREAM_CLOSED:
		master_stream_closed(r->master, (struct stream_id){ev->stream.n});
		break;
	case NET_PEER_CONNECTED:
		replica_peer_connected(r, ev->replica);
		break;
	case NET_PEER_FRAME:
		replica_peer_frame(r, ev->replica, ev->frame);
		break;
	case NET_POSTED:
		replica_posted(r, ev->item);
		break;
	case NET_DEAF:
		log_error("gRPC takes no connections any more, as after a want of descriptors: "
			  "this replica starts anew");
		r->restart = true;
		break;
	case NET_DRAINED:
		r->drained = true;
		break;
	case NET_PEER_LOST:
		replica_snapshot_peer_lost(r, ev->replica);
		break;
	case NET_TIMEOUT:
		break;
	}
}

/* From here on a doubtful end of the log is settled: a majority misses nothing. */
static void vetted_news(struct replica *r)
{
	enum paxos_role role = paxos_role(r->paxos);

	if (r->vetted || role == PAXOS_UNVETTED || role == PAXOS_LOST)
		return;
	r->vetted = true;
	store_vetted(r->store);
}

static void save_state(struct replica *r, int64_t now_ns)
{
	if (r->storage != ERROR_OK || paxos_role(r->paxos) == PAXOS_LOST)
		return;
	if (now_ns < r->save_at_ns && cell_dirty_bytes(r->cell) < SAVE_AT_BYTES)
		return;
	if (cell_dirty_bytes(r->cell) == 0 || store_save_state(r->store, r->cell, r->applied))
		r->save_at_ns = now_ns + SAVE_EVERY_NS;
	else
		r->save_at_ns = now_ns + SAVE_EVERY_NS / 20;
}

static void watch_clock(struct replica *r, int64_t now_ns)
{
	char *trouble = clock_watch_tick(&r->clock_watch, now_ns, (int32_t)r->config->drift_ppm);

	if (trouble == NULL)
		return;
	log_error("this replica stops: %s", trouble);
	free(trouble);
	r->clock_failed = true;
}

/* Timers fire after everything that was waiting has been read: a loop that was late must not take
 * its own lateness for the silence of others. */
static void fire_timers(struct replica *r)
{
	struct moment at = replica_moment(r);

	watch_clock(r, at.now_ns);
	if (r->clock_failed)
		return;
	if (at.now_ns >= paxos_next_tick(r->paxos))
		paxos_tick(r->paxos, at.now_ns);
	at = replica_moment(r);
	if (at.now_ns >= master_next_tick(r->master, &at)) {
		master_tick(r->master, &at);
		replica_drain_master(r);
	}
	replica_snapshot_tick(r, at.now_ns);
	if (at.now_ns >= r->gossip_at_ns) {
		r->gossip_at_ns = at.now_ns + GOSSIP_EVERY_NS;
		replica_gossip(r);
		replica_publish(r);
	}
	save_state(r, at.now_ns);
}

static int64_t next_deadline(const struct replica *r)
{
	struct moment at = replica_moment(r);
	int64_t next = paxos_next_tick(r->paxos);

	next = time_earlier(next, master_next_tick(r->master, &at));
	next = time_earlier(next, r->gossip_at_ns);
	next = time_earlier(next, r->save_at_ns);
	next = time_earlier(next, replica_snapshot_next_tick(r));
	if (r->resigned)
		next = time_earlier(next, r->stop_at_ns);
	return next;
}

/* One turn: wait for an event, take what else is there, fire timers, send what came of it. */
static void turn(struct replica *r)
{
	struct net_event ev;
	int budget = TURN_EVENTS_MAX;

	net_next(r->net, next_deadline(r), &ev);
	while (ev.kind != NET_TIMEOUT) {
		handle(r, &ev);
		if (--budget == 0)
			break;
		net_next(r->net, 0, &ev);
	}
	if (budget > 0)
		fire_timers(r);
	replica_flush(r);
	vetted_news(r);
	net_turn(r->net);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* Hands mastership over, tells the clients, stops. */
static void resign(struct replica *r)
{
	struct moment at = replica_moment(r);

	log_info("stopping%s", master_serving(r->master) ? ", handing mastership over" : "");
	r->resigned = true;
	r->stop_at_ns = at.now_ns + HANDOVER_NS;
	master_end(r->master, &at);
	replica_drain_master(r);
	paxos_resign(r->paxos, clock_now_ns());
	replica_flush(r);
	net_turn(r->net);
}

/* The hand-over is done when a successor is known, or nobody led anyway. */
static bool handed_over(const struct replica *r)
{
	struct replica_id leader = paxos_leader(r->paxos, clock_now_ns());

	return clock_now_ns() >= r->stop_at_ns ||
	       (leader.n != 0 && !replica_equal(leader, r->identity->self)) ||
	       paxos_role(r->paxos) == PAXOS_LOST;
}

static void finish(struct replica *r)
{
	int64_t until = clock_now_ns() + 2 * DRAIN_NS;

	net_shutdown_begin(r->net, DRAIN_NS);
	while (!r->drained && clock_now_ns() < until)
		turn(r);
	if (r->storage == ERROR_OK && paxos_role(r->paxos) != PAXOS_LOST)
		(void)!store_save_state(r->store, r->cell, r->applied);
}

static void release(struct replica *r)
{
	struct net_event ev;

	if (r->reader.thread != 0)
		replica_reader_stop(r);
	if (r->snapshots.thread != 0)
		replica_snapshots_stop(r);
	store_close(r->store);
	/* What the store's threads posted last still owns memory. */
	if (r->net != NULL && r->paxos != NULL) {
		for (net_next(r->net, 0, &ev); ev.kind != NET_TIMEOUT; net_next(r->net, 0, &ev)) {
			if (ev.kind == NET_POSTED)
				replica_posted(r, ev.item);
		}
	}
	master_free(r->master);
	paxos_free(r->paxos);
	cell_free(r->cell);
	web_close(r->web);
	if (r->net != NULL)
		net_close(r->net);
	for (uint32_t i = 0; i < r->peer_count; i++)
		buffer_release(&r->peers[i].frame);
	buffer_release(&r->entry_bytes);
	arena_release(&r->entry_arena);
	arena_release(&r->frame_arena);
}

static void *signal_main(void *argument)
{
	struct replica *r = argument;
	sigset_t set;
	int number = 0;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1); /* from release(): the loop ended by itself */
	if (sigwait(&set, &number) == 0 && number != SIGUSR1)
		replica_post(r, (struct post){.kind = POST_STOP});
	return NULL;
}

/* Whether the disk takes a few megabytes, durably: what comes after must not fail at once again. */
static bool disk_is_back(const struct replica *r)
{
	char *path = config_sentence("%s/probe", r->config->data);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool good = fd >= 0;

	for (int i = 0; i < PROBE_BLOCKS && good; i++) {
		static const char block[4096];

		good = write(fd, block, sizeof(block)) == (ssize_t)sizeof(block);
	}
	good = good && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	unlink(path);
	free(path);
	return good;
}

/* Takes no part, but says so, until the disk works again; then everything is read anew. */
static void outlast_storage(struct replica *r)
{
	int64_t next = clock_now_ns() + PROBE_EVERY_NS;

	while (!r->stop_asked) {
		turn(r);
		if (clock_now_ns() < next)
			continue;
		if (disk_is_back(r))
			return;
		next = clock_now_ns() + PROBE_EVERY_NS;
	}
}

static enum replica_exit loop(struct replica *r)
{
	while (!r->stop_asked && !r->restart && !r->clock_failed && r->storage == ERROR_OK) {
		turn(r);
		if (r->diverged && !r->resigned)
			resign(r);
	}
	/* At once: whatever it promised by this clock, it must not act on. */
	if (r->clock_failed)
		return REPLICA_CLOCK_FAILED;
	if (r->storage != ERROR_OK) {
		outlast_storage(r);
		return r->stop_asked ? REPLICA_STOPPED : REPLICA_STORAGE_FAILED;
	}
	if (!r->resigned)
		resign(r);
	while (!handed_over(r))
		turn(r);
	finish(r);
	return r->restart && !r->stop_asked ? REPLICA_RESTART : REPLICA_STOPPED;
}

enum replica_exit replica_run(const struct config *config)
{
	struct replica *r = mem_zalloc(sizeof(*r));
	enum replica_exit result = REPLICA_REFUSED;
	pthread_t signals;

	r->config = config;
	arena_init(&r->entry_arena, ENTRY_ARENA_MAX_BYTES);
	arena_init(&r->frame_arena, FRAME_ARENA_MAX_BYTES);
	buffer_init(&r->entry_bytes, VALUE_MAX_BYTES);
	if (replica_start(r)) {
		CHECK(pthread_create(&signals, NULL, signal_main, r) == 0);
		result = loop(r);
		pthread_kill(signals, SIGUSR1);
		pthread_join(signals, NULL);
	}
	release(r);
	free(r);
	return result;
}
