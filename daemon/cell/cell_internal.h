/*
 * cell, inside: the objects with what only this layer needs, and what its files offer each other.
 *
 *   apply.c       the one entrance: guards, exactly-once, dispatch
 *   cell.c        a cell made and freed
 *   index.c       the ordered trees
 *   tree.c        nodes by instance and by name; creating, unlinking, destroying them
 *   node_ops.c    what entries do to nodes
 *   lock.c        grants, queue, lock-delay: the mechanics
 *   lock_ops.c    what entries do to locks
 *   claim.c       index: which (session, handle) holds or awaits which lock
 *   session.c     sessions, keepers, marks
 *   results.c     exactly-once: the stored results of a session
 *   multi.c       several operations, all or none
 *   acl.c         names of ACLs, each kept once
 *   digest.c      canonical images and the running digest
 *   dirty.c       which rows changed since they were last taken
 *   rows.c        rows out;  load.c  rows in
 *   invariants.c  C1 to C7, and that the indexes agree with the objects
 *
 * Order: everything that is iterated is an ordered tree or an array; there is no hash table, so
 * no order depends on memory addresses or on a hash function, and no client can choose names
 * that collide.
 *
 * Every change of an object ends with its `…_touch()`, which brings the digest up to date and
 * marks the row dirty. The parts of a row that come and go on their own (holders, waiters,
 * keepers, results) are elements of the multiset by themselves: a lock with a hundred thousand
 * waiters is not hashed anew for each.
 */
#ifndef CHUBBY_CELL_CELL_INTERNAL_H
#define CHUBBY_CELL_CELL_INTERNAL_H

#include "cell/cell.h"

#include <bsd/sys/tree.h>

#define DIGEST_RING 1024 /* revisions whose digest is remembered for ENTRY_DIGEST */

/* A row's share of the digest, and what it counts for among the dirty rows (0: it is clean). */
struct tracked {
	struct digest hash;
	uint32_t dirty_bytes;
};

RB_HEAD(name_tree, node_entry);
RB_HEAD(node_tree, node_entry);
RB_HEAD(lock_tree, lock_entry);
RB_HEAD(session_tree, session_entry);
RB_HEAD(claim_tree, claim);
RB_HEAD(keep_tree, keep);
RB_HEAD(reapable_tree, reapable);
RB_HEAD(acl_tree, acl_name);

struct node_entry {
	struct node node; /* first: a node's pointer is its entry's */
	RB_ENTRY(node_entry) by_instance;
	RB_ENTRY(node_entry) by_name; /* among its siblings */
	struct name_tree children;
	struct tracked row;
	uint16_t name_offset; /* of the last component in the path */
	bool reapable;        /* listed among them */
};

struct lock_entry {
	struct lock lock; /* first */
	RB_ENTRY(lock_entry) by_instance;
	struct tracked row;
	struct lock_waiter *waiter_base; /* owned; lock.waiters points into it */
	uint32_t waiter_capacity;
	uint32_t holder_capacity;
};

struct session_entry {
	struct session session; /* first */
	RB_ENTRY(session_entry) by_id;
	struct tracked row;
	uint32_t result_capacity;
	uint32_t lock_capacity;
	bool ending; /* its locks go all at once: session_end_now() */
};

/* A (session, handle) that holds or awaits a lock. */
struct claim {
	RB_ENTRY(claim) link; /* by session, instance, handle */
	struct session_id session;
	uint64_t instance;
	struct handle_id handle;
	bool holds;
	struct grant grant;     /* when it holds */
	struct revision ticket; /* when it waits */
};

/* A handle keeps an ephemeral node. */
struct keep {
	RB_ENTRY(keep) link; /* by session, instance, handle */
	struct session_id session;
	uint64_t instance;
	struct handle_id handle;
};

/* An ephemeral node that nothing keeps: see node_judge_reapable(). */
struct reapable {
	RB_ENTRY(reapable) link;
	uint64_t instance;
};

/* The name of an ACL, once for all nodes that have it. */
struct acl_name {
	RB_ENTRY(acl_name) link;
	struct bytes name; /* follows in the same memory */
	uint64_t uses;
};

/* The trees live behind a pointer, so that lookups in a const cell can use the same macros. */
struct cell_index {
	struct node_entry *root;
	struct node_tree nodes;
	struct lock_tree locks;
	struct session_tree sessions;
	struct claim_tree claims;
	struct keep_tree keeps;
	struct reapable_tree reapables;
	struct acl_tree acl_names;
};

struct dirty_key {
	enum row_kind kind;
	uint64_t key;
};

struct dirty_set {
	struct dirty_key *keys; /* owned */
	uint32_t count;
	uint32_t taken; /* from the front */
	uint32_t capacity;
	bool sorted;
	size_t bytes;
};

struct digest_at {
	struct revision revision;
	struct digest digest;
};

struct cell {
	struct cell_meta meta;
	struct tracked meta_row;
	struct cell_index *index; /* owned */
	struct digest digest;     /* sum over all elements */
	struct digest_at *ring;   /* owned, DIGEST_RING; by revision, not replicated */
	struct dirty_set dirty;
	uint64_t node_count;
	uint64_t session_count;

	/* Of the apply under way. */
	uint32_t grants_made;
	struct effect *effects; /* owned */
	uint32_t effect_count;
	uint32_t effect_capacity;
};

/* ---- cell.c -------------------------------------------------------------------------------- */

/* Without anything in it, not even a root. */
struct cell *cell_alloc(void);

/* Copies into memory of its own; nothing for nothing. */
struct bytes owned_copy(struct bytes b);
void owned_free(struct bytes *b);
/* The next free capacity for an array that must hold `needed`. */
uint32_t grown_capacity(uint32_t capacity, uint32_t needed);

/* The effect is zeroed but for its kind; fill it before the next call. */
struct effect *effect_add(struct cell *c, enum effect_kind kind);

/* A further revision inside one entry, for a multi whose parts need numbers of their own. */
void revision_advance(struct cell *c);

/* ---- index.c ------------------------------------------------------------------------------- */

RB_PROTOTYPE(name_tree, node_entry, by_name, node_compare_names)
RB_PROTOTYPE(node_tree, node_entry, by_instance, node_compare_instances)
RB_PROTOTYPE(lock_tree, lock_entry, by_instance, lock_compare)
RB_PROTOTYPE(session_tree, session_entry, by_id, session_compare)
RB_PROTOTYPE(claim_tree, claim, link, claim_compare)
RB_PROTOTYPE(keep_tree, keep, link, keep_compare)
RB_PROTOTYPE(reapable_tree, reapable, link, reapable_compare)
RB_PROTOTYPE(acl_tree, acl_name, link, acl_compare)

struct node_entry *node_find(const struct cell *c, uint64_t instance);
struct node_entry *node_from(const struct cell *c, uint64_t instance); /* first at or above */
struct lock_entry *lock_find(const struct cell *c, uint64_t instance);
struct lock_entry *lock_from(const struct cell *c, uint64_t instance); /* first at or above */
struct session_entry *session_find(const struct cell *c, struct session_id id);
struct session_entry *session_from(const struct cell *c, struct session_id id);

/* ---- acl.c --------------------------------------------------------------------------------- */

/* A reference to the one copy of the name; the empty name needs none. */
struct bytes acl_name_ref(struct cell *c, struct bytes name);
void acl_name_unref(struct cell *c, struct bytes *name);
/* References for a whole node, and their end. */
void acl_set(struct cell *c, struct node *n, const struct bytes names[CELL_ACL_NAMES]);
void acl_clear(struct cell *c, struct node *n);
/* OK, or TOO_LARGE. */
MUST_USE enum error acl_check(const struct bytes names[CELL_ACL_NAMES]);

/* ---- tree.c -------------------------------------------------------------------------------- */

/* OK, or INVALID_PATH: rooted, no empty component, lengths within the limits. */
MUST_USE enum error path_check(struct bytes path);
/* The node at the path; NULL when there is none. */
struct node_entry *node_at(const struct cell *c, struct bytes path);
/* The directory that the path's last component is or would be in; NOT_FOUND, NOT_DIRECTORY. */
MUST_USE enum error node_parent_of(const struct cell *c, struct bytes path,
				   struct node_entry **ret_parent);
struct node_entry *node_child(const struct node_entry *parent, struct bytes name);
struct bytes node_entry_name(const struct node_entry *n);

/* A node that is in no tree yet; the path is copied. */
struct node_entry *node_entry_new(uint64_t instance, struct bytes path);
/* Into or out of its parent's children (counts included). */
void node_link(struct node_entry *parent, struct node_entry *n);
void node_unlink(struct node_entry *parent, struct node_entry *n);
/* Out of the index, the digest and memory; unlinked already, without lock. */
void node_destroy(struct cell *c, struct node_entry *n);
/* Memory alone, for the end of a cell. */
void node_entry_free(struct cell *c, struct node_entry *n);
struct node_entry *node_parent(const struct cell *c, const struct node_entry *n);

void node_set_contents(struct cell *c, struct node_entry *n, struct bytes contents);

void node_add_keeper(struct cell *c, struct node_entry *n, struct keeper keeper);
void node_remove_keeper(struct cell *c, struct node_entry *n, struct keeper keeper);
bool node_has_keeper(const struct node_entry *n, struct keeper keeper);
bool keeper_before(struct keeper a, struct keeper b);
/* The session's first by instance and handle. */
struct keep *keep_first(const struct cell *c, struct session_id session);
struct keep *keep_find(const struct cell *c, uint64_t instance, struct keeper keeper);

/* Whether nothing stands in the way of reaping: no keeper, no child, nobody holding the lock and
 * no lock-delay (which would be lost with the node). Keeps the list; says so when it begins. */
void node_judge_reapable(struct cell *c, struct node_entry *n);

/* ---- node_ops.c ---------------------------------------------------------------------------- */

struct node_plan {
	struct bytes path;
	enum node_kind kind;
	struct bytes contents;
	bool ephemeral;
	const struct bytes *acl; /* CELL_ACL_NAMES, empty ones inherited; NULL: all inherited */
};

/* Whether such a node could be made, were its name free: limits and kinds, not the tree. */
MUST_USE enum error node_plan_check(const struct node_plan *plan);
/* Makes it under `parent`; nothing stands there yet. */
struct node_entry *node_make(struct cell *c, struct node_entry *parent,
			     const struct node_plan *plan);
/* Why the node may not be deleted by this session (0: by none), or OK. */
MUST_USE enum error node_deletable(const struct cell *c, const struct node_entry *n,
				   struct session_id session, uint64_t expected_generation,
				   struct result *r);
/* Ends holds and waits and destroys it; out of its parent's children already. */
void node_finish_delete(struct cell *c, struct node_entry *n);
MUST_USE enum error node_writable(const struct node_entry *n, uint64_t expected_generation,
				  struct bytes contents, struct result *r);
void node_effect(struct cell *c, enum effect_kind kind, const struct node_entry *n);

enum error apply_node_create(struct cell *c, const struct entry *e, struct result *r);
enum error apply_node_delete(struct cell *c, const struct entry *e, struct result *r);
enum error apply_node_write(struct cell *c, const struct entry *e, struct result *r);
enum error apply_node_set_acl(struct cell *c, const struct entry *e, struct result *r);
enum error apply_keep(struct cell *c, const struct entry *e, struct result *r);
enum error apply_close(struct cell *c, const struct entry *e, struct result *r);
enum error apply_node_reap(struct cell *c, const struct entry *e, struct result *r);

/* ---- claim.c ------------------------------------------------------------------------------- */

struct claim *claim_find(const struct cell *c, struct session_id session, uint64_t instance,
			 struct handle_id handle);
/* The next claim of the session at or after (instance, handle). */
struct claim *claim_from(const struct cell *c, struct session_id session, uint64_t instance,
			 struct handle_id handle);
/* Of a live session; the caller says whether it holds or waits. */
struct claim *claim_add(struct cell *c, struct session_entry *s, uint64_t instance,
			struct handle_id handle);
void claim_remove(struct cell *c, struct claim *claim);

/* ---- lock.c -------------------------------------------------------------------------------- */

static inline struct lock_entry *lock_of(const struct node_entry *n)
{
	return (struct lock_entry *)n->node.lock;
}

/* The node's lock, made when there is none. */
struct lock_entry *lock_ensure(struct cell *c, struct node_entry *n);
/* Out of the index, the digest and memory; without holders or waiters. */
void lock_destroy(struct cell *c, struct node_entry *n);
void lock_entry_free(struct lock_entry *l);

/* Whether one who asks for the mode could have it now, queue aside. */
bool lock_admits(const struct lock *l, enum lock_mode mode);
static inline bool lock_delayed(const struct lock *l)
{
	return l->delay_ns > 0;
}

/* What somebody asks for. */
struct lock_wish {
	struct session_entry *session;
	struct handle_id handle;
	enum lock_mode mode;
	int64_t lock_delay_ns;
	int64_t wait_ns;
};

/* The caller saw that the lock admits it; ends with lock_settle(). */
const struct lock_holder *lock_grant(struct cell *c, struct node_entry *n,
				     const struct lock_wish *wish);
void lock_enqueue(struct cell *c, struct node_entry *n, const struct lock_wish *wish);

/* How a hold ends. Whether lock-delay follows is for the caller to say. */
void lock_drop_holder(struct cell *c, struct node_entry *n, uint32_t position, bool failed,
		      enum error why);
void lock_drop_waiter(struct cell *c, struct node_entry *n, uint32_t position, enum error why);
/* Everybody leaves with `why`, and nobody follows: the node goes. */
void lock_drop_all(struct cell *c, struct node_entry *n, enum error why);
void lock_end_delay(struct cell *c, struct node_entry *n);
/* Grants to waiters what can be granted; digest, dirty row, reaping. Ends every change. */
void lock_settle(struct cell *c, struct node_entry *n);

/* Positions; the caller knows that the grant or ticket is there, or gets UINT32_MAX. */
uint32_t lock_holder_position(const struct lock *l, struct grant grant);
uint32_t lock_waiter_position(const struct lock *l, struct revision ticket);

/* Raw arrays, for load.c and multi.c too. */
void lock_put_holder(struct lock_entry *l, uint32_t position, const struct lock_holder *h);
void lock_append_waiter(struct lock_entry *l, const struct lock_waiter *w);

/* ---- lock_ops.c ---------------------------------------------------------------------------- */

/* The grant's fields of a result. */
void result_tell_grant(struct result *r, const struct lock *l, const struct lock_holder *h);

enum error apply_acquire(struct cell *c, const struct entry *e, struct result *r);
enum error apply_release(struct cell *c, const struct entry *e, struct result *r);
enum error apply_cancel(struct cell *c, const struct entry *e, struct result *r);
/* The handle's hold is released, or its wait ended. */
void lock_give_up(struct cell *c, struct node_entry *n, struct session_id session,
		  struct handle_id handle);
enum error apply_lock_delay_end(struct cell *c, const struct entry *e, struct result *r);
enum error apply_revoke(struct cell *c, const struct entry *e, struct result *r);

/* ---- session.c ----------------------------------------------------------------------------- */

void session_entry_free(struct session_entry *s);
int64_t session_clamp_lease(int64_t lease_ns);
void session_insert_lock(struct session_entry *s, uint64_t instance);
void session_remove_lock(struct session_entry *s, uint64_t instance);

enum error apply_session_create(struct cell *c, const struct entry *e, struct result *r);
enum error apply_session_end(struct cell *c, const struct entry *e, struct result *r);
enum error apply_session_mark(struct cell *c, const struct entry *e, struct result *r);
enum error apply_session_unmark(struct cell *c, const struct entry *e, struct result *r);
enum error apply_session_caches(struct cell *c, const struct entry *e, struct result *r);

/* ---- results.c ----------------------------------------------------------------------------- */

/* NOT_FOUND: the number is new and inside the window. INVALID_ARGUMENT: it was another kind's. */
MUST_USE enum error result_find(const struct session *s, uint64_t number, uint64_t line,
				enum entry_kind kind, const struct stored_result **ret_stored);
/* Forgets results below the line, then keeps this one. */
void result_store(struct cell *c, struct session_entry *s, uint64_t line,
		  const struct stored_result *stored);
void result_append(struct session_entry *s, const struct stored_result *stored);

/* ---- multi.c ------------------------------------------------------------------------------- */

enum error apply_multi(struct cell *c, const struct entry *e, struct result *r);

/* ---- digest.c ------------------------------------------------------------------------------ */

/* New hash for the row's own element; digest and dirty mark follow. */
void meta_touch(struct cell *c);
void node_touch(struct cell *c, struct node_entry *n);
void lock_touch(struct cell *c, struct lock_entry *l);
void session_touch(struct cell *c, struct session_entry *s);
/* The row's own element leaves the sum; the row becomes a deletion. */
void row_forget(struct cell *c, enum row_kind kind, uint64_t key, struct tracked *row);

/* Elements that come and go by themselves. Their row is touched by the caller. */
struct digest digest_of_keeper(uint64_t instance, struct keeper keeper);
struct digest digest_of_holder(uint64_t instance, const struct lock_holder *h);
struct digest digest_of_waiter(uint64_t instance, const struct lock_waiter *w);
struct digest digest_of_result(struct session_id session, const struct stored_result *stored);
struct digest digest_of_meta(const struct cell_meta *m);
struct digest digest_of_node(const struct node *n);
struct digest digest_of_lock(const struct lock *l);
struct digest digest_of_session(const struct session *s);
void digest_add(struct digest *sum, struct digest element);
void digest_subtract(struct digest *sum, struct digest element);
bool digest_equal(struct digest a, struct digest b);
/* Over every element anew. */
struct digest digest_recompute(const struct cell *c);
void digest_remember(struct cell *c);

enum error apply_digest(struct cell *c, const struct entry *e, struct result *r);

/* ---- dirty.c ------------------------------------------------------------------------------- */

void dirty_mark(struct cell *c, enum row_kind kind, uint64_t key, struct tracked *row,
		size_t row_bytes);
/* Forgets the marks made since the point: of objects alone that were made since and are gone. */
struct dirty_mark_point {
	uint32_t count;
	size_t bytes;
};
struct dirty_mark_point dirty_point(const struct cell *c);
void dirty_return_to(struct cell *c, struct dirty_mark_point point);
void dirty_mark_deleted(struct cell *c, enum row_kind kind, uint64_t key, struct tracked *row);

#endif
