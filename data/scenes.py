"""Procedural road scenes with exact labels: a data set without files, the same everywhere."""

from __future__ import annotations

import hashlib
import io

import numpy as np

from ..common.errors import InputError
from .dataset import Dataset, Sample
from .palette import Image8, Labels, Palette
from .preprocess import decode
from .scene_ground import IGNORED, paint_ground, random_view
from .scene_light import develop
from .scene_objects import place_objects

GENERATOR_VERSION = 1  # a scene's pixels may change only together with this number
DEFAULT_SPLIT = "val"
DEFAULT_SIZE_PX = (256, 384)
SCENE_CLASSES = (
    "sky",
    "building",
    "vegetation",
    "road",
    "pavement",
    "marking",
    "car",
    "pedestrian",
    "sign",
)
SCENE_PALETTE: Palette = (
    (130, 180, 230),
    (150, 100, 75),
    (70, 140, 60),
    (110, 90, 120),
    (225, 150, 190),
    (245, 240, 200),
    (25, 60, 170),
    (215, 40, 55),
    (240, 190, 30),
)


class Scenes(Dataset):
    """`count` scenes; scene i depends on the split's name and i alone."""

    def __init__(
        self,
        count: int,
        split: str = DEFAULT_SPLIT,
        *,
        size_px: tuple[int, int] = DEFAULT_SIZE_PX,
    ) -> None:
        """Describe the scenes, (height, width) pixels each; nothing is drawn yet."""
        if count < 1 or min(size_px) < 32:
            raise InputError(
                f"Expected 1 scene or more of 32 pixels or more, but got {count} of {size_px}."
            )
        self.count = count
        self.split = split
        self.size_px = size_px
        self.name = f"scenes:{count}@{split}"
        self.classes = SCENE_CLASSES
        self.palette = SCENE_PALETTE
        self.ignore_index = IGNORED

    def __len__(self) -> int:
        """Return the number of scenes."""
        return self.count

    def sample(self, index: int) -> Sample:
        """Draw scene number `index`; its image has been through JPEG, like a camera's."""
        data, labels = self._draw(index)
        name = f"{self.split}-{index:05d}"
        return Sample(name, None, decode(data, name), labels)

    def image_bytes(self, index: int) -> bytes:
        """Return scene number `index` as a JPEG file."""
        return self._draw(index)[0]

    def digest(self) -> str:
        """Return the SHA-256 over what determines the scenes."""
        text = f"scenes/{GENERATOR_VERSION}/{self.split}/{self.count}/{self.size_px}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _draw(self, index: int) -> tuple[bytes, Labels]:
        if not 0 <= index < self.count:
            raise IndexError(f"scene {index} of {self.count}")
        text = f"scenes/{GENERATOR_VERSION}/{self.split}/{index}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        rng = np.random.default_rng(seed)
        image, labels = render(rng, self.size_px)
        return _jpeg(image, int(rng.integers(75, 96))), labels


def render(rng: np.random.Generator, size_px: tuple[int, int]) -> tuple[Image8, Labels]:
    """Draw one scene: image (H,W,3) uint8 and labels (H,W) uint8, 255 where ignored."""
    canvas = paint_ground(rng, random_view(rng, size_px))
    place_objects(rng, canvas)
    ids = np.asarray(canvas.ids).astype(np.intp)
    labels = np.array([paint.label for paint in canvas.paints], np.uint8)[ids]
    return develop(rng, canvas, ids), labels


def _jpeg(image: Image8, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
