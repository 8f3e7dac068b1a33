"""How long each step of a command took."""

from __future__ import annotations

import time


class Laps:
    """Seconds between laps, by name; the first begins with the object.

    >>> clock = Laps()
    >>> clock.lap("export")
    >>> list(clock.seconds)
    ['export']
    """

    def __init__(self) -> None:
        """Start now."""
        self._last, self.seconds = time.perf_counter(), dict[str, float]()

    def lap(self, name: str) -> None:
        """Say that the step called `name` ends now."""
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
