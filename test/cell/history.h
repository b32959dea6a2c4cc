/*
 * What one client of a real-process test did and saw: a file of its own, a line an event,
 *
 *   <CLOCK_MONOTONIC ns> <event> key=value…
 *
 * The time is taken after what was seen, and before what is about to be done. Thus a hold is never
 * longer in the history than it was in truth, and two that overlap there did overlap. history.py
 * reads it, and names the events.
 */
#ifndef CHUBBY_TEST_HISTORY_H
#define CHUBBY_TEST_HISTORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "chubby.h"

struct history {
	FILE *file; /* owned */
	int client;
	atomic_bool failed; /* an error that the documentation does not know was seen */
};

bool history_open(struct history *h, const char *path, int client);
/* Says "end": without it the checker takes the client for one that died. */
void history_close(struct history *h);

/* One line; from any thread. `format` makes the event and its keys, without spaces in values. */
__attribute__((format(printf, 2, 3))) void history_say(struct history *h, const char *format, ...);

/* Notes an error that must not be, here and on standard error; returns false. */
bool history_fail(struct history *h, const char *what, enum chubby_code code,
		  const struct chubby_error *e);

/* A session callback: `context` is the history. */
void history_session(void *context, enum chubby_session_event event, enum chubby_code reason);

#endif
