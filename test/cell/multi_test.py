"""Several operations at once through libchubby, on a real cell and across failovers."""
import json
import os
import subprocess
import tempfile

import cell as cells
import raw
from raw import pb

SEVERAL = os.path.join(cells.BUILD, "test", "cell", "several")


def several(c, *arguments):
    return subprocess.Popen([SEVERAL, *map(str, arguments)], env=c.env, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(process, timeout=60):
    out, err = process.communicate(timeout=timeout)
    assert process.returncode == 0, f"status {process.returncode}: {out}{err}"
    return json.loads(out) if out.strip() else None


def kill_master(c):
    """kill -9, and until another master is there."""
    victim = c.wait_master()
    old = c.pid(victim)
    c.kill(victim)
    cells.wait_for("the dead replica's return", lambda: c.pid(victim) != old, 20)
    c.wait_master()


def one_client():
    """multi, lock_all and set_sequencer do what chubby.h says, and refuse what it does not allow"""
    with cells.Cell(replicas=3) as c:
        finish(several(c, "check"))


def any_language():
    """a refusal of a unary call names the operation in its details, and 0 is not nothing"""
    with cells.Cell(replicas=1) as c:
        connection = raw.Raw(raw.master_of(c.servers))
        user = raw.User(connection)

        def multi(*ops):
            return connection.call("Multi", pb.MultiRequest(header=user.header(True), ops=ops))

        absent = pb.MultiOp(kind=pb.MultiOp.GUARD_ABSENT, path="/ls/local/u")
        there = pb.MultiOp(kind=pb.MultiOp.GUARD_EXISTS, path="/ls/local/u")
        create = pb.MultiOp(kind=pb.MultiOp.CREATE, path="/ls/local/u")
        for ops, code, failed_op in (([absent, there], "GUARD_FAILED", 1),
                                     ([there, create], "GUARD_FAILED", 0),
                                     ([absent, create, create], "EXISTS", 2),
                                     ([], "INVALID_ARGUMENT", None)):
            r = multi(*ops)
            told = r.error.failed_op if r.error.HasField("failed_op") else None
            assert (r.code, told) == (code, failed_op), r
        assert multi(absent, create).code == "OK"
        connection.close()


def exactly_once():
    """multis of four clients across two kill -9 of the master take effect exactly once"""
    with cells.Cell() as c:
        clients = [several(c, "transfer", i) for i in range(4)]

        def moved(i):
            r = c.chubby("cat", f"/ls/local/to-{i}", check=False)
            return int(r.stdout) if r.returncode == 0 and r.stdout else 0

        for _ in range(2):
            before = [moved(i) for i in range(4)]
            cells.wait_for("moves", lambda: all(moved(i) > before[i] + 5 for i in range(4)))
            kill_master(c)
        before = [moved(i) for i in range(4)]
        cells.wait_for("moves after the kills",
                       lambda: all(moved(i) > before[i] + 5 for i in range(4)))
        for p in clients:
            p.terminate()
        for r in map(finish, clients):
            assert r["moved"] == moved(r["id"]), r
            assert int(c.chubby("cat", f"/ls/local/from-{r['id']}").stdout) == -r["moved"], r
        c.wait_alike()


def no_circle():
    """eight clients that want overlapping sets in random order: no deadlock, never two inside"""
    with cells.Cell(replicas=3) as c, tempfile.TemporaryDirectory() as inside:
        clients = [several(c, "lock-all", i, inside, 40) for i in range(8)]
        for r in [finish(p, 120) for p in clients]:
            assert r["rounds"] == 40, r
        assert c.locks() == [], "something is still held"


def no_circle_across_kills():
    """the same across two kill -9 of the master"""
    with cells.Cell() as c, tempfile.TemporaryDirectory() as inside:
        clients = [several(c, "lock-all", i, inside, 100000) for i in range(8)]
        for _ in range(2):
            cells.wait_for("somebody inside", lambda: os.listdir(inside))
            kill_master(c)
        cells.wait_for("somebody inside", lambda: os.listdir(inside))
        for p in clients:
            p.terminate()
        for r in [finish(p, 120) for p in clients]:
            assert r["rounds"] > 0, r
        assert c.locks() == [], "something is still held"


if __name__ == "__main__":
    cells.run(one_client, any_language, exactly_once, no_circle, no_circle_across_kills)
