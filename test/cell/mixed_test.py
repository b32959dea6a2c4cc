"""Shared and exclusive clients on one lock: nothing overlaps that must not, nobody starves, FIFO.

usage: mixed_test.py [--seconds N] [--clients N] [--seed N]
"""
import argparse
import os
import random
import threading

import cell as cells
import history as histories
import storm_test

# Waits are spread by luck alone: who draws long holds before him waits longer.
LONGEST_WAIT_OF_MEAN = 6
FEWEST_OF_MOST = 0.5            # grants of one client and of another
WITNESSED_LEAST = 0.8           # of the grants


def groups_of_readers(history):
    """How many shared holders the cell let in at once, at most."""
    groups = {}
    for claim in history.held():
        if claim.mode == "s":
            groups[claim.grant[0]] = groups.get(claim.grant[0], 0) + 1
    return max(groups.values(), default=0)


def mixed(arguments):
    with cells.Cell() as c:
        directory = os.path.join(c.data, "histories")
        clients = storm_test.start_clients(c, arguments.clients, directory, arguments.seed,
                                           "--mixed")
        progress = histories.Progress(directory)
        sampler = None
        try:
            storm_test.everybody_goes_on(progress, arguments.clients)
            sampler = histories.Sampler(c.servers)
            threading.Event().wait(arguments.seconds)
            assert all(p.poll() is None for p in clients), "a client gave up"
        finally:
            samples = sampler.stop() if sampler else []
            complaints = storm_test.stop_clients(clients)
            progress.close()
            for complaint in complaints:
                print(f"     {complaint}", flush=True)
        history, figures = storm_test.judge(c, arguments.clients, directory, samples, 1,
                                            complaints, calm=True)
        storm_test.tell("calm", figures, arguments.seconds)
        print(f"     {figures['grants'] / arguments.seconds:.0f} grants/s, largest group of "
              f"readers {groups_of_readers(history)}")
        assert not figures["refusals"] and figures["jeopardies"] == 0, figures
        assert figures["witnessed"] > WITNESSED_LEAST * figures["grants"], "queue not seen"
        assert groups_of_readers(history) > 1, "no two readers were let in together"
        assert figures["fewest_grants"] > FEWEST_OF_MOST * figures["most_grants"], figures
        assert figures["longest_wait_s"] < LONGEST_WAIT_OF_MEAN * figures["mean_wait_s"], figures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    arguments = parser.parse_args()
    print(f"     repeat with: {os.path.basename(__file__)} --seconds {arguments.seconds} "
          f"--seed {arguments.seed}", flush=True)

    def test():
        """many clients on one lock in both modes: no forbidden overlap, FIFO, nobody starves"""
        mixed(arguments)
    cells.run(test)


if __name__ == "__main__":
    main()
