"""What is done to replicas. A fault begins, lasts, and ends; ending what has ended does no harm."""
import os
import resource
import signal
import subprocess
import sys

WIRE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "wire.py")
# After a fault a replica may still give up because of it.
AFTERWARDS_S = 10.0


class Fault:
    """On replica `victim`, for `seconds`. Subclasses draw what is random about them in draw(): it
    must not depend on what the cell does, so that a seed draws the same again."""
    needs_world = False
    shortest, longest = 0.5, 8.0
    excused = False             # the daemon may give up

    def __init__(self, rng):
        self.words = ""
        self.draw(rng)

    def draw(self, rng):
        pass

    def begin(self, c, victim):
        raise NotImplementedError

    def end(self, c, victim):
        raise NotImplementedError


class Kill(Fault):
    shortest, longest = 0.05, 8.0

    def begin(self, c, victim):
        c.hold(victim, True)
        c.kill(victim)

    def end(self, c, victim):
        c.hold(victim, False)


class Stop(Fault):
    shortest, longest = 0.1, 20.0

    def begin(self, c, victim):
        c.signal(victim, signal.SIGSTOP)

    def end(self, c, victim):
        c.signal(victim, signal.SIGCONT)


class Rules(Fault):
    """Rules of iptables."""
    needs_world = True

    def rules(self, victim):
        raise NotImplementedError

    def begin(self, c, victim):
        for rule in self.rules(victim):
            c.network.rule(victim, "-A", *rule)

    def end(self, c, victim):
        for rule in self.rules(victim):
            c.network.rule(victim, "-D", *rule)


class Cut(Rules):
    """From all, in one direction or in both; or from one other replica only."""

    def draw(self, rng):
        self.ways = rng.choice([("INPUT",), ("OUTPUT",), ("INPUT", "OUTPUT")])
        self.off = rng.choice([None, None, 1, 2, 3, 4])
        self.words = ("in and out" if len(self.ways) == 2 else
                      "in" if self.ways == ("INPUT",) else "out")
        if self.off:
            self.words += f", one link of four ({self.off} further)"

    def rules(self, victim):
        for way in self.ways:
            rule = [way, "-i" if way == "INPUT" else "-o", "eth0"]
            if self.off:
                other = (victim - 1 + self.off) % 5 + 1
                rule += ["-s" if way == "INPUT" else "-d", f"10.77.0.{other}"]
            yield rule + ["-j", "DROP"]


class Loss(Rules):
    shortest, longest = 1.0, 10.0

    def draw(self, rng):
        self.share = rng.choice([0.02, 0.05, 0.1, 0.2, 0.3])
        self.words = f"{self.share * 100:.0f} % both ways"

    def rules(self, victim):
        for way in ("INPUT", "OUTPUT"):
            yield [way, "-i" if way == "INPUT" else "-o", "eth0", "-m", "statistic", "--mode",
                   "random", "--probability", str(self.share), "-j", "DROP"]


class Slow(Fault):
    needs_world = True
    shortest, longest = 1.0, 10.0

    def draw(self, rng):
        self.kbit = rng.choice([64, 256, 1000, 4000])
        self.words = f"{self.kbit} kbit/s out"

    def begin(self, c, victim):
        c.network.slow(victim, self.kbit)

    def end(self, c, victim):
        c.network.fast(victim)


class Delay(Fault):
    """By a wire of our own (wire.py)."""
    needs_world = True
    shortest, longest = 1.0, 10.0

    def draw(self, rng):
        self.delay_ms = rng.choice([2, 10, 50, 200])
        self.jitter_ms = rng.choice([0, 1, 5])
        self.reorder = rng.choice([0, 0.05, 0.3])
        self.duplicate = rng.choice([0, 0.05])
        self.words = (f"{self.delay_ms} ms and up to {self.jitter_ms}, {self.reorder * 100:.0f} % "
                      f"out of order, {self.duplicate * 100:.0f} % twice")
        self.wire = None

    def begin(self, c, victim):
        c.network.take_off(victim)
        self.wire = subprocess.Popen([sys.executable, WIRE, f"v{victim}", f"w{victim}", *map(
            str, (self.delay_ms, self.jitter_ms, self.reorder, self.duplicate))])

    def end(self, c, victim):
        self.wire.terminate()
        self.wire.wait()
        c.network.put_back(victim)


class Full(Fault):
    """The disk of the replica has no byte left."""
    needs_world = True
    excused = True

    def begin(self, c, victim):
        path = os.path.join(c.all[victim].data, "ballast")
        room = os.statvfs(c.all[victim].data)
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(fd, 0, room.f_bavail * room.f_frsize)
        except OSError:
            pass                # the daemon was faster: as full
        finally:
            os.close(fd)

    def end(self, c, victim):
        os.unlink(os.path.join(c.all[victim].data, "ballast"))


class Disk(Fault):
    """Each sync takes long; or some fail."""
    excused = True

    def draw(self, rng):
        self.takes = rng.choice([0.005, 0.05, 0.5, 3.0, 0.0])
        self.fails = rng.choice([1, 2, 5]) if self.takes == 0.0 else 0
        self.words = f"{self.fails} syncs fail" if self.fails else f"a sync takes {self.takes} s"

    def begin(self, c, victim):
        c.all[victim].control.sync_takes(self.takes)
        c.all[victim].control.sync_fails(self.fails)

    def end(self, c, victim):
        c.all[victim].control.sync_takes(0)
        c.all[victim].control.sync_fails(0)


class Clock(Fault):
    """The wall clock is stepped, and stepped back."""

    def draw(self, rng):
        self.ahead = rng.choice([-3600, -60, -1.5, 1.5, 60, 3600])
        self.words = f"{self.ahead:+} s"

    def begin(self, c, victim):
        c.all[victim].control.wall_ahead(self.ahead)

    def end(self, c, victim):
        c.all[victim].control.wall_ahead(0)


class Descriptors(Fault):
    """No new descriptor is to be had."""
    excused = True

    def draw(self, rng):
        self.before = None

    def begin(self, c, victim):
        with c.mutex:
            self.pid = c.pid(victim)
            if self.pid is None:
                return
            self.before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (4, self.before[1]))

    def end(self, c, victim):
        with c.mutex:
            if self.before is not None and c.pid(victim) == self.pid:
                resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self.before)


KINDS = {"kill": Kill, "stop": Stop, "cut": Cut, "loss": Loss, "slow": Slow, "delay": Delay,
         "full": Full, "disk": Disk, "clock": Clock, "descriptors": Descriptors}
# What may befall a majority: the cell stands still for a moment.
OF_MANY = ("kill", "stop", "cut", "full", "clock")
