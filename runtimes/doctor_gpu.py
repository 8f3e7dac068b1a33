"""What this machine has for NVIDIA GPUs, and how to get the rest. Imports no runtime."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from ..common.errors import SegshipError
from .catalog import installed_version, runtime_named
from .finding import Finding, State
from .gpu_facts import Gpu, read_gpu

_ONLY_THERE = "Only a machine with an NVIDIA GPU can use it"
_PROVIDERS = {"CUDA": "onnxruntime-cuda", "TensorRT": "onnxruntime-tensorrt"}
_JETSON = Path("/etc/nv_tegra_release")


def gpu_findings() -> list[Finding]:
    """Return the GPU, the CUDA libraries, and the runtimes that would use them."""
    gpu, why = read_gpu()
    return [
        _gpu(gpu, why),
        _cuda_runtime(),
        _nvrtc(),
        *_tensorrt(gpu),
        _torch(gpu),
        _torch_tensorrt(),
        _onnxruntime_providers(),
    ]


def _gpu(gpu: Gpu | None, why: str) -> Finding:
    if gpu is not None:
        found = (
            f"{gpu.name}, SM {gpu.sm}, {gpu.memory_mib:.0f} MiB, driver {gpu.driver} "
            f"(CUDA {gpu.driver_cuda})"
        )
        return Finding("NVIDIA GPU", State.OK, found)
    if why:
        return Finding("NVIDIA GPU", State.NOTE, "seen, but CUDA cannot use it", why)
    return Finding("NVIDIA GPU", State.MISSING, "none seen", "Not needed: segship runs on the CPU.")


def _cuda_runtime() -> Finding:
    from .cuda.bindings import installed_bindings

    for binding in installed_bindings():
        return Finding("CUDA runtime", State.OK, binding.name)
    advice = f"{_ONLY_THERE}: pip install nvidia-cuda-runtime-cu12 there."
    return Finding("CUDA runtime", State.MISSING, "no libcudart loads", advice)


def _nvrtc() -> Finding:
    from .cuda.nvrtc import find_nvrtc

    try:
        version = ".".join(map(str, find_nvrtc().version()))
    except SegshipError:
        advice = f"{_ONLY_THERE} (labels made there): pip install nvidia-cuda-nvrtc-cu12."
        return Finding("NVRTC", State.MISSING, "no libnvrtc loads", advice)
    return Finding("NVRTC", State.OK, version)


def _tensorrt(gpu: Gpu | None) -> list[Finding]:
    """Return the version with its generation, then a line per defect known of it."""
    from .tensorrt.versions import generation_of, known_bad

    version = installed_version(runtime_named("tensorrt"))
    if version is None:
        jetson = "JetPack brings it" if _JETSON.exists() else "pip install tensorrt-cu12 there"
        advice = f"{_ONLY_THERE}: {jetson}."
        return [Finding("tensorrt", State.MISSING, "not installed", advice)]
    try:
        generation = generation_of(version).name
        bad = known_bad(version, jetson=_JETSON.exists(), sm=gpu.sm if gpu else "")
    except SegshipError as error:
        return [Finding("tensorrt", State.NOTE, version, str(error))]
    lines = [Finding("tensorrt", State.OK, f"{version} (built for as TensorRT {generation})")]
    return lines + [Finding(f"tensorrt {version}", State.NOTE, line) for line in bad]


def _torch(gpu: Gpu | None) -> Finding:
    """Say whether torch is a CUDA build, as far as its version tells."""
    version = installed_version(runtime_named("torch-cuda"))
    if version is None or "+cpu" in version:
        found = "not installed" if version is None else f"{version} is a build for the CPU"
        advice = f"For torch-cuda: {runtime_named('torch-cuda').install}."
        return Finding("torch on CUDA", State.NOTE if gpu else State.MISSING, found, advice)
    return Finding("torch on CUDA", State.OK, version)


def _torch_tensorrt() -> Finding:
    """Torch-TensorRT is compiled against one torch: 2.N of the one needs 2.N of the other."""
    runtime = runtime_named("torch-tensorrt")
    version, torch = installed_version(runtime), installed_version(runtime_named("torch"))
    if version is None:
        advice = f"{_ONLY_THERE}: {runtime.install} there."
        return Finding(runtime.name, State.MISSING, "not installed", advice)
    if torch is None or version.split(".")[:2] != torch.split(".")[:2]:
        wanted = ".".join(version.split(".")[:2])
        advice = f"It loads only beside torch {wanted}, but torch is {torch or 'not installed'}."
        return Finding(runtime.name, State.PROBLEM, version, advice)
    return Finding(runtime.name, State.OK, version)


def _onnxruntime_providers() -> Finding:
    """Return the GPU providers whose libraries lie in the installed package."""
    topic = "onnxruntime on GPUs"
    twice = [name for name in runtime_named("onnxruntime").packages if _installed(name)]
    if len(twice) > 1:
        advice = "They overwrite each other's files: pip uninstall both, then install one."
        return Finding(topic, State.PROBLEM, " and ".join(twice), advice)
    folder = _package_folder("onnxruntime")
    found = [
        f"{name} ({runtime})"
        for name, runtime in _PROVIDERS.items()
        if folder and any(folder.glob(f"capi/*onnxruntime_providers_{name.lower()}.*"))
    ]
    if found:
        return Finding(topic, State.OK, ", ".join(found))
    advice = f"{_ONLY_THERE}: {runtime_named('onnxruntime-cuda').install} there."
    return Finding(topic, State.MISSING, "no GPU provider", advice)


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False
