/*
 * The messages of chubby.v1 as plain structs: what client and server agree on.
 *
 * The master and the client core read and write these; only wire/codec.c knows protobuf. Bytes
 * and arrays are borrowed: from the arena that a message was decoded into, or from whoever filled
 * the struct, until it is encoded. Texts (paths, names) are bytes and not NUL-terminated.
 * Durations are nanoseconds here, milliseconds on the wire (rounded up in requests, down in
 * leases; beyond 49 days, the longest that the field can say).
 */
#ifndef CHUBBY_WIRE_MESSAGE_H
#define CHUBBY_WIRE_MESSAGE_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/ids.h"
#include "base/time.h"

#define WIRE_HANDLE_MAX_BYTES 96
#define WIRE_SEQUENCER_MAX_BYTES 1536
#define WIRE_MESSAGE_MAX_BYTES ((size_t)1 << 20) /* a request; replies too, by paging */
#define WIRE_READ_DIR_LIMIT 512
#define WIRE_EVENTS_MAX 64
#define WIRE_MULTI_MAX 64
#define WIRE_MULTI_ACQUIRE 9u /* chubby.v1.MultiOp.Kind */
#define WIRE_ADDRESS_MAX_BYTES 256
#define WIRE_INVALIDATIONS_MAX 1024 /* in one KeepAlive answer; acknowledgements: four times that */
#define WIRE_PATH_MAX_BYTES 2048 /* beyond, a path is TOO_LARGE; up to there wire/path.h judges */
#define WIRE_NAME_MAX_BYTES 255
#define WIRE_TEXT_MAX_BYTES 1024 /* host, command, principal; an error's sentence is cut to it */
#define WIRE_CONTENTS_MAX_BYTES ((size_t)256 << 10)
#define WIRE_LIST_MAX 4096 /* locks, sessions, or one lock's parties in a reply */
#define WIRE_SERVERS_MAX 16

/* The same numbering for requests and replies. The comments name the body used. */
enum message_kind {
	MESSAGE_NONE = 0,
	MESSAGE_FIND_MASTER,
	MESSAGE_CREATE_SESSION,
	MESSAGE_KEEP_ALIVE,
	MESSAGE_END_SESSION, /* no body */
	MESSAGE_OPEN,
	MESSAGE_CLOSE,                 /* no body */
	MESSAGE_GET_CONTENTS_AND_STAT, /* request: no body */
	MESSAGE_GET_STAT,              /* request: no body; reply: get_contents_and_stat */
	MESSAGE_READ_DIR,
	MESSAGE_SET_CONTENTS,
	MESSAGE_SET_ACL,
	MESSAGE_DELETE,
	MESSAGE_ACQUIRE,
	MESSAGE_WAIT,
	MESSAGE_CANCEL,
	MESSAGE_RELEASE, /* no body */
	MESSAGE_CHECK_SEQUENCER,
	MESSAGE_MULTI,
	/* Admin */
	MESSAGE_STATUS, /* request: no body */
	MESSAGE_LIST_LOCKS,
	MESSAGE_LIST_SESSIONS,
	MESSAGE_END_SESSION_OF,
	MESSAGE_REVOKE_LOCK,
	MESSAGE_TRANSFER_MASTER,
	/* Pushed on a stream */
	MESSAGE_WAIT_ENDED,
	MESSAGE_SESSION_ENDED, /* reply.error says why; no body */
	MESSAGE_KIND_END,
};

/* "Acquire": the method's name in the .proto file; NULL beyond the table. */
const char *message_kind_name(enum message_kind kind);
/* True for those that change state and are numbered (OPEN: only when it may create). */
bool message_is_numbered(enum message_kind kind);

enum wire_node_kind { WIRE_NODE_UNSPECIFIED, WIRE_NODE_FILE, WIRE_NODE_DIRECTORY };
enum wire_lock_mode { WIRE_LOCK_FREE, WIRE_LOCK_SHARED, WIRE_LOCK_EXCLUSIVE };
enum wire_create { WIRE_CREATE_NEVER, WIRE_CREATE_MAY, WIRE_CREATE_MUST };

struct wire_stat {
	enum wire_node_kind kind;
	bool ephemeral;
	uint64_t instance;
	uint64_t contents_generation;
	uint64_t lock_generation;
	uint64_t acl_generation;
	uint64_t checksum;
	uint32_t size_bytes;
	uint32_t child_count;
	enum wire_lock_mode lock_mode;
	uint32_t holder_count;
	uint32_t waiter_count;
	int64_t created_unix_ms;
	int64_t modified_unix_ms;
	struct bytes acl[3];
};

struct wire_grant {
	bool present;
	struct bytes sequencer;
	uint64_t fencing_token;
	enum wire_lock_mode mode;
	uint64_t lock_generation;
	uint64_t revision;
	uint32_t index;
};

struct wire_event {
	uint64_t number;
	uint32_t kind; /* chubby.v1.EventKind */
	uint64_t handle_number;
	struct bytes name;
	uint64_t revision;
};

struct wire_invalidation {
	uint64_t number;
	struct bytes path;
	bool children;
	bool everything;
};

struct wire_multi_op {
	uint32_t kind; /* chubby.v1.MultiOp.Kind */
	struct bytes path;
	uint64_t number;
	struct bytes contents;
	enum wire_node_kind node_kind;
	enum wire_lock_mode mode;
	struct bytes handle;
};

struct request {
	enum message_kind kind;
	/* chubby.v1.Header, where the message has one. */
	struct session_id session;
	struct epoch epoch;
	uint64_t number;
	uint64_t lowest_unanswered;
	struct bytes cell;
	struct bytes guard_sequencer;
	/* Most calls within a session present a handle. */
	struct bytes handle;

	union {
		struct {
			int64_t wait_ns;
		} find_master;
		struct {
			int64_t lease_ns; /* 0: the default */
			bool caches;
			struct bytes host;
			struct bytes command;
			uint32_t pid;
		} create_session;
		struct {
			uint32_t acked_invalidation_count;
			const uint64_t *acked_invalidations;
			uint64_t acked_events;
			bool immediate;
		} keep_alive;
		struct {
			struct bytes path;
			struct handle_id handle_number;
			bool read, write, change_acl;
			enum wire_create create;
			enum wire_node_kind kind;
			bool ephemeral;
			struct bytes contents;
			struct bytes acl[3];
			uint32_t event_mask; /* bit n: EventKind n */
			struct bytes relative_to;
		} open;
		struct {
			struct bytes after;
			uint32_t limit;
		} read_dir;
		struct {
			struct bytes contents;
			uint64_t expected_generation;
		} set_contents;
		struct {
			struct bytes acl[3];
			uint64_t expected_generation;
		} set_acl;
		struct {
			uint64_t expected_generation;
		} delete_node;
		struct {
			enum wire_lock_mode mode;
			bool try_only;
			int64_t wait_ns;       /* 0: no limit */
			int64_t lock_delay_ns; /* -1: the default */
		} acquire;
		struct {
			uint64_t ticket;
			int64_t wait_ns; /* 0: no limit */
		} wait;
		struct {
			uint64_t ticket;
		} cancel;
		struct {
			struct bytes sequencer;
		} check_sequencer;
		struct {
			uint32_t count;
			const struct wire_multi_op *ops;
		} multi;
		struct {
			struct bytes path;
			bool all;
			uint64_t after;
			uint32_t limit;
		} list_locks;
		struct {
			uint64_t after;
			uint32_t limit;
		} list_sessions;
		struct {
			struct session_id session;
		} end_session_of;
		struct {
			struct bytes path;
			struct session_id session;
		} revoke_lock;
		struct {
			struct replica_id to;
		} transfer_master;
	};
};

struct wire_dir_entry {
	struct bytes name;
	struct wire_stat stat;
};

enum wire_replica_state {
	WIRE_REPLICA_UNKNOWN,
	WIRE_REPLICA_STARTING,
	WIRE_REPLICA_FOLLOWER,
	WIRE_REPLICA_CANDIDATE,
	WIRE_REPLICA_MASTER,
	WIRE_REPLICA_LOST,
	WIRE_REPLICA_FAILED,
};

struct wire_replica_status {
	struct replica_id id;
	struct bytes address;
	struct bytes peer_address;
	enum wire_replica_state state;
	bool voting;
	uint64_t revision;
	uint64_t chosen_slot;
	int64_t heard_ns_ago; /* -1: never */
	struct bytes trouble;
	struct bytes digest; /* 16 bytes, or empty */
	struct bytes version;
};

struct wire_lock_party {
	struct session_id session;
	struct handle_id handle;
	enum wire_lock_mode mode;
	struct bytes principal;
	struct bytes host;
	uint32_t pid;
	struct bytes command;
	int64_t since_unix_ms;
	uint64_t fencing_token;
	uint64_t ticket;
};

struct wire_lock_status {
	struct bytes path;
	enum wire_lock_mode mode;
	uint64_t instance;
	uint64_t lock_generation;
	uint32_t holder_count;
	const struct wire_lock_party *holders;
	uint32_t shown_waiter_count; /* in `waiters` */
	const struct wire_lock_party *waiters;
	uint32_t waiter_count; /* in truth */
	int64_t lock_delay_ns;
	int64_t lock_delay_left_ns;
};

struct wire_session_status {
	struct session_id session;
	struct bytes principal;
	struct bytes host;
	uint32_t pid;
	struct bytes command;
	int64_t lease_ns;
	int64_t left_ns;
	int64_t created_unix_ms;
	uint32_t lock_count;
	uint32_t handle_count;
};

struct reply {
	enum message_kind kind;
	/* Not OK: the call was refused, and only these are meaningful. */
	enum error error;
	struct bytes message;        /* a sentence; may be empty: then the error's text stands */
	struct bytes master_address; /* NOT_MASTER, where known */
	struct epoch epoch;          /* EPOCH_CHANGED; and in the bodies that carry one */
	int64_t retry_after_ns;
	uint64_t generation; /* GENERATION_MISMATCH; SET_CONTENTS, SET_ACL when OK */
	bool has_failed_op;  /* MULTI: the refusal is about one operation, */
	uint32_t failed_op;  /* this one, from 0 */
	/* OK: revision where the reply has one. */
	uint64_t revision;

	union {
		struct {
			struct bytes address;
			struct replica_id replica;
			uint32_t server_count;
			const struct bytes *servers;
		} find_master; /* with epoch */
		struct {
			struct session_id session;
			int64_t lease_ns;
		} create_session; /* with epoch */
		struct {
			int64_t held_ns;
			int64_t left_ns;
			bool failed_over;
			uint32_t event_count;
			const struct wire_event *events;
			uint32_t invalidation_count;
			const struct wire_invalidation *invalidations;
		} keep_alive; /* with epoch */
		struct {
			struct bytes handle;
			bool created;
			struct wire_stat stat;
		} open;
		struct {
			struct wire_stat stat;
			struct bytes contents;
			bool cachable;
		} get_contents_and_stat; /* GET_STAT as well */
		struct {
			uint32_t count;
			const struct wire_dir_entry *entries;
			bool more;
			bool cachable;
		} read_dir;
		struct {
			struct wire_grant grant;
			uint64_t ticket;
		} acquire;
		struct {
			struct wire_grant grant;
		} wait; /* WAIT, CANCEL */
		struct {
			bool valid;
			uint64_t fencing_token;
			struct bytes path;
			enum wire_lock_mode mode;
		} check_sequencer;
		struct {
			uint32_t grant_count;
			const struct wire_grant *grants;
		} multi;
		struct {
			struct bytes cell;
			struct replica_id replica;
			struct replica_id master;
			struct bytes master_address;
			uint32_t tolerates;
			uint32_t replica_count;
			const struct wire_replica_status *replicas;
			uint64_t node_count;
			uint64_t session_count;
			int64_t uptime_ns;
			uint64_t resident_bytes;
		} status; /* with epoch */
		struct {
			uint32_t count;
			const struct wire_lock_status *locks;
			uint64_t next;
			int64_t now_unix_ms;
		} list_locks;
		struct {
			uint32_t count;
			const struct wire_session_status *sessions;
			uint64_t next;
			int64_t now_unix_ms;
		} list_sessions;
		struct {
			uint32_t revoked;
		} revoke_lock;
		struct {
			uint64_t ticket;
			struct handle_id handle_number;
			struct wire_grant grant;
		} wait_ended; /* error set: the wait ended without a grant */
	};
};

#endif
