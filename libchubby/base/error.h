/*
 * The one table of errors: number, name, gRPC status, exit code, text.
 *
 * The numbers are the protocol's (chubby.v1.Code) and the library's (enum chubby_code in
 * chubby.h); they never change. A result that is part of normal life (a lock that is busy, a
 * generation that moved on) has a code of its own, so that no caller has to read text.
 */
#ifndef CHUBBY_BASE_ERROR_H
#define CHUBBY_BASE_ERROR_H

/* A table for people keeps its columns. */
/* clang-format off */
/*      name                  number gRPC exit  text */
#define ERROR_TABLE(X)                                                                             \
	X(OK,                      0,  0,  0, "ok")                                                \
	X(INVALID_ARGUMENT,        1,  3, 64, "invalid argument")                                  \
	X(INVALID_PATH,            2,  3, 64, "invalid path")                                      \
	X(WRONG_CELL,              3,  3, 64, "the path or request names another cell")            \
	X(TOO_LARGE,               4,  3,  1, "too large")                                         \
	X(NOT_FOUND,               5,  5,  2, "not found")                                         \
	X(EXISTS,                  6,  6,  1, "exists already")                                    \
	X(NOT_EMPTY,               7,  9,  1, "directory is not empty")                            \
	X(NOT_DIRECTORY,           8,  9,  1, "not a directory")                                   \
	X(IS_DIRECTORY,            9,  9,  1, "is a directory")                                    \
	X(GENERATION_MISMATCH,    10,  9,  1, "generation has changed")                            \
	X(HANDLE_INVALID,         11,  9,  1, "handle is invalid")                                 \
	X(HANDLE_CLOSED,          12,  9,  1, "handle is closed")                                  \
	X(HANDLE_STALE,           13,  9,  1, "the node that the handle was opened on is gone")    \
	X(LOCK_HELD,              14,  9,  1, "lock is held or in lock-delay")                     \
	X(BUSY,                   15, 10, 75, "lock is busy")                                      \
	X(ALREADY_HELD,           16,  9,  1, "this handle holds or awaits the lock already")      \
	X(NOT_HELD,               17,  9,  1, "lock is not held by this handle")                   \
	X(SEQUENCER_INVALID,      18,  9,  3, "sequencer is not valid")                            \
	X(SESSION_EXPIRED,        19,  9, 76, "session has ended or expired")                      \
	X(EPOCH_CHANGED,          20, 10, 69, "the master changed; ask again with the new epoch")  \
	X(NOT_MASTER,             21, 14, 69, "this replica is not the master")                    \
	X(UNAVAILABLE,            22, 14, 69, "no master: fewer than a majority answer")           \
	X(REQUEST_OUT_OF_WINDOW,  23,  9,  1, "request number is outside the window")              \
	X(RESOURCE_EXHAUSTED,     24,  8, 75, "a limit is reached; try again later")               \
	X(PERMISSION_DENIED,      25,  7, 77, "permission denied")                                 \
	X(UNAUTHENTICATED,        26, 16, 77, "not authenticated")                                 \
	X(CANCELLED,              27,  1, 75, "cancelled")                                         \
	X(DEADLINE_EXCEEDED,      28,  4, 75, "deadline exceeded")                                 \
	X(LOCK_LOST,              29, 10, 76, "lock was lost")                                     \
	X(OUTCOME_UNKNOWN,        30,  2, 69, "outcome unknown: may or may not have taken effect") \
	X(UNIMPLEMENTED,          31, 12,  1, "not implemented by this server")                    \
	X(INTERNAL,               32, 13,  1, "internal error")                                    \
	X(STORAGE_IO,             33, 14,  1, "storage error")                                     \
	X(STORAGE_CORRUPT,        34, 15,  1, "storage is damaged")                                \
	X(STORAGE_FULL,           35,  8,  1, "storage is full")                                   \
	X(STORAGE_VERSION,        36,  9,  1, "storage was written by a newer version")            \
	X(MALFORMED,              37,  3,  1, "malformed message")                                 \
	X(GUARD_FAILED,           38, 10,  1, "a guard of the multi-operation does not hold")      \
	X(WRONG_KIND,             39,  9,  1, "not possible on this kind of node")
/* clang-format on */

enum error {
#define ERROR_ENUM(name, number, grpc, exit_code, text) ERROR_##name = (number),
	ERROR_TABLE(ERROR_ENUM)
#undef ERROR_ENUM
};

/* Results that callers must look at. */
#define MUST_USE __attribute__((warn_unused_result))

/* "NOT_FOUND"; "UNKNOWN" for a number outside the table. The text lives for ever. */
const char *error_name(enum error e);
/* "not found": for a person, after what and where. */
const char *error_text(enum error e);
/* The gRPC status code that carries it. */
int error_grpc_status(enum error e);
/* The exit code of the command line tool. */
int error_exit_code(enum error e);
/* The error of a number from the wire; INTERNAL for one that this version does not know. */
enum error error_from_number(unsigned number);

#endif
