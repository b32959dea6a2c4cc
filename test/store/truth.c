/* What may be found, and whether it was. */
#include "truth.h"

#include "base/check.h"
#include "base/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Text that outlives the call. */
static const char *wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *wrong(const char *format, ...)
{
	static char text[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	return text;
}

typedef unsigned long long ull;

void truth_init(struct truth *t, struct digest genesis)
{
	*t = (struct truth){.whole = true};
	truth_saves(t, 0, genesis);
}

void truth_release(struct truth *t)
{
	free(t->rows.rows);
	free(t->writes);
	*t = (struct truth){0};
}

/* ---- values --------------------------------------------------------------------------------- */

struct ballot truth_ballot(uint64_t round)
{
	return (struct ballot){round, {round == 0 ? 0 : 2}, {round == 0 ? 0 : 3, 0}};
}

/* Most are small, some span pages. */
static size_t padding_of(uint64_t slot, uint64_t round)
{
	uint64_t words[2] = {slot, round};
	uint64_t mixed = bytes_hash((struct bytes){(const uint8_t *)words, sizeof(words)});

	if (mixed % 16 < 12)
		return mixed / 16 % 250;
	return mixed / 16 % (mixed % 16 == 15 ? 20000 : 5000);
}

struct value *truth_value(uint64_t slot, uint64_t round)
{
	size_t size = 16 + padding_of(slot, round);
	uint8_t *command = mem_alloc(size);
	struct value_builder b;
	struct value *v;
	bool fits;

	memset(command, (int)(slot + round), size);
	memcpy(command, &slot, 8);
	memcpy(command + 8, &round, 8);
	value_builder_init(&b);
	fits = value_builder_add(&b, (struct bytes){command, size});
	CHECK(fits);
	v = value_builder_finish(&b);
	value_builder_release(&b);
	free(command);
	return v;
}

/* ---- rows ----------------------------------------------------------------------------------- */

static void rows_put(struct truth_rows *rows, struct truth_row row)
{
	size_t at = rows->count;

	while (at > 0 && rows->rows[at - 1].slot > row.slot)
		at--;
	if (at > 0 && rows->rows[at - 1].slot == row.slot) {
		rows->rows[at - 1] = row;
		return;
	}
	if (rows->count == rows->capacity) {
		rows->capacity = rows->capacity == 0 ? 64 : 2 * rows->capacity;
		rows->rows = mem_realloc_array(rows->rows, rows->capacity, sizeof(row));
	}
	memmove(rows->rows + at + 1, rows->rows + at, (rows->count - at) * sizeof(row));
	rows->rows[at] = row;
	rows->count++;
}

static void rows_trim(struct truth_rows *rows, uint64_t through)
{
	size_t gone = 0;

	while (gone < rows->count && rows->rows[gone].slot <= through)
		gone++;
	rows->count -= gone;
	if (gone > 0)
		memmove(rows->rows, rows->rows + gone, rows->count * sizeof(rows->rows[0]));
}

void truth_wrote(struct truth *t, const struct truth_write *w)
{
	if (t->write_count == t->write_capacity) {
		t->write_capacity = t->write_capacity == 0 ? 64 : 2 * t->write_capacity;
		t->writes = mem_realloc_array(t->writes, t->write_capacity, sizeof(*w));
	}
	t->writes[t->write_count++] = *w;
	if (t->record != NULL) {
		CHECK(t->record->write_count < TRUTH_RECORD_WRITES_MAX);
		t->record->writes[t->record->write_count++] = *w;
	}
}

void truth_saves(struct truth *t, uint64_t slot, struct digest digest)
{
	CHECK(t->save_count < TRUTH_SAVES_MAX);
	t->saves[t->save_count++] = (struct truth_save){slot, digest};
	if (t->record != NULL)
		t->record->saves[t->record->save_count++] = (struct truth_save){slot, digest};
}

const struct paxos_durable *truth_durable(const struct truth *t)
{
	return t->write_count > 0 ? &t->writes[t->write_count - 1].durable : &t->durable;
}

uint64_t truth_newest(const struct truth *t)
{
	uint64_t newest = t->rows.count > 0 ? t->rows.rows[t->rows.count - 1].slot : 0;

	if (newest < t->durable.trimmed.n)
		newest = t->durable.trimmed.n;
	for (size_t i = 0; i < t->write_count; i++)
		for (uint32_t j = 0; j < t->writes[i].row_count; j++)
			if (t->writes[i].rows[j].slot > newest)
				newest = t->writes[i].rows[j].slot;
	return newest;
}

/* ---- the check ------------------------------------------------------------------------------ */

/* Brings the truth to write `number`, and forgets what came after it. */
static const char *go_to(struct truth *t, uint64_t number)
{
	uint64_t last = t->write_count > 0 ? t->writes[t->write_count - 1].number : t->number;

	if (number < t->acknowledged)
		return wrong("the log ends at write %llu, but %llu was acknowledged", (ull)number,
			     (ull)t->acknowledged);
	if (number < t->number)
		return wrong("the log ends at write %llu, but an earlier start found %llu",
			     (ull)number, (ull)t->number);
	if (number > last)
		return wrong("the log ends at write %llu, but the last was %llu", (ull)number,
			     (ull)last);
	for (size_t i = 0; i < t->write_count && t->writes[i].number <= number; i++) {
		for (uint32_t j = 0; j < t->writes[i].row_count; j++)
			rows_put(&t->rows, t->writes[i].rows[j]);
		/* What the log was trimmed to is no word of the writer's. */
		t->writes[i].durable.trimmed = t->durable.trimmed;
		t->durable = t->writes[i].durable;
	}
	t->number = t->acknowledged = number;
	t->write_count = 0;
	return NULL;
}

static const char *check_durable(const struct truth *t, const struct paxos_durable *found)
{
	if (!ballot_equal(found->promised, t->durable.promised))
		return wrong("round %llu is promised, not %llu", (ull)found->promised.round,
			     (ull)t->durable.promised.round);
	if (found->longest_lease_ns != t->durable.longest_lease_ns)
		return wrong("the longest lease is another one");
	if (found->chosen.n < t->durable.chosen.n)
		return wrong("chosen went back from %llu to %llu", (ull)t->durable.chosen.n,
			     (ull)found->chosen.n);
	if (found->trimmed.n < t->durable.trimmed.n)
		return wrong("trimmed went back from %llu to %llu", (ull)t->durable.trimmed.n,
			     (ull)found->trimmed.n);
	return NULL;
}

static const char *check_row(const struct truth_row *expected, const struct paxos_accepted *found)
{
	struct value *v;
	bool same;

	if (found->slot.n != expected->slot)
		return wrong("slot %llu stands where %llu is expected", (ull)found->slot.n,
			     (ull)expected->slot);
	if (!ballot_equal(found->ballot, truth_ballot(expected->round)))
		return wrong("slot %llu is accepted in round %llu, not %llu", (ull)found->slot.n,
			     (ull)found->ballot.round, (ull)expected->round);
	v = truth_value(expected->slot, expected->round);
	same = value_equal(v, found->value);
	value_unref(v);
	return same ? NULL : wrong("slot %llu has another value", (ull)found->slot.n);
}

static const char *check_rows(const struct truth *t, struct store *s)
{
	struct slot first = {1}, last = {INT64_MAX};
	struct store_slots slots;
	const char *text = NULL;

	if (store_read_log(s, first, last, SIZE_MAX, &slots) != ERROR_OK)
		return "the log cannot be read";
	if (slots.count != t->rows.count)
		text = wrong("the log has %u rows, not %zu", slots.count, t->rows.count);
	for (size_t i = 0; i < slots.count && text == NULL; i++)
		text = check_row(&t->rows.rows[i], &slots.entries[i]);
	store_slots_release(&slots);
	return text;
}

/* Accepted above `chosen`, as paxos gets it. */
static const char *check_tail(const struct truth *t, const struct paxos_recovered *r)
{
	size_t below = 0;

	while (below < t->rows.count && t->rows.rows[below].slot <= r->durable.chosen.n)
		below++;
	if (r->tail_count != t->rows.count - below)
		return wrong("paxos is told of %u accepted slots, not %zu", r->tail_count,
			     t->rows.count - below);
	for (uint32_t i = 0; i < r->tail_count; i++) {
		const char *text = check_row(&t->rows.rows[below + i], &r->tail[i]);

		if (text != NULL)
			return text;
	}
	return NULL;
}

static const char *check_memory(struct truth *t, enum paxos_memory memory, const char *trouble)
{
	if (memory == PAXOS_MEMORY_LOST)
		return wrong("the memory counts as lost: %s", trouble);
	if (memory == PAXOS_MEMORY_DOUBTFUL && t->whole && !t->doubtful)
		return wrong("doubt after a clean end: %s", trouble);
	if (memory == PAXOS_MEMORY_WHOLE && t->doubt)
		return "a doubt was forgotten";
	t->doubt = t->doubtful = memory == PAXOS_MEMORY_DOUBTFUL;
	t->whole = false;
	return NULL;
}

static const char *check_state(struct truth *t, struct store *s, uint64_t applied_told,
			       struct cell **ret_cell)
{
	char *trouble = NULL;
	struct cell *c = NULL;
	struct slot applied;
	const char *text = NULL;
	size_t i = 0;

	if (store_load(s, &c, &applied, &trouble) != ERROR_OK) {
		text = wrong("the state cannot be loaded: %s", trouble);
		free(trouble);
		return text;
	}
	while (i < t->save_count &&
	       (t->saves[i].slot != applied.n || t->saves[i].digest.high != cell_digest(c).high ||
		t->saves[i].digest.low != cell_digest(c).low))
		i++;
	if (i == t->save_count)
		text = wrong("the state of slot %llu was never saved like that", (ull)applied.n);
	else if (applied.n < t->acknowledged_state || applied.n != applied_told)
		text = wrong("the state is of slot %llu, but %llu was acknowledged", (ull)applied.n,
			     (ull)t->acknowledged_state);
	else if (applied.n < t->snapshot)
		text = wrong("the snapshot of slot %llu is not installed", (ull)t->snapshot);
	else if (applied.n < t->durable.trimmed.n)
		text = wrong("the log is trimmed up to %llu, beyond the state at %llu",
			     (ull)t->durable.trimmed.n, (ull)applied.n);
	if (text != NULL) {
		cell_free(c);
		return text;
	}
	t->saves[0] = t->saves[i];
	t->save_count = 1;
	t->acknowledged_state = applied.n;
	t->snapshot = 0;
	*ret_cell = c;
	return NULL;
}

static const char *check_recovered(struct truth *t, struct store *s,
				   const struct paxos_recovered *r, const char *trouble,
				   struct cell **ret_cell)
{
	const char *text = check_memory(t, r->memory, trouble);

	if (text == NULL)
		text = go_to(t, r->durable.seen_count > 0 ? r->durable.seen[0].from.n : 0);
	if (text == NULL)
		text = check_durable(t, &r->durable);
	if (text != NULL)
		return text;
	t->durable.trimmed = r->durable.trimmed;
	t->durable.chosen = r->durable.chosen;
	rows_trim(&t->rows, t->durable.trimmed.n);
	text = check_rows(t, s);
	if (text == NULL)
		text = check_tail(t, r);
	if (text == NULL)
		text = check_state(t, s, r->applied.n, ret_cell);
	return text;
}

const char *truth_check(struct truth *t, struct store *s, struct cell **ret_cell,
			enum paxos_memory *ret_memory)
{
	struct paxos_recovered r;
	char *trouble = NULL;
	const char *text;

	if (store_recover(s, &r, &trouble) != ERROR_OK) {
		text = wrong("the store does not recover: %s", trouble);
		free(trouble);
		*ret_memory = PAXOS_MEMORY_DOUBTFUL; /* it cannot tell */
		return text;
	}
	text = check_recovered(t, s, &r, trouble != NULL ? trouble : "", ret_cell);
	for (uint32_t i = 0; i < r.tail_count; i++)
		value_unref(r.tail[i].value);
	free(r.tail);
	free(trouble);
	*ret_memory = r.memory;
	return text;
}
