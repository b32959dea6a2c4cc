"""A nightly job under a lock, while masters are killed and jobs are stopped beyond their lease.

usage: nightly_test.py [--seconds N] [--seed N]
"""
import argparse
import collections
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time

import cell as cells
import nightly

EXAMPLES = os.path.join(cells.BUILD, "libchubby", "examples")
HERE = os.path.dirname(os.path.abspath(__file__))
JOB = os.path.join(HERE, "..", "..", "libchubby", "examples", "nightly.sh")
PATH = "/ls/local/nightly"
LEASE_S = 2.0
PARTS = 20
CONTENDERS = 3
KILL_EVERY_S = 7.0
# Done; refused by the table; the lock was lost, and the job stopped by `chubby lock`.
STATUSES = {0, 3, 76}


def command(database):
    return [cells.CHUBBY, "lock", "--lease", f"{int(LEASE_S)}s", "--lock-delay", "0s", PATH, "--",
            JOB, database]


def environment(c):
    return dict(c.env, FENCED_WRITE=os.path.join(EXAMPLES, "fenced_write"), PARTS=str(PARTS))


class Contender(threading.Thread):
    """Does the job again and again, as cron would on its machine."""

    def __init__(self, c, name, database):
        super().__init__(daemon=True)
        self.database = database
        self.environment = environment(c)
        self.over = threading.Event()
        self.statuses = collections.Counter()
        self.out = open(os.path.join(c.data, f"job-{name}.out"), "w+")
        self.err = open(os.path.join(c.data, f"job-{name}.err"), "w+")

    def run(self):
        while not self.over.is_set():
            status = subprocess.call(command(self.database), env=self.environment,
                                     stdout=self.out, stderr=self.err)
            self.statuses[status] += 1

    def finish(self):
        self.over.set()
        self.join(60)
        assert not self.is_alive(), "a job does not end"
        self.out.seek(0)
        self.err.seek(0)
        written = [(int(t), row, what) for t, row, what in map(str.split, self.out)]
        return written, self.err.read()


def family(pid):
    """A process and all below it, itself first."""
    found = [pid]
    for p in found:
        try:
            with open(f"/proc/{p}/task/{p}/children") as f:
                found += map(int, f.read().split())
        except OSError:
            continue    # it ended meanwhile
    return found


def has_ended(pid):
    """Also if nobody has reaped it."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def tell(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def pause(c, rng):
    """Stops whoever holds the lock, `chubby lock` and the job, until its lease is long over and
    another has the lock; mostly the job wakes up before its guardian. True if that was seen."""
    holders = [h for lock in c.locks(PATH) for h in lock["holders"]]
    if not holders:
        return False
    wrapper, token = holders[0]["pid"], holders[0]["token"]
    # Once the wrapper is stopped nobody starts or reaps the job; the family is complete then.
    tell([wrapper], signal.SIGSTOP)
    job = family(wrapper)[1:]
    tell(job, signal.SIGSTOP)
    if not job or has_ended(job[0]):
        tell([wrapper], signal.SIGCONT)
        return False    # it was done just then
    try:
        def taken_over():
            return any(h["token"] > token for lock in c.locks(PATH) for h in lock["holders"])
        cells.wait_for("another to take over", taken_over, 30, 0.05)
        wait_some(rng.uniform(0.2, 1.0))
        return True
    finally:
        tell(family(wrapper)[1:], signal.SIGCONT)
        awake_until = time.monotonic() + rng.choice([0, 0.1, 2, 2])
        cells.wait_for("a moment", lambda: time.monotonic() >= awake_until or
                       all(has_ended(pid) for pid in job[:1]))
        tell([wrapper], signal.SIGCONT)


def wait_some(seconds):
    threading.Event().wait(seconds)


def disturb(c, rng, seconds):
    """Kills and pauses for so long; returns how many there were."""
    kills = pauses = 0
    end = time.monotonic() + seconds
    kill_at = time.monotonic() + KILL_EVERY_S / 2
    while time.monotonic() < end:
        if time.monotonic() > kill_at:
            c.kill(c.wait_master())
            c.wait_master()
            kill_at = time.monotonic() + KILL_EVERY_S
            kills += 1
        # Holds are of a second or less: any moment of one will do.
        wait_some(rng.uniform(0, 1))
        pauses += pause(c, rng)
    return kills, pauses


def history_of(database):
    with sqlite3.connect(database) as db:
        return db.execute("SELECT name, value, token FROM history ORDER BY number").fetchall()


def last_job(c, database):
    """One undisturbed job in the end; its token."""
    r = subprocess.run(command(database), env=environment(c), capture_output=True, text=True,
                       timeout=60)
    assert r.returncode == 0, f"status {r.returncode}: {r.stderr}"
    written = [(int(t), row, what) for t, row, what in map(str.split, r.stdout.splitlines())]
    return written, written[0][0]


def jobs(arguments):
    rng = random.Random(arguments.seed)
    with cells.Cell() as c:
        database = os.path.join(c.data, "results.db")
        contenders = [Contender(c, i, database) for i in range(CONTENDERS)]
        for contender in contenders:
            contender.start()
        cells.wait_for("the first job", lambda: any(k.statuses[0] for k in contenders), 60)
        kills, pauses = disturb(c, rng, arguments.seconds)
        acknowledged, errors = [], ""
        for contender in contenders:
            written, err = contender.finish()
            acknowledged += written
            errors += err
        written, token = last_job(c, database)
        statuses = sum((k.statuses for k in contenders), collections.Counter())
        table = history_of(database)
        refused = errors.count("fenced_write: refused")
        print(f"     {arguments.seconds:.0f} s, {kills} masters killed, {pauses} jobs paused "
              f"beyond their lease: {statuses[0]} jobs done, {statuses[3]} turned away, "
              f"{statuses[76]} stopped by `chubby lock`\n     {len(table)} writes in the table, "
              f"{refused} stale ones refused", flush=True)
        assert set(statuses) <= STATUSES, f"{dict(statuses)}: {errors[-2000:]}"
        complaints = nightly.judge(table, acknowledged + written, PARTS, token)
        assert not complaints, "\n".join(complaints[:20])
        assert kills > 0 and pauses > 0 and refused > 0, "nothing was tried"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    print(f"     repeat with: {os.path.basename(__file__)} --seconds {arguments.seconds} "
          f"--seed {arguments.seed}", flush=True)

    def test():
        """a job under a lock writes into a fenced table: no stale write, whatever is killed or \
stopped"""
        jobs(arguments)
    cells.run(test)


if __name__ == "__main__":
    main()
