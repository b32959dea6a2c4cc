"""The rules of storm_check.py find what they are for: they pass good histories and no bad one."""
import os
import sys
import tempfile

import dead_client
import history as histories
import nightly
import storm_check

# Two writers and two readers of one lock: 0 writes, 1 and 2 read together, 3 writes, 0 writes.
# The queue behind 0 is 1, 2, 3, and it is listed at 25..26.
GOOD = {
    "0": """1 session id=100
10 ask lock=a mode=x how=wait
12 got lock=a seq=1:x:1:12.0:12:1:/ls/local/lock-a
20 counted file=count-a n=1 token=12
21 checked lock=a held=1 code=OK
30 free lock=a how=release
31 freed lock=a
32 checked lock=a held=0 code=SEQUENCER_INVALID
41 ask lock=a mode=x how=wait
80 got lock=a seq=1:x:1:80.0:80:4:/ls/local/lock-a
85 counted file=count-a n=3 token=80
90 free lock=a how=close
91 freed lock=a
95 end""",
    "1": """2 session id=101
14 ask lock=a mode=s how=wait
33 got lock=a seq=1:s:1:30.0:30:2:/ls/local/lock-a
36 saw lock=a n=1
37 saw lock=a n=1
45 free lock=a how=release
46 freed lock=a
95 end""",
    "2": """3 session id=102
15 ask lock=a mode=s how=wait
34 got lock=a seq=1:s:1:30.1:30:2:/ls/local/lock-a
38 saw lock=a n=1
50 free lock=a how=release
51 freed lock=a
52 ask lock=a mode=s how=try
53 not lock=a code=BUSY
95 end""",
    "3": """4 session id=103
16 ask lock=a mode=x how=deadline
55 got lock=a seq=1:x:1:51.0:51:3:/ls/local/lock-a
60 counted file=count-a n=2 token=51
70 free lock=a how=release
71 freed lock=a
95 end""",
}
QUEUE = [(101, 1, 14, "s"), (102, 1, 15, "s"), (103, 1, 16, "x")]
FINALS = {"count-a": 3}


def judge(texts=None, waiters=None, finals=None):
    """None, or the rules that complain."""
    with tempfile.TemporaryDirectory(prefix="chubby-history-") as directory:
        for client, text in dict(GOOD, **(texts or {})).items():
            with open(os.path.join(directory, client), "w") as f:
                f.write(text + "\n")
        history = histories.read_all(directory)
    samples = [histories.Sample(25, 26, "a", QUEUE if waiters is None else waiters)]
    try:
        figures = storm_check.check(history, samples, FINALS if finals is None else finals,
                                    calm=True)
    except AssertionError as e:
        return str(e)
    assert figures["witnessed"] == (3 if waiters is None else len(waiters)), figures
    return None


def changed(client, *changes):
    text = GOOD[client]
    for old, new in changes:
        assert text.count(old) == 1, (old, client)
        text = text.replace(old, new)
    return {client: text}


# Each: what happened, the rule that must see it, and the arguments of judge().
BAD = [
    ("a writer was let in while readers held", "exclusion",
     [changed("3", ("55 got", "49 got"))]),
    ("a reader was let in while a writer held", "exclusion",
     [changed("1", ("33 got", "29 got"))]),
    ("a hold that never ends is passed on", "exclusion",
     [changed("0", ("30 free lock=a how=release\n31 freed lock=a\n", ""))]),
    ("the token of a writer did not grow", "tokens",
     [changed("3", (":51.0:51:", ":51.0:30:"))]),
    ("the token of a writer went back", "tokens",
     [changed("0", (":80.0:80:", ":80.0:29:"))]),
    ("a token from the future", "tokens",
     [changed("3", (":51.0:51:", ":51.0:52:"))]),
    ("readers at once with different tokens", "tokens",
     [changed("2", (":30.1:30:", ":30.1:29:"))]),
    ("the order of grants is not that of the holds", "tokens",
     [changed("0", (":80.0:80:", ":50.0:50:"))]),
    ("one grant was given to two", "tokens",
     [changed("2", (":30.1:30:", ":30.0:30:"))]),
    ("an acknowledged write is lost", "counters", [None, None, {"count-a": 2}]),
    ("a write took effect twice", "counters", [None, None, {"count-a": 4}]),
    ("two writers were given the same number", "counters",
     [changed("3", ("n=2", "n=1"))]),
    ("a file that was not read in the end", "counters", [None, None, {}]),
    ("a smaller token wrote later", "counters",
     [changed("0", ("n=3 token=80", "n=3 token=13"))]),
    ("the file changed under a reader", "reads",
     [changed("1", ("37 saw lock=a n=1", "37 saw lock=a n=2"))]),
    ("a reader was told something stale", "reads",
     [changed("2", ("38 saw lock=a n=1", "38 saw lock=a n=0"))]),
    ("the sequencer of a hold was refused", "checks",
     [changed("0", ("held=1 code=OK", "held=1 code=SEQUENCER_INVALID"))]),
    ("the sequencer of a former hold was accepted", "checks",
     [changed("0", ("held=0 code=SEQUENCER_INVALID", "held=0 code=OK"))]),
    ("the writer behind was served before the readers", "queue",
     [changed("3", (":51.0:51:", ":29.0:29:"))]),
    ("one who came later overtook the queue", "queue",
     [changed("2", ("52 ask lock=a mode=s how=try\n53 not lock=a code=BUSY",
                    "52 ask lock=a mode=s how=try\n54 got lock=a "
                    "seq=1:s:1:50.0:30:2:/ls/local/lock-a\n54 free lock=a how=release\n"
                    "54 freed lock=a"))]),
    ("the queue is listed out of order", "queue", [None, [QUEUE[1], QUEUE[0], QUEUE[2]]]),
    ("neighbours in shared mode were served apart", "queue",
     [changed("2", (":30.1:30:", ":31.0:30:"))]),
    ("another mode than was asked for", "trouble",
     [changed("1", ("14 ask lock=a mode=s", "14 ask lock=a mode=x"))]),
    ("an error that is not documented", "trouble",
     [changed("2", ("95 end", "94 error what=read code=UNAVAILABLE\n95 end"))]),
    ("a session expired", "trouble",
     [changed("2", ("95 end", "94 news event=expired reason=SESSION_EXPIRED\n95 end"))]),
    ("a client died", "trouble", [changed("3", ("\n95 end", ""))]),
]


def place_lost():
    """A ticket that changed while one waited: a new master that forgot the queue."""
    with tempfile.TemporaryDirectory(prefix="chubby-history-") as directory:
        for client, text in GOOD.items():
            with open(os.path.join(directory, client), "w") as f:
                f.write(text + "\n")
        history = histories.read_all(directory)
    samples = [histories.Sample(25, 26, "a", QUEUE),
               histories.Sample(27, 28, "a", [(103, 1, 17, "x")])]
    complaints, _ = storm_check.queue(history, samples)
    return any("lost its place" in c for c in complaints)


def starved():
    """One that waits while another is served four times."""
    greedy = ["1 session id=101"]
    for i in range(4):
        t = 20 + 10 * i
        greedy += [f"{t} ask lock=a mode=x how=wait",
                   f"{t + 1} got lock=a seq=1:x:1:{t}.0:{t}:{i}:/ls/local/lock-a",
                   f"{t + 5} free lock=a how=release", f"{t + 6} freed lock=a"]
    with tempfile.TemporaryDirectory(prefix="chubby-history-") as directory:
        for name, lines in (("1", greedy), ("2", [
                "2 session id=102", "15 ask lock=a mode=x how=wait",
                "70 got lock=a seq=1:x:1:70.0:70:9:/ls/local/lock-a", "75 free lock=a how=release",
                "76 freed lock=a"])):
            with open(os.path.join(directory, name), "w") as f:
                f.write("\n".join(lines + ["95 end"]) + "\n")
        return len(storm_check.starvation(histories.read_all(directory))) > 0


# One that died at 100 with a lease until 110, and two failovers.
DEATH = {"died": 100, "lease": 12, "lock_delay": 2, "lease_end": 110, "there": 120, "gone": 120.1,
         "granted": 122.1, "token": 7, "next_token": 8,
         "failovers": [dead_client.Failover(105, 105.5), dead_client.Failover(110.5, 111)]}
BAD_DEATHS = [
    ("a session that ended before its lease", {"there": 109, "gone": 109.1, "granted": 112.2}),
    ("a session that lived on beyond the bound", {"there": 125, "gone": 125.1, "granted": 127.2}),
    ("a lease that each master began anew",
     {"there": 145.2, "gone": 145.3, "granted": 147.3,
      "failovers": [dead_client.Failover(105 + 7 * i, 105.3 + 7 * i) for i in range(5)]}),
    ("a lock-delay that was cut short", {"granted": 121.5}),
    ("a lock-delay that did not end", {"granted": 124}),
    ("a token that did not grow", {"next_token": 7}),
]


def deaths():
    """What is known wrong about deaths is found; the rest is let pass."""
    wrong = [what for what, changes in BAD_DEATHS
             if not dead_client.judge(dead_client.Death(**dict(DEATH, **changes)))]
    if dead_client.judge(dead_client.Death(**DEATH)):
        wrong.append("the good death")
    for what in wrong:
        print(f"FAIL {what}")
    return not wrong


def job(token, *rows):
    """What a job of two parts writes, as far as it comes."""
    values = {"c1": ("part-1", "claimed"), "c2": ("part-2", "claimed"),
              "1": ("part-1", nightly.result_of("part-1")),
              "2": ("part-2", nightly.result_of("part-2"))}
    return [(values[r][0], f"{values[r][1]} by {token}", token) for r in rows]


NIGHT = job(5, "c1", "c2", "1") + job(9, "c1", "c2", "1", "2")
BAD_NIGHTS = [
    ("a stale write", job(5, "c1", "c2", "1") + job(9, "c1", "c2", "1") + job(5, "2") +
     job(9, "2")),
    ("a stale claim", job(9, "c1") + job(5, "c1") + job(9, "c2", "1", "2")),
    ("the last job was overwritten", NIGHT + job(12, "c1")),
    ("the last job is not complete", NIGHT[:-1]),
    ("a row was written twice by one job", NIGHT + job(9, "2")),
    ("an acknowledged write is lost", NIGHT[1:]),
    ("a write under another's token", [("part-1", "claimed by 4", 5)] + NIGHT[1:]),
]


def nights():
    """What is known wrong about tables is found; the rest is let pass."""
    told = [(5, "part-1", "claimed"), (9, "part-2", nightly.result_of("part-2"))]
    wrong = [what for what, table in BAD_NIGHTS if not nightly.judge(table, told, 2, 9)]
    if nightly.judge(NIGHT, told, 2, 9):
        wrong.append("the good night")
    for what in wrong:
        print(f"FAIL {what}")
    return not wrong


def main():
    failed = 0
    complaint = judge()
    if complaint is not None:
        failed += 1
        print(f"FAIL the good history: {complaint}")
    for what, rule, arguments in BAD:
        complaint = judge(*arguments)
        if complaint is None or f"{rule}: " not in complaint:
            failed += 1
            print(f"FAIL {what}: {rule} says nothing ({complaint})")
    for test in (place_lost, starved, deaths, nights):
        if not test():
            failed += 1
            print(f"FAIL {test.__doc__}")
    print(f"{len(BAD) + 5 - failed} of {len(BAD) + 5} tests judged rightly")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
