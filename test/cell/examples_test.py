"""The examples of the library's manual pages, on a real cell."""
import glob
import json
import os
import re
import subprocess
import tempfile

import cell as cells

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
EXAMPLES = os.path.join(cells.BUILD, "libchubby", "examples")


def start(c, name, *arguments):
    return subprocess.Popen([os.path.join(EXAMPLES, f"example_{name}"), *arguments], env=c.env,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def run(c, name, *arguments, status=0):
    """What the example prints; it must end with the given status."""
    p = start(c, name, *arguments)
    out, err = p.communicate(timeout=60)
    assert p.returncode == status, f"{name}: status {p.returncode}: {out}{err}"
    return out if status == 0 else err


def end(p):
    out, err = p.communicate(timeout=30)
    assert p.returncode == 0, f"status {p.returncode}: {out}{err}"
    return out


def connect():
    """connect: a session, and a sentence where there is no cell"""
    with cells.Cell(replicas=1) as c:
        out = run(c, "connect")
        left = re.fullmatch(r"session \d+, safe, (\d+) ms of its lease left\n", out)
        assert left and 15000 < int(left[1]) <= 20000, out
        c.env = dict(c.env, CHUBBY_SERVERS="127.0.0.1:1")
        assert run(c, "connect", status=1).startswith("connect: ")


def members():
    """open: who is there, and not who died"""
    with cells.Cell(replicas=3) as c:
        first = start(c, "open", "anna")
        assert first.stdout.readline() == "anna\n"
        second = start(c, "open", "bert")
        assert [second.stdout.readline() for _ in range(2)] == ["anna\n", "bert\n"]
        assert "exists" in run(c, "open", "bert", status=1)
        stat = json.loads(c.chubby("stat", "/ls/local/members/anna", "--json").stdout)
        assert stat["ephemeral"] and stat["size_bytes"] == 2, stat
        end(first)
        cells.wait_for("anna's node to go", lambda: c.chubby(
            "ls", "/ls/local/members").stdout.split() == ["bert"])
        second.kill()
        second.communicate()
        cells.wait_for("the node of the dead to go", lambda: c.chubby(
            "ls", "/ls/local/members").stdout == "", 40, 0.2)


def counter():
    """get: eight processes count at once, and no count is lost"""
    with cells.Cell(replicas=3) as c:
        counts = []
        for _ in range(4):
            group = [start(c, "get", "/ls/local/counter") for _ in range(8)]
            counts += [int(end(p)) for p in group]
        assert sorted(counts) == list(range(1, 33)), counts


def sequencers():
    """acquire: the sequencer stands while the lock is held; a busy lock is waited for in vain"""
    with cells.Cell(replicas=3) as c:
        out = run(c, "acquire", "/ls/local/job")
        said = re.fullmatch(r"holding /ls/local/job with token (\d+)\n"
                            r"the sequencer stands, with token (\d+)\n"
                            r"released: the sequencer stands no more\n", out)
        assert said and said[1] == said[2], out
        out = run(c, "lock", "/ls/local/job")
        assert int(re.fullmatch(r"holding /ls/local/job with token (\d+)\n", out)[1]) > int(said[1])
        holder = c.hold_lock("/ls/local/job")
        assert "in time" in run(c, "acquire", "/ls/local/job", status=75)
        holder.terminate()
        holder.wait(30)


def move():
    """multi: a file is moved whole or not at all"""
    with cells.Cell(replicas=3) as c:
        c.chubby("put", "/ls/local/from", "what it says")
        assert re.fullmatch(r"moved at revision \d+\n", run(c, "multi", "/ls/local/from",
                                                            "/ls/local/to"))
        assert c.chubby("cat", "/ls/local/to").stdout == "what it says"
        assert c.chubby("cat", "/ls/local/from", check=False).returncode == 2
        c.chubby("put", "/ls/local/from", "again")
        p = start(c, "multi", "/ls/local/from", "/ls/local/to")
        out, _ = p.communicate(timeout=30)
        assert out == "nothing was changed: number 1 says EXISTS\n" and p.returncode == 1, out
        assert c.chubby("cat", "/ls/local/from").stdout == "again"
        assert c.chubby("cat", "/ls/local/to").stdout == "what it says"


def codes():
    """error: does the job, or leaves it to who does; and says what is wrong"""
    with cells.Cell(replicas=3) as c:
        assert re.fullmatch(r"doing the job with token \d+\n", run(c, "error", "/ls/local/job"))
        holder = c.hold_lock("/ls/local/job")
        assert run(c, "error", "/ls/local/job") == "somebody else does the job\n"
        holder.terminate()
        holder.wait(30)
        said = run(c, "error", "/ls/local/no/job", status=1)
        assert "(NOT_FOUND)" in said and "/ls/local/no/job" in said, said
        assert "(INVALID_PATH)" in run(c, "error", "job", status=1)


def two_locks():
    """lock_all: many take two locks, named in either order; none waits in a circle"""
    with cells.Cell(replicas=3) as c:
        pair = ["/ls/local/account-a", "/ls/local/account-b"]
        tokens = []
        for _ in range(3):
            group = [start(c, "lock_all", *(pair if i % 2 else pair[::-1])) for i in range(8)]
            for p in group:
                said = dict(re.findall(r"holding (\S+) with token (\d+)\n", end(p)))
                assert set(said) == set(pair), said
                tokens.append(said[pair[0]])
        assert len(set(tokens)) == 24, tokens
        cells.wait_for("the locks to be free", lambda: c.locks() == [])


def election():
    """elect: the leader is found; while nobody stands for it, an old address is not believed"""
    with cells.Cell(replicas=3) as c:
        assert "not found" in run(c, "elect", "find", status=1)
        first = start(c, "elect", "lead", "host-a:80")
        token = int(re.fullmatch(r"leading with token (\d+)\n", first.stdout.readline())[1])
        second = start(c, "elect", "lead", "host-b:80")
        cells.wait_for("the second to wait", lambda: any(
            x["waiter_count"] for x in c.locks("/ls/local/leader")))
        assert run(c, "elect", "find") == "host-a:80\n"
        first.kill()
        first.communicate()
        cells.wait_for("the sequencer of the dead to fall", lambda: start(
            c, "elect", "find").wait(30) == 1, 40, 0.2)
        # For the time of the lock-delay nobody leads, and the address of the dead is still there.
        assert "sequencer" in run(c, "elect", "find", status=1)
        assert c.chubby("cat", "/ls/local/leader").stdout.startswith("host-a:80\n")
        later = int(re.fullmatch(r"leading with token (\d+)\n", second.stdout.readline())[1])
        assert later > token
        assert run(c, "elect", "find") == "host-b:80\n"
        end(second)
        assert "sequencer" in run(c, "elect", "find", status=1)


def at_once():
    """call: many files are read at once; a lock that does not come in time is given up"""
    with cells.Cell(replicas=3) as c:
        files = [f"/ls/local/file-{i}" for i in range(20)]
        for file in files:
            c.chubby("put", file, f"this is {file}")
        p = start(c, "call", "/ls/local/job", *files, "/ls/local/none")
        out, err = p.communicate(timeout=60)
        assert p.returncode == 0, out + err
        *lines, last = out.splitlines()
        assert lines == [f"{file}: this is {file}" for file in files], out
        assert re.fullmatch(r"holding /ls/local/job with token \d+", last), last
        assert "/ls/local/none: not found" in err and "the lock's call is done" in err, err
        holder = c.hold_lock("/ls/local/job")
        said = run(c, "call", "/ls/local/job", status=1)
        assert "cancelled" in said, said
        assert not any(x["waiters"] for x in c.locks("/ls/local/job"))
        holder.terminate()
        holder.wait(30)


# ---- from outside --------------------------------------------------------------------------------

def installed(directory):
    """The environment of somebody who has installed it under this directory."""
    subprocess.run(["meson", "install", "-C", cells.BUILD, "--no-rebuild", "--quiet", "--tags",
                    "runtime,devel", "--destdir", directory], check=True,
                   stdout=subprocess.DEVNULL)
    pkgconfig = glob.glob(os.path.join(directory, "**", "libchubby.pc"), recursive=True)
    where = os.path.dirname(pkgconfig[0])
    return dict(os.environ, PKG_CONFIG_PATH=where, PKG_CONFIG_SYSROOT_DIR=directory,
                LD_LIBRARY_PATH=os.path.dirname(where))


def readme_program():
    """What the README shows from C, with what it leaves to the reader."""
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as f:
        said = f.read().split("## From C", 1)[1]
    include, _, body = re.search(r"```c\n(.*?)```", said, re.S)[1].partition("\n")
    command = re.search(r"`(cc .*?)`", said)[1]
    return command, f"""{include}
#include <stdio.h>
static const char *result = "done";
static void write_result(uint64_t token, const char *what)
{{
	printf("%s under token %llu\\n", what, (unsigned long long)token);
}}
int main(void)
{{
{body}
	return 0;
}}
"""


def stranger():
    """what the README shows from C compiles by its own command, and runs"""
    command, program = readme_program()
    with cells.Cell(replicas=1) as c, tempfile.TemporaryDirectory() as room:
        env = dict(installed(os.path.join(room, "root")), CHUBBY_SERVERS=c.servers)
        with open(os.path.join(room, "job.c"), "w", encoding="utf-8") as f:
            f.write(program)
        r = subprocess.run(["sh", "-ec", command + " -Wall -Wextra -Werror -o job && ./job"],
                           cwd=room, env=env, capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr
        assert re.fullmatch(r"done under token \d+\n", r.stdout), r.stdout
        # A header of C++ too: the same program is one.
        r = subprocess.run(["sh", "-ec", command.replace("cc ", "c++ -x c++ ", 1)
                            + " -Wall -Wextra -Werror -o job && ./job"],
                           cwd=room, env=env, capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r.stderr


# ---- the daemon's page ---------------------------------------------------------------------------

def page_blocks():
    """The literal blocks of chubbyd.8's examples, in order."""
    with open(os.path.join(TOP, "daemon", "chubbyd.8"), encoding="utf-8") as f:
        shown = f.read().split(".Sh EXAMPLES", 1)[1].split(".Sh", 1)[0]
    return [b.replace("\\&", "").replace("\\e", "\\")
            for b in re.findall(r"(?m)^\.Bd.*\n((?:.*\n)*?)\.Ed$", shown)]


def daemon_page():
    """the examples of chubbyd.8: a cell to try out, the directories of one, a file of settings"""
    tries, init, settings = page_blocks()
    with cells.Cell() as c:
        r = subprocess.run(["sh", "-ec", tries.replace("/tmp/cell", c.data)], env=c.env,
                           capture_output=True, text=True, timeout=60)
        assert r.returncode == 0 and r.stdout.endswith("alone\n"), r
        tools = f"{os.path.dirname(os.path.abspath(cells.CHUBBYD))}:{os.environ['PATH']}"
        r = subprocess.run(["sh", "-ec", init], cwd=c.data, env=dict(c.env, PATH=tools),
                           capture_output=True, text=True, timeout=60)
        assert r.returncode == 0, r
        assert sorted(os.listdir(os.path.join(c.data, "cell"))) == ["1", "2", "3"]
        conf = os.path.join(c.data, "chubbyd.conf")
        with open(conf, "w", encoding="utf-8") as f:
            f.write(settings)
        # The settings are good, so that it comes to look at the directory.
        r = subprocess.run([cells.CHUBBYD, "run", "--config", conf, "--data", c.data + "/none"],
                           capture_output=True, text=True, timeout=30)
        assert r.returncode == 1 and "holds no replica" in r.stderr, r


if __name__ == "__main__":
    cells.run(connect, members, counter, sequencers, move, codes, two_locks, at_once,
              election, stranger, daemon_page)
