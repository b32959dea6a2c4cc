#include "sim.h"

#include <string.h>

/* clang-format off */
#define CHAOS \
	.loss_ppm = 100000, .duplicate_ppm = 50000, .slow_ppm = 20000, \
	.delay_max_ns = 5 * NS_PER_MS, .slow_max_ns = 3 * NS_PER_S, \
	.sync_max_ns = 8 * NS_PER_MS, \
	.crash_mean_ns = 4 * NS_PER_S, .pause_mean_ns = 5 * NS_PER_S, \
	.cut_mean_ns = 4 * NS_PER_S, .slow_disk_mean_ns = 8 * NS_PER_S, \
	.disk_error_mean_ns = 20 * NS_PER_S, .resign_mean_ns = 12 * NS_PER_S, \
	.drift_ppm = DRIFT_PPM_DEFAULT, .trims = true

static const struct sim_profile profiles[] = {
	{
		.name = "calm",
		.delay_max_ns = 2 * NS_PER_MS, .sync_max_ns = 2 * NS_PER_MS, .drift_ppm = 100,
	},
	{
		.name = "sessions",
		.delay_max_ns = 2 * NS_PER_MS, .sync_max_ns = 2 * NS_PER_MS, .drift_ppm = 1000,
		.full = true,
	},
	{
		/* Everything at once, through the whole stack. */
		.name = "chaos",
		CHAOS, .blink_mean_ns = 20 * NS_PER_S, .full = true,
	},
	{
		/* The same without master and sessions: commands of the cell, and more of them. */
		.name = "bare",
		CHAOS, .blink_mean_ns = 20 * NS_PER_S, .expire_mean_ns = 5 * NS_PER_S,
	},
	{
		.name = "crash",
		.delay_max_ns = 3 * NS_PER_MS, .sync_max_ns = 20 * NS_PER_MS,
		.crash_mean_ns = NS_PER_S, .disk_error_mean_ns = 10 * NS_PER_S,
		.drift_ppm = DRIFT_PPM_DEFAULT, .trims = true, .full = true,
	},
	{
		.name = "lossy",
		.loss_ppm = 300000, .duplicate_ppm = 500000, .slow_ppm = 100000,
		.delay_max_ns = 20 * NS_PER_MS, .slow_max_ns = 10 * NS_PER_S,
		.sync_max_ns = 5 * NS_PER_MS, .cut_mean_ns = 2 * NS_PER_S,
		.drift_ppm = DRIFT_PPM_DEFAULT, .full = true,
	},
	{
		/* Disks that lose what they had synced: a minority, and what others surely know. */
		.name = "liar",
		.loss_ppm = 10000, .duplicate_ppm = 10000, .slow_ppm = 5000,
		.delay_max_ns = 3 * NS_PER_MS, .slow_max_ns = 100 * NS_PER_MS,
		.sync_max_ns = 5 * NS_PER_MS, .rollback_mean_ns = 10 * NS_PER_S,
		.crash_mean_ns = 15 * NS_PER_S, .drift_ppm = DRIFT_PPM_DEFAULT,
	},
	{
		/* One master after the other, to measure how long a cell is without one. */
		.name = "failover",
		.delay_max_ns = NS_PER_MS, .sync_max_ns = 3 * NS_PER_MS,
		.crash_mean_ns = 8 * NS_PER_S, .headless_max_ns = 2 * NS_PER_S,
		.drift_ppm = 1000, .masters_only = true, .full = true,
	},
	{
		/* A link here and there is dead in one direction or both: nobody may flap. */
		.name = "partial",
		.delay_max_ns = 2 * NS_PER_MS, .sync_max_ns = 3 * NS_PER_MS,
		.cut_mean_ns = 6 * NS_PER_S, .cut_shapes = 2, .headless_max_ns = 2 * NS_PER_S,
		.drift_ppm = 1000, .full = true,
	},
	{
		/* Many commands, large values, long absences: batches, windows, catch-up. */
		.name = "busy",
		.loss_ppm = 20000, .duplicate_ppm = 10000, .slow_ppm = 5000,
		.delay_max_ns = 5 * NS_PER_MS, .slow_max_ns = 3 * NS_PER_S,
		.sync_max_ns = 5 * NS_PER_MS,
		.crash_mean_ns = 5 * NS_PER_S, .cut_mean_ns = 8 * NS_PER_S,
		.slow_disk_mean_ns = 8 * NS_PER_S, .expire_mean_ns = 5 * NS_PER_S,
		.drift_ppm = DRIFT_PPM_DEFAULT, .think_max_ns = 5 * NS_PER_MS, .bulk_ppm = 700000,
		.trims = true,
	},
	{
		/* Clocks far beyond the bound void the leases; agreement never rests on a clock. */
		.name = "wild",
		.loss_ppm = 100000, .duplicate_ppm = 50000, .slow_ppm = 20000,
		.delay_max_ns = 5 * NS_PER_MS, .slow_max_ns = 2 * NS_PER_S,
		.sync_max_ns = 8 * NS_PER_MS,
		.crash_mean_ns = 5 * NS_PER_S, .pause_mean_ns = 3 * NS_PER_S,
		.cut_mean_ns = 3 * NS_PER_S, .expire_mean_ns = 5 * NS_PER_S,
		.drift_ppm = 400000, .trims = true, .leases_void = true,
	},
};
/* clang-format on */

const struct sim_profile *sim_profile_find(const char *name)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (strcmp(profiles[i].name, name) == 0)
			return &profiles[i];
	return NULL;
}

static const char *const mutant_names[MUTANT_COUNT] = {
	[MUTANT_NONE] = "none",
	[MUTANT_PERSISTED_EARLY] = "durable is reported before it is",
	[MUTANT_PROMISE_FORGOTTEN] = "a restart forgets promise and lease, and nobody objects",
	[MUTANT_NO_RESTART_WAIT] = "a restart forgets the lease that it promised",
	[MUTANT_READ_WITHOUT_LEASE] = "reads are served without a lease",
	[MUTANT_ANSWER_EARLY] = "a command is acknowledged when it is proposed",
	[MUTANT_STATE_AHEAD] = "saved state names the slot before: one is applied twice",
	[MUTANT_EMPTY_PROMISE] = "promises leave without the accepted values",
	[MUTANT_EPOCH_IGNORED] = "a master serves before its epoch entry is applied",
	[MUTANT_ACCEPTS_LOST] = "a restart finds its last acceptances gone, and nobody objects",
	[MUTANT_WILD_CLOCK] = "clocks run 20 % wrong",
	[MUTANT_ACCEPTS_OLD] = "an acceptance of a ballot that lost is acknowledged",
	[MUTANT_COUNTS_TWICE] = "an acceptance counts for two acceptors",
	[MUTANT_LEASE_FROM_RECEIPT] = "an answer renews the lease from the newest message on",
};

const char *sim_mutant_name(enum sim_mutant m)
{
	CHECK(m < MUTANT_COUNT);
	return mutant_names[m];
}
