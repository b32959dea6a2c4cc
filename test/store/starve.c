#include "starve.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_uint_fast64_t count, at;

void *__real_malloc(size_t size);
void *__real_calloc(size_t number, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t number, size_t size);
void *__wrap_realloc(void *old, size_t size);

void starve_at(uint64_t n)
{
	count = 0;
	at = n;
}

uint64_t starve_count(void)
{
	return count;
}

static int starves(void)
{
	return ++count == at;
}

void *__wrap_malloc(size_t size)
{
	return starves() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t number, size_t size)
{
	return starves() ? NULL : __real_calloc(number, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return starves() ? NULL : __real_realloc(old, size);
}

__attribute__((constructor)) static void begin(void)
{
	const char *said = getenv("STARVE_AT");

	starve_at(said != NULL ? strtoull(said, NULL, 10) : 0);
}

__attribute__((destructor)) static void end(void)
{
	if (getenv("STARVE_COUNT") != NULL)
		fprintf(stderr, "allocations: %" PRIu64 "\n", starve_count());
}
