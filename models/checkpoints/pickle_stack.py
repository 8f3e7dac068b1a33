"""The stack machine a pickle runs on: what it reads, holds and remembers, within bounds."""

from __future__ import annotations

import mmap
import pickle
import struct
from collections.abc import Callable
from typing import Any

from .pickle_values import Blob, Name, Storage

_MAX_TEXT_BYTES = 1 << 20
_MAX_ALL_TEXT_BYTES = 64 << 20
_MAX_LINE_BYTES = 4096

Buffer = bytes | mmap.mmap
Resolve = Callable[[str, str], Name]


class Machine:
    """Runs the pickle at `start` of `data`; `end` is where the next one may start."""

    def __init__(self, data: Buffer, start: int, stop: int, resolve: Resolve) -> None:
        """Read from `data` up to `stop`; `resolve` turns (module, name) into a Name, or refuses."""
        self.data, self.end, self.size, self.resolve = data, start, stop, resolve
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, Storage] = {}
        self.text_bytes = 0
        self.copied = 0

    # --- bytes ---------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, or refuse before anything is allocated."""
        if count > self.size - self.end:
            raise pickle.UnpicklingError("the pickle is cut off")
        self.end += count
        return self.data[self.end - count : self.end]

    def skip(self, count: int) -> Blob:
        """Pass over `count` bytes."""
        if count > self.size - self.end:
            raise pickle.UnpicklingError("the pickle is cut off")
        self.end += count
        return Blob(count)

    def number(self, format: str) -> Any:
        """Return the next number in `struct` notation."""
        (value,) = struct.unpack(format, self.take(struct.calcsize(format)))
        return value

    def line(self) -> str:
        """Return the next line, without its end."""
        stop = self.data.find(b"\n", self.end, min(self.size, self.end + _MAX_LINE_BYTES))
        if stop < 0:
            raise pickle.UnpicklingError("the pickle is cut off")
        text = self.take(stop - self.end).decode()
        self.end += 1
        return text

    def text(self, count: int) -> str | Blob:
        """Return a text of `count` UTF-8 bytes; what is too long to be a name is skipped."""
        self.text_bytes += count
        if count > _MAX_TEXT_BYTES or self.text_bytes > _MAX_ALL_TEXT_BYTES:
            return self.skip(count)
        return self.take(count).decode("utf-8", "surrogatepass")

    # --- stack ---------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def top(self, kind: type | tuple[type, ...]) -> Any:
        """Return the top of the stack, which must be of a kind."""
        if not isinstance(self.stack[-1], kind):
            raise pickle.UnpicklingError("a pickle that mixes up its values")
        return self.stack[-1]

    def pop(self) -> Any:
        """Take the top of the stack; never what lies under the last mark."""
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise pickle.UnpicklingError("a pickle that mixes up its values")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Take everything above the last mark."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values
