"""A TorchScript archive on the CPU. Opening one executes code out of the file."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from ..common.errors import CheckFailedError, InputError
from ..data.contract import InputKind
from .artifact import Artifact
from .session import Array, Session, TensorInfo

_PROGRAM = "The file is a program and was executed, as its runtime was asked for by name."


def load_script(place: str) -> Any:
    """Return the module of an archive in evaluation mode. This executes code of the file.

    Raises:
        InputError: torch cannot read it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # people's files stay
            return torch.jit.load(place, map_location="cpu").eval()  # type: ignore[no-untyped-call]  # torch's
    except (RuntimeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"Expected a TorchScript archive that torch {torch.__version__} reads, but {place} "
            f"is none: {reason}"
        ) from error


def script_cost(place: str, shape: tuple[int, ...]) -> tuple[int, float | None]:
    """Return parameters, and GMACs of one image (1,3,H,W) at the shape's size. This executes code.

    Multiply-accumulates are those torch counts: of convolutions and matrix products.
    """
    from torch.utils.flop_counter import FlopCounterMode

    module = load_script(place)
    parameters = sum(item.numel() for item in module.parameters())
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(torch.zeros((1, *shape[1:])))
    return parameters, counter.get_total_flops() / 2e9 or None


class TorchScriptSession(Session):
    """Any network that takes (B,3,H,W) and returns logits (B,K,h,w) for each head."""

    def __init__(self, artifact: Artifact, precision: str, threads: int) -> None:
        """Load the archive and run it once on zeros, so that its output is known.

        Raises:
            InputError: torch cannot read it, or it returns something else than the contract says.
            CheckFailedError: it fails on an input of the contract's size.
        """
        self.runtime, self.precision, self.threads = "torchscript", precision, threads
        self.contract, self.notes = artifact.contract, (_PROGRAM,)
        self._place = artifact.path
        self._threads_before = torch.get_num_threads()
        dtype = "uint8" if self.contract.input is InputKind.UINT8 else "float32"
        self.input = TensorInfo("pixels", dtype, ("batch", 3, "height", "width"))
        self.outputs = ()
        self._module = load_script(str(artifact.path))
        zeros = torch.zeros((1, 3, *self.contract.size_px), dtype=getattr(torch, dtype))
        found = self._run(zeros.numpy())
        self.outputs = tuple(self._described(name, found[name]) for name in self.contract.heads)

    def close(self) -> None:
        """Give torch back the threads it had."""
        torch.set_num_threads(self._threads_before)

    def _run(self, pixels: Array) -> dict[str, Array]:
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        try:
            with torch.inference_mode():
                found = self._module(torch.from_numpy(pixels))
        except RuntimeError as error:  # torch.jit.Error is one
            reason = " ".join(str(error).split())[-200:]
            raise CheckFailedError(
                f"{self._place} fails on an input {pixels.shape}: …{reason}"
            ) from error
        return self._named(found)

    def _named(self, found: Any) -> dict[str, Array]:
        """Return the outputs by head: a tensor, a sequence in the heads' order, or a dict."""
        heads = self.contract.heads
        if isinstance(found, dict):
            keys = list(heads) if set(heads) <= found.keys() else ["logits", "out"]
            values = [found[key] for key in keys if key in found]
        else:
            values = [found] if isinstance(found, torch.Tensor) else list(found)
        if len(values) != len(heads) or not all(isinstance(v, torch.Tensor) for v in values):
            raise InputError(
                f"Expected one tensor per head {', '.join(heads)} of {self._place}, but it returns "
                f"{type(found).__name__} of {len(values)}: state `heads` in its sidecar."
            )
        return {head: value.numpy() for head, value in zip(heads, values, strict=True)}

    def _described(self, head: str, value: Array) -> TensorInfo:
        labels = self.contract.returns_labels(head)
        channels = 1 if head == "depth" else self.contract.num_classes
        fits = value.ndim in (3, 4) if labels else value.ndim == 4 and value.shape[1] == channels
        if not fits or labels == (value.dtype.kind == "f"):
            wanted = "labels" if labels else f"logits (batch, {channels}, height, width)"
            raise InputError(
                f"Expected {wanted} of head {head}, but {self._place} returns {value.dtype.name} "
                f"{value.shape}: correct `classes` or `output` in {self._place.name}.segship.yaml."
            )
        free: tuple[int | str, ...] = ("batch", channels, "rows", "columns")
        return TensorInfo(head, value.dtype.name, free if value.ndim == 4 else free[:1] + free[2:])
