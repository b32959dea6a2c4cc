"""A cell of real daemons, each where the world (world.py) put it, started again when it ends."""
import json
import mmap
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import cell as cells
import world

SHIM = os.path.join(cells.BUILD, "test", "chaos", "libchaos_shim.so")
COUNT = 5
# Beyond what a daemon leaves free when it fetches a snapshot (daemon/store/receipt.c).
DISK_BYTES = 160 << 20
RESTART_AFTER_S = 0.5
OPTIONS = ["--insecure-plaintext-beyond-loopback", "yes",
           # An early trim: who was away comes back by log or by snapshot.
           "--keep-slots", "2000"]


class Control:
    """What shim.c does to one daemon."""

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(24))
        with open(path, "r+b") as f:
            self.page = mmap.mmap(f.fileno(), 24)

    def put(self, field, number):
        struct.pack_into("<q", self.page, field * 8, int(number))

    def wall_ahead(self, seconds):
        self.put(0, seconds * 1e9)

    def sync_takes(self, seconds):
        self.put(1, seconds * 1e9)

    def sync_fails(self, times):
        self.put(2, times)


class Replica:
    def __init__(self, number, directory):
        self.number = number
        self.data = os.path.join(directory, str(number))
        self.log = os.path.join(directory, f"log-{number}")
        self.control = Control(os.path.join(directory, f"control-{number}"))
        self.process = None
        self.held = False           # is not to be started
        self.killed = set()         # pids that were killed by a fault
        self.starts_at = 0.0
        self.excused_until = 0.0    # a fault is the reason if it gives up before


class ChaosCell(cells.Cell):
    """Like cells.Cell, but without `chubbyd dev`: each replica is a process of this one."""

    def __init__(self, network):
        self.replicas = COUNT
        self.network = network
        self.data = tempfile.mkdtemp(prefix="chubby-chaos-")
        os.chmod(self.data, 0o755)
        base = 0 if network else cells.free_base(COUNT)
        self.addresses = [
            (f"{world.address(i)}:7401", f"{world.address(i)}:7501") if network else
            (f"127.0.0.1:{base + i}", f"127.0.0.1:{base + 100 + i}") for i in range(1, COUNT + 1)]
        self.servers = ",".join(client for client, _ in self.addresses)
        self.env = dict(os.environ, CHUBBY_SERVERS=self.servers, CHUBBY_CELL="local")
        self.all = {i: Replica(i, self.data) for i in range(1, COUNT + 1)}
        self.complaints = []
        self.gave_up = 0            # daemons that ended by themselves, as a fault allows
        self.mutex = threading.Lock()
        self.over = threading.Event()
        self.supervisor = threading.Thread(target=self.supervise, daemon=True)
        self.make()

    def make(self):
        command = [cells.CHUBBYD, "init", "--cell", "local", "--out",
                   os.path.join(self.data, "made")]
        for i, (client, peer) in enumerate(self.addresses, 1):
            command += ["--replica", f"{i}={client},{peer}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for i, replica in self.all.items():
            made = os.path.join(self.data, "made", str(i))
            if not self.network:
                os.rename(made, replica.data)
                continue
            os.mkdir(replica.data, 0o700)
            world.run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none",
                      replica.data)
            for name in os.listdir(made):
                shutil.copy2(os.path.join(made, name), replica.data)
        shutil.rmtree(os.path.join(self.data, "made"))

    # -- processes ---------------------------------------------------------------------------

    def start(self):
        for replica in self.all.values():
            self.spawn(replica)
        self.supervisor.start()
        self.wait_master()

    def spawn(self, replica):
        command = [cells.CHUBBYD, "run", "--data", replica.data, *OPTIONS]
        if self.network:
            command = self.network.inside(replica.number) + command
        with open(replica.log, "ab") as log:
            replica.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(self.env, LD_PRELOAD=SHIM, CHAOS_CONTROL=replica.control.path))

    def supervise(self):
        while not self.over.wait(0.02):
            with self.mutex:
                for replica in self.all.values():
                    self.look_after(replica)

    def look_after(self, replica):
        now = time.monotonic()
        if replica.process is None:
            if not replica.held and now >= replica.starts_at:
                self.spawn(replica)
            return
        status = replica.process.poll()
        if status is None:
            return
        if status != -signal.SIGKILL or replica.process.pid not in replica.killed:
            if status >= 0 and now < replica.excused_until:
                self.gave_up += 1
            else:
                self.complaints.append(f"replica {replica.number} ended with status {status}: "
                                       f"{self.last_words(replica)}")
        replica.process = None
        replica.starts_at = now + RESTART_AFTER_S

    def last_words(self, replica):
        with open(replica.log, errors="replace") as f:
            return "".join(f.readlines()[-3:]).strip()

    def stop(self):
        """Gracefully; complains of a replica that does not."""
        self.over.set()
        if self.supervisor.is_alive():
            self.supervisor.join()
        running = [r for r in self.all.values() if r.process is not None]
        for replica in running:
            replica.process.send_signal(signal.SIGCONT)
            replica.process.terminate()
        for replica in running:
            try:
                status = replica.process.wait(20)
                if status != 0:
                    self.complaints.append(f"replica {replica.number} stopped with status "
                                           f"{status}: {self.last_words(replica)}")
            except subprocess.TimeoutExpired:
                self.complaints.append(f"replica {replica.number} did not stop within 20 s")
                replica.process.kill()
                replica.process.wait()
            replica.process = None

    def pid(self, replica):
        """Of a running one; None otherwise."""
        process = self.all[replica].process
        return process.pid if process is not None and process.poll() is None else None

    def signal(self, replica, number):
        with self.mutex:
            pid = self.pid(replica)
            if pid is None:
                return
            if number == signal.SIGKILL:
                self.all[replica].killed.add(pid)
            os.kill(pid, number)

    def kill(self, replica):
        self.signal(replica, signal.SIGKILL)

    def hold(self, replica, held):
        with self.mutex:
            self.all[replica].held = held
            self.all[replica].starts_at = 0.0

    def excuse(self, replica, seconds):
        r = self.all[replica]
        r.excused_until = max(r.excused_until, time.monotonic() + seconds)

    def leave(self, keep):
        """What is on the disks of the replicas goes with the world: it is brought to where it
        outlives that, or all of the directory goes."""
        for replica in self.all.values() if self.network else []:
            if keep:
                shutil.copytree(replica.data, os.path.join(self.data, f"kept-{replica.number}"),
                                ignore=shutil.ignore_patterns("ballast"))
            world.run("umount", "--lazy", replica.data)
            os.rmdir(replica.data)
        if not keep:
            shutil.rmtree(self.data)


class Monitor(threading.Thread):
    """Looks at the cell all the time: who is master, and whether digests of equal revisions are
    equal."""

    def __init__(self, c):
        super().__init__(daemon=True)
        self.c = c
        self.over = threading.Event()
        self.master = None
        self.masters = 0            # how often another one was seen
        self.serving = {}           # replica -> when it last was seen to be master or follower
        self.seen = {}              # revision -> (digest, replica)
        self.compared = 0
        self.complaints = []

    def run(self):
        while not self.over.wait(0.5):
            try:
                self.take(self.c.status())
            except (AssertionError, subprocess.TimeoutExpired, json.JSONDecodeError) as e:
                print(f"     status: {e}", file=sys.stderr)

    def take(self, status):
        master = status["master"]["id"] if status.get("master") else None
        if master is not None and master != self.master:
            self.masters += 1
            self.master = master
        for r in status["replicas"]:
            if r["state"] in ("master", "follower"):
                self.serving[r["id"]] = time.monotonic()
            if not r.get("digest"):
                continue
            digest, other = self.seen.setdefault(r["revision"], (r["digest"], r["id"]))
            if other != r["id"]:
                self.compared += 1
            if digest != r["digest"]:
                self.complaints.append(f"at revision {r['revision']} the digest of replica "
                                       f"{other} is {digest}, that of {r['id']} {r['digest']}")

    def stop(self):
        self.over.set()
        self.join(60)
