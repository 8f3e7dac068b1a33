"""The float graph a quantization starts from, and the images it is calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ...calibration.calibration_set import CalibrationSet, open_calibration
from ...common.errors import InputError
from ...data.contract import Contract, InputKind
from ...runtimes.artifact import Artifact, PassNote
from ...runtimes.onnx_file import read_onnx_file
from ...runtimes.open import load_artifact
from ..passes import Pass
from .float_type import half_around
from .fp16 import refuse_half
from .plan import refuse_quantized
from .prescale import scaling_passes
from .profile import Profile
from .request import QuantizeRequest

if TYPE_CHECKING:
    import onnx

    from ...models.checkpoints.checkpoint import Checkpoint
    from ...models.checkpoints.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True)
class FloatGraph:
    """A float ONNX file with its images; `batch` is that of the graph, 1 where it is free."""

    artifact: Artifact
    model: onnx.ModelProto
    calibration: CalibrationSet
    batch: int
    notes: tuple[str, ...] = ()

    def pixels(self) -> Iterator[NDArray[Any]]:
        """Yield the calibration images as the graph takes them."""
        for item in self.calibration.pixels():
            yield item if self.batch == 1 else item.repeat(self.batch, axis=0)


def float_graph(
    source: str | Path,
    request: QuantizeRequest,
    profile: Profile,
    folder: Path,
    settings: Settings | None,
    say: Say,
) -> FloatGraph:
    """Return the graph of an ONNX file, or of a checkpoint, scaled and exported into `folder`.

    Raises:
        InputError: the source is neither or quantized, the data do not fit, or the graph has an
            opset the profile's target does not read.
    """
    if Path(source).suffix.lower() == ".onnx":
        return _of_onnx(Path(source), request, profile, folder, settings)
    from ...models.checkpoints import load_checkpoint

    opset = profile.opset if request.opset is None else request.opset
    _refuse_opset(opset, profile)
    half = half_around(request, profile, opset)
    checkpoint = load_checkpoint(source, settings=settings)
    contract = replace(checkpoint.contract, input=InputKind.FLOAT32)
    if request.size_px is not None:
        contract = contract.with_size(*request.size_px)
    calibration = _images(request, contract)
    say(f"calibration  {len(calibration)} images of {request.data}")
    scaling: tuple[Pass, ...] = ()
    if request.scaling:
        say("scaling      channel maxima and the scale of every site")
        scaling = scaling_passes(checkpoint, calibration, request.precision, half=half)
    artifact, notes = _export(checkpoint, replace(request, opset=opset), folder, scaling)
    return _loaded(artifact, replace(calibration, contract=artifact.contract), notes, folder)


def _of_onnx(
    path: Path,
    request: QuantizeRequest,
    profile: Profile,
    folder: Path,
    settings: Settings | None,
) -> FloatGraph:
    artifact = load_artifact(path, settings=settings)
    found = _loaded(artifact, _images(request, artifact.contract), (), folder)
    _refuse_opset(found.model.opset_import[0].version, profile)
    note = "an ONNX file is quantized as it is: exact scaling needs the checkpoint"
    return replace(found, notes=(note,)) if request.scaling else found


def _images(request: QuantizeRequest, contract: Contract) -> CalibrationSet:
    return open_calibration(
        request.data,
        contract,
        images=request.images,
        seed=request.seed,
        strategy=request.strategy,
        evaluation=request.evaluation,
        allow_overlap=request.allow_overlap,
    )


def _export(
    checkpoint: Checkpoint, request: QuantizeRequest, folder: Path, scaling: tuple[Pass, ...]
) -> tuple[Artifact, tuple[str, ...]]:
    from ..export import DEFAULT_OPSET, export

    report = export(
        checkpoint,
        folder / "float.onnx",
        size_px=request.size_px,
        dynamic=request.dynamic,
        output_kind=request.output_kind,
        input_kind=request.input_kind,
        opset=DEFAULT_OPSET if request.opset is None else request.opset,
        scaling=scaling,
    )
    return report.artifact, report.notes


def _loaded(
    artifact: Artifact, calibration: CalibrationSet, notes: tuple[str, ...], folder: Path
) -> FloatGraph:
    import onnx

    model = onnx.load(str(artifact.path))
    refuse_quantized(model)
    refuse_half(model)
    if _name_nodes(model):  # the calibration must read the names the plan speaks of
        path = folder / "named.onnx"
        onnx.save(model, str(path))
        artifact = replace(artifact, path=path)
    batch = read_onnx_file(artifact.path).inputs[0].shape[0]
    return FloatGraph(artifact, model, calibration, batch if isinstance(batch, int) else 1, notes)


def _name_nodes(model: onnx.ModelProto) -> bool:
    """Give every node a name of its own; say whether one was missing or taken."""
    seen: set[str] = set()
    changed = False
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
            changed = True
        seen.add(node.name)
    return changed


def _refuse_opset(opset: int, profile: Profile) -> None:
    if opset > profile.max_opset:
        raise InputError(
            f"Expected an opset of at most {profile.max_opset} for {profile.title}, but got "
            f"{opset}: export with --opset {profile.opset}."
        )


def recorded(artifact: Artifact, notes: tuple[PassNote, ...], calibration_sha256: str) -> Artifact:
    """Return `artifact` with more passes and the calibration in its lineage."""
    lineage = replace(
        artifact.lineage,
        passes=(*artifact.lineage.passes, *notes),
        calibration_sha256=calibration_sha256,
    )
    return replace(artifact, lineage=lineage)
