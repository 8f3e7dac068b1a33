"""Images of noise, for those who ask for them by name."""

from __future__ import annotations

import hashlib

import numpy as np

from ..data.dataset import Dataset, Sample, all_ignored
from ..data.palette import Image8

VERSION = 1  # the pixels may change only together with this number


class Noise(Dataset):
    """`count` images of independent uniform pixels; image i depends on i and the size alone."""

    has_labels = False

    def __init__(self, count: int, size_px: tuple[int, int]) -> None:
        """Describe the images, (height, width) pixels each; none is drawn yet."""
        self.count, self.size_px = count, size_px
        self.name = f"random:{count}"
        self.classes, self.palette, self.ignore_index = (), (), 255
        self.notes = (
            "warning: the calibration images are random noise: ranges and accuracy cannot be "
            "trusted.",
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def sample(self, index: int) -> Sample:
        """Draw image number `index`; no pixel has a label."""
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} of {self.count}")
        random = np.random.Generator(np.random.PCG64([VERSION, index]))
        image: Image8 = random.integers(0, 256, (*self.size_px, 3), np.uint8)
        return Sample(f"noise-{index:05d}", None, image, all_ignored(self.size_px, 255))

    def image_bytes(self, index: int) -> None:  # noqa: ARG002 - noise has no file
        """Return None: there is no encoded image."""
        return

    def digest(self) -> str:
        """Return the SHA-256 over what determines the images."""
        text = f"random/{VERSION}/{self.count}/{self.size_px}"
        return hashlib.sha256(text.encode()).hexdigest()
