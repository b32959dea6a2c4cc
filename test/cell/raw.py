"""Calls of a cell by hand: any bytes to any method, and what came back.

The messages' modules are generated from the .proto files, as docs/examples/chubby_lock.py does it.
"""
import os
import sys
import time

import grpc

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs",
                                "examples"))
import chubby_lock  # noqa: E402 (the path comes first)

pb = chubby_lock.pb
admin_pb, admin_rpc = chubby_lock.generate(os.environ.get("CHUBBY_PROTO") or chubby_lock.PROTO,
                                           "chubby/v1/admin")
Code = grpc.StatusCode

# One slow call is none: a refusal costs the server nothing. A busy test machine may.
DEADLINE_S = 5.0

# chubby.v1.Code -> the gRPC status that carries it.
STATUS_OF = {}
for status, names in {
        Code.INVALID_ARGUMENT: "INVALID_ARGUMENT INVALID_PATH WRONG_CELL TOO_LARGE MALFORMED",
        Code.NOT_FOUND: "NOT_FOUND",
        Code.ALREADY_EXISTS: "EXISTS",
        Code.FAILED_PRECONDITION:
            "NOT_EMPTY NOT_DIRECTORY IS_DIRECTORY GENERATION_MISMATCH HANDLE_INVALID HANDLE_CLOSED "
            "HANDLE_STALE LOCK_HELD ALREADY_HELD NOT_HELD SEQUENCER_INVALID SESSION_EXPIRED "
            "REQUEST_OUT_OF_WINDOW WRONG_KIND",
        Code.ABORTED: "BUSY EPOCH_CHANGED GUARD_FAILED",
        Code.RESOURCE_EXHAUSTED: "RESOURCE_EXHAUSTED",
        Code.PERMISSION_DENIED: "PERMISSION_DENIED",
        Code.DEADLINE_EXCEEDED: "DEADLINE_EXCEEDED",
        Code.CANCELLED: "CANCELLED",
        Code.UNIMPLEMENTED: "UNIMPLEMENTED",
        Code.UNAVAILABLE: "NOT_MASTER UNAVAILABLE"}.items():
    for name in names.split():
        STATUS_OF[pb.Code.Value(name)] = status


class Outcome:
    """What a call brought: `code` is the name of the chubby.v1.Code, or "OK", or None where gRPC
    itself refused."""

    def __init__(self, reply=None, failure=None):
        self.reply = reply
        self.status = failure.code() if failure else Code.OK
        self.text = failure.details() if failure else ""
        self.error = chubby_lock.refusal_of(failure) if failure else None
        self.code = "OK" if not failure else pb.Code.Name(self.error.code) if self.error else None

    def __str__(self):
        return f"{self.status.name} {self.code}: {self.text!r}"

    def trouble(self, ours=True):
        """What is wrong with a refusal, or None: it must say what, in both languages."""
        if self.status == Code.OK:
            return None
        if self.status in (Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS):
            return "an internal error"
        if not self.text:
            return "no sentence"
        if self.error is None:
            return "no chubby.v1.Error" if ours else None
        if STATUS_OF.get(self.error.code) != self.status:
            return "code and status do not belong together"
        # An empty sentence in the details would leave a client that reads only those without one.
        if not self.error.message:
            return "an empty sentence in the details"
        return None


class Raw:
    """A connection to one replica."""

    def __init__(self, address, *options):
        self.address = address
        self.channel = grpc.insecure_channel(address, options=[
            ("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1),
            ("grpc.max_metadata_size", 1 << 24), *options])
        self.methods = {}

    def bytes(self, path, data, timeout=DEADLINE_S, **more):
        """A unary call with these bytes."""
        if path not in self.methods:
            self.methods[path] = self.channel.unary_unary(path)
        try:
            return Outcome(self.methods[path](data, timeout=timeout, **more))
        except grpc.RpcError as failure:
            return Outcome(failure=failure)

    def streamed(self, path, data):
        """A call that is answered by a stream, read to its end."""
        try:
            return Outcome(list(self.channel.unary_stream(path)(data, timeout=DEADLINE_S)))
        except grpc.RpcError as failure:
            return Outcome(failure=failure)

    def call(self, method, request, service="Chubby", **more):
        """A unary call with a message; the reply is parsed."""
        module = pb if service == "Chubby" else admin_pb
        descriptor = module.DESCRIPTOR.services_by_name[service].methods_by_name[method]
        outcome = self.bytes(f"/chubby.v1.{service}/{method}", request.SerializeToString(), **more)
        if outcome.status == Code.OK:
            outcome.reply = getattr(module, descriptor.output_type.name).FromString(outcome.reply)
        return outcome

    def good(self, method, request, service="Chubby"):
        """Likewise, and it must succeed."""
        outcome = self.call(method, request, service)
        assert outcome.status == Code.OK, f"{method}: {outcome}"
        return outcome.reply

    def close(self):
        self.channel.close()


class User:
    """A session that numbers its requests, and makes what requests need."""

    def __init__(self, raw, lease_ms=60000):
        self.raw = raw
        reply = raw.good("CreateSession", pb.CreateSessionRequest(lease_ms=lease_ms, host="test"))
        self.id = reply.session_id
        self.epoch = reply.epoch
        self.number = 0
        self.handle_number = 0
        self.names = 0

    def header(self, numbered=False):
        h = pb.Header(session_id=self.id, epoch=self.epoch, cell="local")
        if numbered:
            self.number += 1
            h.number = h.lowest_unanswered = self.number
        return h

    def open_request(self, path, **how):
        self.handle_number += 1
        how = {"create": pb.OpenRequest.CREATE_MAY, "read": True, "write": True,
               "change_acl": True, **how}
        return pb.OpenRequest(header=self.header(True), path=path,
                              handle_number=self.handle_number, **how)

    def open(self, path, **how):
        return self.raw.good("Open", self.open_request(path, **how)).handle

    def fresh(self):
        """A handle of a new file."""
        self.names += 1
        return self.open(f"/ls/local/s{self.id}-{self.names}")

    def acquire(self, handle, mode=pb.LOCK_EXCLUSIVE):
        return self.raw.good("Acquire", pb.AcquireRequest(
            header=self.header(True), handle=handle, mode=mode))

    def end(self):
        self.raw.call("EndSession", pb.EndSessionRequest(header=pb.Header(session_id=self.id)))


def master_of(servers):
    """The master's address, as any replica tells it."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        for server in servers.split(","):
            raw = Raw(server)
            try:
                found = raw.call("FindMaster", pb.FindMasterRequest(wait_ms=500))
                if found.status == Code.OK:
                    return found.reply.address
            finally:
                raw.close()
    raise AssertionError("no master")
