/* The tables of record.proto: commands. Rows are in row_tables.c. */
#include "codec/tables.h"

#include "chubby/internal/record.pb.h"

#define FIELD_PACKAGE chubby_internal

static const struct field grant_rows[] = {
	U64(GrantId, revision, grant, revision),
	U32(GrantId, index, grant, index),
};
static const struct fields grant_fields = FIELDS(grant_rows);

static const struct field grant_guard_rows[] = {
	U64(GuardGrant, instance, grant_guard, instance),
	ENUM(GuardGrant, mode, grant_guard, mode, LOCK_EXCLUSIVE),
	MESSAGE(GuardGrant, grant, grant_guard, grant, &grant_fields),
	U64(GuardGrant, token, grant_guard, token),
};
static const struct fields grant_guard_fields = FIELDS(grant_guard_rows);

static const struct field digest_rows[] = {
	FIXED64(Digest, high, digest, high),
	FIXED64(Digest, low, digest, low),
};
static const struct fields digest_fields = FIELDS(digest_rows);

static const struct fields empty_fields = {0};

static const struct field epoch_rows[] = {
	U32(EpochBody, master, entry, epoch.master),
	MESSAGE(EpochBody, ballot, entry, epoch.ballot, &codec_ballot),
};
static const struct fields epoch_fields = FIELDS(epoch_rows);

static const struct field session_create_rows[] = {
	BYTES(SessionCreateBody, principal, entry, session_create.principal, CELL_TEXT_MAX_BYTES),
	BYTES(SessionCreateBody, host, entry, session_create.host, CELL_TEXT_MAX_BYTES),
	BYTES(SessionCreateBody, command, entry, session_create.command, CELL_TEXT_MAX_BYTES),
	U32(SessionCreateBody, pid, entry, session_create.pid),
	I64(SessionCreateBody, lease_ns, entry, session_create.lease_ns),
	BOOL(SessionCreateBody, caches, entry, session_create.caches),
};
static const struct fields session_create_fields = FIELDS(session_create_rows);

static const struct field session_end_rows[] = {
	ENUM_REQUIRED(SessionEndBody, reason, entry, session_end.reason, SESSION_END_IDLE),
};
static const struct fields session_end_fields = FIELDS(session_end_rows);

static const struct field node_create_rows[] = {
	BYTES(NodeCreateBody, path, entry, node_create.path, CELL_PATH_MAX_BYTES),
	ENUM_REQUIRED(NodeCreateBody, kind, entry, node_create.kind, NODE_DIRECTORY),
	BYTES(NodeCreateBody, contents, entry, node_create.contents, CELL_CONTENTS_MAX_BYTES),
	BOOL(NodeCreateBody, ephemeral, entry, node_create.ephemeral),
	BOOL(NodeCreateBody, exclusive, entry, node_create.exclusive),
	NAMES(NodeCreateBody, acl, entry, node_create.acl, CELL_NAME_MAX_BYTES, 0),
	U64(NodeCreateBody, handle, entry, node_create.handle),
};
static const struct fields node_create_fields = FIELDS_BULK(node_create_rows, entry,
							    node_create.contents);

static const struct field node_delete_rows[] = {
	U64(NodeDeleteBody, instance, entry, node_delete.instance),
	U64(NodeDeleteBody, expected_generation, entry, node_delete.expected_generation),
};
static const struct fields node_delete_fields = FIELDS(node_delete_rows);

static const struct field node_write_rows[] = {
	U64(NodeWriteBody, instance, entry, node_write.instance),
	U64(NodeWriteBody, expected_generation, entry, node_write.expected_generation),
	BYTES(NodeWriteBody, contents, entry, node_write.contents, CELL_CONTENTS_MAX_BYTES),
};
static const struct fields node_write_fields = FIELDS_BULK(node_write_rows, entry,
							   node_write.contents);

static const struct field node_set_acl_rows[] = {
	U64(NodeSetAclBody, instance, entry, node_set_acl.instance),
	U64(NodeSetAclBody, expected_generation, entry, node_set_acl.expected_generation),
	NAMES(NodeSetAclBody, acl, entry, node_set_acl.acl, CELL_NAME_MAX_BYTES, 0),
};
static const struct fields node_set_acl_fields = FIELDS(node_set_acl_rows);

static const struct field keep_rows[] = {
	U64(HandleBody, instance, entry, keep.instance),
	U64(HandleBody, handle, entry, keep.handle),
};
static const struct fields keep_fields = FIELDS(keep_rows);

static const struct field release_rows[] = {
	U64(HandleBody, instance, entry, release.instance),
	U64(HandleBody, handle, entry, release.handle),
};
static const struct fields release_fields = FIELDS(release_rows);

static const struct field acquire_rows[] = {
	U64(AcquireBody, instance, entry, acquire.instance),
	U64(AcquireBody, handle, entry, acquire.handle),
	ENUM_REQUIRED(AcquireBody, mode, entry, acquire.mode, LOCK_EXCLUSIVE),
	BOOL(AcquireBody, try_only, entry, acquire.try_only),
	I64(AcquireBody, lock_delay_ns, entry, acquire.lock_delay_ns),
	I64(AcquireBody, wait_ns, entry, acquire.wait_ns),
};
static const struct fields acquire_fields = FIELDS(acquire_rows);

static const struct field cancel_rows[] = {
	U64(CancelBody, instance, entry, cancel.instance),
	U64(CancelBody, handle, entry, cancel.handle),
	U64(CancelBody, ticket, entry, cancel.ticket),
	BOOL(CancelBody, expired, entry, cancel.expired),
};
static const struct fields cancel_fields = FIELDS(cancel_rows);

static const struct field lock_delay_end_rows[] = {
	U64(LockDelayEndBody, instance, entry, lock_delay_end.instance),
	U64(LockDelayEndBody, began, entry, lock_delay_end.began),
};
static const struct fields lock_delay_end_fields = FIELDS(lock_delay_end_rows);

static const struct field revoke_rows[] = {
	U64(RevokeBody, instance, entry, revoke.instance),
	MESSAGE(RevokeBody, grant, entry, revoke.grant, &grant_fields),
};
static const struct fields revoke_fields = FIELDS(revoke_rows);

static const struct field multi_op_rows[] = {
	ENUM_REQUIRED(MultiOpBody, kind, multi_op, kind, MULTI_RELEASE),
	BYTES(MultiOpBody, path, multi_op, path, CELL_PATH_MAX_BYTES),
	U64(MultiOpBody, instance, multi_op, instance),
	U64(MultiOpBody, number, multi_op, number),
	U64(MultiOpBody, handle, multi_op, handle),
	ENUM(MultiOpBody, mode, multi_op, mode, LOCK_EXCLUSIVE),
	ENUM(MultiOpBody, node_kind, multi_op, node_kind, NODE_DIRECTORY),
	BYTES(MultiOpBody, contents, multi_op, contents, CELL_CONTENTS_MAX_BYTES),
};
static const struct fields multi_op_fields = FIELDS_BULK(multi_op_rows, multi_op, contents);

static const struct field multi_rows[] = {
	MESSAGES(MultiBody, ops, entry, multi.ops, multi.count, &multi_op_fields, MULTI_OPS_MAX),
};
static const struct fields multi_fields = FIELDS(multi_rows);

static const struct field mark_rows[] = {
	U64(MarkBody, session, session_mark, session),
	I64(MarkBody, left_ns, session_mark, left_ns),
};
static const struct fields mark_fields = FIELDS(mark_rows);

static const struct field session_mark_rows[] = {
	MESSAGES(SessionMarkBody, marks, entry, session_mark.marks, session_mark.count,
		 &mark_fields, CODEC_MARKS_MAX),
};
static const struct fields session_mark_fields = FIELDS(session_mark_rows);

static const struct field lease_raise_rows[] = {
	I64(LeaseRaiseBody, lease_ns, entry, lease_raise.lease_ns),
};
static const struct fields lease_raise_fields = FIELDS(lease_raise_rows);

static const struct field digest_body_rows[] = {
	U64(DigestBody, revision, entry, digest.revision),
	MESSAGE(DigestBody, digest, entry, digest.digest, &digest_fields),
};
static const struct fields digest_body_fields = FIELDS(digest_body_rows);

#define BODY(f, number, table) CASE(Entry, f, entry, kind, number, &table##_fields)

static const struct field entry_rows[] = {
	U64(Entry, origin_epoch, entry, origin_epoch),
	U64(Entry, origin_number, entry, origin_number),
	I64(Entry, wall_unix_ms, entry, wall_unix_ms),
	U64(Entry, session, entry, session),
	U64(Entry, number, entry, number),
	U64(Entry, lowest_unanswered, entry, lowest_unanswered),
	U64(Entry, guard_epoch, entry, guard_epoch),
	MESSAGE(Entry, guard_grant, entry, guard_grant, &grant_guard_fields),
	BODY(epoch, ENTRY_EPOCH, epoch),
	BODY(session_create, ENTRY_SESSION_CREATE, session_create),
	BODY(session_end, ENTRY_SESSION_END, session_end),
	BODY(node_create, ENTRY_NODE_CREATE, node_create),
	BODY(node_delete, ENTRY_NODE_DELETE, node_delete),
	BODY(node_write, ENTRY_NODE_WRITE, node_write),
	BODY(node_set_acl, ENTRY_NODE_SET_ACL, node_set_acl),
	BODY(keep, ENTRY_KEEP, keep),
	BODY(close, ENTRY_CLOSE, keep),
	BODY(reap, ENTRY_NODE_REAP, keep),
	BODY(acquire, ENTRY_ACQUIRE, acquire),
	BODY(release, ENTRY_RELEASE, release),
	BODY(cancel, ENTRY_CANCEL, cancel),
	BODY(lock_delay_end, ENTRY_LOCK_DELAY_END, lock_delay_end),
	BODY(revoke, ENTRY_REVOKE, revoke),
	BODY(multi, ENTRY_MULTI, multi),
	BODY(session_mark, ENTRY_SESSION_MARK, session_mark),
	BODY(session_unmark, ENTRY_SESSION_UNMARK, empty),
	BODY(session_caches, ENTRY_SESSION_CACHES, empty),
	BODY(lease_raise, ENTRY_LEASE_RAISE, lease_raise),
	BODY(digest, ENTRY_DIGEST, digest_body),
};
const struct fields codec_entry = FIELDS(entry_rows);
