"""Bad input to every method of a cell: a clear error each, and the daemon lives.

After every case a good request is served; at the end no replica has started again, and no
sanitizer has complained (with a build that has them).
"""
import glob
import os
import sys
import zlib

import cell as cells
import mutants
from raw import Code, Raw, User, admin_pb, master_of, pb

SERVICES = {"Chubby": pb, "Admin": admin_pb}
LOG_TROUBLE = ("AddressSanitizer", "LeakSanitizer", "runtime error")


class Bench:
    """A cell, a connection to its master, and a session that must be served all the time."""

    def __init__(self, cell):
        self.cell = cell
        self.pids = {i: cell.pid(i) for i in range(1, cell.replicas + 1)}
        self.raw = Raw(master_of(cell.servers))
        self.user = User(self.raw)
        self.witness = User(self.raw)
        self.handle = self.witness.fresh()
        self.cases = 0
        self.faults = []

    def fault(self, what):
        self.faults.append(what)
        print(f"     {what}", flush=True)
        assert len(self.faults) < 40, "too much is wrong"

    def serves(self, after):
        """The cell answers a good request, in time; now and then one that goes through the log."""
        self.cases += 1
        header = pb.Header(session_id=self.witness.id)
        outcome = self.raw.call("GetStat", pb.GetStatRequest(header=header, handle=self.handle))
        assert outcome.status == Code.OK, f"after {after}: GetStat: {outcome}"
        if self.cases % 50 == 0:
            self.raw.good("KeepAlive", pb.KeepAliveRequest(header=header, immediate=True))
            self.raw.good("SetContents", pb.SetContentsRequest(
                header=self.witness.header(True), handle=self.handle, contents=b"good"))
            self.raw.good("KeepAlive", pb.KeepAliveRequest(
                header=pb.Header(session_id=self.user.id), immediate=True))

    def judge(self, label, outcome, expected, ours=True):
        """`expected`: OK, a code's name, several with blanks between, or as in mutants.py."""
        if expected == "refused":
            if outcome.status == Code.OK:
                self.fault(f"{label}: was accepted")
        elif expected != "clear" and outcome.code not in expected.split():
            self.fault(f"{label}: {outcome} instead of {expected}")
        trouble = outcome.trouble(ours)
        if trouble:
            self.fault(f"{label}: {trouble}: {outcome}")
        self.serves(label)

    def expect(self, label, method, request, expected, service="Chubby"):
        self.judge(f"{method}: {label}", self.raw.call(method, request, service), expected)

    def finish(self):
        """What must hold of the daemons after all that."""
        for i, pid in self.pids.items():
            assert self.cell.pid(i) == pid, f"replica {i} has started again"
        for path in glob.glob(os.path.join(self.cell.data, "*", "log")):
            with open(path, errors="replace") as f:
                for line in f:
                    assert not any(t in line for t in LOG_TROUBLE), f"{path}: {line}"
        assert master_of(self.cell.servers) == self.raw.address, "mastership moved"
        assert not self.faults, f"{len(self.faults)} faults in {self.cases} cases"
        print(f"     {self.cases} cases")


def with_bench(test):
    def run():
        with cells.Cell(replicas=3) as c:
            bench = Bench(c)
            test(bench)
            bench.finish()
    run.__doc__ = test.__doc__
    return run


# -- good requests, of which the bad ones are made ----------------------------------------------

def waiting(u):
    """A handle in the queue of a lock, and its ticket."""
    u.acquire(u.fresh())
    name = f"/ls/local/s{u.id}-{u.names}"
    second = u.open(name)
    return second, u.acquire(second).ticket


def held(u):
    handle = u.fresh()
    u.acquire(handle)
    return handle


def directory(u):
    u.names += 1
    return u.open(f"/ls/local/d{u.id}-{u.names}", kind=pb.NODE_DIRECTORY)


def wait_request(u):
    # The holder's own question is answered at once.
    return pb.WaitRequest(header=u.header(), handle=held(u), wait_ms=100)


def cancel_request(u):
    handle, ticket = waiting(u)
    return pb.CancelRequest(header=u.header(True), handle=handle, ticket=ticket)


def numbered(request, handle, **more):
    """A request that changes something. The handle comes first: to open it took a number too."""
    return lambda u: (lambda h: request(header=u.header(True), handle=h, **more))(handle(u))


def open_request(u):
    u.names += 1
    return u.open_request(f"/ls/local/o{u.id}-{u.names}", kind=pb.NODE_FILE, contents=b"1",
                          acl=["r", "w", "c"], events=[pb.EVENT_CONTENTS_MODIFIED])


def in_session_of_its_own(u):
    """A session that may be lost."""
    return pb.Header(session_id=User(u.raw, 1000).id)


GOOD = {
    "FindMaster": lambda u: pb.FindMasterRequest(wait_ms=100, cell="local"),
    "CreateSession": lambda u: pb.CreateSessionRequest(
        cell="local", lease_ms=1000, host="h", pid=1, command="c"),
    "KeepAlive": lambda u: pb.KeepAliveRequest(
        header=in_session_of_its_own(u), immediate=True, acked_invalidations=[1]),
    "EndSession": lambda u: pb.EndSessionRequest(header=in_session_of_its_own(u)),
    "Open": open_request,
    "Close": lambda u: pb.CloseRequest(header=u.header(), handle=u.fresh()),
    "GetContentsAndStat": lambda u: pb.GetContentsAndStatRequest(
        header=u.header(), handle=u.fresh()),
    "GetStat": lambda u: pb.GetStatRequest(header=u.header(), handle=u.fresh()),
    "ReadDir": lambda u: pb.ReadDirRequest(
        header=u.header(), handle=directory(u), after="a", limit=5),
    "SetContents": numbered(pb.SetContentsRequest, User.fresh, contents=b"x"),
    "SetAcl": numbered(pb.SetAclRequest, User.fresh, acl=["a"]),
    "Delete": numbered(pb.DeleteRequest, User.fresh),
    "Acquire": numbered(pb.AcquireRequest, User.fresh, mode=pb.LOCK_EXCLUSIVE, wait_ms=100,
                        lock_delay_ms=0),
    "Wait": wait_request,
    "Cancel": cancel_request,
    "Release": numbered(pb.ReleaseRequest, held),
    "CheckSequencer": lambda u: pb.CheckSequencerRequest(
        sequencer=u.acquire(u.fresh()).grant.sequencer, cell="local"),
    "Multi": lambda u: pb.MultiRequest(header=u.header(True), ops=[
        pb.MultiOp(kind=pb.MultiOp.GUARD_EXISTS, path="/ls/local")]),
    "Status": lambda u: admin_pb.StatusRequest(cell="local"),
    "ListLocks": lambda u: admin_pb.ListLocksRequest(cell="local", path="/ls/local", limit=1),
    "ListSessions": lambda u: admin_pb.ListSessionsRequest(cell="local", limit=1),
    "EndSessionOf": lambda u: admin_pb.EndSessionOfRequest(
        cell="local", session_id=User(u.raw, 1000).id),
    "RevokeLock": lambda u: (held(u), admin_pb.RevokeLockRequest(
        cell="local", path=f"/ls/local/s{u.id}-{u.names}"))[1],
    "History": lambda u: admin_pb.HistoryRequest(cell="local", path="/ls/local"),
    # Of these even the good ones must name another cell: they would move what the test rests on.
    "TransferMaster": lambda u: admin_pb.TransferMasterRequest(cell="other"),
    "ChangeMember": lambda u: admin_pb.ChangeMemberRequest(cell="other"),
    "Backup": lambda u: admin_pb.BackupRequest(cell="other"),
}
NEVER_GOOD = {"TransferMaster", "ChangeMember", "Backup"}

# Fields without which a request is none. Every other one may be left out.
NEEDED = {
    "header": "refused", "handle": "HANDLE_INVALID", "Open.path": "INVALID_PATH",
    "Open.create": "NOT_FOUND",  # a question then
    "Open.handle_number": "INVALID_ARGUMENT", "CheckSequencer.sequencer": "INVALID_ARGUMENT",
    "Multi.ops": "INVALID_ARGUMENT",
    "Acquire.mode": "INVALID_ARGUMENT", "RevokeLock.path": "INVALID_PATH",
    "EndSessionOf.session_id": "NOT_FOUND",
}


def every_method(b):
    for service, module in SERVICES.items():
        for method in module.DESCRIPTOR.services_by_name[service].methods:
            if not method.client_streaming:
                yield service, method


def call(b, service, method, data):
    path = f"/chubby.v1.{service}/{method.name}"
    if not method.server_streaming:
        return b.raw.bytes(path, data)
    return b.raw.streamed(path, data)


def implemented(b, service, method):
    """The good request works, or the whole method is not there yet, and says so."""
    outcome = call(b, service, method, GOOD[method.name](b.user).SerializeToString())
    if method.name in NEVER_GOOD:
        b.judge(f"{method.name} to another cell", outcome, "WRONG_CELL UNIMPLEMENTED")
        return False
    if outcome.code == "UNIMPLEMENTED":
        b.judge(method.name, outcome, "UNIMPLEMENTED")
        return False
    b.judge(f"{method.name}, a good one", outcome, "OK")
    return True


def generated(b):
    """every field of every method's request: too large, out of range, of a wrong type, cut off"""
    for service, method in every_method(b):
        b.user.end()
        b.user = User(b.raw)
        there = implemented(b, service, method)
        seed = zlib.crc32(method.name.encode())
        good = GOOD[method.name](b.user)
        for label, data, expected in [*mutants.of_fields(good), *mutants.of_bytes(good, seed)]:
            if expected == "same":
                data = data[len(good.SerializeToString()):]
                data = GOOD[method.name](b.user).SerializeToString() + data
                expected = "OK"
            if not there:
                expected = "refused"
            b.judge(f"{method.name}: {label}", call(b, service, method, data), expected)


def missing(b):
    """every field missing, one at a time and all of them: refused where it is needed, only there"""
    for service, method in every_method(b):
        there = implemented(b, service, method)
        for field in GOOD[method.name](b.user).DESCRIPTOR.fields:
            good = GOOD[method.name](b.user)
            good.ClearField(field.name)
            needed = NEEDED.get(f"{method.name}.{field.name}") or NEEDED.get(field.name)
            if not there:
                needed = "refused"
            b.judge(f"{method.name} without {field.name}",
                    call(b, service, method, good.SerializeToString()), needed or "OK")
        fields = method.input_type.fields_by_name
        needs = any(f in NEEDED or f"{method.name}.{f}" in NEEDED for f in fields)
        b.judge(f"{method.name}, empty", call(b, service, method, b""),
                "refused" if needs or not there else "OK")


if __name__ == "__main__":
    import bad_input_cases
    import bad_input_rim
    groups = {"descriptors": [generated, missing], "cases": bad_input_cases.TESTS,
              "rim": bad_input_rim.TESTS}
    wanted = sys.argv[1:] or groups
    cells.run(*[with_bench(t) for name in wanted for t in groups[name]])
