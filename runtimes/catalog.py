"""Every runtime by name: what it runs, what it computes in, what brings it. Imports none."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

from ..common.errors import InputError

FLOATS = ("fp32", "fp16", "bf16")
PRECISIONS = (*FLOATS, "int8", "mixed")


@dataclass(frozen=True)
class Runtime:
    """One runtime segship can drive.

    `kind` is the kind of artifact it runs, a key of `_WORDS`. `precisions` are what
    it can compute in, () where the file decides. `packages` are the distributions that bring it,
    one of which is enough; `module` is what a process imports before it can open anything.
    """

    name: str
    kind: str
    precisions: tuple[str, ...]
    packages: tuple[str, ...]
    module: str
    install: str
    gpu: bool = False


_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")
_TENSORRT = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-cu11")
_TORCH = "pip install torch"
_TORCH_CUDA = "install torch's CUDA build, https://pytorch.org/get-started"
_ONNXRUNTIME_GPU = "pip uninstall onnxruntime, then pip install onnxruntime-gpu"
CATALOG = (
    Runtime("torch", "checkpoint", ("fp32",), ("torch",), "torch", _TORCH),
    # CUDA where torch sees a GPU, then called torch-cuda-compile; else the CPU
    Runtime("torch-compile", "checkpoint", FLOATS, ("torch",), "torch", _TORCH),
    Runtime("torch-cuda", "checkpoint", FLOATS, ("torch",), "torch", _TORCH_CUDA, gpu=True),
    Runtime("torch-cuda-compile", "checkpoint", FLOATS, ("torch",), "torch", _TORCH_CUDA, gpu=True),
    Runtime("torch-cuda-graph", "checkpoint", FLOATS, ("torch",), "torch", _TORCH_CUDA, gpu=True),
    Runtime(
        "torch-tensorrt",
        "checkpoint",
        ("fp32", "fp16", "int8"),
        ("torch-tensorrt",),
        "torch_tensorrt",
        "pip install torch-tensorrt",
        gpu=True,
    ),
    Runtime(
        "onnxruntime", "onnx", ("fp32",), _ONNXRUNTIME, "onnxruntime", "pip install onnxruntime"
    ),
    Runtime(
        "onnxruntime-cuda",
        "onnx",
        ("fp32",),
        _ONNXRUNTIME,
        "onnxruntime",
        _ONNXRUNTIME_GPU,
        gpu=True,
    ),
    Runtime(
        "onnxruntime-tensorrt",
        "onnx",
        ("fp32", "fp16"),
        _ONNXRUNTIME,
        "onnxruntime",
        _ONNXRUNTIME_GPU,
        gpu=True,
    ),
    Runtime(
        "openvino",
        "onnx",
        ("fp32", "bf16"),
        ("openvino",),
        "openvino",
        "pip install 'segship[openvino]'",
    ),
    # executes code of the file: never chosen for anybody
    Runtime("torchscript", "torchscript", ("fp32",), ("torch",), "torch", _TORCH),
    Runtime("tensorrt", "engine", (), _TENSORRT, "tensorrt", "pip install tensorrt", gpu=True),
)
RUNTIMES = tuple(item.name for item in CATALOG)
_WORDS = {
    "checkpoint": "a checkpoint",
    "onnx": "an ONNX file",
    "engine": "a TensorRT engine",
    "torchscript": "a TorchScript archive",
}
_BY_NAME = {item.name: item for item in CATALOG}


def runtime_named(name: str) -> Runtime:
    """Return the runtime called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in _BY_NAME:
        raise InputError(f"Expected a runtime of auto, {', '.join(RUNTIMES)}, but got {name!r}.")
    return _BY_NAME[name]


def installed_version(runtime: Runtime) -> str | None:
    """Return the version of the first installed package that brings `runtime`, else None."""
    for name in runtime.packages:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def refuse_other_kind(runtime: Runtime, kind: str, place: str) -> None:
    """Refuse an artifact of `kind` at `place` that `runtime` does not run, and say what would.

    Raises:
        InputError: it is of another kind.
    """
    if kind == runtime.kind:
        return
    others = ", ".join(item.name for item in CATALOG if item.kind == kind)
    if runtime.kind == "checkpoint":
        what = "ONNX" if kind == "onnx" else _WORDS[kind]
        raise InputError(
            f"Expected a checkpoint for runtime {runtime.name}, but {place} is {what}: use "
            f"one of {others}, or the checkpoint it was made from."
        )
    found = "ONNX" if kind == "onnx" else _WORDS[kind]
    raise InputError(
        f"Expected {_WORDS[runtime.kind]} for runtime {runtime.name}, but {place} is {found}: "
        f"{_way(kind, runtime.kind, place, others)}."
    )


def refuse_other_precision(runtime: Runtime, precision: str) -> None:
    """Refuse a precision `runtime` does not compute in, and name the runtimes that do.

    Raises:
        InputError: it does not.
    """
    if precision not in PRECISIONS:
        raise InputError(
            f"Expected a precision of auto, {', '.join(PRECISIONS)}, but got {precision!r}."
        )
    if runtime.precisions and precision not in runtime.precisions:
        able = [i.name for i in CATALOG if precision in i.precisions and i.kind == runtime.kind]
        advice = f"{', '.join(able)} can" if able else "no runtime for this kind of file can"
        raise InputError(
            f"Expected {' or '.join(runtime.precisions)} on runtime {runtime.name}, but got "
            f"{precision}: {advice}."
        )


def _way(kind: str, wanted: str, place: str, others: str) -> str:
    """Say how an artifact of `kind` becomes one of kind `wanted`."""
    if "torchscript" in (kind, wanted):
        return f"use {others}"
    if kind == "checkpoint":
        further = ", then segship build model.onnx -o model.engine" if wanted == "engine" else ""
        return f"run segship export {place} -o model.onnx first{further}"
    if wanted == "engine":
        return f"run segship build {place} -o model.engine first"
    return f"use {others}, or the ONNX file it was built from"
