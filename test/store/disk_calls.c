/*
 * The calls that are taken over, ours and SQLite's; what is not below the disk's root goes on.
 *
 * Everything here is compiled for large files, so that open() is open64() and so on.
 */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

static int open_for_real(const char *path, int flags, mode_t mode)
{
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int open_ours(const char *path, const char *name, int flags, mode_t mode)
{
	bool there = access(path, F_OK) == 0;
	bool creates = (flags & O_CREAT) != 0 && !there;
	bool half;
	int fd = -1;

	if (disk_enter(creates ? DISK_CREATE : DISK_OPEN, &half)) {
		fd = open_for_real(path, flags, mode);
		if (fd >= 0)
			disk_opened(fd, name, creates);
	}
	disk_leave();
	return fd;
}

static int open_any(const char *path, int flags, mode_t mode)
{
	const char *name = disk_name(path);

	return name == NULL ? open_for_real(path, flags, mode) : open_ours(path, name, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments)
{
	return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

VISIBLE int open(const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = mode_of(flags, arguments);
	va_end(arguments);
	return open_any(path, flags, mode);
}

VISIBLE int close(int fd)
{
	disk_closed(fd);
	return (int)syscall(SYS_close, fd);
}

static ssize_t write_at(int fd, const void *data, size_t size, off_t offset)
{
	bool directory, half;
	ssize_t n = -1;

	if (!disk_knows(fd, &directory))
		return syscall(SYS_pwrite64, fd, data, size, offset);
	if (disk_enter(DISK_WRITE, &half)) {
		if (half && size > 1)
			size /= 2;
		n = syscall(SYS_pwrite64, fd, data, size, offset);
		if (n > 0)
			disk_written(fd, (uint64_t)offset, data, (size_t)n);
	}
	disk_leave();
	return n;
}

VISIBLE ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	return write_at(fd, data, size, offset);
}

static ssize_t read_at(int fd, void *data, size_t size, off_t offset)
{
	bool directory, half;
	ssize_t n = -1;

	if (!disk_knows(fd, &directory))
		return syscall(SYS_pread64, fd, data, size, offset);
	if (disk_enter(DISK_READ, &half))
		n = syscall(SYS_pread64, fd, data, size, offset);
	disk_leave();
	return n;
}

VISIBLE ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
	return read_at(fd, data, size, offset);
}

static int truncate_to(int fd, off_t size)
{
	bool directory, half;
	int result = -1;

	if (!disk_knows(fd, &directory))
		return (int)syscall(SYS_ftruncate, fd, size);
	if (disk_enter(DISK_TRUNCATE, &half)) {
		result = (int)syscall(SYS_ftruncate, fd, size);
		if (result == 0)
			disk_truncated(fd, (uint64_t)size);
	}
	disk_leave();
	return result;
}

VISIBLE int ftruncate(int fd, off_t size)
{
	return truncate_to(fd, size);
}

/* Nothing needs to reach a real disk. */
static int sync_any(int fd)
{
	bool directory, half, goes_on;

	if (!disk_knows(fd, &directory))
		return 0;
	goes_on = disk_enter(directory ? DISK_SYNC_DIRECTORY : DISK_SYNC, &half);
	if (goes_on)
		disk_synced(fd);
	else if (!disk_is_cut())
		disk_unsynced(fd);
	disk_leave();
	if (!goes_on && errno == 0)
		errno = EIO;
	return goes_on ? 0 : -1;
}

VISIBLE int fsync(int fd)
{
	return sync_any(fd);
}

VISIBLE int fdatasync(int fd)
{
	return sync_any(fd);
}

VISIBLE int rename(const char *from, const char *to)
{
	const char *from_name = disk_name(from), *to_name = disk_name(to);
	bool half;
	int result = -1;

	if (from_name == NULL || to_name == NULL)
		return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
	if (disk_enter(DISK_RENAME, &half)) {
		result = (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
		if (result == 0)
			disk_renamed(from_name, to_name);
	}
	disk_leave();
	return result;
}

VISIBLE int unlink(const char *path)
{
	const char *name = disk_name(path);
	bool half;
	int result = -1;

	if (name == NULL || access(path, F_OK) != 0)
		return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	if (disk_enter(DISK_UNLINK, &half)) {
		result = (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
		if (result == 0)
			disk_unlinked(name);
	}
	disk_leave();
	return result;
}

VISIBLE int mkdir(const char *path, mode_t mode)
{
	const char *name = disk_name(path);
	bool half;
	int result = -1;

	if (name == NULL || access(path, F_OK) == 0)
		return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
	if (disk_enter(DISK_MAKE_DIRECTORY, &half)) {
		result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
		if (result == 0)
			disk_directory_made(name);
	}
	disk_leave();
	return result;
}
