/* The tables of all replies and pushes, and of the envelope that carries them. */
#include "wire/tables.h"

#include "chubby/v1/admin.pb.h"
#include "chubby/v1/chubby.pb.h"

#define FIELD_PACKAGE chubby_v1

#define REVISION(m) U64(m, revision, reply, revision)
#define GRANT(m, at) MESSAGE_IF(m, grant, reply, at, &wire_grant, at.present)

static const struct field find_master_rows[] = {
	TEXT(FindMasterReply, address, reply, find_master.address, WIRE_ADDRESS_MAX_BYTES),
	U32(FindMasterReply, replica_id, reply, find_master.replica),
	U64(FindMasterReply, epoch, reply, epoch),
	TEXTS(FindMasterReply, servers, reply, find_master.servers, find_master.server_count,
	      WIRE_SERVERS_MAX),
};

static const struct field create_session_rows[] = {
	U64(CreateSessionReply, session_id, reply, create_session.session),
	U64(CreateSessionReply, epoch, reply, epoch),
	MS_DOWN(CreateSessionReply, lease_ms, reply, create_session.lease_ns),
};

static const struct field keep_alive_rows[] = {
	U64(KeepAliveReply, epoch, reply, epoch),
	MS_DOWN(KeepAliveReply, held_ms, reply, keep_alive.held_ns),
	MS_DOWN(KeepAliveReply, left_ms, reply, keep_alive.left_ns),
	BOOL(KeepAliveReply, failed_over, reply, keep_alive.failed_over),
	MESSAGES(KeepAliveReply, events, reply, keep_alive.events, keep_alive.event_count,
		 &wire_event, WIRE_EVENTS_MAX),
	MESSAGES(KeepAliveReply, invalidations, reply, keep_alive.invalidations,
		 keep_alive.invalidation_count, &wire_invalidation, WIRE_INVALIDATIONS_MAX),
};

static const struct field open_rows[] = {
	BYTES(OpenReply, handle, reply, open.handle, WIRE_HANDLE_MAX_BYTES),
	BOOL(OpenReply, created, reply, open.created),
	MESSAGE(OpenReply, stat, reply, open.stat, &wire_stat),
};

static const struct field get_contents_and_stat_rows[] = {
	MESSAGE(GetContentsAndStatReply, stat, reply, get_contents_and_stat.stat, &wire_stat),
	BYTES(GetContentsAndStatReply, contents, reply, get_contents_and_stat.contents,
	      WIRE_CONTENTS_MAX_BYTES),
	BOOL(GetContentsAndStatReply, cachable, reply, get_contents_and_stat.cachable),
	REVISION(GetContentsAndStatReply),
};

static const struct field get_stat_rows[] = {
	MESSAGE(GetStatReply, stat, reply, get_contents_and_stat.stat, &wire_stat),
	BOOL(GetStatReply, cachable, reply, get_contents_and_stat.cachable),
	REVISION(GetStatReply),
};

static const struct field read_dir_rows[] = {
	MESSAGES(ReadDirReply, entries, reply, read_dir.entries, read_dir.count, &wire_dir_entry,
		 WIRE_READ_DIR_LIMIT),
	BOOL(ReadDirReply, more, reply, read_dir.more),
	BOOL(ReadDirReply, cachable, reply, read_dir.cachable),
	REVISION(ReadDirReply),
};

static const struct field set_contents_rows[] = {
	U64(SetContentsReply, generation, reply, generation),
	REVISION(SetContentsReply),
};

static const struct field set_acl_rows[] = {
	U64(SetAclReply, generation, reply, generation),
	REVISION(SetAclReply),
};

static const struct field delete_rows[] = {
	REVISION(DeleteReply),
};

static const struct field acquire_rows[] = {
	GRANT(AcquireReply, acquire.grant),
	U64(AcquireReply, ticket, reply, acquire.ticket),
};

static const struct field wait_rows[] = {
	GRANT(WaitReply, wait.grant),
};

static const struct field cancel_rows[] = {
	GRANT(CancelReply, wait.grant),
};

static const struct field release_rows[] = {
	REVISION(ReleaseReply),
};

static const struct field check_sequencer_rows[] = {
	BOOL(CheckSequencerReply, valid, reply, check_sequencer.valid),
	U64(CheckSequencerReply, fencing_token, reply, check_sequencer.fencing_token),
	TEXT(CheckSequencerReply, path, reply, check_sequencer.path, WIRE_PATH_MAX_BYTES),
	ENUM(CheckSequencerReply, mode, reply, check_sequencer.mode, WIRE_LOCK_EXCLUSIVE),
};

static const struct field multi_rows[] = {
	REVISION(MultiReply),
	U32(MultiReply, failed_op, reply, failed_op),
	MESSAGES(MultiReply, grants, reply, multi.grants, multi.grant_count, &wire_grant,
		 WIRE_MULTI_MAX),
};

/* ---- Admin ---- */

static const struct field status_rows[] = {
	TEXT(StatusReply, cell, reply, status.cell, WIRE_NAME_MAX_BYTES),
	U32(StatusReply, replica_id, reply, status.replica),
	U32(StatusReply, master_id, reply, status.master),
	TEXT(StatusReply, master_address, reply, status.master_address, WIRE_ADDRESS_MAX_BYTES),
	U64(StatusReply, epoch, reply, epoch),
	U32(StatusReply, tolerates, reply, status.tolerates),
	MESSAGES(StatusReply, replicas, reply, status.replicas, status.replica_count,
		 &wire_replica_status, WIRE_SERVERS_MAX),
	U64(StatusReply, node_count, reply, status.node_count),
	U64(StatusReply, session_count, reply, status.session_count),
	MS64(StatusReply, uptime_ms, reply, status.uptime_ns),
	U64(StatusReply, resident_bytes, reply, status.resident_bytes),
};

static const struct field list_locks_rows[] = {
	MESSAGES(ListLocksReply, locks, reply, list_locks.locks, list_locks.count,
		 &wire_lock_status, WIRE_LIST_MAX),
	U64(ListLocksReply, next, reply, list_locks.next),
	REVISION(ListLocksReply),
	I64(ListLocksReply, now_unix_ms, reply, list_locks.now_unix_ms),
};

static const struct field list_sessions_rows[] = {
	MESSAGES(ListSessionsReply, sessions, reply, list_sessions.sessions, list_sessions.count,
		 &wire_session_status, WIRE_LIST_MAX),
	U64(ListSessionsReply, next, reply, list_sessions.next),
	I64(ListSessionsReply, now_unix_ms, reply, list_sessions.now_unix_ms),
};

static const struct field revoke_lock_rows[] = {
	U32(RevokeLockReply, revoked, reply, revoke_lock.revoked),
};

/* ---- pushes ---- */

static const struct field wait_ended_rows[] = {
	U64(WaitEnded, ticket, reply, wait_ended.ticket),
	U64(WaitEnded, handle_number, reply, wait_ended.handle_number),
	GRANT(WaitEnded, wait_ended.grant),
	FLAT_IF_ERROR(WaitEnded, error, reply, &wire_error, error),
};

static const struct field session_ended_rows[] = {
	FLAT_IF_ERROR(SessionEnded, error, reply, &wire_error, error),
};

const struct fields wire_replies[MESSAGE_KIND_END] = {
	[MESSAGE_FIND_MASTER] = FIELDS(find_master_rows),
	[MESSAGE_CREATE_SESSION] = FIELDS(create_session_rows),
	[MESSAGE_KEEP_ALIVE] = FIELDS(keep_alive_rows),
	[MESSAGE_OPEN] = FIELDS(open_rows),
	[MESSAGE_GET_CONTENTS_AND_STAT] = FIELDS_BULK(get_contents_and_stat_rows, reply,
						      get_contents_and_stat.contents),
	[MESSAGE_GET_STAT] = FIELDS(get_stat_rows),
	[MESSAGE_READ_DIR] = FIELDS(read_dir_rows),
	[MESSAGE_SET_CONTENTS] = FIELDS(set_contents_rows),
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
	[MESSAGE_REVOKE_LOCK] = FIELDS(revoke_lock_rows),
	[MESSAGE_WAIT_ENDED] = FIELDS(wait_ended_rows),
	[MESSAGE_SESSION_ENDED] = FIELDS(session_ended_rows),
};

#define BODY(f, number)                                                                            \
	CASE(ServerEnvelope, f, server_envelope, reply.kind, number, &wire_replies[number])

/* A refusal has the kind MESSAGE_NONE, so that no body goes with it; a push that carries an error
 * has it inside its own message. */
static const struct field server_envelope_rows[] = {
	U64(ServerEnvelope, call_id, server_envelope, call_id),
	FLAT_IF_ERROR(ServerEnvelope, error, server_envelope, &wire_error, refusal),
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
	BODY(wait_ended, MESSAGE_WAIT_ENDED),
	BODY(session_ended, MESSAGE_SESSION_ENDED),
};
const struct fields wire_server_envelope = FIELDS(server_envelope_rows);
