/*
 * Frames from and to peers, and the log for those who are behind: read by a thread of its own,
 * sent over the bulk connection.
 */
#include "replica_internal.h"

#include <string.h>

struct peer *replica_peer(struct replica *r, struct replica_id id)
{
	for (uint32_t i = 0; i < r->peer_count; i++) {
		if (replica_equal(r->peers[i].replica, id))
			return &r->peers[i];
	}
	return NULL;
}

static void copy_text(char *to, size_t size, struct bytes from)
{
	size_t n = from.size < size - 1 ? from.size : size - 1;

	if (n > 0)
		memcpy(to, from.data, n);
	to[n] = '\0';
}

void replica_peer_frame(struct replica *r, struct replica_id from, struct bytes bytes)
{
	struct peer *p = replica_peer(r, from);
	struct codec_frame frame = {0};

	if (p == NULL)
		return;
	if (codec_decode_frame(bytes, &r->frame_arena, &frame) != ERROR_OK) {
		log_warning("a frame from replica %u is malformed; it is ignored", from.n);
		arena_release(&r->frame_arena);
		return;
	}
	p->heard_ns = clock_now_ns();
	for (uint32_t i = 0; i < frame.message_count; i++)
		paxos_step(r->paxos, clock_now_ns(), from, &frame.messages[i]);
	if (frame.has_learn)
		paxos_learned(r->paxos, clock_now_ns(), from, frame.learn.entries,
			      frame.learn.entry_count, frame.learn.chosen, frame.learn.trimmed);
	if (frame.has_snapshot_request)
		replica_snapshot_asked(r, p, &frame.snapshot_request);
	if (frame.has_snapshot)
		replica_snapshot_piece(r, from, &frame.snapshot);
	if (frame.has_gossip) {
		p->gossip = frame.gossip;
		p->gossip.trouble = p->gossip.version = BYTES_NONE; /* die with the arena */
		copy_text(p->trouble, sizeof(p->trouble), frame.gossip.trouble);
		copy_text(p->version, sizeof(p->version), frame.gossip.version);
	}
	codec_frame_release(&frame);
	arena_release(&r->frame_arena);
}

void replica_peer_connected(struct replica *r, struct replica_id to)
{
	paxos_peer_connected(r->paxos, clock_now_ns(), to);
	r->gossip_at_ns = clock_now_ns();
}

/* Messages to one peer gather in one frame, sent at the end of the turn. */
void replica_send_messages(struct replica *r, const struct paxos_output *out)
{
	for (uint32_t i = 0; i < out->message_count; i++) {
		struct peer *p = replica_peer(r, out->messages[i].to);

		if (p == NULL)
			continue;
		if (codec_frame_message(&p->frame, &out->messages[i].message) == ERROR_OK)
			continue;
		/* The frame is full: send it, and begin the next. */
		net_peer_send(r->net, p->replica, buffer_view(&p->frame), false);
		buffer_clear(&p->frame);
		if (codec_frame_message(&p->frame, &out->messages[i].message) != ERROR_OK)
			log_error("a %s message is too large for a frame",
				  paxos_kind_name(out->messages[i].message.kind));
	}
}

void replica_gossip(struct replica *r)
{
	const char *trouble = replica_trouble(r);
	struct codec_gossip g = {
		.revision = cell_meta(r->cell)->revision.n,
		.chosen = paxos_chosen(r->paxos).n,
		.state = replica_state(r),
		.version = bytes_of_text(PROJECT_VERSION),
	};

	if (trouble != NULL)
		g.trouble = bytes_of_text(trouble);
	for (uint32_t i = 0; i < r->peer_count; i++) {
		if (net_peer_connected(r->net, r->peers[i].replica) &&
		    codec_frame_gossip(&r->peers[i].frame, &g) != ERROR_OK)
			continue; /* a full frame; the next gossip is soon */
	}
}

/* ---- serving the log ------------------------------------------------------------------------ */

static void *reader_main(void *argument)
{
	struct replica *r = argument;
	struct reader *reader = &r->reader;

	pthread_mutex_lock(&reader->mutex);
	for (;;) {
		struct read_job job;
		struct post p = {.kind = POST_LOG_READ};

		while (reader->job_count == 0 && !reader->stop)
			pthread_cond_wait(&reader->condition, &reader->mutex);
		if (reader->stop)
			break;
		job = reader->jobs[0];
		reader->job_count--;
		memmove(reader->jobs, reader->jobs + 1, reader->job_count * sizeof(job));
		pthread_mutex_unlock(&reader->mutex);
		p.peer = job.peer;
		p.error = store_read_log(r->store, job.from, job.through, SERVE_CHUNK_BYTES,
					 &p.slots);
		replica_post(r, p);
		pthread_mutex_lock(&reader->mutex);
	}
	pthread_mutex_unlock(&reader->mutex);
	return NULL;
}

void replica_reader_start(struct replica *r)
{
	CHECK(pthread_mutex_init(&r->reader.mutex, NULL) == 0);
	CHECK(pthread_cond_init(&r->reader.condition, NULL) == 0);
	CHECK(pthread_create(&r->reader.thread, NULL, reader_main, r) == 0);
}

void replica_reader_stop(struct replica *r)
{
	pthread_mutex_lock(&r->reader.mutex);
	r->reader.stop = true;
	pthread_cond_signal(&r->reader.condition);
	pthread_mutex_unlock(&r->reader.mutex);
	pthread_join(r->reader.thread, NULL);
	pthread_cond_destroy(&r->reader.condition);
	pthread_mutex_destroy(&r->reader.mutex);
}

/* However small the values are, a frame holds only so many. */
static struct slot serve_through(const struct paxos_serve *serve)
{
	uint64_t most = serve->from.n + CODEC_FRAME_ACCEPTED_MAX - 1;

	return (struct slot){serve->through.n < most ? serve->through.n : most};
}

void replica_serve_log(struct replica *r, const struct paxos_output *out)
{
	for (uint32_t i = 0; i < out->serve_count; i++) {
		struct peer *p = replica_peer(r, out->serve_log[i].to);

		/* One read at a time for each peer: it asks again if this one was dropped. */
		if (p == NULL || p->reading)
			continue;
		p->reading = true;
		pthread_mutex_lock(&r->reader.mutex);
		r->reader.jobs[r->reader.job_count++] = (struct read_job){
			.peer = p->replica,
			.from = out->serve_log[i].from,
			.through = serve_through(&out->serve_log[i]),
		};
		pthread_cond_signal(&r->reader.condition);
		pthread_mutex_unlock(&r->reader.mutex);
	}
}

void replica_log_read(struct replica *r, struct post *p)
{
	struct peer *peer = replica_peer(r, p->peer);
	struct codec_learn learn = {
		.entry_count = p->slots.count,
		.entries = p->slots.entries,
		.chosen = paxos_chosen(r->paxos),
		.trimmed = paxos_durable(r->paxos)->trimmed,
	};
	struct buffer frame;

	CHECK(peer != NULL);
	peer->reading = false;
	if (p->error != ERROR_OK) {
		log_error("cannot read the log for replica %u: %s", p->peer.n,
			  error_text(p->error));
	} else {
		buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
		if (codec_frame_learn(&frame, &learn) == ERROR_OK)
			net_peer_send(r->net, p->peer, buffer_view(&frame), true);
		else
			log_error("a piece of the log for replica %u is too large for a frame",
				  p->peer.n);
		buffer_release(&frame);
	}
	store_slots_release(&p->slots);
}
