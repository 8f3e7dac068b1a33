"""Small image, label and array files, written where a test wants them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT_PX, WIDTH_PX = 4, 6


def save(path: Path, array: np.ndarray) -> Path:
    """Write an array as .npy or as the image its suffix says, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)
    return path


def picture(seed: int = 0, height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> np.ndarray:
    """Return a random RGB image (H,W,3) uint8."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def row(*values: int) -> np.ndarray:
    """Return a label map (1,N) uint8."""
    return np.array([values], np.uint8)


def sample_of(root: Path, image: str, mask: str, values: np.ndarray) -> None:
    """Write an image and a mask of the same size at two places below `root`."""
    save(root / mask, values)
    save(root / image, picture(0, values.shape[0], values.shape[1]))
