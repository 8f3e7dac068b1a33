"""How the numbers were made, in words, and what a record says about itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..common.errors import InputError
from ..data.contract import Contract, OutputKind, ResizeRule
from ..data.dataset import Dataset
from ..data.palette import Palette, default_palette
from .bootstrap import CONFIDENCE


@dataclass(frozen=True)
class LabelSpace:
    """What a label number means: shared by the data set and every candidate."""

    classes: tuple[str, ...]
    palette: Palette


def label_space(contracts: Sequence[Contract], dataset: Dataset | None) -> LabelSpace:
    """Return class names and colours; the data set's where it states them.

    Raises:
        InputError: candidates, or the data set and they, differ in their number of classes.
    """
    counts = {item.num_classes for item in contracts}
    stated = len(dataset.classes) if dataset else 0
    if len(counts) > 1 or (stated and counts != {stated}):
        of_data = f" and {stated} of the data set {dataset.name}" if dataset and stated else ""
        raise InputError(
            f"Expected one number of classes, but got {sorted(counts)} of the candidates"
            f"{of_data}: give a data set with the model's classes, or a label map."
        )
    classes = (dataset.classes if dataset else ()) or contracts[0].classes
    palette = (dataset.palette if dataset else ()) or contracts[0].palette
    return LabelSpace(classes, palette or default_palette(contracts[0].num_classes))


def class_warnings(contracts: Iterable[Contract], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a warning where a candidate calls its classes otherwise than the data set."""
    wanted = [name.casefold() for name in classes]
    for contract in contracts:
        names = [name.casefold() for name in contract.classes]
        if names and wanted and names != wanted and not all(map(_generic, names)):
            pairs = enumerate(zip(names, wanted, strict=True))  # label_space refused other lengths
            index = next(number for number, (ours, theirs) in pairs if ours != theirs)
            return (
                f"Class {index} is {contract.classes[index]!r} in the model and "
                f"{classes[index]!r} in the data set: check that the labels mean the same.",
            )
    return ()


def bootstrap_words(replicates: int) -> str:
    """Return the rule behind the interval of a drop."""
    return (
        f"paired Poisson bootstrap over images, {replicates} replicates, "
        f"{100 * CONFIDENCE:g} % percentile interval"
    )


def command_line() -> str:
    """Return the command that runs now, as a person would type it."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def now() -> str:
    """Return the time in UTC, ISO 8601, whole seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def evaluation_words(contract: Contract) -> str:
    """Return how labels were made and scored."""
    height, width = contract.size_px
    size = f"stretch to {height}x{width}" if contract.resize is ResizeRule.STRETCH else "as stored"
    corners = "on" if contract.align_corners else "off"
    labels = {
        OutputKind.LABELS: "labels from the graph, nearest to the label's size",
        OutputKind.LOGITS_FULL: "full-size logits bilinear to the label's size, argmax",
        OutputKind.LOGITS: "logits bilinear to the label's size, argmax",
    }[contract.output]
    return (
        f"whole image, {size} ({contract.resample.value}), {labels} (align_corners {corners}); "
        "int64 confusion matrix over the data set, ignored labels never scored"
    )


def _generic(name: str) -> bool:
    """Say whether a class name is only a number in disguise ("LABEL_7", "class 7", "7")."""
    return name.replace("label", "").replace("class", "").strip("_ ").isdigit()
