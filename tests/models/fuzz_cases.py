"""Case number N of the container fuzz: damaged bytes, and what may come of them."""

from __future__ import annotations

import io
import json
import math
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random

import torch

from .container_files import KINDS, Tensors, container_bytes, small_tensors, stored_names
from .fuzz_bombs import CONTRADICTIONS, as_legacy, as_zip, pickle_bombs, random_pickle, zip_tricks

UNCHECKED = ("legacy", "legacy module", "unchecked", "safetensors")  # have no checksums


@dataclass(frozen=True)
class Case:
    """A file and the rule for it.

    Rules: "refused" – must be; "exact" – must load `expected`; "whole" – refused or `expected`;
    "visible" – refused, `expected`, or of other names, shapes or dtypes, which building a model
    notices; "same as torch" – what torch.load reads too, where it does; "any" – within the limits.
    """

    name: str
    kind: str
    data: bytes
    rule: str
    expected: Tensors


@cache
def good(kind: str) -> tuple[bytes, Tensors]:
    """Return an undamaged file of `kind` and the tensors in it."""
    tensors = small_tensors()
    return container_bytes(kind, tensors), stored_names(kind, tensors)


@cache
def _payloads(kind: str) -> dict[str, int]:
    """Return where each tensor's bytes lie, found by their content alone."""
    data, tensors = good(kind)
    return {name: data.index(raw_bytes(tensor)) for name, tensor in tensors.items()}


def raw_bytes(tensor: torch.Tensor) -> bytes:
    """Return a tensor's numbers as they lie in a file."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def make_case(seed: int, index: int) -> Case:
    """Return the case of a number; the same for ever."""
    if index < len(_handmade()):
        return _handmade()[index]
    random = Random(f"{seed}-{index}")
    makers: list[tuple[int, Callable[[Random], Case]]] = [
        *((40, _flips), (10, _truncated), (6, _appended), (8, _changed_tensors)),
        *((14, _edited_pickle), (10, _edited_header), (6, _random_pickle)),
    ]
    weights = [weight for weight, _ in makers]
    return random.choices([maker for _, maker in makers], weights)[0](random)


@cache
def _handmade() -> list[Case]:
    """Return every bomb and every trick: the first cases of any run."""
    cases = [
        Case(name, wrap.__name__, wrap(bomb), "refused" if name in CONTRADICTIONS else "any", {})
        for name, bomb in pickle_bombs().items()
        for wrap in (as_zip, as_legacy)
    ]
    tricks = zip_tricks(good("plain")[0])
    return cases + [Case(name, "plain", data, "refused", {}) for name, data in tricks.items()]


def _flips(random: Random) -> Case:
    """Change one to three bytes anywhere, or in a payload."""
    kind = random.choice(KINDS)
    data, tensors = good(kind)
    damaged, payloads = bytearray(data), _payloads(kind)
    inside = random.random() < 0.3
    everywhere = True
    for _ in range(random.choice((1, 1, 2, 3))):
        name = random.choice(list(payloads))
        spot = payloads[name] + random.randrange(tensors[name].nbytes)
        position = spot if inside else random.randrange(len(data))
        damaged[position] ^= 1 << random.randrange(8)
        everywhere = everywhere and any(
            at <= position < at + tensors[name].nbytes for name, at in payloads.items()
        )
    if kind not in UNCHECKED:
        return Case("flip", kind, bytes(damaged), "whole", tensors)
    expected = {name: _at(damaged, payloads[name], old) for name, old in tensors.items()}
    return Case("flip", kind, bytes(damaged), "exact" if everywhere else "visible", expected)


def _at(data: bytearray, position: int, old: torch.Tensor) -> torch.Tensor:
    flat = torch.frombuffer(data[position : position + old.nbytes], dtype=old.dtype)
    return flat.reshape(old.shape)


def _truncated(random: Random) -> Case:
    kind = random.choice(KINDS)
    data, _ = good(kind)
    return Case("truncated", kind, data[: random.randrange(len(data))], "refused", {})


def _appended(random: Random) -> Case:
    kind = random.choice(KINDS)
    data, tensors = good(kind)
    return Case(
        "appended", kind, data + random.randbytes(random.randrange(1, 99)), "whole", tensors
    )


def _changed_tensors(random: Random) -> Case:
    """Drop, reshape or poison tensors in an otherwise sound file: it must load as it is."""
    kind, tensors = random.choice(KINDS), small_tensors()
    name = random.choice(list(tensors))
    change = random.choice(("dropped", "reshaped", "poisoned", "another dtype"))
    if change == "dropped":
        del tensors[name]
    elif change == "reshaped":
        tensors[name] = torch.randn([random.randrange(4) for _ in range(random.randrange(5))])
    elif change == "poisoned":
        tensors["a.weight"][0, 0] = random.choice((math.nan, math.inf, -math.inf))
    else:
        tensors[name] = tensors[name].to(random.choice((torch.int8, torch.bfloat16, torch.bool)))
    return Case(change, kind, container_bytes(kind, tensors), "exact", stored_names(kind, tensors))


def _edited_pickle(random: Random) -> Case:
    """Damage the pickle in an archive and write the archive anew, with sound checksums."""
    kind = random.choice([kind for kind in KINDS if kind not in UNCHECKED])
    data, tensors = good(kind)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        items = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in items if name.endswith("data.pkl"))
    items[name] = _damage(items[name], random)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, item in items.items():
            archive.writestr(name, item)
    return Case("pickle", kind, buffer.getvalue(), "same as torch", tensors)


def _damage(data: bytes, random: Random) -> bytes:
    damaged = bytearray(data)
    if random.random() < 0.6:
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
        return bytes(damaged)
    for _ in range(random.choice((1, 1, 2, 5))):
        start = random.randrange(len(damaged))
        stop = min(len(damaged), start + random.randrange(12))
        change = random.randrange(4)
        if change == 0:
            damaged[start] = random.randrange(256)
        elif change == 1:
            del damaged[start:stop]
        elif change == 2:
            damaged[start:start] = damaged[random.randrange(len(damaged)) :][: stop - start]
        else:
            damaged[start:start] = struct.pack("<I", random.choice((0, 255, 1 << 31, 0xFFFFFFFF)))
    return bytes(damaged) or b"."


def _edited_header(random: Random) -> Case:
    """Change the JSON of a safetensors file."""
    data, _ = good("safetensors")
    size = struct.unpack("<Q", data[:8])[0]
    header, payload = json.loads(data[8 : 8 + size]), data[8 + size :]
    names = [name for name in header if name != "__metadata__"]
    entry, other = header[random.choice(names)], header[random.choice(names)]
    numbers = (0, 1, 3, -1, 1 << 31, 1 << 62, (1 << 64) - 1, 1 << 64, 1.5, None, "x", [1])
    change = random.randrange(8)
    if change == 0:
        entry["shape"] = [random.choice(numbers) for _ in range(random.randrange(5))]
    elif change == 1:
        entry["data_offsets"][random.randrange(2)] = random.choice(numbers)
    elif change == 2:
        entry["data_offsets"], other["data_offsets"] = other["data_offsets"], entry["data_offsets"]
    elif change == 3:
        entry["dtype"] = random.choice(
            ("F64", "F16", "BF16", "I8", "U8", "F8_E4M3", "C64", "F4", "")
        )
    elif change == 4:
        header["__metadata__"] = random.choice(({"a": 1}, [], None, "x", {"a": {"b": "c"}}))
    elif change == 5:
        entry.pop(random.choice(list(entry)))
    elif change == 6:
        header[random.choice(names)] = random.choice(numbers)
    text = json.dumps(header).encode()
    if change == 7:
        text = random.choice(
            (b"[" * 100_000, b'{"a":' * 50_000, b"{}", b"", b"\xff\xfe", text * 2, text[:-1])
        )
    length = random.choice(
        (len(text), len(text), len(text), *(n for n in numbers if type(n) is int))
    )
    return Case(
        "header",
        "safetensors",
        struct.pack("<Q", length % (1 << 64)) + text + payload,
        "parsed",
        {},
    )


def _random_pickle(random: Random) -> Case:
    wrap = random.choice((as_zip, as_legacy))
    return Case("random pickle", wrap.__name__, wrap(random_pickle(random)), "same as torch", {})
