/*
 * Tells others that this process is there, for as long as it is, and says who else is.
 *
 *   open NAME
 */
#include <chubby.h>
#include <stdio.h>

#define DIRECTORY "/ls/local/members"

static int members(struct chubby *cell, const char *name)
{
	struct chubby_handle *directory = NULL, *self = NULL;
	struct chubby_error error;
	struct chubby_dir dir;
	char path[256];
	int status = 1;

	snprintf(path, sizeof(path), DIRECTORY "/%s", name);
	/* Any number of processes may ask for the directory; one of them makes it. */
	if (chubby_open(cell, DIRECTORY, CHUBBY_READ | CHUBBY_CREATE | CHUBBY_DIRECTORY, NULL, 0,
			&directory, NULL, &error) != CHUBBY_OK)
		goto out;
	/* The node goes with the last session that has it open: also when this process dies. */
	if (chubby_open(cell, path,
			CHUBBY_WRITE | CHUBBY_CREATE | CHUBBY_EXCLUSIVE | CHUBBY_EPHEMERAL, "up", 2,
			&self, NULL, &error) != CHUBBY_OK)
		goto out;
	if (chubby_read_dir(directory, &dir, &error) != CHUBBY_OK)
		goto out;
	for (size_t i = 0; i < dir.count; i++)
		printf("%s\n", dir.entries[i].name);
	chubby_dir_free(&dir);
	fflush(stdout);
	while (getchar() != EOF)
		; /* here the work is done */
	status = 0;
out:
	if (status != 0)
		fprintf(stderr, "open: %s\n", error.message);
	chubby_close(self);
	chubby_close(directory);
	return status;
}

int main(int argc, char **argv)
{
	struct chubby_error error;
	struct chubby *cell;
	int status;

	if (argc != 2) {
		fprintf(stderr, "usage: open NAME\n");
		return 64;
	}
	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "open: %s\n", error.message);
		return 1;
	}
	status = members(cell, argv[1]);
	chubby_disconnect(cell);
	return status;
}
