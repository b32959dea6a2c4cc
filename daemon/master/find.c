/*
 * Who is master? Any replica answers; while there is none the question is held.
 */
#include "master/master_internal.h"

struct bytes leader_address(const struct master *m)
{
	for (uint32_t i = 0; i < m->config.server_count; i++) {
		if (m->leader.n != 0 && replica_equal(m->config.servers[i].replica, m->leader))
			return m->config.servers[i].address;
	}
	return BYTES_NONE;
}

/* A replica that leads but does not serve yet sends nobody to itself. */
static bool answer_known(const struct master *m)
{
	if (m->serving)
		return true;
	return m->leader.n != 0 && !replica_equal(m->leader, m->config.self);
}

void not_master(struct master *m, struct call_id call, enum message_kind kind)
{
	struct reply r = {.kind = kind, .error = ERROR_NOT_MASTER};

	if (!m->serving && answer_known(m))
		r.master_address = leader_address(m);
	reply_with(m, call, false, &r);
}

static void answer(struct master *m, struct call_id call)
{
	struct reply r = {.kind = MESSAGE_FIND_MASTER, .epoch = cell_meta(m->cell)->epoch};
	struct bytes *servers = output_alloc(m, m->config.server_count * sizeof(*servers));

	for (uint32_t i = 0; i < m->config.server_count; i++)
		servers[i] = m->config.servers[i].address;
	r.find_master.address = leader_address(m);
	r.find_master.replica = m->leader;
	r.find_master.server_count = m->config.server_count;
	r.find_master.servers = servers;
	reply_with(m, call, false, &r); /* a hint: whoever follows it is told */
}

void find_master_request(struct master *m, struct inbound *in)
{
	int64_t wait_ns = in->r->find_master.wait_ns;
	struct open_call *c;

	if (!cell_matches(m, in, in->r->cell))
		return;
	if (answer_known(m)) {
		answer(m, in->call);
		return;
	}
	if (wait_ns <= 0) {
		reply_error(m, in->call, MESSAGE_FIND_MASTER, ERROR_UNAVAILABLE, NULL);
		return;
	}
	if (m->find_count >= MASTER_HELD_MAX) {
		reply_error(m, in->call, MESSAGE_FIND_MASTER, ERROR_RESOURCE_EXHAUSTED, NULL);
		return;
	}
	if (wait_ns > MASTER_FIND_HOLD_MAX_NS)
		wait_ns = MASTER_FIND_HOLD_MAX_NS;
	c = call_hold(m, in);
	c->next_held = m->finding;
	m->finding = c;
	m->find_count++;
	timers_set(&m->find_timers, &c->timer, in->at->now_ns + wait_ns);
}

void find_master_news(struct master *m)
{
	if (!answer_known(m))
		return;
	while (m->finding != NULL) {
		struct open_call *c = m->finding;

		m->finding = c->next_held;
		m->find_count--;
		answer(m, c->call);
		call_done(m, c);
	}
}

void find_master_timeout(struct master *m, int64_t now_ns)
{
	struct timer *t;

	while ((t = timers_expire(&m->find_timers, now_ns)) != NULL) {
		struct open_call *c = t->owner;
		struct open_call **at = &m->finding;

		while (*at != c)
			at = &(*at)->next_held;
		*at = c->next_held;
		m->find_count--;
		reply_error(m, c->call, MESSAGE_FIND_MASTER, ERROR_UNAVAILABLE, NULL);
		call_done(m, c);
	}
}

void master_leader(struct master *m, const struct moment *at, struct replica_id leader)
{
	(void)at;
	m->leader = leader;
	find_master_news(m);
}
