/*
 * A wrong wall clock and a bad disk for one chubbyd: loaded before the C library (LD_PRELOAD). What
 * is wrong stands in the file that CHAOS_CONTROL names, and changes while the program runs.
 *
 * A wait until a moment of the wall clock is a wait in the kernel, which knows the true one: such
 * waits are translated. One that is under way while the clock steps ends at the moment that it was
 * computed for; a kernel would look at it anew.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Seen by the dynamic linker before the C library's own. */
#define SHIM __attribute__((visibility("default")))

#define NS_PER_S INT64_C(1000000000)

/* replicas.py knows it as three little-endian numbers. */
struct control {
	int64_t wall_ahead_ns;
	int64_t sync_takes_ns;
	int64_t sync_failures; /* how many syncs to come fail */
};

typedef int clock_gettime_function(clockid_t which, struct timespec *ret_time);
typedef int sync_function(int fd);
typedef long syscall_function(long number, ...);

static struct control *control(void)
{
	static struct control none, *found;
	const char *path;
	void *page;
	int fd;

	if (found != NULL)
		return found;
	path = getenv("CHAOS_CONTROL");
	fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	page = fd >= 0 ? mmap(NULL, sizeof(none), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
		       : MAP_FAILED;
	if (fd >= 0)
		close(fd);
	found = page != MAP_FAILED ? page : &none;
	return found;
}

static void add_ns(struct timespec *t, int64_t ns)
{
	int64_t sum = t->tv_sec * NS_PER_S + t->tv_nsec + ns;

	if (sum < 0)
		sum = 0;
	t->tv_sec = sum / NS_PER_S;
	t->tv_nsec = sum % NS_PER_S;
}

/* ---- the wall clock ------------------------------------------------------------------------- */

SHIM int clock_gettime(clockid_t which, struct timespec *ret_time)
{
	static clock_gettime_function *next;
	int result;

	if (next == NULL)
		next = (clock_gettime_function *)dlsym(RTLD_NEXT, "clock_gettime");
	result = next(which, ret_time);
	if (result == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
		add_ns(ret_time, control()->wall_ahead_ns);
	return result;
}

SHIM int gettimeofday(struct timeval *restrict ret_time, void *restrict zone)
{
	struct timespec t;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &t);
	ret_time->tv_sec = t.tv_sec;
	ret_time->tv_usec = t.tv_nsec / 1000;
	return 0;
}

SHIM time_t time(time_t *ret_time)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	if (ret_time != NULL)
		*ret_time = t.tv_sec;
	return t.tv_sec;
}

/* gRPC waits by the system call itself. */
SHIM long syscall(long number, ...)
{
	static syscall_function *next;
	struct timespec until;
	va_list list;
	long a[6];

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (next == NULL)
		next = (syscall_function *)dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_futex && (a[1] & FUTEX_CLOCK_REALTIME) != 0 && a[3] != 0) {
		until = *(const struct timespec *)a[3];
		add_ns(&until, -control()->wall_ahead_ns);
		a[3] = (long)&until;
	}
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- the disk ------------------------------------------------------------------------------- */

static int sync_with(const char *name, sync_function **next, int fd)
{
	struct control *c = control();
	struct timespec pause = {.tv_sec = c->sync_takes_ns / NS_PER_S,
				 .tv_nsec = c->sync_takes_ns % NS_PER_S};

	if (*next == NULL)
		*next = (sync_function *)dlsym(RTLD_NEXT, name);
	if (c->sync_takes_ns > 0)
		ppoll(NULL, 0, &pause, NULL);
	if (__atomic_load_n(&c->sync_failures, __ATOMIC_SEQ_CST) > 0) {
		__atomic_fetch_sub(&c->sync_failures, 1, __ATOMIC_SEQ_CST);
		errno = EIO;
		return -1;
	}
	return (*next)(fd);
}

SHIM int fsync(int fd)
{
	static sync_function *next;

	return sync_with("fsync", &next, fd);
}

SHIM int fdatasync(int fd)
{
	static sync_function *next;

	return sync_with("fdatasync", &next, fd);
}
