/*
 * Gathers what the host must do.
 *
 * All that one turn of the host's loop wants durable is one write. Answers that claim something
 * durable are held here until their write is: nothing else decides when they leave, so I2 is
 * kept in one place.
 */
#include "paxos_internal.h"

#include <stdarg.h>
#include <stdio.h>

struct gather *gather_current(struct paxos *p)
{
	return &p->gathers[p->filling];
}

void gather_release(struct gather *g)
{
	for (uint32_t i = 0; i < g->message_count; i++)
		paxos_message_release(&g->messages[i].message);
	free(g->messages);
	for (uint32_t i = 0; i < g->write.accepted_count; i++)
		value_unref(g->write.accepted[i].value);
	free(g->write.accepted);
	for (uint32_t i = 0; i < g->chosen_count; i++)
		value_unref(g->chosen[i].value);
	free(g->chosen);
	*g = (struct gather){0};
}

static struct paxos_message message_begin(const struct paxos *p, enum paxos_kind kind)
{
	return (struct paxos_message){
		.kind = kind,
		.incarnation = p->config.incarnation,
		.chosen = p->durable.chosen,
	};
}

static struct paxos_envelope *gather_add_message(struct gather *g)
{
	if (g->message_count == g->message_capacity) {
		g->message_capacity = g->message_capacity == 0 ? 8 : g->message_capacity * 2;
		g->messages = mem_realloc_array(g->messages, g->message_capacity,
						sizeof(g->messages[0]));
	}
	return &g->messages[g->message_count++];
}

/* The message may be filled in until the next one is sent. */
struct paxos_message *send_now(struct paxos *p, uint32_t member, enum paxos_kind kind)
{
	CHECK(member != p->self);
	CHECK(!p->storage_failed);

	struct paxos_envelope *envelope = gather_add_message(gather_current(p));
	envelope->to = member_id(p, member);
	envelope->message = message_begin(p, kind);
	return &envelope->message;
}

struct paxos_message *send_after(struct paxos *p, uint64_t number, uint32_t member,
				 enum paxos_kind kind)
{
	CHECK(number <= p->sealed + 1);
	if (number <= p->persisted)
		return send_now(p, member, kind);

	CHECK(member != p->self);
	if (p->held_count == HELD_MAX) {
		/* The oldest answer counts as lost on the way; whoever waits for it asks again. */
		paxos_message_release(&p->held[0].envelope.message);
		p->held_count--;
		for (uint32_t i = 0; i < p->held_count; i++)
			p->held[i] = p->held[i + 1];
	}
	if (p->held_count == p->held_capacity) {
		p->held_capacity = p->held_capacity == 0 ? 16 : p->held_capacity * 2;
		p->held = mem_realloc_array(p->held, p->held_capacity, sizeof(p->held[0]));
	}
	struct held *held = &p->held[p->held_count++];
	held->number = number;
	held->envelope.to = member_id(p, member);
	held->envelope.message = message_begin(p, kind);
	return &held->envelope.message;
}

/* Lets go, in their order, the messages whose write is durable. */
void output_release_held(struct paxos *p)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < p->held_count; i++) {
		if (p->held[i].number > p->persisted) {
			p->held[kept++] = p->held[i];
			continue;
		}
		*gather_add_message(gather_current(p)) = p->held[i].envelope;
	}
	p->held_count = kept;
}

/* The store failed: what waits for a write waits for ever. */
void output_drop_unwritten(struct paxos *p)
{
	struct gather *g = gather_current(p);

	for (uint32_t i = 0; i < p->held_count; i++)
		paxos_message_release(&p->held[i].envelope.message);
	p->held_count = 0;
	for (uint32_t i = 0; i < g->write.accepted_count; i++)
		value_unref(g->write.accepted[i].value);
	free(g->write.accepted);
	g->write = (struct paxos_write){0};
	g->row_capacity = 0;
	g->write_open = false;
}

uint64_t write_touch(struct paxos *p)
{
	CHECK(!p->storage_failed);
	gather_current(p)->write_open = true;
	return p->sealed + 1;
}

uint64_t write_row(struct paxos *p, struct slot slot, struct ballot ballot, struct value *value)
{
	struct gather *g = gather_current(p);
	uint64_t number = write_touch(p);

	if (g->write.accepted_count == g->row_capacity) {
		g->row_capacity = g->row_capacity == 0 ? 8 : g->row_capacity * 2;
		g->write.accepted = mem_realloc_array(g->write.accepted, g->row_capacity,
						      sizeof(g->write.accepted[0]));
	}
	g->write.accepted[g->write.accepted_count++] = (struct paxos_accepted){
		.slot = slot,
		.ballot = ballot,
		.value = value_ref(value),
	};
	return number;
}

uint64_t write_promise(struct paxos *p)
{
	uint64_t number = write_touch(p);

	gather_current(p)->write.promise_changed = true;
	p->promise_write = number;
	return number;
}

bool write_room(const struct paxos *p)
{
	/* One may be open, and a few may come from calls that cannot be refused. */
	return p->sealed - p->persisted < WRITES_MAX - 8;
}

int64_t write_oldest_ns(const struct paxos *p)
{
	if (p->sealed == p->persisted)
		return TIME_NEVER;
	return p->issued[(p->persisted + 1) % WRITES_MAX].issued_ns;
}

static void write_seal(struct paxos *p, struct gather *g)
{
	if (!g->write_open)
		return;
	CHECK(p->sealed - p->persisted < WRITES_MAX);
	p->sealed++;
	g->write.number = p->sealed;
	g->write.durable = p->durable;
	p->issued[p->sealed % WRITES_MAX] = (struct issued){p->now_ns, p->durable.chosen};
	p->written_ns = p->now_ns;
}

/* Takes over the reference to `value`. */
void output_choose(struct paxos *p, struct slot slot, struct ballot ballot, struct value *value)
{
	struct gather *g = gather_current(p);

	CHECK(slot.n == p->durable.chosen.n + 1);
	if (g->chosen_count == g->chosen_capacity) {
		g->chosen_capacity = g->chosen_capacity == 0 ? 8 : g->chosen_capacity * 2;
		g->chosen = mem_realloc_array(g->chosen, g->chosen_capacity, sizeof(g->chosen[0]));
	}
	g->chosen[g->chosen_count++] = (struct paxos_accepted){slot, ballot, value};
	p->durable.chosen = slot;
}

void output_serve(struct paxos *p, uint32_t member, struct slot from)
{
	struct paxos_output *view = &gather_current(p)->view;
	struct replica_id to = member_id(p, member);
	uint32_t i = 0;

	while (i < view->serve_count && !replica_equal(view->serve_log[i].to, to))
		i++;
	CHECK(i < MEMBERS_MAX);
	CHECK(from.n <= p->persisted_chosen.n);
	view->serve_log[i] = (struct paxos_serve){to, from, p->persisted_chosen};
	if (i == view->serve_count)
		view->serve_count++;
}

void output_note(struct paxos *p, const char *format, ...)
{
	va_list arguments;
	struct gather *g = gather_current(p);

	va_start(arguments, format);
	(void)vsnprintf(g->note, sizeof(g->note), format, arguments);
	va_end(arguments);
}

void output_note_minor(struct paxos *p, const char *format, ...)
{
	va_list arguments;
	struct gather *g = gather_current(p);

	if (g->note[0] != '\0')
		return;
	va_start(arguments, format);
	(void)vsnprintf(g->note, sizeof(g->note), format, arguments);
	va_end(arguments);
}

const struct paxos_output *paxos_output(struct paxos *p)
{
	/* Commands of one turn of the loop go together, so values are made only here. */
	proposer_pump(p);

	struct gather *full = gather_current(p);
	write_seal(p, full);
	full->view.write_count = full->write_open ? 1 : 0;
	full->view.writes = &full->write;
	full->view.message_count = full->message_count;
	full->view.messages = full->messages;
	full->view.chosen_count = full->chosen_count;
	full->view.chosen = full->chosen;
	full->view.note = full->note[0] != '\0' ? full->note : NULL;

	p->filling = 1 - p->filling;
	gather_release(gather_current(p));
	return &full->view;
}
