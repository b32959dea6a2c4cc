/*
 * Catch-up by snapshot, where the log that a replica misses is trimmed.
 *
 *   receiver                                       sender
 *   paxos: only a snapshot helps
 *   SnapshotRequest, any, from 0       ──────►     worker: makes an image, or takes the one it has
 *   worker: writes the piece           ◄──────     SnapshotChunk
 *   SnapshotRequest, id, next offset   ──────►     worker: reads the piece
 *   …
 *   worker: verifies, makes it ready   ◄──────     last SnapshotChunk
 *   the process starts anew; store_open() installs
 *
 * One worker thread for both sides does everything that blocks; the loop moves on. The sender
 * keeps nothing about a receiver: one image serves whoever asks, and goes when nobody does.
 */
#include "replica_internal.h"

/* A request or its answer was lost: bulk frames are dropped while there is no connection. */
#define ASK_AGAIN_NS (2 * NS_PER_S)
/* No piece for so long: another sender may do better. Shorter than the five seconds after which
 * paxos names another one, so that this one is taken, and not the silent one in turn. */
#define GIVE_UP_NS (4 * NS_PER_S)
/* What nobody asked for during this time is removed. */
#define UNUSED_NS (30 * NS_PER_S)

/* For so long at most the log waits for whoever reads the image slowly. */
#define HOLD_LOG_NS (300 * NS_PER_S)

/* ---- the worker's side ---------------------------------------------------------------------- */

/* What the worker owns; no other thread touches it. */
struct work {
	struct store_image *image;
	uint64_t image_id;
	int64_t image_made_ns;
	int64_t image_used_ns;
	struct store_receipt *receipt;
	uint64_t receipt_id;
	int64_t receipt_used_ns;
};

static bool image_serves(const struct work *w, const struct snapshot_job *job)
{
	const struct store_snapshot *about;

	if (w->image == NULL)
		return false;
	if (job->snapshot.id != 0)
		return job->snapshot.id == w->image_id;
	/* Behind an image that is older than our log the receiver would not find its way on. */
	about = store_image_about(w->image);
	return about->slot.n > job->above.n && about->slot.n >= job->trimmed.n;
}

static enum error make_image(struct replica *r, struct work *w, char **ret_trouble)
{
	enum error e;

	store_image_free(w->image);
	w->image = NULL;
	e = store_image_make(r->store, &w->image, ret_trouble);
	if (e == ERROR_OK)
		clock_random_bytes(&w->image_id, sizeof(w->image_id));
	w->image_made_ns = clock_now_ns();
	return e;
}

/* Without an image that serves the answer is an empty one. */
static void serve(struct replica *r, struct work *w, const struct snapshot_job *job)
{
	struct post p = {.kind = POST_SNAPSHOT_READ, .peer = job->peer};
	struct codec_snapshot *out = &p.snapshot;
	const struct store_snapshot *about;

	out->id = job->snapshot.id;
	buffer_init(&p.data, CODEC_SNAPSHOT_CHUNK_MAX_BYTES);
	if (!image_serves(w, job) && job->snapshot.id == 0)
		p.error = make_image(r, w, &p.text);
	if (p.error == ERROR_OK && image_serves(w, job)) {
		p.error = store_image_read(w->image, job->snapshot.offset,
					   CODEC_SNAPSHOT_CHUNK_MAX_BYTES, &p.data);
		if (p.error == ERROR_OK) {
			about = store_image_about(w->image);
			out->id = w->image_id;
			out->slot = about->slot;
			out->revision = about->revision;
			out->total_bytes = about->total_bytes;
			out->image_checksum = about->checksum;
			out->offset = job->snapshot.offset;
		}
		w->image_used_ns = clock_now_ns();
	}
	replica_post(r, p);
}

static void take(struct replica *r, struct work *w, struct snapshot_job *job)
{
	struct post p = {.kind = POST_SNAPSHOT_TAKEN, .snapshot = job->snapshot};
	struct store_snapshot about = {
		.slot = job->snapshot.slot,
		.revision = job->snapshot.revision,
		.total_bytes = job->snapshot.total_bytes,
		.checksum = job->snapshot.image_checksum,
	};

	if (job->snapshot.offset == 0) {
		store_receipt_free(w->receipt);
		w->receipt = NULL;
		w->receipt_id = job->snapshot.id;
		p.error = store_receipt_begin(r->store, &about, &w->receipt, &p.text);
	} else if (w->receipt == NULL || w->receipt_id != job->snapshot.id) {
		p.error = ERROR_INVALID_ARGUMENT; /* unused for too long */
	}
	if (p.error == ERROR_OK)
		p.error = store_receipt_write(w->receipt, job->snapshot.offset,
					      buffer_view(&job->data), &p.text);
	if (p.error == ERROR_OK) {
		p.number = store_receipt_size(w->receipt);
		p.ready = p.number == about.total_bytes;
	}
	if (p.ready)
		p.error = store_receipt_finish(w->receipt, &p.text);
	w->receipt_used_ns = clock_now_ns();
	if (p.ready || p.error != ERROR_OK) {
		store_receipt_free(w->receipt);
		w->receipt = NULL;
	}
	buffer_release(&job->data);
	replica_post(r, p);
}

static void drop_unused(struct work *w)
{
	int64_t now_ns = clock_now_ns();

	if (w->image != NULL && now_ns - w->image_made_ns > HOLD_LOG_NS)
		store_image_let_log_go(w->image);
	if (w->image != NULL && now_ns - w->image_used_ns > UNUSED_NS) {
		store_image_free(w->image);
		w->image = NULL;
	}
	if (w->receipt != NULL && now_ns - w->receipt_used_ns > UNUSED_NS) {
		store_receipt_free(w->receipt);
		w->receipt = NULL;
	}
}

/* With something to drop it wakes once in a while; else only for work. */
static void wait_for_job(struct snapshots *s, const struct work *w)
{
	struct timespec until;

	if (w->image == NULL && w->receipt == NULL) {
		pthread_cond_wait(&s->condition, &s->mutex);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += UNUSED_NS / NS_PER_S / 6;
	(void)pthread_cond_timedwait(&s->condition, &s->mutex, &until);
}

static void *worker_main(void *argument)
{
	struct replica *r = argument;
	struct snapshots *s = &r->snapshots;
	struct work w = {0};

	pthread_setname_np(pthread_self(), "snapshot");
	pthread_mutex_lock(&s->mutex);
	while (!s->stop) {
		struct snapshot_job job;

		if (s->job_count == 0) {
			wait_for_job(s, &w);
			drop_unused(&w);
			continue;
		}
		job = s->jobs[0];
		s->job_count--;
		memmove(s->jobs, s->jobs + 1, s->job_count * sizeof(job));
		pthread_mutex_unlock(&s->mutex);
		drop_unused(&w); /* however busy it is */
		if (job.serve)
			serve(r, &w, &job);
		else
			take(r, &w, &job);
		pthread_mutex_lock(&s->mutex);
	}
	pthread_mutex_unlock(&s->mutex);
	store_image_free(w.image);
	store_receipt_free(w.receipt);
	return NULL;
}

void replica_snapshots_start(struct replica *r)
{
	struct snapshots *s = &r->snapshots;
	pthread_condattr_t attributes;

	CHECK(pthread_condattr_init(&attributes) == 0);
	CHECK(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_mutex_init(&s->mutex, NULL) == 0);
	CHECK(pthread_cond_init(&s->condition, &attributes) == 0);
	CHECK(pthread_create(&s->thread, NULL, worker_main, r) == 0);
	pthread_condattr_destroy(&attributes);
}

void replica_snapshots_stop(struct replica *r)
{
	struct snapshots *s = &r->snapshots;

	pthread_mutex_lock(&s->mutex);
	s->stop = true;
	pthread_cond_signal(&s->condition);
	pthread_mutex_unlock(&s->mutex);
	pthread_join(s->thread, NULL);
	for (uint32_t i = 0; i < s->job_count; i++)
		buffer_release(&s->jobs[i].data);
	pthread_cond_destroy(&s->condition);
	pthread_mutex_destroy(&s->mutex);
}

/* Each peer has one request under way, and this replica one piece: there is always room. */
static void give_job(struct replica *r, const struct snapshot_job *job)
{
	struct snapshots *s = &r->snapshots;

	pthread_mutex_lock(&s->mutex);
	CHECK(s->job_count < sizeof(s->jobs) / sizeof(s->jobs[0]));
	s->jobs[s->job_count++] = *job;
	pthread_cond_signal(&s->condition);
	pthread_mutex_unlock(&s->mutex);
}

/* ---- sending -------------------------------------------------------------------------------- */

void replica_snapshot_asked(struct replica *r, struct peer *p,
			    const struct codec_snapshot_request *q)
{
	struct snapshot_job job = {
		.serve = true,
		.peer = p->replica,
		.above = q->above,
		.trimmed = paxos_durable(r->paxos)->trimmed,
		.snapshot = {.id = q->id, .offset = q->offset},
	};

	/* It asks again, or somebody else. A state that differs from the digest is nobody's. */
	if (p->snapshot_reading || r->diverged || r->storage != ERROR_OK ||
	    paxos_role(r->paxos) == PAXOS_LOST)
		return;
	p->snapshot_reading = true;
	give_job(r, &job);
}

void replica_snapshot_read(struct replica *r, struct post *p)
{
	struct peer *peer = replica_peer(r, p->peer);
	struct buffer frame;

	CHECK(peer != NULL);
	peer->snapshot_reading = false;
	if (p->error != ERROR_OK)
		log_warning("no snapshot for replica %u: %s", p->peer.n,
			    p->text != NULL ? p->text : error_text(p->error));
	else if (p->snapshot.total_bytes > 0 && p->snapshot.offset == 0)
		log_info("sending a snapshot of slot %llu (%llu bytes) to replica %u",
			 (unsigned long long)p->snapshot.slot.n,
			 (unsigned long long)p->snapshot.total_bytes, p->peer.n);
	p->snapshot.data = buffer_view(&p->data);
	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	if (codec_frame_snapshot(&frame, &p->snapshot) == ERROR_OK)
		net_peer_send(r->net, p->peer, buffer_view(&frame), true);
	buffer_release(&frame);
}

/* ---- fetching ------------------------------------------------------------------------------- */

static void ask(struct replica *r)
{
	struct fetch *f = &r->fetch;
	struct codec_snapshot_request q = {
		.id = f->about.id,
		.offset = f->size_bytes,
		.above = paxos_chosen(r->paxos),
	};
	struct buffer frame;

	buffer_init(&frame, CODEC_FRAME_MAX_BYTES);
	if (codec_frame_snapshot_request(&frame, &q) == ERROR_OK)
		net_peer_send(r->net, f->from, buffer_view(&frame), true);
	buffer_release(&frame);
	f->ask_at_ns = clock_now_ns() + ASK_AGAIN_NS;
}

static void begin(struct replica *r, struct replica_id from)
{
	r->fetch = (struct fetch){
		.from = from,
		.writing = r->fetch.writing,
		.give_up_ns = clock_now_ns() + GIVE_UP_NS,
	};
	ask(r);
}

/* Paxos names somebody else in a few seconds, if this replica is still behind then. */
static void abandon(struct replica *r, const char *why)
{
	log_warning("the snapshot from replica %u is abandoned: %s", r->fetch.from.n, why);
	r->fetch = (struct fetch){.writing = r->fetch.writing};
}

void replica_snapshot_wanted(struct replica *r, struct replica_id from)
{
	if (r->fetch.from.n != 0 || r->fetch.writing || r->restart ||
	    !net_peer_connected(r->net, from))
		return;
	log_info("replica %u trimmed what this replica needs: fetching a snapshot from it", from.n);
	begin(r, from);
}

static bool same_snapshot(const struct codec_snapshot *a, const struct codec_snapshot *b)
{
	return a->id == b->id && a->slot.n == b->slot.n && a->revision.n == b->revision.n &&
	       a->total_bytes == b->total_bytes && a->image_checksum == b->image_checksum;
}

void replica_snapshot_piece(struct replica *r, struct replica_id from,
			    const struct codec_snapshot *s)
{
	struct snapshot_job job = {.snapshot = *s};
	struct fetch *f = &r->fetch;

	if (!replica_equal(f->from, from) || f->writing)
		return;
	if (s->total_bytes == 0) {
		if (f->about.id != s->id)
			return; /* about an earlier one */
		if (s->id != 0)
			begin(r, from);
		else
			abandon(r, "it has none to give");
		return;
	}
	/* What was asked for twice comes twice. */
	if (s->offset != f->size_bytes || s->data.size == 0 ||
	    (f->about.id != 0 && !same_snapshot(&f->about, s)))
		return;
	if (s->slot.n <= paxos_chosen(r->paxos).n || s->id == 0) {
		abandon(r, "this replica is as far by now");
		return;
	}
	f->about = *s;
	f->about.data = BYTES_NONE; /* the frame's */
	f->writing = true;
	job.snapshot.data = BYTES_NONE;
	buffer_init(&job.data, CODEC_SNAPSHOT_CHUNK_MAX_BYTES);
	CHECK(buffer_append(&job.data, s->data));
	give_job(r, &job);
}

/* Ready: the next start installs it. In this process too much rests on the state as it was. */
static void ready(struct replica *r, const struct codec_snapshot *s)
{
	if (s->slot.n <= paxos_chosen(r->paxos).n || paxos_role(r->paxos) == PAXOS_MASTER)
		return; /* of no use any more, as that start will see */
	log_info("a snapshot of slot %llu is complete: starting anew to install it",
		 (unsigned long long)s->slot.n);
	r->restart = true;
}

void replica_snapshot_taken(struct replica *r, struct post *p)
{
	struct fetch *f = &r->fetch;
	bool current = f->from.n != 0 && f->about.id == p->snapshot.id;

	f->writing = false;
	if (p->error == ERROR_OK && p->ready)
		ready(r, &p->snapshot);
	if (!current)
		return;
	if (p->error != ERROR_OK) {
		abandon(r, p->text != NULL ? p->text : error_text(p->error));
	} else if (p->ready) {
		*f = (struct fetch){0};
	} else {
		f->size_bytes = p->number;
		f->give_up_ns = clock_now_ns() + GIVE_UP_NS;
		ask(r);
	}
}

void replica_snapshot_peer_lost(struct replica *r, struct replica_id peer)
{
	if (peer.n != 0 && replica_equal(r->fetch.from, peer))
		abandon(r, "the connection broke");
}

void replica_snapshot_tick(struct replica *r, int64_t now_ns)
{
	struct fetch *f = &r->fetch;

	if (f->from.n == 0 || f->writing)
		return;
	if (now_ns >= f->give_up_ns)
		abandon(r, "nothing came for a while");
	else if (now_ns >= f->ask_at_ns)
		ask(r);
}

int64_t replica_snapshot_next_tick(const struct replica *r)
{
	const struct fetch *f = &r->fetch;

	if (f->from.n == 0 || f->writing)
		return TIME_NEVER;
	return time_earlier(f->ask_at_ns, f->give_up_ns);
}
