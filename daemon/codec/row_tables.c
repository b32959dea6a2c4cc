/* The tables of record.proto: rows of state.db. */
#include "codec/tables.h"

#include "chubby/internal/record.pb.h"

#define FIELD_PACKAGE chubby_internal

static const struct field grant_rows[] = {
	U64(GrantId, revision, grant, revision),
	U32(GrantId, index, grant, index),
};
static const struct fields grant_fields = FIELDS(grant_rows);

static const struct field meta_rows[] = {
	FIXED64(MetaRow, cell_id_high, meta_wire, meta.cell_id_high),
	FIXED64(MetaRow, cell_id_low, meta_wire, meta.cell_id_low),
	BYTES(MetaRow, name, meta_wire, meta.name, CELL_NAME_MAX_BYTES),
	U64(MetaRow, revision, meta_wire, meta.revision),
	U64(MetaRow, epoch, meta_wire, meta.epoch),
	U32(MetaRow, master, meta_wire, meta.master),
	MESSAGE(MetaRow, master_ballot, meta_wire, meta.master_ballot, &codec_ballot),
	BYTES(MetaRow, handle_key, meta_wire, handle_key, FIELD_SIZE(cell_meta, handle_key)),
	I64(MetaRow, longest_lease_ns, meta_wire, meta.longest_lease_ns),
	I64(MetaRow, wall_unix_ms, meta_wire, meta.wall_unix_ms),
};

static const struct field keeper_rows[] = {
	U64(KeeperRow, session, keeper, session),
	U64(KeeperRow, handle, keeper, handle),
};
static const struct fields keeper_fields = FIELDS(keeper_rows);

static const struct field node_rows[] = {
	U64(NodeRow, instance, node, instance),
	U64(NodeRow, parent, node, parent),
	BYTES(NodeRow, path, node, path, CELL_PATH_MAX_BYTES),
	ENUM_REQUIRED(NodeRow, kind, node, kind, NODE_DIRECTORY),
	BOOL(NodeRow, ephemeral, node, ephemeral),
	BYTES(NodeRow, contents, node, contents, CELL_CONTENTS_MAX_BYTES),
	U64(NodeRow, contents_generation, node, contents_generation),
	U64(NodeRow, acl_generation, node, acl_generation),
	NAMES(NodeRow, acl, node, acl, CELL_NAME_MAX_BYTES, 0),
	I64(NodeRow, created_unix_ms, node, created_unix_ms),
	I64(NodeRow, modified_unix_ms, node, modified_unix_ms),
	MESSAGES(NodeRow, keepers, node, keepers, keeper_count, &keeper_fields, CODEC_ROW_LIST_MAX),
};

static const struct field holder_rows[] = {
	U64(HolderRow, session, lock_holder, session),
	U64(HolderRow, handle, lock_holder, handle),
	MESSAGE(HolderRow, grant, lock_holder, grant, &grant_fields),
	I64(HolderRow, lock_delay_ns, lock_holder, lock_delay_ns),
	I64(HolderRow, since_unix_ms, lock_holder, since_unix_ms),
};
static const struct fields holder_fields = FIELDS(holder_rows);

static const struct field waiter_rows[] = {
	U64(WaiterRow, session, lock_waiter, session),
	U64(WaiterRow, handle, lock_waiter, handle),
	U64(WaiterRow, ticket, lock_waiter, ticket),
	ENUM_REQUIRED(WaiterRow, mode, lock_waiter, mode, LOCK_EXCLUSIVE),
	I64(WaiterRow, lock_delay_ns, lock_waiter, lock_delay_ns),
	I64(WaiterRow, wait_ns, lock_waiter, wait_ns),
	I64(WaiterRow, since_unix_ms, lock_waiter, since_unix_ms),
};
static const struct fields waiter_fields = FIELDS(waiter_rows);

static const struct field lock_rows[] = {
	U64(LockRow, instance, lock, instance),
	ENUM(LockRow, mode, lock, mode, LOCK_EXCLUSIVE),
	U64(LockRow, generation, lock, generation),
	U64(LockRow, period, lock, period),
	MESSAGES(LockRow, holders, lock, holders, holder_count, &holder_fields, CODEC_ROW_LIST_MAX),
	MESSAGES(LockRow, waiters, lock, waiters, waiter_count, &waiter_fields, CELL_WAITERS_MAX),
	I64(LockRow, delay_ns, lock, delay_ns),
	U64(LockRow, delay_began, lock, delay_began),
	ENUM(LockRow, delay_after, lock, delay_after, LOCK_EXCLUSIVE),
};

static const struct field result_rows[] = {
	U64(ResultRow, number, stored_result, number),
	ENUM_REQUIRED(ResultRow, kind, stored_result, kind, ENTRY_KIND_END - 1),
	ENUM(ResultRow, error, stored_result, result.error, ERROR_WRONG_KIND),
	U64(ResultRow, revision, stored_result, result.revision),
	U64(ResultRow, instance, stored_result, result.instance),
	U64(ResultRow, generation, stored_result, result.generation),
	U64(ResultRow, session, stored_result, result.session),
	MESSAGE(ResultRow, grant, stored_result, result.grant, &grant_fields),
	U64(ResultRow, token, stored_result, result.token),
	U64(ResultRow, lock_generation, stored_result, result.lock_generation),
	U64(ResultRow, ticket, stored_result, result.ticket),
	BOOL(ResultRow, created, stored_result, result.created),
	ENUM(ResultRow, node_kind, stored_result, result.kind, NODE_DIRECTORY),
};
static const struct fields result_fields = FIELDS(result_rows);

static const struct field session_rows[] = {
	U64(SessionRow, id, session_wire, session.id),
	BYTES(SessionRow, principal, session_wire, session.principal, CELL_TEXT_MAX_BYTES),
	BYTES(SessionRow, host, session_wire, session.host, CELL_TEXT_MAX_BYTES),
	BYTES(SessionRow, command, session_wire, session.command, CELL_TEXT_MAX_BYTES),
	U32(SessionRow, pid, session_wire, session.pid),
	I64(SessionRow, lease_ns, session_wire, session.lease_ns),
	BOOL(SessionRow, caches, session_wire, session.caches),
	BOOL(SessionRow, ended, session_wire, session.ended),
	I64(SessionRow, created_unix_ms, session_wire, session.created_unix_ms),
	BOOL(SessionRow, marked, session_wire, marked),
	I64(SessionRow, mark_left_ns, session_wire, session.mark_left_ns),
	U64(SessionRow, mark_epoch, session_wire, session.mark_epoch),
	U64(SessionRow, lowest_unanswered, session_wire, session.lowest_unanswered),
	MESSAGES(SessionRow, results, session_wire, session.results, session.result_count,
		 &result_fields, CELL_RESULTS_MAX),
};

const struct fields codec_rows[ROW_SESSION + 1] = {
	[ROW_META] = FIELDS(meta_rows),
	[ROW_NODE] = FIELDS(node_rows),
	[ROW_LOCK] = FIELDS(lock_rows),
	[ROW_SESSION] = FIELDS(session_rows),
};
