"""A record as the new baseline: what a person reviews and commits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..record import Record, save_record


def save_baseline(record: Record, path: Path, reason: str = "") -> None:
    """Write `record` as the baseline file, whole or not at all, without the images for the eye.

    `reason` becomes its title: why the numbers were accepted.
    """
    save_record(replace(record, examples=(), title=reason or record.title), path)
