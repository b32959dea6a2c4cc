/*
 * chubby.h in C++: it compiles without a warning, every function that it declares is there to be
 * linked, and a call goes through.
 */
#include "chubby.h"

#include <cstdio>
#include <cstring>

#define ADDRESS(name) {#name, reinterpret_cast<void (*)()>(&name)}

static const struct {
	const char *name;
	void (*function)();
} functions[] = {
	ADDRESS(chubby_version),
	ADDRESS(chubby_code_name),
	ADDRESS(chubby_code_text),
	ADDRESS(chubby_options_default),
	ADDRESS(chubby_connect),
	ADDRESS(chubby_connect_start),
	ADDRESS(chubby_disconnect),
	ADDRESS(chubby_session_id),
	ADDRESS(chubby_session_is_safe),
	ADDRESS(chubby_session_lease_left_ms),
	ADDRESS(chubby_contents_free),
	ADDRESS(chubby_open),
	ADDRESS(chubby_close),
	ADDRESS(chubby_poison),
	ADDRESS(chubby_path),
	ADDRESS(chubby_get),
	ADDRESS(chubby_stat),
	ADDRESS(chubby_set),
	ADDRESS(chubby_delete),
	ADDRESS(chubby_read_dir),
	ADDRESS(chubby_dir_free),
	ADDRESS(chubby_acquire_options_default),
	ADDRESS(chubby_acquire),
	ADDRESS(chubby_release),
	ADDRESS(chubby_sequencer),
	ADDRESS(chubby_token),
	ADDRESS(chubby_is_held),
	ADDRESS(chubby_set_sequencer),
	ADDRESS(chubby_check_sequencer),
	ADDRESS(chubby_multi),
	ADDRESS(chubby_lock),
	ADDRESS(chubby_lock_all),
	ADDRESS(chubby_unlock),
	ADDRESS(chubby_lock_token),
	ADDRESS(chubby_lock_sequencer),
	ADDRESS(chubby_lock_is_held),
	ADDRESS(chubby_call_is_done),
	ADDRESS(chubby_call_wait),
	ADDRESS(chubby_call_cancel),
	ADDRESS(chubby_call_discard),
	ADDRESS(chubby_open_start),
	ADDRESS(chubby_open_finish),
	ADDRESS(chubby_close_start),
	ADDRESS(chubby_get_start),
	ADDRESS(chubby_get_finish),
	ADDRESS(chubby_stat_start),
	ADDRESS(chubby_stat_finish),
	ADDRESS(chubby_set_start),
	ADDRESS(chubby_set_finish),
	ADDRESS(chubby_delete_start),
	ADDRESS(chubby_delete_finish),
	ADDRESS(chubby_read_dir_start),
	ADDRESS(chubby_read_dir_finish),
	ADDRESS(chubby_acquire_start),
	ADDRESS(chubby_acquire_finish),
	ADDRESS(chubby_release_start),
	ADDRESS(chubby_release_finish),
	ADDRESS(chubby_check_sequencer_start),
	ADDRESS(chubby_check_sequencer_finish),
	ADDRESS(chubby_multi_start),
	ADDRESS(chubby_multi_finish),
};

static int failed(const char *what)
{
	std::fprintf(stderr, "not so: %s\n", what);
	return 1;
}

int main()
{
	struct chubby_options options = chubby_options_default();
	struct chubby_op guard = {};
	struct chubby_error error;
	struct chubby *cell = nullptr;

	for (const auto &f : functions) {
		if (f.function == nullptr)
			return failed(f.name);
	}
	guard.kind = CHUBBY_GUARD_EXISTS;
	if (guard.path != nullptr || CHUBBY_MULTI_NO_OP != static_cast<size_t>(-1))
		return failed("what is not set is zero");
	if (std::strcmp(chubby_code_name(CHUBBY_LOCK_LOST), "LOCK_LOST") != 0)
		return failed("a code has its name");
	options.servers = "no address";
	if (chubby_connect(&options, &cell, &error) != CHUBBY_INVALID_ARGUMENT ||
	    error.code != CHUBBY_INVALID_ARGUMENT || cell != nullptr)
		return failed("bad servers are refused");
	return 0;
}
