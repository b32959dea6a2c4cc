"""Locks from the shell: mutual exclusion and tokens that grow."""
import os
import signal
import subprocess

import cell as cells

SHELLS = 8
TIMES = int(os.environ.get("CHUBBY_TEST_LOCKS", "100"))


def critical_sections():
    """chubby lock from 8 shells at once: never two inside, tokens grow in the order of sections"""
    with cells.Cell() as c:
        inside = os.path.join(c.data, "inside")
        order = os.path.join(c.data, "order")
        # mkdir fails if somebody is inside; the order file is appended to while inside.
        section = (f'mkdir {inside} || exit 9; echo "$CHUBBY_FENCING_TOKEN" >> {order}; '
                   f'rmdir {inside}')
        each = -(-TIMES // SHELLS)
        shells = [subprocess.Popen(
            ["sh", "-c", f"for i in $(seq {each}); do "
             f"{cells.CHUBBY} lock /ls/local/a -- sh -c '{section}' || exit $?; done"],
            env=c.env, stderr=subprocess.PIPE, text=True) for _ in range(SHELLS)]
        for s in shells:
            _, err = s.communicate(timeout=240)
            assert s.returncode == 0, f"status {s.returncode}: {err}"
        with open(order) as f:
            tokens = [int(line) for line in f]
        assert len(tokens) == each * SHELLS, len(tokens)
        assert all(a < b for a, b in zip(tokens, tokens[1:])), "tokens do not grow"
        assert c.locks("/ls/local/a") == []


def exit_status():
    """the command's own exit status is passed on, and its environment names the lock"""
    with cells.Cell(replicas=3) as c:
        r = c.chubby("lock", "/ls/local/a", "--", "sh", "-c", "exit 42", check=False)
        assert r.returncode == 42, r
        r = c.chubby("lock", "/ls/local/a", "--", "sh", "-c", "kill -9 $$", check=False)
        assert r.returncode == 128 + 9, r
        r = c.chubby("lock", "/ls/local/a", "--", "sh", "-c",
                     'echo "$CHUBBY_LOCK_PATH $CHUBBY_FENCING_TOKEN"; '
                     f'{cells.CHUBBY} check "$CHUBBY_SEQUENCER" >&2')
        path, token = r.stdout.split()
        assert path == "/ls/local/a" and int(token) > 0, r.stdout
        r = c.chubby("lock", "/ls/local/a", "--", "sh", "-c", 'printf %s "$CHUBBY_SEQUENCER"')
        assert c.chubby("check", r.stdout, check=False).returncode == 3


def single_replica():
    """a cell of one replica works and survives kill -9"""
    with cells.Cell(replicas=1) as c:
        c.chubby("put", "/ls/local/a", "1")
        c.kill(1)
        c.wait_master()
        assert c.chubby("cat", "/ls/local/a").stdout == "1"


def waits_through_jeopardy():
    """a silence of the cell while the lock is waited for costs its later holder nothing"""
    with cells.Cell(replicas=3) as c:
        holder = subprocess.Popen([cells.CHUBBY, "lock", "/ls/local/a"], env=c.env,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert holder.stdout.readline()
        mark = os.path.join(c.data, "mark")
        waiter = subprocess.Popen(
            [cells.CHUBBY, "lock", "--lease", "1s", "/ls/local/a", "--", "sh", "-c",
             f"trap 'kill $!; exit 7' HUP; sleep 60 & echo >{mark}; wait"], env=c.env,
            stderr=subprocess.PIPE, text=True)

        def waiters():
            return sum(x["waiter_count"] for x in c.locks("/ls/local/a"))

        cells.wait_for("a waiter", lambda: waiters() == 1)
        c.hold_restarts()
        for i in 1, 2, 3:
            c.pause(i)
        try:
            waiter.wait(3)  # its lease runs out meanwhile
            raise AssertionError(f"status {waiter.returncode}: {waiter.stderr.read()}")
        except subprocess.TimeoutExpired:
            pass
        finally:
            for i in 1, 2, 3:
                c.resume(i)
            c.allow_restarts()
        c.wait_master()
        assert waiters() == 1
        holder.terminate()
        holder.communicate(timeout=30)
        cells.wait_for("the command to run", lambda: os.path.exists(mark))
        waiter.send_signal(signal.SIGHUP)
        _, err = waiter.communicate(timeout=30)
        assert waiter.returncode == 7, f"status {waiter.returncode}: {err}"


if __name__ == "__main__":
    cells.run(critical_sections, exit_status, single_replica, waits_through_jeopardy)
