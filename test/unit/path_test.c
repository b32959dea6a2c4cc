/* Names of nodes, sequencers and handles: one spelling each, and nothing forged. */
#include "wire/handle.h"
#include "wire/path.h"
#include "wire/sequencer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the headers above before it. */
#include <cmocka.h>

#define A63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct bytes literal(const char *text, size_t size)
{
	return (struct bytes){(const uint8_t *)text, size};
}
#define LITERAL(text) literal(text, sizeof(text) - 1)

/* ---- paths ---- */

static void paths_have_one_spelling(void **state)
{
	const struct {
		struct bytes full;
		const char *cell, *inner; /* NULL: refused */
	} cases[] = {
		{LITERAL("/ls/local"), "local", "/"},
		{LITERAL("/ls/local/a"), "local", "/a"},
		{LITERAL("/ls/local/a/b.c/-_ d"), "local", "/a/b.c/-_ d"},
		{LITERAL("/ls/a-1._z/..."), "a-1._z", "/..."},
		{LITERAL("/ls/local/.a/..b/c.."), "local", "/.a/..b/c.."},
		{LITERAL("/ls/local/\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92"), "local",
		 "/\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x92"},
		{LITERAL("/ls/" A63 "/x"), A63, "/x"},
		{LITERAL("/ls/" A63 "a/x"), NULL, NULL},
		{LITERAL(""), NULL, NULL},
		{LITERAL("/"), NULL, NULL},
		{LITERAL("/ls"), NULL, NULL},
		{LITERAL("/ls/"), NULL, NULL},
		{LITERAL("/ls//a"), NULL, NULL},
		{LITERAL("ls/local/a"), NULL, NULL},
		{LITERAL("/LS/local/a"), NULL, NULL},
		{LITERAL("/ls/Local/a"), NULL, NULL},
		{LITERAL("/ls/lo cal/a"), NULL, NULL},
		{LITERAL("/ls/./a"), NULL, NULL},
		{LITERAL("/ls/../a"), NULL, NULL},
		{LITERAL("/ls/local/"), NULL, NULL},
		{LITERAL("/ls/local/a/"), NULL, NULL},
		{LITERAL("/ls/local//a"), NULL, NULL},
		{LITERAL("/ls/local/a//b"), NULL, NULL},
		{LITERAL("/ls/local/."), NULL, NULL},
		{LITERAL("/ls/local/a/../b"), NULL, NULL},
		{LITERAL("/ls/local/a\0b"), NULL, NULL},
		{LITERAL("/ls/lo\0cal/a"), NULL, NULL},
		{LITERAL("/ls/local/a\nb"), NULL, NULL},
		{LITERAL("/ls/local/a\x7f"), NULL, NULL},
		{LITERAL("/ls/local/a\xc2\x85"), NULL, NULL},
		{LITERAL("/ls/local/\xff"), NULL, NULL},
		{LITERAL("/ls/local/\xc0\xaf"), NULL, NULL},
		{LITERAL("/ls/local/\xed\xa0\x80"), NULL, NULL},
		{LITERAL("/ls/local/\xf4\x90\x80\x80"), NULL, NULL},
		{LITERAL("/ls/local/\xe2\x82"), NULL, NULL},
		{LITERAL("/ls/local/\xe2\x82/a"), NULL, NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bytes cell = BYTES_NONE, inner = BYTES_NONE;
		const char *trouble = NULL;
		enum error e = path_parse(cases[i].full, &cell, &inner, &trouble);

		if (cases[i].cell == NULL) {
			if (e != ERROR_INVALID_PATH || trouble == NULL ||
			    cell.size + inner.size > 0)
				fail_msg("case %zu: %s", i, error_name(e));
			continue;
		}
		if (e != ERROR_OK)
			fail_msg("case %zu: %s, %s", i, error_name(e), trouble);
		assert_true(bytes_equal(cell, bytes_of_text(cases[i].cell)));
		assert_true(bytes_equal(inner, bytes_of_text(cases[i].inner)));
	}
}

/* Formatting undoes parsing, for every path that there is. */
static void paths_are_formatted_as_parsed(void **state)
{
	static const char *const paths[] = {"/ls/local", "/ls/local/a", "/ls/c/a/b"};

	for (size_t i = 0; i < 3; i++) {
		struct bytes cell, inner;
		const char *trouble;
		struct buffer full;

		buffer_init(&full, strlen(paths[i]));
		assert_int_equal(path_parse(bytes_of_text(paths[i]), &cell, &inner, &trouble),
				 ERROR_OK);
		assert_int_equal(path_format(cell, inner, &full), ERROR_OK);
		assert_true(bytes_equal(buffer_view(&full), bytes_of_text(paths[i])));
		/* Full now: nothing is left behind by what does not fit. */
		assert_int_equal(path_format(cell, inner, &full), ERROR_TOO_LARGE);
		assert_int_equal(full.size, strlen(paths[i]));
		buffer_release(&full);
	}
}

static void paths_have_limits(void **state)
{
	uint8_t path[PATH_INNER_MAX_BYTES + 1];
	const char *trouble;

	/* A name of 255 bytes, and one of 256. */
	memset(path, 'a', sizeof(path));
	path[0] = '/';
	assert_int_equal(path_check_inner((struct bytes){path, 256}, &trouble), ERROR_OK);
	assert_int_equal(path_check_inner((struct bytes){path, 257}, &trouble), ERROR_INVALID_PATH);
	/* 1024 bytes, and 1025. */
	for (size_t i = 0; i < sizeof(path); i += 200)
		path[i] = '/';
	assert_int_equal(path_check_inner((struct bytes){path, 1024}, &trouble), ERROR_OK);
	assert_int_equal(path_check_inner((struct bytes){path, 1025}, &trouble),
			 ERROR_INVALID_PATH);
	/* 128 components, and 129. */
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 == 0 ? '/' : 'a';
	assert_int_equal(path_check_inner((struct bytes){path, 256}, &trouble), ERROR_OK);
	assert_int_equal(path_check_inner((struct bytes){path, 258}, &trouble), ERROR_INVALID_PATH);
	assert_int_equal(path_check_inner(BYTES_NONE, &trouble), ERROR_INVALID_PATH);
	assert_int_equal(path_check_inner(LITERAL("a"), &trouble), ERROR_INVALID_PATH);
	assert_int_equal(path_check_inner(LITERAL("/"), &trouble), ERROR_OK);
}

static void parents_and_names(void **state)
{
	static const struct {
		const char *path, *parent, *name;
	} cases[] = {
		{"/", NULL, ""},
		{"/a", "/", "a"},
		{"/a/b", "/a", "b"},
		{"/a/bb/c", "/a/bb", "c"},
	};

	for (size_t i = 0; i < 4; i++) {
		struct bytes path = bytes_of_text(cases[i].path), parent;

		assert_true(bytes_equal(path_name(path), bytes_of_text(cases[i].name)));
		assert_int_equal(path_parent(path, &parent), cases[i].parent != NULL);
		if (cases[i].parent != NULL)
			assert_true(bytes_equal(parent, bytes_of_text(cases[i].parent)));
	}
}

/* Each code point has one encoding, surrogates none: compared with an encoder for all of them. */
static void text_is_utf8_without_nul(void **state)
{
	for (uint32_t point = 0; point < 0x110400; point++) {
		uint8_t text[4];
		size_t size = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
		bool valid = point != 0 && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);

		if (size == 1)
			text[0] = (uint8_t)point;
		for (size_t i = size; size > 1 && i-- > 1;)
			text[i] = (uint8_t)(0x80 | (point >> (6 * (size - 1 - i)) & 0x3f));
		if (size > 1)
			text[0] = (uint8_t)(0xf00u >> size | point >> (6 * (size - 1)));
		if (text_valid((struct bytes){text, size}) != valid)
			fail_msg("U+%04X", point);
		if (size > 1 && text_valid((struct bytes){text, size - 1}))
			fail_msg("U+%04X cut", point);
	}
	assert_false(text_valid(LITERAL("\xc0\x80")));
	assert_false(text_valid(LITERAL("\xe0\x80\xaf")));
	assert_false(text_valid(LITERAL("\xf0\x80\x80\xaf")));
	assert_false(text_valid(LITERAL("\x80")));
	assert_false(text_valid(LITERAL("\xf8\x88\x80\x80\x80")));
	assert_true(text_valid(BYTES_NONE));
}

/* ---- sequencers ---- */

static void sequencers_are_read_as_written(void **state)
{
	const struct sequencer s = {
		.mode = WIRE_LOCK_SHARED,
		.instance = 12,
		.revision = REVISION_MAX,
		.index = UINT32_MAX,
		.fencing_token = 0,
		.lock_generation = 7,
		.path = LITERAL("/ls/local/a:b"),
	};
	struct sequencer back;
	struct buffer text;

	buffer_init(&text, WIRE_SEQUENCER_MAX_BYTES);
	assert_int_equal(sequencer_format(&s, &text), ERROR_OK);
	assert_true(bytes_equal(buffer_view(&text),
				LITERAL("1:s:12:9007199254740991.4294967295:0:7:/ls/local/a:b")));
	assert_int_equal(sequencer_parse(buffer_view(&text), &back), ERROR_OK);
	assert_int_equal(back.mode, s.mode);
	assert_int_equal(back.instance, s.instance);
	assert_int_equal(back.revision, s.revision);
	assert_int_equal(back.index, s.index);
	assert_int_equal(back.fencing_token, s.fencing_token);
	assert_int_equal(back.lock_generation, s.lock_generation);
	assert_true(bytes_equal(back.path, s.path));
	buffer_release(&text);
}

static void other_texts_are_no_sequencers(void **state)
{
	const struct bytes texts[] = {
		LITERAL(""),
		LITERAL("1"),
		LITERAL("1:x:"),
		LITERAL("1:x:1:2.3:4:5:"),
		LITERAL("2:x:1:2.3:4:5:/ls/c/a"),
		LITERAL("1:f:1:2.3:4:5:/ls/c/a"),
		LITERAL("1:x:1:2:4:5:/ls/c/a"),
		LITERAL("1:x:1:2.3:4:/ls/c/a"),
		LITERAL("1:x:01:2.3:4:5:/ls/c/a"),
		LITERAL("1:x:+1:2.3:4:5:/ls/c/a"),
		LITERAL("1:x:-1:2.3:4:5:/ls/c/a"),
		LITERAL("1:x: 1:2.3:4:5:/ls/c/a"),
		LITERAL("1:x:1:2.3:4:5:/ls/c/a/"),
		LITERAL("1:x:1:2.3:4:5:/ls/c/a\n"),
		LITERAL("1:x:1:2.3:4:5:/ls/c/a\0"),
		LITERAL(" 1:x:1:2.3:4:5:/ls/c/a"),
		LITERAL("1:x::2.3:4:5:/ls/c/a"),
		LITERAL("1:x:1:2.3:4:5:ls/c/a"),
		LITERAL("1:x:1:2.4294967296:4:5:/ls/c/a"),
		LITERAL("1:x:9007199254740992:2.3:4:5:/ls/c/a"),
		LITERAL("1:x:99999999999999999999999999:2.3:4:5:/ls/c/a"),
	};
	struct sequencer s;

	assert_int_equal(sequencer_parse(LITERAL("1:x:1:2.3:4:5:/ls/c/a"), &s), ERROR_OK);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (sequencer_parse(texts[i], &s) != ERROR_SEQUENCER_INVALID)
			fail_msg("case %zu", i);
	}
}

/* ---- handles ---- */

static void handles_cannot_be_changed(void **state)
{
	const struct handle_token t = {
		.session = {0x0102030405060708},
		.instance = 99,
		.number = {7},
		.epoch = {3},
		.uses = HANDLE_READ | HANDLE_WRITE,
		.event_mask = 0x3fe,
	};
	uint8_t key[HANDLE_KEY_BYTES], token[HANDLE_TOKEN_BYTES + 1];
	struct bytes whole = {token, HANDLE_TOKEN_BYTES};
	struct handle_token back;

	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i * 7);
	handle_seal(&t, key, token);
	assert_int_equal(handle_unseal(whole, key, &back), ERROR_OK);
	assert_int_equal(back.session.n, t.session.n);
	assert_int_equal(back.instance, t.instance);
	assert_int_equal(back.number.n, t.number.n);
	assert_int_equal(back.epoch.n, t.epoch.n);
	assert_int_equal(back.uses, t.uses);
	assert_int_equal(back.event_mask, t.event_mask);

	for (size_t bit = 0; bit < 8 * HANDLE_TOKEN_BYTES; bit++) {
		token[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(handle_unseal(whole, key, &back), ERROR_HANDLE_INVALID);
		token[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t size = 0; size <= HANDLE_TOKEN_BYTES + 1; size++)
		assert_int_equal(handle_unseal((struct bytes){token, size}, key, &back),
				 size == HANDLE_TOKEN_BYTES ? ERROR_OK : ERROR_HANDLE_INVALID);
	for (size_t bit = 0; bit < 8 * HANDLE_KEY_BYTES; bit++) {
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(handle_unseal(whole, key, &back), ERROR_HANDLE_INVALID);
		key[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths_have_one_spelling),
		cmocka_unit_test(paths_are_formatted_as_parsed),
		cmocka_unit_test(paths_have_limits),
		cmocka_unit_test(parents_and_names),
		cmocka_unit_test(text_is_utf8_without_nul),
		cmocka_unit_test(sequencers_are_read_as_written),
		cmocka_unit_test(other_texts_are_no_sequencers),
		cmocka_unit_test(handles_cannot_be_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
