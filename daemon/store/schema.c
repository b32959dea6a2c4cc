/*
 * The two databases: tables, connections, versions and meta rows.
 *
 * Both start with page size, application id and schema version in the main file's header; genesis
 * leaves no write-ahead log behind, so the identity stands in the main file from the start.
 */
#include "store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define META_TABLE                                                                                 \
	"CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL, checksum INTEGER NOT NULL)"  \
	" STRICT, WITHOUT ROWID;"

/* The value stands last, so that the columns before it are read without its overflow pages. */
static const char log_sql[] = META_TABLE
	"CREATE TABLE log(slot INTEGER PRIMARY KEY, round INTEGER NOT NULL,"
	" replica INTEGER NOT NULL, incarnation_high INTEGER NOT NULL,"
	" incarnation_low INTEGER NOT NULL, value_checksum INTEGER NOT NULL,"
	" row_checksum INTEGER NOT NULL, value BLOB NOT NULL) STRICT;";

static const char state_sql[] = META_TABLE
	"CREATE TABLE rows(kind INTEGER NOT NULL, key INTEGER NOT NULL, data BLOB NOT NULL,"
	" checksum INTEGER NOT NULL, PRIMARY KEY(kind, key)) STRICT, WITHOUT ROWID;";

/*
 * A reader has to be let in, hence no exclusive locking. The WAL is cut back to a size at which a
 * frame ends, so that what remains never looks like half a frame.
 */
static const char connection_sql[] =
	"PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY;"
	"PRAGMA trusted_schema=OFF; PRAGMA cell_size_check=ON; PRAGMA cache_size=-8192;"
	"PRAGMA journal_size_limit=16480032;"; /* 32 + 4000 * 4120 */

#define BUSY_TIMEOUT_MS 5000

const char meta_put_sql[] = "INSERT INTO meta(key, value, checksum) VALUES(?1, ?2, ?3)"
			    " ON CONFLICT(key) DO UPDATE SET value = ?2, checksum = ?3";

static enum error error_of(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return ERROR_STORAGE_FULL;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_SCHEMA:
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_ERROR: /* our SQL is constant: a table or column is missing */
		return ERROR_STORAGE_CORRUPT;
	default:
		return ERROR_STORAGE_IO;
	}
}

enum error db_error(int rc, const char *file, char **ret_trouble)
{
	enum error e = error_of(rc);

	*ret_trouble = sentence("%s: %s (%s, %d)", file, error_text(e), sqlite3_errstr(rc), rc);
	return e;
}

int db_exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret_statement)
{
	return sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
}

int db_run(sqlite3_stmt *statement)
{
	int rc = sqlite3_step(statement);
	int reset = sqlite3_reset(statement);

	if (rc == SQLITE_DONE || rc == SQLITE_ROW)
		return reset;
	return rc;
}

int db_number(sqlite3 *db, const char *sql, int64_t *ret_number)
{
	sqlite3_stmt *statement = NULL;
	int rc = db_prepare(db, sql, &statement);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW) {
		*ret_number = sqlite3_column_int64(statement, 0);
		rc = SQLITE_OK;
	} else if (rc == SQLITE_DONE) {
		rc = SQLITE_ERROR;
	}
	sqlite3_finalize(statement);
	return rc;
}

static void uri_add(struct buffer *uri, const char *text)
{
	bool fits = buffer_append(uri, bytes_of_text(text));

	CHECK(fits);
}

/* A URI with what it would read otherwise escaped, ended by a NUL. */
static void uri_of(const char *path, bool immutable, struct buffer *ret_uri)
{
	static const char special[] = "%?#";
	static const char *const escaped[] = {"%25", "%3F", "%23"};

	buffer_init(ret_uri, 4 * strlen(path) + 64);
	/* An absolute path gets an empty authority, lest "//host/path" be read as one. */
	uri_add(ret_uri, *path == '/' ? "file://" : "file:");
	for (const char *p = path; *p != '\0'; p++) {
		const char *found = strchr(special, *p);
		bool fits = true;

		if (found != NULL)
			uri_add(ret_uri, escaped[found - special]);
		else
			fits = buffer_append(ret_uri, (struct bytes){(const uint8_t *)p, 1});
		CHECK(fits);
	}
	uri_add(ret_uri, immutable ? "?immutable=1" : "");
	uri_add(ret_uri, "x");
	ret_uri->data[ret_uri->size - 1] = '\0';
}

static int open_connection(const char *path, bool immutable, sqlite3 **ret_db)
{
	int access = immutable ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
	struct buffer uri;
	int rc;

	uri_of(path, immutable, &uri);
	rc = sqlite3_open_v2((const char *)uri.data, ret_db,
			     access | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			     NULL);

	buffer_release(&uri);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(*ret_db, BUSY_TIMEOUT_MS);
	return rc;
}

enum error db_open(const char *directory, const char *file, bool immutable, sqlite3 **ret_db,
		   char **ret_trouble)
{
	char *path = store_path(directory, file);
	sqlite3 *db = NULL;
	enum error e = ERROR_OK;
	int rc = open_connection(path, immutable, &db);

	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (rc == SQLITE_OK && !immutable)
		rc = db_exec(db, connection_sql);
	if (rc == SQLITE_OK) {
		*ret_db = db;
	} else {
		e = db_error(rc, file, ret_trouble);
		sqlite3_close(db);
	}
	free(path);
	return e;
}

void db_close(sqlite3 *db, bool checkpoint)
{
	int rc = SQLITE_OK;

	if (db == NULL)
		return;
	if (checkpoint)
		rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	CHECK(rc == SQLITE_OK);
	rc = sqlite3_close(db);
	CHECK(rc == SQLITE_OK); /* every statement is finalized */
}

enum error db_check_version(sqlite3 *db, const char *file, int64_t application, char **ret_trouble)
{
	int64_t found = 0, version = 0;
	int rc = db_number(db, "PRAGMA application_id", &found);

	if (rc == SQLITE_OK)
		rc = db_number(db, "PRAGMA user_version", &version);
	if (rc != SQLITE_OK)
		return db_error(rc, file, ret_trouble);
	if (found != application || version < 1) {
		*ret_trouble = sentence("%s is not a database of this program", file);
		return ERROR_STORAGE_CORRUPT;
	}
	if (version > STORE_SCHEMA_VERSION) {
		*ret_trouble = sentence("%s has schema version %lld, but this program knows %d and "
					"older: install the newer version that wrote it",
					file, (long long)version, STORE_SCHEMA_VERSION);
		return ERROR_STORAGE_VERSION;
	}
	return ERROR_OK;
}

enum error db_check_writable(sqlite3 *db, const char *file, char **ret_trouble)
{
	if (sqlite3_db_readonly(db, "main") == 0)
		return ERROR_OK;
	*ret_trouble = sentence("%s cannot be written: look at its owner and mode, and at the "
				"file system",
				file);
	return ERROR_STORAGE_IO;
}

/* SQLite gives the WAL the mode of the database. */
static enum error create_file(const char *path, char **ret_trouble)
{
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	if (fd < 0) {
		*ret_trouble = sentence("cannot create %s: %s", path, strerror(errno));
		return errno == ENOSPC || errno == EDQUOT ? ERROR_STORAGE_FULL : ERROR_STORAGE_IO;
	}
	close(fd);
	return ERROR_OK;
}

static int create_tables(sqlite3 *db, int64_t application)
{
	char *header = sentence("PRAGMA page_size=%u; PRAGMA auto_vacuum=INCREMENTAL;"
				"PRAGMA journal_mode=WAL; PRAGMA application_id=%lld;"
				"PRAGMA user_version=%d;",
				STORE_PAGE_BYTES, (long long)application, STORE_SCHEMA_VERSION);
	int rc = db_exec(db, header);

	free(header);
	if (rc == SQLITE_OK)
		rc = db_exec(db, connection_sql);
	if (rc == SQLITE_OK)
		rc = db_exec(db, application == STORE_APPLICATION_LOG ? log_sql : state_sql);
	return rc;
}

static int put_identity(sqlite3 *db, const struct store_identity *identity)
{
	sqlite3_stmt *put = NULL;
	struct buffer record;
	int rc = db_prepare(db, meta_put_sql, &put);

	buffer_init(&record, RECORD_MAX_BYTES);
	record_put_identity(&record, identity);
	if (rc == SQLITE_OK)
		rc = meta_put(put, NULL, "identity", buffer_view(&record));
	buffer_release(&record);
	sqlite3_finalize(put);
	return rc;
}

enum error db_create(const char *directory, const char *file, int64_t application,
		     const struct store_identity *identity, sqlite3 **ret_db, char **ret_trouble)
{
	char *path = store_path(directory, file);
	enum error e = create_file(path, ret_trouble);
	sqlite3 *db = NULL;
	int rc;

	if (e == ERROR_OK) {
		rc = open_connection(path, false, &db);
		if (rc == SQLITE_OK)
			rc = create_tables(db, application);
		if (rc == SQLITE_OK)
			rc = put_identity(db, identity);
		if (rc == SQLITE_OK) {
			*ret_db = db;
		} else {
			e = db_error(rc, file, ret_trouble);
			sqlite3_close(db);
		}
	}
	free(path);
	return e;
}

int meta_put(sqlite3_stmt *put, const struct store_identity *identity, const char *key,
	     struct bytes value)
{
	uint64_t checksum = record_meta_checksum(identity, key, value);
	int rc = sqlite3_bind_text(put, 1, key, -1, SQLITE_STATIC);

	CHECK(value.size > 0); /* else NULL would be bound */
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob64(put, 2, value.data, value.size, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(put, 3, (int64_t)checksum);
	if (rc == SQLITE_OK)
		rc = db_run(put);
	return rc;
}

static enum error meta_take(sqlite3_stmt *row, const char *file,
			    const struct store_identity *identity, const char *key,
			    struct buffer *ret_value, char **ret_trouble)
{
	struct bytes value = {sqlite3_column_blob(row, 0), (size_t)sqlite3_column_bytes(row, 0)};
	uint64_t checksum = (uint64_t)sqlite3_column_int64(row, 1);

	if (checksum != record_meta_checksum(identity, key, value) ||
	    !buffer_append(ret_value, value)) {
		*ret_trouble = sentence("%s: the checksum of the row \"%s\" is wrong", file, key);
		return ERROR_STORAGE_CORRUPT;
	}
	return ERROR_OK;
}

enum error meta_get(sqlite3 *db, const char *file, const struct store_identity *identity,
		    const char *key, struct buffer *ret_value, char **ret_trouble)
{
	sqlite3_stmt *get = NULL;
	enum error e;
	int rc = db_prepare(db, "SELECT value, checksum FROM meta WHERE key = ?1", &get);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(get, 1, key, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(get);
	if (rc == SQLITE_ROW) {
		e = meta_take(get, file, identity, key, ret_value, ret_trouble);
	} else if (rc == SQLITE_DONE) {
		*ret_trouble = sentence("%s: the row \"%s\" is missing", file, key);
		e = ERROR_NOT_FOUND;
	} else {
		e = db_error(rc, file, ret_trouble);
	}
	sqlite3_finalize(get);
	return e;
}

enum error meta_get_identity(sqlite3 *db, const char *file, struct store_identity *ret_identity,
			     char **ret_trouble)
{
	struct buffer record;
	enum error e;

	buffer_init(&record, RECORD_MAX_BYTES);
	e = meta_get(db, file, NULL, "identity", &record, ret_trouble);
	if (e == ERROR_NOT_FOUND) {
		e = ERROR_STORAGE_CORRUPT;
	} else if (e == ERROR_OK && !record_get_identity(buffer_view(&record), ret_identity)) {
		*ret_trouble = sentence("%s: the identity cannot be decoded", file);
		e = ERROR_STORAGE_CORRUPT;
	}
	buffer_release(&record);
	return e;
}

char *store_path(const char *directory, const char *file)
{
	return sentence("%s/%s", directory, file);
}

bool store_exists(const char *directory, const char *file)
{
	char *path = store_path(directory, file);
	bool exists = access(path, F_OK) == 0;

	free(path);
	return exists;
}

void store_unlink(const char *directory, const char *file)
{
	static const char *const suffixes[] = {"-wal", "-shm", "-journal", ""};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		char *path = sentence("%s/%s%s", directory, file, suffixes[i]);

		unlink(path);
		free(path);
	}
}

enum error store_sync(const char *directory, const char *file, char **ret_trouble)
{
	char *path = file != NULL ? store_path(directory, file) : mem_strdup(directory);
	enum error e = ERROR_OK;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) != 0) {
		*ret_trouble = sentence("cannot sync %s: %s", path, strerror(errno));
		e = ERROR_STORAGE_IO;
	}
	if (fd >= 0)
		close(fd);
	free(path);
	return e;
}
