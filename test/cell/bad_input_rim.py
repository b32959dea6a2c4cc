"""Bad input at the rim: calls that no method takes, Session streams that go wrong, sizes, and bytes
that are no gRPC. Each function gets a Bench of bad_input_test.py."""
import queue
import random
import re
import socket
import urllib.request

import grpc

import cell as cells
from raw import Code, Outcome, Raw, pb

MIB = 1 << 20
STREAM_S = 10.0


def unknown(b):
    """methods and services that there are not, sizes beyond the limits, compression, metadata"""
    for path in ("/chubby.v1.Chubby/Nope", "/chubby.v1.Nope/Open", "/chubby.v2.Chubby/Open", "/a",
                 "/a/b/c", "/", "//", "/chubby.v1.Chubby/", "/chubby.v1.Chubby/open",
                 "/chubby.v1.Chubby/Open/", "/chubby.internal.Peer/Exchange", "/" + 4000 * "m",
                 "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"):
        b.judge(path[:50], b.raw.bytes(path, b""), "UNIMPLEMENTED")
    for size in (MIB + 1, 16 * MIB):
        for path in ("/chubby.v1.Chubby/SetContents", "/chubby.v1.Chubby/Nope"):
            outcome = b.raw.bytes(path, bytes(size))
            # gRPC itself refuses these, before it looks at the method.
            b.judge(f"{path} with {size} bytes", outcome, "refused", ours=False)
    for method in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        outcome = b.raw.bytes("/chubby.v1.Chubby/GetStat", bytes(100000), compression=method)
        b.judge(f"compressed, {method}", outcome, "refused", ours=False)
        if outcome.status == Code.OK:
            b.fault("a compressed message was taken")
    for what, metadata in {
            "a thousand headers": [(f"x-{i}", "v") for i in range(1000)],
            "a header of 64 KiB": [("x", 65536 * "v")],
            "a binary header of 32 KiB": [("x-bin", bytes(32768))]}.items():
        # On a connection of its own: gRPC may end it, and what else is on it.
        flood = Raw(b.raw.address, ("grpc.use_local_subchannel_pool", 1))
        outcome = flood.bytes("/chubby.v1.Chubby/FindMaster", b"", metadata=metadata)
        b.judge(what, outcome, "refused", ours=False)
        flood.close()
    few = [(f"x-{i}", "v") for i in range(50)]
    b.judge("fifty headers", b.raw.bytes("/chubby.v1.Chubby/FindMaster", b"", metadata=few), "OK")
    # A call of a unary method without a message, or with two.
    path = "/chubby.v1.Chubby/FindMaster"
    for count in (0, 2):
        call = b.raw.channel.stream_unary(path)
        try:
            outcome = Outcome(call(iter([b""] * count), timeout=STREAM_S))
        except grpc.RpcError as failure:
            outcome = Outcome(failure=failure)
        b.judge(f"{count} messages in one call", outcome, "refused" if count == 0 else "clear",
                ours=False)


class Stream:
    """A Session stream: sends bytes, and takes what comes."""

    def __init__(self, raw):
        self.out = queue.Queue()
        self.call = raw.channel.stream_stream("/chubby.v1.Chubby/Session")(
            iter(self.out.get, None), timeout=STREAM_S)

    def send(self, call_id=0, **request):
        self.out.put(pb.ClientEnvelope(call_id=call_id, **request).SerializeToString())

    def next(self):
        return pb.ServerEnvelope.FromString(next(self.call))

    def answer(self, call_id):
        """The answer of this call; others and pushes are passed over."""
        while True:
            e = self.next()
            if e.call_id == call_id:
                return e

    def session(self):
        self.send(1, create_session=pb.CreateSessionRequest(lease_ms=60000))
        return self.answer(1).create_session.session_id

    def end(self, taken=None):
        """Reads to the end: how the stream ended."""
        try:
            for message in self.call:
                if taken is not None:
                    taken.append(message)
        except grpc.RpcError as failure:
            return Outcome(failure=failure)
        return Outcome()

    def close(self):
        self.out.put(None)
        self.call.cancel()


def first_envelopes(b):
    """first envelopes that are none: the stream is refused with the reason"""
    for what, data, expected in (
            ("noise", b"\xff\xff\xff", "MALFORMED"),
            ("empty", b"", "MALFORMED"),
            ("call 0", pb.ClientEnvelope(create_session=pb.CreateSessionRequest())
             .SerializeToString(), "MALFORMED"),
            ("a number of eleven bytes", b"\x08" + b"\x80" * 10 + b"\x01", "MALFORMED")):
        s = Stream(b.raw)
        s.out.put(data)
        b.judge(f"first envelope: {what}", s.end(), expected)
        s.close()
    s = Stream(b.raw)
    s.out.put(bytes(MIB + 1))
    b.judge("first envelope: too large", s.end(), "refused", ours=False)
    s.close()
    s = Stream(b.raw)
    s.out.put(None)
    b.judge("a stream without an envelope", s.end(), "clear")
    # A call in it that is wrong is refused alone.
    for what, data, expected in (
            ("without a request", pb.ClientEnvelope(call_id=7).SerializeToString(),
             "UNIMPLEMENTED MALFORMED"),
            ("of a newer version", b"\x08\x07" + b"\xc2\x3e\x01x", "UNIMPLEMENTED"),
            ("with a request that is none", b"\x08\x07\x2a\x02\xff\xff", "MALFORMED"),
            ("with two requests", b"\x08\x07\x12\x00\x1a\x00", "MALFORMED"),
            ("a read before there is a session", pb.ClientEnvelope(
                call_id=7, get_stat=pb.GetStatRequest()).SerializeToString(), "SESSION_EXPIRED")):
        s = Stream(b.raw)
        s.out.put(data)
        error = s.answer(7).error
        if pb.Code.Name(error.code) not in expected.split() or not error.message:
            b.fault(f"envelope {what}: {error}")
        s.send(9, find_master=pb.FindMasterRequest())
        if not s.answer(9).find_master.address:
            b.fault(f"envelope {what}: the stream does not go on")
        b.serves(what)
        s.close()


def open_streams(b):
    """As the master's metrics tell."""
    host, port = b.raw.address.split(":")
    with urllib.request.urlopen(f"http://{host}:{int(port) + 200}/metrics", timeout=5) as page:
        return int(re.search(rb"^chubby_streams (\d+)", page.read(), re.M).group(1))


def crowded_streams(b):
    """more calls on a stream than it bears; twice the same call; a client that does not read"""
    s = Stream(b.raw)
    session = s.session()
    header = pb.Header(session_id=session)
    for i in range(1000):
        s.send(10 + i, find_master=pb.FindMasterRequest())
    seen = {s.next().call_id for _ in range(1000)}
    if seen != set(range(10, 1010)):
        b.fault("a thousand calls at once: not each is answered once")
    b.serves("a thousand calls at once")

    handle = b.user.fresh()
    name = f"/ls/local/s{b.user.id}-{b.user.names}"
    b.user.acquire(handle)
    s.send(2, open=pb.OpenRequest(header=header, path=name, handle_number=1, write=True))
    mine = s.answer(2).open.handle
    s.send(3, acquire=pb.AcquireRequest(header=pb.Header(
        session_id=session, number=1, lowest_unanswered=1), handle=mine, mode=pb.LOCK_SHARED))
    ticket = s.answer(3).acquire.ticket
    for i in range(1500):
        s.send(5000 + i, wait=pb.WaitRequest(header=header, handle=mine, ticket=ticket))
    refused = [s.next() for _ in range(1500 - 1024)]
    if any(e.error.code != pb.RESOURCE_EXHAUSTED or not e.error.message for e in refused):
        b.fault(f"1500 held calls: {refused[0]}")
    b.serves("1500 held calls")
    b.raw.good("Release", pb.ReleaseRequest(header=b.user.header(True), handle=handle))
    granted = [s.next() for _ in range(1024 + 1)]  # a push as well
    if any(e.error.code for e in granted):
        b.fault(f"held calls after the grant: {granted[0]}")
    s.close()
    b.serves("a stream that was cancelled")

    b.raw.good("SetContents", pb.SetContentsRequest(
        header=b.user.header(True), handle=handle, contents=bytes(200000)))
    s = Stream(b.raw)
    s.send(1, find_master=pb.FindMasterRequest())
    s.answer(1)
    for i in range(300):
        s.send(10 + i, get_contents_and_stat=pb.GetContentsAndStatRequest(
            header=pb.Header(session_id=b.user.id), handle=handle))
    # Until it is cut off, of which it learns only when it reads.
    # Metrics are half a second old; four looks at them are not.
    none = []
    cells.wait_for("the stream to be cut off", lambda: none.append(open_streams(b)) or
                   none[-4:] == [0] * 4, 20, 0.4)
    b.serves("a client that does not read")
    taken = []
    outcome = s.end(taken)
    b.judge("a client that does not read", outcome, "refused", ours=False)
    if outcome.status != Code.RESOURCE_EXHAUSTED or len(taken) > 150:
        b.fault(f"a client that does not read got {len(taken)} answers: {outcome}")
    s.close()


def strangers(b):
    """what is no gRPC: noise, HTTP/1, TLS, floods of connections, on every port"""
    port = int(b.raw.address.split(":")[1])
    noise = random.Random(1)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = b"\0\0\0\4\0\0\0\0\0"
    greetings = {
        "nothing": b"", "noise": bytes(noise.randrange(256) for _ in range(4096)),
        "HTTP/1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "a long line": b"GET /" + b"x" * 100000,
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(508),
        "half a preface": preface[:10], "a frame of 16 MiB": preface + b"\xff\xff\xff\0\0\0\0\0\1",
        "a stream 0": preface + settings + b"\0\0\4\1\4\0\0\0\0abcd",
        "noise in frames": preface + settings + bytes(noise.randrange(256) for _ in range(4096)),
        "a header bomb": preface + settings + b"\0\x40\0\1\4\0\0\0\1" + b"\xbe" * 0x4000,
        "endless continuation": preface + settings + b"\0\0\1\1\0\0\0\0\1\x82" +
                                b"\0\0\1\x09\0\0\0\0\1\x82" * 2000,
        "resets": preface + settings + b"\0\0\4\3\0\0\0\0\1\0\0\0\x08" * 1000,
        "pings": preface + settings + b"\0\0\x08\6\0\0\0\0\0pingping" * 2000,
    }
    for offset in (0, 100, 200):
        for what, data in greetings.items():
            with socket.create_connection(("127.0.0.1", port + offset), 5) as s:
                try:
                    s.sendall(data)
                    s.settimeout(0.02)
                    s.recv(65536)
                except OSError:
                    pass  # cut off, which is an answer
            b.serves(f"{what} on port {port + offset}")
        idle = [socket.create_connection(("127.0.0.1", port + offset), 5) for _ in range(200)]
        b.serves(f"200 silent connections on port {port + offset}")
        for s in idle:
            s.close()
        b.serves(f"the end of 200 connections on port {port + offset}")


def peers(b):
    """clients at the peers' port: streams that do not begin with a hello are refused"""
    host, port = b.raw.address.split(":")
    raw = Raw(f"{host}:{int(port) + 100}")
    b.judge("a client's call", raw.bytes("/chubby.v1.Chubby/FindMaster", b""), "UNIMPLEMENTED")
    for method in ("Exchange", "Bulk"):
        for what, data in {"noise": b"\xff" * 100, "nothing": b"", "a frame that is too large":
                           bytes(8 * MIB), "an empty hello": b"\x0a\x00"}.items():
            call = raw.channel.stream_stream(f"/chubby.internal.Peer/{method}")(
                iter([data]), timeout=STREAM_S)
            try:
                list(call)
                outcome = Outcome()
            except grpc.RpcError as failure:
                outcome = Outcome(failure=failure)
            b.judge(f"{method}: {what}", outcome, "refused", ours=False)
    many = [raw.channel.stream_stream("/chubby.internal.Peer/Exchange")(
        iter(queue.Queue().get, None), timeout=2) for _ in range(100)]
    b.serves("a hundred strangers")
    for call in many:
        call.cancel()
    raw.close()
    b.serves("a hundred strangers that left")


def hasty(b):
    """thousands of calls that are cancelled as soon as they are made"""
    header = pb.Header(session_id=b.user.id)
    request = pb.KeepAliveRequest(header=header).SerializeToString()
    method = b.raw.channel.unary_unary("/chubby.v1.Chubby/KeepAlive")
    for _ in range(10):
        calls = [method.future(request, timeout=5) for _ in range(300)]
        for call in calls:
            call.cancel()
        b.serves("300 cancelled calls")
    # The oldest KeepAlive of a session gives way to the newest, so all but one are answered.
    calls = [method.future(request, timeout=3) for _ in range(300)]
    b.serves("300 KeepAlives of one session")
    for call in calls:
        call.cancel()


TESTS = [unknown, first_envelopes, crowded_streams, strangers, peers, hasty]
