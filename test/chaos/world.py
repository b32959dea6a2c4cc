"""A world of its own for a run: network, mounts and processes that end with the one that made them.

The run starts itself again in new namespaces (`unshare`), as root or, where the kernel lets users
make namespaces of their own, as anybody. Nothing in there can reach the machine's network, and
when the run ends, by whatever signal, the kernel takes all of it away: processes, bridges, mounts.
"""
import os
import shutil
import subprocess
import sys

INSIDE = "CHUBBY_CHAOS_WORLD"
SUBNET = "10.77.0"
HOST = f"{SUBNET}.254"
TOOLS = ("unshare", "nsenter", "ip", "tc", "iptables")


def enter():
    """Starts this program again in a world of its own and does not return; or returns why it
    cannot; None: it is inside."""
    if os.environ.get(INSIDE):
        return None
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command.append("--map-root-user")
    tried = subprocess.run(command + ["ip", "link", "add", "try", "type", "bridge"],
                           capture_output=True, text=True)
    if tried.returncode != 0:
        who = "" if os.geteuid() == 0 else ", and this is not root"
        return f"no namespaces{who}: {tried.stderr.strip()}"
    sys.stdout.flush()
    os.environ[INSIDE] = "yes"
    os.execvp("unshare", command + [sys.executable] + sys.argv)


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")


def iptables_program():
    """The one that this kernel understands."""
    for program in ("iptables", "iptables-legacy", "iptables-nft"):
        if shutil.which(program) and subprocess.run([program, "-w", "-L", "-n"],
                                                    capture_output=True).returncode == 0:
            return program
    raise RuntimeError("no iptables that this kernel understands")


class Network:
    """A bridge, and a network namespace for each replica. The clients stand beside the bridge."""

    def __init__(self, count):
        run("mount", "-t", "tmpfs", "none", "/run")
        os.mkdir("/run/netns")
        run("ip", "link", "set", "lo", "up")
        # A card that is taken off the bridge must not answer for the bridge.
        with open("/proc/sys/net/ipv4/conf/all/arp_ignore", "w") as f:
            f.write("1")
        run("ip", "link", "add", "cell", "type", "bridge")
        run("ip", "addr", "add", f"{HOST}/24", "dev", "cell")
        run("ip", "link", "set", "cell", "up")
        self.iptables = iptables_program()
        for i in range(1, count + 1):
            self.add(i)

    def add(self, i):
        run("ip", "netns", "add", f"r{i}")
        run("ip", "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", f"r{i}")
        run("ip", "link", "set", f"v{i}", "master", "cell", "up")
        self.at(i, "ip", "link", "set", "lo", "up")
        self.at(i, "ip", "addr", "add", f"{address(i)}/24", "dev", "eth0")
        self.at(i, "ip", "link", "set", "eth0", "up")
        # The second way to the bridge, for a wire that delays.
        run("ip", "link", "add", f"w{i}", "type", "veth", "peer", "name", f"x{i}")
        run("ip", "link", "set", f"x{i}", "master", "cell", "up")
        run("ip", "link", "set", f"w{i}", "up")

    def inside(self, i):
        """What to put before a command that is to run where replica i is."""
        return ["nsenter", f"--net=/run/netns/r{i}"]

    def at(self, i, *command):
        run(*self.inside(i), *command)

    def rule(self, i, change, *rule):
        """Adds ("-A") or deletes ("-D") a rule of what reaches and leaves replica i."""
        self.at(i, self.iptables, "-w", change, *rule)

    def slow(self, i, kbit):
        self.at(i, "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", f"{kbit}kbit",
                "burst", "16kb", "latency", "400ms")

    def fast(self, i):
        self.at(i, "tc", "qdisc", "del", "dev", "eth0", "root")

    def take_off(self, i):
        run("ip", "link", "set", f"v{i}", "nomaster")

    def put_back(self, i):
        run("ip", "link", "set", f"v{i}", "master", "cell")


def address(i):
    return f"{SUBNET}.{i}"
