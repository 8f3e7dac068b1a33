"""What each layer of an engine became: the engine inspector's JSON as rows with our part names.

Three forms exist (all read here from documentation and public dumps, not recorded on a GPU here):
- TensorRT 8.5: tensors have "Format/Datatype" in words ("Row major linear FP16 format"), a layer's
  name joins those it fused with " + ";
- 8.6 and 10.x: the same, later just "Half", and "Metadata" lists the ONNX nodes;
- 11.x: "Format" and "DataType" apart
  (docs.nvidia.com/deeplearning/tensorrt/11.3.0/api/migration/tensorrt-10x-to-11x-IEngineInspector.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ...common.errors import CheckFailedError
from ..quantize.parts import part_of
from .layer_norm import whole

_ONNX_LAYER = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_FOREIGN_NODE = re.compile(r"\{ForeignNode\[(.*?)\.\.\.(.*?)\]\}")
_WRAPPED = re.compile(r"^(?:PWN|fusion)\((.*)\)$")
_TYPES = (  # what a tensor's type is called over the versions
    ("int8", ("INT8",)),
    ("fp8", ("FP8",)),
    ("bf16", ("BF16", "BFLOAT16")),
    ("fp16", ("FP16", "HALF")),
    ("fp32", ("FP32", "FLOAT", "TF32")),
)
_REFORMATS = ("Reformat", "NoOp")


@dataclass(frozen=True)
class LayerRow:
    """One layer of an engine.

    `precision` is the narrowest type it reads, "" where the engine does not say (free shapes on
    TensorRT 8.5); what a fused kernel computes in between its edges no inspector tells. `nodes`
    are the ONNX nodes it computes; `parts` theirs, and `part` the first. `reformat` says that it
    computes nothing: values are only laid out or cast anew.
    """

    name: str
    kind: str
    part: str | None
    parts: tuple[str, ...]
    precision: str
    nodes: tuple[str, ...]
    reformat: bool

    @property
    def fused(self) -> int:
        """Return how many ONNX nodes the layer computes."""
        return len(self.nodes)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {**asdict(self), "parts": list(self.parts), "nodes": list(self.nodes)}


def read_layers(text: str, known: Iterable[str] = ()) -> tuple[LayerRow, ...]:
    """Return the rows of `EngineInspector.get_engine_information` in JSON.

    Args:
        text: the JSON.
        known: names of the graph's nodes in forward order; they resolve "first ... last" names.

    Raises:
        CheckFailedError: it is not what an inspector writes.
    """
    try:
        layers = json.loads(text)["Layers"]
        order = tuple(known)
        return tuple(_row(item, order) for item in layers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckFailedError(
            f"Expected the engine inspector's JSON, but it cannot be read ({error}): the engine "
            "itself is fine; report its TensorRT version."
        ) from error


def io_names(text: str) -> tuple[str, ...]:
    """Return the names of the engine's inputs and outputs, in either form; () where it has none.

    >>> io_names('{"Bindings": ["x", "y"]}'), io_names('{"I/O Tensors": [{"Name": "x"}]}')
    (('x', 'y'), ('x',))
    """
    values: dict[str, Any] = json.loads(text)
    if "Bindings" in values:
        return tuple(values["Bindings"])
    return tuple(item["Name"] for item in values.get("I/O Tensors", ()))


def _row(item: Any, order: tuple[str, ...]) -> LayerRow:
    if isinstance(item, str):  # LAYER_NAMES_ONLY
        item = {"Name": item}
    name, kind = item["Name"], item.get("LayerType", "")
    reformat = kind in _REFORMATS or name.startswith(("Reformatting", "reformat"))
    nodes = () if reformat else _nodes(name, item.get("Metadata", ""), order)
    parts = tuple(dict.fromkeys(filter(None, map(part_of, map(whole, nodes)))))
    precision = _narrowest(item.get("Inputs", ())) or _narrowest(item.get("Outputs", ()))
    return LayerRow(name, kind, parts[0] if parts else None, parts, precision, nodes, reformat)


def _nodes(name: str, metadata: str, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ONNX nodes of a layer: from its metadata, else from its name."""
    if metadata:
        return tuple(dict.fromkeys(_ONNX_LAYER.findall(metadata)))
    span = _FOREIGN_NODE.search(name)
    if span:
        return _between(span[1], span[2], order)
    found = []
    for piece in name.split(" + "):
        inner = piece.strip()
        while match := _WRAPPED.match(inner):
            inner = match[1]
        found += [part.strip() for part in inner.split(", ")]
    return tuple(dict.fromkeys(node for node in found if node in order or not order))


def _between(first: str, last: str, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return the nodes from `first` to `last`; the two alone where the order is not known."""
    ends = [order.index(name) for name in (first, last) if name in order]
    if len(ends) < 2:
        return tuple(name for name in (first, last) if name in order or not order)
    return order[min(ends) : max(ends) + 1]


def _narrowest(tensors: Iterable[Any]) -> str:
    """Return the narrowest float or INT8 type among tensors described in words or by name."""
    words = [
        f"{item.get('Format/Datatype', '')} {item.get('DataType', item.get('Datatype', ''))}"
        for item in tensors
        if isinstance(item, dict)
    ]
    found = {kind for text in words if (kind := _kind(text))}
    return next((kind for kind, _ in _TYPES if kind in found), "")


def _kind(text: str) -> str:
    upper = text.upper()
    return next((kind for kind, names in _TYPES if any(n in upper for n in names)), "")
