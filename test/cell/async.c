/*
 * async: calls of libchubby that do not wait, against a real cell. One argument: what to try.
 * Exit status 1, and a sentence, if something does not hold. $CHUBBY_SERVERS names the cell.
 */
#include "async.h"

/* ---- help ----------------------------------------------------------------------------------- */

void async_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	exit(1);
}

void async_code(const char *file, int line, enum chubby_code code, enum chubby_code wanted,
		const struct chubby_error *error)
{
	if (code == wanted)
		return;
	fprintf(stderr, "%s:%d: %s instead of %s: %s\n", file, line, chubby_code_name(code),
		chubby_code_name(wanted), error != NULL && code != CHUBBY_OK ? error->message : "");
	exit(1);
}

struct chubby *async_connect(chubby_session_callback *on_session, void *context)
{
	struct chubby_options o = chubby_options_default();
	struct chubby_error e = {0};
	struct chubby *cell;

	o.on_session = on_session;
	o.context = context;
	o.connect_ms = 30000;
	WANT_CODE(chubby_connect(&o, &cell, &e), CHUBBY_OK, &e);
	return cell;
}

struct chubby_handle *async_open(struct chubby *cell, const char *path)
{
	struct chubby_error e = {0};
	struct chubby_handle *h;

	WANT_CODE(chubby_open(cell, path, CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0, &h,
			      NULL, &e),
		  CHUBBY_OK, &e);
	return h;
}

void tally_init(struct tally *t)
{
	pthread_mutex_init(&t->mutex, NULL);
	pthread_cond_init(&t->changed, NULL);
	t->count = 0;
}

void tally_add(struct tally *t)
{
	pthread_mutex_lock(&t->mutex);
	t->count++;
	pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->mutex);
}

void tally_await(struct tally *t, int count)
{
	pthread_mutex_lock(&t->mutex);
	while (t->count < count)
		pthread_cond_wait(&t->changed, &t->mutex);
	pthread_mutex_unlock(&t->mutex);
}

int tally_count(struct tally *t)
{
	int count;

	pthread_mutex_lock(&t->mutex);
	count = t->count;
	pthread_mutex_unlock(&t->mutex);
	return count;
}

/* ---- each kind, once ------------------------------------------------------------------------ */

static void on_done(void *context, struct chubby_call *call)
{
	WANT(chubby_call_is_done(call));
	tally_add(context);
}

static void files(struct chubby *cell, struct tally *told)
{
	char contents[] = "first";
	struct chubby_error e = {0};
	struct chubby_contents got;
	struct chubby_handle *h = NULL;
	struct chubby_call *call;
	struct chubby_stat st;
	uint64_t generation = 0;
	bool created = false;

	WANT_CODE(chubby_open_start(cell, "/ls/local/kinds/file",
				    CHUBBY_READ | CHUBBY_WRITE | CHUBBY_CREATE, contents, 5,
				    on_done, told, &call, &e),
		  CHUBBY_OK, &e);
	contents[0] = 'F'; /* it was copied */
	WANT_CODE(chubby_get_finish(call, &got, NULL, &e), CHUBBY_INVALID_ARGUMENT, &e);
	WANT_CODE(chubby_open_finish(call, &h, &created, &e), CHUBBY_OK, &e);
	WANT(created && strcmp(chubby_path(h), "/ls/local/kinds/file") == 0);
	WANT_CODE(chubby_get_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT(chubby_call_wait(call, -1) && chubby_call_is_done(call));
	WANT_CODE(chubby_get_finish(call, &got, &st, &e), CHUBBY_OK, &e);
	WANT(got.size_bytes == 5 && memcmp(got.data, "first", 5) == 0 && st.size_bytes == 5);
	chubby_contents_free(&got);
	WANT_CODE(chubby_set_start(h, contents, 3, 0, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_set_finish(call, &generation, &e), CHUBBY_OK, &e);
	WANT(generation > st.contents_generation);
	WANT_CODE(chubby_set_start(h, contents, 3, st.contents_generation, NULL, NULL, &call, &e),
		  CHUBBY_OK, &e);
	WANT_CODE(chubby_set_finish(call, NULL, &e), CHUBBY_GENERATION_MISMATCH, &e);
	WANT_CODE(chubby_stat_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_stat_finish(call, &st, &e), CHUBBY_OK, &e);
	WANT(st.size_bytes == 3 && st.contents_generation == generation);
	WANT_CODE(chubby_delete_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_delete_finish(call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_stat_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_stat_finish(call, &st, &e), CHUBBY_HANDLE_STALE, &e);
	chubby_close_start(h);
	WANT_CODE(chubby_open_start(cell, "not a path", CHUBBY_READ, NULL, 0, NULL, NULL, &call,
				    &e),
		  CHUBBY_INVALID_PATH, &e);
}

static void locks(struct chubby *cell)
{
	struct chubby_acquire_options now = {.wait_ms = -1, .lock_delay_ms = 0};
	struct chubby_error e = {0};
	struct chubby_handle *h = async_open(cell, "/ls/local/kinds/lock");
	struct chubby_call *call;
	uint64_t token = 0;
	char *sequencer;

	WANT_CODE(chubby_acquire_start(h, &now, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_OK, &e);
	WANT(chubby_is_held(h) && chubby_token(h) > 0);
	sequencer = strdup(chubby_sequencer(h));
	WANT_CODE(chubby_check_sequencer_start(cell, sequencer, NULL, NULL, &call, &e), CHUBBY_OK,
		  &e);
	WANT_CODE(chubby_check_sequencer_finish(call, &token, &e), CHUBBY_OK, &e);
	WANT(token == chubby_token(h));
	WANT_CODE(chubby_release_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_release_finish(call, &e), CHUBBY_OK, &e);
	WANT(!chubby_is_held(h) && chubby_sequencer(h) == NULL);
	WANT_CODE(chubby_check_sequencer_start(cell, sequencer, NULL, NULL, &call, &e), CHUBBY_OK,
		  &e);
	WANT_CODE(chubby_check_sequencer_finish(call, NULL, &e), CHUBBY_SEQUENCER_INVALID, &e);
	WANT_CODE(chubby_release_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_release_finish(call, &e), CHUBBY_NOT_HELD, &e);
	free(sequencer);
	/* After poison every call is CANCELLED, also those that are begun later. */
	chubby_poison(h);
	WANT_CODE(chubby_acquire_start(h, NULL, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_acquire_finish(call, &e), CHUBBY_CANCELLED, &e);
	chubby_close(h);
}

static void several(struct chubby *cell)
{
	struct chubby_handle *h = async_open(cell, "/ls/local/kinds/several");
	struct chubby_op ops[] = {
		{.kind = CHUBBY_OP_WRITE,
		 .path = "/ls/local/kinds/several",
		 .data = "x",
		 .size_bytes = 1},
		{.kind = CHUBBY_OP_ACQUIRE, .handle = h},
	};
	struct chubby_op wrong = {.kind = CHUBBY_GUARD_ABSENT, .path = "/ls/local/kinds/several"};
	struct chubby_error e = {0};
	struct chubby_call *call;
	uint64_t revision = 0;
	size_t failed = 77;

	WANT_CODE(chubby_multi_start(cell, &wrong, 1, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_multi_finish(call, NULL, &failed, &e), CHUBBY_GUARD_FAILED, &e);
	WANT(failed == 0);
	/* Discarded, the locks that it gets are given back; then the next one gets them. */
	WANT_CODE(chubby_multi_start(cell, ops, 2, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT(chubby_call_wait(call, -1));
	chubby_call_discard(call);
	WANT(!chubby_is_held(h));
	WANT_CODE(chubby_multi_start(cell, ops, 2, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_multi_finish(call, &revision, &failed, &e), CHUBBY_OK, &e);
	WANT(chubby_is_held(h) && revision > 0);
	chubby_close(h);
}

#define CHILDREN 300

/* Several pages. */
static void listings(struct chubby *cell)
{
	static const char long_name[] = "a-name-that-is-long-enough-to-make-a-page-end-before-the-"
					"last-of-them-comes-and-some-more-of-it-to-be-sure";
	struct chubby_call *calls[CHILDREN], *call;
	struct chubby_error e = {0};
	struct chubby_handle *h;
	struct chubby_dir dir;

	for (int i = 0; i < CHILDREN; i++) {
		char path[256];

		snprintf(path, sizeof(path), "/ls/local/pages/%s-%04d", long_name, i);
		WANT_CODE(chubby_open_start(cell, path, CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0, NULL,
					    NULL, &calls[i], &e),
			  CHUBBY_OK, &e);
	}
	for (int i = 0; i < CHILDREN; i++) {
		WANT_CODE(chubby_open_finish(calls[i], &h, NULL, &e), CHUBBY_OK, &e);
		chubby_close_start(h);
	}
	WANT_CODE(chubby_open(cell, "/ls/local/pages", CHUBBY_READ, NULL, 0, &h, NULL, &e),
		  CHUBBY_OK, &e);
	WANT_CODE(chubby_read_dir_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
	WANT_CODE(chubby_read_dir_finish(call, &dir, &e), CHUBBY_OK, &e);
	WANT(dir.count == CHILDREN);
	for (size_t i = 1; i < dir.count; i++)
		WANT(strcmp(dir.entries[i - 1].name, dir.entries[i].name) < 0);
	chubby_dir_free(&dir);
	/* Whether it is done by now or between two pages: nothing is left of it. */
	for (int i = 0; i < 20; i++) {
		WANT_CODE(chubby_read_dir_start(h, NULL, NULL, &call, &e), CHUBBY_OK, &e);
		if (i % 2 == 0)
			chubby_call_discard(call);
		else
			chubby_call_cancel(call);
		if (i % 2 != 0 && chubby_read_dir_finish(call, &dir, &e) == CHUBBY_OK)
			chubby_dir_free(&dir);
	}
	chubby_close(h);
}

static struct chubby_handle *directory(struct chubby *cell, const char *path)
{
	struct chubby_error e = {0};
	struct chubby_handle *h;

	WANT_CODE(chubby_open(cell, path, CHUBBY_READ | CHUBBY_CREATE | CHUBBY_DIRECTORY, NULL, 0,
			      &h, NULL, &e),
		  CHUBBY_OK, &e);
	return h;
}

void run_kinds(const char *servers)
{
	struct chubby *cell = async_connect(NULL, NULL);
	struct tally told;

	(void)servers;
	tally_init(&told);
	chubby_close(directory(cell, "/ls/local/kinds"));
	chubby_close(directory(cell, "/ls/local/pages"));
	files(cell, &told);
	WANT(tally_count(&told) <= 1);
	locks(cell);
	several(cell);
	listings(cell);
	chubby_disconnect(cell);
	WANT(tally_count(&told) <= 1);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const char *servers);
	} modes[] = {
		{"kinds", run_kinds}, {"storm", run_storm},     {"queue", run_queue},
		{"ends", run_ends},   {"fork", run_fork},       {"connect", run_connect},
		{"leaks", run_leaks}, {"reasons", run_reasons},
	};
	const char *servers = getenv("CHUBBY_SERVERS");

	for (size_t i = 0; argc == 2 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(argv[1], modes[i].name) == 0) {
			modes[i].run(servers);
			printf("%s: as it should be\n", argv[1]);
			return 0;
		}
	}
	fprintf(stderr, "want one of: kinds storm queue ends fork connect leaks reasons\n");
	return 64;
}
