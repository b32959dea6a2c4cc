/*
 * The log of the rim: one line an event on standard error, `LEVEL message`.
 *
 * The pure layers do not log; they return notes. Thread-safe. Levels: error (something was lost
 * or refused), warning (the program goes on differently), info (what an operator wants to know),
 * debug.
 */
#ifndef CHUBBY_BASE_LOG_H
#define CHUBBY_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Set once at start, before threads exist. `prefix` (may be NULL) is borrowed for ever. */
void log_configure(enum log_level most_verbose, const char *prefix);

__attribute__((format(printf, 2, 3))) void log_write(enum log_level level, const char *format, ...);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
