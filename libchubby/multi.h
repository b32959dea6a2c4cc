/*
 * Several operations at once, in two halves: what is asked, and what the answer means. In between
 * the call may block, or not.
 */
#ifndef CHUBBY_MULTI_H
#define CHUBBY_MULTI_H

#include "handle.h"

struct multi {
	struct request request; /* points into the arena */
	struct arena arena;
	char *guard; /* owned; of the handles that have one set, NULL: none */
	/* As many as operations, NULL where there is none or it was closed meanwhile; they are
	 * borrowed until multi_taken(). */
	struct chubby_handle **handles;
};

/* Judges the operations and copies them. On success multi_release() must follow; on failure there
 * is nothing to release, and `ret_failed_op` is as chubby_multi() has it. */
MUST_USE enum chubby_code multi_prepare(struct chubby *cell, const struct chubby_op *ops,
					size_t count, struct multi *ret_multi,
					size_t *ret_failed_op, struct chubby_error *ret_error);
/* Of a call that is done: handles hold what they got. Does not release the call. */
MUST_USE enum chubby_code multi_taken(struct multi *m, const struct client_call *c,
				      uint64_t *ret_revision, size_t *ret_failed_op,
				      struct chubby_error *ret_error);
void multi_release(struct multi *m);

#endif
