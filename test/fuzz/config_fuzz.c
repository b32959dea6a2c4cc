/* A daemon's configuration file. */
#include "fuzz.h"

#include "config.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* What passes the check is what the lease arithmetic may rely on. */
static void check_sound(const struct config *c)
{
	CHECK(c->data != NULL && c->data[0] != '\0');
	CHECK(c->lease_ms >= CONFIG_LEASE_MIN_MS && c->lease_ms <= CONFIG_LEASE_MAX_MS);
	CHECK(c->heartbeat_ms >= 10 && c->heartbeat_ms <= c->lease_ms / 3);
	CHECK(c->drift_ppm >= 100 && c->drift_ppm <= 200000);
	CHECK(c->keep_slots >= 0);
	CHECK(c->log_level <= LOG_LEVEL_DEBUG);
}

static void read_file(const char *path)
{
	char *trouble = NULL;
	struct config c;
	enum error e;

	config_init(&c);
	e = config_read_file(&c, path, &trouble);
	CHECK((e == ERROR_OK) == (trouble == NULL));
	if (e == ERROR_OK) {
		if (c.data == NULL) {
			e = config_set(&c, "data", "/var/lib/chubby", &trouble);
			CHECK(e == ERROR_OK);
		}
		if (config_check(&c, &trouble) == ERROR_OK)
			check_sound(&c);
		else
			CHECK(trouble != NULL);
	}
	free(trouble);
	config_release(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("config", MFD_CLOEXEC);
	char path[64];
	ssize_t written = write(fd, data, size);

	CHECK(fd >= 0 && written == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_file(path);
	close(fd);
	return 0;
}
