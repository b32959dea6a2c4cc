/*
 * The ordered trees, generated once for all files, and the plain lookups.
 */
#include "cell/cell_internal.h"

static int compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int node_compare_instances(const struct node_entry *a, const struct node_entry *b)
{
	return compare_u64(a->node.instance, b->node.instance);
}

static int node_compare_names(const struct node_entry *a, const struct node_entry *b)
{
	return bytes_compare(node_entry_name(a), node_entry_name(b));
}

static int lock_compare(const struct lock_entry *a, const struct lock_entry *b)
{
	return compare_u64(a->lock.instance, b->lock.instance);
}

static int session_compare(const struct session_entry *a, const struct session_entry *b)
{
	return compare_u64(a->session.id.n, b->session.id.n);
}

static int claim_compare(const struct claim *a, const struct claim *b)
{
	int order = compare_u64(a->session.n, b->session.n);

	if (order == 0)
		order = compare_u64(a->instance, b->instance);
	if (order == 0)
		order = compare_u64(a->handle.n, b->handle.n);
	return order;
}

static int keep_compare(const struct keep *a, const struct keep *b)
{
	int order = compare_u64(a->session.n, b->session.n);

	if (order == 0)
		order = compare_u64(a->instance, b->instance);
	return order != 0 ? order : compare_u64(a->handle.n, b->handle.n);
}

static int reapable_compare(const struct reapable *a, const struct reapable *b)
{
	return compare_u64(a->instance, b->instance);
}

static int acl_compare(const struct acl_name *a, const struct acl_name *b)
{
	return bytes_compare(a->name, b->name);
}

RB_GENERATE(name_tree, node_entry, by_name, node_compare_names)
RB_GENERATE(node_tree, node_entry, by_instance, node_compare_instances)
RB_GENERATE(lock_tree, lock_entry, by_instance, lock_compare)
RB_GENERATE(session_tree, session_entry, by_id, session_compare)
RB_GENERATE(claim_tree, claim, link, claim_compare)
RB_GENERATE(keep_tree, keep, link, keep_compare)
RB_GENERATE(reapable_tree, reapable, link, reapable_compare)
RB_GENERATE(acl_tree, acl_name, link, acl_compare)

struct node_entry *node_find(const struct cell *c, uint64_t instance)
{
	struct node_entry key;

	key.node.instance = instance;
	return RB_FIND(node_tree, &c->index->nodes, &key);
}

struct node_entry *node_from(const struct cell *c, uint64_t instance)
{
	struct node_entry key;

	key.node.instance = instance;
	return RB_NFIND(node_tree, &c->index->nodes, &key);
}

struct lock_entry *lock_find(const struct cell *c, uint64_t instance)
{
	struct lock_entry key;

	key.lock.instance = instance;
	return RB_FIND(lock_tree, &c->index->locks, &key);
}

struct lock_entry *lock_from(const struct cell *c, uint64_t instance)
{
	struct lock_entry key;

	key.lock.instance = instance;
	return RB_NFIND(lock_tree, &c->index->locks, &key);
}

struct session_entry *session_find(const struct cell *c, struct session_id id)
{
	struct session_entry key;

	key.session.id = id;
	return RB_FIND(session_tree, &c->index->sessions, &key);
}

struct session_entry *session_from(const struct cell *c, struct session_id id)
{
	struct session_entry key;

	key.session.id = id;
	return RB_NFIND(session_tree, &c->index->sessions, &key);
}
