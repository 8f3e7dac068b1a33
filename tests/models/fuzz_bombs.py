"""Hand-made pickles and archives that ask for memory, time or depth, or contradict themselves."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from random import Random

_HEAD = b"\x80\x02"
_STORAGE = (
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
)
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
_REST = b"\x89ccollections\nOrderedDict\n)RtR"
_GOOD = _REBUILD + _STORAGE + b"K\x00K\x04\x85K\x01\x85" + _REST  # a vector of 4 numbers
_DEEP = 60_000  # far beyond the C stack, where anything recursed
# bombs that must be refused; the others may be read as long as they cost nothing
CONTRADICTIONS = frozenset(
    (
        *("shape beyond 64 bits", "empty shape beyond 64 bits", "stride beyond 64 bits"),
        *("offset beyond 64 bits", "negative offset", "negative stride", "negative shape"),
        *("repeated number", "overlap", "more strides than sizes", "a thousand dimensions"),
        *("shape of floats", "no stop", "stack underflow", "mark underflow"),
    )
)


def _tensor(view: bytes) -> bytes:
    """Return a dict of one tensor, with `view` for its offset, shape and strides."""
    return _HEAD + b"}X\x01\x00\x00\x00w" + _REBUILD + _STORAGE + view + _REST + b"s."


def _beside(value: bytes) -> bytes:
    """Return a checkpoint with a good tensor and `value` under another key."""
    return _HEAD + b"}(X\x01\x00\x00\x00w" + _GOOD + b"X\x01\x00\x00\x00x" + value + b"u."


def _key(value: bytes) -> bytes:
    """Return a checkpoint with `value` as a key."""
    return _HEAD + b"}(X\x01\x00\x00\x00w" + _GOOD + value + b"Nu."


def _long(value: int) -> bytes:
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def pickle_bombs() -> dict[str, bytes]:
    """Return the pickles by what they do."""
    doubling = b")" + b"2\x86" * 3000
    pairs = b"(" + b"X\x01\x00\x00\x00kK\x01\x86" * 20_000 + b"lq\x05"
    odict = b"ccollections\nOrderedDict\nq\x06"
    huge = b"\x8a\x08" + (1 << 62).to_bytes(8, "little")
    twice = b"}(X\x01\x00\x00\x00ah\x01X\x01\x00\x00\x00bh\x01u"
    module = b"cforeign\nModule\n)\x81q\x01}X\x08\x00\x00\x00_modules" + twice + b"sb"
    return {
        "memo index": _beside(b"Nr\xff\xff\xff\x7f"),
        "memo index in text": _beside(b"Np2147483647\n"),
        "memo index of a thousand digits": _beside(b"Np" + b"9" * 1000 + b"\n"),
        "text of 1 TiB": _beside(b"\x8d" + struct.pack("<Q", 1 << 40) + b"x"),
        "text of 2 GiB": _beside(b"X" + struct.pack("<I", (1 << 31) - 1) + b"x"),
        "bytes of 4 EiB": _beside(b"\x8e" + struct.pack("<Q", 1 << 62)),
        "bytearray of 1 TiB": _beside(b"\x96" + struct.pack("<Q", 1 << 40)),
        "string of negative size": _beside(b"T" + struct.pack("<i", -5)),
        "number of 2 GiB": _beside(b"\x8b" + struct.pack("<i", (1 << 31) - 1)),
        "number of negative size": _beside(b"\x8b" + struct.pack("<i", -1)),
        "number of 100,000 digits": _beside(b"L" + b"9" * 100_000 + b"L\n"),
        "frame of 1 EiB": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + _beside(b"N")[2:],
        "deep tuple": _beside(b")" + b"\x85" * _DEEP),
        "deep tuple as a key": _key(b")" + b"\x85" * _DEEP),
        "deep list": _beside(b"]" * _DEEP + b"a" * (_DEEP - 1)),
        "deep dict": _beside(b"}" + b"X\x01\x00\x00\x00k}" * _DEEP + b"s" * _DEEP),
        "doubling tuple": _beside(doubling),
        "doubling tuple as a key": _key(doubling),
        "doubling frozenset": _beside(b"(K\x01\x91" + b"(22\x91" * 3000),
        "colliding keys": _key(b"N".join(_long(i * ((1 << 61) - 1)) for i in range(60_000))),
        "colliding float keys": _key(
            b"N".join(b"G" + struct.pack(">d", i * 2.0**61) for i in range(20_000))
        ),
        "two million copies": _beside(b"N" + b"2" * 2_100_000),
        "two million lists": _beside(b"]" * 2_100_000),
        "a million marks": _beside(b"(" * 1_000_000),
        "dicts of dicts": _beside(pairs + odict + (b"h\x05\x85R0h\x06") * 20_000),
        "bytes of bytes": _beside(
            b"X"
            + struct.pack("<I", 900_000)
            + b"y" * 900_000
            + b"q\x05"
            + b"c_codecs\nencode\nq\x060"
            + b"h\x06h\x05\x85R0" * 30_000
            + b"N"
        ),
        "a list in itself": _beside(b"]q\x01h\x01a"),
        "a module in itself": _HEAD + module + b".",
        "a tensor for every step": _HEAD
        + b"}("
        + b"".join(
            b"X\x05\x00\x00\x00" + f"{i:05}".encode() + (_GOOD + b"q\x01" if not i else b"h\x01")
            for i in range(60_000)
        )
        + b"u.",
        "state of everything": _beside(b"cforeign\nThing\n)\x81}b}bh\x00"),
        "shape beyond 64 bits": _tensor(b"K\x00" + huge + huge + b"\x86K\x01K\x01\x86"),
        "empty shape beyond 64 bits": _tensor(b"K\x00" + huge + b"K\x00\x86K\x01K\x01\x86"),
        "stride beyond 64 bits": _tensor(b"K\x00K\x02\x85" + huge + b"\x85"),
        "offset beyond 64 bits": _tensor(huge + b"K\x04\x85K\x01\x85"),
        "negative offset": _tensor(b"J\xff\xff\xff\xffK\x04\x85K\x01\x85"),
        "negative stride": _tensor(b"K\x03K\x04\x85J\xff\xff\xff\xff\x85"),
        "negative shape": _tensor(b"K\x00J\xff\xff\xff\xff\x85K\x01\x85"),
        "repeated number": _tensor(b"K\x00K\xff\x85K\x00\x85"),
        "overlap": _tensor(b"K\x00K\x02K\x02\x86K\x01K\x01\x86"),
        "more strides than sizes": _tensor(b"K\x00K\x04\x85K\x01K\x01\x86"),
        "a thousand dimensions": _tensor(
            b"K\x00(" + b"K\x01" * 1000 + b"t(" + b"K\x01" * 1000 + b"t"
        ),
        "shape of floats": _tensor(b"K\x00G" + struct.pack(">d", 4.0) + b"\x85K\x01\x85"),
        "no stop": _beside(b"N")[:-1],
        "stack underflow": _HEAD + b"000000.",
        "mark underflow": _HEAD + b"ttt.",
    }


def random_pickle(random: Random) -> bytes:
    """Return instructions in random order, most of them with sound operands."""
    parts = [
        *(b"N", b"K\x01", b")", b"]", b"}", b"(", b"t", b"\x85", b"\x86", b"a", b"e", b"s", b"u"),
        *(b"X\x01\x00\x00\x00k", b"q\x01", b"h\x01", b"R", b"b", b"\x81", b"Q", b"0", b"2", b"1"),
        *(b"ctorch\nFloatStorage\n", b"ccollections\nOrderedDict\n", _REBUILD, _STORAGE, _GOOD),
        *(b"cforeign\nThing\n", b"o", b"l", b"d", b"\x8f", b"\x90", b"\x91", b"\x93", b"\x94"),
    ]
    return _HEAD + b"}" + b"".join(random.choice(parts) for _ in range(random.randrange(40))) + b"."


def as_zip(pickled: bytes) -> bytes:
    """Return a torch zip file with this pickle and one storage of 4 numbers."""
    return _archive([("m/data.pkl", pickled), ("m/data/0", struct.pack("<4f", 1, 2, 3, 4))])


def as_legacy(pickled: bytes) -> bytes:
    """Return a legacy torch file with this pickle and one storage of 4 numbers."""
    import pickle

    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    start = b"".join(pickle.dumps(part, 2) for part in head)
    return start + pickled + pickle.dumps(["0"], 2) + struct.pack("<q4f", 4, 1, 2, 3, 4)


def _archive(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


def zip_tricks(plain: bytes) -> dict[str, bytes]:
    """Return archives that are not what they say, made from a good one; all must be refused."""
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    plain = _archive(entries)  # torch's own end record is overruled by its 64-bit one
    directory = plain.rfind(b"PK\x05\x06")
    first = plain.find(b"PK\x01\x02")
    last = plain.rfind(b"PK\x01\x02")
    pickled, storage = entries[0][1], next(item for item in entries if "/data/" in item[0])

    def poke(position: int, format: str, *values: int) -> bytes:
        data = bytearray(plain)
        struct.pack_into(format, data, position, *values)
        return bytes(data)

    return {
        "without its last byte": plain[:-1],
        "without its last two bytes": plain[:-2],
        "compressed": _archive(entries, zipfile.ZIP_DEFLATED),
        "compressed bomb": _archive(
            [(entries[0][0], pickled + b"\0" * (64 << 20)), *entries[1:]], zipfile.ZIP_DEFLATED
        ),
        "two pickles of one name": _archive([*entries, (entries[0][0], pickled)]),
        "two pickles": _archive([*entries, ("other/data.pkl", pickled)]),
        "two storages of one name": _archive([*entries, storage]),
        "no storage": _archive([item for item in entries if item != storage]),
        "size beyond the file": poke(first + 20, "<II", 0xFFFFFFF0, 0xFFFFFFF0),
        "size in a field that is not there": poke(first + 20, "<II", 0xFFFFFFFF, 0xFFFFFFFF),
        "size is not the size": poke(first + 24, "<I", 5),
        "entry beyond the file": poke(first + 42, "<I", 0xFFFFFFF0),
        "two entries in one place": poke(last + 42, "<I", 0),
        "encrypted": poke(first + 8, "<H", 1),
        "other checksum": poke(first + 16, "<I", 1),
        "directory beyond the file": poke(directory + 16, "<I", 0xFFFFFFF0),
        "directory longer than the file": poke(directory + 12, "<I", 0xFFFFFFF0),
        "more entries than listed": poke(directory + 8, "<HH", 0xFFFF, 0xFFFF),
        "in front of it another file": b"PK\x03\x04" + b"\0" * 100 + plain,
    }
