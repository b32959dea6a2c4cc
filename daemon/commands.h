/*
 * The subcommands of chubbyd. Each gets its own argument list, argv[0] being its name, and returns
 * an exit code: 0, 1 for a failure, 64 for a wrong call.
 */
#ifndef CHUBBY_COMMANDS_H
#define CHUBBY_COMMANDS_H

#include "base/error.h"
#include "store/store.h"

#define EXIT_USAGE 64

int command_run(int argc, char **argv);
int command_init(int argc, char **argv);
int command_dev(int argc, char **argv);

/* A new cell: draws the cell id, the secret of the handle MACs and all incarnations. `members`
 * have their ids and addresses; *ret_identity is complete but for `self` and `incarnation`. */
void init_identity(const char *cell_name, uint32_t member_count, const struct store_member *members,
		   struct store_identity *ret_identity);
/* Makes PARENT/<id> for each member. EXISTS if any is there already: then nothing is made. */
MUST_USE enum error init_directories(const char *parent, const struct store_identity *identity,
				     char **ret_trouble);

#endif
