"""Checkpoint or float ONNX → ONNX in fewer bits, calibrated on real images, with the price."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...calibration.calibration_set import CalibrationSet
from ...calibration.ranges import Ranges
from ...common.errors import CheckFailedError, InputError
from ...common.files import atomic_path, probe_writable, sha256_file
from ...common.laps import Laps
from ...runtimes.artifact import CONTRACT_KEY, LINEAGE_KEY, Artifact
from .explain import NodeRow
from .float_graph import FloatGraph, Say, float_graph, recorded
from .judge import Judgement, judge
from .makers import MAKERS, Made
from .profile import Profile, read_profile
from .request import QuantizeRequest
from .verdict import Verdict, compare_artifacts

if TYPE_CHECKING:
    from ...benchmark.price import Search, Sensitivity
    from ...benchmark.record import Record
    from ...models.checkpoints.settings import Settings

_MEBI = 1 << 20
VERDICT_IMAGES = 4  # calibration images the written file is compared with the float graph on


@dataclass(frozen=True)
class QuantizeReport:
    """What was written, from which images, what each node computes in, and what it cost.

    `seconds` holds the time of each step by its name; `verdict` compares the file with the float
    graph on a few calibration images; `judgement` is None where no evaluation data were named.
    """

    artifact: Artifact
    profile: Profile
    precision: str
    calibration: CalibrationSet
    ranges: Ranges
    rows: tuple[NodeRow, ...]
    float_mib: float
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()
    judgement: Judgement | None = None
    max_miou_drop: float | None = None
    verdict: Verdict | None = None
    sensitivity: Sensitivity | None = None
    search: Search | None = None

    @property
    def record(self) -> Record | None:
        """The evaluation, with the price of every part and the trials where there was a search."""
        if self.judgement is None:
            return None
        found = self.judgement.record
        return replace(found, sensitivity=self.sensitivity, search=self.search)

    @property
    def size_mib(self) -> float:
        """Size of the file in MiB."""
        return self.artifact.path.stat().st_size / _MEBI

    def refuse_drop(self) -> None:
        """Raise CheckFailedError where outputs overflow, or the mIoU drops by more than allowed."""
        if self.verdict is not None and not self.verdict.finite:
            raise CheckFailedError(
                f"Expected finite numbers, but {self.artifact.path} has others: {self.verdict}: "
                "the file was kept; calibrate on more --images or --exclude the part named."
            )
        found, allowed = self.judgement, self.max_miou_drop
        if found is None or allowed is None or found.drop_points <= allowed:
            return
        raise CheckFailedError(
            f"Expected a mIoU drop of at most {allowed:g} points, but {self.artifact.path} loses "
            f"{found.drop_points:.2f}: the file was kept; try --explain, --exclude PART or more "
            "--images."
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        found = self.judgement
        return {
            "path": str(self.artifact.path),
            "sha256": self.artifact.sha256,
            "precision": self.precision,
            "profile": self.profile.name,
            "calibration": {
                "data": self.calibration.name,
                "images": len(self.calibration),
                "digest": self.calibration.digest,
                "method": self.ranges.method,
                "coverage": asdict(self.calibration.coverage),
            },
            "size_mib": self.size_mib,
            "float_mib": self.float_mib,
            "seconds": self.seconds,
            "notes": self.notes,
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "judgement": None if found is None else found.to_json(),
            "search": None if self.search is None else asdict(self.search),
            "sensitivity": None if self.sensitivity is None else asdict(self.sensitivity),
            "nodes": [row.to_json() for row in self.rows],
        }


def quantize(
    source: str | Path,
    output: str | Path,
    *,
    precision: str,
    data: str,
    settings: Settings | None = None,
    say: Say = lambda line: None,  # noqa: ARG005 - nobody listens
    **options: Any,
) -> QuantizeReport:
    """Quantize a checkpoint, or an ONNX file in float, and write one ONNX file.

    Args:
        source: checkpoint folder, file or hub id, or a float ONNX file.
        output: the ONNX file to write; its folder must exist.
        precision: "int8" (products, as the profile wants them), "int8-all" (norms, softmax and
            sums as well), "fp16" or "mixed".
        data: data specification of the calibration images, not the ones it is judged on.
        settings: what the user states about a checkpoint.
        say: gets a line at every step.
        options: the other fields of `QuantizeRequest`.

    Raises:
        InputError: the request, the source or the images are wrong; nothing is written.
        CheckFailedError: the export before it differs from torch; nothing is written.

    The report's `refuse_drop` says whether `max_miou_drop` was kept.
    """
    clock, target = Laps(), Path(output)
    request = QuantizeRequest(precision, data, **options)
    if precision == "mixed" and request.state is None:
        request = replace(request, state=target.with_name(f"{target.name}.trials.json"))
    probe_writable(target)
    _refuse_itself(source, target)
    profile = read_profile(request.profile)
    with TemporaryDirectory(prefix="segship-") as folder:
        floats = float_graph(source, request, profile, Path(folder), settings, say)
        clock.lap("float graph")
        say(f"ranges       {'minmax' if precision == 'fp16' else request.method} for {precision}")
        made = MAKERS[precision](floats, request, profile)
        clock.lap("calibration")
        artifact = _write(target, made, floats)
        report = _report(artifact, made, floats, request, profile)
        clock.lap("verdict")
        if request.evaluation is not None:
            say(f"evaluation   float and {precision} on {request.evaluation}")
            report = replace(report, judgement=_judged(artifact, made, floats, request, profile))
            clock.lap("evaluation")
    return replace(report, seconds=clock.seconds)


def _report(
    artifact: Artifact, made: Made, floats: FloatGraph, request: QuantizeRequest, profile: Profile
) -> QuantizeReport:
    """Compare the written file with the float graph and say what was done."""
    few = itertools.islice(floats.pixels(), VERDICT_IMAGES)
    advice = _advice(request.precision, profile)
    return QuantizeReport(
        artifact,
        profile,
        request.precision,
        floats.calibration,
        made.ranges,
        made.rows,
        float_mib=floats.artifact.path.stat().st_size / _MEBI,
        seconds={},
        notes=(*floats.calibration.notes, *floats.notes, *made.notes, *advice),
        max_miou_drop=request.max_miou_drop,
        verdict=compare_artifacts(floats.artifact, artifact, few),
        sensitivity=made.sensitivity,
        search=made.search,
    )


def _judged(
    artifact: Artifact, made: Made, floats: FloatGraph, request: QuantizeRequest, profile: Profile
) -> Judgement:
    way = made.search.precision if made.search else "fp32"
    return judge(floats.artifact, artifact, request.evaluation or "", profile, precision=way)


def _write(target: Path, made: Made, floats: FloatGraph) -> Artifact:
    import onnx

    artifact = recorded(floats.artifact, (*made.before, made.done), made.ranges.digest)
    model = made.model
    model.producer_name, model.producer_version = "segship", __version__
    kept = {item.key: item.value for item in model.metadata_props}
    kept |= {CONTRACT_KEY: artifact.contract.to_json(), LINEAGE_KEY: artifact.lineage.to_json()}
    onnx.helper.set_model_props(model, kept)
    onnx.checker.check_model(model, full_check=True)
    with atomic_path(target) as temporary:
        onnx.save(model, str(temporary))
    return Artifact(target, "onnx", artifact.contract, artifact.lineage, sha256_file(target))


def _refuse_itself(source: str | Path, target: Path) -> None:
    if Path(source).exists() and target.exists() and Path(source).samefile(target):
        raise InputError(f"Expected another file to write than the source, but got {target} twice.")


def _advice(precision: str, profile: Profile) -> tuple[str, ...]:
    """Say where the precision is not worth having on the target."""
    kind = "int8" if precision == "int8-all" else precision
    if kind in profile.pays or kind == "mixed":
        return ()
    best = profile.pays[0].upper()
    return (
        f"{kind.upper()} is not faster than {best} on {profile.title} as far as measured: "
        "`segship benchmark` tells on this machine.",
    )
