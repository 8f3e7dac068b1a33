"""The graphs and engines gpu_check.py measures, and the GPU they are for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from segship.benchmark.device_peaks import DevicePeaks, peaks_of_gpu
from segship.benchmark.roofline import floors, part_costs
from segship.models.checkpoints import load_checkpoint
from segship.models.checkpoints.checkpoint import Checkpoint
from segship.optimize.export import export
from segship.optimize.quantize.profile import read_profile
from segship.optimize.quantize.quantize import quantize

GRAPHS = {"plain": False, "rewritten": True}
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True)
class Target:
    """The device: its name, the TensorRT profile of the graphs, the runtime of the files.

    `peaks` is None where nobody wrote the device's peaks down.
    """

    name: str
    profile: str
    runtime: str
    peaks: DevicePeaks | None
    rehearsed: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def rehearsal() -> Target:
        """Return this machine's CPU in the place of a GPU."""
        return Target("rehearsal on a CPU", "tensorrt8", "onnxruntime", None, rehearsed=True)

    @staticmethod
    def of_this_gpu() -> Target:
        """Return the GPU of this machine.

        Raises:
            InputError: no GPU, or a TensorRT segship does not know.
            MissingDependencyError: no CUDA library or no TensorRT.
        """
        from segship.runtimes.cuda.library import cuda
        from segship.runtimes.tensorrt.module import load_tensorrt
        from segship.runtimes.tensorrt.versions import generation_of

        device = cuda().device_info()
        version = load_tensorrt().__version__
        weak = generation_of(version).name.startswith("8")
        facts = {"tensorrt": version, "device": asdict(device)}
        profile = "tensorrt8" if weak else "tensorrt10"
        return Target(device.name, profile, "tensorrt", peaks_of_gpu(device.name), facts=facts)


@dataclass
class Files:
    """The files of one model at one size: graphs by "GRAPH PRECISION", and what runs them."""

    variant: str
    size_px: tuple[int, int]
    checkpoint: Path
    graphs: dict[str, Path] = field(default_factory=dict)
    built: dict[str, Path] = field(default_factory=dict)
    narrowed: bool = False  # a weakly typed builder picks FP16 in graphs typed FP32

    def floors(self, name: str, peaks: DevicePeaks | None) -> list[dict[str, Any]]:
        """Return the roofline of each part of the graph `name`; [] without peaks."""
        import onnx

        if peaks is None:
            return []
        half = 2 if self.narrowed and not name.endswith("fp32") else None
        costs = part_costs(onnx.load(self.graphs[name]), (1, 3, *self.size_px), float_width=half)
        return [asdict(item) | {"floor_us": item.floor_us} for item in floors(costs, peaks)]


def prepare(
    variant: str,
    source: str | None,
    size_px: tuple[int, int] | None,
    images: int,
    target: Target,
    folder: Path,
) -> Files:
    """Export, quantize and build every file that is not in `folder` already.

    Args:
        variant: "B0" … "B5" (random weights without a source), or any name with one.
        source: a checkpoint.
        size_px: (height, width); None is the contract's.
        images: calibration images, of the shipped scenes.
        target: what the files are built for.
        folder: keeps them.
    """
    checkpoint = load_checkpoint(source) if source else random_checkpoint(variant, folder)
    size = size_px or checkpoint.contract.size_px
    stem = f"{variant}-{size[0]}x{size[1]}"
    files = Files(variant, size, checkpoint.path, narrowed=target.profile == "tensorrt8")
    for graph, fold in GRAPHS.items():
        first = folder / f"{stem}-{graph}-fp32.onnx"
        for precision in PRECISIONS:
            name, path = f"{graph} {precision}", folder / f"{stem}-{graph}-{precision}.onnx"
            if not path.exists():
                click.echo(f"preparing {stem} {name}", err=True)
                if precision == "fp32":
                    export(
                        checkpoint,
                        path,
                        size_px=size,
                        fold=fold,
                        opset=read_profile(target.profile).opset,
                    )
                else:
                    _quantize(first, path, precision, images, target)
            files.graphs[name] = path
            files.built[name] = _built(path, name, target)
    return files


def random_checkpoint(variant: str, folder: Path) -> Checkpoint:
    """Write a checkpoint of `variant` with torch's seeded initialisation and 11 classes."""
    import torch

    from segship.data.contract import Contract
    from segship.models.segformer import SegFormer
    from segship.models.spec import variant_spec
    from segship.optimize.export_hf import export_hf

    place = folder / f"random-{variant}"
    if not place.exists():
        torch.manual_seed(0)
        spec = variant_spec(variant, classes=11)
        contract = Contract(classes=tuple(f"class {index}" for index in range(11)))
        made = Checkpoint(SegFormer(spec).eval(), spec, contract, (), place)
        export_hf(made, place)
    return load_checkpoint(place)


def _quantize(source: Path, path: Path, precision: str, images: int, target: Target) -> None:
    quantize(
        source,
        path,
        precision=precision,
        data="scenes:256@train",
        images=images,
        profile=target.profile,
        scaling=False,  # of a graph there is nothing to scale
    )


def _built(path: Path, name: str, target: Target) -> Path:
    """Build the engine beside the graph, unless it is there; the CPU runs the graph itself."""
    if target.rehearsed:
        return path
    from segship.optimize.tensorrt.build import build

    engine = path.with_suffix(".engine")
    if not engine.exists():
        click.echo(f"building {engine.name}", err=True)
        weak = target.profile == "tensorrt8" and not name.endswith("fp32")
        build(path, engine, fp16=weak)
    return engine
