/* The value of a slot: framed commands. */
#include "fuzz.h"

#include "base/value.h"

/* The commands, framed again, are the same bytes. */
static void check_again(const struct value *v, struct bytes b)
{
	struct value_builder builder;
	struct bytes command;
	struct value *again;
	size_t cursor = 0;
	uint32_t count = 0;

	CHECK(bytes_equal(value_bytes(v), b) && value_checksum(v) == bytes_hash(b));
	value_builder_init(&builder);
	for (; value_next(v, &cursor, &command); count++) {
		bool fits = value_builder_add(&builder, command);

		CHECK(fits);
	}
	CHECK(count == value_command_count(v));
	again = value_builder_finish(&builder);
	CHECK(value_equal(v, again));
	value_unref(again);
	value_builder_release(&builder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes b = {data, size};
	struct value *v = value_parse(b), *checked = value_parse_checked(b, bytes_hash(b));
	struct value *wrong = value_parse_checked(b, bytes_hash(b) ^ 1);

	CHECK((v == NULL) == (checked == NULL) && wrong == NULL);
	if (v != NULL)
		check_again(v, b);
	value_unref(v);
	value_unref(checked);
	return 0;
}
