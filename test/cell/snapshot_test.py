"""A replica that was away beyond the trimmed log comes back by snapshot while the others serve."""
import os
import random
import re
import tempfile
import time

import cell as cells

FILES = int(os.environ.get("CHUBBY_TEST_FILES", "100"))
FILE_BYTES = 100 << 10
COMMANDS = int(os.environ.get("CHUBBY_TEST_COMMANDS", "10000"))
KILLS = int(os.environ.get("CHUBBY_TEST_KILLS", "6"))
FETCHING = "fetching a snapshot"
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


def leave_behind(c, *victims):
    """The victims miss more than the others keep."""
    c.hold_restarts()
    for v in victims:
        c.kill(v)
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


def keep_ephemeral(c, number):
    """A client that keeps an ephemeral node until it is terminated."""
    w = c.worker(number, 600, "ephemeral")
    cells.wait_for("the ephemeral node", lambda: exists(c, number))
    return w


def exists(c, number):
    return c.chubby("stat", f"/ls/local/ephemeral-{number}", check=False).returncode == 0


def under_load():
    """two replicas away beyond the trimmed log come back by snapshot under load; equal digests"""
    with cells.Cell(options=OPTIONS) as c:
        c.chubby("put", "/ls/local/a", "1")
        goes = keep_ephemeral(c, 7)
        master = c.master()
        victims = (master % 5 + 1, (master + 1) % 5 + 1)
        c.wait_alike()
        leave_behind(c, *victims)
        # One ephemeral node goes and one comes while they are away.
        goes.terminate()
        comes = keep_ephemeral(c, 8)
        cells.wait_for("the node to go with its client", lambda: not exists(c, 7))
        target = newest(c)
        traffic = [c.worker(i, 600) for i in (2, 3, 4)]
        began = time.monotonic()
        c.allow_restarts()
        for v in victims:
            back(c, v, target)
        took = time.monotonic() - began
        for w in traffic:
            w.terminate()
        results = cells.finish(traffic)
        assert all(r["sections"] > 0 and r["expiries"] == 0 for r in results), results
        for v in victims:
            assert count(c, v, "starting anew to install it") > 0, "not by snapshot"
        gap = max(r["longest_gap_s"] for r in results)
        print(f"     {target} revisions behind, back in {took:.1f} s; "
              f"longest gap of a client meanwhile {gap:.2f} s")
        c.wait_alike()
        assert exists(c, 8) and not exists(c, 7)
        comes.terminate()
        cells.finish([goes, comes])


def part_bytes(c, replica):
    try:
        return os.stat(os.path.join(c.data, str(replica), "snapshot.part")).st_size
    except FileNotFoundError:
        return 0


def is_ready(c, replica):
    return os.path.exists(os.path.join(c.data, str(replica), "snapshot.ready"))


def kill_receiver():
    """the receiver is killed at random moments, again and again: it still comes back"""
    rng = random.Random()
    with cells.Cell(options=OPTIONS) as c:
        c.chubby("put", "/ls/local/a", "1")
        victim = c.master() % 5 + 1
        leave_behind(c, victim)
        target = newest(c)
        traffic = [c.worker(i, 600) for i in (2, 3)]
        began = time.monotonic()
        c.allow_restarts()
        within = begun = 0
        for k in range(KILLS):
            # Somewhere in the transfer, and last as soon as all of it is there.
            bytes_there = rng.randrange(1, FILES * FILE_BYTES) if k < KILLS - 1 else 1 << 40
            cells.wait_for("another transfer", lambda: begun < count(c, victim, FETCHING), 30,
                           0.0005)
            cells.wait_for("its piece", lambda: part_bytes(c, victim) >= bytes_there or
                           is_ready(c, victim), 30, 0.0005)
            begun = count(c, victim, FETCHING)
            within += not is_ready(c, victim)
            c.kill(victim)
        back(c, victim, target)
        for w in traffic:
            w.terminate()
        cells.finish(traffic)
        assert within >= KILLS - 2, f"only {within} of {KILLS} kills during the transfer"
        print(f"     killed {KILLS} times, {within} of them during the transfer, in "
              f"{time.monotonic() - began:.1f} s")
        c.wait_alike()
        left = [f for f in os.listdir(os.path.join(c.data, str(victim))) if "snapshot" in f]
        assert not left, left


def kill_sender():
    """the sender is killed during the transfer and stays away: another one serves"""
    with cells.Cell(options=OPTIONS) as c:
        c.chubby("put", "/ls/local/a", "1")
        victim = c.master() % 5 + 1
        leave_behind(c, victim)
        target = newest(c)
        old = c.pid(victim)
        c.allow_restarts()
        cells.wait_for("the victim's process", lambda: c.pid(victim) != old, 10)
        c.hold_restarts()
        cells.wait_for("a transfer", lambda: part_bytes(c, victim) > 0, 30, 0.0005)
        sender = re.findall(r"replica (\d+) trimmed", log_text(c, victim))[-1]
        c.kill(int(sender))
        assert not is_ready(c, victim), "the transfer was over before the kill"
        began = time.monotonic()
        back(c, victim, target)
        senders = re.findall(r"replica (\d+) trimmed", log_text(c, victim))
        assert senders[-1] != sender, senders
        print(f"     senders {', '.join(senders)}; back {time.monotonic() - began:.1f} s after "
              f"the kill")
        c.allow_restarts()
        c.wait_alike()


if __name__ == "__main__":
    cells.run(under_load, kill_receiver, kill_sender)
