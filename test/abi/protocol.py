"""What the .proto files promise, as plain facts, and what of it a change would break.

The facts are read from the descriptors that protoc makes, so that comments, order and layout of the
files do not count. A baseline is these facts as JSON, one field a line.
"""
import json
import os
import shutil
import subprocess
import tempfile

from google.protobuf import descriptor_pb2 as pb

# What is compared with which baseline. Of stored records nothing may go: what was written must be
# readable as long as a disk keeps it. Peers and clients of two versions only talk.
SETS = {
    "client": ["chubby/v1/chubby.proto", "chubby/v1/admin.proto"],
    "peer": ["chubby/internal/peer.proto", "chubby/internal/status.proto"],
    "stored": ["chubby/internal/record.proto"],
}
STRICT = {"stored"}
MAX_NUMBER = 2 ** 29

_TYPES = {number: name[len("TYPE_"):].lower()
          for name, number in pb.FieldDescriptorProto.Type.items()}


def descriptors(top, files):
    """The descriptors of files below `top`, with what they import."""
    protoc = shutil.which("protoc", path="/usr/bin:" + os.environ.get("PATH", ""))
    if protoc is None:
        raise RuntimeError("protoc is not installed; packages: deploy/packages.sh")
    with tempfile.TemporaryDirectory() as scratch:
        out = os.path.join(scratch, "set")
        r = subprocess.run([protoc, f"-I{top}", "--include_imports",
                            f"--descriptor_set_out={out}", *files],
                           cwd=top, capture_output=True, text=True, check=False)
        if r.returncode != 0:
            raise RuntimeError(f"protoc: {r.stderr.strip()}")
        with open(out, "rb") as f:
            return pb.FileDescriptorSet.FromString(f.read())


# ---- facts ---------------------------------------------------------------------------------------

def _field(f, message):
    """Everything about a field that its bytes, or those who use it by name, depend on."""
    words = []
    if f.label == pb.FieldDescriptorProto.LABEL_REPEATED:
        words.append("repeated")
    elif f.label == pb.FieldDescriptorProto.LABEL_REQUIRED:
        words.append("required")
    if f.proto3_optional:
        words.append("optional")
    elif f.HasField("oneof_index"):
        words.append(f"oneof {message.oneof_decl[f.oneof_index].name}:")
    words.append(f.type_name.lstrip(".") or _TYPES[f.type])
    words.append(f.name)
    if f.options.HasField("packed"):
        words.append(f"[packed={str(f.options.packed).lower()}]")
    return " ".join(words)


def _message(facts, scope, m):
    name = f"{scope}.{m.name}"
    facts["messages"][name] = {
        "fields": {str(f.number): _field(f, m) for f in m.field},
        # The descriptor's end is one beyond the last.
        "reserved": sorted([r.start, min(r.end, MAX_NUMBER) - 1] for r in m.reserved_range),
    }
    for nested in m.nested_type:
        _message(facts, name, nested)
    for e in m.enum_type:
        _enum(facts, name, e)


def _enum(facts, scope, e):
    facts["enums"][f"{scope}.{e.name}"] = {
        "values": {str(v.number): v.name for v in e.value},
        "reserved": sorted([r.start, r.end] for r in e.reserved_range),
    }


def _service(facts, scope, s):
    def side(streams, type_name):
        return ("stream " if streams else "") + type_name.lstrip(".")
    facts["services"][f"{scope}.{s.name}"] = {
        m.name: f"({side(m.client_streaming, m.input_type)}) returns "
                f"({side(m.server_streaming, m.output_type)})" for m in s.method}


def facts_of(descriptor_set):
    facts = {"messages": {}, "enums": {}, "services": {}}
    for f in descriptor_set.file:
        for m in f.message_type:
            _message(facts, f.package, m)
        for e in f.enum_type:
            _enum(facts, f.package, e)
        for s in f.service:
            _service(facts, f.package, s)
    return facts


def facts_of_set(top, name):
    """The facts of one of SETS. What is stored is what the records reach, not the whole of the
    files that they import."""
    found = descriptors(top, SETS[name])
    facts = facts_of(found)
    if name not in STRICT:
        return facts
    own = {"messages": {}, "enums": {}, "services": {}}
    todo = [m for f in found.file if f.name in SETS[name]
            for m in facts_of(pb.FileDescriptorSet(file=[f]))["messages"]]
    while todo:
        m = todo.pop()
        if m in own["messages"]:
            continue
        own["messages"][m] = facts["messages"][m]
        for text in facts["messages"][m]["fields"].values():
            todo += [w for w in text.split() if w in facts["messages"]]
            own["enums"].update({w: facts["enums"][w] for w in text.split()
                                 if w in facts["enums"]})
    return own


# ---- comparison ----------------------------------------------------------------------------------

def _covered(ranges, number):
    return any(low <= number <= high for low, high in ranges)


def _compare_numbers(what, old, new, key, strict, breaks, additions):
    """Fields of a message, or values of an enumeration."""
    for number, was in old[key].items():
        now = new[key].get(number)
        if now is None:
            if not _covered(new["reserved"], int(number)):
                breaks.append(f"{what}: {number} ({was}) is gone, and its number is not reserved")
            elif strict:
                breaks.append(f"{what}: {number} ({was}) is gone; what is stored has it")
        elif now != was:
            breaks.append(f"{what}: {number} was \"{was}\", now \"{now}\"")
    for low, high in old["reserved"]:
        for number, now in new[key].items():
            if low <= int(number) <= high:
                breaks.append(f"{what}: number {number} was reserved, now \"{now}\"")
        if not any(a <= low and high <= b for a, b in new["reserved"]):
            breaks.append(f"{what}: numbers {low} to {high} are not reserved any more")
    for number, now in new[key].items():
        if number not in old[key]:
            additions.append(f"{what}: {number} ({now})")
    for r in new["reserved"]:
        if r not in old["reserved"]:
            additions.append(f"{what}: reserves {r[0]} to {r[1]}")


def compare(old, new, strict=False):
    """(breaks, additions): sentences about what would break those who rely on `old`, and what is
    new in `new`."""
    breaks, additions = [], []
    for kind, key in (("messages", "fields"), ("enums", "values")):
        for name, was in old[kind].items():
            if name in new[kind]:
                _compare_numbers(name, was, new[kind][name], key, strict, breaks, additions)
            else:
                breaks.append(f"{name} is gone")
        additions += [f"{name}" for name in new[kind] if name not in old[kind]]
    for name, was in old["services"].items():
        if name not in new["services"]:
            breaks.append(f"service {name} is gone")
            continue
        now = new["services"][name]
        for method, signature in was.items():
            if method not in now:
                breaks.append(f"{name}.{method} is gone")
            elif now[method] != signature:
                breaks.append(f"{name}.{method} was {signature}, now {now[method]}")
        additions += [f"{name}.{method}" for method in now if method not in was]
    additions += [f"service {name}" for name in new["services"] if name not in old["services"]]
    return breaks, additions


def to_text(facts):
    def in_order(d):
        return {k: d[k] for k in sorted(d, key=lambda k: (int(k) if k.lstrip("-").isdigit() else 0,
                                                          k))}
    ordered = {kind: {name: {key: in_order(value) if isinstance(value, dict) else value
                             for key, value in body.items()}
                      for name, body in sorted(facts[kind].items())} for kind in facts}
    text = json.dumps(ordered, indent=1)
    return text + "\n"
