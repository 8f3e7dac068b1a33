"""Accuracy on damaged images, one pass over the data set per kind of damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..data.corruption import CorruptedData, Corruption
from ..data.dataset import Dataset
from ..data.palette import Palette
from .accuracy import AccuracyRule, measure_accuracy
from .record import Accuracy, Record
from .robustness import Corrupted
from .subject import Subject


def with_corruptions(
    record: Record,
    subjects: Sequence[Subject],
    dataset: Dataset,
    *,
    palette: Palette,
    rule: AccuracyRule,
    progress: bool = True,
) -> Record:
    """Return `record`, accuracies in it, with those on images damaged as `rule` asks.

    Raises:
        InputError: as `measure_accuracy`.
    """
    asked = rule.scoring.corruptions
    if not asked or not any(item.accuracy for item in record.measurements):
        return record
    plain = replace(rule, examples=0, scoring=replace(rule.scoring, boundary=None, levels=()))
    found: list[list[Corrupted]] = [[] for _ in subjects]
    for corruption in asked:
        damaged = CorruptedData(dataset, corruption, rule.seed)
        result = measure_accuracy(subjects, damaged, palette=palette, rule=plain, progress=progress)
        for index, accuracy in enumerate(result.accuracies):
            clean = record.measurements[index].accuracy
            if accuracy and clean:
                found[index].append(_corrupted(corruption, accuracy, clean))
    return replace(
        record,
        measurements=tuple(
            replace(item, corruptions=tuple(scores))
            for item, scores in zip(record.measurements, found, strict=True)
        ),
    )


def _corrupted(corruption: Corruption, accuracy: Accuracy, clean: Accuracy) -> Corrupted:
    drop = accuracy.drop
    return Corrupted(
        corruption.kind,
        corruption.strength,
        accuracy.miou,
        clean.miou - accuracy.miou,
        corruption.rule,
        drop.miou if drop else None,
        drop.low if drop else None,
        drop.high if drop else None,
    )
