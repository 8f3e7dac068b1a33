"""The confusion matrices of a record as one CSV file, or as one PNG for the eye."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ..benchmark.record import Measurement, Record
from ..common.errors import InputError
from ..common.files import write_bytes, write_text
from .classes import class_name

SUFFIXES = (".png", ".csv")


def check_confusion_path(path: Path | None) -> None:
    """Refuse another suffix before minutes of work.

    Raises:
        InputError: neither .png nor .csv.
    """
    if path is not None and path.suffix not in SUFFIXES:
        raise InputError(f"Expected a confusion matrix in .png or .csv, but got {path}.")


def write_confusion(record: Record, path: Path) -> None:
    """Write every measurement's confusion matrix to `path`, .png or .csv.

    Raises:
        InputError: another suffix, or nothing was scored.
    """
    check_confusion_path(path)
    items = scored(record)
    if path.suffix == ".csv":
        write_text(path, confusion_csv(record, items))
        return
    from .confusion_picture import confusion_picture

    stream = io.BytesIO()
    confusion_picture(record, items).save(stream, "PNG", optimize=True)
    write_bytes(path, stream.getvalue())


def scored(record: Record) -> list[Measurement]:
    """Return the measurements with a confusion matrix.

    Raises:
        InputError: there is none.
    """
    items = [item for item in record.measurements if item.accuracy and item.accuracy.confusion]
    if not items:
        raise InputError(
            "Expected scored labels for a confusion matrix, but the record has none: measure with "
            "data that has labels."
        )
    return items


def confusion_csv(record: Record, items: list[Measurement]) -> str:
    """Return one row per measurement and true class: pixels by predicted class."""
    accuracies = [item.accuracy for item in items if item.accuracy]
    names = [class_name(record, index) for index in range(len(accuracies[0].confusion))]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["artifact", "truth", *names])
    for item, accuracy in zip(items, accuracies, strict=True):
        for name, row in zip(names, accuracy.confusion, strict=True):
            writer.writerow([item.name, name, *row])
    return stream.getvalue()
