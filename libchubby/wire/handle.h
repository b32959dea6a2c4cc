/*
 * Handle tokens (Chubby section 2.3): what the client keeps of an open node.
 *
 * (session, node instance, number, epoch that issued it, open mode) and a MAC with the cell's
 * secret, so that a handle can be neither guessed nor changed, and a new master can rebuild it.
 * 16-byte keyed BLAKE2b (libsodium). Pure.
 */
#ifndef CHUBBY_WIRE_HANDLE_H
#define CHUBBY_WIRE_HANDLE_H

#include "wire/message.h"

#define HANDLE_KEY_BYTES 32
#define HANDLE_TOKEN_BYTES 64

enum handle_use { HANDLE_READ = 1, HANDLE_WRITE = 2, HANDLE_CHANGE_ACL = 4 };

struct handle_token {
	struct session_id session;
	uint64_t instance;
	struct handle_id number;
	struct epoch epoch;
	uint32_t uses; /* enum handle_use, or-ed */
	uint32_t event_mask;
};

void handle_seal(const struct handle_token *t, const uint8_t key[HANDLE_KEY_BYTES],
		 uint8_t ret_token[HANDLE_TOKEN_BYTES]);
/* HANDLE_INVALID unless it was sealed with this key. */
MUST_USE enum error handle_unseal(struct bytes token, const uint8_t key[HANDLE_KEY_BYTES],
				  struct handle_token *ret_handle);

#endif
