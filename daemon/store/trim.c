/*
 * Trimming: rows that the state has overtaken leave the log, a bounded number a transaction.
 *
 * What stays, for replicas that are behind: `keep_slots` slots and `keep_bytes` of values,
 * whichever is less; but nothing above the state goes, whatever it weighs.
 */
#include "store_internal.h"

/* Up to where rows may go by their number alone. */
static struct slot limit_by_slots(const struct store *s, struct slot state_slot)
{
	const struct log_tail *tail = &s->log.tail;
	uint64_t keep = s->options.keep_slots;
	uint64_t limit = tail->newest.n > keep ? tail->newest.n - keep : 0;

	/* After the install of a snapshot paxos says what goes. */
	if (limit > state_slot.n)
		limit = state_slot.n;
	if (limit < s->log.durable.trimmed.n)
		limit = s->log.durable.trimmed.n;
	return (struct slot){limit};
}

/* Waits for a handful, so that not every commit carries a row's deletion. */
bool trim_due(const struct store *s, struct slot state_slot)
{
	const struct log_tail *tail = &s->log.tail;
	uint64_t handful = s->options.keep_slots / 8 < STORE_TRIM_ROWS / 2
				   ? s->options.keep_slots / 8
				   : STORE_TRIM_ROWS / 2;

	if (limit_by_slots(s, state_slot).n > tail->trimmed.n + handful)
		return true;
	return tail->value_bytes > s->options.keep_bytes && state_slot.n > tail->trimmed.n;
}

/* What the scan found that may go. */
struct trim_scan {
	struct slot last;
	uint64_t count, value_bytes, sum;
	bool exhausted; /* no further row up to the limit */
};

static int scan(struct store *s, struct slot by_slots, struct slot limit, struct trim_scan *found)
{
	const struct log_tail *tail = &s->log.tail;
	sqlite3_stmt *rows = s->log.trim_scan;
	int rc = sqlite3_bind_int64(rows, 1, (int64_t)tail->trimmed.n);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(rows, 2, (int64_t)limit.n);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(rows, 3, STORE_TRIM_ROWS);
	if (rc != SQLITE_OK)
		return rc;
	while ((rc = sqlite3_step(rows)) == SQLITE_ROW) {
		struct slot slot = {(uint64_t)sqlite3_column_int64(rows, 0)};
		bool heavy = tail->value_bytes - found->value_bytes > s->options.keep_bytes;

		if ((slot.n > by_slots.n && !heavy) || found->value_bytes > STORE_TRIM_BYTES)
			break;
		found->last = slot;
		found->sum += (uint64_t)sqlite3_column_int64(rows, 1);
		found->value_bytes += (uint64_t)sqlite3_column_int64(rows, 2);
		found->count++;
	}
	found->exhausted = rc == SQLITE_DONE && found->count < STORE_TRIM_ROWS;
	sqlite3_reset(rows);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Inside a transaction, before its rows are written: `tail` is still the stored one. */
int trim_some(struct store *s, struct slot state_slot, struct log_tail *tail)
{
	struct slot by_slots = limit_by_slots(s, state_slot);
	struct slot limit = {by_slots.n > state_slot.n ? by_slots.n : state_slot.n};
	struct trim_scan found = {.last = s->log.tail.trimmed};
	int rc = scan(s, by_slots, limit, &found);

	/* Every row up to the limit goes: holes count as trimmed with what is around them. */
	if (found.exhausted)
		found.last = limit;
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s->log.trim, 1, (int64_t)tail->trimmed.n);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s->log.trim, 2, (int64_t)found.last.n);
	if (rc == SQLITE_OK)
		rc = db_run(s->log.trim);
	tail->trimmed = found.last;
	tail->count -= found.count;
	tail->value_bytes -= found.value_bytes;
	tail->sum -= found.sum;
	/* After a snapshot's install the log may be empty and begin above what it held. */
	if (tail->newest.n < tail->trimmed.n)
		tail->newest = tail->trimmed;
	return rc;
}

#define VACUUM_MIN_PAGES 1024

int trim_vacuum(struct store *s)
{
	int64_t pages = 0, free_pages = 0;
	int rc = db_number(s->log.db, "PRAGMA page_count", &pages);

	if (rc == SQLITE_OK)
		rc = db_number(s->log.db, "PRAGMA freelist_count", &free_pages);
	if (rc != SQLITE_OK || free_pages < VACUUM_MIN_PAGES || free_pages < pages / 2)
		return rc;
	return db_exec(s->log.db, "PRAGMA incremental_vacuum(256)");
}
