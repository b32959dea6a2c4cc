"""What the shared library exports, by libabigail: functions, and the types that they show; and the
numbers of chubby.h, which programs are compiled with.

Only what chubby.h declares counts: a struct that it merely names may change as it likes.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

# Places and names of this machine would differ on the next one, and what the library itself is
# linked against promises nothing.
PORTABLE = ["--no-corpus-path", "--no-comp-dir-path", "--no-show-locs", "--no-elf-needed",
            "--drop-undefined-syms", "--exported-interfaces-only"]
# Bits of abidiff's exit status.
ERROR, USAGE, CHANGE = 1, 2, 4


def installed():
    return all(shutil.which(tool) for tool in ("abidw", "abidiff", "readelf"))


def _run(*arguments):
    return subprocess.run(arguments, capture_output=True, text=True, check=False,
                          env=dict(os.environ, LC_ALL="C"))


def _need_debug(built):
    if not os.path.exists(built):
        raise RuntimeError(f"{built} is not there: build first")
    if ".debug_info" not in _run("readelf", "-SW", built).stdout:
        raise RuntimeError(f"{built} has no debug information, so its types cannot be compared: "
                           "build with meson's buildtype debugoptimized")


# ---- functions and types -------------------------------------------------------------------------

def describe(built, header):
    """The library as libabigail's XML."""
    _need_debug(built)
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "abi")
        # A directory with this header alone, since all that is declared elsewhere is private.
        public = os.path.join(scratch, "public")
        os.mkdir(public)
        shutil.copy(header, public)
        r = _run("abidw", *PORTABLE, "--headers-dir", public, "--drop-private-types", "--out-file",
                 out, built)
        if r.returncode != 0 or not os.path.exists(out):
            raise RuntimeError(f"abidw: status {r.returncode}: {r.stderr}{r.stdout}")
        with open(out, encoding="utf-8") as f:
            text = f.read()
    # Sources are named relative to the directory of the build.
    return re.sub(r"path='[^']*?([^'/]*)'", r"path='\1'", text)


def _diff(baseline, now, *options):
    r = _run("abidiff", *options, baseline, now)
    if r.returncode & (ERROR | USAGE):
        raise RuntimeError(f"abidiff: status {r.returncode}: {r.stderr}{r.stdout}")
    return r.stdout.strip() if r.returncode & CHANGE else ""


def compare(baseline, built, header):
    """(breaks, additions), each a list of what abidiff says."""
    with tempfile.TemporaryDirectory() as scratch:
        now = os.path.join(scratch, "now.abi")
        with open(now, "w", encoding="utf-8") as f:
            f.write(describe(built, header))
        breaks = _diff(baseline, now, "--no-added-syms")
        additions = "" if breaks else _diff(baseline, now, "--harmless")
    return [breaks] if breaks else [], [additions] if additions else []


# ---- numbers -------------------------------------------------------------------------------------

def numbers(header):
    """The constants of the header. Flags are passed as int, so that no exported type has them."""
    with open(header, encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", f.read(), flags=re.S)
    found = dict(re.findall(r"\b(CHUBBY_\w+)\s*=\s*(-?\w+)", text))
    for name, value in re.findall(r"(?m)^#define (CHUBBY_\w+)[ \t]+(\S.*?)\s*$", text):
        if not re.match(r"CHUBBY_(API|MUST_USE|START|VERSION_\w+)$", name):
            found[name] = value
    return found


def compare_numbers(old, new):
    breaks = [f"{name} was {value}, now {new.get(name, 'gone')}"
              for name, value in old.items() if new.get(name) != value]
    return breaks, [f"{name} = {value}" for name, value in new.items() if name not in old]


def numbers_to_text(found):
    return json.dumps(found, indent=1, sort_keys=True) + "\n"
