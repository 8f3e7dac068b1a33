"""Where a build happens: the installed TensorRT and the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...runtimes.cuda.library import DeviceInfo
    from ...runtimes.tensorrt.versions import Generation


@dataclass(frozen=True)
class Machine:
    """The tensorrt module, its version and what that generation calls things, and the GPU."""

    trt: Any
    version: str
    generation: Generation
    device: DeviceInfo


def find_machine(trt: Any = None, device: DeviceInfo | None = None) -> Machine:
    """Return the installed TensorRT and the first GPU, or those given.

    Raises:
        MissingDependencyError: TensorRT or CUDA is not installed.
        InputError: the version is too old or unknown, or there is no GPU.
    """
    from ...runtimes.tensorrt.module import load_tensorrt
    from ...runtimes.tensorrt.versions import generation_of

    module = load_tensorrt() if trt is None else trt
    version = str(module.__version__)
    if device is None:
        from ...runtimes.cuda.library import cuda

        device = cuda().device_info()
    return Machine(module, version, generation_of(version), device)
