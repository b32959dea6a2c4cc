/*
 * Identities and instants.
 *
 * Each kind of number has a struct of its own, so that the compiler refuses a slot where a
 * revision is meant. All are plain values: copy them freely.
 *
 *   replica_id   1..255; 0 means "none"
 *   incarnation  128 random bits, drawn when a replica starts with empty memory
 *   ballot       (round, replica, incarnation), ordered in that order; round 0 is "no ballot"
 *   slot         position in the replicated log, from 1; 0 means "before the first"
 *   revision     count of applied commands, below 2^53; the one global order of a cell
 *   epoch        number of the mastership, from 1; 0 means "none"
 *   session_id   the revision that created the session
 *   handle_id    number of a handle within its session
 */
#ifndef CHUBBY_BASE_IDS_H
#define CHUBBY_BASE_IDS_H

#include <stdbool.h>
#include <stdint.h>

#define REPLICA_ID_MAX 255u
#define REVISION_MAX ((UINT64_C(1) << 53) - 1)

/* Most replicas of a configuration: five in practice, more during changes. */
#define MEMBERS_MAX 9

struct replica_id {
	uint32_t n;
};

struct incarnation {
	uint64_t high;
	uint64_t low;
};

struct ballot {
	uint64_t round;
	struct replica_id replica;
	struct incarnation incarnation;
};

struct slot {
	uint64_t n;
};

struct revision {
	uint64_t n;
};

struct epoch {
	uint64_t n;
};

struct session_id {
	uint64_t n;
};

struct handle_id {
	uint64_t n;
};

#define BALLOT_NONE ((struct ballot){0})

static inline bool replica_equal(struct replica_id a, struct replica_id b)
{
	return a.n == b.n;
}

static inline int incarnation_compare(struct incarnation a, struct incarnation b)
{
	if (a.high != b.high)
		return a.high < b.high ? -1 : 1;
	if (a.low != b.low)
		return a.low < b.low ? -1 : 1;
	return 0;
}

static inline bool incarnation_equal(struct incarnation a, struct incarnation b)
{
	return incarnation_compare(a, b) == 0;
}

static inline int ballot_compare(struct ballot a, struct ballot b)
{
	if (a.round != b.round)
		return a.round < b.round ? -1 : 1;
	if (a.replica.n != b.replica.n)
		return a.replica.n < b.replica.n ? -1 : 1;
	return incarnation_compare(a.incarnation, b.incarnation);
}

static inline bool ballot_equal(struct ballot a, struct ballot b)
{
	return ballot_compare(a, b) == 0;
}

static inline bool ballot_less(struct ballot a, struct ballot b)
{
	return ballot_compare(a, b) < 0;
}

static inline bool ballot_is_none(struct ballot a)
{
	return a.round == 0;
}

static inline struct slot slot_next(struct slot s)
{
	return (struct slot){s.n + 1};
}

#endif
