"""Histories of clients (history.h), and what the master listed of the queues meanwhile."""
import glob
import os
import threading
import time


class Claim:
    """One claim of a client on a lock, from the call to its end. Times are ns; None: never."""

    def __init__(self, client, session, lock, mode, how, asked):
        self.client = client
        self.session = session
        self.lock = lock
        self.mode = mode        # "x" or "s"
        self.how = how
        self.asked = asked
        self.got = None         # it is held from here
        self.freed_by = None    # until here: the moment before it was given up
        self.over = None        # the call or the release returned
        self.refusal = None     # the code, if it was not granted
        self.grant = None       # (revision, index): the order of grants in the cell
        self.token = None
        self.instance = None
        self.saw = []           # [(time, counter)] under a shared hold
        self.ticket = None      # the place in the queue, where the master's list showed it

    def __str__(self):
        return (f"client {self.client} {self.mode} on {self.lock} ({self.how}): asked {self.asked}"
                f", got {self.got}, freed {self.freed_by}, grant {self.grant}, token {self.token},"
                f" ticket {self.ticket}")


class History:
    """Of all clients of one run. `trouble` is what no history may contain."""

    def __init__(self):
        self.claims = []
        self.counted = []       # (file, number, token, client, time)
        self.checks = {}        # (held, code) -> how often
        self.news = []          # (client, event, reason, time)
        self.answered = {}      # client -> times at which something was acknowledged
        self.trouble = []
        self.clients = 0

    def read(self, path):
        self.clients += 1
        Reader(self, os.path.basename(path), path).read()

    def held(self):
        return [c for c in self.claims if c.got is not None]


class Reader:
    """Reads one client's file."""

    def __init__(self, history, client, path):
        self.history = history
        self.client = client
        self.path = path
        self.session = None
        self.open = {}          # lock -> the claim that is not over

    def complain(self, what):
        self.history.trouble.append(f"client {self.client}: {what}")

    def read(self):
        ended = False
        with open(self.path) as f:
            for line in f:
                words = line.split()
                values = dict(w.split("=", 1) for w in words[2:])
                handler = getattr(self, "on_" + words[1], None)
                if words[1] == "end":
                    ended = True
                elif handler is None:
                    self.complain(f"unknown event: {line.strip()}")
                else:
                    handler(int(words[0]), **values)
        if not ended:
            self.complain("its history has no end")
        for claim in self.open.values():
            self.complain(f"a claim without end: {claim}")

    def answered(self, when):
        self.history.answered.setdefault(self.client, []).append(when)

    def claim(self, lock, event):
        if lock not in self.open:
            self.complain(f"{event} without a claim on {lock}")
        return self.open.get(lock)

    def on_session(self, when, id):
        self.session = int(id)
        self.answered(when)

    def on_ask(self, when, lock, mode, how):
        if lock in self.open:
            self.complain(f"two claims at once on {lock}")
        claim = Claim(self.client, self.session, lock, mode, how, when)
        self.open[lock] = claim
        self.history.claims.append(claim)

    def on_got(self, when, lock, seq):
        claim = self.claim(lock, "got")
        if claim is None:
            return
        _, mode, instance, grant, token, _, _ = seq.split(":", 6)
        claim.got = when
        claim.grant = tuple(int(n) for n in grant.split("."))
        claim.token = int(token)
        claim.instance = int(instance)
        if mode != claim.mode:
            self.complain(f"asked for {claim.mode}, got {mode}: {claim}")
        self.answered(when)

    def on_not(self, when, lock, code):
        claim = self.claim(lock, "not")
        if claim is None:
            return
        claim.refusal = code
        claim.over = when
        del self.open[lock]

    def on_free(self, when, lock, how):
        claim = self.claim(lock, "free")
        if claim is not None:
            claim.freed_by = when

    def on_freed(self, when, lock):
        claim = self.claim(lock, "freed")
        if claim is not None:
            claim.over = when
            del self.open[lock]
            self.answered(when)

    def on_counted(self, when, file, n, token):
        self.history.counted.append((file, int(n), int(token), self.client, when))
        self.answered(when)

    def on_saw(self, when, lock, n):
        claim = self.claim(lock, "saw")
        if claim is not None:
            claim.saw.append((when, int(n)))
            self.answered(when)

    def on_checked(self, when, lock, held, code):
        key = (held == "1", code)
        self.history.checks[key] = self.history.checks.get(key, 0) + 1
        self.answered(when)

    def on_ephemeral(self, when, instance):
        self.answered(when)

    def on_news(self, when, event, reason):
        self.history.news.append((self.client, event, reason, when))
        if event == "expired" and reason != "CANCELLED":
            self.complain(f"its session expired: {reason}")

    def on_error(self, when, what, code):
        self.complain(f"{what}: {code}")


def read_all(directory):
    """The history of all clients that wrote into the directory."""
    history = History()
    for path in sorted(glob.glob(os.path.join(directory, "*"))):
        history.read(path)
    return history


class Progress:
    """Follows the files while they grow: how often each client was granted a lock by now."""

    def __init__(self, directory):
        self.directory = directory
        self.files = {}
        self.grants = {}

    def update(self):
        for path in glob.glob(os.path.join(self.directory, "*")):
            name = os.path.basename(path)
            if name not in self.files:
                self.files[name] = open(path)
                self.grants[name] = 0
            self.grants[name] += self.files[name].read().count(" got ")
        return dict(self.grants)

    def close(self):
        for f in self.files.values():
            f.close()


class Sample:
    """One listing of the locks: at some moment between `began` and `ended` a lock was so."""

    def __init__(self, began, ended, lock, waiters, holders=()):
        self.began = began
        self.ended = ended
        self.lock = lock
        self.waiters = waiters  # [(session, handle, ticket, mode)] in the order of the queue
        self.holders = holders  # [(session, handle, token)]


class Sampler:
    """Asks the master for its locks again and again, in a thread, until it is stopped."""

    def __init__(self, servers, prefix="/ls/local/lock-", interval=0.01):
        import raw  # the only user of gRPC here: a history can be checked without
        self.raw = raw
        self.servers = servers
        self.prefix = prefix
        self.interval = interval
        self.samples = []
        self.asked = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def stop(self):
        self.over.set()
        self.thread.join()
        return self.samples

    def run(self):
        connection = None
        while not self.over.is_set():
            if connection is None:
                try:
                    connection = self.raw.Raw(self.raw.master_of(self.servers))
                except AssertionError:
                    continue
            if not self.sample(connection):
                connection.close()
                connection = None
            self.over.wait(self.interval)
        if connection is not None:
            connection.close()

    def sample(self, connection):
        began = time.monotonic_ns()
        outcome = connection.call("ListLocks", self.raw.admin_pb.ListLocksRequest(limit=64),
                                  service="Admin", timeout=1.0)
        ended = time.monotonic_ns()
        if outcome.code != "OK":
            return False
        self.asked += 1
        for lock in outcome.reply.locks:
            if lock.path.startswith(self.prefix):
                waiters = [(w.session_id, w.handle_number, w.ticket,
                            "s" if w.mode == self.raw.pb.LOCK_SHARED else "x")
                           for w in lock.waiters]
                holders = [(h.session_id, h.handle_number, h.fencing_token) for h in lock.holders]
                self.samples.append(Sample(began, ended, lock.path[len(self.prefix):], waiters,
                                           holders))
        return True
