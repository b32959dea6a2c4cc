/* The command line tool's settings file, and a time as people write it. */
#include "fuzz.h"

#include "cli.h"

/* settings.c says what is wrong through this; here it only has to be a sentence. */
void say(const char *format, ...)
{
	char text[512];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	CHECK(size > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings s = {.timeout_ms = -1};
	char *text = bytes_to_text((struct bytes){data, size});
	int64_t ms = 0;

	if (duration_parse(text, &ms))
		CHECK(ms >= 0);
	if (settings_read_text(&s, "chubby.conf", text))
		CHECK(s.timeout_ms >= -1);
	/* Texts live as long as the program, there. */
	free((void *)(uintptr_t)s.servers);
	free((void *)(uintptr_t)s.cell);
	free(text);
	return 0;
}
