#include "wire/handle.h"

#include "base/check.h"

#include <sodium.h>
#include <string.h>

/*
 * The token's bytes, numbers little-endian:
 *   0 version, 1..7 zero, 8 session, 16 instance, 24 number, 32 epoch, 40 uses, 44 event mask,
 *   48..63 MAC over the first 48
 */
#define HANDLE_VERSION 1
#define HANDLE_MAC_BYTES 16
#define HANDLE_BODY_BYTES (HANDLE_TOKEN_BYTES - HANDLE_MAC_BYTES)

static void store(uint8_t *to, uint64_t n, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(n >> (8 * i));
}

static uint64_t load(const uint8_t *from, unsigned bytes)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < bytes; i++)
		n |= (uint64_t)from[i] << (8 * i);
	return n;
}

static void mac(const uint8_t body[HANDLE_BODY_BYTES], const uint8_t key[HANDLE_KEY_BYTES],
		uint8_t ret_mac[HANDLE_MAC_BYTES])
{
	int failed = crypto_generichash(ret_mac, HANDLE_MAC_BYTES, body, HANDLE_BODY_BYTES, key,
					HANDLE_KEY_BYTES);

	/* It fails only for sizes outside its limits, and these are constants within them. */
	CHECK(failed == 0);
}

void handle_seal(const struct handle_token *t, const uint8_t key[HANDLE_KEY_BYTES],
		 uint8_t ret_token[HANDLE_TOKEN_BYTES])
{
	memset(ret_token, 0, HANDLE_TOKEN_BYTES);
	ret_token[0] = HANDLE_VERSION;
	store(ret_token + 8, t->session.n, 8);
	store(ret_token + 16, t->instance, 8);
	store(ret_token + 24, t->number.n, 8);
	store(ret_token + 32, t->epoch.n, 8);
	store(ret_token + 40, t->uses, 4);
	store(ret_token + 44, t->event_mask, 4);
	mac(ret_token, key, ret_token + HANDLE_BODY_BYTES);
}

enum error handle_unseal(struct bytes token, const uint8_t key[HANDLE_KEY_BYTES],
			 struct handle_token *ret_handle)
{
	uint8_t expected[HANDLE_MAC_BYTES];

	if (token.size != HANDLE_TOKEN_BYTES)
		return ERROR_HANDLE_INVALID;
	/* The MAC covers version and padding: what was sealed with this key has them right. */
	mac(token.data, key, expected);
	if (sodium_memcmp(expected, token.data + HANDLE_BODY_BYTES, HANDLE_MAC_BYTES) != 0 ||
	    token.data[0] != HANDLE_VERSION)
		return ERROR_HANDLE_INVALID;
	*ret_handle = (struct handle_token){
		.session = {load(token.data + 8, 8)},
		.instance = load(token.data + 16, 8),
		.number = {load(token.data + 24, 8)},
		.epoch = {load(token.data + 32, 8)},
		.uses = (uint32_t)load(token.data + 40, 4),
		.event_mask = (uint32_t)load(token.data + 44, 4),
	};
	return ERROR_OK;
}
