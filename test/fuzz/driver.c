/*
 * Runs a fuzz target without libFuzzer, so that any compiler's build tests it: every file that is
 * named, or stands in a directory that is named, and then so many mutations of these, made from a
 * seed. The same seed makes the same mutations.
 *
 *   NAME_fuzz [--rounds N] [--seed S] [--round R] FILE|DIRECTORY...
 *
 * --round runs only that mutation: how a failure is replayed.
 */
#include "fuzz.h"

#include "base/rng.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUTS_MAX 4096
#define INPUT_MAX_BYTES ((size_t)1 << 20)
#define CHANGES_MAX 6

struct corpus {
	size_t count;
	struct bytes inputs[INPUTS_MAX]; /* owned */
	char *names[INPUTS_MAX];         /* owned */
};

/* What runs now, for the signal handler. */
static char running[512];

static void died(int signal_number)
{
	ssize_t ignored = write(STDERR_FILENO, running, strlen(running));

	(void)ignored;
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

/* A sanitizer that watches already says more. */
static void watch(int signal_number)
{
	struct sigaction old;

	if (sigaction(signal_number, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
		signal(signal_number, died);
}

/* Of its own size, so that a read beyond the end is seen. */
static void run_one(struct bytes b)
{
	uint8_t *copy = mem_alloc(b.size);

	if (b.size > 0)
		memcpy(copy, b.data, b.size);
	LLVMFuzzerTestOneInput(copy, b.size);
	free(copy);
}

static void corpus_add_file(struct corpus *c, const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = mem_alloc(INPUT_MAX_BYTES);
	size_t size;

	if (file == NULL || c->count == INPUTS_MAX) {
		fprintf(stderr, "%s cannot be read, or is one too many\n", path);
		exit(1);
	}
	size = fread(data, 1, INPUT_MAX_BYTES, file);
	fclose(file);
	c->inputs[c->count] = (struct bytes){data, size};
	c->names[c->count++] = mem_strdup(path);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* In the order of the names: a directory's own order differs from disk to disk. */
static void corpus_add(struct corpus *c, const char *path)
{
	struct dirent **entries;
	struct stat st;
	int count;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
		corpus_add_file(c, path);
		return;
	}
	count = scandir(path, &entries, NULL, by_name);
	for (int i = 0; i < count; i++) {
		char full[4096];

		snprintf(full, sizeof(full), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			corpus_add_file(c, full);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

static void corpus_release(struct corpus *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free((void *)(uintptr_t)c->inputs[i].data);
		free(c->names[i]);
	}
	free(c);
}

/* ---- mutations ---- */

static uint8_t any_byte(struct rng *r)
{
	static const uint8_t telling[] = {0, 1, 2, 0x7f, 0x80, 0xff, '/', ':', '\n', '='};

	return rng_below(r, 2) == 0 ? (uint8_t)rng_next(r) : telling[rng_below(r, sizeof(telling))];
}

static void replace(struct buffer *b, size_t at, size_t old_size, struct bytes with)
{
	struct buffer next;
	bool fits;

	buffer_init(&next, 2 * INPUT_MAX_BYTES);
	fits = buffer_append(&next, (struct bytes){b->data, at}) && buffer_append(&next, with) &&
	       buffer_append(&next,
			     (struct bytes){b->data + at + old_size, b->size - at - old_size});
	CHECK(fits);
	buffer_release(b);
	*b = next;
}

static void change(struct rng *r, const struct corpus *c, struct buffer *b)
{
	size_t at = rng_below(r, b->size + 1), left = b->size - at;
	size_t run = rng_below(r, (left < 64 ? left : 64) + 1);
	struct bytes other = c->inputs[rng_below(r, c->count)];
	size_t from = rng_below(r, other.size + 1);
	uint8_t byte = any_byte(r);

	switch (rng_below(r, 7)) {
	case 0:
		if (left > 0)
			b->data[at] ^= (uint8_t)(1u << rng_below(r, 8));
		break;
	case 1:
		if (left > 0)
			b->data[at] = byte;
		break;
	case 2:
		replace(b, at, run, BYTES_NONE);
		break;
	case 3:
		replace(b, at, 0, (struct bytes){&byte, 1});
		break;
	case 4: /* a piece of another input */
		replace(b, at, run,
			(struct bytes){other.data + from, rng_below(r, other.size - from + 1)});
		break;
	case 5: /* cut */
		if (rng_below(r, 4) == 0)
			b->size = at;
		break;
	default: /* a number a little larger or smaller */
		if (left > 0)
			b->data[at] = (uint8_t)(b->data[at] + rng_between(r, -4, 4));
		break;
	}
	if (b->size > INPUT_MAX_BYTES)
		b->size = INPUT_MAX_BYTES;
}

static void run_mutation(const struct corpus *c, uint64_t seed, uint64_t round)
{
	struct buffer b;
	struct rng r;
	bool fits;

	rng_init(&r, seed * 1000003 + round);
	buffer_init(&b, 2 * INPUT_MAX_BYTES);
	fits = buffer_append(&b, c->inputs[rng_below(&r, c->count)]);
	CHECK(fits);
	for (uint64_t n = 1 + rng_below(&r, CHANGES_MAX); n > 0; n--)
		change(&r, c, &b);
	run_one(buffer_view(&b));
	buffer_release(&b);
}

/* ---- the program ---- */

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = text != NULL ? strtoull(text, &end, 10) : 0;

	if (text == NULL || end == text || *end != '\0') {
		fprintf(stderr, "want a number\n");
		exit(64);
	}
	return n;
}

static void run_all(const struct corpus *c, const char *program, uint64_t seed, uint64_t from,
		    uint64_t through)
{
	for (size_t i = 0; i < c->count && from == 0; i++) {
		snprintf(running, sizeof(running), "failed; replay: %s %s\n", program, c->names[i]);
		run_one(c->inputs[i]);
	}
	for (uint64_t round = from; round < through; round++) {
		snprintf(running, sizeof(running),
			 "failed; replay: %s --seed %llu --round %llu and the same corpus\n",
			 program, (unsigned long long)seed, (unsigned long long)round);
		run_mutation(c, seed, round);
	}
}

int main(int argc, char **argv)
{
	struct corpus *c = mem_zalloc(sizeof(*c));
	uint64_t rounds = 0, seed = 1, from = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--rounds") == 0)
			rounds = number(argv[++i]);
		else if (strcmp(argv[i], "--seed") == 0)
			seed = number(argv[++i]);
		else if (strcmp(argv[i], "--round") == 0)
			rounds = 1 + (from = number(argv[++i]));
		else
			corpus_add(c, argv[i]);
	}
	if (c->count == 0) {
		fprintf(stderr, "usage: %s [--rounds N] [--seed S] [--round R] FILE|DIRECTORY...\n",
			argv[0]);
		return 64;
	}
	watch(SIGABRT);
	watch(SIGSEGV);
	watch(SIGBUS);
	watch(SIGFPE);
	run_all(c, argv[0], seed, from, rounds);
	printf("%zu inputs and %llu mutations of them did no harm\n", c->count,
	       (unsigned long long)(rounds - from));
	corpus_release(c);
	return 0;
}
