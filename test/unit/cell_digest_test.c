/*
 * cell: the digest covers every replicated field. A copy of the state that differs in one field
 * has another digest; what is derived may differ.
 */
#include "cell_fixture.h"

/* Rows copied shallowly, with their lists, so that one field can be changed before loading. */
struct scratch {
	struct cell_meta meta;
	struct node node;
	struct lock lock;
	struct lock_holder holders[4];
	struct lock_waiter waiters[4];
	struct session session;
	struct stored_result results[4];
	struct keeper keepers[4];
};

enum target { META, ROOT, FILE_NODE, EPHEMERAL, LOCK, SESSION, KINDS };

struct mutation {
	const char *name;
	enum target target;
	void (*apply)(struct scratch *s);
};

#define MUTATION(function, target_kind, statement)                                                 \
	static void function(struct scratch *s)                                                    \
	{                                                                                          \
		statement;                                                                         \
	}
#define MUTATIONS(X)                                                                               \
	X(cell_id_high, META, s->meta.cell_id_high++)                                              \
	X(cell_id_low, META, s->meta.cell_id_low++)                                                \
	X(cell_name, META, s->meta.name.size--)                                                    \
	X(revision, META, s->meta.revision.n++)                                                    \
	X(epoch, META, s->meta.epoch.n++)                                                          \
	X(master, META, s->meta.master.n++)                                                        \
	X(ballot_round, META, s->meta.master_ballot.round++)                                       \
	X(ballot_replica, META, s->meta.master_ballot.replica.n++)                                 \
	X(ballot_incarnation_high, META, s->meta.master_ballot.incarnation.high++)                 \
	X(ballot_incarnation_low, META, s->meta.master_ballot.incarnation.low++)                   \
	X(handle_key, META, s->meta.handle_key[31]++)                                              \
	X(longest_lease, META, s->meta.longest_lease_ns++)                                         \
	X(wall, META, s->meta.wall_unix_ms++)                                                      \
	X(contents, FILE_NODE, s->node.contents = bytes_of_text("other");                          \
	  s->node.checksum = bytes_hash(s->node.contents))                                         \
	X(contents_generation, FILE_NODE, s->node.contents_generation--)                           \
	X(acl_generation, ROOT, s->node.acl_generation++)                                          \
	X(acl_read, ROOT, s->node.acl[ACL_READ] = bytes_of_text("x"))                              \
	X(acl_write, ROOT, s->node.acl[ACL_WRITE] = bytes_of_text("x"))                            \
	X(acl_change, ROOT, s->node.acl[ACL_CHANGE] = bytes_of_text("x"))                          \
	X(node_path, FILE_NODE, s->node.path = bytes_of_text("/g"))                                \
	X(node_kind, EPHEMERAL, s->node.kind = NODE_DIRECTORY; s->node.contents = BYTES_NONE)      \
	X(node_ephemeral, FILE_NODE, s->node.ephemeral = true)                                     \
	X(node_created, FILE_NODE, s->node.created_unix_ms++)                                      \
	X(node_modified, FILE_NODE, s->node.modified_unix_ms++)                                    \
	X(keeper_gone, EPHEMERAL, s->node.keeper_count--)                                          \
	X(keeper_other, EPHEMERAL, s->node.keepers[0].session = s->session.id)                     \
	X(keeper_handle, EPHEMERAL, s->node.keepers[0].handle.n++)                                 \
	X(lock_generation, LOCK, s->lock.generation++)                                             \
	X(lock_period, LOCK, s->lock.period.n--)                                                   \
	X(lock_delay, LOCK, s->lock.delay_ns++)                                                    \
	X(lock_delay_began, LOCK, s->lock.delay_began.n++)                                         \
	X(holder_gone, LOCK, s->lock.holder_count--)                                               \
	X(holder_handle, LOCK, s->holders[0].handle.n = 77)                                        \
	X(holder_index, LOCK, s->holders[0].grant.index = 1)                                       \
	X(holder_delay, LOCK, s->holders[0].lock_delay_ns++)                                       \
	X(holder_since, LOCK, s->holders[0].since_unix_ms++)                                       \
	X(waiter_gone, LOCK, s->lock.waiter_count--)                                               \
	X(waiter_handle, LOCK, s->waiters[1].handle.n = 77)                                        \
	X(waiter_ticket, LOCK, s->waiters[1].ticket.n++)                                           \
	X(waiter_mode, LOCK, s->waiters[1].mode = LOCK_EXCLUSIVE)                                  \
	X(waiter_delay, LOCK, s->waiters[1].lock_delay_ns++)                                       \
	X(waiter_wait, LOCK, s->waiters[1].wait_ns++)                                              \
	X(waiter_since, LOCK, s->waiters[1].since_unix_ms++)                                       \
	X(principal, SESSION, s->session.principal = bytes_of_text("eve"))                         \
	X(host, SESSION, s->session.host = bytes_of_text("eve"))                                   \
	X(command, SESSION, s->session.command = bytes_of_text("eve"))                             \
	X(pid, SESSION, s->session.pid++)                                                          \
	X(lease, SESSION, s->session.lease_ns--)                                                   \
	X(caches, SESSION, s->session.caches = true)                                               \
	X(session_created, SESSION, s->session.created_unix_ms++)                                  \
	X(mark_left, SESSION, s->session.mark_left_ns++)                                           \
	X(mark_epoch, SESSION, s->session.mark_epoch.n++)                                          \
	X(line, SESSION, s->session.lowest_unanswered--)                                           \
	X(result_gone, SESSION, s->session.result_count--)                                         \
	X(result_number, SESSION, s->results[1].number++)                                          \
	X(result_entry, SESSION, s->results[1].kind = ENTRY_RELEASE)                               \
	X(result_error, SESSION, s->results[1].result.error = ERROR_BUSY)                          \
	X(result_revision, SESSION, s->results[1].result.revision.n++)                             \
	X(result_instance, SESSION, s->results[1].result.instance++)                               \
	X(result_generation, SESSION, s->results[1].result.generation++)                           \
	X(result_session, SESSION, s->results[1].result.session.n++)                               \
	X(result_grant_revision, SESSION, s->results[1].result.grant.revision.n++)                 \
	X(result_grant_index, SESSION, s->results[1].result.grant.index++)                         \
	X(result_token, SESSION, s->results[1].result.token.n++)                                   \
	X(result_lock_generation, SESSION, s->results[1].result.lock_generation++)                 \
	X(result_ticket, SESSION, s->results[1].result.ticket.n++)                                 \
	X(result_created, SESSION, s->results[1].result.created ^= true)                           \
	X(result_kind, SESSION, s->results[1].result.kind = NODE_DIRECTORY)

#define MUTATION_FUNCTION(name, target, ...) MUTATION(mutate_##name, target, __VA_ARGS__)
MUTATIONS(MUTATION_FUNCTION)
#define MUTATION_ROW(mutation, kind, ...) {#mutation, kind, mutate_##mutation},
static const struct mutation mutations[] = {MUTATIONS(MUTATION_ROW)};

struct subject {
	struct fixture *f;
	uint64_t keys[KINDS]; /* of the row that is meant */
	struct session_id other;
};

/* Two shared holders, a delay from a third, two waiters; a session with results. */
static void build(struct subject *u)
{
	struct fixture *f = u->f;
	struct session_id s = make_session(f), failed = make_session(f);
	struct entry e;

	u->other = make_session(f);
	u->keys[ROOT] = cell_node_at(f->cell, bytes_of_text("/"))->instance;
	write_node(f, make_file(f, "/f"), "contents", 0);
	u->keys[FILE_NODE] = cell_node_at(f->cell, bytes_of_text("/f"))->instance;
	u->keys[EPHEMERAL] = create(f, s, "/e", (struct node_options){.ephemeral = true}).instance;
	u->keys[LOCK] = u->keys[EPHEMERAL];
	make_file(f, "/between");
	acquire(f, s, u->keys[LOCK], 1, LOCK_SHARED);
	acquire(f, failed, u->keys[LOCK], 1, LOCK_SHARED);
	acquire(f, s, u->keys[LOCK], 2, LOCK_SHARED);
	end_session(f, failed, SESSION_END_EXPIRED);
	acquire(f, s, u->keys[LOCK], 3, LOCK_EXCLUSIVE);
	acquire(f, s, u->keys[LOCK], 4, LOCK_SHARED);
	for (uint64_t number = 7; number <= 8; number++) {
		e = acquire_entry(s, u->keys[FILE_NODE], number, LOCK_SHARED);
		e.number = number;
		e.lowest_unanswered = 7;
		apply(f, &e);
	}
	u->keys[SESSION] = s.n;
	make_file(f, "/last");
}

static void take_row(struct scratch *s, struct row *row)
{
	if (row->kind == ROW_META) {
		s->meta = *row->meta;
		row->meta = &s->meta;
	} else if (row->kind == ROW_NODE) {
		s->node = *row->node;
		for (uint32_t i = 0; i < s->node.keeper_count; i++)
			s->keepers[i] = row->node->keepers[i];
		s->node.keepers = s->keepers;
		row->node = &s->node;
	} else if (row->kind == ROW_LOCK) {
		s->lock = *row->lock;
		for (uint32_t i = 0; i < s->lock.holder_count; i++)
			s->holders[i] = row->lock->holders[i];
		for (uint32_t i = 0; i < s->lock.waiter_count; i++)
			s->waiters[i] = row->lock->waiters[i];
		s->lock.holders = s->holders;
		s->lock.waiters = s->waiters;
		row->lock = &s->lock;
	} else {
		s->session = *row->session;
		for (uint32_t i = 0; i < s->session.result_count; i++)
			s->results[i] = row->session->results[i];
		s->session.results = s->results;
		row->session = &s->session;
	}
}

/* The digest of the state with one field changed. */
static struct digest digest_with(const struct subject *u, const struct mutation *m)
{
	static const enum row_kind kinds[KINDS] = {ROW_META, ROW_NODE, ROW_NODE,
						   ROW_NODE, ROW_LOCK, ROW_SESSION};
	struct cell *copy = cell_load_begin();
	struct row row = {0};
	struct digest digest;
	char *trouble = NULL;

	while (cell_row_after(u->f->cell, &row, &row)) {
		struct scratch s = {.session = {.id = u->other}};
		struct row changed = row;

		take_row(&s, &changed);
		if (m != NULL && row.kind == kinds[m->target] && row.key == u->keys[m->target])
			m->apply(&s);
		if (cell_load_row(copy, &changed) != ERROR_OK)
			fail_msg("%s: row not loaded", m == NULL ? "nothing" : m->name);
	}
	if (cell_load_end(copy, &trouble) != ERROR_OK)
		fail_msg("%s: %s", m == NULL ? "nothing" : m->name, trouble);
	digest = cell_digest(copy);
	cell_free(copy);
	return digest;
}

static void every_field_counts(void **state)
{
	struct subject u = {.f = *state};
	struct digest digests[sizeof(mutations) / sizeof(mutations[0])];

	build(&u);
	assert_true(digests_equal(digest_with(&u, NULL), cell_digest(u.f->cell)));
	for (size_t i = 0; i < sizeof(mutations) / sizeof(mutations[0]); i++) {
		digests[i] = digest_with(&u, &mutations[i]);
		if (digests_equal(digests[i], cell_digest(u.f->cell)))
			fail_msg("%s is not in the digest", mutations[i].name);
		/* Nor are two of them taken for each other. */
		for (size_t j = 0; j < i; j++)
			if (digests_equal(digests[i], digests[j]))
				fail_msg("%s and %s look the same", mutations[i].name,
					 mutations[j].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_field_counts, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
