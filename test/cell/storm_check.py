"""What must hold of a history of locks (history.py). Each rule returns its complaints.

  exclusion   an exclusive hold overlaps no other, shared ones overlap shared ones only
  tokens      grants are in the order of the holds; an exclusive one has a larger token than all
              before it; shared holds that overlap have the same token
  counters    each acknowledged increment is there exactly once
  reads       under a shared lock nothing changes, and nothing acknowledged is missing
  checks      a sequencer is valid while it is held, and never again
  queue       who is in the queue is served in its order, nobody behind him sooner, whoever was
              master; neighbours in shared mode are served by one entry of the log
  starvation  nobody is served again and again while another waits

The queue is known from what the master listed now and then (history.Sampler): a listing between two
moments names places by their tickets.
"""
import bisect
import collections
import statistics

FOREVER = 1 << 62
MOST = 20                       # complaints of one rule that are shown
# A place that its client gave up may still be listed for so long.
LEFT_BEHIND_NS = 15 * 10**8
# A request may be under way for the time of one service before it has its place.
SERVED_WHILE_WAITING_MAX = 3


def by_lock(claims):
    groups = collections.defaultdict(list)
    for claim in claims:
        groups[claim.lock].append(claim)
    return groups.values()


def end_of(claim):
    return claim.freed_by if claim.freed_by is not None else FOREVER


def exclusion(history):
    complaints = []
    for claims in by_lock(history.held()):
        last = {"x": None, "s": None}   # the one of this mode that ends last
        for claim in sorted(claims, key=lambda c: c.got):
            for mode, other in last.items():
                if other and "x" in (mode, claim.mode) and end_of(other) > claim.got:
                    complaints.append(f"two hold {claim.lock} at once: {other}; and {claim}")
            if last[claim.mode] is None or end_of(claim) > end_of(last[claim.mode]):
                last[claim.mode] = claim
    return complaints


def tokens(history):
    complaints = []
    grants = collections.Counter(c.grant for c in history.held())
    complaints += [f"grant {g} was given {n} times" for g, n in grants.items() if n > 1]
    for claims in by_lock(history.held()):
        before = None           # the one with the largest token so far, in the order of grants
        latest = None           # the one that ended last
        for claim in sorted(claims, key=lambda c: c.grant):
            if claim.token > claim.grant[0]:
                complaints.append(f"the token is newer than the grant: {claim}")
            if before and claim.token < before.token:
                complaints.append(f"the token went back: {before}; then {claim}")
            if before and claim.token == before.token and "x" in (claim.mode, before.mode):
                complaints.append(f"the token did not grow: {before}; then {claim}")
            if latest and claim.mode == "x" and end_of(latest) > claim.got:
                complaints.append(f"granted later, held sooner: {latest}; then {claim}")
            if before is None or claim.token >= before.token:
                before = claim
            if latest is None or end_of(claim) > end_of(latest):
                latest = claim
        complaints += shared_tokens([c for c in claims if c.mode == "s"])
    return complaints


def shared_tokens(claims):
    complaints = []
    last = None
    for claim in sorted(claims, key=lambda c: c.got):
        if last and end_of(last) > claim.got and last.token != claim.token:
            complaints.append(f"shared at once, with different tokens: {last}; and {claim}")
        if last is None or end_of(claim) > end_of(last):
            last = claim
    return complaints


def counters(history, finals):
    """`finals`: what stands in each file in the end."""
    complaints = []
    files = collections.defaultdict(list)
    for file, number, token, client, when in history.counted:
        files[file].append((number, token, client))
    for file in sorted(set(files) | set(finals)):
        numbers = sorted(n for n, _, _ in files[file])
        final = finals.get(file)
        if final is None:
            complaints.append(f"{file}: its end is not known")
        elif len(numbers) != final:
            complaints.append(f"{file}: {final} in the file, {len(numbers)} acknowledged")
        doubled = [n for n, times in collections.Counter(numbers).items() if times > 1]
        if doubled:
            complaints.append(f"{file}: more than once: {doubled[:MOST]}")
        missing = sorted(set(range(1, (final or 0) + 1)) - set(numbers))
        if missing:
            complaints.append(f"{file}: never acknowledged, or lost: {missing[:MOST]}")
        ordered = [token for _, token, _ in sorted(files[file])]
        if any(a > b for a, b in zip(ordered, ordered[1:])):
            complaints.append(f"{file}: a smaller token wrote after a larger one")
    return complaints


def reads(history):
    complaints = []
    for claims in by_lock(history.held()):
        file = f"count-{claims[0].lock}"
        counted = sorted((when, n) for f, n, _, _, when in history.counted if f == file)
        times = [when for when, _ in counted]
        largest, most = [0], 0
        for _, n in counted:
            most = max(most, n)
            largest.append(most)
        for claim in claims:
            seen = {n for _, n in claim.saw}
            if len(seen) > 1:
                complaints.append(f"it changed under a shared lock: {sorted(seen)}: {claim}")
            known = largest[bisect.bisect_left(times, claim.got)]
            if seen and min(seen) < known:
                complaints.append(f"saw {min(seen)} when {known} was acknowledged: {claim}")
    return complaints


def checks(history):
    good = {(True, "OK"), (False, "SEQUENCER_INVALID")}
    return [f"a sequencer that was {'held' if held else 'over'}: {code}, {n} times"
            for (held, code), n in history.checks.items() if (held, code) not in good]


# -- the queue --------------------------------------------------------------------------------

class Places:
    """Gives claims their tickets, from the samples."""

    def __init__(self, history, samples):
        self.complaints = []
        self.shown = {}         # (lock, ticket) -> the end of the first listing with it
        self.neighbours = set()
        self.claims = collections.defaultdict(list)
        self.of_ticket = {}
        for claim in sorted(history.claims, key=lambda c: c.asked):
            self.claims[claim.session, claim.lock].append(claim)
        self.asked = {key: [c.asked for c in claims] for key, claims in self.claims.items()}
        for sample in samples:
            self.take(sample)

    def candidate(self, session, sample):
        """The only claim that the listing can mean, or None."""
        claims = self.claims.get((session, sample.lock), [])
        at = bisect.bisect_left(self.asked.get((session, sample.lock), []), sample.ended)
        found = []
        for claim in reversed(claims[:at]):
            end = claim.got or claim.over or FOREVER
            if end > sample.began:
                found.append(claim)
            elif end < sample.began - LEFT_BEHIND_NS:
                break
            elif claim.refusal not in (None, "BUSY"):
                return None     # the place that it gave up may be listed still
        return found[0] if len(found) == 1 else None

    def take(self, sample):
        order = [ticket for _, _, ticket, _ in sample.waiters]
        if any(a >= b for a, b in zip(order, order[1:])):
            self.complaints.append(f"the queue of {sample.lock} is out of order: {order}")
        for session, _, ticket, mode in sample.waiters:
            claim = self.candidate(session, sample)
            if claim is None:
                continue
            if claim.ticket not in (None, ticket):
                self.complaints.append(f"lost its place: ticket {ticket} now: {claim}")
            claim.ticket = ticket
            self.of_ticket[sample.lock, ticket] = claim
            self.shown.setdefault((sample.lock, ticket), sample.ended)
        for (_, _, a, mode_a), (_, _, b, mode_b) in zip(sample.waiters, sample.waiters[1:]):
            if mode_a == mode_b == "s":
                self.neighbours.add((sample.lock, a, b))


def queue(history, samples):
    """Complaints, and how many grants of claims whose place was known were found in order."""
    places = Places(history, samples)
    complaints = places.complaints
    witnessed = 0
    for claims in by_lock(history.held()):
        known = sorted((c for c in claims if c.ticket is not None), key=lambda c: c.ticket)
        witnessed += len(known)
        for a, b in zip(known, known[1:]):
            if b.grant < a.grant:
                complaints.append(f"served out of order: {a}; before it {b}")
        complaints += newcomers(places, claims, known)
    for lock, a, b in places.neighbours:
        first, second = places.of_ticket.get((lock, a)), places.of_ticket.get((lock, b))
        if first and second and first.grant and second.grant and \
                first.grant[0] != second.grant[0]:
            complaints.append(f"neighbours in shared mode served apart: {first}; and {second}")
    return complaints, witnessed


def newcomers(places, claims, known):
    """Who asked when another's place had been listed is served after him."""
    complaints = []
    listed = sorted(((places.shown[c.lock, c.ticket], c.grant, c) for c in known),
                    key=lambda entry: entry[:2])
    times = [when for when, _, _ in listed]
    latest, most = [], None     # of the first i, the one that was served last
    for entry in listed:
        most = entry if most is None or entry[1] > most[1] else most
        latest.append(most)
    for claim in claims:
        at = bisect.bisect_left(times, claim.asked)
        if at > 0 and latest[at - 1][1] > claim.grant:
            complaints.append(f"overtaken: {latest[at - 1][2]}; by {claim}")
    return complaints


def starvation(history):
    """While one waits, each other is served at most a few times: once is what FIFO allows, and
    once more for the time that a request is under way."""
    complaints = []
    for claims in by_lock(history.held()):
        served = collections.defaultdict(list)
        for claim in claims:
            served[claim.client].append(claim.got)
        for times in served.values():
            times.sort()
        for claim in claims:
            for client, times in served.items():
                n = bisect.bisect_left(times, claim.got) - bisect.bisect_right(times, claim.asked)
                if client != claim.client and n > SERVED_WHILE_WAITING_MAX:
                    complaints.append(f"client {client} was served {n} times while it waited: "
                                      f"{claim}")
    return complaints


def longest_gap_s(times):
    times = sorted(times)
    return max((b - a for a, b in zip(times, times[1:])), default=0) / 1e9


def figures(history):
    held = history.held()
    waits = [(c.got - c.asked) / 1e9 for c in held]
    grants = collections.Counter(c.client for c in held)
    every = [t for times in history.answered.values() for t in times]
    return {
        "clients": history.clients,
        "claims": len(history.claims),
        "grants": len(held),
        "exclusive": sum(c.mode == "x" for c in held),
        "refusals": dict(collections.Counter(c.refusal for c in history.claims if c.refusal)),
        "increments": len(history.counted),
        "fewest_grants": min(grants.values(), default=0),
        "most_grants": max(grants.values(), default=0),
        "mean_wait_s": statistics.fmean(waits) if waits else 0,
        "longest_wait_s": max(waits, default=0),
        "longest_gap_of_all_s": longest_gap_s(every),
        "longest_gap_of_one_s": max(map(longest_gap_s, history.answered.values()), default=0),
        "jeopardies": sum(event == "jeopardy" for _, event, _, _ in history.news),
    }


def check(history, samples, finals, calm=False):
    """Fails with what is wrong; returns the figures of the run. In one that is not calm a request
    may look for its master for as long as others are served."""
    ordered, witnessed = queue(history, samples)
    rules = {
        "trouble": history.trouble, "exclusion": exclusion(history), "tokens": tokens(history),
        "counters": counters(history, finals), "reads": reads(history),
        "checks": checks(history), "queue": ordered,
        "starvation": starvation(history) if calm else [],
    }
    broken = [f"{rule}: {len(complaints)} complaints\n    " + "\n    ".join(complaints[:MOST])
              for rule, complaints in rules.items() if complaints]
    if broken:
        raise AssertionError("\n".join(broken))
    return dict(figures(history), witnessed=witnessed)
