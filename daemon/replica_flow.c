/*
 * The flow between the layers: what each puts out is carried to the next, in the order that their
 * headers demand.
 */
#include "replica_internal.h"

#include <string.h>

struct moment replica_moment(const struct replica *r)
{
	return (struct moment){
		.now_ns = clock_now_ns(),
		.lease_until_ns = paxos_lease_until(r->paxos),
		.wall_unix_ms = clock_wall_unix_ms(),
	};
}

/*
 * A read is answered only if the lease still runs after the state was read: the time is taken
 * here, later than everything that the reply was made of.
 */
static bool lease_runs(const struct replica *r)
{
	return clock_now_ns() < paxos_lease_until(r->paxos);
}

static void send_reply(struct replica *r, const struct master_reply *out)
{
	if (out->needs_lease && !lease_runs(r)) {
		struct reply refusal = {.kind = out->reply.kind, .error = ERROR_NOT_MASTER};

		net_reply(r->net, (struct net_call){out->call.n}, &refusal);
		return;
	}
	net_reply(r->net, (struct net_call){out->call.n}, &out->reply);
}

static enum error propose_entry(struct replica *r, const struct entry *e)
{
	enum error error;

	buffer_clear(&r->entry_bytes);
	error = codec_encode_entry(e, &r->entry_bytes);
	if (error != ERROR_OK)
		return error;
	return paxos_propose(r->paxos, clock_now_ns(), buffer_view(&r->entry_bytes));
}

struct refusal {
	struct entry entry; /* numbers only are read of it: its texts are gone by then */
	enum error error;
};

/* Sends and proposes what stands in the output; returns what the log refused. */
static uint32_t carry_output(struct replica *r, const struct master_output *out,
			     struct refusal **ret_refused)
{
	struct refusal *refused = NULL;
	uint32_t count = 0;

	for (uint32_t i = 0; i < out->reply_count; i++)
		send_reply(r, &out->replies[i]);
	for (uint32_t i = 0; i < out->push_count; i++)
		net_push(r->net, (struct net_stream){out->pushes[i].stream.n},
			 &out->pushes[i].reply);
	for (uint32_t i = 0; i < out->proposal_count; i++) {
		enum error error = propose_entry(r, &out->proposals[i]);

		if (error == ERROR_OK)
			continue;
		refused = mem_realloc_array(refused, count + 1, sizeof(*refused));
		refused[count++] = (struct refusal){out->proposals[i], error};
	}
	*ret_refused = refused;
	return count;
}

/* A refused proposal makes the master put out something again: until nothing is left. */
void replica_drain_master(struct replica *r)
{
	for (;;) {
		const struct master_output *out = master_output(r->master);
		struct refusal *refused;
		uint32_t count;

		if (out->reply_count + out->push_count + out->proposal_count == 0)
			return;
		count = carry_output(r, out, &refused);
		master_output_done(r->master);
		for (uint32_t i = 0; i < count; i++) {
			struct moment at = replica_moment(r);

			master_proposal_refused(r->master, &at, &refused[i].entry,
						refused[i].error);
		}
		free(refused);
	}
}

/* ---- applying ------------------------------------------------------------------------------- */

static void epoch_applied(struct replica *r, const struct entry *e)
{
	struct moment at;

	if (paxos_role(r->paxos) != PAXOS_MASTER || r->resigned ||
	    !ballot_equal(e->epoch.ballot, paxos_ballot(r->paxos)))
		return;
	at = replica_moment(r);
	master_begin(r->master, &at);
	r->told_leader = r->identity->self;
	log_info("serving as master, epoch %llu", (unsigned long long)cell_meta(r->cell)->epoch.n);
}

static void outcome_check(struct replica *r, const struct outcome *outcome)
{
	for (uint32_t i = 0; i < outcome->effect_count; i++) {
		if (outcome->effects[i].kind != EFFECT_DIGEST_DIFFERS || r->diverged)
			continue;
		r->diverged = true;
		log_error("the state of this replica differs from the log's digest at revision "
			  "%llu: it stops serving; keep its directory for inspection",
			  (unsigned long long)outcome->effects[i].revision.n);
	}
}

static void apply_command(struct replica *r, struct bytes command)
{
	struct outcome outcome;
	struct entry e;
	struct moment at;

	if (codec_decode_entry(command, &r->entry_arena, &e) != ERROR_OK) {
		/* It is in the log, so every replica must step over it alike. */
		e = (struct entry){.kind = ENTRY_KIND_END};
		log_error("a command of the log cannot be decoded; it has no effect");
	}
	cell_apply(r->cell, &e, &outcome);
	if (r->master != NULL) {
		outcome_check(r, &outcome);
		if (e.kind == ENTRY_EPOCH)
			epoch_applied(r, &e);
		if (master_serving(r->master)) {
			at = replica_moment(r);
			master_applied(r->master, &at, &e, &outcome);
		}
		replica_drain_master(r);
	}
	arena_release(&r->entry_arena);
}

void replica_apply_value(struct replica *r, struct slot slot, const struct value *v)
{
	struct bytes command;
	size_t cursor = 0;

	CHECK(slot.n == r->applied.n + 1);
	while (value_next(v, &cursor, &command))
		apply_command(r, command);
	r->applied = slot;
}

/* ---- paxos ---------------------------------------------------------------------------------- */

static void role_changed(struct replica *r, bool elected, bool deposed)
{
	struct moment at = replica_moment(r);

	if (deposed) {
		if (master_serving(r->master))
			log_info("mastership ended");
		master_end(r->master, &at);
		replica_drain_master(r);
	}
	if (elected && !r->resigned) {
		struct entry e = {
			.kind = ENTRY_EPOCH,
			.wall_unix_ms = at.wall_unix_ms,
			.epoch = {.master = r->identity->self, .ballot = paxos_ballot(r->paxos)},
		};

		log_info("elected in round %llu", (unsigned long long)e.epoch.ballot.round);
		buffer_clear(&r->entry_bytes);
		CHECK(codec_encode_entry(&e, &r->entry_bytes) == ERROR_OK);
		if (paxos_propose(r->paxos, at.now_ns, buffer_view(&r->entry_bytes)) != ERROR_OK)
			log_warning("the epoch entry could not be proposed");
	}
}

static void leader_news(struct replica *r)
{
	struct moment at = replica_moment(r);
	struct replica_id leader = paxos_leader(r->paxos, at.now_ns);

	if (replica_equal(leader, r->told_leader))
		return;
	r->told_leader = leader;
	master_leader(r->master, &at, leader);
	replica_drain_master(r);
}

static bool output_empty(const struct paxos_output *out)
{
	return out->write_count == 0 && out->message_count == 0 && out->chosen_count == 0 &&
	       out->serve_count == 0 && out->snapshot_from.n == 0 && !out->elected &&
	       !out->deposed && out->note == NULL;
}

/* Applying may propose, and proposing may choose (a cell of one): until nothing moves. */
void replica_flush(struct replica *r)
{
	for (;;) {
		const struct paxos_output *out = paxos_output(r->paxos);
		struct paxos_accepted *chosen = NULL;
		uint32_t count = out->chosen_count;
		bool elected = out->elected, deposed = out->deposed;

		if (output_empty(out))
			break;
		if (out->note != NULL)
			log_info("%s", out->note);
		for (uint32_t i = 0; i < out->write_count; i++)
			store_write(r->store, &out->writes[i]);
		replica_send_messages(r, out);
		replica_serve_log(r, out);
		if (out->snapshot_from.n != 0)
			replica_snapshot_wanted(r, out->snapshot_from);
		/* Applying calls into paxos, which may reuse what `out` points to. */
		if (count > 0) {
			chosen = mem_dup(out->chosen, count * sizeof(*chosen));
			for (uint32_t i = 0; i < count; i++)
				value_ref(chosen[i].value);
		}
		if (deposed)
			role_changed(r, false, true);
		for (uint32_t i = 0; i < count; i++) {
			replica_apply_value(r, chosen[i].slot, chosen[i].value);
			value_unref(chosen[i].value);
		}
		free(chosen);
		if (elected)
			role_changed(r, true, false);
	}
	leader_news(r);
	for (uint32_t i = 0; i < r->peer_count; i++) {
		struct peer *p = &r->peers[i];

		if (p->frame.size == 0)
			continue;
		net_peer_send(r->net, p->replica, buffer_view(&p->frame), false);
		buffer_clear(&p->frame);
	}
}
