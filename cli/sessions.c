/*
 * Who is there: the sessions of the cell, and the end of one.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"

#define PAGE 256

static json_t *json_of_session(const struct wire_session_status *s, int64_t now_unix_ms)
{
	return json_pack("{s:I, s:o, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "session",
			 (json_int_t)s->session.n, "principal", json_of_bytes(s->principal), "host",
			 json_of_bytes(s->host), "pid", (json_int_t)s->pid, "command",
			 json_of_bytes(s->command), "lease_ms",
			 (json_int_t)(s->lease_ns / NS_PER_MS), "left_ms",
			 (json_int_t)(s->left_ns / NS_PER_MS), "created_unix_ms",
			 (json_int_t)s->created_unix_ms, "age_ms",
			 (json_int_t)(now_unix_ms > s->created_unix_ms
					      ? now_unix_ms - s->created_unix_ms
					      : 0),
			 "locks", (json_int_t)s->lock_count, "handles",
			 (json_int_t)s->handle_count);
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void print_session(const struct wire_session_status *s, int64_t now_unix_ms)
{
	char age[32];

	age_format(now_unix_ms - s->created_unix_ms, age, sizeof(age));
	printf("%-10" PRIu64 " %5" PRIu32 " %7" PRIu32 " %6.1fs %6.1fs %7s %8" PRIu32 "  ",
	       s->session.n, s->lock_count, s->handle_count, (double)s->lease_ns / NS_PER_S,
	       (double)s->left_ns / NS_PER_S, age, s->pid);
	print_bytes(s->principal);
	printf(" at ");
	print_bytes(s->host);
	printf(": ");
	print_bytes(s->command);
	printf("\n");
}

static int sessions_page(const struct cli *c, struct chubby_operator *o, json_t *all,
			 uint64_t *after, int64_t *ret_now_unix_ms)
{
	struct request r = {.kind = MESSAGE_LIST_SESSIONS};
	struct reply reply = {0};
	struct arena arena;
	int status;

	r.list_sessions.after = *after;
	r.list_sessions.limit = PAGE;
	status = operator_ask(c, o, &r, &arena, &reply);
	for (uint32_t i = 0; status == 0 && i < reply.list_sessions.count; i++) {
		const struct wire_session_status *s = &reply.list_sessions.sessions[i];

		if (c->json)
			json_array_append_new(all,
					      json_of_session(s, reply.list_sessions.now_unix_ms));
		else
			print_session(s, reply.list_sessions.now_unix_ms);
	}
	*after = reply.list_sessions.next;
	*ret_now_unix_ms = reply.list_sessions.now_unix_ms;
	arena_release(&arena);
	return status;
}

int command_sessions(const struct cli *c)
{
	struct chubby_operator *o;
	int64_t now_unix_ms = 0;
	uint64_t after = 0;
	json_t *all;
	int status = operator_connect(c, &o);

	if (status != 0)
		return status;
	all = json_array();
	if (!c->json)
		printf("%-10s %5s %7s %7s %7s %7s %8s  %s\n", "SESSION", "LOCKS", "HANDLES",
		       "LEASE", "LEFT", "AGE", "PID", "WHO");
	do {
		status = sessions_page(c, o, all, &after, &now_unix_ms);
	} while (status == 0 && after != 0);
	operator_close(o);
	if (!c->json || status != 0) {
		json_decref(all);
		return status;
	}
	return print_json(
		json_pack("{s:I, s:o}", "now_unix_ms", (json_int_t)now_unix_ms, "sessions", all));
}

/* ---- session end ---------------------------------------------------------------------------- */

/* What there is to say of a session before it goes; *ret_session is NULL if there is none. */
static int session_find(const struct cli *c, struct chubby_operator *o, uint64_t id,
			json_t **ret_session)
{
	struct request r = {.kind = MESSAGE_LIST_SESSIONS};
	struct reply reply = {0};
	struct arena arena;
	int status;

	r.list_sessions.after = id - 1;
	r.list_sessions.limit = 1;
	*ret_session = NULL;
	status = operator_ask(c, o, &r, &arena, &reply);
	if (status == 0 && reply.list_sessions.count > 0 &&
	    reply.list_sessions.sessions[0].session.n == id)
		*ret_session = json_of_session(&reply.list_sessions.sessions[0],
					       reply.list_sessions.now_unix_ms);
	arena_release(&arena);
	return status;
}

static void add_locks_of(uint64_t id, const struct wire_lock_status *l, json_t *held)
{
	for (uint32_t i = 0; i < l->holder_count; i++) {
		if (l->holders[i].session.n != id)
			continue;
		json_array_append_new(held,
				      json_pack("{s:o, s:s, s:I}", "path", json_of_bytes(l->path),
						"mode", mode_name(l->holders[i].mode), "token",
						(json_int_t)l->holders[i].fencing_token));
	}
}

/* What became of the locks that it held: who waits for one may have it by now. */
static void add_fate_of(const struct wire_lock_status *l, json_t *held)
{
	json_t *path = json_of_bytes(l->path), *lock;
	size_t i;

	json_array_foreach(held, i, lock)
	{
		if (!json_equal(json_object_get(lock, "path"), path))
			continue;
		json_object_set_new(lock, "taken", json_boolean(l->holder_count > 0));
		json_object_set_new(lock, "lock_delay_left_ms",
				    json_integer(l->lock_delay_left_ns / NS_PER_MS));
	}
	json_decref(path);
}

/* Before the session's end what it holds; with id 0 what became of it. */
static int locks_of(const struct cli *c, struct chubby_operator *o, uint64_t id, json_t *held)
{
	struct request r = {.kind = MESSAGE_LIST_LOCKS};
	int status;

	r.list_locks.limit = PAGE;
	do {
		struct reply reply = {0};
		struct arena arena;

		status = operator_ask(c, o, &r, &arena, &reply);
		for (uint32_t i = 0; status == 0 && i < reply.list_locks.count; i++)
			id != 0 ? add_locks_of(id, &reply.list_locks.locks[i], held)
				: add_fate_of(&reply.list_locks.locks[i], held);
		r.list_locks.after = reply.list_locks.next;
		arena_release(&arena);
	} while (status == 0 && r.list_locks.after != 0);
	return status;
}

static int end_session(const struct cli *c, struct chubby_operator *o, uint64_t id)
{
	struct request r = {.kind = MESSAGE_END_SESSION_OF};
	struct reply reply = {0};
	struct chubby_error e;
	struct arena arena;
	int status = 0;

	r.end_session_of.session = (struct session_id){id};
	arena_init(&arena, (size_t)1 << 20);
	/* It was there a moment ago: gone is what was wanted, whoever did it, also an attempt of
	 * ours whose answer was lost. */
	if (operator_call(o, &r, false, timeout_ms(c) * NS_PER_MS, &arena, &reply, &e) !=
		    ERROR_OK &&
	    e.code != CHUBBY_NOT_FOUND)
		status = failure(&e);
	arena_release(&arena);
	return status;
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text != NULL ? text : "?";
}

static void print_text_of(const json_t *j, const char *key)
{
	print_bytes(bytes_of_text(text_of(j, key)));
}

static void print_ended(const json_t *session, const json_t *held)
{
	json_int_t left_ms;
	size_t i;
	json_t *lock;

	printf("session %" JSON_INTEGER_FORMAT " is ended: ",
	       json_integer_value(json_object_get(session, "session")));
	print_text_of(session, "principal");
	printf(" at ");
	print_text_of(session, "host");
	printf(", pid %" JSON_INTEGER_FORMAT " (",
	       json_integer_value(json_object_get(session, "pid")));
	print_text_of(session, "command");
	printf(")\n");
	json_array_foreach(held, i, lock)
	{
		printf("  held ");
		print_text_of(lock, "path");
		left_ms = json_integer_value(json_object_get(lock, "lock_delay_left_ms"));
		printf(", %s, token %" JSON_INTEGER_FORMAT ": ", text_of(lock, "mode"),
		       json_integer_value(json_object_get(lock, "token")));
		if (left_ms > 0)
			printf("free when its lock-delay is over, in %.1f s\n",
			       (double)left_ms / 1000);
		else
			printf("%s\n", json_is_true(json_object_get(lock, "taken"))
					       ? "others hold it"
					       : "free now");
	}
	if (json_array_size(held) == 0)
		printf("  held no lock\n");
}

static int end_and_show(const struct cli *c, struct chubby_operator *o, uint64_t id)
{
	json_t *session, *held;
	int status = session_find(c, o, id, &session);

	if (status != 0)
		return status;
	if (session == NULL) {
		say("there is no session %" PRIu64 " (`chubby sessions` lists them)", id);
		return error_exit_code(ERROR_NOT_FOUND);
	}
	held = json_array();
	status = locks_of(c, o, id, held);
	if (status == 0)
		status = end_session(c, o, id);
	if (status == 0)
		status = locks_of(c, o, 0, held);
	if (status == 0 && !c->json)
		print_ended(session, held);
	if (status == 0 && c->json) {
		json_object_set(session, "held", held);
		status = print_json(json_incref(session));
	}
	json_decref(held);
	json_decref(session);
	return status;
}

int command_session(const struct cli *c)
{
	struct chubby_operator *o;
	uint64_t id;
	int status;

	if (strcmp(c->arguments[0], "end") != 0) {
		say("chubby session knows \"end\" only, not \"%s\"; `chubby sessions` lists them",
		    c->arguments[0]);
		return EXIT_USAGE;
	}
	if (!number_parse(c->arguments[1], &id) || id == 0) {
		say("\"%s\" is no session's number; `chubby sessions` lists them", c->arguments[1]);
		return EXIT_USAGE;
	}
	status = operator_connect(c, &o);
	if (status != 0)
		return status;
	status = end_and_show(c, o, id);
	operator_close(o);
	return status;
}
