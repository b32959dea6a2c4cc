/*
 * Open calls. A pending call waits for its proposal and is found by its origin number; a held call
 * waits for an event. Both are found by call id as long as their client is there.
 */
#include "master/master_internal.h"

static struct open_call *call_register(struct master *m, const struct inbound *in)
{
	struct open_call *c = mem_zalloc(sizeof(*c));

	c->call = in->call;
	c->stream = in->stream;
	c->kind = in->r->kind;
	c->session = in->r->session;
	c->received_ns = in->at->now_ns;
	c->timer.owner = c;
	if (in->handle != NULL) {
		c->handle = (struct handle_id){in->handle->number};
		c->instance = in->handle->instance;
	}
	m->call_count++;
	HASH_ADD(by_call, m->calls, call, sizeof(c->call), c);
	return c;
}

struct open_call *call_pend(struct master *m, const struct inbound *in, uint64_t origin_number)
{
	struct open_call *c = call_register(m, in);

	c->origin_number = origin_number;
	HASH_ADD(by_origin, m->pending, origin_number, sizeof(c->origin_number), c);
	return c;
}

struct open_call *call_hold(struct master *m, const struct inbound *in)
{
	return call_register(m, in);
}

struct open_call *call_pending(struct master *m, uint64_t origin_number)
{
	struct open_call *c;

	HASH_FIND(by_origin, m->pending, &origin_number, sizeof(origin_number), c);
	return c;
}

void call_done(struct master *m, struct open_call *c)
{
	if (c->call.n != 0)
		HASH_DELETE(by_call, m->calls, c);
	if (c->origin_number != 0)
		HASH_DELETE(by_origin, m->pending, c);
	timers_cancel(c->kind == MESSAGE_FIND_MASTER ? &m->find_timers : &m->timers, &c->timer);
	CHECK(m->call_count > 0);
	m->call_count--;
	free(c->claims);
	free(c);
}

void master_call_gone(struct master *m, struct call_id call)
{
	struct open_call *c;

	HASH_FIND(by_call, m->calls, &call, sizeof(call), c);
	if (c == NULL)
		return;
	if (c->origin_number != 0) {
		/* Its effect will come to pass all the same; only nobody waits for the answer. */
		HASH_DELETE(by_call, m->calls, c);
		c->call.n = 0;
		return;
	}
	if (c->kind == MESSAGE_FIND_MASTER) {
		struct open_call **at = &m->finding;

		while (*at != c)
			at = &(*at)->next_held;
		*at = c->next_held;
		m->find_count--;
	} else {
		struct lease *l = lease_find(m, c->session);

		CHECK(l != NULL);
		lease_drop_held(m, l, c);
	}
	call_done(m, c);
}

void calls_refuse_all(struct master *m)
{
	struct open_call *c, *next;

	HASH_ITER(by_origin, m->pending, c, next) {
		not_master(m, c->call, c->kind);
		call_done(m, c);
	}
	HASH_ITER(by_call, m->calls, c, next) {
		if (c->kind == MESSAGE_FIND_MASTER)
			continue; /* still a question, and more so */
		not_master(m, c->call, c->kind);
		call_done(m, c);
	}
}

void master_proposal_refused(struct master *m, const struct moment *at, const struct entry *e,
			     enum error error)
{
	struct open_call *c = call_pending(m, e->origin_number);

	(void)at;
	if (c != NULL) {
		if (error == ERROR_NOT_MASTER)
			not_master(m, c->call, c->kind);
		else
			reply_error(m, c->call, c->kind, error, NULL);
		call_done(m, c);
	} else if (m->serving && error != ERROR_NOT_MASTER && e->kind != ENTRY_DIGEST) {
		retry_later(m, e);
	}
}

/* Entries of the master's own hold numbers only, so that a copy outlives the refusal. */
void retry_later(struct master *m, const struct entry *e)
{
	CHECK(e->kind == ENTRY_SESSION_END || e->kind == ENTRY_CANCEL ||
	      e->kind == ENTRY_LOCK_DELAY_END || e->kind == ENTRY_NODE_REAP ||
	      e->kind == ENTRY_UNKEEP || e->kind == ENTRY_RELEASE);
	m->retries = mem_realloc_array(m->retries, m->retry_count + 1, sizeof(*m->retries));
	m->retries[m->retry_count++] = *e;
	if (m->retry.position == 0)
		timers_set(&m->timers, &m->retry, m->session_now_ns + RETRY_AFTER_NS);
}

void retry_now(struct master *m, const struct moment *at)
{
	struct entry *retries = m->retries;
	uint32_t count = m->retry_count;

	m->retries = NULL;
	m->retry_count = 0;
	for (uint32_t i = 0; i < count; i++)
		propose(m, at, &retries[i]);
	free(retries);
}

void retries_clear(struct master *m)
{
	free(m->retries);
	m->retries = NULL;
	m->retry_count = 0;
	timers_cancel(&m->timers, &m->retry);
}
