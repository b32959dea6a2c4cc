#include "lin_model.h"

#include <stdlib.h>

#include "base/check.h"

void lin_model_init(struct lin_model *m, uint32_t parties)
{
	m->now = (struct lin_state){.known = true};
	m->parties = mem_zalloc((parties + 1) * sizeof(*m->parties));
}

void lin_model_release(struct lin_model *m)
{
	free(m->parties);
}

uint64_t lin_mix(uint64_t n)
{
	n += UINT64_C(0x9e3779b97f4a7c15);
	n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
	return n ^ n >> 31;
}

uint64_t lin_state_hash(const struct lin_state *s)
{
	uint64_t hash = lin_mix(s->number ^ (uint64_t)s->known << 63);

	hash = lin_mix(hash ^ ((uint64_t)s->mode << 8 | (uint64_t)s->barred << 4 | s->exists));
	hash = lin_mix(hash ^ s->holders_hash);
	return lin_mix(hash ^ s->value);
}

bool lin_is_of_locks(enum lin_verb verb)
{
	return verb <= LIN_UNBAR;
}

bool lin_only_looks(const struct lin_op *op)
{
	return op->outcome == LIN_NO || op->verb == LIN_CHECK || op->verb == LIN_READ;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static bool number_grows(struct lin_state *s, uint64_t told)
{
	if (told != 0 && told <= s->number)
		return false;
	s->known = told != 0;
	s->number = told != 0 ? told : s->number + 1;
	return true;
}

static bool number_is(struct lin_state *s, uint64_t told)
{
	if (told == 0)
		return true;
	if (s->known ? told != s->number : told < s->number)
		return false;
	s->number = told;
	s->known = true;
	return true;
}

/* ---- locks ---------------------------------------------------------------------------------- */

static uint64_t holder_hash(uint32_t who, uint64_t grant)
{
	return lin_mix(lin_mix(who) ^ grant);
}

static bool admits(const struct lin_state *s, bool shared)
{
	if (s->barred == LIN_EXCLUSIVE || (s->barred == LIN_SHARED && !shared))
		return false;
	return s->mode == LIN_FREE || (s->mode == LIN_SHARED && shared);
}

static bool acquire(struct lin_model *m, const struct lin_op *op, bool excused)
{
	struct lin_state *s = &m->now;
	struct lin_party *p = &m->parties[op->who];

	if (op->outcome == LIN_NO)
		return excused || !admits(s, op->shared);
	if (p->holds || p->dead > 0 || !admits(s, op->shared))
		return false;
	if (s->mode == LIN_FREE ? !number_grows(s, op->token) : !number_is(s, op->token))
		return false;
	s->mode = op->shared ? LIN_SHARED : LIN_EXCLUSIVE;
	s->holders++;
	p->holds = true;
	p->grant = op->grant;
	s->holders_hash ^= holder_hash(op->who, p->grant);
	return true;
}

static void hold_ends(struct lin_model *m, uint32_t who)
{
	struct lin_party *p = &m->parties[who];

	CHECK(p->holds && m->now.holders > 0);
	p->holds = false;
	m->now.holders_hash ^= holder_hash(who, p->grant);
	if (--m->now.holders == 0)
		m->now.mode = LIN_FREE;
}

static bool release(struct lin_model *m, const struct lin_op *op)
{
	if (op->outcome == LIN_NO)
		return !m->parties[op->who].holds;
	if (!m->parties[op->who].holds)
		return false;
	hold_ends(m, op->who);
	return true;
}

static bool check(struct lin_model *m, const struct lin_op *op)
{
	const struct lin_party *p = &m->parties[op->of];
	struct lin_state now = m->now;
	bool stands = p->holds && number_is(&now, op->token);
	bool unsure = (p->grant == 0) != (op->grant == 0) || op->token == 0 || !m->now.known;

	if (p->grant != 0 && op->grant != 0 && p->grant != op->grant)
		stands = false;
	if (op->outcome == LIN_NO)
		return !stands || unsure;
	if (stands)
		m->now = now;
	return stands;
}

static bool expire(struct lin_model *m, const struct lin_op *op)
{
	struct lin_party *p = &m->parties[op->who];

	if (op->outcome == LIN_UNKNOWN && p->dead > 0)
		return false;
	p->dead++;
	if (!p->holds)
		return true;
	if (op->delays && m->now.barred != LIN_EXCLUSIVE)
		m->now.barred = m->now.mode;
	hold_ends(m, op->who);
	return true;
}

static bool bar(struct lin_model *m, const struct lin_op *op)
{
	m->now.barred = op->shared ? LIN_SHARED : LIN_EXCLUSIVE;
	return true;
}

static bool unbar(struct lin_model *m)
{
	if (m->now.barred == LIN_FREE)
		return false;
	m->now.barred = LIN_FREE;
	return true;
}

/* ---- files ---------------------------------------------------------------------------------- */

static bool look(struct lin_state *s, const struct lin_op *op)
{
	if (op->outcome == LIN_NO)
		return !s->exists;
	return s->exists && s->value == op->value && number_is(s, op->generation);
}

static bool put(struct lin_state *s, const struct lin_op *op)
{
	s->value = op->value;
	return number_grows(s, op->generation);
}

static bool overwrite(struct lin_state *s, const struct lin_op *op)
{
	if (op->outcome == LIN_NO)
		return !s->exists;
	return s->exists && put(s, op);
}

static bool compare_and_set(struct lin_state *s, const struct lin_op *op)
{
	if (op->outcome != LIN_NO)
		return s->exists && number_is(s, op->expected) && put(s, op);
	if (!s->exists || op->generation == op->expected)
		return false;
	return number_is(s, op->generation) && (!s->known || s->number != op->expected);
}

static bool create(struct lin_state *s, const struct lin_op *op)
{
	if (op->outcome == LIN_NO)
		return s->exists;
	if (s->exists)
		return false;
	s->exists = true;
	return put(s, op);
}

static bool delete_file(struct lin_state *s, const struct lin_op *op)
{
	if (op->outcome == LIN_NO)
		return !s->exists;
	if (!s->exists)
		return false;
	s->exists = false;
	s->value = 0;
	return true;
}

/* ---- both ----------------------------------------------------------------------------------- */

static bool happens(struct lin_model *m, const struct lin_op *op, bool excused)
{
	switch (op->verb) {
	case LIN_ACQUIRE:
		return acquire(m, op, excused);
	case LIN_RELEASE:
		return release(m, op);
	case LIN_CHECK:
		return check(m, op);
	case LIN_EXPIRE:
		return expire(m, op);
	case LIN_BAR:
		return bar(m, op);
	case LIN_UNBAR:
		return unbar(m);
	case LIN_READ:
		return look(&m->now, op);
	case LIN_WRITE:
		return overwrite(&m->now, op);
	case LIN_CAS:
		return compare_and_set(&m->now, op);
	case LIN_CREATE:
		return create(&m->now, op);
	case LIN_DELETE:
		return delete_file(&m->now, op);
	case LIN_VERBS:
		break;
	}
	CHECK_UNREACHABLE("no such verb");
}

bool lin_step(struct lin_model *m, const struct lin_op *op, bool excused, struct lin_undo *ret_undo)
{
	struct lin_undo undo = {m->now, op->who, m->parties[op->who]};

	if (!happens(m, op, excused)) {
		lin_step_back(m, &undo);
		return false;
	}
	*ret_undo = undo;
	return true;
}

void lin_step_back(struct lin_model *m, const struct lin_undo *undo)
{
	m->now = undo->state;
	m->parties[undo->who] = undo->party;
}
