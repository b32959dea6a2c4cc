#include "wire/message.h"

#include "wire/codec.h"

#include <stddef.h>

struct kind_row {
	const char *name;
	const char *path; /* NULL: no method */
	bool numbered;
};

#define CHUBBY_METHOD(name, numbered)                                                              \
	{                                                                                          \
		name, "/chubby.v1.Chubby/" name, numbered                                          \
	}
#define ADMIN_METHOD(name)                                                                         \
	{                                                                                          \
		name, "/chubby.v1.Admin/" name, false                                              \
	}

/* Numbered are the mutations of a session: those whose result is stored and repeated. */
static const struct kind_row kinds[MESSAGE_KIND_END] = {
	[MESSAGE_FIND_MASTER] = CHUBBY_METHOD("FindMaster", false),
	[MESSAGE_CREATE_SESSION] = CHUBBY_METHOD("CreateSession", false),
	[MESSAGE_KEEP_ALIVE] = CHUBBY_METHOD("KeepAlive", false),
	[MESSAGE_END_SESSION] = CHUBBY_METHOD("EndSession", false),
	[MESSAGE_OPEN] = CHUBBY_METHOD("Open", true),
	[MESSAGE_CLOSE] = CHUBBY_METHOD("Close", false),
	[MESSAGE_GET_CONTENTS_AND_STAT] = CHUBBY_METHOD("GetContentsAndStat", false),
	[MESSAGE_GET_STAT] = CHUBBY_METHOD("GetStat", false),
	[MESSAGE_READ_DIR] = CHUBBY_METHOD("ReadDir", false),
	[MESSAGE_SET_CONTENTS] = CHUBBY_METHOD("SetContents", true),
	[MESSAGE_SET_ACL] = CHUBBY_METHOD("SetAcl", true),
	[MESSAGE_DELETE] = CHUBBY_METHOD("Delete", true),
	[MESSAGE_ACQUIRE] = CHUBBY_METHOD("Acquire", true),
	[MESSAGE_WAIT] = CHUBBY_METHOD("Wait", false),
	[MESSAGE_CANCEL] = CHUBBY_METHOD("Cancel", true),
	[MESSAGE_RELEASE] = CHUBBY_METHOD("Release", true),
	[MESSAGE_CHECK_SEQUENCER] = CHUBBY_METHOD("CheckSequencer", false),
	[MESSAGE_MULTI] = CHUBBY_METHOD("Multi", true),
	[MESSAGE_STATUS] = ADMIN_METHOD("Status"),
	[MESSAGE_LIST_LOCKS] = ADMIN_METHOD("ListLocks"),
	[MESSAGE_LIST_SESSIONS] = ADMIN_METHOD("ListSessions"),
	[MESSAGE_END_SESSION_OF] = ADMIN_METHOD("EndSessionOf"),
	[MESSAGE_REVOKE_LOCK] = ADMIN_METHOD("RevokeLock"),
	[MESSAGE_TRANSFER_MASTER] = ADMIN_METHOD("TransferMaster"),
	[MESSAGE_WAIT_ENDED] = {"WaitEnded", NULL, false},
	[MESSAGE_SESSION_ENDED] = {"SessionEnded", NULL, false},
};

static const struct kind_row *kind_row(enum message_kind kind)
{
	return (unsigned)kind < MESSAGE_KIND_END ? &kinds[kind] : &kinds[MESSAGE_NONE];
}

const char *message_kind_name(enum message_kind kind)
{
	return kind_row(kind)->name;
}

bool message_is_numbered(enum message_kind kind)
{
	return kind_row(kind)->numbered;
}

const char *wire_method_path(enum message_kind kind)
{
	return kind_row(kind)->path;
}
