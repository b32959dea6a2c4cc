/*
 * async: what the parts of the test program for calls without waiting share.
 */
#ifndef CHUBBY_TEST_ASYNC_H
#define CHUBBY_TEST_ASYNC_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chubby.h"

/* The property does not hold: says so, and ends the program with status 1. */
#define WANT(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			async_fail(__FILE__, __LINE__, #condition);                                \
	} while (0)
#define WANT_CODE(code, wanted, error) async_code(__FILE__, __LINE__, code, wanted, error)

void async_fail(const char *file, int line, const char *what);
void async_code(const char *file, int line, enum chubby_code code, enum chubby_code wanted,
		const struct chubby_error *error);
struct chubby *async_connect(chubby_session_callback *on_session, void *context);
struct chubby_handle *async_open(struct chubby *cell, const char *path);

/* A count that somebody waits for. */
struct tally {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	int count;
};
void tally_init(struct tally *t);
void tally_add(struct tally *t);
void tally_await(struct tally *t, int count);
int tally_count(struct tally *t);

/* The modes of the program. */
void run_storm(const char *servers); /* async_storm.c */
void run_queue(const char *servers); /* async_queue.c: acquire, cancel, discard */
void run_kinds(const char *servers); /* async.c: each kind of call, once */
void run_ends(const char *servers);  /* async_ends.c: disconnect with calls outstanding */
void run_fork(const char *servers);
void run_connect(const char *servers);
void run_leaks(const char *servers);
void run_reasons(const char *servers); /* async_reasons.c: driven by the test */

#endif
