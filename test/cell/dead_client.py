"""When the session of a client that died must end, and when its lock must be free.

Times are seconds on one clock. The bound is that of daemon/master/master.h, "Sessions of the dead
under repeated failovers".
"""
SILENT_S = 2.0          # MASTER_SILENT_NS
MARK_EVERY_S = 3.0      # MASTER_MARK_EVERY_NS
ENTRY_S = 0.2           # one entry of the log, on a loaded machine
SLACK_S = 1.0           # from what happens to what is seen; and the drift factor of leases
LOCK_DELAY_OF = 0.98    # clocks' rates may differ by the drift factor


class Failover:
    def __init__(self, killed, serving):
        self.killed = killed
        self.serving = serving


def latest_end(died, lease, failovers):
    """By when the session must have ended: the documented bound, and, where a master lived for a
    whole lease, the end of that."""
    for i, f in enumerate(failovers):
        before = failovers[:i]
        until = documented(died, lease, before)
        if until < f.killed:
            return until
        whole = (before[-1].serving if before else died) + lease
        if whole < f.killed:
            return whole
    last = failovers[-1].serving if failovers else died
    return min(documented(died, lease, failovers), last + lease)


def documented(died, lease, failovers):
    return died + lease + sum(SILENT_S + MARK_EVERY_S + ENTRY_S + f.serving - f.killed
                              for f in failovers)


def latest_free(ended, lock_delay, failovers):
    """A new master begins the lock-delay anew."""
    begun = ended
    for f in failovers:
        if begun < f.killed < begun + lock_delay:
            begun = f.serving
    return begun + lock_delay


class Death:
    """What was seen of one: `there` and `gone` are the last moment at which the session was seen,
    and the first at which it was seen to be gone; `lease_end` is what it believed itself."""

    def __init__(self, died, lease, lock_delay, lease_end, there, gone, granted, token, next_token,
                 failovers=()):
        self.died = died
        self.lease = lease
        self.lock_delay = lock_delay
        self.lease_end = lease_end
        self.there = there
        self.gone = gone
        self.granted = granted
        self.token = token
        self.next_token = next_token
        self.failovers = list(failovers)


def judge(d):
    """What is wrong with it."""
    complaints = []
    if d.gone < d.lease_end:
        complaints.append(f"its session ended {d.lease_end - d.gone:.2f} s before its lease")
    latest = latest_end(d.died, d.lease, d.failovers)
    if d.there > latest + SLACK_S:
        complaints.append(f"its session lived {d.there - latest:.2f} s beyond the bound")
    if d.granted < d.there + d.lock_delay * LOCK_DELAY_OF:
        complaints.append(f"the lock was free {d.there + d.lock_delay - d.granted:.2f} s before "
                          f"the end of the lock-delay")
    if d.granted < d.lease_end + d.lock_delay * LOCK_DELAY_OF:
        complaints.append("the lock was free before lease and lock-delay were over")
    free = latest_free(d.gone, d.lock_delay, d.failovers)
    if d.granted > free + SLACK_S:
        complaints.append(f"the lock stayed claimed {d.granted - free:.2f} s longer than it must")
    if d.next_token <= d.token:
        complaints.append(f"token {d.next_token} after {d.token}")
    return complaints
