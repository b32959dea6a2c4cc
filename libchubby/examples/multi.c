/*
 * Moves a file: the new one is made and the old one deleted at one instant, if nobody changed the
 * old one since it was read.
 *
 *   multi /ls/local/from /ls/local/to
 */
#include <chubby.h>
#include <inttypes.h>
#include <stdio.h>

static enum chubby_code move(struct chubby *cell, const char *from, const char *to,
			     struct chubby_error *error)
{
	struct chubby_contents contents;
	struct chubby_stat stat;
	struct chubby_handle *h;
	enum chubby_code code = chubby_open(cell, from, CHUBBY_READ | CHUBBY_WRITE, NULL, 0, &h,
					    NULL, error);
	uint64_t revision;
	size_t failed;

	if (code != CHUBBY_OK)
		return code;
	code = chubby_get(h, &contents, &stat, error);
	if (code == CHUBBY_OK) {
		const struct chubby_op ops[] = {
			{.kind = CHUBBY_GUARD_GENERATION,
			 .handle = h,
			 .number = stat.contents_generation},
			{.kind = CHUBBY_OP_CREATE,
			 .path = to,
			 .data = contents.data,
			 .size_bytes = contents.size_bytes},
			{.kind = CHUBBY_OP_DELETE, .handle = h},
		};

		code = chubby_multi(cell, ops, 3, &revision, &failed, error);
		if (code == CHUBBY_OK)
			printf("moved at revision %" PRIu64 "\n", revision);
		else if (failed != CHUBBY_MULTI_NO_OP)
			printf("nothing was changed: number %zu says %s\n", failed,
			       chubby_code_name(code));
		chubby_contents_free(&contents);
	}
	chubby_close(h);
	return code;
}

int main(int argc, char **argv)
{
	struct chubby_error error;
	struct chubby *cell;
	enum chubby_code code;

	if (argc != 3) {
		fprintf(stderr, "usage: multi FROM TO\n");
		return 64;
	}
	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "multi: %s\n", error.message);
		return 1;
	}
	code = move(cell, argv[1], argv[2], &error);
	if (code != CHUBBY_OK)
		fprintf(stderr, "multi: %s\n", error.message);
	chubby_disconnect(cell);
	return code != CHUBBY_OK;
}
