#include "time.h"

#include "check.h"

int64_t lease_end(int64_t start_ns, int64_t duration_ns, int32_t drift_ppm)
{
	const int64_t million = 1000000;
	int64_t numerator, denominator, shortened, end_ns;

	CHECK(duration_ns >= 0);
	CHECK(drift_ppm >= 0 && drift_ppm <= 500000);
	numerator = million - drift_ppm;
	denominator = million + drift_ppm;
	/* The quotient and the remainder apart: exact, and neither product can overflow. */
	shortened = duration_ns / denominator * numerator +
		    duration_ns % denominator * numerator / denominator;
	CHECK(shortened <= duration_ns);
	if (__builtin_add_overflow(start_ns, shortened, &end_ns))
		return TIME_NEVER;
	return end_ns;
}
