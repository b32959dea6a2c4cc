/*
 * Assertions that stay on in every build.
 *
 * CHECK states what the program itself guarantees. It is never applied to what a peer, a client,
 * a disk or a file said: such input gets an error. A failed check prints where and what, and
 * aborts: a replica that contradicts itself must not go on answering.
 */
#ifndef CHUBBY_BASE_CHECK_H
#define CHUBBY_BASE_CHECK_H

#include <stdlib.h>

/* Reports a failed check and aborts. Never returns. */
__attribute__((noreturn, cold)) void check_failed(const char *file, int line, const char *what);

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

/* Marks a branch that the surrounding code excludes. */
#define CHECK_UNREACHABLE(why) check_failed(__FILE__, __LINE__, (why))

/*
 * Allocation that cannot fail: memory exhaustion stops the process before anything wrong is
 * acknowledged. The caller owns the result and gives it to free().
 */
__attribute__((malloc, returns_nonnull)) void *mem_alloc(size_t size_bytes);
__attribute__((malloc, returns_nonnull)) void *mem_zalloc(size_t size_bytes);
__attribute__((returns_nonnull)) void *mem_realloc(void *old, size_t size_bytes);
/* An array of `count` elements; a product that overflows stops the process. */
__attribute__((returns_nonnull)) void *mem_realloc_array(void *old, size_t count,
							 size_t size_bytes);
__attribute__((malloc, returns_nonnull)) void *mem_dup(const void *data, size_t size_bytes);
__attribute__((malloc, returns_nonnull)) char *mem_strdup(const char *text);

#endif
