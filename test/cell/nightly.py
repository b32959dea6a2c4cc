"""What must hold of a table that nightly jobs wrote (libchubby/examples/nightly.sh)."""
import collections
import hashlib


def result_of(row):
    """What the job finds for a row, whoever does it."""
    part = row.split("-")[1]
    return hashlib.sha256(f"{part}\n".encode()).hexdigest()[:16]


def judge(written, acknowledged, parts, last_token):
    """`written`: (row, value, token) in the order in which the table took them. `acknowledged`:
    (token, row, what) that jobs were told is written. `last_token`: of the last job, which ended
    well. Returns complaints."""
    complaints = []
    rows = collections.defaultdict(list)
    for row, value, token in written:
        what, _, by = value.partition(" by ")
        if by != str(token):
            complaints.append(f"{row}: {value!r} under token {token}")
        rows[row].append((token, what))
    for row in sorted(rows):
        history = rows[row]
        for (before, _), (after, what) in zip(history, history[1:]):
            if after < before:
                complaints.append(f"{row}: a stale write: {what!r} of {after} after {before}")
        for token in {token for token, _ in history}:
            own = [what for t, what in history if t == token]
            if own not in (["claimed"], ["claimed", result_of(row)]):
                complaints.append(f"{row}: job {token} wrote {own}")
    took = collections.Counter((token, row, what) for row in rows for token, what in rows[row])
    for entry in acknowledged:
        if took[entry] != 1:
            complaints.append(f"acknowledged, and {took[entry]} times in the table: {entry}")
    for part in range(1, parts + 1):
        row = f"part-{part}"
        if not rows[row] or rows[row][-1] != (last_token, result_of(row)):
            complaints.append(f"{row} is not as the last job left it: {rows[row][-1:]}")
    return complaints
