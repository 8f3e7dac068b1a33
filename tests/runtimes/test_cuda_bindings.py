"""How a CUDA runtime is found and called: libcudart and cuda-python, fake ones and real ones."""

from __future__ import annotations

import ctypes
import gc
import glob
import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segship.common.errors import InputError
from segship.runtimes.cuda import bindings
from segship.runtimes.cuda.bindings import (
    FUNCTIONS,
    CtypesBinding,
    CudaPythonBinding,
    library_candidates,
)
from segship.runtimes.cuda.buffers import DeviceBuffer, PinnedArray
from segship.runtimes.cuda.library import MIB, TO_DEVICE, Cuda
from segship.tests.runtimes.fake_cuda import FakeMachine


@pytest.fixture
def fake() -> Iterator[FakeMachine]:
    """A fake GPU; whoever leaves something alive on it fails."""
    machine = FakeMachine()
    yield machine
    gc.collect()
    assert machine.live() == 0


def test_a_library_without_a_function_is_passed_over(
    fake: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["libm.so.6", "none.so", fake.path]
    monkeypatch.setattr(bindings, "library_candidates", lambda: names)
    found = [item.name for item in bindings.installed_bindings() if item.name != "cuda-python"]
    assert found == [fake.path]


def test_wheels_and_toolkits_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = tmp_path / "site" / "nvidia" / "cu13" / "lib" / "libcudart.so.13"
    toolkit = tmp_path / "cuda" / "targets" / "aarch64-linux" / "lib" / "libcudart.so.12"
    for file in (wheel, toolkit):
        file.parent.mkdir(parents=True)
        file.touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    found = library_candidates()
    assert (
        found.index(str(wheel))
        < found.index("libcudart.so.12")
        < found.index(str(toolkit.resolve()))
    )


class _Enum:
    """As cuda-python's enums: `value` is all that is read of an input, `int()` of an output."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __int__(self) -> int:
        return self.value


def _cuda_python(library: ctypes.CDLL) -> Any:
    """A module that answers as `cuda.bindings.runtime` 12.9 does, over the fake libcudart."""
    module = types.SimpleNamespace(
        **dict.fromkeys(
            ("cudaError_t", "cudaMemcpyKind", "cudaStreamCaptureMode", "cudaDeviceAttr"), _Enum
        )
    )
    raw = CtypesBinding(library._name)

    def bind(name: str) -> Any:
        def function(*inputs: Any) -> tuple[Any, ...]:
            for place, _ in FUNCTIONS[name].enums:
                assert isinstance(inputs[place], _Enum)
            code, outputs = raw.call(name, *(int(item) for item in inputs))
            return (_Enum(code), *(None if code else item for item in outputs))

        return function

    for name in FUNCTIONS:
        setattr(module, name, bind(name))
    module.cudaGetErrorString = lambda code: (_Enum(0), raw.error_text(int(code)).encode())
    return module


def test_cuda_python_serves_as_well(fake: FakeMachine) -> None:
    cuda = Cuda(CudaPythonBinding(_cuda_python(fake.library)), driver=fake.path)
    assert cuda.library == "cuda-python"
    assert cuda.device_info() == fake.cuda().device_info()
    stream, event, device = cuda.stream(), cuda.event(), DeviceBuffer(cuda)
    device.reserve(16)
    pinned = PinnedArray(cuda)
    pinned.view((4,), "float32")[:] = 3
    cuda.begin_capture(stream)
    cuda.copy_async(device.address, pinned.address, 16, TO_DEVICE, stream)
    graph = cuda.end_capture(stream)
    cuda.launch(graph, stream)
    cuda.record(event, stream)
    cuda.synchronize(stream)
    assert cuda.elapsed_ms(event, event) == 0.0
    assert (np.frombuffer(ctypes.string_at(device.address, 16), np.float32) == 3).all()
    cuda.destroy_graph(graph)
    with pytest.raises(InputError, match="2048.0 MiB"):
        device.reserve(2048 * MIB)
    cuda.destroy_event(event)
    cuda.destroy_stream(stream)
    device.free()
    pinned.free()


def _real_libraries() -> list[str]:
    return glob.glob(os.environ.get("SEGSHIP_LIBCUDART", "") or "/nowhere") + [
        name for name in library_candidates() if os.path.isabs(name)
    ]


def test_a_real_libcudart_has_every_function_and_says_why_there_is_no_gpu() -> None:
    """SEGSHIP_LIBCUDART=GLOB names libraries of NVIDIA's wheels; without a GPU they answer too."""
    libraries = _real_libraries()
    if not libraries:
        pytest.skip("needs a libcudart: set SEGSHIP_LIBCUDART to a file of NVIDIA's wheel")
    for library in libraries:
        binding = CtypesBinding(library)
        assert binding.error_text(2) == "out of memory"
        if binding.call("cudaGetDeviceCount")[0]:
            with pytest.raises(InputError, match=r"NVIDIA (GPU|driver)"):
                Cuda(binding)


def test_the_real_cuda_python_takes_integers_for_handles() -> None:
    """Without a GPU each call answers with an error code; a refused argument would raise."""
    pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python")
    binding = CudaPythonBinding()
    assert binding.error_text(2) == "out of memory"
    if not binding.call("cudaGetDeviceCount")[0]:
        pytest.skip("a GPU is there: made-up handles would crash it")
    for name, signature in FUNCTIONS.items():
        code, outputs = binding.call(name, *(1 for _ in signature.inputs))
        assert isinstance(code, int) and len(outputs) == len(signature.outputs)
