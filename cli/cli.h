/*
 * The command line tool: what its commands share.
 *
 * Data goes to standard output, words to standard error. Exit codes are those of base/error.h;
 * `chubby lock -- command` passes the command's own on.
 */
#ifndef CHUBBY_CLI_H
#define CHUBBY_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "base/error.h"
#include "chubby.h"
#include "operator.h"

#define EXIT_USAGE 64
#define EXIT_NOBODY 1 /* `chubby who`: the lock is free */
#define EXIT_INVALID_SEQUENCER 3

/* How long a command waits for the cell, unless told otherwise. */
#define TIMEOUT_DEFAULT_MS 10000
#define KILL_AFTER_DEFAULT_MS 5000
#define CONTENTS_MAX_BYTES ((size_t)256 << 10) /* of a file */
#define SECONDS_DEFAULT 3
#define CLIENTS_DEFAULT 16

/* From the command line, the environment or a file; texts live as long as the program. */
struct settings {
	const char *servers; /* NULL: the library's default */
	const char *cell;    /* NULL: the library's default */
	int64_t timeout_ms;  /* -1: not given */
};

struct command;

/* One invocation. */
struct cli {
	const struct command *command;
	struct settings settings;
	bool json, help;
	bool try_only, shared, long_format, parents, all;
	int64_t lock_delay_ms; /* -1: the cell's default */
	int64_t lease_ms;      /* 0: the library's default */
	int64_t kill_after_ms;
	uint64_t generation; /* 0: not given */
	uint64_t seconds, clients;
	bool separated;     /* "--" stood before what follows the path */
	int argument_count; /* what follows the options */
	char **arguments;
};

/* Which options a command takes beside those that all take. */
enum option_set {
	TAKES_TRY = 1,
	TAKES_SHARED = 2,
	TAKES_LOCK_DELAY = 4,
	TAKES_KILL_AFTER = 8,
	TAKES_LONG = 16,
	TAKES_PARENTS = 32,
	TAKES_GENERATION = 64,
	TAKES_ALL = 128,
	TAKES_COMMAND = 256, /* what follows the first argument is a command of its own */
	TAKES_LEASE = 512,
	TAKES_SIZE = 1024,  /* of a measurement: --seconds, --clients */
	TAKES_WORDS = 2048, /* options end at the first argument: what follows may look like one */
};

/* What an argument is, for those who complete it. */
enum argument_kind {
	ARGUMENT_FREE, /* nothing that could be guessed */
	ARGUMENT_PATH,
	ARGUMENT_COMMAND_LINE, /* of another program, up to the end */
	ARGUMENT_COMMAND_NAME, /* one of ours */
	ARGUMENT_SESSION_VERB,
	ARGUMENT_SESSION_ID,
	ARGUMENT_MULTI, /* the words of `chubby multi` */
};

struct command {
	const char *name;
	const char *group;
	const char *synopsis; /* after the name */
	const char *summary;
	const char *details; /* lines for --help */
	unsigned takes;      /* enum option_set, or-ed */
	int least, most;     /* number of arguments; most -1: any */
	enum argument_kind first, then;
	int (*run)(const struct cli *c);
};

/* ---- commands.c ---- */
const struct command *commands_all(size_t *ret_count);
const struct command *command_find(const char *name); /* NULL if there is none */
/* Says that there is no such command, and which may be meant. Returns EXIT_USAGE. */
int command_unknown(const char *name);
void print_overview(FILE *f);
void print_command(FILE *f, const struct command *m);
int command_version(const struct cli *c);

/* ---- options.c ---- */
/* One option, as the command line, --help and completion know it. */
struct option_row {
	int id; /* its letter, or a number beyond letters */
	const char *name;
	const char *value; /* NULL: it takes none */
	unsigned takes;    /* 0: every command has it; else those that take this */
	unsigned unless;   /* … but not those that take this */
	const char *help;
};
/* In the order of --help; *ret_count of them. */
const struct option_row *options_all(size_t *ret_count);
bool option_belongs(const struct option_row *o, const struct command *m);
/* Whether `word` is an option whose value is the next word: "--cell", but not "--cell=x". */
bool option_wants_value(const char *word);
/* A decimal number and nothing else. */
bool number_parse(const char *text, uint64_t *ret_number);
/* Fills in the fields from the command's own arguments (argv[0] is its name). 0, or EXIT_USAGE. */
int options_parse(struct cli *c, int argc, char **argv);
/* "5", "5s", "250ms", "2m" → milliseconds; false for anything else. A bare number is seconds. */
bool duration_parse(const char *text, int64_t *ret_ms);

/* ---- nearest.c ---- */
#define NEAREST_MAX 3
/* Which of the `count` names may be meant by `word`: those that it begins, else those that differ
 * in a letter or two. Returns how many there are, at most NEAREST_MAX, the best first. */
size_t nearest(const char *word, const char *const names[], size_t count,
	       const char *ret_names[NEAREST_MAX]);
/* "; did you mean A, B or C?", or nothing. */
void nearest_format(const char *const names[], size_t count, const char *dashes, char *text,
		    size_t size_bytes);

/* ---- settings.c ---- */
/* Fills in what the command line left open: environment, then ~/.config/chubby.conf, then
 * /etc/chubby/chubby.conf. 0, or EXIT_USAGE after a message. */
int settings_complete(struct settings *s);
/* One file; false if it is there and cannot be understood. Fields that are set stay. */
bool settings_read_file(struct settings *s, const char *path);
/* The same from text, for tests; `name` is for messages. */
bool settings_read_text(struct settings *s, const char *name, const char *text);

/* ---- output.c ---- */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...); /* to standard error */
/* Says the error and what to do about it; returns the exit code. */
int failure(const struct chubby_error *e);
/* The same of chubby_open() with these flags: names the directory that is missing. */
int failure_at(const struct chubby_error *e, const char *path, int flags);
/* All of standard input, with room for one byte behind it; the caller frees it. 0, or an exit code
 * after a message. */
int input_read(size_t max_bytes, uint8_t **ret_data, size_t *ret_size);
int print_json(json_t *value); /* takes the reference; returns 0, or 1 if it cannot be written */
json_t *json_of_bytes(struct bytes b);
/* Names come from other people's processes: what could move the cursor is shown as "?". */
void print_bytes(struct bytes b);
/* How wide a UTF-8 text is, if each code point takes one column. */
size_t text_columns(struct bytes b);
const char *mode_name(enum wire_lock_mode mode);
/* "12s", "5m03s", "2h10m", "3d04h" into `text`. */
void age_format(int64_t ms, char *text, size_t size_bytes);
/* "2026-11-21T04:05:06Z". */
void time_format(int64_t unix_ms, char *text, size_t size_bytes);

/* ---- session.c ---- */
/* Opens a session by the settings; 0, or an exit code after a message. `shown` is the command that
 * operators see; NULL: this program's name. */
int cell_connect(const struct cli *c, const char *shown, chubby_session_callback *on_session,
		 void *context, struct chubby **ret_cell);
int64_t timeout_ms(const struct cli *c);
/* Without a session, for what operators ask. */
int operator_connect(const struct cli *c, struct chubby_operator **ret_operator);
/* Asks the master; 0, or an exit code after a message. `arena` is made here, owned by the caller
 * either way. */
int operator_ask(const struct cli *c, struct chubby_operator *o, const struct request *r,
		 struct arena *ret_arena, struct reply *ret_reply);

/* ---- the commands ---- */
int command_ls(const struct cli *c); /* nodes.c */
int command_cat(const struct cli *c);
int command_put(const struct cli *c);
int command_mkdir(const struct cli *c);
int command_rm(const struct cli *c);
int command_stat(const struct cli *c);
int command_lock(const struct cli *c);   /* lock.c */
int command_status(const struct cli *c); /* status.c */
int command_locks(const struct cli *c);  /* locks.c */
int command_who(const struct cli *c);
int command_check(const struct cli *c);
int command_sessions(const struct cli *c); /* sessions.c */
int command_session(const struct cli *c);
int command_multi(const struct cli *c); /* multi.c */
int command_bench(const struct cli *c); /* bench.c */
/* `chubby .complete WORDS…`, for the shells' completion. */
int complete(int argc, char **argv); /* complete.c */
#define COMPLETE_NAME ".complete"

/* ---- run.c: the command under a lock ---- */

/* What the wrapper tells its command. */
struct run_environment {
	const char *path;
	const char *sequencer;
	uint64_t fencing_token;
};

/* Starts argv as a child that dies with this process. 0 with *ret_pid, or an exit code after a
 * message. */
int run_start(char *const argv[], const struct run_environment *e, pid_t *ret_pid);
/* Sends a signal to the child and to everything below this process. */
void run_signal_all(int signal_number);
/* `chubby .exec PARENT COMMAND…`: the other side of run_start(). Returns only on failure. */
int run_shim(int argc, char **argv);
#define RUN_SHIM_NAME ".exec"

#endif
