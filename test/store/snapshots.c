/* States of a replica that is far ahead. */
#include "life.h"

#include "base/check.h"
#include "base/value.h"

#include <string.h>

#define FIRST_SLOT 1000000

static void keep_image(struct store *s, const struct cell *c, struct life_snapshot *ret)
{
	struct store_image *image = NULL;
	char *trouble = NULL;
	enum error e = store_image_make(s, &image, &trouble);

	CHECK(e == ERROR_OK);
	ret->about = *store_image_about(image);
	ret->digest = cell_digest(c);
	buffer_init(&ret->image, (size_t)ret->about.total_bytes);
	e = store_image_read(image, 0, (size_t)ret->about.total_bytes, &ret->image);
	CHECK(e == ERROR_OK);
	store_image_free(image);
}

void life_make_snapshots(const char *directory, struct life_snapshot *ret_snapshots)
{
	struct store_identity identity = life_identity(1);
	struct life_tally tally = {0};
	struct life l;
	char *trouble = NULL;
	const char *text;
	enum error e;

	life_init(&l, directory, 1, NULL, &tally);
	e = store_genesis(l.directory, &identity, &trouble);
	CHECK(e == ERROR_OK);
	truth_init(&l.truth, (struct digest){0});
	l.truth.saves[0].digest = life_genesis_digest(&identity);
	text = life_start(&l);
	CHECK(text == NULL);
	for (int i = 0; i < LIFE_SNAPSHOTS; i++) {
		text = life_save_at(&l, (uint64_t)(i + 1) * FIRST_SLOT);
		CHECK(text == NULL);
		keep_image(l.store, l.cell, &ret_snapshots[i]);
	}
	life_release(&l);
}
