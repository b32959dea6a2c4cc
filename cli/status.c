/*
 * chubby status: every server of the list is asked about itself at the same time, so that a stopped
 * one costs no more than its own silence; then the replicas that the answers name.
 */
#include "status.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

/* Well below the two seconds in which a person wants to know. */
#define SERVER_TIMEOUT_MS 1500
/* Elections take about half a second. */
#define ELECTION_PATIENCE_NS (2 * NS_PER_S)
#define ASK_AGAIN_MS 50

/* One replica, from its own word where it answered. */
struct row {
	const struct wire_replica_status *status;
	bool answered;
	uint64_t epoch; /* as it knows it */
};

struct view {
	uint32_t asked_count;
	struct asked asked[ASKED_MAX];
	uint32_t row_count;
	struct row rows[MEMBERS_MAX];
	const struct asked *master; /* NULL: nobody says that it is */
	const struct row *master_row;
	uint32_t voting, answering;
};

/* ---- putting it together -------------------------------------------------------------------- */

static struct row *row_of(struct view *v, struct replica_id id)
{
	for (uint32_t i = 0; i < v->row_count; i++) {
		if (replica_equal(v->rows[i].status->id, id))
			return &v->rows[i];
	}
	return NULL;
}

static void add_words_of(struct view *v, const struct asked *a, bool own_only)
{
	for (uint32_t i = 0; i < a->reply.status.replica_count; i++) {
		const struct wire_replica_status *s = &a->reply.status.replicas[i];
		bool own = replica_equal(s->id, a->reply.status.replica);
		struct row *row = row_of(v, s->id);

		if (own_only != own || (row != NULL && (row->answered || !own)))
			continue;
		if (row == NULL) {
			if (v->row_count == MEMBERS_MAX)
				continue;
			row = &v->rows[v->row_count++];
		}
		*row = (struct row){.status = s, .answered = own, .epoch = a->reply.epoch.n};
	}
}

static int row_compare(const void *a, const void *b)
{
	uint32_t x = ((const struct row *)a)->status->id.n,
		 y = ((const struct row *)b)->status->id.n;

	return (x > y) - (x < y);
}

static const struct asked *master_of(const struct view *v)
{
	const struct asked *master = NULL;

	for (uint32_t i = 0; i < v->asked_count; i++) {
		const struct asked *a = &v->asked[i];

		if (a->answered && a->reply.status.master.n != 0 &&
		    replica_equal(a->reply.status.master, a->reply.status.replica) &&
		    (master == NULL || a->reply.epoch.n > master->reply.epoch.n))
			master = a;
	}
	return master;
}

/* Each about itself first; of the silent ones what the master has heard, else anybody. */
static void merge(struct view *v)
{
	for (uint32_t i = 0; i < v->asked_count; i++) {
		if (v->asked[i].answered)
			add_words_of(v, &v->asked[i], true);
	}
	v->master = master_of(v);
	if (v->master != NULL)
		add_words_of(v, v->master, false);
	for (uint32_t i = 0; i < v->asked_count; i++) {
		if (v->asked[i].answered)
			add_words_of(v, &v->asked[i], false);
	}
	qsort(v->rows, v->row_count, sizeof(v->rows[0]), row_compare);
	for (uint32_t i = 0; i < v->row_count; i++) {
		v->voting += v->rows[i].status->voting ? 1 : 0;
		v->answering += v->rows[i].answered && v->rows[i].status->voting ? 1 : 0;
	}
	if (v->row_count == 0)
		v->voting = v->asked_count;
	if (v->master != NULL)
		v->master_row = row_of(v, v->master->reply.status.replica);
}

static const char *state_name(const struct row *row)
{
	if (!row->answered)
		return "unreachable";
	switch (row->status->state) {
	case WIRE_REPLICA_STARTING:
		return "starting";
	case WIRE_REPLICA_FOLLOWER:
		return "follower";
	case WIRE_REPLICA_CANDIDATE:
		return "candidate";
	case WIRE_REPLICA_MASTER:
		return "master";
	case WIRE_REPLICA_LOST:
		return "lost";
	case WIRE_REPLICA_FAILED:
		return "failed";
	default:
		return "unknown";
	}
}

static const char *cell_name(const struct cli *c, const struct view *v, char *text, size_t size)
{
	for (uint32_t i = 0; i < v->asked_count; i++) {
		struct bytes name = v->asked[i].reply.status.cell;

		if (!v->asked[i].answered)
			continue;
		snprintf(text, size, "%.*s", (int)name.size, (const char *)name.data);
		return text;
	}
	return c->settings.cell != NULL ? c->settings.cell : "local";
}

static void hex_format(struct bytes b, char *text, size_t size)
{
	text[0] = '\0';
	for (size_t i = 0; i < b.size && i * 2 + 2 < size; i++)
		snprintf(text + i * 2, 3, "%02x", b.data[i]);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static json_t *json_of_row(const struct row *row)
{
	const struct wire_replica_status *s = row->status;
	json_t *j = json_pack("{s:i, s:o, s:s, s:b, s:I, s:I}", "id", (int)s->id.n, "address",
			      json_of_bytes(s->address), "state", state_name(row), "voting",
			      s->voting, "revision", (json_int_t)s->revision, "chosen",
			      (json_int_t)s->chosen_slot);
	char digest[64];

	hex_format(s->digest, digest, sizeof(digest));
	if (digest[0] != '\0')
		json_object_set_new(j, "digest", json_string(digest));
	if (s->trouble.size > 0)
		json_object_set_new(j, "trouble", json_of_bytes(s->trouble));
	if (s->version.size > 0)
		json_object_set_new(j, "version", json_of_bytes(s->version));
	return j;
}

/* Servers that nobody knows as replicas, since nobody answered. */
static json_t *json_of_silent(const struct asked *a)
{
	return json_pack("{s:n, s:s, s:s, s:n, s:n, s:s}", "id", "address", a->address, "state",
			 "unreachable", "voting", "revision", "trouble", a->error.message);
}

static int show_json(const struct cli *c, const struct view *v)
{
	json_t *replicas = json_array(), *master = json_null();
	const struct reply *r = v->master != NULL ? &v->master->reply : NULL;
	char name[128];

	for (uint32_t i = 0; i < v->row_count; i++)
		json_array_append_new(replicas, json_of_row(&v->rows[i]));
	for (uint32_t i = 0; v->row_count == 0 && i < v->asked_count; i++)
		json_array_append_new(replicas, json_of_silent(&v->asked[i]));
	if (r != NULL)
		master = json_pack("{s:i, s:o, s:I}", "id", (int)r->status.replica.n, "address",
				   json_of_bytes(v->master_row != NULL
							 ? v->master_row->status->address
							 : r->status.master_address),
				   "epoch", (json_int_t)r->epoch.n);
	return print_json(json_pack("{s:s, s:o, s:i, s:i, s:i, s:o, s:I, s:I}", "cell",
				    cell_name(c, v, name, sizeof(name)), "master", master,
				    "tolerates", r != NULL ? (int)r->status.tolerates : 0,
				    "answering", (int)v->answering, "needed",
				    (int)(v->voting / 2 + 1), "replicas", replicas, "nodes",
				    (json_int_t)(r != NULL ? r->status.node_count : 0), "sessions",
				    (json_int_t)(r != NULL ? r->status.session_count : 0)));
}

/* ---- text ----------------------------------------------------------------------------------- */

static void print_row(const struct row *row)
{
	const struct wire_replica_status *s = row->status;
	char digest[64];

	hex_format(s->digest, digest, sizeof(digest));
	printf("%2" PRIu32 "  %-22.*s %-11s %-6s %10" PRIu64 " %10" PRIu64 "  %.8s", s->id.n,
	       (int)s->address.size, s->address.size > 0 ? (const char *)s->address.data : "",
	       state_name(row), s->voting ? "yes" : "no", s->revision, s->chosen_slot,
	       digest[0] != '\0' ? digest : "-");
	if (s->trouble.size > 0)
		printf("  %.*s", (int)s->trouble.size, (const char *)s->trouble.data);
	printf("\n");
}

static void show_text(const struct cli *c, const struct view *v)
{
	char name[128];

	if (v->master != NULL) {
		const struct reply *r = &v->master->reply;

		printf("cell %s: available, tolerates %" PRIu32 " more failure%s; master %" PRIu32
		       ", epoch %" PRIu64 "; %" PRIu64 " nodes, %" PRIu64 " sessions\n",
		       cell_name(c, v, name, sizeof(name)), r->status.tolerates,
		       r->status.tolerates == 1 ? "" : "s", r->status.replica.n, r->epoch.n,
		       r->status.node_count, r->status.session_count);
	} else if (v->row_count == 0) {
		printf("cell %s: no answer from any of %" PRIu32 " servers\n",
		       cell_name(c, v, name, sizeof(name)), v->asked_count);
	} else {
		printf("cell %s: no master: %" PRIu32 " of %" PRIu32 " replicas answer, %" PRIu32
		       " needed\n",
		       cell_name(c, v, name, sizeof(name)), v->answering, v->voting,
		       v->voting / 2 + 1);
	}
	printf("id  %-22s %-11s %-6s %10s %10s  %s\n", "address", "state", "voting", "revision",
	       "chosen", "digest");
	for (uint32_t i = 0; i < v->row_count; i++)
		print_row(&v->rows[i]);
	for (uint32_t i = 0; v->row_count == 0 && i < v->asked_count; i++)
		printf(" ?  %-22s unreachable: %s\n", v->asked[i].address,
		       v->asked[i].error.message);
}

static void view_release(struct view *v)
{
	status_release(v->asked, v->asked_count);
	*v = (struct view){0};
}

static int64_t server_timeout_ms(const struct cli *c)
{
	return c->settings.timeout_ms > 0 ? c->settings.timeout_ms : SERVER_TIMEOUT_MS;
}

/* A majority without a master is electing one: worth a moment's patience, asked again and again.
 * Without a majority there is nothing to wait for. The view points into itself: filled in place. */
static void look(const struct cli *c, struct chubby_operator *o, struct view *v)
{
	int64_t until_ns = clock_now_ns() + ELECTION_PATIENCE_NS;

	for (;;) {
		v->asked_count = status_ask(c, o, server_timeout_ms(c) * NS_PER_MS, v->asked);
		merge(v);
		if (v->master != NULL || v->answering < v->voting / 2 + 1 ||
		    clock_now_ns() >= until_ns)
			return;
		view_release(v);
		poll(NULL, 0, ASK_AGAIN_MS);
	}
}

/* A server that answers, but as another cell's: no replica is missing. NULL: none did. */
static const struct chubby_error *refusal_of(const struct view *v)
{
	const struct chubby_error *found = NULL;

	for (uint32_t i = 0; i < v->asked_count; i++) {
		if (v->asked[i].answered)
			return NULL;
		if (v->asked[i].error.code != CHUBBY_UNAVAILABLE)
			found = &v->asked[i].error;
	}
	return found;
}

/* An answer that names a master which does not speak for itself. */
static const struct reply *heard_of(const struct view *v)
{
	for (uint32_t i = 0; i < v->asked_count; i++) {
		if (v->asked[i].answered && v->asked[i].reply.status.master.n != 0)
			return &v->asked[i].reply;
	}
	return NULL;
}

/* Why there is no master, and what to do about it. */
static int no_master(const struct cli *c, const struct view *v)
{
	const struct reply *heard = heard_of(v);
	uint32_t needed = v->voting / 2 + 1;

	if (heard != NULL)
		say("no master answers: replica %" PRIu32 " follows replica %" PRIu32
		    ", which did not answer within %" PRId64 " ms; can %.*s be reached from here?",
		    heard->status.replica.n, heard->status.master.n, server_timeout_ms(c),
		    (int)heard->status.master_address.size,
		    (const char *)heard->status.master_address.data);
	else if (v->row_count == 0)
		say("none of %" PRIu32 " servers answered within %" PRId64
		    " ms: is the cell running, and is --servers right?",
		    v->asked_count, server_timeout_ms(c));
	else if (v->answering >= needed)
		say("no master: %" PRIu32 " of %" PRIu32 " replicas answer, %" PRIu32
		    " needed; an election is under way",
		    v->answering, v->voting, needed);
	else
		say("no master: %" PRIu32 " of %" PRIu32 " replicas answered within %" PRId64
		    " ms, %" PRIu32 " needed: start the missing ones",
		    v->answering, v->voting, server_timeout_ms(c), needed);
	return error_exit_code(ERROR_UNAVAILABLE);
}

int command_status(const struct cli *c)
{
	const struct chubby_error *refused;
	struct chubby_operator *o;
	struct chubby_error e;
	struct view v = {0};
	int status = 0;

	if (operator_open(c->settings.servers, c->settings.cell, &o, &e) != ERROR_OK)
		return failure(&e);
	look(c, o, &v);
	refused = refusal_of(&v);
	if (refused != NULL)
		status = failure(refused);
	else if (c->json)
		status = show_json(c, &v);
	else
		show_text(c, &v);
	if (status == 0 && v.master == NULL)
		status = no_master(c, &v);
	view_release(&v);
	operator_close(o);
	return status;
}
