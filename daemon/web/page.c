#include "web/page.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 2, 3))) static void add(struct buffer *b, const char *format, ...)
{
	char line[1024];
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (size < 0)
		return;
	if ((size_t)size >= sizeof(line))
		size = (int)sizeof(line) - 1;
	if (!buffer_append(b, (struct bytes){(const uint8_t *)line, (size_t)size}))
		return; /* cut short, as the header says */
}

void page_metrics(const struct web_snapshot *s, struct buffer *b)
{
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} rows[] = {
		{"healthy", "gauge", "1 while the replica takes part", s->healthy},
		{"is_master", "gauge", "1 on the master", s->master == s->replica},
		{"epoch", "gauge", "number of the mastership", s->epoch},
		{"revision", "gauge", "applied commands", s->revision},
		{"chosen_slot", "gauge", "log slots known as chosen", s->chosen_slot},
		{"applied_slot", "gauge", "log slots applied", s->applied_slot},
		{"nodes", "gauge", "files and directories", s->nodes},
		{"sessions", "gauge", "sessions", s->sessions},
		{"pending_calls", "gauge", "calls that wait for the log", s->pending_calls},
		{"held_calls", "gauge", "calls that wait for an event", s->held_calls},
		{"streams", "gauge", "open session streams", s->streams},
		{"requests_total", "counter", "client requests", s->requests},
		{"replies_total", "counter", "answers to clients", s->replies},
		{"pushes_total", "counter", "pushes to clients", s->pushes},
		{"malformed_total", "counter", "requests refused as malformed", s->malformed},
		{"log_commits_total", "counter", "log transactions", s->log_commits},
		{"log_rows_total", "counter", "log rows written", s->log_rows},
		{"log_bytes_total", "counter", "bytes of values logged", s->log_bytes},
		{"state_commits_total", "counter", "state transactions", s->state_commits},
		{"state_rows_total", "counter", "state rows written", s->state_rows},
		{"promise_syncs_total", "counter", "syncs of the promise file", s->promise_syncs},
		{"peer_frames_sent_total", "counter", "frames to peers", s->peer_frames_sent},
		{"peer_frames_received_total", "counter", "frames from peers",
		 s->peer_frames_received},
		{"peer_bytes_sent_total", "counter", "bytes to peers", s->peer_bytes_sent},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		add(b, "# HELP chubby_%s %s\n# TYPE chubby_%s %s\nchubby_%s %llu\n", rows[i].name,
		    rows[i].help, rows[i].name, rows[i].type, rows[i].name,
		    (unsigned long long)rows[i].value);
}

/* Texts in a snapshot come from this replica alone; the cell's name has no markup characters, and
 * a trouble sentence may hold a path: escape it. */
static void add_escaped(struct buffer *b, const char *text)
{
	for (; *text != '\0'; text++) {
		switch (*text) {
		case '<':
			add(b, "&lt;");
			break;
		case '>':
			add(b, "&gt;");
			break;
		case '&':
			add(b, "&amp;");
			break;
		case '"':
			add(b, "&quot;");
			break;
		default:
			add(b, "%c", *text);
			break;
		}
	}
}

void page_people(const struct web_snapshot *s, struct buffer *b)
{
	add(b,
	    "<!doctype html><meta charset=utf-8><title>chubby %s/%u</title>"
	    "<style>body{font:16px sans-serif;max-width:40em;margin:2em auto}"
	    "td{padding:.2em 1em .2em 0}</style>",
	    s->cell, s->replica);
	add(b, "<h1>Cell %s, replica %u</h1><table>", s->cell, s->replica);
	add(b, "<tr><td>state<td>%s", s->state);
	if (s->master != 0)
		add(b, "<tr><td>master<td>replica %u, epoch %llu", s->master,
		    (unsigned long long)s->epoch);
	else
		add(b, "<tr><td>master<td>none known");
	add(b, "<tr><td>revision<td>%llu<tr><td>nodes<td>%llu<tr><td>sessions<td>%llu",
	    (unsigned long long)s->revision, (unsigned long long)s->nodes,
	    (unsigned long long)s->sessions);
	if (s->trouble[0] != '\0') {
		add(b, "<tr><td>trouble<td>");
		add_escaped(b, s->trouble);
	}
	add(b, "</table><p><a href=/metrics>metrics</a> <a href=/healthz>health</a>\n");
}
