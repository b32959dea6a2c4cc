/*
 * paxos: the acceptor. It says nothing that a power cut could undo, never goes back on a promise,
 * and while it is bound by a lease it hears no other ballot.
 */
#include "paxos_one.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define L (400 * NS_PER_MS)

static struct paxos_message prepare(struct ballot ballot, uint64_t slot)
{
	struct paxos_message m = one_message(PAXOS_PREPARE, ballot.replica.n);

	m.ballot = ballot;
	m.slot = (struct slot){slot};
	m.sequence = 9;
	return m;
}

static struct paxos_message heartbeat(struct ballot ballot, uint64_t chosen)
{
	struct paxos_message m = one_message(PAXOS_HEARTBEAT, ballot.replica.n);

	m.ballot = ballot;
	m.lease_ns = L;
	m.sequence = 77;
	m.chosen = (struct slot){chosen};
	return m;
}

/* promise_before_fsync: neither a promise nor an acceptance leaves before it is durable. */
static void test_promise_before_fsync(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = prepare(one_ballot(5, 2), 1);

	one_step(o, 2, &m);
	assert_true(o->promise_written);
	assert_int_equal(o->out->message_count, 0);
	assert_int_equal(o->out->writes[0].durable.promised.round, 5);
	one_persist(o);
	const struct paxos_message *promise = one_sent(o, PAXOS_PROMISE, 2);
	assert_non_null(promise);
	assert_true(promise->last);
	assert_int_equal(promise->sequence, 9);

	m = one_accept(one_ballot(5, 2), 1, "x");
	one_step(o, 2, &m);
	assert_int_equal(o->out->message_count, 0);
	assert_int_equal(o->out->writes[0].accepted_count, 1);
	/* The longest lease is durable before it is granted. */
	assert_true(o->promise_written);
	assert_int_equal(o->out->writes[0].durable.longest_lease_ns, L);
	one_persist(o);
	const struct paxos_message *accepted = one_sent(o, PAXOS_ACCEPTED, 2);
	assert_non_null(accepted);
	assert_int_equal(accepted->slot.n, 1);
	assert_int_equal(accepted->sequence, 5);
	one_free(o);
}

/* An accept that raises the ballot raises the promise first, in both copies. */
static void test_accept_raises_promise(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_accept(one_ballot(3, 3), 1, "x");

	one_step(o, 3, &m);
	assert_true(o->promise_written);
	assert_int_equal(o->out->writes[0].durable.promised.round, 3);
	assert_int_equal(o->out->message_count, 0);
	one_persist(o);
	assert_non_null(one_sent(o, PAXOS_ACCEPTED, 3));
	/* A heartbeat of the same ballot costs no write. */
	m = heartbeat(one_ballot(3, 3), 0);
	one_step(o, 3, &m);
	assert_int_equal(o->out->write_count, 0);
	assert_non_null(one_sent(o, PAXOS_HEARTBEAT_ACK, 3));
	one_free(o);
}

/* accept_old_ballot: an accept that lands after a higher promise is refused, without a write. */
static void test_accept_old_ballot(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = prepare(one_ballot(5, 2), 1);

	one_step(o, 2, &m);
	one_persist(o);
	m = one_accept(one_ballot(4, 3), 1, "late");
	one_step(o, 3, &m);
	assert_int_equal(o->out->write_count, 0);
	const struct paxos_message *refusal = one_sent(o, PAXOS_REFUSAL, 3);
	assert_non_null(refusal);
	assert_int_equal(refusal->promised.round, 5);
	assert_int_equal(refusal->ballot.round, 4);
	/* Same round, lower replica: lower too. */
	m = prepare(one_ballot(4, 3), 1);
	one_step(o, 3, &m);
	assert_non_null(one_sent(o, PAXOS_REFUSAL, 3));
	one_free(o);
}

/* While a lease runs, other ballots are refused with the time that remains; then they are heard. */
static void test_lease_bars_others(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = heartbeat(one_ballot(3, 2), 0);

	one_step(o, 2, &m);
	one_persist(o);
	o->now_ns += L - 10 * NS_PER_MS;
	m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	const struct paxos_message *refusal = one_sent(o, PAXOS_REFUSAL, 3);
	assert_non_null(refusal);
	assert_int_equal(refusal->lease_ns, 10 * NS_PER_MS);
	m = one_accept(one_ballot(9, 3), 1, "x");
	one_step(o, 3, &m);
	assert_non_null(one_sent(o, PAXOS_REFUSAL, 3));
	m = one_message(PAXOS_PROBE, 3);
	m.sequence = 4;
	one_step(o, 3, &m);
	const struct paxos_message *reply = one_sent(o, PAXOS_PROBE_REPLY, 3);
	assert_non_null(reply);
	assert_false(reply->granted);
	assert_int_equal(reply->lease_ns, 10 * NS_PER_MS);
	/* The owner itself may raise its ballot at any time. */
	m = prepare(one_ballot(4, 2), 1);
	one_step(o, 2, &m);
	assert_null(one_sent(o, PAXOS_REFUSAL, 2));
	one_persist(o);
	assert_non_null(one_sent(o, PAXOS_PROMISE, 2));

	o->now_ns += 10 * NS_PER_MS;
	m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	one_persist(o);
	assert_non_null(one_sent(o, PAXOS_PROMISE, 3));
	one_free(o);
}

/* A release by the master of that ballot ends the lease at once; one of another does not. */
static void test_release_ends_the_lease(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = heartbeat(one_ballot(3, 2), 0);

	one_step(o, 2, &m);
	one_persist(o);
	m = one_message(PAXOS_RELEASE, 2);
	m.ballot = one_ballot(2, 2);
	one_step(o, 2, &m);
	m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	assert_non_null(one_sent(o, PAXOS_REFUSAL, 3));
	m = one_message(PAXOS_RELEASE, 2);
	m.ballot = one_ballot(3, 2);
	one_step(o, 2, &m);
	m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	assert_true(o->promise_written);
	one_free(o);
}

/* stale_lease_restart: after a restart it promises nobody for the longest lease that it may have
 * granted, except the owner of its promise; accepts of that ballot go on. */
static void test_stale_lease_restart(void **state)
{
	struct one_start start = {.count = 3};

	start.durable.promised = one_ballot(3, 2);
	start.durable.longest_lease_ns = 5 * NS_PER_S;
	struct one *o = one_vetted(&start);
	int64_t started_ns = 100 * NS_PER_S;
	struct paxos_message m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	assert_non_null(one_sent(o, PAXOS_REFUSAL, 3));
	m = one_accept(one_ballot(9, 3), 1, "x");
	one_step(o, 3, &m);
	assert_non_null(one_sent(o, PAXOS_REFUSAL, 3));
	m = one_message(PAXOS_PROBE, 3);
	one_step(o, 3, &m);
	assert_false(one_sent(o, PAXOS_PROBE_REPLY, 3)->granted);
	m = one_accept(one_ballot(3, 2), 1, "x");
	one_step(o, 2, &m);
	one_persist(o);
	assert_non_null(one_sent(o, PAXOS_ACCEPTED, 2));

	o->now_ns = started_ns + 5 * NS_PER_S - 1;
	m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	assert_int_equal(one_sent(o, PAXOS_REFUSAL, 3)->lease_ns, 1);
	o->now_ns++;
	m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	assert_true(o->promise_written);
	one_free(o);
}

/* stale_watermark: a watermark told under a ballot chooses what was accepted in that ballot. */
static void test_stale_watermark(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_accept(one_ballot(3, 2), 1, "old");

	one_step(o, 2, &m);
	m = one_accept(one_ballot(3, 2), 2, "old too");
	one_step(o, 2, &m);
	one_persist(o);
	o->now_ns += L;
	/* The new master proposed slot 1 again, but its accept of slot 2 was lost. */
	m = one_accept(one_ballot(4, 3), 1, "new");
	one_step(o, 3, &m);
	assert_int_equal(o->out->chosen_count, 0);
	m = heartbeat(one_ballot(4, 3), 2);
	one_step(o, 3, &m);
	assert_int_equal(o->out->chosen_count, 1);
	assert_int_equal(o->out->chosen[0].slot.n, 1);
	struct value *expected = one_value("new");
	assert_true(value_equal(o->out->chosen[0].value, expected));
	value_unref(expected);
	/* The other one is fetched from who knows it. */
	const struct paxos_message *learn = one_sent(o, PAXOS_LEARN, 3);
	assert_non_null(learn);
	assert_int_equal(learn->slot.n, 2);
	one_free(o);
}

/* trimmed_acceptor: a promise tells the watermark and the trim point, so that a slot below them is
 * not taken for one without a value. */
static void test_trimmed_acceptor(void **state)
{
	struct one_start start = {.count = 3};

	start.durable.promised = one_ballot(2, 2);
	start.durable.chosen = (struct slot){50};
	start.durable.trimmed = (struct slot){40};
	start.applied = (struct slot){50};
	struct one *o = one_vetted(&start);
	struct paxos_message m = prepare(one_ballot(9, 3), 10);
	one_step(o, 3, &m);
	one_persist(o);
	const struct paxos_message *promise = one_sent(o, PAXOS_PROMISE, 3);
	assert_non_null(promise);
	assert_int_equal(promise->chosen.n, 50);
	assert_int_equal(promise->trimmed.n, 40);
	assert_int_equal(promise->accepted_count, 0);
	/* And a probe by somebody who would need the trimmed part is declined. */
	o->now_ns += NS_PER_S;
	m = one_message(PAXOS_PROBE, 2);
	m.chosen = (struct slot){39};
	one_step(o, 2, &m);
	assert_false(one_sent(o, PAXOS_PROBE_REPLY, 2)->granted);
	m = one_message(PAXOS_PROBE, 2);
	m.chosen = (struct slot){40};
	one_step(o, 2, &m);
	assert_true(one_sent(o, PAXOS_PROBE_REPLY, 2)->granted);
	one_free(o);
}

/* A promise reports what was accepted, in parts, each saying from where it is complete. */
static void test_promise_in_parts(void **state)
{
	static char big[700 * 1024];
	struct one *o = one_simple(3);

	for (size_t i = 0; i + 1 < sizeof(big); i++)
		big[i] = 'x';
	for (uint64_t slot = 1; slot <= 4; slot++) {
		struct paxos_message m = one_accept(one_ballot(3, 2), slot + (slot > 2), big);
		one_step(o, 2, &m);
	}
	one_persist(o);
	o->now_ns += L;
	struct paxos_message m = prepare(one_ballot(9, 3), 1);
	one_step(o, 3, &m);
	one_persist(o);
	assert_int_equal(o->out->message_count, 4);
	uint64_t first[] = {1, 2, 3, 5}, row[] = {1, 2, 4, 5};
	for (uint32_t i = 0; i < 4; i++) {
		const struct paxos_message *part = &o->out->messages[i].message;
		assert_int_equal(part->kind, PAXOS_PROMISE);
		assert_int_equal(part->part, i);
		assert_int_equal(part->last, i == 3);
		assert_int_equal(part->slot.n, first[i]);
		assert_int_equal(part->accepted_count, 1);
		assert_int_equal(part->accepted[0].slot.n, row[i]);
	}
	one_free(o);
}

/* Nonsense from a peer changes nothing and is answered by nothing. */
static void test_nonsense_is_dropped(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = prepare(one_ballot(5, 2), 1);

	one_step(o, 3, &m); /* another one's ballot */
	m = prepare(one_ballot(5, 2), 0);
	one_step(o, 2, &m);
	m = prepare(one_ballot(5, 2), 1);
	m.incarnation = one_incarnation(3);
	one_step(o, 2, &m);
	m = prepare(one_ballot(5, 9), 1);
	one_step(o, 9, &m); /* no member */
	m = prepare(one_ballot(5, 1), 1);
	one_step(o, 1, &m); /* itself */
	m = prepare(one_ballot(UINT64_MAX, 2), 1);
	one_step(o, 2, &m);
	m = heartbeat(one_ballot(5, 2), 0);
	m.lease_ns = INT64_MAX;
	one_step(o, 2, &m);
	m = heartbeat(one_ballot(5, 2), 0);
	m.lease_ns = -1;
	one_step(o, 2, &m);
	m = one_accept(one_ballot(5, 2), 0, "x");
	one_step(o, 2, &m);
	m = one_accept(one_ballot(5, 2), 1, "x");
	value_unref(m.value);
	m.value = NULL;
	one_step(o, 2, &m);
	for (int kind = -1; kind <= PAXOS_KIND_END; kind++) {
		m = one_message((enum paxos_kind)kind, 2);
		one_step(o, 2, &m);
		assert_true(o->out->write_count == 0);
	}
	assert_int_equal(paxos_durable(o->p)->promised.round, 0);
	assert_int_equal(o->written, 0);
	one_free(o);
}

/* Two values for a slot in one ballot cannot be: the second is not taken. */
static void test_one_value_in_a_ballot(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = one_accept(one_ballot(3, 2), 1, "a");

	one_step(o, 2, &m);
	one_persist(o);
	m = one_accept(one_ballot(3, 2), 1, "b");
	one_step(o, 2, &m);
	assert_int_equal(o->out->message_count, 0);
	assert_int_equal(o->out->write_count, 0);
	assert_non_null(o->out->note);
	/* A duplicate of the first is answered again. */
	m = one_accept(one_ballot(3, 2), 1, "a");
	one_step(o, 2, &m);
	assert_non_null(one_sent(o, PAXOS_ACCEPTED, 2));
	one_free(o);
}

/* After a store failure nothing is said, whatever was under way. */
static void test_storage_failed_is_silent(void **state)
{
	struct one *o = one_simple(3);
	struct paxos_message m = prepare(one_ballot(5, 2), 1);

	one_step(o, 2, &m);
	paxos_storage_failed(o->p, o->now_ns);
	assert_non_null(paxos_trouble(o->p));
	assert_int_equal(paxos_output(o->p)->message_count, 0);
	paxos_persisted(o->p, o->now_ns, o->written);
	assert_int_equal(paxos_output(o->p)->message_count, 0);
	paxos_step(o->p, o->now_ns, (struct replica_id){3}, &m);
	assert_int_equal(paxos_output(o->p)->message_count, 0);
	assert_int_equal(paxos_next_tick(o->p), TIME_NEVER);
	one_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_promise_before_fsync),
		cmocka_unit_test(test_accept_raises_promise),
		cmocka_unit_test(test_accept_old_ballot),
		cmocka_unit_test(test_lease_bars_others),
		cmocka_unit_test(test_release_ends_the_lease),
		cmocka_unit_test(test_stale_lease_restart),
		cmocka_unit_test(test_stale_watermark),
		cmocka_unit_test(test_trimmed_acceptor),
		cmocka_unit_test(test_promise_in_parts),
		cmocka_unit_test(test_nonsense_is_dropped),
		cmocka_unit_test(test_one_value_in_a_ballot),
		cmocka_unit_test(test_storage_failed_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
