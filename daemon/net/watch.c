#include "net/watch.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

/* The answer is there within microseconds, or else after the scheduler had its say. */
#define LOOK_AFTER_NS (20 * NS_PER_MS)

void watch_init(struct watch *w, const struct sockaddr *address, socklen_t size)
{
	CHECK(size <= sizeof(w->address));
	*w = (struct watch){.address_size = size, .fd = -1};
	memcpy(&w->address, address, size);
}

void watch_release(struct watch *w)
{
	if (w->address_size > 0 && w->fd >= 0)
		close(w->fd);
	*w = (struct watch){.fd = -1};
}

static bool of_scarcity(int code)
{
	return code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
}

static void hang_up(struct watch *w)
{
	close(w->fd);
	w->fd = -1;
}

static void answered(struct watch *w, int64_t now_ns)
{
	hang_up(w);
	w->vain = 0;
	w->scarce = false;
	w->next_ns = now_ns + WATCH_EVERY_NS;
}

static int64_t patience_ns(const struct watch *w)
{
	return w->scarce ? WATCH_SCARCE_PATIENCE_NS : WATCH_PATIENCE_NS;
}

static void in_vain(struct watch *w, int64_t now_ns)
{
	hang_up(w);
	w->vain++;
	w->deaf = w->vain >= (w->scarce ? WATCH_SCARCE_VAIN_MAX : WATCH_VAIN_MAX);
	w->next_ns = now_ns;
}

static void call(struct watch *w, int64_t now_ns)
{
	w->fd = socket(w->address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (w->fd < 0) {
		w->scarce = w->scarce || of_scarcity(errno);
		w->next_ns = now_ns + WATCH_SCARCE_EVERY_NS;
		return;
	}
	w->since_ns = now_ns;
	w->next_ns = now_ns + LOOK_AFTER_NS;
	/* Whether it came to something shows when bytes are read. */
	(void)connect(w->fd, (const struct sockaddr *)&w->address, w->address_size);
}

static void look(struct watch *w, int64_t now_ns)
{
	char byte;
	ssize_t n = recv(w->fd, &byte, 1, MSG_DONTWAIT);

	if (n >= 0 || errno == ECONNRESET)
		answered(w, now_ns);
	else if (now_ns - w->since_ns >= patience_ns(w))
		in_vain(w, now_ns);
	else
		w->next_ns = now_ns + LOOK_AFTER_NS * 5;
}

int64_t watch_tick(struct watch *w, int64_t now_ns)
{
	if (w->address_size == 0 || w->deaf)
		return TIME_NEVER;
	if (now_ns < w->next_ns)
		return w->next_ns;
	if (w->fd >= 0)
		look(w, now_ns);
	if (w->fd < 0 && !w->deaf && now_ns >= w->next_ns)
		call(w, now_ns);
	return w->deaf ? TIME_NEVER : w->next_ns;
}
