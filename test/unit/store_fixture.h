/* A store in a directory of its own, and callbacks that count and wake. Shared by store's tests. */
#ifndef CHUBBY_TEST_STORE_FIXTURE_H
#define CHUBBY_TEST_STORE_FIXTURE_H

#include "base/check.h"
#include "base/value.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 512

struct fixture {
	char root[PATH_BYTES - 64]; /* removed at the end */
	char directory[PATH_BYTES - 32];
	struct store *store;
	uint64_t number; /* of the last write */
	struct paxos_durable durable;

	pthread_mutex_t mutex;
	pthread_cond_t news;
	uint64_t persisted;
	uint64_t writes_reported;
	uint64_t reports;
	uint64_t values_back;
	struct value **returned; /* by the store, not yet dropped */
	size_t returned_count;
	struct slot state_persisted;
	struct slot trimmed;
	enum error failed;
};

static inline struct ballot ballot_of(uint64_t round)
{
	return (struct ballot){round, {2}, {3, 4}};
}

static inline struct store_identity identity_make(void)
{
	struct store_identity identity = {
		.cell_id_high = 0x1122334455667788,
		.cell_id_low = 0x99aabbccddeeff00,
		.cell_name = "local",
		.handle_key = {7, 8, 9},
		.created_unix_ms = 1700000000000,
		.self = {2},
		.incarnation = {21, 22},
		.member_count = 3,
	};

	for (uint32_t i = 0; i < 3; i++) {
		struct store_member *m = &identity.members[i];

		m->replica = (struct replica_id){i + 1};
		m->incarnation = (struct incarnation){10 * i + 11, 10 * i + 12};
		snprintf(m->address, sizeof(m->address), "127.0.0.1:%u", 7000 + i);
		snprintf(m->peer_address, sizeof(m->peer_address), "127.0.0.1:%u", 7100 + i);
	}
	return identity;
}

static inline void fixture_shell(const char *format, ...)
{
	char command[4 * PATH_BYTES];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	assert_true(size > 0 && (size_t)size < sizeof(command));
	assert_int_equal(system(command), 0);
}

static inline void fixture_init(struct fixture *f)
{
	*f = (struct fixture){0};
	snprintf(f->root, sizeof(f->root), "%s/store_test.XXXXXX",
		 getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->directory, sizeof(f->directory), "%s/replica", f->root);
	pthread_mutex_init(&f->mutex, NULL);
	pthread_cond_init(&f->news, NULL);
}

static inline void fixture_genesis(struct fixture *f)
{
	struct store_identity identity = identity_make();
	char *trouble = NULL;

	assert_int_equal(store_genesis(f->directory, &identity, &trouble), ERROR_OK);
	assert_null(trouble);
	f->number = 0;
	f->durable = (struct paxos_durable){0};
}

static inline void on_persisted(void *context, uint64_t number, uint32_t count)
{
	struct fixture *f = context;

	pthread_mutex_lock(&f->mutex);
	f->persisted = number;
	f->writes_reported += count;
	f->reports++;
	pthread_cond_broadcast(&f->news);
	pthread_mutex_unlock(&f->mutex);
}

static inline void on_failed(void *context, enum error e, const char *trouble)
{
	struct fixture *f = context;

	pthread_mutex_lock(&f->mutex);
	f->failed = trouble != NULL ? e : ERROR_INTERNAL;
	pthread_cond_broadcast(&f->news);
	pthread_mutex_unlock(&f->mutex);
}

/* Counts of references belong to the test's thread: here they are only kept for it. */
static inline void on_values_done(void *context, struct value **values, uint32_t count)
{
	struct fixture *f = context;

	pthread_mutex_lock(&f->mutex);
	f->returned = mem_realloc_array(f->returned, f->returned_count + count, sizeof(*values));
	memcpy(f->returned + f->returned_count, values, count * sizeof(*values));
	f->returned_count += count;
	f->values_back += count;
	pthread_cond_broadcast(&f->news);
	pthread_mutex_unlock(&f->mutex);
	free(values);
}

static inline void fixture_drop_values(struct fixture *f)
{
	pthread_mutex_lock(&f->mutex);
	for (size_t i = 0; i < f->returned_count; i++)
		value_unref(f->returned[i]);
	free(f->returned);
	f->returned = NULL;
	f->returned_count = 0;
	pthread_mutex_unlock(&f->mutex);
}

static inline void fixture_release(struct fixture *f)
{
	store_close(f->store);
	fixture_drop_values(f);
	fixture_shell("rm -rf '%s'", f->root);
	pthread_mutex_destroy(&f->mutex);
	pthread_cond_destroy(&f->news);
}

static inline void on_state(void *context, struct slot slot)
{
	struct fixture *f = context;

	pthread_mutex_lock(&f->mutex);
	f->state_persisted = slot;
	pthread_cond_broadcast(&f->news);
	pthread_mutex_unlock(&f->mutex);
}

static inline void on_trimmed(void *context, struct slot slot)
{
	struct fixture *f = context;

	pthread_mutex_lock(&f->mutex);
	f->trimmed = slot;
	pthread_cond_broadcast(&f->news);
	pthread_mutex_unlock(&f->mutex);
}

/* Waits until `condition` (read under the mutex) holds; ten seconds at most. */
#define WAIT_FOR(f, condition)                                                                     \
	do {                                                                                       \
		struct timespec until;                                                             \
		int timed_out = 0;                                                                 \
		clock_gettime(CLOCK_REALTIME, &until);                                             \
		until.tv_sec += 10;                                                                \
		pthread_mutex_lock(&(f)->mutex);                                                   \
		while (!(condition) && timed_out == 0)                                             \
			timed_out = pthread_cond_timedwait(&(f)->news, &(f)->mutex, &until);       \
		pthread_mutex_unlock(&(f)->mutex);                                                 \
		assert_int_equal(timed_out, 0);                                                    \
	} while (0)

static inline enum error fixture_try_open(struct fixture *f, const struct store_options *options)
{
	char *trouble = NULL;
	enum error e = store_open(f->directory, options, &f->store, &trouble);

	assert_true((e == ERROR_OK) == (trouble == NULL));
	free(trouble);
	return e;
}

static inline void fixture_start(struct fixture *f)
{
	struct store_callbacks callbacks = {f,        on_persisted, on_failed, on_values_done,
					    on_state, on_trimmed};
	char *trouble = NULL;

	assert_int_equal(store_start(f->store, &callbacks, &trouble), ERROR_OK);
}

static inline void fixture_open_with(struct fixture *f, const struct store_options *options)
{
	assert_int_equal(fixture_try_open(f, options), ERROR_OK);
	fixture_start(f);
}

static inline void fixture_open(struct fixture *f)
{
	fixture_open_with(f, NULL);
}

static inline void fixture_close(struct fixture *f)
{
	store_close(f->store);
	f->store = NULL;
	fixture_drop_values(f);
}

/* What a start would be told. Opens, looks and closes; the tail's values are dropped. */
static inline enum paxos_memory fixture_memory(struct fixture *f, struct paxos_recovered *ret)
{
	struct paxos_recovered r;
	char *trouble = NULL;

	assert_int_equal(fixture_try_open(f, NULL), ERROR_OK);
	assert_int_equal(store_recover(f->store, &r, &trouble), ERROR_OK);
	assert_true((r.memory == PAXOS_MEMORY_WHOLE) == (trouble == NULL));
	free(trouble);
	for (uint32_t i = 0; i < r.tail_count; i++)
		value_unref(r.tail[i].value);
	free(r.tail);
	r.tail = NULL;
	fixture_close(f);
	if (ret != NULL)
		*ret = r;
	return r.memory;
}

/* A value that says which slot and round it was made for. */
static inline struct value *value_for(uint64_t slot, uint64_t round, size_t padding)
{
	struct value_builder b;
	uint8_t *command = mem_zalloc(16 + padding);
	struct value *v;

	memcpy(command, &slot, 8);
	memcpy(command + 8, &round, 8);
	value_builder_init(&b);
	assert_true(value_builder_add(&b, (struct bytes){command, 16 + padding}));
	v = value_builder_finish(&b);
	value_builder_release(&b);
	free(command);
	return v;
}

/* Submits a write of the slots `from`..`through` in `round`. */
static inline void fixture_submit(struct fixture *f, uint64_t from, uint64_t through,
				  uint64_t round, size_t padding)
{
	struct paxos_write w = {.number = ++f->number};
	uint32_t count = (uint32_t)(through + 1 - from);

	w.promise_changed = ballot_less(f->durable.promised, ballot_of(round));
	f->durable.promised = ballot_of(round);
	f->durable.longest_lease_ns = 400000000;
	w.durable = f->durable;
	w.accepted_count = count;
	w.accepted = mem_realloc_array(NULL, count + 1, sizeof(w.accepted[0]));
	for (uint32_t i = 0; i < count; i++)
		w.accepted[i] = (struct paxos_accepted){{from + i},
							ballot_of(round),
							value_for(from + i, round, padding)};
	store_write(f->store, &w);
	for (uint32_t i = 0; i < count; i++)
		value_unref(w.accepted[i].value);
	free(w.accepted);
}

static inline void fixture_wait(struct fixture *f)
{
	WAIT_FOR(f, f->persisted >= f->number || f->failed != ERROR_OK);
	fixture_drop_values(f);
}

static inline void fixture_path(const struct fixture *f, const char *file, char *ret_path)
{
	snprintf(ret_path, PATH_BYTES, "%s/%s", f->directory, file);
}

/* A whole file; the caller frees. */
static inline uint8_t *file_read(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	uint8_t *data;

	assert_non_null(file);
	assert_int_equal(fstat(fileno(file), &st), 0);
	data = mem_alloc((size_t)st.st_size);
	assert_int_equal(fread(data, 1, (size_t)st.st_size, file), st.st_size);
	fclose(file);
	*ret_size = (size_t)st.st_size;
	return data;
}

/* Written over, not truncated first: that would make some file systems sync on close. */
static inline void file_write(const char *path, const uint8_t *data, size_t size)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, size, 0), size);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

#endif
