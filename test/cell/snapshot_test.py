"""A replica that was away beyond the trimmed log comes back by snapshot while the others serve."""
import os
import random
import tempfile
import time

import cell as cells

FILES = int(os.environ.get("CHUBBY_TEST_FILES", "100"))
FILE_BYTES = 100 << 10
COMMANDS = int(os.environ.get("CHUBBY_TEST_COMMANDS", "10000"))
# An early trim, so that a short absence is long enough.
OPTIONS = ("--keep-slots", "2000")


def log_text(c, replica):
    with open(os.path.join(c.data, str(replica), "log"), errors="replace") as f:
        return f.read()


def count(c, replica, text):
    return log_text(c, replica).count(text)


def replica_status(c, replica):
    return next((r for r in c.status()["replicas"] if r["id"] == replica), None)


def fill(c):
    """A state of several megabytes: many pieces."""
    rng = random.Random(1)
    with tempfile.NamedTemporaryFile("w") as f:
        f.write("".join(rng.choices("0123456789abcdef", k=FILE_BYTES)))
        f.flush()
        for i in range(FILES):
            with open(f.name) as contents:
                c.chubby("put", f"/ls/local/large-{i}", stdin=contents.read())


def leave_behind(c, victim):
    """The victim misses more than the others keep; an ephemeral node comes and one goes."""
    c.hold_restarts()
    c.kill(victim)
    fill(c)
    # Few threads: each slot takes few commands.
    flood = c.worker(1, 600, "flood", "--count", str(COMMANDS), "--threads", "3")
    cells.finish([flood], timeout=120)
    slot = max(r["chosen"] for r in c.status()["replicas"])
    assert slot > 3000, f"only {slot} slots: nothing is trimmed"


def back(c, victim, target, seconds=60):
    cells.wait_for("the replica to be back", lambda: (
        lambda r: r and r["revision"] >= target and r["state"] in ("follower", "master"))(
            replica_status(c, victim)), seconds, 0.1)


def newest(c):
    return max(r["revision"] for r in c.status()["replicas"])


def under_load():
    """a replica away beyond the trimmed log comes back by snapshot under load; equal digests"""
    with cells.Cell(options=OPTIONS) as c:
        c.chubby("put", "/ls/local/a", "1")
        victim = c.master() % 5 + 1
        leave_behind(c, victim)
        target = newest(c)
        traffic = [c.worker(i, 600) for i in (2, 3, 4)]
        began = time.monotonic()
        c.allow_restarts()
        back(c, victim, target)
        took = time.monotonic() - began
        for w in traffic:
            w.terminate()
        results = cells.finish(traffic)
        assert all(r["sections"] > 0 and r["expiries"] == 0 for r in results), results
        assert count(c, victim, "starting anew to install it") > 0, "not by snapshot"
        gap = max(r["longest_gap_s"] for r in results)
        print(f"     {target} revisions behind, back in {took:.1f} s; "
              f"longest gap of a client meanwhile {gap:.2f} s")
        c.wait_alike()


if __name__ == "__main__":
    cells.run(under_load)
