/*
 * One paxos instance, replica 1, in the hands of a test that plays its peers, its disk and its
 * clock by hand.
 */
#ifndef TEST_PAXOS_ONE_H
#define TEST_PAXOS_ONE_H

#include "paxos/paxos.h"

struct one {
	struct paxos *p;
	uint32_t count;
	int64_t now_ns;
	uint64_t written;               /* newest write that was asked for */
	const struct paxos_output *out; /* of the last call */
	bool promise_written;           /* the last output's write changed the promise */
};

struct one_start {
	uint32_t count;
	struct paxos_durable durable;
	enum paxos_memory memory;
	struct paxos_accepted *tail; /* its references pass on */
	uint32_t tail_count;
	struct slot applied;
};

struct one *one_new(const struct one_start *start);
/* The same, and vetted by its peers. */
struct one *one_vetted(const struct one_start *start);
struct one *one_simple(uint32_t count);
void one_free(struct one *o);
struct incarnation one_incarnation(uint32_t id);
struct ballot one_ballot(uint64_t round, uint32_t id);
/* A message of that kind from replica `from`, for the test to complete. */
struct paxos_message one_message(enum paxos_kind kind, uint32_t from);
/* Hands it over and drops what it owns. */
void one_step(struct one *o, uint32_t from, struct paxos_message *m);
void one_tick(struct one *o, int64_t pass_ns);
void one_persist(struct one *o);
/* The message of that kind to that replica in the last output; NULL: none. */
const struct paxos_message *one_sent(const struct one *o, enum paxos_kind kind, uint32_t to);
struct value *one_value(const char *command);
struct paxos_message one_accept(struct ballot ballot, uint64_t slot, const char *command);
/* Lets it win an election with the promises of 2 and 3 (and more, up to a majority). */
void one_elect(struct one *o);
/* Lets time pass until it asks for promises, and answers probes; the PREPARE is durable. */
void one_prepare(struct one *o);
void one_vet(struct one *o);

#endif
