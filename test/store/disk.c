/* What is synced, and what is not. */
#include "disk_internal.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct disk disk = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- names ---------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), end_size = strlen(end);

	return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

const char *disk_name(const char *path)
{
	const char *name = path + disk.root_size;

	if (disk.root_size == 0 || strncmp(path, disk.root, disk.root_size) != 0 ||
	    ends_with(path, "-shm"))
		return NULL;
	if (*name != '/' && *name != '\0')
		return NULL;
	/* All directories stand in the root: genesis syncs it as the parent of its own. */
	if (ends_with(path, "/.."))
		return "";
	return *name == '/' ? name + 1 : name;
}

int disk_find(const struct disk_names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->entries[i].name, name) == 0)
			return (int)i;
	return -1;
}

void disk_put(struct disk_names *names, const char *name, int file)
{
	int at = disk_find(names, name);

	CHECK(strlen(name) < DISK_NAME_BYTES);
	if (at < 0) {
		CHECK(names->count < DISK_NAMES_MAX);
		at = (int)names->count++;
		snprintf(names->entries[at].name, DISK_NAME_BYTES, "%s", name);
	}
	names->entries[at].file = file;
}

void disk_remove(struct disk_names *names, const char *name)
{
	int at = disk_find(names, name);

	if (at >= 0)
		names->entries[at] = names->entries[--names->count];
}

bool disk_within(const char *name, const char *directory)
{
	const char *slash = strrchr(name, '/');
	size_t size = slash != NULL ? (size_t)(slash - name) : 0;

	return strlen(directory) == size && memcmp(name, directory, size) == 0;
}

void disk_apply_name(struct disk_names *names, const struct disk_name_change *change)
{
	if (change->from[0] != '\0')
		disk_remove(names, change->from);
	if (change->to[0] != '\0')
		disk_put(names, change->to, change->file);
}

static void change_names(const char *from, const char *to, int file)
{
	struct disk_name_change *change = mem_zalloc(sizeof(*change));

	snprintf(change->from, sizeof(change->from), "%s", from);
	snprintf(change->to, sizeof(change->to), "%s", to);
	change->file = file;
	change->sequence = ++disk.sequence;
	disk_apply_name(&disk.live, change);
	*disk.name_changes_end = change;
	disk.name_changes_end = &change->next;
}

void disk_renamed(const char *from, const char *to)
{
	int at = disk_find(&disk.live, from);

	CHECK(at >= 0);
	change_names(from, to, disk.live.entries[at].file);
}

void disk_unlinked(const char *name)
{
	change_names(name, "", 0);
}

void disk_directory_made(const char *name)
{
	change_names("", name, DISK_DIRECTORY);
}

/* ---- files ---------------------------------------------------------------------------------- */

void disk_resize(struct disk_file *file, uint64_t size)
{
	if (size > file->capacity) {
		file->capacity = 2 * (size_t)size;
		file->synced = mem_realloc(file->synced, file->capacity);
	}
	if (size > file->size)
		memset(file->synced + file->size, 0, (size_t)size - file->size);
	file->size = (size_t)size;
}

void disk_apply(struct disk_file *file, const struct disk_change *change, size_t from, size_t size)
{
	uint64_t end = change->offset + from + size;

	if (change->truncates) {
		disk_resize(file, change->offset);
		return;
	}
	if (end > file->size)
		disk_resize(file, end);
	memcpy(file->synced + change->offset + from, change->data + from, size);
}

void disk_drop_changes(struct disk_file *file)
{
	while (file->changes != NULL) {
		struct disk_change *next = file->changes->next;

		free(file->changes);
		file->changes = next;
	}
	file->changes_end = &file->changes;
}

static void add_change(int fd, bool truncates, uint64_t offset, const uint8_t *data, size_t size)
{
	struct disk_file *file = &disk.files[disk.descriptors[fd].file];
	struct disk_change *change = mem_alloc(sizeof(*change) + size);

	CHECK(disk.descriptors[fd].kind == DESCRIPTOR_FILE);
	change->next = NULL;
	change->sequence = ++disk.sequence;
	change->truncates = truncates;
	change->offset = offset;
	change->size = size;
	if (size > 0)
		memcpy(change->data, data, size);
	*file->changes_end = change;
	file->changes_end = &change->next;
}

void disk_written(int fd, uint64_t offset, const uint8_t *data, size_t size)
{
	add_change(fd, false, offset, data, size);
}

void disk_truncated(int fd, uint64_t size)
{
	add_change(fd, true, size, NULL, 0);
}

static void sync_directory(const char *directory)
{
	struct disk_name_change **at = &disk.name_changes;

	while (*at != NULL) {
		struct disk_name_change *change = *at;
		const char *name = change->to[0] != '\0' ? change->to : change->from;

		if (!disk_within(name, directory)) {
			at = &change->next;
			continue;
		}
		disk_apply_name(&disk.synced, change);
		*at = change->next;
		free(change);
	}
	disk.name_changes_end = at;
}

void disk_synced(int fd)
{
	const struct disk_descriptor *d = &disk.descriptors[fd];
	struct disk_file *file = &disk.files[d->file];

	if (d->kind == DESCRIPTOR_DIRECTORY) {
		sync_directory(d->name);
		return;
	}
	for (const struct disk_change *c = file->changes; c != NULL; c = c->next)
		disk_apply(file, c, 0, c->size);
	disk_drop_changes(file);
}

/* Names are in a journal, which tries again; content is given up. */
void disk_unsynced(int fd)
{
	const struct disk_descriptor *d = &disk.descriptors[fd];
	struct disk_file *file = &disk.files[d->file];

	if (d->kind == DESCRIPTOR_DIRECTORY)
		return;
	for (const struct disk_change *c = file->changes; c != NULL; c = c->next)
		if (rng_below(&disk.rng, 2) == 0)
			disk_apply(file, c, 0, c->size);
	disk_drop_changes(file);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static int file_new(void)
{
	struct disk_file *file = &disk.files[disk.file_count];

	CHECK(disk.file_count < DISK_FILES_MAX);
	*file = (struct disk_file){.changes_end = &file->changes};
	return (int)disk.file_count++;
}

void disk_opened(int fd, const char *name, bool created)
{
	struct disk_descriptor *d = &disk.descriptors[fd];
	struct stat st;
	int at;

	CHECK(fd < DISK_DESCRIPTORS_MAX && fstat(fd, &st) == 0);
	if (S_ISDIR(st.st_mode)) {
		d->kind = DESCRIPTOR_DIRECTORY;
		snprintf(d->name, sizeof(d->name), "%s", name);
		return;
	}
	if (created)
		change_names("", name, file_new());
	at = disk_find(&disk.live, name);
	CHECK(at >= 0);
	d->kind = DESCRIPTOR_FILE;
	d->file = disk.live.entries[at].file;
}

void disk_closed(int fd)
{
	pthread_mutex_lock(&disk.mutex);
	if (fd >= 0 && fd < DISK_DESCRIPTORS_MAX)
		disk.descriptors[fd].kind = DESCRIPTOR_NONE;
	pthread_mutex_unlock(&disk.mutex);
}

bool disk_knows(int fd, bool *ret_directory)
{
	bool knows = false;

	pthread_mutex_lock(&disk.mutex);
	if (fd >= 0 && fd < DISK_DESCRIPTORS_MAX) {
		knows = disk.descriptors[fd].kind != DESCRIPTOR_NONE;
		*ret_directory = disk.descriptors[fd].kind == DESCRIPTOR_DIRECTORY;
	}
	pthread_mutex_unlock(&disk.mutex);
	return knows;
}

/* ---- cuts and failures ---------------------------------------------------------------------- */

void disk_cut_at(uint64_t n)
{
	pthread_mutex_lock(&disk.mutex);
	disk.cut_in = n;
	pthread_mutex_unlock(&disk.mutex);
}

void disk_stay_on(void)
{
	disk_cut_at(0);
	disk.cut = false;
}

bool disk_is_cut(void)
{
	return disk.cut;
}

void disk_fail_at(uint64_t n, unsigned calls, int error)
{
	pthread_mutex_lock(&disk.mutex);
	disk.fail_in = n;
	disk.fail_calls = calls;
	disk.fail_error = error;
	disk.calls = 0;
	disk.failed = false;
	pthread_mutex_unlock(&disk.mutex);
}

bool disk_has_failed(void)
{
	bool failed;

	pthread_mutex_lock(&disk.mutex);
	failed = disk.failed;
	pthread_mutex_unlock(&disk.mutex);
	return failed;
}

bool disk_failed_reading(void)
{
	return disk_has_failed() && disk.fail_calls == DISK_READ;
}

uint64_t disk_calls(void)
{
	uint64_t calls;

	pthread_mutex_lock(&disk.mutex);
	calls = disk.calls;
	pthread_mutex_unlock(&disk.mutex);
	return calls;
}

bool disk_enter(enum disk_call call, bool *ret_half)
{
	pthread_mutex_lock(&disk.mutex);
	*ret_half = false;
	if ((call & DISK_CHANGES) != 0 && !disk.cut && disk.cut_in > 0 && --disk.cut_in == 0)
		disk.cut = true;
	if (disk.cut && (call & DISK_CHANGES) != 0) {
		errno = EIO;
		return false;
	}
	if ((call & disk.fail_calls) == 0)
		return true;
	disk.calls++;
	if (disk.fail_in == 0 || --disk.fail_in > 0)
		return true;
	disk.failed = true;
	errno = disk.fail_error;
	*ret_half = disk.fail_error == 0;
	return disk.fail_error == 0;
}

void disk_leave(void)
{
	pthread_mutex_unlock(&disk.mutex);
}
