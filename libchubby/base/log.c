#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Longer lines are cut. */
#define LOG_LINE_BYTES 2048

/* The log sink: with the flags of signal handlers, the only global state of the project. */
static enum log_level most_verbose_level = LOG_LEVEL_INFO;
static const char *line_prefix;

void log_configure(enum log_level most_verbose, const char *prefix)
{
	most_verbose_level = most_verbose;
	line_prefix = prefix;
}

static const char *level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERROR:
		return "ERROR";
	case LOG_LEVEL_WARNING:
		return "WARNING";
	case LOG_LEVEL_INFO:
		return "INFO";
	case LOG_LEVEL_DEBUG:
		return "DEBUG";
	}
	return "ERROR";
}

/* Names and messages from outside may hold anything; a line of the log stays one line. */
static void blank_control_characters(char *text, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c < 0x20 || c == 0x7f)
			text[i] = ' ';
	}
}

void log_write(enum log_level level, const char *format, ...)
{
	char line[LOG_LINE_BYTES];
	const size_t room = sizeof(line) - 1; /* one byte is kept for the newline */
	int saved_errno = errno;
	size_t size, head;
	va_list arguments;
	int n;

	if (level > most_verbose_level)
		return;
	n = snprintf(line, room, "%s %s%s", level_name(level),
		     line_prefix != NULL ? line_prefix : "", line_prefix != NULL ? ": " : "");
	head = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;

	/* What %m means is the caller's errno. */
	errno = saved_errno;
	va_start(arguments, format);
	n = vsnprintf(line + head, room - head, format, arguments);
	va_end(arguments);

	size = head + (n < 0 ? 0 : (size_t)n);
	if (size >= room) {
		size = room - 1;
		memcpy(line + size - 3, "...", 3);
	}
	blank_control_characters(line, size);
	line[size++] = '\n';

	/* One write, so that lines of several threads do not mix. A log that cannot be written is
	 * nothing that the program could report anywhere. */
	while (write(STDERR_FILENO, line, size) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}
