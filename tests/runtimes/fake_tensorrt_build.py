"""What the fake's builder, network, parser and configuration do; no name here is exposed by itself.

A build writes a plan: a JSON header with everything that was asked for, and the ONNX model.
"""

from __future__ import annotations

from typing import Any

from .fake_tensorrt_plan import write_plan
from .fake_tensorrt_strict import Behaviour, create


class ILogger(Behaviour):
    def __init__(self) -> None:
        """Take nothing."""


class Logger(Behaviour):
    def __init__(self, min_severity: Any = None) -> None:
        self._value_min_severity = min_severity or self._trt.ILogger.Severity.WARNING

    def log(self, severity: Any, msg: str) -> None:
        """Print as the real one does, where severe enough (0 is the worst)."""
        if int(severity) <= int(self._value_min_severity):
            print(f"[TRT] [{severity.name}] {msg}")


def report(owner: Any, text: str, severity: str = "ERROR") -> None:
    """Hand a message to the logger an object was made with."""
    owner._logger.log(getattr(owner._trt.ILogger.Severity, severity), text)


class IHostMemory(Behaviour):
    _defaults = {"nbytes": lambda self: bytes.__len__(self)}

    def __getattribute__(self, name: str) -> Any:
        if name[0] != "_" and name not in ("nbytes", "dtype"):
            raise AttributeError(f"'IHostMemory' object has no attribute {name!r}")
        return object.__getattribute__(self, name)

    def __len__(self) -> int:
        raise TypeError("object of type 'IHostMemory' has no len()")


def host_memory(trt: Any, data: bytes) -> Any:
    """Return bytes as TensorRT returns them."""
    return bytes.__new__(trt.IHostMemory, data)


class Builder(Behaviour):
    _defaults = {
        "platform_has_fast_fp16": True,
        "platform_has_fast_int8": True,
        "platform_has_tf32": True,
        "max_DLA_batch_size": 1,
        "max_threads": 1,
        "num_DLA_cores": lambda self: self._trt._situation.dla_cores,
    }

    def __init__(self, logger: Any) -> None:
        if not self._trt._situation.gpu:  # seen with the real module where no driver is
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags: int = 0) -> Any:
        creation = self._trt.NetworkDefinitionCreationFlag.__members__
        names = [name for name, flag in creation.items() if flags >> int(flag) & 1]
        fields = {"flags": names, "logger": self._logger, "layers": [], "inputs": []}
        return create(self._trt.INetworkDefinition, **fields, outputs=[], graph=None, model=b"")

    def create_builder_config(self) -> Any:
        return create(self._trt.IBuilderConfig, logger=self._logger, profiles=[], pools={})

    def create_optimization_profile(self) -> Any:
        return create(self._trt.IOptimizationProfile, shapes={})

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        reason = _refused(self._trt, network, config)
        if reason:
            report(self, reason)
            return None
        plan = write_plan(self._trt, network, config)
        self._trt._builds.append(plan.header)
        return host_memory(self._trt, plan.data)


def _refused(trt: Any, network: Any, config: Any) -> str:
    """Return why a build fails, as TensorRT's logger would hear it; "" where it does not."""
    situation = trt._situation
    if situation.build_error:
        return str(situation.build_error)
    if network._graph is None or not network._outputs:
        return "Error Code 4: Internal Error (Network must have at least one output)"
    weak = {"FP16", "INT8", "BF16", "OBEY_PRECISION_CONSTRAINTS"} & set(config_flags(config))
    if "STRONGLY_TYPED" in network._flags and weak:
        return f"Error Code 4: API Usage Error (flags {sorted(weak)} in a strongly typed network)"
    free = [item for item in network._inputs if -1 in tuple(item.shape)]
    if free and not config._profiles:
        return (
            "Error Code 4: Internal Error (Network has dynamic or shape inputs, but no "
            "optimization profile has been defined.)"
        )
    for item in free:
        if any(item.name not in profile for profile in config._profiles):
            return f"Error Code 4: API Usage Error (no profile shape for input {item.name})"
    return ""


def config_flags(config: Any) -> list[str]:
    """Return the names of the set builder flags."""
    flags = config._trt.BuilderFlag.__members__.items()
    return sorted({str(name) for name, flag in flags if config.flags >> int(flag) & 1})


def _tf32_only(config: Any) -> int:
    """Return the flags a fresh configuration has: TF32 is on."""
    return 1 << int(config._trt.BuilderFlag.TF32)


class IBuilderConfig(Behaviour):
    _defaults = {
        "flags": _tf32_only,
        "avg_timing_iterations": 1,
        "builder_optimization_level": 3,
        "max_aux_streams": -1,
        "DLA_core": -1,
        "profile_stream": 0,
        "progress_monitor": None,
        "int8_calibrator": None,
        "default_device_type": lambda self: self._trt.DeviceType.GPU,
        "profiling_verbosity": lambda self: self._trt.ProfilingVerbosity.LAYER_NAMES_ONLY,
        "hardware_compatibility_level": lambda self: self._trt.HardwareCompatibilityLevel.NONE,
        "engine_capability": lambda self: self._trt.EngineCapability.STANDARD,
        "num_optimization_profiles": lambda self: len(self._profiles),
    }

    def set_flag(self, flag: Any) -> None:
        self._value_flags = self.flags | 1 << int(flag)

    def clear_flag(self, flag: Any) -> None:
        self._value_flags = self.flags & ~(1 << int(flag))

    def get_flag(self, flag: Any) -> bool:
        return bool(self.flags >> int(flag) & 1)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool.name] = int(pool_size)

    def get_memory_pool_limit(self, pool: Any) -> int:
        return int(self._pools.get(pool.name, 1 << 40))

    def add_optimization_profile(self, profile: Any) -> int:
        self._profiles.append({name: list(item) for name, item in profile._shapes.items()})
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: Any) -> Any:
        body = bytes(serialized_timing_cache)
        return create(self._trt.ITimingCache, body=body or b"FAKECACHE:")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        fits = cache._body.startswith(b"FAKECACHE:")  # another device's or version's does not
        if fits or ignore_mismatch:
            self._cache = cache
        return fits or ignore_mismatch

    def get_timing_cache(self) -> Any:
        return vars(self).get("_cache")

    def set_preview_feature(self, feature: Any, enable: bool) -> None:
        self._previews = {**vars(self).get("_previews", {}), feature.name: enable}

    def set_tactic_sources(self, tactic_sources: int) -> bool:
        self._sources = int(tactic_sources)
        return True

    def can_run_on_DLA(self, layer: Any) -> bool:
        return layer.type.name in ("CONVOLUTION", "ACTIVATION", "ELEMENTWISE", "POOLING")


class ITimingCache(Behaviour):
    def serialize(self) -> Any:
        return host_memory(self._trt, self._body + b"entry;")

    def combine(self, input_cache: Any, ignore_mismatch: bool) -> bool:
        self._body += input_cache._body.partition(b":")[2]
        return ignore_mismatch or True

    def reset(self) -> bool:
        self._body = b"FAKECACHE:"
        return True


class IOptimizationProfile(Behaviour):
    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        ordered = all(a <= b <= c for a, b, c in zip(min, opt, max, strict=True))
        if not ordered:
            raise ValueError(f"Shapes for {input} are inconsistent")
        self._shapes[input] = (tuple(min), tuple(opt), tuple(max))

    def get_shape(self, input: str) -> list[Any]:
        return [self._trt.Dims(list(item)) for item in self._shapes[input]]

    def __bool__(self) -> bool:
        return True
