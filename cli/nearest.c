/*
 * What a misspelt word may have meant.
 */
#include "cli.h"

#include <string.h>

#define WORD_MAX 32u
#define DISTANCE_MAX 2u

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Letters to add, to drop, to change, or to swap with their neighbours. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1], a_size = strlen(a), b_size = strlen(b);
	size_t *before = rows[0], *previous = rows[1], *row = rows[2], *turned;

	if (a_size > WORD_MAX || b_size > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= b_size; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_size; i++) {
		turned = before;
		before = previous;
		previous = row;
		row = turned;
		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			row[j] = least(previous[j - 1] + (a[i - 1] != b[j - 1] ? 1 : 0),
				       least(previous[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				row[j] = least(row[j], before[j - 2] + 1);
		}
	}
	return row[b_size];
}

size_t nearest(const char *word, const char *const names[], size_t count,
	       const char *ret_names[NEAREST_MAX])
{
	size_t size = strlen(word), found = 0;

	for (size_t i = 0; size > 0 && i < count && found < NEAREST_MAX; i++) {
		if (strncmp(names[i], word, size) == 0)
			ret_names[found++] = names[i];
	}
	for (size_t d = 1; found == 0 && d <= DISTANCE_MAX; d++) {
		for (size_t i = 0; i < count && found < NEAREST_MAX; i++) {
			/* Two of three letters wrong is another word. */
			if (strlen(names[i]) > d + 1 && distance(word, names[i]) == d)
				ret_names[found++] = names[i];
		}
	}
	return found;
}

void nearest_format(const char *const names[], size_t count, const char *dashes, char *text,
		    size_t size_bytes)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < count && used < size_bytes; i++)
		used += (size_t)snprintf(text + used, size_bytes - used, "%s%s%s%s",
					 i == 0           ? "; did you mean "
					 : i + 1 == count ? " or "
							  : ", ",
					 dashes, names[i], i + 1 == count ? "?" : "");
}
