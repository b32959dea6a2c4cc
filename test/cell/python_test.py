"""The example in Python with stock gRPC: docs/examples/chubby_lock.py on a real cell."""
import os
import subprocess
import sys

import cell as cells

EXAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "examples",
                       "chubby_lock.py")
SAY = 'echo "$CHUBBY_FENCING_TOKEN $CHUBBY_SEQUENCER"; exec cat'


def start(c, path, script, *options):
    """The example, running a shell script under the lock."""
    return subprocess.Popen(
        [sys.executable, EXAMPLE, "--servers", c.servers, *options, path, "--", "sh", "-c",
         script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def grant_of(p):
    """Token and sequencer, which SAY prints as soon as the lock is held."""
    token, sequencer = p.stdout.readline().split()
    return int(token), sequencer


def finish(p):
    """Ends the command; the example's own status."""
    _, err = p.communicate(timeout=30)
    assert p.returncode == 0, f"status {p.returncode}: {err}"


def standing(c, sequencer):
    return c.chubby("check", sequencer, check=False).returncode == 0


def waiters(c, path):
    locks = c.locks(path)
    return len(locks[0]["waiters"]) if locks else 0


def one_after_the_other():
    """a second Python client waits for its ticket; its token is larger; the first one's is void"""
    with cells.Cell(replicas=3) as c:
        first = start(c, "/ls/local/job", SAY)
        token, sequencer = grant_of(first)
        assert standing(c, sequencer), sequencer
        second = start(c, "/ls/local/job", SAY)
        cells.wait_for("the second to queue", lambda: waiters(c, "/ls/local/job") == 1)
        finish(first)
        later, other = grant_of(second)
        assert later > token, (token, later)
        assert standing(c, other) and not standing(c, sequencer)
        finish(second)
        cells.wait_for("the lock to be free", lambda: c.locks("/ls/local/job") == [])
        third = start(c, "/ls/local/job", "exit 42")
        assert third.wait(30) == 42, third.stderr.read()
        shared = [start(c, "/ls/local/job", SAY, "--shared") for _ in range(2)]
        assert len({grant_of(p)[0] for p in shared}) == 1, "readers together have one token"
        for p in shared:
            finish(p)


def failover():
    """kill -9 of the master: the holder keeps its lock, the waiter its place, both clients go on"""
    with cells.Cell() as c:
        holder = start(c, "/ls/local/job", SAY)
        token, sequencer = grant_of(holder)
        waiter = start(c, "/ls/local/job", SAY)
        cells.wait_for("the second to queue", lambda: waiters(c, "/ls/local/job") == 1)
        for _ in range(2):
            fail_over(c)
            cells.wait_for("the sequencer to be checked", lambda: standing(c, sequencer))
            assert waiters(c, "/ls/local/job") == 1 and holder.poll() is None
        finish(holder)
        later, other = grant_of(waiter)
        assert later > token and standing(c, other)
        finish(waiter)


def fail_over(c):
    old = c.wait_master()
    c.kill(old)
    c.wait_master(other_than=old)


def same_number():
    """a numbered call that is sent again to the next master has no second effect"""
    sys.path.insert(0, os.path.dirname(EXAMPLE))
    import chubby_lock as chubby
    with cells.Cell() as c:
        session = chubby.Session(c.servers.split(","))
        handle = session.open("/ls/local/a", create=chubby.pb.OpenRequest.CREATE_MAY, write=True)
        write = chubby.pb.SetContentsRequest(handle=handle, contents=b"once")
        written = session.change("SetContents", write)

        # Each time as if the answer had been lost: the request as it was, to the next master.
        fail_over(c)
        assert session.call("SetContents", write) == written
        grant = session.acquire(handle)
        fail_over(c)
        acquire = chubby.pb.AcquireRequest(handle=handle, mode=chubby.pb.LOCK_EXCLUSIVE)
        acquire.header.session_id = session.id
        acquire.header.number = acquire.header.lowest_unanswered = session.number
        assert session.call("Acquire", acquire).grant == grant
        # The line has moved past it: its result may be forgotten, so it is refused.
        write.header.lowest_unanswered = session.number
        try:
            session.call("SetContents", write)
            raise AssertionError("a number below the line was taken")
        except chubby.Refused as e:
            assert e.code == chubby.pb.REQUEST_OUT_OF_WINDOW, e
        session.release(handle)
        header = chubby.pb.Header(session_id=session.id)
        session.closing.set()
        session.call("EndSession", chubby.pb.EndSessionRequest(header=header))
        try:
            session.call("GetStat", chubby.pb.GetStatRequest(header=header, handle=handle))
            raise AssertionError("an ended session was served")
        except chubby.Refused as e:
            assert e.code == chubby.pb.SESSION_EXPIRED, e


def stopped_client():
    """a client that is stopped past its lease loses the lock and stops its command when it wakes"""
    with cells.Cell(replicas=3) as c:
        p = start(c, "/ls/local/job", SAY)
        _, sequencer = grant_of(p)
        os.kill(p.pid, cells.signal.SIGSTOP)
        cells.wait_for("the session to expire", lambda: not standing(c, sequencer), 40, 0.2)
        os.kill(p.pid, cells.signal.SIGCONT)
        assert p.wait(30) == 76, p.returncode
        assert "lost" in p.stderr.read()


def what_users_get_wrong():
    """no such command, or one that cannot run: a sentence, and the lock is free; no .proto files"""
    with cells.Cell(replicas=1) as c:
        for command, status in {"/nonexistent/job": 127, "/etc/passwd": 126}.items():
            p = subprocess.run([sys.executable, EXAMPLE, "--servers", c.servers, "/ls/local/job",
                                "--", command], capture_output=True, text=True, timeout=30,
                               check=False)
            assert p.returncode == status, (p.returncode, p.stderr)
            assert f"cannot run {command}" in p.stderr and "Traceback" not in p.stderr, p.stderr
            assert c.locks("/ls/local/job") == [], "the lock is kept"
            sessions = c.chubby("sessions", "--json").stdout
            assert "chubby_lock" not in sessions, sessions
    for changed, says in {"CHUBBY_PROTO": "set CHUBBY_PROTO", "PATH": "protobuf-compiler"}.items():
        p = subprocess.run([sys.executable, EXAMPLE, "/ls/local/job", "--", "true"],
                           env={**os.environ, changed: "/nonexistent"}, capture_output=True,
                           text=True, timeout=30, check=False)
        assert p.returncode == 1 and "Traceback" not in p.stderr, p.stderr
        assert says in p.stderr, p.stderr


if __name__ == "__main__":
    cells.run(one_after_the_other, failover, same_number, stopped_client, what_users_get_wrong)
