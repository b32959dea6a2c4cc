/*
 * Every call of the store fails once in turn: a file that does not open, a write that finds the
 * disk full or writes half, a sync that does not get through, a read, a rename.
 *
 * The store goes on or reports that it failed; either way, what it acknowledged before and after
 * is there when the power goes right then, or at the end of the work.
 */
#include "failures.h"

#include "disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define STARTS 3
#define STEPS 14
/* Some seeds, so that every kind of step comes: state, image, snapshot, trimming. */
#define STORIES 3

struct fault {
	unsigned calls;
	int error; /* 0: a write that writes half */
	const char *what;
	uint64_t apart; /* times as far as the others */
};

static const struct fault faults[] = {
	{DISK_WRITE, EIO, "write: EIO", 1},
	{DISK_WRITE, ENOSPC, "write: ENOSPC", 1},
	{DISK_WRITE, 0, "write: half", 1},
	{DISK_SYNC, EIO, "sync: EIO", 1},
	{DISK_SYNC, ENOSPC, "sync: ENOSPC", 1},
	{DISK_SYNC_DIRECTORY, EIO, "sync of a directory: EIO", 1},
	{DISK_TRUNCATE, EIO, "truncate: EIO", 1},
	{DISK_OPEN, EIO, "open: EIO", 1},
	{DISK_OPEN, EMFILE, "open: EMFILE", 1},
	{DISK_CREATE, ENOSPC, "create: ENOSPC", 1},
	{DISK_READ, EIO, "read: EIO", 1},
	{DISK_RENAME, EIO, "rename: EIO", 1},
	{DISK_UNLINK, EIO, "unlink: EIO", 1},
	{DISK_MEMORY, ENOMEM, "SQLite's memory", 61},
};

struct failures {
	const char *root;
	struct life_snapshot *snapshots;
	struct life_tally *tally;
	uint64_t runs, reached, reported, refused;
};

static const char *end(struct life *l, bool cut)
{
	life_close(l);
	l->truth.whole = false;
	if (cut)
		disk_power_on();
	return NULL;
}

/* *ret_fired: the failure came. For every other one the power goes right after it. */
static const char *story(struct failures *f, const struct fault *fault, uint64_t n, uint64_t seed,
			 int starts, bool *ret_fired)
{
	bool early = (n + seed) % 2 == 0;
	const char *text;
	struct life l;

	life_init(&l, f->root, seed, f->snapshots, f->tally);
	disk_fail_at(n, fault->calls, fault->error);
	text = life_genesis_once(&l);
	for (int i = 0; i < starts && text == NULL; i++) {
		text = life_start(&l);
		f->refused += text == NULL && l.store == NULL;
		if (text == NULL && l.store != NULL)
			text = life_work(&l, STEPS);
		f->reported += l.failed != ERROR_OK;
		if (text == NULL)
			text = end(&l, early && disk_has_failed());
		early = early && !disk_has_failed();
	}
	if (text == NULL)
		disk_power_on();
	if (text == NULL)
		text = life_start(&l);
	*ret_fired = disk_has_failed();
	life_release(&l);
	f->runs++;
	f->reached += *ret_fired;
	return text;
}

/* Each `stride`th call, until there are no more. */
static const char *try_fault(struct failures *f, const struct fault *fault, uint64_t seed,
			     uint64_t stride, int starts)
{
	uint64_t n = 1 + seed % stride;
	bool fired = true;

	while (fired) {
		const char *text = story(f, fault, n, seed, starts, &fired);

		if (text != NULL) {
			printf("WRONG: %s, call %" PRIu64 ", seed %" PRIu64 ": %s\n", fault->what,
			       n, seed, text);
			return text;
		}
		n += stride;
	}
	return NULL;
}

const char *failures_try(const char *root, struct life_snapshot *snapshots, uint64_t stride,
			 uint64_t seed)
{
	struct life_tally tally = {0};
	struct failures f = {.root = root, .snapshots = snapshots, .tally = &tally};
	const char *text = NULL;

	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]) && text == NULL; i++) {
		uint64_t reached = f.reached;

		/* A genesis, and a first start: all of it. */
		text = try_fault(&f, &faults[i], seed, faults[i].apart, 0);
		for (uint64_t j = 0; j < STORIES && text == NULL; j++)
			text = try_fault(&f, &faults[i], seed * 1000003 + j,
					 stride * faults[i].apart, STARTS);
		printf("%s: %" PRIu64 " failed\n", faults[i].what, f.reached - reached);
		fflush(stdout);
	}
	printf("%" PRIu64 " failures; %" PRIu64 " were reported by a running store, %" PRIu64
	       " kept one from opening; the others did no harm\n",
	       f.reached, f.reported, f.refused);
	return text;
}
