/*
 * The promise file: the same promise once more, outside SQLite's write-ahead log.
 *
 * Two slots of 4 KiB, written in turn, so that a torn write leaves the previous one. A slot holds
 * a record padded with zeros, and in its last eight bytes the checksum over all before.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLOT_BYTES 4096u
#define SUM_BYTES 8u

static void slot_encode(const struct promise_record *r, uint8_t *ret_slot)
{
	struct buffer record;
	uint64_t checksum;

	buffer_init(&record, SLOT_BYTES - SUM_BYTES);
	record_put_promise(&record, r);
	memset(ret_slot, 0, SLOT_BYTES);
	memcpy(ret_slot, record.data, record.size);
	buffer_release(&record);
	checksum = bytes_hash((struct bytes){ret_slot, SLOT_BYTES - SUM_BYTES});
	for (unsigned i = 0; i < SUM_BYTES; i++)
		ret_slot[SLOT_BYTES - SUM_BYTES + i] = (uint8_t)(checksum >> (8 * i));
}

static bool slot_decode(const uint8_t *slot, uint64_t parity, struct promise_record *ret_record)
{
	struct bytes body = {slot, SLOT_BYTES - SUM_BYTES};
	uint64_t checksum = 0;

	for (unsigned i = 0; i < SUM_BYTES; i++)
		checksum |= (uint64_t)slot[SLOT_BYTES - SUM_BYTES + i] << (8 * i);
	return checksum == bytes_hash(body) && record_get_promise(body, ret_record) &&
	       ret_record->sequence % 2 == parity;
}

static bool write_slot(int fd, const struct promise_record *r)
{
	uint8_t slot[SLOT_BYTES];
	size_t done = 0;

	slot_encode(r, slot);
	while (done < SLOT_BYTES) {
		off_t offset = (off_t)((r->sequence % 2) * SLOT_BYTES + done);
		ssize_t n = pwrite(fd, slot + done, SLOT_BYTES - done, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

static enum error promise_failed(const char *what, char **ret_trouble)
{
	int error = errno;

	*ret_trouble = sentence("cannot %s the promise file: %s", what, strerror(error));
	if (error == ENOSPC || error == EDQUOT || error == EFBIG)
		return ERROR_STORAGE_FULL;
	return ERROR_STORAGE_IO;
}

enum error promise_create(const char *directory, const char *file,
			  const struct promise_record *record, char **ret_trouble)
{
	char *path = store_path(directory, file);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	struct promise_record second = *record;
	enum error e = ERROR_OK;

	free(path);
	second.sequence++;
	if (fd < 0 || !write_slot(fd, record) || !write_slot(fd, &second) || fsync(fd) != 0)
		e = promise_failed("create", ret_trouble);
	if (fd >= 0)
		close(fd);
	return e;
}

enum error promise_open(struct promise_file *p, const char *directory, char **ret_trouble)
{
	char *path = store_path(directory, STORE_FILE_PROMISE);

	*p = (struct promise_file){.fd = open(path, O_RDWR | O_CLOEXEC)};
	free(path);
	if (p->fd < 0 && errno == ENOENT)
		return ERROR_OK;
	if (p->fd < 0)
		return promise_failed("open", ret_trouble);
	for (uint64_t i = 0; i < 2; i++) {
		uint8_t slot[SLOT_BYTES];
		struct promise_record r;
		ssize_t n = pread(p->fd, slot, SLOT_BYTES, (off_t)(i * SLOT_BYTES));

		/* A slot that the disk cannot read is as good as a torn one. */
		if (n != SLOT_BYTES || !slot_decode(slot, i, &r))
			continue;
		if (p->readable == 0 || r.sequence > p->newest.sequence)
			p->newest = r;
		p->readable++;
	}
	return ERROR_OK;
}

void promise_close(struct promise_file *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

enum error promise_write(struct promise_file *p, struct ballot promised, int64_t longest_lease_ns,
			 char **ret_trouble)
{
	struct promise_record next = p->newest;

	CHECK(p->fd >= 0);
	next.sequence++;
	next.promised = promised;
	next.longest_lease_ns = longest_lease_ns;
	if (!write_slot(p->fd, &next) || fdatasync(p->fd) != 0)
		return promise_failed("write", ret_trouble);
	p->newest = next;
	return ERROR_OK;
}

static bool same_owner(const struct promise_record *r, const struct store_identity *identity)
{
	return r->cell_id_high == identity->cell_id_high &&
	       r->cell_id_low == identity->cell_id_low &&
	       replica_equal(r->replica, identity->self) &&
	       incarnation_equal(r->incarnation, identity->incarnation);
}

enum promise_verdict promise_compare(const struct promise_file *p,
				     const struct store_identity *identity,
				     const struct paxos_durable *durable, char **ret_trouble)
{
	const struct promise_record *file = &p->newest;
	int order = ballot_compare(file->promised, durable->promised);

	if (p->fd < 0 || p->readable == 0) {
		*ret_trouble = sentence("the promise file is %s",
					p->fd < 0
						? "missing"
						: "damaged: neither of its two slots can be read");
		return PROMISE_LOST;
	}
	if (!same_owner(file, identity)) {
		*ret_trouble = sentence("the promise file belongs to another replica or "
					"incarnation than log.db");
		return PROMISE_LOST;
	}
	if (order > 0 || file->longest_lease_ns > durable->longest_lease_ns) {
		*ret_trouble = sentence("log.db went back: the promise file knows round %llu, "
					"log.db only round %llu",
					(unsigned long long)file->promised.round,
					(unsigned long long)durable->promised.round);
		return PROMISE_LOST;
	}
	if (order < 0 || file->longest_lease_ns < durable->longest_lease_ns)
		return PROMISE_BEHIND;
	return PROMISE_EQUAL;
}
