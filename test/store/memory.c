/* SQLite's allocations, of which one may fail. SQLite tells of it by an error; ours end the process
 * (starve.c). */
#include "disk.h"

#include "base/check.h"

#include <sqlite3.h>

static sqlite3_mem_methods real;

static bool starves(void)
{
	bool half, starved = !disk_enter(DISK_MEMORY, &half);

	disk_leave();
	return starved;
}

static void *take(int size)
{
	return starves() ? NULL : real.xMalloc(size);
}

static void *take_again(void *old, int size)
{
	return starves() ? NULL : real.xRealloc(old, size);
}

void disk_take_memory(void)
{
	sqlite3_mem_methods ours;
	int rc = sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real);

	ours = real;
	ours.xMalloc = take;
	ours.xRealloc = take_again;
	if (rc == SQLITE_OK)
		rc = sqlite3_config(SQLITE_CONFIG_MALLOC, &ours);
	CHECK(rc == SQLITE_OK);
}
