/*
 * The operator's calls: unary, without a session.
 */
#include "operator.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "servers.h"
#include "transport.h"

/* A server that says nothing for so long is passed over while there are others. */
#define TRY_NS (1 * NS_PER_S)
#define HOLD_NS (1 * NS_PER_S)
/* Between rounds in which nobody could be reached. */
#define ROUND_PAUSE_NS (100 * NS_PER_MS)
#define ADDRESSES_MAX 32u

struct chubby_operator {
	struct server_list servers;
	char *cell;            /* owned; empty for "local" */
	pthread_mutex_t mutex; /* guards what follows */
	uint32_t count;
	struct {
		char *address;                     /* owned */
		struct transport_channel *channel; /* owned; NULL until it is used */
	} known[ADDRESSES_MAX];                    /* the list's servers first, in its order */
	uint32_t master;                           /* the last that answered as one */
};

enum error operator_open(const char *servers, const char *cell,
			 struct chubby_operator **ret_operator, struct chubby_error *ret_error)
{
	struct server_list list;
	enum error e = server_list_parse(servers, &list, ret_error);
	struct chubby_operator *o;

	if (e != ERROR_OK)
		return e;
	if (cell == NULL)
		cell = getenv("CHUBBY_CELL");
	o = mem_zalloc(sizeof(*o));
	o->servers = list;
	o->cell = mem_strdup(cell == NULL || strcmp(cell, "local") == 0 ? "" : cell);
	pthread_mutex_init(&o->mutex, NULL);
	for (uint32_t i = 0; i < list.count; i++)
		o->known[o->count++].address = mem_strdup(list.addresses[i]);
	*ret_operator = o;
	return ERROR_OK;
}

void operator_close(struct chubby_operator *o)
{
	if (o == NULL)
		return;
	for (uint32_t i = 0; i < o->count; i++) {
		transport_channel_free(o->known[i].channel);
		free(o->known[i].address);
	}
	pthread_mutex_destroy(&o->mutex);
	server_list_release(&o->servers);
	free(o->cell);
	free(o);
}

uint32_t operator_server_count(const struct chubby_operator *o)
{
	return o->servers.count;
}

const char *operator_server_address(const struct chubby_operator *o, uint32_t server)
{
	CHECK(server < o->servers.count);
	return o->servers.addresses[server];
}

/* ---- one server ----------------------------------------------------------------------------- */

static struct transport_channel *channel_of(struct chubby_operator *o, uint32_t i)
{
	struct transport_channel *c;

	pthread_mutex_lock(&o->mutex);
	if (o->known[i].channel == NULL)
		o->known[i].channel = transport_channel_new(o->known[i].address);
	c = o->known[i].channel;
	pthread_mutex_unlock(&o->mutex);
	return c;
}

static enum error ask(struct chubby_operator *o, uint32_t i, const struct request *r,
		      int64_t timeout_ns, struct arena *arena, struct reply *ret_reply)
{
	struct request with_cell = *r;

	if (with_cell.cell.size == 0)
		with_cell.cell = bytes_of_text(o->cell);
	return transport_unary(channel_of(o, i), &with_cell, timeout_ns, arena, ret_reply);
}

static enum error refusal(const struct reply *r, struct chubby_error *ret_error)
{
	if (r->error == ERROR_OK)
		return ERROR_OK;
	error_report(ret_error, (enum chubby_code)r->error, "%s%s%.*s", error_text(r->error),
		     r->message.size > 0 ? ": " : "", (int)r->message.size,
		     r->message.size > 0 ? (const char *)r->message.data : "");
	return r->error;
}

enum error operator_call_server(struct chubby_operator *o, uint32_t server, const struct request *r,
				int64_t timeout_ns, struct arena *arena, struct reply *ret_reply,
				struct chubby_error *ret_error)
{
	struct reply reply = {0};

	CHECK(server < o->servers.count);
	if (ask(o, server, r, timeout_ns, arena, &reply) != ERROR_OK) {
		error_report(ret_error, CHUBBY_UNAVAILABLE, "%s does not answer",
			     o->known[server].address);
		return ERROR_UNAVAILABLE;
	}
	if (reply.error == ERROR_OK)
		*ret_reply = reply;
	return refusal(&reply, ret_error);
}

/* ---- the master ----------------------------------------------------------------------------- */

/* The index of an address, added if it is new; `otherwise` if there is no room. */
static uint32_t learn(struct chubby_operator *o, struct bytes address, uint32_t otherwise)
{
	uint32_t found = otherwise;

	pthread_mutex_lock(&o->mutex);
	for (uint32_t i = 0; i < o->count; i++) {
		if (bytes_equal(bytes_of_text(o->known[i].address), address)) {
			pthread_mutex_unlock(&o->mutex);
			return i;
		}
	}
	if (o->count < ADDRESSES_MAX && address.size > 0) {
		found = o->count;
		o->known[o->count++].address = bytes_to_text(address);
	}
	pthread_mutex_unlock(&o->mutex);
	return found;
}

/* What one attempt came to. */
enum attempt { ATTEMPT_DONE, ATTEMPT_SILENT, ATTEMPT_ELSEWHERE };

/* A server that is not master is asked who is; it holds the question while there is none. */
static uint32_t follow(struct chubby_operator *o, uint32_t i, const struct reply *refused,
		       int64_t until_ns)
{
	struct request find = {.kind = MESSAGE_FIND_MASTER};
	int64_t left_ns = until_ns - clock_now_ns();
	struct reply answer = {0};
	struct arena arena;
	uint32_t next = i;

	if (refused->master_address.size > 0)
		return learn(o, refused->master_address, i);
	if (left_ns <= 0)
		return i;
	find.find_master.wait_ns = time_earlier(left_ns, HOLD_NS);
	arena_init(&arena, TRANSPORT_ARENA_MAX_BYTES);
	if (ask(o, i, &find, time_earlier(left_ns, HOLD_NS + TRY_NS), &arena, &answer) ==
		    ERROR_OK &&
	    answer.error == ERROR_OK)
		next = learn(o, answer.find_master.address, i);
	arena_release(&arena);
	return next;
}

static enum attempt attempt(struct chubby_operator *o, uint32_t i, const struct request *r,
			    int64_t until_ns, struct arena *arena, struct reply *ret_reply,
			    uint32_t *ret_next)
{
	int64_t left_ns = until_ns - clock_now_ns();
	enum error e = ask(o, i, r, time_earlier(left_ns, TRY_NS), arena, ret_reply);

	if (e == ERROR_UNAVAILABLE)
		return ATTEMPT_SILENT;
	if (e != ERROR_OK) {
		*ret_reply = (struct reply){.error = e}; /* it cannot be sent to anybody */
		return ATTEMPT_DONE;
	}
	if (ret_reply->error != ERROR_NOT_MASTER)
		return ATTEMPT_DONE;
	*ret_next = follow(o, i, ret_reply, until_ns);
	return *ret_next == i ? ATTEMPT_SILENT : ATTEMPT_ELSEWHERE;
}

static enum error nobody(struct chubby_operator *o, const bool answered[ADDRESSES_MAX],
			 struct chubby_error *ret_error)
{
	uint32_t answering = 0;

	for (uint32_t i = 0; i < o->servers.count; i++)
		answering += answered[i] ? 1 : 0;
	error_report(ret_error, CHUBBY_UNAVAILABLE,
		     answering > 0 ? "no master: %u of %u servers answer, and none knows a master; "
				     "a majority of the replicas must run"
				   : "none of the servers answers (%u of %u): is the cell running, "
				     "and is --servers right?",
		     answering, o->servers.count);
	return ERROR_UNAVAILABLE;
}

enum error operator_call(struct chubby_operator *o, const struct request *r, bool any_replica,
			 int64_t timeout_ns, struct arena *arena, struct reply *ret_reply,
			 struct chubby_error *ret_error)
{
	int64_t until_ns = clock_now_ns() + timeout_ns;
	uint32_t at = any_replica ? 0 : o->master, silent = 0;
	bool answered[ADDRESSES_MAX] = {false};

	while (clock_now_ns() < until_ns) {
		struct timespec pause = {.tv_nsec = ROUND_PAUSE_NS};
		struct reply reply = {0};
		uint32_t next = at;

		switch (attempt(o, at, r, until_ns, arena, &reply, &next)) {
		case ATTEMPT_DONE:
			o->master = at;
			if (reply.error == ERROR_OK)
				*ret_reply = reply;
			return refusal(&reply, ret_error);
		case ATTEMPT_ELSEWHERE:
			at = next;
			silent = 0;
			continue;
		case ATTEMPT_SILENT:
			answered[at] = reply.error == ERROR_NOT_MASTER;
			break;
		}
		at = (at + 1) % o->count;
		if (++silent % o->count == 0)
			nanosleep(&pause, NULL);
	}
	return nobody(o, answered, ret_error);
}
