/*
 * config: what a daemon is told, from flags and an INI file; checked before anything starts.
 *
 * Flags win over the file. Unsafe combinations of timings are refused with the reason: they would
 * make the leases wrong, and a wrong answer is worse than none.
 */
#ifndef CHUBBY_CONFIG_H
#define CHUBBY_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"

#define CONFIG_LEASE_DEFAULT_MS 400
#define CONFIG_HEARTBEAT_DEFAULT_MS 100
#define CONFIG_LEASE_MIN_MS 100
#define CONFIG_LEASE_MAX_MS 10000

/* In the environment of a process that started anew after a storage error: others should lead. */
#define CONFIG_STAND_BACK_VARIABLE "CHUBBYD_STAND_BACK"

struct config {
	char *data;        /* owned; the data directory */
	char *listen;      /* owned; NULL: the address in the identity */
	char *listen_peer; /* owned; likewise */
	char *listen_web;  /* owned; likewise */
	int64_t lease_ms;
	int64_t heartbeat_ms;
	int64_t drift_ppm;
	int64_t keep_slots; /* 0: the store's default */
	bool insecure_plaintext_beyond_loopback;
	bool die_with_parent; /* chubbyd dev: end when the supervisor does */
	bool stand_back;      /* this start follows a storage error */
	enum log_level log_level;
};

void config_init(struct config *c);
void config_release(struct config *c);

/* Sets one value by the name that flag and file share ("lease-ms"). INVALID_ARGUMENT with a
 * sentence that the caller frees. */
MUST_USE enum error config_set(struct config *c, const char *name, const char *value,
			       char **ret_trouble);
/* Reads `key = value` lines under [chubbyd]. NOT_FOUND, INVALID_ARGUMENT with a sentence. */
MUST_USE enum error config_read_file(struct config *c, const char *path, char **ret_trouble);
/* Checks the whole. */
MUST_USE enum error config_check(const struct config *c, char **ret_trouble);

/* A sentence that the caller frees. */
__attribute__((format(printf, 1, 2), returns_nonnull)) char *config_sentence(const char *format,
									     ...);

#endif
