/* Ownership and names of messages. */
#include "paxos_internal.h"

void paxos_message_release(struct paxos_message *m)
{
	if (m == NULL)
		return;
	value_unref(m->value);
	m->value = NULL;
	for (uint32_t i = 0; i < m->accepted_count; i++)
		value_unref(m->accepted[i].value);
	free(m->accepted);
	m->accepted = NULL;
	m->accepted_count = 0;
}

const char *paxos_kind_name(enum paxos_kind kind)
{
	static const char *const names[PAXOS_KIND_END] = {
		[PAXOS_PROBE] = "PROBE",
		[PAXOS_PROBE_REPLY] = "PROBE_REPLY",
		[PAXOS_PREPARE] = "PREPARE",
		[PAXOS_PROMISE] = "PROMISE",
		[PAXOS_REFUSAL] = "REFUSAL",
		[PAXOS_ACCEPT] = "ACCEPT",
		[PAXOS_ACCEPTED] = "ACCEPTED",
		[PAXOS_HEARTBEAT] = "HEARTBEAT",
		[PAXOS_HEARTBEAT_ACK] = "HEARTBEAT_ACK",
		[PAXOS_RELEASE] = "RELEASE",
		[PAXOS_LEARN] = "LEARN",
		[PAXOS_GREET] = "GREET",
		[PAXOS_CHALLENGE] = "CHALLENGE",
		[PAXOS_GREET_STATE] = "GREET_STATE",
		[PAXOS_VERDICT] = "VERDICT",
	};

	if ((unsigned)kind >= PAXOS_KIND_END || names[kind] == NULL)
		return "UNKNOWN";
	return names[kind];
}

struct paxos_accepted *message_add_accepted(struct paxos_message *m, uint32_t *capacity)
{
	CHECK(m->accepted_count <= *capacity);
	if (m->accepted_count == *capacity) {
		*capacity = *capacity == 0 ? 8 : *capacity * 2;
		m->accepted = mem_realloc_array(m->accepted, *capacity, sizeof(m->accepted[0]));
	}
	struct paxos_accepted *row = &m->accepted[m->accepted_count++];
	*row = (struct paxos_accepted){0};
	return row;
}
