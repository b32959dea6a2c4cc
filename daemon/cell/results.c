/*
 * Exactly-once. A session numbers its mutating requests from 1 and tells with each the lowest
 * number whose answer it still misses: the line. Results at or above the line are kept, so that
 * a request that comes twice, through whichever master, is answered and not applied again.
 *
 *     forgotten │ line ... line + 63 │ refused
 *
 * A number below the line is refused, as its result may be forgotten; so is one beyond the
 * window, as its result would not fit.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <string.h>

/* Position of the first result with at least this number. */
static uint32_t result_position(const struct session *s, uint64_t number)
{
	uint32_t at = s->result_count;

	/* From the end: what comes is nearly always the newest. */
	while (at > 0 && s->results[at - 1].number >= number)
		at--;
	return at;
}

enum error result_find(const struct session *s, uint64_t number, uint64_t line,
		       enum entry_kind kind, const struct stored_result **ret_stored)
{
	uint32_t at = result_position(s, number);

	if (at < s->result_count && s->results[at].number == number) {
		/* The answer of another kind of request would be a lie. */
		if (s->results[at].kind != kind)
			return ERROR_INVALID_ARGUMENT;
		*ret_stored = &s->results[at];
		return ERROR_OK;
	}
	if (line < s->lowest_unanswered)
		line = s->lowest_unanswered;
	if (number < line || number - line >= CELL_RESULTS_MAX)
		return ERROR_REQUEST_OUT_OF_WINDOW;
	return ERROR_NOT_FOUND;
}

static void forget_below(struct cell *c, struct session *s, uint64_t line)
{
	uint32_t gone = result_position(s, line);

	for (uint32_t i = 0; i < gone; i++)
		digest_subtract(&c->digest, digest_of_result(s->id, &s->results[i]));
	s->result_count -= gone;
	if (gone > 0)
		memmove(s->results, s->results + gone, s->result_count * sizeof(s->results[0]));
}

static void make_room(struct session_entry *s)
{
	struct session *session = &s->session;
	uint32_t wanted = s->result_capacity;

	if (session->result_count == s->result_capacity)
		wanted = grown_capacity(wanted, session->result_count + 1);
	else if (session->result_count < s->result_capacity / 4)
		wanted = s->result_capacity / 2; /* a burst is over */
	if (wanted == s->result_capacity)
		return;
	s->result_capacity = wanted;
	session->results = mem_realloc_array(session->results, wanted, sizeof(session->results[0]));
}

void result_append(struct session_entry *s, const struct stored_result *stored)
{
	struct session *session = &s->session;
	uint32_t at = result_position(session, stored->number);

	make_room(s);
	memmove(session->results + at + 1, session->results + at,
		(session->result_count - at) * sizeof(session->results[0]));
	session->results[at] = *stored;
	session->result_count++;
	CHECK(session->result_count <= CELL_RESULTS_MAX);
}

void result_store(struct cell *c, struct session_entry *s, uint64_t line,
		  const struct stored_result *stored)
{
	struct session *session = &s->session;

	if (line > session->lowest_unanswered) {
		session->lowest_unanswered = line;
		forget_below(c, session, line);
	}
	CHECK(stored->number >= session->lowest_unanswered);
	result_append(s, stored);
	digest_add(&c->digest, digest_of_result(session->id, stored));
	session_touch(c, s);
}

enum error cell_stored_result(const struct cell *c, struct session_id session, uint64_t number,
			      uint64_t lowest_unanswered, enum entry_kind kind,
			      struct result *ret_result)
{
	const struct session_entry *s = session_find(c, session);
	const struct stored_result *stored;
	enum error error;

	if (s == NULL)
		return ERROR_SESSION_EXPIRED;
	error = result_find(&s->session, number, lowest_unanswered, kind, &stored);
	if (error == ERROR_OK)
		*ret_result = stored->result;
	return error;
}
