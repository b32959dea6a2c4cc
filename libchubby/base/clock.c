#include "clock.h"

#include "check.h"
#include "base/time.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

int64_t clock_now_ns(void)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_BOOTTIME, &now) == 0);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_wall_unix_ms(void)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / NS_PER_MS;
}

void clock_random_bytes(void *ret_data, uint32_t size_bytes)
{
	uint8_t *data = ret_data;
	uint32_t filled = 0;

	while (filled < size_bytes) {
		ssize_t got = getrandom(data + filled, size_bytes - filled, 0);

		if (got < 0 && errno == EINTR)
			continue;
		CHECK(got > 0);
		filled += (uint32_t)got;
	}
}
