"""The ranges of a graph's tensors, as a calibration found them."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..common.errors import InputError
from .observers.grid import ErrorPower, to_db
from .observers.observer import Observer


@dataclass(frozen=True)
class TensorRange:
    """Range, exact extremes and the price of the range, all in the tensor's unit.

    `clipped` is the share of values outside [low, high], `sqnr_db` the signal-to-noise ratio of
    8-bit quantization on it (infinite where no error is made), `count` the number of values.
    """

    low: float
    high: float
    minimum: float
    maximum: float
    clipped: float
    sqnr_db: float
    count: int

    @property
    def peak(self) -> float:
        """The greatest magnitude, exact."""
        return max(abs(self.minimum), abs(self.maximum))


@dataclass(frozen=True)
class Ranges:
    """What `images` images gave: ranges by tensor name.

    `digest` is the SHA-256 over the pixels the network saw, in any order; `sample` the values per
    tensor and image that the histograms hold at most (0: all); extremes are always exact.
    """

    method: str
    symmetric: bool
    images: int
    digest: str
    tensors: dict[str, TensorRange]
    sample: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; an infinite ratio becomes null."""
        values = asdict(self)
        for entry in values["tensors"].values():
            if math.isinf(entry["sqnr_db"]):
                entry["sqnr_db"] = None
        return values

    @staticmethod
    def from_json(values: dict[str, Any]) -> Ranges:
        """Rebuild ranges from `to_json` output.

        Raises:
            InputError: a field is missing, unknown or of another type.
        """
        try:
            known = dict(values)
            entries = known.pop("tensors").items()
            tensors = {str(name): _tensor_range(entry) for name, entry in entries}
            return Ranges(**known, tensors=tensors)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = json.dumps(str(error))
            raise InputError(
                f"Expected calibrated ranges, but got other values ({reason}): calibrate again."
            ) from error


def summarise(observer: Observer, *, symmetric: bool) -> TensorRange:
    """Return the 8-bit range of what `observer` has seen, with its price."""
    low, high = observer.range(symmetric)
    whole = low <= observer.minimum and high >= observer.maximum
    power = ErrorPower(observer.histogram)
    noise = power.noise(low, high, symmetric=symmetric) if observer.peak else 0.0
    return TensorRange(
        low=low,
        high=high,
        minimum=observer.minimum,
        maximum=observer.maximum,
        clipped=0.0 if whole else observer.histogram.share_outside(low, high),
        sqnr_db=to_db(power.signal, noise),
        count=observer.count,
    )


def _tensor_range(entry: dict[str, Any]) -> TensorRange:
    if set(entry) != {field.name for field in fields(TensorRange)}:
        raise ValueError(f"fields {sorted(entry)}")
    ratio = entry["sqnr_db"]
    numbers = {name: float(value) for name, value in entry.items() if name != "sqnr_db"}
    count = int(numbers.pop("count"))
    return TensorRange(**numbers, sqnr_db=math.inf if ratio is None else float(ratio), count=count)
