/*
 * Who is master? (Chubby section 2.2.) Any replica tells; one that knows of none holds the
 * question. Used without a link, and beside one that has fallen silent.
 */
#include "session_internal.h"

#include <stdio.h>
#include <string.h>

#define ASKED_AT_ONCE 2u
#define ASK_NEXT_NS (200 * NS_PER_MS)
#define AGAIN_NS (200 * NS_PER_MS)
#define AGAIN_LATER_NS (1 * NS_PER_S)
#define AGAIN_SOON 40u

static int64_t retry_ns(struct session *s)
{
	return s->now_ns + rng_between(&s->rng, 50 * NS_PER_MS, 150 * NS_PER_MS);
}

bool server_learn(struct session *s, struct bytes address, uint32_t *ret_server)
{
	struct server *v;

	if (address.size == 0 || address.size >= sizeof(v->address) ||
	    memchr(address.data, 0, address.size) != NULL)
		return false;
	for (uint32_t i = 0; i < s->server_count; i++) {
		if (bytes_equal(bytes_of_text(s->servers[i].address), address)) {
			*ret_server = i;
			return true;
		}
	}
	if (s->server_count == SESSION_SERVERS_MAX)
		return false;
	v = &s->servers[s->server_count];
	memset(v, 0, sizeof(*v));
	memcpy(v->address, address.data, address.size);
	v->ask_at_ns = TIME_NEVER;
	*ret_server = s->server_count++;
	return true;
}

/* In random order: two at once, the others each a little later unless somebody has answered. */
void find_begin(struct session *s)
{
	uint32_t order[SESSION_SERVERS_MAX], asked = 0;

	if (s->seeking)
		return;
	s->seeking = true;
	s->named_again = 0;
	for (uint32_t i = 0; i < s->server_count; i++) {
		uint32_t j = (uint32_t)rng_below(&s->rng, i + 1);

		order[i] = order[j];
		order[j] = i;
	}
	for (uint32_t i = 0; i < s->server_count; i++) {
		struct server *v = &s->servers[order[i]];

		v->ask_at_ns = TIME_NEVER;
		v->tried = false;
		/* Nobody asks the silent one about itself. */
		if (s->link_state != LINK_NONE && order[i] == s->link_server)
			continue;
		if (s->now_ns < v->avoid_until_ns) {
			v->ask_at_ns = s->now_ns + ASK_NEXT_NS;
			continue;
		}
		v->ask_at_ns = s->now_ns;
		if (asked >= ASKED_AT_ONCE)
			v->ask_at_ns += ASK_NEXT_NS * (asked - ASKED_AT_ONCE + 1);
		asked++;
	}
	find_tick(s);
}

void find_end(struct session *s)
{
	s->seeking = false;
	for (uint32_t i = 0; i < s->server_count; i++) {
		s->servers[i].question = 0; /* an answer that is under way will not be known */
		s->servers[i].ask_at_ns = TIME_NEVER;
	}
}

void find_tick(struct session *s)
{
	if (!s->seeking)
		return;
	for (uint32_t i = 0; i < s->server_count; i++) {
		struct server *v = &s->servers[i];
		struct session_action *a;

		if (v->question != 0 || s->now_ns < v->ask_at_ns)
			continue;
		v->question = ++s->last_id;
		v->ask_at_ns = TIME_NEVER;
		a = action_add(s, SESSION_ASK);
		a->server = i;
		a->question = v->question;
		a->request.kind = MESSAGE_FIND_MASTER;
		a->request.cell = s->config.cell;
		a->request.find_master.wait_ns = SESSION_QUESTION_HOLD_NS;
	}
}

int64_t find_next_tick(const struct session *s)
{
	int64_t at_ns = TIME_NEVER;

	for (uint32_t i = 0; s->seeking && i < s->server_count; i++) {
		if (s->servers[i].question == 0)
			at_ns = time_earlier(at_ns, s->servers[i].ask_at_ns);
	}
	return at_ns;
}

/* One that cannot answer passes its turn to the next. */
static void ask_another(struct session *s)
{
	struct server *next = NULL;

	for (uint32_t i = 0; i < s->server_count; i++) {
		struct server *v = &s->servers[i];

		if (v->question == 0 && !v->tried && v->ask_at_ns != TIME_NEVER &&
		    (next == NULL || v->ask_at_ns < next->ask_at_ns))
			next = v;
	}
	if (next != NULL)
		next->ask_at_ns = s->now_ns;
}

static void master_named(struct session *s, struct server *teller, uint32_t master)
{
	if (s->link_state != LINK_NONE && master == s->link_server) {
		/* Still the silent one. An election is over within a second or two; after that it
		 * is probably slow, not gone, and others are asked less often. */
		int64_t pause_ns = s->named_again < AGAIN_SOON ? AGAIN_NS : AGAIN_LATER_NS;

		s->named_again++;
		teller->ask_at_ns = s->now_ns + rng_between(&s->rng, pause_ns / 2, pause_ns);
		return;
	}
	if (s->now_ns < s->servers[master].avoid_until_ns) {
		/* It was none a moment ago: the teller has not heard yet. */
		teller->ask_at_ns = s->servers[master].avoid_until_ns;
		return;
	}
	link_open(s, master);
}

void session_answer(struct session *s, int64_t now_ns, uint64_t question, bool answered,
		    const struct reply *r)
{
	struct server *v = NULL;
	uint32_t master = 0, index;

	session_tick(s, now_ns);
	for (uint32_t i = 0; i < s->server_count; i++) {
		if (s->servers[i].question == question && question != 0)
			v = &s->servers[i];
	}
	if (v == NULL)
		return;
	v->question = 0;
	v->tried = true;
	v->answered = answered;
	if (r->error == ERROR_WRONG_CELL && s->state == SESSION_CONNECTING) {
		session_refuse(s, r);
		return;
	}
	if (r->error != ERROR_OK || r->kind != MESSAGE_FIND_MASTER) {
		v->ask_at_ns = retry_ns(s);
		ask_another(s);
		find_tick(s);
		return;
	}
	for (uint32_t i = 0; i < r->find_master.server_count; i++)
		(void)server_learn(s, r->find_master.servers[i], &index);
	if (r->epoch.n < s->epoch.n || !server_learn(s, r->find_master.address, &master)) {
		v->ask_at_ns = retry_ns(s); /* behind: it will know soon */
		return;
	}
	master_named(s, v, master);
}

void find_hint(struct session *s, struct bytes address)
{
	uint32_t master;

	if (s->link_state == LINK_NONE && s->seeking && server_learn(s, address, &master) &&
	    s->now_ns >= s->servers[master].avoid_until_ns)
		link_open(s, master);
}

const char *session_server(const struct session *s, uint32_t server)
{
	CHECK(server < s->server_count);
	return s->servers[server].address;
}

void session_trouble(const struct session *s, char *text, size_t size_bytes)
{
	uint32_t answering = 0;
	int used;

	for (uint32_t i = 0; i < s->server_count; i++)
		answering += s->servers[i].answered ? 1 : 0;
	used = snprintf(text, size_bytes, "no master: %u of %u servers answer", answering,
			s->server_count);
	if (used > 0 && (size_t)used < size_bytes)
		snprintf(text + used, size_bytes - (size_t)used,
			 answering == 0
				 ? "; is the cell running, and is %s right?"
				 : "; a majority of the replicas must run and reach each other"
				   " (first server: %s)",
			 s->servers[0].address);
}
