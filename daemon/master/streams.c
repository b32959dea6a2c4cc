/*
 * Session streams: which calls came by a stream, so that they go when it closes, and which session
 * hears its pushes there. A unary call has no stream.
 */
#include "master/master_internal.h"

static struct stream *stream_find(struct master *m, struct stream_id id)
{
	struct stream *s;

	HASH_FIND(hh, m->streams, &id.n, sizeof(id.n), s);
	return s;
}

static struct stream *stream_ensure(struct master *m, struct stream_id id)
{
	struct stream *s = stream_find(m, id);

	CHECK(id.n != 0);
	if (s != NULL)
		return s;
	s = mem_zalloc(sizeof(*s));
	s->id = id.n;
	HASH_ADD(hh, m->streams, id, sizeof(s->id), s);
	return s;
}

static void stream_drop_unused(struct master *m, struct stream *s)
{
	if (s->lease != NULL || s->calls != NULL)
		return;
	HASH_DEL(m->streams, s);
	free(s);
}

void stream_add_call(struct master *m, struct open_call *c)
{
	if (c->stream.n != 0)
		DL_APPEND(stream_ensure(m, c->stream)->calls, c);
}

void stream_remove_call(struct master *m, struct open_call *c)
{
	struct stream *s;

	if (c->stream.n == 0)
		return;
	s = stream_find(m, c->stream);
	CHECK(s != NULL);
	DL_DELETE(s->calls, c);
	c->stream.n = 0;
	stream_drop_unused(m, s);
}

void lease_bind_stream(struct master *m, struct lease *l, struct stream_id stream)
{
	struct stream *s;

	if (l->stream.n == stream.n)
		return;
	if (l->stream.n != 0) {
		s = stream_find(m, l->stream);
		CHECK(s != NULL && s->lease == l);
		s->lease = NULL;
		stream_drop_unused(m, s);
	}
	l->stream = stream;
	if (stream.n == 0)
		return;
	s = stream_ensure(m, stream);
	if (s->lease != NULL)
		s->lease->stream.n = 0; /* two sessions over one stream: the older loses pushes */
	s->lease = l;
}

void master_stream_closed(struct master *m, struct stream_id stream)
{
	struct stream *s;

	/* The last call takes the stream along, unless a session is bound to it. */
	while ((s = stream_find(m, stream)) != NULL && s->calls != NULL)
		master_call_gone(m, s->calls->call);
	if (s != NULL)
		lease_bind_stream(m, s->lease, (struct stream_id){0});
	CHECK(stream_find(m, stream) == NULL);
}
