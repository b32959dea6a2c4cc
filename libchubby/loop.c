/*
 * The library thread: feeds the session core and carries out what it decides.
 */
#include "client.h"

#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"

/* How long a closing session waits for the cell's word. */
#define CLOSE_PATIENCE_NS (1 * NS_PER_S)

/* ---- the inbox ------------------------------------------------------------------------------ */

bool client_post(struct chubby *cell, struct post *p)
{
	bool taken;

	pthread_mutex_lock(&cell->inbox_mutex);
	taken = !cell->stopped;
	if (p->kind == POST_CLOSE) {
		/* The last that is taken. */
		atomic_store(&cell->leaving, true);
		cell->stopped = true;
	}
	if (taken) {
		p->next = NULL;
		if (cell->inbox_tail != NULL)
			cell->inbox_tail->next = p;
		else
			cell->inbox_head = p;
		cell->inbox_tail = p;
		transport_post(cell->transport);
	}
	pthread_mutex_unlock(&cell->inbox_mutex);
	return taken;
}

bool client_post_first(struct chubby *cell, struct post *p)
{
	bool taken;

	pthread_mutex_lock(&cell->inbox_mutex);
	taken = !cell->stopped;
	if (taken) {
		p->next = cell->inbox_head;
		cell->inbox_head = p;
		if (cell->inbox_tail == NULL)
			cell->inbox_tail = p;
		transport_post(cell->transport);
	}
	pthread_mutex_unlock(&cell->inbox_mutex);
	return taken;
}

static struct post *inbox_take(struct chubby *cell)
{
	struct post *all;

	pthread_mutex_lock(&cell->inbox_mutex);
	all = cell->inbox_head;
	cell->inbox_head = cell->inbox_tail = NULL;
	pthread_mutex_unlock(&cell->inbox_mutex);
	return all;
}

/* ---- what the session decides --------------------------------------------------------------- */

static void call_done(struct client_call *c, const struct reply *r, struct arena *arena)
{
	c->error = r->error;
	if (r->error == ERROR_OK) {
		c->reply = *r;
		c->arena = *arena;
		arena_init(arena, TRANSPORT_ARENA_MAX_BYTES);
	} else {
		snprintf(c->message, sizeof(c->message), "%.*s", (int)r->message.size,
			 r->message.size > 0 ? (const char *)r->message.data : "");
		c->failed_op = r->has_failed_op ? (int64_t)r->failed_op : -1;
	}
	if (c->owner != NULL)
		async_arrived(c->owner);
	else
		sem_post(&c->done); /* from here on it is its caller's */
}

static void connect_tell(struct chubby *cell, enum error e, struct bytes message)
{
	if (cell->connect_told)
		return;
	cell->connect_told = true;
	cell->connect_error = e;
	snprintf(cell->connect_message, sizeof(cell->connect_message), "%.*s", (int)message.size,
		 message.size > 0 ? (const char *)message.data : "");
	sem_post(&cell->connected);
}

static void publish(struct chubby *cell)
{
	bool safe = session_state(cell->session) == SESSION_SAFE;

	atomic_store(&cell->safe_until_ns, safe ? session_lease_end(cell->session) : 0);
	atomic_store(&cell->session_number, session_identity(cell->session).n);
}

static void news(struct chubby *cell, const struct session_action *a)
{
	switch (a->state) {
	case SESSION_SAFE:
		if (cell->jeopardy_told || (!cell->connect_told && cell->connect_is_news))
			callbacks_push(&cell->callbacks, CHUBBY_SESSION_SAFE, CHUBBY_OK);
		cell->jeopardy_told = false;
		connect_tell(cell, ERROR_OK, BYTES_NONE);
		break;
	case SESSION_RESTING:
		/* The cell answered, and nothing was lost. */
		if (cell->jeopardy_told)
			callbacks_push(&cell->callbacks, CHUBBY_SESSION_SAFE, CHUBBY_OK);
		cell->jeopardy_told = false;
		break;
	case SESSION_JEOPARDY:
		cell->jeopardy_told = true;
		callbacks_push(&cell->callbacks, CHUBBY_SESSION_JEOPARDY, CHUBBY_OK);
		break;
	case SESSION_EXPIRED:
		atomic_store(&cell->expired, true);
		callbacks_push(&cell->callbacks, CHUBBY_SESSION_EXPIRED_EVENT,
			       (enum chubby_code)a->reason);
		break;
	case SESSION_CLOSED:
		atomic_store(&cell->expired, true);
		if (cell->connect_is_news && !cell->connect_told && !atomic_load(&cell->leaving))
			callbacks_push(&cell->callbacks, CHUBBY_SESSION_EXPIRED_EVENT,
				       (enum chubby_code)a->reason);
		connect_tell(cell, a->reason, a->reply.message);
		break;
	default:
		break;
	}
}

/* Answers that end a call well take the arena of the message that they came with. */
static void actions_carry_out(struct chubby *cell, struct arena *arena)
{
	uint32_t count;
	const struct session_action *actions = session_actions(cell->session, &count);

	publish(cell);
	for (uint32_t i = 0; i < count; i++) {
		const struct session_action *a = &actions[i];

		switch (a->kind) {
		case SESSION_ASK:
			transport_ask(cell->transport, a->server,
				      session_server(cell->session, a->server), a->question,
				      &a->request);
			break;
		case SESSION_CONNECT:
			transport_connect(cell->transport, a->server,
					  session_server(cell->session, a->server), a->link);
			break;
		case SESSION_DISCONNECT:
			transport_disconnect(cell->transport, a->link);
			break;
		case SESSION_SEND:
			/* API functions check the size of what they send. */
			CHECK(transport_send(cell->transport, a->link, a->call_id, &a->request));
			break;
		case SESSION_DONE:
			call_done(a->context, &a->reply, arena);
			break;
		case SESSION_NEWS:
			news(cell, a);
			break;
		}
	}
	session_actions_done(cell->session);
}

static void call_begin(struct chubby *cell, int64_t now_ns, struct client_call *c)
{
	const struct reply cancelled = {.kind = c->request.kind, .error = ERROR_CANCELLED};
	struct session_request r = {
		.request = &c->request,
		.deadline_ns = c->deadline_ns,
		.handle_number = c->handle_number,
		.context = c,
	};

	/* Here too: what was posted behind a poison is not ended by it. */
	if ((c->owner != NULL && async_is_cancelled(c->owner)) ||
	    (c->poisoned != NULL && atomic_load(c->poisoned)))
		call_done(c, &cancelled, NULL);
	else
		c->session_call = session_call(cell->session, now_ns, &r);
}

/* True: the post is its sender's again, and may be gone. */
static bool post_handle(struct chubby *cell, int64_t now_ns, struct post *p)
{
	switch (p->kind) {
	case POST_CALL:
		call_begin(cell, now_ns, p->call);
		return true;
	case POST_CANCEL:
		session_cancel(cell->session, now_ns, p->call->session_call);
		async_unref(p->call->owner);
		return true;
	case POST_POISON:
		session_poison(cell->session, now_ns, p->handle_number);
		return false;
	case POST_CLOSE:
		session_close(cell->session, now_ns, now_ns + CLOSE_PATIENCE_NS);
		return false;
	}
	return false;
}

static void posts_handle(struct chubby *cell)
{
	struct post *p = inbox_take(cell);

	while (p != NULL) {
		struct post *next = p->next; /* a call's post dies with the call */
		int64_t now_ns = clock_now_ns();
		struct arena none;

		if (!post_handle(cell, now_ns, p))
			free(p);
		arena_init(&none, TRANSPORT_ARENA_MAX_BYTES);
		actions_carry_out(cell, &none);
		arena_release(&none);
		p = next;
	}
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void event_handle(struct chubby *cell, struct transport_event *ev)
{
	int64_t now_ns = clock_now_ns();

	switch (ev->kind) {
	case TRANSPORT_TIMEOUT:
		session_tick(cell->session, now_ns);
		break;
	case TRANSPORT_POSTED:
		posts_handle(cell);
		break;
	case TRANSPORT_ANSWER:
		session_answer(cell->session, now_ns, ev->question, ev->answered, &ev->reply);
		break;
	case TRANSPORT_MESSAGE:
		session_message(cell->session, now_ns, ev->link, ev->call_id, &ev->reply);
		break;
	case TRANSPORT_LINK_LOST:
		session_link_lost(cell->session, now_ns, ev->link, ev->refused ? &ev->reply : NULL);
		break;
	}
	actions_carry_out(cell, &ev->arena);
	arena_release(&ev->arena);
}

/* What was posted and not taken ends here. */
static void inbox_stop(struct chubby *cell)
{
	struct post *p;

	pthread_mutex_lock(&cell->inbox_mutex);
	cell->stopped = true;
	pthread_mutex_unlock(&cell->inbox_mutex);
	p = inbox_take(cell);
	while (p != NULL) {
		struct post *next = p->next;
		struct reply late = {.error = cell->connect_error,
				     .message = bytes_of_text(cell->connect_message)};

		if (late.error == ERROR_OK)
			late.error = ERROR_CANCELLED;
		if (p->kind == POST_CALL)
			call_done(p->call, &late, NULL);
		else if (p->kind == POST_CANCEL)
			async_unref(p->call->owner);
		else
			free(p);
		p = next;
	}
}

void *client_loop(void *argument)
{
	struct chubby *cell = argument;
	struct arena none;

	arena_init(&none, TRANSPORT_ARENA_MAX_BYTES);
	actions_carry_out(cell, &none);
	while (session_state(cell->session) != SESSION_CLOSED) {
		struct transport_event ev;

		transport_next(cell->transport, session_next_tick(cell->session), &ev);
		event_handle(cell, &ev);
	}
	inbox_stop(cell);
	return NULL;
}
