/*
 * net, the peers' side: frames arrive whole and in order, only between replicas of one cell that
 * mean each other, and a peer that comes back is found soon.
 */
#include "net_raw.h"

#define EXCHANGE "/chubby.internal.Peer/Exchange"
#define CELL_LOW 7

static struct net_config config_of(uint32_t replica, uint64_t cell_low, const char *listen_peer,
				   uint32_t other, const char *other_address)
{
	return (struct net_config){
		.self = {.protocol = CODEC_PROTOCOL,
			 .cell_id_high = 1,
			 .cell_id_low = cell_low,
			 .replica = {replica},
			 .incarnation = {replica, replica}},
		.listen_client = "127.0.0.1:0",
		.listen_peer = listen_peer,
		.peer_count = 1,
		.peers = {{{other}, other_address}},
	};
}

static struct net *open_net(const struct net_config *config)
{
	char *trouble = NULL;
	struct net *n = NULL;

	if (net_open(config, &n, &trouble) != ERROR_OK)
		fail_msg("net_open: %s", trouble);
	return n;
}

struct pair {
	struct net *a, *b;
	char address_a[32], address_b[32];
};

/* A port that is free at the moment: two replicas must know each other's before either listens. */
static void free_address(char address[32])
{
	const struct net_config config = config_of(9, CELL_LOW, "127.0.0.1:0", 8, "127.0.0.1:1");
	struct net *n = open_net(&config);

	snprintf(address, 32, "127.0.0.1:%d", net_peer_port(n));
	net_close(n);
}

static void open_a(struct pair *p)
{
	const struct net_config config = config_of(1, CELL_LOW, p->address_a, 2, p->address_b);

	p->a = open_net(&config);
}

static void open_b(struct pair *p, uint64_t cell_low)
{
	const struct net_config config = config_of(2, cell_low, p->address_b, 1, p->address_a);

	p->b = open_net(&config);
}

static int setup(void **state)
{
	struct pair *p = mem_zalloc(sizeof(*p));

	free_address(p->address_a);
	free_address(p->address_b);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	net_close(p->a);
	net_close(p->b);
	free(p);
	return 0;
}

static struct net_event pump(struct net *n)
{
	struct net_event event;

	net_turn(n);
	net_next(n, clock_now_ns() + NS_PER_MS / 2, &event);
	return event;
}

/* The next event of `n` of that kind, while `other` lives too; others of `n` are passed over. */
static struct net_event expect(struct net *n, struct net *other, enum net_event_kind kind)
{
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;

	for (;;) {
		struct net_event event;

		if (other != NULL)
			(void)pump(other);
		event = pump(n);
		if (event.kind == kind)
			return event;
		assert_true(clock_now_ns() < end_ns);
	}
}

static void connect_pair(struct pair *p)
{
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;

	open_a(p);
	open_b(p, CELL_LOW);
	while (!net_peer_connected(p->a, (struct replica_id){2}) ||
	       !net_peer_connected(p->b, (struct replica_id){1})) {
		pump(p->a);
		pump(p->b);
		assert_true(clock_now_ns() < end_ns);
	}
}

/* A frame with `messages` heartbeats, the last of them with this sequence, and perhaps gossip. */
static void build_frame(struct buffer *b, uint64_t mark, uint32_t messages, bool gossip)
{
	struct paxos_message m = {.kind = PAXOS_HEARTBEAT};
	const struct codec_gossip g = {.revision = mark};

	buffer_clear(b);
	for (uint32_t i = 0; i < messages; i++) {
		m.sequence = mark;
		assert_int_equal(codec_frame_message(b, &m), ERROR_OK);
	}
	if (gossip)
		assert_int_equal(codec_frame_gossip(b, &g), ERROR_OK);
}

/* Checks that the frame goes on where the last one ended. */
static void read_frame(struct bytes frame, uint64_t *seen, uint32_t *messages, uint32_t *gossips)
{
	struct codec_frame f = {0};
	struct arena arena;

	arena_init(&arena, (size_t)8 << 20);
	assert_int_equal(codec_decode_frame(frame, &arena, &f), ERROR_OK);
	for (uint32_t i = 0; i < f.message_count; i++) {
		assert_in_range(f.messages[i].sequence, *seen, *seen + 1);
		*seen = f.messages[i].sequence;
	}
	*messages += f.message_count;
	*gossips += f.has_gossip;
	codec_frame_release(&f);
	arena_release(&arena);
}

static uint64_t read_mark(struct bytes frame)
{
	struct codec_frame f = {0};
	struct arena arena;
	uint64_t mark;

	arena_init(&arena, (size_t)8 << 20);
	assert_int_equal(codec_decode_frame(frame, &arena, &f), ERROR_OK);
	assert_true(f.has_gossip);
	mark = f.gossip.revision;
	codec_frame_release(&f);
	arena_release(&arena);
	return mark;
}

/* Frames sent in a burst arrive in order and none is lost, though many are put together: paxos
 * messages freely, gossip once in a frame. */
static void test_frames_in_order(void **state)
{
	struct pair *p = *state;
	uint32_t frames = 0, messages = 0, gossips = 0;
	struct net_counters counters;
	struct buffer frame;
	uint64_t seen = 0;

	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	connect_pair(p);
	for (uint64_t i = 1; i <= 1000; i++) {
		build_frame(&frame, i, 1 + i % 3, i % 10 == 0);
		assert_true(
			net_peer_send(p->a, (struct replica_id){2}, buffer_view(&frame), false));
	}
	while (seen < 1000 || gossips < 100) {
		struct net_event event = expect(p->b, p->a, NET_PEER_FRAME);

		assert_int_equal(event.replica.n, 1);
		assert_false(event.bulk);
		read_frame(event.frame, &seen, &messages, &gossips);
		frames++;
	}
	assert_int_equal(messages, 1000 + 666 + 334);
	assert_int_equal(gossips, 100);
	assert_true(frames < 500);
	net_counters(p->a, &counters);
	assert_int_equal(counters.peer_frames_sent, 1000);
	assert_int_equal(counters.peer_frames_dropped, 0);
	buffer_release(&frame);
}

/* More messages than the codec takes in one frame are spread over several. */
static void test_joined_frames_stay_within_limits(void **state)
{
	struct pair *p = *state;
	uint32_t messages = 0, gossips = 0;
	struct buffer frame;
	uint64_t seen = 0;

	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	connect_pair(p);
	for (uint64_t i = 1; i <= 12; i++) {
		build_frame(&frame, i, CODEC_FRAME_MESSAGES_MAX / 3, false);
		assert_true(
			net_peer_send(p->a, (struct replica_id){2}, buffer_view(&frame), false));
	}
	while (seen < 12)
		read_frame(expect(p->b, p->a, NET_PEER_FRAME).frame, &seen, &messages, &gossips);
	assert_int_equal(messages, 12 * (CODEC_FRAME_MESSAGES_MAX / 3));
	buffer_release(&frame);
}

/* Bulk has a stream of its own, and its frames stay single. */
static void test_bulk_frames(void **state)
{
	struct pair *p = *state;
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;
	struct buffer frame;

	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	connect_pair(p);
	build_frame(&frame, 1, 0, true);
	while (!net_peer_send(p->b, (struct replica_id){1}, buffer_view(&frame), true)) {
		pump(p->a);
		pump(p->b);
		assert_true(clock_now_ns() < end_ns);
	}
	for (uint64_t i = 2; i <= 20; i++) {
		build_frame(&frame, i, 0, true);
		assert_true(net_peer_send(p->b, (struct replica_id){1}, buffer_view(&frame), true));
	}
	for (uint64_t i = 1; i <= 20; i++) {
		struct net_event event = expect(p->a, p->b, NET_PEER_FRAME);

		assert_true(event.bulk);
		assert_int_equal(event.replica.n, 2);
		assert_int_equal(read_mark(event.frame), i);
	}
	buffer_release(&frame);
}

/* The largest frame arrives; a larger one, one to a stranger, and what exceeds the queue do not
 * leave. */
static void test_limits(void **state)
{
	struct pair *p = *state;
	const size_t size = CODEC_FRAME_MAX_BYTES;
	uint8_t *big = mem_alloc(size + 1);
	int64_t end_ns = clock_now_ns() + RAW_PATIENCE_NS;
	int accepted = 0;

	connect_pair(p);
	/* Field 15, a length, and as many bytes as make the frame whole. */
	memset(big, 'x', size + 1);
	memcpy(big, (const uint8_t[]){0x7a, 0xfb, 0xff, 0xff, 0x01}, 5);
	assert_false(
		net_peer_send(p->a, (struct replica_id){2}, (struct bytes){big, size + 1}, false));
	assert_false(net_peer_send(p->a, (struct replica_id){5}, (struct bytes){big, 10}, false));
	assert_false(net_peer_send(p->a, (struct replica_id){2}, BYTES_NONE, false));
	while (net_peer_send(p->a, (struct replica_id){2}, (struct bytes){big, size}, false))
		assert_true(++accepted < 100);
	assert_in_range(accepted, NET_PEER_QUEUE_MAX_BYTES / size,
			NET_PEER_QUEUE_MAX_BYTES / size + 2);
	for (int i = 0; i < accepted; i++) {
		struct net_event event = expect(p->b, p->a, NET_PEER_FRAME);

		assert_int_equal(event.frame.size, size);
		assert_memory_equal(event.frame.data, big, size);
		assert_true(clock_now_ns() < end_ns);
	}
	free(big);
}

/* A peer that dies is noticed, and one that comes back on its port is connected within 500 ms
 * (asserted generously: the machine may be busy). */
static void test_reconnects(void **state)
{
	struct pair *p = *state;
	int64_t worst_ns = 0;
	struct buffer frame;

	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	connect_pair(p);
	for (int round = 0; round < 5; round++) {
		int64_t down_until_ns, back_ns;

		net_close(p->b);
		p->b = NULL;
		assert_int_equal(expect(p->a, NULL, NET_PEER_LOST).replica.n, 2);
		assert_false(net_peer_connected(p->a, (struct replica_id){2}));
		down_until_ns = clock_now_ns() + (round + 1) * 130 * NS_PER_MS;
		while (clock_now_ns() < down_until_ns)
			assert_int_equal(pump(p->a).kind, NET_TIMEOUT);
		open_b(p, CELL_LOW);
		back_ns = clock_now_ns();
		assert_int_equal(expect(p->a, p->b, NET_PEER_CONNECTED).replica.n, 2);
		if (clock_now_ns() - back_ns > worst_ns)
			worst_ns = clock_now_ns() - back_ns;
		build_frame(&frame, 40 + (uint64_t)round, 0, true);
		assert_true(
			net_peer_send(p->a, (struct replica_id){2}, buffer_view(&frame), false));
		assert_int_equal(read_mark(expect(p->b, p->a, NET_PEER_FRAME).frame), 40 + round);
	}
	print_message("slowest reconnection: %lld ms\n", (long long)(worst_ns / NS_PER_MS));
	assert_true(worst_ns < 2 * NS_PER_S);
	buffer_release(&frame);
}

/* Replicas of different cells never become peers, however often they try. */
static void test_wrong_cell(void **state)
{
	struct pair *p = *state;
	int64_t end_ns = clock_now_ns() + 700 * NS_PER_MS;

	open_a(p);
	open_b(p, CELL_LOW + 1);
	while (clock_now_ns() < end_ns) {
		assert_int_equal(pump(p->a).kind, NET_TIMEOUT);
		assert_int_equal(pump(p->b).kind, NET_TIMEOUT);
	}
}

/* The first frame must be a hello that names this cell, this receiver and a known replica; each
 * other is refused with its reason, and what follows it is not heard. */
static void test_hello_is_checked(void **state)
{
	struct pair *p = *state;
	const struct codec_hello good = {.protocol = CODEC_PROTOCOL,
					 .cell_id_high = 1,
					 .cell_id_low = CELL_LOW,
					 .replica = {2},
					 .to = {1}};
	struct codec_hello rows[6];
	static const char *const reasons[6] = {"version",         "cell",         "cell",
					       "another replica", "not a member", "not a member"};
	struct raw_client client;
	struct raw_call k = {0};
	struct buffer frame;

	open_a(p);
	raw_open(&client, net_peer_port(p->a));
	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	for (int i = 0; i < 6; i++)
		rows[i] = good;
	rows[0].protocol++;
	rows[1].cell_id_high++;
	rows[2].cell_id_low++;
	rows[3].to.n = 3;
	rows[4].replica.n = 3;
	rows[5].replica.n = 1;
	for (int i = 0; i < 7; i++) {
		const struct codec_gossip gossip = {.revision = 5};
		const char *reason = i < 6 ? reasons[i] : "no hello";
		struct bytes text;

		buffer_clear(&frame);
		if (i < 6)
			assert_int_equal(codec_frame_hello(&frame, &rows[i]), ERROR_OK);
		assert_int_equal(codec_frame_gossip(&frame, &gossip), ERROR_OK);
		raw_begin(&client, &k, EXCHANGE);
		raw_send(&k, buffer_view(&frame), true);
		raw_read(&k, true);
		raw_until(&client, p->a, &k.ended, true);
		assert_int_equal(k.status, GRPC_STATUS_FAILED_PRECONDITION);
		text = raw_text(&k);
		assert_non_null(memmem(text.data, text.size, reason, strlen(reason)));
		raw_end(&k);
	}
	raw_close(&client);
	buffer_release(&frame);
}

/* What follows the hello in its frame is delivered, our hello comes back, and a second stream of
 * the same replica takes the place of the first. */
static void test_second_stream_replaces_first(void **state)
{
	struct pair *p = *state;
	const struct codec_hello hello = {.protocol = CODEC_PROTOCOL,
					  .cell_id_high = 1,
					  .cell_id_low = CELL_LOW,
					  .replica = {2},
					  .to = {1}};
	const struct codec_gossip gossip = {.revision = 77};
	struct raw_call first = {0}, second = {0};
	struct raw_client client;
	struct buffer frame;

	open_a(p);
	raw_open(&client, net_peer_port(p->a));
	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	assert_int_equal(codec_frame_hello(&frame, &hello), ERROR_OK);
	assert_int_equal(codec_frame_gossip(&frame, &gossip), ERROR_OK);
	raw_begin(&client, &first, EXCHANGE);
	raw_send(&first, buffer_view(&frame), true);
	raw_read(&first, true);
	assert_int_equal(read_mark(raw_expect(&client, p->a, NET_PEER_FRAME).frame), 77);
	raw_until(&client, p->a, &first.reading, false);
	assert_non_null(first.incoming);

	raw_begin(&client, &second, EXCHANGE);
	raw_send(&second, buffer_view(&frame), true);
	raw_read(&second, true);
	assert_int_equal(raw_expect(&client, p->a, NET_PEER_FRAME).replica.n, 2);
	raw_until(&client, p->a, &first.ended, true);
	assert_int_equal(first.status, GRPC_STATUS_FAILED_PRECONDITION);
	raw_until(&client, p->a, &second.sending, false);
	buffer_clear(&frame);
	assert_int_equal(codec_frame_gossip(&frame, &(struct codec_gossip){.revision = 78}),
			 ERROR_OK);
	raw_send(&second, buffer_view(&frame), false);
	assert_int_equal(read_mark(raw_expect(&client, p->a, NET_PEER_FRAME).frame), 78);
	grpc_call_cancel(second.call, NULL);
	raw_until(&client, p->a, &second.ended, true);
	raw_end(&first);
	raw_end(&second);
	raw_close(&client);
	buffer_release(&frame);
}

int main(void)
{
#define WITH_PAIR(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_PAIR(test_frames_in_order),  WITH_PAIR(test_joined_frames_stay_within_limits),
		WITH_PAIR(test_bulk_frames),      WITH_PAIR(test_limits),
		WITH_PAIR(test_reconnects),       WITH_PAIR(test_wrong_cell),
		WITH_PAIR(test_hello_is_checked), WITH_PAIR(test_second_stream_replaces_first),
	};
	int failed;

	grpc_init();
	failed = cmocka_run_group_tests_name("net_peer", tests, NULL, NULL);
	grpc_shutdown();
	return failed;
}
