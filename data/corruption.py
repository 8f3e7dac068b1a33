"""Images made worse on purpose, the same way each time: light, contrast, noise, blur, JPEG."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ..common.errors import InputError
from .dataset import Dataset, Sample
from .palette import Image8


@dataclass(frozen=True)
class Corruption:
    """One kind of damage at one strength; `words` says it as a table does."""

    kind: str
    strength: float

    @property
    def words(self) -> str:
        """Return kind and strength: "noise 0.05"."""
        return f"{self.kind} {self.strength:g}"

    @property
    def rule(self) -> str:
        """Return what the strength means."""
        return _KINDS[self.kind].words


def corrupt(image: Image8, corruption: Corruption, seed: tuple[int, ...]) -> Image8:
    """Return a damaged copy of an RGB image (H,W,3) uint8; `seed` matters to noise alone."""
    return _KINDS[corruption.kind].apply(image, corruption.strength, seed)


class CorruptedData(Dataset):
    """Another data set with every image damaged, at the size it is stored; labels stay."""

    def __init__(self, source: Dataset, corruption: Corruption, seed: int) -> None:
        """Wrap `source`; image number i gets the noise of (seed, i)."""
        self.source, self.corruption, self.seed = source, corruption, seed
        self.name = f"{source.name}, {corruption.words}"
        self.classes, self.palette = source.classes, source.palette
        self.ignore_index, self.notes = source.ignore_index, source.notes
        self.has_depth, self.has_labels = source.has_depth, source.has_labels

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)

    def sample(self, index: int) -> Sample:
        """Return sample number `index` with its image damaged."""
        sample = self.source.sample(index)
        return replace(sample, image=corrupt(sample.image, self.corruption, (self.seed, index)))

    def image_bytes(self, index: int) -> None:  # noqa: ARG002 # the interface has it
        """There is no file of a damaged image."""
        return None

    def digest(self) -> str:
        """Return the hash of the undamaged data."""
        return self.source.digest()


def parse_corruptions(text: str) -> tuple[Corruption, ...]:
    """Read "all", or kinds with or without a strength: "noise,jpeg=10".

    >>> [item.words for item in parse_corruptions("jpeg=5,contrast")]
    ['jpeg 5', 'contrast 0.5']

    Raises:
        InputError: an unknown kind, or a strength out of range.
    """
    parts = list(_KINDS) if text.strip() == "all" else [part.strip() for part in text.split(",")]
    found = [item for part in parts for item in _parse(part)]
    return tuple(dict.fromkeys(found))


def _parse(part: str) -> list[Corruption]:
    kind, _, strength = part.partition("=")
    if kind not in _KINDS:
        raise InputError(
            f"Expected corruptions {', '.join(_KINDS)} or all, but got {part!r}: "
            "write noise or noise=0.05."
        )
    rule = _KINDS[kind]
    if not strength:
        return [Corruption(kind, value) for value in rule.strengths]
    try:
        value = float(strength)
    except ValueError:
        value = float("nan")
    if not rule.least <= value <= rule.most:
        raise InputError(
            f"Expected {kind} from {rule.least:g} to {rule.most:g} ({rule.words}), "
            f"but got {strength!r}."
        )
    return [Corruption(kind, value)]


def _brightness(image: Image8, strength: float, _seed: tuple[int, ...]) -> Image8:
    return _clipped(image.astype(np.float32) + 255 * strength)


def _contrast(image: Image8, strength: float, _seed: tuple[int, ...]) -> Image8:
    mean = image.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return _clipped(mean + strength * (image - mean))


def _noise(image: Image8, strength: float, seed: tuple[int, ...]) -> Image8:
    draws = np.random.default_rng(seed).standard_normal(image.shape, np.float32)
    return _clipped(image + 255 * strength * draws)


def _blur(image: Image8, strength: float, _seed: tuple[int, ...]) -> Image8:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(strength)))


def _jpeg(image: Image8, strength: float, _seed: tuple[int, ...]) -> Image8:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=round(strength))
    stream.seek(0)
    with Image.open(stream) as stored:
        return np.asarray(stored.convert("RGB"))


def _clipped(values: NDArray[np.floating[Any]]) -> Image8:
    rounded: Image8 = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return rounded


@dataclass(frozen=True)
class _Kind:
    """What a strength means, its range, and those taken where none is given."""

    apply: Callable[[Image8, float, tuple[int, ...]], Image8]
    words: str
    least: float
    most: float
    strengths: tuple[float, ...]


_KINDS = {
    "brightness": _Kind(_brightness, "share of white added", -1, 1, (-0.3, 0.3)),
    "contrast": _Kind(_contrast, "factor on the distance to each channel's mean", 0, 10, (0.5,)),
    "noise": _Kind(_noise, "standard deviation as a share of white", 0, 1, (0.05, 0.1)),
    "blur": _Kind(_blur, "radius of Pillow's Gaussian blur in px", 0, 50, (1, 2)),
    "jpeg": _Kind(_jpeg, "Pillow's JPEG quality", 1, 95, (30, 10)),
}
