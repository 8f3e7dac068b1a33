"""The stand-in refuses what the real module of its version refuses, and invents nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from segship.tests.runtimes import (
    fake_tensorrt_build,
    fake_tensorrt_inspect,
    fake_tensorrt_network,
    fake_tensorrt_run,
)
from segship.tests.runtimes.fake_tensorrt import fake_tensorrt
from segship.tests.runtimes.fake_tensorrt_strict import (
    Behaviour,
    read_record,
    recorded_versions,
)

ROOMS = (
    fake_tensorrt_build,
    fake_tensorrt_inspect,
    fake_tensorrt_network,
    fake_tensorrt_run,
)


def relu() -> bytes:
    """Return a model of free batch, height and width: y = max(x, 0)."""
    shape: list[str | int | None] = ["batch", 3, "height", "width"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


class Listener:
    """Make a logger that keeps what it hears."""

    def __init__(self, trt: Any) -> None:
        heard = self.heard = []  # type: list[str]

        class Logger(trt.ILogger):  # type: ignore[misc]
            def log(self, severity: Any, msg: str) -> None:
                heard.append(f"{severity.name}: {msg}")

        self.logger = Logger()


def build(trt: Any, logger: Any, *, profile: bool = True) -> Any:
    """Return the plan of `relu` for 1 to 2 images of 4 to 8 pixels; None where it fails."""
    builder, flag = trt.Builder(logger), trt.NetworkDefinitionCreationFlag
    explicit = getattr(flag, "EXPLICIT_BATCH", None)
    network = builder.create_network(1 << int(explicit) if explicit is not None else 0)
    assert trt.OnnxParser(network, logger).parse(relu())
    config = builder.create_builder_config()
    if profile:
        shapes = builder.create_optimization_profile()
        shapes.set_shape("x", (1, 3, 4, 4), (1, 3, 8, 8), (2, 3, 8, 8))
        config.add_optimization_profile(shapes)
    return builder.build_serialized_network(network, config)


@pytest.mark.parametrize("version", recorded_versions())
def test_a_plan_is_built_opened_and_run(version: str) -> None:
    trt = fake_tensorrt(version)
    listener = Listener(trt)
    engine = trt.Runtime(listener.logger).deserialize_cuda_engine(build(trt, listener.logger))
    context = engine.create_execution_context()
    assert context.set_input_shape("x", (2, 3, 4, 8)) and not context.infer_shapes()
    given = np.linspace(-1, 1, 192, dtype=np.float32).reshape(2, 3, 4, 8)
    found = np.full_like(given, 9)
    assert context.set_tensor_address("x", given.ctypes.data)
    assert context.set_tensor_address("y", found.ctypes.data)
    assert context.execute_async_v3(0)
    np.testing.assert_array_equal(found, np.maximum(given, 0))
    assert not context.set_input_shape("x", (3, 3, 4, 8)) and "shape" in listener.heard[-1]


class Asked:
    """A module and a configuration of it."""

    def __init__(self, version: str) -> None:
        self.trt = fake_tensorrt(version)
        self.config = self.trt.Builder(self.trt.Logger()).create_builder_config()


REFUSED: dict[str, tuple[type[Exception], Callable[[Asked], Any]]] = {
    "unknown name": (AttributeError, lambda it: it.trt.Calibrator),
    "unknown member": (AttributeError, lambda it: it.trt.BuilderFlag.FP64),
    "unknown method": (AttributeError, lambda it: it.config.set_flags(1)),
    "unknown property": (AttributeError, lambda it: setattr(it.config, "level", 1)),
    "read only": (AttributeError, lambda it: setattr(it.config, "num_optimization_profiles", 1)),
    "number for a flag": (TypeError, lambda it: it.config.set_flag(1)),
    "text for a number": (TypeError, lambda it: setattr(it.config, "DLA_core", "1")),
    "missing argument": (TypeError, lambda it: it.config.set_timing_cache(None)),
    "wrong keyword": (TypeError, lambda it: it.config.get_flag(flags=it.trt.BuilderFlag.TF32)),
    "no constructor": (TypeError, lambda it: it.trt.ICudaEngine()),
    "flag is no int": (TypeError, lambda it: 1 << it.trt.BuilderFlag.TF32),
    "not imitated": (NotImplementedError, lambda it: it.config.get_tactic_sources()),
}


@pytest.mark.parametrize("version", ["8.6.0", "10.3.0", "11.4.0.106"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_the_real_module_refuses_is_refused(version: str, case: str) -> None:
    error, call = REFUSED[case]
    asked = Asked(version)
    with pytest.raises(error):
        call(asked)


def test_names_end_with_their_generation() -> None:
    old, new = fake_tensorrt("8.5.3.1"), fake_tensorrt("11.4.0.106")
    assert hasattr(old.BuilderFlag, "FP16") and not hasattr(new.BuilderFlag, "FP16")
    assert hasattr(old, "IInt8Calibrator") and not hasattr(new, "IInt8Calibrator")
    assert not hasattr(old, "HardwareCompatibilityLevel")
    assert new.ICudaEngine.device_memory_size_v2 and not hasattr(new.ICudaEngine, "max_batch_size")


def test_failures_reach_the_logger_as_from_the_real_one() -> None:
    trt = fake_tensorrt("10.3.0", build_error="Error Code 10: no implementation for node relu")
    listener = Listener(trt)
    assert build(trt, listener.logger) is None
    assert listener.heard == ["ERROR: Error Code 10: no implementation for node relu"]
    trt._situation.build_error = None
    assert build(trt, listener.logger, profile=False) is None
    assert "no optimization profile" in listener.heard[-1]
    plan = bytes(build(trt, listener.logger))
    other = fake_tensorrt("10.9.0.34")
    assert other.Runtime(other.Logger()).deserialize_cuda_engine(plan) is None
    assert trt.Runtime(listener.logger).deserialize_cuda_engine(plan[:-3000]) is None
    with pytest.raises(TypeError, match="factory function returned nullptr"):
        trt._situation.gpu = False
        trt.Builder(listener.logger)


def test_an_old_parser_wants_an_explicit_batch() -> None:
    trt = fake_tensorrt("8.6.0")
    network = trt.Builder(trt.Logger()).create_network(0)
    parser = trt.OnnxParser(network, trt.Logger())
    assert not parser.parse(relu()) and "explicit batch" in parser.get_error(0).desc()


def test_precision_flags_do_not_go_with_strong_typing() -> None:
    trt = fake_tensorrt("10.3.0")
    listener = Listener(trt)
    builder = trt.Builder(listener.logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    trt.OnnxParser(network, listener.logger).parse(relu())
    config = builder.create_builder_config()
    config.set_flag(trt.BuilderFlag.FP16)
    assert builder.build_serialized_network(network, config) is None
    assert "strongly typed" in listener.heard[-1]


def test_every_imitated_member_is_recorded_somewhere() -> None:
    records = [read_record(version) for version in recorded_versions()]
    for room in ROOMS:
        for name, behaviour in vars(room).items():
            if not (inspect.isclass(behaviour) and issubclass(behaviour, Behaviour)):
                continue
            known = {
                member
                for record in records
                if name in record["classes"]
                for kind in ("methods", "properties")
                for member in record["classes"][name][kind]
            }
            own = vars(behaviour)
            imitated = {key for key in (*own, *own.get("_defaults", {})) if key[0] != "_"}
            assert imitated <= known, f"{name}: no recorded TensorRT has {imitated - known}"
