"""What a daemon refuses to start on, and what it starts on without taking part: each with a
sentence that names the thing."""
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import urllib.error
import urllib.request

import cell as cells

NOBODY = 65534
SHIM = os.path.join(cells.BUILD, "test", "cell", "libclock_shim.so")


class Room:
    """A directory with a cell of one replica, and what chubbyd run says in it."""

    def __init__(self):
        self.at = tempfile.mkdtemp(prefix="chubby-refusal-")
        self.base = cells.free_base(2)
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.running:
            p.kill()
            p.wait()
        shutil.rmtree(self.at, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.at, *parts)

    def init(self, name, port):
        """A replica's directory, made for BASE+port and so on."""
        where = ",".join(f"127.0.0.1:{self.base + o + port}" for o in (0, 100, 200))
        subprocess.run([cells.CHUBBYD, "init", "--cell", "local", "--replica", f"1={where}",
                        "--out", self.path(name)], check=True, stdout=subprocess.DEVNULL)
        return self.path(name, "1")

    def start(self, data, said=subprocess.DEVNULL):
        p = subprocess.Popen([cells.CHUBBYD, "run", "--data", data], stderr=said)
        self.running.append(p)
        return p

    def refused(self, status, *words, data=None, options=(), **how):
        """Must end at once, with this status and a sentence that has all these words."""
        command = [cells.CHUBBYD, "run"] + (["--data", data] if data else []) + list(options)
        r = subprocess.run(command, capture_output=True, text=True, timeout=20, **how)
        assert r.returncode == status, f"{command}: status {r.returncode}: {r.stderr}"
        missing = [w for w in words if w not in r.stderr]
        assert not missing, f"{command}: no {missing} in: {r.stderr}"


def healthy(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as page:
            return page.status == 200
    except OSError:
        return False


def unhealthy(port):
    """Why the replica says that it takes no part; empty if it does not."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
            return ""
    except urllib.error.HTTPError as e:
        return e.read().decode() if e.code == 503 else ""
    except OSError:
        return ""


def settings():
    """settings that are none, or unsafe together: status 64, and the sentence names the setting"""
    with Room() as room:
        data = room.init("a", 1)
        for options, words in {
                ("--nope", "1"): ["--nope"], ("extra",): ["extra"],
                ("--lease-ms",): ["lease-ms"], ("--lease-ms", "abc"): ["lease-ms", "abc"],
                ("--lease-ms", "-1"): ["lease-ms", "-1"], ("--lease-ms", "99"): ["lease-ms", "100"],
                ("--lease-ms", "10001"): ["lease-ms", "10000"],
                ("--lease-ms", "99999999999999999999"): ["lease-ms"],
                ("--heartbeat-ms", "134"): ["heartbeat-ms", "third of lease-ms"],
                ("--heartbeat-ms", "0"): ["heartbeat-ms"], ("--drift-ppm", "0"): ["drift-ppm"],
                ("--drift-ppm", "200001"): ["drift-ppm"], ("--log-level", "loud"): ["loud"],
                ("--insecure-plaintext-beyond-loopback", "maybe"): ["maybe", "yes or no"],
                ("--config", "/none"): ["/none", "No such file"]}.items():
            room.refused(64, *words, data=data, options=options)
        for text, words in {
                "[chubbyd]\nlease = 3\n": ["line 2", "lease"],
                "lease-ms = 400\n": ["line 1", "[chubbyd]"],
                "[other]\nlease-ms = 400\n": ["line 2", "other"],
                "[chubbyd]\nlease-ms\n": ["line 2", "key = value"],
                "[chubbyd]\n\nlease-ms = many\n": ["line 3", "many"],
                "[chubbyd]\nheartbeat-ms = 200\n": ["heartbeat-ms", "lease-ms"]}.items():
            with open(room.path("conf"), "w", encoding="utf-8") as f:
                f.write(text)
            room.refused(64, *words, data=data, options=("--config", room.path("conf")))
        room.refused(64, "--data", options=())
        for flag in ("--listen", "--listen-peer", "--listen-web"):
            room.refused(1, "nonsense", data=data, options=(flag, "nonsense"))
            room.refused(1, f"0.0.0.0:{room.base}", "loopback",
                         "--insecure-plaintext-beyond-loopback", data=data,
                         options=(flag, f"0.0.0.0:{room.base}"))


def directories():
    """directories that hold nothing, or may not be written, or hold what a newer version wrote"""
    with Room() as room:
        os.chmod(room.at, 0o755)
        room.refused(1, room.path("none"), "chubbyd init", data=room.path("none"))
        os.mkdir(room.path("empty"))
        room.refused(1, room.path("empty"), "join", data=room.path("empty"))
        assert os.listdir(room.path("empty")) == [], "an empty directory was made a replica's"
        with open(room.path("file"), "w", encoding="utf-8"):
            room.refused(1, room.path("file"), data=room.path("file"))
        for name in ("log.db", "state.db"):
            data = room.init(f"newer-{name}", 1)
            db = sqlite3.connect(os.path.join(data, name))
            db.execute("PRAGMA user_version = 99")
            db.close()
            room.refused(1, name, "schema version 99", data=data)
        data = room.init("mixed", 1)
        shutil.copy(os.path.join(room.init("other", 2), "state.db"), data)
        # Not refused: it comes up to say so, and takes no part.
        with open(room.path("said"), "w", encoding="utf-8") as said:
            room.start(data, said)
        def blames():
            with open(room.path("said"), encoding="utf-8") as f:
                return "state.db belongs to another" in f.read()
        cells.wait_for("the foreign state.db to be named", blames)
        cells.wait_for("its page to say so", lambda: "state.db" in unhealthy(room.base + 201))
        data = room.init("locked", 1)
        who = {"user": NOBODY, "group": NOBODY} if os.getuid() == 0 else {}
        os.chmod(room.path("locked"), 0o755)
        for name in os.listdir(data):
            os.chmod(os.path.join(data, name), 0o444)
        os.chmod(data, 0o555)
        room.refused(1, data, "ermission denied", data=data, **who)


def clocks():
    """clocks that no lease can be measured with, and wall clocks that are plainly unset"""
    def shim(**settings):
        return dict(os.environ, LD_PRELOAD=SHIM,
                    **{f"CLOCK_SHIM_{name}": value for name, value in settings.items()})
    with Room() as room:
        data = room.init("a", 1)
        room.refused(1, "wall clock", "1970-01-01", "set the clock", data=data,
                     env=shim(WALL_S="9"))
        room.refused(1, "wall clock", "2026-01-01", "was made on", data=data,
                     env=shim(WALL_S="1767225700"))
        room.refused(1, "wall clock", "2286", data=data, env=shim(WALL_S="10000000000"))
        room.refused(1, "stands still", data=data, env=shim(STILL="1"))
        room.refused(1, "20000 ppm fast", "drift-ppm", data=data, env=shim(TICK_US="10200"))
        # Within its allowance it starts; and stops by itself when the clock runs away later.
        with open(room.path("said"), "w+", encoding="utf-8") as said:
            p = subprocess.Popen([cells.CHUBBYD, "run", "--data", data], stderr=said,
                                 env=shim(TICK_US="10050", FAST_AFTER="2"))
            room.running.append(p)
            cells.wait_for("the replica", lambda: healthy(room.base + 201))
            assert p.wait(timeout=40) == 1
            said.seek(0)
            assert "this replica stops: the clock ran" in said.read()
        # init says it too, before it makes anything.
        r = subprocess.run([cells.CHUBBYD, "init", "--cell", "local", "--replica",
                            "1=127.0.0.1:1,127.0.0.1:2", "--out", room.path("b")],
                           capture_output=True, text=True, env=shim(WALL_S="9"), timeout=20)
        assert r.returncode == 1 and "1970-01-01" in r.stderr, r.stderr
        assert not os.path.exists(room.path("b")), "a cell was made by a wrong clock"


def contention():
    """a second daemon on one directory, and ports that another process has"""
    with Room() as room:
        first, second = room.init("first", 1), room.init("second", 2)
        room.start(first)
        cells.wait_for("the first daemon", lambda: healthy(room.base + 201))
        room.refused(1, "another daemon uses", first, data=first)
        for offset, flag in {0: "--listen", 100: "--listen-peer", 200: "--listen-web"}.items():
            address = f"127.0.0.1:{room.base + offset + 1}"
            room.refused(1, address, "ddress already in use", data=second, options=(flag, address))
        assert healthy(room.base + 201), "the first daemon was disturbed"
        # Refused is not spoiled: with its own ports the second one starts.
        room.start(second)
        cells.wait_for("the second daemon", lambda: healthy(room.base + 202))


def beginnings():
    """chubbyd dev and init: ports of somebody else, options that no replica takes, and an even
    number of replicas are refused with the reason, and nothing is left running"""
    with Room() as room, socket.socket() as other:
        def dev(*options):
            r = subprocess.run([cells.CHUBBYD, "dev", "--data", room.path("dev"), "--replicas",
                                "1", "--port", str(room.base), *options], capture_output=True,
                               text=True, timeout=60, check=False)
            assert r.returncode == 1, f"status {r.returncode}: {r.stderr}"
            return r.stderr
        other.bind(("127.0.0.1", room.base + 101))
        other.listen()
        said = dev()
        assert f"port {room.base + 101} is taken" in said and "--port BASE" in said, said
        assert not os.path.exists(room.path("dev", "env")), "it tells where somebody else is"
        assert not os.path.exists(room.path("dev", "1")), "a cell was made for taken ports"
        other.close()
        said = dev("--", "--lease-ms", "1")
        assert "failed 3 times" in said and "lease-ms" in said, said
        r = subprocess.run([cells.CHUBBYD, "init", "--cell", "local", "--out", room.path("two"),
                            "--replica", "1=127.0.0.1:1,127.0.0.1:2", "--replica",
                            "2=127.0.0.1:3,127.0.0.1:4"], capture_output=True, text=True,
                           timeout=20, check=False)
        assert r.returncode == 64 and "even number" in r.stderr, r
        assert not os.path.exists(room.path("two")), "an even cell was made"


def flip(path, part):
    """Flips a byte in each page of the file, from `part` of its length on."""
    with open(path, "r+b") as f:
        size = os.path.getsize(path)
        for at in range(int(size * part), size, 509):
            f.seek(at)
            byte = f.read(1)
            f.seek(at)
            f.write(bytes([byte[0] ^ 0x55]))


def cut(path):
    os.truncate(path, os.path.getsize(path) // 2)


# What is done to a file of replica's directory -> a word that the sentence must have.
DAMAGE = {
    "log.db flipped": ("log.db", lambda d: flip(d + "/log.db", 0)),
    "log.db flipped in its second half": ("log.db", lambda d: flip(d + "/log.db", 0.5)),
    "log.db cut": ("log.db", lambda d: cut(d + "/log.db")),
    "log.db gone": ("log.db", lambda d: os.remove(d + "/log.db")),
    "the promise flipped": ("promise", lambda d: flip(d + "/promise", 0)),
    "the promise cut to nothing": ("promise", lambda d: os.truncate(d + "/promise", 0)),
    "the promise gone": ("promise", lambda d: os.remove(d + "/promise")),
    "state.db flipped": ("state.db", lambda d: flip(d + "/state.db", 0)),
    "state.db cut": ("state.db", lambda d: cut(d + "/state.db")),
}


def word_of(c, replica):
    """What the replica says about itself; None while it does not answer."""
    r = c.chubby("status", "--json", "--servers", f"127.0.0.1:{c.base + replica}", check=False)
    try:
        own = [x for x in json.loads(r.stdout)["replicas"] if x["id"] == replica]
    except (ValueError, KeyError):
        return None
    return own[0] if own and own[0].get("state") not in (None, "unknown", "unreachable") else None


def log_of(c, replica, after):
    with open(os.path.join(c.data, str(replica), "log"), errors="replace") as f:
        f.seek(after)
        return f.read()


def damage():
    """damaged files: the replica says which, in log and status, and takes no part; others serve"""
    with cells.Cell() as c:
        c.chubby("put", "/ls/local/a", "1")
        victim = c.master() % 5 + 1
        data = os.path.join(c.data, str(victim))
        whole = os.path.join(c.data, "whole")
        for i in range(30):
            c.chubby("put", f"/ls/local/f{i}", "x" * 3000)
        # The state is written now and then: wait until the file holds some of it.
        cells.wait_for("the state to be written",
                       lambda: os.path.getsize(data + "/state.db") > 40000 or
                       os.path.getsize(data + "/state.db-wal") > 40000)
        for what, (word, harm) in DAMAGE.items():
            c.hold_restarts()
            old = c.pid(victim)
            c.kill(victim)
            cells.wait_for("its end", lambda: word_of(c, victim) is None)
            shutil.rmtree(whole, ignore_errors=True)
            shutil.copytree(data, whole)
            for name in ("log.db-wal", "log.db-shm", "state.db-wal", "state.db-shm"):
                if word + "-" in name and os.path.exists(os.path.join(data, name)):
                    fold(os.path.join(data, word))
            mark = os.path.getsize(os.path.join(data, "log"))
            harm(data)
            c.allow_restarts()
            cells.wait_for("the replica's return", lambda: c.pid(victim) != old)
            own = cells.wait_for(f"{what}: a word of the replica", lambda: word_of(c, victim))
            said = log_of(c, victim, mark)
            assert word in said and ("ERROR" in said or "WARNING" in said), f"{what}: {said}"
            if own["state"] in ("master", "follower", "candidate", "starting"):
                # Damaged state alone may be rebuilt from a peer.
                assert word == "state.db", f"{what}: {own}"
            else:
                assert word in own.get("trouble", ""), f"{what}: {own}"
                assert not healthy(c.base + 200 + victim), f"{what}: healthy all the same"
            c.chubby("put", "/ls/local/a", what)
            assert c.chubby("cat", "/ls/local/a").stdout == what
            restore(c, victim, data, whole)
        c.wait_alike()


def fold(path):
    """Takes what stands in the write-ahead log into the database, so that its damage counts."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def restore(c, victim, data, whole):
    """The files as they were when the replica died: it was only away."""
    c.hold_restarts()
    old = c.pid(victim)
    c.kill(victim)
    cells.wait_for("its end", lambda: word_of(c, victim) is None)
    for name in os.listdir(data):
        if name not in ("log", "pid"):
            os.remove(os.path.join(data, name))
    for name in os.listdir(whole):
        if name not in ("log", "pid"):
            shutil.copy2(os.path.join(whole, name), data)
    c.allow_restarts()
    cells.wait_for("the replica's return", lambda: c.pid(victim) != old)
    cells.wait_for("the restored replica", lambda: (word_of(c, victim) or {}).get("state") in
                   ("master", "follower"))


if __name__ == "__main__":
    cells.run(settings, directories, clocks, contention, beginnings, damage)
