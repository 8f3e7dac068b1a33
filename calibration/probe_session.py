"""A graph that measures itself, open in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError
from ..common.machine import usable_cores
from ..runtimes.onnxruntime_session import new_session
from .observers.observer import Observer
from .probe import FRACTIONS, PARTS, Watched, probed

_BELOW_ONE = 1 - 1e-9  # times a tensor's size, of up to 1e9 values, it stays below the size


class ProbeSession:
    """One group of tensors, measured in one run per image."""

    def __init__(
        self, graph: Any, group: Sequence[Watched], sample: int, threads: int | None
    ) -> None:
        """Open a copy of `graph` (an onnx.ModelProto) that measures the tensors of `group`."""
        data, self._outputs = probed(graph, group, sample)
        self._names = [item.name for item in group]
        self._session = new_session(
            data, threads or usable_cores(), label="the graph to calibrate", quiet=True
        )
        takes = [item.name for item in self._session.get_inputs()]
        (self._pixels,) = [name for name in takes if name != FRACTIONS]
        self._sample = sample if FRACTIONS in takes else 0

    def observe(
        self,
        pixels: NDArray[Any],
        digest: bytes,
        observers: Mapping[str, Observer],
        image: int,
    ) -> None:
        """Run `pixels` and show the observers what comes out.

        `digest` is the image's hash and decides which values are sampled; `image` its number in
        messages.

        Raises:
            InputError: pixels the graph does not take, or an activation that is not finite.
        """
        feed = {self._pixels: pixels}
        if self._sample:
            feed[FRACTIONS] = fractions(digest, self._sample)
        results = self._run(feed)
        for index, name in enumerate(self._names):
            low, high, squares, count, values = results[PARTS * index : PARTS * (index + 1)]
            # squares: NaN where a value is; an overflow of the sum is infinite and harmless
            if np.isnan(squares) or not (np.isfinite(low) and np.isfinite(high)):
                raise InputError(
                    f"Expected finite activations, but {name} has NaN or infinity on image "
                    f"{image + 1} of the calibration: check the checkpoint and that image."
                )
            observers[name].observe(values, float(low), float(high), int(count))

    def _run(self, feed: dict[str, Any]) -> list[Any]:
        try:
            results: list[Any] = self._session.run(self._outputs, feed)
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            reason = " ".join(str(error).split())[:300]
            raise InputError(
                f"Expected images the graph takes, but ONNX Runtime says: {reason}"
            ) from error
        return results


def fractions(digest: bytes, count: int) -> NDArray[np.float64]:
    """Return one place in each of `count` equal parts of [0, 1), ascending, seeded by `digest`.

    No part of a tensor is left out and no pattern of its layout is met.
    """
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "big")))
    return np.minimum((np.arange(count) + random.random(count)) / count, _BELOW_ONE)
