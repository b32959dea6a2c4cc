/*
 * Names of ACLs. A cell has few of them and each node has three, inherited as a rule: each name
 * is kept once and counted.
 *
 * The cell keeps names and generations only. Who is on a list, and what that allows, is judged by
 * the master before it proposes.
 */
#include "cell/cell_internal.h"

#include "base/check.h"

#include <stdlib.h>
#include <string.h>

struct bytes acl_name_ref(struct cell *c, struct bytes name)
{
	struct acl_name key = {.name = name};
	struct acl_name *found;
	uint8_t *text;

	if (name.size == 0)
		return BYTES_NONE;
	found = RB_FIND(acl_tree, &c->index->acl_names, &key);
	if (found == NULL) {
		found = mem_zalloc(sizeof(*found) + name.size);
		text = (uint8_t *)(found + 1);
		memcpy(text, name.data, name.size);
		found->name = (struct bytes){text, name.size};
		RB_INSERT(acl_tree, &c->index->acl_names, found);
	}
	found->uses++;
	return found->name;
}

void acl_name_unref(struct cell *c, struct bytes *name)
{
	struct acl_name key = {.name = *name};
	struct acl_name *found;

	if (name->size == 0)
		return;
	found = RB_FIND(acl_tree, &c->index->acl_names, &key);
	CHECK(found != NULL && found->uses > 0);
	*name = BYTES_NONE;
	if (--found->uses > 0)
		return;
	RB_REMOVE(acl_tree, &c->index->acl_names, found);
	free(found);
}

void acl_set(struct cell *c, struct node *n, const struct bytes names[CELL_ACL_NAMES])
{
	struct bytes taken[CELL_ACL_NAMES];

	/* Taken before the old ones are given up: they may be the same. */
	for (int i = 0; i < CELL_ACL_NAMES; i++)
		taken[i] = acl_name_ref(c, names[i]);
	acl_clear(c, n);
	memcpy(n->acl, taken, sizeof(taken));
}

void acl_clear(struct cell *c, struct node *n)
{
	for (int i = 0; i < CELL_ACL_NAMES; i++)
		acl_name_unref(c, &n->acl[i]);
}

enum error acl_check(const struct bytes names[CELL_ACL_NAMES])
{
	for (int i = 0; i < CELL_ACL_NAMES; i++)
		if (names[i].size > CELL_NAME_MAX_BYTES)
			return ERROR_TOO_LARGE;
	return ERROR_OK;
}
