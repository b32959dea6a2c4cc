/*
 * Makes the corpora of the fuzz targets from our own encoders: seed DIRECTORY. The same program
 * makes the same files.
 */
#include "seed.h"

#include "cell_help.h"
#include "wire/handle.h"
#include "wire/sequencer.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static const char *directory; /* as the program was told */

static void make_directory(const char *path)
{
	if (mkdir(path, 0777) != 0 && errno != EEXIST) {
		perror(path);
		exit(1);
	}
}

void seed_write(const char *target, const char *name, struct bytes b)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, target);
	make_directory(path);
	snprintf(path, sizeof(path), "%s/%s/%s", directory, target, name);
	file = fopen(path, "wb");
	if (file == NULL || fwrite(b.data, 1, b.size, file) != b.size || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

void seed_append(struct buffer *b, struct bytes more)
{
	bool fits = buffer_append(b, more);

	CHECK(fits);
}

void seed_number(struct buffer *b, uint64_t n, unsigned width)
{
	for (unsigned i = 0; i < width; i++) {
		uint8_t byte = (uint8_t)(n >> (8 * i));

		seed_append(b, (struct bytes){&byte, 1});
	}
}

void seed_run(struct buffer *b, struct bytes run)
{
	seed_number(b, run.size, 2);
	seed_append(b, run);
}

/* ---- the story ---- */

#define TEXT(literal)                                                                              \
	{                                                                                          \
		(const uint8_t *)(literal), sizeof(literal) - 1                                    \
	}

/* Genesis is revision 1, so the epoch is 2, the sessions are 3 and 4, the nodes 5, 6 and 7. */
static const struct multi_op story_ops[] = {
	{.kind = MULTI_GUARD_EXISTS, .path = TEXT("/d")},
	{.kind = MULTI_WRITE, .path = TEXT("/d/f"), .contents = TEXT("two")},
	{.kind = MULTI_ACQUIRE, .path = TEXT("/d"), .handle = {9}, .mode = LOCK_SHARED},
};
static const struct session_mark story_marks[] = {{{3}, 4000000000}, {{4}, 0}};
static const struct entry story[] = {
	{.kind = ENTRY_EPOCH,
	 .wall_unix_ms = 1800000000000,
	 .epoch = {{1}, {.round = 1, .replica = {1}}}},
	{.kind = ENTRY_SESSION_CREATE,
	 .session_create = {.principal = TEXT("one"), .lease_ns = 12000000000}},
	{.kind = ENTRY_SESSION_CREATE,
	 .session_create = {.host = TEXT("host"), .lease_ns = 6000000000}},
	{.kind = ENTRY_NODE_CREATE,
	 .session = {3},
	 .node_create = {.path = TEXT("/d"), .kind = NODE_DIRECTORY}},
	{.kind = ENTRY_NODE_CREATE,
	 .session = {3},
	 .number = 1,
	 .lowest_unanswered = 1,
	 .node_create = {.path = TEXT("/d/f"), .kind = NODE_FILE, .contents = TEXT("one")}},
	{.kind = ENTRY_NODE_CREATE,
	 .session = {4},
	 .node_create = {.path = TEXT("/e"), .kind = NODE_FILE, .ephemeral = true, .handle = {8}}},
	{.kind = ENTRY_ACQUIRE,
	 .session = {3},
	 .number = 2,
	 .lowest_unanswered = 1,
	 .acquire = {.instance = 6, .handle = {7}, .mode = LOCK_EXCLUSIVE, .lock_delay_ns = 5}},
	{.kind = ENTRY_ACQUIRE,
	 .session = {4},
	 .acquire = {.instance = 6, .handle = {8}, .mode = LOCK_SHARED}},
	{.kind = ENTRY_NODE_WRITE,
	 .session = {3},
	 .node_write = {.instance = 6, .contents = TEXT("three")}},
	{.kind = ENTRY_NODE_SET_ACL,
	 .session = {3},
	 .node_set_acl = {.instance = 6, .acl = {TEXT("r"), TEXT("w"), TEXT("c")}}},
	{.kind = ENTRY_MULTI, .session = {3}, .multi = {3, story_ops}},
	{.kind = ENTRY_SESSION_MARK, .guard_epoch = {1}, .session_mark = {2, story_marks}},
	{.kind = ENTRY_KEEP, .session = {3}, .keep = {7, {5}}},
	{.kind = ENTRY_SESSION_UNMARK, .session = {3}},
	{.kind = ENTRY_SESSION_END, .session = {3}, .session_end = {SESSION_END_EXPIRED}},
	{.kind = ENTRY_LOCK_DELAY_END, .guard_epoch = {1}, .lock_delay_end = {6, {16}}},
	{.kind = ENTRY_CLOSE, .session = {4}, .keep = {7, {8}}},
	{.kind = ENTRY_NODE_REAP, .keep = {7, {0}}},
	{.kind = ENTRY_NODE_DELETE, .node_delete = {6, 0}},
};

uint32_t seed_story(const struct entry **ret_entries)
{
	*ret_entries = story;
	return sizeof(story) / sizeof(story[0]);
}

static void encode(const struct entry *e, struct buffer *ret_bytes)
{
	enum error error = codec_encode_entry(e, ret_bytes);

	CHECK(error == ERROR_OK);
}

/* All rows of a cell, as rows_fuzz.c reads them. */
static void write_rows(const struct cell *c, const char *name)
{
	struct row row = {.kind = 0}, next;
	struct buffer all, one;

	buffer_init(&all, 1 << 16);
	buffer_init(&one, 1 << 16);
	for (; cell_row_after(c, &row, &next); row = next) {
		enum error e;

		buffer_clear(&one);
		e = codec_encode_row(&next, &one);
		CHECK(e == ERROR_OK);
		seed_number(&all, next.kind, 1);
		seed_number(&all, next.key, 8);
		seed_run(&all, buffer_view(&one));
	}
	seed_write("rows", name, buffer_view(&all));
	buffer_release(&all);
	buffer_release(&one);
}

static void write_story(void)
{
	struct cell *c = cell_of_genesis();
	struct value_builder builder;
	struct buffer all, one;
	struct value *v;

	buffer_init(&all, 1 << 16);
	buffer_init(&one, 1 << 16);
	value_builder_init(&builder);
	write_rows(c, "genesis");
	for (size_t i = 0; i < sizeof(story) / sizeof(story[0]); i++) {
		struct outcome o;
		bool fits;

		buffer_clear(&one);
		encode(&story[i], &one);
		seed_run(&all, buffer_view(&one));
		fits = value_builder_add(&builder, buffer_view(&one));
		CHECK(fits);
		cell_apply(c, &story[i], &o);
		if (i == 11)
			write_rows(c, "busy");
	}
	write_rows(c, "end");
	seed_write("apply", "story", buffer_view(&all));
	v = value_builder_finish(&builder);
	seed_write("value", "story", value_bytes(v));
	seed_write("value", "noop", BYTES_NONE);
	value_unref(v);
	value_builder_release(&builder);
	buffer_release(&all);
	buffer_release(&one);
	cell_free(c);
}

/* ---- texts ---- */

static void text(const char *target, const char *name, const char *content)
{
	seed_write(target, name, bytes_of_text(content));
}

static void write_texts(void)
{
	text("path", "root", "/ls/local");
	text("path", "deep", "/ls/cell-1.a_b/a/b.c/\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92");
	text("path", "inner", "/a/b");
	text("path", "dots", "/ls/local/../x//");
	text("sequencer", "exclusive", "1:x:5:9.0:9:1:/ls/local/job");
	text("sequencer", "shared", "1:s:9007199254740991:10.4294967295:7:3:/ls/local");
	text("config", "all",
	     "[chubbyd]\ndata = /var/lib/chubby\nlisten = 127.0.0.1:7401\nlisten-peer = [::1]:7\n"
	     "listen-web=h:1\nlease-ms = 400\nheartbeat-ms = 100\ndrift-ppm = 1000\n"
	     "keep-slots = 5\ninsecure-plaintext-beyond-loopback = no\ndie-with-parent = yes\n"
	     "log-level = debug ; said\n");
	text("config", "wrong", "[chubbyd]\nlease-ms = 1x\n[other]\nx\n");
	text("settings", "all",
	     "# mine\n[chubby]\nservers = a:1,b:2\ncell = local\ntimeout = 2.5s\n[other]\nx=1\n");
	text("settings", "time", "250ms");
	text("servers", "three", "127.0.0.1:7401,[::1]:7402 host.example:65535");
	text("servers", "wrong", "host:0,:1,host");
}

static void write_handle(void)
{
	static const uint8_t key[HANDLE_KEY_BYTES] = {7, 7, 7, 7}; /* handle_fuzz.c's */
	struct handle_token t = {{3}, 6, {7}, {1}, HANDLE_READ | HANDLE_WRITE, 6};
	uint8_t token[HANDLE_TOKEN_BYTES];

	handle_seal(&t, key, token);
	seed_write("handle", "sealed", (struct bytes){token, sizeof(token)});
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 64;
	}
	directory = argv[1];
	make_directory(directory);
	write_texts();
	write_handle();
	write_story();
	seed_messages();
	seed_machines();
	return 0;
}
