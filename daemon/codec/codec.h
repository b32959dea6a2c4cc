/*
 * codec: plain structs of paxos and cell to bytes and back; with wire/ the only user of nanopb.
 *
 * What comes from a peer or a disk is never trusted: MALFORMED for anything that the encoder
 * cannot have made, within limits that are checked before memory is taken. Unknown fields in
 * peer frames are skipped (a newer peer); in records they are refused, since a command that is
 * half understood would split the replicas. Pure and thread-safe.
 */
#ifndef CHUBBY_CODEC_CODEC_H
#define CHUBBY_CODEC_CODEC_H

#include "base/arena.h"
#include "cell/cell.h"
#include "paxos/paxos.h"

#define CODEC_FRAME_MAX_BYTES ((size_t)4 << 20) /* one peer frame */
#define CODEC_PROTOCOL 1
#define CODEC_FRAME_MESSAGES_MAX 4096 /* in one frame: the sender has to count */
#define CODEC_FRAME_ACCEPTED_MAX 4096 /* in one message, and in one chunk of learning */
#define CODEC_MARKS_MAX 65536         /* sessions marked by one entry */
#define CODEC_ROW_LIST_MAX (1u << 20) /* holders, keepers of one row */

struct codec_hello {
	uint32_t protocol;
	uint64_t cell_id_high;
	uint64_t cell_id_low;
	struct replica_id replica;
	struct incarnation incarnation;
	struct replica_id to;
};

struct codec_gossip {
	uint64_t revision;
	uint64_t chosen;
	uint32_t state; /* enum wire_replica_state */
	struct bytes trouble;
	struct bytes version;
};

/* Chosen log for a peer that is behind. Values are referenced by whoever holds the struct. */
struct codec_learn {
	uint32_t entry_count;
	struct paxos_accepted *entries;
	struct slot chosen;
	struct slot trimmed;
};

#define CODEC_SNAPSHOT_CHUNK_MAX_BYTES ((size_t)256 << 10)

/* Asks for the piece at `offset`. Id 0: of whichever snapshot there is, from its beginning. */
struct codec_snapshot_request {
	uint64_t id;
	uint64_t offset;
	struct slot above; /* a state that is not newer is of no use */
};

/* One piece of a snapshot, an SQLite image. Its checksum is made and verified by the codec. */
struct codec_snapshot {
	uint64_t id;
	struct slot slot; /* the state is complete up to here */
	struct revision revision;
	uint64_t total_bytes; /* 0: there is no such snapshot */
	uint64_t image_checksum;
	uint64_t offset;
	struct bytes data; /* when read, borrowed from the frame's bytes */
};

/* ---- peer frames ---------------------------------------------------------------------------- */

/* A frame is built by appending parts (protobuf concatenation): messages in any number up to the
 * maximum, the others once each. Each appends to `frame`, or returns TOO_LARGE and leaves it as it
 * was. */
MUST_USE enum error codec_frame_hello(struct buffer *frame, const struct codec_hello *h);
MUST_USE enum error codec_frame_message(struct buffer *frame, const struct paxos_message *m);
MUST_USE enum error codec_frame_learn(struct buffer *frame, const struct codec_learn *l);
MUST_USE enum error codec_frame_gossip(struct buffer *frame, const struct codec_gossip *g);
MUST_USE enum error codec_frame_snapshot_request(struct buffer *frame,
						 const struct codec_snapshot_request *q);
MUST_USE enum error codec_frame_snapshot(struct buffer *frame, const struct codec_snapshot *s);

/* What a frame held. Messages own their values as paxos.h says. */
struct codec_frame {
	bool has_hello, has_learn, has_gossip, has_snapshot, has_snapshot_request;
	struct codec_hello hello;
	uint32_t message_count;
	struct paxos_message *messages; /* owned */
	struct codec_learn learn;       /* entries owned */
	struct codec_gossip gossip;     /* texts borrowed from the arena */
	struct codec_snapshot snapshot;
	struct codec_snapshot_request snapshot_request;
};

/* The arena needs room for the decoded arrays, not for the values: 16 MiB do for any frame that a
 * sender within the limits made; a smaller one refuses large frames. */
MUST_USE enum error codec_decode_frame(struct bytes b, struct arena *arena,
				       struct codec_frame *ret_frame);
/* Drops all references and arrays; safe on a zeroed frame. */
void codec_frame_release(struct codec_frame *f);

/* ---- commands ------------------------------------------------------------------------------- */

/* INVALID_ARGUMENT for an enum out of range, TOO_LARGE beyond a limit: nobody could read it. */
MUST_USE enum error codec_encode_entry(const struct entry *e, struct buffer *ret_bytes);
/* Bytes in the entry are borrowed from `b` where they can be, else from the arena. */
MUST_USE enum error codec_decode_entry(struct bytes b, struct arena *arena,
				       struct entry *ret_entry);

/* ---- rows ----------------------------------------------------------------------------------- */

/* Appends the stored form of a row that is not deleted. */
MUST_USE enum error codec_encode_row(const struct row *row, struct buffer *ret_bytes);
/* Fills objects in the arena; ret_row points to them, their bytes into `b`. Feed it to
 * cell_load_row(). `key` must be the row's own. */
MUST_USE enum error codec_decode_row(enum row_kind kind, uint64_t key, struct bytes b,
				     struct arena *arena, struct row *ret_row);

#endif
