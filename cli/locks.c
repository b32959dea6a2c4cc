/*
 * What the master says about locks: who holds, who waits, does a sequencer stand.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"

#define REPLY_MAX_BYTES ((size_t)16 << 20)
#define PAGE 256

static int open_operator(const struct cli *c, struct chubby_operator **ret_operator)
{
	struct chubby_error e;

	if (operator_open(c->settings.servers, c->settings.cell, ret_operator, &e) != ERROR_OK)
		return failure(&e);
	return 0;
}

/* ---- locks ---------------------------------------------------------------------------------- */

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
	return json_pack("{s:o, s:s, s:I, s:I, s:o, s:o, s:I, s:I}", "path", json_of_bytes(l->path),
			 "mode", mode_name(l->mode), "instance", (json_int_t)l->instance,
			 "lock_generation", (json_int_t)l->lock_generation, "holders", holders,
			 "waiters", waiters, "waiter_count", (json_int_t)l->waiter_count,
			 "lock_delay_ms", (json_int_t)(l->lock_delay_ns / NS_PER_MS));
}

/* Names come from other people's processes: what could move the cursor is shown as "?". */
static void print_bytes(struct bytes b)
{
	for (size_t i = 0; i < b.size; i++)
		putchar(b.data[i] < 0x20 || b.data[i] == 0x7F ? '?' : b.data[i]);
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
		printf(", in lock-delay of %" PRId64 " ms", l->lock_delay_ns / NS_PER_MS);
	printf("\n");
	for (uint32_t i = 0; i < l->holder_count; i++)
		print_party("holder", &l->holders[i], now_unix_ms);
	for (uint32_t i = 0; i < l->shown_waiter_count; i++)
		print_party("waiting", &l->waiters[i], now_unix_ms);
	if (l->waiter_count > l->shown_waiter_count)
		printf("  … and %" PRIu32 " more waiting\n",
		       l->waiter_count - l->shown_waiter_count);
}

static int locks_page(const struct cli *c, struct chubby_operator *o, json_t *all, uint64_t *after,
		      int64_t *ret_now_unix_ms)
{
	struct request r = {.kind = MESSAGE_LIST_LOCKS};
	struct reply reply = {0};
	struct chubby_error e;
	struct arena arena;
	int status = 0;

	if (c->argument_count > 0)
		r.list_locks.path = bytes_of_text(c->arguments[0]);
	r.list_locks.all = c->all;
	r.list_locks.after = *after;
	r.list_locks.limit = PAGE;
	arena_init(&arena, REPLY_MAX_BYTES);
	if (operator_call(o, &r, false, timeout_ms(c) * NS_PER_MS, &arena, &reply, &e) !=
	    ERROR_OK) {
		status = failure(&e);
	} else {
		for (uint32_t i = 0; i < reply.list_locks.count; i++) {
			const struct wire_lock_status *l = &reply.list_locks.locks[i];

			if (c->json)
				json_array_append_new(all,
						      json_of_lock(l,
								   reply.list_locks.now_unix_ms));
			else
				print_lock(l, reply.list_locks.now_unix_ms);
		}
		*after = reply.list_locks.next;
		*ret_now_unix_ms = reply.list_locks.now_unix_ms;
	}
	arena_release(&arena);
	return status;
}

int command_locks(const struct cli *c)
{
	struct chubby_operator *o;
	json_t *all = json_array();
	int64_t now_unix_ms = 0;
	uint64_t after = 0;
	int status = open_operator(c, &o);

	if (status != 0) {
		json_decref(all);
		return status;
	}
	do {
		status = locks_page(c, o, all, &after, &now_unix_ms);
	} while (status == 0 && after != 0);
	operator_close(o);
	if (!c->json || status != 0) {
		json_decref(all);
		return status;
	}
	return print_json(
		json_pack("{s:I, s:o}", "now_unix_ms", (json_int_t)now_unix_ms, "locks", all));
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
	struct chubby_error e;
	struct arena arena;
	int status = open_operator(c, &o);

	if (status != 0)
		return status;
	if (strlen(c->arguments[0]) > WIRE_SEQUENCER_MAX_BYTES) {
		operator_close(o);
		say("this is no sequencer: it is too long");
		return EXIT_INVALID_SEQUENCER;
	}
	r.check_sequencer.sequencer = bytes_of_text(c->arguments[0]);
	arena_init(&arena, REPLY_MAX_BYTES);
	switch (operator_call(o, &r, false, timeout_ms(c) * NS_PER_MS, &arena, &reply, &e)) {
	case ERROR_OK:
		status = check_show(c, &reply);
		break;
	case ERROR_INVALID_ARGUMENT:
	case ERROR_SEQUENCER_INVALID:
		say("%s", e.message);
		status = EXIT_INVALID_SEQUENCER;
		break;
	default:
		status = failure(&e);
	}
	arena_release(&arena);
	operator_close(o);
	return status;
}
