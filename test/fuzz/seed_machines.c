/* Inputs for the state machines: short lives, as their targets read them. */
#include "seed.h"

void seed_machines(void)
{
}
