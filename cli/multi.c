/*
 * chubby multi: conditions and changes in one instant.
 */
#include "multi_words.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "cli.h"

#define TEXT_MAX_BYTES ((size_t)4 << 20)

static int plan_from_input(struct multi_plan *p, uint8_t **ret_text)
{
	size_t size;
	int status = input_read(TEXT_MAX_BYTES, ret_text, &size);

	if (status != 0)
		return status;
	return multi_plan_read(p, (char *)*ret_text, size);
}

/* Contents of "-" are standard input, once. */
static int input_fill_in(struct multi_plan *p, uint8_t **ret_data)
{
	struct chubby_op *from_input = NULL;

	for (size_t i = 0; i < p->count; i++) {
		struct chubby_op *op = &p->ops[i];

		if (op->size_bytes != 1 || memcmp(op->data, "-", 1) != 0)
			continue;
		if (from_input != NULL) {
			say("multi: only one of the contents can be standard input (\"-\")");
			return EXIT_USAGE;
		}
		from_input = op;
	}
	if (from_input == NULL)
		return 0;
	if (input_read(CONTENTS_MAX_BYTES, ret_data, &from_input->size_bytes) != 0)
		return 1;
	from_input->data = *ret_data;
	return 0;
}

static int plan_from_arguments(const struct cli *c, struct multi_plan *p, uint8_t **ret_data)
{
	size_t count = (size_t)c->argument_count;
	struct bytes *words = mem_zalloc(count * sizeof(*words));
	int status;

	for (size_t i = 0; i < count; i++)
		words[i] = bytes_of_text(c->arguments[i]);
	status = multi_plan_add(p, words, count, 0);
	free(words);
	return status != 0 ? status : input_fill_in(p, ret_data);
}

/* Which one it was, by its number or line, and that nothing was done. */
static int refused(const struct cli *c, const struct multi_plan *p, size_t failed,
		   const struct chubby_error *e)
{
	char text[400], where[40];

	if (c->json) {
		json_t *j = json_pack("{s:b, s:s}", "done", 0, "code", chubby_code_name(e->code));

		if (failed < p->count)
			json_object_set_new(j, "failed", json_integer((json_int_t)failed + 1));
		(void)print_json(j);
	}
	if (failed >= p->count)
		return failure(e);
	multi_op_format(&p->ops[failed], text, sizeof(text));
	if (p->lines[failed] > 0)
		snprintf(where, sizeof(where), "line %u", p->lines[failed]);
	else
		snprintf(where, sizeof(where), "number %zu of %zu", failed + 1, p->count);
	say("multi: nothing was done: %s, %s: %s", where, text,
	    e->code == CHUBBY_GUARD_FAILED ? "does not hold" : chubby_code_text(e->code));
	return error_exit_code((enum error)e->code);
}

static int plan_run(const struct cli *c, const struct multi_plan *p)
{
	size_t failed = CHUBBY_MULTI_NO_OP;
	struct chubby_error e;
	uint64_t revision = 0;
	struct chubby *cell;
	int status = cell_connect(c, NULL, NULL, NULL, &cell);

	if (status != 0)
		return status;
	if (chubby_multi(cell, p->ops, p->count, &revision, &failed, &e) != CHUBBY_OK)
		status = refused(c, p, failed, &e);
	else if (c->json)
		status = print_json(
			json_pack("{s:b, s:I}", "done", 1, "revision", (json_int_t)revision));
	chubby_disconnect(cell);
	return status;
}

int command_multi(const struct cli *c)
{
	struct multi_plan *p = mem_zalloc(sizeof(*p));
	uint8_t *input = NULL;
	int status;

	if (c->argument_count == 1 && strcmp(c->arguments[0], "-") == 0)
		status = plan_from_input(p, &input);
	else
		status = plan_from_arguments(c, p, &input);
	if (status == 0 && p->count == 0) {
		say("multi: neither guard nor operation was given (chubby help multi)");
		status = EXIT_USAGE;
	}
	if (status == 0)
		status = plan_run(c, p);
	free(input);
	free(p);
	return status;
}
