"""The fake's plan: a JSON header with everything that was asked for, then the ONNX model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAGIC = b"FAKETRT1"
_LENGTH_BYTES = 8


@dataclass(frozen=True)
class Plan:
    """Bytes of an engine file and what they say."""

    header: dict[str, Any]
    data: bytes
    model: bytes


def write_plan(trt: Any, network: Any, config: Any) -> Plan:
    """Return the plan of a network as it was configured."""
    header = {
        "version": trt.__version__,
        "network_flags": sorted(network._flags),
        "flags": _flag_names(config),
        "pools": config._pools,
        "profiles": config._profiles,
        "settings": _settings(config),
        "inputs": [_describe(trt, item) for item in network._inputs],
        "outputs": [_describe(trt, item) for item in network._outputs],
        "layers": [_describe_layer(item) for item in network._layers],
    }
    text = json.dumps(header).encode()
    size = len(text).to_bytes(_LENGTH_BYTES, "little")
    return Plan(header, MAGIC + size + text + network._model, network._model)


def read_plan(data: bytes) -> Plan | None:
    """Return what a plan says; None for foreign or truncated bytes."""
    start = len(MAGIC) + _LENGTH_BYTES
    size = int.from_bytes(data[len(MAGIC) : start], "little")
    if not data.startswith(MAGIC) or len(data) < start + size:
        return None
    return Plan(json.loads(data[start : start + size]), data, data[start + size :])


def _flag_names(config: Any) -> list[str]:
    from .fake_tensorrt_build import config_flags

    return config_flags(config)


def _settings(config: Any) -> dict[str, Any]:
    """Return the properties that were set, enums by name."""
    kept = {
        k[7:]: v for k, v in vars(config).items() if k.startswith("_value_") and k != "_value_flags"
    }
    return {name: getattr(value, "name", value) for name, value in kept.items() if _plain(value)}


def _plain(value: Any) -> bool:
    return isinstance(value, (int, str, bool)) or hasattr(value, "name")


def _describe(trt: Any, tensor: Any) -> dict[str, Any]:
    """Return name, type and shape; the situation may give an engine other types than the graph."""
    kind = trt._situation.io_types.get(tensor.name, tensor.dtype.name)
    return {"name": tensor.name, "dtype": kind, "shape": list(tensor.shape)}


def _describe_layer(layer: Any) -> dict[str, Any]:
    found = {
        "name": layer._value_name,
        "type": layer.type.name,
        "metadata": layer._value_metadata,
        "returned": {str(i): kind.name for i, kind in layer._returned.items()},
    }
    for side in ("inputs", "outputs"):
        tensors = getattr(layer, f"_{side}")
        found[side] = [(t.name, t.dtype.name, list(t.shape)) for t in tensors]
    precision = vars(layer).get("_value_precision")
    return {**found, "precision": precision.name if precision else None}
