/*
 * What a store was told, what it answered, and what it may therefore hold after a power cut.
 *
 * Each write carries its number in the small state, so a recovered log tells up to which write it
 * goes. That number must not be below the last that was acknowledged; and everything in the log
 * must be exactly what the writes up to it make: no row more, none less, none changed.
 */
#ifndef CHUBBY_TEST_STORE_TRUTH_H
#define CHUBBY_TEST_STORE_TRUTH_H

#include "cell/cell.h"
#include "paxos/paxos.h"
#include "store/store.h"

#define TRUTH_SAVES_MAX 64
#define TRUTH_WRITE_ROWS_MAX 4

struct truth_row {
	uint64_t slot, round;
};

struct truth_write {
	uint64_t number;
	struct paxos_durable durable;
	uint32_t row_count;
	struct truth_row rows[TRUTH_WRITE_ROWS_MAX];
};

struct truth_rows {
	struct truth_row *rows; /* owned; ascending by slot */
	size_t count, capacity;
};

struct truth_save {
	uint64_t slot;
	struct digest digest;
};

/* What happens, for somebody who outlives this process. */
#define TRUTH_RECORD_WRITES_MAX 1024
struct truth_record {
	uint32_t write_count, save_count;
	struct truth_write writes[TRUTH_RECORD_WRITES_MAX];
	struct truth_save saves[TRUTH_SAVES_MAX];
	uint64_t acknowledged, acknowledged_state;
};

struct truth {
	struct truth_record *record; /* borrowed; NULL: nobody */
	/* What the last recovery found: all of it is durable. */
	uint64_t number;
	struct paxos_durable durable;
	struct truth_rows rows;
	/* Since then, in order. */
	struct truth_write *writes; /* owned */
	size_t write_count, write_capacity;
	uint64_t acknowledged;       /* number of a write */
	uint64_t acknowledged_state; /* slot */
	/* States that may be found: one that was, and those that were handed over since. */
	struct truth_save saves[TRUTH_SAVES_MAX];
	size_t save_count;
	uint64_t snapshot; /* slot of one that is ready, so that it must be installed; 0: none */
	bool doubt;        /* found, and nothing can have ended it */
	bool doubtful;     /* found, whatever may have ended it */
	bool whole;        /* a clean end: no new doubt may arise */
};

void truth_init(struct truth *t, struct digest genesis);
void truth_release(struct truth *t);
void truth_wrote(struct truth *t, const struct truth_write *w);
void truth_saves(struct truth *t, uint64_t slot, struct digest digest);
/* The newest slot that any write has named. */
uint64_t truth_newest(const struct truth *t);
const struct paxos_durable *truth_durable(const struct truth *t);

/* The same slot and round give the same value. */
struct value *truth_value(uint64_t slot, uint64_t round);
struct ballot truth_ballot(uint64_t round);

/*
 * Looks at a store that was opened, and takes what it found for the truth. NULL, or what is wrong,
 * valid until the next call. *ret_cell only if nothing is.
 */
const char *truth_check(struct truth *t, struct store *s, struct cell **ret_cell,
			enum paxos_memory *ret_memory);

#endif
