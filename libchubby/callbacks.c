/*
 * The thread of the application's callbacks: news of the session, and calls that are done.
 *
 * News are few, and the latest counts. Calls are linked into the queue themselves, so that none is
 * ever lost or refused.
 */
#include "call.h"

#include <signal.h>
#include <string.h>

#include "base/check.h"

static void owed_append(struct callbacks *c, struct chubby_call *call)
{
	call->owed = true;
	call->owed_next = NULL;
	call->owed_previous = c->owed_tail;
	if (c->owed_tail != NULL)
		c->owed_tail->owed_next = call;
	else
		c->owed_head = call;
	c->owed_tail = call;
}

static void owed_remove(struct callbacks *c, struct chubby_call *call)
{
	if (call->owed_previous != NULL)
		call->owed_previous->owed_next = call->owed_next;
	else
		c->owed_head = call->owed_next;
	if (call->owed_next != NULL)
		call->owed_next->owed_previous = call->owed_previous;
	else
		c->owed_tail = call->owed_previous;
	call->owed = false;
}

/* These two are called with the mutex, and let go of it while the application runs. */
static void news_tell(struct callbacks *c)
{
	enum chubby_session_event event = c->news[0].event;
	enum chubby_code reason = c->news[0].reason;

	c->count--;
	memmove(&c->news[0], &c->news[1], c->count * sizeof(c->news[0]));
	pthread_mutex_unlock(&c->mutex);
	c->function(c->context, event, reason);
	pthread_mutex_lock(&c->mutex);
}

static void call_tell(struct callbacks *c)
{
	struct chubby_call *call = c->owed_head;
	chubby_done_callback *function = call->function;
	void *context = call->context;

	owed_remove(c, call);
	c->running = call;
	pthread_mutex_unlock(&c->mutex);
	function(context, call); /* which may free it */
	pthread_mutex_lock(&c->mutex);
	c->running = NULL;
	pthread_cond_broadcast(&c->changed);
}

static void *callbacks_loop(void *argument)
{
	struct callbacks *c = argument;

	pthread_mutex_lock(&c->mutex);
	for (;;) {
		if (c->count > 0)
			news_tell(c);
		else if (c->owed_head != NULL)
			call_tell(c);
		else if (c->stop)
			break;
		else
			pthread_cond_wait(&c->changed, &c->mutex);
	}
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

void callbacks_need(struct callbacks *c)
{
	sigset_t all, before;

	pthread_mutex_lock(&c->mutex);
	if (!c->started) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		CHECK(pthread_create(&c->thread, NULL, callbacks_loop, c) == 0);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		c->started = true;
	}
	pthread_mutex_unlock(&c->mutex);
}

void callbacks_init(struct callbacks *c, chubby_session_callback *function, void *context)
{
	c->function = function;
	c->context = context;
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->changed, NULL);
	if (function != NULL)
		callbacks_need(c);
}

void callbacks_stop(struct callbacks *c)
{
	if (c->started) {
		pthread_mutex_lock(&c->mutex);
		c->stop = true;
		pthread_cond_broadcast(&c->changed);
		pthread_mutex_unlock(&c->mutex);
		pthread_join(c->thread, NULL);
	}
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->mutex);
}

/* A callback that is slow loses what was overtaken, never the latest news. */
void callbacks_push(struct callbacks *c, enum chubby_session_event event, enum chubby_code reason)
{
	uint32_t at;

	if (c->function == NULL)
		return;
	pthread_mutex_lock(&c->mutex);
	at = c->count < NEWS_MAX ? c->count++ : NEWS_MAX - 1;
	c->news[at].event = event;
	c->news[at].reason = reason;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->mutex);
}

void callbacks_owe(struct callbacks *c, struct chubby_call *call)
{
	pthread_mutex_lock(&c->mutex);
	owed_append(c, call);
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->mutex);
}

void callbacks_forget(struct callbacks *c, struct chubby_call *call)
{
	if (call->function == NULL)
		return;
	pthread_mutex_lock(&c->mutex);
	if (call->owed)
		owed_remove(c, call);
	if (c->running == call && pthread_equal(pthread_self(), c->thread))
		c->running = NULL; /* its memory may be another call's before the callback ends */
	while (c->running == call)
		pthread_cond_wait(&c->changed, &c->mutex);
	pthread_mutex_unlock(&c->mutex);
}
