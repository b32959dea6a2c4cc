#include "client.h"

#include <signal.h>
#include <string.h>

#include "base/check.h"

static void *callbacks_loop(void *argument)
{
	struct callbacks *c = argument;

	pthread_mutex_lock(&c->mutex);
	while (!c->stop || c->count > 0) {
		enum chubby_session_event event;
		enum chubby_code reason;

		if (c->count == 0) {
			pthread_cond_wait(&c->changed, &c->mutex);
			continue;
		}
		event = c->news[0].event;
		reason = c->news[0].reason;
		c->count--;
		memmove(&c->news[0], &c->news[1], c->count * sizeof(c->news[0]));
		pthread_mutex_unlock(&c->mutex);
		c->function(c->context, event, reason);
		pthread_mutex_lock(&c->mutex);
	}
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

void callbacks_start(struct callbacks *c, chubby_session_callback *function, void *context)
{
	c->function = function;
	c->context = context;
	if (function == NULL)
		return;
	pthread_mutex_init(&c->mutex, NULL);
	pthread_cond_init(&c->changed, NULL);
	CHECK(pthread_create(&c->thread, NULL, callbacks_loop, c) == 0);
}

void callbacks_stop(struct callbacks *c)
{
	if (c->function == NULL)
		return;
	pthread_mutex_lock(&c->mutex);
	c->stop = true;
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->mutex);
	pthread_join(c->thread, NULL);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->mutex);
	c->function = NULL;
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
	pthread_cond_signal(&c->changed);
	pthread_mutex_unlock(&c->mutex);
}
