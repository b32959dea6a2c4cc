/*
 * several: one client process of the tests of several operations at once (multi_test.py).
 *
 *   check     multi: guards, all or nothing, which operation failed, locks, bad arguments;
 *             several locks that are waited for; calls bound to a sequencer
 *   transfer  moves units between two files by multis that name the generations it read, until it
 *             is told to stop; what was acknowledged must be there, once
 *   ephemeral has an ephemeral node open by several handles; each line on standard input closes
 *             one, and the end of the input ends the session
 *   lock-all  takes some of a few locks in random order, and finds itself alone inside
 *
 * The last line on standard output is one JSON object. Exit status 1 if a check failed.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "several.h"

static volatile sig_atomic_t stop_asked;

static void on_signal(int number)
{
	(void)number;
	stop_asked = 1;
}

struct chubby_handle *opened(struct chubby *cell, const char *path)
{
	struct chubby_handle *h;

	WANT(CHUBBY_OK, chubby_open(cell, path, CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0,
				    &h, NULL, &e));
	return h;
}

bool exists(struct chubby *cell, const char *path)
{
	struct chubby_handle *h;
	enum chubby_code code = chubby_open(cell, path, CHUBBY_READ, NULL, 0, &h, NULL, NULL);

	if (code == CHUBBY_OK)
		chubby_close(h);
	MUST(code == CHUBBY_OK || code == CHUBBY_NOT_FOUND);
	return code == CHUBBY_OK;
}

/* ---- transfer ------------------------------------------------------------------------------- */

struct account {
	struct chubby_handle *handle;
	uint64_t generation;
	long units;
};

static struct account account_opened(struct chubby *cell, const char *path)
{
	struct account a = {.handle = opened(cell, path)};

	WANT(CHUBBY_OK, chubby_set(a.handle, "0", 1, 0, &a.generation, &e));
	return a;
}

static long account_read(struct account *a)
{
	struct chubby_contents c;
	struct chubby_stat st;
	long units;

	WANT(CHUBBY_OK, chubby_get(a->handle, &c, &st, &e));
	units = strtol(c.data, NULL, 10);
	a->generation = st.contents_generation;
	chubby_contents_free(&c);
	return units;
}

/* Nobody else writes here: the generations that it knows are right, unless one of its own writes
 * was lost or came twice. Each move also takes and gives back two locks. */
static void transfer(struct chubby *cell, int id)
{
	char path[2][64], text[2][32];
	struct chubby_handle *locks[2];
	struct account from, to;
	long moved = 0;

	snprintf(path[0], sizeof(path[0]), "/ls/local/from-%d", id);
	snprintf(path[1], sizeof(path[1]), "/ls/local/to-%d", id);
	from = account_opened(cell, path[0]);
	to = account_opened(cell, path[1]);
	locks[0] = opened(cell, path[0]);
	locks[1] = opened(cell, path[1]);
	while (!stop_asked) {
		bool take = moved % 2 == 0;
		struct chubby_op ops[] = {
			{.kind = CHUBBY_GUARD_GENERATION,
			 .handle = from.handle,
			 .number = from.generation},
			{.kind = CHUBBY_OP_WRITE, .handle = from.handle, .data = text[0]},
			{.kind = CHUBBY_OP_WRITE,
			 .handle = to.handle,
			 .number = to.generation,
			 .data = text[1]},
			{.kind = take ? CHUBBY_OP_ACQUIRE : CHUBBY_OP_RELEASE, .handle = locks[0]},
			{.kind = take ? CHUBBY_OP_ACQUIRE : CHUBBY_OP_RELEASE, .handle = locks[1]},
		};

		ops[1].size_bytes = (size_t)snprintf(text[0], sizeof(text[0]), "%ld", -moved - 1);
		ops[2].size_bytes = (size_t)snprintf(text[1], sizeof(text[1]), "%ld", moved + 1);
		WANT(CHUBBY_OK, chubby_multi(cell, ops, 5, NULL, NULL, &e));
		moved++;
		MUST(chubby_is_held(locks[0]) == take && chubby_is_held(locks[1]) == take);
		MUST(account_read(&from) == -moved && account_read(&to) == moved);
	}
	printf("{\"id\": %d, \"moved\": %ld}\n", id, moved);
}

/* ---- lock-all ------------------------------------------------------------------------------- */

#define LOCKS 6

/* Of a shuffled list the first two to five. */
static size_t random_paths(unsigned *seed, char paths[LOCKS][32], const char *ret_paths[LOCKS])
{
	for (int i = 0; i < LOCKS; i++) {
		int other = rand_r(seed) % (i + 1);

		snprintf(paths[i], sizeof(paths[i]), "/ls/local/all-%d", i);
		ret_paths[i] = ret_paths[other];
		ret_paths[other] = paths[i];
	}
	return (size_t)(2 + rand_r(seed) % 4);
}

/* A file for each lock that it holds: whoever finds it there is not alone inside. */
static void inside(int line, const char *dir, const char *const paths[], size_t count, bool enter)
{
	for (size_t i = 0; i < count; i++) {
		char file[512];
		int fd;

		snprintf(file, sizeof(file), "%s/%s", dir, strrchr(paths[i], '/') + 1);
		if (!enter) {
			MUST(unlink(file) == 0);
			continue;
		}
		fd = open(file, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			give_up(__FILE__, line, file, "somebody else is inside");
		close(fd);
	}
}

static void lock_all(struct chubby *cell, int id, const char *dir, long rounds)
{
	struct chubby_acquire_options o = chubby_acquire_options_default();
	unsigned seed = (unsigned)id;
	char paths[LOCKS][32];
	long done;

	o.wait_ms = 60000;
	for (done = 0; done < rounds && !stop_asked; done++) {
		const char *wanted[LOCKS];
		struct chubby_lock *locks[LOCKS];
		size_t count = random_paths(&seed, paths, wanted);

		WANT(CHUBBY_OK, chubby_lock_all(cell, wanted, count, &o, locks, &e));
		inside(__LINE__, dir, wanted, count, true);
		inside(__LINE__, dir, wanted, count, false);
		while (count > 0)
			chubby_unlock(locks[--count]);
	}
	printf("{\"id\": %d, \"rounds\": %ld}\n", id, done);
}

/* ---- ephemeral ------------------------------------------------------------------------------ */

#define HANDLES_MAX 8

static void ephemeral(struct chubby *cell, const char *path, long count)
{
	struct chubby_handle *handles[HANDLES_MAX];
	char line[16];

	MUST(count > 0 && count <= HANDLES_MAX);
	for (long i = 0; i < count; i++)
		WANT(CHUBBY_OK,
		     chubby_open(cell, path, CHUBBY_WRITE | CHUBBY_CREATE | CHUBBY_EPHEMERAL, NULL,
				 0, &handles[i], NULL, &e));
	printf("{\"open\": %ld}\n", count);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL && count > 0) {
		chubby_close(handles[--count]);
		printf("{\"open\": %ld}\n", count);
		fflush(stdout);
	}
}

static struct chubby *connected(void)
{
	struct chubby_options o = chubby_options_default();
	struct chubby *cell;

	o.connect_ms = 30000;
	o.lease_ms = 5000;
	WANT(CHUBBY_OK, chubby_connect(&o, &cell, &e));
	return cell;
}

static void check(struct chubby *cell)
{
	struct chubby *other = connected();

	check_multi(cell);
	check_lock_all(cell);
	check_sequencers(cell, other);
	chubby_disconnect(other);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct chubby *cell;

	signal(SIGTERM, on_signal);
	cell = connected();
	if (strcmp(mode, "check") == 0)
		check(cell);
	else if (strcmp(mode, "transfer") == 0 && argc == 3)
		transfer(cell, (int)strtol(argv[2], NULL, 10));
	else if (strcmp(mode, "ephemeral") == 0 && argc == 4)
		ephemeral(cell, argv[2], strtol(argv[3], NULL, 10));
	else if (strcmp(mode, "lock-all") == 0 && argc == 5)
		lock_all(cell, (int)strtol(argv[2], NULL, 10), argv[3], strtol(argv[4], NULL, 10));
	else
		return 64;
	chubby_disconnect(cell);
	return 0;
}
