/* Handle tokens: nothing but what was sealed with the key is a handle. */
#include "fuzz.h"

#include "wire/handle.h"

static const uint8_t key[HANDLE_KEY_BYTES] = {7, 7, 7, 7};
static const uint8_t other_key[HANDLE_KEY_BYTES] = {7, 7, 7, 8};

/* Bytes from outside. They are a handle only if sealing what they say gives the same bytes. */
static void check_any(struct bytes b)
{
	uint8_t again[HANDLE_TOKEN_BYTES];
	struct handle_token t;

	if (handle_unseal(b, key, &t) != ERROR_OK)
		return;
	handle_seal(&t, key, again);
	CHECK(bytes_equal(b, (struct bytes){again, sizeof(again)}));
	CHECK(handle_unseal(b, other_key, &t) == ERROR_HANDLE_INVALID);
}

/* What is sealed is read as it was, and not after any change. */
static void check_sealed(struct feed *f)
{
	struct handle_token t = {
		.session = {feed_number(f, 8)},
		.instance = feed_number(f, 8),
		.number = {feed_number(f, 8)},
		.epoch = {feed_number(f, 8)},
		.uses = (uint32_t)feed_number(f, 4),
		.event_mask = (uint32_t)feed_number(f, 4),
	};
	uint8_t token[HANDLE_TOKEN_BYTES], flip = feed_byte(f);
	struct bytes b = {token, sizeof(token)};
	size_t at = feed_below(f, HANDLE_TOKEN_BYTES);
	struct handle_token back;
	enum error e;

	handle_seal(&t, key, token);
	e = handle_unseal(b, key, &back);
	CHECK(e == ERROR_OK && back.session.n == t.session.n && back.instance == t.instance);
	CHECK(back.number.n == t.number.n && back.epoch.n == t.epoch.n);
	CHECK(back.uses == t.uses && back.event_mask == t.event_mask);
	token[at] ^= flip;
	e = handle_unseal(b, key, &back);
	CHECK(e == (flip == 0 ? ERROR_OK : ERROR_HANDLE_INVALID));
	b.size -= flip % 64;
	check_any(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};

	check_any((struct bytes){data, size});
	check_sealed(&f);
	return 0;
}
