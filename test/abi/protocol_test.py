"""The check of the protocol bites: each kind of break is seen, and an addition is no break."""
import copy
import importlib.machinery
import importlib.util
import os
import sys
import tempfile

from google.protobuf import descriptor_pb2 as pb

import protocol

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.join(HERE, "..", "..", "proto")
T = pb.FieldDescriptorProto
PROTO = """syntax = "proto3";
package p;
enum Colour { NONE = 0; RED = 1; BLUE = 2; reserved 7; }
message Inner { bytes name = 1; }
message Outer {
  reserved 9, 20 to 30;
  uint64 id = 1;
  repeated uint32 many = 2;
  Colour colour = 3;
  Inner inner = 4;
  optional bool flag = 5;
  oneof body { string text = 6; Inner blob = 7; }
  message Nested { int64 n = 1; }
  Nested nested = 8;
}
service S {
  rpc Unary(Inner) returns (Outer);
  rpc Both(stream Inner) returns (stream Outer);
}
"""


def original():
    """A small file that has one of everything."""
    with tempfile.TemporaryDirectory() as scratch:
        with open(os.path.join(scratch, "p.proto"), "w", encoding="utf-8") as f:
            f.write(PROTO)
        return protocol.descriptors(scratch, ["p.proto"]).file[0]


def message(f, name):
    return next(m for m in f.message_type if m.name == name)


def field(f, number):
    return next(x for x in message(f, "Outer").field if x.number == number)


def drop_field(f, number):
    m = message(f, "Outer")
    del m.field[[x.number for x in m.field].index(number)]


def drop(items, name):
    del items[[x.name for x in items].index(name)]


def reserve(m, number):
    m.reserved_range.add(start=number, end=number + 1)


def drop_and_reserve(f):
    drop_field(f, 1)
    reserve(message(f, "Outer"), 1)


def drop_value_and_reserve(f):
    drop(f.enum_type[0].value, "RED")
    f.enum_type[0].reserved_range.add(start=1, end=1)


def reuse(f):
    m = message(f, "Outer")
    del m.reserved_range[:]
    m.reserved_range.add(start=20, end=31)
    m.field.add(name="again", number=9, label=T.LABEL_OPTIONAL, type=T.TYPE_BOOL)


def into_oneof(f):
    field(f, 1).oneof_index = field(f, 6).oneof_index


def unpack(f):
    field(f, 2).options.packed = False


BREAKS = {
    "a field is gone": lambda f: drop_field(f, 1),
    "a field in a oneof is gone": lambda f: drop_field(f, 7),
    "a field has another number": lambda f: setattr(field(f, 1), "number", 15),
    "two fields swap names": lambda f: (setattr(field(f, 1), "name", "flag"),
                                        setattr(field(f, 5), "name", "id")),
    "another type of the same wire form": lambda f: setattr(field(f, 1), "type", T.TYPE_INT64),
    "another type of another wire form": lambda f: setattr(field(f, 1), "type", T.TYPE_FIXED64),
    "another message": lambda f: setattr(field(f, 4), "type_name", ".p.Outer"),
    "repeated becomes one": lambda f: setattr(field(f, 2), "label", T.LABEL_OPTIONAL),
    "one becomes repeated": lambda f: setattr(field(f, 1), "label", T.LABEL_REPEATED),
    "presence is lost": lambda f: setattr(field(f, 5), "proto3_optional", False),
    "a field moves into a oneof": into_oneof,
    "a field leaves its oneof": lambda f: field(f, 6).ClearField("oneof_index"),
    "packing changes": unpack,
    "a reserved number is used": reuse,
    "a reservation is given up": lambda f: message(f, "Outer").ClearField("reserved_range"),
    "a message is gone": lambda f: drop(f.message_type, "Inner"),
    "a nested message is gone": lambda f: message(f, "Outer").ClearField("nested_type"),
    "a nested field changes": lambda f: setattr(message(f, "Outer").nested_type[0].field[0],
                                                "type", T.TYPE_UINT64),
    "a value is gone": lambda f: drop(f.enum_type[0].value, "RED"),
    "a value has another number": lambda f: setattr(f.enum_type[0].value[1], "number", 5),
    "values swap names": lambda f: (setattr(f.enum_type[0].value[1], "name", "BLUE"),
                                    setattr(f.enum_type[0].value[2], "name", "RED")),
    "an enumeration is gone": lambda f: f.ClearField("enum_type"),
    "an enumeration's reservation is given up":
        lambda f: f.enum_type[0].ClearField("reserved_range"),
    "a method is gone": lambda f: drop(f.service[0].method, "Unary"),
    "a method has another name": lambda f: setattr(f.service[0].method[0], "name", "Single"),
    "a method takes something else": lambda f: setattr(f.service[0].method[0], "input_type",
                                                       ".p.Outer"),
    "a method returns something else": lambda f: setattr(f.service[0].method[0], "output_type",
                                                         ".p.Inner"),
    "a method begins to stream": lambda f: setattr(f.service[0].method[0], "server_streaming",
                                                   True),
    "a method's client stops streaming": lambda f: setattr(f.service[0].method[1],
                                                           "client_streaming", False),
    "a service is gone": lambda f: f.ClearField("service"),
    "the package has another name": lambda f: setattr(f, "package", "q"),
}
# No break between those who talk; what is stored must keep everything.
STORED_BREAKS = {
    "a field is gone and reserved": drop_and_reserve,
    "a value is gone and reserved": drop_value_and_reserve,
}
ADDITIONS = {
    "a field": lambda f: message(f, "Inner").field.add(name="more", number=2, type=T.TYPE_BOOL,
                                                       label=T.LABEL_OPTIONAL),
    "a value": lambda f: f.enum_type[0].value.add(name="GREEN", number=3),
    "a message": lambda f: f.message_type.add(name="Further"),
    "an enumeration": lambda f: f.enum_type.add(name="Shape").value.add(name="FLAT", number=0),
    "a method": lambda f: f.service[0].method.add(name="More", input_type=".p.Inner",
                                                  output_type=".p.Inner"),
    "a service": lambda f: f.service.add(name="Further"),
    "a reservation": lambda f: reserve(message(f, "Inner"), 5),
}
NOTHING = {
    "nothing": lambda f: None,
    "another order": lambda f: message(f, "Outer").field.sort(key=lambda x: -x.number),
    "another file": lambda f: setattr(f, "name", "q.proto"),
}


def compared(change, strict):
    f = original()
    old = protocol.facts_of(pb.FileDescriptorSet(file=[f]))
    mutant = copy.deepcopy(f)
    change(mutant)
    return protocol.compare(old, protocol.facts_of(pb.FileDescriptorSet(file=[mutant])), strict)


def expect(cases, strict, breaks, additions):
    failed = 0
    for what, change in cases.items():
        found = compared(change, strict)
        good = bool(found[0]) == breaks and (additions is None or bool(found[1]) == additions)
        print(f"{'ok  ' if good else 'FAIL'} {what}{' (stored)' if strict else ''}: {found}")
        failed += not good
    return failed


def real_files():
    """The same on the true files: every field of every message, dropped and retyped in turn."""
    failed = count = 0
    for name in protocol.SETS:
        facts = protocol.facts_of_set(TOP, name)
        strict = name in protocol.STRICT
        for m, body in facts["messages"].items():
            for number in body["fields"]:
                for meant in (None, "bytes other"):
                    mutant = copy.deepcopy(facts)
                    if meant is None:
                        del mutant["messages"][m]["fields"][number]
                    else:
                        mutant["messages"][m]["fields"][number] = meant
                    breaks, _ = protocol.compare(facts, mutant, strict)
                    count += 1
                    failed += len(breaks) != 1
        failed += protocol.compare(facts, facts, strict) != ([], [])
    stored = protocol.facts_of_set(TOP, "stored")["messages"]
    good = "chubby.internal.Ballot" in stored and "chubby.internal.Hello" not in stored
    print(f"{'FAIL' if failed or not good else 'ok  '} {count} changes of the files as they are")
    return failed + (not good) + (count < 500)


def rules():
    """`check` fails on what is new until it is taken in, and takes in no break unasked."""
    loader = importlib.machinery.SourceFileLoader("check", os.path.join(HERE, "check"))
    check = importlib.util.module_from_spec(importlib.util.spec_from_loader("check", loader))
    loader.exec_module(check)
    failed = 0
    for found, update, breaking, good, written in [
            (([], []), False, False, True, False), (([], []), True, False, True, True),
            (([], ["new"]), False, False, False, False), (([], ["new"]), True, False, True, True),
            ((["gone"], []), False, False, False, False),
            ((["gone"], ["new"]), True, False, False, False),
            ((["gone"], ["new"]), True, True, True, True), (None, False, False, False, False),
            (None, True, False, True, True)]:
        with tempfile.TemporaryDirectory() as check.HERE:
            b = check.Baseline("b.json", lambda path, f=found: f, lambda: "now")
            if found is not None:
                with open(b.path, "w", encoding="utf-8") as f:
                    f.write("before")
            said = b.check(update, breaking)
            there = os.path.exists(b.path) and check_text(b.path)
            bad = said != good or (there == "now") != written
            print(f"{'FAIL' if bad else 'ok  '} {found}, update {update}, breaking {breaking}")
            failed += bad
    return failed


def check_text(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


if __name__ == "__main__":
    sys.exit(1 if expect(BREAKS, False, True, None) + expect(BREAKS, True, True, None)
             + expect(STORED_BREAKS, True, True, None) + expect(STORED_BREAKS, False, False, True)
             + expect(ADDITIONS, False, False, True) + expect(ADDITIONS, True, False, True)
             + expect(NOTHING, False, False, False) + real_files() + rules() else 0)
