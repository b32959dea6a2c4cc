/* The tables of all requests, and of the envelope that carries them on the Session stream. */
#include "wire/tables.h"

#include "chubby/v1/admin.pb.h"
#include "chubby/v1/chubby.pb.h"

#define FIELD_PACKAGE chubby_v1

/* Whether a cell's name is one, wire/path.h says; here it is only bounded. */
#define CELL_TEXT_MAX 255

_Static_assert(WIRE_CREATE_MUST == (int)chubby_v1_OpenRequest_Create_CREATE_MUST,
	       "ways to create differ");

static const struct field header_rows[] = {
	U64(Header, session_id, request, session),
	U64(Header, epoch, request, epoch),
	U64(Header, number, request, number),
	U64(Header, lowest_unanswered, request, lowest_unanswered),
	TEXT(Header, cell, request, cell, CELL_TEXT_MAX),
	BYTES(Header, guard_sequencer, request, guard_sequencer, WIRE_SEQUENCER_MAX_BYTES),
};
static const struct fields header = FIELDS(header_rows);

#define HEADER(m) FLAT(m, header, &header)
#define HANDLE(m) BYTES(m, handle, request, handle, WIRE_HANDLE_MAX_BYTES)
#define CELL(m) TEXT(m, cell, request, cell, CELL_TEXT_MAX)

static const struct field find_master_rows[] = {
	MS_UP(FindMasterRequest, wait_ms, request, find_master.wait_ns),
	CELL(FindMasterRequest),
};

static const struct field create_session_rows[] = {
	CELL(CreateSessionRequest),
	MS_UP(CreateSessionRequest, lease_ms, request, create_session.lease_ns),
	BOOL(CreateSessionRequest, caches, request, create_session.caches),
	TEXT(CreateSessionRequest, host, request, create_session.host, WIRE_TEXT_MAX_BYTES),
	U32(CreateSessionRequest, pid, request, create_session.pid),
	TEXT(CreateSessionRequest, command, request, create_session.command, WIRE_TEXT_MAX_BYTES),
};

static const struct field keep_alive_rows[] = {
	HEADER(KeepAliveRequest),
	U64S(KeepAliveRequest, acked_invalidations, request, keep_alive.acked_invalidations,
	     keep_alive.acked_invalidation_count, 4 * WIRE_INVALIDATIONS_MAX),
	U64(KeepAliveRequest, acked_events, request, keep_alive.acked_events),
	BOOL(KeepAliveRequest, immediate, request, keep_alive.immediate),
};

static const struct field end_session_rows[] = {
	HEADER(EndSessionRequest),
};

static const struct field open_rows[] = {
	HEADER(OpenRequest),
	TEXT(OpenRequest, path, request, open.path, WIRE_PATH_MAX_BYTES),
	U64(OpenRequest, handle_number, request, open.handle_number),
	BOOL(OpenRequest, read, request, open.read),
	BOOL(OpenRequest, write, request, open.write),
	BOOL(OpenRequest, change_acl, request, open.change_acl),
	ENUM(OpenRequest, create, request, open.create, WIRE_CREATE_MUST),
	ENUM(OpenRequest, kind, request, open.kind, WIRE_NODE_DIRECTORY),
	BOOL(OpenRequest, ephemeral, request, open.ephemeral),
	BYTES(OpenRequest, contents, request, open.contents, WIRE_CONTENTS_MAX_BYTES),
	NAMES(OpenRequest, acl, request, open.acl, WIRE_NAME_MAX_BYTES, FIELD_UTF8),
	MASK(OpenRequest, events, request, open.event_mask, chubby_v1_EventKind_EVENT_LOST),
	BYTES(OpenRequest, relative_to, request, open.relative_to, WIRE_HANDLE_MAX_BYTES),
};

static const struct field close_rows[] = {
	HEADER(CloseRequest),
	HANDLE(CloseRequest),
};

static const struct field get_contents_and_stat_rows[] = {
	HEADER(GetContentsAndStatRequest),
	HANDLE(GetContentsAndStatRequest),
};

static const struct field get_stat_rows[] = {
	HEADER(GetStatRequest),
	HANDLE(GetStatRequest),
};

static const struct field read_dir_rows[] = {
	HEADER(ReadDirRequest),
	HANDLE(ReadDirRequest),
	TEXT(ReadDirRequest, after, request, read_dir.after, WIRE_NAME_MAX_BYTES),
	U32(ReadDirRequest, limit, request, read_dir.limit),
};

static const struct field set_contents_rows[] = {
	HEADER(SetContentsRequest),
	HANDLE(SetContentsRequest),
	BYTES(SetContentsRequest, contents, request, set_contents.contents,
	      WIRE_CONTENTS_MAX_BYTES),
	U64(SetContentsRequest, expected_generation, request, set_contents.expected_generation),
};

static const struct field set_acl_rows[] = {
	HEADER(SetAclRequest),
	HANDLE(SetAclRequest),
	NAMES(SetAclRequest, acl, request, set_acl.acl, WIRE_NAME_MAX_BYTES, FIELD_UTF8),
	U64(SetAclRequest, expected_generation, request, set_acl.expected_generation),
};

static const struct field delete_rows[] = {
	HEADER(DeleteRequest),
	HANDLE(DeleteRequest),
	U64(DeleteRequest, expected_generation, request, delete_node.expected_generation),
};

static const struct field acquire_rows[] = {
	HEADER(AcquireRequest),
	HANDLE(AcquireRequest),
	ENUM(AcquireRequest, mode, request, acquire.mode, WIRE_LOCK_EXCLUSIVE),
	BOOL(AcquireRequest, try_only, request, acquire.try_only),
	MS_UP(AcquireRequest, wait_ms, request, acquire.wait_ns),
	MS_OPTIONAL(AcquireRequest, lock_delay_ms, request, acquire.lock_delay_ns, FIELD_ROUND_UP),
};

static const struct field wait_rows[] = {
	HEADER(WaitRequest),
	HANDLE(WaitRequest),
	U64(WaitRequest, ticket, request, wait.ticket),
	MS_UP(WaitRequest, wait_ms, request, wait.wait_ns),
};

static const struct field cancel_rows[] = {
	HEADER(CancelRequest),
	HANDLE(CancelRequest),
	U64(CancelRequest, ticket, request, cancel.ticket),
};

static const struct field release_rows[] = {
	HEADER(ReleaseRequest),
	HANDLE(ReleaseRequest),
};

static const struct field check_sequencer_rows[] = {
	BYTES(CheckSequencerRequest, sequencer, request, check_sequencer.sequencer,
	      WIRE_SEQUENCER_MAX_BYTES),
	CELL(CheckSequencerRequest),
};

static const struct field multi_rows[] = {
	HEADER(MultiRequest),
	MESSAGES(MultiRequest, ops, request, multi.ops, multi.count, &wire_multi_op,
		 WIRE_MULTI_MAX),
};

/* ---- Admin ---- */

static const struct field status_rows[] = {
	CELL(StatusRequest),
};

static const struct field list_locks_rows[] = {
	CELL(ListLocksRequest),
	TEXT(ListLocksRequest, path, request, list_locks.path, WIRE_PATH_MAX_BYTES),
	BOOL(ListLocksRequest, all, request, list_locks.all),
	U64(ListLocksRequest, after, request, list_locks.after),
	U32(ListLocksRequest, limit, request, list_locks.limit),
};

static const struct field list_sessions_rows[] = {
	CELL(ListSessionsRequest),
	U64(ListSessionsRequest, after, request, list_sessions.after),
	U32(ListSessionsRequest, limit, request, list_sessions.limit),
};

static const struct field end_session_of_rows[] = {
	CELL(EndSessionOfRequest),
	U64(EndSessionOfRequest, session_id, request, end_session_of.session),
};

static const struct field revoke_lock_rows[] = {
	CELL(RevokeLockRequest),
	TEXT(RevokeLockRequest, path, request, revoke_lock.path, WIRE_PATH_MAX_BYTES),
	U64(RevokeLockRequest, session_id, request, revoke_lock.session),
};

static const struct field transfer_master_rows[] = {
	CELL(TransferMasterRequest),
	U32(TransferMasterRequest, to_replica_id, request, transfer_master.to),
};

const struct fields wire_requests[MESSAGE_KIND_END] = {
	[MESSAGE_FIND_MASTER] = FIELDS(find_master_rows),
	[MESSAGE_CREATE_SESSION] = FIELDS(create_session_rows),
	[MESSAGE_KEEP_ALIVE] = FIELDS(keep_alive_rows),
	[MESSAGE_END_SESSION] = FIELDS(end_session_rows),
	[MESSAGE_OPEN] = FIELDS_BULK(open_rows, request, open.contents),
	[MESSAGE_CLOSE] = FIELDS(close_rows),
	[MESSAGE_GET_CONTENTS_AND_STAT] = FIELDS(get_contents_and_stat_rows),
	[MESSAGE_GET_STAT] = FIELDS(get_stat_rows),
	[MESSAGE_READ_DIR] = FIELDS(read_dir_rows),
	[MESSAGE_SET_CONTENTS] = FIELDS_BULK(set_contents_rows, request, set_contents.contents),
	[MESSAGE_SET_ACL] = FIELDS(set_acl_rows),
	[MESSAGE_DELETE] = FIELDS(delete_rows),
	[MESSAGE_ACQUIRE] = FIELDS(acquire_rows),
	[MESSAGE_WAIT] = FIELDS(wait_rows),
	[MESSAGE_CANCEL] = FIELDS(cancel_rows),
	[MESSAGE_RELEASE] = FIELDS(release_rows),
	[MESSAGE_CHECK_SEQUENCER] = FIELDS(check_sequencer_rows),
	[MESSAGE_MULTI] = FIELDS(multi_rows),
	[MESSAGE_STATUS] = FIELDS(status_rows),
	[MESSAGE_LIST_LOCKS] = FIELDS(list_locks_rows),
	[MESSAGE_LIST_SESSIONS] = FIELDS(list_sessions_rows),
	[MESSAGE_END_SESSION_OF] = FIELDS(end_session_of_rows),
	[MESSAGE_REVOKE_LOCK] = FIELDS(revoke_lock_rows),
	[MESSAGE_TRANSFER_MASTER] = FIELDS(transfer_master_rows),
};

#define BODY(f, number)                                                                            \
	CASE(ClientEnvelope, f, client_envelope, request.kind, number, &wire_requests[number])

static const struct field client_envelope_rows[] = {
	U64(ClientEnvelope, call_id, client_envelope, call_id),
	BODY(find_master, MESSAGE_FIND_MASTER),
	BODY(create_session, MESSAGE_CREATE_SESSION),
	BODY(keep_alive, MESSAGE_KEEP_ALIVE),
	BODY(end_session, MESSAGE_END_SESSION),
	BODY(open, MESSAGE_OPEN),
	BODY(close, MESSAGE_CLOSE),
	BODY(get_contents_and_stat, MESSAGE_GET_CONTENTS_AND_STAT),
	BODY(get_stat, MESSAGE_GET_STAT),
	BODY(read_dir, MESSAGE_READ_DIR),
	BODY(set_contents, MESSAGE_SET_CONTENTS),
	BODY(set_acl, MESSAGE_SET_ACL),
	BODY(delete, MESSAGE_DELETE),
	BODY(acquire, MESSAGE_ACQUIRE),
	BODY(wait, MESSAGE_WAIT),
	BODY(cancel, MESSAGE_CANCEL),
	BODY(release, MESSAGE_RELEASE),
	BODY(check_sequencer, MESSAGE_CHECK_SEQUENCER),
	BODY(multi, MESSAGE_MULTI),
};
const struct fields wire_client_envelope = FIELDS(client_envelope_rows);
