/* Tables that peer frames and records share. Private to codec/ and the tests. */
#ifndef CHUBBY_CODEC_TABLES_H
#define CHUBBY_CODEC_TABLES_H

#include "codec/codec.h"
#include "wire/fields.h"

extern const struct fields codec_ballot;

/* Peer frames. The parts of struct paxos_message that its table covers: all but the values. */
extern const struct fields codec_seen;
extern const struct fields codec_accepted;
extern const struct fields codec_message;
extern const struct fields codec_hello_fields;
extern const struct fields codec_gossip_fields;
extern const struct fields codec_learn_fields;
extern const struct fields codec_snapshot_request_fields;
extern const struct fields codec_snapshot_fields;
extern const struct fields codec_frame_fields;

/* Commands. */
extern const struct fields codec_entry;

/* Rows, by enum row_kind. */
extern const struct fields codec_rows[ROW_SESSION + 1];

/* ---- how values and arrays stand on the wire, before they become paxos' own ---- */

struct accepted_wire {
	struct slot slot;
	struct ballot ballot;
	struct bytes value;
	uint64_t checksum;
	bool has_value;
};

/* `message.value`, `.accepted` and `.accepted_count` are not used. */
struct message_wire {
	struct paxos_message message;
	bool has_value;
	struct accepted_wire value;
	uint32_t accepted_count;
	struct accepted_wire *accepted;
};

struct learn_wire {
	uint32_t entry_count;
	struct accepted_wire *entries;
	struct slot chosen;
	struct slot trimmed;
};

struct snapshot_wire {
	struct codec_snapshot snapshot;
	uint64_t checksum;
};

struct frame_wire {
	bool has_hello, has_learn, has_gossip, has_snapshot, has_snapshot_request;
	struct codec_hello hello;
	uint32_t message_count;
	struct message_wire *messages;
	struct learn_wire learn;
	struct codec_gossip gossip;
	struct snapshot_wire snapshot;
	struct codec_snapshot_request snapshot_request;
};

/* Rows whose objects keep something in another form than the table wants. */
struct meta_wire {
	struct cell_meta meta;
	struct bytes handle_key;
};

struct session_wire {
	struct session session;
	bool marked;
};

#endif
