#include "dev_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "config.h"

bool dev_write_file(const char *directory, const char *name, const char *text)
{
	char *temporary = config_sentence("%s/.%s.new", directory, name);
	char *path = config_sentence("%s/%s", directory, name);
	FILE *f = fopen(temporary, "we");
	bool good = f != NULL && fputs(text, f) >= 0;

	if (f != NULL && fclose(f) != 0)
		good = false;
	good = good && rename(temporary, path) == 0;
	if (!good)
		log_error("cannot write %s: %s", path, strerror(errno));
	free(temporary);
	free(path);
	return good;
}

char *dev_last_line(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[1024], last[1024] = "(its log is empty)";

	while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '\0')
			memcpy(last, line, sizeof(last));
	}
	if (f != NULL)
		fclose(f);
	return mem_strdup(last);
}
