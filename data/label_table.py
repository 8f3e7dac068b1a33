"""Labels replaced by other labels through a look-up table."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from .palette import Labels

LabelPairs = Iterable[tuple[int, int]]
_HIGHEST = 65535  # what a 16-bit mask can hold


def map_labels(labels: Labels, pairs: LabelPairs, ignore_index: int) -> Labels:
    """Return `labels` (H,W) with each label replaced as (label in the data, new label) says.

    A label that no pair lists becomes `ignore_index`. uint8, or int32 where a new label is
    above 255.

    Raises:
        InputError: a label is listed twice, or is outside 0..65535.

    >>> map_labels(np.array([[7, 8, 9]], np.uint8), [(7, 0), (8, 1)], 255)
    array([[  0,   1, 255]], dtype=uint8)
    """
    return look_up(labels, label_table(pairs, ignore_index), ignore_index)


def label_table(pairs: LabelPairs, ignore_index: int) -> Labels:
    """Return the look-up table (256 or more entries) that `pairs` describe.

    Raises:
        InputError: a label is listed twice, or is outside 0..65535.
    """
    listed = [(int(old), int(new)) for old, new in pairs]
    known: dict[int, int] = {}
    for old, new in listed:
        if not 0 <= old <= _HIGHEST or not 0 <= new <= _HIGHEST:
            raise InputError(
                f"Expected labels 0 to {_HIGHEST} in a label map, but got {old}: {new}: leave out "
                "what is to be ignored."
            )
        if known.setdefault(old, new) != new:
            raise InputError(
                f"Expected one new label per label, but the label map gives {old} both "
                f"{known[old]} and {new}: remove one."
            )
    highest = max([ignore_index, *known.values()])
    table: Labels = np.full(
        max([255, *known]) + 1, ignore_index, np.uint8 if highest < 256 else np.int32
    )
    for old, new in known.items():
        table[old] = new
    return table


def look_up(labels: Labels, table: Labels, beyond: int | None = None) -> Labels:
    """Return `table[labels]`; labels beyond the table become `beyond`, None keeps them."""
    if labels.dtype == np.uint8:  # the table has 256 entries or more
        # 1.8 ms at 1024x2048 on the development machine; table[labels] took 3.8 ms
        return table.take(labels)
    outside: NDArray[np.bool_] = labels >= len(table)
    if not outside.any():
        return table[labels]
    found: Labels = table[np.where(outside, 0, labels)].astype(np.int32)
    found[outside] = labels[outside] if beyond is None else beyond
    return found


def identity_table(changed: LabelPairs = ()) -> Labels:
    """Return the table (256 entries, uint8) that changes only the labels listed.

    What it leaves alone is checked against the classes afterwards, so a wrong label is found.
    """
    table: NDArray[np.uint8] = np.arange(256, dtype=np.uint8)
    for old, new in changed:
        table[old] = new
    return table


def ignore_values(labels: Labels, values: Iterable[int], ignore_index: int) -> Labels:
    """Return `labels` (H,W) with every label of `values` replaced by `ignore_index`.

    >>> ignore_values(np.array([[18, 19, 255]], np.uint8), (19, 255), 255)
    array([[ 18, 255, 255]], dtype=uint8)
    """
    listed = [value for value in values if value != ignore_index]
    if not listed:
        return labels
    if labels.dtype == np.uint8 and ignore_index < 256:
        return identity_table((value, ignore_index) for value in listed if value < 256)[labels]
    replaced: Labels = np.where(np.isin(labels, listed), ignore_index, labels.astype(np.int32))
    return replaced.astype(np.int32)


def reduce_labels(labels: Labels, ignore_index: int) -> Labels:
    """Return `labels` (H,W) shifted down by one; 0 and `ignore_index` become `ignore_index`.

    >>> reduce_labels(np.array([[0, 1, 150, 255]], np.uint8), 255)
    array([[255,   0, 149, 255]], dtype=uint8)
    """
    ignored = (labels == 0) | (labels == ignore_index)
    shifted: Labels = np.where(ignored, ignore_index, labels.astype(np.int32) - 1)
    return shifted.astype(np.uint8 if int(shifted.max(initial=0)) < 256 else np.int32)
