/*
 * Calls: numbered when first sent, sent again on a new link under the same number, completed once.
 */
#include "session_internal.h"

#include <string.h>

#define COME_BACK_NS (50 * NS_PER_MS)

/* ---- lists and the table -------------------------------------------------------------------- */

void list_append(struct call_list *l, struct call *c)
{
	c->next = NULL;
	c->previous = l->tail;
	if (l->tail != NULL)
		l->tail->next = c;
	else
		l->head = c;
	l->tail = c;
	l->count++;
}

void list_remove(struct call_list *l, struct call *c)
{
	if (c->previous != NULL)
		c->previous->next = c->next;
	else
		l->head = c->next;
	if (c->next != NULL)
		c->next->previous = c->previous;
	else
		l->tail = c->previous;
	c->previous = c->next = NULL;
	l->count--;
}

static struct call_list *list_of(struct session *s, const struct call *c)
{
	if (c->state == CALL_QUEUED)
		return &s->queue;
	return c->state == CALL_SENT ? &s->sent : &s->waiting;
}

struct call *call_find(const struct session *s, uint64_t id)
{
	struct call *c;

	HASH_FIND(hh, s->calls, &id, sizeof(id), c);
	return c;
}

struct call *call_new(struct session *s, const struct request *r, uint64_t handle_number)
{
	struct call *c = mem_zalloc(sizeof(*c));

	CHECK(r->handle.size <= sizeof(c->handle_copy));
	c->id = ++s->last_id;
	c->request = *r;
	c->request.number = 0;
	if (r->handle.size > 0)
		memcpy(c->handle_copy, r->handle.data, r->handle.size);
	c->request.handle.data = c->handle_copy;
	c->handle_number = handle_number;
	c->deadline_ns = TIME_NEVER;
	c->state = CALL_QUEUED;
	list_append(&s->queue, c);
	HASH_ADD(hh, s->calls, id, sizeof(c->id), c);
	return c;
}

/* The memory stays until the actions that may point into it are done. */
void call_free(struct session *s, struct call *c)
{
	list_remove(list_of(s, c), c);
	HASH_DEL(s->calls, c);
	s->undoing -= c->undoes ? 1 : 0;
	multi_forget(c);
	s->gone = mem_realloc_array(s->gone, s->gone_count + 1, sizeof(struct call *));
	s->gone[s->gone_count++] = c;
}

/* ---- completion ----------------------------------------------------------------------------- */

void caller_told(struct session *s, struct call *c, const struct reply *r)
{
	struct session_action *a;

	if (!c->caller_waits)
		return;
	c->caller_waits = false;
	a = action_add(s, SESSION_DONE);
	a->context = c->context;
	a->reply = *r;
}

void call_complete(struct session *s, struct call *c, const struct reply *r)
{
	caller_told(s, c, r);
	call_free(s, c);
}

void call_fail(struct session *s, struct call *c, enum error e, const char *text)
{
	struct reply r = {.kind = c->request.kind, .error = e};

	if (text != NULL)
		r.message = bytes_of_text(text);
	call_complete(s, c, &r);
}

bool request_is_numbered(const struct request *r)
{
	switch (r->kind) {
	case MESSAGE_OPEN:
		return r->open.create != WIRE_CREATE_NEVER;
	case MESSAGE_SET_CONTENTS:
	case MESSAGE_SET_ACL:
	case MESSAGE_DELETE:
	case MESSAGE_ACQUIRE:
	case MESSAGE_CANCEL:
	case MESSAGE_RELEASE:
	case MESSAGE_MULTI:
		return true;
	default:
		return false;
	}
}

enum error call_fate(const struct session *s, const struct call *c)
{
	if (c->request.kind == MESSAGE_CLOSE)
		return ERROR_OK; /* Close never fails; the session's end closes all */
	if (c->request.kind == MESSAGE_ACQUIRE && s->state == SESSION_EXPIRED)
		return s->reason; /* whatever it got is gone with the session */
	if (request_is_numbered(&c->request) && c->sent_count > 0)
		return ERROR_OUTCOME_UNKNOWN;
	return s->reason != ERROR_OK ? s->reason : ERROR_UNAVAILABLE;
}

/* `closing`: the application itself ends the session. */
void calls_fail_all(struct session *s, bool closing)
{
	while (s->calls != NULL) {
		struct call *c = s->calls;
		enum error e = call_fate(s, c);

		if (closing && e != ERROR_OK)
			e = ERROR_CANCELLED;
		call_fail(s, c, e, e == s->reason ? s->reason_text : NULL);
	}
}

/* ---- from the application ------------------------------------------------------------------- */

uint64_t session_call(struct session *s, int64_t now_ns, const struct session_request *r)
{
	struct call *c;
	uint64_t id;

	session_tick(s, now_ns);
	c = call_new(s, r->request, r->handle_number);
	id = c->id;
	c->context = r->context;
	c->caller_waits = true;
	c->deadline_ns = r->deadline_ns;
	if (r->request->kind == MESSAGE_CLOSE && s->handles > 0)
		s->handles--;
	if (s->state == SESSION_EXPIRED || s->state == SESSION_CLOSED || s->closing) {
		enum error e = s->closing ? ERROR_CANCELLED : s->reason;

		call_fail(s, c, c->request.kind == MESSAGE_CLOSE ? ERROR_OK : e, s->reason_text);
		return id;
	}
	if (s->state == SESSION_RESTING)
		rest_end(s);
	calls_pump(s);
	return id;
}

void session_cancel(struct session *s, int64_t now_ns, uint64_t call)
{
	struct call *c;

	session_tick(s, now_ns);
	c = call_find(s, call);
	if (c == NULL || !c->caller_waits)
		return;
	call_abandon(s, c, ERROR_CANCELLED, "the application cancelled it");
	calls_pump(s);
}

void session_poison(struct session *s, int64_t now_ns, uint64_t handle_number)
{
	struct call *c, *next;

	session_tick(s, now_ns);
	HASH_ITER(hh, s->calls, c, next) {
		if (c->handle_number == handle_number && c->caller_waits)
			call_abandon(s, c, ERROR_CANCELLED, "the handle was poisoned");
	}
	calls_pump(s);
}

/* ---- sending -------------------------------------------------------------------------------- */

/* The lowest number whose answer is still wanted; the next one when all are answered. */
static uint64_t lowest_unanswered(const struct session *s)
{
	uint64_t lowest = s->next_number;

	for (const struct call *c = s->sent.head; c != NULL; c = c->next) {
		if (c->request.number != 0 && c->request.number < lowest)
			lowest = c->request.number;
	}
	for (const struct call *c = s->queue.head; c != NULL; c = c->next) {
		if (c->request.number != 0 && c->request.number < lowest)
			lowest = c->request.number;
	}
	return lowest;
}

static void call_send(struct session *s, struct call *c, uint64_t lowest)
{
	list_remove(&s->queue, c);
	c->state = CALL_SENT;
	c->sent_ns = s->now_ns;
	c->sent_count++;
	list_append(&s->sent, c);
	session_header(s, &c->request);
	c->request.lowest_unanswered = lowest;
	link_send(s, c->id, &c->request);
}

void calls_pump(struct session *s)
{
	struct call *c, *next;
	uint64_t lowest;

	if (s->queue.head == NULL || s->link_state != LINK_LIVE || s->state != SESSION_SAFE ||
	    s->closing)
		return;
	lowest = lowest_unanswered(s);
	for (c = s->queue.head; c != NULL && s->sent.count < SESSION_IN_FLIGHT_MAX; c = next) {
		next = c->next;
		if (s->now_ns < c->not_before_ns || waits_for_undo(s, c))
			continue;
		if (request_is_numbered(&c->request) && c->request.number == 0) {
			if (s->next_number >= lowest + SESSION_WINDOW)
				continue;
			c->request.number = s->next_number++;
		}
		call_send(s, c, lowest);
	}
}

/* The link is gone: what it carried goes first on the next one, in the old order. */
void calls_requeue(struct session *s)
{
	struct call_list later = s->queue;
	struct call *c, *next;

	for (c = s->sent.head; c != NULL; c = next) {
		next = c->next;
		if (undo_ends_with_link(c))
			call_free(s, c);
	}
	s->queue = s->sent;
	memset(&s->sent, 0, sizeof(s->sent));
	for (c = s->queue.head; c != NULL; c = c->next)
		c->state = CALL_QUEUED;
	while (later.head != NULL) {
		c = later.head;
		list_remove(&later, c);
		list_append(&s->queue, c);
	}
	for (c = s->waiting.head; c != NULL; c = c->next)
		c->wait_id = 0;
}

/* ---- answers -------------------------------------------------------------------------------- */

static void call_again(struct session *s, struct call *c, int64_t not_before_ns)
{
	if (undo_ends_with_link(c)) {
		call_free(s, c); /* it took no effect */
		return;
	}
	list_remove(&s->sent, c);
	c->state = CALL_QUEUED;
	c->not_before_ns = not_before_ns;
	list_append(&s->queue, c);
}

void call_answered(struct session *s, struct call *c, const struct reply *r)
{
	switch (r->error) {
	case ERROR_NOT_MASTER:
		link_failed(s);
		find_hint(s, r->master_address);
		return;
	case ERROR_EPOCH_CHANGED:
		if (r->epoch.n > s->epoch.n)
			s->epoch = r->epoch;
		call_again(s, c, s->now_ns);
		return;
	case ERROR_UNAVAILABLE:
		/* It did not come to pass there; the same number may be sent again. */
		call_again(s, c,
			   s->now_ns + (r->retry_after_ns > COME_BACK_NS ? r->retry_after_ns
									 : COME_BACK_NS));
		return;
	case ERROR_SESSION_EXPIRED:
		if (c->request.kind == MESSAGE_CHECK_SEQUENCER)
			break;
		/* Refused at the first attempt: this one took no effect. */
		if (c->sent_count == 1 && session_has_nothing(s))
			c->sent_count = 0;
		else if (c->sent_count == 1)
			call_complete(s, c, r);
		session_expire(s, ERROR_SESSION_EXPIRED, r->message);
		return;
	default:
		break;
	}
	if (c->request.kind == MESSAGE_ACQUIRE)
		acquire_answered(s, c, r);
	else if (c->request.kind == MESSAGE_CANCEL)
		cancel_answered(s, c, r);
	else if (c->request.kind == MESSAGE_OPEN)
		open_answered(s, c, r);
	else if (c->request.kind == MESSAGE_MULTI)
		multi_answered(s, c, r);
	else
		call_complete(s, c, r);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void call_deadline(struct session *s, struct call *c)
{
	if (c->request.kind == MESSAGE_ACQUIRE) {
		acquire_deadline(s, c);
	} else if (c->request.kind == MESSAGE_CLOSE) {
		/* The caller goes; the closing goes on. */
		struct reply ok = {.kind = MESSAGE_CLOSE};

		caller_told(s, c, &ok);
		c->deadline_ns = TIME_NEVER;
	} else {
		call_abandon(s, c, call_fate(s, c), "no answer in time");
	}
}

void calls_tick(struct session *s)
{
	struct call *c, *next;

	HASH_ITER(hh, s->calls, c, next) {
		if (s->now_ns >= c->deadline_ns)
			call_deadline(s, c);
	}
}

int64_t calls_next_tick(const struct session *s)
{
	int64_t at_ns = TIME_NEVER;

	for (const struct call *c = s->calls; c != NULL; c = c->hh.next) {
		at_ns = time_earlier(at_ns, c->deadline_ns);
		if (c->state == CALL_QUEUED && c->not_before_ns > s->now_ns)
			at_ns = time_earlier(at_ns, c->not_before_ns);
	}
	return at_ns;
}
