/*
 * The log thread: one transaction and one sync for all that gathered during the last one.
 *
 *   take the queue -> rows, small state, tail -> COMMIT (synced) -> promise file (synced)
 *   -> report -> values back -> checkpoint what is left, if the WAL was copied meanwhile
 *
 * The write-ahead log is copied into the database by the state thread on a connection of its own,
 * beside the commits. What was committed meanwhile is copied here, after a report: that is
 * little, and lets the next commit begin the WAL anew, which otherwise would grow for ever under
 * steady load.
 */
#include "store_internal.h"

struct log_work {
	struct queued_write *batch;
	struct slot trim_limit;
	bool trim;
	bool vetted;
	bool leave;
};

/* Up to where the log may be trimmed. Under the mutex. */
static struct slot trim_limit(const struct store_shared *sh)
{
	return sh->held && sh->hold.n < sh->state_slot.n ? sh->hold : sh->state_slot;
}

static bool log_idle(const struct store *s)
{
	const struct store_shared *sh = &s->shared;

	return sh->queue == NULL && !sh->closing && !sh->failed && !trim_due(s, trim_limit(sh));
}

static struct log_work take_work(struct store *s)
{
	struct store_shared *sh = &s->shared;
	struct log_work work = {0};

	pthread_mutex_lock(&sh->mutex);
	while (log_idle(s)) {
		sh->log_sleeps = true;
		pthread_cond_wait(&sh->log_wake, &sh->mutex);
		sh->log_sleeps = false;
	}
	work.leave = sh->failed || (sh->closing && sh->queue == NULL);
	if (!work.leave) {
		sh->batch = work.batch = sh->queue;
		sh->queue = NULL;
		sh->queue_end = &sh->queue;
		work.trim_limit = trim_limit(sh);
		work.trim = trim_due(s, work.trim_limit);
		work.vetted = sh->vetted;
	}
	pthread_mutex_unlock(&sh->mutex);
	return work;
}

/* What one transaction did. */
struct log_batch {
	uint32_t writes;
	uint64_t rows, value_bytes;
	bool promise_changed;
	struct paxos_durable durable;
	struct log_tail tail;
};

static int put_batch(struct store *s, const struct log_work *work, struct log_batch *b)
{
	int rc = SQLITE_OK;

	if (work->trim)
		rc = trim_some(s, work->trim_limit, &b->tail);
	for (const struct queued_write *q = work->batch; q != NULL && rc == SQLITE_OK;
	     q = q->next) {
		CHECK(!ballot_less(q->durable.promised, b->durable.promised));
		for (uint32_t i = 0; i < q->accepted_count && rc == SQLITE_OK; i++) {
			rc = log_put_row(s, &q->accepted[i], &b->tail);
			b->value_bytes += value_bytes(q->accepted[i].value).size;
		}
		b->durable = q->durable;
		b->promise_changed |= q->promise_changed;
		b->rows += q->accepted_count;
		b->writes++;
	}
	/* Paxos hears of trimming later than it happens; what the state held was chosen. */
	if (b->durable.trimmed.n < b->tail.trimmed.n)
		b->durable.trimmed = b->tail.trimmed;
	if (b->durable.chosen.n < b->tail.trimmed.n)
		b->durable.chosen = b->tail.trimmed;
	return rc == SQLITE_OK ? log_put_meta(s, &b->durable, &b->tail) : rc;
}

/* Before a majority has vetted it a replica promises nothing: a promise ends the doubt too. */
static int end_doubt(struct store *s, bool vetted)
{
	int rc;

	if (!s->log.doubt || !vetted)
		return SQLITE_OK;
	rc = db_exec(s->log.db, "DELETE FROM meta WHERE key = 'doubt'");
	s->log.doubt = rc != SQLITE_OK;
	return rc;
}

static enum error commit_batch(struct store *s, const struct log_work *work, struct log_batch *b,
			       char **ret_trouble)
{
	const struct promise_record *file = &s->promise.newest;
	int rc = db_run(s->log.begin);

	if (rc == SQLITE_OK)
		rc = put_batch(s, work, b);
	if (rc == SQLITE_OK)
		rc = end_doubt(s, work->vetted || b->promise_changed);
	if (rc == SQLITE_OK)
		rc = db_run(s->log.commit);
	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_LOG, ret_trouble);
	s->log.durable = b->durable;
	s->log.tail = b->tail;
	if (!b->promise_changed && ballot_equal(file->promised, b->durable.promised) &&
	    file->longest_lease_ns == b->durable.longest_lease_ns)
		return ERROR_OK;
	b->promise_changed = true;
	return promise_write(&s->promise, b->durable.promised, b->durable.longest_lease_ns,
			     ret_trouble);
}

/* The values of the batch in one array, for the replica's thread; NULL if there are none. */
static struct value **gather_values(const struct queued_write *batch, uint64_t rows)
{
	struct value **values;
	uint64_t n = 0;

	if (rows == 0)
		return NULL;
	values = mem_realloc_array(NULL, rows, sizeof(*values));
	for (const struct queued_write *q = batch; q != NULL; q = q->next)
		for (uint32_t i = 0; i < q->accepted_count; i++)
			values[n++] = q->accepted[i].value;
	CHECK(n == rows);
	return values;
}

/* Marks the batch as done and returns the number up to which all is durable. */
static uint64_t finish_batch(struct store *s, const struct log_work *work,
			     const struct log_batch *b)
{
	struct store_shared *sh = &s->shared;
	uint64_t number = 0;

	for (const struct queued_write *q = work->batch; q != NULL; q = q->next)
		number = q->number;
	pthread_mutex_lock(&sh->mutex);
	sh->batch = NULL;
	sh->pending -= b->writes;
	if (number != 0)
		sh->persisted = number;
	sh->synced = b->tail.newest;
	sh->counters.log_commits++;
	sh->counters.log_rows += b->rows;
	sh->counters.log_bytes += b->value_bytes;
	sh->counters.promise_syncs += b->promise_changed;
	sh->counters.trimmed = b->tail.trimmed;
	if (sh->save != NULL && sh->state_sleeps)
		pthread_cond_signal(&sh->state_wake);
	pthread_mutex_unlock(&sh->mutex);
	return number;
}

static void report(struct store *s, const struct log_work *work, const struct log_batch *b,
		   struct slot trimmed_before)
{
	const struct store_callbacks *to = &s->callbacks;
	struct value **values = gather_values(work->batch, b->rows);
	struct queued_write *q = work->batch;
	uint64_t number = finish_batch(s, work, b);

	if (number != 0)
		to->log_persisted(to->context, number, b->writes);
	if (values != NULL)
		to->values_done(to->context, values, (uint32_t)b->rows);
	if (b->tail.trimmed.n > trimmed_before.n)
		to->trimmed(to->context, b->tail.trimmed);
	while (q != NULL) {
		struct queued_write *next = q->next;

		free(q);
		q = next;
	}
}

static int count_frames(void *context, sqlite3 *db, const char *name, int frames)
{
	struct store *s = context;

	(void)db;
	(void)name;
	s->log.wal_frames = frames;
	return SQLITE_OK;
}

int store_checkpoint(sqlite3 *db)
{
	int rc = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

	/* Somebody is in the way: the next one copies what is left. */
	return rc == SQLITE_BUSY || rc == SQLITE_LOCKED ? SQLITE_OK : rc;
}

static int tend_wal(struct store *s)
{
	struct store_shared *sh = &s->shared;
	bool finish = false;

	pthread_mutex_lock(&sh->mutex);
	if (sh->checkpoint == CHECKPOINT_COPIED) {
		finish = true;
		sh->checkpoint = CHECKPOINT_IDLE;
	} else if (sh->checkpoint == CHECKPOINT_IDLE &&
		   s->log.wal_frames >= STORE_CHECKPOINT_FRAMES) {
		sh->checkpoint = CHECKPOINT_WANTED;
		if (sh->state_sleeps)
			pthread_cond_signal(&sh->state_wake);
	}
	pthread_mutex_unlock(&sh->mutex);
	if (!finish)
		return SQLITE_OK;
	s->log.wal_frames = 0; /* until the next commit tells */
	return store_checkpoint(s->log.db);
}

static enum error do_work(struct store *s, const struct log_work *work, char **ret_trouble)
{
	struct slot trimmed_before = s->log.tail.trimmed;
	struct log_batch b = {.durable = s->log.durable, .tail = s->log.tail};
	enum error e = commit_batch(s, work, &b, ret_trouble);
	int rc;

	if (e != ERROR_OK)
		return e;
	report(s, work, &b, trimmed_before);
	rc = tend_wal(s);
	if (rc == SQLITE_OK && work->trim && work->batch == NULL)
		rc = trim_vacuum(s);
	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_LOG, ret_trouble);
	return ERROR_OK;
}

void *log_thread_main(void *store)
{
	struct store *s = store;
	struct store_shared *sh = &s->shared;

	pthread_setname_np(pthread_self(), "store-log");
	sqlite3_wal_hook(s->log.db, count_frames, s);
	for (;;) {
		struct log_work work = take_work(s);
		char *trouble = NULL;
		enum error e;

		if (work.leave)
			break;
		e = do_work(s, &work, &trouble);
		if (e != ERROR_OK)
			store_fail(s, e, trouble);
	}
	sqlite3_wal_hook(s->log.db, NULL, NULL);
	pthread_mutex_lock(&sh->mutex);
	sh->log_done = true;
	pthread_cond_signal(&sh->state_wake);
	pthread_mutex_unlock(&sh->mutex);
	return NULL;
}
