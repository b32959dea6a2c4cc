/*
 * What gathers during one call into the master. Texts live in the output arena until
 * master_output_done().
 */
#include "master/master_internal.h"
#include "wire/path.h"
#include "wire/sequencer.h"

#define GROW(array, count, capacity)                                                               \
	do {                                                                                       \
		if ((count) == (capacity)) {                                                       \
			(capacity) = (capacity) == 0 ? 16 : (capacity)*2;                          \
			(array) = mem_realloc_array((array), (capacity), sizeof(*(array)));        \
		}                                                                                  \
	} while (0)

void reply_with(struct master *m, struct call_id call, bool needs_lease, const struct reply *r)
{
	if (call.n == 0)
		return;
	GROW(m->out.replies, m->out.reply_count, m->out.reply_capacity);
	m->out.replies[m->out.reply_count++] = (struct master_reply){call, needs_lease, *r};
}

void reply_error(struct master *m, struct call_id call, enum message_kind kind, enum error error,
		 const char *message)
{
	struct reply r = {.kind = kind, .error = error};

	CHECK(error != ERROR_OK);
	if (message != NULL)
		r.message = bytes_of_text(message);
	if (error == ERROR_RESOURCE_EXHAUSTED)
		r.retry_after_ns = 100 * NS_PER_MS;
	/* "Not found" is a read too: a refusal is told only by a master that still is one. */
	reply_with(m, call, m->serving, &r);
}

void push_to(struct master *m, struct stream_id stream, const struct reply *r)
{
	if (stream.n == 0)
		return;
	GROW(m->out.pushes, m->out.push_count, m->out.push_capacity);
	m->out.pushes[m->out.push_count++] = (struct master_push){stream, *r};
}

uint64_t propose(struct master *m, const struct moment *at, struct entry *e)
{
	CHECK(m->serving);
	e->origin_epoch = m->epoch;
	e->origin_number = m->next_origin++;
	e->wall_unix_ms = at->wall_unix_ms;
	GROW(m->out.proposals, m->out.proposal_count, m->out.proposal_capacity);
	m->out.proposals[m->out.proposal_count++] = *e;
	return e->origin_number;
}

bool output_is_full(const struct master *m)
{
	return m->out.arena.used_bytes > m->out.arena.max_bytes / 2;
}

void *output_alloc(struct master *m, size_t size)
{
	void *p = arena_alloc(&m->out.arena, size == 0 ? 1 : size);

	/* Replies are paged below this bound, and grants in masses stop at half of it. */
	CHECK(p != NULL);
	return p;
}

struct bytes output_copy(struct master *m, struct bytes b)
{
	uint8_t *copy = output_alloc(m, b.size);

	if (b.size > 0)
		memcpy(copy, b.data, b.size);
	return (struct bytes){copy, b.size};
}

struct bytes output_path(struct master *m, struct bytes inner)
{
	struct bytes name = cell_meta(m->cell)->name;
	size_t tail = inner.size == 1 ? 0 : inner.size; /* the root is "/ls/<cell>" */
	uint8_t *p = output_alloc(m, 4 + name.size + tail);

	memcpy(p, "/ls/", 4);
	memcpy(p + 4, name.data, name.size);
	if (tail > 0)
		memcpy(p + 4 + name.size, inner.data, tail);
	return (struct bytes){p, 4 + name.size + tail};
}

static enum wire_lock_mode wire_mode(enum lock_mode mode)
{
	return mode == LOCK_EXCLUSIVE ? WIRE_LOCK_EXCLUSIVE
	       : mode == LOCK_SHARED  ? WIRE_LOCK_SHARED
				      : WIRE_LOCK_FREE;
}

struct wire_stat stat_of(const struct node *n)
{
	struct wire_stat s = {
		.kind = n->kind == NODE_DIRECTORY ? WIRE_NODE_DIRECTORY : WIRE_NODE_FILE,
		.ephemeral = n->ephemeral,
		.instance = n->instance,
		.contents_generation = n->contents_generation,
		.acl_generation = n->acl_generation,
		.checksum = n->checksum,
		.size_bytes = (uint32_t)n->contents.size,
		.child_count = n->child_count,
		.created_unix_ms = n->created_unix_ms,
		.modified_unix_ms = n->modified_unix_ms,
	};

	for (int i = 0; i < CELL_ACL_NAMES; i++)
		s.acl[i] = n->acl[i];
	if (n->lock != NULL) {
		s.lock_generation = n->lock->generation;
		s.lock_mode = wire_mode(n->lock->mode);
		s.holder_count = n->lock->holder_count;
		s.waiter_count = n->lock->waiter_count;
	}
	return s;
}

struct wire_grant grant_of(struct master *m, uint64_t instance, enum lock_mode mode,
			   struct grant grant, struct revision token, uint64_t generation)
{
	const struct node *n = cell_node(m->cell, instance);
	struct wire_grant g = {
		.present = true,
		.fencing_token = token.n,
		.mode = wire_mode(mode),
		.lock_generation = generation,
		.revision = grant.revision.n,
		.index = grant.index,
	};
	struct sequencer s = {
		.mode = g.mode,
		.instance = instance,
		.revision = grant.revision.n,
		.index = grant.index,
		.fencing_token = token.n,
		.lock_generation = generation,
	};
	struct buffer text;

	/* A repeat may be answered after the node went: its sequencer is void, its name unknown. */
	s.path = output_path(m, n != NULL ? n->path : bytes_of_text("/"));
	buffer_init(&text, WIRE_SEQUENCER_MAX_BYTES);
	CHECK(sequencer_format(&s, &text) == ERROR_OK);
	g.sequencer = output_copy(m, buffer_view(&text));
	buffer_release(&text);
	return g;
}

const struct master_output *master_output(struct master *m)
{
	m->out.view = (struct master_output){
		.reply_count = m->out.reply_count,
		.replies = m->out.replies,
		.push_count = m->out.push_count,
		.pushes = m->out.pushes,
		.proposal_count = m->out.proposal_count,
		.proposals = m->out.proposals,
	};
	return &m->out.view;
}

void master_output_done(struct master *m)
{
	m->out.reply_count = 0;
	m->out.push_count = 0;
	m->out.proposal_count = 0;
	if (m->out.arena.used_bytes > 0)
		arena_release(&m->out.arena);
}

void output_release(struct master *m)
{
	free(m->out.replies);
	free(m->out.pushes);
	free(m->out.proposals);
	arena_release(&m->out.arena);
}
