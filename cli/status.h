/*
 * chubby status: the answers of the servers, each asked about itself, all at the same time.
 */
#ifndef CHUBBY_CLI_STATUS_H
#define CHUBBY_CLI_STATUS_H

#include <pthread.h>

#include "cli.h"

/* What was given, and what the answers named besides. */
#define ASKED_MAX (32u + MEMBERS_MAX)

/* One server, and what it said. */
struct asked {
	struct chubby_operator *o;       /* of another's if it was given, its own if it was named */
	struct chubby_operator *o_owned; /* NULL, or `o` */
	uint32_t server;                 /* its position in `o` */
	char *address;                   /* owned */
	int64_t timeout_ns;
	pthread_t thread;
	bool answered;
	struct reply reply;        /* points into `arena` */
	struct arena arena;        /* owned */
	struct chubby_error error; /* UNAVAILABLE: the message says how it was silent */
};

/* Asks the servers of the list, then those that the answers name as replicas and that did not
 * speak for themselves. Returns how many entries of `asked` are filled; the caller releases them,
 * before it closes `o`. */
uint32_t status_ask(const struct cli *c, struct chubby_operator *o, int64_t timeout_ns,
		    struct asked asked[ASKED_MAX]);
void status_release(struct asked asked[], uint32_t count);

#endif
