"""The images of a record: what the template shows side by side."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..benchmark.record import Example, Record
from ..common.errors import InputError
from .format import agreement

# A picture is inside the report or it is refused: nothing may be fetched when it is opened.
_DATA_URI = re.compile(r"data:image/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}")


@dataclass(frozen=True)
class Prediction:
    """What one candidate saw; "" where the record holds no picture."""

    key: int
    name: str
    labels: str
    disagreement: str
    agreement: str
    share: float | None  # of pixels that agree


@dataclass(frozen=True)
class Panel:
    """One example: photo, truth, the baseline's labels and every candidate's."""

    name: str
    image: str
    truth: str
    baseline: str
    candidates: tuple[Prediction, ...]


def panels(record: Record, headline: str = "") -> tuple[Panel, ...]:
    """Return the image panels, those first where the candidate `headline` agrees least.

    Raises:
        InputError: a picture is no data URI.
    """
    found = tuple(
        Panel(
            example.name,
            _checked(example.image, example.name),
            _checked(example.truth, example.name),
            _checked(example.labels.get(record.baseline, ""), example.name),
            tuple(_predictions(record, example)),
        )
        for example in record.examples
    )
    return tuple(sorted(found, key=lambda panel: _share(panel, headline)))


def _share(panel: Panel, name: str) -> float:
    shares = [seen.share for seen in panel.candidates if seen.name == name]
    return next((share for share in shares if share is not None), 2.0)  # unknown: last


def _predictions(record: Record, example: Example) -> Iterator[Prediction]:
    for key, item in enumerate(record.measurements, 1):
        if item.name == record.baseline or item.name not in example.labels:
            continue
        share = example.agreement.get(item.name)
        yield Prediction(
            key,
            item.name,
            _checked(example.labels[item.name], example.name),
            _checked(example.disagreement.get(item.name, ""), example.name),
            agreement(share) if share is not None else "",
            share,
        )


def _checked(uri: str, name: str) -> str:
    if uri and not _DATA_URI.fullmatch(uri):
        raise InputError(
            f"Expected the pictures of example {name!r} as PNG, JPEG or WebP data URIs, "
            f"but got {uri[:40]!r}: make the record again."
        )
    return uri
