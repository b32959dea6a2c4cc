/*
 * lin [--search|--witness] FILE...: judges histories (lin.h has their format), each file one. Says
 * "fine", "WRONG" or "gave up" for each. Exit status 0: all fine; 1: one is wrong; 3: one was given
 * up; 64: a file cannot be read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lin.h"

#define LINE_MAX_BYTES 600

typedef enum lin_verdict judge_call(const struct lin_history *h, uint32_t object, uint64_t budget,
				    struct lin_report *ret_report);

static bool history_read(struct lin_history *h, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[LINE_MAX_BYTES];
	const char *why = NULL;
	uint32_t number = 0;

	if (file == NULL) {
		fprintf(stderr, "lin: %s cannot be read: %s\n", path, strerror(errno));
		return false;
	}
	while (why == NULL && fgets(line, sizeof(line), file) != NULL) {
		number++;
		if (!lin_parse_line(h, line, &why))
			fprintf(stderr, "lin: %s:%u: %s\n", path, number, why);
	}
	fclose(file);
	return why == NULL;
}

static enum lin_verdict judge_each(const struct lin_history *h, judge_call *judge,
				   struct lin_report *ret_report)
{
	enum lin_verdict worst = LIN_FINE;

	memset(ret_report, 0, sizeof(*ret_report));
	for (uint32_t object = 0; object < h->object_count; object++) {
		struct lin_report r;
		enum lin_verdict v = judge(h, object, LIN_BUDGET, &r);

		if (v != LIN_FINE && worst != LIN_WRONG) {
			worst = v;
			*ret_report = r;
		}
	}
	return worst;
}

static int file_judge(const char *path, judge_call *judge)
{
	static const char *const words[] = {"fine", "WRONG", "gave up"};
	static const int status[] = {0, 1, 3};
	struct lin_history h = {0};
	struct lin_report report;
	enum lin_verdict v;

	if (!history_read(&h, path)) {
		lin_release(&h);
		return 64;
	}
	v = judge == NULL ? lin_judge(&h, LIN_BUDGET, &report) : judge_each(&h, judge, &report);
	printf("%s: %s%s%s (%u operations)\n", path, words[v], v == LIN_FINE ? "" : ", ",
	       report.why, h.count);
	lin_release(&h);
	return status[v];
}

int main(int argc, char **argv)
{
	judge_call *judge = NULL;
	int first = 1, status = 0;

	if (argc > 1 && strcmp(argv[1], "--search") == 0)
		judge = lin_search;
	else if (argc > 1 && strcmp(argv[1], "--witness") == 0)
		judge = lin_witness;
	first += judge != NULL;
	if (first >= argc || argv[first][0] == '-') {
		fprintf(stderr, "usage: lin [--search|--witness] FILE...\n");
		return 64;
	}
	for (int i = first; i < argc; i++) {
		int s = file_judge(argv[i], judge);

		if (status == 0 || s == 64 || s == 1)
			status = s == 0 ? status : s;
	}
	return status;
}
