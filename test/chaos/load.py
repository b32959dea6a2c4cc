"""Clients of a cell under chaos, and what is demanded of what they saw.

  storm    clients that use every feature of locks and files (../cell/storm.c), judged by
           ../cell/storm_check.py
  jobs     processes under `chubby lock` that write into a fenced table, some of them stopped beyond
           their lease, judged by ../cell/nightly.py
  deaths   holders of a lock that are killed, one after the other: the next is not granted it before
           lease and lock-delay are over
"""
import collections
import os
import random
import subprocess
import threading
import time

import cell as cells
import dead_client
import dead_client_test
import history as histories
import nightly
import nightly_test
import storm_check
import storm_test

JOBS = 2
LEASE_S, LOCK_DELAY_S = 2.0, 3.0    # of holders that die
PATIENCE_S = 60.0
# `chubby lock` may also find nobody who serves it, or not in time.
STATUSES = nightly_test.STATUSES | {69, 75}


class Storm:
    def __init__(self, c, clients, seed, interval_s):
        self.c = c
        self.directory = os.path.join(c.data, "histories")
        self.clients = storm_test.start_clients(c, clients, self.directory, seed)
        self.progress = histories.Progress(self.directory)
        self.sampler = histories.Sampler(c.servers, interval=interval_s)
        self.complaints = []
        self.samples = []
        self.figures = {}

    def grants(self):
        return sum(self.progress.update().values())

    def gone(self):
        return [i for i, p in enumerate(self.clients) if p.poll() is not None]

    def everybody_goes_on(self):
        storm_test.everybody_goes_on(self.progress, len(self.clients))

    def stop(self):
        self.samples = self.sampler.stop()
        self.complaints += storm_test.stop_clients(self.clients)
        self.progress.close()

    def judge(self):
        """Returns the complaints."""
        history = histories.read_all(self.directory)
        finals = storm_test.finals_of(self.c, len(self.clients), storm_test.LOCKS)
        self.figures = storm_check.figures(history)
        self.figures["operations"] = sum(map(len, history.answered.values()))
        try:
            storm_check.check(history, self.samples, finals)
        except AssertionError as e:
            return self.complaints + [str(e)]
        return self.complaints


class Jobs:
    """Contenders for a nightly job, and who stops them."""

    def __init__(self, c, seed):
        self.c = c
        self.rng = random.Random(f"{seed}/jobs")
        self.database = os.path.join(c.data, "results.db")
        self.contenders = [nightly_test.Contender(c, i, self.database) for i in range(JOBS)]
        self.pauses = 0
        self.refused = 0
        self.writes = 0
        self.over = threading.Event()
        self.pauser = threading.Thread(target=self.pause, daemon=True)

    def start(self):
        for contender in self.contenders:
            contender.start()
        self.pauser.start()

    def pause(self):
        while not self.over.wait(self.rng.uniform(2, 6)):
            try:
                self.pauses += nightly_test.pause(self.c, self.rng)
            except (AssertionError, subprocess.TimeoutExpired):
                continue        # nobody took over just then, or nobody told of holders

    def stop(self):
        self.over.set()
        self.pauser.join(120)

    def judge(self):
        acknowledged, errors, complaints = [], "", []
        for contender in self.contenders:
            written, err = contender.finish()
            acknowledged += written
            errors += err
        written, token = nightly_test.last_job(self.c, self.database)
        table = nightly_test.history_of(self.database)
        statuses = sum((k.statuses for k in self.contenders), collections.Counter())
        # One that is stopped in the middle of a write holds up the other one at the table's file.
        statuses[1] -= errors.count("database is locked")
        if not set(+statuses) <= STATUSES:
            complaints.append(f"jobs ended with {dict(statuses)}: {errors[-2000:]}")
        self.refused = errors.count("fenced_write: refused")
        self.writes = len(table)
        return complaints + nightly.judge(table, acknowledged + written, nightly_test.PARTS,
                                          token)[:storm_check.MOST]


class Deaths:
    """A holder is killed while another one waits, which is the next holder, and so on."""

    def __init__(self, c, seed, sampler):
        self.c = c
        self.rng = random.Random(f"{seed}/deaths")
        self.sampler = sampler
        self.count = 0
        self.died = 0
        self.complaints = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()

    def client(self):
        self.count += 1
        return dead_client_test.Client(self.c, f"holder-{self.count}", LEASE_S, LOCK_DELAY_S)

    def run(self):
        holder = self.client()
        try:
            holder.wait_granted(PATIENCE_S)
            while not self.over.is_set():
                holder = self.die(holder)
        except Exception as e:  # told with the rest
            self.complaints.append(f"deaths: {e}")
        finally:
            holder.process.kill()
            holder.process.wait()

    def die(self, holder):
        """Returns the next holder."""
        waiter = self.client()
        try:
            self.over.wait(self.rng.uniform(0.5, 4))
            holder.process.kill()
            holder.process.wait()
            waiter.wait_granted(PATIENCE_S)
        except BaseException:
            waiter.process.kill()
            waiter.process.wait()
            raise
        self.died += 1
        self.judge(holder, waiter)
        return waiter

    def judge(self, holder, waiter):
        _, before = holder.events("got")[0]
        got, after = waiter.events("got")[0]
        lease_end = holder.lease_end()
        asked, _ = waiter.events("ask")[0]
        what = f"session {holder.session()}, then session {waiter.session()}"
        early = lease_end + LOCK_DELAY_S * dead_client.LOCK_DELAY_OF - got
        if early > 0:
            self.complaints.append(f"{what}: granted {early:.2f} s before lease and lock-delay "
                                   f"were over")
        if dead_client_test.token_of(after) <= dead_client_test.token_of(before):
            self.complaints.append(f"{what}: the token did not grow")
        gone = [s.ended / 1e9 for s in list(self.sampler.samples[-4000:])
                if s.lock == dead_client_test.LOCK and s.began / 1e9 > asked and
                not any(session == holder.session() for session, _, _ in s.holders)]
        if gone and gone[0] < lease_end:
            self.complaints.append(f"{what}: the session of the first was over "
                                   f"{lease_end - gone[0]:.2f} s before its lease")

    def stop(self):
        self.over.set()
        self.thread.join(PATIENCE_S)
        if self.thread.is_alive():
            self.complaints.append("deaths: no end")


def wait_until(condition, seconds):
    """How long it took, or None."""
    began = time.monotonic()
    try:
        cells.wait_for("", condition, seconds, 0.05)
    except AssertionError:
        return None
    return time.monotonic() - began
