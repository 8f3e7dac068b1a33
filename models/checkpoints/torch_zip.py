"""The zip archives of `torch.save`: where each entry's bytes lie, and whether they are whole.

torch stores its entries uncompressed, one after the other. Anything else (compression, entries
that share bytes or a name, sizes beyond the file) is refused before it costs memory. The layout
is that of PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from .pickle_stack import Buffer

ZIP_START = b"PK\x03\x04"
_TAIL_BYTES = 22 + (1 << 16)  # the end record and the longest comment after it
_MAX_DIRECTORY_BYTES = 8 << 20
_CHUNK_BYTES = 4 << 20
_LARGE = 0xFFFFFFFF  # the number is in the 64-bit extra field
_ENCRYPTED = 1


@dataclass(frozen=True)
class Entry:
    """The bytes `start` to `start + size` of the file; not `stored` if compressed or encrypted."""

    start: int
    size: int
    crc: int
    stored: bool


def read_directory(data: Buffer) -> dict[str, Entry]:
    """Return the entries of the archive by name.

    Raises:
        ValueError: a damaged archive, or one torch would not write.
        struct.error: it ends too early.
    """
    start, size, count = _directory(data)
    entries: dict[str, Entry] = {}
    position = last = 0
    headers = sorted(_headers(data[start : start + size], count), key=lambda header: header[1])
    for name, position, length, crc, stored in headers:
        if position < last:
            raise ValueError("zip entries that share bytes")
        entry = Entry(_data_start(data, position, name), length, crc, stored)
        last = entry.start + length
        if last > start:
            raise ValueError(f"a zip entry cut off ({name[:80]!r})")
        if name in entries:
            raise ValueError(f"two zip entries named {name[:80]!r}")
        entries[name] = entry
    return entries


def check_entry(data: Buffer, entry: Entry, name: str, *, checksum: bool) -> None:
    """Refuse an entry that is not stored as it is, or whose bytes differ from its checksum.

    Raises:
        ValueError: one of the two.
    """
    if not entry.stored:
        raise ValueError(f"a compressed or encrypted zip entry ({name[:80]!r})")
    if not checksum:
        return
    crc = 0
    for position in range(entry.start, entry.start + entry.size, _CHUNK_BYTES):
        crc = zlib.crc32(
            data[position : min(position + _CHUNK_BYTES, entry.start + entry.size)], crc
        )
    if crc != entry.crc:
        raise ValueError(f"bad CRC-32 of zip entry {name[:80]!r}")


def _directory(data: Buffer) -> tuple[int, int, int]:
    """Return where the directory starts, its size and how many entries it lists."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - _TAIL_BYTES))
    if end < 0:
        raise ValueError("a zip archive without directory")
    count, size, start, comment = struct.unpack("<HIIH", data[end + 10 : end + 22])
    if end + 22 + comment > len(data):
        raise ValueError("a zip archive cut off at its end")
    locator = data[max(0, end - 20) : end]
    if locator.startswith(b"PK\x06\x07"):
        (end,) = struct.unpack("<Q", locator[8:16])
        if data[end : end + 4] != b"PK\x06\x06":
            raise ValueError("a damaged zip directory")
        count, size, start = struct.unpack("<QQQ", data[end + 32 : end + 56])
    if start + size > end:
        raise ValueError("a damaged zip directory")
    if size > _MAX_DIRECTORY_BYTES:
        raise ValueError("a zip directory larger than any checkpoint's")
    return start, size, count


def _headers(directory: bytes, count: int) -> list[tuple[str, int, int, int, bool]]:
    """Return (name, position, size, CRC-32, stored) of every entry."""
    found = []
    position = 0
    while position < len(directory):
        head = struct.unpack("<4s4xHH4xIIIHHH8xI", directory[position : position + 46])
        magic, flags, method, crc, packed, size, name_size, extra_size, comment_size, at = head
        position += 46
        name = directory[position : position + name_size].decode()
        extra = directory[position + name_size : position + name_size + extra_size]
        position += name_size + extra_size + comment_size
        size, packed, at = _large(extra, size, packed, at)
        if magic != b"PK\x01\x02" or position > len(directory):
            raise ValueError("a damaged zip directory")
        stored = not method and not flags & _ENCRYPTED and size == packed
        found.append((name, at, packed, crc, stored))
    if len(found) != count:
        raise ValueError(f"{len(found)} of {count} zip entries")
    return found


def _large(extra: bytes, *fields: int) -> tuple[int, ...]:
    """Replace the fields that do not fit 32 bits by their values in the 64-bit extra field."""
    values = b""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == 1:
            values = extra[4 : 4 + length]
        extra = extra[4 + length :]
    whole = []
    for field in fields:
        if field == _LARGE:
            (field,) = struct.unpack("<Q", values[:8])
            values = values[8:]
        whole.append(field)
    return tuple(whole)


def _data_start(data: Buffer, position: int, name: str) -> int:
    """Return where an entry's bytes start, behind its own header."""
    magic, name_size, extra_size = struct.unpack("<4s22xHH", data[position : position + 30])
    start = position + 30
    if magic != ZIP_START or data[start : start + name_size] != name.encode():
        raise ValueError(f"a zip entry that is not where it should be ({name[:80]!r})")
    return int(start + name_size + extra_size)
