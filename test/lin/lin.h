/*
 * lin: is what clients saw the work of one lock, or of one file, that does one thing at a time?
 * (reliability.md section 3.) Nothing here knows the daemon: a second opinion rests on what was
 * asked, what was answered, and when.
 *
 * Vocabulary
 *   operation    a call of a client, or an event of the cell, at one object, between two instants
 *   who          a party that may hold a lock: a handle of a session
 *   unknown      an outcome that nobody was told: it may have happened at any time after it was
 *                asked, or never. With a revision it did happen, as the log shows.
 *   number       what tells one state from the next: the token of a lock's hold period, the
 *                generation of a file's contents. Numbers grow for ever, also over a deletion.
 *   witness      the order that the revisions of the answers claim
 *
 * Two judges. lin_search() tries the orders that real time allows, and does not look at revisions:
 * no lie hides from it, and it is for short histories. lin_witness() takes the order that the
 * revisions claim, tests it against real time, and replays it; only operations without a revision
 * are searched a place for. Both say so when they gave up, and never call that fine.
 *
 * The model. A lock is free, shared or exclusive; a grant to a party that is dead, or beside an
 * incompatible one, is wrong; those who share a hold period share its token, a new period has a
 * larger one. Expiry drops the hold of its party, which is dead from then on. It is given as an
 * operation: asked at the earliest instant at which the lease may have ended, answered when
 * somebody first saw that it had. A bar (the lock-delay) after a failed exclusive hold lets nobody
 * in, after a shared one nobody exclusive. A refusal ("busy") is right if the lock is barred or
 * incompatible, or if another's acquire that queues overlapped it.
 *
 * While a number is not known (an unknown operation made it) it is any that is large enough; the
 * first who tells it fixes it. A refusal that rests on a number not yet known is believed.
 *
 * Text, an operation a line; "#" begins a comment:
 *
 *   OBJECT WHO VERB ASKED ANSWERED OUTCOME [KEY=VALUE]...
 *
 * ASKED and ANSWERED are nanoseconds, "-" for never; OUTCOME is ok, no, or "?" for unknown. A later
 * instant is after an earlier one; equal ones overlap. Keys: rev=N or rev=N.I (revision, and the
 * place within it: of equal revisions the smaller I comes first), and by verb:
 *
 *   acquire  mode=x|s token=N grant=N wait=1   no: busy; with wait=1: it left the queue
 *   release                                    no: it holds nothing
 *   check    of=WHO token=N grant=N            ok: valid; no: not
 *   expire   delay=1                           delay: a bar begins if it held
 *   bar      mode=x|s
 *   unbar
 *   read     value=N gen=N                     no: there is no such file
 *   write    value=N gen=N                     gen: that it made; no: there is no such file
 *   cas      expect=N value=N gen=N            no: mismatch; gen: what stood there
 *   create   value=N gen=N                     no: it is there already
 *   delete                                     no: there is no such file
 *
 * An object whose first verb is a lock's is a lock. 0 is "not told" for token, grant, gen, rev.
 */
#ifndef CHUBBY_TEST_LIN_H
#define CHUBBY_TEST_LIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIN_NEVER INT64_MAX
#define LIN_WHY_BYTES 200
/* Attempts to place an operation; a second or so. */
#define LIN_BUDGET UINT64_C(20000000)
/* Longer histories of one object are not for the search. */
#define LIN_SEARCH_MAX 200

enum lin_verb {
	LIN_ACQUIRE,
	LIN_RELEASE,
	LIN_CHECK,
	LIN_EXPIRE,
	LIN_BAR,
	LIN_UNBAR,
	LIN_READ,
	LIN_WRITE,
	LIN_CAS,
	LIN_CREATE,
	LIN_DELETE,
	LIN_VERBS
};

enum lin_outcome { LIN_OK, LIN_NO, LIN_UNKNOWN };

struct lin_op {
	enum lin_verb verb;
	enum lin_outcome outcome;
	uint32_t object, who;
	int64_t asked_ns, answered_ns; /* answered: LIN_NEVER if it was not */
	uint64_t revision, place;
	/* Locks. */
	bool shared, waits, delays;
	uint32_t of; /* a check: whose grant */
	uint64_t token, grant;
	/* Files. */
	uint64_t value, generation, expected;
};

struct lin_history {
	struct lin_op *ops; /* owned */
	uint32_t count, capacity;
	char **objects, **whos; /* owned; names, where there are any */
	uint32_t object_count, who_count;
};

enum lin_verdict { LIN_FINE, LIN_WRONG, LIN_GAVE_UP };

struct lin_report {
	enum lin_verdict verdict;
	uint32_t op; /* WRONG: where it stuck; an index into the history */
	uint64_t steps;
	char why[LIN_WHY_BYTES];
};

/* An empty history is all zeros. */
void lin_release(struct lin_history *h);
/* Copies it. `object` and `who` may be any small numbers: below the largest there is room. */
void lin_add(struct lin_history *h, const struct lin_op *op);
/* The number of a name; made if it is new. */
uint32_t lin_object(struct lin_history *h, const char *name);
uint32_t lin_who(struct lin_history *h, const char *name);

/* Judges what happened at one object; `ret_report` is filled whatever comes out. */
enum lin_verdict lin_search(const struct lin_history *h, uint32_t object, uint64_t budget,
			    struct lin_report *ret_report);
enum lin_verdict lin_witness(const struct lin_history *h, uint32_t object, uint64_t budget,
			     struct lin_report *ret_report);
/* The first objection at any object, else that one was given up, else none. Where there are
 * revisions the witness judges, and the search as well where the history is short. */
enum lin_verdict lin_judge(const struct lin_history *h, uint64_t budget,
			   struct lin_report *ret_report);

/* One line of text. False: it is none, and `ret_why` says what is wrong with it. */
bool lin_parse_line(struct lin_history *h, const char *line, const char **ret_why);
/* The line of an operation; what does not fit is cut off. */
void lin_print(const struct lin_history *h, const struct lin_op *op, char *text, size_t size);

#endif
