/*
 * The wait for a lock in the client's session core: one answer to the caller, whatever comes first.
 */
#include "session_fixture.h"

#include "chubby.h"

static struct connected queued(struct client *c, int64_t deadline_ns, void *context)
{
	struct reply r = {.kind = MESSAGE_ACQUIRE};
	struct connected l = connect(c);

	r.acquire.ticket = 500;
	call(c, MESSAGE_ACQUIRE, deadline_ns, context);
	message(c, l.link, sent(c, MESSAGE_ACQUIRE)->call_id, &r);
	assert_null(done(c, context));
	return l;
}

static void push_grant(struct client *c, uint64_t link)
{
	struct reply r = {.kind = MESSAGE_WAIT_ENDED};

	r.wait_ended.ticket = 500;
	r.wait_ended.handle_number.n = 9;
	r.wait_ended.grant.present = true;
	r.wait_ended.grant.fencing_token = 41;
	message(c, link, 0, &r);
}

/* A place in the queue, then the pushed grant: one answer to the caller. */
static void grant_is_pushed(void **state)
{
	struct client c;
	struct connected l;
	int a;

	begin(&c);
	l = queued(&c, TIME_NEVER, &a);
	push_grant(&c, l.link);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_OK);
	assert_int_equal(done(&c, &a)->reply.acquire.grant.fencing_token, 41);
	push_grant(&c, l.link);
	assert_null(done(&c, &a));
	end(&c);
}

/* The push may have gone to the old link: on the new one the ticket is asked for. */
static void ticket_is_asked_for(void **state)
{
	struct reply r = {.kind = MESSAGE_WAIT};
	struct client c;
	struct connected l;
	int a;

	begin(&c);
	l = queued(&c, TIME_NEVER, &a);
	l = fail_over(&c, l, "e:5", 4);
	kept_alive(&c, &l, 0, LEASE, 4);
	assert_null(sent(&c, MESSAGE_ACQUIRE));
	assert_int_equal(sent(&c, MESSAGE_WAIT)->request.wait.ticket, 500);
	r.wait.grant.present = true;
	message(&c, l.link, sent(&c, MESSAGE_WAIT)->call_id, &r);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_OK);
	end(&c);
}

/* At the deadline the place is given up; the answer to the Cancel decides. */
static void deadline_cancels(void **state)
{
	struct client c;
	struct connected l;
	int a;

	for (int granted = 0; granted <= 1; granted++) {
		struct reply r = {.kind = MESSAGE_CANCEL};

		begin(&c);
		l = queued(&c, START + 500 * MS, &a);
		at(&c, 500 * MS);
		assert_null(done(&c, &a));
		assert_int_equal(sent(&c, MESSAGE_CANCEL)->request.cancel.ticket, 500);
		r.wait.grant.present = granted != 0;
		message(&c, l.link, sent(&c, MESSAGE_CANCEL)->call_id, &r);
		assert_int_equal(done(&c, &a)->reply.error,
				 granted ? ERROR_OK : ERROR_DEADLINE_EXCEEDED);
		end(&c);
	}
}

/* Poison ends the wait at once; a grant that was faster than the Cancel is given back. */
static void poison_undoes(void **state)
{
	struct client c;
	struct connected l;
	int a;

	begin(&c);
	l = queued(&c, TIME_NEVER, &a);
	session_poison(c.s, c.now, 9);
	look(&c);
	assert_int_equal(done(&c, &a)->reply.error, ERROR_CANCELLED);
	assert_non_null(sent(&c, MESSAGE_CANCEL));
	push_grant(&c, l.link);
	assert_null(done(&c, &a));
	assert_non_null(sent(&c, MESSAGE_RELEASE));
	end(&c);
}

/* `op` is borrowed until the call is done. */
static void call_multi(struct client *c, const struct wire_multi_op *op, void *context)
{
	struct request r = {.kind = MESSAGE_MULTI, .multi = {.count = 1, .ops = op}};
	struct session_request q = {.request = &r, .deadline_ns = TIME_NEVER, .context = context};

	session_call(c->s, c->now, &q);
	look(c);
}

/* While a place in the queue is given back, what claims the lock by the same handle waits, alone
 * or in a multi; what claims another one does not. */
static void claims_wait_for_undo(void **state)
{
	static const uint8_t token[4] = {1, 2, 3, 4}, other[4] = {1, 2, 3, 5};
	const struct wire_multi_op same = {.kind = CHUBBY_OP_ACQUIRE,
					   .handle = {token, sizeof(token)}};
	const struct wire_multi_op another = {.kind = CHUBBY_OP_ACQUIRE,
					      .handle = {other, sizeof(other)}};
	struct reply r = {.kind = MESSAGE_CANCEL};
	struct client c;
	struct connected l;
	uint64_t cancel;
	int a, b;

	for (int multi = 0; multi <= 1; multi++) {
		begin(&c);
		l = queued(&c, TIME_NEVER, &a);
		session_poison(c.s, c.now, 9);
		look(&c);
		cancel = sent(&c, MESSAGE_CANCEL)->call_id;
		call_multi(&c, &another, &b);
		assert_non_null(sent(&c, MESSAGE_MULTI));
		if (multi)
			call_multi(&c, &same, &b);
		else
			call(&c, MESSAGE_ACQUIRE, TIME_NEVER, &b);
		assert_null(find(&c, SESSION_SEND));
		message(&c, l.link, cancel, &r);
		assert_non_null(sent(&c, multi ? MESSAGE_MULTI : MESSAGE_ACQUIRE));
		end(&c);
	}
}

/* A grant that arrives after the lease ran out is not believed, but asked for again. */
static void grant_in_jeopardy_is_not_believed(void **state)
{
	struct reply r = {.kind = MESSAGE_WAIT, .error = ERROR_SESSION_EXPIRED};
	struct client c;
	struct connected l, old;
	int a;

	begin(&c);
	old = queued(&c, TIME_NEVER, &a);
	c.now += LEASE; /* the process was stopped: the push has lain in the socket */
	push_grant(&c, old.link);
	assert_int_equal(session_state(c.s), SESSION_JEOPARDY);
	assert_null(done(&c, &a));
	answer_question(&c, find(&c, SESSION_ASK)->question, "e:5", 4);
	l.link = find(&c, SESSION_CONNECT)->link;
	l.keepalive = sent(&c, MESSAGE_KEEP_ALIVE)->call_id;
	refuse(&c, l.link, l.keepalive, MESSAGE_KEEP_ALIVE, ERROR_SESSION_EXPIRED);
	assert_int_equal(done(&c, &a)->reply.error, r.error);
	end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(grant_is_pushed),
		cmocka_unit_test(ticket_is_asked_for),
		cmocka_unit_test(deadline_cancels),
		cmocka_unit_test(poison_undoes),
		cmocka_unit_test(claims_wait_for_undo),
		cmocka_unit_test(grant_in_jeopardy_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
