/* chubby_lock_all() and chubby_set_sequencer(), seen by one client: see several.c. */
#include "several.h"

#include <string.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether anybody holds it: who asks takes it for a moment. */
static bool is_free(struct chubby *cell, const char *path)
{
	const struct chubby_acquire_options o = {.wait_ms = -1, .lock_delay_ms = -1};
	struct chubby_lock *l;
	enum chubby_code code = chubby_lock(cell, path, &o, &l, NULL);

	MUST(code == CHUBBY_OK || code == CHUBBY_BUSY);
	if (code == CHUBBY_OK)
		chubby_unlock(l);
	return code == CHUBBY_OK;
}

static void all_in_the_callers_order(struct chubby *cell)
{
	static const char *const paths[] = {"/ls/local/q3", "/ls/local/q1", "/ls/local/q2"};
	struct chubby_lock *locks[3];

	WANT(CHUBBY_OK, chubby_lock_all(cell, paths, 3, NULL, locks, &e));
	for (int i = 0; i < 3; i++) {
		MUST(chubby_lock_is_held(locks[i]) && !is_free(cell, paths[i]));
		MUST(strstr(chubby_lock_sequencer(locks[i]), paths[i]) != NULL);
	}
	/* Taken in the order of their names, so the tokens grow in that order. */
	MUST(chubby_lock_token(locks[1]) < chubby_lock_token(locks[2]));
	MUST(chubby_lock_token(locks[2]) < chubby_lock_token(locks[0]));
	for (int i = 0; i < 3; i++)
		chubby_unlock(locks[i]);
	MUST(is_free(cell, paths[0]) && is_free(cell, paths[1]) && is_free(cell, paths[2]));
}

/* The last one is held by somebody else: what was got before is given back. */
static void all_or_none_in_time(struct chubby *cell)
{
	static const char *const paths[] = {"/ls/local/q1", "/ls/local/q2", "/ls/local/q3"};
	struct chubby_acquire_options o = {.wait_ms = 300, .lock_delay_ms = -1};
	struct chubby_lock *locks[3] = {NULL, NULL, NULL}, *held;
	int64_t began, took;

	WANT(CHUBBY_OK, chubby_lock(cell, paths[2], NULL, &held, &e));
	began = now_ms();
	WANT(CHUBBY_DEADLINE_EXCEEDED, chubby_lock_all(cell, paths, 3, &o, locks, &e));
	took = now_ms() - began;
	MUST(took >= 300 && took < 5000);
	MUST(locks[0] == NULL && locks[1] == NULL && locks[2] == NULL);
	MUST(is_free(cell, paths[0]) && is_free(cell, paths[1]));
	o.wait_ms = -1;
	WANT(CHUBBY_BUSY, chubby_lock_all(cell, paths, 3, &o, locks, &e));
	MUST(is_free(cell, paths[0]) && is_free(cell, paths[1]));
	chubby_unlock(held);
	o.mode = CHUBBY_SHARED;
	WANT(CHUBBY_OK, chubby_lock_all(cell, paths, 3, &o, locks, &e));
	for (int i = 0; i < 3; i++)
		chubby_unlock(locks[i]);
}

static void bad_lists(struct chubby *cell)
{
	static const char *const twice[] = {"/ls/local/q1", "/ls/local/q2", "/ls/local/q1"};
	static const char *const bad[] = {"/ls/local/q1", "q2"};
	static const char *const none[] = {"/ls/local/q1", NULL};
	struct chubby_acquire_options o = {.wait_ms = -2};
	const char *many[65];
	struct chubby_lock *locks[65];

	for (int i = 0; i < 65; i++)
		many[i] = "/ls/local/q1";
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_lock_all(cell, twice, 3, NULL, locks, &e));
	WANT(CHUBBY_INVALID_PATH, chubby_lock_all(cell, bad, 2, NULL, locks, &e));
	WANT(CHUBBY_INVALID_PATH, chubby_lock_all(cell, none, 2, NULL, locks, &e));
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_lock_all(cell, many, 65, NULL, locks, &e));
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_lock_all(cell, many, 0, NULL, locks, &e));
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_lock_all(cell, NULL, 1, NULL, locks, &e));
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_lock_all(cell, bad, 1, &o, locks, &e));
	MUST(is_free(cell, "/ls/local/q1"));
}

void check_lock_all(struct chubby *cell)
{
	all_in_the_callers_order(cell);
	all_or_none_in_time(cell);
	bad_lists(cell);
}

/* ---- sequencers ----------------------------------------------------------------------------- */

static void every_call(struct chubby *cell, struct chubby_handle *h, struct chubby_handle *dir,
		       enum chubby_code expected)
{
	const struct chubby_op op = {.kind = CHUBBY_OP_WRITE,
				     .handle = h,
				     .data = "m",
				     .size_bytes = 1};
	struct chubby_contents c = {0};
	struct chubby_dir d = {0};
	struct chubby_stat st;
	size_t at = 0;

	WANT(expected, chubby_get(h, &c, NULL, &e));
	WANT(expected, chubby_stat(h, &st, &e));
	WANT(expected, chubby_set(h, "s", 1, 0, NULL, &e));
	WANT(expected, chubby_multi(cell, &op, 1, NULL, &at, &e));
	WANT(expected, chubby_acquire(h, NULL, &e));
	WANT(expected, chubby_release(h, &e));
	WANT(expected, chubby_read_dir(dir, &d, &e));
	chubby_contents_free(&c);
	chubby_dir_free(&d);
}

static char *contents(struct chubby_handle *h)
{
	struct chubby_contents c;

	WANT(CHUBBY_OK, chubby_get(h, &c, NULL, &e));
	return c.data;
}

/* `other` holds a lock; what this connection does with its handles is bound to it. */
void check_sequencers(struct chubby *cell, struct chubby *other)
{
	struct chubby_handle *h = opened(cell, "/ls/local/bound");
	struct chubby_handle *free_one = opened(cell, "/ls/local/bound");
	struct chubby_handle *dir;
	struct chubby_lock *lock;
	char *sequencer, *text;
	struct chubby_op two[2];
	size_t at;

	WANT(CHUBBY_OK, chubby_open(cell, "/ls/local", CHUBBY_READ, NULL, 0, &dir, NULL, &e));
	WANT(CHUBBY_OK, chubby_lock(other, "/ls/local/guard", NULL, &lock, &e));
	sequencer = strdup(chubby_lock_sequencer(lock));
	WANT(CHUBBY_SEQUENCER_INVALID, chubby_set_sequencer(h, "nonsense", &e));
	WANT(CHUBBY_OK, chubby_set_sequencer(h, sequencer, &e));
	WANT(CHUBBY_OK, chubby_set_sequencer(dir, sequencer, &e));
	every_call(cell, h, dir, CHUBBY_OK);
	WANT(CHUBBY_OK, chubby_set(h, "before", 6, 0, NULL, &e));
	chubby_unlock(lock);
	every_call(cell, h, dir, CHUBBY_SEQUENCER_INVALID);
	text = contents(free_one); /* another handle is not bound, and nothing was changed */
	MUST(strcmp(text, "before") == 0);
	free(text);
	/* One multi is bound to one sequencer. */
	WANT(CHUBBY_OK, chubby_lock(other, "/ls/local/guard", NULL, &lock, &e));
	WANT(CHUBBY_OK, chubby_set_sequencer(free_one, chubby_lock_sequencer(lock), &e));
	two[0] = (struct chubby_op){.kind = CHUBBY_GUARD_EXISTS, .handle = h};
	two[1] = (struct chubby_op){.kind = CHUBBY_GUARD_EXISTS, .handle = free_one};
	WANT(CHUBBY_INVALID_ARGUMENT, chubby_multi(cell, two, 2, NULL, &at, &e));
	MUST(at == 1);
	WANT(CHUBBY_OK, chubby_set_sequencer(h, NULL, &e));
	WANT(CHUBBY_OK, chubby_multi(cell, two, 2, NULL, &at, &e));
	WANT(CHUBBY_OK, chubby_set_sequencer(dir, NULL, &e));
	every_call(cell, h, dir, CHUBBY_OK);
	chubby_unlock(lock);
	free(sequencer);
	chubby_close(dir);
	chubby_close(free_one);
	chubby_close(h);
}
