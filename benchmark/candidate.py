"""A candidate: one artifact on one runtime, and how the command line writes it.

Grammar: `ARTIFACT[@RUNTIME[:PRECISION]]`, e.g. `m.onnx@openvino:bf16`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..common.errors import InputError
from ..runtimes import open as runtimes
from ..runtimes.labels import METHODS as POSTPROCESS

RUNTIMES = ("auto", *runtimes.RUNTIMES)
PRECISIONS = ("auto", *runtimes.PRECISIONS)


@dataclass(frozen=True)
class Candidate:
    """What to measure: `source` is an artifact file, a checkpoint directory or a hub id.

    `threads` None means physical cores; `size_px` (height, width) None means the contract's;
    an empty `name` is made from file, runtime and precision.
    """

    source: str
    runtime: str = "auto"
    precision: str = "auto"
    name: str = ""
    postprocess: str = "sparse"
    threads: int | None = None
    batch: int = 1
    size_px: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse names nothing here is called by."""
        for value, known, what in (
            (self.runtime, RUNTIMES, "runtime"),
            (self.precision, PRECISIONS, "precision"),
            (self.postprocess, POSTPROCESS, "postprocess"),
        ):
            if value not in known:
                raise InputError(f"Expected {what} {', '.join(known)}, but got {value!r}.")
        if self.batch < 1 or (self.threads is not None and self.threads < 1):
            raise InputError(
                f"Expected batch and threads of at least 1, but got {self.batch} and "
                f"{self.threads}."
            )


def parse_candidate(text: str) -> Candidate:
    """Read `ARTIFACT[@RUNTIME[:PRECISION]]`; a path that exists as written is only a path.

    The runtime is what follows the last `@`, so a path may hold `@` and `:` itself.

    >>> parse_candidate("runs/m.onnx@openvino:bf16").precision
    'bf16'
    >>> parse_candidate("user@host/m.onnx").source
    'user@host/m.onnx'

    Raises:
        InputError: the part behind the last `@` looks like a runtime and is none.
    """
    source, mark, suffix = text.rpartition("@")
    if not text.strip() or (mark and not source):
        raise InputError(f"Expected ARTIFACT[@RUNTIME[:PRECISION]], but got {text!r}.")
    if not mark or "/" in suffix or "\\" in suffix or Path(text).exists():
        return Candidate(text)
    runtime, colon, precision = suffix.partition(":")
    if colon and not precision:
        raise InputError(f"Expected a precision behind ':' in {text!r}, but got none.")
    if runtime not in RUNTIMES:
        raise InputError(
            f"Expected a runtime of {', '.join(RUNTIMES)} behind '@' in {text!r}, but got "
            f"{runtime!r}: write ARTIFACT@RUNTIME, or check that the file exists."
        )
    return Candidate(source, runtime, precision or "auto")


def read_candidates(texts: Sequence[str], *, runtime: str, precision: str) -> list[Candidate]:
    """Read candidates; one that names no runtime, or no precision, gets the given one.

    >>> found = read_candidates(["a@openvino", "b@auto:bf16"], runtime="torch", precision="fp32")
    >>> [(item.source, item.runtime, item.precision) for item in found]
    [('a', 'openvino', 'fp32'), ('b', 'torch', 'bf16')]
    """
    return [
        replace(
            item,
            runtime=runtime if item.runtime == "auto" else item.runtime,
            precision=precision if item.precision == "auto" else item.precision,
        )
        for item in map(parse_candidate, texts)
    ]


def unique_names(candidates: Sequence[Candidate], resolved: Sequence[tuple[str, str]]) -> list[str]:
    """Return one readable name per candidate; `resolved` holds the runtime and precision used.

    >>> unique_names([Candidate("a/plain.onnx")], [("onnxruntime", "fp32")])
    ['plain · onnxruntime fp32']

    Raises:
        InputError: two candidates were given the same name.
    """
    names = [
        item.name or f"{_stem(item.source)} · {runtime} {precision}"
        for item, (runtime, precision) in zip(candidates, resolved, strict=True)
    ]
    given = [item.name for item in candidates if item.name]
    for name, count in Counter(given).items():
        if count > 1:
            raise InputError(f"Expected one name per candidate, but {name!r} is given twice.")
    for detail in (_settings, _folder):
        twice = {name for name, count in Counter(names).items() if count > 1}
        names = [
            name + detail(item, candidates) if name in twice and not item.name else name
            for name, item in zip(names, candidates, strict=True)
        ]
    return _numbered(names)


def resolve_baseline(
    candidates: Sequence[Candidate], baseline: str | None
) -> tuple[Candidate, ...]:
    """Return the candidates with the baseline first.

    `baseline` is the name or source of a candidate, or another `ARTIFACT[@RUNTIME[:PRECISION]]`,
    which is then measured as well; None takes the first candidate.

    Raises:
        InputError: no candidate at all.
    """
    if not candidates and baseline is None:
        raise InputError("Expected at least one artifact or checkpoint, but got none.")
    if baseline is None:
        return tuple(candidates)
    wanted = parse_candidate(baseline)
    for item in candidates:
        same = replace(wanted, threads=item.threads, batch=item.batch, size_px=item.size_px)
        if baseline in (item.name, item.source) or same == replace(item, name=""):
            return (item, *(other for other in candidates if other is not item))
    return (wanted, *candidates)


def with_defaults(
    candidates: Sequence[Candidate], threads: int | None, postprocess: str | None
) -> tuple[Candidate, ...]:
    """Return the candidates with `threads` where they name none and, if given, `postprocess`.

    Raises:
        InputError: no candidate at all.
    """
    if not candidates:
        raise InputError("Expected at least one artifact or checkpoint, but got none.")
    return tuple(
        replace(
            item,
            threads=threads if item.threads is None else item.threads,
            postprocess=postprocess or item.postprocess,
        )
        for item in candidates
    )


def _stem(source: str) -> str:
    path = Path(source)
    return path.stem if path.suffix in (".onnx", ".engine") else path.name or source


def _settings(item: Candidate, among: Sequence[Candidate]) -> str:
    """Say which settings of `item` differ from those of others."""
    parts = []
    if len({other.size_px for other in among}) > 1 and item.size_px:
        parts.append(f"{item.size_px[0]}x{item.size_px[1]}")
    if len({other.batch for other in among}) > 1:
        parts.append(f"batch {item.batch}")
    if len({other.threads for other in among}) > 1 and item.threads:
        parts.append(f"{item.threads} threads")
    if len({other.postprocess for other in among}) > 1:
        parts.append(item.postprocess)
    return "".join(f", {part}" for part in parts)


def _folder(item: Candidate, among: Sequence[Candidate]) -> str:
    """Name the folder of `item` where others lie in another."""
    folders = {Path(other.source).parent.name for other in among}
    folder = Path(item.source).parent.name
    return f" ({folder})" if len(folders) > 1 and folder else ""


def _numbered(names: list[str]) -> list[str]:
    """Append #2, #3 … to repeated names."""
    taken: set[str] = set()
    result = []
    for name in names:
        number, unique = 1, name
        while unique in taken:
            number += 1
            unique = f"{name} #{number}"
        taken.add(unique)
        result.append(unique)
    return result
