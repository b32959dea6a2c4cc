"""The README's tour, command by command, as written."""
import os
import re
import shlex
import subprocess

import cell as cells

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
README = os.path.join(ROOT, "README.md")
STATE = "~/.local/state/chubby-quickstart"


def commands():
    """The lines of the shell blocks between "A tour" and "From C", but for the quickstart's own:
    it would build again under this test."""
    with open(README) as f:
        tour = f.read().split("## A tour", 1)[1].split("\n## ", 1)[0]
    for block in re.findall(r"```sh\n(.*?)```", tour, re.S):
        for line in block.strip().splitlines():
            if not line.startswith("deploy/quickstart") and not line.startswith(". "):
                yield line


def tour():
    """every command of the README's tour ends with status 0"""
    lines = list(commands())
    assert len(lines) >= 15, lines
    with cells.Cell() as c:
        examples = os.path.join(os.path.abspath(cells.BUILD), "libchubby", "examples")
        env = dict(c.env, PATH=f"{examples}:{os.path.dirname(os.path.abspath(cells.CHUBBY))}:"
                               f"{os.path.dirname(os.path.abspath(cells.CHUBBYD))}:"
                               f"{os.environ['PATH']}")
        for line in lines:
            r = subprocess.run(["sh", "-c", line.replace(STATE, shlex.quote(c.data))], env=env,
                               capture_output=True, text=True, timeout=60,
                               stdin=subprocess.DEVNULL, cwd=ROOT)
            assert r.returncode == 0, f"$ {line}\nstatus {r.returncode}\n{r.stdout}{r.stderr}"


if __name__ == "__main__":
    cells.run(tour)
