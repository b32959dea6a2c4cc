/*
 * KeepAlive (Chubby section 2.8): held until the session's lease nears its end, answered at once
 * by a new master, or when the client asks for it.
 */
#include "master/master_internal.h"

static int64_t answer_time(const struct lease *l)
{
	return l->deadline_ns - l->granted_ns / 1000 * MASTER_KEEPALIVE_LEFT_PER_MILLE;
}

/*
 * Extends and answers. The client's lease ends at its send time plus what is told here; the
 * deadline is counted from now, which is later. Needs the master lease: a deposed master extends
 * nothing.
 */
void keepalive_answer(struct master *m, const struct moment *at, struct lease *l)
{
	struct open_call *c = l->keepalive;
	struct reply r = {.kind = MESSAGE_KEEP_ALIVE, .epoch = m->epoch};

	CHECK(c != NULL);
	if (lease_is_idle(m, l)) {
		lease_end_idle(m, at, l);
		return; /* answered when the session has ended */
	}
	lease_extend(m, at, l);
	r.keep_alive.held_ns = at->now_ns - c->received_ns;
	r.keep_alive.left_ns = l->deadline_ns - m->session_now_ns;
	r.keep_alive.failed_over = !l->contacted;
	l->contacted = true;
	reply_with(m, c->call, true, &r);
	lease_drop_held(m, l, c);
	call_done(m, c);
}

void keepalive_request(struct master *m, struct inbound *in)
{
	struct lease *l = in->lease;

	if (l->keepalive != NULL) {
		/* The client came back on another connection; the older question is void. */
		struct open_call *old = l->keepalive;

		reply_error(m, old->call, MESSAGE_KEEP_ALIVE, ERROR_CANCELLED,
			    "a newer KeepAlive of this session has arrived");
		lease_drop_held(m, l, old);
		call_done(m, old);
	}
	if (in->stream.n != 0)
		lease_bind_stream(m, l, in->stream);
	l->keepalive = call_hold(m, in);
	quiet_leave(m, l);
	/* An end that is on its way into the log answers it; and should this mastership be over
	 * before, then the next master may still know the session. */
	if (l->expiry_proposed)
		return;
	if (l->marked)
		unmark_propose(m, in->at, l);
	else if (in->r->keep_alive.immediate || !l->contacted ||
		 answer_time(l) <= m->session_now_ns)
		keepalive_answer(m, in->at, l);
	else
		timers_set(&m->timers, &l->answer, answer_time(l));
}
