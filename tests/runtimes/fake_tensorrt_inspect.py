"""The fake's engine inspector: the graph's nodes in the JSON form of each generation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .fake_tensorrt_strict import Behaviour

_WORDS = {"FLOAT": "FP32", "HALF": "FP16", "INT8": "INT8", "BF16": "BFloat16", "INT32": "INT32"}


def io_tensors(engine: Any) -> list[dict[str, Any]]:
    return [*engine._header["inputs"], *engine._header["outputs"]]


def verbosity(header: Mapping[str, Any]) -> str:
    return str(header["settings"].get("profiling_verbosity", "LAYER_NAMES_ONLY"))


class EngineInspector(Behaviour):
    _defaults = {"execution_context": None}

    def get_engine_information(self, format: Any) -> str:
        header, trt = self._of._header, self._trt
        layers = trt._situation.layers or [_layer_json(trt, i, header) for i in header["layers"]]
        if format.name != "JSON":
            return "\n".join(str(item) for item in layers)
        names = [item["name"] for item in io_tensors(self._of)]
        if trt.__version__.startswith("11."):
            return json.dumps({"Layers": layers, "I/O Tensors": [{"Name": n} for n in names]})
        return json.dumps({"Layers": layers, "Bindings": names})

    def get_layer_information(self, layer_index: int, format: Any) -> str:
        found = json.loads(self.get_engine_information(self._trt.LayerInformationFormat.JSON))
        item = found["Layers"][layer_index]
        return json.dumps(item) if format.name == "JSON" else str(item)


def _layer_json(trt: Any, layer: Mapping[str, Any], header: Mapping[str, Any]) -> Any:
    """Return a layer as the inspector tells it: its name, or all of it after a DETAILED build."""
    if verbosity(header) != "DETAILED":
        return layer["name"]
    item: dict[str, Any] = {"Name": layer["name"], "LayerType": layer["type"].title()}
    for side in ("inputs", "outputs"):
        item[side.title()] = [_tensor_json(trt, *tensor) for tensor in layer[side]]
    if not trt.__version__.startswith("8.5"):
        item["Metadata"] = layer["metadata"]
    return item


def _tensor_json(trt: Any, name: str, dtype: str, shape: list[int]) -> dict[str, Any]:
    word = _WORDS.get(dtype, dtype)
    found: dict[str, Any] = {"Name": name, "Location": "Device", "Dimensions": shape}
    if trt.__version__.startswith("11."):
        return {**found, "Format": "Linear", "DataType": dtype.title()}
    return {**found, "Format/Datatype": f"Row major linear {word} format"}
