#include "cli.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define SYSTEM_FILE "/etc/chubby/chubby.conf"

struct reading {
	struct settings *settings;
	const char *name;
	bool failed;
};

static int setting_taken(void *user, const char *section, const char *key, const char *value)
{
	struct reading *r = user;
	struct settings *s = r->settings;

	if (section[0] != '\0' && strcmp(section, "chubby") != 0)
		return 1; /* another program's */
	if (strcmp(key, "servers") == 0) {
		if (s->servers == NULL)
			s->servers = mem_strdup(value);
	} else if (strcmp(key, "cell") == 0) {
		if (s->cell == NULL)
			s->cell = mem_strdup(value);
	} else if (strcmp(key, "timeout") == 0) {
		int64_t ms;

		if (!duration_parse(value, &ms)) {
			say("%s: timeout = %s: want a time such as 5s or 250ms", r->name, value);
			r->failed = true;
			return 0;
		}
		if (s->timeout_ms < 0)
			s->timeout_ms = ms;
	} else {
		say("%s: there is no setting \"%s\"; known are servers, cell and timeout", r->name,
		    key);
		r->failed = true;
		return 0;
	}
	return 1;
}

static bool reading_over(const struct reading *r, int result)
{
	if (r->failed)
		return false;
	if (result > 0)
		say("%s: line %d: want NAME = VALUE", r->name, result);
	return result == 0;
}

bool settings_read_text(struct settings *s, const char *name, const char *text)
{
	struct reading r = {.settings = s, .name = name};

	return reading_over(&r, ini_parse_string(text, setting_taken, &r));
}

bool settings_read_file(struct settings *s, const char *path)
{
	struct reading r = {.settings = s, .name = path};

	if (access(path, F_OK) != 0)
		return true;
	if (access(path, R_OK) != 0) {
		say("%s: %s", path, strerror(errno));
		return false;
	}
	return reading_over(&r, ini_parse(path, setting_taken, &r));
}

int settings_complete(struct settings *s)
{
	const char *servers = getenv("CHUBBY_SERVERS"), *cell = getenv("CHUBBY_CELL");
	const char *timeout = getenv("CHUBBY_TIMEOUT"), *home = getenv("HOME");
	const char *config = getenv("XDG_CONFIG_HOME");
	char path[4096] = "";

	if (s->servers == NULL && servers != NULL && servers[0] != '\0')
		s->servers = servers;
	if (s->cell == NULL && cell != NULL && cell[0] != '\0')
		s->cell = cell;
	if (s->timeout_ms < 0 && timeout != NULL && timeout[0] != '\0' &&
	    !duration_parse(timeout, &s->timeout_ms)) {
		say("CHUBBY_TIMEOUT=%s: want a time such as 5s or 250ms", timeout);
		return EXIT_USAGE;
	}
	if (config != NULL && config[0] == '/')
		snprintf(path, sizeof(path), "%s/chubby.conf", config);
	else if (home != NULL && home[0] == '/')
		snprintf(path, sizeof(path), "%s/.config/chubby.conf", home);
	if ((path[0] != '\0' && !settings_read_file(s, path)) ||
	    !settings_read_file(s, SYSTEM_FILE))
		return EXIT_USAGE;
	return 0;
}
