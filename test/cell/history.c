#include "history.h"

#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

bool history_open(struct history *h, const char *path, int client)
{
	*h = (struct history){.file = fopen(path, "we"), .client = client};
	if (h->file == NULL)
		return false;
	/* Whole lines at once: the test reads them while they are written. */
	setvbuf(h->file, NULL, _IOLBF, 1 << 12);
	return true;
}

void history_close(struct history *h)
{
	history_say(h, "end");
	fclose(h->file);
	h->file = NULL;
}

static int64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

void history_say(struct history *h, const char *format, ...)
{
	int64_t now_ns = monotonic_ns();
	va_list arguments;

	flockfile(h->file);
	fprintf(h->file, "%" PRId64 " ", now_ns);
	va_start(arguments, format);
	vfprintf(h->file, format, arguments);
	va_end(arguments);
	fputc('\n', h->file);
	funlockfile(h->file);
}

bool history_fail(struct history *h, const char *what, enum chubby_code code,
		  const struct chubby_error *e)
{
	fprintf(stderr, "client %d: %s: %s%s%s\n", h->client, what, chubby_code_name(code),
		e != NULL ? ": " : "", e != NULL ? e->message : "");
	history_say(h, "error what=%s code=%s", what, chubby_code_name(code));
	atomic_store(&h->failed, true);
	return false;
}

void history_session(void *context, enum chubby_session_event event, enum chubby_code reason)
{
	static const char *const names[] = {
		[CHUBBY_SESSION_JEOPARDY] = "jeopardy",
		[CHUBBY_SESSION_SAFE] = "safe",
		[CHUBBY_SESSION_EXPIRED_EVENT] = "expired",
	};

	history_say(context, "news event=%s reason=%s", names[event], chubby_code_name(reason));
}
