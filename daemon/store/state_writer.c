/*
 * The state thread: writes the cell's rows when log.db has synced what they rest on, and copies
 * log.db's write-ahead log into the database while commits go on.
 */
#include "store_internal.h"

struct state_work {
	struct state_save *save;
	bool checkpoint;
	bool leave;
};

/* State on the disk is never ahead of the log on the disk. */
static bool save_ready(const struct store_shared *sh)
{
	return sh->save != NULL && sh->persisted >= sh->save->after_write &&
	       sh->synced.n >= sh->save->mark.slot.n;
}

static struct state_work take_work(struct store *s)
{
	struct store_shared *sh = &s->shared;
	struct state_work work = {0};

	pthread_mutex_lock(&sh->mutex);
	while (!sh->failed && !save_ready(sh) && sh->checkpoint != CHECKPOINT_WANTED &&
	       !(sh->closing && sh->log_done)) {
		sh->state_sleeps = true;
		pthread_cond_wait(&sh->state_wake, &sh->mutex);
		sh->state_sleeps = false;
	}
	work.checkpoint = sh->checkpoint == CHECKPOINT_WANTED && !sh->closing;
	if (save_ready(sh))
		work.save = sh->save;
	work.leave = sh->failed || (work.save == NULL && sh->closing && sh->log_done);
	if (sh->closing)
		sh->checkpoint = CHECKPOINT_IDLE;
	pthread_mutex_unlock(&sh->mutex);
	return work;
}

static enum error save(struct store *s, struct state_save *save, char **ret_trouble)
{
	struct store_shared *sh = &s->shared;
	struct slot slot = save->mark.slot;
	int rc = state_write(&s->state, &s->identity, save);

	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_STATE, ret_trouble);
	pthread_mutex_lock(&sh->mutex);
	sh->save = NULL;
	sh->state_slot = slot;
	sh->counters.state_commits++;
	sh->counters.state_rows += save->row_count;
	sh->counters.state_slot = slot;
	if (sh->log_sleeps)
		pthread_cond_signal(&sh->log_wake); /* there may be something to trim */
	pthread_mutex_unlock(&sh->mutex);
	buffer_release(&save->rows);
	free(save);
	s->callbacks.state_persisted(s->callbacks.context, slot);
	return ERROR_OK;
}

static enum error checkpoint(struct store *s, char **ret_trouble)
{
	struct store_shared *sh = &s->shared;
	int rc = store_checkpoint(s->checkpointer);

	if (rc != SQLITE_OK)
		return db_error(rc, STORE_FILE_LOG, ret_trouble);
	pthread_mutex_lock(&sh->mutex);
	sh->checkpoint = CHECKPOINT_COPIED;
	pthread_mutex_unlock(&sh->mutex);
	return ERROR_OK;
}

void *state_thread_main(void *store)
{
	struct store *s = store;
	enum error e = ERROR_OK;

	pthread_setname_np(pthread_self(), "store-state");
	for (;;) {
		struct state_work work = take_work(s);
		char *trouble = NULL;

		if (work.leave)
			break;
		if (work.checkpoint)
			e = checkpoint(s, &trouble);
		if (e == ERROR_OK && work.save != NULL)
			e = save(s, work.save, &trouble);
		if (e != ERROR_OK)
			store_fail(s, e, trouble);
	}
	return NULL;
}
