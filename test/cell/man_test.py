"""The examples of chubby(1) and chubbyd(8), run as they stand, and what those pages must name.

Everything literal in a page's EXAMPLES is a script for the shell; in chubbyd(8) the addresses and
directories, which belong to others, are replaced by some of this test's own.
"""
import os
import re
import signal
import subprocess
import tempfile

import cell as cells

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def page(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def examples(path):
    """The literal blocks and lines of the section EXAMPLES, as the reader sees them."""
    section = page(path).split("\n.Sh EXAMPLES\n", 1)[1].split("\n.Sh ", 1)[0]
    found = []
    block = None
    for line in section.splitlines():
        if line.startswith(".Bd -literal"):
            block = []
        elif line == ".Ed":
            found.append("\n".join(block) + "\n")
            block = None
        elif block is not None:
            assert not line.startswith((".", "'")), f"{path}: a request in an example: {line}"
            block.append(plain(line))
        elif line.startswith(".Dl "):
            assert '"' not in line, f"{path}: mdoc takes the quotes away: {line}"
            found.append(plain(line[4:]) + "\n")
    return found


def plain(line):
    line = line.replace("\\&", "").replace("\\(aq", "'").replace("\\(dq", '"').replace("\\-", "-")
    line = line.replace("\\e", "\0")
    assert "\\" not in line, f"an escape that this test does not know: {line}"
    return line.replace("\0", "\\")


def tools(env):
    """The programs of this build, by their names."""
    return dict(env, PATH=":".join(os.path.dirname(os.path.abspath(p)) for p in
                                   (cells.CHUBBY, cells.CHUBBYD)) + ":" + os.environ["PATH"])


def script(text, env, directory):
    r = subprocess.run(["sh", "-ec", text], env=tools(env), cwd=directory, capture_output=True,
                       text=True, timeout=120, stdin=subprocess.DEVNULL, check=False)
    assert r.returncode == 0, f"status {r.returncode} of\n{text}{r.stdout}{r.stderr}"
    return r.stdout


def chubby():
    """every example of chubby(1) ends with status 0, and there is one of each command"""
    scripts = examples("cli/chubby.1")
    every = "".join(scripts)
    with cells.Cell(replicas=3) as c, tempfile.TemporaryDirectory() as directory:
        for text in scripts:
            script(text, c.env, directory)
        offered = c.chubby(".complete", "").stdout.splitlines()
        commands = [line.split("\t")[0] for line in offered]
        assert len(commands) >= 17, commands
        for command in commands:
            assert re.search(rf"\bchubby {command}\b", every), f"no example of {command}"


def names():
    """chubby(1) names each command, each option, and each exit status that a tool can end with"""
    text = page("cli/chubby.1")
    with cells.Cell(replicas=1) as c:
        for line in c.chubby(".complete", "").stdout.splitlines():
            command = line.split("\t")[0]
            assert re.search(rf"^\.(It )?Ic {command}\b", text, re.M), command
            for option in c.chubby(".complete", command, "--").stdout.splitlines():
                name = option.split("\t")[0][1:]
                assert re.search(rf"\bFl (l , |p , |h , )?{name}\b", text), f"{command} -{name}"
    status = text.split(".Sh EXIT STATUS", 1)[1].split(".Sh ", 1)[0]
    table = page("libchubby/base/error.h")
    codes = {int(row) for row in re.findall(r"X\(\w+, +\d+, +\d+, +(\d+),", table)}
    assert len(codes) >= 7, codes
    for code in codes:
        assert re.search(rf"^\.It {code}\b", status, re.M), f"exit status {code}"


def of(scripts, beginning):
    found = [text for text in scripts if text.startswith(beginning)]
    assert len(found) == 1, f"{beginning}: {found}"
    return found[0]


def ours(text, base, directory):
    """The same on this machine's loopback, with ports and directories of this test."""
    def replica(m):
        i = int(m[1])
        return (f"{i}=127.0.0.1:{base + i},127.0.0.1:{base + 100 + i},"
                f"127.0.0.1:{base + 200 + i}")
    text = re.sub(r"(\d)=10\.0\.0\.\1:7401,10\.0\.0\.\1:7501,127\.0\.0\.1:7601", replica, text)
    return text.replace("/tmp/cell", f"{directory}/dev").replace(
        "127.0.0.1:7601", f"127.0.0.1:{base + 201}")


def stop(processes):
    for p in processes:
        p.send_signal(signal.SIGTERM)
    for p in processes:
        p.wait(60)


def chubbyd_dev():
    """chubbyd(8): a cell to try out, and what to do with it"""
    scripts = examples("daemon/chubbyd.8")
    base = cells.free_base(5)
    with tempfile.TemporaryDirectory() as directory:
        start = ours(of(scripts, "chubbyd dev"), base, directory).strip() + f" --port {base}"
        p = subprocess.Popen(["sh", "-c", "exec " + start], env=tools(os.environ), cwd=directory,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            env = os.path.join(directory, "dev", "env")
            cells.wait_for("the cell's master", lambda: os.path.exists(env) and subprocess.run(
                ["sh", "-c", f". {env} && exec chubby status"], env=tools(os.environ),
                capture_output=True, check=False).returncode == 0)
            out = script(ours(of(scripts, ". "), base, directory), os.environ, directory)
            assert "master" in out and "alone" in out, out
        finally:
            stop([p])


def chubbyd_three():
    """chubbyd(8): a cell of three, made, started with the page's settings, and in good health"""
    scripts = examples("daemon/chubbyd.8")
    base = cells.free_base(3)
    processes = []
    with tempfile.TemporaryDirectory() as directory:
        script(ours(of(scripts, "chubbyd init"), base, directory), os.environ, directory)
        try:
            for i in 1, 2, 3:
                config = os.path.join(directory, f"{i}.conf")
                with open(config, "w", encoding="utf-8") as f:
                    f.write(of(scripts, "[chubbyd]").replace(
                        "/var/lib/chubby", os.path.join(directory, "cell", str(i))))
                start = of(scripts, "chubbyd run").replace("/etc/chubby/chubbyd.conf", config)
                processes.append(subprocess.Popen(
                    ["sh", "-c", "exec " + start], env=tools(os.environ), cwd=directory,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            servers = ",".join(f"127.0.0.1:{base + i}" for i in (1, 2, 3))
            env = dict(os.environ, CHUBBY_SERVERS=servers, CHUBBY_CELL="berlin")
            script("chubby lock /ls/berlin/first --timeout 30s -- true", env, directory)
            # The other two are enough for a master: the first may be a moment later.
            ask = ours(of(scripts, "curl"), base, directory)
            cells.wait_for("the first to take part", lambda: subprocess.run(
                ["sh", "-ec", ask], capture_output=True, check=False).returncode == 0)
        finally:
            stop(processes)


if __name__ == "__main__":
    cells.run(chubby, names, chubbyd_dev, chubbyd_three)
