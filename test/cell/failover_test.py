"""Failovers of real processes: nothing acknowledged is lost, nothing takes effect twice."""
import json
import os
import statistics
import time

import cell as cells

KILLS = int(os.environ.get("CHUBBY_TEST_KILLS", "20"))
CLIENTS = 8


def shared_count(c):
    return int(c.chubby("cat", "/ls/local/shared").stdout.split()[0])


def progress(workers):
    return all(w.poll() is None for w in workers)


def check_totals(c, results):
    assert len(results) == CLIENTS
    total = sum(r["sections"] for r in results)
    assert shared_count(c) == total, f"{shared_count(c)} in the file, {total} acknowledged"
    for r in results:
        assert r["own"] > 0 and r["expiries"] == 0, r
    return total


def one_file_tells(c, path, beyond):
    """The counter in a file of a worker has moved past `beyond`: it goes on."""
    return lambda: int(c.chubby("cat", path).stdout.split()[0]) > beyond


def kill_masters():
    """kill -9 of the master again and again under 8 clients that write and lock"""
    with cells.Cell() as c:
        workers = [c.worker(i, 600) for i in range(CLIENTS)]
        cells.wait_for("the first sections", lambda: c.chubby(
            "cat", "/ls/local/shared", check=False).returncode == 0 and shared_count(c) > 20)
        for k in range(KILLS):
            victim = c.wait_master()
            before = shared_count(c)
            old = c.pid(victim)
            c.kill(victim)
            # Somebody else serves, the clients go on, and the dead one is back.
            cells.wait_for("sections after a kill", lambda: shared_count(c) > before + 3, 20)
            cells.wait_for("the dead replica's return", lambda: c.pid(victim) != old and all(
                r["state"] in ("master", "follower") for r in c.status()["replicas"]), 20)
            assert progress(workers), "a worker gave up"
        for w in workers:
            w.terminate()
        results = cells.finish(workers)
        total = check_totals(c, results)
        gap = max(r["longest_gap_s"] for r in results)
        print(f"     {KILLS} kills, {total} sections, longest gap of a client {gap:.2f} s")
        c.wait_alike()


def kill_two():
    """two replicas at once, the master among them"""
    with cells.Cell() as c:
        workers = [c.worker(i, 600) for i in range(CLIENTS)]
        cells.wait_for("the first sections", lambda: c.chubby(
            "cat", "/ls/local/shared", check=False).returncode == 0 and shared_count(c) > 20)
        for k in range(3):
            victim = c.wait_master()
            other = victim % 5 + 1
            before = shared_count(c)
            olds = {r: c.pid(r) for r in (victim, other)}
            c.kill(victim)
            c.kill(other)
            cells.wait_for("sections after two kills", lambda: shared_count(c) > before + 3, 20)
            cells.wait_for("the dead replicas' return", lambda: all(
                c.pid(r) != olds[r] for r in olds) and all(
                r["state"] in ("master", "follower") for r in c.status()["replicas"]), 20)
            assert progress(workers), "a worker gave up"
        for w in workers:
            w.terminate()
        check_totals(c, cells.finish(workers))
        c.wait_alike()


def three_down():
    """three of five down: no write is acknowledged, the error says why; back up: service resumes"""
    with cells.Cell() as c:
        c.chubby("put", "/ls/local/a", "before")
        master = c.master()
        down = [master] + [i for i in range(1, 6) if i != master][:2]
        c.hold_restarts()
        for i in down:
            c.kill(i)
        began = time.monotonic()
        r = c.chubby("put", "/ls/local/a", "during", "--timeout", "3", check=False)
        took = time.monotonic() - began
        assert r.returncode == 69, f"status {r.returncode}: {r.stderr}"
        assert took < 6, f"{took} s"
        assert "majority" in r.stderr or "replicas answer" in r.stderr, r.stderr
        s = c.chubby("status", "--json", check=False)
        assert s.returncode == 69 and json.loads(s.stdout)["master"] is None, s.stdout
        assert json.loads(s.stdout)["tolerates"] == 0
        c.allow_restarts()
        c.wait_master()
        assert c.chubby("cat", "/ls/local/a").stdout == "before"
        c.chubby("put", "/ls/local/a", "after")
        assert c.chubby("cat", "/ls/local/a").stdout == "after"


def stopped_master():
    """kill -STOP of the master for 20 s: another takes over, the stopped one tells nothing stale"""
    with cells.Cell() as c:
        c.chubby("put", "/ls/local/a", "0")
        old = c.master()
        address = f"127.0.0.1:{c.base + old}"
        c.pause(old)
        began = time.monotonic()
        new = c.wait_master(other_than=old)
        took = time.monotonic() - began
        c.chubby("put", "/ls/local/a", "1")
        # Asked while it sleeps: whatever it says when it wakes must not be the old contents.
        readers = [c.reader(address) for _ in range(8)]
        cells.wait_for("20 s of sleep", lambda: time.monotonic() - began > 20, 30, 0.1)
        c.resume(old)
        for r in readers:
            out, _ = r.communicate(timeout=60)
            assert out in ("", "1"), f"a stale read: {out!r}"
        cells.wait_for("the old master's return as a follower", lambda: any(
            r["id"] == old and r["state"] in ("follower", "master")
            for r in c.status()["replicas"]), 20)
        print(f"     replica {new} took over after {took:.2f} s (status polls included)")
        assert c.chubby("cat", "/ls/local/a").stdout == "1"


def kill_all():
    """kill -9 of all five: every acknowledged write and held lock is there; sessions go on"""
    with cells.Cell() as c:
        workers = [c.worker(i, 600) for i in range(CLIENTS)]
        cells.wait_for("the first sections", lambda: c.chubby(
            "cat", "/ls/local/shared", check=False).returncode == 0 and shared_count(c) > 20)
        holder = c.hold_lock("/ls/local/held")
        before = c.locks("/ls/local/held")
        assert len(before) == 1 and len(before[0]["holders"]) == 1, before
        sections = shared_count(c)
        for i in range(1, 6):
            c.kill(i)
        cells.wait_for("sections after all were killed",
                       lambda: c.master() and shared_count(c) > sections + 3, 30)
        after = c.locks("/ls/local/held")
        same = [(h["session"], h["token"]) for h in after[0]["holders"]] == \
               [(h["session"], h["token"]) for h in before[0]["holders"]]
        assert same, (before, after)
        assert holder.poll() is None, "the holder lost its lock"
        holder.terminate()
        holder.wait(20)
        for w in workers:
            w.terminate()
        check_totals(c, cells.finish(workers))
        c.wait_alike()


if __name__ == "__main__":
    cells.run(kill_masters, kill_two, three_down, stopped_master, kill_all)
