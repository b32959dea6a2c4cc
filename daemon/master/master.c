/*
 * Life of a master, the checks that every request passes, and the dispatch.
 */
#include "master/master_internal.h"

#include <inttypes.h>
#include <stdio.h>

#include "wire/path.h"

/* A longer name is no cell's. */
#define WRONG_CELL_SHOWN_BYTES 64u

struct master *master_new(const struct master_config *config, const struct cell *cell)
{
	struct master *m = mem_zalloc(sizeof(*m));

	CHECK(config->server_count >= 1 && config->server_count <= MEMBERS_MAX);
	m->config = *config;
	for (uint32_t i = 0; i < config->server_count; i++) {
		struct bytes *address = &m->config.servers[i].address;

		address->data = mem_dup(address->data, address->size);
	}
	m->cell = cell;
	if (m->config.stretch_sessions == 0)
		m->config.stretch_sessions = MASTER_STRETCH_SESSIONS;
	m->retry.kind = TIMER_RETRY;
	m->retry.owner = m;
	m->mark.kind = TIMER_MARK;
	m->mark.owner = m;
	arena_init(&m->out.arena, OUTPUT_ARENA_MAX_BYTES);
	return m;
}

void master_free(struct master *m)
{
	struct moment never = {0};

	if (m == NULL)
		return;
	master_end(m, &never);
	while (m->finding != NULL) {
		struct open_call *c = m->finding;

		m->finding = c->next_held;
		call_done(m, c);
	}
	for (uint32_t i = 0; i < m->config.server_count; i++)
		free((void *)(uintptr_t)m->config.servers[i].address.data);
	timers_release(&m->timers);
	timers_release(&m->find_timers);
	output_release(m);
	free(m);
}

bool master_serving(const struct master *m)
{
	return m->serving;
}

const char *wrong_cell(struct master *m, struct bytes asked)
{
	const size_t size = 256;
	struct bytes own = cell_meta(m->cell)->name;
	char *text = output_alloc(m, size);

	if (asked.size > WRONG_CELL_SHOWN_BYTES || !text_valid(asked))
		return NULL;
	snprintf(text, size, "this is cell %.*s, not %.*s: correct the name, or ask its servers",
		 (int)own.size, (const char *)own.data, (int)asked.size, (const char *)asked.data);
	return text;
}

bool cell_matches(struct master *m, struct inbound *in, struct bytes cell)
{
	if (cell.size == 0 || bytes_equal(cell, cell_meta(m->cell)->name))
		return true;
	reply_error(m, in->call, in->r->kind, ERROR_WRONG_CELL, wrong_cell(m, cell));
	return false;
}

/* "local" is the nearby cell, whatever its name (Chubby section 2.3). */
enum error path_inside(const struct master *m, struct bytes full, struct bytes *ret_inner,
		       const char **ret_why)
{
	struct bytes cell, inner;

	if (path_parse(full, &cell, &inner, ret_why) != ERROR_OK)
		return ERROR_INVALID_PATH;
	if (!bytes_equal(cell, bytes_of_text("local")) &&
	    !bytes_equal(cell, cell_meta(m->cell)->name))
		return ERROR_WRONG_CELL;
	*ret_inner = inner;
	return ERROR_OK;
}

bool path_resolve(struct master *m, struct inbound *in, struct bytes full, struct bytes *ret_inner)
{
	const char *why = NULL;
	enum error e = path_inside(m, full, ret_inner, &why);
	struct bytes cell, inner;

	if (e == ERROR_WRONG_CELL && path_parse(full, &cell, &inner, &why) == ERROR_OK)
		why = wrong_cell(m, cell);
	if (e != ERROR_OK)
		reply_error(m, in->call, in->r->kind, e, why);
	return e == ERROR_OK;
}

enum entry_kind numbered_entry(enum message_kind kind)
{
	static const enum entry_kind entries[MESSAGE_KIND_END] = {
		[MESSAGE_OPEN] = ENTRY_NODE_CREATE,     [MESSAGE_SET_CONTENTS] = ENTRY_NODE_WRITE,
		[MESSAGE_SET_ACL] = ENTRY_NODE_SET_ACL, [MESSAGE_DELETE] = ENTRY_NODE_DELETE,
		[MESSAGE_ACQUIRE] = ENTRY_ACQUIRE,      [MESSAGE_CANCEL] = ENTRY_CANCEL,
		[MESSAGE_RELEASE] = ENTRY_RELEASE,      [MESSAGE_MULTI] = ENTRY_MULTI,
	};

	return entries[kind];
}

/*
 * A number that was answered before gets its answer again, whatever has happened since; nothing is
 * proposed. Numbers outside the window are refused before they cost a log write.
 */
bool request_repeated(struct master *m, struct inbound *in)
{
	struct open_call repeat = {
		.call = in->call,
		.kind = in->r->kind,
		.session = in->r->session,
	};
	struct result r;
	enum error e;

	if (in->r->number == 0)
		return false;
	e = cell_stored_result(m->cell, in->r->session, in->r->number, in->r->lowest_unanswered,
			       numbered_entry(in->r->kind), &r);
	if (e == ERROR_NOT_FOUND)
		return false;
	if (e != ERROR_OK) {
		reply_error(m, in->call, in->r->kind, e,
			    e == ERROR_INVALID_ARGUMENT
				    ? "this number was used for another kind of request"
				    : NULL);
		return true;
	}
	if (in->r->kind == MESSAGE_OPEN) {
		repeat.handle = in->r->open.handle_number;
		repeat.uses = (in->r->open.read ? 1u : 0u) | (in->r->open.write ? 2u : 0u) |
			      (in->r->open.change_acl ? 4u : 0u);
		repeat.event_mask = in->r->open.event_mask;
	} else if (in->r->kind == MESSAGE_ACQUIRE || in->r->kind == MESSAGE_CANCEL) {
		if (!handle_resolve(m, in, 0))
			return true;
		repeat.handle.n = in->handle->number;
		repeat.instance = in->handle->instance;
	} else if (in->r->kind == MESSAGE_MULTI) {
		multi_repeated(m, in, &repeat);
	}
	reply_to_result(m, in->at, &repeat, &r);
	return true;
}

struct open_call *propose_for(struct master *m, struct inbound *in, struct entry *e)
{
	bool always = e->kind == ENTRY_RELEASE || e->kind == ENTRY_CANCEL ||
		      e->kind == ENTRY_CLOSE || e->kind == ENTRY_SESSION_END;

	if (!always && HASH_CNT(by_origin, m->pending) >= MASTER_PENDING_MAX) {
		reply_error(m, in->call, in->r->kind, ERROR_RESOURCE_EXHAUSTED,
			    "too many operations are under way; try again");
		return NULL;
	}
	e->guard_grant = in->guard;
	return call_pend(m, in, propose(m, in->at, e));
}

static void session_created(struct master *m, const struct open_call *c, const struct result *r)
{
	struct lease *l = lease_find(m, r->session);
	struct reply out = {.kind = MESSAGE_CREATE_SESSION, .epoch = m->epoch};

	if (r->error != ERROR_OK || l == NULL) {
		reply_error(m, c->call, c->kind,
			    r->error != ERROR_OK ? r->error : ERROR_SESSION_EXPIRED, NULL);
		return;
	}
	l->contacted = true;
	if (c->stream.n != 0)
		lease_bind_stream(m, l, c->stream);
	out.create_session.session = r->session;
	out.create_session.lease_ns = l->granted_ns;
	reply_with(m, c->call, true, &out);
}

static struct bytes present_generation(struct master *m, uint64_t generation)
{
	const size_t size = 64;
	char *text = output_alloc(m, size);

	snprintf(text, size, "it is %" PRIu64 " now", generation);
	return bytes_of_text(text);
}

/* The answer of a call whose entry was applied, now or long ago. */
void reply_to_result(struct master *m, const struct moment *at, const struct open_call *c,
		     const struct result *r)
{
	struct reply out = {
		.kind = c->kind,
		.error = r->error,
		.generation = r->generation,
		.revision = r->revision.n,
	};

	switch (c->kind) {
	case MESSAGE_CREATE_SESSION:
		session_created(m, c, r);
		return;
	case MESSAGE_OPEN:
		open_applied(m, at, c, r);
		return;
	case MESSAGE_ACQUIRE:
		acquire_applied(m, c, r);
		return;
	case MESSAGE_CANCEL:
		cancel_applied(m, c, r);
		return;
	case MESSAGE_MULTI:
		multi_applied(m, c, r);
		return;
	case MESSAGE_REVOKE_LOCK:
		revoke_applied(m, c, r);
		return;
	case MESSAGE_CLOSE:
		out.error = ERROR_OK; /* Close never fails */
		break;
	default:
		if (r->error == ERROR_GENERATION_MISMATCH)
			out.message = present_generation(m, r->generation);
		break;
	}
	reply_with(m, c->call, false, &out);
}

static void create_session_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	int64_t lease = r->create_session.lease_ns;
	struct entry e = {
		.kind = ENTRY_SESSION_CREATE,
		.session_create =
			{
				.principal = bytes_of_text("anonymous"),
				.host = r->create_session.host,
				.command = r->create_session.command,
				.pid = r->create_session.pid,
				.lease_ns = lease == 0 ? MASTER_LEASE_DEFAULT_NS
						       : time_earlier(lease,
								      MASTER_LEASE_ASKED_MAX_NS),
				.caches = r->create_session.caches,
			},
	};

	if (!cell_matches(m, in, r->cell))
		return;
	if (lease != 0 &&
	    (lease < CELL_SESSION_LEASE_MIN_NS || lease > CELL_SESSION_LEASE_MAX_NS)) {
		reply_error(m, in->call, r->kind, ERROR_INVALID_ARGUMENT,
			    "a session lease is 1 s to 60 s");
		return;
	}
	if (cell_session_count(m->cell) >= MASTER_SESSIONS_MAX) {
		reply_error(m, in->call, r->kind, ERROR_RESOURCE_EXHAUSTED,
			    "the cell has as many sessions as it can bear");
		return;
	}
	propose_for(m, in, &e);
}

static void end_session_request(struct master *m, struct inbound *in)
{
	struct entry e = {
		.kind = ENTRY_SESSION_END,
		.session = in->r->session,
		.session_end = {.reason = SESSION_END_CLOSED},
	};

	propose_for(m, in, &e);
}

/* What each request needs, and who handles it; a kind without a handler is UNIMPLEMENTED. */
static const struct handler {
	void (*handle)(struct master *m, struct inbound *in);
	bool in_session;
} handlers[MESSAGE_KIND_END] = {
	[MESSAGE_CREATE_SESSION] = {create_session_request, false},
	[MESSAGE_KEEP_ALIVE] = {keepalive_request, true},
	[MESSAGE_END_SESSION] = {end_session_request, true},
	[MESSAGE_OPEN] = {open_request, true},
	[MESSAGE_CLOSE] = {close_request, true},
	[MESSAGE_GET_CONTENTS_AND_STAT] = {get_request, true},
	[MESSAGE_GET_STAT] = {get_request, true},
	[MESSAGE_READ_DIR] = {read_dir_request, true},
	[MESSAGE_SET_CONTENTS] = {set_contents_request, true},
	[MESSAGE_SET_ACL] = {set_acl_request, true},
	[MESSAGE_DELETE] = {delete_request, true},
	[MESSAGE_ACQUIRE] = {acquire_request, true},
	[MESSAGE_WAIT] = {wait_request, true},
	[MESSAGE_CANCEL] = {cancel_request, true},
	[MESSAGE_RELEASE] = {release_request, true},
	[MESSAGE_CHECK_SEQUENCER] = {check_sequencer_request, false},
	[MESSAGE_MULTI] = {multi_request, true},
	[MESSAGE_LIST_LOCKS] = {list_locks_request, false},
	[MESSAGE_LIST_SESSIONS] = {list_sessions_request, false},
	[MESSAGE_END_SESSION_OF] = {end_session_of_request, false},
	[MESSAGE_REVOKE_LOCK] = {revoke_lock_request, false},
};

/* The session lives, and the client knows of this mastership (Chubby 2.9, steps 1 and 4). */
static bool session_resolve(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;

	in->lease = lease_find(m, r->session);
	if (in->lease == NULL) {
		reply_error(m, in->call, r->kind, ERROR_SESSION_EXPIRED, NULL);
		return false;
	}
	in->lease->heard_ns = m->session_now_ns;
	if (r->kind != MESSAGE_KEEP_ALIVE)
		in->lease->called_ns = m->session_now_ns;
	if (r->kind != MESSAGE_KEEP_ALIVE && r->epoch.n != 0 && r->epoch.n != m->epoch.n) {
		struct reply out = {
			.kind = r->kind,
			.error = ERROR_EPOCH_CHANGED,
			.epoch = m->epoch,
		};

		reply_with(m, in->call, false, &out);
		return false;
	}
	return true;
}

void master_request(struct master *m, const struct moment *at, struct call_id call,
		    struct stream_id stream, const struct request *r)
{
	struct inbound in = {.call = call, .stream = stream, .r = r, .at = at};
	const struct handler *h = &handlers[r->kind];

	CHECK(call.n != 0 && r->kind != MESSAGE_STATUS);
	session_clock_advance(m, at);
	if (r->kind == MESSAGE_FIND_MASTER) {
		find_master_request(m, &in);
		return;
	}
	if (!m->serving) {
		not_master(m, call, r->kind);
		return;
	}
	if (!cell_matches(m, &in, r->cell))
		return;
	if (h->handle == NULL)
		reply_error(m, call, r->kind, ERROR_UNIMPLEMENTED, NULL);
	else if (!h->in_session || (session_resolve(m, &in) && sequencer_guards(m, &in)))
		h->handle(m, &in);
}

void master_tick(struct master *m, const struct moment *at)
{
	struct timer *t;

	find_master_timeout(m, at->now_ns);
	session_clock_advance(m, at);
	if (!m->serving)
		return;
	while ((t = timers_expire(&m->timers, m->session_now_ns)) != NULL) {
		switch (t->kind) {
		case TIMER_SESSION_EXPIRY:
			lease_expire(m, at, t->owner);
			break;
		case TIMER_KEEPALIVE_ANSWER:
			keepalive_answer(m, at, t->owner);
			break;
		case TIMER_HELD:
			wait_timeout(m, t->owner);
			break;
		case TIMER_RETRY:
			retry_now(m, at);
			break;
		case TIMER_MARK:
			marks_due(m, at);
			break;
		default:
			lock_timer_fired(m, at, t);
			break;
		}
	}
}

int64_t master_next_tick(const struct master *m, const struct moment *at)
{
	int64_t next = timers_next(&m->find_timers);
	int64_t due = timers_next(&m->timers);

	/* The session clock runs as fast as the host's while it runs, and has run since the last
	 * event: whoever asks often must not put the tick off each time. */
	if (m->serving && due != TIME_NEVER) {
		int64_t left = due - session_clock_at(m, at);

		next = time_earlier(next, at->now_ns + (left > 0 ? left : 0));
	}
	return next;
}

void master_counters(const struct master *m, struct master_counters *ret_counters)
{
	struct master_counters c = {.sessions = HASH_COUNT(m->leases)};

	c.pending = HASH_CNT(by_origin, m->pending);
	c.held = m->call_count - c.pending;
	*ret_counters = c;
}

static const char *lease_invariants(const struct master *m, const struct lease *l)
{
	const struct session *s = cell_session(m->cell, (struct session_id){l->session});

	if (s == NULL)
		return "M4: a lease without a session";
	if (l->expiry_proposed && l->expiry.position != 0)
		return "M2: a session whose expiry is proposed has a deadline again";
	if (!l->expiry_proposed && !l->unmark_proposed && l->expiry.position == 0)
		return "M2: a session without a deadline";
	if (s->mark_left_ns >= 0 && !l->marked)
		return "M5: a mark in the log that the lease does not know of";
	if (l->quiet != (l->keepalive == NULL))
		return "M5: a session without a KeepAlive that is not in the list of those";
	if (l->keepalive != NULL && l->answer.position == 0 && !l->expiry_proposed &&
	    !l->unmark_proposed)
		return "M1: a KeepAlive that nothing will answer";
	return NULL;
}

/* Every open call is in one place from which it will be answered. */
static const char *call_invariants(const struct master *m)
{
	const struct lease *l, *next;
	uint32_t places = m->find_count + HASH_CNT(by_origin, m->pending);

	HASH_ITER(hh, m->leases, l, next) {
		places += l->keepalive != NULL ? 1 : 0;
		for (const struct open_call *c = l->waits; c != NULL; c = c->next_held)
			places++;
	}
	return places == m->call_count ? NULL : "M1: an open call that nothing will answer";
}

const char *master_invariants(const struct master *m)
{
	const struct lease *l, *next;
	const char *broken = call_invariants(m);

	if (broken != NULL)
		return broken;
	if (!m->serving)
		return m->leases == NULL && m->pending == NULL && m->timers.count == 0 &&
				       m->retry_count == 0 && m->quiet == NULL
			       ? NULL
			       : "M3: something is left of a mastership";
	HASH_ITER(hh, m->leases, l, next) {
		broken = lease_invariants(m, l);
		if (broken != NULL)
			return broken;
	}
	if (HASH_COUNT(m->leases) != cell_session_count(m->cell))
		return "M4: a session without a lease";
	return NULL;
}
