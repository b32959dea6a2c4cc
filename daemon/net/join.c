#include "net/net_internal.h"

/*
 * Which frames may be put together to one.
 *
 * Concatenated protobuf messages are one message again, but the codec takes a part that may stand
 * once for damaged when it stands twice. So a joined frame has at most one of those; paxos
 * messages, the bulk of the traffic, may stand in any number up to the codec's limit.
 */
#define MESSAGES_FIELD 2 /* PeerFrame.messages in proto/chubby/internal/peer.proto */
#define WIRE_LENGTH_DELIMITED 2

/* A varint at *at; false at the end of the input. */
static bool join_varint(struct bytes b, size_t *at, uint64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned shift = 0; *at < b.size && shift < 64; shift += 7) {
		uint8_t byte = b.data[(*at)++];

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*ret_value = value;
			return true;
		}
	}
	return false;
}

/* Counts the parts of a frame; false for one that is not made of parts. */
static bool join_count(struct bytes b, uint32_t *messages, uint32_t *singles)
{
	size_t at = 0;

	while (at < b.size) {
		uint64_t tag, size;

		if (!join_varint(b, &at, &tag) || (tag & 7) != WIRE_LENGTH_DELIMITED ||
		    !join_varint(b, &at, &size) || size > b.size - at)
			return false;
		at += (size_t)size;
		if (tag >> 3 == MESSAGES_FIELD)
			(*messages)++;
		else
			(*singles)++;
	}
	return true;
}

bool join_add(struct join *j, struct bytes frame)
{
	uint32_t messages = j->messages, singles = j->singles;

	if (j->bytes + frame.size > CODEC_FRAME_MAX_BYTES ||
	    !join_count(frame, &messages, &singles) || messages > CODEC_FRAME_MESSAGES_MAX ||
	    singles > 1)
		return false;
	*j = (struct join){frame.size + j->bytes, messages, singles};
	return true;
}
