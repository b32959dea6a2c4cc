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
	stream_add_call(m, c);
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
	stream_remove_call(m, c);
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
		stream_remove_call(m, c);
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

/* Entries that are proposed again, with a call or without one. All hold numbers only, so that a
 * copy outlives the refusal. */
static bool is_persistent(enum entry_kind kind)
{
	return kind == ENTRY_SESSION_END || kind == ENTRY_CANCEL || kind == ENTRY_RELEASE ||
	       kind == ENTRY_REVOKE || kind == ENTRY_CLOSE || kind == ENTRY_NODE_REAP ||
	       kind == ENTRY_LOCK_DELAY_END || kind == ENTRY_SESSION_UNMARK;
}

static void retry_later(struct master *m, const struct entry *e)
{
	CHECK(is_persistent(e->kind));
	m->retries = mem_realloc_array(m->retries, m->retry_count + 1, sizeof(*m->retries));
	m->retries[m->retry_count++] = *e;
	if (m->retry.position == 0)
		timers_set(&m->timers, &m->retry, m->session_now_ns + RETRY_AFTER_NS);
}

/* Whether the caller need not hear of it: his call waits on. */
static bool is_patient(const struct master *m, const struct open_call *c, const struct entry *e,
		       enum error error)
{
	if (!is_persistent(e->kind) || error == ERROR_NOT_MASTER)
		return false;
	if (c == NULL || c->kind == MESSAGE_CLOSE) /* Close never fails, and leaves nothing held */
		return true;
	return error == ERROR_RESOURCE_EXHAUSTED && m->retry_count < MASTER_PENDING_MAX;
}

void master_proposal_refused(struct master *m, const struct moment *at, const struct entry *e,
			     enum error error)
{
	struct open_call *c;

	(void)at;
	/* Of a mastership that is over: whoever waited has been answered. */
	if (!m->serving || e->origin_epoch.n != m->epoch.n)
		return;
	c = call_pending(m, e->origin_number);
	if (is_patient(m, c, e, error)) {
		retry_later(m, e);
	} else if (c != NULL) {
		if (error == ERROR_NOT_MASTER)
			not_master(m, c->call, c->kind);
		else
			reply_error(m, c->call, c->kind, error, NULL);
		call_done(m, c);
	} else if (e->kind == ENTRY_LEASE_RAISE) {
		m->raise_proposed = false; /* whoever wants a longer lease next, asks again */
	}
	/* A digest or marks that are refused come again by themselves. */
}

void retry_now(struct master *m, const struct moment *at)
{
	struct entry *retries = m->retries;
	uint32_t count = m->retry_count;

	m->retries = NULL;
	m->retry_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct open_call *c = call_pending(m, retries[i].origin_number);
		uint64_t number = propose(m, at, &retries[i]);

		if (c == NULL)
			continue;
		HASH_DELETE(by_origin, m->pending, c);
		c->origin_number = number;
		HASH_ADD(by_origin, m->pending, origin_number, sizeof(c->origin_number), c);
	}
	free(retries);
}

void retries_clear(struct master *m)
{
	free(m->retries);
	m->retries = NULL;
	m->retry_count = 0;
	timers_cancel(&m->timers, &m->retry);
}
