"""The ONNX file a build starts from, with a name for every node so that each can be spoken of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...common.errors import InputError
from ...runtimes.artifact import Artifact
from ...runtimes.onnx_artifact import read_onnx_artifact
from ...runtimes.onnx_file import read_onnx_file
from ...runtimes.session import TensorInfo
from .layer_norm import take_apart
from .precision import GraphPrecision, graph_precision
from .uint8 import route_uint8

if TYPE_CHECKING:
    import onnx

    from ...models.checkpoints.settings import Settings

_PROTOBUF_LIMIT_BYTES = 2**31 - 1


@dataclass(frozen=True)
class BuildSource:
    """A graph with its contract, its image input and the precision it asks for."""

    artifact: Artifact
    model: onnx.ModelProto
    image: TensorInfo
    found: GraphPrecision
    norms_apart: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Return the node names in the graph's order."""
        return tuple(node.name for node in self.model.graph.node)

    @property
    def opset(self) -> int:
        """Return the version of ONNX's own operators."""
        own = (item.version for item in self.model.opset_import if item.domain in ("", "ai.onnx"))
        return max(own, default=0)


def read_source(
    path: Path, settings: Settings | None = None, *, layer_norm: bool = True
) -> BuildSource:
    """Read an ONNX file, ours or foreign, with its weights; UINT8 as TensorRT takes it.

    Without `layer_norm` that operator is taken apart (TensorRT 8.5 has none), and `norms_apart`
    says how often.

    Raises:
        InputError: it is no ONNX segmentation model, or too large for one message.
    """
    import onnx

    if path.suffix.lower() != ".onnx":
        raise InputError(
            f"Expected an ONNX file to build from, but got {path}: `segship export` or "
            "`segship quantize` makes one."
        )
    if not path.is_file():
        raise InputError(f"Expected an ONNX file, but {path} does not exist: check the path.")
    artifact = read_onnx_artifact(path, None, settings)
    model = onnx.load(str(path))  # weights beside the file are read in
    if model.ByteSize() > _PROTOBUF_LIMIT_BYTES:
        raise InputError(f"Expected a graph below 2 GiB, but {path} is larger.")
    name_nodes(model)
    route_uint8(model)
    apart = 0 if layer_norm else take_apart(model)
    image = read_onnx_file(path).inputs[0]
    return BuildSource(artifact, model, image, graph_precision(model), apart)


def name_nodes(model: onnx.ModelProto) -> None:
    """Give nodes without a name, or with one that is taken, a name of their own, in place."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.name or node.op_type}_{index}"
        taken.add(node.name)
