"""What do labels cost after the logits: on the device, in torch on the device, or on the CPU?

    python benchmarks/gpu_labels.py --size 1024x1024 --classes 19

Four ways from logits at a quarter of the size, on the GPU, to a label map in host memory, timed in
turn (A B C D A B …), wall time from the call to the labels:

    gpu           our kernels, labels copied
    torch         torch's interpolate and argmax on the device, labels copied as uint8
    cpu sparse    logits copied to pinned memory, then the exact sparse form
    copy only     logits copied to pinned memory: what "gpu" and "torch" save on the bus

The logits are smooth noise, so that the share of pixels near a boundary (printed) is like that of a
photo rather than all of them. "gpu" must equal "cpu sparse" in every pixel, else this fails; how
many pixels torch's fused rounding decides otherwise is printed. Needs an NVIDIA GPU, torch with
CUDA and libnvrtc; not run where segship was written, which has no GPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import torch
from torch.nn import functional

from segship.common.cli_options import SIZE
from segship.common.errors import SegshipError
from segship.runtimes.cuda.labels import DeviceLogits, GpuLabels
from segship.runtimes.torch_gpu import TorchGpu
from segship.runtimes.upsample_argmax import upsample_argmax

Way = Callable[[], Any]
COARSE = 32  # logits to a position of the noise they are made of


@click.command()
@click.option("--size", "size_px", type=SIZE, default="1024x1024", show_default=True)
@click.option("--classes", type=click.IntRange(2, 256), default=19, show_default=True)
@click.option("--half", is_flag=True, help="FP16 logits.")
@click.option("--rounds", default=200, show_default=True)
def main(size_px: tuple[int, int], classes: int, half: bool, rounds: int) -> None:
    """Time the four ways and print the medians."""
    try:
        gpu = TorchGpu()
        logits = smooth_logits(classes, size_px, half).to(gpu.device)
        labeller = gpu.labeller()
    except SegshipError as error:
        raise click.ClickException(str(error)) from error
    ways = ways_to_labels(logits, size_px, gpu, labeller)
    compare(ways, logits)
    times = interleaved(ways, rounds)
    where = torch.cuda.get_device_name(gpu.device)
    click.echo(f"{where}: {tuple(logits.shape)} {logits.dtype} to {size_px}, ms (10 % … 90 %)")
    for name, values in times.items():
        low, _, high = np.percentile(values, (10, 50, 90))
        click.echo(f"  {name:<11} {statistics.median(values):8.3f}  ({low:.3f} … {high:.3f})")
    labeller.close()


def smooth_logits(classes: int, size_px: tuple[int, int], half: bool) -> torch.Tensor:
    """Return logits (1,K,h,w) at a quarter of the size whose regions are about COARSE wide."""
    height, width = (max(side // 4, 1) for side in size_px)
    generator = torch.Generator().manual_seed(0)
    shape = (1, classes, height // COARSE + 2, width // COARSE + 2)
    noise = torch.randn(shape, generator=generator)
    found = functional.interpolate(noise, (height, width), mode="bicubic")
    return found.half() if half else found


def ways_to_labels(
    logits: torch.Tensor, size_px: tuple[int, int], gpu: TorchGpu, labeller: GpuLabels
) -> dict[str, Way]:
    """Return the four ways by name; each returns when its result is in host memory."""
    dtype, shape = str(logits.dtype).removeprefix("torch."), tuple(logits.shape)
    pinned = gpu.pinned(shape, logits.dtype)
    labels = gpu.pinned((1, *size_px), torch.uint8)

    def by_kernels() -> Any:
        on_device = DeviceLogits(logits.data_ptr(), dtype, shape, gpu.stream(), labeller)
        return on_device.labels(size_px)

    def by_torch() -> Any:
        full = functional.interpolate(logits.float(), size_px, mode="bilinear")
        labels.copy_(full.argmax(dim=1).to(torch.uint8), non_blocking=True)
        torch.cuda.synchronize()
        return labels.numpy()

    def copied() -> Any:
        pinned.copy_(logits, non_blocking=True)
        torch.cuda.synchronize()
        return pinned.numpy()

    def on_the_cpu() -> Any:
        return upsample_argmax(copied(), size_px)

    return {"gpu": by_kernels, "torch": by_torch, "cpu sparse": on_the_cpu, "copy only": copied}


def compare(ways: dict[str, Way], logits: torch.Tensor) -> None:
    """Refuse kernels that differ from the CPU; say how torch differs and how much is near."""
    wanted = ways["cpu sparse"]()
    if not np.array_equal(ways["gpu"](), wanted):
        raise click.ClickException("Expected the CPU form's labels, but the kernels differ.")
    other = int((ways["torch"]() != wanted).sum())
    leader = logits.argmax(dim=1)[0]
    same = (leader[:-1, :-1] == leader[1:, 1:]) & (leader[:-1, 1:] == leader[1:, :-1])
    same &= leader[:-1, :-1] == leader[:-1, 1:]
    near = 100 * (1 - same.float().mean().item())
    click.echo(f"kernels = CPU in all {wanted.size} pixels; torch differs in {other}")
    click.echo(f"{near:.1f} % of the cells lie on a boundary")


def interleaved(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Return milliseconds per way, taken in turn; a tenth of the rounds warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + rounds // 10):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if index >= rounds // 10:
                times[name].append(1e3 * (time.perf_counter() - started))
    return times


if __name__ == "__main__":
    main()
