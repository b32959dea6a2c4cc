/*
 * What other threads tell the loop: the store's writers, the readers, the signal thread.
 */
#include "replica_internal.h"

#include <stdio.h>

void replica_post(struct replica *r, struct post p)
{
	net_post(r->net, mem_dup(&p, sizeof(p)));
}

static void on_persisted(void *context, uint64_t number, uint32_t count)
{
	replica_post(context,
		     (struct post){.kind = POST_PERSISTED, .number = number, .count = count});
}

static void on_failed(void *context, enum error e, const char *trouble)
{
	replica_post(context, (struct post){.kind = POST_STORE_FAILED,
					    .error = e,
					    .text = mem_strdup(trouble)});
}

static void on_values_done(void *context, struct value **values, uint32_t count)
{
	replica_post(context,
		     (struct post){.kind = POST_VALUES_DONE, .values = values, .count = count});
}

static void on_state_persisted(void *context, struct slot slot)
{
	replica_post(context, (struct post){.kind = POST_STATE_PERSISTED, .slot = slot});
}

static void on_trimmed(void *context, struct slot slot)
{
	replica_post(context, (struct post){.kind = POST_TRIMMED, .slot = slot});
}

struct store_callbacks replica_store_callbacks(struct replica *r)
{
	return (struct store_callbacks){
		.context = r,
		.log_persisted = on_persisted,
		.failed = on_failed,
		.values_done = on_values_done,
		.state_persisted = on_state_persisted,
		.trimmed = on_trimmed,
	};
}

static void store_failed(struct replica *r, struct post *p)
{
	struct moment at = replica_moment(r);

	if (r->storage != ERROR_OK)
		return;
	r->storage = p->error;
	snprintf(r->trouble, sizeof(r->trouble), "storage: %s", p->text);
	log_error("%s; this replica promises and accepts nothing until its disk has been read "
		  "and verified anew",
		  r->trouble);
	master_end(r->master, &at);
	replica_drain_master(r);
	paxos_storage_failed(r->paxos, clock_now_ns());
}

void replica_posted(struct replica *r, struct post *p)
{
	switch (p->kind) {
	case POST_PERSISTED:
		paxos_persisted(r->paxos, clock_now_ns(), p->number);
		break;
	case POST_STORE_FAILED:
		store_failed(r, p);
		break;
	case POST_VALUES_DONE:
		for (uint32_t i = 0; i < p->count; i++)
			value_unref(p->values[i]);
		free(p->values);
		break;
	case POST_STATE_PERSISTED:
		break;
	case POST_TRIMMED:
		paxos_trimmed(r->paxos, p->slot);
		break;
	case POST_LOG_READ:
		replica_log_read(r, p);
		break;
	case POST_SNAPSHOT_READ:
		replica_snapshot_read(r, p);
		break;
	case POST_SNAPSHOT_TAKEN:
		replica_snapshot_taken(r, p);
		break;
	case POST_STOP:
		r->stop_asked = true;
		break;
	}
	free(p->text);
	buffer_release(&p->data);
	free(p);
}
