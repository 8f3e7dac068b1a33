"""What ONNX Runtime's CUDA and TensorRT providers are told, and the shapes TensorRT is built for.

Option names: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html and
TensorRT-ExecutionProvider.html there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from ..common.errors import InputError
from ..data.contract import Contract
from .artifact import Artifact
from .cache import cache_folder
from .catalog import installed_version, runtime_named
from .session import TensorInfo

Options = dict[str, str]
_LEAST_SIDE_PX = 64
_BATCHES = 4
_CUDA = {
    "device_id": "0",
    "cudnn_conv_algo_search": "EXHAUSTIVE",  # tried once per shape
    "do_copy_in_default_stream": "1",  # copies wait for the arithmetic, and the other way round
    "use_tf32": "0",  # FP32 stays FP32
}


@dataclass(frozen=True)
class Shapes:
    """Smallest, usual and largest input (B,3,H,W) a TensorRT engine inside is built for."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]

    def refuse_outside(self, shape: tuple[int, ...]) -> None:
        """Refuse a shape the engine was not built for, where TensorRT would build it anew.

        Raises:
            InputError: it lies outside.
        """
        rows = zip(self.least, shape, self.most, strict=True)
        if not all(low <= side <= high for low, side, high in rows):
            raise InputError(
                f"Expected an input between {self.least} and {self.most} on runtime "
                f"onnxruntime-tensorrt, but got {shape}: export at that size."
            )


def shape_range(taken: TensorInfo, contract: Contract) -> Shapes:
    """Return the shapes for `taken`: its fixed sides, and a range around the contract's size.

    >>> shape_range(TensorInfo("x", "float32", (1, 3, 64, 96)), Contract(size_px=(64, 96))).most
    (1, 3, 64, 96)
    """
    height, width = contract.size_px
    usual = (1, 3, height, width)
    least = (1, 3, min(_LEAST_SIDE_PX, height), min(_LEAST_SIDE_PX, width))
    most = (_BATCHES, 3, 2 * height, 2 * width)
    ranges = (
        tuple(
            side if isinstance(side, int) else free
            for side, free in zip(taken.shape, wanted, strict=True)
        )
        for wanted in (least, usual, most)
    )
    return Shapes(*ranges)


def provider_options(
    providers: Sequence[str],
    artifact: Artifact,
    precision: str,
    taken: TensorInfo,
    shapes: Shapes | None,
) -> list[Options]:
    """Return one dictionary of options per provider.

    Args:
        providers: names as ONNX Runtime spells them.
        artifact: what will be opened; its hash keys TensorRT's cache.
        precision: "fp32" or, for TensorRT, "fp16".
        taken: the input.
        shapes: where dimensions stay free; None where all are fixed.

    Raises:
        InputError: this TensorRT has no FP16 to switch on.
    """
    known = {
        "CUDAExecutionProvider": lambda: dict(_CUDA),
        "TensorrtExecutionProvider": lambda: _tensorrt(artifact, precision, taken, shapes),
    }
    return [known[name]() if name in known else {} for name in providers]


def _tensorrt(
    artifact: Artifact, precision: str, taken: TensorInfo, shapes: Shapes | None
) -> Options:
    half = precision == "fp16"
    if half:
        _refuse_no_fp16_flag()
    folder = str(cache_folder("onnxruntime-tensorrt", *_cache_key(artifact, precision, shapes)))
    options = {
        "device_id": "0",
        "trt_fp16_enable": str(int(half)),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }
    if shapes is not None:
        for name, shape in (("min", shapes.least), ("opt", shapes.usual), ("max", shapes.most)):
            sides = "x".join(map(str, shape))
            options[f"trt_profile_{name}_shapes"] = f"{taken.name}:{sides}"
    return options


def _cache_key(artifact: Artifact, precision: str, shapes: Shapes | None) -> tuple[str, ...]:
    """Everything an engine depends on that segship knows; ONNX Runtime checks the GPU itself."""
    versions = [f"tensorrt {_tensorrt_version()}"]
    for name in runtime_named("onnxruntime").packages:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return (artifact.sha256, precision, repr(shapes), *versions)


def _tensorrt_version() -> str | None:
    return installed_version(runtime_named("tensorrt"))


def _refuse_no_fp16_flag() -> None:
    """TensorRT 11 dropped the flag behind trt_fp16_enable: types come from the graph alone."""
    from .tensorrt.versions import generation_of

    version = _tensorrt_version()
    if version is not None and not generation_of(version).precision_flags:
        raise InputError(
            f"Expected a TensorRT that rounds to FP16 by itself, but {version} takes types from "
            "the graph alone: run segship quantize with --precision fp16 and leave fp32 here."
        )
