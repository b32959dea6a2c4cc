"""Bad requests made from the descriptors of the .proto files: every field of a good request
missing, of the wrong type, too large, out of range, twice; and bytes that are no message.

Each mutant is (label, bytes, expected): "refused", "same" (as if nothing were wrong: a newer
client may say what we do not know), or "clear" (whatever it is, it must be said clearly).
"""
import random

from google.protobuf.descriptor import FieldDescriptor as F

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)

VARINTS = {F.TYPE_UINT32, F.TYPE_UINT64, F.TYPE_INT64, F.TYPE_BOOL, F.TYPE_ENUM}
TEXTS = {F.TYPE_STRING, F.TYPE_BYTES}


def varint(n):
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def tag(number, wire):
    return varint(number << 3 | wire)


def counted(number, content):
    return tag(number, LENGTH) + varint(len(content)) + content


def without(message, field):
    copy = type(message)()
    copy.CopyFrom(message)
    copy.ClearField(field.name)
    return copy.SerializeToString()


def numbers(field):
    """Numbers that are strange for this type, and what must come of them."""
    negative = (1 << 64) - 1
    if field.type == F.TYPE_ENUM:
        for n in (99, 2**31 - 1, negative):
            yield n, "refused"
    elif field.type == F.TYPE_UINT32:
        yield 0, "clear"
        yield 2**32 - 1, "clear"
        yield 2**32, "refused"
        yield negative, "refused"
    elif field.type == F.TYPE_BOOL:
        yield 0, "clear"
        yield 2, "clear"
        yield negative, "clear"
    else:
        for n in (0, 2**53, 2**63, negative):
            yield n, "clear"


def of_numbers(message, field):
    for n, expected in numbers(field):
        body = without(message, field) + tag(field.number, VARINT) + varint(n)
        yield f"{field.name} is {n}", body, expected
    base = without(message, field) + tag(field.number, VARINT)
    yield f"{field.name} has eleven bytes", base + b"\x80" * 10 + b"\x01", "refused"
    yield f"{field.name} is cut off", base + b"\x80", "refused"


def of_texts(message, field):
    base = without(message, field)
    large = 300 << 10 if field.type == F.TYPE_BYTES else 64 << 10
    yield f"{field.name} of {large} bytes", base + counted(field.number, b"x" * large), "refused"
    beyond = tag(field.number, LENGTH)
    yield f"{field.name} longer than the message", base + beyond + b"\x20abc", "refused"
    yield f"{field.name} of 4 GiB", base + beyond + b"\xff\xff\xff\xff\x0fabc", "refused"
    yield f"{field.name} of 2**64 - 1 bytes", base + beyond + varint(2**64 - 1), "refused"
    if field.type == F.TYPE_STRING:
        for what, content in {"a NUL": b"/ls/local/a\0b", "half a character": b"/ls/local/\xc3",
                              "a surrogate": b"\xed\xa0\x80", "a long form": b"\xc0\xaf"}.items():
            yield f"{field.name} with {what}", base + counted(field.number, content), "refused"
    else:
        yield f"{field.name} is noise", base + counted(field.number, bytes(range(64))), "clear"
        yield f"{field.name} is empty", base + counted(field.number, b""), "clear"


def of_repeated(message, field):
    base = message.SerializeToString()
    if field.type in TEXTS:
        yield f"{field.name} ten thousand times", base + counted(field.number, b"x") * 10000, \
            "refused"
        for label, body, _ in of_texts(message, field):
            if "noise" not in label and "empty" not in label:
                yield label, body, "refused"
    elif field.type == F.TYPE_MESSAGE:
        yield f"{field.name} ten thousand times", base + counted(field.number, b"") * 10000, \
            "refused"
        yield f"{field.name} is no message", base + counted(field.number, b"\xff\xff"), "refused"
    else:
        many = varint(1) * 100000
        expected = "refused" if field.type == F.TYPE_UINT64 else "clear"
        yield f"{field.name} a hundred thousand times", base + counted(field.number, many), expected
        yield f"{field.name} with half a number", base + counted(field.number, b"\x80"), "refused"
        if field.type == F.TYPE_ENUM:
            for n in (0, 31, 32, 63, 64, 99, 2**64 - 1):
                yield f"{field.name} has {n}", base + counted(field.number, varint(n)), "refused"


def of_message(message, field):
    base = without(message, field)
    inner = getattr(message, field.name)
    good = counted(field.number, inner.SerializeToString())
    yield f"{field.name} twice", base + good + good, "refused"
    yield f"{field.name} is no message", base + counted(field.number, b"\xff\xff\xff"), "refused"
    for label, body, expected in of_fields(inner):
        yield f"{field.name}.{label}", base + counted(field.number, body), expected


def of_fields(message):
    """Mutants of every field of a good message."""
    for field in message.DESCRIPTOR.fields:
        if field.label == F.LABEL_REPEATED:
            yield from of_repeated(message, field)
        elif field.type == F.TYPE_MESSAGE:
            yield from of_message(message, field)
        elif field.type in TEXTS:
            yield from of_texts(message, field)
        else:
            assert field.type in VARINTS, field.full_name
            yield from of_numbers(message, field)
        wire = LENGTH if field.type in VARINTS else VARINT
        if not (field.label == F.LABEL_REPEATED and wire == LENGTH):
            wrong = counted(field.number, b"x") if wire == LENGTH else \
                tag(field.number, wire) + b"\x01"
            yield f"{field.name} of another type", without(message, field) + wrong, "refused"


def of_bytes(message, seed):
    """Bytes that are no message, whatever the message."""
    good = message.SerializeToString()
    yield "a byte that continues nowhere", b"\xff", "refused"
    yield "field 0", b"\x00\x01", "refused"
    yield "the end of no group", tag(1, END_GROUP), "refused"
    yield "a group that does not end", tag(1000, START_GROUP), "refused"
    yield "a type that there is not", bytes([1000 & 7 | 6]), "refused"
    yield "a tag beyond 32 bits", b"\xff" * 9 + b"\x01", "refused"
    yield "half of something unknown", good + tag(5000, FIXED64) + b"abc", "refused"
    yield "something unknown", good + counted(5000, b"new") + tag(5001, VARINT) + b"\x01" + \
        tag(5002, FIXED64) + b"12345678" + tag(5003, FIXED32) + b"1234", "same"
    rng = random.Random(seed)
    for i in range(12):
        noise = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200)))
        yield f"noise {i}", noise, "clear"
    for i in range(min(12, len(good))):
        flipped = bytearray(good)
        flipped[rng.randrange(len(good))] ^= 1 << rng.randrange(8)
        yield f"a flipped bit {i}", bytes(flipped), "clear"
        yield f"cut off {i}", good[:rng.randrange(len(good))], "clear"
