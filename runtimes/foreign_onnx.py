"""A contract for an ONNX file that somebody else exported.

Shapes say a good part: input size and dtype, number of classes, logits or labels. What they do
not say is assumed and stated; `FILE.onnx.segship.yaml` corrects it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..common.errors import InputError
from ..data.contract import Contract, InputKind, OutputKind, ResizeRule
from .onnx_file import OnnxFile
from .session import TensorInfo

_DEFAULT_SIDE_PX = 512


def assumed_contract(path: Path, file: OnnxFile, stated: dict[str, Any]) -> Contract:
    """Return the contract the file's shapes suggest with the `stated` fields in place.

    Raises:
        InputError: the shapes do not say how many classes there are, and nobody stated it.
    """
    image, heads = file.inputs[0], _heads(path, file.outputs, stated)
    main = file.outputs[heads.index("segmentation") if "segmentation" in heads else 0]
    fields: dict[str, Any] = {
        "size_px": _size_px(image),
        "resize": ResizeRule.STRETCH,
        "input": InputKind(image.dtype),
        "output": _output(main, image),
        "heads": heads,
    }
    depth_only = "segmentation" not in heads
    if not depth_only and "classes" not in stated:
        fields["classes"] = _class_names(path, main)
    channels = main.shape[1] if len(main.shape) == 4 else None
    if channels == 1 and fields["output"] is not OutputKind.LABELS and not depth_only:
        fields["threshold"] = 0.5
    return Contract(**{**fields, **stated})


def assumptions(path: Path, contract: Contract, stated: dict[str, Any]) -> tuple[str, ...]:
    """Say in one sentence what nobody stated and accuracy depends on."""
    words = {
        "channel_order": contract.channel_order.value.upper(),
        "scale": f"scale {contract.scale:.6g}",
        "mean": "mean " + " ".join(f"{value:g}" for value in contract.mean),
        "std": "std " + " ".join(f"{value:g}" for value in contract.std),
    }
    if contract.input is InputKind.UINT8:
        words = {"channel_order": words["channel_order"]}
    open_questions = [text for key, text in words.items() if key not in stated]
    if not open_questions:
        return ()
    return (
        f"{path.name} has no contract: {', '.join(open_questions)} assumed; "
        f"state what is right in {path.name}.segship.yaml",
    )


def _heads(path: Path, outputs: tuple[TensorInfo, ...], stated: dict[str, Any]) -> tuple[str, ...]:
    """Name the outputs: one is the segmentation, a second of one channel the depth."""
    if "heads" in stated:
        names: tuple[str, ...] = stated["heads"]
        return names
    if len(outputs) == 1:
        return ("segmentation",)
    single = [len(item.shape) == 4 and item.shape[1] == 1 for item in outputs]
    if len(outputs) == 2 and sum(single) == 1:
        return ("depth", "segmentation") if single[0] else ("segmentation", "depth")
    raise InputError(
        f"Expected to know the {len(outputs)} outputs of {path}, but it has no contract: name "
        f"them in their order, `heads: [segmentation, depth]`, in {path.name}.segship.yaml."
    )


def _size_px(image: TensorInfo) -> tuple[int, int]:
    """Return the fixed input size, or 512 a side where it is free."""
    height, width = (
        side if isinstance(side, int) else _DEFAULT_SIDE_PX for side in image.shape[2:]
    )
    return height, width


def _output(main: TensorInfo, image: TensorInfo) -> OutputKind:
    """Tell labels, logits of the input's size and smaller logits apart."""
    if not main.dtype.startswith("float"):
        return OutputKind.LABELS
    fixed = all(isinstance(side, int) for side in (*main.shape[2:], *image.shape[2:]))
    same = fixed and main.shape[2:] == image.shape[2:]
    return OutputKind.LOGITS_FULL if same else OutputKind.LOGITS


def _class_names(path: Path, main: TensorInfo) -> tuple[str, ...]:
    channels = main.shape[1] if len(main.shape) == 4 else None
    if not main.dtype.startswith("float") or not isinstance(channels, int) or channels < 1:
        raise InputError(
            f"Expected to know the classes of {path}, but its output {main.name} "
            f"{main.dtype}{list(main.shape)} does not say how many: name them, "
            f"`classes: [road, …]`, in {path.name}.segship.yaml."
        )
    return tuple(f"class_{index}" for index in range(channels))
