"""The check of the library bites: each kind of break in chubby.h is seen, an addition is no break.

The libraries compared are small ones, compiled from chubby.h as it is and from changed copies.
"""
import os
import re
import subprocess
import sys
import tempfile

import library

HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "libchubby",
                      "chubby.h")
# Enough functions to show every kind of type: by value, through pointers, opaque, callbacks.
SOURCE = r"""
#include "chubby.h"
struct chubby { int inside; struct chubby_handle *first; };
struct chubby_handle { struct chubby *cell; };
struct chubby_options chubby_options_default(void) { return (struct chubby_options){0}; }
const char *chubby_code_name(enum chubby_code code) { return code == CHUBBY_OK ? "OK" : ""; }
uint64_t chubby_token(const struct chubby_handle *h) { return h != NULL; }
void chubby_dir_free(struct chubby_dir *dir) { dir->count = 0; }
enum chubby_code chubby_connect(const struct chubby_options *o, struct chubby **ret_cell,
				struct chubby_error *ret_error)
{
	*ret_cell = NULL;
	ret_error->code = o != NULL ? CHUBBY_OK : CHUBBY_INTERNAL;
	return CHUBBY_OK;
}
enum chubby_code chubby_stat(struct chubby_handle *h, struct chubby_stat *ret_stat,
			     struct chubby_error *ret_error)
{
	ret_stat->kind = CHUBBY_FILE;
	ret_error->code = h != NULL ? CHUBBY_OK : CHUBBY_INTERNAL;
	return CHUBBY_OK;
}
"""
MAP = "LIBCHUBBY_0 { global: chubby_*; local: *; };\n"


def header(old, new):
    """A change of the header: every place that matches, and there must be one."""
    def change(h, source):
        changed, count = re.subn(old, new, h)
        assert count > 0, old
        return changed, source
    return change


def both(old, new):
    """The same change in header and source."""
    def change(h, source):
        (h, a), (source, b) = re.subn(old, new, h), re.subn(old, new, source)
        assert a > 0 and b > 0, old
        return h, source
    return change


def source(old, new):
    def change(h, s):
        assert old in s, old
        return h, s.replace(old, new)
    return change


BREAKS = {
    "a field in the middle of a struct": header(r"(uint64_t contents_generation;)",
                                                r"uint64_t more; \1"),
    "a field at the end of a struct that callers own": header(
        r"(int64_t modified_unix_ms;)", r"\1 int64_t more;"),
    "a field is gone": header(r"uint32_t lock_waiters;", ""),
    "a field has another type": header(r"uint32_t child_count;", "int64_t child_count;"),
    "two fields change places": header(r"(int64_t lease_ms;)([^\n]*\n)(\s*int64_t grace_ms;)",
                                       r"\3\2\1"),
    "an array grows": header(r"message\[512\]", "message[1024]"),
    "an error has another number": header(r"CHUBBY_EXISTS = 6,", "CHUBBY_EXISTS = 60,"),
    "an error is gone": header(r"CHUBBY_WRONG_KIND = 39,", ""),
    "a callback takes something else": header(
        r"typedef void chubby_session_callback\(void \*context",
        "typedef void chubby_session_callback(const char *context"),
    "a function takes one more": both(
        r"(chubby_stat\(struct chubby_handle \*(?:h|handle),)", r"\1 int more,"),
    "a function returns something else": both(r"uint64_t chubby_token", "uint32_t chubby_token"),
    "a function is gone": source("void chubby_dir_free(struct chubby_dir *dir) { dir->count = 0; }",
                                 ""),
}
ADDITIONS = {
    "a function": source("struct chubby {", "void chubby_more(void);\nvoid chubby_more(void) {}\n"
                                            "struct chubby {"),
    "an error": header(r"CHUBBY_WRONG_KIND = 39,", "CHUBBY_WRONG_KIND = 39, CHUBBY_MORE = 40,"),
}
NOTHING = {
    "nothing": lambda h, s: (h, s),
    "a struct that the header only names": source("int inside;", "long inside[7]; void *more;"),
    "a comment": header(r"/\* may be NULL \*/", "/* another comment */"),
}


def build(directory, change):
    """Path of header and library of a changed copy."""
    os.mkdir(directory)
    with open(HEADER, encoding="utf-8") as f:
        text, code = change(f.read(), SOURCE)
    paths = {name: os.path.join(directory, name)
             for name in ("chubby.h", "source.c", "map", "libchubby.so")}
    for name, content in (("chubby.h", text), ("source.c", code), ("map", MAP)):
        with open(paths[name], "w", encoding="utf-8") as f:
            f.write(content)
    subprocess.run(["cc", "-g", "-fPIC", "-shared", "-Wl,-soname,libchubby.so.0",
                    f"-Wl,--version-script={paths['map']}", "-o", paths["libchubby.so"],
                    paths["source.c"]], check=True)
    return paths["chubby.h"], paths["libchubby.so"]


def expect(scratch, baseline, cases, breaks, additions):
    failed = 0
    for what, change in cases.items():
        h, built = build(os.path.join(scratch, f"{len(os.listdir(scratch))}"), change)
        found = library.compare(baseline, built, h)
        good = (bool(found[0]), bool(found[1])) == (breaks, additions)
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {found}"))
        failed += not good
    return failed


def flags():
    """Numbers that no exported type has: a flag that moves is seen too."""
    old = library.numbers(HEADER)
    moved, more, gone = dict(old, CHUBBY_CREATE="128"), dict(old, CHUBBY_MORE="256"), dict(old)
    del gone["CHUBBY_EPHEMERAL"]
    good = (old["CHUBBY_CREATE"] == "8" and old["CHUBBY_LOCK_DELAY_DEFAULT"] == "(-1)"
            and old["CHUBBY_OK"] == "0" and library.compare_numbers(old, old) == ([], [])
            and library.compare_numbers(old, moved)[0] and library.compare_numbers(old, gone)[0]
            and library.compare_numbers(old, more) == ([], ["CHUBBY_MORE = 256"]))
    print(f"{'ok  ' if good else 'FAIL'} flags and other numbers")
    return not good


def main():
    if not library.installed():
        print("libabigail (package abigail-tools) is not installed")
        return 77
    with tempfile.TemporaryDirectory() as scratch:
        h, built = build(os.path.join(scratch, "original"), lambda h, s: (h, s))
        baseline = os.path.join(scratch, "baseline.abi")
        with open(baseline, "w", encoding="utf-8") as f:
            f.write(library.describe(built, h))
        failed = (expect(scratch, baseline, BREAKS, True, False)
                  + expect(scratch, baseline, ADDITIONS, False, True)
                  + expect(scratch, baseline, NOTHING, False, False) + flags())
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
