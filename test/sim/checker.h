/*
 * What the simulator checks while it runs: the invariants that sim.h lists.
 */
#ifndef CHUBBY_TEST_SIM_CHECKER_H
#define CHUBBY_TEST_SIM_CHECKER_H

#include "base/value.h"
#include "cell/cell.h"

struct checker;
struct host;
struct sim_request;
struct world;

struct checker *sim_checker_new(struct world *w);
void sim_checker_free(struct checker *k);
/* A slot is applied at a host. */
void sim_check_chosen(struct host *h, struct slot slot, const struct value *v);
/* One command was applied there. */
void sim_check_applied(struct host *h, const struct entry *e, const struct outcome *o);
/* A host loaded its state: revision and digest must stand in the canon. */
void sim_check_loaded(struct host *h);
/* After each step of a host. */
void sim_check_step(struct host *h);
/* A command is acknowledged; a read is answered. */
void sim_check_acked(struct host *h, const struct sim_request *r, const struct result *result);
void sim_check_read(struct host *h, uint64_t acked_before);
void sim_check_answered(struct world *w, uint64_t attempt);
uint64_t sim_checker_acked_revision(const struct checker *k);
uint64_t sim_checker_acked_count(const struct checker *k);
uint64_t sim_checker_head(const struct checker *k);
/* What the canon says of a grant; of a counter at a revision. False: nothing. */
struct sim_grant {
	struct session_id session;
	struct handle_id handle;
	uint64_t instance;
	struct revision token;
	enum lock_mode mode;
};
bool sim_checker_grant(const struct checker *k, const struct grant *g, struct sim_grant *ret_grant);
bool sim_checker_counter_at(const struct checker *k, uint32_t counter, uint64_t revision,
			    uint64_t *ret_value, uint64_t *ret_generation);
void sim_check_settled(struct world *w);
void sim_check_end(struct world *w);
/* checker_model.c: what locks and counters must look like, from the canon alone. */
struct model;
struct model *sim_model_new(void);
void sim_model_free(struct model *m);
void sim_model_apply(struct world *w, struct model *m, const struct cell *c, const struct entry *e,
		     const struct outcome *o);
bool sim_model_grant(const struct model *m, const struct grant *g, struct sim_grant *ret_grant);
bool sim_model_counter_at(const struct model *m, uint32_t counter, uint64_t revision,
			  uint64_t *ret_value, uint64_t *ret_generation);

#endif
