/*
 * Several locks, waited for one after the other. All who take several this way take them in one
 * order, so none waits for a lock whose holder waits for one of his (design section 4: what is at
 * one instant, chubby_multi(), does not wait).
 */
#include "handle.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/path.h"

#define LOCK_ALL_MAX 64

struct wanted {
	const char *path;
	struct bytes inner; /* without the cell: "local" and its own name are one */
	size_t place;       /* in the caller's arrays */
	struct chubby_handle *handle;
};

static int compare(const void *a, const void *b)
{
	const struct wanted *x = a, *y = b;

	return bytes_compare(x->inner, y->inner);
}

static enum chubby_code wanted_of(const char *const paths[], size_t count, struct wanted *wanted,
				  struct chubby_error *ret_error)
{
	if (paths == NULL || count == 0 || count > LOCK_ALL_MAX)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "lock all: want 1 to %d paths, not %zu", LOCK_ALL_MAX,
				    paths == NULL ? 0 : count);
	for (size_t i = 0; i < count; i++) {
		struct bytes cell;
		const char *why = "a path is needed";

		wanted[i] = (struct wanted){.path = paths[i], .place = i};
		if (paths[i] == NULL ||
		    path_parse(bytes_of_text(paths[i]), &cell, &wanted[i].inner, &why) != ERROR_OK)
			return error_report(ret_error, CHUBBY_INVALID_PATH,
					    "lock all: path %zu, counted from 0: %s", i, why);
	}
	qsort(wanted, count, sizeof(*wanted), compare);
	for (size_t i = 1; i < count; i++) {
		if (bytes_equal(wanted[i - 1].inner, wanted[i].inner))
			return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
					    "lock all: %.100s stands twice: name each lock once",
					    wanted[i].path);
	}
	return CHUBBY_OK;
}

/* First all nodes: what is wrong with one of them shows before anybody has to wait. */
static enum chubby_code open_each(struct chubby *cell, struct wanted *wanted, size_t count,
				  struct chubby_error *ret_error)
{
	for (size_t i = 0; i < count; i++) {
		enum chubby_code code = chubby_open(cell, wanted[i].path,
						    CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0,
						    &wanted[i].handle, NULL, ret_error);

		if (code != CHUBBY_OK)
			return code;
	}
	return CHUBBY_OK;
}

static enum chubby_code acquire_each(struct wanted *wanted, size_t count,
				     const struct chubby_acquire_options *options,
				     int64_t deadline_ns, struct chubby_error *ret_error)
{
	struct chubby_acquire_options o = *options;

	for (size_t i = 0; i < count; i++) {
		enum chubby_code code;

		if (options->wait_ms > 0) {
			int64_t left_ns = deadline_ns - clock_now_ns();

			if (left_ns <= 0)
				return error_report(ret_error, CHUBBY_DEADLINE_EXCEEDED,
						    "lock all: %zu of %zu locks in %lld ms, not "
						    "%.100s: give wait_ms more, or try again",
						    i, count, (long long)options->wait_ms,
						    wanted[i].path);
			o.wait_ms = (left_ns + NS_PER_MS - 1) / NS_PER_MS;
		}
		code = chubby_acquire(wanted[i].handle, &o, ret_error);
		if (code != CHUBBY_OK)
			return code;
	}
	return CHUBBY_OK;
}

enum chubby_code chubby_lock_all(struct chubby *cell, const char *const paths[], size_t count,
				 const struct chubby_acquire_options *options,
				 struct chubby_lock *ret_locks[], struct chubby_error *ret_error)
{
	struct chubby_acquire_options o = options != NULL ? *options
							  : chubby_acquire_options_default();
	struct wanted wanted[LOCK_ALL_MAX];
	enum chubby_code code = wanted_of(paths, count, wanted, ret_error);
	int64_t deadline_ns;

	if (code == CHUBBY_OK)
		code = acquire_options_check(&o, ret_error);
	if (code != CHUBBY_OK)
		return code;
	deadline_ns = clock_now_ns() + o.wait_ms * NS_PER_MS;
	code = open_each(cell, wanted, count, ret_error);
	if (code == CHUBBY_OK)
		code = acquire_each(wanted, count, &o, deadline_ns, ret_error);
	for (size_t i = 0; i < count; i++) {
		if (code == CHUBBY_OK)
			ret_locks[wanted[i].place] = lock_of_handle(wanted[i].handle);
		else
			chubby_close(wanted[i].handle); /* closing releases */
	}
	return code;
}
