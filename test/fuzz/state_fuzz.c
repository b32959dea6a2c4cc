/*
 * A state.db of any content beside a sound log.db: the store opens, and the state loads as a sound
 * cell or is refused with a sentence.
 *
 *   choice byte: 1 the rest is the whole file (else patches), 2 checksums of rows are mended
 */
#include "store_help.h"

static char directory[96];
static struct buffer template_file; /* owned; as long as the process */

static void prepare(void)
{
	struct store_identity identity = identity_of(2);
	struct state_mark mark;
	char *trouble = NULL;
	enum error e;

	if (directory[0] != '\0')
		return;
	fuzz_root_make();
	snprintf(directory, sizeof(directory), "%s/replica", fuzz_root);
	e = store_genesis(directory, &identity, &trouble);
	CHECK(e == ERROR_OK);
	template_file = state_template(2, 0, &mark);
}

static void load(struct store *s)
{
	struct cell *c = NULL;
	char *trouble = NULL;
	struct slot applied;

	if (store_load(s, &c, &applied, &trouble) == ERROR_OK) {
		CHECK(cell_meta(c)->cell_id_high == 1 && cell_meta(c)->cell_id_low == 2);
		check_cell(c);
		cell_free(c);
	} else {
		CHECK(trouble != NULL && trouble[0] != '\0');
	}
	free(trouble);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed f = {data, size};
	uint8_t choice = feed_byte(&f);
	struct store_identity identity = identity_of(2);
	struct store *s = NULL;
	char *trouble = NULL;
	struct buffer file;

	prepare();
	file = patched(&template_file, &f, choice & 1);
	if (choice & 2)
		mend(&file, &identity);
	store_unlink(directory, STORE_FILE_STATE);
	file_put(directory, STORE_FILE_STATE, buffer_view(&file));
	if (store_open(directory, NULL, &s, &trouble) == ERROR_OK) {
		CHECK(trouble == NULL);
		load(s);
		store_close(s);
	} else {
		CHECK(trouble != NULL && trouble[0] != '\0');
	}
	free(trouble);
	buffer_release(&file);
	return 0;
}
