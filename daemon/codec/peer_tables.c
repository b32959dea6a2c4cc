/* The tables of peer.proto. */
#include "codec/tables.h"

#include "wire/message.h"

#include "chubby/internal/peer.pb.h"

#define FIELD_PACKAGE chubby_internal

static const struct field ballot_rows[] = {
	U64(Ballot, round, ballot, round),
	U32(Ballot, replica, ballot, replica),
	FIXED64(Ballot, incarnation_high, ballot, incarnation.high),
	FIXED64(Ballot, incarnation_low, ballot, incarnation.low),
};
const struct fields codec_ballot = FIELDS(ballot_rows);

static const struct field accepted_rows[] = {
	U64(Accepted, slot, accepted_wire, slot),
	MESSAGE(Accepted, ballot, accepted_wire, ballot, &codec_ballot),
	BYTES(Accepted, value, accepted_wire, value, VALUE_MAX_BYTES),
	FIXED64(Accepted, checksum, accepted_wire, checksum),
	BOOL(Accepted, has_value, accepted_wire, has_value),
};
const struct fields codec_accepted = FIELDS_BULK(accepted_rows, accepted_wire, value);

static const struct field seen_rows[] = {
	U32(Seen, replica, paxos_seen, replica),
	FIXED64(Seen, incarnation_high, paxos_seen, incarnation.high),
	FIXED64(Seen, incarnation_low, paxos_seen, incarnation.low),
	MESSAGE(Seen, promised, paxos_seen, promised, &codec_ballot),
	MESSAGE(Seen, accepted, paxos_seen, accepted, &codec_ballot),
	U64(Seen, from, paxos_seen, from),
	U64(Seen, through, paxos_seen, through),
};
const struct fields codec_seen = FIELDS(seen_rows);

/* A message_wire begins with the paxos_message. The encoder writes the values by itself, from
 * where paxos has them, and gives these rows an empty value and no accepted ones. */
static const struct field message_rows[] = {
	ENUM_REQUIRED(PaxosMessage, kind, message_wire, message.kind, PAXOS_KIND_END - 1),
	MESSAGE(PaxosMessage, ballot, message_wire, message.ballot, &codec_ballot),
	MESSAGE(PaxosMessage, promised, message_wire, message.promised, &codec_ballot),
	FIXED64(PaxosMessage, incarnation_high, message_wire, message.incarnation.high),
	FIXED64(PaxosMessage, incarnation_low, message_wire, message.incarnation.low),
	U64(PaxosMessage, slot, message_wire, message.slot),
	U64(PaxosMessage, chosen, message_wire, message.chosen),
	U64(PaxosMessage, trimmed, message_wire, message.trimmed),
	I64(PaxosMessage, lease_ns, message_wire, message.lease_ns),
	U64(PaxosMessage, sequence, message_wire, message.sequence),
	U32(PaxosMessage, part, message_wire, message.part),
	BOOL(PaxosMessage, last, message_wire, message.last),
	BOOL(PaxosMessage, granted, message_wire, message.granted),
	U32(PaxosMessage, successor, message_wire, message.successor),
	MESSAGE_IF(PaxosMessage, value, message_wire, value, &codec_accepted, has_value),
	MESSAGES(PaxosMessage, accepted, message_wire, accepted, accepted_count, &codec_accepted,
		 CODEC_FRAME_ACCEPTED_MAX),
	MESSAGES_INLINE(PaxosMessage, seen, message_wire, message.seen, message.seen_count,
			&codec_seen),
};
const struct fields codec_message = FIELDS(message_rows);

static const struct field hello_rows[] = {
	U32(Hello, protocol, codec_hello, protocol),
	FIXED64(Hello, cell_id_high, codec_hello, cell_id_high),
	FIXED64(Hello, cell_id_low, codec_hello, cell_id_low),
	U32(Hello, replica_id, codec_hello, replica),
	FIXED64(Hello, incarnation_high, codec_hello, incarnation.high),
	FIXED64(Hello, incarnation_low, codec_hello, incarnation.low),
	U32(Hello, to_replica_id, codec_hello, to),
};
const struct fields codec_hello_fields = FIELDS(hello_rows);

static const struct field gossip_rows[] = {
	U64(Gossip, revision, codec_gossip, revision),
	U64(Gossip, chosen, codec_gossip, chosen),
	U32(Gossip, state, codec_gossip, state),
	TEXT(Gossip, trouble, codec_gossip, trouble, WIRE_TEXT_MAX_BYTES),
	TEXT(Gossip, version, codec_gossip, version, WIRE_NAME_MAX_BYTES),
};
const struct fields codec_gossip_fields = FIELDS(gossip_rows);

static const struct field learn_rows[] = {
	MESSAGES(LearnChunk, entries, learn_wire, entries, entry_count, &codec_accepted,
		 CODEC_FRAME_ACCEPTED_MAX),
	U64(LearnChunk, chosen, learn_wire, chosen),
	U64(LearnChunk, trimmed, learn_wire, trimmed),
};
const struct fields codec_learn_fields = FIELDS(learn_rows);

static const struct field snapshot_request_rows[] = {
	FIXED64(SnapshotRequest, id, codec_snapshot_request, id),
	U64(SnapshotRequest, offset, codec_snapshot_request, offset),
	U64(SnapshotRequest, above_slot, codec_snapshot_request, above),
};
const struct fields codec_snapshot_request_fields = FIELDS(snapshot_request_rows);

static const struct field snapshot_rows[] = {
	U64(SnapshotChunk, slot, snapshot_wire, snapshot.slot),
	U64(SnapshotChunk, revision, snapshot_wire, snapshot.revision),
	U64(SnapshotChunk, offset, snapshot_wire, snapshot.offset),
	U64(SnapshotChunk, total_bytes, snapshot_wire, snapshot.total_bytes),
	BYTES(SnapshotChunk, data, snapshot_wire, snapshot.data, CODEC_SNAPSHOT_CHUNK_MAX_BYTES),
	FIXED64(SnapshotChunk, checksum, snapshot_wire, checksum),
	FIXED64(SnapshotChunk, id, snapshot_wire, snapshot.id),
	FIXED64(SnapshotChunk, image_checksum, snapshot_wire, snapshot.image_checksum),
};
const struct fields codec_snapshot_fields = FIELDS_BULK(snapshot_rows, snapshot_wire,
							snapshot.data);

static const struct field frame_rows[] = {
	MESSAGE_IF(PeerFrame, hello, frame_wire, hello, &codec_hello_fields, has_hello),
	MESSAGES(PeerFrame, messages, frame_wire, messages, message_count, &codec_message,
		 CODEC_FRAME_MESSAGES_MAX),
	MESSAGE_IF(PeerFrame, learn, frame_wire, learn, &codec_learn_fields, has_learn),
	MESSAGE_IF(PeerFrame, snapshot, frame_wire, snapshot, &codec_snapshot_fields, has_snapshot),
	MESSAGE_IF(PeerFrame, gossip, frame_wire, gossip, &codec_gossip_fields, has_gossip),
	MESSAGE_IF(PeerFrame, snapshot_request, frame_wire, snapshot_request,
		   &codec_snapshot_request_fields, has_snapshot_request),
};
const struct fields codec_frame_fields = FIELDS(frame_rows);
