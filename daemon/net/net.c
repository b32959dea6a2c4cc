#include "base/log.h"
#include "net/net_internal.h"

#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* How long net_close() waits for gRPC to give everything back. */
#define CLOSE_TIMEOUT_NS (10 * NS_PER_S)
/* An answer may exceed what a request may hold by its frame. */
#define SCRATCH_MAX_BYTES ((size_t)8 << 20)

struct net_event *net_emit(struct net *n, enum net_event_kind kind)
{
	CHECK(n->event.kind == 0);
	n->event.kind = kind;
	return &n->event;
}

void net_batch(struct net *n, grpc_call *call, const grpc_op *ops, size_t count, struct op *op)
{
	grpc_call_error e = grpc_call_start_batch(call, ops, count, op, NULL);

	CHECK(e == GRPC_CALL_OK);
	n->outstanding++;
}

/* ---- posts ---------------------------------------------------------------------------------- */

/*
 * A list under a mutex, and an empty batch on a call that leads nowhere to wake the replica: one
 * wake-up for all that is posted until it is looked at.
 */
void net_post(struct net *n, void *item)
{
	bool wake;

	pthread_mutex_lock(&n->post_lock);
	CHECK(n->posted_count < NET_POSTED_MAX);
	if (n->posted_count == n->posted_capacity) {
		n->posted_capacity = n->posted_capacity == 0 ? 64 : n->posted_capacity * 2;
		n->posted = mem_realloc_array(n->posted, n->posted_capacity, sizeof(*n->posted));
	}
	n->posted[n->posted_count++] = item;
	wake = !n->waking;
	n->waking = true;
	pthread_mutex_unlock(&n->post_lock);
	if (wake)
		CHECK(grpc_call_start_batch(n->wake_call, NULL, 0, &n->wake, NULL) == GRPC_CALL_OK);
}

static void net_woken(struct net *n, struct op *op, bool ok)
{
	void **items = n->taken;
	size_t capacity = n->taken_capacity;

	CHECK(n->taken_next == n->taken_count);
	pthread_mutex_lock(&n->post_lock);
	n->taken = n->posted;
	n->taken_count = n->posted_count;
	n->taken_capacity = n->posted_capacity;
	n->posted = items;
	n->posted_count = 0;
	n->posted_capacity = capacity;
	n->waking = false;
	pthread_mutex_unlock(&n->post_lock);
	n->taken_next = 0;
}

static bool net_waking(struct net *n)
{
	bool waking;

	pthread_mutex_lock(&n->post_lock);
	waking = n->waking;
	pthread_mutex_unlock(&n->post_lock);
	return waking;
}

/* ---- the queue ------------------------------------------------------------------------------ */

/* gRPC has clocks of its own: only the distance is carried over. */
static gpr_timespec net_instant(int64_t until_ns, int64_t now_ns)
{
	if (until_ns == TIME_NEVER)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	if (until_ns <= now_ns)
		return gpr_time_0(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
			    gpr_time_from_nanos(until_ns - now_ns, GPR_TIMESPAN));
}

static void net_release_borrowed(struct net *n)
{
	if (n->borrowed != NULL) {
		grpc_byte_buffer_destroy(n->borrowed);
		grpc_slice_unref(n->borrowed_flat);
		n->borrowed_flat = grpc_empty_slice();
		n->borrowed = NULL;
	}
	if (n->borrowed_peer != NULL) {
		gpr_free(n->borrowed_peer);
		n->borrowed_peer = NULL;
	}
	arena_release(&n->arena);
}

/* Takes one completion and lets its owner handle it; false when there was none in time. */
static bool net_take(struct net *n, int64_t until_ns, int64_t now_ns)
{
	grpc_event e;
	struct op *op;

	net_release_borrowed(n);
	e = grpc_completion_queue_next(n->queue, net_instant(until_ns, now_ns), NULL);
	if (e.type != GRPC_OP_COMPLETE)
		return false;
	op = e.tag;
	if (op != &n->wake)
		n->outstanding--;
	op->done(n, op, e.success != 0);
	return true;
}

/* True once nothing of a client is under way and the peers have what they were sent. */
static bool net_is_idle(const struct net *n)
{
	return n->unary_live == 0 && n->stream_live == 0 && link_all_sent(n);
}

/* Whether gRPC still listens: nothing else would say that it does not. */
static int64_t net_watch(struct net *n, int64_t now_ns)
{
	int64_t due_ns;

	if (n->draining || n->closing || n->told_deaf)
		return TIME_NEVER;
	due_ns = time_earlier(watch_tick(&n->clients.watch, now_ns),
			      watch_tick(&n->peers_endpoint.watch, now_ns));
	if (n->clients.watch.deaf || n->peers_endpoint.watch.deaf) {
		n->told_deaf = true;
		net_emit(n, NET_DEAF);
	}
	return due_ns;
}

/* What is due apart from completions; the instant at which something will be. */
static int64_t net_tick(struct net *n, int64_t now_ns)
{
	int64_t due_ns = unary_watch(n, now_ns);

	link_tick(n, now_ns);
	due_ns = time_earlier(due_ns, n->links_due_ns);
	due_ns = time_earlier(due_ns, net_watch(n, now_ns));
	if (!n->draining || n->drained)
		return due_ns;
	if (!n->drain_swept)
		stream_drain(n);
	n->drain_swept = true;
	if (net_is_idle(n) || now_ns >= n->drain_end_ns) {
		n->drained = true;
		net_emit(n, NET_DRAINED);
	}
	return time_earlier(due_ns, n->drain_end_ns);
}

void net_next(struct net *n, int64_t deadline_ns, struct net_event *ret_event)
{
	net_release_borrowed(n);
	n->event = (struct net_event){0};
	while (n->event.kind == 0) {
		int64_t now_ns, due_ns;

		if (n->taken_next < n->taken_count) {
			net_emit(n, NET_POSTED)->item = n->taken[n->taken_next++];
			break;
		}
		now_ns = clock_now_ns();
		due_ns = net_tick(n, now_ns);
		if (n->event.kind != 0)
			break;
		if (!net_take(n, time_earlier(due_ns, deadline_ns), now_ns) &&
		    (deadline_ns <= now_ns || clock_now_ns() >= deadline_ns))
			net_emit(n, NET_TIMEOUT);
	}
	*ret_event = n->event;
}

void net_turn(struct net *n)
{
	n->budget = NET_TURN_BUDGET;
	if (n->owed > 0)
		server_turn(n);
	if (n->unread != NULL)
		stream_turn(n);
}

void net_reply(struct net *n, struct net_call call, const struct reply *r)
{
	struct call *c = call.n != 0 ? slots_find(&n->calls, call.n) : NULL;

	if (c == NULL)
		return;
	CHECK(r->error != ERROR_OK || r->kind == c->kind);
	if (c->on_stream)
		envelope_reply(n, c, r);
	else
		unary_reply(n, c, r);
}

void net_counters(const struct net *n, struct net_counters *ret_counters)
{
	*ret_counters = n->counters;
	ret_counters->calls_open = n->calls.used;
	ret_counters->streams_open = n->streams.used;
}

int net_client_port(const struct net *n)
{
	return n->clients.port;
}

int net_peer_port(const struct net *n)
{
	return n->peers_endpoint.port;
}

/* ---- opening and closing -------------------------------------------------------------------- */

/* gRPC's own words are for those who debug it. */
static void net_grpc_log(gpr_log_func_args *args)
{
	log_debug("grpc: %s", args->message);
}

static enum error net_check_address(const struct net_config *c, const char *what,
				    const char *address, char **ret_trouble)
{
	if (!address_valid(address)) {
		CHECK(asprintf(ret_trouble, "%s \"%s\" is not host:port", what,
			       address != NULL ? address : "") > 0);
		return ERROR_INVALID_ARGUMENT;
	}
	if (!c->insecure_plaintext_beyond_loopback && !address_is_loopback(address)) {
		CHECK(asprintf(
			      ret_trouble,
			      "%s %s is beyond loopback, where plaintext could be read and forged; "
			      "use a loopback address, or see "
			      "--insecure-plaintext-beyond-loopback",
			      what, address) > 0);
		return ERROR_INVALID_ARGUMENT;
	}
	return ERROR_OK;
}

static enum error net_check(const struct net_config *c, char **ret_trouble)
{
	enum error e = net_check_address(c, "the clients' listening address", c->listen_client,
					 ret_trouble);

	if (e == ERROR_OK)
		e = net_check_address(c, "the peers' listening address", c->listen_peer,
				      ret_trouble);
	for (uint32_t i = 0; e == ERROR_OK && i < c->peer_count; i++)
		e = net_check_address(c, "the peer's address", c->peers[i].address, ret_trouble);
	return e;
}

static void net_add_peers(struct net *n, const struct net_config *config)
{
	CHECK(config->peer_count <= MEMBERS_MAX);
	n->links_due_ns = TIME_NEVER;
	for (uint32_t i = 0; i < config->peer_count; i++) {
		struct peer *p = &n->peers[n->peer_count];

		if (replica_equal(config->peers[i].replica, config->self.replica))
			continue;
		n->peer_count++;
		p->replica = config->peers[i].replica;
		p->address = mem_strdup(config->peers[i].address);
		link_open(n, p, false);
		link_open(n, p, true);
	}
}

static struct net *net_alloc(const struct net_config *config)
{
	struct net *n = mem_zalloc(sizeof(*n));

	n->self = config->self;
	n->self.protocol = CODEC_PROTOCOL;
	n->budget = NET_TURN_BUDGET;
	n->borrowed_flat = grpc_empty_slice();
	n->wake.done = net_woken;
	arena_init(&n->arena, NET_ARENA_MAX_BYTES);
	buffer_init(&n->scratch, SCRATCH_MAX_BYTES);
	CHECK(pthread_mutex_init(&n->post_lock, NULL) == 0);
	gpr_set_log_function(net_grpc_log);
	grpc_init();
	n->queue = grpc_completion_queue_create_for_next(NULL);
	n->lame = grpc_lame_client_channel_create("posts", GRPC_STATUS_UNAVAILABLE, "posts");
	n->wake_call = grpc_channel_create_call(n->lame, NULL, GRPC_PROPAGATE_DEFAULTS, n->queue,
						grpc_slice_from_static_string("/post"), NULL,
						gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	return n;
}

enum error net_open(const struct net_config *config, struct net **ret_net, char **ret_trouble)
{
	enum error e = net_check(config, ret_trouble);
	sigset_t all, before;
	struct net *n;

	if (e != ERROR_OK)
		return e;
	/* gRPC's threads inherit the mask: signals stay with the program's own. */
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	n = net_alloc(config);
	e = server_open(n, config->listen_client, config->listen_peer, ret_trouble);
	if (e == ERROR_OK) {
		server_start(n);
		net_add_peers(n, config);
	}
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	if (e != ERROR_OK) {
		net_close(n);
		return e;
	}
	*ret_net = n;
	return ERROR_OK;
}

void net_shutdown_begin(struct net *n, int64_t grace_ns)
{
	if (n->draining)
		return;
	n->draining = true;
	n->drain_end_ns = clock_now_ns() + grace_ns;
	server_stop(n, &n->clients);
}

/* Cuts everything off and takes the completions that this brings. */
static bool net_abort_all(struct net *n)
{
	int64_t end_ns = clock_now_ns() + CLOSE_TIMEOUT_NS;

	n->closing = true;
	server_stop(n, &n->clients);
	server_stop(n, &n->peers_endpoint);
	if (n->clients.server != NULL)
		grpc_server_cancel_all_calls(n->clients.server);
	if (n->peers_endpoint.server != NULL)
		grpc_server_cancel_all_calls(n->peers_endpoint.server);
	for (uint32_t i = 0; i < n->peer_count; i++) {
		link_cancel(&n->peers[i].links[0]);
		link_cancel(&n->peers[i].links[1]);
	}
	while (n->outstanding > 0 || net_waking(n)) {
		int64_t now_ns = clock_now_ns();

		unary_abandon(n);
		n->taken_next = n->taken_count;
		n->event = (struct net_event){0};
		if (!net_take(n, end_ns, now_ns) && now_ns >= end_ns)
			return false;
	}
	unary_abandon(n);
	net_release_borrowed(n);
	return true;
}

static void net_free(struct net *n)
{
	for (uint32_t i = 0; i < n->peer_count; i++) {
		link_release(&n->peers[i].links[0]);
		link_release(&n->peers[i].links[1]);
		free(n->peers[i].address);
	}
	if (n->clients.server != NULL)
		grpc_server_destroy(n->clients.server);
	if (n->peers_endpoint.server != NULL)
		grpc_server_destroy(n->peers_endpoint.server);
	watch_release(&n->clients.watch);
	watch_release(&n->peers_endpoint.watch);
	grpc_call_unref(n->wake_call);
	grpc_channel_destroy(n->lame);
	grpc_completion_queue_shutdown(n->queue);
	while (grpc_completion_queue_next(n->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL)
		       .type != GRPC_QUEUE_SHUTDOWN)
		;
	grpc_completion_queue_destroy(n->queue);
	unary_release_pool(n);
	stream_release_pool(n);
	slots_release(&n->calls);
	slots_release(&n->streams);
	arena_release(&n->arena);
	buffer_release(&n->scratch);
	free(n->posted);
	free(n->taken);
	pthread_mutex_destroy(&n->post_lock);
	free(n);
	grpc_shutdown();
}

void net_close(struct net *n)
{
	if (n == NULL)
		return;
	if (!net_abort_all(n)) {
		/* The process is about to end: a leak is better than waiting for ever. */
		log_error("net: gRPC holds on to %llu operations; left as they are",
			  (unsigned long long)n->outstanding);
		return;
	}
	net_free(n);
}
