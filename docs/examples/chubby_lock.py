#!/usr/bin/python3
"""Runs a command under a lock of a Chubby cell, speaking to it with stock gRPC for Python.

usage: chubby_lock.py [--servers HOST:PORT,...] [--shared] PATH COMMAND [ARGUMENT...]

    chubby_lock.py --servers 127.0.0.1:7401,127.0.0.1:7402 /ls/local/nightly -- ./nightly-job

The command finds CHUBBY_SEQUENCER and CHUBBY_FENCING_TOKEN in its environment. Give the token to
whatever storage the job writes to, and let that refuse tokens smaller than the largest it has
seen: then a job that was paused beyond its lease can do no harm when it wakes up.

CHUBBY_SERVERS in the environment says the same as --servers; CHUBBY_PROTO where the .proto files
are, if not beside this example. It needs grpcio, protoc and protoc's plugin for Python (Debian:
python3-grpcio, protobuf-compiler, protobuf-compiler-grpc), and the .proto files; nothing else of
Chubby. Where protoc is missing, grpcio-tools from PyPI takes its place.
docs/any-language.md tells the same without Python.
"""
import argparse
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import grpc

HERE = os.path.dirname(os.path.abspath(__file__))
PROTO = os.path.join(HERE, "..", "..", "proto")


def compiler():
    """The command that makes Python of .proto files: protoc, or the one of grpcio-tools."""
    protoc, plugin = shutil.which("protoc"), shutil.which("grpc_python_plugin")
    if protoc is not None and plugin is not None:
        return [protoc, f"--plugin=protoc-gen-grpc_python={plugin}"]
    if importlib.util.find_spec("grpc_tools") is not None:
        return [sys.executable, "-m", "grpc_tools.protoc"]
    sys.exit("chubby_lock.py: protoc or grpc_python_plugin is not in PATH: install "
             "protobuf-compiler and protobuf-compiler-grpc, or grpcio-tools from PyPI")


def generate(proto, *names):
    """Makes Python modules of .proto files in a temporary directory, and imports them: for each
    file its messages, and its methods."""
    if not os.path.isfile(os.path.join(proto, "chubby", "v1", "chubby.proto")):
        sys.exit(f"chubby_lock.py: there is no chubby/v1/chubby.proto in {proto}: set CHUBBY_PROTO "
                 "to the directory that holds it")
    out = tempfile.mkdtemp(prefix="chubby-stubs-")
    try:
        made = subprocess.run(
            [*compiler(), "-I", proto, "-I", HERE, f"--python_out={out}",
             f"--grpc_python_out={out}", *(f"{name}.proto" for name in names)], check=False)
        if made.returncode != 0:
            sys.exit(f"chubby_lock.py: protoc refused the .proto files in {proto}: see above")
        sys.path.insert(0, out)
        return [importlib.import_module(name.replace("/", ".") + part)
                for name in names for part in ("_pb2", "_pb2_grpc")]
    finally:
        shutil.rmtree(out)


pb, rpc, refusal_pb, _ = generate(os.environ.get("CHUBBY_PROTO") or PROTO, "chubby/v1/chubby",
                                  "refusal")

GRACE_S = 45.0      # how long calls go on trying while there is no master
CALL_S = 2.0        # how long one replica may take to answer
WAIT_MS = 10000     # how long one Wait is held before it is asked again
RETRY_S = 0.05
DRIFT = 0.01        # by so much two clocks may differ in speed

# Nothing was done, or it may have been, but the same number makes sure that it is done once.
AGAIN = {pb.NOT_MASTER, pb.UNAVAILABLE, pb.EPOCH_CHANGED, pb.RESOURCE_EXHAUSTED}
# The same, said by gRPC itself: no connection, or no answer.
BROKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED,
          grpc.StatusCode.CANCELLED}


class Refused(Exception):
    """A refusal by the cell: `code` is of chubby.v1.Code, the text is for a person."""

    def __init__(self, error):
        super().__init__(f"{pb.Code.Name(error.code)}: {error.message}")
        self.code = error.code
        self.error = error


class SessionLost(Exception):
    """The lease ran out: no lock is held any more."""


def now():
    """Seconds on a clock that goes on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def refusal_of(failure):
    """The chubby.v1.Error in a failed call's trailer; None when gRPC itself gave up."""
    for key, value in failure.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in refusal_pb.Refusal.FromString(value).details:
                if detail.type_url.endswith("/chubby.v1.Error"):
                    return pb.Error.FromString(detail.value)
    return None


class Session:
    """A session with a cell: finds the master, keeps the lease, repeats what a failover lost."""

    def __init__(self, servers, cell="local", lease_ms=12000):
        self.servers = list(servers)
        self.cell = cell
        self.channels = {}
        self.master = None
        self.epoch = 0
        self.id = 0
        self.number = 0
        self.handles = 0
        self.one_change = threading.Lock()
        self.closing = threading.Event()
        self.lost = threading.Event()
        sent = now()
        reply = self.call("CreateSession", pb.CreateSessionRequest(
            cell=cell, lease_ms=lease_ms, host=socket.gethostname(), pid=os.getpid(),
            command=os.path.basename(sys.argv[0])))
        self.id, self.epoch = reply.session_id, reply.epoch
        self.lease_end = sent + self.shortened(reply.lease_ms / 1000)
        self.keeper = threading.Thread(target=self.keep_alive, daemon=True)
        self.keeper.start()

    # -- which replica is master? --------------------------------------------------------------

    def stub(self, address):
        if address not in self.channels:
            self.channels[address] = grpc.insecure_channel(address, options=[
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.min_reconnect_backoff_ms", 300),
                ("grpc.max_reconnect_backoff_ms", 300),
                # A stopped master answers nothing, not even with a broken connection.
                ("grpc.keepalive_time_ms", 1000), ("grpc.keepalive_timeout_ms", 1000),
                ("grpc.http2.max_pings_without_data", 0)])
        return rpc.ChubbyStub(self.channels[address])

    def find_master(self):
        """Any replica tells; one that does not answer is passed over."""
        for address in self.servers:
            try:
                found = self.stub(address).FindMaster(
                    pb.FindMasterRequest(cell=self.cell, wait_ms=500), timeout=1.0)
            except grpc.RpcError:
                continue
            return found.address
        return None

    def call(self, method, request, patience_s=CALL_S, grace_s=GRACE_S):
        """Calls the master, whoever that is, until it answers. What changes something carries a
        number, so that asking again after a lost answer has no second effect."""
        end = now() + grace_s
        while not self.lost.is_set():
            if self.master is None:
                self.master = self.find_master()
            if self.master is not None:
                if self.epoch != 0:
                    request.header.epoch = self.epoch
                try:
                    return getattr(self.stub(self.master), method)(request, timeout=patience_s)
                except grpc.RpcError as failure:
                    error = refusal_of(failure)
                    if error is None and failure.code() not in BROKEN:
                        raise
                    if error is not None and error.code not in AGAIN:
                        raise Refused(error) from None
                    if error is not None and error.code == pb.EPOCH_CHANGED:
                        self.epoch = error.epoch
                    elif error is None or error.code != pb.RESOURCE_EXHAUSTED:
                        self.master = None
            if now() > end:
                raise SessionLost(f"no master for {grace_s:.0f} s")
            time.sleep(RETRY_S)
        raise SessionLost("the session's lease ran out")

    # -- the lease -----------------------------------------------------------------------------

    @staticmethod
    def shortened(lease_s):
        return lease_s * (1 - DRIFT) / (1 + DRIFT)

    def alive(self):
        """Whether what the session holds can still be relied on, on this machine's own clock."""
        return not self.lost.is_set() and now() < self.lease_end

    def keep_alive(self):
        """The master holds each KeepAlive until the lease nears its end; the answer renews it.
        After the local end of the lease nothing of the session can be relied on."""
        immediate = True
        while not self.closing.is_set():
            sent = now()
            left = self.lease_end - sent
            try:
                if left <= 0:
                    raise SessionLost
                reply = self.call("KeepAlive", pb.KeepAliveRequest(
                    header=pb.Header(session_id=self.id), immediate=immediate),
                    patience_s=left, grace_s=left)
            except (Refused, SessionLost, grpc.RpcError):
                if not self.closing.is_set():
                    self.lost.set()
                return
            self.epoch = reply.epoch
            self.lease_end = sent + self.shortened((reply.held_ms + reply.left_ms) / 1000)
            immediate = False

    # -- calls ---------------------------------------------------------------------------------

    def change(self, method, request):
        """A numbered call. One at a time, so that the number itself is the lowest unanswered."""
        with self.one_change:
            self.number += 1
            request.header.session_id = self.id
            request.header.number = self.number
            request.header.lowest_unanswered = self.number
            return self.call(method, request)

    def open(self, path, **how):
        self.handles += 1
        request = pb.OpenRequest(path=path, handle_number=self.handles, **how)
        return self.change("Open", request).handle

    def acquire(self, handle, mode=pb.LOCK_EXCLUSIVE):
        """Blocks until the lock is held. The cell answers at once, with a grant or with a ticket
        for the lock's queue; the place in the queue outlives connections and masters."""
        reply = self.change("Acquire", pb.AcquireRequest(handle=handle, mode=mode))
        waiting = pb.WaitRequest(header=pb.Header(session_id=self.id), handle=handle,
                                 ticket=reply.ticket, wait_ms=WAIT_MS)
        while not reply.HasField("grant"):
            try:
                reply = self.call("Wait", waiting, patience_s=WAIT_MS / 1000 + CALL_S)
            except Refused as e:
                if e.code != pb.DEADLINE_EXCEEDED:
                    raise
        return reply.grant

    def release(self, handle):
        self.change("Release", pb.ReleaseRequest(handle=handle))

    def close(self):
        """Ends the session: its locks are free at once."""
        self.closing.set()
        self.call("EndSession", pb.EndSessionRequest(header=pb.Header(session_id=self.id)))
        for channel in self.channels.values():
            channel.close()


# -- the command -------------------------------------------------------------------------------

STOP_WITHIN_S = 5.0


def run_under(session, grant, path, command):
    """Runs the command, and stops it when the lock can no longer be relied on."""
    child = subprocess.Popen(command, env=dict(
        os.environ, CHUBBY_LOCK_PATH=path, CHUBBY_SEQUENCER=grant.sequencer.decode(),
        CHUBBY_FENCING_TOKEN=str(grant.fencing_token)))
    while session.alive():
        try:
            return child.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    print("chubby_lock.py: the lock is lost; the command is stopped", file=sys.stderr)
    child.terminate()
    try:
        child.wait(STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGKILL)
        child.wait()
    return 76


def main():
    parser = argparse.ArgumentParser(description="Runs a command under a lock.")
    parser.add_argument("--servers",
                        default=os.environ.get("CHUBBY_SERVERS", "127.0.0.1:7401"))
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("path")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("say which command to run under the lock")
    try:
        session = Session(options.servers.split(","))
        handle = session.open(options.path, create=pb.OpenRequest.CREATE_MAY, write=True)
        grant = session.acquire(handle, pb.LOCK_SHARED if options.shared else pb.LOCK_EXCLUSIVE)
    except (Refused, SessionLost) as e:
        print(f"chubby_lock.py: {options.path}: {e}", file=sys.stderr)
        return 1
    print(f"chubby_lock.py: sequencer {grant.sequencer.decode()}, token {grant.fencing_token}",
          file=sys.stderr)
    try:
        status = run_under(session, grant, options.path, command)
    except OSError as e:
        # As shells have it; the lock is given back all the same.
        print(f"chubby_lock.py: cannot run {command[0]}: {e.strerror}", file=sys.stderr)
        status = 127 if isinstance(e, FileNotFoundError) else 126
    try:
        session.release(handle)
        session.close()
    except (Refused, SessionLost) as e:
        print(f"chubby_lock.py: {options.path}: {e}", file=sys.stderr)
        return 76
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
