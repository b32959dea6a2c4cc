/* See paxos_net.h. */
#include "paxos_net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

struct incarnation net_incarnation(uint32_t id)
{
	return (struct incarnation){0x1000 + id, id};
}

struct net *net_new(uint32_t count, uint64_t seed)
{
	struct net *n = mem_zalloc(sizeof(*n));

	assert_in_range(count, 1, MEMBERS_MAX);
	n->count = count;
	n->now_ns = NS_PER_S;
	rng_init(&n->rng, seed);
	n->latency_low_ns = NS_PER_MS / 2;
	n->latency_high_ns = 2 * NS_PER_MS;
	n->disk_low_ns = NS_PER_MS;
	n->disk_high_ns = 3 * NS_PER_MS;
	n->config = (struct paxos_config){
		.lease_ns = NET_LEASE_NS,
		.heartbeat_ns = NET_HEARTBEAT_NS,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.stall_ns = NS_PER_S,
	};
	n->config.membership.count = count;
	for (uint32_t i = 0; i < count; i++) {
		n->config.membership.members[i] = (struct paxos_member){
			.replica = {i + 1},
			.incarnation = net_incarnation(i + 1),
			.voting = true,
		};
		n->nodes[i + 1].writes_end = &n->nodes[i + 1].writes;
	}
	return n;
}

void net_rows_release(struct paxos_accepted *rows, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		value_unref(rows[i].value);
		rows[i].value = NULL;
	}
}

static void write_free(struct net_write *w)
{
	net_rows_release(w->write.accepted, w->write.accepted_count);
	free(w->write.accepted);
	free(w);
}

static void message_free(struct net_message *m)
{
	paxos_message_release(&m->message);
	net_rows_release(m->entries, m->entry_count);
	free(m->entries);
	free(m);
}

void net_crash(struct net *n, uint32_t id)
{
	struct net_node *node = &n->nodes[id];

	paxos_free(node->p);
	node->p = NULL;
	while (node->writes != NULL) {
		struct net_write *w = node->writes;
		node->writes = w->next;
		write_free(w);
	}
	node->writes_end = &node->writes;
}

void net_free(struct net *n)
{
	for (uint32_t id = 1; id <= n->count; id++) {
		net_crash(n, id);
		net_rows_release(n->nodes[id].disk.rows, NET_SLOTS_MAX);
	}
	while (n->messages != NULL) {
		struct net_message *m = n->messages;
		n->messages = m->next;
		message_free(m);
	}
	for (uint32_t i = 0; i < NET_SLOTS_MAX; i++)
		value_unref(n->history[i]);
	free(n);
}

int64_t net_local_ns(const struct net *n, uint32_t id)
{
	const struct net_node *node = &n->nodes[id];

	return node->offset_ns + n->now_ns + n->now_ns / 1000000 * node->rate_ppm;
}

/* The first instant at which the node's clock shows at least `local_ns`. */
static int64_t net_global_ns(const struct net *n, uint32_t id, int64_t local_ns)
{
	const struct net_node *node = &n->nodes[id];
	int64_t delta_ns;

	if (local_ns == TIME_NEVER)
		return TIME_NEVER;
	delta_ns = local_ns - net_local_ns(n, id);
	if (delta_ns <= 0)
		return n->now_ns;
	/* A little late is never wrong for a timer. */
	return n->now_ns + delta_ns - delta_ns / 1000000 * node->rate_ppm + NS_PER_MS / 20;
}

static void net_enqueue(struct net *n, struct net_message *m)
{
	struct net_message **at = &n->messages;

	m->order = n->order++;
	m->due_ns = n->now_ns + rng_between(&n->rng, n->latency_low_ns, n->latency_high_ns);
	while (*at != NULL && (*at)->due_ns <= m->due_ns)
		at = &(*at)->next;
	m->next = *at;
	*at = m;
}

static struct paxos_message message_copy(const struct paxos_message *m)
{
	struct paxos_message copy = *m;

	if (m->value != NULL)
		copy.value = value_ref(m->value);
	if (m->accepted_count > 0) {
		copy.accepted = mem_dup(m->accepted, m->accepted_count * sizeof(*m->accepted));
		for (uint32_t i = 0; i < m->accepted_count; i++) {
			if (copy.accepted[i].value != NULL)
				(void)value_ref(copy.accepted[i].value);
		}
	}
	return copy;
}

/* promise_before_fsync: a power cut at this very moment must not make the message a lie. */
static void check_claim(const struct net *n, uint32_t id, const struct paxos_message *m)
{
	const struct net_disk *disk = &n->nodes[id].disk;
	bool promises = m->kind == PAXOS_PROMISE || m->kind == PAXOS_ACCEPTED ||
			m->kind == PAXOS_HEARTBEAT_ACK || m->kind == PAXOS_PREPARE;

	if (promises)
		assert_false(ballot_less(disk->durable.promised, m->ballot));
	if (m->kind == PAXOS_ACCEPTED || m->kind == PAXOS_HEARTBEAT_ACK)
		assert_true(disk->durable.longest_lease_ns >= n->config.lease_ns);
	if (m->kind == PAXOS_ACCEPTED && m->slot.n > disk->durable.chosen.n) {
		const struct paxos_accepted *row = &disk->rows[m->slot.n];
		assert_non_null(row->value);
		assert_false(ballot_less(row->ballot, m->ballot));
	}
}

static void net_send(struct net *n, uint32_t from, uint32_t to, const struct paxos_message *m)
{
	check_claim(n, from, m);
	if (n->watch != NULL)
		n->watch(n, from, to, m);
	if (n->cut[from][to] || (n->loss_ppm > 0 && rng_chance(&n->rng, n->loss_ppm)) ||
	    (n->lose != NULL && n->lose(n, from, to, m)))
		return;
	uint32_t copies = n->duplicate_ppm > 0 && rng_chance(&n->rng, n->duplicate_ppm) ? 2 : 1;
	for (uint32_t i = 0; i < copies; i++) {
		struct net_message *sent = mem_zalloc(sizeof(*sent));
		sent->from = from;
		sent->to = to;
		sent->message = message_copy(m);
		net_enqueue(n, sent);
	}
}

static void net_serve(struct net *n, uint32_t from, const struct paxos_serve *serve)
{
	struct net_disk *disk = &n->nodes[from].disk;
	struct net_message *m = mem_zalloc(sizeof(*m));

	m->from = from;
	m->to = serve->to.n;
	m->learned = true;
	m->chosen = paxos_chosen(n->nodes[from].p);
	m->trimmed = paxos_durable(n->nodes[from].p)->trimmed;
	m->entries = mem_zalloc(50 * sizeof(*m->entries));
	for (uint64_t s = serve->from.n; s <= serve->through.n && m->entry_count < 50; s++) {
		struct paxos_accepted *row = &disk->rows[s];
		/* What an installed snapshot covers may never have been chosen here. */
		if (row->value == NULL || s <= m->trimmed.n)
			break;
		m->entries[m->entry_count++] = (struct paxos_accepted){row->slot, row->ballot,
								       value_ref(row->value)};
	}
	if (n->cut[from][m->to]) {
		message_free(m);
		return;
	}
	net_enqueue(n, m);
}

static void net_apply(struct net *n, uint32_t id, const struct paxos_accepted *chosen)
{
	struct net_node *node = &n->nodes[id];
	uint64_t slot = chosen->slot.n;

	assert_int_equal(slot, node->applied + 1);
	assert_true(slot < NET_SLOTS_MAX);
	if (n->history[slot] == NULL) {
		assert_int_equal(slot, n->history_newest + 1);
		n->history[slot] = value_ref(chosen->value);
		n->history_newest = slot;
	}
	if (!value_equal(n->history[slot], chosen->value))
		fail_msg("replica %u applies another value at slot %llu", (unsigned)id,
			 (unsigned long long)slot);
	node->applied = slot;
	node->commands_applied += value_command_count(chosen->value);
}

static void net_write(struct net *n, uint32_t id, const struct paxos_write *write)
{
	struct net_node *node = &n->nodes[id];
	struct net_write *w = mem_zalloc(sizeof(*w));

	w->write = *write;
	w->write.accepted = NULL;
	if (write->accepted_count > 0)
		w->write.accepted = mem_dup(write->accepted,
					    write->accepted_count * sizeof(*write->accepted));
	for (uint32_t i = 0; i < write->accepted_count; i++) {
		assert_true(write->accepted[i].slot.n < NET_SLOTS_MAX);
		(void)value_ref(w->write.accepted[i].value);
	}
	w->due_ns = n->now_ns + rng_between(&n->rng, n->disk_low_ns, n->disk_high_ns);
	*node->writes_end = w;
	node->writes_end = &w->next;
}

static void check_leases(struct net *n)
{
	uint32_t leased = 0;

	for (uint32_t id = 1; id <= n->count; id++) {
		const struct net_node *node = &n->nodes[id];
		if (node->p != NULL && paxos_lease_until(node->p) > net_local_ns(n, id))
			leased++;
	}
	assert_true(leased <= 1);
}

void net_collect(struct net *n, uint32_t id)
{
	struct net_node *node = &n->nodes[id];
	const struct paxos_output *out = paxos_output(node->p);

	if (out->note != NULL && !n->quiet)
		fprintf(stderr, "%8.3f ms  %u: %s\n", (double)n->now_ns / 1e6, (unsigned)id,
			out->note);
	for (uint32_t i = 0; i < out->write_count; i++)
		net_write(n, id, &out->writes[i]);
	for (uint32_t i = 0; i < out->message_count; i++)
		net_send(n, id, out->messages[i].to.n, &out->messages[i].message);
	for (uint32_t i = 0; i < out->chosen_count; i++)
		net_apply(n, id, &out->chosen[i]);
	for (uint32_t i = 0; i < out->serve_count; i++)
		net_serve(n, id, &out->serve_log[i]);
	if (out->snapshot_from.n != 0) {
		/* The state travels at once; what it holds is what the peer has applied. */
		struct net_node *peer = &n->nodes[out->snapshot_from.n];
		uint64_t slot = peer->p != NULL ? peer->applied : 0;
		if (slot > node->applied) {
			node->applied = slot;
			paxos_snapshot_installed(node->p, net_local_ns(n, id), (struct slot){slot});
			net_collect(n, id);
			return;
		}
	}
	node->elections += out->elected ? 1 : 0;
	node->depositions += out->deposed ? 1 : 0;
	const char *broken = paxos_invariants(node->p);
	if (broken != NULL)
		fail_msg("replica %u at %lld: %s", (unsigned)id, (long long)n->now_ns, broken);
	check_leases(n);
}

void net_start(struct net *n, uint32_t id, enum paxos_memory memory)
{
	struct net_node *node = &n->nodes[id];
	struct paxos_accepted *tail = mem_zalloc(NET_SLOTS_MAX * sizeof(*tail));
	struct paxos_recovered recovered = {.durable = node->disk.durable, .memory = memory};
	struct paxos_config config = n->config;

	assert_null(node->p);
	recovered.applied = node->disk.durable.chosen;
	for (uint64_t s = node->disk.durable.chosen.n + 1; s < NET_SLOTS_MAX; s++) {
		struct paxos_accepted *row = &node->disk.rows[s];
		if (row->value == NULL)
			continue;
		tail[recovered.tail_count++] = (struct paxos_accepted){row->slot, row->ballot,
								       value_ref(row->value)};
		recovered.newest = row->slot;
	}
	recovered.tail = tail;
	config.self = (struct replica_id){id};
	config.incarnation = net_incarnation(id);
	node->applied = node->disk.durable.chosen.n;
	node->started_ns = n->now_ns;
	node->p = paxos_new(&config, &recovered, rng_next(&n->rng), net_local_ns(n, id));
	free(tail);
	net_collect(n, id);
	for (uint32_t other = 1; other <= n->count; other++) {
		if (other == id || n->nodes[other].p == NULL)
			continue;
		paxos_peer_connected(n->nodes[other].p, net_local_ns(n, other),
				     (struct replica_id){id});
		net_collect(n, other);
		paxos_peer_connected(node->p, net_local_ns(n, id), (struct replica_id){other});
		net_collect(n, id);
	}
}

void net_start_all(struct net *n)
{
	for (uint32_t id = 1; id <= n->count; id++)
		net_start(n, id, PAXOS_MEMORY_WHOLE);
}

static void net_complete_write(struct net *n, uint32_t id)
{
	struct net_node *node = &n->nodes[id];
	struct net_write *w = node->writes;
	uint64_t number = w->write.number;

	node->disk.durable = w->write.durable;
	for (uint32_t i = 0; i < w->write.accepted_count; i++) {
		struct paxos_accepted *row = &node->disk.rows[w->write.accepted[i].slot.n];
		value_unref(row->value);
		*row = w->write.accepted[i];
		w->write.accepted[i].value = NULL;
	}
	node->writes = w->next;
	if (node->writes == NULL)
		node->writes_end = &node->writes;
	write_free(w);
	paxos_persisted(node->p, net_local_ns(n, id), number);
	net_collect(n, id);
}

static void net_deliver(struct net *n)
{
	struct net_message *m = n->messages;
	struct net_node *node = &n->nodes[m->to];
	struct replica_id from = {m->from};

	n->messages = m->next;
	if (node->p != NULL && node->loop_stopped) {
		/* It waits in the socket. */
		m->due_ns = n->now_ns;
		net_enqueue(n, m);
		return;
	}
	if (node->p != NULL && m->learned)
		paxos_learned(node->p, net_local_ns(n, m->to), from, m->entries, m->entry_count,
			      m->chosen, m->trimmed);
	else if (node->p != NULL)
		paxos_step(node->p, net_local_ns(n, m->to), from, &m->message);
	if (node->p != NULL)
		net_collect(n, m->to);
	message_free(m);
}

/* One event, if one is due by `until_ns`. */
static bool net_event(struct net *n, int64_t until_ns)
{
	int64_t due_ns = n->messages != NULL ? n->messages->due_ns : TIME_NEVER;
	uint32_t who = 0;
	bool write = false;

	for (uint32_t id = 1; id <= n->count; id++) {
		struct net_node *node = &n->nodes[id];
		if (node->p == NULL || node->loop_stopped)
			continue;
		if (node->writes != NULL && !node->disk_hangs && node->writes->due_ns < due_ns) {
			due_ns = node->writes->due_ns;
			who = id;
			write = true;
		}
		int64_t tick_ns = net_global_ns(n, id, paxos_next_tick(node->p));
		if (tick_ns < due_ns) {
			due_ns = tick_ns;
			who = id;
			write = false;
		}
	}
	if (due_ns > until_ns)
		return false;
	if (due_ns > n->now_ns)
		n->now_ns = due_ns;
	check_leases(n);
	if (who == 0) {
		net_deliver(n);
	} else if (write) {
		net_complete_write(n, who);
	} else {
		paxos_tick(n->nodes[who].p, net_local_ns(n, who));
		net_collect(n, who);
		assert_true(paxos_next_tick(n->nodes[who].p) > net_local_ns(n, who));
	}
	return true;
}

void net_run(struct net *n, int64_t duration_ns)
{
	int64_t until_ns = n->now_ns + duration_ns;

	while (net_event(n, until_ns))
		;
	n->now_ns = until_ns;
}
