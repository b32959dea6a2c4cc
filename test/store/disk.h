/*
 * A disk that forgets what was not synced.
 *
 * The calls with which the store and SQLite change files below one directory are taken over
 * (disk_calls.c): they go on to real files, and this model keeps beside them what a power cut
 * would leave. Of each file it knows what is synced, and the changes since, in order; of the names
 * likewise, where only the sync of a directory makes a name durable.
 *
 * At a power cut all that was synced stays, and of the rest any part: nothing, everything, what
 * came first, what came last, single sectors of 512 or 4096 bytes, a length without its bytes.
 * Names that were not synced stay, in their order up to some point, or any of them.
 *
 * A sync that fails takes what it should have written along: some of it reached the disk, and no
 * later sync will write the rest, whatever it returns ("fsyncgate").
 *
 * Shared memory ("-shm") is no part of the model; SQLite makes it anew. After a cut it is gone, or
 * full of nonsense.
 *
 * There is one such disk in a process, since calls have no owner. Thread-safe.
 */
#ifndef CHUBBY_TEST_STORE_DISK_H
#define CHUBBY_TEST_STORE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Kinds of calls, to be or'ed. */
enum disk_call {
	DISK_OPEN = 1, /* of what exists */
	DISK_CREATE = 2,
	DISK_READ = 4,
	DISK_WRITE = 8,
	DISK_TRUNCATE = 16,
	DISK_SYNC = 32,
	DISK_SYNC_DIRECTORY = 64,
	DISK_RENAME = 128,
	DISK_UNLINK = 256,
	DISK_MAKE_DIRECTORY = 512,
	DISK_MEMORY = 1024, /* no call, but an allocation of SQLite's */
};
/* What a power cut can precede. */
#define DISK_CHANGES                                                                               \
	(DISK_CREATE | DISK_WRITE | DISK_TRUNCATE | DISK_SYNC | DISK_SYNC_DIRECTORY |              \
	 DISK_RENAME | DISK_UNLINK | DISK_MAKE_DIRECTORY)

/* Takes over everything below `root`, an empty directory. */
void disk_begin(const char *root);
/* Empty again: removes all that is below the root. No file may be open. */
void disk_clear(uint64_t seed);

/* The power goes before the `n`th change from now on; from then on every change fails. 0: never. */
void disk_cut_at(uint64_t n);
bool disk_is_cut(void);
/* What the cut left becomes the files. No file may be open. */
void disk_power_on(void);
/* The power was not cut after all: the process was killed. The files stay as they are. */
void disk_stay_on(void);

/*
 * The `n`th call of these kinds from now on fails once: with `error`, or, where that is 0, a write
 * writes half. 0: none.
 */
void disk_fail_at(uint64_t n, unsigned calls, int error);
bool disk_has_failed(void);
/* Nothing that was not read can be trusted, and it may be readable again later. */
bool disk_failed_reading(void);
/* SQLite's allocations count from now on. Before anything else uses SQLite. */
void disk_take_memory(void);
/* Calls of these kinds since the last disk_fail_at(). */
uint64_t disk_calls(void);

/* ---- for disk_calls.c ----------------------------------------------------------------------- */

/* The path below the root; NULL: not ours. */
const char *disk_name(const char *path);
/* May the call go on? Else errno says why not. Locks the disk in either case. */
bool disk_enter(enum disk_call call, bool *ret_half);
void disk_leave(void);
void disk_opened(int fd, const char *name, bool created);
void disk_closed(int fd);
/* What a descriptor stands for. */
bool disk_knows(int fd, bool *ret_directory);
void disk_written(int fd, uint64_t offset, const uint8_t *data, size_t size);
void disk_truncated(int fd, uint64_t size);
void disk_synced(int fd);
/* The sync failed: what it should have written is gone. */
void disk_unsynced(int fd);
void disk_renamed(const char *from, const char *to);
void disk_unlinked(const char *name);
void disk_directory_made(const char *name);

#endif
