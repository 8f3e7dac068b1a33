"""Rewrite a float32 graph in FP16 with explicit casts, but for the nodes that stay in FP32."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from .fp16_types import FLOAT, FLOAT16, SIZES, HalfSlots, float_tensors
from .view import GraphView
from .writing import Writing

if TYPE_CHECKING:
    import onnx

_SUFFIX = {FLOAT16: "fp16", FLOAT: "fp32"}


class Conversion:
    """One model on its way to FP16, in place."""

    def __init__(self, model: onnx.ModelProto, islands: Collection[str], keep_io: bool) -> None:
        """Look at `model`, whose nodes have names; `islands` are those that stay in FP32."""
        self.graph, self.islands, self.keep_io = model.graph, islands, keep_io
        self.slots, self.floats = HalfSlots(model), set(float_tensors(model))
        self.kinds = self._kinds()
        self.wide: dict[str, str] = {}  # FP16 tensor → the graph output of its values in FP32
        if keep_io:
            self._rename_outputs()
        self.view, self.writing = GraphView(model), Writing()
        self.casts = 0

    def write(self) -> int:
        """Rewrite the graph and return how many casts it took."""
        for node in self.view.nodes:
            if node.op_type in SIZES:
                continue
            half = self._half(node)
            for position, name in enumerate(node.input):
                if name in self.floats:
                    wanted = FLOAT16 if half and self.slots.takes(node, position) else FLOAT
                    self._read(node, position, name, wanted)
            if half:
                _retype(node)
        for name in self.wide:
            self._cast(name, FLOAT)
        if not self.keep_io:
            for item in (*self.graph.input, *self.graph.output):
                if self.kinds.get(item.name) == FLOAT16:
                    item.type.tensor_type.elem_type = FLOAT16
        del self.graph.value_info[:]
        self.writing.apply(self.graph)
        return self.casts

    def _half(self, node: onnx.NodeProto) -> bool:
        return node.name not in self.islands

    def _kinds(self) -> dict[str, int]:
        """Return the type every float activation will have."""
        kinds = {
            item.name: FLOAT if self.keep_io else FLOAT16
            for item in self.graph.input
            if item.name in self.floats
        }
        for node in self.graph.node:
            for position, name in enumerate(node.output):
                if name in self.floats:
                    half = self._half(node) and self.slots.makes(node, position)
                    kinds[name] = FLOAT16 if half else FLOAT
        return kinds

    def _rename_outputs(self) -> None:
        """Free the names of the graph's outputs for the casts that will make them."""
        for item in self.graph.output:
            if self.kinds.get(item.name) != FLOAT16:
                continue
            new = f"{item.name}_fp16"
            self.wide[new] = item.name
            self.kinds[new] = self.kinds.pop(item.name)
            self.floats.add(new)
            for node in self.graph.node:
                for names in (node.input, node.output):
                    for position, name in enumerate(names):
                        if name == item.name:
                            names[position] = new

    def _read(self, node: onnx.NodeProto, position: int, name: str, wanted: int) -> None:
        constant = self.view.array(name)
        if constant is not None and wanted == FLOAT16:
            tensor = self.view.tensor(name)
            stem = (tensor.name if tensor is not None else "") or name
            new = self.writing.keep(f"{stem}_fp16", constant.astype(np.float16))
        elif constant is not None or self.kinds.get(name, FLOAT) == wanted:
            return
        else:
            new = self._cast(name, wanted)
        self.writing.renamed[(node.name, position)] = new

    def _cast(self, name: str, wanted: int) -> str:
        """Return the tensor with the values of `name` in the type `wanted`, made once."""
        from onnx import helper

        output = self.wide.get(name, "") or f"{name}_{_SUFFIX[wanted]}"
        maker = self.view.producer.get(name)
        behind = self.writing.after.setdefault(maker.name if maker is not None else "", [])
        if all(output not in node.output for node in behind):
            behind.append(
                helper.make_node("Cast", [name], [output], name=f"{output}_Cast", to=wanted)
            )
            self.casts += 1
        return output


def _retype(node: onnx.NodeProto) -> None:
    """Let a cast to FP32 that the graph had make FP16."""
    if node.op_type == "Cast":
        for entry in node.attribute:
            if entry.name == "to" and entry.i == FLOAT:
                entry.i = FLOAT16
