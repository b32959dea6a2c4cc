"""A client dies while it holds a lock, and masters die as well: when is the lock free?

usage: dead_client_test.py [--failovers N] [--seed N]
"""
import argparse
import os
import random
import signal
import subprocess
import threading
import time

import cell as cells
import dead_client
import history as histories

PATH = "/ls/local/lock-held"
LOCK = "held"


class Client:
    """A process that takes the lock and holds it (holder.c)."""

    def __init__(self, c, name, lease_s=None, lock_delay_s=None):
        self.file = os.path.join(c.data, name)
        command = [os.path.join(cells.BUILD, "test", "cell", "holder"), "--servers", c.servers,
                   "--history", self.file, "--path", PATH]
        if lease_s is not None:
            command += ["--lease-ms", str(int(lease_s * 1000))]
        if lock_delay_s is not None:
            command += ["--lock-delay-ms", str(int(lock_delay_s * 1000))]
        self.process = subprocess.Popen(command)

    def events(self, name):
        """[(seconds, {key: value})]"""
        if not os.path.exists(self.file):
            return []
        with open(self.file) as f:
            lines = [line.split() for line in f if line.endswith("\n")]
        return [(int(w[0]) / 1e9, dict(pair.split("=", 1) for pair in w[2:]))
                for w in lines if w[1] == name]

    def wait_granted(self, seconds):
        cells.wait_for("a grant", lambda: self.events("got") or self.process.poll() is not None,
                       seconds)
        assert self.events("got"), "the client gave up"
        return self.events("got")[0]

    def session(self):
        return int(self.events("session")[0][1]["id"])

    def lease_end(self):
        when, values = self.events("lease")[-1]
        return when + int(values["left_ms"]) / 1000


def token_of(values):
    return int(values["seq"].split(":")[4])


def session_end(samples, session):
    """The last moment at which the listings show that it holds the lock, and the first at which
    they show that it does not."""
    there = gone = None
    for sample in samples:
        if any(holder == session for holder, _, _ in sample.holders):
            assert gone is None, "a session that had ended holds the lock again"
            there = sample.began / 1e9
        elif there is not None and gone is None:
            gone = sample.ended / 1e9
    assert there is not None and gone is not None, "the session's end was not seen"
    return there, gone


def fail_over(c):
    master = c.wait_master()
    old = c.pid(master)
    killed = time.monotonic()
    c.kill(master)
    c.wait_master(other_than=master)
    serving = time.monotonic()
    cells.wait_for("the return of the dead", lambda: c.pid(master) != old and all(
        r["state"] in ("master", "follower") for r in c.status()["replicas"]), 20)
    return dead_client.Failover(killed, serving)


def wait_until(moment):
    cells.wait_for("a moment", lambda: time.monotonic() >= moment, 120, 0.05)


def die(c, lease_s, lock_delay_s, failovers=0, every_s=0.0):
    """One client holds the lock, another waits for it; the first is killed. Times of None are the
    defaults of the library."""
    holder = Client(c, f"holder-{lease_s}", lease_s, lock_delay_s)
    _, granted = holder.wait_granted(20)
    waiter = Client(c, f"waiter-{lease_s}")
    cells.wait_for("the waiter in the queue",
                   lambda: any(x["waiter_count"] == 1 for x in c.locks(PATH)))
    cells.wait_for("a renewed lease", lambda: len(holder.events("lease")) > 1, 30)
    sampler = histories.Sampler(c.servers)
    try:
        holder.process.send_signal(signal.SIGKILL)
        holder.process.wait()
        died = time.monotonic()
        seen = []
        for i in range(failovers):
            wait_until(died + i * every_s)
            seen.append(fail_over(c))
        got, next_grant = waiter.wait_granted(120)
    finally:
        samples = sampler.stop()
    there, gone = session_end(samples, holder.session())
    death = dead_client.Death(
        died, 12.0 if lease_s is None else lease_s, 15.0 if lock_delay_s is None else lock_delay_s,
        holder.lease_end(), there, gone, got, token_of(granted), token_of(next_grant), seen)
    assert c.chubby("check", granted["seq"], check=False).returncode == 3
    assert c.chubby("check", next_grant["seq"], check=False).returncode == 0
    waiter.process.terminate()
    assert waiter.process.wait(20) == 0
    print(f"     lease {death.lease:.0f} s, lock-delay {death.lock_delay:.0f} s, {len(seen)} "
          f"failovers in {seen[-1].serving - died if seen else 0:.0f} s: session ended "
          f"{gone - died:.1f} s after the death (its own lease: {death.lease_end - died:.1f} s, "
          f"bound: {dead_client.latest_end(died, death.lease, seen) - died:.1f} s), lock granted "
          f"{got - gone:.1f} s later", flush=True)
    complaints = dead_client.judge(death)
    assert not complaints, complaints
    return death


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--failovers", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    every_s = 5.0 + rng.random()
    print(f"     repeat with: {os.path.basename(__file__)} --seed {arguments.seed}", flush=True)
    trouble = []
    started = threading.Event()  # two cells that look for free ports at once would find the same

    def defaults():
        try:
            with cells.Cell(replicas=3) as c:
                started.set()
                die(c, None, None)
        except Exception as e:  # told by the test that waits for it
            started.set()
            trouble.append(e)

    # Nothing but time passes in it: it runs beside the others.
    beside = threading.Thread(target=defaults)

    def slow_failovers():
        """a client is dead while masters change every few seconds: its session ends in the bound"""
        beside.start()
        started.wait()
        with cells.Cell() as c:
            death = die(c, None, 2, arguments.failovers, every_s)
            # A lease that each new master began anew would outlive them all.
            assert death.gone < death.failovers[-1].killed, "the session outlived the failovers"

    def quick_failovers():
        """the same with masters that live too short to leave a mark, and a short lease"""
        with cells.Cell() as c:
            die(c, 1, 1, arguments.failovers)

    def no_failover():
        """default lease and lock-delay: free after both, and not before"""
        beside.join()
        if trouble:
            raise trouble[0]

    cells.run(slow_failovers, quick_failovers, no_failover)


if __name__ == "__main__":
    main()
