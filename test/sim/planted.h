/*
 * Bugs planted in copies of the sources (mutants.txt, mutate): only in the program sim-mutants.
 */
#ifndef CHUBBY_TEST_SIM_PLANTED_H
#define CHUBBY_TEST_SIM_PLANTED_H

struct mutant {
	int number;
	const char *file;
	const char *what;
};

/* Ends with a number of 0. */
extern const struct mutant mutants_planted[];
/* The number of the one that acts; 0: none. Set before a run begins. */
extern int mutant_planted;

#endif
