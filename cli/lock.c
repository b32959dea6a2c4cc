/*
 * chubby lock: take a lock, run a command under it or hold it until interrupted, give it back.
 *
 *   ACQUIRING ──granted──► HOLDING ──the command ended, or a signal──► over
 *       │                     │
 *       └─signal, refused     └─lease over─► LOSING ──all stopped──► over, with status 76
 *
 * Signals come through a signalfd and the library's news through an eventfd, so that one poll()
 * waits for everything. The acquire blocks in a thread of its own: a signal poisons its handle.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"

struct holding {
	const struct cli *cli;
	const char *path;
	struct chubby *cell;
	struct chubby_handle *handle;
	int signals;          /* signalfd */
	int news;             /* eventfd: the acquire is over, or the session's state changed */
	atomic_bool acquired; /* the thread of the acquire is over */
	atomic_bool unsafe;   /* jeopardy or expiry was reported */
	atomic_int ended;     /* the reason, once the session is over for good */
	struct chubby_error acquire_error;
	pid_t child;      /* 0: none */
	int child_status; /* of waitpid(); once child_ended */
	bool child_ended;
	bool lost;
	int64_t kill_at_ns; /* TIME_NEVER: not yet */
	int signal_taken;   /* without a command: what ended the wait */
};

static void news_post(struct holding *h)
{
	uint64_t one = 1;

	/* It can only fail when there is news enough. */
	if (write(h->news, &one, sizeof(one)) < 0)
		return;
}

static void on_session(void *context, enum chubby_session_event event, enum chubby_code reason)
{
	struct holding *h = context;

	if (event == CHUBBY_SESSION_SAFE)
		return;
	/* Jeopardy comes first if the lease ran out here: then that is the reason. */
	if (event == CHUBBY_SESSION_EXPIRED_EVENT && !atomic_load(&h->unsafe))
		atomic_store(&h->ended, (int)reason);
	atomic_store(&h->unsafe, true);
	news_post(h);
}

/* ---- acquiring ------------------------------------------------------------------------------ */

static void *acquire_thread(void *argument)
{
	struct holding *h = argument;
	struct chubby_acquire_options o = chubby_acquire_options_default();
	const struct cli *c = h->cli;

	o.mode = c->shared ? CHUBBY_SHARED : CHUBBY_EXCLUSIVE_MODE;
	o.wait_ms = c->try_only || c->settings.timeout_ms == 0 ? -1
		    : c->settings.timeout_ms > 0               ? c->settings.timeout_ms
							       : 0;
	o.lock_delay_ms = c->lock_delay_ms;
	h->acquire_error.code = CHUBBY_OK;
	if (chubby_acquire(h->handle, &o, &h->acquire_error) == CHUBBY_OK)
		h->acquire_error.code = CHUBBY_OK;
	atomic_store(&h->acquired, true);
	news_post(h);
	return NULL;
}

/* The next signal, or 0 if there was only news. Waits at most until `until_ns`. */
static int next_signal(struct holding *h, int64_t until_ns, struct signalfd_siginfo *ret_info)
{
	struct pollfd fds[2] = {{.fd = h->signals, .events = POLLIN},
				{.fd = h->news, .events = POLLIN}};
	int64_t left_ns = until_ns == TIME_NEVER ? 0 : until_ns - clock_now_ns();
	int wait_ms = until_ns == TIME_NEVER       ? -1
		      : left_ns >= NS_PER_S * 3600 ? 3600 * 1000
		      : left_ns > 0                ? (int)(left_ns / NS_PER_MS + 1)
						   : 0;
	uint64_t drained;

	if (poll(fds, 2, wait_ms) <= 0)
		return 0;
	if ((fds[1].revents & POLLIN) != 0 && read(h->news, &drained, sizeof(drained)) < 0)
		CHECK(errno == EAGAIN || errno == EINTR);
	if ((fds[0].revents & POLLIN) != 0 &&
	    read(h->signals, ret_info, sizeof(*ret_info)) == (ssize_t)sizeof(*ret_info))
		return (int)ret_info->ssi_signo;
	return 0;
}

static int acquire(struct holding *h)
{
	struct signalfd_siginfo info;
	int signal_number = 0;
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, acquire_thread, h) == 0);
	while (!atomic_load(&h->acquired)) {
		int s = next_signal(h, TIME_NEVER, &info);

		if (s == 0 || s == SIGCHLD)
			continue;
		signal_number = s;
		chubby_poison(h->handle);
	}
	pthread_join(thread, NULL);
	if (signal_number != 0)
		return 128 + signal_number;
	if (h->acquire_error.code != CHUBBY_OK)
		return failure(&h->acquire_error);
	return 0;
}

/* ---- holding -------------------------------------------------------------------------------- */

/* Reaps what ended: the command, and what it left behind. */
static void reap(struct holding *h)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == h->child) {
			h->child_status = status;
			h->child_ended = true;
		}
	}
}

/* Of a session that is over every call says why, without asking anybody: behind the code's own
 * text, if the cell said more. */
static void loss_explain(struct holding *h, char *text, size_t size_bytes)
{
	enum chubby_code ended = (enum chubby_code)atomic_load(&h->ended);
	const char *known = chubby_code_text(ended), *more = NULL;
	struct chubby_error e;
	struct chubby_stat s;

	if (ended == CHUBBY_OK) {
		snprintf(text, size_bytes, "the session's lease ran out before the cell answered");
		return;
	}
	if (chubby_stat(h->handle, &s, &e) != CHUBBY_OK)
		more = strstr(e.message, known);
	more = more != NULL ? more + strlen(known) : "";
	snprintf(text, size_bytes, "%s", strncmp(more, ": ", 2) == 0 ? more + 2 : known);
}

static void lose(struct holding *h)
{
	char why[600];

	if (h->lost)
		return;
	h->lost = true;
	loss_explain(h, why, sizeof(why));
	say("%s: the lock %s lost: %s%s", h->path,
	    atomic_load(&h->ended) != CHUBBY_OK ? "is" : "may be", why,
	    h->child != 0 && !h->child_ended ? "; stopping the command" : "");
	if (h->child == 0)
		return;
	h->kill_at_ns = clock_now_ns() + h->cli->kill_after_ms * NS_PER_MS;
	run_signal_all(SIGTERM);
	run_signal_all(SIGCONT);
}

static bool descendants_left(void)
{
	return waitpid(-1, NULL, WNOHANG) == 0;
}

static bool holding_over(const struct holding *h)
{
	if (h->child == 0)
		return h->lost || h->signal_taken != 0;
	return h->child_ended && !(h->lost && descendants_left());
}

static void signal_take(struct holding *h, int number, const struct signalfd_siginfo *info)
{
	if (number == SIGCHLD) {
		reap(h);
	} else if (h->child == 0) {
		h->signal_taken = number;
	} else if (!h->child_ended && info->ssi_code != SI_KERNEL) {
		/* The terminal's own signals have reached the command already. */
		kill(h->child, number);
	}
}

static void hold(struct holding *h)
{
	struct signalfd_siginfo info;

	while (!holding_over(h)) {
		int number = next_signal(h, h->kill_at_ns, &info);

		if (number != 0)
			signal_take(h, number, &info);
		reap(h);
		/* Jeopardy while it waited for the lock, or that is over, lost nothing. */
		if (atomic_load(&h->unsafe) && !h->child_ended && !chubby_is_held(h->handle))
			lose(h);
		if (h->lost && clock_now_ns() >= h->kill_at_ns) {
			run_signal_all(SIGKILL);
			/* Once more should something have been started meanwhile. */
			h->kill_at_ns = clock_now_ns() + 100 * NS_PER_MS;
		}
	}
}

static int hold_alone(struct holding *h)
{
	const char *sequencer = chubby_sequencer(h->handle);
	uint64_t token = chubby_token(h->handle);

	if (h->cli->json)
		(void)print_json(json_pack("{s:s, s:s, s:I}", "path", h->path, "sequencer",
					   sequencer, "token", (json_int_t)token));
	else
		printf("%s\n", sequencer);
	fflush(stdout);
	say("holding %s with fencing token %" PRIu64 " until interrupted", h->path, token);
	hold(h);
	return 0;
}

static int hold_for_command(struct holding *h, char *const command[])
{
	struct run_environment e = {
		.path = h->path,
		.sequencer = chubby_sequencer(h->handle),
		.fencing_token = chubby_token(h->handle),
	};
	int status = run_start(command, &e, &h->child);

	if (status != 0)
		return status;
	hold(h);
	if (WIFSIGNALED(h->child_status))
		return 128 + WTERMSIG(h->child_status);
	return WEXITSTATUS(h->child_status);
}

/* ---- the command ---------------------------------------------------------------------------- */

/* What operators see of the session: the command that runs under the lock. */
static void command_describe(char *const command[], char *text, size_t size_bytes)
{
	size_t used = (size_t)snprintf(text, size_bytes, "chubby lock");

	for (size_t i = 0; command[i] != NULL && used < size_bytes; i++)
		used += (size_t)snprintf(text + used, size_bytes - used, "%s%s",
					 i == 0 ? ": " : " ", command[i]);
}

static int signals_open(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int lock_and_hold(struct holding *h, char *const command[])
{
	struct chubby_error e;
	int status;

	if (chubby_open(h->cell, h->path, CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0, &h->handle, NULL,
			&e) != CHUBBY_OK)
		return failure_at(&e, h->path, CHUBBY_CREATE);
	/* From here on a signal ends things in order; before, it just ends this process. */
	h->signals = signals_open();
	CHECK(h->signals >= 0);
	status = acquire(h);
	if (status == 0 && chubby_sequencer(h->handle) == NULL)
		lose(h); /* the session ended just now */
	else if (status == 0)
		status = command[0] == NULL ? hold_alone(h) : hold_for_command(h, command);
	if (h->lost)
		status = error_exit_code(ERROR_LOCK_LOST);
	return status;
}

int command_lock(const struct cli *c)
{
	struct holding h = {.cli = c, .path = c->arguments[0], .kill_at_ns = TIME_NEVER};
	char shown[160];
	int status;

	command_describe(&c->arguments[1], shown, sizeof(shown));
	h.news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(h.news >= 0);
	status = cell_connect(c, shown, on_session, &h, &h.cell);
	if (status == 0) {
		status = lock_and_hold(&h, &c->arguments[1]);
		chubby_disconnect(h.cell); /* ends the session, and the lock with it */
	}
	close(h.news);
	if (h.signals > 0)
		close(h.signals);
	return status;
}
