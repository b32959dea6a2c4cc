"""A replica that was away catches up from the log while the others serve."""
import os
import time

import cell as cells

COMMANDS = int(os.environ.get("CHUBBY_TEST_COMMANDS", "200000"))


def away():
    """a replica that was away for 200,000 commands catches up while the others serve"""
    with cells.Cell() as c:
        c.chubby("put", "/ls/local/a", "1")
        master = c.master()
        victim = master % 5 + 1
        c.hold_restarts()
        c.kill(victim)
        flood = c.worker(1, 600, "flood", "--count", str(COMMANDS), "--threads", "48")
        cells.finish([flood], timeout=300)
        target = max(r["revision"] for r in c.status()["replicas"])
        assert target >= COMMANDS
        traffic = c.worker(2, 600)
        began = time.monotonic()
        c.allow_restarts()
        cells.wait_for("the replica to catch up", lambda: any(
            r["id"] == victim and r["revision"] >= target for r in c.status()["replicas"]), 120,
            0.1)
        took = time.monotonic() - began
        traffic.terminate()
        result = cells.finish([traffic])[0]
        assert result["sections"] > 0
        print(f"     {target} revisions behind, caught up in {took:.1f} s; "
              f"longest gap of a client meanwhile {result['longest_gap_s']:.2f} s")
        c.wait_alike()


def small_slots():
    """a replica behind by more small slots than a frame may hold catches up"""
    with cells.Cell(replicas=3) as c:
        c.chubby("put", "/ls/local/a", "1")
        victim = c.master() % 3 + 1
        c.hold_restarts()
        c.kill(victim)
        # Two threads: each slot holds one command or two, some hundred bytes.
        cells.finish([c.worker(1, 600, "flood", "--count", "14000", "--threads", "2")], timeout=120)
        status = c.status()
        assert max(r["chosen"] for r in status["replicas"]) > 6000, status
        c.allow_restarts()
        c.wait_alike(20)


if __name__ == "__main__":
    cells.run(away, small_slots)
