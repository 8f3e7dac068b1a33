"""A few images for the eye, kept while the data streams by: the first and the most disputed."""

from __future__ import annotations

import base64
import heapq
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.palette import Palette, palette_png
from .record import Example

Labels = NDArray[Any]
WIDTH_PX = 640
_JPEG_QUALITY = 82
# same, differs, never scored: dark ground, so that a single differing pixel is seen
_DISAGREEMENT: Palette = ((26, 28, 34), (255, 92, 64), (74, 78, 88))


@dataclass(frozen=True, order=True)
class _Kept:
    """One image; ordered so that the heap's root is the least interesting one."""

    interest: tuple[float, float, int]
    name: str = ""
    arrays: Any = None


class ExampleKeeper:
    """Holds at most `count` images, already shrunk: memory does not grow with the data set."""

    def __init__(self, count: int, palette: Palette, ignore_index: int) -> None:
        """Keep the first image and the `count` − 1 with the lowest agreement."""
        self.count = count
        self.palette = palette
        self.ignore_index = ignore_index
        self._first: _Kept | None = None
        self._heap: list[_Kept] = []

    def offer(
        self,
        index: int,
        name: str,
        *,
        image: NDArray[np.uint8],
        truth: Labels,
        predictions: Sequence[Labels],
        agreement: Sequence[float],
        accuracy: float,
    ) -> None:
        """Keep the image if it belongs to the few.

        Args:
            index: number of the image, breaks ties towards the earlier one.
            name: the image's name.
            image: RGB (H,W,3).
            truth: labels (H,W).
            predictions: one label map (H,W) per model, the baseline first.
            agreement: share of equal scored pixels with the baseline, per other model.
            accuracy: pixel accuracy of the baseline on this image; decides where all agree.
        """
        interest = (-min(agreement, default=1.0), -accuracy, -index)
        if self.count < 1 or (self._first and not self._wants(interest)):
            return
        arrays = (shrink(image), shrink(truth), [shrink(item) for item in predictions])
        differs = [self._differs(truth, predictions[0], item) for item in predictions[1:]]
        kept = _Kept(interest, name, (*arrays, differs, tuple(agreement)))
        if self._first is None:
            self._first = kept
        elif len(self._heap) < self.count - 1:
            heapq.heappush(self._heap, kept)
        else:
            heapq.heapreplace(self._heap, kept)

    def examples(self, names: Sequence[str]) -> tuple[Example, ...]:
        """Return what was kept as data URIs, the first image, then the most disputed first."""
        ordered = [self._first] if self._first else []
        ordered += sorted(self._heap, reverse=True)
        return tuple(self._example(item, names) for item in ordered)

    def _wants(self, interest: tuple[float, float, int]) -> bool:
        room = len(self._heap) < self.count - 1
        return room or (bool(self._heap) and interest > self._heap[0].interest)

    def _differs(self, truth: Labels, baseline: Labels, prediction: Labels) -> Labels:
        """Return 0 same, 1 differs, 2 never scored, shrunk so that no differing pixel is lost."""
        ignored = truth == self.ignore_index
        differs = shrink_any((baseline != prediction) & ~ignored)
        return np.where(differs, 1, np.where(shrink(ignored), 2, 0)).astype(np.uint8)

    def _example(self, item: _Kept, names: Sequence[str]) -> Example:
        image, truth, predictions, differs, agreement = item.arrays
        labels = [self._png(prediction) for prediction in predictions]
        dispute = [_uri("png", palette_png(picture, _DISAGREEMENT)) for picture in differs]
        return Example(
            name=item.name,
            image=jpeg_uri(image),
            truth=self._png(truth),
            labels=dict(zip(names, labels, strict=True)),
            disagreement=dict(zip(names[1:], dispute, strict=True)),
            agreement=dict(zip(names[1:], agreement, strict=True)),
        )

    def _png(self, labels: Labels) -> str:
        return _uri("png", palette_png(labels, self.palette))


def shrink(array: NDArray[Any]) -> NDArray[Any]:
    """Return (H,W,…) at most `WIDTH_PX` wide: photos averaged over cells, labels nearest."""
    height, width = array.shape[:2]
    if width <= WIDTH_PX:
        return np.array(array)
    size = _small(height, width)
    if array.ndim == 3:
        from PIL import Image

        return np.asarray(Image.fromarray(array).resize(size[::-1], Image.Resampling.BOX))
    rows, columns = (_centres(old, new) for old, new in zip((height, width), size, strict=True))
    return np.asarray(array[rows[:, None], columns[None, :]])


def shrink_any(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask (H,W) at most `WIDTH_PX` wide that is set where any of its pixels was."""
    height, width = mask.shape
    if width <= WIDTH_PX:
        return mask
    new_height, new_width = _small(height, width)
    rows = np.arange(new_height) * height // new_height
    columns = np.arange(new_width) * width // new_width
    reduced = np.logical_or.reduceat(np.logical_or.reduceat(mask, rows, axis=0), columns, axis=1)
    return np.asarray(reduced)


def jpeg_uri(image: NDArray[np.uint8]) -> str:
    """Return an RGB image (H,W,3) as a JPEG data URI."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return _uri("jpeg", buffer.getvalue())


def _small(height: int, width: int) -> tuple[int, int]:
    return max(1, round(height * WIDTH_PX / width)), WIDTH_PX


def _centres(old: int, new: int) -> NDArray[np.int64]:
    """Return, for `new` cells over `old` pixels, the pixel at each cell's centre."""
    return ((2 * np.arange(new) + 1) * old) // (2 * new)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
