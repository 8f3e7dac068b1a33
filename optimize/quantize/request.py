"""What a user asks `quantize` for, checked before minutes of work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...calibration.observers import METHODS
from ...common.errors import InputError
from ...data.contract import InputKind, OutputKind
from .float_type import FLOATS

PRECISIONS = ("int8", "int8-all", "fp16", "mixed")
ROUNDINGS = ("nearest", "adaptive")
_WHOLE = ("int8", "int8-all")  # precisions whose plan is known before the graph is written


@dataclass(frozen=True)
class QuantizeRequest:
    """The options of `quantize`, see there; `export` options count for a checkpoint alone."""

    precision: str
    data: str
    profile: str = "auto"
    method: str = "mse"  # docs/decisions/0007-int8-form.md has the measurement
    percentile: float = 99.99
    images: int = 128
    seed: int = 0
    strategy: str = "random"
    evaluation: str | None = None
    max_miou_drop: float | None = None
    allow_overlap: bool = False
    scaling: bool = True
    exclude: tuple[str, ...] = ()
    ranges: Path | None = None
    size_px: tuple[int, int] | None = None
    dynamic: bool = False
    output_kind: OutputKind = OutputKind.LOGITS
    input_kind: InputKind = InputKind.FLOAT32
    opset: int | None = None  # of the profile
    float_type: str = "auto"  # what computes around INT8, see float_type.py
    bias_correction: bool = False  # docs/decisions/0005-exact-scaling-before-int8.md
    rounding: str = "nearest"
    trials: int = 12  # of the search of "mixed"
    state: Path | None = None  # where it keeps them
    threads: int | None = None  # it is timed with

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if self.precision not in PRECISIONS:
            raise InputError(
                f"Expected a precision of {', '.join(PRECISIONS)}, but got {self.precision!r}."
            )
        if self.float_type not in FLOATS:
            raise InputError(
                f"Expected a float type of {', '.join(FLOATS)}, but got {self.float_type!r}."
            )
        if self.float_type != "auto" and self.precision not in ("int8", "int8-all"):
            raise InputError(
                f"Expected --float with int8 or int8-all, but got it with {self.precision}: leave "
                "it out."
            )
        self._refuse_improvements()
        if self.method not in METHODS:
            raise InputError(f"Expected a method of {', '.join(METHODS)}, but got {self.method!r}.")
        if self.images < 1:
            raise InputError(f"Expected at least 1 calibration image, but got {self.images}.")
        if self.max_miou_drop is not None and self.evaluation is None:
            raise InputError(
                "Expected data to judge the mIoU drop on, but got none: name it with --eval SPEC."
            )
        if self.max_miou_drop is not None and self.max_miou_drop < 0:
            raise InputError(
                f"Expected a mIoU drop of 0 points or more, but got {self.max_miou_drop}."
            )

    def _refuse_improvements(self) -> None:
        if self.rounding not in ROUNDINGS:
            raise InputError(
                f"Expected a rounding of {', '.join(ROUNDINGS)}, but got {self.rounding!r}."
            )
        asked = "--rounding adaptive" if self.rounding == "adaptive" else ""
        asked = "--bias-correction" if self.bias_correction else asked
        if asked and self.precision not in _WHOLE:
            raise InputError(
                f"Expected {asked} with int8 or int8-all, but got it with {self.precision}: leave "
                "it out."
            )
