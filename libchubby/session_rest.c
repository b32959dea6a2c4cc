/*
 * Rest (Chubby section 2.8): the cell ends a session that has no handle and makes no call for a
 * minute. One that has nothing loses nothing: the application is not told, and its next call opens
 * another session. Whatever had a handle when its session ended has expired, and stays so.
 */
#include "session_internal.h"

bool session_has_nothing(const struct session *s)
{
	if (s->handles > 0 || s->closing)
		return false;
	for (const struct call *c = s->calls; c != NULL; c = c->hh.next) {
		if (c->caller_waits && c->request.handle.size > 0 &&
		    c->request.kind != MESSAGE_CLOSE)
			return false;
	}
	return true;
}

/* Calls that took no effect for certain go to the next session; the others end here. */
static void calls_carry_over(struct session *s)
{
	struct call *c, *next;

	HASH_ITER(hh, s->calls, c, next) {
		bool certain = c->sent_count == 0 || !request_is_numbered(&c->request);

		if (!c->caller_waits || c->request.kind == MESSAGE_CLOSE || !certain) {
			call_fail(s, c, call_fate(s, c), "the session ended meanwhile");
			continue;
		}
		c->sent_count = 0;
		c->request.number = 0;
	}
}

void rest_begin(struct session *s)
{
	CHECK(session_has_nothing(s));
	link_drop(s);
	find_end(s);
	s->id.n = 0;
	s->lease_end_ns = 0;
	s->lease_told_ns = 0;
	s->grace_until_ns = TIME_NEVER;
	s->next_number = 1;
	session_move(s, SESSION_RESTING, ERROR_OK);
	calls_carry_over(s);
	if (s->calls != NULL)
		rest_end(s);
}

/* Nobody has to be told within the time for connecting that there is no master: calls wait as they
 * would in jeopardy. */
void rest_end(struct session *s)
{
	int64_t wait_ns = s->config.grace_ns > s->config.connect_ns ? s->config.grace_ns
								    : s->config.connect_ns;

	CHECK(s->state == SESSION_RESTING);
	s->connect_until_ns = s->now_ns + wait_ns;
	session_move(s, SESSION_CONNECTING, ERROR_OK);
	find_begin(s);
}
