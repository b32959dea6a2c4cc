#include "config.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

char *config_sentence(const char *format, ...)
{
	char *text = NULL;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vasprintf(&text, format, arguments);
	va_end(arguments);
	CHECK(size >= 0 && text != NULL);
	return text;
}

void config_init(struct config *c)
{
	*c = (struct config){
		.lease_ms = CONFIG_LEASE_DEFAULT_MS,
		.heartbeat_ms = CONFIG_HEARTBEAT_DEFAULT_MS,
		.drift_ppm = DRIFT_PPM_DEFAULT,
		.log_level = LOG_LEVEL_INFO,
	};
}

void config_release(struct config *c)
{
	free(c->data);
	free(c->listen);
	free(c->listen_peer);
	free(c->listen_web);
	*c = (struct config){0};
}

static bool parse_number(const char *text, int64_t *ret_number)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || n < 0)
		return false;
	*ret_number = n;
	return true;
}

static bool parse_flag(const char *text, bool *ret_flag)
{
	if (strcmp(text, "yes") == 0 || strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
		*ret_flag = true;
	else if (strcmp(text, "no") == 0 || strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
		*ret_flag = false;
	else
		return false;
	return true;
}

static bool parse_level(const char *text, enum log_level *ret_level)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	for (int i = 0; i < 4; i++) {
		if (strcmp(text, names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return true;
		}
	}
	return false;
}

static void replace(char **text, const char *value)
{
	free(*text);
	*text = mem_strdup(value);
}

enum error config_set(struct config *c, const char *name, const char *value, char **ret_trouble)
{
	struct {
		const char *name;
		char **text;
		int64_t *number;
		bool *flag;
	} table[] = {
		{"data", &c->data, NULL, NULL},
		{"listen", &c->listen, NULL, NULL},
		{"listen-peer", &c->listen_peer, NULL, NULL},
		{"listen-web", &c->listen_web, NULL, NULL},
		{"lease-ms", NULL, &c->lease_ms, NULL},
		{"heartbeat-ms", NULL, &c->heartbeat_ms, NULL},
		{"drift-ppm", NULL, &c->drift_ppm, NULL},
		{"keep-slots", NULL, &c->keep_slots, NULL},
		{"insecure-plaintext-beyond-loopback", NULL, NULL,
		 &c->insecure_plaintext_beyond_loopback},
		{"die-with-parent", NULL, NULL, &c->die_with_parent},
	};
	bool good = true;

	if (strcmp(name, "log-level") == 0) {
		good = parse_level(value, &c->log_level);
		if (!good)
			*ret_trouble = config_sentence(
				"log-level is error, warning, info or debug, not \"%s\"", value);
		return good ? ERROR_OK : ERROR_INVALID_ARGUMENT;
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(name, table[i].name) != 0)
			continue;
		if (table[i].text != NULL)
			replace(table[i].text, value);
		else if (table[i].number != NULL)
			good = parse_number(value, table[i].number);
		else
			good = parse_flag(value, table[i].flag);
		if (!good)
			*ret_trouble = config_sentence("%s: \"%s\" is no %s", name, value,
						       table[i].number != NULL ? "number"
									       : "yes or no");
		return good ? ERROR_OK : ERROR_INVALID_ARGUMENT;
	}
	*ret_trouble = config_sentence("there is no setting \"%s\"", name);
	return ERROR_INVALID_ARGUMENT;
}

struct ini_reading {
	struct config *config;
	char *trouble;
};

static int ini_line(void *user, const char *section, const char *name, const char *value)
{
	struct ini_reading *reading = user;

	if (reading->trouble != NULL)
		return 0;
	if (strcmp(section, "chubbyd") != 0) {
		reading->trouble = config_sentence("settings belong under [chubbyd], not [%s]",
						   section);
		return 0;
	}
	return config_set(reading->config, name, value, &reading->trouble) == ERROR_OK;
}

enum error config_read_file(struct config *c, const char *path, char **ret_trouble)
{
	struct ini_reading reading = {.config = c};
	int line = ini_parse(path, ini_line, &reading);

	if (line == 0)
		return ERROR_OK;
	if (line < 0) {
		*ret_trouble = config_sentence("cannot read %s: %s", path, strerror(errno));
		return ERROR_NOT_FOUND;
	}
	*ret_trouble = config_sentence("%s, line %d: %s", path, line,
				       reading.trouble != NULL ? reading.trouble
							       : "not of the form key = value");
	free(reading.trouble);
	return ERROR_INVALID_ARGUMENT;
}

enum error config_check(const struct config *c, char **ret_trouble)
{
	if (c->data == NULL || c->data[0] == '\0') {
		*ret_trouble = config_sentence("say where the data is: --data DIR");
		return ERROR_INVALID_ARGUMENT;
	}
	if (c->lease_ms < CONFIG_LEASE_MIN_MS || c->lease_ms > CONFIG_LEASE_MAX_MS) {
		*ret_trouble = config_sentence("lease-ms is %d to %d, not %lld",
					       CONFIG_LEASE_MIN_MS, CONFIG_LEASE_MAX_MS,
					       (long long)c->lease_ms);
		return ERROR_INVALID_ARGUMENT;
	}
	if (c->heartbeat_ms < 10 || c->heartbeat_ms > c->lease_ms / 3) {
		*ret_trouble = config_sentence(
			"heartbeat-ms is 10 to a third of lease-ms (%lld), not %lld: a lease must "
			"survive two lost heartbeats",
			(long long)(c->lease_ms / 3), (long long)c->heartbeat_ms);
		return ERROR_INVALID_ARGUMENT;
	}
	if (c->drift_ppm < 100 || c->drift_ppm > 200000) {
		*ret_trouble = config_sentence(
			"drift-ppm, the bound of each clock's rate error, is 100 to 200000, not "
			"%lld",
			(long long)c->drift_ppm);
		return ERROR_INVALID_ARGUMENT;
	}
	return ERROR_OK;
}
