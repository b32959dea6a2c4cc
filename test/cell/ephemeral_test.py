"""Ephemeral nodes of real clients: there while one handle is open, whoever is master; then gone."""
import json
import os
import subprocess
import time

import cell as cells

SEVERAL = os.path.join(cells.BUILD, "test", "cell", "several")
PATH = "/ls/local/e"
KILLS = 4
LEASE_S = 5.0  # that its sessions ask for


class Client:
    """A session that has the node open by some handles and does nothing with them."""

    def __init__(self, c, handles=1):
        self.process = subprocess.Popen([SEVERAL, "ephemeral", PATH, str(handles)], env=c.env,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.handles() == handles

    def handles(self):
        return json.loads(self.process.stdout.readline())["open"]

    def close_one(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.handles()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0

    def crash(self):
        self.process.kill()
        self.process.wait()


def there(c):
    r = c.chubby("stat", PATH, check=False)
    assert r.returncode in (0, 2), r
    return r.returncode == 0


def gone(c, seconds=10):
    cells.wait_for("the node to go", lambda: not there(c), seconds)


def kill_master(c):
    victim = c.wait_master()
    old = c.pid(victim)
    c.kill(victim)
    cells.wait_for("the dead replica's return", lambda: c.pid(victim) != old and all(
        r["state"] in ("master", "follower") for r in c.status()["replicas"]), 20)
    c.wait_master()


def unused_handle():
    """a handle that is never used keeps its node through kills of the master, beyond its lease"""
    with cells.Cell() as c:
        client = Client(c)
        began = time.monotonic()
        for _ in range(KILLS):
            kill_master(c)
            assert there(c), "gone after a failover"
        cells.wait_for("two leases", lambda: time.monotonic() - began > 2 * LEASE_S, 30, 0.2)
        assert there(c), "gone after a lease"
        assert client.close_one() == 0
        gone(c)
        client.end()
        c.wait_alike()


def two_handles():
    """of two handles of a session each keeps the node, also at a master that saw neither"""
    with cells.Cell() as c:
        client = Client(c, handles=2)
        kill_master(c)
        assert client.close_one() == 1
        assert there(c), "gone with one handle open"
        kill_master(c)
        assert there(c), "gone with one handle open, after a failover"
        assert client.close_one() == 0
        gone(c)
        client.end()


def two_sessions():
    """two sessions keep it: one goes, and it stays; the last goes, and so does it"""
    with cells.Cell() as c:
        one, two = Client(c), Client(c)
        kill_master(c)
        one.end()
        assert there(c), "gone with the first session"
        kill_master(c)
        assert there(c), "gone with the first session, after a failover"
        two.end()
        gone(c)
        c.wait_alike()


def crash():
    """a client that dies takes its node along when its lease is over, and not before"""
    with cells.Cell() as c:
        client = Client(c)
        kill_master(c)
        client.crash()
        began = time.monotonic()
        assert there(c), "gone at once"
        # A KeepAlive may have been answered just before: then the whole lease is left.
        gone(c, LEASE_S + 10)
        print(f"     gone {time.monotonic() - began:.1f} s after the crash")
        c.wait_alike()


if __name__ == "__main__":
    cells.run(unused_handle, two_handles, two_sessions, crash)
