"""The accuracy of a quantized file beside its float graph, by the one evaluation segship has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...common.errors import InputError
from ...runtimes.artifact import Artifact
from .fp16_rounding import as_hardware
from .profile import Profile

if TYPE_CHECKING:
    from ...benchmark.record import Record

_RUNTIMES = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Judgement:
    """mIoU of both files as fractions of 1, and the drop in points; `record` has the rest."""

    float_miou: float
    miou: float
    agreement: float
    record: Record

    @property
    def drop_points(self) -> float:
        """Return float minus quantized in points of mIoU; negative where it gained."""
        return 100 * (self.float_miou - self.miou)

    def to_json(self) -> dict[str, float | int]:
        """Return plain JSON values, without the record."""
        return {
            "float_miou": self.float_miou,
            "miou": self.miou,
            "drop_points": self.drop_points,
            "pixel_agreement": self.agreement,
            "images": self.record.protocol.images,
        }


def judge(
    floats: Artifact,
    quantized: Artifact,
    evaluation: str,
    profile: Profile,
    *,
    precision: str = "fp32",
) -> Judgement:
    """Evaluate both files on all of `evaluation`: the float one in FP32, the other in `precision`.

    `precision` is what computes around the quantized nodes. A profile whose runtime is not here
    is judged on ONNX Runtime, FP16 as FP16 hardware computes.

    Raises:
        InputError: the data do not fit the artifact, or have no labels.
    """
    from ...benchmark.candidate import Candidate
    from ...benchmark.evaluate import evaluate

    runtime = profile.runtime if profile.runtime in _RUNTIMES else "onnxruntime"
    with as_hardware(quantized) as computed:
        if computed is not quantized:  # OpenVINO would take the rounding out again
            runtime = "onnxruntime"
        candidates = [
            Candidate(str(item.path), runtime, way, name=name)
            for item, way, name in (
                (floats, "fp32", "float"),
                (computed, precision, "quantized"),
            )
        ]
        record = evaluate(candidates, evaluation)
    found = [item.accuracy for item in record.measurements]
    first, second = found
    if first is None or second is None:
        raise InputError(f"Expected labels to judge the accuracy on, but {evaluation} has none.")
    agreement = 1.0 if second.pixel_agreement is None else second.pixel_agreement
    return Judgement(first.miou, second.miou, agreement, record)
