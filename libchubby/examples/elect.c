/*
 * An election: whoever holds the lock leads, and says in the file's contents where it is reached.
 *
 *   elect lead ADDRESS    waits to be elected, leads until its standard input ends
 *   elect find            prints the leader's address
 *
 * The leader writes its sequencer beside its address. Who reads them asks the cell whether that
 * grant still stands: the address of a leader that died is recognised, and so is that of one which
 * is elected and has not said so yet.
 */
#include <chubby.h>
#include <stdio.h>
#include <string.h>

#define NODE "/ls/local/leader"

static int lead(struct chubby *cell, const char *address, struct chubby_error *error)
{
	struct chubby_handle *h;
	char text[1024];
	int size;

	if (chubby_open(cell, NODE, CHUBBY_WRITE | CHUBBY_CREATE, NULL, 0, &h, NULL, error) !=
		    CHUBBY_OK ||
	    chubby_acquire(h, NULL, error) != CHUBBY_OK)
		return 1;
	size = snprintf(text, sizeof(text), "%s\n%s", address, chubby_sequencer(h));
	/* Should the lock be lost by now, the address of the next leader is not overwritten. */
	if (size >= (int)sizeof(text) ||
	    chubby_set_sequencer(h, chubby_sequencer(h), error) != CHUBBY_OK ||
	    chubby_set(h, text, (size_t)size, 0, NULL, error) != CHUBBY_OK)
		return 1;
	printf("leading with token %llu\n", (unsigned long long)chubby_token(h));
	fflush(stdout);
	/* Here is the work of a leader, each write with its token, as long as it is one. */
	while (chubby_is_held(h) && getchar() != EOF)
		;
	chubby_close(h);
	return 0;
}

static int find(struct chubby *cell, struct chubby_error *error)
{
	struct chubby_contents contents;
	struct chubby_handle *h;
	char *sequencer;
	int status = 1;

	if (chubby_open(cell, NODE, CHUBBY_READ, NULL, 0, &h, NULL, error) != CHUBBY_OK ||
	    chubby_get(h, &contents, NULL, error) != CHUBBY_OK)
		return 1;
	sequencer = strchr(contents.data, '\n');
	if (sequencer != NULL) {
		*sequencer++ = '\0';
		if (chubby_check_sequencer(cell, sequencer, NULL, error) == CHUBBY_OK) {
			printf("%s\n", (char *)contents.data);
			status = 0;
		}
	} else {
		snprintf(error->message, sizeof(error->message), "nobody was ever elected");
	}
	chubby_contents_free(&contents);
	chubby_close(h);
	return status;
}

int main(int argc, char **argv)
{
	struct chubby_error error;
	struct chubby *cell;
	int status;

	if (!(argc == 3 && strcmp(argv[1], "lead") == 0) &&
	    !(argc == 2 && strcmp(argv[1], "find") == 0)) {
		fprintf(stderr, "usage: elect lead ADDRESS | find\n");
		return 64;
	}
	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "elect: %s\n", error.message);
		return 1;
	}
	status = argc == 3 ? lead(cell, argv[2], &error) : find(cell, &error);
	if (status != 0)
		fprintf(stderr, "elect: %s\n", error.message);
	chubby_disconnect(cell);
	return status;
}
