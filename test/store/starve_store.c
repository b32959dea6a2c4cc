/*
 * starve-store [STRIDE]: a store in a process of its own, in which each STRIDEth allocation in turn
 * finds no memory. The process ends by abort(), with a sentence; and the next one finds everything
 * that it acknowledged, as after a kill.
 */
#include "life.h"
#include "starve.h"

#include "base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEPS 30
#define SAID_BYTES 256

/* What the process that ends told until then, in memory that both see. */
struct told {
	struct truth_record record;
	bool ended; /* it came to the end of its work */
	uint64_t allocations;
};

static void starve(struct life *l, struct told *told, uint64_t n, int said)
{
	const char *text;

	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	dup2(said, STDERR_FILENO);
	l->truth.record = &told->record;
	l->record = &told->record;
	starve_at(n);
	text = life_start(l);
	if (text == NULL)
		text = life_work(l, STEPS);
	life_close(l);
	told->allocations = starve_count();
	told->ended = true;
	if (text != NULL)
		fprintf(stderr, "%s", text);
	_exit(text == NULL ? 0 : 1);
}

/* What the process told becomes the truth. */
static void believe(struct truth *t, const struct truth_record *r)
{
	for (uint32_t i = 0; i < r->write_count; i++)
		truth_wrote(t, &r->writes[i]);
	for (uint32_t i = 0; i < r->save_count; i++)
		truth_saves(t, r->saves[i].slot, r->saves[i].digest);
	if (r->acknowledged > t->acknowledged)
		t->acknowledged = r->acknowledged;
	if (r->acknowledged_state > t->acknowledged_state)
		t->acknowledged_state = r->acknowledged_state;
	/* A write that was handed over may have ended a doubt, and half a one may raise it. */
	t->whole = false;
	t->doubt = false;
}

static const char *judge(const struct told *told, int status, const char *said)
{
	if (told->ended && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return NULL;
	if (!told->ended && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
	    strncmp(said, "FATAL out of memory: ", 21) == 0)
		return NULL;
	return "the process did not stop cleanly";
}

/* *ret_over: there was no such allocation any more. */
static const char *try_at(struct life *l, struct told *told, uint64_t n, bool *ret_over)
{
	char said[SAID_BYTES] = "";
	const char *text;
	int ends[2], status;
	pid_t child;

	memset(told, 0, sizeof(*told));
	CHECK(pipe(ends) == 0);
	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		starve(l, told, n, ends[1]);
	close(ends[1]);
	for (ssize_t size = 0, more = 1; more > 0 && size < SAID_BYTES - 1; size += more)
		more = read(ends[0], said + size, (size_t)(SAID_BYTES - 1 - size));
	close(ends[0]);
	CHECK(waitpid(child, &status, 0) == child);
	text = judge(told, status, said);
	if (text != NULL)
		printf("status %d: %s\n", status, said);
	*ret_over = told->ended;
	believe(&l->truth, &told->record);
	if (text == NULL)
		text = life_start(l);
	life_close(l);
	return text;
}

static const char *try_all(const char *root, struct life_snapshot *snapshots, uint64_t stride)
{
	struct told *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct life_tally tally = {0};
	uint64_t tried = 0, acknowledged = 0;
	const char *text;
	bool over = false;
	struct life l;

	CHECK(told != MAP_FAILED);
	life_init(&l, root, 5, snapshots, &tally);
	text = life_genesis_once(&l);
	for (uint64_t n = 1; !over && text == NULL; n += stride) {
		text = try_at(&l, told, n, &over);
		/* The seed goes on only here: the next process draws other work. */
		rng_next(&l.rng);
		tried += !over;
		acknowledged += told->record.write_count;
		if (text != NULL)
			printf("WRONG: allocation %" PRIu64 ": %s\n", n, text);
	}
	printf("%" PRIu64 " processes stopped cleanly, of %" PRIu64 " allocations; %" PRIu64
	       " writes\n",
	       tried, told->allocations, acknowledged);
	munmap(told, sizeof(*told));
	life_release(&l);
	return text;
}

int main(int count, char **arguments)
{
	uint64_t stride = count > 1 ? strtoull(arguments[1], NULL, 10) : 1;
	struct life_snapshot snapshots[LIFE_SNAPSHOTS];
	char root[128], command[160];
	const char *text;

	snprintf(root, sizeof(root), "%s/chubby-starve.XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	CHECK(mkdtemp(root) != NULL);
	life_make_snapshots(root, snapshots);
	snprintf(command, sizeof(command), "rm -rf '%s/" LIFE_DIRECTORY "'", root);
	CHECK(system(command) == 0);
	text = try_all(root, snapshots, stride > 0 ? stride : 1);
	for (int i = 0; i < LIFE_SNAPSHOTS; i++)
		buffer_release(&snapshots[i].image);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	CHECK(system(command) == 0);
	return text != NULL;
}
