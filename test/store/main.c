/*
 * cuts: power cuts of the real store on a disk that forgets (disk.h), and what it finds after each.
 *
 * One life of a store after the other, each from a seed of its own, with some forty cuts. The first
 * thing that is wrong ends the run, with the seed and the number of the life.
 */
#include "disk.h"
#include "failures.h"
#include "life.h"

#include "base/clock.h"

#ifdef CUTS_MUTANTS
#include "planted.h"
#endif

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>

#define EPISODES 40

static const char usage[] =
	"usage: cuts [--cuts N] [--seed S] [--life L]\n"
	"       cuts --failures STRIDE [--seed S]\n"
	"\n"
	"Cuts the power of a store N times (default 2000) and checks what it finds afterwards.\n"
	"Lives are numbered from L (default 1): a run that was ended goes on with the one that it\n"
	"names. With --failures each STRIDEth call of each kind fails once instead. Works in\n"
	"/dev/shm, or in $TMPDIR.\n";

struct options {
	uint64_t cuts, seed, life, stride; /* stride 0: cuts */
	int mutant;
};

static bool parse(int count, char **arguments, struct options *ret)
{
	static const struct option known[] = {
		{"cuts", required_argument, NULL, 'c'},
		{"seed", required_argument, NULL, 's'},
		{"life", required_argument, NULL, 'l'},
		{"failures", required_argument, NULL, 'f'},
#ifdef CUTS_MUTANTS
		{"mutant", required_argument, NULL, 'm'},
#endif
		{NULL, 0, NULL, 0},
	};
	struct options o = {2000, 1, 1, 0, 0};
	int found;

	while ((found = getopt_long(count, arguments, "", known, NULL)) != -1) {
		uint64_t number = found != '?' ? strtoull(optarg, NULL, 10) : 0;

		if (found == 'c')
			o.cuts = number;
		else if (found == 's')
			o.seed = number;
		else if (found == 'l')
			o.life = number;
		else if (found == 'f')
			o.stride = number;
		else if (found == 'm')
			o.mutant = (int)number;
		else
			return false;
	}
	*ret = o;
	return optind == count;
}

static const char *live(uint64_t seed, const char *root, struct life_snapshot *snapshots,
			struct life_tally *tally)
{
	struct life l;
	const char *text;

	life_init(&l, root, seed, snapshots, tally);
	text = life_genesis(&l);
	for (int i = 0; i < EPISODES && text == NULL; i++)
		text = life_episode(&l);
	life_release(&l);
	return text;
}

static void print(const struct life_tally *t, double seconds)
{
	printf("%" PRIu64 " lives, %" PRIu64 " starts, %" PRIu64 " writes, %" PRIu64
	       " states saved, %" PRIu64 " images, %" PRIu64 " snapshots received, %" PRIu64
	       " trims\n",
	       t->lives, t->starts, t->writes, t->saves, t->images, t->installs, t->trims);
	printf("%" PRIu64 " power cuts (%" PRIu64 " at a genesis, %" PRIu64
	       " during a start), %" PRIu64 " kills, %" PRIu64 " clean ends; %" PRIu64
	       " starts in doubt; %.0f cuts/s\n",
	       t->cuts, t->cuts_at_genesis, t->cuts_at_start, t->kills, t->closes, t->doubtful,
	       (double)t->cuts / seconds);
}

/* A place in memory, where there is one. */
static void make_root(char *ret_root, size_t size)
{
	const char *parent = getenv("TMPDIR");

	if (access("/dev/shm", W_OK) == 0)
		parent = "/dev/shm";
	snprintf(ret_root, size, "%s/chubby-cuts.XXXXXX", parent != NULL ? parent : "/tmp");
	if (mkdtemp(ret_root) == NULL) {
		perror(ret_root);
		exit(1);
	}
}

static const char *cut(struct options *o, const char *root, struct life_snapshot *snapshots)
{
	struct life_tally tally = {0};
	int64_t began_ns = clock_now_ns();
	const char *text = NULL;

	for (; tally.cuts < o->cuts && text == NULL; o->life++)
		text = live(o->seed * 1000003 + o->life, root, snapshots, &tally);
	print(&tally, (double)(clock_now_ns() - began_ns) / 1e9);
	if (text != NULL)
		printf("WRONG: %s\nagain: cuts --seed %" PRIu64 " --life %" PRIu64 " --cuts 1\n",
		       text, o->seed, o->life - 1);
	else
		printf("nothing that was acknowledged was lost; next: --life %" PRIu64 "\n",
		       o->life);
	return text;
}

int main(int count, char **arguments)
{
	struct life_snapshot snapshots[LIFE_SNAPSHOTS];
	const char *text;
	struct options o;
	char root[128];

	if (!parse(count, arguments, &o)) {
		fputs(usage, stderr);
#ifdef CUTS_MUTANTS
		for (const struct mutant *m = mutants_planted; m->number != 0; m++)
			fprintf(stderr, "mutant %d: %s: %s\n", m->number, m->file, m->what);
#endif
		return 64;
	}
	make_root(root, sizeof(root));
	disk_take_memory();
	disk_begin(root);
	life_make_snapshots(root, snapshots);
#ifdef CUTS_MUTANTS
	mutant_planted = o.mutant;
#endif
	text = o.stride > 0 ? failures_try(root, snapshots, o.stride, o.seed)
			    : cut(&o, root, snapshots);
	for (int i = 0; i < LIFE_SNAPSHOTS; i++)
		buffer_release(&snapshots[i].image);
	disk_clear(0);
	rmdir(root);
	return text != NULL;
}
