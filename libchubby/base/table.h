/*
 * uthash, whose tables take their memory as everything here does: without it the process stops
 * with a sentence (base/check.h). By itself uthash would call exit(), and say nothing.
 */
#ifndef CHUBBY_BASE_TABLE_H
#define CHUBBY_BASE_TABLE_H

#include "base/check.h"

#include <uthash.h>

/* Its macros look this up where they are used. */
#undef uthash_malloc
#define uthash_malloc(size_bytes) mem_alloc(size_bytes)

#endif
