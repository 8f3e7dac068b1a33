"""A device's own times, gathered turn by turn as those of the host are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from .samples import summarise
from .times import DeviceTimes

STEPS = tuple(item.name for item in fields(DeviceTimes))


class DeviceSteps:
    """Milliseconds per step; the first run of every turn is kept apart as warm-up."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._samples: dict[str, list[float]] = {name: [] for name in STEPS}
        self._warmup: dict[str, list[float]] = {name: [] for name in STEPS}

    def add(self, device_ms: Mapping[str, Sequence[float]]) -> None:
        """Add the steps of one turn; {} where nothing ran on a device."""
        for name, (first, *rest) in device_ms.items():
            self._warmup[name].append(first)
            self._samples[name].extend(rest)

    def times(self) -> DeviceTimes | None:
        """Return the summary of every step, None where a step was never timed.

        >>> steps = DeviceSteps()
        >>> steps.add({"h2d": [9, 1], "compute": [9, 2], "d2h": [9, 3]})
        >>> found = steps.times()
        >>> found and found.compute.samples_ms
        (2,)
        """
        if not all(self._samples.values()):
            return None
        return DeviceTimes(
            **{name: summarise(self._samples[name], self._warmup[name]) for name in STEPS}
        )
