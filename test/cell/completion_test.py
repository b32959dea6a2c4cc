"""Completion in bash, zsh and fish, as a person at the keyboard meets it.

A shell that is not installed is passed over, and named.
"""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time

import cell as cells

SCRIPTS = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "cli", "completion"))

# Behind a command's output: before the prompt a tab would be no request.
PROMPT = r"{}\r?\n[^>]*> "

# What is typed before the tab, and what stands on the line behind it, without regard to quoting.
TYPED = [
    ("chubby loc", "chubby lock"),
    ("chubby mul", "chubby multi "),
    ("chubby lock --sh", "chubby lock --shared "),
    ("chubby help ben", "chubby help bench "),
    ("chubby cat /l", "chubby cat /ls/local/"),
    ("chubby cat /ls/local/dir", "chubby cat /ls/local/directory/"),
    ("chubby cat /ls/local/directory/tw", "chubby cat /ls/local/directory/two words "),
    ("chubby cat /ls/local/directory/co", "chubby cat /ls/local/directory/colon:x "),
    ("chubby cat /ls/local/directory/colon:", "chubby cat /ls/local/directory/colon:x "),
    ("chubby --cell=local --servers {first} cat /ls/local/dir",
     "chubby --cell=local --servers {first} cat /ls/local/directory/"),
    ("chubby multi exists /ls/local/directory/co",
     "chubby multi exists /ls/local/directory/colon:x "),
    ("chubby multi exists /ls/local/a wri", "chubby multi exists /ls/local/a write "),
    ("chubby session e", "chubby session end "),
    ("chubby lock /ls/local/a -- chubby-only-thi", "chubby lock /ls/local/a -- chubby-only-this "),
    ("chubby lock /ls/local/a -- cat only-this-fi",
     "chubby lock /ls/local/a -- cat only-this-file "),
]
# The completion of the inner command, which bash alone, without its package, does not have.
INNER = [("chubby lock /ls/local/a -- chubby mkd", "chubby lock /ls/local/a -- chubby mkdir ")]


class Shell:
    """An interactive shell behind a terminal."""

    def __init__(self, words, env, setup):
        pid, self.terminal = pty.fork()
        if pid == 0:
            os.execvpe(words[0], words, dict(env, TERM="dumb", PS1="> ", COLUMNS="300",
                                             INPUTRC="/dev/null"))
        self.pid = pid
        self.seen = ""
        self.type(f"cd {env['HOME']} && " + setup + " && stty cols 300 && echo rea''dy\n")
        self.until(PROMPT.format("ready"))

    def type(self, text):
        os.write(self.terminal, text.encode())

    def until(self, pattern, seconds=20.0):
        """Reads until the screen shows it; colours and the like are left out."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                raise AssertionError(f"not within {seconds} s: {pattern!r} in {self.seen!r}")
            text = os.read(self.terminal, 65536).decode(errors="replace")
            self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x07", "", text)
        self.seen = self.seen[re.search(pattern, self.seen).end():]

    def close(self):
        os.close(self.terminal)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def tabs(shell, first, lines):
    """Each line is typed, completed, and taken away with Ctrl-U."""
    for i, (typed, want) in enumerate(lines):
        shell.type(typed.format(first=first) + "\t")
        # A blank may be quoted. What is typed and what the tab adds come in pieces: all counts.
        shell.until(re.escape(want.format(first=first)).replace(r"\ ", r"[\\ ]+"))
        shell.type(f"\x15echo {i}-do''ne\n")
        shell.until(PROMPT.format(f"{i}-done"))


def environment(c):
    """The tool in the path, and a command that nothing else has the name of."""
    bin_directory = os.path.join(c.data, "bin")
    os.makedirs(bin_directory)
    os.symlink(os.path.abspath(cells.CHUBBY), os.path.join(bin_directory, "chubby"))
    os.symlink("/bin/true", os.path.join(bin_directory, "chubby-only-this"))
    for name in "two words", "colon:x":
        c.chubby("put", f"/ls/local/directory/{name}", "x")
    with open(os.path.join(c.data, "only-this-file"), "w", encoding="utf-8"):
        pass
    return dict(c.env, PATH=f"{bin_directory}:{os.environ['PATH']}", HOME=c.data)


def bash(c, env):
    """bash: commands, options, paths with blanks and colons, and the command under the lock"""
    shell = Shell(["bash", "--norc", "--noprofile", "-i"], env,
                  f"bind 'set enable-bracketed-paste off' && . {SCRIPTS}/chubby.bash")
    try:
        tabs(shell, c.servers.split(",")[0], TYPED)
    finally:
        shell.close()


def zsh(c, env):
    """zsh: the same"""
    shell = Shell(["zsh", "-f", "-i"], env,
                  f"unset zle_bracketed_paste; fpath=({SCRIPTS} $fpath); autoload -Uz compinit && "
                  "compinit -u -D")
    try:
        tabs(shell, c.servers.split(",")[0], TYPED + INNER)
    finally:
        shell.close()


def fish(c, env):
    """fish: the same, by its own `complete -C`"""
    for typed, want in TYPED + INNER:
        typed, want = (t.format(first=c.servers.split(",")[0]) for t in (typed, want))
        word = want.rstrip()[len(typed) - len(typed.rsplit(" ", 1)[-1]):].lstrip()
        r = subprocess.run(["fish", "--no-config", "-c",
                            f"source {SCRIPTS}/chubby.fish; complete -C $argv[1]", typed],
                           env=env, cwd=c.data, capture_output=True, text=True, timeout=60,
                           check=True)
        offered = [line.split("\t")[0] for line in r.stdout.splitlines()]
        assert word in offered, f"{typed}: {word!r} is not in {r.stdout!r}"


def sessions(c):
    """session end: the sessions that there are"""
    p = subprocess.Popen([cells.CHUBBY, "lock", "/ls/local/a"], env=c.env, text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert p.stdout.readline(), "no sequencer"
        said = c.chubby(".complete", "session", "end", "").stdout
        ids = {str(s["session"]) for s in json.loads(
            c.chubby("sessions", "--json").stdout)["sessions"]}
        assert {line.split("\t")[0] for line in said.splitlines()} == ids, said
    finally:
        p.terminate()
        p.communicate(timeout=30)


def no_cell(c):
    """without a cell completion of paths offers nothing, says nothing, and does not keep one
    waiting"""
    began = time.monotonic()
    r = c.chubby(".complete", "--servers", "127.0.0.1:1", "cat", "/ls/local/a")
    assert r.stdout == "" and time.monotonic() - began < 5, r


def nonsense(c):
    """whatever stands on the line, completion ends with status 0"""
    for words in ([], ["--"], ["nosuch", ""], ["lock", "--timeout"], ["lock", "--timeout", ""],
                  ["cat", "nopath"], ["cat", "/ls"], ["cat", "/ls/other/x"], ["multi", "x", ""],
                  ["session", "end", "1", ""], ["-x"], ["cat", "/ls/local/\x01"], ["ls", "a", ""]):
        c.chubby(".complete", *words)


def installed(c):
    """the scripts go where each shell looks"""
    r = subprocess.run(["meson", "introspect", "--installed", cells.BUILD], capture_output=True,
                       text=True, timeout=60, check=True)
    places = json.loads(r.stdout).values()
    for end in ("share/bash-completion/completions/chubby", "share/zsh/site-functions/_chubby",
                "share/fish/vendor_completions.d/chubby.fish"):
        assert any(p.endswith(end) for p in places), end


def in_each_shell():
    """completion in the shells that are installed"""
    with cells.Cell(replicas=3) as c:
        c.chubby("mkdir", "/ls/local/directory")
        env = environment(c)
        for test in bash, zsh, fish, sessions, no_cell, nonsense, installed:
            name = " ".join(test.__doc__.split())
            if test in (bash, zsh, fish):
                if shutil.which(test.__name__) is None:
                    print(f"  passed over, {test.__name__} is not installed: {name}", flush=True)
                    continue
                test(c, env)
            else:
                test(c)
            print(f"  ok {name}", flush=True)


if __name__ == "__main__":
    cells.run(in_each_shell)
