/*
 * The model of one object: what a lock or a file may answer next (lin.h tells the rules).
 */
#ifndef CHUBBY_TEST_LIN_MODEL_H
#define CHUBBY_TEST_LIN_MODEL_H

#include "lin.h"

enum lin_mode { LIN_FREE, LIN_SHARED, LIN_EXCLUSIVE };

struct lin_state {
	/* Token or generation. Not known: any number from this one on. */
	uint64_t number;
	bool known;
	/* A lock's. */
	enum lin_mode mode, barred; /* barred: the mode of the hold that failed */
	uint32_t holders;
	uint64_t holders_hash;
	/* A file's. */
	bool exists;
	uint64_t value;
};

struct lin_party {
	bool holds;
	uint32_t dead; /* so many of its expiries happened */
	uint64_t grant;
};

struct lin_model {
	struct lin_state now;
	struct lin_party *parties; /* owned; indexed by who */
};

struct lin_undo {
	struct lin_state state;
	uint32_t who;
	struct lin_party party;
};

void lin_model_init(struct lin_model *m, uint32_t parties);
void lin_model_release(struct lin_model *m);
/*
 * The operation happens. False, and nothing changed: it may not, or, of unknown outcome, it would
 * change nothing. `excused`: a refused acquire had a queue before it.
 */
bool lin_step(struct lin_model *m, const struct lin_op *op, bool excused,
	      struct lin_undo *ret_undo);
void lin_step_back(struct lin_model *m, const struct lin_undo *undo);
uint64_t lin_state_hash(const struct lin_state *s);
uint64_t lin_mix(uint64_t n);

/* It changes no state whatever it finds. */
bool lin_only_looks(const struct lin_op *op);
bool lin_is_of_locks(enum lin_verb verb);

/* ---- lin_search.c: the search, for both judges ---------------------------------------------- */

#define LIN_NO_RANK UINT32_MAX

struct lin_item {
	const struct lin_op *op;
	bool must;    /* it happened: a place has to be found for it */
	bool excused; /* see lin_step() */
	/* The witness: so many changes come before it. A change takes its turn, a look its gap. */
	uint32_t rank;
};

struct lin_items {
	struct lin_item *items; /* owned */
	uint32_t count;
	uint32_t parties;
};

/* The operations of an object; those of unknown outcome that change nothing are left out. */
void lin_items_init(struct lin_items *t, const struct lin_history *h, uint32_t object,
		    bool with_revisions);
void lin_items_release(struct lin_items *t);
enum lin_verdict lin_items_search(const struct lin_history *h, const struct lin_items *t,
				  uint64_t budget, struct lin_report *ret_report);

#endif
