#include "cli.h"

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
	o.command = shown;
	/* A lock is waited for under its own limit, and a session rides out what it can. */
	o.call_ms = c->command->takes & TAKES_COMMAND ? 0 : o.connect_ms;
	o.on_session = on_session;
	o.context = context;
	if (chubby_connect(&o, ret_cell, &e) != CHUBBY_OK)
		return failure(&e);
	return 0;
}
