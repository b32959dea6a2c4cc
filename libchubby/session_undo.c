/*
 * Calls whose caller is gone, by a cancel, a poison or a deadline, when they may have taken effect:
 * what they get is given back when their answer comes. A lock that nobody knows to hold would keep
 * all others waiting; a handle that nobody knows of would keep its node, and the session.
 *
 * An acquire is asked about until its fate is known (session_lock.c). The others can only be asked
 * again with what was their caller's, so that with their link the chance is gone. What they got
 * then stays until its handle is closed, or the session ends.
 */
#include "session_internal.h"

#include <string.h>

void call_undoes(struct session *s, struct call *c)
{
	s->undoing += c->undoes ? 0 : 1;
	c->undoes = true;
}

struct call *call_follow_up(struct session *s, struct bytes handle, uint64_t handle_number,
			    enum message_kind kind)
{
	struct request r = {.kind = kind, .handle = handle};
	struct call *c = call_new(s, &r, handle_number);

	call_undoes(s, c);
	return c;
}

/* Whether the request is about the lock of this handle. */
static bool claims(const struct request *r, struct bytes handle)
{
	if (r->kind == MESSAGE_ACQUIRE || r->kind == MESSAGE_RELEASE)
		return bytes_equal(r->handle, handle);
	for (uint32_t i = 0; r->kind == MESSAGE_MULTI && i < r->multi.count; i++) {
		if (bytes_equal(r->multi.ops[i].handle, handle))
			return true;
	}
	return false;
}

/* Whether it is about a lock that is being undone. */
static bool meets(const struct request *r, const struct request *undone)
{
	if (undone->kind != MESSAGE_MULTI)
		return claims(r, undone->handle);
	for (uint32_t i = 0; i < undone->multi.count; i++) {
		if (claims(r, undone->multi.ops[i].handle))
			return true;
	}
	return false;
}

bool waits_for_undo(const struct session *s, const struct call *c)
{
	if (s->undoing == 0 || c->undoes)
		return false;
	for (const struct call *o = s->calls; o != NULL; o = o->hh.next) {
		if (o->undoes && meets(&c->request, &o->request))
			return true;
	}
	return false;
}

bool undo_ends_with_link(const struct call *c)
{
	return c->abandoned && c->request.kind != MESSAGE_ACQUIRE;
}

/* ---- several at once ------------------------------------------------------------------------ */

/* The request's own operations were the caller's: those that acquire are copied. */
static void multi_remember(struct call *c)
{
	const struct request *r = &c->request;
	struct wire_multi_op *kept = mem_zalloc(r->multi.count * sizeof(*kept));
	uint32_t count = 0;

	for (uint32_t i = 0; i < r->multi.count; i++) {
		struct bytes handle = r->multi.ops[i].handle;
		uint8_t *copy;

		if (r->multi.ops[i].kind != WIRE_MULTI_ACQUIRE || handle.size == 0 ||
		    handle.size > WIRE_HANDLE_MAX_BYTES)
			continue;
		copy = mem_alloc(handle.size);
		memcpy(copy, handle.data, handle.size);
		kept[count].handle = (struct bytes){copy, handle.size};
		count++;
	}
	c->request.multi.ops = kept;
	c->request.multi.count = count;
}

void multi_forget(struct call *c)
{
	if (!c->abandoned || c->request.kind != MESSAGE_MULTI)
		return;
	for (uint32_t i = 0; i < c->request.multi.count; i++)
		free((void *)(uintptr_t)c->request.multi.ops[i].handle.data);
	free((void *)(uintptr_t)c->request.multi.ops);
}

void multi_answered(struct session *s, struct call *c, const struct reply *r)
{
	for (uint32_t i = 0; c->abandoned && r->error == ERROR_OK && i < c->request.multi.count;
	     i++)
		(void)call_follow_up(s, c->request.multi.ops[i].handle, 0, MESSAGE_RELEASE);
	call_complete(s, c, r);
}

/* ---- open ----------------------------------------------------------------------------------- */

void open_answered(struct session *s, struct call *c, const struct reply *r)
{
	if (r->error == ERROR_OK && c->caller_waits)
		s->handles++;
	else if (r->error == ERROR_OK && r->open.handle.size <= WIRE_HANDLE_MAX_BYTES)
		(void)call_follow_up(s, r->open.handle, 0, MESSAGE_CLOSE);
	call_complete(s, c, r);
}

/* ---- any ------------------------------------------------------------------------------------ */

void call_abandon(struct session *s, struct call *c, enum error e, const char *text)
{
	struct reply r = {.kind = c->request.kind, .error = e, .message = bytes_of_text(text)};
	bool gets = c->request.kind == MESSAGE_OPEN || c->request.kind == MESSAGE_MULTI;

	if (c->request.kind == MESSAGE_ACQUIRE) {
		acquire_abandon(s, c, e, text);
		return;
	}
	if (!gets || c->state != CALL_SENT) {
		call_fail(s, c, e, text);
		return;
	}
	caller_told(s, c, &r);
	if (c->request.kind == MESSAGE_MULTI) {
		multi_remember(c);
		call_undoes(s, c);
	}
	c->request.guard_sequencer = BYTES_NONE;
	c->abandoned = true;
	c->deadline_ns = TIME_NEVER;
}
