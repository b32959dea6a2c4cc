/*
 * Files and directories.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

/* A session, a handle, and what to do with it; everything is closed behind it. */
static int with_handle(const struct cli *c, const char *path, int flags, const void *context,
		       int (*work)(const struct cli *c, struct chubby_handle *h,
				   const void *context))
{
	struct chubby_error e;
	struct chubby_handle *h;
	struct chubby *cell;
	int status = cell_connect(c, NULL, NULL, NULL, &cell);

	if (status != 0)
		return status;
	if (chubby_open(cell, path, flags, NULL, 0, &h, NULL, &e) == CHUBBY_OK)
		status = work(c, h, context);
	else
		status = failure_at(&e, path, flags);
	/* The end of the session closes the handle too, in one go. */
	chubby_disconnect(cell);
	return status;
}

static const char *kind_name(const struct chubby_stat *s)
{
	return s->kind == CHUBBY_DIR ? "directory" : "file";
}

static json_t *json_of_stat(const struct chubby_stat *s)
{
	char checksum[24];

	snprintf(checksum, sizeof(checksum), "%016" PRIx64, s->checksum);
	return json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I}",
			 "kind", kind_name(s), "ephemeral", s->ephemeral, "instance",
			 (json_int_t)s->instance, "contents_generation",
			 (json_int_t)s->contents_generation, "lock_generation",
			 (json_int_t)s->lock_generation, "acl_generation",
			 (json_int_t)s->acl_generation, "checksum", checksum, "size_bytes",
			 (json_int_t)s->size_bytes, "child_count", (json_int_t)s->child_count,
			 "lock_mode", mode_name((enum wire_lock_mode)s->lock_mode), "lock_holders",
			 (json_int_t)s->lock_holders, "lock_waiters", (json_int_t)s->lock_waiters,
			 "created_unix_ms", (json_int_t)s->created_unix_ms, "modified_unix_ms",
			 (json_int_t)s->modified_unix_ms);
}

/* ---- ls ------------------------------------------------------------------------------------- */

static void print_entry_long(const struct chubby_dir_entry *e)
{
	char modified[32];

	time_format(e->stat.modified_unix_ms, modified, sizeof(modified));
	printf("%-9s %8" PRIu32 "  gen %-6" PRIu64 " %-9s %s  %s%s\n", kind_name(&e->stat),
	       e->stat.kind == CHUBBY_DIR ? e->stat.child_count : e->stat.size_bytes,
	       e->stat.contents_generation, mode_name((enum wire_lock_mode)e->stat.lock_mode),
	       modified, e->name, e->stat.kind == CHUBBY_DIR ? "/" : "");
}

static int list(const struct cli *c, struct chubby_handle *h, const void *context)
{
	struct chubby_error e;
	struct chubby_dir dir;
	json_t *entries;

	if (chubby_read_dir(h, &dir, &e) != CHUBBY_OK)
		return e.code == CHUBBY_NOT_DIRECTORY
			       ? (say("%s (`chubby cat` and `chubby stat` show files)", e.message),
				  error_exit_code((enum error)e.code))
			       : failure(&e);
	if (!c->json) {
		for (size_t i = 0; i < dir.count; i++) {
			if (c->long_format)
				print_entry_long(&dir.entries[i]);
			else
				printf("%s%s\n", dir.entries[i].name,
				       dir.entries[i].stat.kind == CHUBBY_DIR ? "/" : "");
		}
		chubby_dir_free(&dir);
		return 0;
	}
	entries = json_array();
	for (size_t i = 0; i < dir.count; i++) {
		json_t *j = json_of_stat(&dir.entries[i].stat);

		json_object_set_new(j, "name", json_of_bytes(bytes_of_text(dir.entries[i].name)));
		json_array_append_new(entries, j);
	}
	chubby_dir_free(&dir);
	return print_json(json_pack("{s:s, s:o}", "path", chubby_path(h), "entries", entries));
}

int command_ls(const struct cli *c)
{
	char root[128];

	if (c->argument_count > 0)
		return with_handle(c, c->arguments[0], CHUBBY_READ, NULL, list);
	snprintf(root, sizeof(root), "/ls/%s",
		 c->settings.cell != NULL ? c->settings.cell : "local");
	return with_handle(c, root, CHUBBY_READ, NULL, list);
}

/* ---- cat, stat ------------------------------------------------------------------------------ */

static int show_contents(const struct cli *c, struct chubby_handle *h, const void *context)
{
	struct chubby_contents contents;
	struct chubby_error e;
	struct chubby_stat st;
	int status = 0;

	if (chubby_get(h, &contents, &st, &e) != CHUBBY_OK)
		return failure(&e);
	if (c->json) {
		json_t *j = json_of_stat(&st);

		json_object_set_new(j, "path", json_string(chubby_path(h)));
		json_object_set_new(j, "contents",
				    json_of_bytes(
					    (struct bytes){contents.data, contents.size_bytes}));
		status = print_json(j);
	} else if (fwrite(contents.data, 1, contents.size_bytes, stdout) != contents.size_bytes) {
		say("standard output: cannot write");
		status = 1;
	}
	chubby_contents_free(&contents);
	return status;
}

int command_cat(const struct cli *c)
{
	return with_handle(c, c->arguments[0], CHUBBY_READ, NULL, show_contents);
}

static int show_stat(const struct cli *c, struct chubby_handle *h, const void *context)
{
	struct chubby_error e;
	struct chubby_stat s;
	char created[32], modified[32];

	if (chubby_stat(h, &s, &e) != CHUBBY_OK)
		return failure(&e);
	if (c->json) {
		json_t *j = json_of_stat(&s);

		json_object_set_new(j, "path", json_string(chubby_path(h)));
		return print_json(j);
	}
	time_format(s.created_unix_ms, created, sizeof(created));
	time_format(s.modified_unix_ms, modified, sizeof(modified));
	printf("path                 %s\n"
	       "kind                 %s%s\n"
	       "instance             %" PRIu64 "\n"
	       "contents generation  %" PRIu64 "\n"
	       "lock generation      %" PRIu64 "\n"
	       "ACL generation       %" PRIu64 "\n"
	       "size                 %" PRIu32 "\n"
	       "children             %" PRIu32 "\n"
	       "checksum             %016" PRIx64 "\n"
	       "lock                 %s (%" PRIu32 " holding, %" PRIu32 " waiting)\n"
	       "created              %s\n"
	       "modified             %s\n",
	       chubby_path(h), kind_name(&s), s.ephemeral ? ", ephemeral" : "", s.instance,
	       s.contents_generation, s.lock_generation, s.acl_generation, s.size_bytes,
	       s.child_count, s.checksum, mode_name((enum wire_lock_mode)s.lock_mode),
	       s.lock_holders, s.lock_waiters, created, modified);
	return 0;
}

int command_stat(const struct cli *c)
{
	return with_handle(c, c->arguments[0], CHUBBY_READ, NULL, show_stat);
}

/* ---- put ------------------------------------------------------------------------------------ */

struct value {
	const void *data;
	size_t size;
};

static int put_value(const struct cli *c, struct chubby_handle *h, const void *context)
{
	const struct value *v = context;
	struct chubby_error e;
	uint64_t generation;

	if (chubby_set(h, v->data, v->size, c->generation, &generation, &e) != CHUBBY_OK)
		return failure(&e);
	if (c->json)
		return print_json(json_pack("{s:s, s:I}", "path", chubby_path(h),
					    "contents_generation", (json_int_t)generation));
	return 0;
}

int command_put(const struct cli *c)
{
	bool from_input = c->argument_count < 2 || strcmp(c->arguments[1], "-") == 0;
	/* A generation can only be that of a file that is there. */
	int flags = CHUBBY_WRITE | (c->generation == 0 ? CHUBBY_CREATE : 0), status;
	uint8_t *data = NULL;
	struct value v;

	if (from_input) {
		status = input_read(CONTENTS_MAX_BYTES, &data, &v.size);
		if (status != 0)
			return status;
		v.data = data;
	} else {
		v.data = c->arguments[1];
		v.size = strlen(c->arguments[1]);
	}
	status = with_handle(c, c->arguments[0], flags, &v, put_value);
	free(data);
	return status;
}

/* ---- mkdir, rm ------------------------------------------------------------------------------ */

static int made(const struct cli *c, struct chubby_handle *h, const void *context)
{
	return c->json ? print_json(json_pack("{s:s}", "path", chubby_path(h))) : 0;
}

/* Each directory from below the cell's root on. */
static int make_parents(const struct cli *c, struct chubby *cell, const char *path)
{
	char *part = mem_strdup(path), *slash = strncmp(part, "/ls/", 4) == 0 ? part + 4 : NULL;
	int status = 0;

	slash = slash != NULL ? strchr(slash, '/') : NULL;
	while (slash != NULL && status == 0) {
		struct chubby_handle *h;
		struct chubby_error e;

		slash = strchr(slash + 1, '/');
		if (slash != NULL)
			*slash = '\0';
		if (chubby_open(cell, part, CHUBBY_READ | CHUBBY_CREATE | CHUBBY_DIRECTORY, NULL, 0,
				&h, NULL, &e) != CHUBBY_OK)
			status = failure(&e);
		else if (slash == NULL)
			status = made(c, h, NULL);
		if (slash != NULL)
			*slash = '/';
	}
	free(part);
	return status;
}

int command_mkdir(const struct cli *c)
{
	struct chubby *cell;
	int status;

	if (!c->parents)
		return with_handle(c, c->arguments[0],
				   CHUBBY_READ | CHUBBY_CREATE | CHUBBY_EXCLUSIVE |
					   CHUBBY_DIRECTORY,
				   NULL, made);
	status = cell_connect(c, NULL, NULL, NULL, &cell);
	if (status != 0)
		return status;
	status = make_parents(c, cell, c->arguments[0]);
	chubby_disconnect(cell);
	return status;
}

static int removed(const struct cli *c, struct chubby_handle *h, const void *context)
{
	struct chubby_error e;

	if (chubby_delete(h, &e) != CHUBBY_OK)
		return failure(&e);
	return c->json ? print_json(json_pack("{s:s}", "path", chubby_path(h))) : 0;
}

int command_rm(const struct cli *c)
{
	return with_handle(c, c->arguments[0], CHUBBY_WRITE, NULL, removed);
}
