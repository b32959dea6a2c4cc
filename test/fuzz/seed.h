/* How the first inputs of the fuzz targets are made. */
#ifndef CHUBBY_TEST_FUZZ_SEED_H
#define CHUBBY_TEST_FUZZ_SEED_H

#include "base/bytes.h"
#include "cell/cell.h"

/* Larger ones teach a fuzzer nothing that the small ones do not. */
#define SEED_MAX_BYTES 1500

/* DIRECTORY/target/name gets the bytes. */
void seed_write(const char *target, const char *name, struct bytes b);
/* The form of fuzz.h: a number of so many bytes, a run with its length before it. */
void seed_number(struct buffer *b, uint64_t n, unsigned width);
void seed_run(struct buffer *b, struct bytes run);
void seed_append(struct buffer *b, struct bytes more);

void seed_messages(void); /* seed_messages.c: requests, replies, frames, entries */
void seed_machines(void); /* seed_machines.c: what is fed to state machines and the store */

#endif
