"""A real cell for tests: chubbyd dev on loopback in a directory of its own.

Environment: CHUBBY_BUILD, the build directory.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BUILD = os.environ.get("CHUBBY_BUILD", "build")
CHUBBYD = os.path.join(BUILD, "daemon", "chubbyd")
CHUBBY = os.path.join(BUILD, "cli", "chubby")
WORKER = os.path.join(BUILD, "test", "cell", "worker")


def free_base(count):
    """A base port such that BASE+1.. with the offsets 0, 100 and 200 are free."""
    for base in range(20000 + os.getpid() % 200 * 40, 60000, 400):
        sockets = []
        try:
            for i in range(1, count + 1):
                for offset in (0, 100, 200):
                    s = socket.socket()
                    sockets.append(s)
                    s.bind(("127.0.0.1", base + offset + i))
            return base
        except OSError:
            continue
        finally:
            for s in sockets:
                s.close()
    raise RuntimeError("no free ports")


def wait_for(what, condition, seconds=30.0, interval=0.02):
    """Polls the condition until it holds; fails with `what` after the deadline."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        pause.wait(interval)


class Cell:
    def __init__(self, replicas=5, options=()):
        self.replicas = replicas
        self.options = list(options)
        self.data = tempfile.mkdtemp(prefix="chubby-cell-")
        self.base = free_base(replicas)
        self.servers = ",".join(f"127.0.0.1:{self.base + i}" for i in range(1, replicas + 1))
        self.env = dict(os.environ, CHUBBY_SERVERS=self.servers, CHUBBY_CELL="local")
        self.process = None
        self.stopped = set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stop()
        if kind is None:
            shutil.rmtree(self.data, ignore_errors=True)
        else:
            print(f"the cell's directory is kept: {self.data}", file=sys.stderr)
            for i in range(1, self.replicas + 1):
                path = os.path.join(self.data, str(i), "log")
                if os.path.exists(path):
                    with open(path, errors="replace") as f:
                        print(f"-- replica {i}\n" + "".join(f.readlines()[-15:]),
                              file=sys.stderr)

    def start(self):
        self.process = subprocess.Popen(
            [CHUBBYD, "dev", "--data", self.data, "--replicas", str(self.replicas), "--port",
             str(self.base)] + (["--"] + self.options if self.options else []),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self.wait_master()
        except BaseException:  # nobody would stop it: __exit__ is for what was entered
            self.stop()
            raise

    def stop(self):
        if self.process is None:
            return
        for i in list(self.stopped):
            self.resume(i)
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("chubbyd dev did not stop within 30 s")
        finally:
            self.process = None

    # -- the tools ---------------------------------------------------------------------------

    def chubby(self, *arguments, check=True, timeout=60, stdin=None):
        r = subprocess.run([CHUBBY, *arguments], env=self.env, capture_output=True, text=True,
                           timeout=timeout, input=stdin)
        if check and r.returncode != 0:
            raise AssertionError(f"chubby {' '.join(arguments)}: status {r.returncode}: "
                                 f"{r.stdout}{r.stderr}")
        return r

    def status(self):
        r = self.chubby("status", "--json", check=False)
        try:
            return json.loads(r.stdout)
        except ValueError:
            return {"master": None, "replicas": [], "error": r.stderr}

    def master(self):
        m = self.status().get("master")
        return m["id"] if m else None

    def wait_master(self, seconds=30.0, other_than=None):
        def there():
            m = self.master()
            return m if m and m != other_than else None
        return wait_for("a master", there, seconds)

    def wait_alike(self, seconds=60.0):
        """Until all replicas are at one revision with one digest."""
        def alike():
            replicas = self.status()["replicas"]
            if len(replicas) != self.replicas or any(not r.get("digest") for r in replicas):
                return None
            same = len({(r["revision"], r["digest"]) for r in replicas}) == 1
            return replicas if same else None
        return wait_for("equal revisions and digests", alike, seconds, 0.1)

    def locks(self, path=None):
        """What is held or awaited, as `chubby locks --json` says."""
        r = json.loads(self.chubby("locks", "--json").stdout)
        return [x for x in r["locks"] if path is None or x["path"] == path]

    def hold_lock(self, path):
        """A process that holds the lock until it is terminated."""
        p = subprocess.Popen([CHUBBY, "lock", path, "--", "sh", "-c", "sleep 600"], env=self.env,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for("the lock to be held", lambda: any(x["holders"] for x in self.locks(path)))
        return p

    def reader(self, server):
        """Reads /ls/local/a, knowing of one server only."""
        return subprocess.Popen([CHUBBY, "cat", "/ls/local/a", "--servers", server,
                                 "--timeout", "40"], env=self.env, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)

    # -- faults ------------------------------------------------------------------------------

    def pid(self, replica):
        with open(os.path.join(self.data, str(replica), "pid")) as f:
            return int(f.read())

    def kill(self, replica):
        os.kill(self.pid(replica), signal.SIGKILL)

    def pause(self, replica):
        os.kill(self.pid(replica), signal.SIGSTOP)
        self.stopped.add(replica)

    def resume(self, replica):
        self.stopped.discard(replica)
        os.kill(self.pid(replica), signal.SIGCONT)

    def hold_restarts(self):
        """Replicas that die stay dead until allow_restarts()."""
        self.process.send_signal(signal.SIGSTOP)

    def allow_restarts(self):
        self.process.send_signal(signal.SIGCONT)

    def worker(self, number, seconds, mode="both", *more):
        return subprocess.Popen(
            [WORKER, "--servers", self.servers, "--id", str(number), "--seconds", str(seconds),
             "--mode", mode, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(workers, timeout=120):
    """Waits for workers; returns what each counted, and fails with what they complained of."""
    results, complaints = [], []
    for w in workers:
        out, err = w.communicate(timeout=timeout)
        if w.returncode != 0:
            complaints.append(f"status {w.returncode}: {err}")
        if out.strip():
            results.append(json.loads(out.strip().splitlines()[-1]))
    if complaints:
        raise AssertionError("workers failed:\n" + "\n".join(complaints))
    return results


def run(*tests):
    """Runs test functions one after the other; the property is in each one's first line."""
    failed = 0
    for test in tests:
        began = time.monotonic()
        try:
            test()
            print(f"ok   {test.__doc__.strip().splitlines()[0]} "
                  f"({time.monotonic() - began:.1f} s)", flush=True)
        except Exception as e:  # a test must not hide the others
            failed += 1
            print(f"FAIL {test.__doc__.strip().splitlines()[0]}: {e}", flush=True)
    sys.exit(1 if failed else 0)
