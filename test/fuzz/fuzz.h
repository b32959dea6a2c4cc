/*
 * What the fuzz targets share.
 *
 * A target is a file NAME_fuzz.c with LLVMFuzzerTestOneInput(): it reads the bytes as one of our
 * readers would, and holds what comes out against what the reader promises, with CHECK(). Linked
 * with libFuzzer it is run for minutes by test/fuzz/run; linked with driver.c it is a test.
 */
#ifndef CHUBBY_TEST_FUZZ_H
#define CHUBBY_TEST_FUZZ_H

#include "base/bytes.h"
#include "base/check.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Takes an input apart: what is not there any more is zero, or empty. */
struct feed {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t feed_number(struct feed *f, unsigned width)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < width && f->left > 0; i++, f->at++, f->left--)
		n |= (uint64_t)*f->at << (8 * i);
	return n;
}

static inline uint8_t feed_byte(struct feed *f)
{
	return (uint8_t)feed_number(f, 1);
}

static inline uint32_t feed_below(struct feed *f, uint32_t bound)
{
	return (uint32_t)(feed_byte(f) % bound);
}

/* So many bytes, or what is left; borrowed from the input. */
static inline struct bytes feed_bytes(struct feed *f, size_t wanted)
{
	struct bytes b = {f->at, wanted < f->left ? wanted : f->left};

	f->at += b.size;
	f->left -= b.size;
	return b;
}

/* A run of bytes with its length before it. */
static inline struct bytes feed_run(struct feed *f)
{
	return feed_bytes(f, (size_t)feed_number(f, 2));
}

#endif
