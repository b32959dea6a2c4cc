/*
 * The command line tool: what its commands share.
 *
 * Data goes to standard output, words to standard error. Exit codes are those of base/error.h;
 * `chubby lock -- command` passes the command's own on.
 */
#ifndef CHUBBY_CLI_H
#define CHUBBY_CLI_H

#include <jansson.h>

#include "base/error.h"
#include "chubby.h"
#include "operator.h"

#define EXIT_USAGE 64
#define EXIT_INVALID_SEQUENCER 3

/* How long a command waits for the cell, unless told otherwise. */
#define TIMEOUT_DEFAULT_MS 10000
#define KILL_AFTER_DEFAULT_MS 5000

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
	int64_t kill_after_ms;
	uint64_t generation; /* 0: not given */
	int argument_count;  /* what follows the options */
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
};

struct command {
	const char *name;
	const char *group;
	const char *synopsis; /* after the name */
	const char *summary;
	const char *details; /* lines for --help */
	unsigned takes;      /* enum option_set, or-ed */
	int least, most;     /* number of arguments; most -1: any */
	int (*run)(const struct cli *c);
};

/* ---- options.c ---- */
/* Fills in the fields from the command's own arguments (argv[0] is its name). 0, or EXIT_USAGE. */
int options_parse(struct cli *c, int argc, char **argv);
/* "5", "5s", "250ms", "2m" → milliseconds; false for anything else. A bare number is seconds. */
bool duration_parse(const char *text, int64_t *ret_ms);

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
int print_json(json_t *value); /* takes the reference; returns 0, or 1 if it cannot be written */
json_t *json_of_bytes(struct bytes b);
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
int command_check(const struct cli *c);

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
