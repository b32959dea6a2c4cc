/*
 * Takes a lock, shows its fencing token, and gives it back.
 *
 *   lock /ls/local/example
 *
 * The servers come from CHUBBY_SERVERS ("host:port,host:port").
 */
#include <chubby.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/ls/local/example";
	struct chubby_error error;
	struct chubby *cell;
	struct chubby_lock *lock;

	if (chubby_connect(NULL, &cell, &error) != CHUBBY_OK) {
		fprintf(stderr, "lock: %s\n", error.message);
		return 1;
	}
	if (chubby_lock(cell, path, NULL, &lock, &error) != CHUBBY_OK) {
		fprintf(stderr, "lock: %s\n", error.message);
		chubby_disconnect(cell);
		return 1;
	}
	/* Here the work is done. Whoever stores its results takes the token with every write, and
	 * refuses a token that is smaller than the largest it has seen. */
	printf("holding %s with token %llu\n", path, (unsigned long long)chubby_lock_token(lock));
	chubby_unlock(lock);
	chubby_disconnect(cell);
	return 0;
}
