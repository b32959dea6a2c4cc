#include "net/net_internal.h"

#include <stdio.h>
#include <string.h>

/* Larger than any hello or frame with its envelope. */
#define PEER_RECEIVE_MAX_BYTES ((int)CODEC_FRAME_MAX_BYTES + 65536)
#define METADATA_MAX_BYTES 8192
#define HANDSHAKE_TIMEOUT_MS 5000
#define CLIENT_STREAMS_PER_CONNECTION 4096
#define PEER_STREAMS_PER_CONNECTION 8

/* A method that this server does not have. */
struct stray {
	grpc_server *server;
	struct method *method; /* NULL: of the peers' server */
	struct op arrived, answered;
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	int cancelled;
};

static void stray_free(struct stray *s)
{
	grpc_call_details_destroy(&s->details);
	grpc_metadata_array_destroy(&s->metadata);
	if (s->call != NULL)
		grpc_call_unref(s->call);
	free(s);
}

static void stray_answered(struct net *n, struct op *op, bool ok)
{
	stray_free(CONTAINER_OF(op, struct stray, answered));
}

static void stray_arm(struct net *n, grpc_server *server, struct method *m);

static void stray_arrived(struct net *n, struct op *op, bool ok)
{
	struct stray *s = CONTAINER_OF(op, struct stray, arrived);
	const struct reply r = reply_refusing(ERROR_UNIMPLEMENTED, NULL);
	struct refusal refusal;
	grpc_op ops[3] = {0};

	if (!ok) {
		stray_free(s);
		return;
	}
	if (s->method != NULL)
		method_rearm(n, s->method);
	else if (!n->closing)
		stray_arm(n, s->server, NULL);
	n->counters.malformed++;
	refusal_init(n, &r, &refusal);
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	refusal_op(&refusal, &ops[1]);
	ops[2].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	ops[2].data.recv_close_on_server.cancelled = &s->cancelled;
	net_batch(n, s->call, ops, 3, &s->answered);
	refusal_release(&refusal);
}

static void stray_arm(struct net *n, grpc_server *server, struct method *m)
{
	struct stray *s = mem_zalloc(sizeof(*s));

	s->server = server;
	s->method = m;
	s->arrived.done = stray_arrived;
	s->answered.done = stray_answered;
	grpc_call_details_init(&s->details);
	grpc_metadata_array_init(&s->metadata);
	CHECK(grpc_server_request_call(server, &s->call, &s->details, &s->metadata, n->queue,
				       n->queue, &s->arrived) == GRPC_CALL_OK);
	n->outstanding++;
}

static void method_arm(struct net *n, struct method *m)
{
	switch (m->use) {
	case METHOD_UNARY:
		unary_arm(n, m);
		break;
	case METHOD_SESSION:
		stream_arm(n, m);
		break;
	case METHOD_STRAY:
		stray_arm(n, n->clients.server, m);
		break;
	}
}

void method_rearm(struct net *n, struct method *m)
{
	if (n->draining || n->closing)
		return;
	if (n->budget > 0) {
		n->budget--;
		method_arm(n, m);
		return;
	}
	m->owed++;
	n->owed++;
}

void server_turn(struct net *n)
{
	if (n->draining || n->closing)
		return;
	/* Starting elsewhere each time, so that no method waits behind a busy one for ever. */
	n->turn_start = (n->turn_start + 1) % n->method_count;
	for (uint32_t i = 0; i < n->method_count && n->owed > 0; i++) {
		struct method *m = &n->methods[(n->turn_start + i) % n->method_count];

		while (m->owed > 0 && n->budget > 0) {
			n->budget--;
			m->owed--;
			n->owed--;
			method_arm(n, m);
		}
	}
}

static grpc_server *server_create(struct net *n, const grpc_arg *args, size_t count)
{
	const grpc_channel_args list = {.num_args = count, .args = (grpc_arg *)(uintptr_t)args};
	grpc_server *server = grpc_server_create(&list, NULL);

	grpc_server_register_completion_queue(server, n->queue, NULL);
	return server;
}

static enum error server_bind(struct endpoint *e, const char *purpose, const char *address,
			      char **ret_trouble)
{
	grpc_server_credentials *credentials = tls_server_credentials();

	e->port = grpc_server_add_http2_port(e->server, address, credentials);
	grpc_server_credentials_release(credentials);
	if (e->port > 0) {
		struct sockaddr_storage where;
		socklen_t size;

		if (address_resolve(address, e->port, &where, &size))
			watch_init(&e->watch, (const struct sockaddr *)&where, size);
		return ERROR_OK;
	}
	*ret_trouble = address_bind_trouble(purpose, address);
	return ERROR_UNAVAILABLE;
}

static grpc_server *server_create_clients(struct net *n)
{
	const grpc_arg args[] = {
		/* Two daemons on one port must be an error, not a coin toss. */
		net_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
		net_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, CLIENT_STREAMS_PER_CONNECTION),
		net_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)WIRE_MESSAGE_MAX_BYTES),
		net_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX_BYTES),
		net_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS),
		/* Bandwidth probes double the cost of a small message. */
		net_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		net_arg(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 256 * 1024),
		/* A megabyte that unpacks to a gigabyte is no request: compression is refused. */
		net_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
			1 << GRPC_COMPRESS_NONE),
		/* Vanished clients are noticed; theirs may ping to notice a stopped replica. */
		net_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 20000),
		net_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000),
		net_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		net_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		net_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 300),
	};

	return server_create(n, args, sizeof(args) / sizeof(args[0]));
}

static grpc_server *server_create_peers(struct net *n)
{
	const grpc_arg args[] = {
		net_arg(GRPC_ARG_ALLOW_REUSEPORT, 0),
		net_arg(GRPC_ARG_MAX_CONCURRENT_STREAMS, PEER_STREAMS_PER_CONNECTION),
		net_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, PEER_RECEIVE_MAX_BYTES),
		net_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_MAX_BYTES),
		net_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS),
		net_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		net_arg(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 1 << 20),
		net_arg(GRPC_ARG_HTTP2_MAX_FRAME_SIZE, 256 * 1024),
		net_arg(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
			1 << GRPC_COMPRESS_NONE),
		/* Peers ping each second (link.c). */
		net_arg(GRPC_ARG_KEEPALIVE_TIME_MS, 1000),
		net_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 1000),
		net_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		net_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		net_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 100),
		net_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
	};

	return server_create(n, args, sizeof(args) / sizeof(args[0]));
}

static void method_add(struct net *n, struct method m)
{
	CHECK(n->method_count < NET_METHODS_MAX);
	n->methods[n->method_count++] = m;
}

static void server_register(struct net *n)
{
	static const char *const peer_paths[2] = {"/chubby.internal.Peer/Exchange",
						  "/chubby.internal.Peer/Bulk"};

	for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
		const char *path = wire_method_path((enum message_kind)kind);

		if (path == NULL)
			continue;
		method_add(n, (struct method){
				      .use = METHOD_UNARY,
				      .kind = (enum message_kind)kind,
				      .registration = grpc_server_register_method(
					      n->clients.server, path, NULL,
					      GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0),
			      });
	}
	method_add(n, (struct method){
			      .use = METHOD_SESSION,
			      .registration = grpc_server_register_method(
				      n->clients.server, "/chubby.v1.Chubby/Session", NULL,
				      GRPC_SRM_PAYLOAD_NONE, 0),
		      });
	method_add(n, (struct method){.use = METHOD_STRAY});
	for (int bulk = 0; bulk < 2; bulk++)
		n->peer_methods[bulk] = grpc_server_register_method(n->peers_endpoint.server,
								    peer_paths[bulk], NULL,
								    GRPC_SRM_PAYLOAD_NONE, 0);
}

enum error server_open(struct net *n, const char *listen_client, const char *listen_peer,
		       char **ret_trouble)
{
	enum error e;

	n->clients.server = server_create_clients(n);
	n->peers_endpoint.server = server_create_peers(n);
	e = server_bind(&n->clients, "clients", listen_client, ret_trouble);
	if (e == ERROR_OK)
		e = server_bind(&n->peers_endpoint, "peers", listen_peer, ret_trouble);
	if (e == ERROR_OK)
		server_register(n);
	return e;
}

static uint32_t method_armed(const struct method *m)
{
	if (m->use == METHOD_STRAY)
		return NET_ARMED_STRAY;
	return m->kind >= MESSAGE_STATUS ? NET_ARMED_ADMIN : NET_ARMED_CHUBBY;
}

void server_start(struct net *n)
{
	grpc_server_start(n->clients.server);
	n->clients.started = true;
	grpc_server_start(n->peers_endpoint.server);
	n->peers_endpoint.started = true;
	for (uint32_t i = 0; i < n->method_count; i++)
		for (uint32_t k = 0; k < method_armed(&n->methods[i]); k++)
			method_arm(n, &n->methods[i]);
	for (int k = 0; k < NET_ARMED_PEER; k++) {
		inbound_arm(n, false);
		inbound_arm(n, true);
		stray_arm(n, n->peers_endpoint.server, NULL);
	}
}

static void server_stopped(struct net *n, struct op *op, bool ok)
{
	CONTAINER_OF(op, struct endpoint, stopped_op)->stopped = true;
}

void server_stop(struct net *n, struct endpoint *e)
{
	if (e->server == NULL || e->stopping)
		return;
	e->stopping = true;
	e->stopped_op.done = server_stopped;
	n->outstanding++;
	grpc_server_shutdown_and_notify(e->server, n->queue, &e->stopped_op);
}
