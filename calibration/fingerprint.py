"""What tells two images apart: the file's bytes, the pixels, and what they look like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..common.progress import track
from ..data.dataset import Dataset, Sample
from ..data.palette import Image8

GRID = 16  # cells per side: 2 · 16 · 16 = 512 bits
HASH_BITS = 2 * GRID * GRID
# Measured on CamVid with benchmarks/near_duplicates.py: a copy encoded anew (JPEG 10 to 75),
# resized (1/4 to 2), made brighter or darker (0.5 to 1.5) or of other contrast is at most 45 bits
# away, without 3 % of every side at most 96; the nearest pair of the official train and val is 165.
NEAR_BITS = 96


@dataclass(frozen=True)
class Fingerprint:
    """One image: SHA-256 of its file ("" without one) and of its pixels, `HASH_BITS` of look."""

    name: str
    file: str
    pixels: str
    look: bytes


@dataclass(frozen=True)
class Twin:
    """A calibration image that is also in the evaluation data; `why` says how that shows."""

    name: str
    other: str
    why: str


def fingerprints(
    dataset: Dataset, indices: Sequence[int], *, progress: bool = True
) -> tuple[Fingerprint, ...]:
    """Read the images `indices` of `dataset` and return their fingerprints in order.

    Raises:
        InputError: a sample cannot be read (names the file).
    """
    workers = max(1, min(4, os.cpu_count() or 1))
    with ThreadPoolExecutor(workers, thread_name_prefix="segship-fingerprint") as pool:
        found: Iterable[Fingerprint] = pool.map(lambda index: _read(dataset, index), indices)
        if progress:
            found = track(found, f"images of {dataset.name}", len(indices))
        return tuple(found)


def fingerprint_of(sample: Sample, data: bytes | None) -> Fingerprint:
    """Return the fingerprint of a sample and of the encoded image `data` it came from."""
    pixels = hashlib.sha256(f"{sample.image.shape}".encode())
    pixels.update(np.ascontiguousarray(sample.image).data)
    file = hashlib.sha256(data).hexdigest() if data is not None else ""
    look = np.packbits(difference_hash(sample.image)).tobytes()
    name = str(sample.image_path) if sample.image_path else sample.name
    return Fingerprint(name, file, pixels.hexdigest(), look)


def difference_hash(image: Image8) -> NDArray[np.bool_]:
    """Return `HASH_BITS` booleans: is a cell brighter than its left, its upper neighbour?

    The cells are means of the luma in a 17×16 and a 16×17 grid, so that size, encoding and any
    rising change of brightness hardly matter.
    """
    from PIL import Image

    grey = Image.fromarray(np.asarray(Image.fromarray(image).convert("L"), np.float32))
    wide = np.asarray(grey.resize((GRID + 1, GRID), Image.Resampling.BOX))
    tall = np.asarray(grey.resize((GRID, GRID + 1), Image.Resampling.BOX))
    bits = (wide[:, 1:] > wide[:, :-1], tall[1:] > tall[:-1])
    return np.concatenate([part.reshape(-1) for part in bits])


def find_twins(ours: Sequence[Fingerprint], theirs: Sequence[Fingerprint]) -> tuple[Twin, ...]:
    """Return every image of `ours` that is one of `theirs`, by file, by pixels or by look.

    The look of two images is the same where their hashes differ in at most `NEAR_BITS` bits.
    """
    files = {item.file: item.name for item in theirs if item.file}
    pixels = {item.pixels: item.name for item in theirs}
    looks = np.array([np.frombuffer(item.look, np.uint8) for item in theirs])
    twins = []
    for item in ours:
        if item.file in files:
            twins.append(Twin(item.name, files[item.file], "same file"))
        elif item.pixels in pixels:
            twins.append(Twin(item.name, pixels[item.pixels], "same pixels"))
        elif len(looks):
            distances = _distances(looks, item.look)
            nearest = int(distances.argmin())
            if distances[nearest] <= NEAR_BITS:
                why = f"{distances[nearest]} of {HASH_BITS} bits apart"
                twins.append(Twin(item.name, theirs[nearest].name, why))
    return tuple(twins)


def _distances(looks: NDArray[np.uint8], look: bytes) -> NDArray[np.int64]:
    """Return the Hamming distances of one hash to many (N,)."""
    differing = looks ^ np.frombuffer(look, np.uint8)
    return np.asarray(np.unpackbits(differing, axis=1).sum(axis=1), np.int64)


def _read(dataset: Dataset, index: int) -> Fingerprint:
    return fingerprint_of(dataset.sample(index), dataset.image_bytes(index))
