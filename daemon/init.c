/*
 * Genesis: `chubbyd init` writes the cell's id, its members and their first incarnations, once.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/clock.h"
#include "clock_watch.h"
#include "commands.h"
#include "config.h"
#include "wire/path.h"

static const char init_text[] =
	"usage: chubbyd init --cell NAME --replica ID=CLIENT,PEER[,WEB] ... --out DIR\n"
	"\n"
	"Makes DIR/<id> for each replica of a new cell. Move each to the machine of its\n"
	"replica and run chubbyd there. Do this once: making a cell again is another cell,\n"
	"and a directory that was used must never be replaced by a fresh one.\n"
	"\n"
	"  --cell NAME            1..63 of a-z, 0-9, '-', '.', '_'\n"
	"  --replica 1=host:port,host:port[,host:port]\n"
	"                         where replica 1 serves clients, peers and web pages;\n"
	"                         three or five replicas (one to try out, at most nine, never\n"
	"                         an even number: it survives no more failures than the odd\n"
	"                         one below it), ids 1..255\n"
	"  --out DIR              made if need be\n";

void init_identity(const char *cell_name, uint32_t member_count, const struct store_member *members,
		   struct store_identity *ret_identity)
{
	struct store_identity id = {.member_count = member_count};

	CHECK(member_count >= 1 && member_count <= MEMBERS_MAX);
	snprintf(id.cell_name, sizeof(id.cell_name), "%s", cell_name);
	clock_random_bytes(&id.cell_id_high, sizeof(id.cell_id_high));
	clock_random_bytes(&id.cell_id_low, sizeof(id.cell_id_low));
	clock_random_bytes(id.handle_key, sizeof(id.handle_key));
	id.created_unix_ms = clock_wall_unix_ms();
	for (uint32_t i = 0; i < member_count; i++) {
		id.members[i] = members[i];
		clock_random_bytes(&id.members[i].incarnation, sizeof(struct incarnation));
	}
	*ret_identity = id;
}

enum error init_directories(const char *parent, const struct store_identity *identity,
			    char **ret_trouble)
{
	struct stat st;

	*ret_trouble = clock_start_trouble(DRIFT_PPM_DEFAULT, 0);
	if (*ret_trouble != NULL)
		return ERROR_INTERNAL;
	if (mkdir(parent, 0700) != 0 && errno != EEXIST) {
		*ret_trouble = config_sentence("cannot make %s: %s", parent, strerror(errno));
		return ERROR_STORAGE_IO;
	}
	for (uint32_t i = 0; i < identity->member_count; i++) {
		char *directory = config_sentence("%s/%u", parent, identity->members[i].replica.n);
		bool there = stat(directory, &st) == 0;

		if (there)
			*ret_trouble = config_sentence("%s is there already: a cell is made once",
						       directory);
		free(directory);
		if (there)
			return ERROR_EXISTS;
	}
	for (uint32_t i = 0; i < identity->member_count; i++) {
		struct store_identity own = *identity;
		char *directory = config_sentence("%s/%u", parent, identity->members[i].replica.n);
		enum error e;

		own.self = identity->members[i].replica;
		own.incarnation = identity->members[i].incarnation;
		e = store_genesis(directory, &own, ret_trouble);
		free(directory);
		if (e != ERROR_OK)
			return e;
	}
	return ERROR_OK;
}

static bool copy_address(char *to, const char *from, size_t size)
{
	if (size == 0 || size >= STORE_TEXT_MAX_BYTES || memchr(from, ':', size) == NULL)
		return false;
	memcpy(to, from, size);
	to[size] = '\0';
	return true;
}

/* "1=127.0.0.1:7401,127.0.0.1:7501" */
static bool parse_member(const char *text, struct store_member *ret_member)
{
	struct store_member m = {0};
	char *to[3] = {m.address, m.peer_address, m.web_address};
	char *end;
	unsigned long id = strtoul(text, &end, 10);
	int part = 0;

	if (end == text || *end != '=' || id < 1 || id > REPLICA_ID_MAX)
		return false;
	for (const char *at = end + 1; part < 3; part++) {
		size_t size = strcspn(at, ",");

		if (!copy_address(to[part], at, size))
			return false;
		at += size;
		if (*at == '\0')
			break;
		at++;
	}
	if (part < 1 || part > 2)
		return false;
	m.replica.n = (uint32_t)id;
	*ret_member = m;
	return true;
}

static int wrong(const char *what)
{
	fprintf(stderr, "chubbyd init: %s\n", what);
	return EXIT_USAGE;
}

static int member_add(const char *text, struct store_member *members, uint32_t *count)
{
	struct store_member m;

	if (*count == MEMBERS_MAX)
		return wrong("too many replicas");
	if (!parse_member(text, &m))
		return wrong("a replica is ID=HOST:PORT,HOST:PORT[,HOST:PORT]");
	for (uint32_t i = 0; i < *count; i++) {
		if (replica_equal(members[i].replica, m.replica))
			return wrong("two replicas have the same id");
	}
	members[(*count)++] = m;
	return 0;
}

int command_init(int argc, char **argv)
{
	static const struct option options[] = {
		{"cell", required_argument, NULL, 'c'},
		{"replica", required_argument, NULL, 'r'},
		{"out", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	struct store_member members[MEMBERS_MAX];
	struct store_identity identity;
	const char *cell = NULL, *out = NULL;
	char *trouble = NULL;
	uint32_t count = 0;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(init_text, stdout);
			return 0;
		}
		if (c == 'c')
			cell = optarg;
		else if (c == 'o')
			out = optarg;
		else if (c != 'r' || member_add(optarg, members, &count) != 0)
			return EXIT_USAGE;
	}
	if (cell == NULL || !path_cell_name_valid(bytes_of_text(cell)))
		return wrong("--cell NAME: 1..63 of a-z, 0-9, '-', '.', '_'");
	if (out == NULL || count == 0 || optind < argc)
		return wrong("say --replica for each replica, and --out DIR; see --help");
	if (count % 2 == 0)
		return wrong(
			"an even number of replicas survives no more failures than the odd one "
			"below it: make three or five");
	init_identity(cell, count, members, &identity);
	if (init_directories(out, &identity, &trouble) != ERROR_OK) {
		fprintf(stderr, "chubbyd init: %s\n", trouble);
		free(trouble);
		return 1;
	}
	printf("cell %s: %u replicas in %s\n", cell, count, out);
	return 0;
}
