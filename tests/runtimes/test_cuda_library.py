"""Memory, streams, events, graphs and errors of the CUDA layer, over a fake libcudart."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from segship.common.errors import CheckFailedError, InputError, MissingDependencyError
from segship.runtimes.cuda.bindings import CtypesBinding
from segship.runtimes.cuda.buffers import DeviceBuffer, PinnedArray
from segship.runtimes.cuda.library import MIB, TO_DEVICE, TO_HOST, Cuda, first_with_device
from segship.tests.runtimes.fake_cuda import FakeMachine


@pytest.fixture
def fake() -> Iterator[FakeMachine]:
    """A fake GPU; whoever leaves something alive on it fails."""
    machine = FakeMachine()
    yield machine
    gc.collect()
    assert machine.live() == 0


def test_says_what_the_device_is(fake: FakeMachine) -> None:
    info = fake.cuda().device_info()
    assert (info.name, info.sm, info.pci_bus_id) == ("NVIDIA Fake", "8.7", "0000:65:00.0")
    assert (info.driver, info.runtime) == ("12.8", "12.9")
    assert (info.total_mib, info.integrated) == (1024.0, False)
    nameless = Cuda(CtypesBinding(fake.path), driver="libcuda-none.so").device_info()
    assert (nameless.name, nameless.pci_bus_id) == ("NVIDIA GPU (SM 8.7)", "")


def test_addresses_keep_their_upper_half(fake: FakeMachine) -> None:
    """An undeclared argument would be cut to 32 bits; heap addresses here need more."""
    cuda = fake.cuda()
    buffer = DeviceBuffer(cuda)
    buffer.reserve(1 << 20)
    assert buffer.address > 2**32 and fake.is_device(buffer.address, 1 << 20)
    buffer.free()


def test_a_round_trip_waits_for_the_stream(fake: FakeMachine) -> None:
    cuda = fake.cuda()
    stream, start, end = cuda.stream(), cuda.event(), cuda.event()
    sent, got, device = PinnedArray(cuda), PinnedArray(cuda), DeviceBuffer(cuda)
    source = sent.view((3, 5), "float32")
    source[:] = np.arange(15).reshape(3, 5)
    target = got.view((3, 5), "float32")
    target[:] = -1
    device.reserve(60)
    cuda.record(start, stream)
    cuda.copy_async(device.address, sent.address, 60, TO_DEVICE, stream)
    cuda.copy_async(got.address, device.address, 60, TO_HOST, stream)
    cuda.record(end, stream)
    assert (target == -1).all()
    with pytest.raises(CheckFailedError, match="cudaEventElapsedTime"):
        cuda.elapsed_ms(start, end)
    cuda.synchronize(stream)
    np.testing.assert_array_equal(target, source)
    assert 0 <= cuda.elapsed_ms(start, end) < 1000
    _free(cuda, stream, (start, end), (sent, got, device))


def _free(cuda: Cuda, stream: int, events: tuple[int, ...], buffers: tuple[Any, ...]) -> None:
    cuda.destroy_stream(stream)
    for event in events:
        cuda.destroy_event(event)
    for buffer in buffers:
        buffer.free()


def test_a_graph_runs_again_what_was_recorded(fake: FakeMachine) -> None:
    cuda, seen = fake.cuda(), list[int]()
    stream = cuda.stream()
    cuda.begin_capture(stream)
    fake.enqueue(stream, lambda: seen.append(1))
    graph = cuda.end_capture(stream)
    cuda.synchronize(stream)
    assert seen == []
    for runs in (1, 2):
        cuda.launch(graph, stream)
        cuda.synchronize(stream)
        assert len(seen) == runs
    cuda.destroy_graph(graph)
    cuda.destroy_stream(stream)


def test_a_failed_capture_leaves_nothing(fake: FakeMachine) -> None:
    cuda = fake.cuda()
    stream = cuda.stream()
    cuda.begin_capture(stream)
    fake.fail("cudaGraphInstantiateWithFlags", code=999)
    with pytest.raises(CheckFailedError, match="cudaGraphInstantiateWithFlags"):
        cuda.end_capture(stream)
    cuda.begin_capture(stream)
    with pytest.raises(CheckFailedError, match="error 900"):
        cuda.synchronize(stream)
    cuda.abort_capture(stream)
    assert fake.library.fake_last_error() == 0
    cuda.synchronize(stream)
    cuda.destroy_stream(stream)


def test_out_of_memory_says_how_much_was_asked_and_is_free(fake: FakeMachine) -> None:
    cuda = fake.cuda()
    buffer = DeviceBuffer(cuda)
    buffer.reserve(24 * MIB)
    with pytest.raises(InputError, match=r"2048\.0 MiB of GPU .* \(1024\.0 of the GPU's 1024\.0"):
        buffer.reserve(2048 * MIB)
    assert (buffer.address, buffer.size_bytes) == (0, 0)
    fake.fail("cudaHostAlloc")
    with pytest.raises(InputError, match="pinned host"):
        PinnedArray(cuda).view((4,), "float32")
    fake.fail("cudaMalloc", code=700)
    with pytest.raises(CheckFailedError, match="error 700, an illegal memory access"):
        buffer.reserve(1)
    assert fake.library.fake_last_error() == 0


def test_buffers_grow_only_when_they_must(fake: FakeMachine) -> None:
    cuda = fake.cuda()
    device, pinned = DeviceBuffer(cuda), PinnedArray(cuda)
    assert [device.reserve(size) for size in (10, 5, 10, 11)] == [True, False, False, True]
    places = []
    for shape in ((4, 4), (2, 2), (4, 4), (5, 5)):
        view = pinned.view(shape, "float16")
        assert (view.shape, view.dtype.name, view.flags.writeable) == (shape, "float16", True)
        places.append(pinned.address)
    assert places[0] == places[1] == places[2]
    assert pinned.size_bytes == 50
    for buffer in (device, pinned, device, pinned):
        buffer.free()


def test_an_array_outlives_its_buffer(fake: FakeMachine) -> None:
    """Freed memory is overwritten by the fake; a kept output must stay readable."""
    pinned = PinnedArray(fake.cuda())
    kept = pinned.view((4,), "float32")[1:]
    kept[:] = 7
    pinned.free()
    assert fake.live() == 1 and (kept == 7).all()
    del kept
    gc.collect()
    assert fake.live() == 0


@pytest.mark.parametrize(
    ("devices", "driver", "words"),
    [
        (1, 0, "no NVIDIA driver"),
        (1, 11040, r"driver for CUDA 12\.9, but this one serves CUDA 11\.4"),
        (0, 12080, "no CUDA-capable device is detected: check nvidia-smi"),
    ],
)
def test_no_gpu_is_one_line(fake: FakeMachine, devices: int, driver: int, words: str) -> None:
    fake.machine(devices, driver)
    with pytest.raises(InputError, match=words):
        fake.cuda()


def test_the_first_runtime_that_sees_a_gpu_serves(fake: FakeMachine) -> None:
    class Blind(CtypesBinding):
        def call(self, function: str, *inputs: int) -> tuple[int, tuple[Any, ...]]:
            if function == "cudaGetDeviceCount":
                return 35, (0,)
            return super().call(function, *inputs)

    blind, seeing = Blind(fake.path), CtypesBinding(fake.path)
    assert first_with_device([blind, seeing], fake.path)._binding is seeing
    with pytest.raises(InputError, match="driver"):
        first_with_device([blind])
    with pytest.raises(MissingDependencyError, match="libcudart"):
        first_with_device([])
