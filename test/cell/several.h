/* What the parts of "several" share: see several.c. */
#ifndef CHUBBY_TEST_SEVERAL_H
#define CHUBBY_TEST_SEVERAL_H

#include <stdio.h>
#include <stdlib.h>

#include "chubby.h"

__attribute__((noreturn)) static inline void give_up(const char *file, int line, const char *what,
						     const char *why)
{
	fprintf(stderr, "%s:%d: %s: %s\n", file, line, what, why);
	exit(1);
}

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			give_up(__FILE__, __LINE__, #condition, "does not hold");                  \
	} while (0)
#define WANT(expected, call)                                                                       \
	do {                                                                                       \
		struct chubby_error e = {0};                                                       \
		enum chubby_code code = (call);                                                    \
		if (code != (expected))                                                            \
			give_up(__FILE__, __LINE__, #call,                                         \
				e.code != 0 ? e.message : chubby_code_name(code));                 \
		if (code != CHUBBY_OK && (e.code != code || e.message[0] == '\0'))                 \
			give_up(__FILE__, __LINE__, #call, "no sentence says why");                \
	} while (0)

/* For reading, writing and locking; made if it is not there. */
struct chubby_handle *opened(struct chubby *cell, const char *path);
bool exists(struct chubby *cell, const char *path);

/* ---- several_check.c */
void check_multi(struct chubby *cell);
/* ---- several_locks.c */
void check_lock_all(struct chubby *cell);
void check_sequencers(struct chubby *cell, struct chubby *other);

#endif
