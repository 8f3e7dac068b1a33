"""The shapes an engine is built for: smallest, tuned for, largest, per optimization profile."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from ...common.errors import InputError
from ...common.sizes import MIN_SIDE_PX, format_size
from ...runtimes.session import TensorInfo
from ...runtimes.tensorrt.sidecar import ShapeRange
from .request import BuildRequest

if TYPE_CHECKING:
    import onnx

Size = tuple[int, int]
_STRIDE_PX = 32  # of the deepest stage


def shape_ranges(image: TensorInfo, request: BuildRequest, size_px: Size) -> tuple[ShapeRange, ...]:
    """Return the optimization profiles of an image input (B,3,H,W).

    Args:
        image: the graph's input; strings in its shape are free.
        request: the batches and sizes asked for.
        size_px: the contract's size, where H and W are free and nobody named one.

    Raises:
        InputError: a size or batch the graph is not free to take, or steps that do not rise.
    """
    batch = _steps(_batches(image, request), "batches")
    sizes = request.sizes_px or (_fixed_size(image) or size_px,)
    for size in sizes:
        _refuse_size(image, size)
    groups = [(size,) for size in sizes] if request.per_size else [sizes]
    found = []
    for group in groups:
        heights = _steps(tuple(size[0] for size in group), "heights")
        widths = _steps(tuple(size[1] for size in group), "widths")
        shapes = [(b, 3, h, w) for b, h, w in zip(batch, heights, widths, strict=True)]
        found.append(ShapeRange(*shapes))
    return tuple(found)


def is_static(image: TensorInfo) -> bool:
    """Say whether the graph leaves nothing open: then no optimization profile is needed."""
    return all(isinstance(side, int) for side in image.shape)


def refuse_misfits(
    model: onnx.ModelProto, image: TensorInfo, ranges: tuple[ShapeRange, ...]
) -> None:
    """Refuse sizes at which the graph's shapes contradict each other.

    ONNX shape inference runs once per corner of the ranges. It sees sums and concatenations whose
    sides differ (a foreign network that wants multiples of 32); it does not run anything.

    Raises:
        InputError: the size, what ONNX says, and the nearest multiple of 32 that fits.
    """
    if is_static(image):
        return
    corners = {shape for item in ranges for shape in (item.minimum, item.optimum, item.maximum)}
    for shape in sorted(corners):
        reason = _contradiction(model, image.name, shape)
        if reason:
            near = (*shape[:2], *(-(-side // _STRIDE_PX) * _STRIDE_PX for side in shape[2:]))
            fits = near != shape and not _contradiction(model, image.name, near)
            hint = f"{near[2]}x{near[3]} fits" if fits else "choose another size"
            raise InputError(
                f"Expected a size the graph takes, but at {shape[2]}x{shape[3]} its shapes "
                f"contradict each other ({reason}): {hint}."
            )


def _batches(image: TensorInfo, request: BuildRequest) -> tuple[int, ...]:
    fixed = image.shape[0]
    if isinstance(fixed, str):
        return request.batches or (1,)
    if request.batches and set(request.batches) != {fixed}:
        raise InputError(
            f"Expected the batch of the graph ({fixed}, fixed), but got "
            f"{','.join(map(str, request.batches))}: export with --dynamic or --batch."
        )
    return (fixed,)


def _fixed_size(image: TensorInfo) -> Size | None:
    height, width = image.shape[2:]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _refuse_size(image: TensorInfo, size: Size) -> None:
    """Refuse a size that is not the graph's own where that is fixed, or that has no deepest stage.

    A graph may fix one side and leave the other free.
    """
    for own, side in zip(image.shape[2:], size, strict=True):
        if isinstance(own, int) and own != side:
            shown = "x".join("free" if isinstance(s, str) else str(s) for s in image.shape[2:])
            raise InputError(
                f"Expected the size of the graph ({shown}), but got {format_size(size)}: export "
                "with --dynamic or --size."
            )
    if min(size) < MIN_SIDE_PX:
        raise InputError(
            f"Expected a size of at least {MIN_SIDE_PX} pixels a side, but got {format_size(size)}."
        )


def _steps(values: tuple[int, ...], what: str) -> tuple[int, int, int]:
    """Return (smallest, tuned for, largest) of one, two or three rising values."""
    if any(low > high for low, high in pairwise(values)):
        raise InputError(
            f"Expected rising {what} (smallest, tuned for, largest), but got "
            f"{', '.join(map(str, values))}: sort them, or give each size a profile with "
            "--per-size."
        )
    if len(values) == 3:
        return values[0], values[1], values[2]
    return values[0], values[-1], values[-1]


def _contradiction(model: onnx.ModelProto, name: str, shape: tuple[int, ...]) -> str:
    """Return why shape inference fails with the image of `shape`, "" where it does not."""
    import onnx

    tried = onnx.ModelProto()
    tried.CopyFrom(model)
    del tried.graph.value_info[:]  # of another size
    for item in tried.graph.output:
        item.type.tensor_type.ClearField("shape")
    for item in tried.graph.input:
        if item.name == name:
            for dim, side in zip(item.type.tensor_type.shape.dim, shape, strict=True):
                dim.dim_value = side
    try:
        onnx.shape_inference.infer_shapes(tried, check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        lines = [line for line in str(error).splitlines() if "ShapeInference" in line]
        return (lines or str(error).splitlines())[-1].strip()
    return ""
