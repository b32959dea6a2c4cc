/*
 * Small files of `chubbyd dev`: what it tells others, and what a replica said.
 */
#ifndef CHUBBY_DEV_FILES_H
#define CHUBBY_DEV_FILES_H

#include <stdbool.h>

/* Whole or not at all; false after a message. */
bool dev_write_file(const char *directory, const char *name, const char *text);
/* The last line of a log that is not blank; the caller frees it. */
char *dev_last_line(const char *path);

#endif
