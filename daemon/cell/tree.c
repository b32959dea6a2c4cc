/*
 * The tree of nodes: found by instance, or component by component along a path.
 *
 * A path is not looked up in a table of paths: each directory has its children in order of their
 * names, which listing needs anyway, and a walk costs a logarithm for each component.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

enum error path_check(struct bytes path)
{
	size_t start = 1;

	if (path.size == 0 || path.size > CELL_PATH_MAX_BYTES || path.data[0] != '/')
		return ERROR_INVALID_PATH;
	if (path.size == 1)
		return ERROR_OK;
	for (size_t i = 1; i <= path.size; i++) {
		if (i < path.size && path.data[i] != '/')
			continue;
		if (i == start || i - start > CELL_NAME_MAX_BYTES)
			return ERROR_INVALID_PATH;
		start = i + 1;
	}
	return ERROR_OK;
}

static size_t last_component(struct bytes path)
{
	size_t offset = path.size;

	CHECK(path.size > 0 && path.data[0] == '/');
	while (path.data[offset - 1] != '/')
		offset--;
	return offset;
}

struct bytes node_entry_name(const struct node_entry *n)
{
	return (struct bytes){n->node.path.data + n->name_offset,
			      n->node.path.size - n->name_offset};
}

struct bytes node_name(const struct node *n)
{
	return node_entry_name((const struct node_entry *)n);
}

struct node_entry *node_child(const struct node_entry *parent, struct bytes name)
{
	struct node_entry key;
	struct name_tree children = parent->children;

	key.node.path = name;
	key.name_offset = 0;
	return RB_FIND(name_tree, &children, &key);
}

enum error node_parent_of(const struct cell *c, struct bytes path, struct node_entry **ret_parent)
{
	struct node_entry *at = c->index->root;
	size_t name_offset = last_component(path);
	size_t start = 1;

	for (size_t i = 1; i < name_offset; i++) {
		if (path.data[i] != '/')
			continue;
		at = node_child(at, (struct bytes){path.data + start, i - start});
		if (at == NULL)
			return ERROR_NOT_FOUND;
		if (at->node.kind != NODE_DIRECTORY)
			return ERROR_NOT_DIRECTORY;
		start = i + 1;
	}
	*ret_parent = at;
	return ERROR_OK;
}

struct node_entry *node_at(const struct cell *c, struct bytes path)
{
	struct node_entry *parent;
	size_t name_offset;

	if (path_check(path) != ERROR_OK)
		return NULL;
	if (path.size == 1)
		return c->index->root;
	if (node_parent_of(c, path, &parent) != ERROR_OK)
		return NULL;
	name_offset = last_component(path);
	return node_child(parent, (struct bytes){path.data + name_offset, path.size - name_offset});
}

struct node_entry *node_parent(const struct cell *c, const struct node_entry *n)
{
	return n->node.parent == 0 ? NULL : node_find(c, n->node.parent);
}

struct node_entry *node_entry_new(uint64_t instance, struct bytes path)
{
	struct node_entry *n = mem_zalloc(sizeof(*n));

	n->node.instance = instance;
	n->node.path = owned_copy(path);
	n->name_offset = (uint16_t)last_component(path);
	RB_INIT(&n->children);
	return n;
}

void node_link(struct node_entry *parent, struct node_entry *n)
{
	struct node_entry *other = RB_INSERT(name_tree, &parent->children, n);

	CHECK(other == NULL);
	CHECK(parent->node.kind == NODE_DIRECTORY);
	parent->node.child_count++;
}

void node_unlink(struct node_entry *parent, struct node_entry *n)
{
	CHECK(parent->node.child_count > 0);
	RB_REMOVE(name_tree, &parent->children, n);
	parent->node.child_count--;
}

void node_entry_free(struct cell *c, struct node_entry *n)
{
	acl_clear(c, &n->node);
	owned_free(&n->node.path);
	owned_free(&n->node.contents);
	free(n->node.keepers);
	free(n);
}

void node_destroy(struct cell *c, struct node_entry *n)
{
	struct reapable key = {.instance = n->node.instance};
	struct reapable *listed;

	CHECK(n->node.child_count == 0 && n->node.lock == NULL);
	while (n->node.keeper_count > 0)
		node_remove_keeper(c, n, n->node.keepers[n->node.keeper_count - 1]);
	if (n->reapable) {
		listed = RB_FIND(reapable_tree, &c->index->reapables, &key);
		CHECK(listed != NULL);
		RB_REMOVE(reapable_tree, &c->index->reapables, listed);
		free(listed);
	}
	row_forget(c, ROW_NODE, n->node.instance, &n->row);
	RB_REMOVE(node_tree, &c->index->nodes, n);
	c->node_count--;
	node_entry_free(c, n);
}

void node_set_contents(struct cell *c, struct node_entry *n, struct bytes contents)
{
	struct bytes old = n->node.contents;

	n->node.contents = owned_copy(contents);
	owned_free(&old);
	n->node.contents_generation = c->meta.revision.n;
	n->node.checksum = bytes_hash(contents);
}

/* ---- keepers ------------------------------------------------------------------------------- */

bool keeper_before(struct keeper a, struct keeper b)
{
	return a.session.n < b.session.n || (a.session.n == b.session.n && a.handle.n < b.handle.n);
}

static uint32_t keeper_position(const struct node *n, struct keeper keeper)
{
	uint32_t low = 0, high = n->keeper_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (keeper_before(n->keepers[middle], keeper))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool node_has_keeper(const struct node_entry *n, struct keeper keeper)
{
	uint32_t at = keeper_position(&n->node, keeper);

	return at < n->node.keeper_count && !keeper_before(keeper, n->node.keepers[at]);
}

void node_add_keeper(struct cell *c, struct node_entry *n, struct keeper keeper)
{
	struct node *node = &n->node;
	uint32_t at = keeper_position(node, keeper);
	struct keep *k = mem_zalloc(sizeof(*k));

	CHECK(node->ephemeral && !node_has_keeper(n, keeper));
	node->keepers = mem_realloc_array(node->keepers, node->keeper_count + 1,
					  sizeof(node->keepers[0]));
	memmove(node->keepers + at + 1, node->keepers + at,
		(node->keeper_count - at) * sizeof(node->keepers[0]));
	node->keepers[at] = keeper;
	node->keeper_count++;
	*k = (struct keep){
		.session = keeper.session,
		.instance = node->instance,
		.handle = keeper.handle,
	};
	CHECK(RB_INSERT(keep_tree, &c->index->keeps, k) == NULL);
	digest_add(&c->digest, digest_of_keeper(node->instance, keeper));
}

void node_remove_keeper(struct cell *c, struct node_entry *n, struct keeper keeper)
{
	struct node *node = &n->node;
	uint32_t at = keeper_position(node, keeper);
	struct keep *k = keep_find(c, node->instance, keeper);

	CHECK(k != NULL && node_has_keeper(n, keeper));
	RB_REMOVE(keep_tree, &c->index->keeps, k);
	free(k);
	node->keeper_count--;
	memmove(node->keepers + at, node->keepers + at + 1,
		(node->keeper_count - at) * sizeof(node->keepers[0]));
	if (node->keeper_count == 0) {
		free(node->keepers);
		node->keepers = NULL;
	}
	digest_subtract(&c->digest, digest_of_keeper(node->instance, keeper));
}

struct keep *keep_find(const struct cell *c, uint64_t instance, struct keeper keeper)
{
	struct keep key = {
		.session = keeper.session,
		.instance = instance,
		.handle = keeper.handle,
	};

	return RB_FIND(keep_tree, &c->index->keeps, &key);
}

struct keep *keep_first(const struct cell *c, struct session_id session)
{
	struct keep key = {.session = session};
	struct keep *k = RB_NFIND(keep_tree, &c->index->keeps, &key);

	return k != NULL && k->session.n == session.n ? k : NULL;
}

void node_judge_reapable(struct cell *c, struct node_entry *n)
{
	const struct lock *l = n->node.lock;
	bool free_of_locks = l == NULL || (l->mode == LOCK_FREE && !lock_delayed(l));
	bool reapable = n->node.ephemeral && n->node.keeper_count == 0 &&
			n->node.child_count == 0 && free_of_locks;
	struct reapable *listed;

	if (reapable == n->reapable)
		return;
	n->reapable = reapable;
	if (reapable) {
		listed = mem_zalloc(sizeof(*listed));
		listed->instance = n->node.instance;
		CHECK(RB_INSERT(reapable_tree, &c->index->reapables, listed) == NULL);
		node_effect(c, EFFECT_UNKEPT, n);
	} else {
		struct reapable key = {.instance = n->node.instance};

		listed = RB_FIND(reapable_tree, &c->index->reapables, &key);
		CHECK(listed != NULL);
		RB_REMOVE(reapable_tree, &c->index->reapables, listed);
		free(listed);
	}
}

/* ---- lookups from outside ------------------------------------------------------------------ */

const struct node *cell_node_at(const struct cell *c, struct bytes path)
{
	struct node_entry *n = node_at(c, path);

	return n == NULL ? NULL : &n->node;
}

const struct node *cell_node(const struct cell *c, uint64_t instance)
{
	struct node_entry *n = node_find(c, instance);

	return n == NULL ? NULL : &n->node;
}

const struct node *cell_child_after(const struct cell *c, uint64_t parent, struct bytes after)
{
	struct node_entry *directory = node_find(c, parent);
	struct node_entry key, *child;

	if (directory == NULL)
		return NULL;
	key.node.path = after;
	key.name_offset = 0;
	child = RB_NFIND(name_tree, &directory->children, &key);
	if (child != NULL && bytes_equal(node_entry_name(child), after))
		child = RB_NEXT(name_tree, &directory->children, child);
	return child == NULL ? NULL : &child->node;
}

const struct node *cell_locked_after(const struct cell *c, uint64_t after)
{
	struct lock_entry *l = after == UINT64_MAX ? NULL : lock_from(c, after + 1);

	return l == NULL ? NULL : cell_node(c, l->lock.instance);
}

const struct node *cell_reapable_after(const struct cell *c, uint64_t after)
{
	struct reapable key = {.instance = after + 1};
	struct reapable *r = after == UINT64_MAX
				     ? NULL
				     : RB_NFIND(reapable_tree, &c->index->reapables, &key);

	return r == NULL ? NULL : cell_node(c, r->instance);
}

uint64_t cell_node_count(const struct cell *c)
{
	return c->node_count;
}
