"""Bad input that needs to be thought of: paths, handles, numbers, contradictions, sequencers. Each
function of TESTS gets a Bench of bad_input_test.py."""
from raw import Code, Raw, User, admin_pb, pb

CREATE = pb.OpenRequest

# What libchubby/wire/path.h says, and what a path with that fault must bring.
BAD_PATHS = {
    "": "INVALID_PATH", "/": "INVALID_PATH", "a": "INVALID_PATH", "/ls": "INVALID_PATH",
    "/ls/": "INVALID_PATH", "ls/local/a": "INVALID_PATH", "//ls/local/a": "INVALID_PATH",
    "/LS/local/a": "INVALID_PATH", "/ls//a": "INVALID_PATH", "/ls/local/": "INVALID_PATH",
    "/ls/local//a": "INVALID_PATH", "/ls/local/a/": "INVALID_PATH", "/ls/local/.": "INVALID_PATH",
    "/ls/local/..": "INVALID_PATH", "/ls/local/../local/a": "INVALID_PATH",
    "/ls/local/a/./b": "INVALID_PATH", "/ls/../local/a": "INVALID_PATH", "/ls/./a": "INVALID_PATH",
    "/ls/local/a\nb": "INVALID_PATH", "/ls/local/\x01": "INVALID_PATH",
    "/ls/local/\x7f": "INVALID_PATH", "/ls/local/\u0085": "INVALID_PATH",
    "/ls/LOCAL/a": "INVALID_PATH", "/ls/lo cal/a": "INVALID_PATH",
    "/ls/" + 64 * "c" + "/a": "INVALID_PATH", "/ls/local/" + 256 * "n": "INVALID_PATH",
    "/ls/local/" + 128 * "é": "INVALID_PATH", "/ls/local" + 205 * "/four": "INVALID_PATH",
    "/ls/local" + 129 * "/d": "INVALID_PATH", "/ls/local" + 1020 * "/d": "TOO_LARGE",
    "/ls/other/a": "WRONG_CELL", "/ls/other": "WRONG_CELL",
    "/ls/local/none/a": "NOT_FOUND", "/ls/local" + 128 * "/d": "NOT_FOUND",
    "/ls/local" + 204 * "/four": "INVALID_PATH", "/ls/local" + 4 * ("/" + 255 * "n"): "NOT_FOUND",
}
GOOD_PATHS = ["/ls/local/" + 255 * "n", "/ls/local/" + 127 * "é", "/ls/local/...", "/ls/local/ ",
              "/ls/local/a%2fb", "/ls/local/\U0001f512"]


def paths(b):
    """paths against the grammar, wherever a request has one"""
    u = b.user
    for path, expected in BAD_PATHS.items():
        shown = path if len(path) < 40 else f"{path[:30]}… of {len(path)}"
        b.expect(f"{shown!r}", "Open", u.open_request(path), expected)
        # Without a create it is a question, and the same faults are faults.
        b.expect(f"{shown!r}, asked", "Open", u.open_request(path, create=CREATE.CREATE_NEVER),
                 expected)
        lists = "OK" if expected in ("NOT_FOUND",) or path == "" else expected
        b.expect(f"{shown!r}", "ListLocks", admin_pb.ListLocksRequest(path=path), lists, "Admin")
        b.expect(f"{shown!r}", "RevokeLock", admin_pb.RevokeLockRequest(path=path), expected,
                 "Admin")
    for path in GOOD_PATHS:
        b.expect(f"{path!r}", "Open", u.open_request(path), "OK")
    above = u.open("/ls/local/dir", kind=pb.NODE_DIRECTORY)
    for name in ("", "/a", "a/", "..", ".", "a//b", "a/../b", 256 * "n", 600 * "/d", "\x01"):
        b.expect(f"{name[:20]!r} relative", "Open", u.open_request(name, relative_to=above),
                 "INVALID_PATH TOO_LARGE")
    b.expect("relative to a file", "Open", u.open_request("a", relative_to=u.fresh()),
             "NOT_DIRECTORY")
    b.expect("relative to noise", "Open", u.open_request("a", relative_to=bytes(64)),
             "HANDLE_INVALID")
    b.expect("a good one, relative", "Open", u.open_request("a", relative_to=above), "OK")


WITH_HANDLE = {
    "Close": pb.CloseRequest, "GetContentsAndStat": pb.GetContentsAndStatRequest,
    "GetStat": pb.GetStatRequest, "ReadDir": pb.ReadDirRequest,
    "SetContents": pb.SetContentsRequest, "SetAcl": pb.SetAclRequest, "Delete": pb.DeleteRequest,
    "Acquire": lambda **more: pb.AcquireRequest(mode=pb.LOCK_EXCLUSIVE, **more),
    "Wait": pb.WaitRequest, "Cancel": pb.CancelRequest, "Release": pb.ReleaseRequest,
}


def handles(b):
    """handles that are noise, another's, closed, stale, opened for less, or have one bit flipped"""
    u, other = b.user, User(b.raw)
    good, closed, stale = u.fresh(), u.fresh(), u.fresh()
    b.raw.good("Close", pb.CloseRequest(header=u.header(), handle=closed))
    b.raw.good("Delete", pb.DeleteRequest(header=u.header(True), handle=stale))
    weak = u.open("/ls/local/weak", read=False, write=False, change_acl=False)
    foreign = other.fresh()
    wrong = {b"": "HANDLE_INVALID", b"x": "HANDLE_INVALID", good[:-1]: "HANDLE_INVALID",
             good + b"x": "HANDLE_INVALID", bytes(96): "HANDLE_INVALID", bytes(97): "TOO_LARGE",
             foreign: "HANDLE_INVALID", closed: "HANDLE_CLOSED", stale: "HANDLE_STALE"}
    for method, make in WITH_HANDLE.items():
        for handle, expected in wrong.items():
            if method == "Close" and handle == stale:
                continue
            b.expect(f"handle {handle[:4]!r}… of {len(handle)}", method,
                     make(header=u.header(True), handle=handle), expected)
        if method != "Close":
            b.expect("a handle opened for nothing", method,
                     make(header=u.header(True), handle=weak),
                     "PERMISSION_DENIED")
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        b.expect(f"bit {bit} flipped", "GetStat",
                 pb.GetStatRequest(header=u.header(), handle=bytes(flipped)), "HANDLE_INVALID")
    first = u.open_request("/ls/local/first")
    b.expect("the first", "Open", first, "OK")
    again = u.open_request("/ls/local/second")
    again.handle_number = first.handle_number
    b.expect("a handle number twice", "Open", again, "INVALID_ARGUMENT")
    b.expect("stale, closed", "Close", pb.CloseRequest(header=u.header(), handle=stale), "OK")
    other.end()


def numbers(b):
    """request numbers, sessions and epochs that are not the client's"""
    u = b.user
    handle = u.fresh()

    def write(number, lowest, session=u.id, epoch=0):
        return pb.SetContentsRequest(handle=handle, contents=b"x", header=pb.Header(
            session_id=session, epoch=epoch, number=number, lowest_unanswered=lowest))

    b.expect("ten in the window", "SetContents", write(u.number + 10, u.number + 10), "OK")
    n = u.number = u.number + 10
    for number, lowest, expected in (
            (n - 1, n - 1, "REQUEST_OUT_OF_WINDOW"), (1, 1, "REQUEST_OUT_OF_WINDOW"),
            (n + 64, n, "REQUEST_OUT_OF_WINDOW"), (n + 64, 0, "REQUEST_OUT_OF_WINDOW"),
            (2**53, n, "REQUEST_OUT_OF_WINDOW"), (2**64 - 1, 0, "REQUEST_OUT_OF_WINDOW"),
            (n + 1, n + 2, "REQUEST_OUT_OF_WINDOW"), (n + 1, 2**64 - 1, "REQUEST_OUT_OF_WINDOW"),
            (0, n, "OK"), (0, 0, "OK"),  # without a number it takes effect each time
            (n, n, "OK"), (n + 63, n, "OK"), (n + 1, n, "OK")):
        b.expect(f"number {number - n} and line {lowest - n} (from the line)", "SetContents",
                 write(number, lowest), expected)
    u.number += 63
    acquired = u.header(True)
    b.expect("a lock", "Acquire", pb.AcquireRequest(header=acquired, handle=handle,
                                                    mode=pb.LOCK_EXCLUSIVE), "OK")
    # The answer of another kind of request would be a lie.
    for method, request in {
            "Release": pb.ReleaseRequest(header=acquired, handle=handle),
            "SetContents": pb.SetContentsRequest(header=acquired, handle=handle),
            "Delete": pb.DeleteRequest(header=acquired, handle=handle),
            "SetAcl": pb.SetAclRequest(header=acquired, handle=handle),
            "Cancel": pb.CancelRequest(header=acquired, handle=handle),
            "Open": CREATE(header=acquired, path="/ls/local/new", handle_number=7000,
                           create=CREATE.CREATE_MAY)}.items():
        b.expect("the number of an Acquire", method, request, "INVALID_ARGUMENT")
    written = u.header(True)
    b.raw.good("SetContents", pb.SetContentsRequest(header=written, handle=handle))
    b.expect("the number of a write", "Acquire", pb.AcquireRequest(
        header=written, handle=handle, mode=pb.LOCK_EXCLUSIVE), "INVALID_ARGUMENT")

    gone = User(b.raw)
    gone.end()
    for session in (0, 1, gone.id, u.id + 1000, 2**53, 2**63, 2**64 - 1):
        b.expect(f"session {session}", "SetContents", write(n + 70, n, session), "SESSION_EXPIRED")
        header = pb.Header(session_id=session)
        b.expect(f"session {session}", "KeepAlive", pb.KeepAliveRequest(header=header),
                 "SESSION_EXPIRED")
        b.expect(f"session {session}", "EndSession", pb.EndSessionRequest(header=header),
                 "SESSION_EXPIRED")
        b.expect(f"session {session}", "EndSessionOf", admin_pb.EndSessionOfRequest(
            session_id=session), "NOT_FOUND", "Admin")
    for epoch in (u.epoch + 1, 2**53, 2**64 - 1):
        outcome = b.raw.call("SetContents", write(n + 70, n, epoch=epoch))
        b.judge(f"epoch {epoch}", outcome, "EPOCH_CHANGED")
        if outcome.error and outcome.error.epoch != u.epoch:
            b.fault(f"epoch {epoch}: the current one is not told: {outcome.error}")


def contradictions(b):
    """requests that are well formed and cannot be meant"""
    u, other = b.user, User(b.raw)
    name = f"/ls/local/s{u.id}-1"
    file = u.fresh()
    above = u.open("/ls/local/above", kind=pb.NODE_DIRECTORY)
    u.open("/ls/local/above/a")
    root = u.open("/ls/local")
    head = u.header
    for what, method, request, expected in (
            ("what is there", "Open", u.open_request(name, create=CREATE.CREATE_MUST), "EXISTS"),
            ("a file as a directory", "Open", u.open_request(name, kind=pb.NODE_DIRECTORY),
             "NOT_DIRECTORY"),
            ("a directory as a file", "Open", u.open_request("/ls/local/above", kind=pb.NODE_FILE),
             "IS_DIRECTORY"),
            ("below a file", "Open", u.open_request(name + "/a"), "NOT_DIRECTORY"),
            ("a directory with contents", "Open", u.open_request(
                "/ls/local/odd", kind=pb.NODE_DIRECTORY, contents=b"x"), "refused"),
            ("contents of a directory", "GetContentsAndStat",
             pb.GetContentsAndStatRequest(header=head(), handle=above), "IS_DIRECTORY"),
            ("contents for a directory", "SetContents", pb.SetContentsRequest(
                header=head(True), handle=above, contents=b"x"), "IS_DIRECTORY WRONG_KIND"),
            ("the children of a file", "ReadDir", pb.ReadDirRequest(header=head(), handle=file),
             "NOT_DIRECTORY"),
            ("a generation that is not", "SetContents", pb.SetContentsRequest(
                header=head(True), handle=file, expected_generation=2**63),
             "GENERATION_MISMATCH"),
            ("a generation that is not", "Delete", pb.DeleteRequest(
                header=head(True), handle=file, expected_generation=2**63), "GENERATION_MISMATCH"),
            ("a generation that is not", "SetAcl", pb.SetAclRequest(
                header=head(True), handle=file, expected_generation=2**63), "GENERATION_MISMATCH"),
            ("four names", "SetAcl", pb.SetAclRequest(header=head(True), handle=file,
                                                      acl=list("abcd")), "TOO_LARGE"),
            ("what is not empty", "Delete", pb.DeleteRequest(header=head(True), handle=above),
             "NOT_EMPTY"),
            ("the root", "Delete", pb.DeleteRequest(header=head(True), handle=root), "refused"),
            ("what is free", "Release", pb.ReleaseRequest(header=head(True), handle=file),
             "NOT_HELD"),
            ("no ticket", "Wait", pb.WaitRequest(header=head(), handle=file, ticket=99),
             "NOT_HELD"),
            ("a lock in no mode", "Acquire", pb.AcquireRequest(header=head(True), handle=file),
             "INVALID_ARGUMENT"),
            ("a lock-delay of an hour", "Acquire", pb.AcquireRequest(
                header=head(True), handle=file, mode=pb.LOCK_SHARED, lock_delay_ms=3600000),
             "INVALID_ARGUMENT"),
            ("a guard that is none", "SetContents", pb.SetContentsRequest(
                header=pb.Header(session_id=u.id, guard_sequencer=b"x"), handle=file),
             "SEQUENCER_INVALID"),
            ("a lease of a millisecond", "CreateSession", pb.CreateSessionRequest(lease_ms=1),
             "INVALID_ARGUMENT"),
            ("a lease of 49 days", "CreateSession", pb.CreateSessionRequest(lease_ms=2**32 - 1),
             "INVALID_ARGUMENT"),
            ("another cell", "CreateSession", pb.CreateSessionRequest(cell="other"), "WRONG_CELL"),
            ("another cell", "FindMaster", pb.FindMasterRequest(cell="other"), "WRONG_CELL"),
            ("another cell", "GetStat", pb.GetStatRequest(
                header=pb.Header(session_id=u.id, cell="other"), handle=file), "WRONG_CELL"),
            ("another cell", "CheckSequencer", pb.CheckSequencerRequest(
                sequencer=b"x", cell="other"), "WRONG_CELL")):
        b.expect(what, method, request, expected)
    for service_method, request in {
            "Status": admin_pb.StatusRequest(cell="other"),
            "ListLocks": admin_pb.ListLocksRequest(cell="other"),
            "ListSessions": admin_pb.ListSessionsRequest(cell="other"),
            "EndSessionOf": admin_pb.EndSessionOfRequest(cell="other", session_id=u.id),
            "RevokeLock": admin_pb.RevokeLockRequest(cell="other", path=name)}.items():
        b.expect("another cell", service_method, request, "WRONG_CELL", "Admin")
    sequencer = u.acquire(file).grant.sequencer
    b.expect("twice", "Acquire", pb.AcquireRequest(
        header=head(True), handle=file, mode=pb.LOCK_EXCLUSIVE), "ALREADY_HELD")
    theirs = other.open(name)
    b.expect("another's lock", "Release", pb.ReleaseRequest(
        header=other.header(True), handle=theirs), "NOT_HELD")
    b.expect("what another has locked", "Delete", pb.DeleteRequest(
        header=other.header(True), handle=theirs), "LOCK_HELD")
    b.expect("a busy lock", "Acquire", pb.AcquireRequest(
        header=other.header(True), handle=theirs, mode=pb.LOCK_SHARED, try_only=True),
        "BUSY LOCK_HELD")
    sequencers(b, sequencer)
    other.end()


def sequencers(b, good):
    """Every sequencer but the very one is refused or no longer stands."""
    def check(what, sequencer):
        outcome = b.raw.call("CheckSequencer", pb.CheckSequencerRequest(sequencer=sequencer))
        b.judge(f"CheckSequencer: {what}", outcome, "clear")
        return outcome.status == Code.OK and outcome.reply.valid
    assert check("the good one", good)
    for what in (b"", b"x", b":::::::", good[:-1], good + b"0", good + b"\0", good + b"/",
                 b" " + good, b"1:x:-1:1.0:1:1:/ls/local/a",
                 b"1:x:99999999999999999999:1.0:1:1:/ls/local/a",
                 good.replace(b"1:x", b"1:s"), good.replace(b"1:x", b"2:x"),
                 good.replace(b"/ls/local", b"/ls/other"), good.replace(b":1:/", b":01:/"),
                 bytes(1536), bytes(1537), b"\xff" * 100):
        if check(repr(what[:50]), what):
            b.fault(f"CheckSequencer: {what[:50]!r} is said to stand")
    for bit in range(len(good) * 8):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        if check(f"bit {bit}", bytes(flipped)):
            b.fault(f"CheckSequencer: {bytes(flipped)!r} is said to stand")


def elsewhere(b):
    """every method asked of a replica that is not the master: who is, or an answer"""
    for server in b.cell.servers.split(","):
        if server == b.raw.address:
            continue
        raw = Raw(server)
        for service, module in {"Chubby": pb, "Admin": admin_pb}.items():
            for method in module.DESCRIPTOR.services_by_name[service].methods:
                if method.client_streaming or method.server_streaming:
                    continue
                outcome = raw.bytes(f"/chubby.v1.{service}/{method.name}", b"")
                answers = method.name in ("FindMaster", "Status")
                b.judge(f"{method.name} of {server}", outcome,
                        "OK" if answers else "NOT_MASTER UNIMPLEMENTED")
                if outcome.code == "NOT_MASTER" and outcome.error.master_address != b.raw.address:
                    b.fault(f"{method.name} of {server}: the master is not told")
        raw.close()


TESTS = [paths, handles, numbers, contradictions, elsewhere]
