/*
 * Opens a session, says what became of it, and ends it.
 *
 *   connect
 */
#include <chubby.h>
#include <inttypes.h>
#include <stdio.h>

static void on_session(void *context, enum chubby_session_event event, enum chubby_code reason)
{
	const char *program = context; /* as given in the options */

	switch (event) {
	case CHUBBY_SESSION_JEOPARDY:
		fprintf(stderr, "%s: the cell is silent; no lock can be relied on\n", program);
		break;
	case CHUBBY_SESSION_SAFE:
		fprintf(stderr, "%s: the cell answered in time; nothing was lost\n", program);
		break;
	case CHUBBY_SESSION_EXPIRED_EVENT:
		fprintf(stderr, "%s: the session is over: %s\n", program, chubby_code_text(reason));
		break;
	}
}

int main(void)
{
	struct chubby_options options = chubby_options_default();
	struct chubby_error error;
	char program[] = "connect";
	struct chubby *cell;

	options.lease_ms = 20000;
	options.on_session = on_session;
	options.context = program;
	if (chubby_connect(&options, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "connect: %s\n", error.message);
		return 1;
	}
	printf("session %" PRIu64 ", %s, %" PRId64 " ms of its lease left\n",
	       chubby_session_id(cell), chubby_session_is_safe(cell) ? "safe" : "in jeopardy",
	       chubby_session_lease_left_ms(cell));
	chubby_disconnect(cell);
	return 0;
}
