/*
 * What a program gets wrong is told in a sentence, before anything is sent: none of this needs a
 * cell.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "chubby.h"

#define JOB "/ls/local/job"

static void wants(enum chubby_code code, const struct chubby_error *e, enum chubby_code wanted,
		  const char *words)
{
	assert_string_equal(chubby_code_name(code), chubby_code_name(wanted));
	assert_int_equal(e->code, wanted);
	if (strstr(e->message, words) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e->message, words);
}

/* Where there is no connection and no handle, no call has any to look into. */
static void null_is_refused(void **state)
{
	struct chubby_handle *h = NULL;
	struct chubby_contents contents;
	struct chubby_error e = {0};
	struct chubby_call *call;
	struct chubby_stat stat;
	struct chubby_lock *lock;
	struct chubby_dir dir;
	struct chubby_op op = {.kind = CHUBBY_GUARD_EXISTS, .path = JOB};

	(void)state;
#define REFUSES(call_made, words) wants(call_made, &e, CHUBBY_INVALID_ARGUMENT, words)
	REFUSES(chubby_connect(NULL, NULL, &e), "ret_cell");
	REFUSES(chubby_connect_start(NULL, NULL, &e), "ret_cell");
	REFUSES(chubby_open(NULL, JOB, CHUBBY_READ, NULL, 0, &h, NULL, &e), "connection");
	REFUSES(chubby_lock(NULL, JOB, NULL, &lock, &e), "connection");
	REFUSES(chubby_multi(NULL, &op, 1, NULL, NULL, &e), "connection");
	REFUSES(chubby_get(NULL, &contents, NULL, &e), "handle");
	REFUSES(chubby_stat(NULL, &stat, &e), "handle");
	REFUSES(chubby_set(NULL, "x", 1, 0, NULL, &e), "handle");
	REFUSES(chubby_delete(NULL, &e), "handle");
	REFUSES(chubby_read_dir(NULL, &dir, &e), "handle");
	REFUSES(chubby_acquire(NULL, NULL, &e), "handle");
	REFUSES(chubby_release(NULL, &e), "handle");
	REFUSES(chubby_set_sequencer(NULL, NULL, &e), "handle");
	REFUSES(chubby_acquire_start(NULL, NULL, NULL, NULL, &call, &e), "handle");
	REFUSES(chubby_set_start(NULL, "x", 1, 0, NULL, NULL, &call, &e), "handle");
	REFUSES(chubby_stat_start(NULL, NULL, NULL, &call, &e), "handle");
	wants(chubby_open(NULL, NULL, CHUBBY_READ, NULL, 0, &h, NULL, &e), &e, CHUBBY_INVALID_PATH,
	      "path");
	wants(chubby_lock(NULL, NULL, NULL, &lock, &e), &e, CHUBBY_INVALID_PATH, "path");
	chubby_close(NULL);
	chubby_close_start(NULL);
	chubby_poison(NULL);
	chubby_unlock(NULL);
	assert_null(h);
}

/* A flag that means nothing was meant to mean something. */
static void flags_and_options(void **state)
{
	struct chubby_acquire_options o = chubby_acquire_options_default();
	struct chubby_error e = {0};
	struct chubby_handle *h;

	(void)state;
	REFUSES(chubby_open(NULL, JOB, CHUBBY_WRITE | CHUBBY_EPHEMERAL, NULL, 0, &h, NULL, &e),
		"CHUBBY_CREATE");
	REFUSES(chubby_open(NULL, JOB, CHUBBY_WRITE | CHUBBY_EXCLUSIVE, NULL, 0, &h, NULL, &e),
		"CHUBBY_CREATE");
	REFUSES(chubby_open(NULL, JOB, CHUBBY_WRITE | CHUBBY_CREATE, NULL, 1, &h, NULL, &e),
		"initial is NULL");
	o.mode = (enum chubby_mode)9;
	REFUSES(chubby_acquire(NULL, &o, &e), "mode is 9");
	o.mode = CHUBBY_SHARED;
	REFUSES(chubby_acquire(NULL, &o, &e), "handle");
}

/* Whoever guards storage asks for one answer alone: does it stand? */
static void no_sequencer_is_invalid(void **state)
{
	static const char *const texts[] = {NULL, "", "nonsense", "1:2:3"};
	char longest[CHUBBY_SEQUENCER_MAX_BYTES + 2];
	struct chubby_error e = {0};
	struct chubby_call *call;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		wants(chubby_check_sequencer(NULL, texts[i], NULL, &e), &e,
		      CHUBBY_SEQUENCER_INVALID, "no sequencer");
		wants(chubby_check_sequencer_start(NULL, texts[i], NULL, NULL, &call, &e), &e,
		      CHUBBY_SEQUENCER_INVALID, "no sequencer");
	}
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	wants(chubby_check_sequencer(NULL, longest, NULL, &e), &e, CHUBBY_SEQUENCER_INVALID,
	      "no sequencer");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(null_is_refused),
		cmocka_unit_test(flags_and_options),
		cmocka_unit_test(no_sequencer_is_invalid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
