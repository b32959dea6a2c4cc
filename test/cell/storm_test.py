"""Every feature of locks, from many clients, while masters are killed.

usage: storm_test.py [--kills N] [--clients N] [--seed N]
"""
import argparse
import os
import random
import subprocess
import time

import cell as cells
import history as histories
import storm_check

LOCKS = 3
EVERY_SO_MANY_TWO = 4           # of the kills, each such takes another replica with the master
WITNESSED_LEAST = 0.2           # of the grants; the others hardly waited, or after a cancel


def start_clients(c, count, directory, seed, *options):
    os.mkdir(directory)
    return [subprocess.Popen(
        [os.path.join(cells.BUILD, "test", "cell", "storm"), "--servers", c.servers, "--client",
         str(i), "--history", os.path.join(directory, str(i)), "--seed", str(seed), *options],
        stderr=subprocess.PIPE, text=True) for i in range(count)]


def stop_clients(clients):
    """Each finishes what it is at, and ends well."""
    for p in clients:
        p.terminate()
    complaints = []
    for p in clients:
        try:
            _, err = p.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            complaints.append("a client did not end within 60 s")
            continue
        if p.returncode != 0:
            complaints.append(f"status {p.returncode}: {err}")
    return complaints


def finals_of(c, clients, locks):
    """What the counters say in the end."""
    names = [f"count-{chr(ord('a') + i)}" for i in range(locks)]
    names += [f"own-{i}" for i in range(clients)]
    finals = {}
    for name in names:
        r = c.chubby("cat", f"/ls/local/{name}", check=False)
        if r.returncode == 0:
            finals[name] = int(r.stdout.split()[0])
    return finals


def everybody_goes_on(progress, clients):
    """Each client is granted a lock once more."""
    before = progress.update()

    def all_did():
        now = progress.update()
        return len(now) == clients and all(n > before.get(name, 0) for name, n in now.items())
    cells.wait_for("a grant for each client", all_did, 30)


def kill_once(c, rng, two):
    """kill -9 of the master, and of one more; returns once all are back."""
    victims = [c.wait_master()]
    if two:
        victims.append(rng.choice([i for i in range(1, 6) if i != victims[0]]))
    old = {i: c.pid(i) for i in victims}
    for i in victims:
        c.kill(i)
    return old


def all_back(c, old):
    return all(c.pid(i) != pid for i, pid in old.items()) and all(
        r["state"] in ("master", "follower") for r in c.status()["replicas"])


def rest(rng):
    """The next kill comes at no particular moment of what the cell does."""
    until = time.monotonic() + rng.uniform(0, 0.3)
    cells.wait_for("a moment", lambda: time.monotonic() > until)


def tell(name, figures, seconds):
    print(f"     {name}: {figures['clients']} clients, {seconds:.0f} s, {figures['grants']} grants "
          f"({figures['exclusive']} exclusive), {figures['increments']} increments, "
          f"{figures['witnessed']} places in the queue seen\n"
          f"     refused as documented: {figures['refusals']}\n"
          f"     wait {figures['mean_wait_s'] * 1e3:.0f} ms mean, "
          f"{figures['longest_wait_s']:.2f} s longest; grants of a client "
          f"{figures['fewest_grants']} to {figures['most_grants']}\n"
          f"     longest gap of all {figures['longest_gap_of_all_s']:.2f} s, of one client "
          f"{figures['longest_gap_of_one_s']:.2f} s; {figures['jeopardies']} in jeopardy",
          flush=True)


def judge(c, clients, directory, samples, locks, complaints, calm=False):
    history = histories.read_all(directory)
    try:
        figures = storm_check.check(history, samples, finals_of(c, clients, locks), calm)
    except AssertionError as e:
        complaints = complaints + [str(e)]
    assert not complaints, "\n".join(complaints)
    assert figures["clients"] == clients
    return history, figures


def storm(arguments):
    rng = random.Random(arguments.seed)
    with cells.Cell() as c:
        directory = os.path.join(c.data, "histories")
        clients = start_clients(c, arguments.clients, directory, arguments.seed)
        progress = histories.Progress(directory)
        sampler = histories.Sampler(c.servers)
        began = time.monotonic()
        try:
            everybody_goes_on(progress, arguments.clients)
            for k in range(arguments.kills):
                rest(rng)
                old = kill_once(c, rng, two=k % EVERY_SO_MANY_TWO == EVERY_SO_MANY_TWO - 1)
                everybody_goes_on(progress, arguments.clients)
                cells.wait_for("the return of the dead", lambda: all_back(c, old), 20)
                gone = [i for i, p in enumerate(clients) if p.poll() is not None]
                assert not gone, f"clients {gone} gave up"
        finally:
            samples = sampler.stop()
            complaints = stop_clients(clients)
            progress.close()
            for complaint in complaints:
                print(f"     {complaint}", flush=True)
        seconds = time.monotonic() - began
        history, figures = judge(c, arguments.clients, directory, samples, LOCKS, complaints)
        tell(f"{arguments.kills} kills", figures, seconds)
        assert figures["witnessed"] > WITNESSED_LEAST * figures["grants"], "the queue was not seen"
        # Everything was used, and brought each of its documented results.
        used = {claim.how for claim in history.held()}
        assert used >= {"wait", "try", "deadline", "poison", "close", "convenient", "misuse",
                        "multi", "take", "all", "bound", "async"}, used
        assert figures["refusals"].keys() >= {"BUSY", "DEADLINE_EXCEEDED", "CANCELLED"}
        assert set(history.checks) == {(True, "OK"), (False, "SEQUENCER_INVALID")}
        c.wait_alike()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    print(f"     repeat with: {os.path.basename(__file__)} --kills {arguments.kills} "
          f"--seed {arguments.seed}", flush=True)

    def test():
        """kill -9 of masters under clients that use every feature of locks"""
        storm(arguments)
    cells.run(test)


if __name__ == "__main__":
    main()
