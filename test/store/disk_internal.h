/* Inside the disk: what it knows (disk.c), and what a power cut leaves of it (disk_cut.c). */
#ifndef CHUBBY_TEST_STORE_DISK_INTERNAL_H
#define CHUBBY_TEST_STORE_DISK_INTERNAL_H

#include "disk.h"

#include "base/rng.h"

#include <pthread.h>
#include <stdatomic.h>

#define DISK_NAME_BYTES 64
#define DISK_NAMES_MAX 64
#define DISK_FILES_MAX 4096
#define DISK_DESCRIPTORS_MAX 256

/* A change of a file's content that is not synced; in order. */
struct disk_change {
	struct disk_change *next;
	uint64_t sequence;
	bool truncates; /* to `offset` */
	uint64_t offset;
	size_t size;
	uint8_t data[];
};

struct disk_file {
	uint8_t *synced; /* what is on the disk for good */
	size_t size, capacity;
	struct disk_change *changes, **changes_end;
};

#define DISK_DIRECTORY (-1) /* in the place of a file's number */

struct disk_entry {
	char name[DISK_NAME_BYTES];
	int file;
};

struct disk_names {
	size_t count;
	struct disk_entry entries[DISK_NAMES_MAX];
};

/* `to` gets `file`, `from` goes; either may be empty. */
struct disk_name_change {
	struct disk_name_change *next;
	uint64_t sequence;
	char from[DISK_NAME_BYTES], to[DISK_NAME_BYTES];
	int file;
};

struct disk_descriptor {
	enum { DESCRIPTOR_NONE, DESCRIPTOR_FILE, DESCRIPTOR_DIRECTORY } kind;
	int file;
	char name[DISK_NAME_BYTES]; /* of a directory */
};

struct disk {
	pthread_mutex_t mutex;
	char root[256];
	size_t root_size;
	struct rng rng;
	uint64_t sequence;
	struct disk_file files[DISK_FILES_MAX];
	size_t file_count;
	struct disk_names live, synced;
	struct disk_name_change *name_changes, **name_changes_end;
	struct disk_descriptor descriptors[DISK_DESCRIPTORS_MAX];
	uint64_t cut_in; /* changes; 0: never */
	atomic_bool cut;
	unsigned fail_calls;
	uint64_t fail_in, calls;
	int fail_error;
	bool failed;
};

extern struct disk disk;

int disk_find(const struct disk_names *names, const char *name); /* index; -1: none */
void disk_put(struct disk_names *names, const char *name, int file);
void disk_remove(struct disk_names *names, const char *name);
/* Is `name` an entry of the directory `directory`? */
bool disk_within(const char *name, const char *directory);
void disk_apply(struct disk_file *file, const struct disk_change *change, size_t from, size_t size);
void disk_resize(struct disk_file *file, uint64_t size);
void disk_drop_changes(struct disk_file *file);
void disk_apply_name(struct disk_names *names, const struct disk_name_change *change);

#endif
