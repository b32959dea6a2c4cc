/* The commands of a cell that lives: two sessions, a lock with holder and waiter, some files. */
#ifndef CHUBBY_TEST_FUZZ_STORY_H
#define CHUBBY_TEST_FUZZ_STORY_H

#include "cell/cell.h"

#define TEXT(literal)                                                                              \
	{                                                                                          \
		(const uint8_t *)(literal), sizeof(literal) - 1                                    \
	}

/* Genesis is revision 1, so the epoch is 2, the sessions are 3 and 4, the nodes 5, 6 and 7. */
static const struct multi_op story_ops[] = {
	{.kind = MULTI_GUARD_EXISTS, .path = TEXT("/d")},
	{.kind = MULTI_WRITE, .path = TEXT("/d/f"), .contents = TEXT("two")},
	{.kind = MULTI_ACQUIRE, .path = TEXT("/d"), .handle = {9}, .mode = LOCK_SHARED},
};
static const struct session_mark story_marks[] = {{{3}, 4000000000}, {{4}, 0}};
static const struct entry story[] = {
	{.kind = ENTRY_EPOCH,
	 .wall_unix_ms = 1800000000000,
	 .epoch = {{1}, {.round = 1, .replica = {1}}}},
	{.kind = ENTRY_SESSION_CREATE,
	 .session_create = {.principal = TEXT("one"), .lease_ns = 12000000000}},
	{.kind = ENTRY_SESSION_CREATE,
	 .session_create = {.host = TEXT("host"), .lease_ns = 6000000000}},
	{.kind = ENTRY_NODE_CREATE,
	 .session = {3},
	 .node_create = {.path = TEXT("/d"), .kind = NODE_DIRECTORY}},
	{.kind = ENTRY_NODE_CREATE,
	 .session = {3},
	 .number = 1,
	 .lowest_unanswered = 1,
	 .node_create = {.path = TEXT("/d/f"), .kind = NODE_FILE, .contents = TEXT("one")}},
	{.kind = ENTRY_NODE_CREATE,
	 .session = {4},
	 .node_create = {.path = TEXT("/e"), .kind = NODE_FILE, .ephemeral = true, .handle = {8}}},
	{.kind = ENTRY_ACQUIRE,
	 .session = {3},
	 .number = 2,
	 .lowest_unanswered = 1,
	 .acquire = {.instance = 6, .handle = {7}, .mode = LOCK_EXCLUSIVE, .lock_delay_ns = 5}},
	{.kind = ENTRY_ACQUIRE,
	 .session = {4},
	 .acquire = {.instance = 6, .handle = {8}, .mode = LOCK_SHARED}},
	{.kind = ENTRY_NODE_WRITE,
	 .session = {3},
	 .node_write = {.instance = 6, .contents = TEXT("three")}},
	{.kind = ENTRY_NODE_SET_ACL,
	 .session = {3},
	 .node_set_acl = {.instance = 6, .acl = {TEXT("r"), TEXT("w"), TEXT("c")}}},
	{.kind = ENTRY_MULTI, .session = {3}, .multi = {3, story_ops}},
	{.kind = ENTRY_SESSION_MARK, .guard_epoch = {1}, .session_mark = {2, story_marks}},
	{.kind = ENTRY_KEEP, .session = {3}, .keep = {7, {5}}},
	{.kind = ENTRY_SESSION_UNMARK, .session = {3}},
	{.kind = ENTRY_SESSION_END, .session = {3}, .session_end = {SESSION_END_EXPIRED}},
	{.kind = ENTRY_LOCK_DELAY_END, .guard_epoch = {1}, .lock_delay_end = {6, {16}}},
	{.kind = ENTRY_CLOSE, .session = {4}, .keep = {7, {8}}},
	{.kind = ENTRY_NODE_REAP, .keep = {7, {0}}},
	{.kind = ENTRY_NODE_DELETE, .node_delete = {6, 0}},
};
#define STORY_COUNT (sizeof(story) / sizeof(story[0]))
#define STORY_BUSY 12 /* after so many there is most to see */

/* The first `count` of them. */
static inline void story_apply(struct cell *c, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct outcome o;

		cell_apply(c, &story[i], &o);
	}
}

#endif
