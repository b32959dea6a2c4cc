/*
 * What operators ask: who holds what, who is there; ending a session, revoking a lock.
 */
#include "master/master_internal.h"

#define LIST_LIMIT 256
#define LIST_MAX_BYTES ((size_t)512 << 10)
#define WAITERS_SHOWN 64

static struct wire_lock_party party_of(const struct master *m, struct session_id session,
				       struct handle_id handle)
{
	const struct session *s = cell_session(m->cell, session);
	struct wire_lock_party p = {.session = session, .handle = handle};

	CHECK(s != NULL);
	p.principal = s->principal;
	p.host = s->host;
	p.pid = s->pid;
	p.command = s->command;
	return p;
}

static size_t party_bytes(const struct wire_lock_party *p)
{
	return 64 + p->principal.size + p->host.size + p->command.size;
}

static enum wire_lock_mode mode_of(enum lock_mode mode)
{
	return mode == LOCK_EXCLUSIVE ? WIRE_LOCK_EXCLUSIVE
	       : mode == LOCK_SHARED  ? WIRE_LOCK_SHARED
				      : WIRE_LOCK_FREE;
}

static void lock_status(struct master *m, const struct node *n, struct wire_lock_status *out,
			size_t *bytes)
{
	const struct lock *lock = n->lock;
	uint32_t shown = lock->waiter_count < WAITERS_SHOWN ? lock->waiter_count : WAITERS_SHOWN;
	uint32_t held = lock->holder_count < LIST_LIMIT ? lock->holder_count : LIST_LIMIT;
	struct wire_lock_party *holders = output_alloc(m, held * sizeof(*holders));
	struct wire_lock_party *waiters = output_alloc(m, shown * sizeof(*waiters));

	for (uint32_t i = 0; i < held; i++) {
		const struct lock_holder *h = &lock->holders[i];

		holders[i] = party_of(m, h->session, h->handle);
		holders[i].mode = mode_of(lock->mode);
		holders[i].since_unix_ms = h->since_unix_ms;
		holders[i].fencing_token = lock->period.n;
		*bytes += party_bytes(&holders[i]);
	}
	for (uint32_t i = 0; i < shown; i++) {
		const struct lock_waiter *w = &lock->waiters[i];

		waiters[i] = party_of(m, w->session, w->handle);
		waiters[i].mode = mode_of(w->mode);
		waiters[i].since_unix_ms = w->since_unix_ms;
		waiters[i].ticket = w->ticket.n;
		*bytes += party_bytes(&waiters[i]);
	}
	*out = (struct wire_lock_status){
		.path = output_path(m, n->path),
		.mode = mode_of(lock->mode),
		.instance = n->instance,
		.lock_generation = lock->generation,
		.holder_count = held,
		.holders = holders,
		.shown_waiter_count = shown,
		.waiters = waiters,
		.waiter_count = lock->waiter_count,
		.lock_delay_ns = lock->delay_ns,
		.lock_delay_left_ns = lock_delay_left_ns(m, n),
	};
	*bytes += out->path.size + 64;
}

/* True for the node at `inner` and for what is below it. */
static bool below(struct bytes path, struct bytes inner)
{
	if (inner.size <= 1)
		return true;
	if (path.size < inner.size || memcmp(path.data, inner.data, inner.size) != 0)
		return false;
	return path.size == inner.size || path.data[inner.size] == '/';
}

void list_locks_request(struct master *m, struct inbound *in)
{
	const struct request *r = in->r;
	struct reply out = {.kind = MESSAGE_LIST_LOCKS};
	struct bytes inner = BYTES_NONE;
	uint32_t limit = r->list_locks.limit, count = 0;
	const struct node *n;
	struct wire_lock_status *locks;
	size_t bytes = 0;

	if (r->list_locks.path.size > 0 && !path_resolve(m, in, r->list_locks.path, &inner))
		return;
	if (limit == 0 || limit > LIST_LIMIT)
		limit = LIST_LIMIT;
	locks = output_alloc(m, limit * sizeof(*locks));
	n = cell_locked_after(m->cell, r->list_locks.after);
	while (n != NULL && count < limit && bytes < LIST_MAX_BYTES) {
		const struct lock *lock = n->lock;
		bool busy = lock->holder_count > 0 || lock->waiter_count > 0 || lock->delay_ns > 0;

		out.list_locks.next = n->instance;
		if ((busy || r->list_locks.all) && below(n->path, inner))
			lock_status(m, n, &locks[count++], &bytes);
		n = cell_locked_after(m->cell, n->instance);
	}
	if (n == NULL)
		out.list_locks.next = 0;
	out.list_locks.count = count;
	out.list_locks.locks = locks;
	out.list_locks.now_unix_ms = in->at->wall_unix_ms;
	out.revision = cell_meta(m->cell)->revision.n;
	reply_with(m, in->call, true, &out);
}

void list_sessions_request(struct master *m, struct inbound *in)
{
	struct reply out = {.kind = MESSAGE_LIST_SESSIONS};
	uint32_t limit = in->r->list_sessions.limit, count = 0;
	struct wire_session_status *list;
	const struct session *s;
	size_t bytes = 0;

	if (limit == 0 || limit > LIST_LIMIT)
		limit = LIST_LIMIT;
	list = output_alloc(m, limit * sizeof(*list));
	s = cell_session_after(m->cell, (struct session_id){in->r->list_sessions.after});
	while (s != NULL && count < limit && bytes < LIST_MAX_BYTES) {
		const struct lease *l = lease_find(m, s->id);

		out.list_sessions.next = s->id.n;
		if (l != NULL) {
			int64_t left = l->deadline_ns - m->session_now_ns;

			list[count++] = (struct wire_session_status){
				.session = s->id,
				.principal = s->principal,
				.host = s->host,
				.pid = s->pid,
				.command = s->command,
				.lease_ns = l->granted_ns,
				.left_ns = left > 0 ? left : 0,
				.created_unix_ms = s->created_unix_ms,
				.lock_count = s->lock_count,
				.handle_count = l->open_handles,
			};
			bytes += 128 + s->principal.size + s->host.size + s->command.size;
		}
		s = cell_session_after(m->cell, s->id);
	}
	if (s == NULL)
		out.list_sessions.next = 0;
	out.list_sessions.count = count;
	out.list_sessions.sessions = list;
	out.list_sessions.now_unix_ms = in->at->wall_unix_ms;
	reply_with(m, in->call, true, &out);
}

void end_session_of_request(struct master *m, struct inbound *in)
{
	struct session_id id = in->r->end_session_of.session;
	struct entry e = {
		.kind = ENTRY_SESSION_END,
		.session = id,
		.session_end = {.reason = SESSION_END_REVOKED},
	};

	if (lease_find(m, id) == NULL) {
		reply_error(m, in->call, in->r->kind, ERROR_NOT_FOUND, "there is no such session");
		return;
	}
	propose_for(m, in, &e);
}

/* Each grant is an entry; the call waits for the last. */
static void revoke_holds(struct master *m, struct inbound *in, const struct node *n)
{
	struct session_id who = in->r->revoke_lock.session;
	struct reply none = {.kind = MESSAGE_REVOKE_LOCK};
	uint32_t count = n->lock == NULL ? 0 : n->lock->holder_count, revoked = 0;
	struct entry last = {0};
	struct open_call *c;

	for (uint32_t i = 0; i < count; i++) {
		const struct lock_holder *h = &n->lock->holders[i];

		if (who.n != 0 && h->session.n != who.n)
			continue;
		if (revoked++ > 0)
			propose(m, in->at, &last);
		last = (struct entry){
			.kind = ENTRY_REVOKE,
			.revoke = {.instance = n->instance, .grant = h->grant},
		};
	}
	if (revoked == 0) {
		reply_with(m, in->call, true, &none);
		return;
	}
	c = propose_for(m, in, &last);
	if (c != NULL)
		c->ticket = revoked;
}

void revoke_lock_request(struct master *m, struct inbound *in)
{
	const struct node *n;
	struct bytes inner;

	if (!path_resolve(m, in, in->r->revoke_lock.path, &inner))
		return;
	n = cell_node_at(m->cell, inner);
	if (n == NULL) {
		reply_error(m, in->call, in->r->kind, ERROR_NOT_FOUND, NULL);
		return;
	}
	revoke_holds(m, in, n);
}

void revoke_applied(struct master *m, const struct open_call *c, const struct result *r)
{
	struct reply out = {.kind = MESSAGE_REVOKE_LOCK};

	if (r->error != ERROR_OK) {
		reply_error(m, c->call, MESSAGE_REVOKE_LOCK, r->error, NULL);
		return;
	}
	out.revoke_lock.revoked = (uint32_t)c->ticket;
	reply_with(m, c->call, false, &out);
}
