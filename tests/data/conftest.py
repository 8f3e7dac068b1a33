"""Small real data sets on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Writer = Callable[..., Path]


def random_image(height: int = 6, width: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def write_pair(tmp_path: Path) -> Writer:
    """Return a function that writes one image and its mask below the folder `set`."""

    def write(
        name: str,
        mask: Image.Image | np.ndarray,
        *,
        images: str = "images",
        masks: str = "masks",
        ending: str = "",
        kind: str = ".png",
    ) -> Path:
        root = tmp_path / "set"
        picture = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        image_file, mask_file = (
            root / images / f"{name}.png",
            root / masks / f"{name}{ending}{kind}",
        )
        for file in (image_file, mask_file):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random_image(picture.height, picture.width)).save(image_file)
        picture.save(mask_file)
        return root

    return write
