/*
 * The cell as a whole: made empty, freed; and the small things that all its files use.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

/* The root's instance. Genesis counts as the first command, so that no node ever shares it. */
#define GENESIS_REVISION 1

struct bytes owned_copy(struct bytes b)
{
	if (b.size == 0)
		return BYTES_NONE;
	return (struct bytes){mem_dup(b.data, b.size), b.size};
}

void owned_free(struct bytes *b)
{
	free((void *)(uintptr_t)b->data);
	*b = BYTES_NONE;
}

uint32_t grown_capacity(uint32_t capacity, uint32_t needed)
{
	if (capacity == 0)
		capacity = 1;
	while (capacity < needed) {
		CHECK(capacity <= UINT32_MAX / 2);
		capacity *= 2;
	}
	return capacity;
}

struct effect *effect_add(struct cell *c, enum effect_kind kind)
{
	struct effect *f;

	if (c->effect_count == c->effect_capacity) {
		c->effect_capacity = grown_capacity(c->effect_capacity, c->effect_count + 1);
		c->effects = mem_realloc_array(c->effects, c->effect_capacity, sizeof(*f));
	}
	f = &c->effects[c->effect_count++];
	memset(f, 0, sizeof(*f));
	f->kind = kind;
	return f;
}

void revision_advance(struct cell *c)
{
	CHECK(c->meta.revision.n < REVISION_MAX);
	c->meta.revision.n++;
}

struct cell *cell_alloc(void)
{
	struct cell *c = mem_zalloc(sizeof(*c));

	c->index = mem_zalloc(sizeof(*c->index));
	c->ring = mem_zalloc(DIGEST_RING * sizeof(c->ring[0]));
	return c;
}

struct cell *cell_new(const struct cell_genesis *genesis)
{
	struct cell *c = cell_alloc();
	struct node_entry *root;

	c->meta.cell_id_high = genesis->cell_id_high;
	c->meta.cell_id_low = genesis->cell_id_low;
	c->meta.name = owned_copy(genesis->name);
	memcpy(c->meta.handle_key, genesis->handle_key, sizeof(c->meta.handle_key));
	c->meta.wall_unix_ms = genesis->wall_unix_ms;
	c->meta.revision.n = GENESIS_REVISION;

	root = node_entry_new(GENESIS_REVISION, bytes_of_text("/"));
	root->node.kind = NODE_DIRECTORY;
	root->node.acl_generation = GENESIS_REVISION;
	root->node.created_unix_ms = genesis->wall_unix_ms;
	root->node.modified_unix_ms = genesis->wall_unix_ms;
	RB_INSERT(node_tree, &c->index->nodes, root);
	c->index->root = root;
	c->node_count = 1;
	node_touch(c, root);
	meta_touch(c);
	digest_remember(c);
	return c;
}

static void free_objects(struct cell *c)
{
	struct cell_index *index = c->index;
	struct node_entry *n;
	struct lock_entry *l;
	struct session_entry *s;

	while ((n = RB_ROOT(&index->nodes)) != NULL) {
		RB_REMOVE(node_tree, &index->nodes, n);
		node_entry_free(c, n);
	}
	while ((l = RB_ROOT(&index->locks)) != NULL) {
		RB_REMOVE(lock_tree, &index->locks, l);
		lock_entry_free(l);
	}
	while ((s = RB_ROOT(&index->sessions)) != NULL) {
		RB_REMOVE(session_tree, &index->sessions, s);
		session_entry_free(s);
	}
}

static void free_lists(struct cell_index *index)
{
	struct claim *claim;
	struct keep *k;
	struct reapable *r;

	while ((claim = RB_ROOT(&index->claims)) != NULL) {
		RB_REMOVE(claim_tree, &index->claims, claim);
		free(claim);
	}
	while ((k = RB_ROOT(&index->keeps)) != NULL) {
		RB_REMOVE(keep_tree, &index->keeps, k);
		free(k);
	}
	while ((r = RB_ROOT(&index->reapables)) != NULL) {
		RB_REMOVE(reapable_tree, &index->reapables, r);
		free(r);
	}
}

void cell_free(struct cell *c)
{
	if (c == NULL)
		return;
	free_objects(c);
	free_lists(c->index);
	CHECK(RB_EMPTY(&c->index->acl_names));
	owned_free(&c->meta.name);
	free(c->index);
	free(c->ring);
	free(c->dirty.keys);
	free(c->effects);
	free(c);
}

const struct cell_meta *cell_meta(const struct cell *c)
{
	return &c->meta;
}
