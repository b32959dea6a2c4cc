/* See paxos_one.h. */
#include "paxos_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

struct incarnation one_incarnation(uint32_t id)
{
	return (struct incarnation){7, id};
}

struct ballot one_ballot(uint64_t round, uint32_t id)
{
	return (struct ballot){round, {id}, one_incarnation(id)};
}

static void one_take(struct one *o)
{
	o->out = paxos_output(o->p);
	o->promise_written = false;
	if (o->out->write_count > 0) {
		assert_int_equal(o->out->write_count, 1);
		assert_int_equal(o->out->writes[0].number, o->written + 1);
		o->written = o->out->writes[0].number;
		o->promise_written = o->out->writes[0].promise_changed;
	}
	assert_null(paxos_invariants(o->p));
}

struct one *one_new(const struct one_start *start)
{
	struct one *o = mem_zalloc(sizeof(*o));
	struct paxos_config config = {
		.self = {1},
		.incarnation = one_incarnation(1),
		.lease_ns = 400 * NS_PER_MS,
		.heartbeat_ns = 100 * NS_PER_MS,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.stall_ns = NS_PER_S,
	};
	struct paxos_recovered recovered = {
		.durable = start->durable,
		.memory = start->memory,
		.applied = start->applied,
		.tail_count = start->tail_count,
		.tail = start->tail,
	};

	config.membership.count = start->count;
	for (uint32_t i = 0; i < start->count; i++)
		config.membership.members[i] = (struct paxos_member){
			.replica = {i + 1},
			.incarnation = one_incarnation(i + 1),
			.voting = true,
		};
	o->count = start->count;
	o->now_ns = 100 * NS_PER_S;
	o->p = paxos_new(&config, &recovered, 42, o->now_ns);
	one_take(o);
	return o;
}

void one_vet(struct one *o)
{
	for (uint32_t id = 2; id <= o->count / 2 + 1; id++) {
		struct paxos_message m = one_message(PAXOS_CHALLENGE, id);
		/* Any tick greets again, which tells the number of this life. */
		one_tick(o, 100 * NS_PER_MS);
		const struct paxos_message *greet = one_sent(o, PAXOS_GREET, id);
		assert_non_null(greet);
		m.slot = greet->slot;
		m.sequence = 1000 + id;
		one_step(o, id, &m);
		assert_non_null(one_sent(o, PAXOS_GREET_STATE, id));
		struct paxos_message verdict = one_message(PAXOS_VERDICT, id);
		verdict.slot = m.slot;
		verdict.sequence = m.sequence;
		verdict.granted = true;
		one_step(o, id, &verdict);
	}
	assert_int_equal(paxos_role(o->p), PAXOS_FOLLOWER);
}

struct one *one_vetted(const struct one_start *start)
{
	struct one *o = one_new(start);

	if (paxos_role(o->p) == PAXOS_UNVETTED)
		one_vet(o);
	return o;
}

struct one *one_simple(uint32_t count)
{
	struct one_start start = {.count = count};

	return one_vetted(&start);
}

void one_free(struct one *o)
{
	paxos_free(o->p);
	free(o);
}

struct paxos_message one_message(enum paxos_kind kind, uint32_t from)
{
	return (struct paxos_message){.kind = kind, .incarnation = one_incarnation(from)};
}

void one_step(struct one *o, uint32_t from, struct paxos_message *m)
{
	paxos_step(o->p, o->now_ns, (struct replica_id){from}, m);
	one_take(o);
	paxos_message_release(m);
}

void one_tick(struct one *o, int64_t pass_ns)
{
	o->now_ns += pass_ns;
	paxos_tick(o->p, o->now_ns);
	one_take(o);
}

void one_persist(struct one *o)
{
	paxos_persisted(o->p, o->now_ns, o->written);
	one_take(o);
}

const struct paxos_message *one_sent(const struct one *o, enum paxos_kind kind, uint32_t to)
{
	for (uint32_t i = 0; i < o->out->message_count; i++) {
		const struct paxos_envelope *e = &o->out->messages[i];
		if (e->to.n == to && e->message.kind == kind)
			return &e->message;
	}
	return NULL;
}

struct value *one_value(const char *command)
{
	struct value_builder b;

	value_builder_init(&b);
	assert_true(value_builder_add(&b, bytes_of_text(command)));
	struct value *v = value_builder_finish(&b);
	value_builder_release(&b);
	return v;
}

struct paxos_message one_accept(struct ballot ballot, uint64_t slot, const char *command)
{
	struct paxos_message m = one_message(PAXOS_ACCEPT, ballot.replica.n);

	m.ballot = ballot;
	m.slot = (struct slot){slot};
	m.lease_ns = 400 * NS_PER_MS;
	m.sequence = 5;
	m.value = one_value(command);
	return m;
}

void one_prepare(struct one *o)
{
	for (int i = 0; i < 1000 && one_sent(o, PAXOS_PROBE, 2) == NULL; i++)
		one_tick(o, 10 * NS_PER_MS);
	const struct paxos_message *probe = one_sent(o, PAXOS_PROBE, 2);
	assert_non_null(probe);
	uint64_t attempt = probe->sequence;
	for (uint32_t id = 2; id <= o->count / 2 + 1; id++) {
		struct paxos_message yes = one_message(PAXOS_PROBE_REPLY, id);
		yes.sequence = attempt;
		yes.granted = true;
		/* Its own promise is durable before the first prepare leaves. */
		assert_null(one_sent(o, PAXOS_PREPARE, 2));
		one_step(o, id, &yes);
	}
	assert_true(o->promise_written);
	assert_null(one_sent(o, PAXOS_PREPARE, 2));
	one_persist(o);
	assert_non_null(one_sent(o, PAXOS_PREPARE, 2));
	assert_non_null(one_sent(o, PAXOS_PREPARE, o->count));
}

void one_elect(struct one *o)
{
	one_prepare(o);
	struct ballot ballot = one_sent(o, PAXOS_PREPARE, 2)->ballot;
	for (uint32_t id = 2; id <= o->count / 2 + 1; id++) {
		struct paxos_message m = one_message(PAXOS_PROMISE, id);
		m.ballot = ballot;
		m.slot = (struct slot){paxos_chosen(o->p).n + 1};
		m.last = true;
		one_step(o, id, &m);
	}
	assert_int_equal(paxos_role(o->p), PAXOS_MASTER);
	assert_true(o->out->elected);
}
