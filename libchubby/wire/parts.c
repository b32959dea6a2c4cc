/* The messages that stand inside requests and replies. */
#include "wire/tables.h"

#include "chubby/v1/admin.pb.h"
#include "chubby/v1/chubby.pb.h"

#define FIELD_PACKAGE chubby_v1

_Static_assert(WIRE_NODE_DIRECTORY == (int)chubby_v1_NodeKind_NODE_DIRECTORY, "node kinds differ");
_Static_assert(WIRE_LOCK_SHARED == (int)chubby_v1_LockMode_LOCK_SHARED &&
		       WIRE_LOCK_EXCLUSIVE == (int)chubby_v1_LockMode_LOCK_EXCLUSIVE,
	       "lock modes differ");
_Static_assert(WIRE_REPLICA_FAILED == (int)chubby_v1_ReplicaState_REPLICA_FAILED,
	       "replica states differ");
#define SAME_CODE(name, number, grpc, exit_code, text)                                             \
	_Static_assert((int)ERROR_##name == (int)chubby_v1_Code_##name, "error numbers differ");
ERROR_TABLE(SAME_CODE)
#undef SAME_CODE

static const struct field error_rows[] = {
	ERROR_NUMBER(Error, code, reply, error),
	TEXT(Error, message, reply, message, 4 * WIRE_TEXT_MAX_BYTES),
	TEXT(Error, master_address, reply, master_address, WIRE_ADDRESS_MAX_BYTES),
	U64(Error, epoch, reply, epoch),
	MS_UP(Error, retry_after_ms, reply, retry_after_ns),
	U64(Error, generation, reply, generation),
	U32_IF(Error, failed_op, reply, failed_op, has_failed_op),
};
const struct fields wire_error = FIELDS(error_rows);

static const struct field stat_rows[] = {
	ENUM(Stat, kind, wire_stat, kind, WIRE_NODE_DIRECTORY),
	BOOL(Stat, ephemeral, wire_stat, ephemeral),
	U64(Stat, instance, wire_stat, instance),
	U64(Stat, contents_generation, wire_stat, contents_generation),
	U64(Stat, lock_generation, wire_stat, lock_generation),
	U64(Stat, acl_generation, wire_stat, acl_generation),
	FIXED64(Stat, checksum, wire_stat, checksum),
	U32(Stat, size_bytes, wire_stat, size_bytes),
	U32(Stat, child_count, wire_stat, child_count),
	ENUM(Stat, lock_mode, wire_stat, lock_mode, WIRE_LOCK_EXCLUSIVE),
	U32(Stat, holder_count, wire_stat, holder_count),
	U32(Stat, waiter_count, wire_stat, waiter_count),
	I64(Stat, created_unix_ms, wire_stat, created_unix_ms),
	I64(Stat, modified_unix_ms, wire_stat, modified_unix_ms),
	NAMES(Stat, acl, wire_stat, acl, WIRE_NAME_MAX_BYTES, FIELD_UTF8),
};
const struct fields wire_stat = FIELDS(stat_rows);

static const struct field grant_rows[] = {
	BYTES(Grant, sequencer, wire_grant, sequencer, WIRE_SEQUENCER_MAX_BYTES),
	U64(Grant, fencing_token, wire_grant, fencing_token),
	ENUM(Grant, mode, wire_grant, mode, WIRE_LOCK_EXCLUSIVE),
	U64(Grant, lock_generation, wire_grant, lock_generation),
	U64(Grant, revision, wire_grant, revision),
	U32(Grant, index, wire_grant, index),
};
const struct fields wire_grant = FIELDS(grant_rows);

static const struct field event_rows[] = {
	U64(Event, number, wire_event, number),
	ENUM(Event, kind, wire_event, kind, chubby_v1_EventKind_EVENT_LOST),
	U64(Event, handle_number, wire_event, handle_number),
	TEXT(Event, name, wire_event, name, WIRE_NAME_MAX_BYTES),
	U64(Event, revision, wire_event, revision),
};
const struct fields wire_event = FIELDS(event_rows);

static const struct field invalidation_rows[] = {
	U64(Invalidation, number, wire_invalidation, number),
	TEXT(Invalidation, path, wire_invalidation, path, WIRE_PATH_MAX_BYTES),
	BOOL(Invalidation, children, wire_invalidation, children),
	BOOL(Invalidation, everything, wire_invalidation, everything),
};
const struct fields wire_invalidation = FIELDS(invalidation_rows);

static const struct field dir_entry_rows[] = {
	TEXT(DirEntry, name, wire_dir_entry, name, WIRE_NAME_MAX_BYTES),
	MESSAGE(DirEntry, stat, wire_dir_entry, stat, &wire_stat),
};
const struct fields wire_dir_entry = FIELDS(dir_entry_rows);

static const struct field multi_op_rows[] = {
	ENUM(MultiOp, kind, wire_multi_op, kind, chubby_v1_MultiOp_Kind_RELEASE),
	TEXT(MultiOp, path, wire_multi_op, path, WIRE_PATH_MAX_BYTES),
	U64(MultiOp, number, wire_multi_op, number),
	BYTES(MultiOp, contents, wire_multi_op, contents, WIRE_CONTENTS_MAX_BYTES),
	ENUM(MultiOp, node_kind, wire_multi_op, node_kind, WIRE_NODE_DIRECTORY),
	ENUM(MultiOp, mode, wire_multi_op, mode, WIRE_LOCK_EXCLUSIVE),
	BYTES(MultiOp, handle, wire_multi_op, handle, WIRE_HANDLE_MAX_BYTES),
};
const struct fields wire_multi_op = FIELDS_BULK(multi_op_rows, wire_multi_op, contents);

/* ---- Admin ---- */

static const struct field replica_status_rows[] = {
	U32(ReplicaStatus, id, wire_replica_status, id),
	TEXT(ReplicaStatus, address, wire_replica_status, address, WIRE_ADDRESS_MAX_BYTES),
	TEXT(ReplicaStatus, peer_address, wire_replica_status, peer_address,
	     WIRE_ADDRESS_MAX_BYTES),
	ENUM(ReplicaStatus, state, wire_replica_status, state, WIRE_REPLICA_FAILED),
	BOOL(ReplicaStatus, voting, wire_replica_status, voting),
	U64(ReplicaStatus, revision, wire_replica_status, revision),
	U64(ReplicaStatus, chosen_slot, wire_replica_status, chosen_slot),
	MS_OPTIONAL(ReplicaStatus, heard_ms_ago, wire_replica_status, heard_ns_ago, 0),
	TEXT(ReplicaStatus, trouble, wire_replica_status, trouble, WIRE_TEXT_MAX_BYTES),
	BYTES(ReplicaStatus, digest, wire_replica_status, digest, 16),
	TEXT(ReplicaStatus, version, wire_replica_status, version, WIRE_NAME_MAX_BYTES),
};
const struct fields wire_replica_status = FIELDS(replica_status_rows);

static const struct field lock_party_rows[] = {
	U64(LockParty, session_id, wire_lock_party, session),
	U64(LockParty, handle_number, wire_lock_party, handle),
	ENUM(LockParty, mode, wire_lock_party, mode, WIRE_LOCK_EXCLUSIVE),
	TEXT(LockParty, principal, wire_lock_party, principal, WIRE_TEXT_MAX_BYTES),
	TEXT(LockParty, host, wire_lock_party, host, WIRE_TEXT_MAX_BYTES),
	U32(LockParty, pid, wire_lock_party, pid),
	TEXT(LockParty, command, wire_lock_party, command, WIRE_TEXT_MAX_BYTES),
	I64(LockParty, since_unix_ms, wire_lock_party, since_unix_ms),
	U64(LockParty, fencing_token, wire_lock_party, fencing_token),
	U64(LockParty, ticket, wire_lock_party, ticket),
};
const struct fields wire_lock_party = FIELDS(lock_party_rows);

static const struct field lock_status_rows[] = {
	TEXT(LockStatus, path, wire_lock_status, path, WIRE_PATH_MAX_BYTES),
	ENUM(LockStatus, mode, wire_lock_status, mode, WIRE_LOCK_EXCLUSIVE),
	U64(LockStatus, instance, wire_lock_status, instance),
	U64(LockStatus, lock_generation, wire_lock_status, lock_generation),
	MESSAGES(LockStatus, holders, wire_lock_status, holders, holder_count, &wire_lock_party,
		 WIRE_LIST_MAX),
	MESSAGES(LockStatus, waiters, wire_lock_status, waiters, shown_waiter_count,
		 &wire_lock_party, WIRE_LIST_MAX),
	U32(LockStatus, waiter_count, wire_lock_status, waiter_count),
	MS_UP(LockStatus, lock_delay_ms, wire_lock_status, lock_delay_ns),
	MS_UP(LockStatus, lock_delay_left_ms, wire_lock_status, lock_delay_left_ns),
};
const struct fields wire_lock_status = FIELDS(lock_status_rows);

static const struct field session_status_rows[] = {
	U64(SessionStatus, session_id, wire_session_status, session),
	TEXT(SessionStatus, principal, wire_session_status, principal, WIRE_TEXT_MAX_BYTES),
	TEXT(SessionStatus, host, wire_session_status, host, WIRE_TEXT_MAX_BYTES),
	U32(SessionStatus, pid, wire_session_status, pid),
	TEXT(SessionStatus, command, wire_session_status, command, WIRE_TEXT_MAX_BYTES),
	MS_DOWN(SessionStatus, lease_ms, wire_session_status, lease_ns),
	MS_DOWN(SessionStatus, left_ms, wire_session_status, left_ns),
	I64(SessionStatus, created_unix_ms, wire_session_status, created_unix_ms),
	U32(SessionStatus, lock_count, wire_session_status, lock_count),
	U32(SessionStatus, handle_count, wire_session_status, handle_count),
};
const struct fields wire_session_status = FIELDS(session_status_rows);
