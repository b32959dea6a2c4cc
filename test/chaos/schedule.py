"""What is disturbed, and when: tracks of faults, drawn from a seed, and played.

Two tracks disturb a replica each, so that a minority is disturbed at a time; the third comes now
and then, and disturbs so many more that it is a majority. The seed decides what happens in a track,
for how long, and after which pause; which replica it befalls it decides as far as it can: a fault
for the master befalls whoever is master then, and nothing befalls a replica that is disturbed.
"""
import collections
import math
import random
import threading
import time

import faults
import replicas

TO_RETURN_S = 20.0          # a replica that does not serve by then makes room for other faults
MANY_SHORTEST_S, MANY_LONGEST_S = 0.2, 5.0
FIRST_PAUSE_S = 1.0


class Step:
    """One fault that is to come: after `pause` seconds, on `count` replicas, for `seconds`. With
    `count` 0 on so many that a majority is disturbed."""

    def __init__(self, kind, pause, seconds, count, of_master, seed):
        self.kind = kind
        self.pause = pause
        self.seconds = seconds
        self.count = count
        self.of_master = of_master
        self.seed = seed

    def __str__(self):
        whom = "a majority" if self.count == 0 else "the master" if self.of_master else "a replica"
        return f"after {self.pause:.2f} s: {self.kind} of {whom} for {self.seconds:.2f} s"


def between(rng, shortest, longest):
    """Short ones as often as long ones."""
    return math.exp(rng.uniform(math.log(shortest), math.log(longest)))


def few(seed, track, kinds):
    """The steps of a track that disturbs one replica at a time, for ever."""
    rng = random.Random(f"{seed}/{track}")
    deck = []
    while True:
        if not deck:
            # Twice what befalls followers and the master alike, in any order.
            deck = [(kind, of_master) for kind in kinds for of_master in (False, True)]
            rng.shuffle(deck)
        kind, of_master = deck.pop()
        fault = faults.KINDS[kind]
        yield Step(kind, rng.uniform(0.2, 3.0), between(rng, fault.shortest, fault.longest), 1,
                   of_master, rng.randrange(1 << 30))


def many(seed, track, kinds):
    """The steps of the track that disturbs a majority."""
    rng = random.Random(f"{seed}/{track}")
    kinds = [kind for kind in kinds if kind in faults.OF_MANY]
    while kinds:
        yield Step(rng.choice(kinds), rng.uniform(10, 40),
                   between(rng, MANY_SHORTEST_S, MANY_LONGEST_S), 0, False, rng.randrange(1 << 30))


class Chaos:
    """Plays the tracks on a cell until it is stopped."""

    def __init__(self, c, monitor, seed, kinds, log):
        self.c = c
        self.monitor = monitor
        self.log = log
        self.began = time.monotonic()
        self.mutex = threading.Lock()
        self.disturbed = {}         # replica -> what disturbs it
        self.counts = collections.Counter()
        self.complaints = []
        self.slow_returns = 0
        self.over = threading.Event()
        tracks = [few(seed, "one", kinds), few(seed, "other", kinds), many(seed, "many", kinds)]
        self.threads = [threading.Thread(target=self.play, args=(track,), daemon=True)
                        for track in tracks]

    def start(self):
        for thread in self.threads:
            thread.start()

    def stop(self):
        """All that is going on ends now."""
        self.over.set()
        for thread in self.threads:
            thread.join(60)
            if thread.is_alive():
                self.complaints.append("a fault did not end")

    def say(self, what):
        self.log.write(f"{time.monotonic() - self.began:8.2f} {what}\n")
        self.log.flush()

    def play(self, track):
        try:
            self.over.wait(FIRST_PAUSE_S)
            for step in track:
                if self.over.wait(step.pause):
                    return
                self.do(step)
        except Exception as e:      # the run must not look as if nothing had happened
            self.complaints.append(f"the chaos itself failed: {e!r}")
            self.say(f"failed: {e!r}")

    def choose(self, step, rng):
        """Takes the victims."""
        with self.mutex:
            free = [i for i in range(1, replicas.COUNT + 1) if i not in self.disturbed]
            count = step.count
            if count == 0:
                wanted = rng.randrange(replicas.COUNT // 2 + 1, replicas.COUNT + 1)
                count = max(0, wanted - len(self.disturbed))
            victims = rng.sample(free, min(count, len(free)))
            master = self.monitor.master
            if step.of_master and master in free and master not in victims:
                victims[0] = master
            for victim in victims:
                self.disturbed[victim] = step.kind
        return victims

    def do(self, step):
        rng = random.Random(step.seed)
        victims = self.choose(step, rng)
        fault = faults.KINDS[step.kind]
        going_on = [(victim, fault(rng)) for victim in victims]
        try:
            for victim, f in going_on:
                role = "master" if victim == self.monitor.master else "follower"
                self.say(f"begin {step.kind} replica={victim} ({role}) "
                         f"for={step.seconds:.2f}s {f.words}")
                if f.excused:
                    self.c.excuse(victim, step.seconds + faults.AFTERWARDS_S)
                self.counts[step.kind] += 1
                f.begin(self.c, victim)
            self.over.wait(step.seconds)
        finally:
            for victim, f in going_on:
                f.end(self.c, victim)
                self.say(f"end   {step.kind} replica={victim}")
        if len(victims) > 1:
            self.counts["of a majority"] += 1
        self.wait_return(victims)
        with self.mutex:
            for victim in victims:
                del self.disturbed[victim]

    def wait_return(self, victims):
        until = time.monotonic() + TO_RETURN_S
        while not self.over.wait(0.3):
            serving = self.monitor.serving
            if all(serving.get(victim, 0) > time.monotonic() - 2.0 for victim in victims):
                return
            if time.monotonic() > until:
                self.slow_returns += 1
                self.say(f"replicas {victims} do not serve {TO_RETURN_S:.0f} s after their fault")
                return
