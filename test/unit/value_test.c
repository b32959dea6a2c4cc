/*
 * base/value: what goes into a slot of the log comes out of it, or not at all.
 */
#include "base/check.h"
#include "base/value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct bytes text(const char *s)
{
	return bytes_of_text(s);
}

/* Commands come out as they went in, in order, also empty ones and those with zero bytes. */
static void value_round_trip(void **state)
{
	const uint8_t zeros[] = {0, 0, 0, 0, 0};
	struct value_builder builder;
	struct value *v, *parsed;
	struct bytes command = BYTES_NONE;
	size_t cursor = 0;

	(void)state;
	value_builder_init(&builder);
	assert_true(value_builder_add(&builder, text("first")));
	assert_true(value_builder_add(&builder, BYTES_NONE));
	assert_true(value_builder_add(&builder, (struct bytes){zeros, sizeof(zeros)}));
	v = value_builder_finish(&builder);
	assert_int_equal(builder.commands, 0);
	assert_int_equal(value_command_count(v), 3);
	assert_int_equal(value_bytes(v).size, 3 * VALUE_FRAME_BYTES + 10);
	assert_memory_equal(value_bytes(v).data, "\5\0\0\0first\0\0\0\0\5\0\0\0", 17);

	parsed = value_parse_checked(value_bytes(v), value_checksum(v));
	assert_non_null(parsed);
	assert_true(value_equal(v, parsed));
	value_unref(v);

	assert_true(value_next(parsed, &cursor, &command));
	assert_true(bytes_equal(command, text("first")));
	assert_true(value_next(parsed, &cursor, &command));
	assert_int_equal(command.size, 0);
	assert_true(value_next(parsed, &cursor, &command));
	assert_int_equal(command.size, 5);
	assert_false(value_next(parsed, &cursor, &command));
	assert_false(value_next(parsed, &cursor, &command));
	value_unref(parsed);
	value_builder_release(&builder);
}

/* A length that points past the end, a cut frame, a wrong checksum, too many bytes: no value. */
static void value_refuses_damage(void **state)
{
	const uint8_t good[] = {2, 0, 0, 0, 'a', 'b', 1, 0, 0, 0, 'c'};
	uint8_t damaged[sizeof(good)];
	uint64_t checksum = bytes_hash((struct bytes){good, sizeof(good)});
	struct bytes too_long = {mem_zalloc(VALUE_MAX_BYTES + 4), VALUE_MAX_BYTES + 4};
	struct value *v = value_parse((struct bytes){good, sizeof(good)});

	(void)state;
	assert_non_null(v);
	assert_int_equal(value_command_count(v), 2);
	assert_true(value_checksum(v) == checksum);
	value_unref(v);
	for (size_t size = 1; size < sizeof(good); size++) {
		v = value_parse((struct bytes){good, size});
		/* Six bytes are one whole command. */
		assert_int_equal(v != NULL, size == 6);
		value_unref(v);
		assert_null(value_parse_checked((struct bytes){good, size}, checksum));
	}
	for (size_t bit = 0; bit < 8 * sizeof(good); bit++) {
		memcpy(damaged, good, sizeof(good));
		damaged[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_null(value_parse_checked((struct bytes){damaged, sizeof(good)}, checksum));
	}
	memcpy(damaged, "\xff\xff\xff\xff", 4);
	assert_null(value_parse((struct bytes){damaged, sizeof(damaged)}));
	assert_null(value_parse(too_long));
	assert_null(value_parse_checked(too_long, bytes_hash(too_long)));
	free((void *)(uintptr_t)too_long.data);
}

static void value_noop_is_empty(void **state)
{
	struct value *a = value_noop(), *b = value_parse(BYTES_NONE);
	struct bytes command;
	size_t cursor = 0;

	(void)state;
	assert_int_equal(value_command_count(a), 0);
	assert_false(value_next(a, &cursor, &command));
	assert_true(value_equal(a, b));
	assert_ptr_equal(value_ref(a), a);
	value_unref(a);
	assert_int_equal(value_bytes(a).size, 0);
	value_unref(a);
	value_unref(b);
	value_unref(NULL);
}

/* A full value takes no further command, and a refused command leaves it as it was. */
static void value_builder_keeps_the_maximum(void **state)
{
	const size_t half = VALUE_MAX_BYTES / 2 - VALUE_FRAME_BYTES;
	uint8_t *data = mem_zalloc(VALUE_MAX_BYTES);
	struct value_builder builder;
	struct value *v, *parsed;

	(void)state;
	value_builder_init(&builder);
	assert_false(value_builder_add(&builder, (struct bytes){data, VALUE_MAX_BYTES}));
	assert_false(value_builder_add(&builder, (struct bytes){data, VALUE_MAX_BYTES - 3}));
	assert_false(value_builder_add(&builder, (struct bytes){data, SIZE_MAX}));
	assert_true(value_builder_add(&builder, (struct bytes){data, half}));
	assert_true(value_builder_add(&builder, (struct bytes){data, half}));
	assert_false(value_builder_add(&builder, BYTES_NONE));
	v = value_builder_finish(&builder);
	assert_int_equal(value_command_count(v), 2);
	assert_int_equal(value_bytes(v).size, VALUE_MAX_BYTES);
	parsed = value_parse(value_bytes(v));
	assert_true(value_equal(parsed, v));
	value_unref(parsed);
	value_unref(v);
	/* The builder serves again. */
	assert_true(value_builder_add(&builder, text("next")));
	v = value_builder_finish(&builder);
	assert_int_equal(value_command_count(v), 1);
	value_unref(v);
	value_builder_release(&builder);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(value_round_trip),
		cmocka_unit_test(value_refuses_damage),
		cmocka_unit_test(value_noop_is_empty),
		cmocka_unit_test(value_builder_keeps_the_maximum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
