"""The command line tool: what each command says, in words and in JSON, and its exit status."""
import json
import os
import signal
import socket
import subprocess
import time

import cell as cells
import raw

PATH = "/ls/local/cli"


def json_of(c, *arguments, status=0, stdin=None):
    r = c.chubby(*arguments, "--json", check=False, stdin=stdin) if arguments[0] != "multi" else \
        c.chubby("multi", "--json", *arguments[1:], check=False, stdin=stdin)
    assert r.returncode == status, f"{arguments}: status {r.returncode}: {r.stdout}{r.stderr}"
    return json.loads(r.stdout)


def refused(c, status, *arguments, says="", stdin=None):
    r = c.chubby(*arguments, check=False, stdin=stdin)
    assert r.returncode == status, f"{arguments}: status {r.returncode}: {r.stdout}{r.stderr}"
    assert says in r.stderr, f"{arguments}: {says!r} is not in {r.stderr!r}"
    return r


def start(c, *arguments):
    return subprocess.Popen([cells.CHUBBY, *arguments], env=c.env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def held(c, path=PATH):
    return [h for lock in c.locks(path) for h in lock["holders"]]


def usage(c):
    """words that are not understood: status 64, what is wrong, and the nearest that is right"""
    refused(c, 64, "lokc", says='there is no command "lokc"; did you mean lock?')
    refused(c, 64, "sess", says="session")
    refused(c, 64, "zebra", says="`chubby help` lists them")
    r = refused(c, 64, "lock", "--tri", PATH, says="did you mean --try?")
    assert r.stderr.startswith("chubby lock: "), r.stderr
    refused(c, 64, "ls", "-x", says="chubby ls: ")
    refused(c, 64, "put", "--try", PATH, says="chubby put: ")
    refused(c, 64, "lock", "--lease", "0.5s", PATH, "true", says="from 1s to 60s")
    refused(c, 64, "lock", "--lease", "61", PATH, "true", says="from 1s to 60s")
    refused(c, 64, "lock", "--lock-delay", "61s", PATH, "true", says="up to 60s")
    refused(c, 64, "bench", "--clients", "1", says="2 to 256")
    refused(c, 64, "session", "kill", "1", says='"end" only')
    refused(c, 64, "session", "end", "first", says="no session's number")
    refused(c, 64, "who", says="usage: chubby who")
    refused(c, 64, "lock", PATH, "--", says='no command behind "--"')
    refused(c, 64, "rm", "/ls/local", says="root stays")
    refused(c, 64, "ls", "/ls/nope", says="this is cell local, not nope")
    refused(c, 2, "locks", "/ls/local/nothing", says="not found")
    c.chubby("put", "/ls/local/twice", "1")
    c.chubby("put", "/ls/local/twice", "2")
    now = json_of(c, "stat", "/ls/local/twice")["contents_generation"]
    refused(c, 1, "put", "--generation", str(now + 1), "/ls/local/twice", "3",
            says=f"it is {now} now")
    for command in ["put", "/ls/local/nodir/x", "1"], ["lock", "/ls/local/nodir/x", "true"], \
            ["mkdir", "/ls/local/nodir/x"]:
        refused(c, 2, *command, says="`chubby mkdir -p /ls/local/nodir`")
    for command in "run", "init", "dev":
        r = subprocess.run([cells.CHUBBYD, command, "--nonsense"], capture_output=True, text=True,
                           timeout=30, check=False)
        assert r.returncode == 64 and r.stderr.startswith(f"chubbyd {command}: "), r


def help_of_each(c):
    """--help of each command says its options, and nothing on standard error"""
    overview = c.chubby("help").stdout
    names = [line.split()[0] for line in overview.splitlines() if line.startswith("  ")]
    assert len(names) >= 17, overview
    for name in names:
        r = c.chubby(name, "--help")
        assert r.stdout == c.chubby("help", name).stdout and not r.stderr, r
        assert r.stdout.startswith(f"usage: chubby {name} "), r.stdout
        offered = c.chubby(".complete", name, "--").stdout.split("\n")
        for option in (line.split("\t")[0] for line in offered if line):
            assert option in r.stdout, f"{name}: {option}"
        assert max(map(len, r.stdout.splitlines())) <= 90, name
        assert not any(line.endswith(" ") for line in r.stdout.splitlines()), name


def status(c):
    """status: any one replica leads to all; another cell, and each kind of silence, is named"""
    for server in c.servers.split(","):
        r = json_of(c, "status", "--servers", server)
        assert r["master"] and r["answering"] == 3, r
        assert {x["state"] for x in r["replicas"]} == {"master", "follower"}, r
    refused(c, 64, "status", "--cell", "nope", says="this is cell local, not nope")
    with socket.create_server(("127.0.0.1", 0)) as mute, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        for at, says in ((f"127.0.0.1:{mute.getsockname()[1]}", "something listens there"),
                         (f"127.0.0.1:{free.getsockname()[1]}", "nothing listens there"),
                         ("nowhere.invalid:7401", "cannot be resolved")):
            r = refused(c, 69, "status", "--servers", at, says="none of 1 servers")
            assert says in r.stdout and "start the missing" not in r.stderr, r


def lock_options(c):
    """lock: --lease is granted, --shared shares, --try and --timeout give up with 75"""
    a = start(c, "lock", "--shared", "--lease", "3s", PATH, "--", "sleep", "60")
    b = start(c, "lock", "--shared", PATH, "--", "sleep", "60")
    try:
        cells.wait_for("two shared holders", lambda: len(held(c)) == 2)
        assert {h["mode"] for h in held(c)} == {"shared"}
        leases = {s["pid"]: s["lease_ms"] for s in json_of(c, "sessions")["sessions"]}
        assert leases[a.pid] == 3000 and leases[b.pid] == 12000, leases
        refused(c, 75, "lock", "--try", PATH, "--", "true")
        began = time.monotonic()
        refused(c, 75, "lock", "--timeout", "500ms", PATH, "--", "true")
        assert 0.5 <= time.monotonic() - began < 10
    finally:
        for p in a, b:
            p.terminate()
            p.communicate(timeout=30)


def who(c):
    """who: status 0 and the holder with pid, command and token; 1 if free; 2 if there is no node"""
    refused(c, 2, "who", "/ls/local/nothing", says="not found")
    c.chubby("put", "/ls/local/never", "x")
    r = json_of(c, "who", "/ls/local/never", status=1)
    assert r["held"] is False and r["holders"] == [] and r["mode"] == "free", r
    p = start(c, "lock", PATH, "--", "sleep", "60")
    w = None
    try:
        cells.wait_for("the lock to be held", lambda: held(c))
        w = start(c, "lock", PATH, "--", "true")
        r = cells.wait_for("a waiter", lambda: next(
            (x for x in [json_of(c, "who", PATH)] if x["waiter_count"] == 1), None))
        holder, waiter = r["holders"][0], r["waiters"][0]
        assert r["held"] is True and r["path"] == PATH and r["mode"] == "exclusive", r
        assert holder["pid"] == p.pid and "sleep 60" in holder["command"], holder
        assert holder["host"] and holder["principal"] and holder["token"] > 0, holder
        assert 0 <= holder["age_ms"] < 60000 and waiter["pid"] == w.pid, r
        text = c.chubby("who", PATH).stdout
        for word in f"pid {p.pid}", f"pid {w.pid}", "sleep 60", f"token {holder['token']}", \
                "waiting":
            assert word in text, text
        # The same as `locks` says of it.
        assert c.locks(PATH)[0]["holders"][0]["token"] == holder["token"]
    finally:
        p.terminate()
        p.communicate(timeout=30)
        if w:
            w.communicate(timeout=30)
    assert c.chubby("who", PATH, check=False).returncode == 1


def many_waiters(c):
    """locks: waiters in the order in which they came, and how many more there are"""
    connection = raw.Raw(raw.master_of(c.servers))
    user = raw.User(connection)
    try:
        handles = [user.open("/ls/local/queue") for _ in range(77)]
        for h in handles:
            user.acquire(h)
        lock = c.locks("/ls/local/queue")[0]
        assert lock["waiter_count"] == 76 and len(lock["waiters"]) == 64, lock
        tickets = [w["ticket"] for w in lock["waiters"]]
        assert tickets == sorted(tickets) and len(set(tickets)) == 64, tickets
        assert [w["handle"] for w in lock["waiters"]] == list(range(2, 66)), lock["waiters"]
        text = c.chubby("locks", "/ls/local/queue").stdout
        assert "and 12 more waiting" in text and text.count("  waiting ") == 64, text
    finally:
        user.end()
        connection.close()


def many_sessions(c):
    """sessions: more than a page of them, each once; with pid, command, lease, left and counts"""
    connection = raw.Raw(raw.master_of(c.servers))
    users = []
    p = start(c, "lock", PATH, "--", "sleep", "60")
    try:
        users = [raw.User(connection) for _ in range(300)]
        cells.wait_for("the lock to be held", lambda: held(c))
        sessions = json_of(c, "sessions")["sessions"]
        ids = [s["session"] for s in sessions]
        assert ids == sorted(set(ids)) and {u.id for u in users} <= set(ids), len(ids)
        mine = next(s for s in sessions if s["pid"] == p.pid)
        assert mine["locks"] == 1 and mine["handles"] == 1 and "sleep 60" in mine["command"], mine
        assert 0 < mine["left_ms"] <= mine["lease_ms"] == 12000 and mine["host"], mine
        lines = c.chubby("sessions").stdout.splitlines()
        assert len(lines) == len(ids) + 1 and lines[0].startswith("SESSION"), lines[:2]
    finally:
        for u in users:
            u.end()
        connection.close()
        p.terminate()
        p.communicate(timeout=30)


def session_end(c):
    """session end: the holder's command is stopped with 76 at once, and the next one waits for the
    lock-delay; ended again it is not found"""
    p = start(c, "lock", "--lock-delay", "1s", "--lease", "60s", PATH, "--", "sleep", "60")
    mine = cells.wait_for("the lock to be held", lambda: held(c))[0]
    began = time.monotonic()
    r = json_of(c, "session", "end", str(mine["session"]))
    assert r["session"] == mine["session"] and r["pid"] == p.pid, r
    left = r["held"][0].pop("lock_delay_left_ms")
    assert 0 < left <= 1000, r
    assert r["held"] == [{"path": PATH, "mode": "exclusive", "token": mine["token"],
                          "taken": False}], r
    _, err = p.communicate(timeout=30)
    took = time.monotonic() - began
    assert p.returncode == 76 and "is lost" in err, (p.returncode, err)
    assert "ended by an operator" in err, err
    assert took < 10, f"{took} s: the lease is 60 s"
    refused(c, 2, "session", "end", str(mine["session"]), says="no session")
    c.chubby("lock", PATH, "--", "true")
    assert time.monotonic() - began >= 1, "the lock-delay was cut short"
    p = start(c, "lock", "--lock-delay", "0", PATH, "--", "sleep", "60")
    mine = cells.wait_for("the lock to be held", lambda: held(c))[0]
    text = c.chubby("session", "end", str(mine["session"])).stdout
    assert PATH in text and f"pid {p.pid}" in text and f"token {mine['token']}" in text, text
    assert "free now" in text and "lock-delay" not in text, text
    p.communicate(timeout=30)


def lock_delay(c):
    """locks: what is left of a lock-delay, less and less; --try says that it is one"""
    path = "/ls/local/delayed"
    p = start(c, "lock", "--lock-delay", "60s", path, "--", "sleep", "60")
    mine = cells.wait_for("the lock to be held", lambda: held(c, path))[0]
    c.chubby("session", "end", str(mine["session"]))
    p.communicate(timeout=30)
    first = c.locks(path)[0]
    assert first["lock_delay_ms"] == 60000 and 0 < first["lock_delay_left_ms"] <= 60000, first
    cells.wait_for("less to be left", lambda: c.locks(path)[0]["lock_delay_left_ms"] <
                   first["lock_delay_left_ms"] - 200)
    text = c.chubby("locks", path).stdout
    assert "in lock-delay of 60.0 s, 5" in text and "s left" in text, text
    refused(c, 75, "lock", "--try", path, "--", "true", says="lock-delay ends in 5")


def multi(c):
    """multi: all or nothing, from arguments and from input; the one that failed is named"""
    c.chubby("put", "/ls/local/m", "1")
    r = json_of(c, "multi", "exists", "/ls/local/m", "absent", "/ls/local/n", "--", "write",
                "/ls/local/m", "two words", "create", "/ls/local/n", "--json", "mkdir",
                "/ls/local/d")
    assert r["done"] is True and r["revision"] > 0, r
    assert c.chubby("cat", "/ls/local/m").stdout == "two words"
    assert c.chubby("cat", "/ls/local/n").stdout == "--json"
    assert json_of(c, "stat", "/ls/local/d")["kind"] == "directory"
    generation = json_of(c, "stat", "/ls/local/m")["contents_generation"]
    refused(c, 1, "multi", "generation", "/ls/local/m", str(generation + 1), "delete",
            "/ls/local/n", says=f"number 1 of 2, generation /ls/local/m {generation + 1}")
    refused(c, 2, "multi", "delete", "/ls/local/n", "delete", "/ls/local/nothing",
            says="number 2 of 2, delete /ls/local/nothing: not found")
    assert c.chubby("cat", "/ls/local/n").stdout == "--json", "a failed one left a trace"
    text = f"""# the first line is a comment
generation /ls/local/m {generation}

write /ls/local/m "a\\t\\"b\\"\\x21\\n"
create '/ls/local/with blanks' ''
delete /ls/local/n
"""
    assert json_of(c, "multi", "-", stdin=text)["done"] is True
    assert c.chubby("cat", "/ls/local/m").stdout == 'a\t"b"!\n'
    assert c.chubby("cat", "/ls/local/with blanks").stdout == ""
    r = json_of(c, "multi", "-", stdin=text, status=1)
    assert r == {"done": False, "code": "GUARD_FAILED", "failed": 1}, r
    refused(c, 1, "multi", "-", stdin=text, says="line 2, generation /ls/local/m")
    c.chubby("multi", "write", "/ls/local/m", "-", stdin="from input\n")
    assert c.chubby("cat", "/ls/local/m").stdout == "from input\n"
    for words, says in ((["write", "/ls/local/m"], "write wants PATH CONTENTS"),
                        (["exist", "/ls/local/m"], "did you mean exists?"),
                        (["delete", "m"], "paths begin with /ls/"),
                        (["token", "/ls/local/m", "x"], "is no number"),
                        (["delete", "/ls/local/m", "exists", "/ls/local/d"], "guards stand before"),
                        (["exists", "/ls/local/m"] * 65, "more than 64")):
        refused(c, 64, "multi", *words, says=says)
    for text, says in (("delete /ls/local/m x\n", "line 1: \"x\" is one word too many"),
                       ("exists /ls/local/m\nwrite /ls/local/m 'x\n", "line 2: a quote is not"),
                       ('write /ls/local/m "\\q"', "line 1: behind a backslash"),
                       ("\n", "neither")):
        refused(c, 64, "multi", "-", stdin=text, says=says)
    p = start(c, "lock", PATH, "--", "sleep", "60")
    mine = cells.wait_for("the lock to be held", lambda: held(c))[0]
    guards = ["holder", PATH, str(mine["session"]), "token", PATH, str(mine["token"])]
    c.chubby("multi", *guards, "write", PATH, "guarded")
    p.terminate()
    p.communicate(timeout=30)
    refused(c, 1, "multi", *guards, "write", PATH, "late", says="does not hold")
    assert c.chubby("cat", PATH).stdout == "guarded"


def bench(c):
    """bench: five parts with rates and ordered percentiles, and nothing is left of it"""
    r = json_of(c, "bench", "--seconds", "1", "--clients", "3")
    assert r["seconds"] == 1 and r["clients"] == 3, r
    assert [p["name"] for p in r["parts"]] == ["one_client", "own_locks", "one_lock", "writes",
                                               "reads"], r
    for part, of in zip(r["parts"], ("acquire", "acquire", "wait", "write", "read")):
        s = part[of]
        assert part["count"] > 0 and part["per_second"] > 0, part
        assert 0 < s["p50_ms"] <= s["p99_ms"] <= s["longest_ms"], part
        assert s["count"] >= part["count"], part
        assert part["elapsed_ms"] >= 1000, part
        assert abs(part["per_second"] * part["elapsed_ms"] / 1000 - part["count"]) \
            <= 1 + part["count"] / 1000, part
    assert r["parts"][0]["clients"] == 1 and r["parts"][0]["release"]["count"] > 0, r
    p = start(c, "bench", "--seconds", "20")
    cells.wait_for("its nodes", lambda: "bench-" in c.chubby("ls").stdout)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 128 + signal.SIGINT and out == "", (p.returncode, out)
    assert "loading the cell" in err, err
    cells.wait_for("its nodes to be gone", lambda: "bench-" not in c.chubby("ls").stdout)


def each_command():
    """each command on a cell of three"""
    with cells.Cell(replicas=3) as c:
        for test in (usage, help_of_each, status, lock_options, who, many_waiters, many_sessions,
                     session_end, lock_delay, multi, bench):
            began = time.monotonic()
            try:
                test(c)
            except AssertionError as e:
                raise AssertionError(f"{' '.join(test.__doc__.split())}: {e}") from e
            print(f"  ok {' '.join(test.__doc__.split())} ({time.monotonic() - began:.1f} s)",
                  flush=True)


def stopped_cell():
    """a silent cell: the command is stopped at the local end of its lease, also one that ignores
    SIGTERM, and the status is 76"""
    with cells.Cell(replicas=3) as c:
        marks = os.path.join(c.data, "marks")
        stubborn = f"trap 'echo term >>{marks}' TERM; while :; do sleep 0.1; done"
        p = start(c, "lock", "--lease", "2s", "--kill-after", "1s", PATH, "--", "sh", "-c",
                  stubborn)
        cells.wait_for("the lock to be held", lambda: held(c))
        began = time.monotonic()
        c.hold_restarts()
        for i in 1, 2, 3:
            c.pause(i)
        try:
            p.communicate(timeout=30)
            took = time.monotonic() - began
        finally:
            for i in 1, 2, 3:
                c.resume(i)
            c.allow_restarts()
        assert p.returncode == 76, p.returncode
        with open(marks) as f:
            assert "term" in f.read()
        # At most the lease, then the grace between the signals; a machine may be busy.
        assert 1 <= took < 10, took


def wrapper_killed():
    """the command dies with its wrapper, even by kill -9"""
    with cells.Cell(replicas=1) as c:
        p = start(c, "lock", PATH, "--", "sh", "-c", "echo $$; exec sleep 60")
        child = int(p.stdout.readline())
        p.kill()
        p.wait(30)
        cells.wait_for("the command to die", lambda: not alive(child))


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    cells.run(each_command, stopped_cell, wrapper_killed)
