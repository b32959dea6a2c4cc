"""Storage that refuses stale writers, and the locks of clients that died."""
import os
import signal
import subprocess
import time

import cell as cells

EXAMPLES = os.path.join(cells.BUILD, "libchubby", "examples")
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def demo():
    """the paused holder damages storage without tokens, and is refused by storage with them"""
    with cells.Cell(replicas=3) as c:
        r = subprocess.run([os.path.join(TOP, "deploy", "demo-fencing"), "--build", cells.BUILD],
                           env=c.env, capture_output=True, text=True, timeout=100)
        assert r.returncode == 0, r.stdout + r.stderr
        assert "REFUSED by the storage" in r.stdout


def write(c, database, value, token):
    return subprocess.run([os.path.join(EXAMPLES, "fenced_write"), database, "job", value],
                          env=dict(c.env, CHUBBY_FENCING_TOKEN=str(token)), capture_output=True)


def dead_client():
    """kill -9 of a holder: free after lease and lock-delay, not before; its token is refused"""
    lock_delay = 3.0
    with cells.Cell(replicas=3) as c:
        database = os.path.join(c.data, "results.db")
        holder = subprocess.Popen(
            [cells.CHUBBY, "lock", "/ls/local/job", "--lock-delay", f"{int(lock_delay)}s", "--",
             "sh", "-c", 'echo "$CHUBBY_FENCING_TOKEN $CHUBBY_SEQUENCER"; exec sleep 600'],
            env=c.env, stdout=subprocess.PIPE, text=True)
        token, sequencer = holder.stdout.readline().split()
        assert write(c, database, "first", token).returncode == 0
        assert c.chubby("check", sequencer).returncode == 0
        session = c.locks("/ls/local/job")[0]["holders"][0]["session"]
        waiter = subprocess.Popen(
            [cells.CHUBBY, "lock", "/ls/local/job", "--", "sh", "-c",
             'echo "$CHUBBY_FENCING_TOKEN"'], env=c.env, stdout=subprocess.PIPE, text=True)
        cells.wait_for("the waiter in the queue",
                       lambda: c.locks("/ls/local/job")[0]["waiter_count"] == 1)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        killed = time.monotonic()
        # The session's end is seen as the beginning of the lock-delay.
        cells.wait_for("the session's end", lambda: not any(
            h["session"] == session for l in c.locks("/ls/local/job") for h in l["holders"]), 30)
        ended = time.monotonic()
        out, _ = waiter.communicate(timeout=30)
        freed = time.monotonic()
        assert int(out) > int(token), (out, token)
        assert ended - killed > 4, f"the lease of 12 s ended after {ended - killed:.1f} s"
        assert ended - killed < 13.5, f"{ended - killed:.1f} s"
        assert freed - ended > lock_delay - 0.6, f"free {freed - ended:.1f} s after the session"
        assert freed - ended < lock_delay + 3, f"{freed - ended:.1f} s"
        assert c.chubby("check", sequencer, check=False).returncode == 3
        assert write(c, database, "second", out.strip()).returncode == 0
        assert write(c, database, "stale", token).returncode == 3
        print(f"     session ended {ended - killed:.1f} s after the kill, lock free "
              f"{freed - ended:.1f} s later")


if __name__ == "__main__":
    cells.run(demo, dead_client)
