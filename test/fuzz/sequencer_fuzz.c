/* Sequencers, which clients bring back in whatever shape. */
#include "fuzz.h"

#include "wire/sequencer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = {data, size};
	struct sequencer s, untouched;
	struct buffer again;
	enum error e;

	memset(&s, 0x5a, sizeof(s));
	memset(&untouched, 0x5a, sizeof(untouched));
	if (sequencer_parse(text, &s) != ERROR_OK) {
		CHECK(memcmp(&s, &untouched, sizeof(s)) == 0);
		return 0;
	}
	/* Only what we write is read: the same bytes. */
	buffer_init(&again, WIRE_SEQUENCER_MAX_BYTES);
	e = sequencer_format(&s, &again);
	CHECK(e == ERROR_OK && bytes_equal(buffer_view(&again), text));
	CHECK(s.path.data > data && s.path.data + s.path.size == data + size);
	buffer_release(&again);
	return 0;
}
