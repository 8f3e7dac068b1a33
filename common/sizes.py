"""Input sizes as people write them: `HEIGHTxWIDTH`, or one number for a square."""

from __future__ import annotations

import re

from .errors import InputError

MIN_SIDE_PX = 32  # the deepest stage is the input over 32: below it, it has no cell left


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) in pixels; SegFormer takes any size of at least 32 a side.

    >>> parse_size("512x1024"), parse_size("640")
    ((512, 1024), (640, 640))

    Raises:
        InputError: not written like that, or a side is below 32 pixels.
    """
    match = re.fullmatch(r"(\d{1,6})(?:[xX](\d{1,6}))?", text.strip())
    if not match:
        raise InputError(
            f"Expected a size as HEIGHTxWIDTH (512x1024) or one number (512), but got {text!r}."
        )
    height_px = int(match.group(1))
    width_px = int(match.group(2) or height_px)
    if min(height_px, width_px) < MIN_SIDE_PX:
        raise InputError(
            f"Expected a size of at least {MIN_SIDE_PX} pixels a side, but got "
            f"{height_px}x{width_px}: the deepest stage would be empty."
        )
    return height_px, width_px


def format_size(size_px: tuple[int, int]) -> str:
    """Return (height, width) as `parse_size` reads it.

    >>> format_size((512, 1024))
    '512x1024'
    """
    return f"{size_px[0]}x{size_px[1]}"
