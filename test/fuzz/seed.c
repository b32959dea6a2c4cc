/*
 * Makes the corpora of the fuzz targets from our own encoders: seed DIRECTORY. The same program
 * makes the same files.
 */
#include "seed.h"

#include "cell_help.h"
#include "story.h"
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
	for (size_t i = 0; i < STORY_COUNT; i++) {
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
