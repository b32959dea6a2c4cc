#include "check.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "FATAL %s:%d: check failed: %s\n", file, line, what);
	abort();
}

__attribute__((noreturn, cold)) static void out_of_memory(size_t size_bytes)
{
	fprintf(stderr, "FATAL out of memory: %zu bytes were asked for\n", size_bytes);
	abort();
}

/* malloc(0) may return NULL, which nobody could tell from exhaustion. */
static size_t at_least_one(size_t size_bytes)
{
	return size_bytes > 0 ? size_bytes : 1;
}

void *mem_alloc(size_t size_bytes)
{
	void *memory = malloc(at_least_one(size_bytes));

	if (memory == NULL)
		out_of_memory(size_bytes);
	return memory;
}

void *mem_zalloc(size_t size_bytes)
{
	void *memory = calloc(1, at_least_one(size_bytes));

	if (memory == NULL)
		out_of_memory(size_bytes);
	return memory;
}

void *mem_realloc(void *old, size_t size_bytes)
{
	void *memory = realloc(old, at_least_one(size_bytes));

	if (memory == NULL)
		out_of_memory(size_bytes);
	return memory;
}

void *mem_realloc_array(void *old, size_t count, size_t size_bytes)
{
	size_t total;

	if (__builtin_mul_overflow(count, size_bytes, &total))
		out_of_memory(SIZE_MAX);
	return mem_realloc(old, total);
}

void *mem_dup(const void *data, size_t size_bytes)
{
	void *memory = mem_alloc(size_bytes);

	if (size_bytes > 0)
		memcpy(memory, data, size_bytes);
	return memory;
}

char *mem_strdup(const char *text)
{
	return mem_dup(text, strlen(text) + 1);
}
