/*
 * Opening a directory: what is there is examined before anything is written.
 *
 *   log.db's WAL damaged, log.db not ours or damaged,
 *   a row or tail that does not fit, promise file ahead,
 *   missing or unreadable, state above the log's end         memory LOST; nothing is written
 *   an install recorded, or a snapshot ready                 installed before anything else
 *   log.db's WAL ends doubtfully, or did and nobody vetted   memory DOUBTFUL
 *   state.db damaged, or below the trim point                store_load() says so
 *   a newer schema, no identity anywhere                     the open fails
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum error store_lock(const char *directory, int *ret_fd, char **ret_trouble)
{
	char *path = store_path(directory, STORE_FILE_LOCK);
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	enum error e = ERROR_OK;

	if (fd < 0) {
		*ret_trouble = sentence("cannot open %s: %s", path, strerror(errno));
		e = ERROR_STORAGE_IO;
	} else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		e = errno == EWOULDBLOCK ? ERROR_BUSY : ERROR_STORAGE_IO;
		*ret_trouble = e == ERROR_BUSY
				       ? sentence("another daemon uses %s", directory)
				       : sentence("cannot lock %s: %s", path, strerror(errno));
		close(fd);
	} else {
		*ret_fd = fd;
	}
	free(path);
	return e;
}

/* The first reason stands; `trouble` is taken over. */
static void lose(struct store *s, char *trouble)
{
	if (s->memory == PAXOS_MEMORY_LOST) {
		free(trouble);
		return;
	}
	free(s->memory_trouble);
	s->memory_trouble = trouble;
	s->memory = PAXOS_MEMORY_LOST;
}

static void doubt(struct store *s, char *trouble)
{
	if (s->memory != PAXOS_MEMORY_WHOLE) {
		free(trouble);
		return;
	}
	s->memory_trouble = trouble;
	s->memory = PAXOS_MEMORY_DOUBTFUL;
}

static void spoil_state(struct store *s, char *trouble)
{
	if (s->state_trouble != NULL) {
		free(trouble);
		return;
	}
	s->state_trouble = trouble;
}

/* A trouble that belongs to what was read goes to `blame`; any other ends the open. */
static enum error blame(struct store *s, void (*on)(struct store *, char *), enum error e,
			char *trouble, char **ret_trouble)
{
	if (e == ERROR_STORAGE_CORRUPT) {
		on(s, trouble);
		return ERROR_OK;
	}
	*ret_trouble = trouble;
	return e;
}

/* Who we are, from a main file alone. */
enum error store_identity_of(const char *directory, const char *file, int64_t application,
			     struct store_identity *ret_identity, char **ret_trouble)
{
	sqlite3 *db = NULL;
	enum error e = db_open(directory, file, true, &db, ret_trouble);

	if (e == ERROR_OK)
		e = db_check_version(db, file, application, ret_trouble);
	if (e == ERROR_OK)
		e = meta_get_identity(db, file, ret_identity, ret_trouble);
	db_close(db, false);
	return e;
}

/* For a log that SQLite must not open, or that it cannot read. */
static enum error find_identity(struct store *s, char **ret_trouble)
{
	char *trouble = NULL;
	enum error e = store_identity_of(s->directory, STORE_FILE_LOG, STORE_APPLICATION_LOG,
					 &s->identity, &trouble);

	if (e != ERROR_OK && e != ERROR_STORAGE_VERSION) {
		free(trouble);
		trouble = NULL;
		e = store_identity_of(s->directory, STORE_FILE_STATE, STORE_APPLICATION_STATE,
				      &s->identity, &trouble);
	}
	if (e == ERROR_OK)
		return ERROR_OK;
	if (e == ERROR_STORAGE_VERSION) {
		*ret_trouble = trouble;
		return e;
	}
	free(trouble);
	*ret_trouble = sentence("%s: neither log.db nor state.db tells whose they are: set the "
				"directory aside and join the cell anew",
				s->directory);
	return ERROR_STORAGE_CORRUPT;
}

static enum error walk(struct store *s, const char *wal, enum wal_verdict *ret_verdict,
		       char **ret_sentence, char **ret_trouble)
{
	char *path = store_path(s->directory, wal);
	char *trouble = NULL;
	enum error e = wal_walk(path, ret_verdict, &trouble);

	free(path);
	*(e == ERROR_OK ? ret_sentence : ret_trouble) = trouble;
	return e;
}

/* Opens with SQLite what the walk found fit. */
static enum error open_log(struct store *s, char **ret_trouble)
{
	struct store_identity inside;
	enum error e = db_open(s->directory, STORE_FILE_LOG, false, &s->log.db, ret_trouble);
	int rc;

	if (e == ERROR_OK)
		e = db_check_version(s->log.db, STORE_FILE_LOG, STORE_APPLICATION_LOG, ret_trouble);
	if (e == ERROR_OK)
		e = db_check_writable(s->log.db, STORE_FILE_LOG, ret_trouble);
	if (e == ERROR_OK)
		e = meta_get_identity(s->log.db, STORE_FILE_LOG, &inside, ret_trouble);
	if (e == ERROR_OK) {
		s->identity = inside;
		s->identified = true;
		rc = log_prepare(&s->log);
		if (rc != SQLITE_OK)
			e = db_error(rc, STORE_FILE_LOG, ret_trouble);
	}
	if (e == ERROR_OK)
		e = log_verify(s, ret_trouble);
	return e;
}

static enum error examine_log(struct store *s, char **ret_trouble)
{
	enum wal_verdict verdict;
	char *found = NULL, *trouble = NULL;
	enum error e;

	if (!store_exists(s->directory, STORE_FILE_LOG)) {
		lose(s, sentence("log.db is gone from %s", s->directory));
		return ERROR_OK;
	}
	e = walk(s, STORE_FILE_LOG "-wal", &verdict, &found, ret_trouble);
	if (e != ERROR_OK)
		return e;
	/* SQLite would cut a damaged one off at the first bad frame: keep it away. */
	if (verdict == WAL_DAMAGED) {
		lose(s, found);
		return ERROR_OK;
	}
	e = open_log(s, &trouble);
	if (e != ERROR_OK) {
		free(found);
		return blame(s, lose, e, trouble, ret_trouble);
	}
	if (verdict == WAL_DOUBTFUL)
		doubt(s, found);
	if (s->log.doubt)
		doubt(s, sentence("an earlier start found the end of the write-ahead log doubtful, "
				  "and no majority has confirmed this replica's memory since"));
	return ERROR_OK;
}

bool identity_equal(const struct store_identity *a, const struct store_identity *b)
{
	return a->cell_id_high == b->cell_id_high && a->cell_id_low == b->cell_id_low &&
	       replica_equal(a->self, b->self) && incarnation_equal(a->incarnation, b->incarnation);
}

static enum error open_state(struct store *s, char **ret_trouble)
{
	struct store_identity inside;
	enum error e = db_open(s->directory, STORE_FILE_STATE, false, &s->state.db, ret_trouble);
	int rc;

	if (e == ERROR_OK)
		e = db_check_version(s->state.db, STORE_FILE_STATE, STORE_APPLICATION_STATE,
				     ret_trouble);
	if (e == ERROR_OK)
		e = db_check_writable(s->state.db, STORE_FILE_STATE, ret_trouble);
	if (e == ERROR_OK)
		e = meta_get_identity(s->state.db, STORE_FILE_STATE, &inside, ret_trouble);
	if (e == ERROR_OK && !identity_equal(&inside, &s->identity)) {
		*ret_trouble = sentence("state.db belongs to another replica or incarnation than "
					"log.db");
		e = ERROR_STORAGE_CORRUPT;
	}
	if (e == ERROR_OK)
		e = state_read_mark(s->state.db, STORE_FILE_STATE, &s->identity, &s->state.mark,
				    ret_trouble);
	if (e == ERROR_OK) {
		rc = db_exec(s->state.db,
			     "PRAGMA wal_autocheckpoint=" STORE_STATE_CHECKPOINT_FRAMES);
		if (rc == SQLITE_OK)
			rc = state_prepare(&s->state);
		if (rc != SQLITE_OK)
			e = db_error(rc, STORE_FILE_STATE, ret_trouble);
	}
	return e;
}

static enum error examine_state(struct store *s, char **ret_trouble)
{
	enum wal_verdict verdict;
	char *found = NULL, *trouble = NULL;
	enum error e;

	if (!store_exists(s->directory, STORE_FILE_STATE)) {
		spoil_state(s, sentence("state.db is gone from %s", s->directory));
		return ERROR_OK;
	}
	e = walk(s, STORE_FILE_STATE "-wal", &verdict, &found, ret_trouble);
	if (e != ERROR_OK)
		return e;
	if (verdict == WAL_DAMAGED) {
		spoil_state(s, found);
		return ERROR_OK;
	}
	/* A torn last write of the state is an older state: the log replays the rest. */
	free(found);
	e = open_state(s, &trouble);
	if (e != ERROR_OK)
		return blame(s, spoil_state, e, trouble, ret_trouble);
	return ERROR_OK;
}

/* What the files say about each other. */
static void compare_promise(struct store *s)
{
	char *trouble = NULL;

	if (s->memory == PAXOS_MEMORY_LOST)
		return;
	if (promise_compare(&s->promise, &s->identity, &s->log.durable, &trouble) == PROMISE_LOST)
		lose(s, trouble);
}

static void compare_state(struct store *s)
{
	uint64_t state = s->state.mark.slot.n;

	if (s->memory == PAXOS_MEMORY_LOST || s->state_trouble != NULL)
		return;
	if (state > s->log.tail.newest.n)
		lose(s,
		     sentence("log.db went back: state.db holds slot %llu, but the log ends at "
			      "slot %llu",
			      (unsigned long long)state, (unsigned long long)s->log.tail.newest.n));
	else if (state < s->log.tail.trimmed.n)
		spoil_state(s, sentence("state.db went back: it holds slot %llu, but the log was "
					"trimmed up to slot %llu",
					(unsigned long long)state,
					(unsigned long long)s->log.tail.trimmed.n));
}

static int empty_wal(sqlite3 *db)
{
	return sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

/* A doubt is recorded before the WAL that caused it is written again: a crash right after must not
 * make it forgotten. */
static enum error record_doubt(struct store *s, char **ret_trouble)
{
	int rc = SQLITE_OK;

	if (s->memory == PAXOS_MEMORY_DOUBTFUL && !s->log.doubt) {
		rc = meta_put(s->log.put_meta, &s->identity, "doubt", bytes_of_text("yes"));
		s->log.doubt = rc == SQLITE_OK;
	}
	return rc == SQLITE_OK ? ERROR_OK : db_error(rc, STORE_FILE_LOG, ret_trouble);
}

/*
 * The first writes after a start whose memory is not lost. Each start begins with an empty WAL,
 * since frames of an unfinished transaction behind later ones would look doubtful again.
 */
static enum error settle(struct store *s, char **ret_trouble)
{
	const struct paxos_durable *durable = &s->log.durable;
	enum error e = record_doubt(s, ret_trouble);
	char *unused = NULL;
	int rc;

	if (e != ERROR_OK)
		return e;
	rc = empty_wal(s->log.db);
	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_LOG, ret_trouble);
	if (s->state_trouble == NULL)
		rc = empty_wal(s->state.db);
	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_STATE, ret_trouble);
	if (promise_compare(&s->promise, &s->identity, durable, &unused) == PROMISE_BEHIND ||
	    s->promise.readable < 2)
		e = promise_write(&s->promise, durable->promised, durable->longest_lease_ns,
				  ret_trouble);
	/* What a transfer that was cut off left. */
	store_unlink(s->directory, STORE_FILE_PART);
	store_unlink(s->directory, STORE_FILE_IMAGE);
	return e;
}

/* A snapshot takes the place of the state: see the steps in store_internal.h. */
static enum error install(struct store *s, char **ret_trouble)
{
	char *trouble = NULL;
	enum error e = record_doubt(s, ret_trouble);

	if (e == ERROR_OK && !s->install_recorded)
		e = install_record(s, ret_trouble);
	if (e != ERROR_OK)
		return e;
	state_finalize(&s->state);
	db_close(s->state.db, false);
	s->state = (struct state_db){0};
	e = install_swap(s, &trouble);
	if (e != ERROR_OK)
		return blame(s, spoil_state, e, trouble, ret_trouble);
	e = examine_state(s, ret_trouble);
	if (e != ERROR_OK || s->state_trouble != NULL)
		return e;
	e = install_finish(s, &trouble);
	if (e != ERROR_OK)
		return blame(s, spoil_state, e, trouble, ret_trouble);
	compare_state(s);
	return ERROR_OK;
}

/* The state as it is, or as a snapshot replaces it. */
static enum error examine_or_install(struct store *s, char **ret_trouble)
{
	enum error e;

	if (!s->installing || s->memory == PAXOS_MEMORY_LOST) {
		e = examine_state(s, ret_trouble);
		if (e != ERROR_OK)
			return e;
		/* Before a snapshot may cover it: what the old state proves about the log. */
		compare_state(s);
		if (s->memory == PAXOS_MEMORY_LOST || s->state_trouble != NULL)
			return ERROR_OK;
		e = install_find(s, ret_trouble);
		if (e != ERROR_OK || !s->installing)
			return e;
	}
	return install(s, ret_trouble);
}

static enum error examine(struct store *s, char **ret_trouble)
{
	char *trouble = NULL;
	enum error e = promise_open(&s->promise, s->directory, ret_trouble);

	if (e == ERROR_OK)
		e = examine_log(s, ret_trouble);
	if (e == ERROR_OK && !s->identified)
		e = find_identity(s, ret_trouble);
	if (e != ERROR_OK)
		return e;
	compare_promise(s);
	if (s->memory != PAXOS_MEMORY_LOST) {
		e = install_pending(s, &trouble);
		if (e != ERROR_OK)
			e = blame(s, lose, e, trouble, ret_trouble);
	}
	if (e == ERROR_OK)
		e = examine_or_install(s, ret_trouble);
	if (e == ERROR_OK && s->memory != PAXOS_MEMORY_LOST)
		e = settle(s, ret_trouble);
	return e;
}

static bool holds_store(const char *directory)
{
	if (store_exists(directory, STORE_FILE_LOG))
		return true;
	/* Without log.db, log.db.new tells an unfinished genesis from a log that was lost. */
	if (store_exists(directory, STORE_FILE_LOG STORE_NEW))
		return false;
	return store_exists(directory, STORE_FILE_STATE) ||
	       store_exists(directory, STORE_FILE_PROMISE);
}

static struct store *store_new(const char *directory, const struct store_options *options,
			       int lock_fd)
{
	struct store *s = mem_zalloc(sizeof(*s));

	s->directory = mem_strdup(directory);
	s->lock_fd = lock_fd;
	s->options = options != NULL ? *options : (struct store_options){0};
	if (s->options.keep_slots == 0)
		s->options.keep_slots = STORE_KEEP_SLOTS_DEFAULT;
	if (s->options.keep_bytes == 0)
		s->options.keep_bytes = STORE_KEEP_BYTES_DEFAULT;
	s->memory = PAXOS_MEMORY_WHOLE;
	s->promise.fd = -1;
	pthread_mutex_init(&s->reader.mutex, NULL);
	pthread_mutex_init(&s->shared.mutex, NULL);
	pthread_cond_init(&s->shared.log_wake, NULL);
	pthread_cond_init(&s->shared.state_wake, NULL);
	s->shared.queue_end = &s->shared.queue;
	return s;
}

enum error store_open(const char *directory, const struct store_options *options,
		      struct store **ret_store, char **ret_trouble)
{
	struct store *s;
	int lock_fd = -1;
	enum error e;

	if (!holds_store(directory)) {
		*ret_trouble = sentence("%s holds no store", directory);
		return ERROR_NOT_FOUND;
	}
	e = store_lock(directory, &lock_fd, ret_trouble);
	if (e != ERROR_OK)
		return e;
	s = store_new(directory, options, lock_fd);
	e = examine(s, ret_trouble);
	if (e != ERROR_OK) {
		/* Examining failed: nothing may be written on the way out. */
		s->memory = PAXOS_MEMORY_LOST;
		store_close(s);
		return e;
	}
	s->shared.synced = s->log.tail.newest;
	s->shared.state_slot = s->state.mark.slot;
	s->shared.counters.trimmed = s->log.tail.trimmed;
	s->shared.counters.state_slot = s->state.mark.slot;
	*ret_store = s;
	return ERROR_OK;
}
