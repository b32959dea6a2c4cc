/*
 * The two clocks, for the rim only: no pure library may reference these.
 */
#ifndef CHUBBY_BASE_CLOCK_H
#define CHUBBY_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_BOOTTIME in nanoseconds: steps of the wall clock do not touch it. Thread-safe. */
int64_t clock_now_ns(void);

/* The wall clock in milliseconds since 1970, for display only. Thread-safe. */
int64_t clock_wall_unix_ms(void);

/* Fills `ret_data` from the kernel's random source; stops the process if there is none. */
void clock_random_bytes(void *ret_data, uint32_t size_bytes);

#endif
