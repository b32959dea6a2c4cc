/*
 * One net and one raw client, for the tests of the clients' side of net.
 */
#ifndef CHUBBY_TEST_UNIT_NET_FIXTURE_H
#define CHUBBY_TEST_UNIT_NET_FIXTURE_H

#include "net_raw.h"

#define FIND_MASTER "/chubby.v1.Chubby/FindMaster"
#define SESSION "/chubby.v1.Chubby/Session"
#define WITH_NET(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

struct fixture {
	struct net *net;
	struct raw_client client;
	struct raw_call calls[3]; /* here, so that they outlive a test that fails */
	struct buffer out, in;
	struct arena arena;
};

static inline struct net_config config_alone(void)
{
	return (struct net_config){
		.self = {.protocol = CODEC_PROTOCOL, .cell_id_low = 7, .replica = {1}},
		.listen_client = "127.0.0.1:0",
		.listen_peer = "127.0.0.1:0",
	};
}

static inline struct net *open_net(const struct net_config *config)
{
	char *trouble = NULL;
	struct net *n = NULL;

	if (net_open(config, &n, &trouble) != ERROR_OK)
		fail_msg("net_open: %s", trouble);
	return n;
}

static inline int setup(void **state)
{
	const struct net_config config = config_alone();
	struct fixture *f = mem_zalloc(sizeof(*f));

	f->net = open_net(&config);
	raw_open(&f->client, net_client_port(f->net));
	buffer_init(&f->out, (size_t)4 << 20);
	buffer_init(&f->in, (size_t)4 << 20);
	arena_init(&f->arena, (size_t)4 << 20);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++)
		raw_abandon(&f->calls[i]);
	raw_close(&f->client);
	if (f->net != NULL)
		net_close(f->net);
	buffer_release(&f->out);
	buffer_release(&f->in);
	arena_release(&f->arena);
	free(f);
	return 0;
}

/* ---- messages ------------------------------------------------------------------------------- */

static inline struct bytes find_master(struct fixture *f, int64_t wait_ms)
{
	const struct request r = {.kind = MESSAGE_FIND_MASTER,
				  .find_master.wait_ns = wait_ms * NS_PER_MS};

	buffer_clear(&f->out);
	assert_int_equal(wire_encode_request(&r, &f->out), ERROR_OK);
	return buffer_view(&f->out);
}

static inline struct bytes envelope(struct fixture *f, uint64_t call_id, int64_t wait_ms)
{
	const struct request r = {.kind = MESSAGE_FIND_MASTER,
				  .find_master.wait_ns = wait_ms * NS_PER_MS};

	buffer_clear(&f->out);
	assert_int_equal(wire_encode_client_envelope(call_id, &r, &f->out), ERROR_OK);
	return buffer_view(&f->out);
}

static inline struct reply master_is(const char *address, uint64_t epoch)
{
	return (struct reply){.kind = MESSAGE_FIND_MASTER,
			      .epoch = {epoch},
			      .find_master = {.address = bytes_of_text(address), .replica = {3}}};
}

/* The answer of a unary call; its status must be OK. */
static inline struct reply finish(struct fixture *f, struct raw_call *k)
{
	const char *trouble = NULL;
	struct reply r = {0};

	raw_until(&f->client, f->net, &k->ended, true);
	assert_int_equal(k->status, GRPC_STATUS_OK);
	raw_until(&f->client, f->net, &k->reading, false);
	assert_true(raw_take(k, &f->in));
	assert_int_equal(wire_decode_reply(MESSAGE_FIND_MASTER, buffer_view(&f->in), &f->arena, &r,
					   &trouble),
			 ERROR_OK);
	raw_end(k);
	return r;
}

/* A unary call that net or the replica refuses. */
static inline void finish_refused(struct fixture *f, struct raw_call *k, grpc_status_code code)
{
	raw_until(&f->client, f->net, &k->ended, true);
	raw_until(&f->client, f->net, &k->reading, false);
	assert_int_equal(k->status, code);
}

static inline void expect_text(struct bytes b, const char *text)
{
	assert_int_equal(b.size, strlen(text));
	assert_memory_equal(b.data, text, b.size);
}

/* The next envelope of a stream. The replica may hear requests meanwhile only if it is told. */
static inline struct reply next_envelope(struct fixture *f, struct raw_call *k,
					 uint64_t *ret_call_id)
{
	const char *trouble = NULL;
	struct reply r = {0};

	raw_until(&f->client, f->net, &k->reading, false);
	assert_true(raw_take(k, &f->in));
	arena_release(&f->arena);
	assert_int_equal(wire_decode_server_envelope(buffer_view(&f->in), &f->arena, ret_call_id,
						     &r, &trouble),
			 ERROR_OK);
	return r;
}

static inline void open_stream(struct fixture *f, struct raw_call *k, uint64_t call_id)
{
	raw_begin(&f->client, k, SESSION);
	raw_send(k, envelope(f, call_id, 0), true);
	raw_read(k, true);
}

#endif
