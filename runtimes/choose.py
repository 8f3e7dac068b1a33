"""Which runtime is faster for an ONNX file on this machine? Measured once, then remembered.

The answer is kept in the user's cache folder under the artifact's hash, the threads, the
processor and the runtimes' versions, so that it is asked again when one of them changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from ..common.errors import InputError, SegshipError
from ..common.files import write_text
from .artifact import Artifact
from .cache import cache_root
from .session import Session

Opener = Callable[[Artifact, str, int], Session]
PROBE_RUNS = 4
_REMEMBERED = 256


def open_faster(
    artifact: Artifact, precision: str, threads: int, openers: Mapping[str, Opener]
) -> Session:
    """Open `artifact` on the runtime of `openers` that is faster here; probe at most once.

    Raises:
        InputError: none of them can run it.
    """
    key = _key(artifact, threads)
    known = next(iter(openers)) if len(openers) == 1 else _read().get(key, "")
    if known in openers:
        return openers[known](artifact, precision, threads)
    sessions = _opened(artifact, precision, threads, openers)
    chosen = faster_runtime(artifact, sessions) if len(sessions) > 1 else next(iter(sessions))
    _remember(key, chosen)
    for name, session in sessions.items():
        if name != chosen:
            session.close()
    return sessions[chosen]


def _opened(
    artifact: Artifact, precision: str, threads: int, openers: Mapping[str, Opener]
) -> dict[str, Session]:
    """Return a session per runtime that takes the file; raise the first refusal if none does."""
    sessions: dict[str, Session] = {}
    refusals: list[InputError] = []
    for name, opener in openers.items():
        try:
            sessions[name] = opener(artifact, precision, threads)
        except InputError as refusal:
            refusals.append(refusal)
    if not sessions:
        raise refusals[0]
    return sessions


def faster_runtime(artifact: Artifact, sessions: Mapping[str, Session]) -> str:
    """Return the name of the session whose fastest of a few interleaved runs is shortest."""
    wanted = (1, 3, *artifact.contract.size_px)
    taken = next(iter(sessions.values())).input.shape
    shape = tuple(
        size if isinstance(size, int) else free for size, free in zip(taken, wanted, strict=True)
    )
    pixels = np.ones(shape, dtype=artifact.contract.input.value)
    best = dict.fromkeys(sessions, float("inf"))
    for _ in range(PROBE_RUNS):
        for name, session in sessions.items():
            started = time.perf_counter()
            session.run(pixels)
            best[name] = min(best[name], time.perf_counter() - started)
    return min(best, key=lambda name: best[name])


def _remember(key: str, runtime: str) -> None:
    """Keep a choice; a cache that cannot be written costs the next probe, nothing else."""
    choices = {**_read(), key: runtime}
    newest = dict(list(choices.items())[-_REMEMBERED:])
    with contextlib.suppress(OSError, SegshipError):
        path = _cache_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(newest, indent=1))


def _key(artifact: Artifact, threads: int) -> str:
    versions = []
    for name in ("onnxruntime", "onnxruntime-gpu", "openvino"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    parts = (artifact.sha256, str(threads), platform.node(), platform.processor(), *versions)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _cache_file() -> Path:
    return cache_root() / "runtimes.json"


def _read() -> dict[str, str]:
    try:
        values = json.loads(_cache_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
