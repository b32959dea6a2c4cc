#include "error.h"

#include <stddef.h>

struct error_row {
	const char *name;
	const char *text;
	int grpc_status;
	int exit_code;
};

static const struct error_row error_rows[] = {
#define ERROR_ROW(row_name, number, grpc, row_exit, row_text)                                      \
	[number] = {.name = #row_name,                                                             \
		    .text = (row_text),                                                            \
		    .grpc_status = (grpc),                                                         \
		    .exit_code = (row_exit)},
	ERROR_TABLE(ERROR_ROW)
#undef ERROR_ROW
};

/* What a number outside the table looks like: the same to every caller as an internal error. */
static const struct error_row error_unknown = {.name = "UNKNOWN",
					       .text = "unknown error",
					       .grpc_status = 13,
					       .exit_code = 1};

static const struct error_row *error_row(enum error e)
{
	size_t number = (size_t)e;

	if (number >= sizeof(error_rows) / sizeof(error_rows[0]) || error_rows[number].name == NULL)
		return &error_unknown;
	return &error_rows[number];
}

const char *error_name(enum error e)
{
	return error_row(e)->name;
}

const char *error_text(enum error e)
{
	return error_row(e)->text;
}

int error_grpc_status(enum error e)
{
	return error_row(e)->grpc_status;
}

int error_exit_code(enum error e)
{
	return error_row(e)->exit_code;
}

enum error error_from_number(unsigned number)
{
	if (number >= sizeof(error_rows) / sizeof(error_rows[0]) || error_rows[number].name == NULL)
		return ERROR_INTERNAL;
	return (enum error)number;
}
