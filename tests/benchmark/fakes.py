"""Sessions and data sets whose numbers can be computed again in a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from segship.data.contract import Contract
from segship.data.dataset import Dataset, Sample
from segship.runtimes.session import Array, Session, TensorInfo


class FunctionSession(Session):
    """A session that is a numpy function; it keeps the shape of every batch it was fed."""

    def __init__(
        self,
        function: Callable[[Array], dict[str, Array]],
        contract: Contract,
        batch: int | None = None,
    ) -> None:
        """Take any size; a batch of `batch`, or any where it is None."""
        self.runtime, self.precision, self.threads = "fake", "fp32", 1
        self.contract = contract
        free = ("batch" if batch is None else batch, 3, "height", "width")
        self.input = TensorInfo("pixels", contract.input.value, free)
        self.outputs = tuple(TensorInfo(head, "float32", ()) for head in contract.heads)
        self.function = function
        self.shapes: list[tuple[int, ...]] = []

    def _run(self, pixels: Array) -> dict[str, Array]:
        self.shapes.append(pixels.shape)
        return self.function(pixels)


class ArrayData(Dataset):
    """Images, labels and depth given as arrays."""

    def __init__(
        self,
        images: Sequence[NDArray[np.uint8]],
        labels: Sequence[NDArray[np.uint8]],
        depth: Sequence[NDArray[np.float32]] | None = None,
        *,
        classes: tuple[str, ...] = (),
        labelled: bool = True,
    ) -> None:
        """Keep the arrays, one per sample."""
        self.name, self.classes, self.palette, self.ignore_index = "arrays", classes, (), 255
        self.images, self.labels, self.depth = images, labels, depth
        self.has_depth, self.has_labels = depth is not None, labelled

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Return one sample."""
        depth = self.depth[index] if self.depth is not None else None
        return Sample(str(index), None, self.images[index], self.labels[index], depth)

    def image_bytes(self, index: int) -> None:  # noqa: ARG002 # the interface has it
        """There is no file."""
        return None

    def digest(self) -> str:
        """Nothing to hash."""
        return "0" * 64
