/*
 * The digest: the sum of one 128-bit hash for each element of the state (design section 4).
 *
 * A sum does not depend on order, and an element that changes is subtracted as it was and added
 * as it is. An element's canonical image is its kind, then its fields in a fixed order as little
 * endian numbers, texts after their lengths; contents stand in it through their checksum.
 *
 * Elements: META, each NODE, LOCK and SESSION row without its lists, and each KEEPER, HOLDER,
 * WAITER and RESULT by itself. What is derived (counts, indexes) is no part of it.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <endian.h>
#include <string.h>
#include <xxhash.h>

enum element_kind {
	ELEMENT_META = 1,
	ELEMENT_NODE,
	ELEMENT_LOCK,
	ELEMENT_SESSION,
	ELEMENT_KEEPER,
	ELEMENT_HOLDER,
	ELEMENT_WAITER,
	ELEMENT_RESULT,
};

/* The longest is a node: its path, its ACL names, and less than 128 bytes of numbers. */
#define IMAGE_MAX_BYTES (CELL_PATH_MAX_BYTES + CELL_ACL_NAMES * CELL_NAME_MAX_BYTES + 256)

struct image {
	uint8_t data[IMAGE_MAX_BYTES];
	size_t size;
};

static void put_u64(struct image *i, uint64_t value)
{
	CHECK(i->size + sizeof(value) <= sizeof(i->data));
	value = htole64(value);
	memcpy(i->data + i->size, &value, sizeof(value));
	i->size += sizeof(value);
}

static void put_bytes(struct image *i, struct bytes b)
{
	put_u64(i, b.size);
	CHECK(i->size + b.size <= sizeof(i->data));
	if (b.size > 0)
		memcpy(i->data + i->size, b.data, b.size);
	i->size += b.size;
}

static void image_begin(struct image *i, enum element_kind kind)
{
	i->size = 0;
	put_u64(i, kind);
}

static void put_grant(struct image *i, struct grant grant)
{
	put_u64(i, grant.revision.n);
	put_u64(i, grant.index);
}

static struct digest image_hash(const struct image *i)
{
	XXH128_hash_t hash = XXH3_128bits(i->data, i->size);

	return (struct digest){.high = hash.high64, .low = hash.low64};
}

/* ---- elements ------------------------------------------------------------------------------ */

struct digest digest_of_meta(const struct cell_meta *m)
{
	struct image i;

	image_begin(&i, ELEMENT_META);
	put_u64(&i, m->cell_id_high);
	put_u64(&i, m->cell_id_low);
	put_bytes(&i, m->name);
	put_u64(&i, m->revision.n);
	put_u64(&i, m->epoch.n);
	put_u64(&i, m->master.n);
	put_u64(&i, m->master_ballot.round);
	put_u64(&i, m->master_ballot.replica.n);
	put_u64(&i, m->master_ballot.incarnation.high);
	put_u64(&i, m->master_ballot.incarnation.low);
	put_bytes(&i, (struct bytes){m->handle_key, sizeof(m->handle_key)});
	put_u64(&i, (uint64_t)m->longest_lease_ns);
	put_u64(&i, (uint64_t)m->wall_unix_ms);
	return image_hash(&i);
}

struct digest digest_of_node(const struct node *n)
{
	struct image i;

	image_begin(&i, ELEMENT_NODE);
	put_u64(&i, n->instance);
	put_u64(&i, n->parent);
	put_bytes(&i, n->path);
	put_u64(&i, n->kind);
	put_u64(&i, n->ephemeral);
	put_u64(&i, n->contents.size);
	put_u64(&i, n->checksum);
	put_u64(&i, n->contents_generation);
	put_u64(&i, n->acl_generation);
	for (int use = 0; use < CELL_ACL_NAMES; use++)
		put_bytes(&i, n->acl[use]);
	put_u64(&i, (uint64_t)n->created_unix_ms);
	put_u64(&i, (uint64_t)n->modified_unix_ms);
	return image_hash(&i);
}

struct digest digest_of_lock(const struct lock *l)
{
	struct image i;

	image_begin(&i, ELEMENT_LOCK);
	put_u64(&i, l->instance);
	put_u64(&i, l->mode);
	put_u64(&i, l->generation);
	put_u64(&i, l->period.n);
	put_u64(&i, (uint64_t)l->delay_ns);
	put_u64(&i, l->delay_began.n);
	put_u64(&i, l->delay_after);
	return image_hash(&i);
}

struct digest digest_of_session(const struct session *s)
{
	struct image i;

	image_begin(&i, ELEMENT_SESSION);
	put_u64(&i, s->id.n);
	put_bytes(&i, s->principal);
	put_bytes(&i, s->host);
	put_bytes(&i, s->command);
	put_u64(&i, s->pid);
	put_u64(&i, (uint64_t)s->lease_ns);
	put_u64(&i, s->caches);
	put_u64(&i, s->ended);
	put_u64(&i, (uint64_t)s->created_unix_ms);
	put_u64(&i, (uint64_t)s->mark_left_ns);
	put_u64(&i, s->mark_epoch.n);
	put_u64(&i, s->lowest_unanswered);
	return image_hash(&i);
}

struct digest digest_of_keeper(uint64_t instance, struct keeper keeper)
{
	struct image i;

	image_begin(&i, ELEMENT_KEEPER);
	put_u64(&i, instance);
	put_u64(&i, keeper.session.n);
	put_u64(&i, keeper.handle.n);
	return image_hash(&i);
}

struct digest digest_of_holder(uint64_t instance, const struct lock_holder *h)
{
	struct image i;

	image_begin(&i, ELEMENT_HOLDER);
	put_u64(&i, instance);
	put_u64(&i, h->session.n);
	put_u64(&i, h->handle.n);
	put_grant(&i, h->grant);
	put_u64(&i, (uint64_t)h->lock_delay_ns);
	put_u64(&i, (uint64_t)h->since_unix_ms);
	return image_hash(&i);
}

struct digest digest_of_waiter(uint64_t instance, const struct lock_waiter *w)
{
	struct image i;

	image_begin(&i, ELEMENT_WAITER);
	put_u64(&i, instance);
	put_u64(&i, w->session.n);
	put_u64(&i, w->handle.n);
	put_u64(&i, w->ticket.n);
	put_u64(&i, w->mode);
	put_u64(&i, (uint64_t)w->lock_delay_ns);
	put_u64(&i, (uint64_t)w->wait_ns);
	put_u64(&i, (uint64_t)w->since_unix_ms);
	return image_hash(&i);
}

struct digest digest_of_result(struct session_id session, const struct stored_result *stored)
{
	const struct result *r = &stored->result;
	struct image i;

	image_begin(&i, ELEMENT_RESULT);
	put_u64(&i, session.n);
	put_u64(&i, stored->number);
	put_u64(&i, stored->kind);
	put_u64(&i, r->error);
	put_u64(&i, r->revision.n);
	put_u64(&i, r->instance);
	put_u64(&i, r->generation);
	put_u64(&i, r->session.n);
	put_grant(&i, r->grant);
	put_u64(&i, r->token.n);
	put_u64(&i, r->lock_generation);
	put_u64(&i, r->ticket.n);
	put_u64(&i, r->created);
	put_u64(&i, r->kind);
	return image_hash(&i);
}

/* ---- sums ---------------------------------------------------------------------------------- */

void digest_add(struct digest *sum, struct digest element)
{
	sum->high += element.high;
	sum->low += element.low;
}

void digest_subtract(struct digest *sum, struct digest element)
{
	sum->high -= element.high;
	sum->low -= element.low;
}

bool digest_equal(struct digest a, struct digest b)
{
	return a.high == b.high && a.low == b.low;
}

static void replace(struct cell *c, struct tracked *row, struct digest hash)
{
	digest_subtract(&c->digest, row->hash);
	row->hash = hash;
	digest_add(&c->digest, hash);
}

/* ---- rows that changed --------------------------------------------------------------------- */

void meta_touch(struct cell *c)
{
	replace(c, &c->meta_row, digest_of_meta(&c->meta));
	dirty_mark(c, ROW_META, 0, &c->meta_row, 192);
}

void node_touch(struct cell *c, struct node_entry *n)
{
	const struct node *node = &n->node;
	size_t row_bytes = 128 + node->path.size + node->contents.size +
			   (size_t)node->keeper_count * sizeof(node->keepers[0]);

	replace(c, &n->row, digest_of_node(node));
	dirty_mark(c, ROW_NODE, node->instance, &n->row, row_bytes);
}

void lock_touch(struct cell *c, struct lock_entry *l)
{
	size_t row_bytes = 64 + (size_t)l->lock.holder_count * sizeof(struct lock_holder) +
			   (size_t)l->lock.waiter_count * sizeof(struct lock_waiter);

	replace(c, &l->row, digest_of_lock(&l->lock));
	dirty_mark(c, ROW_LOCK, l->lock.instance, &l->row, row_bytes);
}

void session_touch(struct cell *c, struct session_entry *s)
{
	const struct session *session = &s->session;
	size_t row_bytes = 128 + session->principal.size + session->host.size +
			   session->command.size +
			   (size_t)session->result_count * sizeof(struct stored_result);

	replace(c, &s->row, digest_of_session(session));
	dirty_mark(c, ROW_SESSION, session->id.n, &s->row, row_bytes);
}

void row_forget(struct cell *c, enum row_kind kind, uint64_t key, struct tracked *row)
{
	replace(c, row, (struct digest){0});
	dirty_mark_deleted(c, kind, key, row);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void add_node(struct digest *sum, const struct node *n)
{
	digest_add(sum, digest_of_node(n));
	for (uint32_t i = 0; i < n->keeper_count; i++)
		digest_add(sum, digest_of_keeper(n->instance, n->keepers[i]));
}

static void add_lock(struct digest *sum, const struct lock *l)
{
	digest_add(sum, digest_of_lock(l));
	for (uint32_t i = 0; i < l->holder_count; i++)
		digest_add(sum, digest_of_holder(l->instance, &l->holders[i]));
	for (uint32_t i = 0; i < l->waiter_count; i++)
		digest_add(sum, digest_of_waiter(l->instance, &l->waiters[i]));
}

static void add_session(struct digest *sum, const struct session *s)
{
	digest_add(sum, digest_of_session(s));
	for (uint32_t i = 0; i < s->result_count; i++)
		digest_add(sum, digest_of_result(s->id, &s->results[i]));
}

struct digest digest_recompute(const struct cell *c)
{
	struct digest sum = digest_of_meta(&c->meta);
	struct node_entry *n;
	struct lock_entry *l;
	struct session_entry *s;

	RB_FOREACH(n, node_tree, &c->index->nodes)
		add_node(&sum, &n->node);
	RB_FOREACH(l, lock_tree, &c->index->locks)
		add_lock(&sum, &l->lock);
	RB_FOREACH(s, session_tree, &c->index->sessions)
		add_session(&sum, &s->session);
	return sum;
}

struct digest cell_digest(const struct cell *c)
{
	return c->digest;
}

/* ---- comparing ----------------------------------------------------------------------------- */

void digest_remember(struct cell *c)
{
	c->ring[c->meta.revision.n % DIGEST_RING] = (struct digest_at){.revision = c->meta.revision,
								       .digest = c->digest};
}

/*
 * Other entries may have come between the state that was digested and this entry, so each
 * replica looks up what its own digest was then. One that does not remember (it started since,
 * or the entry was long under way) has nothing to compare.
 */
enum error apply_digest(struct cell *c, const struct entry *e, struct result *r)
{
	const struct digest_at *ours = &c->ring[e->digest.revision.n % DIGEST_RING];
	struct effect *f;

	(void)r;
	if (ours->revision.n != e->digest.revision.n || ours->revision.n == 0)
		return ERROR_OK;
	if (digest_equal(ours->digest, e->digest.digest))
		return ERROR_OK;
	f = effect_add(c, EFFECT_DIGEST_DIFFERS);
	f->revision = e->digest.revision;
	return ERROR_OK;
}
