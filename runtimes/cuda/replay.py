"""Work on a stream, run as a CUDA graph from its second call on: one launch instead of hundreds.

The first call runs the work plainly, so that lazy set-up is over; the second records it and
launches the record. A graph holds addresses and shapes, and TensorRT's context must not change
while one of its graphs lives: whoever changes either calls `forget`.
https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/performance/optimization.html (CUDA graphs)
"""

from __future__ import annotations

from collections.abc import Callable

from ...common.errors import CheckFailedError
from .library import Cuda


class Replay:
    """One piece of work that is queued again and again on one stream."""

    def __init__(self, cuda: Cuda, stream: int, *, enabled: bool = True) -> None:
        """Record nothing yet; never, where not `enabled`."""
        self._cuda, self._stream, self._enabled = cuda, stream, enabled
        self._warm = False
        self._graph = 0
        self.refusal = ""

    @property
    def recorded(self) -> bool:
        """Whether the next call launches a graph."""
        return bool(self._graph)

    def run(self, work: Callable[[], None]) -> None:
        """Queue `work`, recorded if it can be; `refusal` says why it cannot.

        Raises:
            CheckFailedError: what `work` raises where it is not recorded.
        """
        if self._enabled and self._warm and not self._graph:
            self._record(work)
        if self._graph:
            self._cuda.launch(self._graph, self._stream)
        else:
            work()
            self._warm = True

    def forget(self) -> None:
        """Give the graph back; the next call runs plainly."""
        graph, self._graph, self._warm = self._graph, 0, False
        if graph:
            self._cuda.destroy_graph(graph)

    def _record(self, work: Callable[[], None]) -> None:
        try:
            self._cuda.begin_capture(self._stream)
            try:
                work()
            except CheckFailedError:
                self._cuda.abort_capture(self._stream)
                raise
            self._graph = self._cuda.end_capture(self._stream)
        except CheckFailedError as error:
            self._enabled, self.refusal = False, str(error)
