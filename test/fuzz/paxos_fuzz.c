/*
 * One replica's paxos, fed with whatever its peers, its disk and time do. Peers that break the
 * protocol may mislead it; they must not make it contradict itself.
 *
 * Its invariants hold after each step, slots are handed out in order, what it sends can be written.
 */
#include "fuzz.h"

#include "codec/codec.h"

#define STEPS_MAX 400
#define MEMBERS 3
#define SENT_MAX 16
#define ENTRIES_MAX 3

struct life {
	struct paxos *p;
	int64_t now;
	uint64_t written;   /* the newest write that was asked for */
	uint64_t persisted; /* and reported */
	uint64_t applied;
	struct paxos_message sent[SENT_MAX]; /* the newest, without what they own */
	uint32_t sent_count;
	struct value *values[2]; /* owned */
	struct buffer out;
	struct arena arena;
};

static struct incarnation incarnation_of(uint32_t replica)
{
	return (struct incarnation){replica, replica};
}

/* ---- what comes out ---- */

static void take_message(struct life *l, const struct paxos_envelope *e)
{
	struct paxos_message copy = e->message;
	enum error error;

	CHECK(e->to.n == 2 || e->to.n == 3);
	buffer_clear(&l->out);
	error = codec_frame_message(&l->out, &e->message);
	CHECK(error == ERROR_OK);
	copy.value = NULL;
	copy.accepted = NULL;
	copy.accepted_count = 0;
	l->sent[l->sent_count++ % SENT_MAX] = copy;
}

static void take(struct life *l)
{
	const struct paxos_output *out = paxos_output(l->p);

	for (uint32_t i = 0; i < out->write_count; i++) {
		CHECK(out->writes[i].number == l->written + 1);
		l->written++;
	}
	for (uint32_t i = 0; i < out->message_count; i++)
		take_message(l, &out->messages[i]);
	for (uint32_t i = 0; i < out->chosen_count; i++) {
		CHECK(out->chosen[i].slot.n == l->applied + 1 && out->chosen[i].value != NULL);
		l->applied++;
	}
	CHECK(out->serve_count <= MEMBERS_MAX);
	if (out->elected)
		(void)!paxos_propose(l->p, l->now, bytes_of_text("epoch"));
	CHECK(paxos_invariants(l->p) == NULL);
}

/* ---- what goes in ---- */

static struct ballot any_ballot(struct feed *f)
{
	uint8_t n = feed_byte(f);
	uint32_t replica = 1 + n % MEMBERS;

	if (n >= 252)
		return BALLOT_NONE;
	return (struct ballot){1 + n / 16, {replica}, incarnation_of(replica)};
}

static void put_entries(struct life *l, struct feed *f, struct paxos_accepted *entries,
			uint32_t *ret_count)
{
	*ret_count = feed_below(f, ENTRIES_MAX + 1);
	for (uint32_t i = 0; i < *ret_count; i++) {
		entries[i].slot.n = 1 + feed_below(f, 40);
		entries[i].ballot = any_ballot(f);
		entries[i].value = l->values[feed_below(f, 2)];
	}
}

/* Numbers that could be. Those that answer something are of what was sent lately. */
static void say(struct life *l, struct feed *f)
{
	const struct paxos_message *asked = &l->sent[feed_below(f, SENT_MAX)];
	uint32_t from = 2 + feed_below(f, MEMBERS - 1);
	uint8_t choice = feed_byte(f);
	struct paxos_accepted entries[ENTRIES_MAX];
	struct paxos_message m = {
		.kind = (enum paxos_kind)(1 + feed_below(f, PAXOS_KIND_END - 1)),
		.incarnation = incarnation_of(from),
		.accepted = entries,
	};

	m.ballot = choice & 1 ? asked->ballot : any_ballot(f);
	m.slot = choice & 2 ? asked->slot : (struct slot){feed_below(f, 48)};
	m.sequence = choice & 4 ? asked->sequence : feed_byte(f);
	m.promised = choice & 8 ? any_ballot(f) : BALLOT_NONE;
	m.chosen.n = choice & 16 ? feed_below(f, 48) : 0;
	m.trimmed.n = choice & 32 ? feed_below(f, 48) : 0;
	m.last = m.granted = choice & 64;
	m.part = choice & 128 ? feed_byte(f) : 0;
	m.lease_ns = feed_byte(f) * 10 * NS_PER_MS;
	m.successor.n = feed_below(f, MEMBERS + 1);
	if (m.kind == PAXOS_ACCEPT)
		m.value = l->values[feed_below(f, 2)];
	if (m.kind == PAXOS_PROMISE || m.kind == PAXOS_GREET_STATE)
		put_entries(l, f, entries, &m.accepted_count);
	if (m.kind == PAXOS_ACCEPT || m.kind == PAXOS_HEARTBEAT)
		m.seen_count = feed_below(f, 2);
	if (m.seen_count > 0) {
		m.seen[0] = (struct paxos_seen){
			.replica = {1 + feed_below(f, MEMBERS)},
			.promised = any_ballot(f),
			.accepted = any_ballot(f),
			.from = {feed_below(f, 48)},
			.through = {feed_below(f, 48)},
		};
		m.seen[0].incarnation = incarnation_of(m.seen[0].replica.n);
	}
	paxos_step(l->p, l->now, (struct replica_id){from}, &m);
}

/* Bytes of a frame, as the host would hand on what is in it. */
static void receive(struct life *l, struct feed *f)
{
	struct replica_id from = {2 + feed_below(f, MEMBERS - 1)};
	struct codec_frame frame;

	if (codec_decode_frame(feed_run(f), &l->arena, &frame) != ERROR_OK)
		return;
	for (uint32_t i = 0; i < frame.message_count; i++) {
		frame.messages[i].incarnation = incarnation_of(from.n);
		paxos_step(l->p, l->now, from, &frame.messages[i]);
	}
	if (frame.has_learn)
		paxos_learned(l->p, l->now, from, frame.learn.entries, frame.learn.entry_count,
			      frame.learn.chosen, frame.learn.trimmed);
	codec_frame_release(&frame);
}

/* Chosen slots, in a row as a rule. */
static void learn(struct life *l, struct feed *f)
{
	struct replica_id from = {2 + feed_below(f, MEMBERS - 1)};
	struct paxos_accepted entries[ENTRIES_MAX];
	uint8_t in_a_row = feed_byte(f);
	struct slot chosen, trimmed;
	uint32_t count;

	put_entries(l, f, entries, &count);
	for (uint32_t i = 0; i < count && in_a_row < 224; i++)
		entries[i].slot.n = paxos_chosen(l->p).n + 1 + i;
	chosen.n = feed_below(f, 48);
	trimmed.n = feed_below(f, 8) == 0 ? feed_below(f, 48) : 0;
	paxos_learned(l->p, l->now, from, entries, count, chosen, trimmed);
}

static void pass_time(struct life *l, struct feed *f)
{
	int64_t next = paxos_next_tick(l->p);
	uint8_t step = feed_byte(f);

	if (step < 128 && next != TIME_NEVER && next > l->now)
		l->now = next;
	else
		l->now += step * 4 * NS_PER_MS;
	paxos_tick(l->p, l->now);
}

static void step(struct life *l, struct feed *f)
{
	uint8_t n;

	switch (feed_below(f, 16)) {
	case 0:
	case 1:
	case 2:
		pass_time(l, f);
		break;
	case 3:
	case 4:
		n = feed_byte(f);
		if (l->persisted < l->written)
			l->persisted += 1 + n % (l->written - l->persisted);
		paxos_persisted(l->p, l->now, l->persisted);
		break;
	case 5:
		(void)!paxos_propose(l->p, l->now, feed_run(f));
		break;
	case 6:
		learn(l, f);
		break;
	case 7:
		receive(l, f);
		break;
	case 8:
		paxos_peer_connected(l->p, l->now, (struct replica_id){2 + feed_below(f, 2)});
		break;
	case 9:
		if (feed_below(f, 64) == 0)
			paxos_resign(l->p, l->now);
		break;
	default:
		say(l, f);
		break;
	}
}

static struct paxos *begin(struct feed *f, int64_t now)
{
	struct paxos_recovered recovered = {.memory = PAXOS_MEMORY_WHOLE};
	struct paxos_config config = {
		.self = {1},
		.incarnation = incarnation_of(1),
		.lease_ns = 400 * NS_PER_MS,
		.heartbeat_ns = 100 * NS_PER_MS,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.stall_ns = NS_PER_S,
		.membership = {.count = MEMBERS},
	};

	for (uint32_t i = 0; i < MEMBERS; i++)
		config.membership.members[i] = (struct paxos_member){{i + 1},
								     incarnation_of(i + 1),
								     true};
	/* One that has promised something has a past, and is to be vetted. */
	recovered.durable.promised = any_ballot(f);
	recovered.durable.longest_lease_ns = feed_byte(f) * 2 * NS_PER_MS;
	return paxos_new(&config, &recovered, feed_byte(f), now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	struct life *l = mem_zalloc(sizeof(*l));
	struct value_builder b;
	bool fits;

	value_builder_init(&b);
	l->values[0] = value_noop();
	fits = value_builder_add(&b, bytes_of_text("command"));
	CHECK(fits);
	l->values[1] = value_builder_finish(&b);
	value_builder_release(&b);
	buffer_init(&l->out, CODEC_FRAME_MAX_BYTES);
	arena_init(&l->arena, (size_t)16 << 20);
	l->now = 1000 * NS_PER_S;
	l->p = begin(&f, l->now);
	take(l);
	for (int i = 0; i < STEPS_MAX && f.left > 0; i++) {
		step(l, &f);
		take(l);
	}
	paxos_free(l->p);
	value_unref(l->values[0]);
	value_unref(l->values[1]);
	buffer_release(&l->out);
	arena_release(&l->arena);
	free(l);
	return 0;
}
