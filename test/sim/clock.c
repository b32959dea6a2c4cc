#include "sim.h"

/* Longer spans would overflow the products below; deadlines beyond are "never". */
#define SPAN_MAX_NS (INT64_C(3600) * NS_PER_S)

static const int64_t million = 1000000;

int64_t sim_clock_local(const struct sim_clock *c, int64_t true_ns)
{
	int64_t span_ns = true_ns - c->base_true_ns;

	CHECK(span_ns >= 0 && span_ns <= SPAN_MAX_NS);
	return c->base_local_ns + span_ns + span_ns * c->rate_ppm / million;
}

int64_t sim_clock_true(const struct sim_clock *c, int64_t local_ns)
{
	int64_t span_ns, true_ns;

	if (local_ns <= c->base_local_ns)
		return c->base_true_ns;
	if (local_ns == TIME_NEVER || local_ns - c->base_local_ns > SPAN_MAX_NS)
		return TIME_NEVER;
	span_ns = local_ns - c->base_local_ns;
	true_ns = c->base_true_ns + span_ns * million / (million + c->rate_ppm);
	while (sim_clock_local(c, true_ns) < local_ns)
		true_ns++;
	return true_ns;
}

void sim_clock_change_rate(struct sim_clock *c, int64_t true_ns, int32_t rate_ppm)
{
	c->base_local_ns = sim_clock_local(c, true_ns);
	c->base_true_ns = true_ns;
	c->rate_ppm = rate_ppm;
}
