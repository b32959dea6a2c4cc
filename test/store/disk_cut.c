/* What a power cut leaves. */
#include "disk_internal.h"

#include "base/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum taste {
	KEEP_NOTHING,
	KEEP_EVERYTHING,
	KEEP_FIRST, /* up to some change, which is torn */
	KEEP_LAST,  /* from some change on */
	KEEP_CHANGES,
	KEEP_SECTORS,
	TASTES,
};

struct policy {
	enum taste taste;
	uint64_t limit; /* number of a change */
	uint32_t keep_ppm;
	size_t sector_bytes;
	bool stretch;       /* a lost write leaves its length, with zeros */
	bool ordered_names; /* a journal: names stay up to the limit */
};

static uint64_t oldest_change(void)
{
	uint64_t oldest = disk.sequence;

	for (size_t i = 0; i < disk.file_count; i++)
		if (disk.files[i].changes != NULL && disk.files[i].changes->sequence < oldest)
			oldest = disk.files[i].changes->sequence;
	if (disk.name_changes != NULL && disk.name_changes->sequence < oldest)
		oldest = disk.name_changes->sequence;
	return oldest;
}

static struct policy draw_policy(void)
{
	static const uint32_t chances[] = {50000, 300000, 500000, 700000, 950000};
	uint64_t oldest = oldest_change();

	return (struct policy){
		.taste = (enum taste)rng_below(&disk.rng, TASTES),
		.limit = oldest + rng_below(&disk.rng, disk.sequence - oldest + 1),
		.keep_ppm = chances[rng_below(&disk.rng, 5)],
		.sector_bytes = rng_below(&disk.rng, 2) == 0 ? 512 : 4096,
		.stretch = rng_below(&disk.rng, 2) == 0,
		.ordered_names = rng_below(&disk.rng, 2) == 0,
	};
}

static bool keep_change(const struct policy *p, uint64_t sequence)
{
	switch (p->taste) {
	case KEEP_NOTHING:
		return false;
	case KEEP_EVERYTHING:
		return true;
	case KEEP_FIRST:
		return sequence < p->limit;
	case KEEP_LAST:
		return sequence >= p->limit;
	default:
		return rng_chance(&disk.rng, p->keep_ppm);
	}
}

/* Sectors are those of the file, not of the write. */
static void tear(const struct policy *p, struct disk_file *file, const struct disk_change *c)
{
	size_t at = 0;

	while (at < c->size) {
		size_t sector = p->sector_bytes - (c->offset + at) % p->sector_bytes;

		if (sector > c->size - at)
			sector = c->size - at;
		if (rng_chance(&disk.rng, p->keep_ppm))
			disk_apply(file, c, at, sector);
		at += sector;
	}
}

static void settle_file(const struct policy *p, struct disk_file *file)
{
	for (const struct disk_change *c = file->changes; c != NULL; c = c->next) {
		bool torn = p->taste == KEEP_SECTORS ||
			    (p->taste == KEEP_FIRST && c->sequence == p->limit);

		if (p->stretch && !c->truncates && c->offset + c->size > file->size &&
		    p->taste != KEEP_NOTHING)
			disk_resize(file, c->offset + c->size);
		if (torn && !c->truncates)
			tear(p, file, c);
		else if (keep_change(p, c->sequence))
			disk_apply(file, c, 0, c->size);
	}
	disk_drop_changes(file);
}

static void settle_names(const struct policy *p)
{
	uint64_t oldest = disk.name_changes != NULL ? disk.name_changes->sequence : disk.sequence;
	uint64_t limit = oldest + rng_below(&disk.rng, disk.sequence - oldest + 2);

	while (disk.name_changes != NULL) {
		struct disk_name_change *c = disk.name_changes;

		if (p->ordered_names ? c->sequence < limit : keep_change(p, c->sequence))
			disk_apply_name(&disk.synced, c);
		disk.name_changes = c->next;
		free(c);
	}
	disk.name_changes_end = &disk.name_changes;
}

/* ---- the real files ------------------------------------------------------------------------- */

static void path_of(const char *name, const char *suffix, char *ret_path)
{
	snprintf(ret_path, 512, "%s/%s%s", disk.root, name, suffix);
}

/* All of a directory of files and of directories of files. */
static void remove_within(const char *path, unsigned depth)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	if (directory == NULL)
		return;
	while ((entry = readdir(directory)) != NULL) {
		char inner[512];

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		CHECK((size_t)snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name) <
		      sizeof(inner));
		if (syscall(SYS_unlinkat, AT_FDCWD, inner, 0) != 0 && depth > 0) {
			remove_within(inner, depth - 1);
			syscall(SYS_unlinkat, AT_FDCWD, inner, AT_REMOVEDIR);
		}
	}
	closedir(directory);
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC,
			      0600);

	CHECK(fd >= 0);
	for (size_t done = 0; done < size;) {
		ssize_t n = syscall(SYS_pwrite64, fd, data + done, size - done, done);

		CHECK(n > 0);
		done += (size_t)n;
	}
	syscall(SYS_close, fd);
}

/* SQLite's shared memory is no file to rely on. */
static void spoil_shared_memory(const char *database)
{
	uint8_t nonsense[32768];
	char path[512];

	if (rng_below(&disk.rng, 3) != 0)
		return;
	for (size_t i = 0; i < sizeof(nonsense); i++)
		nonsense[i] = (uint8_t)(disk.sequence >> (i % 8));
	path_of(database, "-shm", path);
	write_file(path, nonsense, sizeof(nonsense));
}

static void write_names(void)
{
	struct disk_names kept = {0};
	char path[512];

	for (size_t i = 0; i < disk.synced.count; i++) {
		const struct disk_entry *e = &disk.synced.entries[i];

		if (e->file != DISK_DIRECTORY)
			continue;
		path_of(e->name, "", path);
		syscall(SYS_mkdirat, AT_FDCWD, path, 0700);
		disk_put(&kept, e->name, e->file);
	}
	for (size_t i = 0; i < disk.synced.count; i++) {
		const struct disk_entry *e = &disk.synced.entries[i];
		const struct disk_file *file = &disk.files[e->file < 0 ? 0 : e->file];
		const char *slash = strchr(e->name, '/');
		char directory[DISK_NAME_BYTES] = "";

		if (e->file == DISK_DIRECTORY)
			continue;
		if (slash != NULL)
			memcpy(directory, e->name, (size_t)(slash - e->name));
		if (slash != NULL && disk_find(&kept, directory) < 0)
			continue; /* its directory is lost */
		path_of(e->name, "", path);
		write_file(path, file->synced, file->size);
		disk_put(&kept, e->name, e->file);
		if (strcmp(e->name + strlen(e->name) - 3, ".db") == 0)
			spoil_shared_memory(e->name);
	}
	disk.synced = disk.live = kept;
}

static void expect_closed(void)
{
	for (size_t i = 0; i < DISK_DESCRIPTORS_MAX; i++)
		CHECK(disk.descriptors[i].kind == DESCRIPTOR_NONE);
}

/* Files without a name give their number back; descriptors are closed, so nobody has it. */
static void drop_nameless(void)
{
	bool named[DISK_FILES_MAX] = {false};
	size_t last = 0;

	for (size_t i = 0; i < disk.synced.count; i++)
		if (disk.synced.entries[i].file >= 0)
			named[disk.synced.entries[i].file] = true;
	for (size_t i = 0; i < disk.file_count; i++) {
		if (named[i]) {
			last = i + 1;
			continue;
		}
		free(disk.files[i].synced);
		disk.files[i] = (struct disk_file){.changes_end = &disk.files[i].changes};
	}
	disk.file_count = last;
}

void disk_power_on(void)
{
	struct policy p = draw_policy();

	expect_closed();
	for (size_t i = 0; i < disk.file_count; i++)
		settle_file(&p, &disk.files[i]);
	settle_names(&p);
	remove_within(disk.root, 1);
	write_names();
	drop_nameless();
	disk.cut = false;
	disk.cut_in = 0;
}

void disk_begin(const char *root)
{
	snprintf(disk.root, sizeof(disk.root), "%s", root);
	disk.root_size = strlen(disk.root);
	disk.name_changes_end = &disk.name_changes;
}

void disk_clear(uint64_t seed)
{
	expect_closed();
	for (size_t i = 0; i < disk.file_count; i++)
		disk_drop_changes(&disk.files[i]);
	while (disk.name_changes != NULL) {
		struct disk_name_change *next = disk.name_changes->next;

		free(disk.name_changes);
		disk.name_changes = next;
	}
	disk.name_changes_end = &disk.name_changes;
	disk.live.count = disk.synced.count = 0;
	drop_nameless();
	remove_within(disk.root, 1);
	rng_init(&disk.rng, seed);
	disk.cut = false;
	disk.cut_in = 0;
	disk_fail_at(0, 0, 0);
}
