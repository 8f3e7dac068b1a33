"""A session of this process that takes turns in interleaved rounds, as a worker does."""

from __future__ import annotations

import time

from ..runtimes.session import Session
from .opened import input_shape, static_batch, synthetic_pixels


class LocalTurn:
    """Times `session.run` alone; cheaper than a worker where dozens are compared."""

    def __init__(self, session: Session) -> None:
        """Keep an open session."""
        self._session = session
        self._shape = input_shape(session.contract, static_batch(session))

    def run(self, runs: int, seed: int = 0) -> list[float]:
        """Run `runs` times on pixels of `seed`; return milliseconds."""
        pixels = synthetic_pixels(self._shape, self._session.input.dtype, seed)
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self._session.run(pixels)
            times.append(1e3 * (time.perf_counter() - start))
        return times
