/*
 * What the master says about locks: who holds, who waits, does a sequencer stand.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/path.h"

#define PAGE 256

/* ---- one lock ------------------------------------------------------------------------------- */

static json_t *json_of_party(const struct wire_lock_party *p, int64_t now_unix_ms, bool holds)
{
	json_t *j = json_pack(
		"{s:I, s:I, s:s, s:o, s:o, s:I, s:o, s:I, s:I}", "session",
		(json_int_t)p->session.n, "handle", (json_int_t)p->handle.n, "mode",
		mode_name(p->mode), "principal", json_of_bytes(p->principal), "host",
		json_of_bytes(p->host), "pid", (json_int_t)p->pid, "command",
		json_of_bytes(p->command), "since_unix_ms", (json_int_t)p->since_unix_ms, "age_ms",
		(json_int_t)(now_unix_ms > p->since_unix_ms ? now_unix_ms - p->since_unix_ms : 0));

	if (holds)
		json_object_set_new(j, "token", json_integer((json_int_t)p->fencing_token));
	else
		json_object_set_new(j, "ticket", json_integer((json_int_t)p->ticket));
	return j;
}

static json_t *json_of_lock(const struct wire_lock_status *l, int64_t now_unix_ms)
{
	json_t *holders = json_array(), *waiters = json_array();

	for (uint32_t i = 0; i < l->holder_count; i++)
		json_array_append_new(holders, json_of_party(&l->holders[i], now_unix_ms, true));
	for (uint32_t i = 0; i < l->shown_waiter_count; i++)
		json_array_append_new(waiters, json_of_party(&l->waiters[i], now_unix_ms, false));
	return json_pack("{s:o, s:s, s:I, s:I, s:o, s:o, s:I, s:I, s:I}", "path",
			 json_of_bytes(l->path), "mode", mode_name(l->mode), "instance",
			 (json_int_t)l->instance, "lock_generation", (json_int_t)l->lock_generation,
			 "holders", holders, "waiters", waiters, "waiter_count",
			 (json_int_t)l->waiter_count, "lock_delay_ms",
			 (json_int_t)(l->lock_delay_ns / NS_PER_MS), "lock_delay_left_ms",
			 (json_int_t)(l->lock_delay_left_ns / NS_PER_MS));
}

static void print_party(const char *role, const struct wire_lock_party *p, int64_t now_unix_ms)
{
	char age[32];

	age_format(now_unix_ms - p->since_unix_ms, age, sizeof(age));
	printf("  %-8s ", role);
	print_bytes(p->principal);
	printf(" at ");
	print_bytes(p->host);
	printf(", pid %" PRIu32 " (", p->pid);
	print_bytes(p->command);
	printf("), %s for %s", mode_name(p->mode), age);
	if (p->fencing_token != 0)
		printf(", token %" PRIu64, p->fencing_token);
	printf(", session %" PRIu64 "\n", p->session.n);
}

static void print_lock(const struct wire_lock_status *l, int64_t now_unix_ms)
{
	print_bytes(l->path);
	printf("  %s", mode_name(l->mode));
	if (l->lock_delay_ns > 0)
		printf(", in lock-delay of %.1f s, %.1f s left",
		       (double)l->lock_delay_ns / NS_PER_S,
		       (double)l->lock_delay_left_ns / NS_PER_S);
	printf("\n");
	for (uint32_t i = 0; i < l->holder_count; i++)
		print_party("holder", &l->holders[i], now_unix_ms);
	for (uint32_t i = 0; i < l->shown_waiter_count; i++)
		print_party("waiting", &l->waiters[i], now_unix_ms);
	if (l->waiter_count > l->shown_waiter_count)
		printf("  … and %" PRIu32 " more waiting\n",
		       l->waiter_count - l->shown_waiter_count);
}

/* ---- locks ---------------------------------------------------------------------------------- */

static int locks_page(const struct cli *c, struct chubby_operator *o, json_t *all, uint64_t *after,
		      uint64_t *count, int64_t *ret_now_unix_ms)
{
	struct request r = {.kind = MESSAGE_LIST_LOCKS};
	struct reply reply = {0};
	struct arena arena;
	int status;

	if (c->argument_count > 0)
		r.list_locks.path = bytes_of_text(c->arguments[0]);
	r.list_locks.all = c->all;
	r.list_locks.after = *after;
	r.list_locks.limit = PAGE;
	status = operator_ask(c, o, &r, &arena, &reply);
	for (uint32_t i = 0; status == 0 && i < reply.list_locks.count; i++) {
		const struct wire_lock_status *l = &reply.list_locks.locks[i];

		if (c->json)
			json_array_append_new(all, json_of_lock(l, reply.list_locks.now_unix_ms));
		else
			print_lock(l, reply.list_locks.now_unix_ms);
	}
	*count += reply.list_locks.count;
	*after = reply.list_locks.next;
	*ret_now_unix_ms = reply.list_locks.now_unix_ms;
	arena_release(&arena);
	return status;
}

/* A node that was never locked is in no list: is there one? */
static int node_there(const struct cli *c)
{
	struct chubby_handle *h;
	struct chubby_error e;
	struct chubby *cell;
	int status = cell_connect(c, NULL, NULL, NULL, &cell);

	if (status != 0)
		return status;
	if (chubby_open(cell, c->arguments[0], CHUBBY_READ, NULL, 0, &h, NULL, &e) != CHUBBY_OK)
		status = failure(&e);
	chubby_disconnect(cell);
	return status;
}

int command_locks(const struct cli *c)
{
	struct chubby_operator *o;
	json_t *all;
	int64_t now_unix_ms = 0;
	uint64_t after = 0, count = 0;
	int status = operator_connect(c, &o);

	if (status != 0)
		return status;
	all = json_array();
	do {
		status = locks_page(c, o, all, &after, &count, &now_unix_ms);
	} while (status == 0 && after != 0);
	operator_close(o);
	if (status == 0 && count == 0 && c->argument_count > 0)
		status = node_there(c);
	if (!c->json || status != 0) {
		json_decref(all);
		return status;
	}
	return print_json(
		json_pack("{s:I, s:o}", "now_unix_ms", (json_int_t)now_unix_ms, "locks", all));
}

/* ---- who ------------------------------------------------------------------------------------ */

static int who_show(const struct cli *c, const struct wire_lock_status *l, int64_t now_unix_ms)
{
	bool held = l->holder_count > 0;
	json_t *j;

	if (!c->json) {
		print_lock(l, now_unix_ms);
		return held ? 0 : EXIT_NOBODY;
	}
	j = json_of_lock(l, now_unix_ms);
	json_object_set_new(j, "held", json_boolean(held));
	json_object_set_new(j, "now_unix_ms", json_integer((json_int_t)now_unix_ms));
	return print_json(j) != 0 ? 1 : held ? 0 : EXIT_NOBODY;
}

/* The cell spells its own name, whatever the caller wrote: what counts is the path inside. */
static bool same_node(struct bytes a, struct bytes b)
{
	struct bytes cell, inner_a, inner_b;
	const char *trouble;

	return path_parse(a, &cell, &inner_a, &trouble) == ERROR_OK &&
	       path_parse(b, &cell, &inner_b, &trouble) == ERROR_OK &&
	       bytes_equal(inner_a, inner_b);
}

/* One page; *ret_found if the node was in it, and shown. */
static int who_page(const struct cli *c, struct chubby_operator *o, uint64_t *after,
		    bool *ret_found)
{
	struct request r = {.kind = MESSAGE_LIST_LOCKS};
	struct reply reply = {0};
	struct arena arena;
	int status;

	r.list_locks.path = bytes_of_text(c->arguments[0]);
	r.list_locks.all = true;
	r.list_locks.after = *after;
	r.list_locks.limit = PAGE;
	status = operator_ask(c, o, &r, &arena, &reply);
	for (uint32_t i = 0; status == 0 && i < reply.list_locks.count; i++) {
		const struct wire_lock_status *l = &reply.list_locks.locks[i];

		if (same_node(l->path, r.list_locks.path)) {
			*ret_found = true;
			status = who_show(c, l, reply.list_locks.now_unix_ms);
			break;
		}
	}
	*after = reply.list_locks.next;
	arena_release(&arena);
	return status;
}

/* A node that was never locked is in no list: is there one? */
static int who_never(const struct cli *c)
{
	struct wire_lock_status l = {.mode = WIRE_LOCK_FREE};
	struct chubby_handle *h;
	struct chubby_error e;
	struct chubby_stat s;
	struct chubby *cell;
	int status = cell_connect(c, NULL, NULL, NULL, &cell);

	if (status != 0)
		return status;
	if (chubby_open(cell, c->arguments[0], CHUBBY_READ, NULL, 0, &h, NULL, &e) != CHUBBY_OK ||
	    chubby_stat(h, &s, &e) != CHUBBY_OK) {
		status = failure(&e);
	} else {
		l.path = bytes_of_text(chubby_path(h));
		l.instance = s.instance;
		l.lock_generation = s.lock_generation;
		status = who_show(c, &l, clock_wall_unix_ms());
	}
	chubby_disconnect(cell);
	return status;
}

int command_who(const struct cli *c)
{
	struct chubby_operator *o;
	uint64_t after = 0;
	bool found = false;
	int status = operator_connect(c, &o);

	if (status != 0)
		return status;
	do {
		status = who_page(c, o, &after, &found);
	} while (status == 0 && !found && after != 0);
	operator_close(o);
	return status != 0 || found ? status : who_never(c);
}

/* ---- check ---------------------------------------------------------------------------------- */

static int check_show(const struct cli *c, const struct reply *r)
{
	bool valid = r->check_sequencer.valid;
	int status = valid ? 0 : EXIT_INVALID_SEQUENCER;

	if (c->json) {
		(void)print_json(json_pack("{s:b, s:I, s:o, s:s}", "valid", valid, "token",
					   (json_int_t)r->check_sequencer.fencing_token, "path",
					   json_of_bytes(r->check_sequencer.path), "mode",
					   mode_name(r->check_sequencer.mode)));
		return status;
	}
	printf("%s: ", valid ? "valid" : "invalid");
	print_bytes(r->check_sequencer.path);
	printf(" %s, fencing token %" PRIu64 "%s\n", mode_name(r->check_sequencer.mode),
	       r->check_sequencer.fencing_token,
	       valid ? "" : ": released, lost or taken over since");
	return status;
}

int command_check(const struct cli *c)
{
	struct request r = {.kind = MESSAGE_CHECK_SEQUENCER};
	struct reply reply = {0};
	struct chubby_operator *o;
	struct arena arena;
	int status = operator_connect(c, &o);

	if (status != 0)
		return status;
	if (strlen(c->arguments[0]) > WIRE_SEQUENCER_MAX_BYTES) {
		operator_close(o);
		say("this is no sequencer: it is too long");
		return EXIT_INVALID_SEQUENCER;
	}
	r.check_sequencer.sequencer = bytes_of_text(c->arguments[0]);
	status = operator_ask(c, o, &r, &arena, &reply);
	if (status == 0)
		status = check_show(c, &reply);
	else if (status == EXIT_USAGE)
		status = EXIT_INVALID_SEQUENCER; /* it is our argument that is none */
	arena_release(&arena);
	operator_close(o);
	return status;
}
