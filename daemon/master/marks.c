/*
 * Marks: what silent sessions have left of their leases, in the log, so that repeated failovers do
 * not keep the sessions of the dead alive (master.h, with the bound).
 *
 * From the moment that a mark is proposed the session is not extended: a new master may find the
 * mark, and would end the session before the client's own idea of its lease is over. A client that
 * comes back has its KeepAlive held until UNMARK is applied. Marks and UNMARK name the epoch: what
 * a former master proposed late is void.
 *
 * Candidates are the sessions without a held KeepAlive. They are in a list, so that a cell whose
 * clients are well pays nothing.
 */
#include "master/master_internal.h"

#define MARKS_PER_ENTRY 4096

void quiet_enter(struct master *m, struct lease *l)
{
	if (!l->quiet)
		DL_APPEND(m->quiet, l);
	l->quiet = true;
}

void quiet_leave(struct master *m, struct lease *l)
{
	if (l->quiet)
		DL_DELETE(m->quiet, l);
	l->quiet = false;
}

/* One that is marked gets a new mark each time, as its lease runs on. */
static bool mark_is_due(const struct master *m, const struct lease *l)
{
	if (l->expiry_proposed || l->unmark_proposed || l->deadline_ns <= m->session_now_ns)
		return false;
	return l->marked || m->session_now_ns - l->heard_ns >= MASTER_SILENT_NS;
}

static void marks_propose(struct master *m, const struct moment *at,
			  const struct session_mark *marks, uint32_t count)
{
	struct entry e = {
		.kind = ENTRY_SESSION_MARK,
		.guard_epoch = m->epoch,
		.session_mark = {.count = count, .marks = marks},
	};

	if (count > 0)
		propose(m, at, &e);
}

void marks_due(struct master *m, const struct moment *at)
{
	struct session_mark *marks = NULL;
	uint32_t count = 0;
	struct lease *l;

	timers_set(&m->timers, &m->mark, m->session_now_ns + MASTER_MARK_EVERY_NS);
	DL_FOREACH(m->quiet, l) {
		if (!mark_is_due(m, l))
			continue;
		if (count == MARKS_PER_ENTRY) {
			marks_propose(m, at, marks, count);
			count = 0;
		}
		if (count == 0)
			marks = output_alloc(m, MARKS_PER_ENTRY * sizeof(*marks));
		l->marked = true;
		marks[count++] = (struct session_mark){
			.session = {l->session},
			.left_ns = l->deadline_ns - m->session_now_ns,
		};
	}
	marks_propose(m, at, marks, count);
}

/* Its client is there again. No mark of it is proposed until this is applied, so that it can only
 * take effect behind all marks. */
void unmark_propose(struct master *m, const struct moment *at, struct lease *l)
{
	struct entry e = {
		.kind = ENTRY_SESSION_UNMARK,
		.session = {l->session},
		.guard_epoch = m->epoch,
	};

	CHECK(l->marked && !l->expiry_proposed);
	if (l->unmark_proposed)
		return;
	l->unmark_proposed = true;
	propose(m, at, &e);
}

void unmark_applied(struct master *m, const struct moment *at, const struct entry *e,
		    const struct result *r)
{
	struct lease *l = lease_find(m, e->session);

	if (l == NULL || r->error != ERROR_OK)
		return;
	CHECK(l->unmark_proposed);
	l->marked = false;
	l->unmark_proposed = false;
	if (l->expiry_proposed)
		return; /* by an operator, or by its client: it ends all the same */
	if (l->keepalive != NULL)
		keepalive_answer(m, at, l);
	else
		lease_extend(m, at, l); /* it did come */
}
