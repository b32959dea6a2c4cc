/*
 * The client's session core, fed with whatever servers, networks and applications do.
 *
 * Its invariants hold after each step, what it sends can be written, and every call is done once:
 * the last of them when the session is closed.
 */
#include "fuzz.h"

#include "session.h"
#include "wire/codec.h"

#define CALLS_MAX 256
#define SENT_MAX 64
#define QUESTIONS_MAX 16
#define STEPS_MAX 400
#define SERVERS 3

struct app_call {
	uint64_t id;
	enum message_kind kind;
	bool done;
};

struct sent {
	uint64_t call_id;
	enum message_kind kind;
};

struct life {
	struct session *s;
	int64_t now;
	uint64_t link;
	uint64_t handles; /* that the application has open */
	struct app_call calls[CALLS_MAX];
	uint32_t call_count;
	struct sent sent[SENT_MAX]; /* the newest */
	uint32_t sent_count;
	uint64_t questions[QUESTIONS_MAX];
	uint32_t question_count;
	struct arena arena; /* what requests and replies point to */
	struct buffer out;
};

static const char *const servers[SERVERS] = {"a:1", "b:2", "c:3"};

/* ---- what comes out ---- */

static void take_done(struct life *l, const struct session_action *a)
{
	struct app_call *call = a->context;

	CHECK(call >= l->calls && call < l->calls + l->call_count && !call->done);
	call->done = true;
	if (call->kind == MESSAGE_OPEN && a->reply.error == ERROR_OK)
		l->handles++;
}

static void take_action(struct life *l, const struct session_action *a)
{
	enum error e;

	switch (a->kind) {
	case SESSION_ASK:
		CHECK(a->server < SERVERS || session_server(l->s, a->server) != NULL);
		l->questions[l->question_count++ % QUESTIONS_MAX] = a->question;
		break;
	case SESSION_CONNECT:
		CHECK(l->link == 0);
		l->link = a->link;
		break;
	case SESSION_DISCONNECT:
		CHECK(l->link == a->link);
		l->link = 0;
		break;
	case SESSION_SEND:
		CHECK(l->link == a->link && a->call_id != 0);
		buffer_clear(&l->out);
		e = wire_encode_client_envelope(a->call_id, &a->request, &l->out);
		CHECK(e == ERROR_OK);
		l->sent[l->sent_count++ % SENT_MAX] = (struct sent){a->call_id, a->request.kind};
		break;
	case SESSION_DONE:
		take_done(l, a);
		break;
	case SESSION_NEWS:
		CHECK(a->state < SESSION_STATE_END);
		break;
	}
}

static void take(struct life *l)
{
	const struct session_action *actions;
	uint32_t count;
	char text[256];

	actions = session_actions(l->s, &count);
	for (uint32_t i = 0; i < count; i++)
		take_action(l, &actions[i]);
	session_actions_done(l->s);
	CHECK(session_invariants(l->s) == NULL);
	session_trouble(l->s, text, sizeof(text));
}

/* ---- what goes in ---- */

/* An answer of the kind: as it should be, a refusal, or as the input's bytes say. */
static struct reply any_reply(struct life *l, struct feed *f, enum message_kind kind)
{
	struct reply r = {.kind = kind, .epoch = {feed_below(f, 8)}}, decoded;
	uint8_t style = feed_below(f, 4), n = feed_byte(f);
	const char *trouble;

	if (style == 0)
		r.error = error_from_number(n);
	if (style == 1 && kind != MESSAGE_NONE &&
	    wire_decode_reply(kind, feed_run(f), &l->arena, &decoded, &trouble) == ERROR_OK)
		return decoded;
	if (style <= 1)
		return r;
	if (kind == MESSAGE_FIND_MASTER)
		r.find_master.address = bytes_of_text(servers[n % SERVERS]);
	if (kind == MESSAGE_CREATE_SESSION) {
		r.create_session.session.n = 1 + n % 3;
		r.create_session.lease_ns = n * NS_PER_S / 4;
	}
	if (kind == MESSAGE_KEEP_ALIVE) {
		r.keep_alive.left_ns = n * NS_PER_S / 8;
		r.keep_alive.held_ns = feed_byte(f) * NS_PER_MS;
	}
	if (kind == MESSAGE_OPEN)
		r.open.handle = bytes_of_text("handle");
	if (kind == MESSAGE_ACQUIRE)
		r.acquire.ticket = n % 4;
	if (kind == MESSAGE_ACQUIRE)
		r.acquire.grant.present = r.acquire.ticket == 0;
	if (kind == MESSAGE_WAIT || kind == MESSAGE_CANCEL)
		r.wait.grant.present = n & 1;
	if (kind == MESSAGE_WAIT_ENDED) {
		r.wait_ended.ticket = n % 4;
		r.wait_ended.grant.present = style == 2;
	}
	return r;
}

static void answer_question(struct life *l, struct feed *f)
{
	uint64_t question = l->questions[feed_below(f, QUESTIONS_MAX)];
	bool answered = feed_below(f, 8) != 0;
	struct reply r = any_reply(l, f, MESSAGE_FIND_MASTER);

	session_answer(l->s, l->now, question, answered, &r);
}

/* Mostly to what was sent last, on the link that there is. */
static void answer_call(struct life *l, struct feed *f)
{
	uint32_t back = feed_byte(f);
	uint64_t link = l->link - (back >= 250 ? 1 : 0);
	struct sent sent = l->sent[(l->sent_count + 2 * SENT_MAX - 1 - back % SENT_MAX) % SENT_MAX];
	struct reply r = any_reply(l, f, sent.kind);

	session_message(l->s, l->now, link, sent.call_id, &r);
}

static void send_envelope(struct life *l, struct feed *f)
{
	const char *trouble;
	struct reply r;
	uint64_t id;

	if (wire_decode_server_envelope(feed_run(f), &l->arena, &id, &r, &trouble) == ERROR_OK)
		session_message(l->s, l->now, l->link, id, &r);
}

static void push(struct life *l, struct feed *f)
{
	struct reply r = any_reply(l, f,
				   feed_below(f, 8) == 0 ? MESSAGE_SESSION_ENDED
							 : MESSAGE_WAIT_ENDED);

	session_message(l->s, l->now, l->link, 0, &r);
}

static void lose_link(struct life *l, struct feed *f)
{
	struct reply why = any_reply(l, f, MESSAGE_NONE);
	uint64_t link = l->link;

	session_link_lost(l->s, l->now, link, why.error == ERROR_OK ? NULL : &why);
	/* Nothing is wanted from it any more, and nothing is sent on it. */
	take(l);
	CHECK(link == 0 || l->link != link);
}

static void call(struct life *l, struct feed *f)
{
	static const enum message_kind kinds[] = {
		MESSAGE_OPEN,     MESSAGE_CLOSE,        MESSAGE_GET_CONTENTS_AND_STAT,
		MESSAGE_READ_DIR, MESSAGE_SET_CONTENTS, MESSAGE_DELETE,
		MESSAGE_ACQUIRE,  MESSAGE_ACQUIRE,      MESSAGE_RELEASE,
		MESSAGE_SET_ACL,  MESSAGE_MULTI,        MESSAGE_CHECK_SEQUENCER,
	};
	enum message_kind kind = kinds[feed_below(f, sizeof(kinds) / sizeof(kinds[0]))];
	uint8_t deadline = feed_byte(f), handle = feed_below(f, 4);
	struct app_call *c = &l->calls[l->call_count];
	struct request r = {.kind = kind};
	struct session_request q = {
		.request = &r,
		.deadline_ns = deadline < 64 ? TIME_NEVER : l->now + deadline * NS_PER_S / 32,
		.handle_number = handle,
		.context = c,
	};
	const char *trouble;

	if (l->call_count == CALLS_MAX || (kind == MESSAGE_CLOSE && l->handles == 0))
		return;
	if (wire_decode_request(kind, feed_run(f), &l->arena, &r, &trouble) != ERROR_OK)
		r = (struct request){.kind = kind};
	if (r.handle.size == 0)
		r.handle = (struct bytes){(const uint8_t *)"0123" + handle, 1};
	l->handles -= kind == MESSAGE_CLOSE ? 1 : 0;
	l->call_count++;
	c->kind = kind;
	c->id = session_call(l->s, l->now, &q);
}

static void pass_time(struct life *l, struct feed *f)
{
	int64_t next = session_next_tick(l->s), step = feed_number(f, 1);

	if (step < 128 && next != TIME_NEVER && next > l->now)
		l->now = next;
	else
		l->now += step * step * NS_PER_MS;
	session_tick(l->s, l->now);
}

static void step(struct life *l, struct feed *f)
{
	switch (feed_below(f, 16)) {
	case 0:
	case 1:
	case 2:
		pass_time(l, f);
		break;
	case 3:
	case 4:
	case 5:
		answer_question(l, f);
		break;
	case 6:
	case 7:
	case 8:
		answer_call(l, f);
		break;
	case 9:
		send_envelope(l, f);
		break;
	case 10:
		push(l, f);
		break;
	case 11:
		lose_link(l, f);
		break;
	case 12:
		session_cancel(l->s, l->now,
			       l->call_count == 0 ? feed_byte(f)
						  : l->calls[feed_byte(f) % l->call_count].id);
		break;
	case 13:
		session_poison(l->s, l->now, feed_below(f, 4));
		break;
	default:
		call(l, f);
		break;
	}
}

static void check_end(struct life *l)
{
	int64_t until = l->now + 5 * NS_PER_S;

	session_close(l->s, l->now, until);
	take(l);
	l->now = until + NS_PER_S;
	session_tick(l->s, l->now);
	take(l);
	CHECK(session_state(l->s) == SESSION_CLOSED || session_state(l->s) == SESSION_EXPIRED);
	for (uint32_t i = 0; i < l->call_count; i++)
		CHECK(l->calls[i].done);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	struct life *l = mem_zalloc(sizeof(*l));
	struct session_config config = {
		.cell = bytes_of_text("local"),
		.grace_ns = 45 * NS_PER_S,
		.connect_ns = 10 * NS_PER_S,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.seed = feed_byte(&f),
		.server_count = SERVERS,
		.servers = servers,
	};

	l->now = 1000 * NS_PER_S;
	arena_init(&l->arena, (size_t)16 << 20);
	buffer_init(&l->out, 2 * WIRE_MESSAGE_MAX_BYTES);
	l->s = session_new(&config, l->now);
	take(l);
	for (int i = 0; i < STEPS_MAX && f.left > 0; i++) {
		step(l, &f);
		take(l);
	}
	check_end(l);
	session_free(l->s);
	arena_release(&l->arena);
	buffer_release(&l->out);
	free(l);
	return 0;
}
