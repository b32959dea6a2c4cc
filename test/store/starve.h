/*
 * One allocation of our own code finds no memory: malloc(), calloc() and realloc() as the program's
 * own objects call them (linked with --wrap), not those of shared libraries.
 */
#ifndef CHUBBY_TEST_STORE_STARVE_H
#define CHUBBY_TEST_STORE_STARVE_H

#include <stdint.h>

/* The `n`th allocation from now on fails; 0: none. The variable STARVE_AT says it for a program
 * that knows nothing of this; with STARVE_COUNT it tells at its end how many there were. */
void starve_at(uint64_t n);
/* Since then. */
uint64_t starve_count(void);

#endif
