#include "cli.h"

#include "base/check.h"
#include "base/clock.h"

#define REPLY_MAX_BYTES ((size_t)16 << 20)

int64_t timeout_ms(const struct cli *c)
{
	return c->settings.timeout_ms >= 0 ? c->settings.timeout_ms : TIMEOUT_DEFAULT_MS;
}

int cell_connect(const struct cli *c, const char *shown, chubby_session_callback *on_session,
		 void *context, struct chubby **ret_cell)
{
	struct chubby_options o = chubby_options_default();
	struct chubby_error e;
	/* "Do not wait for the lock" does not mean that the cell need not be found. */
	int64_t ms = timeout_ms(c) > 0 ? timeout_ms(c) : TIMEOUT_DEFAULT_MS;

	o.servers = c->settings.servers;
	o.cell = c->settings.cell;
	o.connect_ms = ms;
	o.lease_ms = c->lease_ms;
	o.command = shown;
	/* A lock is waited for under its own limit, and a session rides out what it can. */
	o.call_ms = c->command->takes & TAKES_COMMAND ? 0 : o.connect_ms;
	o.on_session = on_session;
	o.context = context;
	if (chubby_connect(&o, ret_cell, &e) != CHUBBY_OK)
		return failure(&e);
	return 0;
}

int operator_connect(const struct cli *c, struct chubby_operator **ret_operator)
{
	struct chubby_error e;

	if (operator_open(c->settings.servers, c->settings.cell, ret_operator, &e) != ERROR_OK)
		return failure(&e);
	return 0;
}

int operator_ask(const struct cli *c, struct chubby_operator *o, const struct request *r,
		 struct arena *ret_arena, struct reply *ret_reply)
{
	struct chubby_error e;

	arena_init(ret_arena, REPLY_MAX_BYTES);
	if (operator_call(o, r, false, timeout_ms(c) * NS_PER_MS, ret_arena, ret_reply, &e) ==
	    ERROR_OK)
		return 0;
	return failure(&e);
}
