#include "codec/codec.h"

#include "base/check.h"
#include "codec/tables.h"

#include "chubby/internal/peer.pb.h"

/* A guess at what stands beside a value or an array in its message: it saves moving them. */
#define BESIDE_VALUE_BYTES 128
#define ACCEPTED_WITHOUT_VALUE_BYTES 48

/* ---- writing ---- */

/* Takes the frame back to where it was when a part does not fit, or breaks the frame's limit. */
static enum error part_done(struct buffer *frame, size_t start, enum error e)
{
	if (e == ERROR_OK && frame->size > CODEC_FRAME_MAX_BYTES)
		e = ERROR_TOO_LARGE;
	if (e != ERROR_OK)
		frame->size = start;
	return e;
}

static enum error put_part(struct buffer *frame, uint32_t number, const struct fields *table,
			   const void *source)
{
	size_t start = frame->size;
	struct fields_mark mark;
	enum error e = ERROR_TOO_LARGE;

	if (fields_begin(frame, number, 0, &mark)) {
		e = fields_encode(table, source, frame);
		if (e == ERROR_OK && !fields_end(frame, &mark))
			e = ERROR_TOO_LARGE;
	}
	return part_done(frame, start, e);
}

static size_t value_size(const struct value *v)
{
	return v != NULL ? value_bytes(v).size : 0;
}

static size_t accepted_size(const struct paxos_accepted *accepted, uint32_t count)
{
	size_t size = 0;

	for (uint32_t i = 0; i < count; i++)
		size += ACCEPTED_WITHOUT_VALUE_BYTES + value_size(accepted[i].value);
	return size;
}

/* Inside a message: an Accepted, from where paxos has its value. */
static enum error put_accepted(struct buffer *b, uint32_t number, const struct paxos_accepted *a)
{
	struct accepted_wire wire = {.slot = a->slot, .ballot = a->ballot};
	struct fields_mark mark;
	enum error e;

	if (a->value != NULL) {
		wire.value = value_bytes(a->value);
		wire.checksum = value_checksum(a->value);
		wire.has_value = true;
	}
	if (!fields_begin(b, number, wire.value.size, &mark))
		return ERROR_TOO_LARGE;
	e = fields_encode(&codec_accepted, &wire, b);
	if (e == ERROR_OK && !fields_end(b, &mark))
		e = ERROR_TOO_LARGE;
	return e;
}

static enum error put_all_accepted(struct buffer *b, uint32_t number,
				   const struct paxos_accepted *accepted, uint32_t count)
{
	if (count > CODEC_FRAME_ACCEPTED_MAX)
		return ERROR_TOO_LARGE;
	for (uint32_t i = 0; i < count; i++) {
		enum error e = put_accepted(b, number, &accepted[i]);

		if (e != ERROR_OK)
			return e;
	}
	return ERROR_OK;
}

enum error codec_frame_hello(struct buffer *frame, const struct codec_hello *h)
{
	return put_part(frame, chubby_internal_PeerFrame_hello_tag, &codec_hello_fields, h);
}

enum error codec_frame_gossip(struct buffer *frame, const struct codec_gossip *g)
{
	return put_part(frame, chubby_internal_PeerFrame_gossip_tag, &codec_gossip_fields, g);
}

enum error codec_frame_snapshot_request(struct buffer *frame,
					const struct codec_snapshot_request *q)
{
	return put_part(frame, chubby_internal_PeerFrame_snapshot_request_tag,
			&codec_snapshot_request_fields, q);
}

/* Binds the piece to its place in its snapshot. */
static uint64_t snapshot_checksum(const struct codec_snapshot *s)
{
	uint64_t fields[] = {
		s->id,     s->slot.n,           s->revision.n, s->total_bytes, s->image_checksum,
		s->offset, bytes_hash(s->data),
	};
	uint8_t packed[sizeof(fields)];

	for (size_t i = 0; i < sizeof(packed); i++)
		packed[i] = (uint8_t)(fields[i / 8] >> (8 * (i % 8)));
	return bytes_hash((struct bytes){packed, sizeof(packed)});
}

enum error codec_frame_snapshot(struct buffer *frame, const struct codec_snapshot *s)
{
	struct snapshot_wire wire = {*s, snapshot_checksum(s)};
	size_t start = frame->size;
	struct fields_mark mark;
	enum error e = ERROR_TOO_LARGE;

	if (fields_begin(frame, chubby_internal_PeerFrame_snapshot_tag,
			 BESIDE_VALUE_BYTES + s->data.size, &mark)) {
		e = fields_encode(&codec_snapshot_fields, &wire, frame);
		if (e == ERROR_OK && !fields_end(frame, &mark))
			e = ERROR_TOO_LARGE;
	}
	return part_done(frame, start, e);
}

static enum error put_message_content(struct buffer *frame, const struct paxos_message *m)
{
	struct message_wire wire = {.message = *m};
	enum error e = fields_encode(&codec_message, &wire, frame);

	if (e == ERROR_OK && m->value != NULL) {
		struct paxos_accepted value = {.value = m->value};

		e = put_accepted(frame, chubby_internal_PaxosMessage_value_tag, &value);
	}
	if (e == ERROR_OK)
		e = put_all_accepted(frame, chubby_internal_PaxosMessage_accepted_tag, m->accepted,
				     m->accepted_count);
	return e;
}

enum error codec_frame_message(struct buffer *frame, const struct paxos_message *m)
{
	size_t start = frame->size;
	size_t expected = BESIDE_VALUE_BYTES + value_size(m->value) +
			  accepted_size(m->accepted, m->accepted_count);
	struct fields_mark mark;
	enum error e = ERROR_TOO_LARGE;

	if (fields_begin(frame, chubby_internal_PeerFrame_messages_tag, expected, &mark)) {
		e = put_message_content(frame, m);
		if (e == ERROR_OK && !fields_end(frame, &mark))
			e = ERROR_TOO_LARGE;
	}
	return part_done(frame, start, e);
}

enum error codec_frame_learn(struct buffer *frame, const struct codec_learn *l)
{
	struct learn_wire wire = {.chosen = l->chosen, .trimmed = l->trimmed};
	size_t start = frame->size;
	struct fields_mark mark;
	enum error e = ERROR_TOO_LARGE;

	if (fields_begin(frame, chubby_internal_PeerFrame_learn_tag,
			 accepted_size(l->entries, l->entry_count), &mark)) {
		e = put_all_accepted(frame, chubby_internal_LearnChunk_entries_tag, l->entries,
				     l->entry_count);
		if (e == ERROR_OK)
			e = fields_encode(&codec_learn_fields, &wire, frame);
		if (e == ERROR_OK && !fields_end(frame, &mark))
			e = ERROR_TOO_LARGE;
	}
	return part_done(frame, start, e);
}

/* ---- reading ---- */

/* A reference for *ret_value, NULL where only (slot, ballot) is told; false where it is damaged. */
static bool take_value(const struct accepted_wire *wire, struct value **ret_value)
{
	struct value *v = NULL;

	if (wire->has_value) {
		v = value_parse_checked(wire->value, wire->checksum);
		if (v == NULL)
			return false;
	} else if (wire->value.size > 0 || wire->checksum != 0) {
		return false;
	}
	*ret_value = v;
	return true;
}

/* The arrays grow with their counts, so that what was taken can be released at any point. */
static bool take_accepted(const struct accepted_wire *wire, uint32_t count,
			  struct paxos_accepted **ret_accepted, uint32_t *ret_count)
{
	if (count == 0)
		return true;
	*ret_accepted = mem_zalloc(count * sizeof(**ret_accepted));
	for (uint32_t i = 0; i < count; i++) {
		struct paxos_accepted *a = &(*ret_accepted)[i];

		a->slot = wire[i].slot;
		a->ballot = wire[i].ballot;
		if (!take_value(&wire[i], &a->value))
			return false;
		*ret_count = i + 1;
	}
	return true;
}

static bool take_message(const struct message_wire *wire, struct paxos_message *m)
{
	*m = wire->message;
	if (m->lease_ns < 0)
		return false;
	if (wire->has_value) {
		/* Slot and ballot of the value are the message's own. */
		if (!wire->value.has_value || wire->value.slot.n != 0 ||
		    !ballot_equal(wire->value.ballot, BALLOT_NONE) ||
		    !take_value(&wire->value, &m->value))
			return false;
	}
	return take_accepted(wire->accepted, wire->accepted_count, &m->accepted,
			     &m->accepted_count);
}

/* Whole, and within the image that it belongs to. */
static bool snapshot_sound(const struct snapshot_wire *wire)
{
	const struct codec_snapshot *s = &wire->snapshot;

	return wire->checksum == snapshot_checksum(s) && s->offset <= s->total_bytes &&
	       s->data.size <= s->total_bytes - s->offset && s->revision.n <= REVISION_MAX;
}

static bool take_frame(const struct frame_wire *wire, struct arena *arena, struct codec_frame *f)
{
	f->has_hello = wire->has_hello;
	f->hello = wire->hello;
	f->has_gossip = wire->has_gossip;
	f->gossip = wire->gossip;
	if (!arena_copy(arena, wire->gossip.trouble, &f->gossip.trouble) ||
	    !arena_copy(arena, wire->gossip.version, &f->gossip.version))
		return false;
	if (wire->message_count > 0)
		f->messages = mem_zalloc(wire->message_count * sizeof(*f->messages));
	while (f->message_count < wire->message_count) {
		uint32_t i = f->message_count++;

		if (!take_message(&wire->messages[i], &f->messages[i]))
			return false;
	}
	f->has_learn = wire->has_learn;
	f->has_snapshot = wire->has_snapshot;
	f->snapshot = wire->snapshot.snapshot;
	f->has_snapshot_request = wire->has_snapshot_request;
	f->snapshot_request = wire->snapshot_request;
	if (f->has_snapshot && !snapshot_sound(&wire->snapshot))
		return false;
	f->learn.chosen = wire->learn.chosen;
	f->learn.trimmed = wire->learn.trimmed;
	return take_accepted(wire->learn.entries, wire->learn.entry_count, &f->learn.entries,
			     &f->learn.entry_count);
}

enum error codec_decode_frame(struct bytes b, struct arena *arena, struct codec_frame *ret_frame)
{
	struct frame_wire wire = {0};
	struct codec_frame frame = {0};
	const char *trouble;

	if (b.size > CODEC_FRAME_MAX_BYTES ||
	    fields_decode(&codec_frame_fields, b, arena, FIELDS_LENIENT, &wire, &trouble) !=
		    ERROR_OK)
		return ERROR_MALFORMED;
	if (!take_frame(&wire, arena, &frame)) {
		codec_frame_release(&frame);
		return ERROR_MALFORMED;
	}
	*ret_frame = frame;
	return ERROR_OK;
}

void codec_frame_release(struct codec_frame *f)
{
	for (uint32_t i = 0; i < f->message_count; i++)
		paxos_message_release(&f->messages[i]);
	free(f->messages);
	for (uint32_t i = 0; i < f->learn.entry_count; i++)
		value_unref(f->learn.entries[i].value);
	free(f->learn.entries);
	*f = (struct codec_frame){0};
}
