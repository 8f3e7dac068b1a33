"""The one interface every runtime has.

A session knows the name, dtype and shape of each input and output and refuses arrays that
differ: a buffer of the wrong dtype is an error here, never silently reinterpreted memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..common.errors import InputError, SegshipError
from ..data.contract import Contract
from .cuda.labels import DeviceLogits

Array = NDArray[Any]
Self = TypeVar("Self", bound="Session")  # typing.Self is in Python 3.11


@dataclass(frozen=True)
class TensorInfo:
    """Name, numpy dtype name and shape of a tensor; a string in the shape is a free dimension."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Say whether an array of `shape` fits.

        >>> TensorInfo("x", "float32", ("batch", 3, 8, 8)).accepts((2, 3, 8, 8))
        True
        """
        return len(shape) == len(self.shape) and all(
            isinstance(want, str) or want == got
            for want, got in zip(self.shape, shape, strict=True)
        )


class Session(ABC):
    """An opened artifact on a runtime; use it as a context manager or call `close`.

    `notes` are sentences a user should know about how this artifact runs here.
    """

    runtime: str
    precision: str
    threads: int
    contract: Contract
    input: TensorInfo
    outputs: tuple[TensorInfo, ...]
    notes: tuple[str, ...] = ()

    def run(self, pixels: Array) -> dict[str, Array]:
        """Run one batch (B,3,H,W) of the input's dtype; return one array per head.

        The arrays may be the runtime's own buffers: copy what must outlive the next call.

        Raises:
            InputError: dtype or shape differ from what the artifact takes.
        """
        self._refuse_mismatch(pixels)
        return self._run(np.ascontiguousarray(pixels))

    def run_keeping_logits(self, pixels: Array) -> dict[str, Array | DeviceLogits]:
        """Run as `run` does, but leave logits on the device, where labels are made of them.

        They hold until the next run. Other heads come as arrays.

        Raises:
            InputError: as `run`, or the runtime has them in host memory.
        """
        self._refuse_mismatch(pixels)
        raise InputError(
            f"Expected a runtime that leaves logits on a GPU for post-processing there, but "
            f"{self.runtime} does not: leave out --postprocess gpu."
        )

    @abstractmethod
    def _run(self, pixels: Array) -> dict[str, Array]:
        """Run a checked, contiguous batch."""

    def device_times_ms(self) -> dict[str, float] | None:
        """Return the device's own times of the last run: "h2d", "compute" and "d2h".

        None before the first run and on runtimes of the CPU.
        """
        return None

    def device_memory_mib(self) -> dict[str, float] | None:
        """Return what this session holds on a device, by use, in MiB; None on a CPU."""
        return None

    def close(self) -> None:
        """Free what the runtime holds."""
        return None

    def __enter__(self: Self) -> Self:
        """Return the session itself."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close the session; an error of the block goes before one of closing."""
        try:
            self.close()
        except SegshipError:
            if error is None:
                raise

    def _refuse_mismatch(self, pixels: Array) -> None:
        if pixels.dtype.name != self.input.dtype:
            raise InputError(
                f"Expected input {self.input.name!r} as {self.input.dtype}, but got "
                f"{pixels.dtype.name}: convert it, or export with --input {pixels.dtype.name}."
            )
        if not self.input.accepts(pixels.shape):
            raise InputError(
                f"Expected input {self.input.name!r} of shape {self.input.shape}, but got "
                f"{pixels.shape}: resize to the contract's {self.contract.size_px}, "
                "or export with --dynamic."
            )


def describe_heads(
    outputs: tuple[TensorInfo, ...], heads: tuple[str, ...]
) -> tuple[tuple[TensorInfo, ...], list[str]]:
    """Return an artifact's outputs under the names of `heads`, and their own names in that order.

    Matched by name, or by position where the names differ.

    >>> found = (TensorInfo("depth", "float32", ()), TensorInfo("labels", "uint8", ()))
    >>> describe_heads(found, ("labels", "depth"))[1]
    ['labels', 'depth']

    Raises:
        InputError: there are more or fewer outputs than heads.
    """
    by_name = {item.name: item for item in outputs}
    if len(heads) != len(outputs):
        raise InputError(
            f"Expected one output per head {', '.join(heads)}, but got {', '.join(by_name)}."
        )
    names = list(heads) if set(heads) == set(by_name) else list(by_name)
    described = tuple(
        TensorInfo(head, by_name[name].dtype, by_name[name].shape)
        for head, name in zip(heads, names, strict=True)
    )
    return described, names
