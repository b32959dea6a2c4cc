/*
 * The command under a lock: started so that it dies with this process, and stopped with all that
 * it started.
 *
 * gRPC's threads forbid a plain fork, so this program starts itself again as a shim, which asks for
 * the parent's death signal and then becomes the command. The signal reaches the command itself
 * only; against a killed wrapper whose command left children behind, storage checks tokens.
 */
#include "cli.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/check.h"

#define EXIT_NOT_FOUND 127
#define EXIT_NOT_EXECUTABLE 126
#define DESCENDANTS_MAX 65536u

/* ---- starting ------------------------------------------------------------------------------- */

int run_shim(int argc, char **argv)
{
	char *end;
	long parent;

	if (argc < 2)
		return EXIT_USAGE;
	parent = strtol(argv[0], &end, 10);
	if (*end != '\0')
		return EXIT_USAGE;
	/* SIGKILL: with the wrapper gone nobody would insist after a SIGTERM. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
		say("cannot tie the command to this process: %s", strerror(errno));
		return 1;
	}
	if (getppid() != (pid_t)parent)
		return 1; /* it died before we asked */
	execvp(argv[1], &argv[1]);
	say("%s: %s", argv[1], strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
}

static int environment_set(const struct run_environment *e)
{
	char token[24];

	snprintf(token, sizeof(token), "%" PRIu64, e->fencing_token);
	if (setenv("CHUBBY_LOCK_PATH", e->path, 1) == 0 &&
	    setenv("CHUBBY_SEQUENCER", e->sequencer, 1) == 0 &&
	    setenv("CHUBBY_FENCING_TOKEN", token, 1) == 0)
		return 0;
	say("cannot set the command's environment: %s", strerror(errno));
	return 1;
}

/* The shim begins with default actions and nothing blocked, whatever we do with signals. */
static int shim_spawn(char *const argv[], pid_t *ret_pid)
{
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int e;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	e = posix_spawn(ret_pid, "/proc/self/exe", NULL, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	return e;
}

int run_start(char *const argv[], const struct run_environment *environment, pid_t *ret_pid)
{
	static char name[] = "chubby", shim[] = RUN_SHIM_NAME;
	char parent[24], **shim_argv;
	size_t count = 0;
	int e;

	/* What the command leaves behind comes to us, so that all of it can be stopped. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (environment_set(environment) != 0)
		return 1;
	while (argv[count] != NULL)
		count++;
	snprintf(parent, sizeof(parent), "%ld", (long)getpid());
	shim_argv = mem_zalloc((count + 4) * sizeof(*shim_argv));
	shim_argv[0] = name;
	shim_argv[1] = shim;
	shim_argv[2] = parent;
	memcpy(&shim_argv[3], argv, count * sizeof(*argv));
	e = shim_spawn(shim_argv, ret_pid);
	free(shim_argv);
	if (e != 0) {
		say("cannot start %s: %s", argv[0], strerror(e));
		return 1;
	}
	return 0;
}

/* ---- stopping ------------------------------------------------------------------------------- */

struct pids {
	pid_t list[DESCENDANTS_MAX];
	uint32_t count;
};

static void add_children_of_thread(struct pids *p, const char *thread_path)
{
	char path[600];
	long child;
	FILE *f;

	snprintf(path, sizeof(path), "%s/children", thread_path);
	f = fopen(path, "re");
	if (f == NULL)
		return;
	while (p->count < DESCENDANTS_MAX && fscanf(f, "%ld", &child) == 1)
		p->list[p->count++] = (pid_t)child;
	fclose(f);
}

static void add_children(struct pids *p, pid_t parent)
{
	char path[64], thread_path[400];
	const struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%ld/task", (long)parent);
	d = opendir(path);
	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(thread_path, sizeof(thread_path), "%s/%s", path, e->d_name);
		add_children_of_thread(p, thread_path);
	}
	closedir(d);
}

void run_signal_all(int signal_number)
{
	struct pids *p = mem_zalloc(sizeof(*p));

	add_children(p, getpid());
	for (uint32_t i = 0; i < p->count; i++)
		add_children(p, p->list[i]);
	/* From the leaves up: a shell that is told first might start the next command. */
	for (uint32_t i = p->count; i > 0; i--)
		kill(p->list[i - 1], signal_number);
	free(p);
}
