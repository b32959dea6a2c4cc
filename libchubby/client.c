/*
 * Connecting, disconnecting, and calls that block.
 */
#include "client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "wire/path.h"

#define LEASE_MIN_MS 1000
#define LEASE_MAX_MS 60000
#define GRACE_DEFAULT_MS 45000
#define CONNECT_DEFAULT_MS 10000
#define COMMAND_MAX_BYTES ((size_t)128)

/* The public numbers are the protocol's. */
#define CODE_CHECK(name, number, grpc, exit_code, text)                                            \
	_Static_assert((int)CHUBBY_##name == (int)ERROR_##name, "chubby_code " #name);
ERROR_TABLE(CODE_CHECK)
#undef CODE_CHECK

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *chubby_version(void)
{
	return VERSION_TEXT(CHUBBY_VERSION_MAJOR, CHUBBY_VERSION_MINOR, CHUBBY_VERSION_PATCH);
}

const char *chubby_code_name(enum chubby_code code)
{
	return error_name((enum error)code);
}

const char *chubby_code_text(enum chubby_code code)
{
	return error_text((enum error)code);
}

struct chubby_options chubby_options_default(void)
{
	return (struct chubby_options){0};
}

/* ---- calls ---------------------------------------------------------------------------------- */

enum chubby_code client_enter(struct chubby *cell, struct chubby_error *ret_error)
{
	if (cell == NULL)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "the connection is NULL: take the one that chubby_connect() "
				    "gave");
	if (cell->pid != getpid())
		return error_report(ret_error, CHUBBY_INTERNAL,
				    "this connection belongs to the process that forked this one, "
				    "and no other can be made here: fork before the first "
				    "connection, or exec after");
	pthread_mutex_lock(&cell->users_mutex);
	cell->users++;
	pthread_mutex_unlock(&cell->users_mutex);
	return CHUBBY_OK;
}

void client_leave(struct chubby *cell)
{
	pthread_mutex_lock(&cell->users_mutex);
	cell->users--;
	if (cell->users == 0)
		pthread_cond_broadcast(&cell->users_changed);
	pthread_mutex_unlock(&cell->users_mutex);
}

void client_call_init(struct chubby *cell, struct client_call *c)
{
	arena_init(&c->arena, TRANSPORT_ARENA_MAX_BYTES);
	if (c->deadline_ns == 0) {
		c->deadline_ns = TIME_NEVER;
		if (cell->call_ns != TIME_NEVER)
			c->deadline_ns = clock_now_ns() + cell->call_ns;
	}
}

void client_refuse(struct chubby *cell, struct client_call *c)
{
	c->failed_op = -1;
	c->error = ERROR_CANCELLED;
	if (atomic_load(&cell->leaving))
		return;
	c->error = cell->connect_error;
	snprintf(c->message, sizeof(c->message), "%s", cell->connect_message);
}

void client_call(struct chubby *cell, struct client_call *c)
{
	struct post p = {.kind = POST_CALL, .call = c};

	client_call_init(cell, c);
	sem_init(&c->done, 0, 0);
	if (client_post(cell, &p)) {
		while (sem_wait(&c->done) != 0)
			CHECK(errno == EINTR);
	} else {
		client_refuse(cell, c);
	}
	sem_destroy(&c->done);
}

void client_call_release(struct client_call *c)
{
	arena_release(&c->arena);
	free(c->guard);
	c->guard = NULL;
}

enum chubby_code client_result(const struct client_call *c, const char *what,
			       struct chubby_error *ret_error)
{
	enum chubby_code code = (enum chubby_code)c->error;

	if (c->error == ERROR_OK)
		return CHUBBY_OK;
	if (c->message[0] == '\0')
		return error_report(ret_error, code, "%s: %s", what, error_text(c->error));
	/* What the cell says may have the code's text in it: once is enough. */
	if (strstr(c->message, error_text(c->error)) != NULL)
		return error_report(ret_error, code, "%s: %s", what, c->message);
	return error_report(ret_error, code, "%s: %s: %s", what, error_text(c->error), c->message);
}

void client_poison(struct chubby *cell, uint64_t handle_number)
{
	struct post *p = mem_zalloc(sizeof(*p));

	p->kind = POST_POISON;
	p->handle_number = handle_number;
	if (!client_post(cell, p))
		free(p);
}

/* ---- connecting ----------------------------------------------------------------------------- */

static enum chubby_code options_check(const struct chubby_options *o,
				      struct chubby_error *ret_error)
{
	if (o->lease_ms != 0 && (o->lease_ms < LEASE_MIN_MS || o->lease_ms > LEASE_MAX_MS))
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "lease_ms is %lld: want 1000 to 60000, or 0",
				    (long long)o->lease_ms);
	if (o->grace_ms < 0 || o->connect_ms < 0 || o->call_ms < 0 ||
	    o->grace_ms > CLIENT_WAIT_MAX_MS || o->connect_ms > CLIENT_WAIT_MAX_MS ||
	    o->call_ms > CLIENT_WAIT_MAX_MS)
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "grace_ms, connect_ms and call_ms must be 0 or more");
	return CHUBBY_OK;
}

static char *own_host(void)
{
	char name[256] = "";

	if (gethostname(name, sizeof(name) - 1) != 0)
		name[0] = '\0';
	return mem_strdup(name);
}

/* What the cell keeps of it is for people: the first bytes will do. */
static char *own_command(const char *given)
{
	char *command = mem_strdup(given != NULL ? given : program_invocation_short_name);

	size_t size = strlen(command);

	if (size > COMMAND_MAX_BYTES)
		size = COMMAND_MAX_BYTES;
	/* Never the half of a character. */
	while (size > 0 && (command[size] & 0xC0) == 0x80)
		size--;
	command[size] = '\0';
	if (!text_valid(bytes_of_text(command)))
		command[0] = '\0';
	return command;
}

static void cell_free(struct chubby *cell)
{
	session_free(cell->session);
	transport_free(cell->transport);
	server_list_release(&cell->servers);
	sem_destroy(&cell->connected);
	pthread_mutex_destroy(&cell->inbox_mutex);
	pthread_mutex_destroy(&cell->users_mutex);
	pthread_mutex_destroy(&cell->calls_mutex);
	pthread_cond_destroy(&cell->users_changed);
	free(cell->cell);
	free(cell->host);
	free(cell->command);
	free(cell);
}

static struct session *session_begin(const struct chubby *cell, const struct chubby_options *o)
{
	struct session_config config = {
		/* "local" is the nearby cell, whatever its name. */
		.cell = strcmp(cell->cell, "local") == 0 ? BYTES_NONE : bytes_of_text(cell->cell),
		.host = bytes_of_text(cell->host),
		.command = bytes_of_text(cell->command),
		.pid = (uint32_t)cell->pid,
		.lease_ns = o->lease_ms * NS_PER_MS,
		.grace_ns = (o->grace_ms != 0 ? o->grace_ms : GRACE_DEFAULT_MS) * NS_PER_MS,
		.connect_ns = (o->connect_ms != 0 ? o->connect_ms : CONNECT_DEFAULT_MS) * NS_PER_MS,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.server_count = cell->servers.count,
		.servers = (const char *const *)cell->servers.addresses,
	};

	clock_random_bytes(&config.seed, sizeof(config.seed));
	return session_new(&config, clock_now_ns());
}

static const char *cell_name(const struct chubby_options *o)
{
	const char *name = o->cell != NULL ? o->cell : getenv("CHUBBY_CELL");

	return name != NULL && name[0] != '\0' ? name : "local";
}

static struct chubby *cell_new(const struct chubby_options *o, struct server_list *servers)
{
	struct chubby *cell = mem_zalloc(sizeof(*cell));

	cell->pid = getpid();
	cell->servers = *servers;
	cell->cell = mem_strdup(cell_name(o));
	cell->host = own_host();
	cell->command = own_command(o->command);
	cell->call_ns = o->call_ms == 0 ? TIME_NEVER : o->call_ms * NS_PER_MS;
	sem_init(&cell->connected, 0, 0);
	pthread_mutex_init(&cell->inbox_mutex, NULL);
	pthread_mutex_init(&cell->users_mutex, NULL);
	pthread_mutex_init(&cell->calls_mutex, NULL);
	pthread_cond_init(&cell->users_changed, NULL);
	return cell;
}

/* Neither our threads nor gRPC's take signals that are meant for the application's. */
static void threads_start(struct chubby *cell, const struct chubby_options *o)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	cell->transport = transport_new();
	cell->session = session_begin(cell, o);
	callbacks_init(&cell->callbacks, o->on_session, o->context);
	CHECK(pthread_create(&cell->thread, NULL, client_loop, cell) == 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The session opens in the background. */
static enum chubby_code connect_begin(const struct chubby_options *options, bool is_news,
				      struct chubby **ret_cell, struct chubby_error *ret_error)
{
	struct chubby_options o = options != NULL ? *options : chubby_options_default();
	enum chubby_code code = options_check(&o, ret_error);
	struct server_list servers;

	if (code == CHUBBY_OK && ret_cell == NULL)
		code = error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "ret_cell is NULL: say where the connection goes");
	if (code != CHUBBY_OK)
		return code;
	if (transport_forked())
		return error_report(ret_error, CHUBBY_INTERNAL,
				    "the process that forked this one had a connection open then, "
				    "which leaves gRPC unusable here: fork before, or exec after");
	if (!path_cell_name_valid(bytes_of_text(cell_name(&o))))
		return error_report(ret_error, CHUBBY_INVALID_ARGUMENT,
				    "\"%s\" is no name of a cell: want a-z, 0-9, '-', '.', '_'",
				    cell_name(&o));
	if (server_list_parse(o.servers, &servers, ret_error) != ERROR_OK)
		return CHUBBY_INVALID_ARGUMENT;
	*ret_cell = cell_new(&o, &servers);
	(*ret_cell)->connect_is_news = is_news;
	threads_start(*ret_cell, &o);
	return CHUBBY_OK;
}

enum chubby_code chubby_connect(const struct chubby_options *options, struct chubby **ret_cell,
				struct chubby_error *ret_error)
{
	struct chubby *cell = NULL;
	enum chubby_code code = connect_begin(options, false, ret_cell != NULL ? &cell : NULL,
					      ret_error);

	if (code != CHUBBY_OK)
		return code;
	while (sem_wait(&cell->connected) != 0)
		CHECK(errno == EINTR);
	if (cell->connect_error == ERROR_OK) {
		*ret_cell = cell;
		return CHUBBY_OK;
	}
	pthread_join(cell->thread, NULL);
	callbacks_stop(&cell->callbacks);
	code = (enum chubby_code)cell->connect_error;
	error_report(ret_error, code, "%s",
		     cell->connect_message[0] != '\0' ? cell->connect_message
						      : error_text(cell->connect_error));
	cell_free(cell);
	return code;
}

enum chubby_code chubby_connect_start(const struct chubby_options *options,
				      struct chubby **ret_cell, struct chubby_error *ret_error)
{
	return connect_begin(options, true, ret_cell, ret_error);
}

static void users_wait(struct chubby *cell)
{
	pthread_mutex_lock(&cell->users_mutex);
	while (cell->users > 0)
		pthread_cond_wait(&cell->users_changed, &cell->users_mutex);
	pthread_mutex_unlock(&cell->users_mutex);
}

void chubby_disconnect(struct chubby *cell)
{
	struct post *p;

	if (cell == NULL || cell->pid != getpid())
		return;
	p = mem_zalloc(sizeof(*p));
	p->kind = POST_CLOSE;
	if (!client_post(cell, p))
		free(p);
	pthread_join(cell->thread, NULL);
	/* Calls that were cancelled just now may still be on their way out, or about to owe a
	 * callback; no new ones begin. Then what is owed is told. */
	users_wait(cell);
	callbacks_stop(&cell->callbacks);
	users_wait(cell);
	asyncs_free(cell);
	locks_free(cell);
	handles_free(cell);
	cell_free(cell);
}

/* ---- for those who look --------------------------------------------------------------------- */

uint64_t chubby_session_id(const struct chubby *cell)
{
	return atomic_load(&cell->session_number);
}

int64_t chubby_session_lease_left_ms(const struct chubby *cell)
{
	int64_t until_ns = atomic_load(&cell->safe_until_ns), now_ns = clock_now_ns();

	return cell->pid == getpid() && until_ns > now_ns ? (until_ns - now_ns) / NS_PER_MS : 0;
}

bool chubby_session_is_safe(const struct chubby *cell)
{
	return cell->pid == getpid() && atomic_load(&cell->safe_until_ns) > clock_now_ns();
}
