/*
 * paxos: "you forgot". A replica whose disk went back, or was lost, is told so by whoever saw it
 * acknowledge more, and takes no part; one that only restarted is never accused.
 */
#include "paxos_net.h"
#include "paxos_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

static struct net *working(uint32_t count, uint64_t seed, uint32_t *ret_master)
{
	struct net *n = net_new(count, seed);

	n->quiet = getenv("PAXOS_NOTES") == NULL;
	net_start_all(n);
	*ret_master = net_wait_master(n, 2 * NS_PER_S);
	assert_true(*ret_master != 0);
	return n;
}

static void propose_some(struct net *n, uint32_t master, int count)
{
	for (int i = 0; i < count; i++) {
		assert_int_equal(net_propose(n, master), ERROR_OK);
		net_run(n, 10 * NS_PER_MS);
	}
	net_run(n, 200 * NS_PER_MS);
}

/* wal_rollback: acknowledged acceptances are gone; the others remember, and say so. */
static void test_rolled_back_is_told(void **state)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		uint32_t master;
		struct net *n = working(5, seed, &master);
		uint32_t victim = master == 2 ? 3 : 2;

		propose_some(n, master, 10);
		struct net_disk *old = net_disk_copy(n, victim);
		propose_some(n, master, 3);
		net_crash(n, victim);
		net_disk_restore(n, victim, old);
		net_disk_free(old);
		net_start(n, victim, seed % 2 == 0 ? PAXOS_MEMORY_WHOLE : PAXOS_MEMORY_DOUBTFUL);
		net_run(n, NS_PER_S);
		enum paxos_role role = paxos_role(n->nodes[victim].p);
		/* It was told, or had caught up with all that it had acknowledged. */
		if (role != PAXOS_LOST)
			assert_true(n->nodes[victim].applied >= 13);
		else
			assert_non_null(paxos_trouble(n->nodes[victim].p));
		assert_int_equal(net_master(n), master);
		net_free(n);
	}
}

/* The same where the promise itself went back: catching up heals no promise. */
static void test_forgotten_promise_is_told(void **state)
{
	uint32_t first;
	struct net *n = working(5, 3, &first);
	uint32_t victim = first == 2 ? 3 : 2;

	propose_some(n, first, 5);
	struct net_disk *old = net_disk_copy(n, victim);
	net_crash(n, first);
	uint32_t second = net_wait_master(n, 3 * NS_PER_S);
	if (second == victim) {
		/* It must not be the master that forgets, who ships what it saw. */
		victim = second == 2 ? 3 : 2;
		net_disk_free(old);
		net_free(n);
		return;
	}
	propose_some(n, second, 2);
	net_crash(n, victim);
	net_disk_restore(n, victim, old);
	net_disk_free(old);
	net_start(n, victim, PAXOS_MEMORY_WHOLE);
	net_run(n, NS_PER_S);
	assert_int_equal(paxos_role(n->nodes[victim].p), PAXOS_LOST);
	/* Lost is for ever: it answers nothing, asks for nothing. */
	assert_int_equal(paxos_next_tick(n->nodes[victim].p), TIME_NEVER);
	net_run(n, 5 * NS_PER_S);
	assert_int_equal(paxos_role(n->nodes[victim].p), PAXOS_LOST);
	assert_int_equal(net_master(n), second);
	net_free(n);
}

/* What the master saw outlives it: it is stored by those to whom it was shipped. */
static void test_remembered_after_the_master_died(void **state)
{
	uint32_t master;
	struct net *n = working(5, 4, &master);
	uint32_t victim = master == 2 ? 3 : 2;
	struct net_disk *blank = net_disk_copy(n, victim);

	rng_init(&n->rng, 99);
	memset(&blank->durable, 0, sizeof(blank->durable));
	propose_some(n, master, 10);
	for (uint32_t id = 1; id <= 5; id++)
		net_crash(n, id);
	net_disk_restore(n, victim, blank);
	net_disk_free(blank);
	for (uint32_t id = 1; id <= 5; id++) {
		if (id != master)
			net_start(n, id, PAXOS_MEMORY_WHOLE);
	}
	net_run(n, 100 * NS_PER_MS);
	assert_int_equal(paxos_role(n->nodes[victim].p), PAXOS_LOST);
	uint64_t before = n->history_newest;
	uint32_t next = net_wait_master(n, 3 * NS_PER_S);
	assert_true(next != 0 && next != victim);
	assert_int_equal(net_propose(n, next), ERROR_OK);
	net_run(n, NS_PER_S);
	assert_true(n->history_newest > before);
	net_free(n);
}

/* blank_disk_amnesia: whoever knows itself that its memory is lost says nothing at all. */
static void test_blank_disk_amnesia(void **state)
{
	struct one_start start = {.count = 3, .memory = PAXOS_MEMORY_LOST};
	struct one *o = one_new(&start);

	assert_int_equal(paxos_role(o->p), PAXOS_LOST);
	assert_non_null(paxos_trouble(o->p));
	assert_int_equal(o->out->message_count, 0);
	for (int kind = PAXOS_PROBE; kind < PAXOS_KIND_END; kind++) {
		struct paxos_message m = one_message((enum paxos_kind)kind, 2);
		m.ballot = one_ballot(5, 2);
		m.slot = (struct slot){1};
		m.lease_ns = NS_PER_MS;
		one_step(o, 2, &m);
		assert_int_equal(o->out->message_count, 0);
		assert_int_equal(o->out->write_count, 0);
	}
	one_tick(o, 10 * NS_PER_S);
	assert_int_equal(o->out->message_count, 0);
	assert_int_equal(paxos_propose(o->p, o->now_ns, bytes_of_text("x")), ERROR_NOT_MASTER);
	one_free(o);
}

/* All five killed and started again: they vet each other, and nobody is accused. */
static void test_all_restart(void **state)
{
	for (uint64_t seed = 0; seed < 10; seed++) {
		uint32_t master;
		struct net *n = working(5, seed, &master);
		propose_some(n, master, 20);
		for (uint32_t id = 1; id <= 5; id++)
			net_crash(n, id);
		for (uint32_t id = 1; id <= 5; id++)
			net_start(n, id,
				  seed % 2 == 0 ? PAXOS_MEMORY_WHOLE : PAXOS_MEMORY_DOUBTFUL);
		assert_true(net_wait_master(n, 3 * NS_PER_S) != 0);
		assert_true(net_wait_equal(n, 20, NS_PER_S));
		for (uint32_t id = 1; id <= 5; id++)
			assert_null(paxos_trouble(n->nodes[id].p));
		net_free(n);
	}
}

/* Before the verdicts are in, nothing is promised, accepted or stood for. A doubtful memory needs
 * one voice more than a whole one: its own does not count. */
static void test_unvetted_takes_no_part(void **state)
{
	for (int doubtful = 0; doubtful < 2; doubtful++) {
		struct one_start start = {.count = 5};
		start.memory = doubtful ? PAXOS_MEMORY_DOUBTFUL : PAXOS_MEMORY_WHOLE;
		struct one *o = one_new(&start);
		const struct paxos_message *greet = one_sent(o, PAXOS_GREET, 2);
		assert_non_null(greet);
		struct slot life = greet->slot;
		for (uint32_t id = 2; id <= 5; id++) {
			bool vetted = paxos_role(o->p) != PAXOS_UNVETTED;
			assert_int_equal(vetted, id > 3u + (uint32_t)doubtful);
			if (vetted)
				break;
			struct paxos_message m = one_accept(one_ballot(3, id), 1, "x");
			one_step(o, id, &m);
			assert_int_equal(o->out->message_count, 0);
			assert_int_equal(o->out->write_count, 0);
			/* Another life's verdict counts for nothing. */
			for (uint32_t other = 2; other <= 5; other++) {
				m = one_message(PAXOS_VERDICT, other);
				m.slot = (struct slot){life.n + 1};
				m.granted = true;
				one_step(o, other, &m);
			}
			assert_int_equal(paxos_role(o->p), PAXOS_UNVETTED);
			m = one_message(PAXOS_VERDICT, id);
			m.slot = life;
			m.granted = true;
			one_step(o, id, &m);
			one_step(o, id, &m);
		}
		one_free(o);
	}
}

static struct paxos_message state_of(uint32_t from, uint64_t life, uint64_t nonce,
				     struct ballot promised, uint64_t chosen)
{
	struct paxos_message m = one_message(PAXOS_GREET_STATE, from);

	m.slot = (struct slot){life};
	m.sequence = nonce;
	m.promised = promised;
	m.chosen = (struct slot){chosen};
	return m;
}

static void add_row(struct paxos_message *m, uint64_t slot, struct ballot ballot)
{
	m->accepted = mem_realloc(m->accepted, (m->accepted_count + 1) * sizeof(*m->accepted));
	m->accepted[m->accepted_count++] = (struct paxos_accepted){.slot = {slot},
								   .ballot = ballot};
}

static uint64_t greet(struct one *o, uint32_t from, uint64_t life)
{
	struct paxos_message m = one_message(PAXOS_GREET, from);

	m.slot = (struct slot){life};
	one_step(o, from, &m);
	const struct paxos_message *challenge = one_sent(o, PAXOS_CHALLENGE, from);
	assert_non_null(challenge);
	assert_int_equal(challenge->slot.n, life);
	return challenge->sequence;
}

static int verdict(struct one *o, struct paxos_message m)
{
	one_step(o, 2, &m);
	const struct paxos_message *v = one_sent(o, PAXOS_VERDICT, 2);
	return v == NULL ? -1 : v->granted;
}

/* The comparison: the promise not lower; each slot seen accepted at no lower ballot, or below the
 * watermark. */
static void test_comparison(void **state)
{
	struct one_start start = {.count = 3};
	struct ballot b3 = one_ballot(3, 3), b4 = one_ballot(4, 3), b2 = one_ballot(2, 3);
	start.durable.promised = b4;
	start.durable.seen_count = 1;
	start.durable.seen[0] = (struct paxos_seen){
		.replica = {2},
		.incarnation = one_incarnation(2),
		.promised = b4,
		.accepted = b3,
		.from = {5},
		.through = {7},
	};
	struct one *o = one_new(&start);
	uint64_t nonce = greet(o, 2, 77);
	assert_int_equal(greet(o, 2, 77), nonce);

	assert_int_equal(verdict(o, state_of(2, 77, nonce, b4, 7)), true);
	assert_int_equal(verdict(o, state_of(2, 77, nonce, b3, 7)), false);
	assert_int_equal(verdict(o, state_of(2, 77, nonce, b4, 6)), false);
	struct paxos_message m = state_of(2, 77, nonce, b4, 5);
	add_row(&m, 6, b3);
	add_row(&m, 7, b4);
	assert_int_equal(verdict(o, m), true);
	m = state_of(2, 77, nonce, b4, 5);
	add_row(&m, 6, b2);
	add_row(&m, 7, b3);
	assert_int_equal(verdict(o, m), false);
	m = state_of(2, 77, nonce, b4, 4);
	add_row(&m, 5, b3);
	add_row(&m, 7, b3);
	add_row(&m, 8, b3);
	assert_int_equal(verdict(o, m), false);
	m = state_of(2, 77, nonce, b4, 0);
	for (uint64_t slot = 5; slot <= 9; slot++)
		add_row(&m, slot, b3);
	assert_int_equal(verdict(o, m), true);
	/* Another nonce, another life: no answer at all. */
	assert_int_equal(verdict(o, state_of(2, 77, nonce + 1, b4, 7)), -1);
	assert_int_equal(verdict(o, state_of(2, 78, nonce, b4, 7)), -1);
	one_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rolled_back_is_told),
		cmocka_unit_test(test_forgotten_promise_is_told),
		cmocka_unit_test(test_remembered_after_the_master_died),
		cmocka_unit_test(test_blank_disk_amnesia),
		cmocka_unit_test(test_all_restart),
		cmocka_unit_test(test_unvetted_takes_no_part),
		cmocka_unit_test(test_comparison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
