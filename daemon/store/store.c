/* The store's life: recovery, the calls of the replica's thread, start and close. */
#include "store_internal.h"

#include "base/clock.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Rows of one state write: the host saves at some 4 MiB; a single row is below 2 MiB. */
#define SAVE_MAX_BYTES ((size_t)1 << 30)

const struct store_identity *store_identity(const struct store *s)
{
	return &s->identity;
}

/* ---- recovery ------------------------------------------------------------------------------- */

static enum error read_tail(struct store *s, struct paxos_recovered *r, char **ret_trouble)
{
	struct slot from = slot_next(r->durable.chosen);
	struct store_slots slots;
	enum error e;

	if (from.n > s->log.tail.newest.n)
		return ERROR_OK;
	e = store_read_log(s, from, s->log.tail.newest, SIZE_MAX, &slots);
	if (e != ERROR_OK) {
		*ret_trouble = sentence("log.db: the accepted slots from %llu on cannot be read",
					(unsigned long long)from.n);
		return e;
	}
	r->tail_count = slots.count;
	r->tail = slots.entries;
	return ERROR_OK;
}

enum error store_recover(struct store *s, struct paxos_recovered *ret_recovered, char **ret_trouble)
{
	struct paxos_recovered r = {
		.durable = s->log.durable,
		.memory = s->memory,
		.applied = s->state.mark.slot,
		.newest = s->log.tail.newest,
	};
	enum error e = ERROR_OK;

	CHECK(!s->started);
	/* The stored watermark lags; what the state holds was chosen. */
	if (s->memory != PAXOS_MEMORY_LOST && s->state_trouble == NULL &&
	    r.durable.chosen.n < r.applied.n)
		r.durable.chosen = r.applied;
	if (s->memory != PAXOS_MEMORY_LOST)
		e = read_tail(s, &r, ret_trouble);
	if (e != ERROR_OK)
		return e;
	*ret_trouble = s->memory_trouble != NULL ? mem_strdup(s->memory_trouble) : NULL;
	*ret_recovered = r;
	return ERROR_OK;
}

/* ---- the replica's thread ------------------------------------------------------------------- */

static struct queued_write *copy_write(const struct paxos_write *w)
{
	struct queued_write *q = mem_alloc(sizeof(*q) + w->accepted_count * sizeof(q->accepted[0]));

	*q = (struct queued_write){
		.number = w->number,
		.queued_ns = clock_now_ns(),
		.promise_changed = w->promise_changed,
		.durable = w->durable,
		.accepted_count = w->accepted_count,
	};
	for (uint32_t i = 0; i < w->accepted_count; i++) {
		q->accepted[i] = w->accepted[i];
		value_ref(q->accepted[i].value);
	}
	return q;
}

static void free_writes(struct queued_write *q)
{
	while (q != NULL) {
		struct queued_write *next = q->next;

		for (uint32_t i = 0; i < q->accepted_count; i++)
			value_unref(q->accepted[i].value);
		free(q);
		q = next;
	}
}

void store_write(struct store *s, const struct paxos_write *w)
{
	struct store_shared *sh = &s->shared;
	struct queued_write *q;
	bool dropped;

	if (s->memory == PAXOS_MEMORY_LOST)
		return; /* what is lost stays as it is, and nothing is ever reported */
	CHECK(s->started);
	q = copy_write(w);
	pthread_mutex_lock(&sh->mutex);
	CHECK(w->number > sh->submitted);
	dropped = sh->failed;
	if (!dropped) {
		sh->submitted = w->number;
		sh->pending++;
		*sh->queue_end = q;
		sh->queue_end = &q->next;
		if (sh->log_sleeps)
			pthread_cond_signal(&sh->log_wake);
	}
	pthread_mutex_unlock(&sh->mutex);
	if (dropped)
		free_writes(q);
}

uint32_t store_pending(struct store *s, int64_t now_ns, int64_t *ret_oldest_ns)
{
	struct store_shared *sh = &s->shared;
	const struct queued_write *oldest;
	int64_t age_ns = 0;
	uint32_t pending;

	pthread_mutex_lock(&sh->mutex);
	oldest = sh->batch != NULL ? sh->batch : sh->queue;
	if (oldest != NULL && now_ns > oldest->queued_ns)
		age_ns = now_ns - oldest->queued_ns;
	pending = sh->pending;
	pthread_mutex_unlock(&sh->mutex);
	*ret_oldest_ns = age_ns;
	return pending;
}

/* True, and nothing else will claim it, when a state write may begin. */
static bool save_possible(struct store *s)
{
	struct store_shared *sh = &s->shared;
	bool possible;

	if (!s->started || s->memory == PAXOS_MEMORY_LOST || s->state.db == NULL)
		return false;
	pthread_mutex_lock(&sh->mutex);
	possible = sh->save == NULL && !sh->failed && !sh->closing;
	pthread_mutex_unlock(&sh->mutex);
	return possible;
}

bool store_save_state(struct store *s, struct cell *c, struct slot slot)
{
	struct store_shared *sh = &s->shared;
	struct state_save *save;
	struct row row;

	if (!save_possible(s))
		return false;
	save = mem_zalloc(sizeof(*save));
	save->mark = (struct state_mark){slot, cell_meta(c)->revision, cell_digest(c)};
	buffer_init(&save->rows, SAVE_MAX_BYTES);
	while (cell_dirty_next(c, &row)) {
		state_encode_row(&save->rows, &row);
		save->row_count++;
	}
	pthread_mutex_lock(&sh->mutex);
	/* The host starts the writes of a slot before it applies it: all that matter are queued. */
	save->after_write = sh->submitted;
	sh->save = save;
	if (sh->state_sleeps)
		pthread_cond_signal(&sh->state_wake);
	pthread_mutex_unlock(&sh->mutex);
	return true;
}

void store_vetted(struct store *s)
{
	pthread_mutex_lock(&s->shared.mutex);
	s->shared.vetted = true;
	pthread_mutex_unlock(&s->shared.mutex);
}

void store_counters(struct store *s, struct store_counters *ret_counters)
{
	pthread_mutex_lock(&s->shared.mutex);
	*ret_counters = s->shared.counters;
	pthread_mutex_unlock(&s->shared.mutex);
}

/* ---- failure, start, close ------------------------------------------------------------------ */

void store_fail(struct store *s, enum error e, char *trouble)
{
	struct store_shared *sh = &s->shared;
	bool first;

	pthread_mutex_lock(&sh->mutex);
	first = !sh->failed;
	sh->failed = true;
	pthread_cond_signal(&sh->log_wake);
	pthread_cond_signal(&sh->state_wake);
	pthread_mutex_unlock(&sh->mutex);
	if (first)
		s->callbacks.failed(s->callbacks.context, e, trouble);
	free(trouble);
}

/* Signals are the main thread's business. */
static enum error start_thread(pthread_t *ret_thread, void *(*body)(void *), struct store *s,
			       char **ret_trouble)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(ret_thread, NULL, body, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		return ERROR_OK;
	*ret_trouble = sentence("cannot start a storage thread: %s", strerror(error));
	return ERROR_RESOURCE_EXHAUSTED;
}

static void stop_thread(struct store *s, pthread_t thread)
{
	struct store_shared *sh = &s->shared;

	pthread_mutex_lock(&sh->mutex);
	sh->closing = true;
	pthread_cond_signal(&sh->log_wake);
	pthread_cond_signal(&sh->state_wake);
	pthread_mutex_unlock(&sh->mutex);
	pthread_join(thread, NULL);
}

enum error store_start(struct store *s, const struct store_callbacks *callbacks, char **ret_trouble)
{
	enum error e;

	CHECK(!s->started);
	s->callbacks = *callbacks;
	if (s->memory == PAXOS_MEMORY_LOST)
		return ERROR_OK;
	e = db_open(s->directory, STORE_FILE_LOG, false, &s->checkpointer, ret_trouble);
	if (e == ERROR_OK)
		e = start_thread(&s->log_thread, log_thread_main, s, ret_trouble);
	if (e != ERROR_OK)
		return e;
	e = start_thread(&s->state_thread, state_thread_main, s, ret_trouble);
	if (e != ERROR_OK) {
		stop_thread(s, s->log_thread);
		return e;
	}
	s->started = true;
	return ERROR_OK;
}

static void free_store(struct store *s)
{
	free_writes(s->shared.batch);
	free_writes(s->shared.queue);
	if (s->shared.save != NULL)
		buffer_release(&s->shared.save->rows);
	free(s->shared.save);
	pthread_cond_destroy(&s->shared.log_wake);
	pthread_cond_destroy(&s->shared.state_wake);
	pthread_mutex_destroy(&s->shared.mutex);
	pthread_mutex_destroy(&s->reader.mutex);
	free(s->memory_trouble);
	free(s->state_trouble);
	free(s->directory);
	free(s);
}

void store_close(struct store *s)
{
	bool tidy;

	if (s == NULL)
		return;
	if (s->started) {
		stop_thread(s, s->log_thread);
		stop_thread(s, s->state_thread);
	}
	/* The last connection to close empties the WAL, unless what is there must stay as it is. */
	tidy = s->memory != PAXOS_MEMORY_LOST && !s->shared.failed;
	sqlite3_finalize(s->reader.range);
	db_close(s->reader.db, false);
	db_close(s->checkpointer, false);
	log_finalize(&s->log);
	db_close(s->log.db, tidy);
	state_finalize(&s->state);
	db_close(s->state.db, tidy && s->state_trouble == NULL);
	promise_close(&s->promise);
	close(s->lock_fd);
	free_store(s);
}
