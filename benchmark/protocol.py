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
from .depth import FLOOR
from .opened import label_names, labelling_head
from .scoring import Scoring

_DEPTH_WORDS = (
    "depth bilinear to the truth's size and in its unit, scored where the truth is finite and "
    f"above 0 (RMSE-log and δ raise predictions to {FLOOR:g})"
)


@dataclass(frozen=True)
class LabelSpace:
    """What a label number means: shared by the data set and every candidate."""

    classes: tuple[str, ...]
    palette: Palette


def label_space(contracts: Sequence[Contract], dataset: Dataset | None) -> LabelSpace:
    """Return class names and colours; the data set's where it states them.

    Contracts whose only head is depth have no say; all empty where there are no others.

    Raises:
        InputError: candidates, or the data set and they, differ in their number of classes.
    """
    contracts = [item for item in contracts if labelling_head(item)]
    if not contracts:
        return LabelSpace((), ())
    counts = {item.num_classes for item in contracts}
    stated = len(dataset.classes) if dataset and dataset.has_labels else 0
    if len(counts) > 1 or (stated and counts != {stated}):
        of_data = f" and {stated} of the data set {dataset.name}" if dataset and stated else ""
        raise InputError(
            f"Expected one number of classes, but got {sorted(counts)} of the candidates"
            f"{of_data}: give a data set with the model's classes, or a label map."
        )
    count = contracts[0].num_classes
    classes = (dataset.classes if dataset else ()) or label_names(contracts[0])
    palette = (dataset.palette if dataset else ()) or contracts[0].palette
    return LabelSpace(classes, palette if len(palette) == count else default_palette(count))


def class_warnings(contracts: Iterable[Contract], classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a warning where a candidate calls its classes otherwise than the data set."""
    wanted = [name.casefold() for name in classes]
    for contract in contracts:
        given = label_names(contract)
        names = [name.casefold() for name in given]
        if names and wanted and names != wanted and not all(map(_generic, names)):
            pairs = enumerate(zip(names, wanted, strict=True))  # label_space refused other lengths
            index = next(number for number, (ours, theirs) in pairs if ours != theirs)
            return (
                f"Class {index} is {given[index]!r} in the model and "
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


def evaluation_words(
    contract: Contract, scoring: Scoring, classes: Sequence[str], *, depth: bool = False
) -> str:
    """Return how the baseline's labels, and with `depth` its depth, were made and scored."""
    parts = [_fed_words(contract, scoring)]
    if labelling_head(contract):
        parts += [_label_words(contract, scoring), _mean_words(contract, scoring, classes)]
    if depth:
        parts.append(_DEPTH_WORDS)
    return "; ".join(part for part in parts if part)


def _fed_words(contract: Contract, scoring: Scoring) -> str:
    height, width = contract.size_px
    mirrored = ", and its mirror image" if scoring.flip else ""
    if scoring.sliding:
        stride = "x".join(str(side) for side in stride_px(scoring, contract.size_px))
        return (
            f"windows of {height}x{width} every {stride} px of the image at its own size"
            f"{mirrored} (the last ones shifted inside, smaller images padded with the mean), "
            "averaged where they overlap"
        )
    stretch = contract.resize is ResizeRule.STRETCH
    size = f"stretch to {height}x{width}" if stretch else "as stored"
    return f"whole image{mirrored}, {size} ({contract.resample.value})"


def _label_words(contract: Contract, scoring: Scoring) -> str:
    size = "label's size" if scoring.at == "label" else "input size, labels nearest to it"
    corners = "on" if contract.align_corners else "off"
    labels = {
        OutputKind.LABELS: f"labels from the graph, nearest to the {size}",
        OutputKind.LOGITS_FULL: f"full-size logits bilinear to the {size}",
        OutputKind.LOGITS: f"logits bilinear to the {size}",
    }[contract.output]
    if contract.output is OutputKind.LABELS:
        return labels
    one = contract.threshold is not None
    score = f"sigmoid above {contract.threshold:g}" if one else "argmax"
    if scoring.flip:
        score = "mean of the sigmoids, " + score[8:] if one else "softmax, mean, argmax"
    return f"{labels}, {score} (align_corners {corners})"


def _mean_words(contract: Contract, scoring: Scoring, classes: Sequence[str]) -> str:
    words = "int64 confusion matrix over the data set, ignored labels never scored"
    names = classes or [f"class {index}" for index in range(contract.num_classes)]
    left_out = scoring.excluded(classes, contract.num_classes)
    if left_out:
        words += f"; means without {', '.join(names[index] for index in left_out)}"
    return "; ".join((words, *(level.rule for level in scoring.levels)))


def stride_px(scoring: Scoring, crop_px: tuple[int, int]) -> tuple[int, int]:
    """Return the stride asked for, or 3/4 of the crop, as 768 of 1024."""
    if scoring.stride_px is not None:
        return scoring.stride_px
    return (max(1, crop_px[0] * 3 // 4), max(1, crop_px[1] * 3 // 4))


def _generic(name: str) -> bool:
    """Say whether a class name is only a number in disguise ("LABEL_7", "class 7", "7")."""
    return name.replace("label", "").replace("class", "").strip("_ ").isdigit()
