/* page: the texts that web.c serves, made of one snapshot. A full buffer cuts them short. */
#ifndef CHUBBY_WEB_PAGE_H
#define CHUBBY_WEB_PAGE_H

#include "base/bytes.h"
#include "web/web.h"

void page_metrics(const struct web_snapshot *s, struct buffer *b);
void page_people(const struct web_snapshot *s, struct buffer *b);

#endif
