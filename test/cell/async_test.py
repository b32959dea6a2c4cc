"""Calls of libchubby that do not wait, against a real cell. CHUBBY_BUILD is the build directory."""
import os
import subprocess

import cell
from cell import Cell, run

ASYNC = os.path.join(cell.BUILD, "test", "cell", "async")


def drive(c, mode, seconds=100):
    r = subprocess.run([ASYNC, mode], env=c.env, capture_output=True, text=True, timeout=seconds)
    if r.returncode != 0:
        raise AssertionError(f"async {mode}: status {r.returncode}: {r.stdout}{r.stderr}")
    return r.stdout


def each_kind():
    """Each kind of call without waiting does what the one that waits does."""
    with Cell(3) as c:
        drive(c, "kinds")


def storm():
    """Hundreds of calls at once from several threads: what is acknowledged is there, once."""
    with Cell(3) as c:
        drive(c, "storm")


def queue():
    """Waiting for a lock: granted in order, cancelled, discarded, poisoned; nothing stays held."""
    with Cell(3) as c:
        drive(c, "queue")
        assert not c.locks(), c.locks()


def ends():
    """A connection that goes with calls outstanding ends each CANCELLED, and tells of each once."""
    with Cell(3) as c:
        drive(c, "ends")


def fork():
    """In a forked child every call says so, none crashes or hangs; the parent does not notice."""
    with Cell(3) as c:
        drive(c, "fork")


def connect():
    """Connecting without waiting: calls wait for it, and get its reason when it fails."""
    with Cell(3) as c:
        drive(c, "connect")


def leaks():
    """Nothing stays after a connection went with calls, locks and handles of every kind."""
    with Cell(3) as c:
        print("     " + drive(c, "leaks").strip().splitlines()[0])
        sessions = c.chubby("sessions", "--json", check=False).stdout
        assert "async" not in sessions, sessions


def reasons():
    """A session that has nothing rests, untold; one that had something says why it is over."""
    with Cell(3) as c:
        p = subprocess.Popen([ASYNC, "reasons"], env=c.env, text=True, stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            for line in p.stdout:
                what, session = line.split()[:2]
                if what == "end":
                    c.chubby("session", "end", session)
                elif what == "stop":
                    c.stop()
                else:
                    break
                p.stdin.write("done\n")
                p.stdin.flush()
            complaint = p.communicate(timeout=60)[1]
        finally:
            p.kill()
        assert p.returncode == 0, f"status {p.returncode}: {complaint}"


if __name__ == "__main__":
    run(each_kind, storm, queue, ends, fork, connect, leaks, reasons)
