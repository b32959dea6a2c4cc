/*
 * Sequencers (Chubby section 2.4): printable bytes that name one grant.
 *
 *   1:x:<instance>:<grant revision>.<index>:<token>:<lock generation>:/ls/<cell>/path
 *
 * 'x' exclusive, 's' shared. To users they are opaque; the master checks that the grant stands.
 */
#ifndef CHUBBY_WIRE_SEQUENCER_H
#define CHUBBY_WIRE_SEQUENCER_H

#include "wire/message.h"

struct sequencer {
	enum wire_lock_mode mode;
	uint64_t instance;
	uint64_t revision;
	uint32_t index;
	uint64_t fencing_token;
	uint64_t lock_generation;
	struct bytes path; /* full */
};

MUST_USE enum error sequencer_format(const struct sequencer *s, struct buffer *ret_text);
/* SEQUENCER_INVALID for anything that sequencer_format() cannot have made. `path` points into
 * `text`. */
MUST_USE enum error sequencer_parse(struct bytes text, struct sequencer *ret_sequencer);

#endif
