"""The protocol of an accuracy: what is fed, at which size it is scored, and what is averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..common.errors import InputError
from ..data.corruption import Corruption, parse_corruptions
from .boundary import Tolerance, parse_tolerance
from .levels import Level, parse_level

PROTOCOLS = ("whole", "slide")
SIZES = ("label", "input")


@dataclass(frozen=True)
class Scoring:
    """How predictions are made and scored; the default is what most papers state.

    `protocol`: "whole" feeds the image as the contract says, "slide" feeds windows of `crop_px`
    (None: the contract's size) every `stride_px` (None: 3/4 of the crop) of the image at its own
    size. `at`: score at the size of the "label" file, or of the model's "input" (labels resized
    to the nearest). `levels`: means printed beside the one over the data set. `exclude`: names or
    numbers of classes left out of every mean. `flip`: average with the mirrored image. `boundary`:
    score outlines too. `corruptions`: score damaged images too, a pass over the data each.
    """

    protocol: str = "whole"
    crop_px: tuple[int, int] | None = None
    stride_px: tuple[int, int] | None = None
    at: str = "label"
    levels: tuple[Level, ...] = ()
    exclude: tuple[str, ...] = ()
    flip: bool = False
    boundary: Tolerance | None = None
    corruptions: tuple[Corruption, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.protocol not in PROTOCOLS or self.at not in SIZES:
            raise InputError(
                f"Expected protocol {' or '.join(PROTOCOLS)} at {' or '.join(SIZES)}, but got "
                f"{self.protocol!r} at {self.at!r}."
            )
        if self.protocol == "whole" and (self.crop_px or self.stride_px):
            raise InputError(
                "Expected a crop or stride only with sliding windows, but the protocol is whole: "
                "add --protocol slide."
            )

    @property
    def sliding(self) -> bool:
        """Say whether windows are fed."""
        return self.protocol == "slide"

    def excluded(self, classes: Sequence[str], count: int) -> tuple[int, ...]:
        """Return the sorted numbers of the classes left out of the mean.

        >>> Scoring(exclude=("Background", "0")).excluded(("road", "lane", "background"), 3)
        (0, 2)

        Raises:
            InputError: no such class, or none would be left.
        """
        found = sorted({_class_number(text, classes, count) for text in self.exclude})
        if found and len(found) == count:
            raise InputError(
                f"Expected a class left for the mean, but all {count} are excluded: "
                "leave out one --exclude."
            )
        return tuple(found)


WHOLE_IMAGE = Scoring()


def read_scoring(
    *,
    protocol: str = "whole",
    crop: tuple[int, int] | None = None,
    stride: tuple[int, int] | None = None,
    at: str = "label",
    level: Sequence[str] = (),
    exclude: Sequence[str] = (),
    flip: bool = False,
    boundary: str | None = None,
    corruptions: str | None = None,
) -> Scoring:
    """Return the scoring the command line's options say; `level` are texts such as "batch:8"."""
    asked = (parse_level(text) for text in level if text != "dataset")
    levels = tuple(dict.fromkeys(asked))
    tolerance = None if boundary is None else parse_tolerance(boundary)
    damage = () if corruptions is None else parse_corruptions(corruptions)
    return Scoring(protocol, crop, stride, at, levels, tuple(exclude), flip, tolerance, damage)


def _class_number(text: str, classes: Sequence[str], count: int) -> int:
    names = [name.casefold() for name in classes]
    if text.casefold() in names:
        return names.index(text.casefold())
    if text.isdecimal() and int(text) < count:
        return int(text)
    known = ", ".join(classes[:30]) or "none by name"
    raise InputError(
        f"Expected a class to exclude, by name ({known}) or number (0 to {count - 1}), "
        f"but got {text!r}."
    )
