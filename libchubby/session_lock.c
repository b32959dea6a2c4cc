/*
 * The wait for a lock (Chubby section 2.4; design section 4, acquire). The cell answers an acquire
 * at once, with a grant or a place in its queue; the grant is pushed later, or asked for on a new
 * link. A wait that the application ends is ended at the cell too.
 *
 * A grant that arrives in jeopardy may be long gone: it is not believed, but asked for again when
 * the session is safe.
 */
#include "session_internal.h"

static void waiting_begin(struct session *s, struct call *c, uint64_t ticket)
{
	if (c->state == CALL_SENT) {
		list_remove(&s->sent, c);
		list_append(&s->waiting, c);
		c->state = CALL_WAITING;
	}
	if (ticket != 0)
		c->ticket = ticket;
}

static void granted(struct session *s, struct call *c, const struct wire_grant *grant)
{
	struct reply r = {.kind = MESSAGE_ACQUIRE};

	if (s->state != SESSION_SAFE) {
		waiting_begin(s, c, 0);
		c->wait_id = 0;
		return;
	}
	if (c->abandoned) {
		(void)call_follow_up(s, c->request.handle, c->handle_number, MESSAGE_RELEASE);
		call_free(s, c);
		return;
	}
	r.acquire.grant = *grant;
	call_complete(s, c, &r);
}

static void wait_ask(struct session *s, struct call *c)
{
	struct request r = {.kind = MESSAGE_WAIT, .handle = c->request.handle};

	session_header(s, &r);
	r.wait.ticket = c->ticket;
	c->wait_id = ++s->last_id;
	link_send(s, c->wait_id, &r);
}

void waits_ask(struct session *s)
{
	for (struct call *c = s->waiting.head; c != NULL; c = c->next)
		wait_ask(s, c);
}

static void cancel_begin(struct session *s, struct call *c)
{
	struct call *cancel = call_follow_up(s, c->request.handle, c->handle_number,
					     MESSAGE_CANCEL);

	cancel->request.cancel.ticket = c->ticket;
	cancel->acquire_id = c->id;
	call_undoes(s, c);
	c->state = CALL_CANCELLING;
}

void acquire_answered(struct session *s, struct call *c, const struct reply *r)
{
	if (r->error != ERROR_OK) {
		call_complete(s, c, r);
		return;
	}
	if (r->acquire.grant.present) {
		granted(s, c, &r->acquire.grant);
		return;
	}
	waiting_begin(s, c, r->acquire.ticket);
	if (c->abandoned) {
		cancel_begin(s, c);
		return;
	}
	/* The answer to a repetition may be older than the grant: its push was lost. */
	if (c->sent_count > 1)
		wait_ask(s, c);
}

void acquire_abandon(struct session *s, struct call *c, enum error e, const char *text)
{
	struct reply r = {.kind = MESSAGE_ACQUIRE, .error = e, .message = bytes_of_text(text)};

	if (c->state == CALL_QUEUED && c->sent_count == 0) {
		call_fail(s, c, e, text);
		return;
	}
	caller_told(s, c, &r);
	call_undoes(s, c);
	c->request.guard_sequencer = BYTES_NONE; /* its memory was the caller's */
	c->abandoned = true;
	c->deadline_ns = TIME_NEVER;
	if (c->state == CALL_WAITING)
		cancel_begin(s, c);
}

void acquire_deadline(struct session *s, struct call *c)
{
	static const char late[] = "the lock was not granted in time";

	if (c->state == CALL_QUEUED && c->sent_count == 0) {
		call_fail(s, c, ERROR_UNAVAILABLE, "no master could be asked in time");
	} else if (c->state == CALL_WAITING) {
		cancel_begin(s, c);
		c->deadline_ns = s->now_ns + SESSION_CANCEL_PATIENCE_NS;
	} else {
		acquire_abandon(s, c, ERROR_DEADLINE_EXCEEDED, late);
	}
}

/* The Cancel of an acquire was answered: with the grant, if that was faster. */
void cancel_answered(struct session *s, struct call *c, const struct reply *r)
{
	struct call *acquire = call_find(s, c->acquire_id);

	call_complete(s, c, r);
	if (acquire == NULL)
		return; /* the push was faster, and the acquire is over */
	if (r->error == ERROR_OK && r->wait.grant.present)
		granted(s, acquire, &r->wait.grant);
	else if (r->error == ERROR_OK || r->error == ERROR_NOT_HELD)
		call_fail(s, acquire, ERROR_DEADLINE_EXCEEDED, "the lock was not granted in time");
	else
		call_complete(s, acquire, r);
}

static void wait_over(struct session *s, struct call *c, const struct wire_grant *grant,
		      const struct reply *r)
{
	struct reply out = {.kind = MESSAGE_ACQUIRE, .message = r->message};

	if (grant->present && r->error == ERROR_OK) {
		granted(s, c, grant);
		return;
	}
	out.error = r->error == ERROR_OK ? ERROR_CANCELLED : r->error;
	call_complete(s, c, &out);
}

void wait_ended(struct session *s, const struct reply *push)
{
	for (struct call *c = s->waiting.head; c != NULL; c = c->next) {
		if (c->ticket == push->wait_ended.ticket &&
		    c->handle_number == push->wait_ended.handle_number.n) {
			wait_over(s, c, &push->wait_ended.grant, push);
			return;
		}
	}
}

void wait_answered(struct session *s, struct call *c, const struct reply *r)
{
	c->wait_id = 0;
	switch (r->error) {
	case ERROR_NOT_MASTER:
		link_failed(s);
		find_hint(s, r->master_address);
		return;
	case ERROR_EPOCH_CHANGED:
		if (r->epoch.n > s->epoch.n)
			s->epoch = r->epoch;
		wait_ask(s, c);
		return;
	case ERROR_SESSION_EXPIRED:
		session_expire(s, ERROR_SESSION_EXPIRED, r->message);
		return;
	case ERROR_DEADLINE_EXCEEDED: /* held for long enough: ask again */
		wait_ask(s, c);
		return;
	case ERROR_CANCELLED:
	case ERROR_RESOURCE_EXHAUSTED: /* the push will come on this link all the same */
	case ERROR_UNAVAILABLE:
		return;
	case ERROR_NOT_HELD:
		/* Neither holder nor waiter: the cell ended the wait while there was no link. */
		if (s->now_ns < c->deadline_ns && c->state == CALL_WAITING) {
			call_fail(s, c, ERROR_CANCELLED,
				  "the place in the queue was lost (an operator, or its deadline)");
			return;
		}
		call_fail(s, c, ERROR_DEADLINE_EXCEEDED, "the lock was not granted in time");
		return;
	default:
		wait_over(s, c, &r->wait.grant, r);
	}
}
